/* test_cache_purge.c: purges as clients meet them: what is stored, on its way, being confirmed; over restarts and
 * kills; and what is deleted behind. The disk thread's part is played by hand. */
#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cache/cache.h"
#include "cache/head.h"
#include "store_support.h"

enum { STORE_SIZE = 32 * 1024 * 1024, MANY = 600 };
#define NOW_MS INT64_C(1700000000000)

static char dir[SUPPORT_PATH_BYTES];
static struct cache *cache;
static struct cache_reader *reader;
static struct arena arena;

static void open_cache(void)
{
    struct cache_options options = {
        .store = {.dir = dir, .size_bytes = STORE_SIZE, .max_variants = 4, .max_readers = 4},
        .write_queue_bytes = 4 * 1024 * 1024,
        .window_bytes = 128 * 1024,
        .hot_bytes = 4 * 1024 * 1024,
    };
    struct buf note;

    buf_init(&note, 1024);
    REQUIRE(cache_open(&options, &cache, &note) == ERR_OK);
    buf_finish(&note);
    reader = cache_reader_create(cache);
    REQUIRE(reader != NULL);
}

static void close_cache(void)
{
    cache_stop_writes(cache);
    cache_reader_destroy(reader);
    cache_close(cache);
}

static void write_some(void)
{
    for (unsigned i = 0; i < 8; i++) {
        cr_assert(cache_write(cache));
    }
}

static void setup(void)
{
    support_dir_make(dir);
    arena_init(&arena, 64 * 1024 * 1024);
    signal(SIGXFSZ, SIG_IGN);
    open_cache();
}

static void teardown(void)
{
    write_some();
    close_cache();
    arena_finish(&arena);
    support_dir_remove(dir);
}

TestSuite(cache_purge, .init = setup, .fini = teardown, .timeout = 60);

/* ---- clients ---- */

struct client {
    struct key key;
    struct http_request request;
    struct party party;
    struct cached cached;
    uint64_t generation;
    struct flight *flight;
    struct fill *fill;
};

static void on_wake(struct party *party)
{
    (void)party;
}

static enum store_found find(struct client *client, const char *path)
{
    *client = (struct client){.party.wake = on_wake};
    REQUIRE(arena_format(&arena, &client->key.text, "GET http://test.example%s", path));
    client->key.hash = key_hash_of(client->key.text, cache_secret(cache));
    client->request = (struct http_request){.method = METHOD_GET, .method_name = SPAN_INIT("GET"), .minor = 1};
    headers_init(&client->request.headers, &arena);
    return cache_find(reader, &client->key, &client->request.headers, &arena, &client->cached, &client->generation);
}

static enum join join(struct client *client, enum join_wish wish)
{
    struct join_request join = {.key = &client->key,
                                .request = &client->request,
                                .wish = wish,
                                .generation = client->generation,
                                .now_ms = NOW_MS,
                                .arena = &arena};

    return cache_join(cache, &join, &client->party, &client->flight, &client->fill);
}

static void give_head(struct client *client, const char *fields)
{
    struct flight_head head = {
        .status = 200,
        .fields = span_of(fields),
        .policy = {.ttl_s = -1, .default_ttl_s = -1, .stale_while_revalidate_s = -1, .stale_if_error_s = -1},
        .record = {.status = 200,
                   .inputs = {.request_ms = NOW_MS,
                              .response_ms = NOW_MS,
                              .date_s = NOW_MS / 1000,
                              .status = 200,
                              .directives = {.present = true, .max_age = {DIRECTIVE_VALID, 60}}}},
    };

    flight_set_store_reason(client->flight, REASON_STORED);
    REQUIRE(cache_fill_head(client->fill, &head, true, UINT64_MAX, 0) == ERR_OK);
    REQUIRE(cache_fill_append(client->fill, SPAN("hello")) == ERR_OK);
}

static void leave(struct client *client)
{
    if (client->flight != NULL) {
        flight_unfollow(client->flight, &client->party);
        flight_unref(client->flight);
    }
    cached_finish(cache, &client->cached);
}

static void store_it(const char *path, const char *fields)
{
    struct client client;

    (void)find(&client, path);
    REQUIRE(join(&client, JOIN_WITHOUT_OTHERS) == JOIN_ALONE);
    cache_fill_sent(client.fill);
    give_head(&client, fields);
    cache_fill_complete(client.fill, SPAN(""));
    leave(&client);
}

static enum purge_effect effect_on(const char *path, bool *out_found)
{
    struct client client;

