/* reload.c: see reload.h. */
#include "proxy/reload.h"

#include <stddef.h>
#include <string.h>

#include "http/check.h"
#include "proxy/check_tests.h"
#include "proxy/log.h"

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
    FIXED("cache.size", cache.size_bytes),
    FIXED("cache.max_variants", cache.max_variants),
    FIXED("cache.write_queue", cache.write_queue_bytes),
    FIXED("cache.hit_for_miss", cache.hit_for_miss_ms),
};

#undef FIXED

static void say_kept(const char *name)
{
    log_warn("a restart is needed for this setting, it stays as it is setting=%s", name);
}

/* False: no memory. */
static bool keep_fixed(struct config *config, const struct config *current)
{
    struct span dir;

    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
        char *to = (char *)config + fixed[i].offset;
        const char *from = (const char *)current + fixed[i].offset;
        if (memcmp(to, from, fixed[i].bytes) != 0) {
            say_kept(fixed[i].name);
            memcpy(to, from, fixed[i].bytes);
        }
    }
    if (config->cache.max_object_bytes > config->cache.size_bytes / 2) {
        config->cache.max_object_bytes = config->cache.size_bytes / 2;
    }
    config->server.instance_id = current->server.instance_id;
    if (strcmp(config->cache.dir, current->cache.dir) == 0) {
        return true;
    }
    say_kept("cache.dir");
    /* With its zero. */
    if (!arena_copy(&config->arena, (struct span){current->cache.dir, strlen(current->cache.dir) + 1}, &dir)) {
        return false;
    }
    config->cache.dir = dir.data;
    return true;
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
