/* fetch_validate.c: what is stored, and the origin has been asked about: a 304 to its validators, or a 200 to HEAD,
 * folds into its head, or shows that it is not the current response any more (RFC 9111 §4.3.4, §4.3.5). */
#include "cache/head.h"
#include "http/serialize.h"
#include "http/validators.h"
#include "proxy/exchange/assess.h"
#include "proxy/origin/fetch_internal.h"
#include "proxy/server/worker.h"

/* What is stored is stored for GET. */
bool fetch_freshen(struct fetch *fetch, const struct headers *headers, struct freshened *out)
{
    struct http_response as_stored = {.status = fetch->validate.stored.record.status};
    const struct header *age = headers_find(&fetch->response.headers, SPAN("Age"));
    size_t room = fields_bytes(headers) + 1;
    char *memory = room <= fetch_fields_limit(fetch) ? arena_alloc_text(&fetch->arena, room) : NULL;
    struct buf lines;

    if (memory == NULL) {
        return false;
    }
    buf_init_in(&lines, memory, room);
    if (!head_write_listed(headers, &lines, NULL, &fetch->arena, &out->fields) ||
        !headers_copy(&as_stored.headers, headers, &fetch->arena) ||
        (age != NULL && !headers_set(&as_stored.headers, SPAN("Age"), age->value))) {
        return false;
    }
    out->head = buf_span(&lines);
    out->headers = as_stored.headers;
    out->record = fetch->validate.stored.record;
    out->record.inputs =
        assess_freshness(fetch->worker->config, &as_stored, fetch->request_ms, fetch->response_ms, &fetch->arena);
    out->record.qualified_no_cache = out->record.inputs.directives.no_cache_fields.len > 0;
    out->record.qualified_private = out->record.inputs.directives.private_fields.len > 0;
    return true;
}

/* May what the 304 made of the stored response stay stored, and is it still what requests like this one select?
 * REASON_NONE, or why not. */
static enum reason why_not_stay(struct fetch *fetch, const struct freshened *now)
{
    struct http_response response = {.status = now->record.status, .headers = now->headers};
    struct answered answered = {
        .config = fetch->worker->config, .site = fetch->site, .request = &fetch->request, .response = &response};

    return assess_stay(&answered, &now->record.inputs, fetch->validate.stored.selection, &fetch->arena);
}

/* The stored tag is not made stronger than it was. */
static bool keep_weak_tag(const struct headers *stored, struct headers *merged)
{
    struct span tag = headers_value(stored, SPAN("ETag"));

    return !etag_is_weak(tag) || headers_set(merged, SPAN("ETag"), tag);
}

/* The 304 is folded into the stored head. The client that asked gets all of it; for others it stays only as far as a
 * response with such a head may be stored: without a Set-Cookie that may not, or not at all. */
void fetch_validated(struct fetch *fetch)
{
    const struct headers *stored = &fetch->stored;
    struct headers merged;
    struct freshened now, kept;

    if (!assess_selects(fetch->worker->config, stored, &fetch->response.headers)) {
        /* It speaks of something else (RFC 9111 §4.3.4): ask for the whole. */
        fetch->validating = false;
        cached_finish(fetch->worker->cache, &fetch->validate);
        fetch_again(fetch);
        return;
    }
    if (!head_freshen(stored, &fetch->response.headers, &fetch->arena, &merged) || !keep_weak_tag(stored, &merged) ||
        !fetch_freshen(fetch, &merged, &now)) {
        fetch_fail(fetch, ERR_NO_MEMORY);
        return;
    }
    if (fetch->exchange != NULL) {
        struct buf passed;
        buf_init(&passed, fetch_fields_limit(fetch));
        if (now.record.qualified_no_cache || now.record.qualified_private) {
            head_write_qualified(&merged, &fetch->response.headers, &passed);
        }
        exchange_on_validated(fetch->exchange, &now.record, now.head, &now.fields, buf_span(&passed));
        buf_finish(&passed);
    }
    enum reason dropped = why_not_stay(fetch, &now);
    if (dropped != REASON_NONE && headers_remove(&merged, SPAN("Set-Cookie")) > 0 &&
        fetch_freshen(fetch, &merged, &kept)) {
        now = kept;
        dropped = why_not_stay(fetch, &now);
    }
    if (dropped != REASON_NONE) {
        cache_invalidate(fetch->worker->cache, &fetch->key, NULL); /* first: nobody else must see the new head */
    }
    cache_fill_validated(fetch->fill, &fetch->validate, &now.record, now.head);
    if (dropped != REASON_NONE) { /* not a race: it was us */
        flight_set_store_reason(fetch->flight, dropped);
    }
    fetch->reusable = fetch->reusable && fetch->rest.len == 0;
    fetch_finish(fetch);
}

/* A 200 to HEAD freshens the stored response, or shows that it is not the current one any more. Which of the two. */
enum reason fetch_compare(struct fetch *fetch)
{
    struct headers merged;
    struct freshened now;

    if (assess_head_agrees(&fetch->stored, fetch->validate.stored.record.body_len, &fetch->response) &&
        head_freshen(&fetch->stored, &fetch->response.headers, &fetch->arena, &merged) &&
        fetch_freshen(fetch, &merged, &now) && why_not_stay(fetch, &now) == REASON_NONE) {
        return cache_fill_freshen(fetch->fill, &fetch->validate, &now.record, now.head);
    }
    cache_invalidate(fetch->worker->cache, &fetch->key, NULL);
    return REASON_OUTDATED;
}
