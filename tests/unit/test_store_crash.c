/* test_store_crash.c: damaged, foreign and taken files, a disk that fails. Killed processes: test_store_kill.c. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store_dir_fixture.h"
#include "store_files.h"

enum { SIZE = 32 * 1024 * 1024, PAGE = 4096 };

TestSuite(store_crash, .init = dir_begin, .fini = dir_end);

/* ---- damaged, foreign, taken ---- */

/* As LMDB's file, in place of the one there may be. */
static void put_data(const void *bytes, size_t len)
{
    (void)unlink(data_path);
    file_write(data_path, 0, bytes, len);
}

/* A store with some objects in it, closed again. */
static void make_store(unsigned count, size_t body_len)
{
    struct store *store = support_open(dir, SIZE);

    for (unsigned i = 0; i < count; i++) {
        struct support_object object = {.number = i, .body_len = body_len};
        cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    }
    store_close(store);
}

static void expect_set_aside(const char *text, const char *name)
{
    struct store *store = NULL;
    char aside[SUPPORT_NAME_BYTES];
    struct support_object object = {.number = 1, .body_len = 100};

    buf_clear(&note);
    cr_assert_eq(support_try_open(dir, SIZE, &store, &note), ERR_OK, "%s: %.*s", name, SPAN_ARG(buf_span(&note)));
    buf_add_byte(&note, 0);
    cr_expect_not_null(strstr(note.data, text), "%s: %s", name, note.data);
    cr_expect_not_null(strstr(note.data, "set aside"), "%s: %s", name, note.data);
    cr_expect_eq(set_aside_count(aside), 1, "%s: the newest only", name);
    struct store_stats stats;
    store_stats_of(store, &stats);
    cr_expect_eq(stats.objects, 0, "%s: it starts empty", name);
    cr_expect_eq(support_put(store, &object, NULL, NULL), ERR_OK, "%s: and works", name);
    store_close(store);
}

Test(store_crash, files_that_are_not_ours_are_set_aside)
{
    static char garbage[100000];
    uint64_t seed = 1;

    put_data("hello", 5);
    expect_set_aside("truncated", "a short text");
    for (size_t i = 0; i < sizeof(garbage); i++) {
        garbage[i] = (char)(support_random(&seed) & 0xff);
    }
    put_data(garbage, sizeof(garbage));
    expect_set_aside("not LMDB's", "random bytes");
    memset(garbage, 0, sizeof(garbage));
    put_data(garbage, sizeof(garbage));
    expect_set_aside("not LMDB's", "zeros");
    char name[SUPPORT_NAME_BYTES];
    cr_expect_eq(set_aside_count(name), 1);
    cr_expect_str_eq(name, "data.mdb.damaged-3");
}

Test(store_crash, an_empty_file_is_a_new_store)
{
    struct store *store = NULL;

    put_data("", 0);
    cr_expect_eq(support_try_open(dir, SIZE, &store, &note), ERR_OK);
    cr_expect_eq(note.len, 0);
    store_close(store);
}

Test(store_crash, truncated_files_are_set_aside)
{
    struct stat status;

    for (unsigned i = 0; i < 8; i++) {
        make_store(20, 100000);
        cr_assert_eq(stat(data_path, &status), 0);
        off_t len = (off_t)(i < 4 ? i * PAGE + 100 : (i - 3) * 300000);
        cr_assert_eq(truncate(data_path, len), 0);
        expect_set_aside("truncated", "cut");
    }
}

Test(store_crash, unknown_meta_pages_are_set_aside)
{
    static const struct {
        const char *name, *text;
        off_t at;
        uint32_t value;
    } cases[] = {
        {"magic of the first", "not LMDB's", 16, 1},
        {"magic of the second", "not LMDB's", PAGE + 16, 1},
        {"version", "another version", 20, 2},
        {"page size", "page size", 40, 16384},
        {"last page", "truncated", PAGE + 136, 0x7fffffff},
        {"root of the free list", "damaged", 80, 0x7fffffff},
        {"root of the main tree", "damaged", PAGE + 128, 0x7fffffff},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        make_store(3, 1000);
        file_write(data_path, cases[i].at, &cases[i].value, sizeof(cases[i].value));
        if (cases[i].at % PAGE >= 80) {
            uint32_t high = 0; /* half of the number of a page */
            file_write(data_path, cases[i].at + 4, &high, sizeof(high));
        }
        expect_set_aside(cases[i].text, cases[i].name);
    }
}

Test(store_crash, an_unknown_format_is_set_aside)
{
    make_store(3, 1000);
    cr_assert_gt(file_replace(data_path, SPAN("larder"), SPAN("tinder")), 0);
    expect_set_aside("format is unknown", "another format");
    make_store(3, 1000);
    cr_assert_gt(file_replace(data_path, SPAN("chunks"), SPAN("chonks")), 0);
    expect_set_aside("format is unknown", "other tables");
}

