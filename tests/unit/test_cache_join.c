/* test_cache_join.c: one fetch a key: who leads it, who follows, and who goes alone. */
#include "cache_fixture.h"

TestSuite(cache_join, .init = setup, .fini = teardown);

Test(cache_join, one_leads_others_follow_or_go_alone)
{
    struct client leader = client_for("/a", NULL), follower = client_for("/a", NULL), alone = client_for("/a", NULL);
    struct client behind = client_for("/a", NULL), other = client_for("/b", NULL);

    cr_expect_eq(find(&leader), STORE_ABSENT);
    cr_expect_eq(find(&follower), STORE_ABSENT);
    cr_expect_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    cr_expect_not_null(leader.fill);
    cr_expect_eq(join(&follower, JOIN_WITH_OTHERS), JOIN_FOLLOW);
    cr_expect_eq(follower.flight, leader.flight);
    cr_expect(follower.party.linked);
    cr_expect_null(follower.fill);
    cr_expect_eq(join(&behind, JOIN_ONLY_LEAD), JOIN_FOLLOW, "someone is fetching it already");
    cr_expect_null(behind.flight);
    cr_expect_not(behind.party.linked);
    cr_expect_eq(join(&alone, JOIN_WITHOUT_OTHERS), JOIN_ALONE);
    cr_expect_neq(alone.flight, leader.flight);
    (void)find(&other);
    cr_expect_eq(join(&other, JOIN_WITH_OTHERS), JOIN_LEAD, "another key");
    cache_fill_refuse(leader.fill);
    cr_expect_eq(flight_phase(follower.flight), FLIGHT_REFUSED);
    cr_expect_eq(follower.wakes, 1);
    leave(&follower);
    (void)find(&follower);
    cr_expect_eq(join(&follower, JOIN_WITH_OTHERS), JOIN_LEAD, "join again; the one alone is nobody's leader");
    cache_fill_fail(follower.fill, ERR_TIMEOUT);
    cache_fill_fail(alone.fill, ERR_TIMEOUT);
    cache_fill_fail(other.fill, ERR_TIMEOUT);
    cr_expect_eq(flight_phase(follower.flight), FLIGHT_FAILED);
    struct client next = client_for("/a", NULL);
    (void)find(&next);
    cr_expect_eq(join(&next, JOIN_ONLY_LEAD), JOIN_LEAD);
    cache_fill_refuse(next.fill);
    struct client *all[] = {&leader, &follower, &alone, &other, &next};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        leave(all[i]);
    }
    expect_absent("/a", "nothing came of it");
}

/* Between the last one's leaving and the fetch's noticing it there is time to join. */
Test(cache_join, who_joins_what_nobody_wants_any_more_joins_again)
{
    struct client leader = client_for("/a", NULL), late = client_for("/a", NULL);

    (void)find(&leader);
    (void)find(&late);
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    flight_follow(leader.flight, &leader.party);
    flight_unfollow(leader.flight, &leader.party);
    cr_expect_not(flight_wanted(leader.flight));
    cr_assert_eq(join(&late, JOIN_WITH_OTHERS), JOIN_FOLLOW);
    cache_fill_cancel(leader.fill);
    cr_expect_eq(flight_phase(late.flight), FLIGHT_REFUSED);
    cr_expect_eq(late.wakes, 1);
    leave(&late);
    leave(&leader);
    (void)find(&late);
    cr_assert_eq(join(&late, JOIN_WITH_OTHERS), JOIN_LEAD);
    cr_assert_eq(give_head(&late, &(struct answer){.variant = NULL}), ERR_OK);
    cache_fill_cancel(late.fill);
    cr_expect_eq(flight_phase(late.flight), FLIGHT_FAILED, "a body that has begun breaks off");
    cr_expect_eq(flight_error(late.flight), ERR_CANCELED);
    leave(&late);
}