    *out_found = find(&client, path) == STORE_FOUND;
    enum purge_effect effect = client.cached.purged.effect;
    leave(&client);
    return effect;
}

static void expect(const char *path, bool found, enum purge_effect effect, const char *name)
{
    bool is_found;

    cr_expect_eq(effect_on(path, &is_found), effect, "%s: %s", name, path);
    cr_expect_eq(is_found, found, "%s: %s", name, path);
}

/* ---- purges ---- */

static unsigned told;
static uint64_t told_sequence;
static enum err told_error;

static void on_purged(void *arg, uint64_t sequence, enum err error) /* cache_purged_fn */
{
    (void)arg;
    told++;
    told_sequence = sequence;
    told_error = error;
}

static enum err purge(enum purge_kind kind, enum purge_mode mode, const char *name)
{
    struct purge one = {.kind = kind, .mode = mode, .name = span_of(name), .time_ms = NOW_MS + 1000};

    return cache_purge(cache, &one, 1, on_purged, NULL);
}

#define TAGGED "Surrogate-Key: one two\r\nETag: \"v1\"\r\n"

Test(cache_purge, what_is_stored_and_what_is_on_its_way_to_the_disk)
{
    store_it("/a", TAGGED);
    write_some();
    store_it("/b", TAGGED);
    store_it("/c", "A: b\r\n");
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "two"), ERR_OK);
    expect("/a", false, PURGED_HARD, "in force at once");
    expect("/b", false, PURGED_HARD, "settled");
    expect("/c", true, PURGED_NOT, "without the tag");
    cr_expect_eq(told, 0, "not durable yet");
    write_some();
    cr_expect_eq(told, 1);
    cr_expect_eq(told_error, ERR_OK);
    cr_expect_eq(told_sequence, 1);
    expect("/a", false, PURGED_NOT, "deleted behind");
    store_it("/a", TAGGED);
    expect("/a", true, PURGED_NOT, "stored again");
    write_some();
    expect("/a", true, PURGED_NOT, "from the disk");
}

/* However much waits for the disk: who purges waits for one batch. */
Test(cache_purge, before_what_is_to_be_stored)
{
    char path[16];

    for (unsigned i = 0; i < 2 * MANY; i++) { /* more jobs than a batch takes */
        (void)snprintf(path, sizeof path, "/%u", i);
        store_it(path, TAGGED);
    }
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "one"), ERR_OK);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "two"), ERR_OK);
    cr_assert(cache_write(cache));
    cr_expect_eq(told, 2);
    cr_expect_eq(told_sequence, 2, "in the order of their sequences");
    cr_expect_gt(cache_queued_bytes(cache), 0, "what was queued before them is still to come");
    write_some();
    cr_expect_eq(cache_queued_bytes(cache), 0);
    for (unsigned i = 0; i < 2 * MANY; i++) {
        (void)snprintf(path, sizeof path, "/%u", i);
        bool found;
        (void)effect_on(path, &found);
        cr_expect_not(found, "%s was born before the purge", path);
    }
}

Test(cache_purge, several_in_one_call)
{
    const struct purge purges[] = {
        {.kind = PURGE_URL, .mode = PURGE_HARD, .name = SPAN_INIT("http://test.example/a")},
        {.kind = PURGE_PREFIX, .mode = PURGE_SOFT, .name = SPAN_INIT("http://test.example/b")},
    };
    const struct purge invalid[] = {purges[0], {.kind = PURGE_TAG, .mode = PURGE_HARD}};

    store_it("/a", TAGGED);
    store_it("/b", TAGGED);
    cr_expect_eq(cache_purge(cache, invalid, 2, on_purged, NULL), ERR_BAD_TARGET);
    expect("/a", true, PURGED_NOT, "all or none");
    cr_assert_eq(cache_purge(cache, purges, 2, on_purged, NULL), ERR_OK);
    expect("/a", false, PURGED_HARD, "the first");
    expect("/b", true, PURGED_SOFT, "the second");
    write_some();
    cr_expect_eq(told, 1);
    cr_expect_eq(told_sequence, 2);
}

