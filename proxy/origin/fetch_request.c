/* fetch_request.c: what a fetch asks: its copy of the request, and the head that goes out. See fetch.h.
 *
 * The copy stays as the cache sees it; the head is what an intermediary makes of it (RFC 9110 §7.6), with the stored
 * validators where a response is to be confirmed. */
#include "http/forward.h"
#include "http/forwarded.h"
#include "http/serialize.h"
#include "http/validators.h"
#include "proxy/exchange/decide.h"
#include "proxy/origin/fetch_internal.h"
#include "proxy/server/worker.h"

/* The fetch may outlive the exchange: it owns a copy of all it needs. */
bool fetch_copy_request(struct fetch *fetch, const struct fetch_options *options)
{
    struct arena *arena = &fetch->arena;
    struct http_request *request = &fetch->request;
    struct uri *uri = &request->uri;
    struct span *const texts[] = {&fetch->key.text,      &fetch->client, &fetch->scheme,  &fetch->host, &fetch->range,
                                  &request->method_name, &uri->scheme,   &uri->authority, &uri->path,   &uri->query};

    fetch->exchange = options->exchange;
    fetch->behind = options->exchange == NULL;
    fetch->cause = options->cause;
    fetch->site = options->site;
    fetch->pool = worker_pool(fetch->worker, options->site);
    fetch->keep_conditions = options->keep_conditions;
    fetch->upgrade = options->upgrade;
    fetch->client = span_of(options->client);
    fetch->scheme = options->scheme;
    fetch->host = options->host;
    fetch->range = options->range;
    *request = *options->request;
    fetch->has_key = options->key != NULL;
    if (fetch->behind) {
        request->framing = (struct framing){0};
    }
    if (fetch->has_key) {
        fetch->key = *options->key;
    }
    if (options->validate != NULL) {
        if (!cached_copy(fetch->worker->cache, options->validate, arena, &fetch->validate) ||
            !headers_copy_to(&fetch->stored, options->stored, options->validate->stored.head,
                             fetch->validate.stored.head, arena)) {
            return false;
        }
        fetch->comparing = options->compare;
        fetch->completing = options->gap != NULL;
        fetch->validating = !fetch->comparing && !fetch->completing;
    }
    if (fetch->completing) {
        fetch->gap = *options->gap;
    }
    return arena_copy_texts(arena, texts, ARRAY_LEN(texts)) &&
           headers_copy_texts(&request->headers, &options->request->headers, options->request->field_block, arena,
                              &request->field_block);
}

/* The stored validators replace the client's own (RFC 9111 §4.3.1). */
static bool add_validators(const struct fetch *fetch, struct headers *headers)
{
    if (fetch->completing) {
        struct span validator = strong_validator_of(&fetch->stored, worker_now_ms() / 1000);
        return validator.len == 0 || headers_add(headers, SPAN("If-Range"), validator);
    }
    return decide_validators(&fetch->stored, headers);
}

/* Framing, connection and protocol fields of the request as larder sends it. */
static bool add_transport_fields(const struct fetch *fetch, struct headers *headers, struct arena *arena)
{
    const struct http_request *request = &fetch->request;
    struct span text;

    if (request->framing.kind == FRAMING_CHUNKED) {
        if (!headers_add(headers, SPAN("Transfer-Encoding"), SPAN("chunked"))) {
            return false;
        }
    } else if (request->framing.kind == FRAMING_LENGTH || headers_has(&request->headers, SPAN("Content-Length"))) {
        if (!arena_format(arena, &text, "%llu", (unsigned long long)request->framing.length) ||
            !headers_add(headers, SPAN("Content-Length"), text)) {
            return false;
        }
    }
    if (fetch->upgrade) {
        return headers_add(headers, SPAN("Connection"), SPAN("upgrade")) &&
               headers_add(headers, SPAN("Upgrade"), headers_value(&request->headers, SPAN("Upgrade")));
    }
    return true;
}

static bool build_headers(const struct fetch *fetch, struct headers *headers, struct arena *arena)
{
    const struct config *config = fetch->worker->config;
    struct forwarded forwarded = {.style = config->server.forwarded,
                                  .client = span_equal(fetch->client, SPAN("unix")) ? SPAN("") : fetch->client,
                                  .scheme = fetch->scheme,
                                  .request_scheme = fetch->request.uri.scheme,
                                  .host = fetch->host};

    if (!headers_copy(headers, &fetch->request.headers, arena) || !forward_remove_hop_by_hop(headers)) {
        return false;
    }
    (void)headers_remove(headers, SPAN("Content-Length")); /* rebuilt from the framing */
    (void)headers_remove(headers, SPAN("Host"));
    if (!framing_has_body(&fetch->request.framing) || fetch->request.minor == 0) {
        (void)headers_remove(headers, SPAN("Expect")); /* RFC 9110 §10.1.1: nothing is waiting for a 100 */
    }
    if (!fetch->keep_conditions) {
        remove_conditions(headers);
        (void)headers_remove(headers, SPAN("Range"));
    } else if (decide_names_own_tags(headers, SPAN("If-None-Match"))) {
        (void)headers_remove(headers, SPAN("If-None-Match")); /* it names nothing that the origin knows */
    }
    if (fetch->range.len > 0) {
        (void)headers_remove(headers, SPAN("Range"));
        if (!headers_add(headers, SPAN("Range"), fetch->range)) {
            return false;
        }
    }
    bool conditional = fetch->validating || fetch->completing;
    return (!conditional || add_validators(fetch, headers)) &&
           forward_add_via(headers, fetch->request.minor, span_of(config->server.via)) &&
           forward_add_loop(headers, span_of(config->server.via), config->server.instance_id) &&
           forwarded_add(headers, &forwarded) && add_transport_fields(fetch, headers, arena);
}

bool fetch_build_head(struct fetch *fetch)
{
    struct arena *arena = &fetch->arena;
    struct span host = fetch->site->host_header != NULL ? span_of(fetch->site->host_header) : fetch->host;
    struct headers headers;
    struct span target;

    if (!build_headers(fetch, &headers, arena) || !uri_path_and_query(&fetch->request.uri, arena, &target)) {
        return false;
    }
    if (host.len == 0) { /* HTTP/1.0 without Host */
        host = span_of(fetch->site->origins[0].authority);
    }
    buf_clear(&fetch->out);
    buf_lend(&fetch->worker->spare_head, &fetch->out);
    write_request_line(&fetch->out, fetch->request.method_name, target);
    write_field(&fetch->out, SPAN("Host"), host);
    write_fields(&fetch->out, &headers);
    write_end(&fetch->out);
    fetch->request_sent = false;
    fetch->awaits_continue = headers_has(&headers, SPAN("Expect"));
    fetch->conditional =
        headers_has(&headers, SPAN("If-None-Match")) || headers_has(&headers, SPAN("If-Modified-Since"));
    return !fetch->out.failed;
}
