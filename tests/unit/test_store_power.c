/* test_store_power.c: power cuts. Every write and sync that the store makes is logged; from the log, files are made as
 * a power cut would have left them: what was synced is there, of what was not each page may be or not. Each must open,
 * and nothing that it hands out may be wrong: that is rules 1 to 3 of the body file (what LMDB says is durable before
 * LMDB says it; a block is not used again while a commit that may be undone is all that took it away).
 *
 * The writes are caught by functions of the same name in this program, which the loader puts before libc's. Those of
 * LMDB go through them, too. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "store_support.h"

#define SIZE ((uint64_t)128 << 20)

enum {
    PAGE = 4096,
    META_PAGES = 2,
    FILES = 2, /* data.mdb, bodies */
    ENTRIES_MAX = 65536,
    NUMBERS = 8,
    BATCHES = 40,
    RANDOM_IMAGES = 15,
    BORDER_LARGE = 66,  /* fill the body file */
    BORDER_SMALL = 200, /* a batch */
    BORDER_BATCHES = 50,
    BORDER_LOGGED = 30, /* the last of them */
    BORDER_NUMBERS = BORDER_LARGE + BORDER_SMALL * BORDER_BATCHES,
    BORDER_IMAGES = 8,
    FILLER_BYTES = 74 * 1000 * 1000, /* taken by a body that never ends: what is left is used again soon */
};

/* ---- the log ---- */

struct entry {
    int file;
    bool sync;
    bool resize; /* to `offset` bytes */
    off_t offset;
    size_t len;
    char *bytes;
};

static struct entry entries[ENTRIES_MAX];
static size_t entry_count;
static struct stat logged[FILES];
static bool logging;

static int file_of(int fd)
{
    struct stat status;

    if (!logging || fstat(fd, &status) != 0) {
        return -1;
    }
    for (int i = 0; i < FILES; i++) {
        if (status.st_ino == logged[i].st_ino && status.st_dev == logged[i].st_dev) {
            return i;
        }
    }
    return -1;
}

static void log_write(int fd, const void *bytes, size_t len, off_t offset)
{
    int file = file_of(fd);

    if (file >= 0) {
        REQUIRE(entry_count < ENTRIES_MAX);
        struct entry entry = {.file = file, .offset = offset, .len = len, .bytes = malloc(len)};
        REQUIRE(entry.bytes != NULL);
        memcpy(entry.bytes, bytes, len);
        entries[entry_count++] = entry;
    }
}

static ssize_t logged_pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    log_write(fd, bytes, len, offset);
    return syscall(SYS_pwrite64, fd, bytes, len, offset);
}

/* As one write: a page of it survives as a whole, or not. */
static ssize_t logged_pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    static char bytes[256 * PAGE];
    size_t len = 0;

    for (int i = 0; i < count; i++) {
        REQUIRE(parts[i].iov_len <= sizeof(bytes) - len);
        memcpy(bytes + len, parts[i].iov_base, parts[i].iov_len);
        len += parts[i].iov_len;
    }
    REQUIRE(len > 0);
    log_write(fd, bytes, len, offset);
    return syscall(SYS_pwritev, fd, parts, count, offset, 0);
}

static ssize_t logged_writev(int fd, const struct iovec *parts, int count)
{
    off_t offset = lseek(fd, 0, SEEK_CUR);

    for (int i = 0; i < count; i++) {
        log_write(fd, parts[i].iov_base, parts[i].iov_len, offset);
        offset += (off_t)parts[i].iov_len;
    }
    return syscall(SYS_writev, fd, parts, count);
}

/* To be in the log is all: what a power cut leaves is made from that. */
static int logged_fdatasync(int fd)
{
    int file = file_of(fd);

    if (file >= 0) {
        REQUIRE(entry_count < ENTRIES_MAX);
        entries[entry_count++] = (struct entry){.file = file, .sync = true};
    }
    return 0;
}

static void log_resize(int fd, off_t bytes)
{
    int file = file_of(fd);

    if (file >= 0) {
        REQUIRE(entry_count < ENTRIES_MAX);
        entries[entry_count++] = (struct entry){.file = file, .resize = true, .offset = bytes};
    }
}

static int logged_ftruncate(int fd, off_t bytes)
{
    log_resize(fd, bytes);
    return (int)syscall(SYS_ftruncate, fd, bytes);
}