/* Stale from the purge on, fresh again by a 304. */
Test(cache_purge, soft)
{
    struct policy policy = {.ttl_s = -1, .default_ttl_s = -1, .stale_while_revalidate_s = -1, .stale_if_error_s = 100};
    enum reason reason;
    const char *rule;
    struct client client;

    store_it("/a", TAGGED);
    write_some();
    cr_assert_eq(purge(PURGE_TAG, PURGE_SOFT, "one"), ERR_OK);
    policy.max_stale_s = 1000;
    policy.rule[SETTING_STALE_IF_ERROR] = "rule";
    cr_assert_eq(find(&client, "/a"), STORE_FOUND);
    const struct record *record = &client.cached.stored.record;
    struct reuse_verdict verdict = policy_may_reuse(&client.request, record, &policy, NOW_MS + 3000);
    cr_expect_eq(verdict.reuse, REUSE_VALIDATE);
    cr_expect_eq(verdict.reason, REASON_PURGED_SOFT);
    cr_expect(
        policy_may_serve_stale(&client.request, record, &policy, FAILURE_STATUS, NOW_MS + 100999, &reason, &rule));
    cr_expect_not(
        policy_may_serve_stale(&client.request, record, &policy, FAILURE_STATUS, NOW_MS + 101000, &reason, &rule),
        "the window is counted from the purge");
    cr_assert_eq(join(&client, JOIN_WITH_OTHERS), JOIN_LEAD);
    cache_fill_sent(client.fill);
    cache_fill_validated(client.fill, &client.cached, record, client.cached.stored.head);
    leave(&client);
    expect("/a", true, PURGED_NOT, "confirmed");
    write_some();
    expect("/a", true, PURGED_NOT, "confirmed, from the disk");
    cr_assert_eq(find(&client, "/a"), STORE_FOUND);
    verdict = policy_may_reuse(&client.request, &client.cached.stored.record, &policy, NOW_MS + 3000);
    cr_expect_eq(verdict.reuse, REUSE_SERVE);
    leave(&client);
}

/* The tags of the 304 are those that count from then on. */
Test(cache_purge, a_304_brings_new_tags)
{
    struct client client;

    store_it("/a", TAGGED);
    write_some();
    cr_assert_eq(find(&client, "/a"), STORE_FOUND);
    cr_assert_eq(join(&client, JOIN_WITHOUT_OTHERS), JOIN_ALONE);
    cache_fill_validated(client.fill, &client.cached, &client.cached.stored.record, SPAN("xkey: three\r\n"));
    leave(&client);
    write_some();
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "one"), ERR_OK);
    expect("/a", true, PURGED_NOT, "the old one");
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "three"), ERR_OK);
    expect("/a", false, PURGED_HARD, "the new one");
}

/* What is hard purged while the origin confirms it stays dead. */
Test(cache_purge, confirmed_too_late)
{
    struct client client;

    store_it("/a", TAGGED);
    write_some();
    cr_assert_eq(find(&client, "/a"), STORE_FOUND);
    cr_assert_eq(join(&client, JOIN_WITHOUT_OTHERS), JOIN_ALONE);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "one"), ERR_OK);
    cache_fill_sent(client.fill); /* asked after the purge, about what was found before */
    cache_fill_validated(client.fill, &client.cached, &client.cached.stored.record, client.cached.stored.head);
    leave(&client);
    expect("/a", false, PURGED_HARD, "at once");
    for (unsigned i = 0; i < 10; i++) {
        write_some();
    }
    expect("/a", false, PURGED_NOT, "deleted behind");
}

