/* test_cache_purge.c: purges as clients meet them: of what is stored, on its way, being confirmed or in memory. */
#include "purge_fixture.h"

TestSuite(cache_purge, .init = setup_purged, .fini = teardown);

Test(cache_purge, what_is_stored_and_what_is_on_its_way_to_the_disk)
{
    store_with("/a", TAGGED);
    write_some();
    store_with("/b", TAGGED);
    store_with("/c", "A: b\r\n");
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "two"), ERR_OK);
    expect_effect("/a", false, PURGED_HARD, "in force at once");
    expect_effect("/b", false, PURGED_HARD, "settled");
    expect_effect("/c", true, PURGED_NOT, "without the tag");
    cr_expect_eq(told, 0, "not durable yet");
    write_some();
    cr_expect_eq(told, 1);
    cr_expect_eq(told_error, ERR_OK);
    cr_expect_eq(told_sequence, 1);
    expect_effect("/a", false, PURGED_HARD, "durable");
    rest();
    write_some();
    expect_effect("/a", false, PURGED_NOT, "deleted behind");
    store_with("/a", TAGGED);
    expect_effect("/a", true, PURGED_NOT, "stored again");
    write_some();
    expect_effect("/a", true, PURGED_NOT, "from the disk");
}

Test(cache_purge, what_is_purged_hard_is_nothing_good_to_keep)
{
    struct key key = client_for("/a", NULL).key;

    store_with("/a", TAGGED);
    cr_expect(cache_holds_good(reader, &key), "settled");
    cr_assert_eq(purge(PURGE_TAG, PURGE_SOFT, "one"), ERR_OK);
    cr_expect(cache_holds_good(reader, &key), "stale is better than an error");
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "two"), ERR_OK);
    cr_expect_not(cache_holds_good(reader, &key), "settled, and purged");
    write_some();
    cr_expect_not(cache_holds_good(reader, &key), "stored, and purged");
    store_with("/a", TAGGED);
    cr_expect(cache_holds_good(reader, &key), "since then");
}

Test(cache_purge, several_in_one_call)
{
    const struct purge purges[] = {
        {.kind = PURGE_URL, .mode = PURGE_HARD, .name = SPAN_INIT("http://test.example/a")},
        {.kind = PURGE_PREFIX, .mode = PURGE_SOFT, .name = SPAN_INIT("http://test.example/b")},
    };
    const struct purge invalid[] = {purges[0], {.kind = PURGE_TAG, .mode = PURGE_HARD}};

    store_with("/a", TAGGED);
    store_with("/b", TAGGED);
    cr_expect_eq(cache_purge(cache, invalid, 2, on_purged, NULL), ERR_BAD_TARGET);
    expect_effect("/a", true, PURGED_NOT, "all or none");
    cr_assert_eq(cache_purge(cache, purges, 2, on_purged, NULL), ERR_OK);
    expect_effect("/a", false, PURGED_HARD, "the first");
    expect_effect("/b", true, PURGED_SOFT, "the second");
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

    store_with("/a", TAGGED);
    write_some();
    cr_assert_eq(purge(PURGE_TAG, PURGE_SOFT, "one"), ERR_OK);
    policy.max_stale_s = 1000;
    policy.rule[SETTING_STALE_IF_ERROR] = "rule";
    cr_assert_eq(look_up(&client, "/a"), STORE_FOUND);
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
    expect_effect("/a", true, PURGED_NOT, "confirmed");
    write_some();
    expect_effect("/a", true, PURGED_NOT, "confirmed, from the disk");
    cr_assert_eq(look_up(&client, "/a"), STORE_FOUND);
    verdict = policy_may_reuse(&client.request, &client.cached.stored.record, &policy, NOW_MS + 3000);
    cr_expect_eq(verdict.reuse, REUSE_SERVE);
    leave(&client);
}

/* The tags of the 304 are those that count from then on. */
Test(cache_purge, a_304_brings_new_tags)
{
    struct client client;

    store_with("/a", TAGGED);
    write_some();
    cr_assert_eq(look_up(&client, "/a"), STORE_FOUND);
    cr_assert_eq(join(&client, JOIN_WITHOUT_OTHERS), JOIN_ALONE);
    cache_fill_validated(client.fill, &client.cached, &client.cached.stored.record, SPAN("xkey: three\r\n"));
    leave(&client);
    write_some();
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "one"), ERR_OK);
    expect_effect("/a", true, PURGED_NOT, "the old one");
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "three"), ERR_OK);
    expect_effect("/a", false, PURGED_HARD, "the new one");
}

