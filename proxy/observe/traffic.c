/* traffic.c: see traffic.h. */
#include "proxy/observe/traffic.h"

#include <pthread.h>
#include <stdlib.h>

#include "cache/key.h"

enum {
    SHARD_ROWS = 512,
    REPORT_ROWS = 1024, /* of all workers together */
    SITE_BYTES = 64,
    RULE_BYTES = 48,
    ROUTE_BYTES = 48,
    ROUTE_KEY_BYTES = 16 + ROUTE_BYTES, /* struct route_key */
    REPORT_KEY_BYTES = 1 + SITE_BYTES + 1 + RULE_BYTES + 1 + ROUTE_BYTES,
    SHARD_URLS = 1024,
    URLS = 4096,
    URL_BYTES = 512, /* longer ones are cut */
    BYTES_PER_WEIGHT = 1024,
    US_PER_WEIGHT = 1000,
    MINUTES_MS = 5 * 60 * 1000,
    HOUR_MS = 60 * 60 * 1000,
    MINUTES_KEPT = 13, /* an hour is covered whenever it ends */
    HOURS_KEPT = 25,
    URL_HOURS_KEPT = 2,
};

struct tables {
    struct heavy *routes; /* by struct route_key */
    struct heavy *urls;
};

/* The key of a row while a worker counts: quick to make, and meaningful with its configuration only. Elsewhere rows
 * have texts (write_report_key). */
struct route_key {
    const char *rule;
    uint32_t site; /* its index; UINT32_MAX: none */
    uint32_t reason;
    char route[ROUTE_BYTES];
};
_Static_assert(sizeof(struct route_key) == ROUTE_KEY_BYTES, "no padding: its bytes are compared");

struct traffic_shard {
    struct traffic *traffic;
    const struct config *config;
    struct traffic_shard *next;
    pthread_mutex_t mutex; /* guards `tables` */
    struct tables tables;
};

/* Made when it is first needed. */
struct period {
    int64_t number; /* since 1970 */
    struct heavy *table;
};

/* Periods of one length, in a ring. */
struct series {
    int64_t length_ms;
    size_t count;
    size_t rows, key_bytes; /* of their tables */
    struct period *periods;
};

struct traffic {
    uint64_t secret;
    int64_t started_ms;
    struct traffic_shard *shards;
    struct tables spare;        /* empty: exchanged for a shard's */
    struct heavy *spare_report; /* empty: one collection, with texts */
    struct heavy *total;
    struct series minutes, hours, url_hours;
    struct period minute_periods[MINUTES_KEPT];
    struct period hour_periods[HOURS_KEPT];
    struct period url_periods[URL_HOURS_KEPT];
};

static bool tables_make(struct tables *tables)
{
    tables->routes = heavy_create(SHARD_ROWS, ROUTE_KEY_BYTES);
    tables->urls = heavy_create(SHARD_URLS, URL_BYTES);
    return tables->routes != NULL && tables->urls != NULL;
}

static void tables_finish(struct tables *tables)
{
    heavy_destroy(tables->routes);
    heavy_destroy(tables->urls);
}

struct traffic *traffic_create(uint64_t secret, int64_t now_ms)
{
    struct traffic *traffic = calloc(1, sizeof(*traffic));

    if (traffic == NULL) {
        return NULL;
    }
    traffic->secret = secret;
    traffic->started_ms = now_ms;
    traffic->minutes =
        (struct series){MINUTES_MS, MINUTES_KEPT, REPORT_ROWS, REPORT_KEY_BYTES, traffic->minute_periods};
    traffic->hours = (struct series){HOUR_MS, HOURS_KEPT, REPORT_ROWS, REPORT_KEY_BYTES, traffic->hour_periods};
    traffic->url_hours = (struct series){HOUR_MS, URL_HOURS_KEPT, URLS, URL_BYTES, traffic->url_periods};
    traffic->total = heavy_create(REPORT_ROWS, REPORT_KEY_BYTES);
    traffic->spare_report = heavy_create(REPORT_ROWS, REPORT_KEY_BYTES);
    if (!tables_make(&traffic->spare) || traffic->total == NULL || traffic->spare_report == NULL) {
        traffic_destroy(traffic);
        return NULL;
    }
    return traffic;
}

static void series_finish(struct series *series)
{
    for (size_t i = 0; i < series->count; i++) {
        heavy_destroy(series->periods[i].table);
    }
}

void traffic_destroy(struct traffic *traffic)
{
    if (traffic == NULL) {
        return;
    }
    REQUIRE(traffic->shards == NULL);
    series_finish(&traffic->minutes);
    series_finish(&traffic->hours);
    series_finish(&traffic->url_hours);
    heavy_destroy(traffic->total);
    heavy_destroy(traffic->spare_report);
    tables_finish(&traffic->spare);
    free(traffic);
}

struct traffic_shard *traffic_shard_create(struct traffic *traffic, const struct config *config)
{
    struct traffic_shard *shard = calloc(1, sizeof(*shard));

