/* flight_fixture.h: one fetch's bytes for each test of a program, who follows it, and what is read of it. */
#ifndef TESTS_UNIT_FLIGHT_FIXTURE_H
#define TESTS_UNIT_FLIGHT_FIXTURE_H

#include "cache/flight.h"

enum {
    SLOT = 16 * STORE_PIECE_BYTES, /* what is written, and given back, at a time */
    WINDOW = 3 * SLOT,
    BODY_MAX = 1024 * 1024,
};

/* A party, and how often it was woken. */
struct waiter {
    struct party party;
    unsigned wakes;
};

extern char body[BODY_MAX];
extern struct flight *flight;

struct waiter waiter_new(void);

/* A flight without a head, with a window of WINDOW. */
void flight_begin(void);
void flight_end(void);

/* Appends `count` bytes of the body behind what is there. */
void append(size_t count);

/* Reads body bytes from `from` as far as they go, comparing; what the last read said. */
enum flight_read read_all(uint64_t from, uint64_t *out_read);

#endif