/* What is hard purged while the origin confirms it stays dead. */
Test(cache_purge, confirmed_too_late)
{
    struct client client;

    store_with("/a", TAGGED);
    write_some();
    cr_assert_eq(look_up(&client, "/a"), STORE_FOUND);
    cr_assert_eq(join(&client, JOIN_WITHOUT_OTHERS), JOIN_ALONE);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "one"), ERR_OK);
    cache_fill_sent(client.fill); /* asked after the purge, about what was found before */
    cache_fill_validated(client.fill, &client.cached, &client.cached.stored.record, client.cached.stored.head);
    leave(&client);
    expect_effect("/a", false, PURGED_HARD, "at once");
    rest();
    for (unsigned i = 0; i < 10; i++) {
        write_some();
    }
    expect_effect("/a", false, PURGED_NOT, "deleted behind");
}

/* ---- fetches under way ---- */

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

        (void)look_up(&leader, "/a");
        cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
        cache_fill_sent(leader.fill);
        if (cases[i].head_first) {
            begin_answer(&leader, TAGGED);
        }
        cr_assert_eq(purge(cases[i].kind, PURGE_HARD, cases[i].name), ERR_OK);
        (void)look_up(&late, "/a");
        enum join joined = join(&late, JOIN_IF_RUNNING);
        cr_expect_eq(joined, cases[i].follows ? JOIN_FOLLOW : JOIN_NOBODY, "case %zu", i);
        leave(&late);
        if (!cases[i].head_first) {
            begin_answer(&leader, TAGGED);
        }
        complete(&leader);
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

        (void)look_up(&leader, "/a?y&x");
        cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
        cache_fill_sent(leader.fill);
        cr_assert_eq(purge(PURGE_URL, cases[i].mode, cases[i].url), ERR_OK);
        (void)look_up(&late, "/a?x=&y= search=1");
        cr_assert(cache_fill_rekey(leader.fill, &late.key));
        begin_answer(&leader, TAGGED);
        cr_expect_eq(join(&late, JOIN_IF_RUNNING), cases[i].found ? JOIN_FOLLOW : JOIN_NOBODY, "case %zu", i);
        leave(&late);
        complete(&leader);
        leave(&leader);
        expect_effect("/a?x=&y= search=1", cases[i].found, PURGED_NOT, "at once");
        write_some();
        expect_effect("/a?x=&y= search=1", cases[i].found, PURGED_NOT, "on the disk");
    }
}

/* Sent after it: younger, even if the fetch began before. */
Test(cache_purge, what_is_asked_for_after)
{
    struct client leader;

    (void)look_up(&leader, "/a");
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    cr_assert_eq(purge(PURGE_ALL, PURGE_HARD, ""), ERR_OK);
    cache_fill_sent(leader.fill);
    begin_answer(&leader, TAGGED);
    complete(&leader);
    leave(&leader);
    expect_effect("/a", true, PURGED_NOT, "at once");
    write_some();
    expect_effect("/a", true, PURGED_NOT, "on the disk");
}

/* ---- what a worker holds in memory ---- */

static bool is_hot(const char *path)
{
    struct client client;
    bool hot = look_up(&client, path) == STORE_FOUND && client.cached.hot != NULL;

    leave(&client);
    return hot;
}

static void make_hot(const char *path, const char *fields)
{
    store_with(path, fields);
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
    expect_effect("/a", false, PURGED_HARD, "at once");
    expect_effect("/c", true, PURGED_SOFT, "at once");
    cr_expect(is_hot("/b"), "not concerned");
}

/* The row is gone before anyone has asked about the copy again. */
Test(cache_purge, hot_copies_outlive_no_row)
{
    make_hot("/a", TAGGED);
    make_hot("/b", "A: b\r\n");
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "one"), ERR_OK);
    cr_assert_eq(purge(PURGE_TAG, PURGE_HARD, "none"), ERR_OK);
    rest();
    for (unsigned i = 0; i < 10; i++) {
        write_some();
    }
    cr_expect_eq(rows(), 1);
    expect_effect("/a", false, PURGED_NOT, "deleted behind");
    expect_effect("/b", true, PURGED_NOT, "not concerned");
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

    store_with("/a", "A: b\r\n");
    for (unsigned i = 0; i < PURGE_SET_MAX_NAMES / 2 + 1000; i++) {
        snprintf(field, sizeof(field), "\"g%u\"", i);
        invalidate_groups(field);
        if (i == 1000) {
            expect_effect("/a", true, PURGED_NOT, "in no group");
        }
        if (i % 1000 == 0) {
            cr_assert(cache_write(cache));
            arena_reset(&arena);
        }
    }
    expect_effect("/a", false, PURGED_HARD, "its host was purged in place of more rows");
    for (unsigned i = 0; i < 2000 && rows() > 1; i++) {
        cr_assert(cache_write(cache));
    }
    cr_expect_eq(rows(), 1);
    store_with("/a", "A: b\r\n");
    invalidate_groups("\"g\"");
    expect_effect("/a", true, PURGED_NOT, "there is room again");
}
