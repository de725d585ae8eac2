/* purge_set.h: the purges in force, in memory: what every look-up asks.
 *
 * Names that are compared whole (URLs, tags, groups, hosts) lie in a hash table, prefixes, globs and host suffixes in a
 * list; both have a limit. A response whose birth is not older than the newest purge costs one comparison; another one
 * a probe for each kind that has a row younger than it, and a walk of the list. Its tags and groups are read from its
 * head only where such a row exists.
 *
 * Threads: readers from any thread, without locks, each with a struct purge_reader of its own; everything that changes
 * the set from one thread at a time. Tables that a change has replaced are freed when no reader is inside.
 *
 * Hashes are 64 bits seeded with the store's secret: nobody can choose names that collide, and a collision costs a
 * needless miss. */
#ifndef CACHE_PURGE_SET_H
#define CACHE_PURGE_SET_H

#include "cache/key.h"
#include "cache/purge.h"
#include "http/error.h"

enum {
    PURGE_SET_MAX_NAMES = 128 * 1024, /* 8 MiB */
    PURGE_SET_MAX_PATTERNS = 128,     /* matched one by one: a few microseconds for all */
};

struct purge_set;
struct purge_reader;

MUST_CHECK struct purge_set *purge_set_create(uint64_t secret); /* NULL: no memory */
void purge_set_destroy(struct purge_set *set);                  /* after its readers; accepts NULL */

/* NULL: no memory. Any thread. */
MUST_CHECK struct purge_reader *purge_reader_create(struct purge_set *set);
void purge_reader_destroy(struct purge_reader *reader); /* accepts NULL */

/* ---- asking ---- */

/* The sequence of the newest purge: the birth of what is asked of an origin now. Any thread. */
uint64_t purge_set_newest(const struct purge_set *set);

/* Rows below this sequence cannot be asked any more. Read before a look-up and again behind purge_set_judge: equal, no
 * row that names what was found has gone in between. Any thread. */
uint64_t purge_set_trimmed(const struct purge_set *set);

/* A response that was found. */
struct purge_subject {
    struct key_hash hash; /* of the URL's key; zero: it is computed from `url` */
    struct span url;      /* scheme://authority/path?query */
    struct span head;     /* as stored: tags and groups are read from it; without data: not known, so it may have any */
    uint64_t birth;
};

enum purge_effect {
    PURGED_NOT,
    PURGED_SOFT,
    PURGED_HARD,
};

struct purge_verdict {
    enum purge_effect effect;
    struct purge purge; /* the newest that made it so; of a soft one the time of the oldest that names it (of one name,
                           the last counts). Its name is the arena's */
};

/* What the purges in force make of it. Where its head cannot be read or the arena is at its limit, and a tag or group
 * might name it, it counts as dead. */
struct purge_verdict purge_set_judge(struct purge_reader *reader, const struct purge_subject *subject,
                                     struct arena *arena);

/* ---- changing ---- */

/* Is there room for this and, with it, `count` of its kind? A host may go a little beyond the limit, everything does.
 */
bool purge_set_has_room(const struct purge_set *set, const struct purge *purge, size_t count);

/* How full it is, of the limits, in percent. */
unsigned purge_set_fill_percent(const struct purge_set *set);

/* In force from now on for what was born before; give it a sequence above all others. `*out_replaced` is the sequence
 * of the same purge asked for before, or 0. ERR_LIMIT, ERR_NO_MEMORY. */
MUST_CHECK enum err purge_set_add(struct purge_set *set, const struct purge *purge, uint64_t *out_replaced);

/* A row of the journal, before anything was published. One that cannot be read might have named anything, and one that
 * there is no room for is not forgotten: either purges everything. ERR_NO_MEMORY. */
MUST_CHECK enum err purge_set_load(struct purge_set *set, uint64_t sequence, struct span row);

/* What is asked of an origin after the return is born with this sequence; look-ups that start then see every purge up
 * to it. */
void purge_set_publish(struct purge_set *set, uint64_t sequence);

/* Drops the rows below `sequence`: the caller knows that they name nothing that lives. No memory: they stay. */
void purge_set_trim(struct purge_set *set, uint64_t sequence);

#endif
