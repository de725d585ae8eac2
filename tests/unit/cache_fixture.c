/* cache_fixture.c: see cache_fixture.h. */
#include "cache_fixture.h"

#include "store_files.h"

char dir[SUPPORT_PATH_BYTES];
struct cache *cache;
struct cache_reader *reader;
struct arena arena;
int64_t now_ms;
uint64_t used_before;
size_t stream_memory;

static void on_wake(struct party *party)
{
    CONTAINER_OF(party, struct client, party)->wakes++;
}

void open_cache(uint64_t store_bytes, size_t queue_bytes)
{
    struct cache_options options = {
        .store = {.dir = dir, .size_bytes = store_bytes, .max_variants = 4},
        .write_queue_bytes = queue_bytes,
        .window_bytes = WINDOW,
        .stream_memory_bytes = stream_memory,
        .hit_for_miss_ms = HIT_FOR_MISS_MS,
        .hot_bytes = 256 * 1024,
    };
    struct buf note;

    buf_init(&note, 1024);
    REQUIRE(cache_open(&options, &cache, &note) == ERR_OK);
    buf_finish(&note);
    reader = cache_reader_create(cache);
    REQUIRE(reader != NULL);
}

void close_cache(void)
{
    cache_stop_writes(cache);
    cache_reader_destroy(reader);
    cache_close(cache);
}

void write_some(void)
{
    for (unsigned i = 0; i < 8; i++) {
        cr_assert(cache_write(cache));
    }
}

void setup_with(uint64_t store_bytes, size_t queue_bytes)
{
    struct store_stats stats;

    now_ms = NOW_MS;
    support_dir_make(dir);
    arena_init(&arena, 64 * 1024 * 1024);
    open_cache(store_bytes, queue_bytes);
    store_stats_of(cache_store(cache), &stats);
    used_before = stats.used_bytes;
}

void setup(void)
{
    setup_with(STORE_SIZE, QUEUE);
}

void teardown(void)
{
    write_some();
    close_cache();
    arena_finish(&arena);
    support_dir_remove(dir);
}

/* ---- bodies ---- */

struct check {
    unsigned version;
    uint64_t at;
    bool wrong;
};

static char byte_at(unsigned version, uint64_t at)
{
    return (char)(at * 31 + at / 251 + version * 101);
}

static struct span body_of(unsigned version, size_t len)
{
    static char bytes[BODY_MAX];

    REQUIRE(len <= BODY_MAX);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = byte_at(version, i);
    }
    return (struct span){bytes, len};
}

static size_t on_runs(void *arg, const struct span *runs, size_t count) /* store_read_fn */
{
    struct check *check = arg;
    size_t used = 0;

    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < runs[i].len; j++) {
            check->wrong = check->wrong || runs[i].data[j] != byte_at(check->version, check->at);
            check->at++;
        }
        used += runs[i].len;
    }
    return used;
}

static bool read_store(struct check *check, uint64_t body_id, uint64_t base)
{
    size_t used;
    enum err error = store_read(cache_reader_store(reader), body_id, base + check->at, 100000, on_runs, check, &used);

    return error == ERR_OK && !check->wrong;
}

/* Reads a flight's body from memory and store as far as it goes; true if every byte was right. */
static bool read_flight(struct flight *flight, struct check *check, enum flight_read *out_last)
{
    uint64_t base = flight_body_offset(flight);

    for (;;) {
        struct segment *segment;
        struct span run;
        *out_last = flight_read(flight, base + check->at, &segment, &run);
        if (*out_last == FLIGHT_READ_DATA) {
            (void)on_runs(check, &run, 1);
            segment_unref(segment);
        } else if (*out_last != FLIGHT_READ_IN_STORE) {
            return !check->wrong;
        } else if (!read_store(check, flight_head(flight)->record.body_id, base)) {
            return false;
        }
    }
}

