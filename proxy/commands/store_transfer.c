/* store_transfer.c: `larder store export FILE` and `larder store import FILE`.
 *
 * An export is written beside FILE and takes its name once it is whole and on the disk: a FILE that is there can be
 * believed. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/transfer.h"
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

    transfer->bytes += bytes.len;
    if (fwrite(bytes.data, 1, bytes.len, transfer->file) != bytes.len) {
        transfer->failed = errno;
        return false;
    }
    return true;
}

static void on_objects(void *arg, uint64_t done)
{
    struct transfer *transfer = arg;

    progress_step(&transfer->progress, done);
}

/* Where the bytes go until they are whole. NULL with a line in `error`. */
static FILE *open_out(struct store_context *context, const char *partial)
{
    const char *name = context->arguments->word;

    if (is_standard(name)) {
        if (isatty(STDOUT_FILENO) == 1) {
            buf_add_text(context->error, "store export: standard output is a terminal: give a file, or | to something");
            return NULL;
        }
        return stdout;
    }
    FILE *file = fopen(partial, "wb");
    if (file == NULL) {
        buf_format(context->error, "store export: cannot write %s: %s", partial, strerror(errno));
    }
    return file;
}

/* Everything is on the disk, and under its name. */
static bool finish_out(struct store_context *context, struct transfer *transfer, const char *partial, bool whole)
{
    const char *name = context->arguments->word;
    bool standard = is_standard(name);

    if (whole && transfer->failed == 0 &&
        (fflush(transfer->file) != 0 || (!standard && fsync(fileno(transfer->file)) != 0))) {
        transfer->failed = errno;
    }
    if (!standard) {
        if (fclose(transfer->file) != 0 && transfer->failed == 0) {
            transfer->failed = errno;
        }
        if (whole && transfer->failed == 0 && rename(partial, name) != 0) {
            transfer->failed = errno;
        }
        if (!whole || transfer->failed != 0) {
            (void)unlink(partial); /* nobody needs it */
        }
    }
    if (transfer->failed != 0) {
        buf_format(context->error, "store export: cannot write %s: %s", name, strerror(transfer->failed));
    }
    return whole && transfer->failed == 0;
}

static void tell_export(const struct export_result *result, uint64_t bytes)
{
    struct buf text;

    buf_init(&text, 1024);
    buf_format(&text, "%" PRIu64 " responses, ", result->responses);
    store_add_size(&text, bytes);
    if (result->excluded > 0) {
        buf_format(&text, "; %" PRIu64 " excluded", result->excluded);
    }
    if (result->recorded > 0) {
        buf_format(&text, "; %" PRIu64 " recorded and left out", result->recorded);
    }
    if (result->partial > 0) {
        buf_format(&text, "; %" PRIu64 " partial and left out", result->partial);
    }
    if (result->purged > 0) {
        buf_format(&text, "; %" PRIu64 " purged and left out", result->purged);
    }
    if (result->gone > 0) {
        buf_format(&text, "; %" PRIu64 " removed meanwhile", result->gone);
    }
    if (result->damaged > 0) {
        buf_format(&text, "; %" PRIu64 " damaged and left out", result->damaged);
    }
    fprintf(stderr, "exported %.*s\n", SPAN_ARG(buf_span(&text)));
    buf_finish(&text);
}

static int export_to(struct store_context *context, struct store *store, struct store_reader *reader,
                     const char *partial)
{
    const struct store_arguments *arguments = context->arguments;
    struct transfer transfer = {.file = open_out(context, partial)};
    struct span exclude[STORE_EXCLUDE_MAX];
    struct export_options options = {.exclude = exclude,
                                     .exclude_count = arguments->exclude_count,
                                     .without_tagged = arguments->without_tagged,
                                     .without_private = arguments->without_private,
                                     .now_ms = worker_now_ms(),
                                     .put = on_put,
                                     .progress = on_objects,
                                     .arg = &transfer};
    struct export_result result = {0};
    struct store_survey survey = {0};

    if (transfer.file == NULL) {
        return STORE_EXIT_FAILED;
    }
    for (size_t i = 0; i < arguments->exclude_count; i++) {
        exclude[i] = span_of(arguments->exclude[i]);
    }
    enum err error = store_survey_of(store, &survey);
    if (error == ERR_OK) {
        progress_begin(&transfer.progress, "export", survey.objects, arguments->quiet);
        error = export_run(reader, &options, &result);
        progress_end(&transfer.progress);
    }
    if (!finish_out(context, &transfer, partial, error == ERR_OK)) {
        return context->error->len > 0 ? STORE_EXIT_FAILED : store_context_fail(context, error);
    }
    tell_export(&result, transfer.bytes);
    return result.damaged > 0 ? STORE_EXIT_DAMAGE : STORE_EXIT_OK;
}

int store_export_run(struct store_context *context)
{
    char partial[PATH_MAX];
    struct store_reader *reader;
    int len = snprintf(partial, sizeof partial, "%s.partial", context->arguments->word);

    if (len < 0 || (size_t)len >= sizeof partial) {
        buf_add_text(context->error, "store export: the file's name is too long");
        return STORE_EXIT_FAILED;
    }
    struct store *store = store_context_look(context, &reader);
    if (store == NULL) {
        return STORE_EXIT_FAILED;
    }
    int status = export_to(context, store, reader, partial);
    store_context_leave(store, reader);
    return status;
}

/* ---- import ---- */

static size_t on_get(void *arg, char *to, size_t max) /* archive_get_fn */
{
    struct transfer *transfer = arg;
    size_t got = fread(to, 1, max, transfer->file);

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
    if (result->kept > 0) {
        buf_format(&text, "; %" PRIu64 " were there already, as new or newer", result->kept);
    }
    if (result->too_large > 0) {
        buf_format(&text, "; %" PRIu64 " larger than half of the store", result->too_large);
    }
    if (result->abandoned > 0) {
        buf_format(&text, "; %" PRIu64 " given up by the export", result->abandoned);
    }
    fprintf(stderr, "imported %.*s\n", SPAN_ARG(buf_span(&text)));
    buf_finish(&text);
}

static int fail_import(struct store_context *context, const struct transfer *transfer, enum err error)
{
    const struct log_text quoted = log_quoted(span_of(context->arguments->word));
    const char *file = quoted.text;

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
        return STORE_EXIT_FAILED;
    }
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
