/* store_transfer.c: `larder store export FILE` and `larder store import FILE`.
 *
 * Either may be interrupted (interrupt.h): an export leaves nothing, an import all that was whole by then. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/transfer.h"
#include "proxy/commands/export_file.h"
#include "proxy/commands/interrupt.h"
#include "proxy/commands/progress.h"
#include "proxy/commands/store_command.h"
#include "proxy/io/log.h"
#include "proxy/server/worker.h"

struct transfer {
    FILE *file;
    struct progress progress;
    uint64_t bytes; /* so far */
    int failed;     /* errno */
};

static bool is_standard(const char *file)
{
    return strcmp(file, "-") == 0;
}

/* ---- export ---- */

static bool on_put(void *arg, struct span bytes) /* archive_put_fn */
{
    struct transfer *transfer = arg;

    if (interrupt_came()) {
        return false;
    }
    transfer->bytes += bytes.len;
    if (fwrite(bytes.data, 1, bytes.len, transfer->file) != bytes.len) {
        transfer->failed = errno;
        return false;
    }
    return true;
}

static bool on_objects(void *arg, uint64_t done)
{
    struct transfer *transfer = arg;

    progress_step(&transfer->progress, done);
    return !interrupt_came();
}

static void add_count(struct buf *out, uint64_t count, const char *what)
{
    if (count > 0) {
        buf_format(out, "; %" PRIu64 " %s", count, what);
    }
}

/* One with a slip in it would let out what was to stay in. */
static void tell_needless(const struct export_options *options)
{
    for (size_t i = 0; i < options->exclude_count; i++) {
        if (options->exclude[i].matches == 0) {
            fprintf(stderr, "larder: store export: --exclude %s excludes nothing\n",
                    log_quoted(options->exclude[i].text).text);
        }
    }
}

static void tell_export(const struct export_result *result, uint64_t bytes)
{
    struct buf text;

    buf_init(&text, 1024);
    buf_format(&text, "%" PRIu64 " responses, ", result->responses);
    store_add_size(&text, bytes);
    add_count(&text, result->excluded, "excluded");
    add_count(&text, result->recorded, "recorded and left out");
    add_count(&text, result->partial, "partial and left out");
    add_count(&text, result->purged, "purged and left out");
    add_count(&text, result->gone, "removed meanwhile");
    add_count(&text, result->damaged, "damaged and left out");
    fprintf(stderr, "exported %.*s\n", SPAN_ARG(buf_span(&text)));
    buf_finish(&text);
}

/* STORE_EXIT_OK: all of it was written, and to be believed. */
static int write_export(struct store_context *context, struct store *store, struct store_reader *reader,
                        struct export_options *options, struct export_result *out_result)
{
    struct transfer *transfer = options->arg;
    struct store_survey survey = {0};

    enum err error = store_survey_of(store, &survey);
    if (error == ERR_OK) {
        progress_begin(&transfer->progress, "export", survey.objects, context->arguments->quiet);
        error = export_run(reader, options, out_result);
        progress_end(&transfer->progress);
    }
    return error == ERR_OK || transfer->failed != 0 ? STORE_EXIT_OK : store_context_fail(context, error);
}

static int export_to(struct store_context *context, struct store *store, struct store_reader *reader,
                     struct export_file *file)
{
    const struct store_arguments *arguments = context->arguments;
    struct transfer transfer = {.file = file->stream};
    struct export_pattern exclude[STORE_EXCLUDE_MAX];
    struct export_options options = {.exclude = exclude,
                                     .exclude_count = arguments->exclude_count,
                                     .without_tagged = arguments->without_tagged,
                                     .without_private = arguments->without_private,
                                     .now_ms = worker_now_ms(),
                                     .put = on_put,
                                     .progress = on_objects,
                                     .arg = &transfer};
    struct export_result result = {0};

    for (size_t i = 0; i < arguments->exclude_count; i++) {
        exclude[i] = (struct export_pattern){.text = span_of(arguments->exclude[i])};
    }
    int status = write_export(context, store, reader, &options, &result);
    if (transfer.failed != 0) {
        export_file_fail(file, transfer.failed, context->error);
        status = STORE_EXIT_FAILED;
    }
    if (status != STORE_EXIT_OK || interrupt_came()) {
        export_file_abandon(file);
        return STORE_EXIT_FAILED;
    }
    if (!export_file_finish(file, context->error)) {
        return STORE_EXIT_FAILED;
    }
    tell_needless(&options);
    tell_export(&result, transfer.bytes);
    return result.damaged > 0 ? STORE_EXIT_DAMAGE : STORE_EXIT_OK;
}

