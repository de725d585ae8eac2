/* purge_judge.c: what the purges in force make of a response that was found. See purge_set.h. */
#include "cache/purge_set_internal.h"

#include "cache/head.h"
#include "http/cache_groups.h"
#include "http/tags.h"

/* A look at one subject. */
struct judging {
    const struct purge_set *set;
    const struct purge_table *table;
    const struct purge_subject *subject;
    struct arena *arena;
    struct purge_verdict verdict;
};

static void judge_names(struct judging *judging);
static void judge_patterns(struct judging *judging);
static void judge_labels(struct judging *judging);

struct purge_verdict purge_set_judge(struct purge_reader *reader, const struct purge_subject *subject,
                                     struct arena *arena)
{
    struct purge_set *set = reader->set;
    struct judging judging = {.set = set, .subject = subject, .arena = arena};

    if (subject->birth >= purge_set_newest(set)) {
        return judging.verdict;
    }
    /* In this order, and all in one: who does not see that we are inside made us see its table. */
    atomic_store(&reader->epoch, atomic_load(&set->epoch));
    judging.table = atomic_load(&set->table);
    judge_names(&judging);
    judge_patterns(&judging);
    judge_labels(&judging);
    atomic_store_explicit(&reader->epoch, 0, memory_order_release);
    return judging.verdict;
}

static bool younger(const struct judging *judging, enum purge_kind kind)
{
    return atomic_load_explicit(&judging->table->newest[kind], memory_order_acquire) > judging->subject->birth;
}

/* Hard beats soft; of several the newest is named; a soft one counts from the first. */
static void take(struct judging *judging, const struct purge *purge)
{
    struct purge *named = &judging->verdict.purge;
    enum purge_effect effect = purge->mode == PURGE_HARD ? PURGED_HARD : PURGED_SOFT;
    bool same = effect == judging->verdict.effect;
    int64_t time_ms = same && named->time_ms < purge->time_ms ? named->time_ms : purge->time_ms;

    if (effect > judging->verdict.effect || (same && purge->sequence > named->sequence)) {
        judging->verdict.effect = effect;
        *named = *purge;
        if (!arena_copy(judging->arena, purge->name, &named->name)) {
            named->name = (struct span){NULL, 0};
        }
    }
    if (effect == judging->verdict.effect) {
        named->time_ms = time_ms;
    }
}

static void judge_name(struct judging *judging, enum purge_kind kind, struct span name, uint64_t hash)
{
    const struct purge_slot *slot = purge_table_slot(judging->table, hash);
    uint64_t birth = judging->subject->birth;

    if (atomic_load_explicit(&slot->name, memory_order_acquire) == 0) {
        return;
    }
    uint64_t hard = atomic_load_explicit(&slot->hard, memory_order_acquire);
    uint64_t soft = atomic_load_explicit(&slot->soft, memory_order_acquire);
    if (hard > birth) {
        take(judging, &(struct purge){.kind = kind, .mode = PURGE_HARD, .name = name, .sequence = hard});
    }
    if (soft > birth) {
        int64_t time_ms = atomic_load_explicit(&slot->soft_ms, memory_order_relaxed);
        take(judging,
             &(struct purge){.kind = kind, .mode = PURGE_SOFT, .name = name, .sequence = soft, .time_ms = time_ms});
    }
}

static void judge_names(struct judging *judging)
{
    const struct purge_subject *subject = judging->subject;

    if (younger(judging, PURGE_URL)) {
        uint64_t hash =
            subject->hash.low != 0 ? subject->hash.low : purge_name_hash(judging->set->secret, PURGE_URL, subject->url);
        judge_name(judging, PURGE_URL, subject->url, hash);
    }
    if (younger(judging, PURGE_HOST)) {
        struct span host = purge_url_host(subject->url);
        judge_name(judging, PURGE_HOST, host, purge_name_hash(judging->set->secret, PURGE_HOST, host));
    }
    if (younger(judging, PURGE_ALL)) {
        judge_name(judging, PURGE_ALL, SPAN(""), purge_name_hash(judging->set->secret, PURGE_ALL, SPAN("")));
    }
}

static bool pattern_matches(const struct purge_pattern *pattern, struct span stored_url)
{
    struct span url = span_take(stored_url, span_find(stored_url, ' ')); /* a mark may stand behind it (search.h) */

    switch (pattern->kind) {
    case PURGE_PREFIX:
        return span_starts_with(url, pattern->text);
    case PURGE_GLOB:
        return span_matches_glob(url, pattern->text);
    case PURGE_HOST: { /* "*.example.org": something in front of ".example.org" */
        struct span host = purge_url_host(url);
        return host.len >= pattern->text.len && span_ends_with(host, span_skip(pattern->text, 1));
    }
    case PURGE_URL:
    case PURGE_TAG:
    case PURGE_GROUP:
    case PURGE_ALL:
    case PURGE_KINDS:
        break;
    }
    UNREACHABLE();
}

static void judge_patterns(struct judging *judging)
{
    const struct purge_table *table = judging->table;

    if (!younger(judging, PURGE_PREFIX) && !younger(judging, PURGE_GLOB) && !younger(judging, PURGE_HOST)) {
        return;
    }
    size_t count = atomic_load_explicit(&table->pattern_count, memory_order_acquire);
    for (size_t i = 0; i < count; i++) {
        const struct purge_pattern *pattern = table->patterns[i];
        struct purge purge = {.kind = pattern->kind,
                              .mode = pattern->mode,
                              .name = pattern->text,
                              .sequence = atomic_load_explicit(&pattern->sequence, memory_order_acquire),
                              .time_ms = atomic_load_explicit(&pattern->time_ms, memory_order_relaxed)};
        if (purge.sequence > judging->subject->birth && pattern_matches(pattern, judging->subject->url)) {
            take(judging, &purge);
        }
    }
}

static bool judge_groups(struct judging *judging, const struct headers *headers)
{
    struct cache_groups groups;
    struct span group;

    if (!cache_groups_of_response(headers, judging->arena, &groups)) {
        return false;
    }
    while (cache_groups_next(&groups, &group)) {
        const struct span parts[] = {purge_url_origin(judging->subject->url), SPAN_INIT(" "), group};
        struct span name;
        if (!arena_join(judging->arena, parts, ARRAY_LEN(parts), &name)) {
            return false;
        }
        judge_name(judging, PURGE_GROUP, name, purge_name_hash(judging->set->secret, PURGE_GROUP, name));
    }
    return true;
}

/* Tags and groups. What cannot be told is dead. */
static void judge_labels(struct judging *judging)
{
    bool tagged = younger(judging, PURGE_TAG);
    bool grouped = younger(judging, PURGE_GROUP);
    struct headers headers;
    struct span name;

    if (judging->verdict.effect == PURGED_HARD || (!tagged && !grouped)) {
        return;
    }
    bool read =
        judging->subject->head.data != NULL && head_read(judging->subject->head, judging->arena, &headers) == ERR_OK;
    if (read && tagged) {
        struct tags tags = tags_of(&headers);
        while (tags_next(&tags, &name)) {
            judge_name(judging, PURGE_TAG, name, purge_name_hash(judging->set->secret, PURGE_TAG, name));
        }
    }
    if (!read || (grouped && !judge_groups(judging, &headers))) {
        enum purge_kind kind = tagged ? PURGE_TAG : PURGE_GROUP;
        take(judging,
             &(struct purge){.kind = kind,
                             .mode = PURGE_HARD,
                             .sequence = atomic_load_explicit(&judging->table->newest[kind], memory_order_relaxed)});
    }
}
