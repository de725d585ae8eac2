/* test_hot.c: what a worker keeps in memory of the responses it serves often. */
#include <criterion/criterion.h>
#include <string.h>

#include "cache/hot.h"
#include "cache/vary.h"
#include "tests/unit/support.h"

enum { LIMIT = 64 * 1024, BODY = 1000 };

static struct arena arena;
static struct hot *hot;
static char body[HOT_BODY_MAX_BYTES + 1];

static void setup(void)
{
    arena_init(&arena, 16 * 1024 * 1024);
    hot = hot_create(LIMIT);
    cr_assert_not_null(hot);
}

static void teardown(void)
{
    hot_destroy(hot);
    arena_finish(&arena);
}

TestSuite(hot, .init = setup, .fini = teardown);

static struct key key_for(unsigned number)
{
    struct key key;

    cr_assert(arena_format(&arena, &key.text, "GET http://example.com/%u", number));
    key.hash = key_hash_of(key.text, 7);
    return key;
}

static struct headers request_with(const char *language)
{
    struct headers request;

    headers_init(&request, &arena);
    if (language != NULL) {
        cr_assert(headers_add(&request, SPAN("Accept-Language"), span_of(language)));
    }
    return request;
}

static struct stored stored_with(const char *head, size_t body_len)
{
    return (struct stored){.record = {.object_id = 5, .body_len = body_len, .status = 200},
                           .head = span_of(head),
                           .body_start = {body, body_len}};
}

static bool finds(const struct key *key, uint32_t version)
{
    struct headers request = request_with(NULL);
    struct hot_response *response = hot_find(hot, key, &request, version, &arena);

    hot_release(response);
    return response != NULL;
}

Test(hot, a_copy_is_whole_and_its_own)
{
    char head[] = "ETag: \"a\"\r\nContent-Type: t/t\r\nEmpty: \r\nCache-Control: max-age=60\r\n";
    struct key key = key_for(1);
    struct headers request = request_with(NULL);
    struct stored stored = stored_with(head, BODY);

    memset(body, 'x', BODY);
    hot_add(hot, &key, &stored, 3);
    memset(head, '?', strlen(head));
    memset(body, '?', BODY);
    struct hot_response *response = hot_find(hot, &key, &request, 3, &arena);
    cr_assert_not_null(response);
    cr_expect_eq(response->stored.record.object_id, 5);
    cr_expect(span_equal(headers_value(&response->headers, SPAN("etag")), SPAN("\"a\"")));
    cr_expect(headers_has(&response->headers, SPAN("Empty")));
    cr_expect_eq(response->headers.count, 4);
    cr_expect(span_equal(response->not_modified, SPAN("ETag: \"a\"\r\nEmpty: \r\nCache-Control: max-age=60\r\n")));
    cr_expect_eq(response->stored.body_start.len, BODY);
    cr_expect_eq(response->stored.body_start.data[BODY - 1], 'x');
    hot_release(response);
}

Test(hot, a_change_under_the_key_ends_it)
{
    struct key key = key_for(1);
    struct stored stored = stored_with("A: b\r\n", BODY);

    hot_add(hot, &key, &stored, 3);
    cr_expect(finds(&key, 3));
    cr_expect_not(finds(&key, 4));
    cr_expect_eq(hot_bytes(hot), 0, "it is not kept for a version that never comes back");
}

Test(hot, whether_there_is_anything_is_known_by_the_key_alone)
{
    struct key keys[] = {key_for(1), key_for(2)};
    struct stored stored = stored_with("A: b\r\n", BODY);

    cr_expect_not(hot_expect(hot, &keys[0]));
    hot_add(hot, &keys[0], &stored, 3);
    cr_expect(hot_expect(hot, &keys[0]));
    cr_expect_not(hot_expect(hot, &keys[1]));
    stored.body_start.len = 0;
    stored.record.body_len = 0;
    hot_add(hot, &keys[1], &stored, 3);
    cr_expect(hot_expect(hot, &keys[1]), "of one that is short no more than its memory is looked at");
    cr_expect_not(finds(&keys[1], 4));
    cr_expect_not(hot_expect(hot, &keys[1]), "it has left");
}

Test(hot, a_response_that_is_held_outlives_its_place)
{
    struct key key = key_for(1);
    struct headers request = request_with(NULL);
    struct stored stored = stored_with("A: b\r\n", BODY);

    memset(body, 'x', BODY);
    hot_add(hot, &key, &stored, 3);
    struct hot_response *response = hot_find(hot, &key, &request, 3, &arena);
    cr_assert_not_null(response);
    cr_expect_not(finds(&key, 4));
    cr_expect_eq(response->stored.body_start.data[0], 'x'); /* for the address sanitizer */
    hot_release(response);
}

