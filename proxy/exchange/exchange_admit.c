/* exchange_admit.c: the limits on requests: how many are answered at a time, and how many a client may send.
 *
 * Who is refused keeps the connection: the answer costs less than a new one, and says when to come again. */
#include "proxy/exchange/exchange_internal.h"
#include "proxy/server/worker.h"

enum { US_PER_S = 1000000 };

/* Who is counted, and the address that says it: whom a trusted proxy names, or else the other side of the connection:
 * who has found out how to be named without an address is counted as the proxy. False: nobody. */
static bool client_of(const struct exchange *ex, struct client_id *out_id, struct span *out_address)
{
    unsigned ipv6_prefix = ex->worker->config->server.client_ipv6_prefix;

    *out_address = ex->named;
    if (client_id_of(*out_address, ipv6_prefix, out_id)) {
        return true;
    }
    *out_address = span_of(ex->client);
    return client_id_of(*out_address, ipv6_prefix, out_id);
}

static bool within_rate(struct exchange *ex)
{
    const struct rule *rule = route_rate(ex->site, &ex->request);
    struct client_id id;
    struct span address;
    uint64_t wait_us;

    if (rule == NULL || rule->rate.interval_us == 0 || !client_of(ex, &id, &address) ||
        rate_limit_take(ex->worker->shared.limits->rates, &id, span_of(ex->site->name), span_of(rule->name),
                        &rule->rate, exchange_now_us(), &wait_us)) {
        return true;
    }
    refusals_note(&ex->worker->refusals, REFUSAL_RATE, address);
    ex->status = 429; /* RFC 6585 §4 */
    ex->reason = REASON_RATE_LIMIT;
    ex->rule = rule->name;
    ex->retry_after_s = (wait_us + US_PER_S - 1) / US_PER_S;
    return false;
}

static bool within_count(struct exchange *ex)
{
    uint64_t limit = ex->worker->config->server.max_requests;
    atomic_uint *requests = &ex->worker->shared.limits->requests;

    if (limit == 0) {
        return true;
    }
    if (atomic_fetch_add(requests, 1) < limit) {
        ex->counted = true;
        return true;
    }
    atomic_fetch_sub(requests, 1);
    refusals_note(&ex->worker->refusals, REFUSAL_REQUESTS, span_of(ex->client));
    ex->status = 503;
    ex->reason = REASON_TOO_MANY_REQUESTS;
    return false;
}

bool exchange_admit(struct exchange *ex)
{
    return within_rate(ex) && within_count(ex);
}

void exchange_leave_count(struct exchange *ex)
{
    if (ex->counted) {
        ex->counted = false;
        atomic_fetch_sub(&ex->worker->shared.limits->requests, 1);
    }
}