/* The request was sent before the purge: the response may be older than it. */
Test(cache_purge, what_was_asked_for_before)
{
    static const struct {
        enum purge_kind kind;
        const char *name;
        bool head_first; /* the purge comes when the head is there */
        bool follows;    /* may who comes after it follow? */
        bool stored;
    } cases[] = {
        {PURGE_URL, "http://test.example/a", false, false, false},
        {PURGE_URL, "http://test.example/a", true, false, false},
        {PURGE_URL, "http://test.example/b", false, true, true},
        {PURGE_TAG, "one", false, false, false},
        {PURGE_TAG, "one", true, false, false},
        {PURGE_TAG, "other", false, false, true}, /* the head may have it yet */
        {PURGE_TAG, "other", true, true, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client leader;
        struct client late;
        bool found;

        (void)find(&leader, "/a");
        cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
        cache_fill_sent(leader.fill);
        if (cases[i].head_first) {
            give_head(&leader, TAGGED);
        }
        cr_assert_eq(purge(cases[i].kind, PURGE_HARD, cases[i].name), ERR_OK);
        (void)find(&late, "/a");
        enum join joined = join(&late, JOIN_IF_RUNNING);
        cr_expect_eq(joined, cases[i].follows ? JOIN_FOLLOW : JOIN_NOBODY, "case %zu", i);
        leave(&late);
        if (!cases[i].head_first) {
            give_head(&leader, TAGGED);
        }
        cache_fill_complete(leader.fill, SPAN(""));
        leave(&leader);
        (void)effect_on("/a", &found);
        cr_expect_eq(found, cases[i].stored, "case %zu: at once", i);
        write_some();
        (void)effect_on("/a", &found);
        cr_expect_eq(found, cases[i].stored, "case %zu: on the disk", i);
        cache_invalidate(cache, &leader.key, NULL);
        write_some();
    }
}

/* Its response says that it belongs under another key (search.h), which who purged its URL could not know. */
Test(cache_purge, what_was_asked_for_before_and_comes_under_another_key)
{
    static const struct {
        enum purge_mode mode;
        const char *url;
        bool found;
    } cases[] = {
        {PURGE_HARD, "http://test.example/a?y&x", false},
        {PURGE_SOFT, "http://test.example/a?y&x", false},
        {PURGE_HARD, "http://test.example/b", true},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client leader;
        struct client late;

        (void)find(&leader, "/a?y&x");
        cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
        cache_fill_sent(leader.fill);
        cr_assert_eq(purge(PURGE_URL, cases[i].mode, cases[i].url), ERR_OK);
        (void)find(&late, "/a?x=&y= search=1");
        cr_assert(cache_fill_rekey(leader.fill, &late.key));
        give_head(&leader, TAGGED);
        cr_expect_eq(join(&late, JOIN_IF_RUNNING), cases[i].found ? JOIN_FOLLOW : JOIN_NOBODY, "case %zu", i);
        leave(&late);
        cache_fill_complete(leader.fill, SPAN(""));
        leave(&leader);
        expect("/a?x=&y= search=1", cases[i].found, PURGED_NOT, "at once");
        write_some();
        expect("/a?x=&y= search=1", cases[i].found, PURGED_NOT, "on the disk");
    }
}

/* Sent after it: younger, even if the fetch began before. */
Test(cache_purge, what_is_asked_for_after)
{
    struct client leader;

    (void)find(&leader, "/a");
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    cr_assert_eq(purge(PURGE_ALL, PURGE_HARD, ""), ERR_OK);
    cache_fill_sent(leader.fill);
    give_head(&leader, TAGGED);
    cache_fill_complete(leader.fill, SPAN(""));
    leave(&leader);
    expect("/a", true, PURGED_NOT, "at once");
    write_some();
    expect("/a", true, PURGED_NOT, "on the disk");
}

/* ---- what the store holds ---- */

static uint64_t objects(void)
{
    struct store_stats stats;

    store_stats_of(cache_store(cache), &stats);
    return stats.objects;
}

static bool count_row(void *arg, uint64_t sequence, struct span row) /* store_purge_fn */
{
    (void)sequence;
    (void)row;
    *(unsigned *)arg += 1;
    return true;
}

static unsigned rows(void)
{
    unsigned count = 0;

    cr_assert_eq(store_each_purge(cache_reader_store(reader), 0, count_row, &count), ERR_OK);
    return count;
}

/* ---- restarts ---- */

Test(cache_purge, in_force_after_a_restart)
{
    store_it("/a", TAGGED);
    store_it("/b", "A: b\r\n");
    cr_assert(cache_write(cache));
    cr_assert_eq(purge(PURGE_TAG, PURGE_SOFT, "one"), ERR_OK);
    cr_assert_eq(purge(PURGE_URL, PURGE_HARD, "http://test.example/b"), ERR_OK);
    cr_assert(cache_write(cache));
    cr_expect_eq(told, 2);
    close_cache();
    open_cache();
    expect("/a", true, PURGED_SOFT, "soft");
    expect("/b", false, PURGED_HARD, "hard");
    store_it("/b", "A: b\r\n");
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "x"), ERR_OK);
    expect("/b", true, PURGED_NOT, "born after the restart");
    cr_assert(cache_write(cache));
    cr_expect_eq(told_sequence, 3, "the sequence goes on");
}

