/* site_mode.c: see site_mode.h. */
#include "proxy/config/site_mode.h"

#include <stdlib.h>
#include <string.h>

/* One site. Kept when a reload drops the site: it may come back, and former workers may still look. There are as many
 * as the configurations of this process had different sites. */
struct site_value {
    struct site_value *next;
    enum mode configured; /* by the configuration in force */
    atomic_uint now;
    size_t name_len; /* of the text, the path is the rest */
    size_t text_len;
    char text[];
};

struct site_modes {
    struct site_value *first;
};

static const char *const texts[] = {[MODE_NORMAL] = "normal", [MODE_OFFLINE] = "offline", [MODE_RECORD] = "record"};

struct site_modes *site_modes_create(void)
{
    return calloc(1, sizeof(struct site_modes));
}

void site_modes_destroy(struct site_modes *modes)
{
    if (modes == NULL) {
        return;
    }
    while (modes->first != NULL) {
        struct site_value *value = modes->first;
        modes->first = value->next;
        free(value);
    }
    free(modes);
}

static struct site_value *find(const struct site_modes *modes, const struct site *site)
{
    struct span name = span_of(site->name);

    for (struct site_value *value = modes->first; value != NULL; value = value->next) {
        if (span_equal((struct span){value->text, value->name_len}, name) &&
            span_equal(span_skip((struct span){value->text, value->text_len}, value->name_len), site->path_prefix)) {
            return value;
        }
    }
    return NULL;
}

static struct site_value *add(struct site_modes *modes, const struct site *site)
{
    size_t name_len = strlen(site->name);
    size_t text_len = name_len + site->path_prefix.len;
    struct site_value *value = calloc(1, sizeof(*value) + text_len);

    if (value != NULL) {
        value->configured = site->mode;
        atomic_init(&value->now, site->mode);
        value->name_len = name_len;
        value->text_len = text_len;
        memcpy(value->text, site->name, name_len);
        memcpy(value->text + name_len, site->path_prefix.data, site->path_prefix.len);
        value->next = modes->first;
        modes->first = value;
    }
    return value;
}

bool site_modes_bind(struct site_modes *modes, struct config *config)
{
    for (size_t i = 0; i < config->site_count; i++) {
        struct site *site = &config->sites[i];
        struct site_value *value = find(modes, site);
        value = value != NULL ? value : add(modes, site);
        if (value == NULL) {
            return false;
        }
        site->mode_now = &value->now;
    }
    return true;
}

void site_modes_adopt(struct site_modes *modes, const struct config *config)
{
    for (size_t i = 0; i < config->site_count; i++) {
        const struct site *site = &config->sites[i];
        struct site_value *value = find(modes, site);
        if (value != NULL && value->configured != site->mode) {
            value->configured = site->mode;
            atomic_store(&value->now, site->mode);
        }
    }
}

void site_mode_order(const struct site *site, enum mode mode)
{
    atomic_store(site->mode_now, mode);
}

const char *site_mode_text(enum mode mode)
{
    return texts[mode];
}

bool site_mode_of_text(struct span text, enum mode *out_mode)
{
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (span_equal(text, span_of(texts[i]))) {
            *out_mode = (enum mode)i;
            return true;
        }
    }
    return false;
}

/* "HOST", or "HOST/path" with the site's path. */
static bool is_named(const struct site *site, struct span host, struct span text)
{
    struct span rest = span_skip(text, host.len);

    return span_equal_nocase(span_take(text, host.len), host) && (rest.len == 0 || span_equal(rest, site->path_prefix));
}

bool site_mode_names(const struct site *site, struct span text)
{
    bool named = is_named(site, span_of(site->name), text);

    for (size_t i = 0; i < site->host_count && !named; i++) {
        named = is_named(site, site->hosts[i], text);
    }
    return named;
}
