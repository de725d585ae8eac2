/* purge_set.c: the purges in force. See purge_set.h.
 *
 * A table is filled in place while it has room: a slot gets its name last, sequences only grow, so a reader sees a row
 * whole or not at all. A larger or a trimmed one is built beside it and takes its place by one store; the old one is
 * freed when every reader has been seen outside, or inside a later epoch. */
#include "cache/purge_set.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "cache/head.h"
#include "http/cache_groups.h"
#include "http/tags.h"

enum {
    FIRST_SLOTS = 64,
    SPARE_NAMES = 1024, /* beyond the limit: for hosts */
};

struct slot {
    _Atomic uint64_t name; /* hash; 0: free. Written last */
    _Atomic uint64_t hard; /* sequences; 0: none */
    _Atomic uint64_t soft;
    _Atomic int64_t soft_ms;
};

struct pattern {
    enum purge_kind kind;
    enum purge_mode mode;
    _Atomic uint64_t sequence;
    _Atomic int64_t time_ms;
    struct span text; /* behind the struct */
};

struct table {
    struct table *retired_next;
    uint64_t retired_at; /* epoch: readers that entered before it may be inside */
    size_t slot_count;   /* a power of two */
    size_t used;         /* the writer's */
    struct slot *slots;
    _Atomic size_t pattern_count;
    struct pattern *patterns[PURGE_SET_MAX_PATTERNS];
    _Atomic uint64_t newest[PURGE_KINDS]; /* sequence of each kind */
};

struct purge_reader {
    struct purge_set *set;
    struct purge_reader *next;
    _Atomic uint64_t epoch; /* 0: outside */
};

struct purge_set {
    uint64_t secret;
    _Atomic uint64_t newest;
    _Atomic uint64_t trimmed; /* written before the table that lacks the rows takes its place */
    _Atomic(struct table *) table;
    _Atomic uint64_t epoch;
    pthread_mutex_t mutex; /* guards the list of readers */
    struct purge_reader *readers;
    struct table *retired; /* the writer's */
};

/* A look at one subject. */
struct judging {
    const struct purge_set *set;
    const struct table *table;
    const struct purge_subject *subject;
    struct arena *arena;
    struct purge_verdict verdict;
};

static void judge_names(struct judging *judging);
static void judge_patterns(struct judging *judging);
static void judge_labels(struct judging *judging);

/* ---- life ---- */

static void table_free(struct table *table)
{
    if (table != NULL) {
        for (size_t i = 0; i < table->pattern_count; i++) {
            free(table->patterns[i]);
        }
        free(table->slots);
        free(table);
    }
}

static struct table *table_create(size_t slot_count)
{
    struct table *table = calloc(1, sizeof(*table));
    struct slot *slots = calloc(slot_count, sizeof(*slots));

    if (table == NULL || slots == NULL) {
        free(table);
        free(slots);
        return NULL;
    }
    table->slots = slots;
    table->slot_count = slot_count;
    return table;
}

struct purge_set *purge_set_create(uint64_t secret)
{
    struct purge_set *set = calloc(1, sizeof(*set));

    if (set == NULL) {
        return NULL;
    }
    set->secret = secret;
    set->epoch = 1;
    set->table = table_create(FIRST_SLOTS);
    if (set->table == NULL) {
        free(set);
        return NULL;
    }
    REQUIRE(pthread_mutex_init(&set->mutex, NULL) == 0);
    return set;
}

void purge_set_destroy(struct purge_set *set)
{
    if (set == NULL) {
        return;
    }
    REQUIRE(set->readers == NULL);
    while (set->retired != NULL) {
        struct table *table = set->retired;
        set->retired = table->retired_next;
        table_free(table);
    }
    table_free(set->table);
    pthread_mutex_destroy(&set->mutex);
    free(set);
}

struct purge_reader *purge_reader_create(struct purge_set *set)
{
    struct purge_reader *reader = calloc(1, sizeof(*reader));

    if (reader != NULL) {
        reader->set = set;
        pthread_mutex_lock(&set->mutex);
        reader->next = set->readers;
        set->readers = reader;
        pthread_mutex_unlock(&set->mutex);
    }
    return reader;
}

void purge_reader_destroy(struct purge_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    pthread_mutex_lock(&reader->set->mutex);
    struct purge_reader **link = &reader->set->readers;
    while (*link != reader) {
        link = &(*link)->next;
    }
    *link = reader->next;
    pthread_mutex_unlock(&reader->set->mutex);
    free(reader);
}

/* ---- names ---- */

static bool is_pattern(enum purge_kind kind, struct span name)
{
    return kind == PURGE_PREFIX || kind == PURGE_GLOB || (kind == PURGE_HOST && span_starts_with(name, SPAN("*.")));
}

static uint64_t hash_of(const struct purge_set *set, enum purge_kind kind, struct span name)
{
    uint64_t hash = kind == PURGE_URL ? key_hash_of_url(name, set->secret).low
                                      : XXH3_64bits_withSeed(name.data, name.len, set->secret + (uint64_t)kind);

    return hash == 0 ? 1 : hash;
}