/* Always at the end of the file. */
static int logged_fallocate(int fd, off_t offset, off_t len)
{
    log_resize(fd, offset + len);
    return syscall(SYS_fallocate, fd, 0, offset, len) == 0 ? 0 : errno;
}

/* Under the names that LMDB (without large file support) and the store (with it) call. */
ssize_t caught_pwrite(int fd, const void *bytes, size_t len, off_t offset) __asm__("pwrite");
ssize_t caught_pwrite64(int fd, const void *bytes, size_t len, off_t offset) __asm__("pwrite64");
ssize_t caught_pwritev(int fd, const struct iovec *parts, int count, off_t offset) __asm__("pwritev64");
ssize_t caught_writev(int fd, const struct iovec *parts, int count) __asm__("writev");
int caught_fdatasync(int fd) __asm__("fdatasync");
int caught_ftruncate(int fd, off_t bytes) __asm__("ftruncate64");
int caught_fallocate(int fd, off_t offset, off_t len) __asm__("posix_fallocate64");

ssize_t caught_pwrite(int fd, const void *bytes, size_t len, off_t offset)
{
    return logged_pwrite(fd, bytes, len, offset);
}

ssize_t caught_pwrite64(int fd, const void *bytes, size_t len, off_t offset)
{
    return logged_pwrite(fd, bytes, len, offset);
}

ssize_t caught_pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    return logged_pwritev(fd, parts, count, offset);
}

ssize_t caught_writev(int fd, const struct iovec *parts, int count)
{
    return logged_writev(fd, parts, count);
}

int caught_fdatasync(int fd)
{
    return logged_fdatasync(fd);
}

int caught_ftruncate(int fd, off_t bytes)
{
    return logged_ftruncate(fd, bytes);
}

int caught_fallocate(int fd, off_t offset, off_t len)
{
    return logged_fallocate(fd, offset, len);
}

/* ---- images ---- */

static const char *const names[FILES] = {"data.mdb", "bodies"};

static void path_of(const char *dir, const char *name, char out_path[SUPPORT_PATH_BYTES + 32])
{
    snprintf(out_path, SUPPORT_PATH_BYTES + 32, "%s/%s", dir, name);
}

/* Only what is not zero: the copy has holes instead. */
static void copy_file(const char *from_dir, const char *to_dir, const char *name)
{
    static char bytes[256 * PAGE];
    static const char zeros[PAGE];
    char path[SUPPORT_PATH_BYTES + 32];
    off_t at = 0;
    ssize_t got;

    path_of(from_dir, name, path);
    int from = open(path, O_RDONLY);
    path_of(to_dir, name, path);
    int to = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    cr_assert(from >= 0 && to >= 0);
    while ((got = pread(from, bytes, sizeof(bytes), at)) > 0) {
        for (ssize_t i = 0; i < got; i += PAGE) {
            if (memcmp(bytes + i, zeros, PAGE) != 0) {
                cr_assert_eq(syscall(SYS_pwrite64, to, bytes + i, PAGE, at + i), PAGE);
            }
        }
        at += got;
    }
    cr_assert_eq(ftruncate(to, at), 0);
    close(from);
    close(to);
}

/* A power cut. */
struct cut {
    size_t until;             /* behind so many entries */
    unsigned percents[FILES]; /* of the pages that were not synced survive */
    bool meta_survives;       /* LMDB's, whatever else does */
};

static void make_image(const char *base, const char *dir, const struct cut *cut, uint64_t *random)
{
    for (int file = 0; file < FILES; file++) {
        char path[SUPPORT_PATH_BYTES + 32];
        size_t synced = 0;

        for (size_t i = 0; i < cut->until; i++) {
            synced = entries[i].file == file && entries[i].sync ? i : synced;
        }
        copy_file(base, dir, names[file]);
        path_of(dir, names[file], path);
        int fd = open(path, O_RDWR);
        cr_assert_geq(fd, 0);
        for (size_t i = 0; i < cut->until; i++) {
            const struct entry *entry = &entries[i];
            if (entry->file == file && entry->resize &&
                (i < synced || support_random(random) % 100 < cut->percents[file])) {
                cr_assert_eq(syscall(SYS_ftruncate, fd, entry->offset), 0);
            }
            for (size_t at = 0; entry->file == file && at < entry->len; at += PAGE) {
                off_t offset = entry->offset + (off_t)at;
                size_t len = entry->len - at < PAGE ? entry->len - at : PAGE;
                bool meta = file == 0 && offset < META_PAGES * PAGE;
                if (i < synced || (meta && cut->meta_survives) || support_random(random) % 100 < cut->percents[file]) {
                    cr_assert_eq(syscall(SYS_pwrite64, fd, entry->bytes + at, len, offset), (ssize_t)len);
                }
            }
        }
        close(fd);
    }
}

