/* admin_mode.c: GET /v1/modes and POST /v1/mode: how each site is run, and orders to run it otherwise (site_mode.h). */
#include "proxy/admin/admin_internal.h"
#include "proxy/config/site_mode.h"
#include "proxy/io/log.h"

json_t *admin_mode_json(const struct site *site)
{
    return json_pack("{ss ss% ss ss}", "site", site->name, "path", site->path_prefix.data, site->path_prefix.len,
                     "mode", site_mode_text(site_mode(site)), "configured", site_mode_text(site->mode));
}

enum admin_progress admin_run_modes(struct admin_call *call)
{
    const struct config *config = call->admin->scope.config;
    json_t *modes = json_array();

    for (size_t i = 0; i < config->site_count; i++) {
        (void)json_array_append_new(modes, admin_mode_json(&config->sites[i])); /* no memory: it is missing */
    }
    return admin_reply_json(call, 200, json_pack("{so}", "modes", modes));
}

/* Orders `mode` for all sites that `name` names. In force when it returns: workers read the value at each request. */
static enum admin_progress order(struct admin_call *call, struct span name, enum mode mode)
{
    const struct config *config = call->admin->scope.config;
    json_t *modes = json_array();

    for (size_t i = 0; i < config->site_count; i++) {
        const struct site *site = &config->sites[i];
        if (!site_mode_names(site, name)) {
            continue;
        }
        enum mode before = site_mode(site);
        site_mode_order(site, mode);
        if (before != mode) {
            log_info("mode site=%s path=%s mode=%s before=%s", log_quoted(span_of(site->name)).text,
                     log_quoted(site->path_prefix).text, site_mode_text(mode), site_mode_text(before));
        }
        (void)json_array_append_new(modes, admin_mode_json(site));
    }
    if (json_array_size(modes) == 0) {
        json_decref(modes);
        return admin_fail(call, 404, "no site is called %.80s (larder mode lists them)", log_quoted(name).text);
    }
    return admin_reply_json(call, 200, json_pack("{so}", "modes", modes));
}

enum admin_progress admin_run_mode(struct admin_call *call)
{
    struct span type = headers_value(&call->request.headers, SPAN("Content-Type"));
    json_error_t error;
    enum mode mode;

    /* Pages of other sites can send forms, not this. */
    if (!span_equal_nocase(span_trim(span_take(type, span_find(type, ';'))), SPAN("application/json"))) {
        return admin_fail(call, 415, "expected Content-Type: application/json");
    }
    if (call->admin->holds_orders) {
        return admin_fail_held(call);
    }
    json_t *object =
        json_loadb(call->body.len > 0 ? call->body.data : "", call->body.len, JSON_REJECT_DUPLICATES, &error);
    const json_t *site = json_object_get(object, "site");
    const char *text = json_string_value(json_object_get(object, "mode"));
    enum admin_progress progress;
    if (json_object_size(object) != 2 || !json_is_string(site) || text == NULL ||
        !site_mode_of_text(span_of(text), &mode)) {
        progress =
            admin_fail(call, 400, "expected an object with a site, and mode \"normal\", \"offline\" or \"record\"");
    } else {
        progress = order(call, (struct span){json_string_value(site), json_string_length(site)}, mode);
    }
    json_decref(object);
    return progress;
}