/* The slot of the name, or the free one where it would be. */
static struct slot *slot_of(const struct table *table, uint64_t name)
{
    size_t mask = table->slot_count - 1;
    size_t at = (size_t)name & mask;

    for (;;) { /* at most three quarters of them are taken */
        uint64_t there = atomic_load_explicit(&table->slots[at].name, memory_order_acquire);
        if (there == name || there == 0) {
            return &table->slots[at];
        }
        at = (at + 1) & mask;
    }
}

/* ---- asking ---- */

uint64_t purge_set_newest(const struct purge_set *set)
{
    return atomic_load_explicit(&set->newest, memory_order_acquire);
}

uint64_t purge_set_trimmed(const struct purge_set *set)
{
    return atomic_load(&set->trimmed);
}

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
    const struct slot *slot = slot_of(judging->table, hash);
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
        uint64_t hash = subject->hash.low != 0 ? subject->hash.low : hash_of(judging->set, PURGE_URL, subject->url);
        judge_name(judging, PURGE_URL, subject->url, hash);
    }
    if (younger(judging, PURGE_HOST)) {
        struct span host = purge_url_host(subject->url);
        judge_name(judging, PURGE_HOST, host, hash_of(judging->set, PURGE_HOST, host));
    }
    if (younger(judging, PURGE_ALL)) {
        judge_name(judging, PURGE_ALL, SPAN(""), hash_of(judging->set, PURGE_ALL, SPAN("")));
    }
}