/* Rows of the journal as nobody's cache_purge wrote them. */
static void write_rows(const struct purge *purges, const uint64_t *sequences, size_t count)
{
    enum { MOST = PURGE_SET_MAX_PATTERNS + 1 };
    static struct store_purge rows[MOST];
    struct store *store = support_open(dir, STORE_SIZE);
    struct store_op op = {.kind = STORE_OP_PURGE, .purges = rows, .purge_count = count};
    struct buf bytes[MOST];

    cr_assert_leq(count, MOST);
    for (size_t i = 0; i < count; i++) {
        struct purge purge = purges[i];
        purge.sequence = sequences[i];
        buf_init(&bytes[i], STORE_PURGE_MAX_BYTES);
        purge_encode(&purge, &bytes[i]);
        rows[i] = (struct store_purge){.sequence = sequences[i], .row = buf_span(&bytes[i])};
    }
    cr_assert_eq(store_apply(store, &op, 1), ERR_OK);
    for (size_t i = 0; i < count; i++) {
        buf_finish(&bytes[i]);
    }
    store_close(store);
}

/* What a walk has found to name nothing leaves the journal in lots: a kill in between leaves more than is in force. */
Test(cache_purge, a_journal_longer_than_the_set)
{
    struct purge purges[PURGE_SET_MAX_PATTERNS + 1];
    uint64_t sequences[ARRAY_LEN(purges)];

    store_it("/a", TAGGED);
    write_some();
    close_cache();
    for (size_t i = 0; i < ARRAY_LEN(purges); i++) {
        purges[i] = (struct purge){.kind = PURGE_PREFIX, .mode = PURGE_HARD};
        cr_assert(arena_format(&arena, &purges[i].name, "http://other.example/%zu", i));
        sequences[i] = i + 1;
    }
    write_rows(purges, sequences, ARRAY_LEN(purges));
    open_cache();
    expect("/a", false, PURGED_HARD, "what cannot be told is dead");
    store_it("/a", TAGGED);
    expect("/a", true, PURGED_NOT, "stored again");
    for (unsigned i = 0; i < 50 && rows() > 1; i++) {
        cr_assert(cache_write(cache));
    }
    cr_expect_eq(rows(), 1);
    cr_assert_eq(purge(PURGE_PREFIX, PURGE_HARD, "http://test.example/"), ERR_OK);
    expect("/a", false, PURGED_HARD, "there is room again");
    cr_assert(cache_write(cache));
    cr_expect_eq(told_sequence, ARRAY_LEN(purges) + 1);
}

/* Sequences begin at 1: no birth is older than this row. */
Test(cache_purge, a_row_without_a_sequence)
{
    const struct purge all = {.kind = PURGE_ALL, .mode = PURGE_HARD};
    const uint64_t none = 0;

    store_it("/a", TAGGED);
    write_some();
    close_cache();
    write_rows(&all, &none, 1);
    open_cache();
    expect("/a", true, PURGED_NOT, "it names nothing");
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "one"), ERR_OK);
    expect("/a", false, PURGED_HARD, "the next one");
}

/* There is no sequence behind the last one: the journal is damaged, and with it the store. */
Test(cache_purge, a_row_with_the_last_sequence)
{
    const struct purge all = {.kind = PURGE_ALL, .mode = PURGE_HARD};
    const uint64_t last = UINT64_MAX;

    store_it("/a", TAGGED);
    write_some();
    close_cache();
    write_rows(&all, &last, 1);
    open_cache();
    expect("/a", false, PURGED_NOT, "the store starts empty");
    store_it("/a", TAGGED);
    write_some();
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "one"), ERR_OK);
    expect("/a", false, PURGED_HARD, "and purges count");
}

/* Stores and purges until it is killed; tells the version that was purged last, after it was told so itself. */
static void run_child(int pipe_fd)
{
    char path[32];
    char fields[64];

    for (unsigned round = 1;; round++) {
        unsigned number = round % 20;
        snprintf(path, sizeof(path), "/%u", number);
        snprintf(fields, sizeof(fields), "xkey: t%u\r\nVersion: %u\r\n", number, round);
        store_it(path, fields);
        REQUIRE(cache_write(cache));
        snprintf(fields, sizeof(fields), "t%u", number);
        if (round % 3 == 0) {
            told = 0;
            REQUIRE(purge(PURGE_TAG, PURGE_HARD, fields) == ERR_OK);
            while (told == 0) {
                REQUIRE(cache_write(cache));
            }
            unsigned message[2] = {number, round};
            REQUIRE(write(pipe_fd, message, sizeof(message)) == (ssize_t)sizeof(message));
        }
        arena_reset(&arena);
    }
}

