/* policy_internal.h: what both halves of policy.h ask: policy.c (may it be reused?) and policy_store.c (may it be
 * stored?). Pure functions. Threads: any. */
#ifndef CACHE_POLICY_INTERNAL_H
#define CACHE_POLICY_INTERNAL_H

#include "cache/policy.h"

/* Does a rule's ttl replace what the origin says of this response? As freshness_at sees it. */
bool policy_ttl_applies(const struct freshness_inputs *inputs, const struct policy *policy);

/* `safe`: who sends a Cookie may be someone. What was not declared fresh by someone who knew neither goes to him nor
 * comes from him. A default_ttl is no such declaration: it is for what nobody thought of. */
bool policy_cookie_forbids(const struct http_request *request, const struct freshness_inputs *inputs,
                           const struct policy *policy);

/* The rule behind a lifetime, or NULL: the origin's own, or none. */
const char *policy_lifetime_rule(enum lifetime_source source, const struct policy *policy);

#endif
