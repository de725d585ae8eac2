/* test_cache.c: one fetch a key, what look-ups see before the disk has it, and what a failing disk costs. The disk
 * thread's part is played by hand: between two calls of `write_some` nothing is committed. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "cache/cache.h"
#include "cache/vary.h"
#include "store_support.h"

enum {
    SLOT = 16 * STORE_PIECE_BYTES, /* what a flight hands to the disk at a time */
    QUEUE = 1024 * 1024,
    WINDOW = 128 * 1024, /* of what is not stored */
    STORE_SIZE = 64 * 1024 * 1024,
    BODY_MAX = 4 * 1024 * 1024,
    HIT_FOR_MISS_MS = 10000,
    NOW_S = 1700000000,
    LIFETIME_S = 60,
};
#define NOW_MS   (INT64_C(1000) * NOW_S)
#define MONO_MS  UINT64_C(5000000)
#define NO_LIMIT UINT64_MAX

static char dir[SUPPORT_PATH_BYTES];
static struct cache *cache;
static struct cache_reader *reader;
static struct arena arena;
static int64_t now_ms;
static uint64_t used_before; /* bytes of the empty store */
static size_t stream_memory; /* of the next open_cache; 0: no limit */

/* A client: its request, what it found, what it follows. */
struct client {
    struct key key;
    struct http_request request;
    struct party party;
    unsigned wakes;
    struct cached cached;
    uint64_t generation;
    struct flight *flight;
    struct fill *fill;
};

static void on_wake(struct party *party)
{
    CONTAINER_OF(party, struct client, party)->wakes++;
}

static void open_cache(uint64_t store_bytes, size_t queue_bytes)
{
    struct cache_options options = {
        .store = {.dir = dir, .size_bytes = store_bytes, .max_variants = 4, .max_readers = 4},
        .write_queue_bytes = queue_bytes,
        .window_bytes = WINDOW,
        .stream_memory_bytes = stream_memory,
        .hit_for_miss_ms = HIT_FOR_MISS_MS,
        .hot_bytes = 256 * 1024,
    };
    struct buf note;

    buf_init(&note, 1024);
    cr_assert_eq(cache_open(&options, &cache, &note), ERR_OK);
    buf_finish(&note);
    reader = cache_reader_create(cache);
    cr_assert_not_null(reader);
}

static void write_some(void)
{
    for (unsigned i = 0; i < 8; i++) {
        cr_assert(cache_write(cache));
    }
}

static void setup(void)
{
    struct store_stats stats;

    now_ms = NOW_MS;
    support_dir_make(dir);
    arena_init(&arena, 64 * 1024 * 1024);
    signal(SIGXFSZ, SIG_IGN);
    open_cache(STORE_SIZE, QUEUE);
    store_stats_of(cache_store(cache), &stats);
    used_before = stats.used_bytes;
}

/* cache_close checks that everything has been given back. */
static void teardown(void)
{
    write_some();
    cache_stop_writes(cache);
    cache_reader_destroy(reader);
    cache_close(cache);
    arena_finish(&arena);
    support_dir_remove(dir);
}

TestSuite(cache, .init = setup, .fini = teardown, .timeout = 60);

/* ---- bodies ---- */

static char byte_at(unsigned version, uint64_t at)
{
    return (char)(at * 31 + at / 251 + version * 101);
}

static struct span body_of(unsigned version, size_t len)
{
    static char bytes[BODY_MAX];

    cr_assert_leq(len, BODY_MAX);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = byte_at(version, i);
    }
    return (struct span){bytes, len};
}

struct check {
    unsigned version;
    uint64_t at;
    bool wrong;
};

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

/* Is the whole body of what was found there, and of this version? */
static bool reads_as(const struct cached *cached, unsigned version)
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

/* What a client that follows from the first byte reads now: how much, and why no more. */
static uint64_t followed(struct client *client, unsigned version, enum flight_read want_last, const char *name)
{
    struct check check = {.version = version};
    enum flight_read last = FLIGHT_READ_DATA;

    cr_expect(read_flight(client->flight, &check, &last), "%s: the bytes", name);
    cr_expect_eq(last, want_last, "%s: ends with %d", name, (int)last);
    return check.at;
}

/* ---- clients ---- */

static struct client client_for(const char *path, const char *variant)
{
    struct client client = {.party.wake = on_wake};

    cr_assert(arena_format(&arena, &client.key.text, "GET http://test.example%s", path));
    client.key.hash = key_hash_of(client.key.text, cache_secret(cache));
    client.request = (struct http_request){.method = METHOD_GET, .method_name = SPAN_INIT("GET"), .minor = 1};
    headers_init(&client.request.headers, &arena);
    if (variant != NULL) {
        cr_assert(headers_add(&client.request.headers, SPAN("X-Variant"), span_of(variant)));
    }
    return client;
}

static enum store_found find(struct client *client)
{
    cached_finish(cache, &client->cached);
    return cache_find(reader, &client->key, &client->request.headers, &arena, &client->cached, &client->generation);
}

static enum join join_at(struct client *client, enum join_wish wish, uint64_t monotonic_ms)
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

static enum join join(struct client *client, enum join_wish wish)
{
    return join_at(client, wish, MONO_MS);
}

static void leave(struct client *client)
{
    if (client->flight != NULL) {
        flight_unfollow(client->flight, &client->party);
        flight_unref(client->flight);
        client->flight = NULL;
    }
    cached_finish(cache, &client->cached);
}

static struct record record_of(int32_t max_age_s)
{
    return (struct record){.status = 200,
                           .inputs = {.request_ms = NOW_MS,
                                      .response_ms = NOW_MS,
                                      .date_s = NOW_S,
                                      .status = 200,
                                      .directives = {.present = true, .max_age = {DIRECTIVE_VALID, max_age_s}}}};
}

/* What the origin answers. */
struct answer {
    const char *fields;  /* "A: 1\r\n" where NULL */
    const char *variant; /* Vary: X-Variant, for this one; NULL: no Vary */
    bool not_stored;
    bool length_known;
    uint64_t body_len;  /* if length_known */
    uint64_t max_bytes; /* 0: no limit */
};

static enum err give_head(struct client *client, const struct answer *answer)
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

    buf_init(&selection, VARY_MAX_BYTES);
    if (answer->variant != NULL) {
        headers_init(&response, &arena);
        cr_assert(headers_add(&response, SPAN("Vary"), SPAN("X-Variant")));
        cr_assert_eq(vary_select(&response, &client->request.headers, &arena, &selection), VARY_SOME);
        head.selection = buf_span(&selection);
    }
    flight_set_store_reason(client->flight, answer->not_stored ? REASON_NO_STORE : REASON_STORED);
    enum err error = cache_fill_head(client->fill, &head, !answer->not_stored,
                                     answer->max_bytes == 0 ? NO_LIMIT : answer->max_bytes, MONO_MS);
    buf_finish(&selection);
    return error;
}