Test(cache_purge, in_force_after_kill_9)
{
    unsigned purged[20] = {0};
    uint64_t seed = 1;
    unsigned alive = 0;

    for (unsigned kills = 0; kills < 10; kills++) {
        int ends[2];
        unsigned message[2];

        close_cache();
        memset(purged, 0, sizeof(purged));
        cr_assert_eq(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0) {
            close(ends[0]);
            open_cache();
            run_child(ends[1]);
        }
        close(ends[1]);
        unsigned rounds = 1 + (unsigned)(support_random(&seed) % 30);
        for (unsigned i = 0; i < rounds && read(ends[0], message, sizeof(message)) == (ssize_t)sizeof(message); i++) {
            purged[message[0]] = message[1];
        }
        kill(child, SIGKILL);
        while (read(ends[0], message, sizeof(message)) == (ssize_t)sizeof(message)) {
            purged[message[0]] = message[1];
        }
        close(ends[0]);
        cr_assert_eq(waitpid(child, NULL, 0), child);
        open_cache();
        for (unsigned number = 0; number < ARRAY_LEN(purged); number++) {
            struct client client;
            char path[32];

            snprintf(path, sizeof(path), "/%u", number);
            if (purged[number] > 0 && find(&client, path) == STORE_FOUND) {
                struct headers headers;
                uint64_t version;
                cr_assert_eq(head_read(client.cached.stored.head, &arena, &headers), ERR_OK);
                cr_assert(span_to_u64(headers_value(&headers, SPAN("Version")), &version));
                cr_expect_gt(version, purged[number], "%s was purged", path);
                leave(&client);
                alive++;
            }
            arena_reset(&arena);
        }
        /* Versions begin anew with each child. */
        cr_assert_eq(purge(PURGE_ALL, PURGE_HARD, ""), ERR_OK);
        write_some();
    }
    cr_expect_gt(alive, 10, "%u that were stored after their purge were looked at", alive);
}

/* ---- a disk that refuses ---- */

static void refuse_writes(bool refuse)
{
    static struct rlimit limit;

    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = refuse ? 100 : limit.rlim_max;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void write_until_told(unsigned count)
{
    for (unsigned i = 0; i < 100 && told < count; i++) {
        (void)cache_write(cache);
    }
    cr_assert_eq(told, count);
    cr_expect_neq(told_error, ERR_OK);
}

Test(cache_purge, a_disk_that_refuses)
{
    store_it("/a", TAGGED);
    write_some();
    refuse_writes(true);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "one"), ERR_OK);
    write_until_told(1);
    expect("/a", false, PURGED_HARD, "in force all the same");
    refuse_writes(false);
}

/* Then the purge is written, with or before what was born after it. */
Test(cache_purge, a_disk_that_takes_writes_again)
{
    store_it("/a", TAGGED);
    store_it("/b", TAGGED);
    write_some();
    refuse_writes(true);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "one"), ERR_OK);
    write_until_told(1);
    refuse_writes(false);
    store_it("/b", TAGGED);
    cr_assert(cache_write(cache));
    expect("/b", true, PURGED_NOT, "born after the purge");
    cr_expect_eq(rows(), 1, "the journal has it");
    cr_expect_eq(told, 1, "once");
    close_cache();
    open_cache();
    expect("/a", false, PURGED_HARD, "in force after a restart");
    expect("/b", true, PURGED_NOT, "after a restart");
}

/* Of purges without end the newest is kept: with it on the disk, nothing is taken for older than it is. */
Test(cache_purge, purges_without_end_on_a_disk_that_refuses)
{
    enum { LOTS = 3000 };
    char tag[32];

    refuse_writes(true);
    for (unsigned i = 1; i <= LOTS; i++) {
        (void)snprintf(tag, sizeof(tag), "tag%u", i);
        cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, tag), ERR_OK);
    }
    write_until_told(LOTS);
    cr_expect_eq(told_sequence, LOTS, "in their order");
    refuse_writes(false);
    store_it("/a", "xkey: tag3000\r\n");
    cr_assert(cache_write(cache));
    expect("/a", true, PURGED_NOT, "born after all of them");
    unsigned kept = rows();
    cr_expect(kept > 100 && kept < LOTS, "%u", kept);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "tag3000"), ERR_OK);
    expect("/a", false, PURGED_HARD, "the next one");
}

/* One call that is more than may be kept. */
Test(cache_purge, a_purge_of_much_on_a_disk_that_refuses)
{
    static char name[PURGE_NAME_MAX_BYTES + 1];
    struct purge purges[CACHE_PURGES_MAX];

    memset(name, 't', PURGE_NAME_MAX_BYTES);
    for (size_t i = 0; i < ARRAY_LEN(purges); i++) {
        purges[i] = (struct purge){.kind = PURGE_TAG, .mode = PURGE_HARD, .name = {name, sizeof(name) - 1 - i}};
    }
    purges[ARRAY_LEN(purges) - 1].name = SPAN("one");
    refuse_writes(true);
    cr_assert_eq(cache_purge(cache, purges, ARRAY_LEN(purges), on_purged, NULL), ERR_OK);
    write_until_told(1);
    refuse_writes(false);
    store_it("/a", TAGGED);
    cr_assert(cache_write(cache));
    expect("/a", true, PURGED_NOT, "born after it");
    cr_expect_eq(rows(), 1, "its last");
}

