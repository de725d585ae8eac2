/* test_store_kill.c: processes that are killed while they store, replace, freshen, remove, purge and evict: whatever
 * can be found afterwards is whole, and what the file says of itself is what a recount finds. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "recount.h"
#include "store_dir_fixture.h"

enum { PAGE = 4096, BLOCK = 4096 };

TestSuite(store_kill, .init = dir_begin, .fini = dir_end);

enum {
    NUMBERS = 120,
    REMOVED = 16, /* further ones, which are removed right after they were stored */
    KILLS = 30,   /* $LARDER_KILLS: another number */
};

/* Of less than the objects take: the hand walks all the time. */
struct kill_case {
    uint64_t size_bytes;
    unsigned large_one_in;
    unsigned large_factor;
};
static const struct kill_case without_body_file = {16 * 1024 * 1024, 8, 50};
static const struct kill_case with_body_file = {128 * 1024 * 1024, 3, 100};

/* What the child reports through a pipe after each batch that was applied. */
struct progress {
    uint64_t object_id;
    uint64_t body_id;
    uint64_t purge;   /* newest row of the journal, 0: none yet */
    unsigned removed; /* number of the last object that was removed and not stored again, 0: none yet */
};

/* A 304 for an object that may not be there: the head gets a field more. */
static void freshen(struct store *store, struct store_reader *reader, unsigned number, uint64_t serial)
{
    struct stored stored;
    struct buf head;

    arena_reset(&arena);
    if (support_find(reader, store, number, number % 2 == 0 ? NULL : "a", &arena, &stored) != STORE_FOUND) {
        return;
    }
    buf_init(&head, 4096);
    buf_add(&head, stored.head);
    if (span_find(stored.head, '!') == SIZE_MAX) {
        buf_format(&head, "X-Freshened: %llu!\r\n", (unsigned long long)serial);
    }
    stored.record.head_override = buf_span(&head);
    struct store_op op = {.kind = STORE_OP_FRESHEN, .object_id = stored.record.object_id, .record = &stored.record};
    REQUIRE(store_apply(store, &op, 1) == ERR_OK);
    buf_finish(&head);
    if (stored.pinned) {
        store_unpin(store, stored.record.body_id);
    }
}

static void report(int pipe_fd, const struct progress *progress)
{
    REQUIRE(write(pipe_fd, progress, sizeof(*progress)) == (ssize_t)sizeof(*progress));
}

/* Another row of the journal, in place of the one before. */
static void purge(struct store *store, struct progress *progress)
{
    uint64_t newest = store_newest_purge(store);
    struct store_purge row = {
        .sequence = newest + 1, .replaced = progress->purge, .row = {(const char *)&newest, sizeof(newest)}};
    struct store_op op = {.kind = STORE_OP_PURGE, .purges = &row, .purge_count = 1};

    REQUIRE(store_apply(store, &op, 1) == ERR_OK);
    progress->purge = row.sequence;
}

/* Stores, replaces, freshens, removes, purges and evicts until it is killed. Bodies of several batches are among them.
 */
