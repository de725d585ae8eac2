/* admin_why.c: GET /v1/why: what larder would do for a request, as `larder why` tells it, --json or not.
 *
 * Asked on the main thread, of the store that is open: as many look-ups as one request makes, and the variants of one
 * key. Workers do not wait for it. */
#include "proxy/admin/admin_internal.h"
#include "proxy/observe/facts.h"
#include "proxy/server/worker.h"
#include "proxy/why/why.h"

enum {
    ARENA_MAX_BYTES = 64 * 1024 * 1024, /* heads of all variants of a key */
    FIELDS_MAX = 64,
};

static enum reason reason_of_json(const json_t *object, const char *name)
{
    const char *token = json_string_value(json_object_get(object, name));

    return token != NULL ? reason_of_token(token) : REASON_NONE;
}

/* What the origin last answered to such a request, if it is remembered. */
static void recall(const struct admin *admin, struct why *why)
{
    struct buf url, line;
    struct why_last last = {.known = true};

    buf_init(&url, FACT_MAX_BYTES);
    buf_init(&line, FACT_MAX_BYTES);
    facts_write_url(admin->scope.facts, why->request.uri.scheme, why->host, why->request.target, &url);
    bool found = why->error == ERR_OK && !url.failed &&
                 facts_last(admin->scope.facts, why->request.method_name, buf_span(&url), &line);
    json_t *fact = found ? json_loadb(line.data, line.len, 0, NULL) : NULL;
    if (fact != NULL) {
        const json_t *response = json_object_get(fact, "response");
        last.time_ms = json_integer_value(json_object_get(fact, "time_ms"));
        last.status = (unsigned)json_integer_value(json_object_get(response != NULL ? response : fact, "status"));
        last.reason = reason_of_json(fact, "reason");
        last.store_reason = reason_of_json(fact, "store_reason");
        why->last = last;
    }
    json_decref(fact);
    buf_finish(&url);
    buf_finish(&line);
}

static enum admin_progress explain(struct admin_call *call, const struct why_options *options, bool as_text)
{
    const struct admin *admin = call->admin;
    const struct why_store store = {.store = cache_store(admin->scope.cache),
                                    .reader = cache_reader_store(admin->reader)};
    struct buf error;
    struct arena arena;
    struct why why;

    buf_init(&error, 4096);
    arena_init(&arena, ARENA_MAX_BYTES);
    bool asked = why_ask_store(admin->scope.config, &store, options, worker_now_ms(), &arena, &why, &error);
    if (asked) {
        recall(admin, &why);
    }
    if (asked && as_text) {
        call->status = 200;
        call->content_type = "text/plain; charset=utf-8";
        why_write_text(&why, false, &call->answer);
    } else if (asked) {
        call->status = 200;
        call->content_type = "application/json";
        why_write_json(&why, &call->answer);
    } else {
        (void)admin_fail(call, 400, "%.*s", SPAN_ARG(buf_span(&error)));
    }
    arena_finish(&arena);
    buf_finish(&error);
    return ADMIN_ANSWERED;
}

/* What the origin is supposed to answer: 200 where only fields are given. */
static bool read_supposed(struct admin_call *call, struct why_options *options, const char **response_fields)
{
    struct span text = admin_parameter(call, SPAN("status"));
    uint64_t status;

    if (!admin_parameter_texts(call, SPAN("response_field"), response_fields, FIELDS_MAX,
                               &options->response_field_count)) {
        return false;
    }
    if (text.len == 0) {
        options->response_status = options->response_field_count > 0 ? 200 : 0;
        return true;
    }
    if (!span_to_u64(text, &status) || status < 200 || status > 599) {
        return false;
    }
    options->response_status = (unsigned)status;
    return true;
}

enum admin_progress admin_run_why(struct admin_call *call)
{
    const char *fields[FIELDS_MAX];
    const char *response_fields[FIELDS_MAX];
    struct why_options options = {.fields = fields, .response_fields = response_fields};
    struct span form = admin_parameter(call, SPAN("form"));
    size_t url_count, method_count;

    if (!admin_parameter_texts(call, SPAN("url"), &options.url, 1, &url_count) || url_count == 0 ||
        !admin_parameter_texts(call, SPAN("method"), &options.method, 1, &method_count) ||
        !admin_parameter_texts(call, SPAN("field"), fields, FIELDS_MAX, &options.field_count)) {
        return admin_fail(call, 400, "expected a url, perhaps a method, and fields such as \"Accept-Encoding: gzip\"");
    }
    if (!read_supposed(call, &options, response_fields)) {
        return admin_fail(call, 400, "expected a status from 200 to 599, and response fields such as \"Vary: Cookie\"");
    }
    if (form.len > 0 && !span_equal(form, SPAN("json")) && !span_equal(form, SPAN("text"))) {
        return admin_fail(call, 400, "expected the form json or text");
    }
    if (call->admin->reader == NULL) {
        return admin_fail(call, 503, "the store cannot be read");
    }
    if (why_write_reason(span_of(options.url), true, &call->answer)) {
        call->status = 200;
        call->content_type = "application/json";
        return ADMIN_ANSWERED;
    }
    return explain(call, &options, span_equal(form, SPAN("text")));
}
