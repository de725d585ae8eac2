/* health.h: whether an origin may be asked: by the answers it gives to clients' requests, and by checks of our own.
 *
 * Answers: so many failures in a row within HEALTH_WINDOW_MS eject it for a time. When that is over one request goes to
 * it, as a probe: an answer brings it back, a failure ejects it again, for twice as long (up to HEALTH_MAX_DOUBLINGS
 * times). Having been back for as long as it was out, it starts afresh.
 * Checks: so many failed in a row make it unhealthy, so many passed healthy again.
 *
 * Functions of their arguments; times are of one monotonic clock. Threads: the caller guards the struct. */
#ifndef PROXY_HEALTH_H
#define PROXY_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

enum { HEALTH_WINDOW_MS = 60 * 1000, HEALTH_MAX_DOUBLINGS = 5 };

/* Zeroed: in service, nothing known. */
struct health {
    bool ejected;
    bool probing; /* ejected, and the probe is under way */
    bool unhealthy;
    unsigned failures;         /* in a row */
    unsigned silences;         /* … without any answer; goes on counting while it is ejected */
    unsigned ejections;        /* since it was last well for long enough */
    uint64_t first_failure_ms; /* of those in a row */
    uint64_t until_ms;         /* ejected: the probe may go then */
    uint64_t back_ms;          /* when it came back last */
    unsigned checks;           /* in a row that contradict `unhealthy` */
};

struct health_rules {
    unsigned eject_after;   /* failures in a row; 0: never */
    uint64_t eject_time_ms; /* the first time */
    unsigned healthy;       /* checks in a row */
    unsigned unhealthy;
};

enum health_change {
    HEALTH_SAME,
    HEALTH_EJECTED,
    HEALTH_BACK,
    HEALTH_UNHEALTHY,
    HEALTH_HEALTHY,
};

/* Is it in service, or due for a probe? */
bool health_allows(const struct health *health, uint64_t now_ms);

/* A request goes to it. True: as the probe, whose end must be told. */
bool health_ask(struct health *health, uint64_t now_ms);

/* A request that failed. */
struct health_failure {
    bool silent;    /* no answer came at all */
    bool probe;     /* while it is ejected only the probe counts */
    bool may_eject; /* others are in service: the last one is never ejected */
};

enum health_change health_failed(struct health *health, const struct health_rules *rules,
                                 const struct health_failure *failure, uint64_t now_ms);
enum health_change health_answered(struct health *health, bool probe, uint64_t now_ms);

/* The probe ended without telling anything. */
void health_probe_lost(struct health *health);

/* How long it is out, when it was ejected just now. */
uint64_t health_ejection_ms(const struct health *health, const struct health_rules *rules);

enum health_change health_checked(struct health *health, const struct health_rules *rules, bool passed);

#endif