Test(cache_join, who_may_follow_once_the_head_is_there)
{
    static const struct {
        const char *name, *variant;
        bool not_stored, fresh;
        enum join want;
    } cases[] = {
        {"a request that selects it", "one", false, true, JOIN_FOLLOW},
        {"another variant", "two", false, true, JOIN_LEAD},
        {"no field at all", NULL, false, true, JOIN_LEAD},
        {"stale by now", "one", false, false, JOIN_LEAD},
        {"not shared: it goes alone at once", "one", true, true, JOIN_ALONE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span path;
        cr_assert(arena_format(&arena, &path, "/%zu%c", i, 0));
        struct client leader = client_for(path.data, "one"), late = client_for(path.data, cases[i].variant);

        (void)find(&leader);
        (void)find(&late);
        cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
        cr_assert_eq(give_head(&leader, &(struct answer){.variant = "one", .not_stored = cases[i].not_stored}), ERR_OK);
        now_ms = cases[i].fresh ? NOW_MS : NOW_MS + 1000 * LIFETIME_S;
        cr_expect_eq(flight_head(leader.flight)->shared, !cases[i].not_stored, "%s", cases[i].name);
        enum join got = join(&late, JOIN_WITH_OTHERS);
        cr_expect_eq(got, cases[i].want, "%s: %d", cases[i].name, (int)got);
        if (late.fill != NULL) {
            cache_fill_refuse(late.fill);
        }
        cache_fill_fail(leader.fill, ERR_RESET);
        leave(&late);
        leave(&leader);
    }
}

Test(cache_join, hit_for_miss)
{
    struct client leader = client_for("/a", NULL), waiting = client_for("/a", NULL);
    static const struct {
        const char *name;
        uint64_t after_ms;
        enum join_wish wish;
        enum join want;
    } cases[] = {
        {"at once", 0, JOIN_WITH_OTHERS, JOIN_ALONE},
        {"to the last millisecond", HIT_FOR_MISS_MS - 1, JOIN_WITH_OTHERS, JOIN_ALONE},
        {"a revalidation behind does not care", 0, JOIN_ONLY_LEAD, JOIN_LEAD},
        {"no longer", HIT_FOR_MISS_MS, JOIN_WITH_OTHERS, JOIN_LEAD},
    };

    (void)find(&leader);
    (void)find(&waiting);
    cr_assert_eq(join(&leader, JOIN_WITH_OTHERS), JOIN_LEAD);
    cr_assert_eq(join(&waiting, JOIN_WITH_OTHERS), JOIN_FOLLOW);
    cr_assert_eq(give_head(&leader, &(struct answer){.not_stored = true}), ERR_OK);
    cr_expect_eq(waiting.wakes, 1);
    cr_expect_not(cache_flight_serves(waiting.flight, &waiting.request, NOW_MS, &arena), "it is sent away");
    leave(&waiting);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client next = client_for("/a", NULL);
        (void)find(&next);
        cr_expect_eq(join_at(&next, cases[i].wish, MONO_MS + cases[i].after_ms), cases[i].want, "%s", cases[i].name);
        cache_fill_refuse(next.fill);
        leave(&next);
    }
    give_body(&leader, 1, 0, 1000);
    complete(&leader);
    cr_expect_eq(flight_store_reason(leader.flight), REASON_NO_STORE, "the reason stays");
    leave(&leader);
    store_it("/a", 2, 10);
    struct client next = client_for("/a", NULL);
    (void)find(&next);
    cr_expect_eq(join(&next, JOIN_WITH_OTHERS), JOIN_LEAD, "what was stored ends it");
    cache_fill_refuse(next.fill);
    leave(&next);
}

Test(cache_join, many_notes_are_bounded_and_forgotten)
{
    for (unsigned i = 0; i < 64 * 256 + 5000; i++) {
        char path[32];
        snprintf(path, sizeof(path), "/%u", i);
        struct client client = client_for(path, NULL);
        cr_assert_eq(join_at(&client, JOIN_ONLY_LEAD, MONO_MS), JOIN_LEAD);
        cr_assert_eq(give_head(&client, &(struct answer){.not_stored = true}), ERR_OK);
        cache_fill_fail(client.fill, ERR_RESET);
        leave(&client);
    }
}

Test(cache_join, look_again_when_something_was_stored_in_between)
{
    struct client before = client_for("/a", NULL);

    cr_expect_eq(find(&before), STORE_ABSENT);
    store_it("/a", 1, 100);
    cr_expect_eq(join(&before, JOIN_WITH_OTHERS), JOIN_LOOK_AGAIN, "settled");
    cr_expect_null(before.flight);
    cr_expect_eq(join(&before, JOIN_ONLY_LEAD), JOIN_LOOK_AGAIN);
    cr_expect_eq(find(&before), STORE_FOUND);
    write_some();
    cr_expect_eq(join(&before, JOIN_WITH_OTHERS), JOIN_LOOK_AGAIN, "committed");
    cr_expect_eq(find(&before), STORE_FOUND);
    cache_invalidate(cache, &before.key, NULL);
    write_some();
    cr_expect_eq(join(&before, JOIN_WITH_OTHERS), JOIN_LOOK_AGAIN, "removed");
    cr_expect_eq(join(&before, JOIN_WITHOUT_OTHERS), JOIN_ALONE, "who goes alone does not care");
    cache_fill_refuse(before.fill);
    leave(&before);
}

Test(cache_join, a_pass_has_nothing_to_do_with_the_cache)
{
    struct client client = client_for("/a", NULL);

    cr_assert(cache_pass(cache, &client.flight, &client.fill));
    flight_follow(client.flight, &client.party);
    cr_assert_eq(give_head(&client, &(struct answer){.not_stored = true}), ERR_OK);
    give_body(&client, 1, 0, 100000);
    cr_expect_eq(followed(&client, 1, FLIGHT_READ_WAIT, "a pass"), 100000);
    complete(&client);
    cr_expect_eq(followed(&client, 1, FLIGHT_READ_END, "a pass"), 100000);
    leave(&client);
    expect_empty_store("a pass");
}
