/* follow.h: live requests for those who follow them (/v1/log): `larder log`.
 *
 * A request that is over is offered to the followers; those whose filter it passes get its line of the access log's
 * JSON. Workers only pay while somebody follows: one load of a flag else. A worker writes lines into a buffer of its
 * own, and the main thread takes them from there; when it does not keep up, lines are lost and counted, and no worker
 * waits.
 *
 * Threads: follow_offer on the shard's thread; everything else on the main thread, which runs `mailbox`'s loop. */
#ifndef PROXY_FOLLOW_H
#define PROXY_FOLLOW_H

#include <stdatomic.h>

#include "proxy/config/network.h"
#include "proxy/io/mailbox.h"
#include "proxy/observe/access_log.h"

enum {
    FOLLOWERS_MAX = 8,
    FOLLOW_GLOB_MAX_BYTES = 512,
};

struct follow;
struct follow_shard;

/* What a follower wants to see. Zeroed: everything. */
struct follow_filter {
    char url_glob[FOLLOW_GLOB_MAX_BYTES + 1]; /* of the URL (uri_matches_pattern), its path as received */
    unsigned status_first, status_last;       /* 0, 0: any */
    bool by_outcome, by_reason, by_client;
    enum outcome outcome;
    enum reason reason; /* why it was answered so, or not stored */
    struct network client;
};

bool follow_filter_passes(const struct follow_filter *filter, const struct access_entry *entry);

struct follower {
    struct follow_filter filter; /* not to be changed while it follows */
    /* A line with its end; borrowed for the call. Must not add or remove followers. */
    void (*take)(struct follower *follower, struct span line);
    uint64_t lost; /* lines that did not reach `take` so far */
};

MUST_CHECK struct follow *follow_create(struct mailbox *mailbox); /* NULL: no memory */
void follow_destroy(struct follow *follow);                       /* after its shards and followers; accepts NULL */

MUST_CHECK struct follow_shard *follow_shard_create(struct follow *follow); /* for one worker; NULL: no memory */
void follow_retire(struct follow_shard *shard);                             /* its thread has ended; accepts NULL */

/* False: there are as many as there may be. */
MUST_CHECK bool follow_add(struct follow *follow, struct follower *follower);
void follow_remove(struct follow *follow, struct follower *follower); /* no `take` afterwards */

/* ---- the worker ---- */

/* Does anybody? `shard` may be NULL (tests of parts). */
bool follow_is_active(const struct follow_shard *shard);

void follow_offer(struct follow_shard *shard, const struct access_entry *entry);

#endif
