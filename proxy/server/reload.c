/* reload.c: see reload.h. */
#include "proxy/server/reload.h"

#include <stddef.h>
#include <string.h>

#include "http/check.h"
#include "proxy/io/log.h"
#include "proxy/server/listener.h"
#include "proxy/why/check_tests.h"

enum { ERROR_MAX_BYTES = 65536 };

#define FIXED(name, field)                                                                                             \
    {                                                                                                                  \
        name, offsetof(struct config, field), sizeof(((struct config *)NULL)->field)                                   \
    }

/* What the store and the threads were made with. */
static const struct {
    const char *name;
    size_t offset;
    size_t bytes;
} fixed[] = {
    FIXED("server.workers", server.workers),
    FIXED("server.limits.stream_buffer", server.stream_buffer_bytes),
    FIXED("server.limits.stream_memory", server.stream_memory_bytes),
    FIXED("cache.size", cache.size_bytes),
    FIXED("cache.max_variants", cache.max_variants),
    FIXED("cache.write_queue", cache.write_queue_bytes),
    FIXED("cache.hit_for_miss", cache.hit_for_miss_ms),
    FIXED("cache.hot_memory", cache.hot_bytes),
};

#undef FIXED

static void say_kept(struct config *config, const char *name)
{
    log_warn("a restart is needed for this setting, it stays as it is setting=%s", name);
    REQUIRE(config->kept_count < CONFIG_KEPT_MAX);
    config->kept[config->kept_count++] = name;
}

static bool is_same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

/* False: no memory. The text goes to the arena of the new configuration, which outlives the current one. */
static bool keep_text(struct config *config, const char *name, const char **to, const char *from)
{
    struct span copy = {0};

    if (is_same_text(*to, from)) {
        return true;
    }
    say_kept(config, name);
    if (from != NULL && !arena_copy(&config->arena, (struct span){from, strlen(from) + 1}, &copy)) {
        return false;
    }
    *to = copy.data; /* with its zero */
    return true;
}

/* The administration's addresses stay as they are. False: no memory. */
static bool keep_admin_listen(struct config *config, const struct config *current)
{
    size_t count = current->admin.listen_count;
    bool same = config->admin.listen_count == count;

    for (size_t i = 0; i < count && same; i++) {
        same = address_equal(&config->admin.listen[i], &current->admin.listen[i]);
    }
    if (same) {
        return true;
    }
    say_kept(config, "admin.listen");
    struct address *kept = arena_alloc(&config->arena, (count + 1) * sizeof(*kept));
    for (size_t i = 0; i < count && kept != NULL; i++) {
        struct span host = {current->admin.listen[i].host, strlen(current->admin.listen[i].host) + 1};
        kept[i] = current->admin.listen[i];
        if (!arena_copy(&config->arena, host, &host)) {
            return false;
        }
        kept[i].host = host.data; /* with its zero */
    }
    config->admin.listen = kept;
    config->admin.listen_count = count;
    return kept != NULL;
}

/* False: no memory. */
static bool keep_fixed(struct config *config, const struct config *current)
{
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
        char *to = (char *)config + fixed[i].offset;
        const char *from = (const char *)current + fixed[i].offset;
        if (memcmp(to, from, fixed[i].bytes) != 0) {
            say_kept(config, fixed[i].name);
            memcpy(to, from, fixed[i].bytes);
        }
    }
    if (config->cache.max_object_bytes > config->cache.size_bytes / 2) {
        config->cache.max_object_bytes = config->cache.size_bytes / 2;
    }
    config->server.instance_id = current->server.instance_id;
    return keep_text(config, "server.user", &config->server.user, current->server.user) &&
           keep_text(config, "server.group", &config->server.group, current->server.group) &&
           keep_text(config, "cache.dir", &config->cache.dir, current->cache.dir) &&
           keep_text(config, "admin.socket", &config->admin.socket, current->admin.socket) &&
           keep_admin_listen(config, current);
}

/* A line of the log for each line. */
static void say_refused(const struct buf *error)
{
    struct span rest = buf_span(error);

    log_error("the new configuration is refused, the former one goes on");
    while (rest.len > 0) {
        size_t end = span_find(rest, '\n');
        struct span line = span_take(rest, end);
        log_error("%.*s", SPAN_ARG(line));
        rest = span_skip(rest, line.len + 1);
    }
}

struct config *reload_config(const struct config_flags *flags, const struct config *current)
{
    struct buf error;

    buf_init(&error, ERROR_MAX_BYTES);
    struct config *config = check_tests_load(flags, &error);
    if (config != NULL && !keep_fixed(config, current)) {
        buf_add_text(&error, err_text(ERR_NO_MEMORY));
        config_destroy(config);
        config = NULL;
    }
    if (config == NULL) {
        say_refused(&error);
    }
    buf_finish(&error);
    return config;
}
