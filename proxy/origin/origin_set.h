/* origin_set.h: the origins of one site as all workers share them: which one is asked next, and which are in service.
 *
 * Every request to an origin begins with origin_set_choose and ends with origin_set_leave; in between its result is
 * told once or more often. Changes of an origin's health are logged here, once each. Ownership: a crew's: made
 * before its workers, freed after them. Threads: any; one mutex, held for a few comparisons. Times are loop times
 * (uv_now), which are one clock for all loops. */
#ifndef PROXY_ORIGIN_SET_H
#define PROXY_ORIGIN_SET_H

#include "proxy/config/config.h"

struct origin_set;

/* NULL: no memory. */
struct origin_set *origin_set_create(const struct site *site);
void origin_set_destroy(struct origin_set *set); /* accepts NULL */

/* What is known of the same origins of a former set goes on; for a set that nobody asks yet. */
void origin_set_inherit(struct origin_set *set, struct origin_set *former);

/* A request looks for an origin. */
struct origin_ask {
    uint64_t key;    /* balance_hash of its target */
    uint64_t tried;  /* origins it has been to: a bit each */
    uint64_t full;   /* origins at which it would wait in line */
    uint64_t now_ms; /* loop time */
};

struct origin_choice {
    size_t index; /* of the site's origins */
    bool probe;   /* it was ejected, and this request shows whether it is back */
};

/* In this order: origins in service before backups, those without a line before others, then as `balance` says. False:
 * none is left to try; for a request that tried none yet this means that checks found all of them unhealthy. */
bool origin_set_choose(struct origin_set *set, const struct origin_ask *ask, struct origin_choice *out_choice);

/* It gave no answer (`silent`), or a server error; ejects it perhaps, but never the last one in service. */
void origin_set_failed(struct origin_set *set, struct origin_choice *choice, bool silent, uint64_t now_ms);

void origin_set_answered(struct origin_set *set, struct origin_choice *choice, uint64_t now_ms);

/* The request is over. */
void origin_set_leave(struct origin_set *set, const struct origin_choice *choice);

/* A health check of the origin at `index` ended; `why` tells of a failure. */
void origin_set_checked(struct origin_set *set, size_t index, bool passed, const char *why);

/* What a request that came now would meet. */
enum origin_outlook {
    OUTLOOK_READY,       /* it would go to an origin at once */
    OUTLOOK_BUSY,        /* … wait in line */
    OUTLOOK_FAILING,     /* … go to one that has answered with errors lately: no better one is left */
    OUTLOOK_UNREACHABLE, /* none is left that has answered lately */
};

/* `full` as in origin_ask. */
enum origin_outlook origin_set_outlook(struct origin_set *set, uint64_t full, uint64_t now_ms);

/* Do requests go to the origin at `index`, or may one try it? */
bool origin_set_in_service(struct origin_set *set, size_t index, uint64_t now_ms);

enum origin_state {
    ORIGIN_IN_SERVICE,
    ORIGIN_EJECTED,   /* its answers failed */
    ORIGIN_PROBED,    /* … and one request may show, or is showing, whether it is back */
    ORIGIN_UNHEALTHY, /* its checks fail */
};

/* For people. */
struct origin_report {
    enum origin_state state;
    uint64_t out_ms;   /* ejected: until it is probed */
    unsigned failures; /* in a row */
    unsigned requests; /* under way, over all workers */
};
struct origin_report origin_set_report(struct origin_set *set, size_t index, uint64_t now_ms);
const char *origin_state_text(enum origin_state state); /* "in-service", … */

#endif