    if (shard == NULL) {
        return NULL;
    }
    if (!tables_make(&shard->tables)) {
        tables_finish(&shard->tables);
        free(shard);
        return NULL;
    }
    REQUIRE(pthread_mutex_init(&shard->mutex, NULL) == 0);
    shard->traffic = traffic;
    shard->config = config;
    shard->next = traffic->shards;
    traffic->shards = shard;
    return shard;
}

/* ---- counting ---- */

/* A request, a KiB and a millisecond of the origin's weigh the same. */
static uint64_t weight_of(const struct heavy_counts *counts)
{
    return 1 + counts->received_bytes / BYTES_PER_WEIGHT + counts->origin_us / US_PER_WEIGHT;
}

/* The first segment, and a star for what is below it; a star alone stands for what lies at the top. */
static size_t make_route(struct span path, char route[static ROUTE_BYTES])
{
    const char *slash = path.len > 1 ? memchr(path.data + 1, '/', path.len - 1) : NULL;
    size_t len = slash != NULL ? (size_t)(slash + 1 - path.data) : 1;

    if (path.len <= 1) {
        memcpy(route, path.len == 1 ? path.data : "", path.len);
        return path.len;
    }
    len = len < ROUTE_BYTES ? len : ROUTE_BYTES - 1;
    memcpy(route, path.data, len);
    route[len] = '*';
    return len + 1;
}

static void count_route(struct traffic_shard *shard, const struct traffic_event *event)
{
    const struct heavy_counts *counts = &event->counts;
    struct route_key key = {
        .rule = event->rule,
        .site = event->site != NULL ? (uint32_t)(event->site - shard->config->sites) : UINT32_MAX,
        .reason = event->reason,
    };
    size_t len = offsetof(struct route_key, route) + make_route(event->uri->path, key.route);
    struct span bytes = {(const char *)&key, len};

    heavy_add(
        heavy_count(shard->tables.routes, bytes, key_hash_short(bytes, shard->traffic->secret), weight_of(counts)),
        counts);
}

/* In `memory`, of URL_BYTES. */
static struct span join_url(const struct uri *uri, char *memory)
{
    const struct span parts[] = {uri->scheme, SPAN_INIT("://"), uri->authority, uri->path, SPAN_INIT("?"), uri->query};
    size_t part_count = uri->has_query ? ARRAY_LEN(parts) : ARRAY_LEN(parts) - 2;
    struct span url = {memory, 0};

    for (size_t i = 0; i < part_count; i++) {
        struct span part = span_take(parts[i], URL_BYTES - url.len);
        if (part.len > 0) {
            memcpy(memory + url.len, part.data, part.len);
            url.len += part.len;
        }
    }
    return url;
}

static void count_url(struct traffic_shard *shard, const struct traffic_event *event)
{
    char memory[URL_BYTES];
    struct span url = event->url.len > 0 ? span_take(event->url, URL_BYTES) : join_url(event->uri, memory);

    heavy_add(heavy_count(shard->tables.urls, url, key_hash_short(url, shard->traffic->secret), 1), &event->counts);
}

void traffic_count(struct traffic_shard *shard, const struct traffic_event *event)
{
    if (shard == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&shard->mutex); /* these fail only for programmer errors */
    count_route(shard, event);
    if (event->uri->path.len > 0) {
        count_url(shard, event);
    }
    (void)pthread_mutex_unlock(&shard->mutex);
}

/* ---- collecting ---- */

/* The table of the period at that time; a former one in its place is cleared. NULL: no memory. */
static struct heavy *series_at(const struct series *series, int64_t time_ms)
{
    int64_t number = time_ms / series->length_ms;
    struct period *period = &series->periods[(size_t)number % series->count];

    if (period->table == NULL) {
        period->table = heavy_create(series->rows, series->key_bytes);
    } else if (period->number != number) {
        heavy_clear(period->table);
    }
    period->number = number;
    return period->table;
}

/* Without memory a period misses something; the total does not. */
static void series_take(const struct series *series, int64_t now_ms, const struct heavy *taken)
{
    struct heavy *table = series_at(series, now_ms);

    if (table != NULL) {
        heavy_merge(table, taken);
    }
}

static void add_part(struct buf *key, struct span part, size_t max_bytes)
{
    buf_add(key, span_take(part, max_bytes));
    buf_add_byte(key, '\0');
}

/* What traffic_key_of reads. */
static void write_report_key(const struct config *config, const struct heavy_row *row, struct buf *out)
{
    size_t head_bytes = offsetof(struct route_key, route);
    struct route_key key;

    memcpy(&key, row->key, head_bytes);
    buf_add_byte(out, (char)key.reason);
    add_part(out, span_of(key.site != UINT32_MAX ? config->sites[key.site].name : ""), SITE_BYTES);
    add_part(out, span_of(key.rule), RULE_BYTES);
    buf_add(out, span_skip((struct span){row->key, row->key_len}, head_bytes));
}

