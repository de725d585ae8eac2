/* admission.c: see admission.h. */
#include "proxy/client/admission.h"

#include "http/date.h"
#include "http/serialize.h"
#include "proxy/client/client_table.h"
#include "proxy/exchange/proxy_status.h"
#include "proxy/server/worker.h"

enum reason admission_enter(struct admission *admission, struct worker *worker, const char *host)
{
    const struct config *config = worker->config;
    uint64_t per_client = config->server.max_client_connections;

    *admission = (struct admission){0};
    if (atomic_fetch_add(&worker->shared.limits->connections, 1) >= config->server.max_connections) {
        atomic_fetch_sub(&worker->shared.limits->connections, 1);
        refusals_note(&worker->refusals, REFUSAL_CONNECTIONS, span_of(host));
        return REASON_TOO_MANY_CONNECTIONS;
    }
    if (per_client > 0 && client_id_of(span_of(host), config->server.client_ipv6_prefix, &admission->id)) {
        if (!client_table_enter(worker->shared.limits->clients, &admission->id, per_client)) {
            atomic_fetch_sub(&worker->shared.limits->connections, 1);
            refusals_note(&worker->refusals, REFUSAL_CLIENT_CONNECTIONS, span_of(host));
            return REASON_CLIENT_CONNECTIONS;
        }
        admission->has_id = true;
    }
    admission->entered = true;
    return REASON_NONE;
}

void admission_leave(struct admission *admission, struct client_limits *limits)
{
    if (!admission->entered) {
        return;
    }
    admission->entered = false;
    atomic_fetch_sub(&limits->connections, 1);
    if (admission->has_id) {
        client_table_leave(limits->clients, &admission->id);
    }
}

void admission_write_refusal(struct buf *out, const struct worker *worker, enum reason reason)
{
    char date[DATE_TEXT_LEN];

    date_format(worker_now_ms() / 1000, date);
    write_status_line(out, 503);
    write_field(out, SPAN("Date"), (struct span){date, DATE_TEXT_LEN});
    write_field(out, SPAN("Retry-After"), SPAN("1"));
    buf_format(out, "Cache-Status: %s; detail=%s\r\n", worker->config->server.via, reason_token(reason));
    buf_format(out, "Proxy-Status: %s; error=%s\r\n", worker->config->server.via,
               proxy_status_error(503, ERR_OK, reason));
    write_field(out, SPAN("Content-Length"), SPAN("0"));
    write_field(out, SPAN("Connection"), SPAN("close"));
    write_end(out);
}
