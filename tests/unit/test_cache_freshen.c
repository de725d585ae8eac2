/* test_cache_freshen.c: the origin confirms what is stored, by a 304 (RFC 9111 §4.3.4) or by the same body again. */
#include "cache_fixture.h"

TestSuite(cache_freshen, .init = setup, .fini = teardown);

/* When the disk gets what is stored. */
enum commit {
    COMMIT_BEFORE,  /* it is looked up */
    COMMIT_BETWEEN, /* look-up and answer */
    COMMIT_AFTER,   /* the answer, if not at all */
};

/* Both find what is stored; the leader is to ask the origin about it, for the follower, too. */
static void store_and_join(const char *path, unsigned version, size_t len, enum commit commit, struct client *leader,
                           struct client *follower)
{
    *leader = client_for(path, NULL);
    *follower = client_for(path, NULL);
    store_it(path, version, len);
    if (commit == COMMIT_BEFORE) {
        write_some();
    }
    lead_and_follow(leader, follower, STORE_FOUND, path);
    if (commit == COMMIT_BETWEEN) {
        write_some();
    }
}

Test(cache_freshen, a_304_freshens_what_is_committed_or_not)
{
    static const struct {
        const char *name;
        size_t len;
        enum commit commit;
        bool twice; /* another 304 before the first is committed */
    } cases[] = {
        {"small, in the store", 1000, COMMIT_BEFORE, false},
        {"empty, in the store", 0, COMMIT_BEFORE, false},
        {"large, in the store", 200000, COMMIT_BEFORE, false},
        {"small, not committed", 1000, COMMIT_AFTER, false},
        {"large, not committed", 200000, COMMIT_AFTER, false},
        {"small, committed in between", 1000, COMMIT_BETWEEN, false},
        {"large, committed in between", 200000, COMMIT_BETWEEN, false},
        {"small, in the store, twice", 1000, COMMIT_BEFORE, true},
        {"large, in the store, twice", 200000, COMMIT_BEFORE, true},
        {"small, not committed, twice", 1000, COMMIT_AFTER, true},
        {"large, not committed, twice", 200000, COMMIT_AFTER, true},
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        const char *name = cases[i].name;
        const char *head = cases[i].twice ? "B: 3\r\n" : "B: 2\r\n";
        struct client leader, follower;
        char path[32];

        snprintf(path, sizeof(path), "/%u", i);
        store_and_join(path, i, cases[i].len, cases[i].commit, &leader, &follower);
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
        enum commit commit;
        unsigned again; /* the version that comes, of the same length */
    } cases[] = {
        {"small, in the store", 1000, COMMIT_BEFORE, 0},
        {"empty, in the store", 0, COMMIT_BEFORE, 0},
        {"large, in the store", 200000, COMMIT_BEFORE, 0},
        {"small, not committed", 1000, COMMIT_AFTER, 0},
        {"large, not committed", 200000, COMMIT_AFTER, 0},
        {"small, committed in between", 1000, COMMIT_BETWEEN, 0},
        {"large, committed in between", 200000, COMMIT_BETWEEN, 0},
        {"small, another body", 1000, COMMIT_BEFORE, 1},
        {"large, another body", 200000, COMMIT_BEFORE, 1},
    };
    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        const char *name = cases[i].name;
        struct client leader, follower;
        char path[32];

        snprintf(path, sizeof(path), "/%u", i);
        store_and_join(path, 0, cases[i].len, cases[i].commit, &leader, &follower);
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

/* How the origin says that what is stored is current. */
enum by { BY_A_304, BY_ITS_BODY };

static void confirm_by(enum by by, struct client *client)
{
    if (by == BY_ITS_BODY) {
        send_again(client, "B: 2\r\n", 1, 1000);
    } else {
        confirm(client, "B: 2\r\n");
    }
}

/* Version 1 of it is on the disk. */
static void store_case(unsigned number, char path[static 32])
{
    snprintf(path, 32, "/%u", number);
    store_it(path, 1, 1000);
    write_some();
}

/* What the origin said of the former response it said before the later request was even sent. */
Test(cache_freshen, what_was_replaced_is_not_confirmed_behind)
{
    static const struct {
        const char *name;
        enum by by;
        bool committed; /* what replaced it */
        bool later;     /* it is asked about once more: then the answer counts */
    } cases[] = {
        {"a 304, not committed", BY_A_304, false, false},     {"a 304, committed", BY_A_304, true, false},
        {"a body, not committed", BY_ITS_BODY, false, false}, {"a body, committed", BY_ITS_BODY, true, false},
        {"a 304 to a later request", BY_A_304, true, true},   {"a body to a later request", BY_ITS_BODY, true, true},
    };

    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        const char *name = cases[i].name;
        char path[32];

        store_case(i, path);
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
        confirm_by(cases[i].by, &leader);
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

/* Asks about what is stored, or for it, without waiting for anyone. */
static struct client asking(const char *path)
{
    struct client client = client_for(path, NULL);

    cr_assert_eq(find(&client), STORE_FOUND, "%s", path);
    cr_assert_eq(join(&client, JOIN_WITHOUT_OTHERS), JOIN_ALONE, "%s", path);
    cache_fill_sent(client.fill);
    return client;
}

/* RFC 9111 §4, §4.3.4: what confirms is the newest answer, too: one that was asked for before it comes too late. */
Test(cache_freshen, what_was_confirmed_is_not_replaced_by_one_asked_for_before)
{
    static const struct {
        const char *name;
        enum by by;
        bool committed;  /* that, before the other ends */
        bool later;      /* the other is asked for once more: then it is the newest */
        int64_t later_s; /* than what confirms is the Date of the other */
        bool stays;      /* what was confirmed */
    } cases[] = {
        {"a 304, not committed", BY_A_304, false, false, 0, true},
        {"a 304, committed", BY_A_304, true, false, 0, true},
        {"a body, not committed", BY_ITS_BODY, false, false, 0, true},
        {"a body, committed", BY_ITS_BODY, true, false, 0, true},
        {"the other was asked for later", BY_A_304, true, true, 0, false},
        {"the other was made later", BY_A_304, true, false, 1, false},
    };

    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        const char *name = cases[i].name;
        char path[32];

        store_case(i, path);
        struct client slow = asking(path);
        struct client asker = asking(path);
        cr_assert_eq(give_head(&slow, &(struct answer){.date_s = NOW_S + cases[i].later_s}), ERR_OK, "%s", name);
        give_body(&slow, 2, 0, 1000);
        confirm_by(cases[i].by, &asker);
        if (cases[i].committed) {
            write_some();
        }
        if (cases[i].later) {
            cache_fill_sent(slow.fill);
        }
        complete(&slow);
        cr_expect_eq(flight_store_reason(slow.flight) == REASON_RACED, cases[i].stays, "%s", name);
        leave(&asker);
        for (unsigned committed = 0; committed < 2; committed++) {
            expect_found(path, cases[i].stays ? 1 : 2, cases[i].stays ? "B: 2\r\n" : "A: 1\r\n", name);
            write_some();
        }
        cache_invalidate(cache, &slow.key, NULL);
        leave(&slow);
        write_some();
    }
    expect_empty_store("nothing else is left");
}

/* Of two that confirm the same the later one's fields count. */
Test(cache_freshen, of_two_304_the_most_recent_counts)
{
    store_it("/a", 1, 1000);
    write_some();
    struct client first = asking("/a"), second = asking("/a");

    confirm(&second, "B: 2\r\n");
    confirm(&first, "B: 1\r\n");
    cr_expect_eq(flight_store_reason(second.flight), REASON_UPDATED);
    cr_expect_eq(flight_store_reason(first.flight), REASON_RACED);
    expect_found("/a", 1, "B: 2\r\n", "before the commit");
    write_some();
    expect_found("/a", 1, "B: 2\r\n", "after it");
    leave(&first);
    leave(&second);
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