static void give_body(struct client *client, unsigned version, size_t from, size_t to)
{
    cr_assert_eq(cache_fill_append(client->fill, span_take(span_skip(body_of(version, to), from), to - from)), ERR_OK);
}

static void complete(struct client *client)
{
    cache_fill_complete(client->fill, SPAN(""));
    client->fill = NULL;
}

/* A whole fetch by a leader of its own; nothing is written to the disk. The client keeps its flight. */
static struct client fetched(const char *path, const struct answer *answer, unsigned version, size_t len)
{
    struct client client = client_for(path, answer->variant);

    (void)find(&client);
    cr_assert_eq(join(&client, JOIN_WITHOUT_OTHERS), JOIN_ALONE);
    cr_assert_eq(give_head(&client, answer), ERR_OK);
    if (len > 0) {
        give_body(&client, version, 0, len);
    }
    complete(&client);
    return client;
}

/* Fetches it and forgets the client. */
static void store_it(const char *path, unsigned version, size_t len)
{
    struct client client = fetched(path, &(struct answer){.length_known = true, .body_len = len}, version, len);

    leave(&client);
}

static void expect_found(const char *path, unsigned version, const char *head, const char *name)
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

static void expect_absent(const char *path, const char *name)
{
    struct client client = client_for(path, NULL);

    cr_expect_eq(find(&client), STORE_ABSENT, "%s", name);
    leave(&client);
}

/* Nothing of any body is left: with no objects and no pins the store is as large as it was empty. */
static void expect_empty_store(const char *name)
{
    struct store_stats stats;

    write_some();
    store_stats_of(cache_store(cache), &stats);
    cr_expect_eq(stats.objects, 0, "%s: objects", name);
    cr_expect_eq(stats.reclaim_bodies, 0, "%s: bodies that someone pins", name);
    cr_expect_lt(stats.used_bytes, used_before + SLOT / 2, "%s: %llu bytes are left behind", name,
                 (unsigned long long)(stats.used_bytes - used_before));
}

/* ---- joining ---- */

Test(cache, one_leads_others_follow_or_go_alone)
{
    struct client leader = client_for("/a", NULL), follower = client_for("/a", NULL), alone = client_for("/a", NULL);
    struct client behind = client_for("/a", NULL), other = client_for("/b", NULL);

    cr_expect_eq(find(&leader), STORE_ABSENT);
    cr_expect_eq(find(&follower), STORE_ABSENT);
    cr_expect_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    cr_expect_not_null(leader.fill);
    cr_expect_eq(join(&follower, JOIN_WITH_OTHERS), JOIN_FOLLOW);
    cr_expect_eq(follower.flight, leader.flight);
    cr_expect(follower.party.linked);
    cr_expect_null(follower.fill);
    cr_expect_eq(join(&behind, JOIN_ONLY_LEAD), JOIN_FOLLOW, "someone is fetching it already");
    cr_expect_null(behind.flight);
    cr_expect_not(behind.party.linked);
    cr_expect_eq(join(&alone, JOIN_WITHOUT_OTHERS), JOIN_ALONE);
    cr_expect_neq(alone.flight, leader.flight);
    (void)find(&other);
    cr_expect_eq(join(&other, JOIN_WITH_OTHERS), JOIN_LEAD, "another key");
    cache_fill_refuse(leader.fill);
    cr_expect_eq(flight_phase(follower.flight), FLIGHT_REFUSED);
    cr_expect_eq(follower.wakes, 1);
    leave(&follower);
    (void)find(&follower);
    cr_expect_eq(join(&follower, JOIN_WITH_OTHERS), JOIN_LEAD, "join again; the one alone is nobody's leader");
    cache_fill_fail(follower.fill, ERR_TIMEOUT);
    cache_fill_fail(alone.fill, ERR_TIMEOUT);
    cache_fill_fail(other.fill, ERR_TIMEOUT);
    cr_expect_eq(flight_phase(follower.flight), FLIGHT_FAILED);
    struct client next = client_for("/a", NULL);
    (void)find(&next);
    cr_expect_eq(join(&next, JOIN_ONLY_LEAD), JOIN_LEAD);
    cache_fill_refuse(next.fill);
    struct client *all[] = {&leader, &follower, &alone, &other, &next};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        leave(all[i]);
    }
    expect_absent("/a", "nothing came of it");
}

Test(cache, who_may_follow_once_the_head_is_there)
{
    static const struct {
        const char *name, *variant;
        bool not_stored, fresh;
        enum join want;
    } cases[] = {
        {"a request that selects it", "one", false, true, JOIN_FOLLOW},
        {"another variant", "two", false, true, JOIN_LEAD},
        {"no field at all", NULL, false, true, JOIN_LEAD},
        {"stale by now", "one", false, false, JOIN_LEAD},
        {"not shared: it goes alone at once", "one", true, true, JOIN_ALONE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span path;
        cr_assert(arena_format(&arena, &path, "/%zu%c", i, 0));
        struct client leader = client_for(path.data, "one"), late = client_for(path.data, cases[i].variant);

        (void)find(&leader);
        (void)find(&late);
        cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
        cr_assert_eq(give_head(&leader, &(struct answer){.variant = "one", .not_stored = cases[i].not_stored}), ERR_OK);
        now_ms = cases[i].fresh ? NOW_MS : NOW_MS + 1000 * LIFETIME_S;
        cr_expect_eq(flight_head(leader.flight)->shared, !cases[i].not_stored, "%s", cases[i].name);
        enum join got = join(&late, JOIN_WITH_OTHERS);
        cr_expect_eq(got, cases[i].want, "%s: %d", cases[i].name, (int)got);
        if (late.fill != NULL) {
            cache_fill_refuse(late.fill);
        }
        cache_fill_fail(leader.fill, ERR_RESET);
        leave(&late);
        leave(&leader);
    }
}

Test(cache, hit_for_miss)
{
    struct client leader = client_for("/a", NULL), waiting = client_for("/a", NULL);
    static const struct {
        const char *name;
        uint64_t after_ms;
        enum join_wish wish;
        enum join want;
    } cases[] = {
        {"at once", 0, JOIN_WITH_OTHERS, JOIN_ALONE},
        {"to the last millisecond", HIT_FOR_MISS_MS - 1, JOIN_WITH_OTHERS, JOIN_ALONE},
        {"a revalidation behind does not care", 0, JOIN_ONLY_LEAD, JOIN_LEAD},
        {"no longer", HIT_FOR_MISS_MS, JOIN_WITH_OTHERS, JOIN_LEAD},
    };

    (void)find(&leader);
    (void)find(&waiting);
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    cr_assert_eq(join(&waiting, JOIN_WITH_OTHERS), JOIN_FOLLOW);
    cr_assert_eq(give_head(&leader, &(struct answer){.not_stored = true}), ERR_OK);
    cr_expect_eq(waiting.wakes, 1);
    cr_expect_not(cache_flight_serves(waiting.flight, &waiting.request, NOW_MS, &arena), "it is sent away");
    leave(&waiting);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client next = client_for("/a", NULL);
        (void)find(&next);
        cr_expect_eq(join_at(&next, cases[i].wish, MONO_MS + cases[i].after_ms), cases[i].want, "%s", cases[i].name);
        cache_fill_refuse(next.fill);
        leave(&next);
    }
    give_body(&leader, 1, 0, 1000);
    complete(&leader);
    cr_expect_eq(flight_store_reason(leader.flight), REASON_NO_STORE, "the reason stays");
    leave(&leader);
    store_it("/a", 2, 10);
    struct client next = client_for("/a", NULL);
    (void)find(&next);
    cr_expect_eq(join(&next, JOIN_WITH_OTHERS), JOIN_LEAD, "what was stored ends it");
    cache_fill_refuse(next.fill);
    leave(&next);
}

