/* facts.c: see facts.h.
 *
 * A ring of bytes with whole lines in it: places are counted from the beginning of time, and lie at their remainder.
 * When the ring has gone round sooner than FACTS_SPAN_MS, half of the paths are given up; also when a sixteenth of it
 * was filled within a second. Remembering a request costs as much as answering it: so a busy server has done with it
 * after some thousand. When a round lasted for twice as long as it should, the half that was given up last is taken
 * back. */
#define _GNU_SOURCE /* memmem */
#include "proxy/observe/facts.h"

#include <pthread.h>
#include <stdlib.h>

#include "cache/key.h"

enum {
    HALVINGS_MAX = 24,
    BURST_MS = 1000,
    BURST_PART = 16, /* of the ring: as much as that within BURST_MS is far too much */
    BURST_MIN_BYTES = 256 * 1024,
};

struct ring {
    char *bytes;
    size_t size;
    uint64_t first; /* of the oldest line */
    uint64_t end;   /* behind the newest */
};

struct facts_shard {
    struct facts *facts;
    struct facts_shard *next;
    pthread_mutex_t mutex;   /* guards `ring` */
    struct ring ring;        /* size 0: nothing is kept */
    uint32_t halvings;       /* one path in 2^halvings is kept; its thread's, read by others under the mutex */
    uint32_t halvings_read;  /* the most that any line in the ring was kept with; under the mutex */
    uint64_t round_end;      /* the place where the ring has gone round again */
    uint64_t round_began_ms; /* monotonic; 0: not begun */
    uint64_t burst_end;      /* the same of a part of the ring, for a much shorter time */
    uint64_t burst_began_ms;
};

struct facts {
    uint64_t secret;
    struct facts_shard *shards;
    struct ring former; /* of workers that have ended */
    uint32_t former_halvings;
};

struct facts *facts_create(uint64_t secret)
{
    struct facts *facts = calloc(1, sizeof(*facts));

    if (facts != NULL) {
        facts->secret = secret;
    }
    return facts;
}

void facts_destroy(struct facts *facts)
{
    if (facts != NULL) {
        REQUIRE(facts->shards == NULL);
        free(facts->former.bytes);
        free(facts);
    }
}

struct facts_shard *facts_shard_create(struct facts *facts, size_t bytes)
{
    struct facts_shard *shard = calloc(1, sizeof(*shard));

    if (shard == NULL) {
        return NULL;
    }
    shard->ring.bytes = bytes > 0 ? malloc(bytes) : NULL; /* pages that are not written to are not there */
    if (bytes > 0 && shard->ring.bytes == NULL) {
        free(shard);
        return NULL;
    }
    REQUIRE(pthread_mutex_init(&shard->mutex, NULL) == 0);
    shard->facts = facts;
    shard->ring.size = bytes;
    shard->next = facts->shards;
    facts->shards = shard;
    return shard;
}

/* ---- the ring ---- */

static char *place_of(const struct ring *ring, uint64_t place)
{
    return ring->bytes + place % ring->size;
}

/* How many bytes from `place` on lie in one piece. */
static size_t piece_at(const struct ring *ring, uint64_t place, uint64_t end)
{
    uint64_t to_edge = ring->size - place % ring->size;

    return (size_t)(end - place < to_edge ? end - place : to_edge);
}

static void drop_first(struct ring *ring)
{
    while (ring->first < ring->end) {
        size_t len = piece_at(ring, ring->first, ring->end);
        const char *start = place_of(ring, ring->first);
        const char *newline = memchr(start, '\n', len);
        if (newline != NULL) {
            ring->first += (uint64_t)(newline + 1 - start);
            return;
        }
        ring->first += len;
    }
}

static void ring_add(struct ring *ring, struct span line)
{
    while (ring->end - ring->first + line.len > ring->size) {
        drop_first(ring);
    }
    while (line.len > 0) {
        size_t len = piece_at(ring, ring->end, ring->end + line.len);
        memcpy(place_of(ring, ring->end), line.data, len);
        ring->end += len;
        line = span_skip(line, len);
    }
}

/* ---- the worker ---- */

static uint64_t hash_of(const struct facts *facts, struct span value)
{
    return key_hash_short(value, facts->secret);
}

bool facts_wants(const struct facts_shard *shard, struct span path, uint32_t *out_sample)
{
    if (shard == NULL || shard->ring.size == 0) {
        return false;
    }
    *out_sample = (uint32_t)hash_of(shard->facts, path);
    return (*out_sample & ((1U << shard->halvings) - 1)) == 0;
}

