/* recount.h: counts a closed store from its tables, one row after the other, without the store's own code for
 * finding things: what the figures say must be what is there. */
#ifndef TESTS_UNIT_RECOUNT_H
#define TESTS_UNIT_RECOUNT_H

#include <stdint.h>

#include "http/buf.h"

struct recount {
    uint64_t objects;
    uint64_t used_pages;     /* of trees and values, and the two meta pages */
    uint64_t used_blocks;    /* of the body file */
    uint64_t pending_bodies; /* not finished, or not yet deleted */
};

/* Every variant in the index has its object and the other way round, every object all pieces of its body, every piece
 * its body, every row and piece its right check; every block in use belongs to one body, and the other way round; and
 * every page of the file is in use or free. False: `why` says what is not so. */
bool recount_dir(const char *dir, struct recount *out, struct buf *why);

#endif
