/* origin_set.c: health and balance of a site's origins under one lock. See origin_set.h. */
#include "proxy/origin/origin_set.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/io/log.h"
#include "proxy/origin/health.h"

struct origin_set {
    const struct site *site;
    struct health_rules rules;
    pthread_mutex_t mutex; /* guards what follows */
    struct health health[BALANCE_MAX_CANDIDATES];
    struct candidate candidates[BALANCE_MAX_CANDIDATES]; /* in the order of the site's origins */
};

/* Who may be chosen, from the best to the last resort. */
enum tier {
    TIER_IN_SERVICE,
    TIER_BACKUP,
    TIER_EJECTED, /* the checks that an origin passes weigh more than the answers it gave */
};

struct origin_set *origin_set_create(const struct site *site)
{
    struct origin_set *set = calloc(1, sizeof(*set));

    REQUIRE(site->origin_count <= BALANCE_MAX_CANDIDATES);
    if (set == NULL) {
        return NULL;
    }
    set->site = site;
    set->rules = (struct health_rules){.eject_after = site->eject_after,
                                       .eject_time_ms = site->eject_time_ms,
                                       .healthy = site->check.healthy,
                                       .unhealthy = site->check.unhealthy};
    for (size_t i = 0; i < site->origin_count; i++) {
        set->candidates[i].weight = site->origins[i].weight;
        set->candidates[i].id = balance_hash(span_of(site->origins[i].text));
    }
    REQUIRE(pthread_mutex_init(&set->mutex, NULL) == 0);
    return set;
}

void origin_set_destroy(struct origin_set *set)
{
    if (set != NULL) {
        pthread_mutex_destroy(&set->mutex);
        free(set);
    }
}

/* `former` as the rules of `set` see it: the probe under way reports to the former set, and without checks nothing
 * would make an origin healthy again. */
static struct health inherited(const struct origin_set *set, struct health former)
{
    former.probing = false;
    if (set->site->check.path == NULL) {
        former.unhealthy = false;
        former.checks = 0;
    }
    if (set->rules.eject_after == 0) {
        former.ejected = false;
    }
    return former;
}

void origin_set_inherit(struct origin_set *set, struct origin_set *former)
{
    pthread_mutex_lock(&former->mutex);
    for (size_t i = 0; i < set->site->origin_count; i++) {
        for (size_t k = 0; k < former->site->origin_count; k++) {
            if (strcmp(set->site->origins[i].text, former->site->origins[k].text) == 0) {
                set->health[i] = inherited(set, former->health[k]);
                break;
            }
        }
    }
    pthread_mutex_unlock(&former->mutex);
}

static bool has_bit(uint64_t bits, size_t index)
{
    return (bits >> index & 1) != 0;
}

static bool is_in_tier(const struct origin_set *set, size_t index, enum tier tier, uint64_t now_ms)
{
    const struct health *health = &set->health[index];

    switch (tier) {
    case TIER_IN_SERVICE:
        return !set->site->origins[index].backup && health_allows(health, now_ms);
    case TIER_BACKUP:
        return set->site->origins[index].backup && health_allows(health, now_ms);
    case TIER_EJECTED:
        return !health->unhealthy;
    }
    UNREACHABLE();
}

/* Of those in the tier that were not tried, one without a line if there is any. */
static int choose_in_tier(struct origin_set *set, const struct origin_ask *ask, enum tier tier)
{
    size_t count = set->site->origin_count;
    uint64_t excluded = ask->tried | ask->full;
    int best = BALANCE_NONE;

    for (unsigned round = 0; round < 2 && best == BALANCE_NONE; round++) {
        for (size_t i = 0; i < count; i++) {
            set->candidates[i].eligible = !has_bit(excluded, i) && is_in_tier(set, i, tier, ask->now_ms);
        }
        best = balance_choose(set->site->balance, set->candidates, count, ask->key);
        excluded = ask->tried;
    }
    return best;
}

bool origin_set_choose(struct origin_set *set, const struct origin_ask *ask, struct origin_choice *out_choice)
{
    /* Where something was tried already, an ejected one is no better than none. */
    enum tier last = ask->tried == 0 ? TIER_EJECTED : TIER_BACKUP;
    int best = BALANCE_NONE;

    pthread_mutex_lock(&set->mutex);
    for (enum tier tier = TIER_IN_SERVICE; tier <= last && best == BALANCE_NONE; tier++) {
        best = choose_in_tier(set, ask, tier);
    }
    if (best != BALANCE_NONE) {
        set->candidates[best].requests++;
        *out_choice =
            (struct origin_choice){.index = (size_t)best, .probe = health_ask(&set->health[best], ask->now_ms)};
    }
    pthread_mutex_unlock(&set->mutex);
    return best != BALANCE_NONE;
}

static bool others_are_in_service(const struct origin_set *set, size_t index)
{
    for (size_t i = 0; i < set->site->origin_count; i++) {
        if (i != index && !set->health[i].ejected && !set->health[i].unhealthy) {
            return true;
        }
    }
    return false;
}

