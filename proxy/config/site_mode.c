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

static struct span name_of(const struct site_value *value)
{
    return (struct span){value->text, value->name_len};
}

static struct span path_of(const struct site_value *value)
{
    return (struct span){value->text + value->name_len, value->text_len - value->name_len};
}

static struct site_value *find(const struct site_modes *modes, const struct site *site)
{
    for (struct site_value *value = modes->first; value != NULL; value = value->next) {
        if (span_equal(name_of(value), span_of(site->name)) && span_equal(path_of(value), site->path_prefix)) {
            return value;
        }
    }
    return NULL;
}

static struct site_value *add(struct site_modes *modes, const struct mode_order *order)
{
    size_t text_len = order->name.len + order->path.len;
    struct site_value *value = calloc(1, sizeof(*value) + text_len);

    if (value != NULL) {
        value->configured = order->configured;
        atomic_init(&value->now, order->ordered);
        value->name_len = order->name.len;
        value->text_len = text_len;
        memcpy(value->text, order->name.data, order->name.len);
        memcpy(value->text + order->name.len, order->path.data, order->path.len);
        value->next = modes->first;
        modes->first = value;
    }
    return value;
}

bool site_modes_bind(struct site_modes *modes, struct config *config)
{
    for (size_t i = 0; i < config->site_count; i++) {
        struct site *site = &config->sites[i];
        const struct mode_order unchanged = {span_of(site->name), site->path_prefix, site->mode, site->mode};
        struct site_value *value = find(modes, site);
        value = value != NULL ? value : add(modes, &unchanged);
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

bool site_modes_tell(const struct site_modes *modes, bool (*tell)(void *arg, const struct mode_order *order), void *arg)
{
    bool told = true;

    for (const struct site_value *value = modes->first; value != NULL && told; value = value->next) {
        const struct mode_order order = {name_of(value), path_of(value), value->configured,
                                         (enum mode)atomic_load(&value->now)};
        told = order.ordered == order.configured || tell(arg, &order);
    }
    return told;
}

bool site_modes_learn(struct site_modes *modes, const struct mode_order *order)
{
    return add(modes, order) != NULL;
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
