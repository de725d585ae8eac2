/* test_store_readonly.c: a look at a store from outside: stopped, in use by another process, absent, foreign. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store_dir_fixture.h"
#include "store_files.h"

enum { SIZE = 16 * 1024 * 1024, OBJECTS = 8 };

TestSuite(store_readonly, .init = dir_begin, .fini = dir_end);

static void put_all(struct store *store)
{
    for (unsigned i = 0; i < OBJECTS; i++) {
        struct support_object object = {
            .number = i, .version = i + 1, .variant = i % 2 == 0 ? NULL : "a", .body_len = (size_t)i * 20000};
        cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
    }
}

static bool count_one(void *arg, const struct stored *stored) /* store_variant_fn */
{
    unsigned *count = arg;

    cr_expect_gt(stored->head.len, 0);
    (*count)++;
    return true;
}

static void expect_all(const char *name)
{
    struct store *store = NULL;

    cr_assert_eq(store_open_readonly(dir, &store, &note), ERR_OK, "%s: %.*s", name, SPAN_ARG(buf_span(&note)));
    struct store_reader *reader = store_reader_create(store);
    cr_assert_not_null(reader);
    for (unsigned i = 0; i < OBJECTS; i++) {
        unsigned version = 0;
        unsigned count = 0;
        arena_reset(&arena);
        cr_expect_eq(support_check(reader, store, i, i % 2 == 0 ? NULL : "a", &arena, &version), SUPPORT_GOOD,
                     "%s: object %u", name, i);
        cr_expect_eq(version, i + 1, "%s", name);
        struct key key = support_key(store, i, &arena);
        cr_expect_eq(store_each_variant(reader, &key, &arena, count_one, &count), STORE_FOUND, "%s", name);
        cr_expect_eq(count, 1, "%s", name);
    }
    store_reader_destroy(reader);
    store_close(store);
}

Test(store_readonly, a_stopped_store)
{
    struct store *store = support_open(dir, SIZE);

    put_all(store);
    store_close(store);
    expect_all("stopped");
    store = support_open(dir, SIZE);
    cr_expect_not(store_failed(store), "it opens as before");
    store_close(store);
}

struct walked {
    unsigned keys;
    unsigned stop_after;
    size_t variants;
};

static bool on_key(void *arg, const struct stored_key *key) /* store_key_fn */
{
    struct walked *walked = arg;

    cr_expect(span_starts_with(key->text, SPAN("GET http://")), "%.*s", SPAN_ARG(key->text));
    cr_expect_gt(key->variants[0].record.object_id, 0);
    walked->variants += key->count;
    walked->keys++;
    return walked->keys != walked->stop_after;
}

Test(store_readonly, all_keys)
{
    struct store *store = support_open(dir, SIZE);
    struct walked walked = {0};
    uint64_t keys;

    put_all(store);
    struct store_reader *reader = store_reader_create(store);
    cr_expect(store_each_key(reader, 1, on_key, &walked, &keys));
    unsigned all = walked.keys;
    cr_expect_gt(all, 1);
    cr_expect_eq(keys, all);
    cr_expect_eq(walked.variants, all);
    walked = (struct walked){.stop_after = 2};
    cr_expect(store_each_key(reader, 1, on_key, &walked, &keys));
    cr_expect_eq(walked.keys, 2, "it stops when told so");
    walked = (struct walked){0};
    cr_expect(store_each_key(reader, 2, on_key, &walked, &keys));
    cr_expect_eq(walked.keys, 0, "none has two variants");
    cr_expect_eq(keys, all, "but all were looked at");
    store_reader_destroy(reader);
    store_close(store);
}

Test(store_readonly, a_store_in_use)
{
    int ready[2];
    int done[2];
    char byte = 0;

    cr_assert_eq(pipe(ready), 0);
    cr_assert_eq(pipe(done), 0);
    pid_t child = fork();
    if (child == 0) {
        struct store *store = support_open(dir, SIZE);
        put_all(store);
        bool told = write(ready[1], "x", 1) == 1 && read(done[0], &byte, 1) == 1;
        struct support_object object = {.number = 100, .version = 1, .body_len = 1000};
        told = told && support_put(store, &object, NULL, NULL) == ERR_OK && !store_failed(store);
        store_close(store);
        _exit(told ? 0 : 1);
    }
    cr_assert_gt(child, 0);
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    expect_all("in use");
    expect_all("in use, again");
    cr_assert_eq(write(done[1], "x", 1), 1);
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "whoever uses it goes on");
}

Test(store_readonly, what_is_no_store)
{
    char path[SUPPORT_PATH_BYTES + 32];
    struct store *store = NULL;
    struct stat before;
    struct stat after;

    cr_expect_eq(store_open_readonly("/nowhere/at/all", &store, &note), ERR_NOT_FOUND);
    cr_expect_eq(store_open_readonly(dir, &store, &note), ERR_NOT_FOUND);
    (void)snprintf(path, sizeof path, "%s/lock.mdb", dir);
    cr_expect_neq(stat(path, &after), 0, "nothing was made");

    FILE *file = fopen(data_path, "w");
    cr_assert_not_null(file);
    for (unsigned i = 0; i < 10000; i++) {
        fputs("not a store ", file);
    }
    fclose(file);
    cr_assert_eq(stat(data_path, &before), 0);
    buf_clear(&note);
    cr_expect_eq(store_open_readonly(dir, &store, &note), ERR_FOREIGN);
    cr_expect_gt(note.len, 0);
    cr_assert_eq(stat(data_path, &after), 0, "it is not set aside");
    cr_expect_eq(after.st_size, before.st_size);
    cr_expect_null(store);
}

Test(store_readonly, another_format)
{
    struct store *store = support_open(dir, SIZE);

    store_close(store);
    cr_assert_gt(file_replace(data_path, (struct span){"larder\0\3", 8}, (struct span){"larder\0\2", 8}), 0);
    cr_expect_eq(store_open_readonly(dir, &store, &note), ERR_FOREIGN);
    cr_expect(span_equal(buf_span(&note), SPAN("its format is unknown")));
}
