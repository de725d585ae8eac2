/* test_cache_freshen.c: the origin confirms what is stored, by a 304 (RFC 9111 §4.3.4) or by the same body again. */
#include "cache_fixture.h"

TestSuite(cache_freshen, .init = setup, .fini = teardown, .timeout = 60);

/* Both find what is stored; one asks the origin about it, for the other, too. */
static void find_and_join(struct client *leader, struct client *follower, const char *name)
{
    cr_assert_eq(find(leader), STORE_FOUND, "%s", name);
    cr_assert_eq(find(follower), STORE_FOUND, "%s", name);
    cr_assert_eq(join(leader, JOIN_WITH_OTHERS), JOIN_LEAD, "%s", name);
    cr_assert_eq(join(follower, JOIN_WITH_OTHERS), JOIN_FOLLOW, "%s", name);
}

Test(cache_freshen, a_304_freshens_what_is_committed_or_not)
{
    static const struct {
        const char *name;
        size_t len;
        bool committed; /* when it is looked up */
        bool between;   /* committed between look-up and 304 */
        bool twice;     /* another 304 before the first is committed */
    } cases[] = {
        {"small, in the store", 1000, true, false, false},
        {"empty, in the store", 0, true, false, false},
        {"large, in the store", 200000, true, false, false},
        {"small, not committed", 1000, false, false, false},
        {"large, not committed", 200000, false, false, false},
        {"small, committed in between", 1000, false, true, false},
        {"large, committed in between", 200000, false, true, false},
        {"small, in the store, twice", 1000, true, false, true},
        {"large, in the store, twice", 200000, true, false, true},
        {"small, not committed, twice", 1000, false, false, true},
        {"large, not committed, twice", 200000, false, false, true},
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        const char *name = cases[i].name;
        const char *head = cases[i].twice ? "B: 3\r\n" : "B: 2\r\n";
        char path[32];
        snprintf(path, sizeof(path), "/%u", i);
        store_it(path, i, cases[i].len);
        if (cases[i].committed) {
            write_some();
        }
        struct client leader = client_for(path, NULL), follower = client_for(path, NULL);
        find_and_join(&leader, &follower, name);
        if (cases[i].between) {
            write_some();
        }
        confirm(&leader, "B: 2\r\n");
        cr_expect_eq(flight_phase(follower.flight), FLIGHT_VALIDATED, "%s", name);
        cr_expect_eq(follower.wakes, 1, "%s", name);
        expect_found(path, i, "B: 2\r\n", name);
        if (cases[i].twice) {
            struct client again = client_for(path, NULL);
            cr_assert_eq(find(&again), STORE_FOUND, "%s", name);
            cr_assert_eq(join(&again, JOIN_WITH_OTHERS), JOIN_LEAD, "%s", name);
            confirm(&again, "B: 3\r\n");
            leave(&again);
            expect_found(path, i, "B: 3\r\n", name);
        }
        leave(&leader);
        leave(&follower);
        expect_found(path, i, head, name);
        write_some();
        expect_found(path, i, head, name);
        struct client last = client_for(path, NULL);
        (void)find(&last);
        cr_expect_eq(last.cached.stored.record.inputs.directives.max_age.seconds, 2 * LIFETIME_S, "%s", name);
        cr_expect_null(last.cached.flight, "%s: from the store", name);
        cache_invalidate(cache, &last.key, NULL);
        leave(&last);
    }
    expect_empty_store("all pins are given back");
}

/* The origin sends the body of `version` again, or another, where `client` leads. */
static void send_again(struct client *client, const char *fields, unsigned version, size_t len)
{
    struct record record = client->cached.stored.record;
    struct renewal renewal = {&client->cached, &record, span_of(fields)};

    record.inputs = record_of(2 * LIFETIME_S).inputs;
    cr_assert_eq(give_head(client, &(struct answer){.fields = fields, .length_known = true, .body_len = len}), ERR_OK);
    if (len > 0) {
        give_body(client, version, 0, len);
    }
    cache_fill_complete_or_renew(client->fill, SPAN(""), &renewal);
    client->fill = NULL;
}