static void run_child(const struct kill_case *kind, uint64_t seed, int pipe_fd)
{
    struct store *store = NULL;
    struct progress progress = {0};

    buf_clear(&note);
    REQUIRE(support_try_open(dir, kind->size_bytes, &store, &note) == ERR_OK);
    if (note.len > 0) {
        fprintf(stderr, "%.*s\n", SPAN_ARG(buf_span(&note)));
    }
    REQUIRE(note.len == 0); /* nothing was set aside */
    struct store_reader *reader = store_reader_create(store);
    REQUIRE(reader != NULL);
    for (;;) {
        struct support_object object = {.number = (unsigned)(support_random(&seed) % NUMBERS),
                                        .version = (unsigned)(support_random(&seed) & 0xffff),
                                        .variant = support_random(&seed) % 2 == 0 ? NULL : "a",
                                        .body_len = support_random(&seed) % 60000};

        if (support_random(&seed) % kind->large_one_in == 0) {
            object.body_len *= kind->large_factor;
        }
        REQUIRE(support_put(store, &object, &progress.object_id, &progress.body_id) == ERR_OK);
        report(pipe_fd, &progress);
        if (support_random(&seed) % 3 == 0) {
            freshen(store, reader, (unsigned)(support_random(&seed) % NUMBERS), progress.object_id);
        }
        if (support_random(&seed) % 5 == 0) {
            REQUIRE(support_remove(store, (unsigned)(support_random(&seed) % NUMBERS)) == ERR_OK);
        }
        if (support_random(&seed) % 4 == 0) {
            object.number = NUMBERS + 1 + progress.removed % REMOVED;
            REQUIRE(support_put(store, &object, &progress.object_id, &progress.body_id) == ERR_OK);
            REQUIRE(support_remove(store, object.number) == ERR_OK);
            progress.removed = object.number;
            purge(store, &progress);
            report(pipe_fd, &progress);
        }
    }
}

/* Lets a child work for some time and kills it. The last thing it has told goes to `out_last`. */
static void kill_a_child(const struct kill_case *kind, uint64_t seed, struct progress *out_last)
{
    int ends[2];
    struct progress progress;

    cr_assert_eq(pipe(ends), 0);
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        close(ends[0]);
        run_child(kind, seed, ends[1]);
    }
    close(ends[1]);
    /* At least one batch, then a random while. */
    unsigned batches = 1 + (unsigned)(support_random(&seed) % 30);
    for (unsigned i = 0; i < batches && read(ends[0], &progress, sizeof(progress)) == (ssize_t)sizeof(progress); i++) {
        *out_last = progress;
    }
    usleep((useconds_t)(support_random(&seed) % 5000));
    kill(child, SIGKILL);
    while (read(ends[0], &progress, sizeof(progress)) == (ssize_t)sizeof(progress)) {
        *out_last = progress;
    }
    close(ends[0]);
    cr_assert_eq(waitpid(child, NULL, 0), child);
}

/* What is found is whole; returns how many are. */
static unsigned look_at_all(struct store *store, unsigned kill_number)
{
    struct store_reader *reader = store_reader_create(store);
    unsigned good = 0;

    cr_assert_not_null(reader);
    for (unsigned number = 0; number < NUMBERS; number++) {
        unsigned version;
        arena_reset(&arena);
        enum support_outcome outcome =
            support_check(reader, store, number, number % 2 == 0 ? NULL : "a", &arena, &version);
        cr_assert(outcome == SUPPORT_ABSENT || outcome == SUPPORT_GOOD, "object %u after kill %u", number, kill_number);
        good += outcome == SUPPORT_GOOD;
    }
    store_reader_destroy(reader);
    return good;
}

/* The figures of a store that was closed just now are what is in its file. */
static void expect_recount(const struct store_stats *stats)
{
    struct recount recount;

    buf_clear(&note);
    bool agrees = recount_dir(dir, &recount, &note);
    cr_assert(agrees, "%.*s", SPAN_ARG(buf_span(&note)));
    cr_expect_eq(recount.objects, stats->objects);
    cr_expect_eq(recount.used_pages * PAGE, stats->used_bytes);
    cr_expect_eq(recount.used_blocks * BLOCK, stats->body_used_bytes);
    cr_expect_eq(recount.pending_bodies, stats->reclaim_bodies);
}

static unsigned kills_wanted(void)
{
    const char *text = getenv("LARDER_KILLS");

    return text == NULL ? KILLS : (unsigned)strtoul(text, NULL, 10);
}

static bool on_purge(void *arg, uint64_t sequence, struct span row) /* store_purge_fn */
{
    uint64_t before;

    REQUIRE(row.len == sizeof(before));
    memcpy(&before, row.data, sizeof(before));
    *(unsigned *)arg += sequence == before + 1 ? 1 : 100;
    return true;
}

