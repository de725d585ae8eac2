/* store_compact.c: `larder store compact`: the file written anew, without what was deleted in it. */
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>

#include "proxy/commands/progress.h"
#include "proxy/commands/store_command.h"
#include "proxy/io/thread.h"

/* LMDB copies in one call and says nothing meanwhile: another thread watches the new file grow. */
struct watch {
    char path[PATH_MAX];
    struct progress progress;
    atomic_bool done;
};

static void *watch_file(void *arg)
{
    enum { EVERY_NS = 100000000 };
    struct watch *watch = arg;
    struct timespec pause = {.tv_nsec = EVERY_NS};
    struct stat status;

    while (!atomic_load(&watch->done)) {
        if (stat(watch->path, &status) == 0) {
            progress_step(&watch->progress, (uint64_t)status.st_size);
        }
        (void)nanosleep(&pause, NULL); /* interrupted: then it was shorter */
    }
    return NULL;
}

static enum err compact(struct store_context *context, struct store *store, uint64_t used_bytes, struct buf *note)
{
    struct watch watch = {.done = false};
    pthread_t thread;
    int len = snprintf(watch.path, sizeof watch.path, "%s/" STORE_COMPACT_FILE, context->dir);

    progress_begin(&watch.progress, "compact", used_bytes, context->arguments->quiet);
    bool watched =
        watch.progress.on && len > 0 && (size_t)len < sizeof watch.path && thread_start(&thread, watch_file, &watch);
    enum err error = store_compact(store, note);
    atomic_store(&watch.done, true);
    if (watched) {
        (void)pthread_join(thread, NULL); /* it is ours and joined once */
    }
    progress_end(&watch.progress);
    return error;
}

static bool survey(struct store_context *context, struct store_survey *out_survey)
{
    struct store_reader *reader;
    struct store *store = store_context_look(context, &reader);

    if (store == NULL) {
        return false;
    }
    enum err error = store_survey_of(store, out_survey);
    store_context_leave(store, reader);
    return error == ERR_OK || store_context_fail(context, error) == STORE_EXIT_OK;
}

int store_compact_run(struct store_context *context)
{
    struct store_survey before;
    struct store_survey after;
    struct buf text;

    struct store *store = store_context_own(context, false);
    if (store == NULL) {
        return store_context_status(context);
    }
    enum err error = store_survey_of(store, &before);
    buf_init(&text, 1024);
    if (error == ERR_OK) {
        error = compact(context, store, before.used_bytes, &text);
    } else {
        store_close(store);
    }
    if (error != ERR_OK) {
        buf_format(context->error, "store compact: %s, the file is as it was%s%.*s", err_text(error),
                   text.len > 0 ? ": " : "", SPAN_ARG(buf_span(&text)));
        buf_finish(&text);
        return error == ERR_DAMAGED ? STORE_EXIT_DAMAGE : STORE_EXIT_FAILED;
    }
    bool known = survey(context, &after);
    if (known) {
        buf_clear(&text);
        store_add_size(&text, before.disk_bytes);
        buf_add_text(&text, " before, ");
        store_add_size(&text, after.disk_bytes);
        buf_format(&text, " after; %" PRIu64 " responses", after.objects);
        printf("%s: compacted: %.*s\n", context->dir, SPAN_ARG(buf_span(&text)));
    }
    buf_finish(&text);
    return known ? STORE_EXIT_OK : STORE_EXIT_FAILED;
}
