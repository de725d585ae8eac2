/* health.c: counting failures and checks. See health.h. */
#include "proxy/origin/health.h"

bool health_allows(const struct health *health, uint64_t now_ms)
{
    return !health->unhealthy && (!health->ejected || (!health->probing && now_ms >= health->until_ms));
}

bool health_ask(struct health *health, uint64_t now_ms)
{
    if (!health->ejected || health->probing || now_ms < health->until_ms) {
        return false;
    }
    health->probing = true;
    return true;
}

uint64_t health_ejection_ms(const struct health *health, const struct health_rules *rules)
{
    unsigned doublings = health->ejections - 1;

    return rules->eject_time_ms << (doublings < HEALTH_MAX_DOUBLINGS ? doublings : HEALTH_MAX_DOUBLINGS);
}

static enum health_change eject(struct health *health, const struct health_rules *rules, uint64_t now_ms)
{
    health->ejected = true;
    health->probing = false;
    health->failures = 0;
    health->ejections++;
    health->until_ms = now_ms + health_ejection_ms(health, rules);
    return HEALTH_EJECTED;
}

enum health_change health_failed(struct health *health, const struct health_rules *rules,
                                 const struct health_failure *failure, uint64_t now_ms)
{
    health->silences = failure->silent ? health->silences + 1 : 0;
    if (health->ejected) {
        return failure->probe ? eject(health, rules, now_ms) : HEALTH_SAME;
    }
    if (health->failures == 0 || now_ms - health->first_failure_ms > HEALTH_WINDOW_MS) {
        health->failures = 0;
        health->first_failure_ms = now_ms;
    }
    health->failures++;
    if (rules->eject_after == 0 || health->failures < rules->eject_after || !failure->may_eject) {
        return HEALTH_SAME;
    }
    if (health->ejections > 0 && now_ms - health->back_ms >= health_ejection_ms(health, rules)) {
        health->ejections = 0;
    }
    return eject(health, rules, now_ms);
}

enum health_change health_answered(struct health *health, bool probe, uint64_t now_ms)
{
    health->silences = 0;
    if (!health->ejected) {
        health->failures = 0;
        return HEALTH_SAME;
    }
    if (!probe) {
        return HEALTH_SAME; /* an answer to what was asked before it was ejected */
    }
    health->ejected = false;
    health->probing = false;
    health->back_ms = now_ms;
    return HEALTH_BACK;
}

void health_probe_lost(struct health *health)
{
    health->probing = false;
}

enum health_change health_checked(struct health *health, const struct health_rules *rules, bool passed)
{
    unsigned needed = health->unhealthy ? rules->healthy : rules->unhealthy;

    if (passed != health->unhealthy) { /* as it was */
        health->checks = 0;
        return HEALTH_SAME;
    }
    health->checks++;
    if (health->checks < needed) {
        return HEALTH_SAME;
    }
    health->checks = 0;
    health->unhealthy = !passed;
    return passed ? HEALTH_HEALTHY : HEALTH_UNHEALTHY;
}
