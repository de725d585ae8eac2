/* test_cache.c: what look-ups find of a fetch that ended: before the disk has it and after, replaced, invalidated,
 * broken off. */
#include "cache_fixture.h"

TestSuite(cache, .init = setup, .fini = teardown);

/* ---- publication ---- */

Test(cache, what_is_complete_is_found_before_and_after_the_commit)
{
    static const size_t lengths[] = {0, 1, 100, 4000, 20000, SLOT - 100, SLOT, 3 * SLOT + 77, 230 * 1024};
    char path[32];

    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct answer answer = {.length_known = i % 2 == 0, .body_len = lengths[i]};
        snprintf(path, sizeof(path), "/%zu", i);
        struct client client = fetched(path, &answer, (unsigned)i, lengths[i]);
        expect_found(path, (unsigned)i, "A: 1\r\n", "settled");
        write_some();
        expect_found(path, (unsigned)i, "A: 1\r\n", "committed");
        cr_expect_eq(followed(&client, (unsigned)i, FLIGHT_READ_END, "the flight"), lengths[i]);
        leave(&client);
        expect_found(path, (unsigned)i, "A: 1\r\n", "without the flight");
    }
    close_cache();
    open_cache(STORE_SIZE, QUEUE);
    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        snprintf(path, sizeof(path), "/%zu", i);
        expect_found(path, (unsigned)i, "A: 1\r\n", "after a new start");
    }
}

Test(cache, variants)
{
    struct client one = fetched("/a", &(struct answer){.variant = "one"}, 1, 100);
    struct client two = fetched("/a", &(struct answer){.variant = "two"}, 2, 100);
    struct client three = client_for("/a", "three");

    for (unsigned i = 0; i < 2; i++) {
        cr_expect_eq(find(&one), STORE_FOUND);
        cr_expect(reads_as(&one.cached, 1));
        cr_expect_eq(find(&two), STORE_FOUND);
        cr_expect(reads_as(&two.cached, 2));
        cr_expect_eq(find(&three), STORE_OTHER_VARIANTS);
        write_some();
    }
    leave(&one);
    leave(&two);
    leave(&three);
}

/* Many, and large: what is looked at is not kept. */
Test(cache, holds_good_under_whatever_selection)
{
    static const char *const variants[] = {"one", "two", "three", "four"};
    struct key key = client_for("/a", NULL).key;

    for (size_t i = 0; i < ARRAY_LEN(variants); i++) {
        struct client client = fetched("/a", &(struct answer){.variant = variants[i], .status = 503}, 1, 10000);
        leave(&client);
    }
    cr_expect_not(cache_holds_good(reader, &key), "errors, settled");
    write_some();
    size_t used_bytes = arena.used_bytes;
    cr_expect_not(cache_holds_good(reader, &key), "errors, stored");
    cr_expect_eq(arena.used_bytes, used_bytes);
    struct client good = fetched("/a", &(struct answer){.variant = "one", .status = 404}, 1, 10000);
    leave(&good);
    cr_expect(cache_holds_good(reader, &key), "settled");
    write_some();
    cr_expect(cache_holds_good(reader, &key), "stored");
}

Test(cache, the_newest_is_found)
{
    struct client old = client_for("/a", NULL);

    store_it("/a", 1, 100000);
    cr_expect_eq(find(&old), STORE_FOUND);
    store_it("/a", 2, 100000);
    expect_found("/a", 2, "A: 1\r\n", "both settled");
    write_some();
    expect_found("/a", 2, "A: 1\r\n", "both committed");
    cr_expect(reads_as(&old.cached, 1), "who has the old one reads it to its end");
    leave(&old);
    cache_invalidate(cache, &old.key, NULL);
    expect_empty_store("both");
}

/* Begins to fetch variant 1 and has its first byte; `number` is the content, `later_s` the Date. */
static struct client begun(unsigned number, int64_t later_s)
{
    struct client client = client_for("/a", "1");

    (void)find(&client);
    cr_assert_eq(join(&client, JOIN_WITHOUT_OTHERS), JOIN_ALONE);
    cache_fill_sent(client.fill);
    cr_assert_eq(give_head(&client, &(struct answer){.variant = "1", .date_s = NOW_S + later_s}), ERR_OK);
    give_body(&client, number, 0, 1000);
    return client;
}