Test(cache_freshen, the_same_body_again_renews_what_is_stored)
{
    static const struct {
        const char *name;
        size_t len;
        bool committed; /* when it is looked up */
        bool between;   /* committed while it is fetched again */
        unsigned again; /* the version that comes, of the same length */
    } cases[] = {
        {"small, in the store", 1000, true, false, 0},           {"empty, in the store", 0, true, false, 0},
        {"large, in the store", 200000, true, false, 0},         {"small, not committed", 1000, false, false, 0},
        {"large, not committed", 200000, false, false, 0},       {"small, committed in between", 1000, false, true, 0},
        {"large, committed in between", 200000, false, true, 0}, {"small, another body", 1000, true, false, 1},
        {"large, another body", 200000, true, false, 1},
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        const char *name = cases[i].name;
        char path[32];
        snprintf(path, sizeof(path), "/%u", i);
        store_it(path, 0, cases[i].len);
        if (cases[i].committed) {
            write_some();
        }
        struct client leader = client_for(path, NULL), follower = client_for(path, NULL);
        find_and_join(&leader, &follower, name);
        if (cases[i].between) {
            write_some();
        }
        uint64_t body_id = leader.cached.stored.record.body_id;
        send_again(&leader, "B: 2\r\n", cases[i].again, cases[i].len);
        cr_expect_eq(flight_store_reason(leader.flight), cases[i].again == 0 ? REASON_UNCHANGED : REASON_STORED, "%s",
                     name);
        expect_found(path, cases[i].again, "B: 2\r\n", name);
        write_some();
        cr_expect_eq(followed(&follower, cases[i].again, FLIGHT_READ_END, name), cases[i].len, "%s: whole", name);
        leave(&leader);
        leave(&follower);
        write_some();
        struct client last = client_for(path, NULL);
        cr_expect_eq(find(&last), STORE_FOUND, "%s", name);
        cr_expect(reads_as(&last.cached, cases[i].again), "%s", name);
        cr_expect(span_equal(last.cached.stored.head, SPAN("B: 2\r\n")), "%s", name);
        cr_expect_null(last.cached.flight, "%s: from the store", name);
        cr_expect_eq(last.cached.stored.record.body_id == body_id, cases[i].again == 0, "%s: which body stays", name);
        cr_expect_eq(last.cached.stored.record.inputs.directives.max_age.seconds,
                     cases[i].again == 0 ? 2 * LIFETIME_S : LIFETIME_S, "%s", name);
        cache_invalidate(cache, &last.key, NULL);
        leave(&last);
    }
    expect_empty_store("the bodies that came again are dropped");
}

/* What the origin said of the former response it said before the later request was even sent. */
Test(cache_freshen, what_was_replaced_is_not_confirmed_behind)
{
    static const struct {
        const char *name;
        bool committed; /* what replaced it */
        bool body;      /* it comes again; else a 304 */
        bool later;     /* it is asked about once more: then the answer counts */
    } cases[] = {
        {"a 304, not committed", false, false, false},   {"a 304, committed", true, false, false},
        {"a body, not committed", false, true, false},   {"a body, committed", true, true, false},
        {"a 304 to a later request", true, false, true}, {"a body to a later request", true, true, true},
    };

    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        const char *name = cases[i].name;
        char path[32];

        snprintf(path, sizeof(path), "/%u", i);
        store_it(path, 1, 1000);
        write_some();
        struct client leader = client_for(path, NULL);
        cr_assert_eq(find(&leader), STORE_FOUND, "%s", name);
        cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD, "%s", name);
        cache_fill_sent(leader.fill);
        store_it(path, 2, 1000);
        if (cases[i].committed) {
            write_some();
        }
        if (cases[i].later) {
            cache_fill_sent(leader.fill);
        }
        if (cases[i].body) {
            send_again(&leader, "B: 2\r\n", 1, 1000);
        } else {
            confirm(&leader, "B: 2\r\n");
        }
        cr_expect_eq(flight_store_reason(leader.flight) == REASON_RACED, !cases[i].later, "%s", name);
        if (!cases[i].later) {
            expect_found(path, 2, "A: 1\r\n", name);
        }
        leave(&leader);
        write_some();
        if (!cases[i].later) {
            expect_found(path, 2, "A: 1\r\n", name);
        }
        cache_invalidate(cache, &leader.key, NULL);
        write_some();
    }
    expect_empty_store("nothing else is left");
}

Test(cache_freshen, the_same_body_again_after_an_invalidation)
{
    store_it("/a", 1, 100000);
    write_some();
    struct client leader = client_for("/a", NULL);
    cr_assert_eq(find(&leader), STORE_FOUND);
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    cache_invalidate(cache, &leader.key, NULL);
    send_again(&leader, "B: 2\r\n", 1, 100000);
    cr_expect_eq(flight_store_reason(leader.flight), REASON_RACED);
    leave(&leader);
    expect_absent("/a", "invalidated while it was fetched again");
    expect_empty_store("invalidated");
}