/* A stop does not wait for the disk without end. */
Test(cache_purge, a_stop_while_the_disk_refuses)
{
    refuse_writes(true);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "one"), ERR_OK);
    write_until_told(1);
    cache_stop_writes(cache);
    const struct timespec now = {0};
    unsigned batches = 0;
    while (batches < 100 && cache_wait(cache, WAIT_FOR_WORK, &now)) {
        (void)cache_write(cache);
        batches++;
    }
    cr_expect_lt(batches, 100);
    cr_expect_eq(told, 1);
    refuse_writes(false);
    cache_start_writes(cache);
}

/* The disk is behind: memory is not without end. */
Test(cache_purge, what_waits_for_the_disk_is_bounded)
{
    enum { MOST = 4096 }; /* 128 MiB */
    static char tag[PURGE_NAME_MAX_BYTES + 1];
    enum err error = ERR_OK;
    unsigned count = 0;

    memset(tag, 't', PURGE_NAME_MAX_BYTES);
    while (error == ERR_OK && count < MOST) {
        error = purge(PURGE_TAG, PURGE_HARD, tag);
        count += error == ERR_OK;
    }
    cr_expect_eq(error, ERR_LIMIT);
    cr_expect_lt(count, MOST);
    while (told < count) {
        cr_assert(cache_write(cache));
    }
    cr_expect_eq(purge(PURGE_TAG, PURGE_HARD, tag), ERR_OK, "there is room again");
}

/* ---- behind ---- */

static void store_many(const char *fields, unsigned count)
{
    char path[32];

    for (unsigned i = 0; i < count; i++) {
        snprintf(path, sizeof(path), "/many/%u", i);
        store_it(path, fields);
        if (i % 100 == 0) {
            cr_assert(cache_write(cache));
            arena_reset(&arena);
        }
    }
    cr_assert(cache_write(cache));
    arena_reset(&arena);
}

Test(cache_purge, the_dead_are_deleted_and_the_rows_forgotten)
{
    store_many(TAGGED, MANY);
    store_it("/other", "A: b\r\n");
    write_some();
    cr_expect_eq(objects(), MANY + 1);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "one"), ERR_OK);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "none"), ERR_OK);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "none either"), ERR_OK);
    cr_assert(cache_write(cache));
    cr_expect_gt(objects(), MANY / 2, "at a pace");
    for (unsigned i = 0; i < 50 && objects() > 1; i++) {
        cr_assert(cache_write(cache));
    }
    write_some();
    cr_expect_eq(objects(), 1);
    cr_expect_eq(rows(), 1, "but for the newest, which says where the sequence stands");
    expect("/other", true, PURGED_NOT, "it lives");
    close_cache();
    open_cache();
    cr_assert_eq(purge(PURGE_URL, PURGE_HARD, "http://test.example/other"), ERR_OK);
    expect("/other", false, PURGED_HARD, "its birth is older than a sequence given after the restart");
    cr_assert(cache_write(cache));
    cr_expect_eq(told_sequence, 4);
}

/* What a soft purge names lives on, and so does the row. */
Test(cache_purge, soft_rows_stay_while_they_name_something)
{
    store_it("/a", TAGGED);
    cr_assert_eq(purge(PURGE_TAG, PURGE_SOFT, "none"), ERR_OK);
    cr_assert_eq(purge(PURGE_TAG, PURGE_SOFT, "one"), ERR_OK);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "none either"), ERR_OK);
    for (unsigned i = 0; i < 10; i++) {
        write_some();
    }
    cr_expect_eq(rows(), 2, "%u", rows());
    expect("/a", true, PURGED_SOFT, "still");
    close_cache();
    open_cache();
    expect("/a", true, PURGED_SOFT, "still, after a restart");
}

