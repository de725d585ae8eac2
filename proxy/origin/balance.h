/* balance.h: which of a site's origins a request goes to: a choice among candidates, and nothing else.
 *
 * Functions of their arguments: what an origin is doing and whether it may be asked is told by the caller. Threads: any
 * (round robin's credit is the caller's). Errors: none. */
#ifndef PROXY_BALANCE_H
#define PROXY_BALANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/span.h"

enum balance {
    BALANCE_ROUND_ROBIN,       /* in turn, each as often as its weight says */
    BALANCE_LEAST_CONNECTIONS, /* the one with the fewest requests for its weight; in turn among equals */
    BALANCE_HASH,              /* by key: the same origin for the same key, while it is there */
};

struct candidate {
    bool eligible;     /* may be chosen */
    unsigned weight;   /* 1 and up */
    uint64_t id;       /* balance_hash of its URL: its place among the keys, whatever its place in the list */
    unsigned requests; /* under way at it */
    int64_t credit;    /* round robin's account, kept from one choice to the next; 0 at first */
};

enum { BALANCE_NONE = -1, BALANCE_MAX_CANDIDATES = 64 };

/* The chosen one's index, or BALANCE_NONE where none is eligible. At most BALANCE_MAX_CANDIDATES.
 *
 * Round robin spreads each origin's turns evenly over the round, and with weight 2 and 1 goes a b a, not a a b.
 * The hash is rendezvous hashing: every origin draws a number from the key, the best one has it. When an origin goes,
 * only its own keys move, and they go to all others; when it comes back they return. An origin that has more than 5/4
 * of its fair share of the requests under way is passed over (bounded load), so one hot key does not fill one origin.
 */
int balance_choose(enum balance how, struct candidate *candidates, size_t count, uint64_t key);

const char *balance_name(enum balance how); /* as the configuration has it */

/* The same for the same text, in every process. */
uint64_t balance_hash(struct span text);

#endif