Test(store_crash, an_older_format_is_set_aside)
{
    make_store(3, 1000);
    cr_assert_gt(file_replace(data_path, (struct span){"larder\0\3", 8}, (struct span){"larder\0\2", 8}), 0);
    expect_set_aside("format is unknown", "an older format");
}

Test(store_crash, what_an_interrupted_compaction_left_is_removed)
{
    char path[SUPPORT_PATH_BYTES + 32];

    make_store(3, 1000);
    (void)snprintf(path, sizeof(path), "%s/data.mdb.smaller", dir);
    file_write(path, 0, "half of it", 10);
    store_close(support_open(dir, SIZE));
    cr_expect_eq(access(path, F_OK), -1);
}

Test(store_crash, a_second_open_is_refused)
{
    struct store *store = support_open(dir, SIZE);
    struct store *second = NULL;

    cr_expect_eq(support_try_open(dir, SIZE, &second, &note), ERR_IN_USE);
    cr_expect_gt(note.len, 0);
    cr_expect_null(second);
    store_close(store);
    store_close(support_open(dir, SIZE));
    store_close(NULL);
}

Test(store_crash, a_directory_that_cannot_be_made)
{
    char deep[SUPPORT_PATH_BYTES + 32];
    struct store *store = NULL;

    snprintf(deep, sizeof(deep), "%s/not/there", dir);
    cr_expect_eq(support_try_open(deep, SIZE, &store, &note), ERR_IO);
    cr_expect_gt(note.len, 0);
    cr_expect_null(store);
}

/* ---- a disk that fails ---- */

/* Writes behind a place in the file fail: the batch is lost, what was there is served, and later batches try again. */
Test(store_crash, a_write_that_fails_costs_the_batch_only)
{
    struct support_object object = {.number = 1, .body_len = 1000000};
    unsigned version;

    struct store *store = support_open(dir, SIZE);
    struct store_reader *reader = store_reader_create(store);
    cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    files_limit(1500000);
    object.number = 2;
    for (unsigned i = 0; i < 3; i++) {
        cr_expect_eq(support_put(store, &object, NULL, NULL), ERR_IO);
        cr_expect_not(store_failed(store));
        cr_expect_eq(support_check(reader, store, 1, NULL, &arena, &version), SUPPORT_GOOD);
        cr_expect_eq(support_check(reader, store, 2, NULL, &arena, &version), SUPPORT_ABSENT);
    }
    files_limit(UINT64_MAX);
    cr_expect_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    cr_expect_eq(support_check(reader, store, 2, NULL, &arena, &version), SUPPORT_GOOD);
    cr_expect_eq(support_check(reader, store, 1, NULL, &arena, &version), SUPPORT_GOOD);
    struct store_stats stats;
    store_stats_of(store, &stats);
    cr_expect_geq(stats.commit_errors, 3);
    cr_expect_eq(support_settle(store), ERR_OK);
    store_reader_destroy(reader);
    store_close(store);
}

/* ---- what LMDB writes and we must not take for damage ---- */

static uint64_t u64_of(const unsigned char *bytes)
{
    uint64_t value;

    memcpy(&value, bytes, sizeof(value));
    return value;
}

static unsigned u16_of(const unsigned char *bytes)
{
    return bytes[0] | (unsigned)bytes[1] << 8;
}

/* A list of free pages that has pages of its own becomes so short that it would not need them. LMDB does that when it
 * overwrites a list, about once in a thousand commits. The place in the file of the list's size, of a node of the free
 * list's leaf: u16 low, u16 high, u16 flags, u16 key size, u64 key, u64 first page. */
static bool shorten_a_free_list(const unsigned char *bytes)
{
    enum { AT_TXN = 144, AT_DEPTH = 46, AT_ROOT = 80, HEADER = 16, BIG = 1, SHORT = 10 };
    const unsigned char *meta = u64_of(bytes + AT_TXN) > u64_of(bytes + PAGE + AT_TXN) ? bytes : bytes + PAGE;
    const unsigned char *leaf = bytes + u64_of(meta + AT_ROOT) * PAGE;

    cr_assert_eq(u16_of(meta + AT_DEPTH), 1, "the root is the leaf");
    for (size_t i = 0; i < (u16_of(leaf + 12) - HEADER) / 2u; i++) {
        const unsigned char *node = leaf + u16_of(leaf + HEADER + 2 * i);
        if ((u16_of(node + 4) & BIG) != 0) {
            uint16_t size = (SHORT + 1) * sizeof(uint64_t);
            uint64_t count = SHORT;
            file_write(data_path, node - bytes, &size, sizeof(size));
            file_write(data_path, (off_t)(u64_of(node + 16) * PAGE + HEADER), &count, sizeof(count));
            return true;
        }
    }
    return false;
}