/* After a reload former workers may live for as long as a download does: memory must not be taken once for each. */
Test(hot, who_retires_keeps_what_is_held_and_nothing_else)
{
    struct key keys[] = {key_for(1), key_for(2)};
    struct headers request = request_with(NULL);
    struct stored stored = stored_with("A: b\r\n", BODY);

    hot_add(hot, &keys[0], &stored, 1);
    hot_add(hot, &keys[1], &stored, 1);
    struct hot_response *response = hot_find(hot, &keys[0], &request, 1, &arena);
    cr_assert_not_null(response);
    hot_retire(hot);
    cr_expect_eq(hot_bytes(hot), 0);
    cr_expect(!finds(&keys[0], 1) && !finds(&keys[1], 1));
    cr_expect(span_equal(response->stored.body_start, (struct span){body, BODY}), "while it is sent");
    hot_release(response);
    hot_add(hot, &keys[1], &stored, 1);
    cr_expect(!finds(&keys[1], 1), "nothing comes in any more");
}

Test(hot, variants_are_told_apart_rfc9111_4_1)
{
    struct key key = key_for(1);
    struct headers response = request_with(NULL);
    struct headers german = request_with("de");
    struct headers english = request_with("en");
    struct stored stored = stored_with("Vary: Accept-Language\r\n", BODY);
    struct buf selection;

    cr_assert(headers_add(&response, SPAN("Vary"), SPAN("Accept-Language")));
    buf_init(&selection, VARY_MAX_BYTES);
    cr_assert_eq(vary_select(&response, NULL, &german, &arena, &selection), VARY_SOME);
    stored.selection = buf_span(&selection);
    hot_add(hot, &key, &stored, 1);
    struct hot_response *found = hot_find(hot, &key, &german, 1, &arena);
    cr_expect_not_null(found);
    hot_release(found);
    cr_expect_null(hot_find(hot, &key, &english, 1, &arena));
    buf_finish(&selection);
}

Test(hot, what_is_not_kept)
{
    struct key key = key_for(1);
    struct stored damaged = stored_with("no field line", BODY);
    struct stored pinned = stored_with("A: b\r\n", BODY);
    struct stored begun = stored_with("A: b\r\n", BODY);
    struct stored large = stored_with("A: b\r\n", HOT_BODY_MAX_BYTES + 1);

    pinned.pinned = true;
    begun.record.body_len++;
    hot_add(hot, &key, &damaged, 1);
    hot_add(hot, &key, &pinned, 1);
    hot_add(hot, &key, &begun, 1);
    hot_add(hot, &key, &large, 1);
    cr_expect_eq(hot_bytes(hot), 0);
    cr_expect_null(hot_create(0));
}

Test(hot, memory_is_bounded_and_what_is_used_stays)
{
    struct key used = key_for(0);
    struct stored stored = stored_with("A: b\r\n", BODY);

    hot_add(hot, &used, &stored, 1);
    for (unsigned i = 1; i < 1000; i++) {
        struct key key = key_for(i);
        cr_assert(finds(&used, 1), "%u", i);
        hot_add(hot, &key, &stored, 1);
        cr_assert_leq(hot_bytes(hot), LIMIT);
    }
    struct key second = key_for(1);
    cr_expect_not(finds(&second, 1), "the others came and went");
    cr_expect_gt(hot_bytes(hot), LIMIT / 2);
}

Test(hot, the_second_time_lately_is_wanted)
{
    struct key a = key_for(1);
    struct key b = key_for(2);

    cr_expect_not(hot_wanted(hot, &a));
    cr_expect(hot_wanted(hot, &a));
    cr_expect_not(hot_wanted(hot, &b));
}

Test(hot, all_that_fits_is_wanted_when_all_of_it_was_asked_for)
{
    enum { LARGE_LIMIT = 64 * 1024 * 1024, AN_ENTRY = 1400 /* with a head of 300 bytes and a short body */ };
    struct hot *large = hot_create(LARGE_LIMIT);
    unsigned count = LARGE_LIMIT / AN_ENTRY;
    unsigned wanted = 0;

    cr_assert_not_null(large);
    for (unsigned turn = 0; turn < 2; turn++) {
        wanted = 0;
        for (unsigned i = 0; i < count; i++) {
            struct key key = key_for(i);
            wanted += hot_wanted(large, &key);
        }
        cr_expect(turn > 0 || wanted < count / 100, "the first time none is, but for equal tags: %u", wanted);
    }
    cr_expect_gt(wanted, count / 4 * 3, "the second time: %u of %u", wanted, count);
    hot_destroy(large);
}
