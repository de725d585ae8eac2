/* test_store_tools.c: everything that is stored, one after another; figures; what a check of the whole finds. */
#include <stdio.h>
#include <string.h>

#include "cache/store_tools.h"
#include "store_files.h"
#include "store_fixture.h"

enum { SIZE = 32 * 1024 * 1024 };

static void setup(void)
{
    fixture_begin(SIZE);
}

TestSuite(store_tools, .init = setup, .fini = fixture_end);

static void put(unsigned number, unsigned version, const char *variant, size_t body_len)
{
    struct support_object object = {.number = number, .version = version, .variant = variant, .body_len = body_len};

    cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
}

struct seen {
    unsigned count;
    unsigned faults;
    uint64_t last_id;
    uint64_t body_bytes;
    unsigned remove_at; /* after so many, removes `remove` */
    unsigned remove;
    unsigned stop_at;
    char keys[4096];
    enum store_fault last_fault;
};

static bool add_bytes(void *arg, struct span bytes) /* store_take_fn */
{
    struct seen *seen = arg;

    seen->body_bytes += bytes.len;
    return true;
}

static bool see(void *arg, const struct store_item *item) /* store_item_fn */
{
    struct seen *seen = arg;
    size_t len = strlen(seen->keys);

    cr_expect_gt(item->object_id, seen->last_id, "in the order of storing");
    seen->last_id = item->object_id;
    seen->count++;
    enum store_fault fault = item->fault;
    if (fault == STORE_FAULT_NONE) {
        fault = store_read_body(reader, &item->stored.record, add_bytes, seen);
        (void)snprintf(seen->keys + len, sizeof seen->keys - len, "%.*s %u/%u\n",
                       SPAN_ARG(span_skip(item->key, sizeof("GET http://test.example/objects/") - 1)), item->variant,
                       item->variants);
    }
    if (fault != STORE_FAULT_NONE) {
        seen->faults++;
        seen->last_fault = fault;
    }
    if (seen->remove_at != 0 && seen->count == seen->remove_at) {
        cr_expect_eq(support_remove(store, seen->remove), ERR_OK);
        cr_expect_eq(support_settle(store), ERR_OK);
    }
    return seen->stop_at == 0 || seen->count < seen->stop_at;
}

static void walk(struct seen *seen)
{
    struct store_tour options = {.visit = see, .arg = seen};

    cr_expect_eq(store_walk_objects(reader, &options), ERR_OK);
}

Test(store_tools, an_empty_store)
{
    struct seen seen = {0};

    walk(&seen);
    cr_expect_eq(seen.count, 0);
}

Test(store_tools, each_response_once_with_its_place_among_the_variants)
{
    struct seen seen = {0};

    put(1, 1, NULL, 0);
    put(2, 1, "a", 100);
    put(2, 1, "b", 300000);
    put(3, 1, NULL, 5000);
    put(1, 2, NULL, 10);
    cr_assert_eq(support_remove(store, 3), ERR_OK);
    walk(&seen);
    cr_expect_str_eq(seen.keys, "2 2/2\n2 1/2\n1 1/1\n");
    cr_expect_eq(seen.body_bytes, 100 + 300000 + 10);
    cr_expect_eq(seen.faults, 0);
}

Test(store_tools, more_than_one_step)
{
    struct support_object objects[500];
    struct seen seen = {0};

    for (unsigned i = 0; i < ARRAY_LEN(objects); i++) {
        objects[i] = (struct support_object){.number = i, .version = 1, .body_len = i, .head_padding = i * 10};
    }
    cr_assert_eq(support_put_many(store, objects, ARRAY_LEN(objects)), ERR_OK);
    walk(&seen);
    cr_expect_eq(seen.count, ARRAY_LEN(objects));
    cr_expect_eq(seen.faults, 0);
    seen = (struct seen){.stop_at = 7};
    walk(&seen);
    cr_expect_eq(seen.count, 7, "false from the visit ends it");
}

Test(store_tools, what_is_removed_meanwhile_is_no_damage)
{
    struct seen seen = {.remove_at = 3, .remove = 10};

    for (unsigned i = 0; i < 20; i++) {
        put(i, 1, NULL, 40000); /* in the step already when it goes */
    }
    walk(&seen);
    cr_expect_eq(seen.count, 19);
    cr_expect_eq(seen.faults, 0);
    cr_expect_eq(strstr(seen.keys, "\n10 "), NULL);
}

Test(store_tools, removed_while_its_own_body_is_read)
{
    struct seen seen = {0};
    struct stored stored;

    put(1, 1, NULL, 3000000);
    cr_assert_eq(support_find(reader, store, 1, NULL, &arena, &stored), STORE_FOUND);
    store_unpin(store, stored.record.body_id);
    cr_assert_eq(support_remove(store, 1), ERR_OK);
    cr_assert_eq(support_settle(store), ERR_OK);
    cr_expect_eq(store_read_body(reader, &stored.record, add_bytes, &seen), STORE_FAULT_GONE);
}