Test(cache, many_notes_are_bounded_and_forgotten)
{
    for (unsigned i = 0; i < 64 * 256 + 5000; i++) {
        char path[32];
        snprintf(path, sizeof(path), "/%u", i);
        struct client client = client_for(path, NULL);
        cr_assert_eq(join_at(&client, JOIN_ONLY_LEAD, MONO_MS), JOIN_LEAD);
        cr_assert_eq(give_head(&client, &(struct answer){.not_stored = true}), ERR_OK);
        cache_fill_fail(client.fill, ERR_RESET);
        leave(&client);
    }
}

Test(cache, look_again_when_something_was_stored_in_between)
{
    struct client before = client_for("/a", NULL);

    cr_expect_eq(find(&before), STORE_ABSENT);
    store_it("/a", 1, 100);
    cr_expect_eq(join(&before, JOIN_WITH_OTHERS), JOIN_LOOK_AGAIN, "settled");
    cr_expect_null(before.flight);
    cr_expect_eq(join(&before, JOIN_ONLY_LEAD), JOIN_LOOK_AGAIN);
    cr_expect_eq(find(&before), STORE_FOUND);
    write_some();
    cr_expect_eq(join(&before, JOIN_WITH_OTHERS), JOIN_LOOK_AGAIN, "committed");
    cr_expect_eq(find(&before), STORE_FOUND);
    cache_invalidate(cache, &before.key, NULL);
    write_some();
    cr_expect_eq(join(&before, JOIN_WITH_OTHERS), JOIN_LOOK_AGAIN, "removed");
    cr_expect_eq(join(&before, JOIN_WITHOUT_OTHERS), JOIN_ALONE, "who goes alone does not care");
    cache_fill_refuse(before.fill);
    leave(&before);
}

Test(cache, a_pass_has_nothing_to_do_with_the_cache)
{
    struct client client = client_for("/a", NULL);

    cr_assert(cache_pass(cache, &client.flight, &client.fill));
    flight_follow(client.flight, &client.party);
    cr_assert_eq(give_head(&client, &(struct answer){.not_stored = true}), ERR_OK);
    give_body(&client, 1, 0, 100000);
    cr_expect_eq(followed(&client, 1, FLIGHT_READ_WAIT, "a pass"), 100000);
    complete(&client);
    cr_expect_eq(followed(&client, 1, FLIGHT_READ_END, "a pass"), 100000);
    leave(&client);
    expect_empty_store("a pass");
}

/* ---- publication ---- */

Test(cache, what_is_complete_is_found_before_and_after_the_commit)
{
    static const size_t lengths[] = {0, 1, 100, 4000, 20000, SLOT - 100, SLOT, 3 * SLOT + 77, 230 * 1024};
    char path[32];

    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct answer answer = {.length_known = i % 2 == 0, .body_len = lengths[i]};
        snprintf(path, sizeof(path), "/%zu", i);
        struct client client = fetched(path, &answer, (unsigned)i, lengths[i]);
        expect_found(path, (unsigned)i, "A: 1\r\n", "settled");
        write_some();
        expect_found(path, (unsigned)i, "A: 1\r\n", "committed");
        cr_expect_eq(followed(&client, (unsigned)i, FLIGHT_READ_END, "the flight"), lengths[i]);
        leave(&client);
        expect_found(path, (unsigned)i, "A: 1\r\n", "without the flight");
    }
    cache_reader_destroy(reader);
    cache_close(cache);
    open_cache(STORE_SIZE, QUEUE);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        snprintf(path, sizeof(path), "/%zu", i);
        expect_found(path, (unsigned)i, "A: 1\r\n", "after a new start");
    }
}

Test(cache, variants)
{
    struct client one = fetched("/a", &(struct answer){.variant = "one"}, 1, 100);
    struct client two = fetched("/a", &(struct answer){.variant = "two"}, 2, 100);
    struct client three = client_for("/a", "three");

    for (unsigned i = 0; i < 2; i++) {
        cr_expect_eq(find(&one), STORE_FOUND);
        cr_expect(reads_as(&one.cached, 1));
        cr_expect_eq(find(&two), STORE_FOUND);
        cr_expect(reads_as(&two.cached, 2));
        cr_expect_eq(find(&three), STORE_OTHER_VARIANTS);
        write_some();
    }
    leave(&one);
    leave(&two);
    leave(&three);
}

Test(cache, the_newest_is_found)
{
    struct client old = client_for("/a", NULL);

    store_it("/a", 1, 100000);
    cr_expect_eq(find(&old), STORE_FOUND);
    store_it("/a", 2, 100000);
    expect_found("/a", 2, "A: 1\r\n", "both settled");
    write_some();
    expect_found("/a", 2, "A: 1\r\n", "both committed");
    cr_expect(reads_as(&old.cached, 1), "who has the old one reads it to its end");
    leave(&old);
    cache_invalidate(cache, &old.key, NULL);
    expect_empty_store("both");
}

/* ---- 304 ---- */

static void confirm(struct client *client, const char *head)
{
    struct record record = client->cached.stored.record;

    record.inputs = record_of(2 * LIFETIME_S).inputs;
    cache_fill_validated(client->fill, &client->cached, &record, span_of(head));
    client->fill = NULL;
}

