/* cache_fixture.h: a cache whose disk thread's part is played by hand, and clients of it, for the tests of cache.h.
 *
 * Between two calls of `write_some` nothing is committed. What only sets up ends the process where it fails, so that a
 * forked child may use it, too. */
#ifndef TESTS_UNIT_CACHE_FIXTURE_H
#define TESTS_UNIT_CACHE_FIXTURE_H

#include <criterion/criterion.h>
#include <string.h>

#include "cache/cache.h"
#include "cache/vary.h"
#include "store_support.h"

enum {
    SLOT = 16 * STORE_PIECE_BYTES, /* what a flight hands to the disk at a time */
    QUEUE = 1024 * 1024,
    WINDOW = 128 * 1024, /* of what is not stored */
    STORE_SIZE = 64 * 1024 * 1024,
    BODY_MAX = 4 * 1024 * 1024,
    HIT_FOR_MISS_MS = 10000,
    NOW_S = 1700000000,
    LIFETIME_S = 60,
};
#define NOW_MS   (INT64_C(1000) * NOW_S)
#define MONO_MS  UINT64_C(5000000)
#define NO_LIMIT UINT64_MAX

extern char dir[SUPPORT_PATH_BYTES];
extern struct cache *cache;
extern struct cache_reader *reader;
extern struct arena arena;
extern int64_t now_ms;
extern uint64_t used_before; /* bytes of the empty store */
extern size_t stream_memory; /* of the next open_cache; 0: no limit */

/* A client: its request, what it found, what it follows. */
struct client {
    struct key key;
    struct http_request request;
    struct party party;
    unsigned wakes;
    struct cached cached;
    uint64_t generation;
    struct flight *flight;
    struct fill *fill;
};

/* What the origin answers. */
struct answer {
    const char *fields;  /* "A: 1\r\n" where NULL */
    const char *variant; /* Vary: X-Variant, for this one; NULL: no Vary */
    bool not_stored;
    bool length_known;
    uint64_t body_len;  /* if length_known */
    uint64_t max_bytes; /* 0: no limit */
    int64_t date_s;     /* 0: NOW_S */
    unsigned status;    /* 0: 200 */
};

void open_cache(uint64_t store_bytes, size_t queue_bytes);
/* Nothing more is written. Checks that everything has been given back. */
void close_cache(void);
void write_some(void);
void setup(void);
void setup_with(uint64_t store_bytes, size_t queue_bytes);
/* Writes what is queued, then closes. */
void teardown(void);
/* Is the whole body of what was found there, and of this version? */
bool reads_as(const struct cached *cached, unsigned version);
/* What a client that follows from the first byte reads now: how much, and why no more. */
uint64_t followed(struct client *client, unsigned version, enum flight_read want_last, const char *name);
struct client client_for(const char *path, const char *variant);
enum store_found find(struct client *client);
enum join join_at(struct client *client, enum join_wish wish, uint64_t monotonic_ms);
enum join join(struct client *client, enum join_wish wish);
/* Both look it up, then one leads the fetch, and the other follows it. */
void lead_and_follow(struct client *leader, struct client *follower, enum store_found want, const char *name);
void leave(struct client *client);
struct record record_of(int32_t max_age_s);
enum err give_head(struct client *client, const struct answer *answer);
void give_body(struct client *client, unsigned version, size_t from, size_t to);
void complete(struct client *client);
/* A whole fetch by a leader of its own; nothing is written to the disk. The client keeps its flight. */
struct client fetched(const char *path, const struct answer *answer, unsigned version, size_t len);
/* Fetches it and forgets the client. */
void store_it(const char *path, unsigned version, size_t len);
void expect_found(const char *path, unsigned version, const char *head, const char *name);
void expect_absent(const char *path, const char *name);
/* Nothing of any body is left: with no objects and no pins the store is as large as it was empty. */
void expect_empty_store(const char *name);
/* Makes the queue full with the pieces of fetches that are under way. */
void fill_queue(struct client clients[8]);
void end_busy(struct client clients[8]);
/* From now on commits fail; what is in the store can be read. */
void break_disk(void);
void mend_disk(void);
void confirm(struct client *client, const char *head);

#endif
