/* store_stat.c: `larder store stat`: how full the store is, and of what. */
#include <inttypes.h>
#include <stdio.h>

#include "http/date.h"
#include "proxy/commands/progress.h"
#include "proxy/commands/store_command.h"
#include "proxy/server/worker.h"

enum { TEXT_MAX_BYTES = 16384 };

struct figures {
    const struct store_context *context;
    struct purge_journal *purges;
    struct store_survey survey;
    uint64_t head_bytes;
    uint64_t body_bytes;
    uint64_t largest_bytes;
    uint64_t fresh;
    uint64_t notes; /* larder's own, no responses: they have keys, too */
    uint64_t partial;
    uint64_t purged; /* dead, and not deleted yet */
    uint64_t damaged;
    uint64_t seen;
    int64_t oldest_ms; /* when they were received; meaningful if `seen` */
    int64_t newest_ms;
    int64_t now_ms;
    struct progress progress;
};

static bool on_item(void *arg, const struct store_item *item) /* store_item_fn */
{
    struct figures *figures = arg;
    const struct record *record = &item->stored.record;
    int64_t age_s;

    progress_step(&figures->progress, figures->seen + figures->notes + figures->damaged);
    if (item->fault != STORE_FAULT_NONE) {
        figures->damaged++;
        return true;
    }
    if (item->note) {
        figures->notes++;
        return true;
    }
    int64_t received_ms = record->inputs.response_ms;
    figures->oldest_ms = figures->seen == 0 || received_ms < figures->oldest_ms ? received_ms : figures->oldest_ms;
    figures->newest_ms = figures->seen == 0 || received_ms > figures->newest_ms ? received_ms : figures->newest_ms;
    figures->seen++;
    figures->head_bytes += (uint64_t)record->key_len + record->head_len + record->head_override.len;
    uint64_t body_bytes = store_body_bytes(record);
    figures->body_bytes += body_bytes;
    figures->largest_bytes = body_bytes > figures->largest_bytes ? body_bytes : figures->largest_bytes;
    figures->partial += record_is_partial(record);
    /* Where a purge may name it, key and head are there. */
    struct purge_verdict purged =
        purge_journal_judge(figures->purges, item->key, item->stored.head, record->purge_sequence);
    figures->purged += purged.effect == PURGED_HARD;
    figures->fresh += store_fresh_for(figures->context, record, &purged, figures->now_ms, &age_s) > 0;
    return true;
}

static void line_size(struct buf *out, const char *label, uint64_t bytes, uint64_t of)
{
    buf_format(out, "  %-14s ", label);
    store_add_size(out, bytes);
    if (of > 0) {
        buf_format(out, ", %.1f %%", (double)bytes / (double)of * 100);
    }
    buf_add_byte(out, '\n');
}

static void line_count(struct buf *out, const char *label, uint64_t count)
{
    buf_format(out, "  %-14s %" PRIu64 "\n", label, count);
}

static void line_time(struct buf *out, const char *label, int64_t time_ms, int64_t now_ms)
{
    char text[DATE_RFC3339_LEN];

    date_format_rfc3339(time_ms / 1000, text);
    buf_format(out, "  %-14s %.*s, ", label, DATE_RFC3339_LEN, text);
    store_add_duration(out, (now_ms - time_ms) / 1000);
    buf_add_text(out, " ago\n");
}

static void write_text(const struct figures *figures, const char *dir, struct buf *out)
{
    const struct store_survey *survey = &figures->survey;

    buf_format(out, "%s: format %" PRIu64 "\n", dir, survey->format);
    line_size(out, "size", survey->limit_bytes, 0);
    line_size(out, "used", survey->used_bytes, survey->limit_bytes);
    line_size(out, "bodies", figures->body_bytes, survey->limit_bytes);
    line_size(out, "keys, heads", figures->head_bytes, survey->limit_bytes);
    line_size(out, "on the disk", survey->disk_bytes, 0);
    line_count(out, "responses", survey->objects);
    line_count(out, "keys", survey->keys);
    line_count(out, "fresh", figures->fresh);
    line_count(out, "partial", figures->partial);
    line_count(out, "purged", figures->purged);
    line_size(out, "largest", figures->largest_bytes, 0);
    if (figures->seen > 0) {
        line_time(out, "oldest", figures->oldest_ms, figures->now_ms);
        line_time(out, "newest", figures->newest_ms, figures->now_ms);
    }
    line_count(out, "unfinished", survey->pending_bodies);
    line_count(out, "purges", survey->purges);
    line_count(out, "commits", survey->commits);
    buf_format(out, "  %-14s %u of %u slots, %u stale, oldest %" PRIu64 " commits behind\n", "readers", survey->readers,
               survey->reader_slots, survey->stale_readers, survey->oldest_reader);
    if (figures->damaged > 0) {
        line_count(out, "damaged", figures->damaged);
    }
}