Test(cache, a_304_freshens_what_is_committed_or_not)
{
    static const struct {
        const char *name;
        size_t len;
        bool committed; /* when it is looked up */
        bool between;   /* committed between look-up and 304 */
        bool twice;     /* another 304 before the first is committed */
    } cases[] = {
        {"small, in the store", 1000, true, false, false},
        {"empty, in the store", 0, true, false, false},
        {"large, in the store", 200000, true, false, false},
        {"small, not committed", 1000, false, false, false},
        {"large, not committed", 200000, false, false, false},
        {"small, committed in between", 1000, false, true, false},
        {"large, committed in between", 200000, false, true, false},
        {"small, in the store, twice", 1000, true, false, true},
        {"large, in the store, twice", 200000, true, false, true},
        {"small, not committed, twice", 1000, false, false, true},
        {"large, not committed, twice", 200000, false, false, true},
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        const char *name = cases[i].name;
        const char *head = cases[i].twice ? "B: 3\r\n" : "B: 2\r\n";
        char path[32];
        snprintf(path, sizeof(path), "/%u", i);
        store_it(path, i, cases[i].len);
        if (cases[i].committed) {
            write_some();
        }
        struct client leader = client_for(path, NULL), follower = client_for(path, NULL);
        cr_assert_eq(find(&leader), STORE_FOUND, "%s", name);
        cr_assert_eq(find(&follower), STORE_FOUND, "%s", name);
        cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD, "%s", name);
        cr_assert_eq(join(&follower, JOIN_WITH_OTHERS), JOIN_FOLLOW, "%s", name);
        if (cases[i].between) {
            write_some();
        }
        confirm(&leader, "B: 2\r\n");
        cr_expect_eq(flight_phase(follower.flight), FLIGHT_VALIDATED, "%s", name);
        cr_expect_eq(follower.wakes, 1, "%s", name);
        expect_found(path, i, "B: 2\r\n", name);
        if (cases[i].twice) {
            struct client again = client_for(path, NULL);
            cr_assert_eq(find(&again), STORE_FOUND, "%s", name);
            cr_assert_eq(join(&again, JOIN_WITH_OTHERS), JOIN_LEAD, "%s", name);
            confirm(&again, "B: 3\r\n");
            leave(&again);
            expect_found(path, i, "B: 3\r\n", name);
        }
        leave(&leader);
        leave(&follower);
        expect_found(path, i, head, name);
        write_some();
        expect_found(path, i, head, name);
        struct client last = client_for(path, NULL);
        (void)find(&last);
        cr_expect_eq(last.cached.stored.record.inputs.directives.max_age.seconds, 2 * LIFETIME_S, "%s", name);
        cr_expect_null(last.cached.flight, "%s: from the store", name);
        cache_invalidate(cache, &last.key, NULL);
        leave(&last);
    }
    expect_empty_store("all pins are given back");
}

Test(cache, a_304_does_not_bring_back_what_was_replaced)
{
    store_it("/a", 1, 100000);
    write_some();
    struct client leader = client_for("/a", NULL);
    cr_assert_eq(find(&leader), STORE_FOUND);
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    store_it("/a", 2, 100);
    write_some();
    confirm(&leader, "B: 2\r\n");
    leave(&leader);
    write_some();
    expect_found("/a", 2, "A: 1\r\n", "replaced");
}

/* The origin sends the body of `version` again, or another, where `client` leads. */
static void send_again(struct client *client, const char *fields, unsigned version, size_t len)
{
    struct record record = client->cached.stored.record;
    struct renewal renewal = {&client->cached, &record, span_of(fields)};

    record.inputs = record_of(2 * LIFETIME_S).inputs;
    cr_assert_eq(give_head(client, &(struct answer){.fields = fields, .length_known = true, .body_len = len}), ERR_OK);
    if (len > 0) {
        give_body(client, version, 0, len);
    }
    cache_fill_complete_or_renew(client->fill, SPAN(""), &renewal);
    client->fill = NULL;
}

Test(cache, the_same_body_again_renews_what_is_stored)
{
    static const struct {
        const char *name;
        size_t len;
        bool committed; /* when it is looked up */
        bool between;   /* committed while it is fetched again */
        unsigned again; /* the version that comes, of the same length */
    } cases[] = {
        {"small, in the store", 1000, true, false, 0},           {"empty, in the store", 0, true, false, 0},
        {"large, in the store", 200000, true, false, 0},         {"small, not committed", 1000, false, false, 0},
        {"large, not committed", 200000, false, false, 0},       {"small, committed in between", 1000, false, true, 0},
        {"large, committed in between", 200000, false, true, 0}, {"small, another body", 1000, true, false, 1},
        {"large, another body", 200000, true, false, 1},
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        const char *name = cases[i].name;
        char path[32];
        snprintf(path, sizeof(path), "/%u", i);
        store_it(path, 0, cases[i].len);
        if (cases[i].committed) {
            write_some();
        }
        struct client leader = client_for(path, NULL), follower = client_for(path, NULL);
        cr_assert_eq(find(&leader), STORE_FOUND, "%s", name);
        cr_assert_eq(find(&follower), STORE_FOUND, "%s", name);
        cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD, "%s", name);
        cr_assert_eq(join(&follower, JOIN_WITH_OTHERS), JOIN_FOLLOW, "%s", name);
        if (cases[i].between) {
            write_some();
        }
        uint64_t body_id = leader.cached.stored.record.body_id;
        send_again(&leader, "B: 2\r\n", cases[i].again, cases[i].len);
        cr_expect_eq(flight_store_reason(leader.flight), cases[i].again == 0 ? REASON_UNCHANGED : REASON_STORED, "%s",
                     name);
        expect_found(path, cases[i].again, "B: 2\r\n", name);
        write_some();
        cr_expect_eq(followed(&follower, cases[i].again, FLIGHT_READ_END, name), cases[i].len, "%s: whole", name);
        leave(&leader);
        leave(&follower);
        write_some();
        struct client last = client_for(path, NULL);
        cr_expect_eq(find(&last), STORE_FOUND, "%s", name);
        cr_expect(reads_as(&last.cached, cases[i].again), "%s", name);
        cr_expect(span_equal(last.cached.stored.head, SPAN("B: 2\r\n")), "%s", name);
        cr_expect_null(last.cached.flight, "%s: from the store", name);
        cr_expect_eq(last.cached.stored.record.body_id == body_id, cases[i].again == 0, "%s: which body stays", name);
        cr_expect_eq(last.cached.stored.record.inputs.directives.max_age.seconds,
                     cases[i].again == 0 ? 2 * LIFETIME_S : LIFETIME_S, "%s", name);
        cache_invalidate(cache, &last.key, NULL);
        leave(&last);
    }
    expect_empty_store("the bodies that came again are dropped");
}

Test(cache, the_same_body_again_after_an_invalidation)
{
    store_it("/a", 1, 100000);
    write_some();
    struct client leader = client_for("/a", NULL);
    cr_assert_eq(find(&leader), STORE_FOUND);
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    cache_invalidate(cache, &leader.key, NULL);
    send_again(&leader, "B: 2\r\n", 1, 100000);
    cr_expect_eq(flight_store_reason(leader.flight), REASON_RACED);
    leave(&leader);
    expect_absent("/a", "invalidated while it was fetched again");
    expect_empty_store("invalidated");
}

/* ---- invalidation, in every order ---- */