static bool pattern_matches(const struct pattern *pattern, struct span stored_url)
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
    const struct table *table = judging->table;

    if (!younger(judging, PURGE_PREFIX) && !younger(judging, PURGE_GLOB) && !younger(judging, PURGE_HOST)) {
        return;
    }
    size_t count = atomic_load_explicit(&table->pattern_count, memory_order_acquire);
    for (size_t i = 0; i < count; i++) {
        const struct pattern *pattern = table->patterns[i];
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
        judge_name(judging, PURGE_GROUP, name, hash_of(judging->set, PURGE_GROUP, name));
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
            judge_name(judging, PURGE_TAG, name, hash_of(judging->set, PURGE_TAG, name));
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

/* ---- changing ---- */

/* Frees what no reader can be inside of any more. */
static void free_retired(struct purge_set *set)
{
    uint64_t oldest = UINT64_MAX;

    pthread_mutex_lock(&set->mutex);
    for (struct purge_reader *reader = set->readers; reader != NULL; reader = reader->next) {
        uint64_t epoch = atomic_load(&reader->epoch);
        oldest = epoch != 0 && epoch < oldest ? epoch : oldest;
    }
    pthread_mutex_unlock(&set->mutex);
    for (struct table **link = &set->retired; *link != NULL;) {
        struct table *table = *link;
        if (oldest < table->retired_at) {
            link = &table->retired_next;
        } else {
            *link = table->retired_next;
            table_free(table);
        }
    }
}

static void replace(struct purge_set *set, struct table *table)
{
    struct table *old = atomic_load(&set->table);

    atomic_store(&set->table, table);
    old->retired_at = atomic_fetch_add(&set->epoch, 1) + 1;
    old->retired_next = set->retired;
    set->retired = old;
    free_retired(set);
}

static void note_newest(struct table *table, enum purge_kind kind, uint64_t sequence)
{
    if (sequence > atomic_load_explicit(&table->newest[kind], memory_order_relaxed)) {
        atomic_store_explicit(&table->newest[kind], sequence, memory_order_release);
    }
}

/* Appends to a table with room. False: no memory. */
static bool add_pattern(struct table *table, const struct purge *purge)
{
    size_t count = atomic_load_explicit(&table->pattern_count, memory_order_relaxed);
    struct pattern *pattern = malloc(sizeof(*pattern) + purge->name.len);

    if (pattern == NULL) {
        return false;
    }
    char *text = (char *)(pattern + 1);
    memcpy(text, purge->name.data, purge->name.len);
    pattern->kind = purge->kind;
    pattern->mode = purge->mode;
    pattern->sequence = purge->sequence;
    pattern->time_ms = purge->time_ms;
    pattern->text = (struct span){text, purge->name.len};
    table->patterns[count] = pattern;
    atomic_store_explicit(&table->pattern_count, count + 1, memory_order_release);
    return true;
}

/* A copy with `slot_count` slots and without what is older than `from`. */
static struct table *table_copy(const struct table *old, size_t slot_count, uint64_t from)
{
    struct table *table = table_create(slot_count);

    if (table == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < old->slot_count; i++) {
        const struct slot *slot = &old->slots[i];
        if (slot->name != 0 && (slot->hard >= from || slot->soft >= from)) {
            struct slot *copy = slot_of(table, slot->name);
            copy->hard = slot->hard >= from ? slot->hard : 0;
            copy->soft = slot->soft >= from ? slot->soft : 0;
            copy->soft_ms = slot->soft_ms;
            copy->name = slot->name;
            table->used++;
        }
    }
    for (size_t i = 0; i < old->pattern_count; i++) {
        const struct pattern *pattern = old->patterns[i];
        struct purge purge = {.kind = pattern->kind,
                              .mode = pattern->mode,
                              .name = pattern->text,
                              .sequence = pattern->sequence,
                              .time_ms = pattern->time_ms};
        if (purge.sequence >= from && !add_pattern(table, &purge)) {
            table_free(table);
            return NULL;
        }
    }
    for (size_t i = 0; i < PURGE_KINDS; i++) {
        table->newest[i] = old->newest[i] >= from ? old->newest[i] : 0;
    }
    return table;
}

/* What purges much has room when nothing else has; everything has it always. */
static size_t names_limit(enum purge_kind kind)
{
    return PURGE_SET_MAX_NAMES + (kind == PURGE_ALL ? SPARE_NAMES + 1 : kind == PURGE_HOST ? SPARE_NAMES : 0);
}

bool purge_set_has_room(const struct purge_set *set, const struct purge *purge, size_t count)
{
    const struct table *table = set->table;

    return is_pattern(purge->kind, purge->name) ? count + table->pattern_count <= PURGE_SET_MAX_PATTERNS
                                                : count + table->used <= names_limit(purge->kind);
}

unsigned purge_set_fill_percent(const struct purge_set *set)
{
    const struct table *table = set->table;
    size_t names = 100 * table->used / PURGE_SET_MAX_NAMES;
    size_t patterns = 100 * table->pattern_count / PURGE_SET_MAX_PATTERNS;

    return (unsigned)(names > patterns ? names : patterns);
}

static enum err put_pattern(struct purge_set *set, const struct purge *purge, uint64_t *out_replaced)
{
    struct table *table = set->table;

    for (size_t i = 0; i < table->pattern_count; i++) {
        struct pattern *pattern = table->patterns[i];
        if (pattern->kind == purge->kind && pattern->mode == purge->mode && span_equal(pattern->text, purge->name)) {
            *out_replaced = pattern->sequence;
            atomic_store_explicit(&pattern->time_ms, purge->time_ms, memory_order_relaxed);
            atomic_store_explicit(&pattern->sequence, purge->sequence, memory_order_release);
            return ERR_OK;
        }
    }
    if (table->pattern_count == PURGE_SET_MAX_PATTERNS) {
        return ERR_LIMIT;
    }
    return add_pattern(table, purge) ? ERR_OK : ERR_NO_MEMORY;
}

static enum err put_name(struct purge_set *set, const struct purge *purge, uint64_t *out_replaced)
{
    uint64_t name = hash_of(set, purge->kind, purge->name);
    struct table *table = set->table;
    struct slot *slot = slot_of(table, name);

    if (slot->name == 0) {
        if (table->used >= names_limit(purge->kind)) {
            return ERR_LIMIT;
        }
        if (table->used + 1 > table->slot_count / 4 * 3) {
            table = table_copy(table, table->slot_count * 2, 0);
            if (table == NULL) {
                return ERR_NO_MEMORY;
            }
            replace(set, table);
            slot = slot_of(table, name);
        }
        table->used++;
    }
    if (purge->mode == PURGE_HARD) {
        *out_replaced = atomic_exchange_explicit(&slot->hard, purge->sequence, memory_order_release);
    } else {
        atomic_store_explicit(&slot->soft_ms, purge->time_ms, memory_order_relaxed);
        *out_replaced = atomic_exchange_explicit(&slot->soft, purge->sequence, memory_order_release);
    }
    atomic_store_explicit(&slot->name, name, memory_order_release);
    return ERR_OK;
}

enum err purge_set_add(struct purge_set *set, const struct purge *purge, uint64_t *out_replaced)
{
    REQUIRE(purge_valid(purge) && purge->sequence > purge_set_newest(set));
    *out_replaced = 0;
    enum err error = is_pattern(purge->kind, purge->name) ? put_pattern(set, purge, out_replaced)
                                                          : put_name(set, purge, out_replaced);
    if (error == ERR_OK) {
        note_newest(set->table, purge->kind, purge->sequence);
    }
    return error;
}

enum err purge_set_load(struct purge_set *set, uint64_t sequence, struct span row)
{
    const struct purge all = {.kind = PURGE_ALL, .mode = PURGE_HARD, .name = SPAN(""), .sequence = sequence};
    struct purge purge;
    uint64_t replaced;

    if (sequence == 0) {
        return ERR_OK; /* no birth is older */
    }
    enum err error = purge_set_add(set, purge_decode(row, sequence, &purge) ? &purge : &all, &replaced);
    return error == ERR_LIMIT ? purge_set_add(set, &all, &replaced) : error;
}

void purge_set_publish(struct purge_set *set, uint64_t sequence)
{
    atomic_store_explicit(&set->newest, sequence, memory_order_release);
}

void purge_set_trim(struct purge_set *set, uint64_t sequence)
{
    struct table *table = table_copy(set->table, ((struct table *)set->table)->slot_count, sequence);

    if (table != NULL) {
        atomic_store(&set->trimmed, sequence);
        replace(set, table);
    }
}