/* The walk cannot read its head: before the row goes, it must. */
Test(cache_purge, a_head_too_long_for_the_walk)
{
    enum { HEAD = 1200 * 1024, LINE = 1000 };
    struct buf fields;
    char value[LINE];

    memset(value, 'v', sizeof(value));
    buf_init(&fields, HEAD + LINE);
    while (fields.len < HEAD) {
        buf_format(&fields, "A: %.*s\r\n", LINE - 10, value);
    }
    buf_add_byte(&fields, '\0');
    store_it("/a", fields.data);
    buf_finish(&fields);
    write_some();
    expect("/a", true, PURGED_NOT, "stored");
    cr_assert_eq(purge(PURGE_URL, PURGE_HARD, "http://test.example/a"), ERR_OK);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "none"), ERR_OK);
    expect("/a", false, PURGED_HARD, "at once");
    for (unsigned i = 0; i < 10; i++) {
        write_some();
    }
    cr_expect_eq(rows(), 1);
    expect("/a", false, PURGED_NOT, "deleted behind");
}

/* A fetch that began before a purge ends after the walk: the row is still there. */
Test(cache_purge, rows_outlive_the_fetches_they_concern)
{
    struct client leader;

    (void)find(&leader, "/a");
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    cache_fill_sent(leader.fill);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "one"), ERR_OK);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "none"), ERR_OK);
    for (unsigned i = 0; i < 10; i++) {
        write_some();
    }
    cr_expect_eq(rows(), 2);
    give_head(&leader, TAGGED);
    cache_fill_complete(leader.fill, SPAN(""));
    leave(&leader);
    write_some();
    expect("/a", false, PURGED_NOT, "not stored");
}

/* ---- what a worker holds in memory ---- */

static bool is_hot(const char *path)
{
    struct client client;
    bool hot = find(&client, path) == STORE_FOUND && client.cached.hot != NULL;

    leave(&client);
    return hot;
}

static void make_hot(const char *path, const char *fields)
{
    store_it(path, fields);
    write_some();
    for (unsigned i = 0; i < 4 && !is_hot(path); i++) {
    }
    cr_assert(is_hot(path));
}

Test(cache_purge, hot_copies)
{
    make_hot("/a", TAGGED);
    make_hot("/b", "A: b\r\n");
    make_hot("/c", "xkey: soft\r\n");
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "one"), ERR_OK);
    cr_assert_eq(purge(PURGE_TAG, PURGE_SOFT, "soft"), ERR_OK);
    expect("/a", false, PURGED_HARD, "at once");
    expect("/c", true, PURGED_SOFT, "at once");
    cr_expect(is_hot("/b"), "not concerned");
}

/* The row is gone before anyone has asked about the copy again. */
Test(cache_purge, hot_copies_outlive_no_row)
{
    make_hot("/a", TAGGED);
    make_hot("/b", "A: b\r\n");
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "one"), ERR_OK);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "none"), ERR_OK);
    for (unsigned i = 0; i < 10; i++) {
        write_some();
    }
    cr_expect_eq(rows(), 1);
    expect("/a", false, PURGED_NOT, "deleted behind");
    expect("/b", true, PURGED_NOT, "not concerned");
    cr_expect(is_hot("/b") || is_hot("/b") || is_hot("/b"), "and hot again");
}

/* ---- groups (RFC 9875) ---- */

static void invalidate_groups(const char *field)
{
    struct headers headers;
    struct cache_groups groups;

    headers_init(&headers, &arena);
    cr_assert(headers_add(&headers, SPAN("Cache-Group-Invalidation"), span_of(field)));
    cr_assert(cache_groups_invalidated(METHOD_POST, &headers, &arena, &groups));
    cache_invalidate_groups(cache, SPAN("http://test.example"), groups, NOW_MS, &arena);
}

Test(cache_purge, an_origin_that_sends_very_many_groups)
{
    char field[64];

    store_it("/a", "A: b\r\n");
    for (unsigned i = 0; i < PURGE_SET_MAX_NAMES / 2 + 1000; i++) {
        snprintf(field, sizeof(field), "\"g%u\"", i);
        invalidate_groups(field);
        if (i == 1000) {
            expect("/a", true, PURGED_NOT, "in no group");
        }
        if (i % 1000 == 0) {
            cr_assert(cache_write(cache));
            arena_reset(&arena);
        }
    }
    expect("/a", false, PURGED_HARD, "its host was purged in place of more rows");
    for (unsigned i = 0; i < 2000 && rows() > 1; i++) {
        cr_assert(cache_write(cache));
    }
    cr_expect_eq(rows(), 1);
    store_it("/a", "A: b\r\n");
    invalidate_groups("\"g\"");
    expect("/a", true, PURGED_NOT, "there is room again");
}