Test(cache, invalidation_in_every_order)
{
    enum moment { BEFORE_HEAD, IN_BODY, SETTLED, COMMITTED, BEFORE_304, FRESHENED, FRESHENED_COMMITTED };
    static const struct {
        const char *name;
        enum moment moment;
    } cases[] = {
        {"before the head", BEFORE_HEAD},
        {"in the body", IN_BODY},
        {"complete, not committed", SETTLED},
        {"committed", COMMITTED},
        {"before a 304", BEFORE_304},
        {"freshened, not committed", FRESHENED},
        {"freshened and committed", FRESHENED_COMMITTED},
    };
    for (unsigned i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        const char *name = cases[i / 2].name;
        enum moment moment = cases[i / 2].moment;
        size_t len = i % 2 == 0 ? 1000 : 100000;
        struct client client = client_for("/a", NULL), follower = client_for("/a", NULL);

        (void)find(&client);
        (void)find(&follower);
        cr_assert_eq(join(&client, JOIN_WITH_OTHERS), JOIN_LEAD, "%s", name);
        cr_assert_eq(join(&follower, JOIN_WITH_OTHERS), JOIN_FOLLOW, "%s", name);
        if (moment == BEFORE_HEAD) {
            cache_invalidate(cache, &client.key, NULL);
            struct client next = client_for("/a", NULL);
            cr_expect_eq(find(&next), STORE_ABSENT);
            cr_expect_eq(join(&next, JOIN_WITH_OTHERS), JOIN_LEAD, "%s: nobody follows it any more", name);
            cache_fill_refuse(next.fill);
            leave(&next);
        }
        cr_assert_eq(give_head(&client, &(struct answer){0}), ERR_OK);
        give_body(&client, i, 0, len / 2);
        if (moment == IN_BODY) {
            write_some();
            cache_invalidate(cache, &client.key, NULL);
        }
        give_body(&client, i, len / 2, len);
        complete(&client);
        cr_expect_eq(flight_store_reason(client.flight), moment <= IN_BODY ? REASON_RACED : REASON_STORED, "%s", name);
        cr_expect_eq(followed(&follower, i, FLIGHT_READ_END, name), len, "%s: a follower gets all of it", name);
        if (moment == SETTLED) {
            cache_invalidate(cache, &client.key, NULL);
        }
        if (moment == COMMITTED) {
            write_some();
            cache_invalidate(cache, &client.key, NULL);
        }
        if (moment >= BEFORE_304) {
            struct client again = client_for("/a", NULL);
            if (moment != FRESHENED) {
                write_some();
            }
            cr_assert_eq(find(&again), STORE_FOUND, "%s", name);
            cr_assert_eq(join(&again, JOIN_WITH_OTHERS), JOIN_LEAD, "%s", name);
            if (moment == BEFORE_304) {
                cache_invalidate(cache, &client.key, NULL);
            }
            confirm(&again, "B: 2\r\n");
            if (moment == FRESHENED_COMMITTED) {
                write_some();
            }
            if (moment != BEFORE_304) {
                expect_found("/a", i, "B: 2\r\n", name);
                cache_invalidate(cache, &client.key, NULL);
            }
            leave(&again);
        }
        expect_absent("/a", name);
        write_some();
        expect_absent("/a", name);
        cr_expect_eq(followed(&follower, i, FLIGHT_READ_END, name), len, "%s: after the removal, too", name);
        leave(&client);
        leave(&follower);
        expect_empty_store(name);
    }
}

Test(cache, what_comes_after_an_invalidation_is_kept)
{
    struct client client = client_for("/a", NULL);

    store_it("/a", 1, 1000);
    write_some();
    cache_invalidate(cache, &client.key, NULL);
    cache_invalidate(cache, &client.key, NULL);
    expect_absent("/a", "the removal is not committed yet");
    store_it("/a", 2, 100000);
    expect_found("/a", 2, "A: 1\r\n", "settled before the removal is committed");
    write_some();
    expect_found("/a", 2, "A: 1\r\n", "and behind it");
    struct client nothing = client_for("/nothing", NULL);
    cache_invalidate(cache, &nothing.key, NULL);
    expect_absent("/nothing", "nothing was there");
}

/* ---- ends that are not ---- */

Test(cache, what_breaks_off_is_never_found)
{
    static const size_t lengths[] = {0, 100, 2 * SLOT, 5 * SLOT + 1};

    for (size_t i = 0; i < 2 * ARRAY_LEN(lengths); i++) {
        size_t len = lengths[i / 2];
        struct client leader = client_for("/a", NULL), follower = client_for("/a", NULL);

        (void)find(&leader);
        (void)find(&follower);
        cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
        cr_assert_eq(join(&follower, JOIN_WITH_OTHERS), JOIN_FOLLOW);
        cr_assert_eq(give_head(&leader, &(struct answer){0}), ERR_OK);
        for (size_t at = 0; at < len; at += SLOT / 2) {
            give_body(&leader, 1, at, at + SLOT / 2 < len ? at + SLOT / 2 : len);
        }
        if (i % 2 == 0) {
            write_some();
        }
        cache_fill_fail(leader.fill, ERR_RESET);
        cr_expect_eq(followed(&follower, 1, FLIGHT_READ_FAILED, "broken off"), len);
        cr_expect_eq(flight_store_reason(leader.flight), REASON_TRUNCATED);
        expect_absent("/a", "broken off");
        write_some();
        expect_absent("/a", "broken off");
        cr_expect_eq(followed(&follower, 1, FLIGHT_READ_FAILED, "what was written is still pinned"), len);
        leave(&leader);
        leave(&follower);
        expect_empty_store("broken off");
    }
}

Test(cache, too_large)
{
    static const struct {
        const char *name;
        struct answer answer;
        size_t len;
        bool stored;
    } cases[] = {
        {"exactly as large as allowed", {.max_bytes = 200000}, 200000, true},
        {"a byte more", {.max_bytes = 200000}, 200001, false},
        {"exactly, and known", {.max_bytes = 5000, .length_known = true, .body_len = 5000}, 5000, true},
        {"a byte more, and known", {.max_bytes = 5000, .length_known = true, .body_len = 5001}, 5001, false},
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        const char *name = cases[i].name;
        char path[32];
        snprintf(path, sizeof(path), "/%u", i);
        struct client leader = client_for(path, NULL), follower = client_for(path, NULL);
        (void)find(&leader);
        (void)find(&follower);
        cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
        cr_assert_eq(join(&follower, JOIN_WITH_OTHERS), JOIN_FOLLOW);
        cr_assert_eq(give_head(&leader, &cases[i].answer), ERR_OK);
        for (size_t at = 0; at < cases[i].len; at += SLOT) {
            give_body(&leader, i, at, at + SLOT < cases[i].len ? at + SLOT : cases[i].len);
            write_some();
        }
        complete(&leader);
        cr_expect_eq(flight_store_reason(leader.flight), cases[i].stored ? REASON_STORED : REASON_TOO_LARGE, "%s",
                     name);
        cr_expect_eq(followed(&follower, i, FLIGHT_READ_END, name), cases[i].len, "%s: who follows gets all", name);
        leave(&leader);
        leave(&follower);
        write_some();
        struct client next = client_for(path, NULL);
        cr_expect_eq(find(&next), cases[i].stored ? STORE_FOUND : STORE_ABSENT, "%s", name);
        cache_invalidate(cache, &next.key, NULL);
        leave(&next);
    }
    expect_empty_store("too large");
}

