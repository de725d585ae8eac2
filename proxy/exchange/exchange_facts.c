/* exchange_facts.c: what of a request is remembered for a while, so that another configuration can be tried on it
 * (facts.h).
 *
 * Of fields that are nobody's business only that they were there, or a hash where requests are told apart by them: of
 * the values of a query, of entity tags, and of fields that Vary names. What decides nothing is left out. */
#include "cache/head.h"
#include "http/forwarded.h"
#include "http/unkeyed.h"
#include "proxy/exchange/exchange_internal.h"
#include "proxy/server/worker.h"

enum treatment {
    KEPT,
    PRESENCE, /* "x" for its value */
    HASHED,
    LEFT_OUT,
};

struct field_rule {
    struct span name;
    enum treatment treatment;
};

static const struct field_rule request_rules[] = {
    {SPAN_INIT("Cache-Control"), KEPT},
    {SPAN_INIT("Pragma"), KEPT},
    {SPAN_INIT("Range"), KEPT},
    {SPAN_INIT("Accept-Encoding"), KEPT},
    {SPAN_INIT("Accept-Language"), KEPT},
    {SPAN_INIT("Content-Length"), KEPT},
    {SPAN_INIT("Transfer-Encoding"), KEPT},
    {SPAN_INIT("Max-Forwards"), KEPT},
    {SPAN_INIT("Upgrade"), KEPT},
    {SPAN_INIT("Connection"), KEPT},
    {SPAN_INIT("Cookie"), PRESENCE},
    {SPAN_INIT("Authorization"), PRESENCE},
    {SPAN_INIT("If-Match"), HASHED},
    {SPAN_INIT("If-Unmodified-Since"), KEPT},
};

static const struct field_rule response_rules[] = {
    {SPAN_INIT("Cache-Control"), KEPT},  {SPAN_INIT("Expires"), KEPT},      {SPAN_INIT("Pragma"), KEPT},
    {SPAN_INIT("Vary"), KEPT},           {SPAN_INIT("Content-Type"), KEPT}, {SPAN_INIT("Last-Modified"), KEPT},
    {SPAN_INIT("Content-Range"), KEPT},  {SPAN_INIT("Age"), KEPT},          {SPAN_INIT("No-Vary-Search"), KEPT},
    {SPAN_INIT("Set-Cookie"), PRESENCE}, {SPAN_INIT("ETag"), HASHED},
};

static enum treatment treatment_of(const struct field_rule *rules, size_t count, struct span name)
{
    for (size_t i = 0; i < count; i++) {
        if (span_equal_nocase(rules[i].name, name)) {
            return rules[i].treatment;
        }
    }
    return LEFT_OUT;
}

/* ---- writing: for each request that is remembered, so without printf ---- */

static void add_hash(const struct facts_shard *facts, struct buf *out, struct span value)
{
    buf_add_hex(out, (uint32_t)facts_hash(facts, value));
}

static void add_number(struct buf *out, const char *key, uint64_t value)
{
    buf_add_text(out, key);
    buf_add_u64(out, value);
}

/* "Name: value" as a JSON string, the first of a list or another. */
static void add_field(const struct facts_shard *facts, struct buf *out, struct span name, struct span value,
                      enum treatment treatment)
{
    char memory[1024];
    struct buf field;

    if (treatment == LEFT_OUT) {
        return;
    }
    buf_init_in(&field, memory, sizeof memory);
    buf_add(&field, name);
    buf_add_text(&field, ": ");
    if (treatment == KEPT) {
        buf_add(&field, value);
    } else if (treatment == PRESENCE) {
        buf_add_byte(&field, 'x');
    } else {
        buf_add_text(&field, span_starts_with(value, SPAN("W/")) ? "W/\"" : "\"");
        add_hash(facts, &field, value);
        buf_add_byte(&field, '"');
    }
    if (field.failed) { /* so long that it means nothing to us */
        return;
    }
    if (out->data[out->len - 1] != '[') {
        buf_add_byte(out, ',');
    }
    buf_add_json_string(out, buf_span(&field));
}

static void add_request_field(const struct exchange *ex, struct buf *out, struct span name, struct span value,
                              const struct headers *response)
{
    enum treatment treatment = treatment_of(request_rules, ARRAY_LEN(request_rules), name);

    if (treatment == LEFT_OUT && unkeyed_is_one(name, ex->request.method)) {
        treatment = PRESENCE;
    }
    if (treatment != KEPT && ((response != NULL && headers_list_has(response, SPAN("Vary"), name)) ||
                              forwarded_may_be_told(name))) { /* another configuration may tell requests apart by it */
        treatment = HASHED;
    }
    add_field(ex->worker->facts, out, name, value, treatment);
}

/* As the client sent them: rules of another configuration are to have their say. */
static void add_request_fields(const struct exchange *ex, struct buf *out, const struct headers *response)
{
    struct span rest = ex->request.field_block;
    struct span line;

    (void)span_split(&rest, '\n', &line); /* the end of the request line */
    while (span_split(&rest, '\n', &line)) {
        size_t colon = span_find(line, ':');
        if (colon != SIZE_MAX) {
            struct span value = span_skip(line, colon + 1);
            value.len -= value.len > 0 && value.data[value.len - 1] == '\r';
            add_request_field(ex, out, span_take(line, colon), span_trim(value), response);
        }
    }
}