/* What a child was told to be gone stays gone, and one row of the journal says so, or two: its successor's was cut
 * short. */
static void expect_purged(struct store *store, const struct progress *last)
{
    struct store_reader *reader = store_reader_create(store);
    struct stored stored;
    unsigned rows = 0;

    cr_assert_not_null(reader);
    arena_reset(&arena);
    cr_expect(last->removed == 0 || support_find(reader, store, last->removed, NULL, &arena, &stored) == STORE_ABSENT);
    arena_reset(&arena);
    cr_expect(last->removed == 0 || support_find(reader, store, last->removed, "a", &arena, &stored) == STORE_ABSENT);
    cr_expect_geq(store_newest_purge(store), last->purge);
    cr_expect_eq(store_each_purge(reader, last->purge, on_purge, &rows), ERR_OK);
    cr_expect(last->purge == 0 || (rows >= 1 && rows <= 2), "%u rows", rows);
    store_reader_destroy(reader);
}

static void kill_and_look(const struct kill_case *kind, unsigned kills)
{
    struct progress highest = {0};
    unsigned good = 0;

    for (unsigned i = 0; i < kills; i++) {
        struct progress last = {0};
        struct store *store = NULL;
        struct store_stats stats;

        kill_a_child(kind, i * 7919 + 1, &last);
        highest.object_id = last.object_id > highest.object_id ? last.object_id : highest.object_id;
        highest.body_id = last.body_id > highest.body_id ? last.body_id : highest.body_id;
        buf_clear(&note);
        cr_assert_eq(support_try_open(dir, kind->size_bytes, &store, &note), ERR_OK, "%.*s", SPAN_ARG(buf_span(&note)));
        cr_assert_eq(note.len, 0, "%.*s", SPAN_ARG(buf_span(&note)));
        good += look_at_all(store, i);
        expect_purged(store, &last);
        cr_assert_eq(support_settle(store), ERR_OK);
        struct support_object object = {.number = NUMBERS + REMOVED + 1 + i, .body_len = 100};
        struct progress now;
        cr_assert_eq(support_put(store, &object, &now.object_id, &now.body_id), ERR_OK);
        cr_expect_gt(now.object_id, highest.object_id, "%llu, %llu was given; kill %u",
                     (unsigned long long)now.object_id, (unsigned long long)highest.object_id, i);
        cr_expect_gt(now.body_id, highest.body_id);
        highest = now;
        store_stats_of(store, &stats);
        cr_expect_eq(stats.reclaim_bodies, 0, "unfinished bodies are swept");
        cr_expect_not(store_failed(store));
        store_close(store);
        expect_recount(&stats);
    }
    cr_expect_gt(good, 4 * kills, "%u objects were looked at", good);
}

Test(store_kill, killed_at_any_moment)
{
    kill_and_look(&without_body_file, kills_wanted());
}

Test(store_kill, killed_at_any_moment_with_a_body_file)
{
    kill_and_look(&with_body_file, kills_wanted() / 2);
}

/* All pages of a store that is emptied again are accounted for: nothing leaks over kills. */
Test(store_kill, nothing_is_left_over)
{
    struct progress last;

    for (unsigned i = 0; i < 8; i++) {
        kill_a_child(&without_body_file, i * 104729 + 5, &last);
    }
    struct store *store = support_open(dir, without_body_file.size_bytes);
    for (unsigned number = 0; number < NUMBERS; number++) {
        cr_assert_eq(support_remove(store, number), ERR_OK);
    }
    cr_assert_eq(support_settle(store), ERR_OK);
    struct store_stats stats;
    store_stats_of(store, &stats);
    cr_expect_eq(stats.objects, 0);
    cr_expect_lt(stats.used_bytes, 100 * 4096, "%llu", (unsigned long long)stats.used_bytes);
    store_close(store);
}
