/* admin_routes.c: what the administration answers to. openapi.json describes the same; a test compares both. Besides,
 * there are the dashboard's files. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "http/date.h"
#include "proxy/admin/admin_internal.h"
#include "proxy/admin/admin_page.h"

const struct admin_route admin_routes[] = {
    {METHOD_GET, "/metrics", admin_run_metrics},  {METHOD_GET, "/v1/status", admin_run_status},
    {METHOD_GET, "/v1/sites", admin_run_sites},   {METHOD_GET, "/v1/history", admin_run_history},
    {METHOD_GET, "/v1/why", admin_run_why},       {METHOD_POST, "/v1/purge", admin_run_purge},
    {METHOD_GET, "/v1/purges", admin_run_purges}, {METHOD_GET, "/v1/report", admin_run_report},
    {METHOD_GET, "/v1/urls", admin_run_urls},     {METHOD_GET, "/v1/log", admin_run_log},
    {METHOD_GET, "/v1/facts", admin_run_facts},   {METHOD_GET, "/v1/modes", admin_run_modes},
    {METHOD_POST, "/v1/mode", admin_run_mode},    {METHOD_GET, "/v1/config", admin_run_config},
};
const size_t admin_route_count = ARRAY_LEN(admin_routes);

static enum admin_progress send_file(struct admin_call *call, const struct admin_page_file *file)
{
    call->status = 200;
    call->content_type = file->content_type;
    buf_add(&call->answer, (struct span){(const char *)file->data, file->len});
    return ADMIN_ANSWERED;
}

enum admin_progress admin_dispatch(struct admin_call *call)
{
    enum method method = call->request.method == METHOD_HEAD ? METHOD_GET : call->request.method;
    const struct admin_page_file *file = admin_page_find(call->path);

    bool may_get = file != NULL, may_post = false;

    if (may_get && method == METHOD_GET) {
        return send_file(call, file);
    }
    for (size_t i = 0; i < admin_route_count; i++) {
        if (span_equal(call->path, span_of(admin_routes[i].path))) {
            if (admin_routes[i].method == method) {
                return admin_routes[i].run(call);
            }
            may_get = may_get || admin_routes[i].method == METHOD_GET;
            may_post = may_post || admin_routes[i].method == METHOD_POST;
        }
    }
    if (may_get || may_post) { /* RFC 9110 §15.5.6: all of them */
        call->allow = !may_post ? "GET, HEAD" : may_get ? "GET, HEAD, POST" : "POST";
        return admin_fail(call, 405, "expected %s", call->allow);
    }
    return admin_fail(call, 404, "there is nothing at this path");
}

/* The value of the parameter that comes next in `rest`; false: none does. */
static bool next_parameter(struct span *rest, struct span name, struct span *out_value)
{
    struct span part;

    while (span_split(rest, '&', &part)) {
        size_t equals = span_find(part, '=');
        if (span_equal(span_take(part, equals), name)) {
            *out_value = equals == SIZE_MAX ? (struct span){NULL, 0} : span_skip(part, equals + 1);
            return true;
        }
    }
    return false;
}

struct span admin_parameter(const struct admin_call *call, struct span name)
{
    struct span rest = call->query;
    struct span value = {NULL, 0};

    (void)next_parameter(&rest, name, &value);
    return value;
}

static int hex_value(char byte)
{
    char letter = (char)(byte | 0x20);

    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : -1;
}

/* As forms encode it: %XX, and + for a space. No NUL: it becomes a C string. */
static bool decode(struct span value, struct arena *arena, const char **out_text)
{
    char *text = arena_alloc_text(arena, value.len + 1);
    size_t len = 0;

    for (size_t i = 0; text != NULL && i < value.len; i++) {
        char byte = value.data[i] == '+' ? ' ' : value.data[i];
        if (byte == '%') {
            int high = i + 2 < value.len ? hex_value(value.data[i + 1]) : -1;
            int low = i + 2 < value.len ? hex_value(value.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            byte = (char)(high << 4 | low);
            i += 2;
        }
        if (byte == '\0') {
            return false;
        }
        text[len++] = byte;
    }
    if (text == NULL) {
        return false;
    }
    text[len] = '\0';
    *out_text = text;
    return true;
}

bool admin_parameter_texts(const struct admin_call *call, struct span name, const char **texts, size_t max,
                           size_t *out_count)
{
    struct span rest = call->query;
    struct span value;
    size_t count = 0;

    while (next_parameter(&rest, name, &value)) {
        if (count == max || !decode(value, call->arena, &texts[count])) {
            return false;
        }
        count++;
    }
    *out_count = count;
    return true;
}

enum admin_progress admin_reply_json(struct admin_call *call, unsigned status, json_t *value)
{
    char *text = value != NULL ? json_dumps(value, JSON_COMPACT | JSON_PRESERVE_ORDER) : NULL;

    json_decref(value);
    call->status = text != NULL ? status : 500;
    call->content_type = "application/json";
    buf_clear(&call->answer);
    buf_add_text(&call->answer, text != NULL ? text : "{\"error\":\"no memory\"}");
    buf_add_byte(&call->answer, '\n');
    free(text);
    return ADMIN_ANSWERED;
}

enum admin_progress admin_fail(struct admin_call *call, unsigned status, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return admin_reply_json(call, status, json_pack("{ss}", "error", text));
}

enum admin_progress admin_fail_held(struct admin_call *call)
{
    return admin_fail(call, 503, "an upgrade is under way, this larder takes no orders any more; try again");
}

json_t *admin_time_json(int64_t time_ms)
{
    char text[DATE_RFC3339_LEN];

    date_format_rfc3339(time_ms / 1000, text);
    return json_stringn(text, sizeof text);
}
