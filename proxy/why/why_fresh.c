/* why_fresh.c: where a lifetime and the windows behind it came from, for `larder why`. The numbers are policy.c's and
 * freshness.c's; this names their source. */
#include "http/targeted.h"
#include "proxy/why/why.h"

/* The field whose directives counted when the response came: the first target that is valid, else Cache-Control. */
static struct span directives_field(const struct why *why, const struct why_variant *variant)
{
    struct response_directives directives;

    for (size_t i = 0; i < why->config->cache.target_count; i++) {
        struct span target = why->config->cache.targets[i];
        if (directives_of_targeted(&variant->headers, target, why->arena, &directives)) {
            return target;
        }
    }
    return SPAN("Cache-Control");
}

struct why_lifetime why_lifetime_of(const struct why *why, const struct why_variant *variant)
{
    switch (variant->freshness.source) {
    case LIFETIME_NONE:
        return (struct why_lifetime){.source = "none", .section = "RFC 9111 4.2.1"};
    case LIFETIME_S_MAXAGE:
        return (struct why_lifetime){
            .source = "s-maxage", .field = directives_field(why, variant), .section = "RFC 9111 5.2.2.10"};
    case LIFETIME_MAX_AGE:
        return (struct why_lifetime){
            .source = "max-age", .field = directives_field(why, variant), .section = "RFC 9111 5.2.2.1"};
    case LIFETIME_EXPIRES:
        return (struct why_lifetime){.source = "expires", .field = SPAN("Expires"), .section = "RFC 9111 5.3"};
    case LIFETIME_HEURISTIC:
        return (struct why_lifetime){
            .source = "heuristic", .field = SPAN("Last-Modified"), .section = "RFC 9111 4.2.2"};
    case LIFETIME_RULE:
        return (struct why_lifetime){.source = "rule", .rule = variant->policy.rule[SETTING_TTL], .section = "config"};
    case LIFETIME_DEFAULT_RULE:
        return (struct why_lifetime){
            .source = "default-rule", .rule = variant->policy.rule[SETTING_DEFAULT_TTL], .section = "config"};
    }
    UNREACHABLE();
}

bool why_next_held(const struct record *record, uint64_t at, struct byte_range *out_held)
{
    size_t count = record->slices.len / SLICE_BYTES;
    bool found = false;

    for (size_t i = 0; i < count; i++) {
        struct slice slice = slice_in(record->slices, i);
        if (slice.end <= at) {
            continue;
        }
        if (found && slice.first != out_held->last + 1) {
            break;
        }
        out_held->first = found ? out_held->first : slice.first;
        out_held->last = slice.end - 1;
        found = true;
    }
    return found;
}