/* RFC 9111 §4: the most recent one, whichever came to its end last. */
Test(cache, of_two_at_a_time_the_most_recent_stays)
{
    static const struct {
        const char *name;
        const char *other; /* variant of the one that is asked for later */
        int64_t later_s;   /* than the other's is the Date of the one that is asked for first */
        bool committed;    /* the other, before the first ends */
        bool stays;        /* the other, for who asks for the variant of the first */
    } cases[] = {
        {"asked for later", "1", 0, false, true},
        {"asked for later, and committed", "1", 0, true, true},
        {"asked for later, made later", "1", -1, true, true},
        {"asked for later, made before", "1", 1, true, false},
        {"another variant", "2", 0, true, false},
    };

    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        const char *name = cases[i].name;
        struct client first = begun(1, cases[i].later_s);
        struct client other = fetched("/a", &(struct answer){.variant = cases[i].other}, 2, 1000);
        if (cases[i].committed) {
            write_some();
        }
        complete(&first);
        cr_expect_eq(flight_store_reason(first.flight) == REASON_RACED, cases[i].stays, "%s", name);
        for (unsigned committed = 0; committed < 2; committed++) {
            struct client client = client_for("/a", "1");
            cr_expect_eq(find(&client), STORE_FOUND, "%s", name);
            cr_expect(reads_as(&client.cached, cases[i].stays ? 2 : 1), "%s", name);
            leave(&client);
            write_some();
        }
        leave(&other);
        leave(&first);
        cache_invalidate(cache, &first.key, NULL);
        write_some();
    }
    expect_empty_store("nothing else is left");
}

/* One that came late for its Date does not let one in that is older in both ways. */
Test(cache, of_three_at_a_time_too)
{
    struct client first = begun(1, 11), second = begun(2, 9), third = begun(3, 10);

    complete(&third);
    complete(&first);
    complete(&second);
    cr_expect_neq(flight_store_reason(first.flight), REASON_RACED);
    cr_expect_eq(flight_store_reason(second.flight), REASON_RACED);
    struct client client = client_for("/a", "1");
    cr_expect_eq(find(&client), STORE_FOUND);
    cr_expect(reads_as(&client.cached, 1));
    leave(&client);
    leave(&first);
    leave(&second);
    leave(&third);
}

/* ---- invalidation, in every order ---- */

Test(cache, invalidation_in_every_order)
{
    enum moment { BEFORE_HEAD, IN_BODY, SETTLED, COMMITTED, BEFORE_304, FRESHENED, FRESHENED_COMMITTED };
    static const struct {
        const char *name;
        enum moment moment;
    } cases[] = {
        {"before the head", BEFORE_HEAD},
        {"in the body", IN_BODY},
        {"complete, not committed", SETTLED},
        {"committed", COMMITTED},
        {"before a 304", BEFORE_304},
        {"freshened, not committed", FRESHENED},
        {"freshened and committed", FRESHENED_COMMITTED},
    };
    for (unsigned i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        const char *name = cases[i / 2].name;
        enum moment moment = cases[i / 2].moment;
        size_t len = i % 2 == 0 ? 1000 : 100000;
        struct client client = client_for("/a", NULL), follower = client_for("/a", NULL);

        lead_and_follow(&client, &follower, STORE_ABSENT, name);
        if (moment == BEFORE_HEAD) {
            cache_invalidate(cache, &client.key, NULL);
            struct client next = client_for("/a", NULL);
            cr_expect_eq(find(&next), STORE_ABSENT);
            cr_expect_eq(join(&next, JOIN_WITH_OTHERS), JOIN_LEAD, "%s: nobody follows it any more", name);
            cache_fill_refuse(next.fill);
            leave(&next);
        }
        cr_assert_eq(give_head(&client, &(struct answer){0}), ERR_OK);
        give_body(&client, i, 0, len / 2);
        if (moment == IN_BODY) {
            write_some();
            cache_invalidate(cache, &client.key, NULL);
        }
        give_body(&client, i, len / 2, len);
        complete(&client);
        cr_expect_eq(flight_store_reason(client.flight), moment <= IN_BODY ? REASON_RACED : REASON_STORED, "%s", name);
        cr_expect_eq(followed(&follower, i, FLIGHT_READ_END, name), len, "%s: a follower gets all of it", name);
        if (moment == SETTLED) {
            cache_invalidate(cache, &client.key, NULL);
        }
        if (moment == COMMITTED) {
            write_some();
            cache_invalidate(cache, &client.key, NULL);
        }
        if (moment >= BEFORE_304) {
            struct client again = client_for("/a", NULL);
            if (moment != FRESHENED) {
                write_some();
            }
            cr_assert_eq(find(&again), STORE_FOUND, "%s", name);
            cr_assert_eq(join(&again, JOIN_WITH_OTHERS), JOIN_LEAD, "%s", name);
            if (moment == BEFORE_304) {
                cache_invalidate(cache, &client.key, NULL);
            }
            confirm(&again, "B: 2\r\n");
            if (moment == FRESHENED_COMMITTED) {
                write_some();
            }
            if (moment != BEFORE_304) {
                expect_found("/a", i, "B: 2\r\n", name);
                cache_invalidate(cache, &client.key, NULL);
            }
            leave(&again);
        }
        expect_absent("/a", name);
        write_some();
        expect_absent("/a", name);
        cr_expect_eq(followed(&follower, i, FLIGHT_READ_END, name), len, "%s: after the removal, too", name);
        leave(&client);
        leave(&follower);
        expect_empty_store(name);
    }
}