/* Everything that is found is right; how many are. */
static unsigned check_image(const char *dir, unsigned numbers)
{
    struct store *store = NULL;
    struct arena arena;
    struct buf note;
    unsigned good = 0;

    buf_init(&note, 1024);
    arena_init(&arena, SUPPORT_ARENA_BYTES);
    cr_assert_eq(support_try_open(dir, SIZE, &store, &note), ERR_OK, "%.*s", SPAN_ARG(buf_span(&note)));
    cr_expect_eq(note.len, 0, "%.*s", SPAN_ARG(buf_span(&note)));
    struct store_reader *reader = store_reader_create(store);
    for (unsigned number = 0; number < numbers; number++) {
        unsigned version;
        arena_reset(&arena);
        enum support_outcome outcome = support_check(reader, store, number, NULL, &arena, &version);
        cr_expect(outcome == SUPPORT_GOOD || outcome == SUPPORT_ABSENT, "object %u: %d", number, (int)outcome);
        good += outcome == SUPPORT_GOOD;
    }
    store_reader_destroy(reader);
    /* It goes on: what is free there may be used. */
    struct support_object object = {.number = 0, .version = 1000, .body_len = 2000000};
    cr_expect_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    store_close(store);
    arena_finish(&arena);
    buf_finish(&note);
    return good;
}

static void start_logging(const char *dir)
{
    for (int i = 0; i < FILES; i++) {
        char path[SUPPORT_PATH_BYTES + 32];
        path_of(dir, names[i], path);
        cr_assert_eq(stat(path, &logged[i]), 0);
    }
    logging = true;
}

/* The body file is full of large objects; then small ones come, and LMDB's file gets what the other gives up: steps are
 * emptied, cut off, and their room written by LMDB at once. */
static void record_border(const char *dir, const char *base)
{
    struct store *store = support_open(dir, SIZE);
    unsigned number = 0;

    for (; number < BORDER_LARGE; number++) {
        struct support_object object = {.number = number, .version = 1, .body_len = 1500000};
        cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    }
    for (unsigned batch = 0; batch < BORDER_BATCHES; batch++) {
        struct support_object objects[BORDER_SMALL];
        if (batch == BORDER_BATCHES - BORDER_LOGGED) {
            for (int i = 0; i < FILES; i++) {
                copy_file(dir, base, names[i]);
            }
            start_logging(dir);
        }
        for (unsigned i = 0; i < BORDER_SMALL; i++, number++) {
            objects[i] = (struct support_object){.number = number, .version = 1, .body_len = 6000};
        }
        cr_assert_eq(support_put_many(store, objects, BORDER_SMALL), ERR_OK);
    }
    logging = false;
    store_close(store);
}

/* Replaces objects of one to two megabytes in a file with room for a dozen of them. */
static void record(const char *dir, const char *base)
{
    struct store *store = support_open(dir, SIZE);
    struct support_object filler = {.number = NUMBERS, .version = 1, .body_len = FILLER_BYTES};
    uint64_t random = 11;

    cr_assert_eq(support_put_pieces(store, &filler, store_new_body_id(store)), ERR_OK);
    for (unsigned i = 0; i < NUMBERS; i++) {
        struct support_object object = {.number = i, .version = 1, .body_len = 1500000};
        cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    }
    for (int i = 0; i < FILES; i++) {
        copy_file(dir, base, names[i]);
    }
    start_logging(dir);
    for (unsigned i = 0; i < BATCHES; i++) {
        struct support_object object = {.number = (unsigned)(support_random(&random) % NUMBERS),
                                        .version = i + 2,
                                        .body_len = 1000000 + (size_t)(support_random(&random) % 1000000)};
        cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    }
    logging = false;
    store_close(store);
}

static char dir[SUPPORT_PATH_BYTES];
static char base[SUPPORT_PATH_BYTES];

