/* test_store_kept.c: what maintenance leaves as it is, and a start does if a newer larder wrote it. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store_dir_fixture.h"
#include "store_files.h"

enum { SIZE = 32 * 1024 * 1024, PAGE = 4096, KEPT_PATH_BYTES = SUPPORT_PATH_BYTES + SUPPORT_NAME_BYTES };

TestSuite(store_kept, .init = dir_begin, .fini = dir_end);

/* The bytes of the files that an open may change, but for LMDB's locks. */
struct snapshot {
    unsigned char *bytes[3];
    size_t len[3];
};

static const char *const kept_files[] = {"data.mdb", "bodies", "marker"};

static void path_in_dir(const char *name, char out_path[KEPT_PATH_BYTES])
{
    (void)snprintf(out_path, KEPT_PATH_BYTES, "%s/%s", dir, name);
}

static struct snapshot take_snapshot(void)
{
    struct snapshot taken;
    char path[KEPT_PATH_BYTES];

    for (size_t i = 0; i < ARRAY_LEN(kept_files); i++) {
        path_in_dir(kept_files[i], path);
        taken.bytes[i] = file_read(path, &taken.len[i]);
    }
    return taken;
}

/* Frees it. */
static void expect_unchanged(const struct snapshot *before, const char *name)
{
    struct snapshot after = take_snapshot();
    char aside[SUPPORT_NAME_BYTES];

    for (size_t i = 0; i < ARRAY_LEN(kept_files); i++) {
        cr_expect(before->len[i] == after.len[i] && memcmp(before->bytes[i], after.bytes[i], after.len[i]) == 0,
                  "%s: %s has changed", name, kept_files[i]);
        free(before->bytes[i]);
        free(after.bytes[i]);
    }
    cr_expect_eq(set_aside_count(aside), 0, "%s", name);
}

enum { WITH_BODIES = 128 * 1024 * 1024 }; /* large enough for a body file */

static void make_store_with_bodies(void)
{
    struct store *store = support_open(dir, WITH_BODIES);

    for (unsigned i = 0; i < 20; i++) {
        struct support_object object = {.number = i, .body_len = 1000 + (size_t)i % 2 * 100000};
        cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    }
    store_close(store);
}

static enum err open_keeping(struct store **out_store)
{
    const struct store_options options = {.dir = dir, .size_bytes = WITH_BODIES, .max_variants = 4, .keep = true};

    buf_clear(&note);
    return store_open(&options, out_store, &note);
}

static void expect_text(const char *text, const char *name)
{
    buf_add_byte(&note, 0);
    cr_expect_not_null(strstr(note.data, text), "%s: %s", name, note.data);
}

/* The format's highest byte is its version. */
Test(store_kept, a_store_of_a_newer_larder_is_refused_and_left_alone)
{
    struct store *store = NULL;

    make_store_with_bodies();
    cr_assert_gt(file_replace(data_path, (struct span){"larder\0\3", 8}, (struct span){"larder\0\4", 8}), 0);
    file_replace(data_path, SPAN("chunks"), SPAN("chonks")); /* nor are its tables known */
    for (unsigned i = 0; i < 2; i++) {
        struct snapshot before = take_snapshot();
        buf_clear(&note);
        cr_expect_eq(i == 0 ? support_try_open(dir, SIZE, &store, &note) : open_keeping(&store), ERR_NEWER);
        expect_text("format 4, a newer larder's, and this one knows format 3", i == 0 ? "start" : "maintenance");
        expect_unchanged(&before, "newer");
    }
    buf_clear(&note);
    cr_expect_eq(store_open_readonly(dir, &store, &note), ERR_NEWER);
    expect_text("format 4", "look");
    cr_assert_gt(file_replace(data_path, SPAN("chonks"), SPAN("chunks")), 0);
    cr_assert_gt(file_replace(data_path, (struct span){"larder\0\4", 8}, (struct span){"larder\0\3", 8}), 0);
    buf_clear(&note);
    cr_assert_eq(support_try_open(dir, WITH_BODIES, &store, &note), ERR_OK);
    cr_expect_eq(note.len, 0, "and is all there when that one comes back");
    struct store_stats stats;
    store_stats_of(store, &stats);
    cr_expect_eq(stats.objects, 20);
    store_close(store);
}

static void cut_bodies(void)
{
    char path[KEPT_PATH_BYTES];

    path_in_dir("bodies", path);
    cr_assert_eq(truncate(path, PAGE), 0);
}

static void overwrite_pages(void)
{
    static char nonsense[64];

    memset(nonsense, 0xff, sizeof(nonsense));
    for (off_t page = 2; page < 40; page++) {
        file_write(data_path, page * PAGE, nonsense, sizeof(nonsense));
    }
}

static void cut_data(void)
{
    cr_assert_eq(truncate(data_path, 20000), 0);
}

static void other_format(void)
{
    cr_assert_gt(file_replace(data_path, SPAN("larder"), SPAN("tinder")), 0);
}

static void empty_data(void)
{
    cr_assert_eq(truncate(data_path, 0), 0);
}

static void found_damaged(void)
{
    char path[KEPT_PATH_BYTES];

    path_in_dir("marker", path);
    file_write(path, 0, "damaged", 7);
}

/* What a start would set aside, maintenance leaves as it is: somebody may still get something out of it. */
Test(store_kept, what_must_be_kept_is_not_touched)
{
    static const struct {
        const char *name;
        void (*spoil)(void);
        enum err error;
        const char *text;
    } cases[] = {
        {"bodies cut", cut_bodies, ERR_DAMAGED, "the body file is missing, too short"},
        {"pages overwritten", overwrite_pages, ERR_DAMAGED, "damaged"},
        {"data cut", cut_data, ERR_DAMAGED, "truncated"},
        {"another format", other_format, ERR_FOREIGN, "its format is unknown"},
        {"data empty", empty_data, ERR_DAMAGED, "missing or empty"},
        {"found damaged", found_damaged, ERR_DAMAGED, "found damaged"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct store *store = NULL;

        (void)unlink(data_path);
        make_store_with_bodies();
        cases[i].spoil();
        struct snapshot before = take_snapshot();
        cr_expect_eq(open_keeping(&store), cases[i].error, "%s", cases[i].name);
        expect_text(cases[i].text, cases[i].name);
        expect_unchanged(&before, cases[i].name);
        buf_clear(&note);
        cr_assert_eq(support_try_open(dir, WITH_BODIES, &store, &note), ERR_OK, "%s", cases[i].name);
        expect_text(cases[i].text, "and a start says the same, and begins empty");
        store_close(store);
        char aside[SUPPORT_NAME_BYTES];
        if (set_aside_count(aside) > 0) {
            char path[KEPT_PATH_BYTES];
            path_in_dir(aside, path);
            cr_assert_eq(unlink(path), 0);
        }
    }
}