bool reads_as(const struct cached *cached, unsigned version)
{
    const struct stored *stored = &cached->stored;
    struct check check = {.version = version};
    enum flight_read last;

    (void)on_runs(&check, &stored->body_start, 1);
    if (cached->flight != NULL) {
        return read_flight(cached->flight, &check, &last) && last == FLIGHT_READ_END &&
               check.at == stored->record.body_len;
    }
    while (check.at < stored->record.body_len) {
        if (!read_store(&check, stored->record.body_id, (uint64_t)stored->record.key_len + stored->record.head_len)) {
            return false;
        }
    }
    return !check.wrong && check.at == stored->record.body_len;
}

uint64_t followed(struct client *client, unsigned version, enum flight_read want_last, const char *name)
{
    struct check check = {.version = version};
    enum flight_read last = FLIGHT_READ_DATA;

    cr_expect(read_flight(client->flight, &check, &last), "%s: the bytes", name);
    cr_expect_eq(last, want_last, "%s: ends with %d", name, (int)last);
    return check.at;
}

/* ---- clients ---- */

struct client client_for(const char *path, const char *variant)
{
    struct client client = {.party.wake = on_wake};

    REQUIRE(arena_format(&arena, &client.key.text, "GET http://test.example%s", path));
    client.key.hash = key_hash_of(client.key.text, cache_secret(cache));
    client.request = (struct http_request){.method = METHOD_GET, .method_name = SPAN_INIT("GET"), .minor = 1};
    headers_init(&client.request.headers, &arena);
    if (variant != NULL) {
        cr_assert(headers_add(&client.request.headers, SPAN("X-Variant"), span_of(variant)));
    }
    return client;
}

enum store_found find(struct client *client)
{
    cached_finish(cache, &client->cached);
    return cache_find(reader, &client->key, &client->request.headers, &arena, &client->cached, &client->generation);
}

enum join join_at(struct client *client, enum join_wish wish, uint64_t monotonic_ms)
{
    struct join_request join = {.key = &client->key,
                                .request = &client->request,
                                .wish = wish,
                                .generation = client->generation,
                                .now_ms = now_ms,
                                .monotonic_ms = monotonic_ms,
                                .arena = &arena};

    return cache_join(cache, &join, &client->party, &client->flight, &client->fill);
}

enum join join(struct client *client, enum join_wish wish)
{
    return join_at(client, wish, MONO_MS);
}

void lead_and_follow(struct client *leader, struct client *follower, enum store_found want, const char *name)
{
    cr_assert_eq(find(leader), want, "%s", name);
    cr_assert_eq(find(follower), want, "%s", name);
    cr_assert_eq(join(leader, JOIN_WITH_OTHERS), JOIN_LEAD, "%s", name);
    cr_assert_eq(join(follower, JOIN_WITH_OTHERS), JOIN_FOLLOW, "%s", name);
}

void leave(struct client *client)
{
    if (client->flight != NULL) {
        flight_unfollow(client->flight, &client->party);
        flight_unref(client->flight);
        client->flight = NULL;
    }
    cached_finish(cache, &client->cached);
}

struct record record_of(int32_t max_age_s)
{
    return (struct record){.status = 200,
                           .inputs = {.request_ms = NOW_MS,
                                      .response_ms = NOW_MS,
                                      .date_s = NOW_S,
                                      .status = 200,
                                      .directives = {.present = true, .max_age = {DIRECTIVE_VALID, max_age_s}}}};
}

enum err give_head(struct client *client, const struct answer *answer)
{
    struct headers response;
    struct buf selection;
    struct flight_head head = {
        .status = 200,
        .fields = span_of(answer->fields == NULL ? "A: 1\r\n" : answer->fields),
        .policy = {.ttl_s = -1, .default_ttl_s = -1, .stale_while_revalidate_s = -1, .stale_if_error_s = -1},
        .record = record_of(LIFETIME_S),
        .length_known = answer->length_known,
        .body_len = answer->body_len,
    };

    head.record.inputs.date_s = answer->date_s != 0 ? answer->date_s : NOW_S;
    if (answer->status != 0) {
        head.status = head.record.status = head.record.inputs.status = answer->status;
    }
    buf_init(&selection, VARY_MAX_BYTES);
    if (answer->variant != NULL) {
        headers_init(&response, &arena);
        cr_assert(headers_add(&response, SPAN("Vary"), SPAN("X-Variant")));
        cr_assert_eq(vary_select(&response, NULL, &client->request.headers, &arena, &selection), VARY_SOME);
        head.selection = buf_span(&selection);
    }
    flight_set_store_reason(client->flight, answer->not_stored ? REASON_NO_STORE : REASON_STORED);
    enum err error = cache_fill_head(client->fill, &head, !answer->not_stored,
                                     answer->max_bytes == 0 ? NO_LIMIT : answer->max_bytes, MONO_MS);
    buf_finish(&selection);
    return error;
}

