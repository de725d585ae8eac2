/* why_store.c: what is stored for the request that `larder why` is asked about: in the store of this process, or in one
 * opened read-only. A find counts as a request there (SIEVE), and pins: what was pinned is given back. */
#include "cache/head.h"
#include "cache/purge_journal.h"
#include "cache/search.h"
#include "cache/vary.h"
#include "proxy/config/route.h"
#include "proxy/why/why_internal.h"

struct collect {
    struct why *why;
    size_t capacity;
};

bool why_make_variant(const struct why *why, const struct stored *stored, struct why_variant *out)
{
    struct buf wanted;

    *out = (struct why_variant){.record = stored->record};
    if (!arena_copy(why->arena, stored->selection, &out->selection) ||
        head_read(stored->head, why->arena, &out->headers) != ERR_OK) {
        return false;
    }
    buf_init(&wanted, VARY_MAX_BYTES);
    (void)vary_select(&out->headers, &why->config->server.trust_forwarded_fields, &why->request.headers, why->arena,
                      &wanted); /* empty: nothing to compare */
    bool copied = arena_copy(why->arena, buf_span(&wanted), &out->wanted);
    buf_finish(&wanted);
    out->policy = route_policy(why->config, why->site, &why->request, stored->record.status, &out->headers);
    struct lifetime_override override = policy_lifetimes(&out->policy);
    out->freshness = freshness_at(&stored->record.inputs, &override, why->now_ms);
    return copied;
}

static bool on_variant(void *arg, const struct stored *stored) /* store_variant_fn */
{
    struct collect *collect = arg;
    struct why *why = collect->why;

    if (why->variant_count == collect->capacity) {
        return false; /* stored with a larger max_variants */
    }
    if (why_make_variant(why, stored, &why->variants[why->variant_count])) {
        why->variant_count++;
    }
    return true;
}

/* Nothing of a body beyond its first bytes is wanted. */
static bool find(const struct why_store *store, const struct key *key, const struct headers *request,
                 struct arena *arena, struct stored *out_stored)
{
    bool found = store_find(store->reader, key, request, arena, out_stored) == STORE_FOUND;

    if (found && out_stored->pinned) {
        store_unpin_stored(store->store, &out_stored->record);
    }
    return found;
}

/* As in exchange.c: the key that responses of this path ask for, where something is stored under it. */
static void choose_key(struct why *why, const struct why_store *store)
{
    const struct uri *uri = &why->request.uri;
    uint64_t secret = store_secret(store->store);
    struct headers nothing, headers;
    struct stored found;
    struct search search;
    struct key hint, shared;

    headers_init(&nothing, why->arena);
    if (!why->policy.no_vary_search || !search_hint_key(uri, secret, why->arena, &hint) ||
        !find(store, &hint, &nothing, why->arena, &found) || !search_of_hint(&found, why->arena, &search) ||
        !search_key(&search, uri, secret, why->arena, &shared) ||
        !find(store, &shared, &why->request.headers, why->arena, &found)) {
        return;
    }
    if (head_read(found.head, why->arena, &headers) == ERR_OK &&
        search_serves(shared.text, &headers, uri, why->arena)) {
        why->key = shared;
    }
}

/* As in exchange.c: offline, a recording where it was received last. */
static bool choose_recording(struct why *why, const struct why_store *store)
{
    struct stored recorded, stored;
    struct key key;

    if (why->policy.mode != MODE_OFFLINE) {
        return true;
    }
    if (!key_of_recording(&why->request.uri, store_secret(store->store), why->arena, &key)) {
        return false;
    }
    if (find(store, &key, &why->request.headers, why->arena, &recorded) &&
        (!find(store, &why->key, &why->request.headers, why->arena, &stored) ||
         recorded.record.inputs.response_ms >= stored.record.inputs.response_ms)) {
        why->key = key;
    }
    return true;
}

/* What the purges in the journal make of it. False: no memory. */
static bool judge_purges(struct why *why, struct store_reader *reader, const struct stored *stored)
{
    struct purge_journal *journal;

    if (purge_journal_load(reader, &journal) != ERR_OK) {
        return false;
    }
    why->purged = purge_journal_judge(journal, why->key.text, stored->head, stored->record.purge_sequence);
    bool done = arena_copy(why->arena, why->purged.purge.name, &why->purged.purge.name);
    purge_journal_destroy(journal);
    return done;
}

static bool read_store(struct why *why, const struct why_store *store)
{
    struct collect collect = {.why = why, .capacity = why->config->cache.max_variants};
    uint64_t secret = store_secret(store->store);
    struct stored stored;

    why->variants = arena_alloc(why->arena, collect.capacity * sizeof(*why->variants));
    if (why->variants == NULL || !key_of_uri(&why->request.uri, secret, why->arena, &why->key)) {
        return false;
    }
    why->looked_up = true;
    choose_key(why, store);
    if (!choose_recording(why, store)) {
        return false;
    }
    (void)store_each_variant(store->reader, &why->key, why->arena, on_variant, &collect);
    why->found = store_find(store->reader, &why->key, &why->request.headers, why->arena, &stored);
    bool done = true;
    if (why->found == STORE_FOUND) {
        if (stored.pinned) { /* of the body nothing beyond its first bytes is wanted */
            store_unpin_stored(store->store, &stored.record);
        }
        done = judge_purges(why, store->reader, &stored);
        if (why->purged.effect == PURGED_SOFT) {
            stored.record.inputs.purged_ms = why->purged.purge.time_ms;
        }
        why->has_selected = why->purged.effect != PURGED_HARD && why_make_variant(why, &stored, &why->selected);
    }
    for (size_t i = 0; i < why->variant_count; i++) {
        why->holds_good =
            why->holds_good || (why->variants[i].record.status < 500 && why->purged.effect != PURGED_HARD);
        why->variants[i].selected =
            why->has_selected && why->variants[i].record.object_id == why->selected.record.object_id;
    }
    return done;
}

static bool look_up(struct why *why, const struct why_store *store, struct buf *error)
{
    bool done = why_route(why) && (why->site == NULL || read_store(why, store));

    return done || why_no_memory(error);
}

/* In a store opened for it alone. */
static bool look_up_apart(struct why *why, struct buf *error)
{
    struct why_store store;
    struct buf note;
    bool done = false;

    buf_init(&note, 1024);
    enum err failed = store_open_readonly(why->config->cache.dir, &store.store, &note);
    if (failed != ERR_OK) {
        buf_format(error, "why: no store can be read in %s: %s%.*s%s", why->config->cache.dir,
                   note.len > 0 ? "" : err_text(failed), SPAN_ARG(buf_span(&note)),
                   failed == ERR_NOT_FOUND ? ": see --config and --cache-dir" : "");
    } else {
        store.reader = store_reader_create(store.store);
        done = store.reader != NULL ? look_up(why, &store, error) : why_no_memory(error);
        store_reader_destroy(store.reader);
        store_close(store.store);
    }
    buf_finish(&note);
    return done;
}

bool why_look_up(struct why *why, const struct why_store *store, struct buf *error)
{
    return store != NULL ? look_up(why, store, error) : look_up_apart(why, error);
}
