/* metrics.c: shards and their sums. See metrics.h. */
#include "proxy/observe/metrics_internal.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

enum { CACHE_LINE_BYTES = 64 };

/* Whatever the site: what is looked at often need not visit every site. */
struct whole {
    metrics_counter begun, ended; /* requests */
    metrics_counter hits, failures;
    metrics_counter sent_bytes, received_bytes;
    metrics_counter wait_us;
    metrics_counter waits[METRICS_TIMES + 1];
    metrics_counter refusals[REFUSAL_COUNT];
    metrics_counter accept_pauses;
};

/* The sites' counters are made when they are first needed: a configuration may have very many sites. */
struct metrics_shard {
    struct metrics_shard *next;
    const struct config *config;
    struct whole whole;
    _Atomic(struct metrics_site *) *sites; /* as the configuration's, then the one for requests without a site */
};

struct metrics {
    struct metrics_shard *shards;
    struct metrics_sums ended;    /* of shards that ended */
    struct metrics_totals totals; /* of them, by site */
};

const uint64_t metrics_times_us[METRICS_TIMES] = {500,    1000,   2500,    5000,    10000,   25000,    50000,   100000,
                                                  250000, 500000, 1000000, 2500000, 5000000, 10000000, 30000000};
const uint64_t metrics_sizes_bytes[METRICS_SIZES] = {
    UINT64_C(1) << 10, UINT64_C(1) << 12, UINT64_C(1) << 14, UINT64_C(1) << 16, UINT64_C(1) << 18, UINT64_C(1) << 20,
    UINT64_C(1) << 22, UINT64_C(1) << 24, UINT64_C(1) << 26, UINT64_C(1) << 28, UINT64_C(1) << 30};

struct metrics *metrics_create(void)
{
    return calloc(1, sizeof(struct metrics));
}

void metrics_destroy(struct metrics *metrics)
{
    if (metrics != NULL) {
        metrics_totals_finish(&metrics->totals);
        free(metrics);
    }
}

/* A block of whole cache lines, zeroed: no two workers write to one. */
static void *alloc_lines(size_t bytes)
{
    size_t rounded = (bytes + CACHE_LINE_BYTES - 1) / CACHE_LINE_BYTES * CACHE_LINE_BYTES;
    void *block = aligned_alloc(CACHE_LINE_BYTES, rounded);

    if (block != NULL) {
        memset(block, 0, rounded);
    }
    return block;
}

struct metrics_shard *metrics_shard_create(struct metrics *metrics, const struct config *config)
{
    struct metrics_shard *shard = alloc_lines(sizeof(*shard));

    if (shard == NULL) {
        return NULL;
    }
    shard->config = config;
    shard->sites = alloc_lines((config->site_count + 1) * sizeof(*shard->sites));
    if (shard->sites == NULL) {
        free(shard);
        return NULL;
    }
    shard->next = metrics->shards;
    metrics->shards = shard;
    return shard;
}

/* ---- counting ---- */

/* One writer: no read-modify-write is needed. */
static void add(metrics_counter *counter, uint64_t count)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + count, memory_order_relaxed);
}