/* ---- memory and the queue ---- */

Test(cache, followers_read_from_memory_then_from_the_store)
{
    struct client leader = client_for("/a", NULL), quick = client_for("/a", NULL), late = client_for("/a", NULL);
    size_t len = 20 * SLOT + 1234;

    (void)find(&leader);
    (void)find(&quick);
    (void)find(&late);
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    flight_follow(leader.flight, &leader.party);
    cr_assert_eq(join(&quick, JOIN_WITH_OTHERS), JOIN_FOLLOW);
    cr_assert_eq(give_head(&leader, &(struct answer){0}), ERR_OK);
    uint64_t most = 0;
    uint64_t window = flight_room(leader.flight) + flight_body_offset(leader.flight);
    for (size_t at = 0; at < len; at += SLOT / 3) {
        size_t to = at + SLOT / 3 < len ? at + SLOT / 3 : len;
        give_body(&leader, 5, at, to);
        if (flight_room(leader.flight) < SLOT) {
            write_some();
        }
        uint64_t held = window - flight_room(leader.flight);
        most = held > most ? held : most;
        if (at / SLOT == 10 && late.flight == NULL) {
            cr_assert_eq(join(&late, JOIN_WITH_OTHERS), JOIN_FOLLOW);
            cr_expect_eq(followed(&late, 5, FLIGHT_READ_WAIT, "late"), to, "the first bytes from the store");
        }
        cr_expect_eq(followed(&quick, 5, FLIGHT_READ_WAIT, "quick"), to);
    }
    cr_expect_leq(window, QUEUE / 4);
    cr_expect_leq(most, window, "memory is bounded though nobody consumes anything");
    complete(&leader);
    struct segment *segment;
    struct span run;
    cr_expect_eq(flight_read(late.flight, 0, &segment, &run), FLIGHT_READ_IN_STORE);
    cr_expect_eq(followed(&late, 5, FLIGHT_READ_END, "late"), len);
    write_some();
    cr_expect_eq(followed(&late, 5, FLIGHT_READ_END, "late"), len);
    cr_expect_eq(followed(&quick, 5, FLIGHT_READ_END, "quick"), len);
    leave(&leader);
    leave(&quick);
    leave(&late);
    expect_found("/a", 5, "A: 1\r\n", "all of it");
}

Test(cache, the_producer_waits_for_the_disk_and_is_woken)
{
    struct client leader = client_for("/a", NULL), producer = client_for("/a", NULL);
    size_t at = 0;

    (void)find(&leader);
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    flight_set_producer(leader.flight, &producer.party);
    cr_assert_eq(give_head(&leader, &(struct answer){0}), ERR_OK);
    while (flight_room(leader.flight) > 0) {
        size_t count = flight_room(leader.flight) < 5000 ? flight_room(leader.flight) : 5000;
        give_body(&leader, 1, at, at + count);
        at += count;
    }
    cr_expect_eq(producer.wakes, 0);
    write_some();
    cr_expect_eq(producer.wakes, 1, "there is room again");
    cr_expect_gt(flight_room(leader.flight), 0);
    give_body(&leader, 1, at, at + 10000);
    cache_fill_stop_storing(leader.fill, REASON_DISK_BEHIND);
    cache_fill_stop_storing(leader.fill, REASON_TOO_LARGE);
    cr_expect_eq(flight_store_reason(leader.flight), REASON_DISK_BEHIND, "the first reason is the reason");
    cr_expect_not(flight_wanted(leader.flight), "nobody follows");
    flight_set_producer(leader.flight, NULL);
    cache_fill_fail(leader.fill, ERR_CANCELED);
    leave(&leader);
    expect_empty_store("given up");
}

static void break_disk(void);
static void mend_disk(void);

/* Makes the queue full with the pieces of fetches that are under way. */
static void fill_queue(struct client clients[8])
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

static void end_busy(struct client clients[8])
{
    for (unsigned i = 0; i < 8; i++) {
        if (clients[i].fill != NULL) {
            cache_fill_fail(clients[i].fill, ERR_RESET);
        }
        leave(&clients[i]);
    }
}

Test(cache, a_full_queue)
{
    struct client busy[8];

    fill_queue(busy);
    struct client late = fetched("/late", &(struct answer){0}, 1, 1000);
    cr_expect_eq(flight_store_reason(late.flight), REASON_DISK_BEHIND, "what has not begun is not stored");
    cr_expect_eq(flight_phase(late.flight), FLIGHT_COMPLETE, "its client does not mind");
    leave(&late);
    expect_absent("/late", "not stored");
    complete(&busy[7]);
    cr_expect_eq(flight_store_reason(busy[7].flight), REASON_DISK_BEHIND, "nor what handed nothing over yet");
    complete(&busy[5]);
    expect_found("/busy/5", 5, "A: 1\r\n", "what waits in the backlog is found");
    complete(&busy[0]);
    write_some();
    expect_found("/busy/0", 0, "A: 1\r\n", "and is stored in the end");
    expect_found("/busy/5", 5, "A: 1\r\n", "and is stored in the end");
    end_busy(busy);
    cache_invalidate(cache, &busy[0].key, NULL);
    cache_invalidate(cache, &busy[5].key, NULL);
    expect_empty_store("the backlog");
}

Test(cache, all_fills_together_are_bounded)
{
    enum { FILLS = 40, STEP = 16 * 1024, EACH = 160 * 1024 };
    static struct client clients[FILLS];
    unsigned behind = 0;

    for (unsigned i = 0; i < FILLS; i++) {
        char path[32];
        snprintf(path, sizeof(path), "/fill/%u", i);
        clients[i] = client_for(path, NULL);
        (void)find(&clients[i]);
        cr_assert_eq(join(&clients[i], JOIN_WITH_OTHERS), JOIN_LEAD);
        cr_assert_eq(give_head(&clients[i], &(struct answer){0}), ERR_OK);
    }
    for (size_t at = 0; at < EACH; at += STEP) {
        for (unsigned i = 0; i < FILLS; i++) {
            give_body(&clients[i], i, at, at + STEP);
        }
    }
    for (unsigned i = 0; i < FILLS; i++) {
        behind += flight_store_reason(clients[i].flight) == REASON_DISK_BEHIND;
    }
    /* What is stored on is at most the limit, and a segment and a step of each. */
    cr_expect_leq((FILLS - behind) * EACH, QUEUE + FILLS * (STEP + SLOT), "%u of %u go on unstored", behind, FILLS);
    cr_expect_gt(behind, FILLS / 2);
    write_some();
    for (unsigned i = 0; i < FILLS; i++) {
        cache_fill_fail(clients[i].fill, ERR_RESET);
        leave(&clients[i]);
    }
    write_some();
    struct client after = fetched("/after", &(struct answer){0}, 1, EACH);
    cr_expect_eq(flight_store_reason(after.flight), REASON_STORED, "everything was given back");
    leave(&after);
    cache_invalidate(cache, &after.key, NULL);
    expect_empty_store("unstored");
}