Test(cache, what_comes_after_an_invalidation_is_kept)
{
    struct client client = client_for("/a", NULL);

    store_it("/a", 1, 1000);
    write_some();
    cache_invalidate(cache, &client.key, NULL);
    cache_invalidate(cache, &client.key, NULL);
    expect_absent("/a", "the removal is not committed yet");
    store_it("/a", 2, 100000);
    expect_found("/a", 2, "A: 1\r\n", "settled before the removal is committed");
    write_some();
    expect_found("/a", 2, "A: 1\r\n", "and behind it");
    struct client nothing = client_for("/nothing", NULL);
    cache_invalidate(cache, &nothing.key, NULL);
    expect_absent("/nothing", "nothing was there");
}

/* ---- ends that are not ---- */

Test(cache, what_breaks_off_is_never_found)
{
    static const size_t lengths[] = {0, 100, 2 * SLOT, 5 * SLOT + 1};

    for (size_t i = 0; i < 2 * ARRAY_LEN(lengths); i++) {
        size_t len = lengths[i / 2];
        struct client leader = client_for("/a", NULL), follower = client_for("/a", NULL);

        lead_and_follow(&leader, &follower, STORE_ABSENT, "breaks off");
        cr_assert_eq(give_head(&leader, &(struct answer){0}), ERR_OK);
        for (size_t at = 0; at < len; at += SLOT / 2) {
            give_body(&leader, 1, at, at + SLOT / 2 < len ? at + SLOT / 2 : len);
        }
        if (i % 2 == 0) {
            write_some();
        }
        cache_fill_fail(leader.fill, ERR_RESET);
        cr_expect_eq(followed(&follower, 1, FLIGHT_READ_FAILED, "broken off"), len);
        cr_expect_eq(flight_store_reason(leader.flight), REASON_TRUNCATED);
        expect_absent("/a", "broken off");
        write_some();
        expect_absent("/a", "broken off");
        cr_expect_eq(followed(&follower, 1, FLIGHT_READ_FAILED, "what was written is still pinned"), len);
        leave(&leader);
        leave(&follower);
        expect_empty_store("broken off");
    }
}

Test(cache, too_large)
{
    static const struct {
        const char *name;
        struct answer answer;
        size_t len;
        bool stored;
    } cases[] = {
        {"exactly as large as allowed", {.max_bytes = 200000}, 200000, true},
        {"a byte more", {.max_bytes = 200000}, 200001, false},
        {"exactly, and known", {.max_bytes = 5000, .length_known = true, .body_len = 5000}, 5000, true},
        {"a byte more, and known", {.max_bytes = 5000, .length_known = true, .body_len = 5001}, 5001, false},
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        const char *name = cases[i].name;
        char path[32];
        snprintf(path, sizeof(path), "/%u", i);
        struct client leader = client_for(path, NULL), follower = client_for(path, NULL);
        lead_and_follow(&leader, &follower, STORE_ABSENT, name);
        cr_assert_eq(give_head(&leader, &cases[i].answer), ERR_OK);
        for (size_t at = 0; at < cases[i].len; at += SLOT) {
            give_body(&leader, i, at, at + SLOT < cases[i].len ? at + SLOT : cases[i].len);
            write_some();
        }
        complete(&leader);
        cr_expect_eq(flight_store_reason(leader.flight), cases[i].stored ? REASON_STORED : REASON_TOO_LARGE, "%s",
                     name);
        cr_expect_eq(followed(&follower, i, FLIGHT_READ_END, name), cases[i].len, "%s: who follows gets all", name);
        leave(&leader);
        leave(&follower);
        write_some();
        struct client next = client_for(path, NULL);
        cr_expect_eq(find(&next), cases[i].stored ? STORE_FOUND : STORE_ABSENT, "%s", name);
        cache_invalidate(cache, &next.key, NULL);
        leave(&next);
    }
    expect_empty_store("too large");
}
