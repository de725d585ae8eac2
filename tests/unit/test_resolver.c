/* test_resolver.c: a system resolver that answers when the test says so. */
#include "proxy/origin/resolver.h"

#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>

#include "loop_support.h"

/* Stands in front of the C library's. */
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool asked;
static atomic_bool told;

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **out_list)
{
    (void)service;
    (void)hints;
    (void)out_list;
    cr_assert_str_eq(name, "origin.test");
    atomic_store(&asked, true);
    pthread_mutex_lock(&held);
    pthread_mutex_unlock(&held);
    atomic_store(&told, true);
    return EAI_NONAME;
}

static struct loop_fixture fixture;
static const struct origin_url url = {.text = "http://origin.test", .host = "origin.test", .port = 80};
static struct resolver resolver;
static bool answered;
static enum err answer;

static void on_answered(struct resolver *which, enum err error)
{
    cr_assert_eq(which, &resolver);
    cr_assert_not(answered, "once");
    answered = true;
    answer = error;
}

static void setup(void)
{
    fixture_init(&fixture);
    answered = false;
    resolver_init(&resolver, &fixture.worker, &url, on_answered);
}

static void wait_for(const atomic_bool *flag)
{
    while (!atomic_load(flag)) {
        fixture_run_for(&fixture, 1);
    }
}

Test(resolver, a_failed_look_up_is_told, .init = setup)
{
    cr_expect_eq(resolver_refresh(&resolver), ERR_OK);
    cr_expect_not(answered, "never before it has returned");
    fixture_run_until(&fixture, &answered);
    cr_expect_eq(answer, ERR_RESOLVE);
    answered = false;
    cr_expect_eq(resolver_refresh(&resolver), ERR_OK);
    fixture_run_until(&fixture, &answered); /* the next request asks again */
    resolver_stop(&resolver);
    fixture_finish(&fixture);
}

Test(resolver, a_stop_does_not_wait_for_a_look_up_that_hangs, .init = setup)
{
    pthread_mutex_lock(&held);
    cr_expect_eq(resolver_refresh(&resolver), ERR_OK);
    wait_for(&asked);
    resolver_stop(&resolver);
    fixture_finish(&fixture); /* the loop ends, and its memory may go */
    cr_expect_not(atomic_load(&told));
    cr_expect_not(answered);
    pthread_mutex_unlock(&held);
}

Test(resolver, an_answer_that_nobody_has_read_yet_is_dropped, .init = setup)
{
    cr_expect_eq(resolver_refresh(&resolver), ERR_OK);
    while (!atomic_load(&told)) {
    }
    resolver_stop(&resolver);
    fixture_run_for(&fixture, 5);
    cr_expect_not(answered);
    fixture_finish(&fixture);
}

Test(resolver, stopped_it_asks_no_more, .init = setup)
{
    resolver_stop(&resolver);
    cr_expect_eq(resolver_refresh(&resolver), ERR_RESOLVE);
    cr_expect_not(atomic_load(&asked));
    fixture_finish(&fixture);
}