uint64_t facts_hash(const struct facts_shard *shard, struct span value)
{
    return hash_of(shard->facts, value);
}

const struct facts *facts_of(const struct facts_shard *shard)
{
    return shard->facts;
}

void facts_write_url(const struct facts *facts, struct span scheme, struct span host, struct span target,
                     struct buf *out)
{
    size_t mark = span_find(target, '?');
    struct span rest = mark == SIZE_MAX ? SPAN("") : span_skip(target, mark + 1);
    struct span part;

    if (span_starts_with(target, SPAN("/"))) {
        buf_add(out, scheme);
        buf_add_text(out, "://");
        buf_add(out, host);
    }
    buf_add(out, span_take(target, mark));
    for (char before = '?'; span_split(&rest, '&', &part); before = '&') {
        size_t equals = span_find(part, '=');
        struct span value = equals == SIZE_MAX ? SPAN("") : span_skip(part, equals + 1);
        buf_add_byte(out, before);
        buf_add(out, span_take(part, equals));
        if (value.len > 0) {
            buf_add_byte(out, '=');
            buf_add_hex(out, (uint32_t)hash_of(facts, value));
        }
    }
}

static void begin_burst(struct facts_shard *shard, uint64_t monotonic_ms)
{
    size_t part = shard->ring.size / BURST_PART;

    shard->burst_began_ms = monotonic_ms;
    shard->burst_end = shard->ring.end + (part > BURST_MIN_BYTES ? part : BURST_MIN_BYTES);
}

static void begin_round(struct facts_shard *shard, uint64_t monotonic_ms)
{
    shard->round_began_ms = monotonic_ms;
    shard->round_end = shard->ring.end + shard->ring.size;
    begin_burst(shard, monotonic_ms);
}

/* Has the ring gone round, and was that too soon? Where it will be by far, that is known long before. */
static void judge_pace(struct facts_shard *shard, uint64_t monotonic_ms)
{
    bool round = shard->ring.end >= shard->round_end;
    bool burst = shard->ring.end >= shard->burst_end && monotonic_ms - shard->burst_began_ms < BURST_MS;
    bool soon = burst || (round && monotonic_ms - shard->round_began_ms < FACTS_SPAN_MS);

    if (round) {
        shard->halvings_read = shard->halvings;
    }
    if (soon && shard->halvings < HALVINGS_MAX) {
        shard->halvings++;
    } else if (round && shard->halvings > 0 && monotonic_ms - shard->round_began_ms >= 2 * FACTS_SPAN_MS) {
        shard->halvings--;
    }
    shard->halvings_read = shard->halvings > shard->halvings_read ? shard->halvings : shard->halvings_read;
    if (round || burst) {
        begin_round(shard, monotonic_ms);
    } else if (monotonic_ms - shard->burst_began_ms >= BURST_MS) {
        begin_burst(shard, monotonic_ms);
    }
}

void facts_add(struct facts_shard *shard, struct span line, uint64_t monotonic_ms)
{
    if (line.len > FACT_MAX_BYTES || line.len > shard->ring.size) {
        return;
    }
    if (shard->round_began_ms == 0) {
        begin_round(shard, monotonic_ms);
    }
    (void)pthread_mutex_lock(&shard->mutex);
    ring_add(&shard->ring, line);
    judge_pace(shard, monotonic_ms);
    (void)pthread_mutex_unlock(&shard->mutex);
}

/* ---- the main thread ---- */

/* Appends up to FACTS_PIECE_BYTES from `*place` on. */
static bool copy_piece(const struct ring *ring, uint64_t *place, uint64_t end, struct buf *out)
{
    size_t len = piece_at(ring, *place, end);

    len = len < FACTS_PIECE_BYTES ? len : FACTS_PIECE_BYTES;
    buf_add(out, (struct span){place_of(ring, *place), len});
    *place += len;
    return !out->failed;
}

/* Forgets the line that was begun and cannot be ended. */
static void drop_begun(struct buf *out, size_t from)
{
    while (out->len > from && out->data[out->len - 1] != '\n') {
        out->len--;
    }
}

