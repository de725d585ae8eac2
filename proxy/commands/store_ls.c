/* store_ls.c: `larder store ls`: what is stored, one line a response, in the order in which it was stored.
 *
 * Lines are written as the walk comes to them: memory does not grow with the store. There is no column for hits:
 * larder writes nothing to the disk for a hit, so nobody knows. */
#include <inttypes.h>
#include <stdio.h>

#include "cache/freshness.h"
#include "cache/search.h"
#include "cache/vary.h"
#include "http/uri.h"
#include "proxy/commands/store_command.h"
#include "proxy/io/log.h"
#include "proxy/server/worker.h"

enum { LINE_MAX_BYTES = 1024 * 1024 };

struct listing {
    const struct store_context *context;
    struct purge_journal *purges;
    struct span pattern; /* empty: everything */
    int64_t now_ms;
    uint64_t lines;
    uint64_t damaged;
    struct buf line;
};

/* Of what serves several URLs (cache/search.h), the plain one of them. */
static struct span url_of(struct span key)
{
    return key_url(key_without_mark(key));
}

static bool fits(const struct listing *listing, struct span key)
{
    return listing->pattern.len == 0 || uri_matches_pattern(url_of(key), listing->pattern);
}

static void add_padded(struct buf *out, size_t start, size_t width)
{
    while (out->len - start < width) {
        buf_add_byte(out, ' ');
    }
}

static void add_selection(struct buf *out, struct span selection)
{
    struct span name;
    struct span value;
    bool present;

    while (vary_next(&selection, &name, &value, &present)) {
        buf_format(out, "  %.*s=%s", SPAN_ARG(name), present ? log_quoted(value).text : "absent");
    }
}

static void add_freshness(struct buf *out, enum purge_effect purged, int64_t fresh_s)
{
    switch (purged) {
    case PURGED_HARD:
        buf_add_text(out, "purged");
        return;
    case PURGED_SOFT:
        buf_add_text(out, "stale, purged");
        return;
    case PURGED_NOT:
        buf_add_text(out, fresh_s > 0 ? "fresh " : "stale ");
        store_add_duration(out, fresh_s > 0 ? fresh_s : -fresh_s);
        return;
    }
    UNREACHABLE();
}

/* "200  3 s      fresh 4 min   1.5 KiB   1/1  http://…" */
static void write_text(const struct listing *listing, const struct store_item *item, const struct purge_verdict *purged,
                       struct buf *out)
{
    enum { AGE_AT = 5, FRESH_AT = 14, SIZE_AT = 29, VARIANT_AT = 39, URL_AT = 45 };
    const struct record *record = &item->stored.record;
    int64_t age_s;
    int64_t fresh_s = store_fresh_for(listing->context, record, purged, listing->now_ms, &age_s);

    buf_format(out, "%u", record->status);
    add_padded(out, 0, AGE_AT);
    store_add_duration(out, age_s);
    add_padded(out, 0, FRESH_AT);
    add_freshness(out, purged->effect, fresh_s);
    add_padded(out, 0, SIZE_AT);
    store_add_size(out, store_body_bytes(record));
    add_padded(out, 0, VARIANT_AT);
    buf_format(out, "%u/%u", item->variant, item->variants);
    add_padded(out, 0, URL_AT);
    buf_add(out, url_of(item->key));
    add_selection(out, item->stored.selection);
    buf_add_text(out, key_is_recording(item->key) ? "  recorded" : "");
    buf_add_text(out, search_is_marked(item->key) ? "  no-vary-search" : "");
    if (record_is_partial(record)) {
        buf_add_text(out, "  part of ");
        store_add_size(out, record->body_len);
    }
    buf_add_byte(out, '\n');
}

static void write_json(const struct listing *listing, const struct store_item *item, const struct purge_verdict *purged,
                       struct buf *out)
{
    const struct record *record = &item->stored.record;
    int64_t age_s;
    int64_t fresh_s = store_fresh_for(listing->context, record, purged, listing->now_ms, &age_s);

    buf_add_text(out, "{\"url\":");
    buf_add_json_string(out, url_of(item->key));
    buf_format(out, ",\"recorded\":%s,\"no_vary_search\":%s", key_is_recording(item->key) ? "true" : "false",
               search_is_marked(item->key) ? "true" : "false");
    buf_format(out, ",\"status\":%u,\"age\":%" PRId64 ",\"ttl\":%" PRId64 ",\"body_bytes\":%" PRIu64, record->status,
               age_s, fresh_s, store_body_bytes(record));
    if (purged->effect != PURGED_NOT) {
        buf_format(out, ",\"purged\":\"%s\"", purge_mode_text(purged->purge.mode));
    }
    if (record_is_partial(record)) {
        buf_format(out, ",\"complete_bytes\":%" PRIu64, record->body_len);
    }
    buf_format(out,
               ",\"received_ms\":%" PRId64 ",\"variant\":%u,\"variants\":%u,\"selection\":", record->inputs.response_ms,
               item->variant, item->variants);
    vary_add_json(out, item->stored.selection);
    buf_add_text(out, "}\n");
}

static bool on_item(void *arg, const struct store_item *item) /* store_item_fn */
{
    struct listing *listing = arg;
    const struct store_arguments *arguments = listing->context->arguments;
    struct buf *line = &listing->line;

    if (item->fault != STORE_FAULT_NONE) {
        listing->damaged++;
        return true;
    }
    if (!fits(listing, item->key)) {
        return true;
    }
    struct purge_verdict purged =
        purge_journal_judge(listing->purges, item->key, item->stored.head, item->stored.record.purge_sequence);
    buf_clear(line);
    if (arguments->json) {
        write_json(listing, item, &purged, line);
    } else {
        write_text(listing, item, &purged, line);
    }
    bool written = fwrite(line->data, 1, line->len, stdout) == line->len; /* main() says what went wrong with it */
    listing->lines++;
    return written && (arguments->limit == 0 || listing->lines < arguments->limit);
}

int store_ls_run(struct store_context *context)
{
    struct listing listing = {
        .context = context, .pattern = span_of(context->arguments->word), .now_ms = worker_now_ms()};
    struct store_tour walk = {.visit = on_item, .arg = &listing};
    struct store_reader *reader;
    struct store *store = store_context_look(context, &reader);

    if (store == NULL) {
        return STORE_EXIT_FAILED;
    }
    if (!store_context_purges(context, reader, &listing.purges)) {
        store_context_leave(store, reader);
        return STORE_EXIT_FAILED;
    }
    buf_init(&listing.line, LINE_MAX_BYTES);
    enum err error = store_walk_objects(reader, &walk);
    buf_finish(&listing.line);
    purge_journal_destroy(listing.purges);
    store_context_leave(store, reader);
    if (error != ERR_OK) {
        return store_context_fail(context, error);
    }
    if (listing.damaged > 0) {
        fprintf(stderr, "%" PRIu64 " damaged responses are not listed (larder store check)\n", listing.damaged);
    }
    return listing.damaged > 0 ? STORE_EXIT_DAMAGE : STORE_EXIT_OK;
}
