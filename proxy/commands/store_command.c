/* store_command.c: from the words behind `larder store` to the command, and what the commands share. */
#include "proxy/commands/store_command.h"

#include <inttypes.h>

#include "cache/freshness.h"
#include "proxy/io/log.h"
#include "proxy/server/process.h"

static const struct {
    const char *name;
    int (*run)(struct store_context *context);
} commands[STORE_VERB_COUNT] = {
    [STORE_STAT] = {"stat", store_stat_run},
    [STORE_CHECK] = {"check", store_check_run},
    [STORE_COMPACT] = {"compact", store_compact_run},
    [STORE_LS] = {"ls", store_ls_run},
    [STORE_GET] = {"get", store_get_run},
    [STORE_EXPORT] = {"export", store_export_run},
    [STORE_IMPORT] = {"import", store_import_run},
};

int store_command_run(const struct store_arguments *arguments, struct buf *error)
{
    struct config_flags flags = {
        .file = arguments->config_file, .cache_dir = arguments->cache_dir, .cache_size = arguments->cache_size};

    if (flags.file == NULL) {
        flags.origin = "http://127.0.0.1"; /* a configuration needs one; here nothing is ever asked */
    }
    struct config *config = config_load(&flags, error);
    if (config == NULL) {
        return STORE_EXIT_FAILED;
    }
    struct store_context context = {.arguments = arguments, .config = config, .dir = config->cache.dir, .error = error};
    int status = commands[arguments->verb].run(&context);
    config_destroy(config);
    return status;
}

/* ---- opening ---- */

static void fail_open(struct store_context *context, enum err error, const struct buf *note)
{
    const char *name = commands[context->arguments->verb].name;

    context->opened = error;
    if (error == ERR_IN_USE) {
        buf_format(context->error, "store %s: %s is in use by another larder: stop it first", name, context->dir);
        return;
    }
    buf_format(context->error, "store %s: cannot open the store in %s: ", name, context->dir);
    if (note->len > 0) { /* it knows more */
        buf_add(context->error, buf_span(note));
    } else {
        buf_add_text(context->error, error == ERR_NOT_FOUND ? "there is none" : err_text(error));
    }
    if (error == ERR_NOT_FOUND) {
        buf_add_text(context->error, ": see --config and --cache-dir");
    }
}

struct store *store_context_look(struct store_context *context, struct store_reader **out_reader)
{
    struct store *store = NULL;
    struct buf note;

    buf_init(&note, 1024);
    enum err error = store_open_readonly(context->dir, &store, &note);
    if (error == ERR_OK) {
        *out_reader = store_reader_create(store);
        if (*out_reader == NULL) {
            error = ERR_LIMIT;
            store_close(store);
            store = NULL;
        }
    }
    if (error != ERR_OK) {
        fail_open(context, error, &note);
    }
    buf_finish(&note);
    return store;
}

void store_context_leave(struct store *store, struct store_reader *reader)
{
    store_reader_destroy(reader);
    store_close(store);
}

struct store *store_context_own(struct store_context *context, bool make)
{
    uint64_t size_bytes = store_size_in(context->dir);
    struct store_options options = {.dir = context->dir,
                                    .size_bytes = size_bytes > 0 ? size_bytes : context->config->cache.size_bytes,
                                    .max_variants = (unsigned)context->config->cache.max_variants,
                                    .keep = true};
    struct store *store = NULL;
    enum err error = ERR_NOT_FOUND;
    struct buf note;

    context->opened = ERR_IO;
    if (make && !process_make_cache_dir(context->config, context->error)) {
        return NULL;
    }
    buf_init(&note, 1024);
    if (size_bytes > 0 || make) {
        error = store_open(&options, &store, &note);
    }
    if (error != ERR_OK) {
        fail_open(context, error, &note);
        if (store_context_status(context) == STORE_EXIT_DAMAGE) {
            buf_add_text(context->error, ": nothing was changed; a start of larder would begin empty here");
        }
    } else if (note.len > 0) {
        log_warn("the store was opened with a change dir=%s what=%s", log_quoted(span_of(context->dir)).text,
                 log_quoted(buf_span(&note)).text);
    }
    buf_finish(&note);
    return store;
}

bool store_context_purges(struct store_context *context, struct store_reader *reader, struct purge_journal **out_purges)
{
    enum err error = purge_journal_load(reader, out_purges);

    if (error != ERR_OK) {
        (void)store_context_fail(context, error); /* which says it */
    }
    return error == ERR_OK;
}

int store_context_status(const struct store_context *context)
{
    return context->opened == ERR_DAMAGED || context->opened == ERR_FOREIGN ? STORE_EXIT_DAMAGE : STORE_EXIT_FAILED;
}

int store_context_fail(struct store_context *context, enum err error)
{
    buf_format(context->error, "store %s: cannot go on: %s", commands[context->arguments->verb].name, err_text(error));
    return STORE_EXIT_FAILED;
}

/* ---- texts ---- */

void store_add_duration(struct buf *out, int64_t seconds)
{
    enum { MINUTE = 60, HOUR = 3600, DAY = 86400 };

    if (seconds < 2 * MINUTE) {
        buf_format(out, "%" PRId64 " s", seconds);
    } else if (seconds < 2 * HOUR) {
        buf_format(out, "%" PRId64 " min", seconds / MINUTE);
    } else if (seconds < 2 * DAY) {
        buf_format(out, "%" PRId64 " h", seconds / HOUR);
    } else {
        buf_format(out, "%" PRId64 " d", seconds / DAY);
    }
}

void store_add_size(struct buf *out, uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes / 1024;
    size_t unit = 0;

    if (bytes < 1024) {
        buf_format(out, "%" PRIu64 " B", bytes);
        return;
    }
    while (value >= 1024 && unit + 1 < ARRAY_LEN(units)) {
        value /= 1024;
        unit++;
    }
    buf_format(out, value < 10 ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

int64_t store_fresh_for(const struct store_context *context, const struct record *record,
                        const struct purge_verdict *purged, int64_t now_ms, int64_t *out_age_s)
{
    const struct lifetime_override no_rule = {
        .ttl_s = -1, .default_ttl_s = -1, .max_heuristic_s = (int64_t)(context->config->cache.max_heuristic_ms / 1000)};
    struct freshness_inputs inputs = record->inputs;

    if (purged->effect == PURGED_SOFT) {
        inputs.purged_ms = purged->purge.time_ms;
    }
    struct freshness freshness = freshness_at(&inputs, &no_rule, now_ms);
    *out_age_s = freshness.age_s;
    return purged->effect == PURGED_HARD ? 0 : freshness.lifetime_s - freshness.age_s;
}
