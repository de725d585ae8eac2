/* policy_support.h: what the tests of cache/policy.h share.
 *
 * A policy is written as words: "safe" or "rfc" (neither: the case holds in both), and settings such as "ttl=60" or
 * "bypass". A setting comes from a rule named "r". */
#ifndef TESTS_POLICY_SUPPORT_H
#define TESTS_POLICY_SUPPORT_H

#include "cache/policy.h"
#include "tests/unit/cache_support.h"

#define TEN    "Cache-Control: max-age=10"
#define LM_100 "Last-Modified: Tue, 14 Nov 2023 21:56:40 GMT" /* 1000 s before: fresh for 100 s */

/* Of the test that runs, from policy_setup() to policy_teardown(). */
extern struct arena policy_arena;

void policy_setup(void);
void policy_teardown(void);

/* The policy that the words say; a word that no policy has fails the test. */
struct policy policy_from(const char *words, enum profile profile);

/* Does a case with these words hold in `profile`? */
bool holds_in(const char *words, enum profile profile);

/* What is stored of a response that arrived at T0_MS. */
struct record record_from(unsigned status, const char *headers);

/* The same name of a rule, or none in both. */
bool same_rule(const char *a, const char *b);

#endif