static void setup(void)
{
    support_dir_make(dir);
    support_dir_make(base);
    record(dir, base);
    cr_assert_gt(entry_count, 4 * BATCHES, "the writes were caught");
}

static void teardown(void)
{
    for (size_t i = 0; i < entry_count; i++) {
        free(entries[i].bytes);
    }
    support_dir_remove(base);
    support_dir_remove(dir);
}

TestSuite(store_power, .init = setup, .fini = teardown);

static void setup_border(void)
{
    unsigned cuts = 0;

    support_dir_make(dir);
    support_dir_make(base);
    record_border(dir, base);
    for (size_t i = 0; i < entry_count; i++) {
        cuts += entries[i].resize;
    }
    cr_assert_gt(cuts, 2, "the border moves");
}

TestSuite(store_power_border, .init = setup_border, .fini = teardown);

/* Returns how many objects were there. */
static unsigned look_at_cut(const struct cut *cut, uint64_t *random, unsigned numbers)
{
    char image[SUPPORT_PATH_BYTES];

    support_dir_make(image);
    make_image(base, image, cut, random);
    unsigned good = check_image(image, numbers);
    support_dir_remove(image);
    return good;
}

static void check_cut(const struct cut *cut, uint64_t *random)
{
    cr_expect_geq(look_at_cut(cut, random, NUMBERS), NUMBERS - 1, "one put at most is under way");
}

Test(store_power, pages_that_were_not_synced_may_survive_or_not)
{
    static const unsigned percents[] = {10, 50, 90};
    uint64_t random = 3;

    for (unsigned i = 0; i < RANDOM_IMAGES; i++) {
        unsigned percent = percents[i % ARRAY_LEN(percents)];
        struct cut cut = {.until = (size_t)(support_random(&random) % (entry_count + 1)),
                          .percents = {percent, percent},
                          .meta_survives = i % 2 == 0};
        check_cut(&cut, &random);
    }
}

/* The last commit is undone, and what the next batch has written already is there: rule 3. */
Test(store_power, blocks_of_an_undone_commit_are_untouched)
{
    uint64_t random = 3;

    for (size_t i = 0; i < entry_count; i++) {
        struct cut cut = {.until = i, .percents = {0, 100}};
        if (entries[i].sync && entries[i].file == 0) {
            check_cut(&cut, &random);
        }
    }
}

/* Its commit is there, whatever became of the pages of the body file that were not synced: rule 2. */
Test(store_power, what_a_commit_says_lies_in_the_body_file)
{
    uint64_t random = 3;

    for (size_t i = 0; i < entry_count; i += entry_count / RANDOM_IMAGES) {
        struct cut cut = {.until = i, .percents = {100, 0}};
        check_cut(&cut, &random);
    }
}

/* ---- while the border moves ---- */

Test(store_power_border, pages_that_were_not_synced_may_survive_or_not)
{
    static const unsigned percents[] = {10, 50, 90};
    uint64_t random = 5;

    for (unsigned i = 0; i < BORDER_IMAGES; i++) {
        unsigned percent = percents[i % ARRAY_LEN(percents)];
        struct cut cut = {.until = (size_t)(support_random(&random) % (entry_count + 1)),
                          .percents = {percent, percent},
                          .meta_survives = i % 2 == 0};
        cr_expect_gt(look_at_cut(&cut, &random, BORDER_NUMBERS), BORDER_LARGE);
    }
}

/* The file is shorter already, and the last commit is undone: what it took away lay elsewhere. */
Test(store_power_border, what_is_cut_off_was_given_up_for_good)
{
    uint64_t random = 7;
    unsigned resizes = 0;

    for (size_t i = 0; i < entry_count; i++) {
        struct cut cut = {.until = i + 1, .percents = {0, 100}};
        if (entries[i].resize && resizes++ % 2 == 0) {
            cr_expect_gt(look_at_cut(&cut, &random, BORDER_NUMBERS), BORDER_LARGE);
        }
    }
}

/* LMDB's file has grown, and the body file's end came back. */
Test(store_power_border, a_cut_that_is_undone)
{
    uint64_t random = 9;

    for (unsigned i = 1; i <= BORDER_IMAGES; i++) {
        struct cut cut = {.until = entry_count * i / BORDER_IMAGES, .percents = {100, 0}};
        cr_expect_gt(look_at_cut(&cut, &random, BORDER_NUMBERS), BORDER_LARGE);
    }
}