static void add_url(const struct exchange *ex, struct buf *out)
{
    char memory[FACT_MAX_BYTES / 2];
    struct buf url;

    buf_init_in(&url, memory, sizeof memory);
    facts_write_url(facts_of(ex->worker->facts), exchange_scheme(ex), ex->host, ex->target, &url);
    buf_add_json_string(out, buf_span(&url));
    out->failed = out->failed || url.failed;
}

/* The response that the decisions were about: the stored one, or the origin's. */
struct known_response {
    bool stored; /* and served, or confirmed */
    unsigned status;
    int64_t time_ms; /* when it came */
    int64_t age_s;   /* by its Age field then */
    uint64_t length;
    struct headers headers;
};

static bool know_response(const struct exchange *ex, const struct stream_count *counts, struct known_response *out)
{
    bool has_head = ex->leads && ex->flight != NULL &&
                    (flight_phase(ex->flight) == FLIGHT_STREAMING || flight_phase(ex->flight) == FLIGHT_COMPLETE);

    if (has_head && !ex->validated) {
        const struct flight_head *head = flight_head(ex->flight);
        *out = (struct known_response){.status = head->status,
                                       .time_ms = head->record.inputs.response_ms,
                                       .age_s = head->record.inputs.age_s,
                                       .length = head->length_known ? head->body_len : counts->body_bytes};
        return head_read(head->fields, ex->arena, &out->headers) == ERR_OK;
    }
    if (ex->has_cached && (ex->outcome == OUTCOME_HIT || ex->validated)) {
        const struct record *record = &ex->cached.stored.record;
        *out = (struct known_response){.stored = true,
                                       .status = record->status,
                                       .time_ms = record->inputs.response_ms,
                                       .age_s = record->inputs.age_s,
                                       .length = record->body_len,
                                       .headers = ex->stored_headers};
        return true;
    }
    return false;
}

static bool is_target(const struct config *config, struct span name)
{
    for (size_t i = 0; i < config->cache.target_count; i++) {
        if (span_equal_nocase(config->cache.targets[i], name)) {
            return true;
        }
    }
    return false;
}

static void add_response(const struct exchange *ex, struct buf *out, const struct known_response *response)
{
    add_number(out, ",\"response\":{\"time_ms\":", (uint64_t)response->time_ms);
    add_number(out, ",\"status\":", response->status);
    add_number(out, ",\"length\":", response->length);
    buf_add_text(out, response->stored ? ",\"stored\":true,\"fields\":[" : ",\"stored\":false,\"fields\":[");
    for (size_t i = 0; i < response->headers.count; i++) {
        const struct header *field = &response->headers.items[i];
        enum treatment treatment = is_target(ex->worker->config, field->name)
                                       ? KEPT
                                       : treatment_of(response_rules, ARRAY_LEN(response_rules), field->name);
        add_field(ex->worker->facts, out, field->name, field->value, treatment);
    }
    if (response->age_s > 0) {
        char text[32];
        struct buf age;
        buf_init_in(&age, text, sizeof text);
        buf_add_i64(&age, response->age_s);
        add_field(ex->worker->facts, out, SPAN("Age"), buf_span(&age), KEPT);
    }
    buf_add_text(out, "]}");
}

static void write_fact(const struct exchange *ex, const struct stream_count *counts, uint32_t sample, struct buf *out)
{
    bool leads = ex->leads && ex->flight != NULL;
    struct known_response response;
    bool known = know_response(ex, counts, &response);

    add_number(out, "{\"time_ms\":", (uint64_t)ex->time_ms);
    add_number(out, ",\"sample\":", sample);
    buf_add_text(out, ",\"method\":");
    buf_add_json_string(out, ex->request.method_name);
    buf_add_text(out, ",\"url\":");
    add_url(ex, out);
    buf_add_text(out, ",\"fields\":[");
    add_request_fields(ex, out, known ? &response.headers : NULL);
    buf_add_text(out, "],\"outcome\":\"");
    buf_add_text(out, outcome_text(ex->outcome));
    buf_add_text(out, "\",\"reason\":\"");
    buf_add_text(out, reason_token(ex->reason));
    buf_add_text(out, "\",\"store_reason\":\"");
    buf_add_text(out, reason_token(leads ? flight_store_reason(ex->flight) : ex->store_reason));
    buf_add_text(out, ex->collapsed ? "\",\"collapsed\":true" : "\",\"collapsed\":false");
    add_number(out, ",\"status\":", counts->status);
    add_number(out, ",\"sent_bytes\":", counts->sent_bytes);
    add_number(out, ",\"received_bytes\":", ex->fetched_bytes);
    add_number(out, ",\"origin_us\":", ex->fetch_waited_us);
    if (known) {
        add_response(ex, out, &response);
    }
    buf_add_text(out, "}\n");
}

void exchange_keep_facts(const struct exchange *ex, const struct stream_count *counts)
{
    char memory[FACT_MAX_BYTES];
    struct buf line;
    uint32_t sample;

    /* What is no request, or was begun before there was memory for it, is nothing to try a configuration on. */
    if (ex->request.uri.path.len == 0 || !facts_wants(ex->worker->facts, ex->request.uri.path, &sample)) {
        return;
    }
    buf_init_in(&line, memory, sizeof memory);
    write_fact(ex, counts, sample, &line);
    if (!line.failed) {
        facts_add(ex->worker->facts, buf_span(&line), uv_now(&ex->worker->loop));
    }
}
