/* flight_fixture.c: see flight_fixture.h. */
#include "flight_fixture.h"

#include <criterion/criterion.h>
#include <string.h>

char body[BODY_MAX];
struct flight *flight;

static void on_wake(struct party *party)
{
    CONTAINER_OF(party, struct waiter, party)->wakes++;
}

struct waiter waiter_new(void)
{
    return (struct waiter){.party.wake = on_wake};
}

void flight_begin(void)
{
    for (size_t i = 0; i < BODY_MAX; i++) {
        body[i] = (char)(i * 7 + i / 253);
    }
    flight = flight_create(SPAN("GET http://a.test/"), WINDOW, NULL);
    cr_assert_not_null(flight);
}

void flight_end(void)
{
    flight_unref(flight);
}

void append(size_t count)
{
    size_t at = (size_t)(flight_length(flight) - flight_body_offset(flight));

    cr_assert_leq(at + count, BODY_MAX);
    cr_assert_eq(flight_append(flight, (struct span){body + at, count}), ERR_OK);
}

enum flight_read read_all(uint64_t from, uint64_t *out_read)
{
    uint64_t at = from;
    enum flight_read result;

    for (;;) {
        struct segment *segment;
        struct span run;
        result = flight_read(flight, flight_body_offset(flight) + at, &segment, &run);
        if (result != FLIGHT_READ_DATA) {
            break;
        }
        cr_assert_gt(run.len, 0);
        cr_expect_eq(memcmp(run.data, body + at, run.len), 0, "the bytes at %zu", (size_t)at);
        at += run.len;
        segment_unref(segment);
    }
    *out_read = at - from;
    return result;
}