Test(store_crash, a_short_free_list_in_pages_of_its_own_is_no_damage)
{
    struct support_object large = {.number = 1, .body_len = 3000000};
    struct support_object small = {.number = 2, .body_len = 1000};
    struct store *store = support_open(dir, SIZE);
    unsigned version;
    size_t len;

    cr_assert_eq(support_put(store, &small, NULL, NULL), ERR_OK);
    cr_assert_eq(support_put(store, &large, NULL, NULL), ERR_OK);
    cr_assert_eq(support_remove(store, 1), ERR_OK);
    store_close(store);
    unsigned char *bytes = file_read(data_path, &len);
    cr_assert(shorten_a_free_list(bytes));
    free(bytes);
    cr_assert_eq(support_try_open(dir, SIZE, &store, &note), ERR_OK);
    cr_expect_eq(note.len, 0, "%.*s", SPAN_ARG(buf_span(&note)));
    struct store_reader *reader = store_reader_create(store);
    cr_expect_eq(support_check(reader, store, 2, NULL, &arena, &version), SUPPORT_GOOD);
    cr_expect_eq(support_put(store, &large, NULL, NULL), ERR_OK, "and the pages are given out");
    store_reader_destroy(reader);
    store_close(store);
}

/* ---- flipped bytes ---- */

/* The pages that hold whole pieces: LMDB's overflow pages. Others hold its trees. */
static size_t piece_pages(unsigned char *bytes, size_t len, size_t *out_pages, size_t max)
{
    size_t count = 0;

    for (size_t page = 2; (page + 1) * PAGE <= len; page++) {
        if ((bytes[page * PAGE + 10] & 0x04) != 0 && count < max) {
            out_pages[count] = page;
            count++;
        }
    }
    return count;
}

Test(store_crash, flipped_bytes_in_pieces_are_never_served)
{
    enum { OBJECTS = 40, MAX_PAGES = 4000 };
    static size_t pages[MAX_PAGES];
    size_t len;
    uint64_t seed = 99;
    unsigned cut = 0;
    unsigned absent = 0;

    make_store(OBJECTS, 60000);
    unsigned char *bytes = file_read(data_path, &len);
    size_t count = piece_pages(bytes, len, pages, MAX_PAGES);
    cr_assert_gt(count, OBJECTS * 10);
    for (unsigned i = 0; i < 40; i++) {
        size_t at = pages[support_random(&seed) % count] * PAGE + 16 + support_random(&seed) % (PAGE - 16);
        unsigned char flipped = bytes[at] ^ (unsigned char)(1u << support_random(&seed) % 8);
        file_write(data_path, (off_t)at, &flipped, 1);
    }
    free(bytes);
    struct store *store = support_open(dir, SIZE);
    struct store_reader *reader = store_reader_create(store);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < OBJECTS; i++) {
            unsigned version;
            arena_reset(&arena);
            enum support_outcome outcome = support_check(reader, store, i, NULL, &arena, &version);
            cr_expect_neq(outcome, SUPPORT_WRONG, "object %u", i);
            cut += outcome == SUPPORT_CUT;
            absent += outcome == SUPPORT_ABSENT;
        }
    }
    cr_expect_gt(cut, 5, "%u ended early", cut);
    cr_expect_gt(absent, 5, "%u were not found", absent);
    cr_expect_not(store_failed(store), "damaged pieces do not stop the store");
    cr_expect(store_wants_apply(store));
    cr_expect_eq(support_settle(store), ERR_OK);
    struct store_stats stats;
    store_stats_of(store, &stats);
    cr_expect_lt(stats.objects, OBJECTS, "%llu objects are left", (unsigned long long)stats.objects);
    store_reader_destroy(reader);
    store_close(store);
}

/* The worst that can happen to a row: it still looks like one, and says something else. */
Test(store_crash, flipped_bytes_in_rows_are_never_served)
{
    struct support_object object = {.number = 1, .version = 1, .variant = "variant-a", .body_len = 10};
    struct support_object other = {.number = 1, .version = 2, .variant = "variant-b", .body_len = 10};
    size_t len;

    struct store *store = support_open(dir, SIZE);
    cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    cr_assert_eq(support_put(store, &other, NULL, NULL), ERR_OK);
    store_close(store);
    unsigned char *bytes = file_read(data_path, &len);
    unsigned checked = 0;
    for (size_t at = 2 * PAGE; at + 16 < len; at++) {
        /* The selections end in these words, in every copy of the row that is in the file. */
        if (memcmp(bytes + at, "variant-", 8) != 0) {
            continue;
        }
        unsigned char other_letter = bytes[at + 8] ^ 3; /* a becomes b, b becomes a */
        file_write(data_path, (off_t)(at + 8), &other_letter, 1);
        checked++;
    }
    cr_assert_gt(checked, 0);
    store = support_open(dir, SIZE);
    struct store_reader *reader = store_reader_create(store);
    struct stored stored;
    cr_expect_eq(support_find(reader, store, 1, "variant-a", &arena, &stored), STORE_ABSENT, "swapped selections");
    cr_expect_eq(support_settle(store), ERR_OK);
    cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    cr_expect_eq(support_find(reader, store, 1, "variant-a", &arena, &stored), STORE_FOUND, "stored anew");
    store_reader_destroy(reader);
    store_close(store);
    free(bytes);
}
