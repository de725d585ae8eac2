/* export.c: from a store to an archive. See transfer.h. */
#include "cache/head.h"
#include "cache/key.h"
#include "cache/purge_journal.h"
#include "cache/transfer.h"
#include "cache/vary.h"
#include "http/tags.h"

enum { ARENA_BYTES = 8 * 1024 * 1024 /* a head as fields */ };

struct export
{
    struct store_reader *reader;
    const struct export_options *options;
    struct export_result result;
    struct archive_writer writer;
    struct arena arena;
    struct purge_journal *purges;
    uint64_t done;
    enum err error;
};

static bool is_purged(const struct export *export, const struct store_item *item);
static bool on_item(void *arg, const struct store_item *item);
static bool export_item(struct export *export, const struct store_item *item, struct span key,
                        const struct headers *head);
static bool write_item(struct export *export, const struct store_item *item, struct span key, struct span head);

enum err export_run(struct store_reader *reader, const struct export_options *options, struct export_result *out_result)
{
    struct export export = {.reader = reader, .options = options};
    struct store_tour walk = {.visit = on_item, .arg = &export};

    arena_init(&export.arena, ARENA_BYTES);
    enum err error = purge_journal_load(reader, &export.purges);
    if (error == ERR_OK && !archive_begin(&export.writer, options->put, options->arg, options->now_ms)) {
        error = ERR_IO;
    }
    if (error == ERR_OK) {
        error = store_walk_objects(reader, &walk);
    }
    if (error == ERR_OK) {
        error = export.error;
    }
    if (error == ERR_OK && !archive_end(&export.writer)) {
        error = ERR_IO;
    }
    export.result.responses = export.writer.responses;
    export.result.body_bytes = export.writer.body_bytes;
    archive_writer_finish(&export.writer);
    purge_journal_destroy(export.purges);
    arena_finish(&export.arena);
    *out_result = export.result;
    return error;
}

static bool is_purged(const struct export *export, const struct store_item *item)
{
    return purge_journal_judge(export->purges, item->key, item->stored.head, item->stored.record.purge_sequence)
               .effect != PURGED_NOT;
}

/* ---- responses ---- */

static bool on_item(void *arg, const struct store_item *item) /* store_item_fn */
{
    struct export *export = arg;
    struct span key = key_without_mark(item->key);
    struct headers head;
    bool more = true;

    export->done++;
    if (export->options->progress != NULL && !export->options->progress(export->options->arg, export->done)) {
        export->error = ERR_CANCELED;
        return false;
    }
    arena_reset(&export->arena);
    if (item->fault != STORE_FAULT_NONE || head_read(item->stored.head, &export->arena, &head) != ERR_OK) {
        export->result.damaged++;
    } else if (record_is_partial(&item->stored.record)) {
        export->result.partial++;
    } else if (is_purged(export, item)) {
        export->result.purged++;
    } else if (!key_is_of_uri(key)) {
        export->result.recorded++;
    } else if (export_excludes(export->options, key, item->stored.selection, &head)) {
        export->result.excluded++;
    } else {
        more = export_item(export, item, key, &head);
    }
    return more;
}

static bool on_bytes(void *arg, struct span bytes) /* store_take_fn */
{
    struct export *export = arg;

    return archive_write_data(&export->writer, bytes);
}

/* With the head that would be stored now: an older larder may have stored fields that an import refuses. */
static bool export_item(struct export *export, const struct store_item *item, struct span key,
                        const struct headers *head)
{
    struct buf lines;
    bool more = true;

    buf_init(&lines, RECORD_MAX_HEAD_BYTES);
    head_write(head, &lines);
    if (lines.starved) {
        export->error = ERR_NO_MEMORY;
        more = false;
    } else if (lines.failed) {
        export->result.excluded++;
    } else {
        more = write_item(export, item, key, buf_span(&lines));
    }
    buf_finish(&lines);
    return more;
}

/* Under the key of the URL itself: the mark that some have means nothing without the note of this store (search.h). */
static bool write_item(struct export *export, const struct store_item *item, struct span key, struct span head)
{
    struct archive_response response = {
        .key = key, .selection = item->stored.selection, .head = head, .record = item->stored.record};

    response.record.key_len = (uint32_t)key.len;
    response.record.head_len = (uint32_t)head.len;
    if (archive_write_response(&export->writer, &response)) {
        enum store_fault fault = store_read_body(export->reader, &item->stored.record, on_bytes, export);
        export->result.gone += fault == STORE_FAULT_GONE;
        export->result.damaged += fault != STORE_FAULT_NONE && fault != STORE_FAULT_GONE;
        (void)(fault == STORE_FAULT_NONE ? archive_write_whole(&export->writer)
                                         : archive_write_abandoned(&export->writer)); /* `failed` says it */
    }
    export->error = export->writer.failed ? ERR_IO : ERR_OK;
    return export->error == ERR_OK;
}

/* By any of the fields that a purge of many goes by: the customary ones, or Cache-Groups (RFC 9875). */
static bool is_tagged(const struct headers *head)
{
    struct tags tags = tags_of(head);
    struct span name;

    return tags_next(&tags, &name) || headers_has(head, SPAN("Cache-Groups"));
}

/* One user's, as far as a shared cache can tell: it may hold a cookie that was set for one, or be the answer to what
 * one sent to say who he is. Without Vary an answer to Authorization is stored only where the origin says that it is
 * everybody's (RFC 9111 §3.5). */
static bool is_private(struct span selection, const struct headers *head)
{
    struct span name;
    struct span value;
    bool present;

    while (vary_next(&selection, &name, &value, &present)) {
        if (present && (span_equal(name, SPAN("authorization")) || span_equal(name, SPAN("cookie")))) {
            return true;
        }
    }
    return headers_has(head, SPAN("Set-Cookie"));
}

bool export_excludes(const struct export_options *options, struct span key, struct span selection,
                     const struct headers *head)
{
    struct span url = key_url(key);
    bool matched = false;

    for (size_t i = 0; i < options->exclude_count; i++) {
        bool matches = uri_matches_pattern(url, options->exclude[i].text);
        options->exclude[i].matches += matches;
        matched = matched || matches;
    }
    return matched || (options->without_tagged && is_tagged(head)) ||
           (options->without_private && is_private(selection, head));
}
