/* test_purge_journal.c: purges over restarts and kills, and journals that nobody wrote like this. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cache/head.h"
#include "purge_fixture.h"

TestSuite(purge_journal, .init = setup_purged, .fini = teardown);

Test(purge_journal, in_force_after_a_restart)
{
    store_with("/a", TAGGED);
    store_with("/b", "A: b\r\n");
    cr_assert(cache_write(cache));
    cr_assert_eq(purge(PURGE_TAG, PURGE_SOFT, "one"), ERR_OK);
    cr_assert_eq(purge(PURGE_URL, PURGE_HARD, "http://test.example/b"), ERR_OK);
    cr_assert(cache_write(cache));
    cr_expect_eq(told, 2);
    restart();
    expect_effect("/a", true, PURGED_SOFT, "soft");
    expect_effect("/b", false, PURGED_HARD, "hard");
    store_with("/b", "A: b\r\n");
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "x"), ERR_OK);
    expect_effect("/b", true, PURGED_NOT, "born after the restart");
    cr_assert(cache_write(cache));
    cr_expect_eq(told_sequence, 3, "the sequence goes on");
}

/* ---- journals as they should not be ---- */

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
Test(purge_journal, a_journal_longer_than_the_set)
{
    struct purge purges[PURGE_SET_MAX_PATTERNS + 1];
    uint64_t sequences[ARRAY_LEN(purges)];

    store_with("/a", TAGGED);
    write_some();
    close_cache();
    for (size_t i = 0; i < ARRAY_LEN(purges); i++) {
        purges[i] = (struct purge){.kind = PURGE_PREFIX, .mode = PURGE_HARD};
        cr_assert(arena_format(&arena, &purges[i].name, "http://other.example/%zu", i));
        sequences[i] = i + 1;
    }
    write_rows(purges, sequences, ARRAY_LEN(purges));
    open_purged();
    expect_effect("/a", false, PURGED_HARD, "what cannot be told is dead");
    store_with("/a", TAGGED);
    expect_effect("/a", true, PURGED_NOT, "stored again");
    for (unsigned i = 0; i < 50 && rows() > 1; i++) {
        cr_assert(cache_write(cache));
    }
    cr_expect_eq(rows(), 1);
    cr_assert_eq(purge(PURGE_PREFIX, PURGE_HARD, "http://test.example/"), ERR_OK);
    expect_effect("/a", false, PURGED_HARD, "there is room again");
    cr_assert(cache_write(cache));
    cr_expect_eq(told_sequence, ARRAY_LEN(purges) + 1);
}

/* Sequences begin at 1: no birth is older than this row. */
Test(purge_journal, a_row_without_a_sequence)
{
    const struct purge all = {.kind = PURGE_ALL, .mode = PURGE_HARD};
    const uint64_t none = 0;

    store_with("/a", TAGGED);
    write_some();
    close_cache();
    write_rows(&all, &none, 1);
    open_purged();
    expect_effect("/a", true, PURGED_NOT, "it names nothing");
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "one"), ERR_OK);
    expect_effect("/a", false, PURGED_HARD, "the next one");
}

/* There is no sequence behind the last one: the journal is damaged, and with it the store. */
Test(purge_journal, a_row_with_the_last_sequence)
{
    const struct purge all = {.kind = PURGE_ALL, .mode = PURGE_HARD};
    const uint64_t last = UINT64_MAX;

    store_with("/a", TAGGED);
    write_some();
    close_cache();
    write_rows(&all, &last, 1);
    open_purged();
    expect_effect("/a", false, PURGED_NOT, "the store starts empty");
    store_with("/a", TAGGED);
    write_some();
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "one"), ERR_OK);
    expect_effect("/a", false, PURGED_HARD, "and purges count");
}

/* ---- kills ---- */

/* Stores and purges until it is killed; tells the version that was purged last, after it was told so itself. */
static void run_child(int pipe_fd)
{
    char path[32];
    char fields[64];

    for (unsigned round = 1;; round++) {
        unsigned number = round % 20;
        snprintf(path, sizeof(path), "/%u", number);
        snprintf(fields, sizeof(fields), "xkey: t%u\r\nVersion: %u\r\n", number, round);
        store_with(path, fields);
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

Test(purge_journal, in_force_after_kill_9)
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
            open_purged();
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
        open_purged();
        for (unsigned number = 0; number < ARRAY_LEN(purged); number++) {
            struct client client;
            char path[32];

            snprintf(path, sizeof(path), "/%u", number);
            if (purged[number] > 0 && look_up(&client, path) == STORE_FOUND) {
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