Test(cache, many_invalidations_of_a_key_wait_as_one)
{
    struct client client = client_for("/a", NULL);

    store_it("/a", 1, 1000);
    write_some();
    break_disk();
    for (unsigned i = 0; i < 10000; i++) {
        cache_invalidate(cache, &client.key, NULL);
    }
    expect_absent("/a", "gone at once");
    mend_disk();
    write_some();
    expect_absent("/a", "and on the disk");
    expect_empty_store("removed");
}

Test(cache, more_invalidations_than_may_wait_give_the_store_up)
{
    char path[32];

    store_it("/a", 1, 1000);
    write_some();
    for (unsigned i = 0; i < 70000 && !store_failed(cache_store(cache)); i++) {
        snprintf(path, sizeof(path), "/removed/%u", i);
        struct client client = client_for(path, NULL);
        cache_invalidate(cache, &client.key, NULL);
    }
    cr_expect(store_failed(cache_store(cache)), "no disk takes them");
    expect_absent("/a", "nothing of it is served");
    while (!cache_write(cache)) {
        struct timespec now = {0};
        cache_stop_writes(cache);
        if (!cache_wait(cache, WAIT_FOR_WORK, &now)) {
            break;
        }
    }
}

Test(cache, a_full_queue_forgets_304s)
{
    struct client busy[8], leader = client_for("/a", NULL);

    store_it("/a", 1, 1000);
    write_some();
    fill_queue(busy);
    cr_assert_eq(find(&leader), STORE_FOUND);
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    confirm(&leader, "B: 2\r\n");
    cr_expect_eq(flight_phase(leader.flight), FLIGHT_VALIDATED, "its clients do not mind");
    leave(&leader);
    expect_found("/a", 1, "A: 1\r\n", "as if it had not come");
    end_busy(busy);
}

/* ---- pins ---- */

Test(cache, copies_hold_the_body_until_the_last_is_finished)
{
    for (unsigned i = 0; i < 2; i++) {
        struct client client = client_for("/a", NULL);
        struct cached copy = {0}, none = {0};
        struct arena other;

        arena_init(&other, SUPPORT_ARENA_BYTES);
        store_it("/a", i, 200000);
        if (i == 0) {
            write_some();
        }
        cr_assert_eq(find(&client), STORE_FOUND);
        cr_expect_eq(client.cached.flight != NULL, i == 1, "before the commit the flight holds it");
        cr_expect_eq(client.cached.stored.pinned, i == 0);
        cr_assert(cached_copy(cache, &client.cached, &other, &copy));
        cached_finish(cache, &client.cached);
        cached_finish(cache, &client.cached);
        cache_invalidate(cache, &client.key, NULL);
        write_some();
        expect_absent("/a", "removed");
        cr_expect(reads_as(&copy, i), "the copy still reads");
        cr_expect(span_equal(copy.stored.head, SPAN("A: 1\r\n")));
        cached_finish(cache, &copy);
        cached_finish(cache, &copy);
        cached_finish(cache, &none);
        arena_finish(&other);
        expect_empty_store("every pin is given back");
    }
}

Test(cache, a_copy_that_does_not_fit_holds_nothing)
{
    struct client client = client_for("/a", NULL);
    struct cached copy = {0};
    struct arena small;

    arena_init(&small, 2);
    store_it("/a", 1, 200000);
    cr_assert_eq(find(&client), STORE_FOUND);
    cr_expect_not(cached_copy(cache, &client.cached, &small, &copy));
    cached_finish(cache, &copy);
    write_some();
    cr_assert_eq(find(&client), STORE_FOUND);
    cr_expect_not(cached_copy(cache, &client.cached, &small, &copy));
    cached_finish(cache, &copy);
    arena_finish(&small);
    leave(&client);
    cache_invalidate(cache, &client.key, NULL);
    expect_empty_store("a failed copy");
}

/* ---- a disk that fails ---- */