void origin_set_failed(struct origin_set *set, struct origin_choice *choice, bool silent, uint64_t now_ms)
{
    struct health *health = &set->health[choice->index];

    pthread_mutex_lock(&set->mutex);
    struct health_failure failure = {
        .silent = silent, .probe = choice->probe, .may_eject = others_are_in_service(set, choice->index)};
    enum health_change change = health_failed(health, &set->rules, &failure, now_ms);
    uint64_t out_ms = change == HEALTH_EJECTED ? health_ejection_ms(health, &set->rules) : 0;
    choice->probe = false; /* it has told */
    pthread_mutex_unlock(&set->mutex);
    if (change == HEALTH_EJECTED) {
        log_warn("origin ejected, it fails origin=%s site=%s for_ms=%llu", set->site->origins[choice->index].text,
                 log_quoted(span_of(set->site->name)).text, (unsigned long long)out_ms);
    }
}

void origin_set_answered(struct origin_set *set, struct origin_choice *choice, uint64_t now_ms)
{
    pthread_mutex_lock(&set->mutex);
    enum health_change change = health_answered(&set->health[choice->index], choice->probe, now_ms);
    choice->probe = false; /* it has told */
    pthread_mutex_unlock(&set->mutex);
    if (change == HEALTH_BACK) {
        log_info("origin is back, it answers origin=%s site=%s", set->site->origins[choice->index].text,
                 log_quoted(span_of(set->site->name)).text);
    }
}

void origin_set_leave(struct origin_set *set, const struct origin_choice *choice)
{
    pthread_mutex_lock(&set->mutex);
    REQUIRE(set->candidates[choice->index].requests > 0);
    set->candidates[choice->index].requests--;
    if (choice->probe) {
        health_probe_lost(&set->health[choice->index]);
    }
    pthread_mutex_unlock(&set->mutex);
}

void origin_set_checked(struct origin_set *set, size_t index, bool passed, const char *why)
{
    pthread_mutex_lock(&set->mutex);
    enum health_change change = health_checked(&set->health[index], &set->rules, passed);
    pthread_mutex_unlock(&set->mutex);
    if (change == HEALTH_UNHEALTHY) {
        log_warn("origin unhealthy, its checks fail origin=%s site=%s check=%s", set->site->origins[index].text,
                 log_quoted(span_of(set->site->name)).text, why);
    } else if (change == HEALTH_HEALTHY) {
        log_info("origin healthy, its checks pass origin=%s site=%s", set->site->origins[index].text,
                 log_quoted(span_of(set->site->name)).text);
    }
}

/* Nothing is known against it. */
static bool is_well(const struct origin_set *set, size_t index)
{
    const struct health *health = &set->health[index];

    return !health->ejected && !health->unhealthy &&
           (set->rules.eject_after == 0 || health->failures < set->rules.eject_after);
}

static bool is_silent(const struct origin_set *set, size_t index)
{
    const struct health *health = &set->health[index];

    return health->unhealthy || (set->rules.eject_after > 0 && health->silences >= set->rules.eject_after);
}

enum origin_outlook origin_set_outlook(struct origin_set *set, uint64_t full, uint64_t now_ms)
{
    bool well = false;
    bool silent = true;
    bool room[TIER_EJECTED] = {false};
    bool any[TIER_EJECTED] = {false};

    pthread_mutex_lock(&set->mutex);
    for (size_t i = 0; i < set->site->origin_count; i++) {
        well = well || is_well(set, i);
        silent = silent && is_silent(set, i);
        for (enum tier tier = TIER_IN_SERVICE; tier < TIER_EJECTED; tier++) {
            bool in_tier = is_in_tier(set, i, tier, now_ms);
            any[tier] = any[tier] || in_tier;
            room[tier] = room[tier] || (in_tier && !has_bit(full, i));
        }
    }
    pthread_mutex_unlock(&set->mutex);
    if (!well) {
        return silent ? OUTLOOK_UNREACHABLE : OUTLOOK_FAILING;
    }
    return room[any[TIER_IN_SERVICE] ? TIER_IN_SERVICE : TIER_BACKUP] ? OUTLOOK_READY : OUTLOOK_BUSY;
}

bool origin_set_in_service(struct origin_set *set, size_t index, uint64_t now_ms)
{
    pthread_mutex_lock(&set->mutex);
    bool allows = health_allows(&set->health[index], now_ms);
    pthread_mutex_unlock(&set->mutex);
    return allows;
}

struct origin_report origin_set_report(struct origin_set *set, size_t index, uint64_t now_ms)
{
    pthread_mutex_lock(&set->mutex);
    const struct health *health = &set->health[index];
    struct origin_report report = {.failures = health->failures, .requests = set->candidates[index].requests};
    if (health->unhealthy) {
        report.state = ORIGIN_UNHEALTHY;
    } else if (health->ejected && !health->probing && health->until_ms > now_ms) {
        report.state = ORIGIN_EJECTED;
        report.out_ms = health->until_ms - now_ms;
    } else if (health->ejected) {
        report.state = ORIGIN_PROBED;
    }
    pthread_mutex_unlock(&set->mutex);
    return report;
}

const char *origin_state_text(enum origin_state state)
{
    switch (state) {
    case ORIGIN_IN_SERVICE:
        return "in-service";
    case ORIGIN_EJECTED:
        return "ejected";
    case ORIGIN_PROBED:
        return "probed";
    case ORIGIN_UNHEALTHY:
        return "unhealthy";
    }
    UNREACHABLE();
}