Test(store_tools, figures)
{
    struct store_survey survey;
    struct store_stats stats;

    put(1, 1, "a", 100);
    put(1, 1, "b", 100000);
    put(2, 1, NULL, 0);
    struct support_object unfinished = {.number = 9, .version = 1, .body_len = 50000};
    cr_assert_eq(support_put_pieces(store, &unfinished, store_new_body_id(store)), ERR_OK);
    cr_assert_eq(store_survey_of(store, &survey), ERR_OK);
    store_stats_of(store, &stats);
    cr_expect_eq(survey.objects, 3);
    cr_expect_eq(survey.keys, 2);
    cr_expect_eq(survey.pending_bodies, 1);
    cr_expect_eq(survey.limit_bytes, SIZE);
    cr_expect_eq(survey.used_bytes, stats.used_bytes);
    cr_expect_gt(survey.format, 0);
    cr_expect_geq(survey.readers, 1);
    cr_expect_lt(survey.disk_bytes, SIZE);
    cr_expect_eq(store_size_in(dir), SIZE);
    cr_expect_eq(store_size_in("/nowhere"), 0);
}

Test(store_tools, snapshots_are_given_back)
{
    struct store_survey survey;

    put(1, 1, NULL, 100);
    cr_assert_eq(store_survey_of(store, &survey), ERR_OK);
    cr_expect_eq(survey.oldest_reader, 0);
}

static void on_percent(void *arg, unsigned percent) /* store_progress_fn */
{
    unsigned *last = arg;

    cr_expect_geq(percent, *last);
    *last = percent;
}

Test(store_tools, a_good_store_adds_up)
{
    struct store_recount recount;
    unsigned percent = 0;

    for (unsigned i = 0; i < 600; i++) {
        put(i, 1, i % 3 == 0 ? "a" : NULL, i * 40);
    }
    for (unsigned i = 0; i < 100; i++) {
        cr_assert_eq(support_remove(store, i), ERR_OK);
    }
    struct support_object unfinished = {.number = 9999, .version = 1, .body_len = 50000};
    cr_assert_eq(support_put_pieces(store, &unfinished, store_new_body_id(store)), ERR_OK);
    cr_assert_eq(store_recount(reader, true, on_percent, &percent, &recount), ERR_OK);
    cr_expect_eq(recount.index_rows, 500);
    cr_expect_eq(recount.damaged_index_rows, 0);
    cr_expect_eq(recount.dangling_variants, 0);
    cr_expect_eq(recount.bodies, 501);
    cr_expect_eq(recount.orphan_bodies, 0);
    cr_expect_eq(recount.lost_pages, 0);
    cr_expect_eq(percent, 100);
    cr_assert_eq(store_recount(reader, false, NULL, NULL, &recount), ERR_OK);
    cr_expect_eq(recount.bodies, 0, "not looked at while larder runs");
}

Test(store_tools, a_damaged_head_is_named)
{
    struct seen seen = {0};

    put(1, 1, NULL, 100);
    put(2, 7654321, NULL, 100);
    put(3, 1, NULL, 100);
    cr_assert_gt(file_replace(data_path, SPAN("X-Version: 7654321"), SPAN("!")), 0);
    walk(&seen);
    cr_expect_eq(seen.count, 3);
    cr_expect_eq(seen.faults, 1);
    cr_expect_eq(seen.last_fault, STORE_FAULT_HEAD);
}

Test(store_tools, compacting_keeps_everything)
{
    struct seen seen = {0};
    struct store_recount recount;
    struct store_survey survey;

    for (unsigned i = 0; i < 200; i++) {
        put(i, 1, NULL, 20000);
    }
    for (unsigned i = 0; i < 150; i++) {
        cr_assert_eq(support_remove(store, i), ERR_OK);
    }
    cr_assert_eq(store_survey_of(store, &survey), ERR_OK);
    uint64_t disk_before = survey.disk_bytes;
    store_reader_destroy(reader);
    cr_expect_eq(store_compact(store, &note), ERR_OK, "%.*s", SPAN_ARG(buf_span(&note)));
    cr_expect_eq(store_size_in(dir), SIZE, "the limit is kept");
    cr_expect(store_trees_good(dir));
    open_store(SIZE);
    walk(&seen);
    cr_expect_eq(seen.count, 50);
    cr_expect_eq(seen.faults, 0);
    cr_assert_eq(store_recount(reader, true, NULL, NULL, &recount), ERR_OK);
    cr_expect_eq(recount.orphan_bodies, 0);
    cr_expect_eq(recount.lost_pages, 0);
    cr_assert_eq(store_survey_of(store, &survey), ERR_OK);
    cr_expect_lt(survey.disk_bytes, disk_before / 2);
    put(1000, 1, NULL, 1000);
}

Test(store_tools, rest_lasts_until_somebody_opens_it)
{
    struct store_rest rest;

    cr_expect_eq(store_rest_begin(dir, &rest), ERR_IN_USE, "it is ours");
    cr_expect_eq(store_rest_begin("/nowhere", &rest), ERR_NOT_FOUND);
    store_reader_destroy(reader);
    store_close(store);
    cr_assert_eq(store_rest_begin(dir, &rest), ERR_OK);
    cr_expect(store_rest_lasts(dir, &rest));
    open_store(SIZE); /* nobody is kept out */
    cr_expect(!store_rest_lasts(dir, &rest));
    store_reader_destroy(reader);
    store_close(store);
    cr_expect(!store_rest_lasts(dir, &rest), "whoever was there has left again");
    cr_expect_eq(store_rest_begin(dir, &rest), ERR_OK);
    open_store(SIZE);
}