static int tell_stopped_export(struct store_context *context, const struct export_file *file)
{
    buf_clear(context->error); /* it was about the same */
    if (export_file_is_straight(file)) {
        buf_add_text(context->error, "store export: stopped: what was written is not whole");
    } else {
        buf_format(context->error, "store export: stopped: %s is as it was", log_quoted(span_of(file->name)).text);
    }
    return STORE_EXIT_FAILED;
}

int store_export_run(struct store_context *context)
{
    struct export_file file;
    struct store_reader *reader;
    struct store *store = store_context_look(context, &reader);
    int status = STORE_EXIT_FAILED;

    if (store == NULL) {
        return STORE_EXIT_FAILED;
    }
    interrupt_watch();
    if (export_file_open(&file, context->arguments->word, context->error)) {
        status = export_to(context, store, reader, &file);
    }
    if (status == STORE_EXIT_FAILED && interrupt_came()) {
        status = tell_stopped_export(context, &file);
    }
    store_context_leave(store, reader);
    return status;
}

/* ---- import ---- */

static size_t on_get(void *arg, char *to, size_t max) /* archive_get_fn */
{
    struct transfer *transfer = arg;
    size_t got = interrupt_came() ? 0 : fread(to, 1, max, transfer->file);

    if (got == 0 && ferror(transfer->file) != 0) {
        transfer->failed = errno;
    }
    transfer->bytes += got;
    progress_step(&transfer->progress, transfer->bytes);
    return got;
}

static void tell_import(const struct import_result *result)
{
    struct buf text;

    buf_init(&text, 1024);
    buf_format(&text, "%" PRIu64 " responses, ", result->responses);
    store_add_size(&text, result->body_bytes);
    buf_add_text(&text, " of bodies");
    add_count(&text, result->kept, "were there already, as new or newer");
    add_count(&text, result->too_large, "larger than half of the store");
    add_count(&text, result->abandoned, "given up by the export");
    fprintf(stderr, "imported %.*s\n", SPAN_ARG(buf_span(&text)));
    buf_finish(&text);
    if (result->evicted > 0) {
        fprintf(stderr,
                "larder: store import: not all of it fits: %" PRIu64 " responses were evicted again; --cache-size, or "
                "--config for a cache.size, makes a larger store\n",
                result->evicted);
    }
}

static int fail_import(struct store_context *context, const struct transfer *transfer, enum err error)
{
    const struct log_text quoted = log_quoted(span_of(context->arguments->word));
    const char *file = quoted.text;

    if (interrupt_came()) {
        buf_add_text(context->error, "store import: stopped: what was imported before is kept");
        return STORE_EXIT_FAILED;
    }
    if (transfer->failed != 0) {
        buf_format(context->error, "store import: cannot read %s: %s", file, strerror(transfer->failed));
        return STORE_EXIT_FAILED;
    }
    if (error == ERR_FOREIGN) {
        buf_format(context->error, "store import: %s is no export of larder, or one of another version", file);
        return STORE_EXIT_FAILED;
    }
    if (error == ERR_TRUNCATED || error == ERR_DAMAGED) {
        buf_format(context->error, "store import: %s is %s: stopped there; what was imported before is good", file,
                   error == ERR_TRUNCATED ? "truncated" : "damaged");
        return STORE_EXIT_DAMAGE;
    }
    return store_context_fail(context, error);
}

/* The file is looked at first: what is no export makes no store. */
static int import_from(struct store_context *context, struct transfer *transfer)
{
    struct archive_reader *archive;
    struct import_result result;
    struct stat status;
    bool sized = fstat(fileno(transfer->file), &status) == 0 && S_ISREG(status.st_mode);

    enum err error = archive_open(on_get, transfer, &archive);
    if (error != ERR_OK) {
        return fail_import(context, transfer, error);
    }
    struct store *store = store_context_own(context, true);
    if (store == NULL) {
        archive_close(archive);
        return store_context_status(context);
    }
    interrupt_watch(); /* until now there is nothing to be ended well */
    progress_begin(&transfer->progress, "import", sized ? (uint64_t)status.st_size : 0, context->arguments->quiet);
    error = import_run(store, archive, worker_now_ms(), &result);
    progress_end(&transfer->progress);
    archive_close(archive);
    store_close(store);
    tell_import(&result);
    return error == ERR_OK ? STORE_EXIT_OK : fail_import(context, transfer, error);
}

int store_import_run(struct store_context *context)
{
    const char *name = context->arguments->word;
    struct transfer transfer = {.file = is_standard(name) ? stdin : fopen(name, "rb")};
    if (transfer.file == NULL) {
        buf_format(context->error, "store import: cannot read %s: %s", log_quoted(span_of(name)).text, strerror(errno));
        return STORE_EXIT_FAILED;
    }
    int status = import_from(context, &transfer);
    if (transfer.file != stdin) {
        (void)fclose(transfer.file); /* it was only read */
    }
    return status;
}