/* A shard's rows on their way to a table whose rows have texts. */
struct translation {
    const struct traffic_shard *shard;
    struct heavy *to;
};

static bool translate(void *arg, const struct heavy_row *row) /* heavy_fn */
{
    const struct translation *translation = arg;
    char memory[REPORT_KEY_BYTES];
    struct buf key;

    buf_init_in(&key, memory, sizeof memory);
    write_report_key(translation->shard->config, row, &key);
    uint64_t hash = key_hash_short(buf_span(&key), translation->shard->traffic->secret);
    heavy_add(heavy_count(translation->to, buf_span(&key), hash, weight_of(&row->counts)), &row->counts);
    return true;
}

static void collect(struct traffic *traffic, struct traffic_shard *shard, int64_t now_ms)
{
    struct translation translation = {.shard = shard, .to = traffic->spare_report};
    struct tables taken;

    (void)pthread_mutex_lock(&shard->mutex);
    taken = shard->tables;
    shard->tables = traffic->spare;
    (void)pthread_mutex_unlock(&shard->mutex);
    heavy_each(taken.routes, translate, &translation);
    const struct heavy_counts rest = heavy_rest(taken.routes);
    heavy_add_rest(traffic->spare_report, &rest);
    heavy_merge(traffic->total, traffic->spare_report);
    series_take(&traffic->minutes, now_ms, traffic->spare_report);
    series_take(&traffic->hours, now_ms, traffic->spare_report);
    series_take(&traffic->url_hours, now_ms, taken.urls);
    heavy_clear(traffic->spare_report);
    heavy_clear(taken.routes);
    heavy_clear(taken.urls);
    traffic->spare = taken;
}

void traffic_collect(struct traffic *traffic, int64_t now_ms)
{
    for (struct traffic_shard *shard = traffic->shards; shard != NULL; shard = shard->next) {
        collect(traffic, shard, now_ms);
    }
}

void traffic_retire(struct traffic_shard *shard, int64_t now_ms)
{
    if (shard == NULL) {
        return;
    }
    struct traffic *traffic = shard->traffic;
    struct traffic_shard **at = &traffic->shards;

    collect(traffic, shard, now_ms);
    while (*at != shard) {
        at = &(*at)->next;
    }
    *at = shard->next;
    tables_finish(&shard->tables);
    (void)pthread_mutex_destroy(&shard->mutex);
    free(shard);
}

/* ---- telling ---- */

struct traffic_key traffic_key_of(const struct heavy_row *row)
{
    struct span rest = {row->key, row->key_len};
    struct traffic_key key = {.reason = (enum reason)(unsigned char)row->key[0]};

    rest = span_skip(rest, 1);
    (void)span_split(&rest, '\0', &key.site);
    (void)span_split(&rest, '\0', &key.rule);
    key.route = rest;
    return key;
}

/* All periods since then. NULL: no memory. */
static struct heavy *series_sum(const struct series *series, int64_t since_ms, int64_t now_ms)
{
    struct heavy *sum = heavy_create(series->rows, series->key_bytes);

    for (size_t i = 0; i < series->count && sum != NULL; i++) {
        const struct period *period = &series->periods[i];
        if (period->table != NULL && period->number >= since_ms / series->length_ms &&
            period->number <= now_ms / series->length_ms) {
            heavy_merge(sum, period->table);
        }
    }
    return sum;
}

static int64_t later_of(int64_t a_ms, int64_t b_ms)
{
    return a_ms > b_ms ? a_ms : b_ms;
}

struct heavy *traffic_report(const struct traffic *traffic, int64_t since_ms, int64_t now_ms, int64_t *out_from_ms)
{
    const struct series *series =
        now_ms - since_ms <= (MINUTES_KEPT - 1) * (int64_t)MINUTES_MS ? &traffic->minutes : &traffic->hours;

    if (since_ms <= traffic->started_ms || now_ms - since_ms > (HOURS_KEPT - 1) * (int64_t)HOUR_MS) {
        struct heavy *sum = heavy_create(REPORT_ROWS, REPORT_KEY_BYTES);
        *out_from_ms = traffic->started_ms;
        if (sum != NULL) {
            heavy_merge(sum, traffic->total);
        }
        return sum;
    }
    *out_from_ms = later_of(since_ms / series->length_ms * series->length_ms, traffic->started_ms);
    return series_sum(series, since_ms, now_ms);
}

struct heavy *traffic_urls(const struct traffic *traffic, int64_t now_ms, int64_t *out_from_ms)
{
    const struct series *series = &traffic->url_hours;
    int64_t since_ms = now_ms - (URL_HOURS_KEPT - 1) * series->length_ms;

    *out_from_ms = later_of(since_ms / series->length_ms * series->length_ms, traffic->started_ms);
    return series_sum(series, since_ms, now_ms);
}