static uint64_t value(const metrics_counter *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* NULL: no memory, and nothing is counted. */
static struct metrics_site *site_of(struct metrics_shard *shard, const struct site *site)
{
    const struct config *config = shard->config;
    size_t index = site != NULL ? (size_t)(site - config->sites) : config->site_count;
    struct metrics_site *counters = atomic_load_explicit(&shard->sites[index], memory_order_relaxed);

    if (counters == NULL) {
        counters = alloc_lines(sizeof(*counters));
        atomic_store_explicit(&shard->sites[index], counters, memory_order_release);
    }
    return counters;
}

static size_t bucket_of(const uint64_t *bounds, size_t count, uint64_t measured)
{
    size_t i = 0;

    while (i < count && measured > bounds[i]) {
        i++;
    }
    return i;
}

void metrics_count_begin(struct metrics_shard *shard)
{
    if (shard != NULL) {
        add(&shard->whole.begun, 1);
    }
}

void metrics_count_request(struct metrics_shard *shard, const struct site *site, const struct metrics_request *request)
{
    unsigned class = request->status / 100;

    if (shard == NULL) {
        return;
    }
    add(&shard->whole.ended, 1);
    add(&shard->whole.hits, request->outcome == OUTCOME_HIT);
    add(&shard->whole.failures, class == 5);
    add(&shard->whole.sent_bytes, request->sent_bytes);
    struct metrics_site *counters = site_of(shard, site);
    if (counters == NULL) {
        return;
    }
    add(&counters->requests[request->outcome][request->reason], 1);
    add(&counters->sent_bytes[request->outcome], request->sent_bytes);
    add(&counters->statuses[class < METRICS_STATUSES ? class : 0], 1);
    add(&counters->ends[request->end], 1);
    add(&counters->durations[bucket_of(metrics_times_us, METRICS_TIMES, request->duration_us)], 1);
    add(&counters->duration_us, request->duration_us);
    add(&counters->sizes[bucket_of(metrics_sizes_bytes, METRICS_SIZES, request->body_bytes)], 1);
    add(&counters->size_bytes, request->body_bytes);
}

void metrics_count_received(struct metrics_shard *shard, const struct site *site, size_t bytes)
{
    if (shard == NULL) {
        return;
    }
    add(&shard->whole.received_bytes, bytes);
    struct metrics_site *counters = site_of(shard, site);
    if (counters != NULL) {
        add(&counters->received_bytes, bytes);
    }
}

void metrics_count_answer(struct metrics_shard *shard, const struct site *site, uint64_t wait_us)
{
    size_t bucket = bucket_of(metrics_times_us, METRICS_TIMES, wait_us);

    if (shard == NULL) {
        return;
    }
    add(&shard->whole.waits[bucket], 1);
    add(&shard->whole.wait_us, wait_us);
    struct metrics_site *counters = site_of(shard, site);
    if (counters != NULL) {
        add(&counters->waits[bucket], 1);
        add(&counters->wait_us, wait_us);
    }
}

void metrics_count_refusal(struct metrics_shard *shard, enum refusal cause)
{
    if (shard != NULL) {
        add(&shard->whole.refusals[cause], 1);
    }
}

void metrics_count_accept_pause(struct metrics_shard *shard)
{
    if (shard != NULL) {
        add(&shard->whole.accept_pauses, 1);
    }
}

/* ---- sums ---- */

static void add_all(struct metrics_site *to, const struct metrics_site *from)
{
    metrics_counter *sums = (metrics_counter *)to;
    const metrics_counter *counters = (const metrics_counter *)from;

    for (size_t i = 0; i < sizeof(*to) / sizeof(metrics_counter); i++) {
        add(&sums[i], value(&counters[i]));
    }
}

static int compare_names(const void *one, const void *other) /* for tsearch */
{
    return strcmp(one, other);
}

/* The total of this name, made where it is new. NULL: no memory. */
static struct metrics_total *total_of(struct metrics_totals *totals, const char *name)
{
    char *const *known = tfind(name, &totals->names, compare_names);
    size_t name_size = strlen(name) + 1;

    if (known != NULL) {
        return CONTAINER_OF(*known, struct metrics_total, name);
    }
    struct metrics_total *total = calloc(1, sizeof(*total) + name_size);
    if (total == NULL) {
        return NULL;
    }
    memcpy(total->name, name, name_size);
    if (tsearch(total->name, &totals->names, compare_names) == NULL) {
        free(total);
        return NULL;
    }
    *(totals->last != NULL ? &totals->last->next : &totals->first) = total;
    totals->last = total;
    return total;
}

/* Sites of one name (another path, or after a reload) are one. False: no memory. */
static bool add_to_total(struct metrics_totals *totals, const char *name, const struct metrics_site *counters)
{
    struct metrics_total *total = total_of(totals, name);

    if (total != NULL) {
        add_all(&total->sums, counters);
    }
    return total != NULL;
}

static bool add_shard(struct metrics_totals *totals, const struct metrics_shard *shard)
{
    const struct config *config = shard->config;
    bool added = true;

    for (size_t i = 0; i <= config->site_count && added; i++) {
        const struct metrics_site *counters = atomic_load_explicit(&shard->sites[i], memory_order_acquire);
        if (counters != NULL) {
            added = add_to_total(totals, i < config->site_count ? config->sites[i].name : "", counters);
        }
    }
    return added;
}

bool metrics_totals_take(const struct metrics *metrics, struct metrics_totals *out_totals)
{
    struct metrics_totals totals = {0};
    bool taken = true;

    for (const struct metrics_total *total = metrics->totals.first; total != NULL && taken; total = total->next) {
        taken = add_to_total(&totals, total->name, &total->sums);
    }
    for (const struct metrics_shard *shard = metrics->shards; shard != NULL && taken; shard = shard->next) {
        taken = add_shard(&totals, shard);
    }
    if (!taken) {
        metrics_totals_finish(&totals);
        return false;
    }
    *out_totals = totals;
    return true;
}

void metrics_totals_finish(struct metrics_totals *totals)
{
    struct metrics_total *next;

    for (struct metrics_total *total = totals->first; total != NULL; total = next) {
        next = total->next;
        (void)tdelete(total->name, &totals->names, compare_names); /* what it returns says nothing of the last one */
        free(total);
    }
    *totals = (struct metrics_totals){0};
}

static void sum_whole(struct metrics_sums *sums, const struct whole *whole)
{
    uint64_t ended = value(&whole->ended); /* first: a request is begun before it ends */

    sums->requests += ended;
    sums->in_flight += value(&whole->begun) - ended;
    sums->hits += value(&whole->hits);
    sums->failures += value(&whole->failures);
    sums->sent_bytes += value(&whole->sent_bytes);
    sums->received_bytes += value(&whole->received_bytes);
    sums->wait_us += value(&whole->wait_us);
    for (size_t i = 0; i <= METRICS_TIMES; i++) {
        sums->waits[i] += value(&whole->waits[i]);
    }
    for (size_t i = 0; i < REFUSAL_COUNT; i++) {
        sums->refusals[i] += value(&whole->refusals[i]);
    }
    sums->accept_pauses += value(&whole->accept_pauses);
}

void metrics_retire(struct metrics *metrics, struct metrics_shard *shard)
{
    struct metrics_shard **at = &metrics->shards;

    if (shard == NULL) {
        return;
    }
    while (*at != shard) {
        at = &(*at)->next;
    }
    *at = shard->next;
    sum_whole(&metrics->ended, &shard->whole);
    metrics->ended.in_flight = 0;             /* of those nothing is left */
    (void)add_shard(&metrics->totals, shard); /* without memory its counts are lost: a reset, to Prometheus */
    for (size_t i = 0; i <= shard->config->site_count; i++) {
        free(atomic_load(&shard->sites[i]));
    }
    free(shard->sites);
    free(shard);
}

void metrics_sum(const struct metrics *metrics, struct metrics_sums *out_sums)
{
    struct metrics_sums sums = metrics->ended;

    for (const struct metrics_shard *shard = metrics->shards; shard != NULL; shard = shard->next) {
        sum_whole(&sums, &shard->whole);
    }
    *out_sums = sums;
}

static struct metrics_site_sums sum_site(const struct metrics_total *total)
{
    const struct metrics_site *site = &total->sums;
    struct metrics_site_sums sums = {.name = total->name,
                                     .failures = value(&site->statuses[5]),
                                     .received_bytes = value(&site->received_bytes),
                                     .wait_us = value(&site->wait_us)};

    for (size_t i = 0; i < METRICS_STATUSES; i++) {
        sums.requests += value(&site->statuses[i]);
    }
    for (size_t reason = 0; reason < REASON_COUNT; reason++) {
        sums.hits += value(&site->requests[OUTCOME_HIT][reason]);
    }
    for (size_t outcome = 0; outcome < METRICS_OUTCOMES; outcome++) {
        sums.sent_bytes += value(&site->sent_bytes[outcome]);
    }
    for (size_t i = 0; i <= METRICS_TIMES; i++) {
        sums.answers += value(&site->waits[i]);
    }
    return sums;
}

bool metrics_each_site(const struct metrics *metrics, metrics_site_fn visit, void *arg)
{
    struct metrics_totals totals;
    bool more = true;

    if (!metrics_totals_take(metrics, &totals)) {
        return false;
    }
    for (const struct metrics_total *total = totals.first; total != NULL && more; total = total->next) {
        struct metrics_site_sums sums = sum_site(total);
        more = visit(arg, &sums);
    }
    metrics_totals_finish(&totals);
    return true;
}