static void limit_files_to(rlim_t bytes)
{
    struct rlimit limit;

    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* From now on commits fail; what is in the store can be read. */
static void break_disk(void)
{
    limit_files_to(2 * STORE_PIECE_BYTES + 100);
}

static void mend_disk(void)
{
    limit_files_to(RLIM_INFINITY);
}

Test(cache, a_commit_that_fails_costs_no_client_a_byte)
{
    struct client leader = client_for("/a", NULL), follower = client_for("/a", NULL), found = client_for("/a", NULL);

    (void)find(&leader);
    (void)find(&follower);
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    cr_assert_eq(join(&follower, JOIN_WITH_OTHERS), JOIN_FOLLOW);
    cr_assert_eq(give_head(&leader, &(struct answer){0}), ERR_OK);
    give_body(&leader, 1, 0, 3 * SLOT);
    complete(&leader);
    cr_assert_eq(find(&found), STORE_FOUND);
    cr_expect_not_null(found.cached.flight);
    flight_consumed(follower.flight, &follower.party, 2 * SLOT);
    break_disk();
    cr_expect_not(cache_write(cache));
    cr_expect_eq(flight_store_reason(leader.flight), REASON_STORE_FAILED);
    flight_consumed(follower.flight, &follower.party, flight_length(follower.flight));
    cr_expect(reads_as(&found.cached, 1), "who found it before reads it to its end");
    expect_absent("/a", "it was forgotten");
    mend_disk();
    write_some();
    cr_expect(reads_as(&found.cached, 1));
    leave(&leader);
    leave(&follower);
    leave(&found);
    expect_empty_store("a failed commit");
    store_it("/a", 2, 1000);
    write_some();
    expect_found("/a", 2, "A: 1\r\n", "the next one is stored");
}

Test(cache, another_process_takes_the_store_and_gives_it_back)
{
    struct client found = client_for("/a", NULL), leader = client_for("/b", NULL);
    uint64_t *bodies = NULL;
    size_t count = 0;

    store_it("/a", 1, 3 * SLOT);
    store_it("/gone", 1, 100);
    write_some();
    cr_assert_eq(find(&found), STORE_FOUND);
    cr_assert(found.cached.stored.pinned);
    cr_assert(store_let_go(cache_store(cache), &bodies, &count));
    cr_expect_eq(count, 1, "the body that is being sent");
    cr_expect_eq(bodies[0], found.cached.stored.record.body_id);
    free(bodies);
    cr_expect(reads_as(&found.cached, 1), "it can be sent to its end");
    expect_absent("/a", "what the other does to it is not known");
    (void)find(&leader);
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    cr_assert_eq(give_head(&leader, &(struct answer){0}), ERR_OK);
    cr_expect_eq(flight_store_reason(leader.flight), REASON_STORE_AWAY);
    give_body(&leader, 1, 0, SLOT);
    complete(&leader);
    leave(&leader);
    struct client gone = client_for("/gone", NULL);
    cache_invalidate(cache, &gone.key, NULL);
    cr_expect_not(cache_write(cache), "nothing is written");
    cr_assert(store_take_back(cache_store(cache)));
    write_some();
    cr_expect(reads_as(&found.cached, 1));
    leave(&found);
    expect_found("/a", 1, "A: 1\r\n", "as if nothing had happened");
    expect_absent("/gone", "what was invalidated meanwhile");
    expect_absent("/b", "not stored");
}

Test(cache, nothing_more_is_stored_when_streams_have_all_their_memory)
{
    cache_reader_destroy(reader);
    cache_close(cache);
    stream_memory = 2 * SLOT;
    open_cache(STORE_SIZE, QUEUE);
    struct client leader = client_for("/a", NULL), other = client_for("/b", NULL);
    (void)find(&leader);
    (void)find(&other);
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    cr_assert_eq(join(&other, JOIN_WITH_OTHERS), JOIN_LEAD);
    cr_assert_eq(give_head(&leader, &(struct answer){0}), ERR_OK);
    give_body(&leader, 1, 0, 3 * SLOT);
    cr_expect_geq(cache_stream_bytes(cache), stream_memory);
    cr_assert_eq(give_head(&other, &(struct answer){0}), ERR_OK);
    cr_expect_eq(flight_store_reason(other.flight), REASON_STREAM_MEMORY);
    complete(&leader);
    complete(&other);
    write_some();
    leave(&leader);
    leave(&other);
    cr_expect_eq(cache_stream_bytes(cache), 0);
    expect_found("/a", 1, "A: 1\r\n", "what had begun is stored");
    expect_absent("/b", "what came then is not");
}

/* The first batch takes the first pieces of a body, and fails; the second would write the rest. */
Test(cache, pieces_behind_a_failed_commit_are_not_left_in_the_store)
{
    enum { LENGTH = 2 * 1024 * 1024 };

    cache_reader_destroy(reader);
    cache_close(cache);
    open_cache(STORE_MIN_SIZE_BYTES, 4 * LENGTH);
    cr_assert_lt(store_batch_bytes(cache_store(cache)), LENGTH);
    struct client leader = client_for("/a", NULL), follower = client_for("/a", NULL);
    (void)find(&leader);
    (void)find(&follower);
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    cr_assert_eq(join(&follower, JOIN_WITH_OTHERS), JOIN_FOLLOW);
    cr_assert_eq(give_head(&leader, &(struct answer){0}), ERR_OK);
    give_body(&leader, 1, 0, LENGTH);
    break_disk();
    cr_expect_not(cache_write(cache));
    mend_disk();
    write_some();
    give_body(&leader, 1, LENGTH, LENGTH + SLOT);
    complete(&leader);
    cr_expect_eq(flight_store_reason(leader.flight), REASON_STORE_FAILED);
    cr_expect_eq(followed(&follower, 1, FLIGHT_READ_END, "a failed commit"), LENGTH + SLOT);
    leave(&leader);
    leave(&follower);
    expect_absent("/a", "not stored");
    expect_empty_store("pieces");
}

/* What is in the backlog has not been handed over when its first pieces are refused. */
Test(cache, a_commit_that_fails_under_a_backlog)
{
    struct client busy[8], found[8];

    fill_queue(busy);
    for (unsigned i = 0; i < 8; i++) {
        char path[32];
        snprintf(path, sizeof(path), "/busy/%u", i);
        if (i % 2 == 0) {
            complete(&busy[i]);
        }
        found[i] = client_for(path, NULL);
        (void)find(&found[i]);
    }
    break_disk();
    for (unsigned i = 0; i < 4; i++) {
        (void)cache_write(cache);
    }
    mend_disk();
    for (unsigned i = 0; i < 8; i += 2) {
        cr_expect(found[i].cached.flight == NULL || reads_as(&found[i].cached, i), "%u", i);
        leave(&found[i]);
    }
    for (unsigned i = 1; i < 8; i += 2) {
        give_body(&busy[i], i, 3 * SLOT, 4 * SLOT);
        complete(&busy[i]);
    }
    end_busy(busy);
    for (unsigned i = 0; i < 8; i++) {
        cache_invalidate(cache, &busy[i].key, NULL);
    }
    expect_empty_store("a backlog");
}

Test(cache, what_is_given_up_while_the_disk_refuses_is_dropped_later)
{
    struct client leader = client_for("/a", NULL);

    (void)find(&leader);
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    cr_assert_eq(give_head(&leader, &(struct answer){0}), ERR_OK);
    give_body(&leader, 1, 0, 3 * SLOT);
    write_some();
    break_disk();
    cache_fill_fail(leader.fill, ERR_RESET);
    for (unsigned i = 0; i < 30; i++) {
        cr_expect_not(cache_write(cache));
    }
    mend_disk();
    leave(&leader);
    expect_empty_store("given up");
}

Test(cache, a_removal_is_tried_until_it_is_done)
{
    struct client client = client_for("/a", NULL);

    store_it("/a", 1, 1000);
    write_some();
    break_disk();
    cache_invalidate(cache, &client.key, NULL);
    for (unsigned i = 0; i < 30; i++) {
        cr_expect_not(cache_write(cache));
        expect_absent("/a", "the store still has it");
    }
    mend_disk();
    write_some();
    expect_absent("/a", "gone");
    expect_empty_store("removed");
}

static bool done_writing(void)
{
    struct timespec now = {0};

    return !cache_wait(cache, WAIT_FOR_WORK, &now);
}

Test(cache, a_stop_does_not_wait_for_a_disk_that_stays_full)
{
    struct client client = client_for("/a", NULL);
    unsigned tries = 0;

    store_it("/a", 1, 1000);
    write_some();
    break_disk();
    store_it("/b", 1, 1000);
    cache_invalidate(cache, &client.key, NULL);
    cr_expect_not(done_writing());
    cache_stop_writes(cache);
    while (tries < 100 && !done_writing()) {
        (void)cache_write(cache);
        tries++;
    }
    cr_expect_gt(tries, 2, "a few times");
    cr_expect_lt(tries, 100, "not for ever");
    mend_disk();
}

Test(cache, a_stop_writes_what_is_queued)
{
    store_it("/a", 1, 200000);
    cache_stop_writes(cache);
    while (!done_writing()) {
        cr_assert(cache_write(cache));
    }
    cache_reader_destroy(reader);
    cache_close(cache);
    open_cache(STORE_SIZE, QUEUE);
    expect_found("/a", 1, "A: 1\r\n", "after a new start");
}