static bool read_shard(struct facts_shard *shard, struct buf *out, uint32_t *halvings)
{
    size_t from = out->len;
    bool good = true;

    (void)pthread_mutex_lock(&shard->mutex);
    uint64_t place = shard->ring.first;
    uint64_t end = shard->ring.end; /* what comes meanwhile is left out */
    while (good && place < end) {
        good = copy_piece(&shard->ring, &place, end, out);
        (void)pthread_mutex_unlock(&shard->mutex); /* a worker that waits goes first */
        (void)pthread_mutex_lock(&shard->mutex);
        if (place < shard->ring.first) {
            drop_begun(out, from);
            place = shard->ring.first;
        }
    }
    *halvings = *halvings > shard->halvings_read ? *halvings : shard->halvings_read;
    (void)pthread_mutex_unlock(&shard->mutex);
    return good;
}

bool facts_read(struct facts *facts, struct buf *out, uint32_t *out_one_in)
{
    uint32_t halvings = facts->former_halvings;
    uint64_t place = facts->former.first;
    bool good = true;

    while (good && place < facts->former.end) {
        good = copy_piece(&facts->former, &place, facts->former.end, out);
    }
    for (struct facts_shard *shard = facts->shards; shard != NULL && good; shard = shard->next) {
        good = read_shard(shard, out, &halvings);
    }
    *out_one_in = 1U << halvings;
    return good;
}

/* `{"time_ms":123,…`: 0 where it is not so. */
static uint64_t time_of(struct span line)
{
    struct span start = SPAN("{\"time_ms\":");
    uint64_t time_ms = 0;

    if (!span_starts_with(line, start)) {
        return 0;
    }
    line = span_skip(line, start.len);
    return span_to_u64(span_take(line, span_find(line, ',')), &time_ms) ? time_ms : 0;
}

static bool holds(struct span line, struct span part)
{
    return memmem(line.data, line.len, part.data, part.len) != NULL;
}

/* As exchange_facts.c writes it; nothing in a text can look so, for its quotes are escaped. */
static void write_start(struct span method, struct span url, struct buf *out)
{
    buf_add_text(out, ",\"method\":");
    buf_add_json_string(out, method);
    buf_add_text(out, ",\"url\":");
    buf_add_json_string(out, url);
    buf_add_byte(out, ',');
}

bool facts_last(struct facts *facts, struct span method, struct span url, struct buf *out)
{
    size_t limit = facts->former.size + 1;
    struct span newest = {NULL, 0};
    struct span rest, line;
    struct buf lines, start;
    uint32_t one_in;

    for (const struct facts_shard *shard = facts->shards; shard != NULL; shard = shard->next) {
        limit += shard->ring.size;
    }
    buf_init(&lines, limit);
    buf_init(&start, FACT_MAX_BYTES);
    write_start(method, url, &start);
    rest = facts_read(facts, &lines, &one_in) && !start.failed ? buf_span(&lines) : SPAN("");
    while (span_split(&rest, '\n', &line)) {
        if (holds(line, buf_span(&start)) && !holds(line, SPAN("\"store_reason\":\"none\"")) &&
            (newest.data == NULL || time_of(line) >= time_of(newest))) {
            newest = line;
        }
    }
    buf_add(out, newest);
    buf_finish(&lines);
    buf_finish(&start);
    return newest.data != NULL && !out->failed;
}

/* The ring of a worker that has ended takes the place of an emptier one, or its lines go in behind. */
static void keep_former(struct facts *facts, struct facts_shard *shard)
{
    struct buf lines;
    uint32_t halvings = 0;

    if (facts->former.size < shard->ring.size) {
        struct ring former = facts->former;
        facts->former = shard->ring;
        shard->ring = former;
    }
    facts->former_halvings =
        facts->former_halvings > shard->halvings_read ? facts->former_halvings : shard->halvings_read;
    if (shard->ring.size == 0) {
        return;
    }
    buf_init(&lines, shard->ring.size + 1);
    if (read_shard(shard, &lines, &halvings)) {
        struct span rest = buf_span(&lines);
        struct span line;
        while (span_split(&rest, '\n', &line)) {
            ring_add(&facts->former, (struct span){line.data, line.len + 1});
        }
    }
    buf_finish(&lines);
}

void facts_retire(struct facts_shard *shard)
{
    if (shard == NULL) {
        return;
    }
    struct facts_shard **at = &shard->facts->shards;

    while (*at != shard) {
        at = &(*at)->next;
    }
    *at = shard->next;
    keep_former(shard->facts, shard);
    (void)pthread_mutex_destroy(&shard->mutex);
    free(shard->ring.bytes);
    free(shard);
}
