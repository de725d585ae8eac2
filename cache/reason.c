/* reason.c: the tables behind the one list of reasons.
 *
 * Everything comes from REASONS in reason.h: a reason added there is complete. */
#include "cache/reason.h"

#include <string.h>

#include "http/check.h"

struct entry {
    const char *token;
    const char *source;
    const char *text;
};

static const struct entry entries[REASON_COUNT] = {
#define REASON_ENTRY(name, token, source, text) [REASON_##name] = {token, source, text},
    REASONS(REASON_ENTRY)
#undef REASON_ENTRY
};

static const struct entry *entry_of(enum reason reason)
{
    REQUIRE(reason < REASON_COUNT);
    return &entries[reason];
}

const char *reason_token(enum reason reason)
{
    return entry_of(reason)->token;
}

const char *reason_source(enum reason reason)
{
    return entry_of(reason)->source;
}

const char *reason_text(enum reason reason)
{
    return entry_of(reason)->text;
}

enum reason reason_of_token(const char *token)
{
    enum reason found = REASON_NONE;

    for (enum reason reason = 0; reason < REASON_COUNT; reason++) {
        found = strcmp(token, reason_token(reason)) == 0 ? reason : found;
    }
    return found;
}