void give_body(struct client *client, unsigned version, size_t from, size_t to)
{
    REQUIRE(cache_fill_append(client->fill, span_take(span_skip(body_of(version, to), from), to - from)) == ERR_OK);
}

void complete(struct client *client)
{
    cache_fill_complete(client->fill, SPAN(""));
    client->fill = NULL;
}

struct client fetched(const char *path, const struct answer *answer, unsigned version, size_t len)
{
    struct client client = client_for(path, answer->variant);

    (void)find(&client);
    REQUIRE(join(&client, JOIN_WITHOUT_OTHERS) == JOIN_ALONE);
    cache_fill_sent(client.fill);
    REQUIRE(give_head(&client, answer) == ERR_OK);
    if (len > 0) {
        give_body(&client, version, 0, len);
    }
    complete(&client);
    return client;
}

void store_it(const char *path, unsigned version, size_t len)
{
    struct client client = fetched(path, &(struct answer){.length_known = true, .body_len = len}, version, len);

    leave(&client);
}

void expect_found(const char *path, unsigned version, const char *head, const char *name)
{
    struct client client = client_for(path, NULL);

    cr_expect_eq(find(&client), STORE_FOUND, "%s: found", name);
    cr_expect(reads_as(&client.cached, version), "%s: version %u, whole", name, version);
    cr_expect(span_equal(client.cached.stored.head, span_of(head)), "%s: head \"%.*s\"", name,
              SPAN_ARG(client.cached.stored.head));
    cr_expect_eq(client.cached.stored.record.head_override.len == 0 ||
                     client.cached.stored.record.head_override.data == client.cached.stored.head.data,
                 true, "%s: nothing points to what is not the arena's", name);
    leave(&client);
}

void expect_absent(const char *path, const char *name)
{
    struct client client = client_for(path, NULL);

    cr_expect_eq(find(&client), STORE_ABSENT, "%s", name);
    leave(&client);
}

void expect_empty_store(const char *name)
{
    struct store_stats stats;

    write_some();
    store_stats_of(cache_store(cache), &stats);
    cr_expect_eq(stats.objects, 0, "%s: objects", name);
    cr_expect_eq(stats.reclaim_bodies, 0, "%s: bodies that someone pins", name);
    cr_expect_lt(stats.used_bytes, used_before + SLOT / 2, "%s: %llu bytes are left behind", name,
                 (unsigned long long)(stats.used_bytes - used_before));
}

void confirm(struct client *client, const char *head)
{
    struct record record = client->cached.stored.record;

    record.inputs = record_of(2 * LIFETIME_S).inputs;
    cache_fill_validated(client->fill, &client->cached, &record, span_of(head));
    client->fill = NULL;
}

/* ---- a full queue, a disk that fails ---- */

void fill_queue(struct client clients[8])
{
    for (unsigned i = 0; i < 8; i++) {
        char path[32];
        snprintf(path, sizeof(path), "/busy/%u", i);
        clients[i] = client_for(path, NULL);
        (void)find(&clients[i]);
        cr_assert_eq(join(&clients[i], JOIN_WITH_OTHERS), JOIN_LEAD);
        cr_assert_eq(give_head(&clients[i], &(struct answer){0}), ERR_OK);
        give_body(&clients[i], i, 0, 3 * SLOT);
    }
}

void end_busy(struct client clients[8])
{
    for (unsigned i = 0; i < 8; i++) {
        if (clients[i].fill != NULL) {
            cache_fill_fail(clients[i].fill, ERR_RESET);
        }
        leave(&clients[i]);
    }
}

void break_disk(void)
{
    files_limit(2 * STORE_PIECE_BYTES + 100);
}

void mend_disk(void)
{
    files_limit(UINT64_MAX);
}