static void write_json(const struct figures *figures, const char *dir, struct buf *out)
{
    const struct store_survey *survey = &figures->survey;

    buf_add_text(out, "{\"dir\":");
    buf_add_json_string(out, span_of(dir));
    buf_format(out, ",\"format\":%" PRIu64 ",\"size_bytes\":%" PRIu64 ",\"used_bytes\":%" PRIu64, survey->format,
               survey->limit_bytes, survey->used_bytes);
    buf_format(out, ",\"body_bytes\":%" PRIu64 ",\"head_bytes\":%" PRIu64 ",\"disk_bytes\":%" PRIu64,
               figures->body_bytes, figures->head_bytes, survey->disk_bytes);
    buf_format(out,
               ",\"responses\":%" PRIu64 ",\"keys\":%" PRIu64 ",\"fresh\":%" PRIu64 ",\"partial\":%" PRIu64
               ",\"purged\":%" PRIu64 ",\"largest_bytes\":%" PRIu64,
               survey->objects, survey->keys, figures->fresh, figures->partial, figures->purged,
               figures->largest_bytes);
    if (figures->seen > 0) {
        buf_format(out, ",\"oldest_ms\":%" PRId64 ",\"newest_ms\":%" PRId64, figures->oldest_ms, figures->newest_ms);
    }
    buf_format(out, ",\"unfinished\":%" PRIu64 ",\"purges\":%" PRIu64 ",\"commits\":%" PRIu64 ",\"pieces\":%" PRIu64,
               survey->pending_bodies, survey->purges, survey->commits, survey->pieces);
    buf_format(out,
               ",\"readers\":%u,\"reader_slots\":%u,\"stale_readers\":%u,\"oldest_reader_commits\":%" PRIu64
               ",\"damaged\":%" PRIu64 "}\n",
               survey->readers, survey->reader_slots, survey->stale_readers, survey->oldest_reader, figures->damaged);
}

/* The survey counted rows. Those noted since are in neither. */
static void leave_out_notes(struct figures *figures)
{
    struct store_survey *survey = &figures->survey;

    survey->objects -= figures->notes < survey->objects ? figures->notes : survey->objects;
    survey->keys -= figures->notes < survey->keys ? figures->notes : survey->keys;
}

int store_stat_run(struct store_context *context)
{
    struct figures figures = {.context = context, .now_ms = worker_now_ms()};
    struct store_tour walk = {.records_only = true, .with_notes = true, .visit = on_item, .arg = &figures};
    struct store_reader *reader;
    struct store *store = store_context_look(context, &reader);
    struct buf out;

    if (store == NULL) {
        return STORE_EXIT_FAILED;
    }
    if (!store_context_purges(context, reader, &figures.purges)) {
        store_context_leave(store, reader);
        return STORE_EXIT_FAILED;
    }
    walk.heads_before = purge_journal_newest(figures.purges);
    enum err error = store_survey_of(store, &figures.survey);
    if (error == ERR_OK) {
        progress_begin(&figures.progress, "stat", figures.survey.objects, context->arguments->quiet);
        error = store_walk_objects(reader, &walk);
        progress_end(&figures.progress);
        leave_out_notes(&figures);
    }
    purge_journal_destroy(figures.purges);
    store_context_leave(store, reader);
    if (error != ERR_OK) {
        return store_context_fail(context, error);
    }
    buf_init(&out, TEXT_MAX_BYTES);
    if (context->arguments->json) {
        write_json(&figures, context->dir, &out);
    } else {
        write_text(&figures, context->dir, &out);
    }
    printf("%.*s", SPAN_ARG(buf_span(&out)));
    buf_finish(&out);
    return figures.damaged > 0 ? STORE_EXIT_DAMAGE : STORE_EXIT_OK;
}
