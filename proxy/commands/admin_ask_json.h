/* admin_ask_json.h: asking the administration of a larder that runs for an object; what larder's commands share.
 *
 * Blocking. Threads: one. Errors: one line. */
#ifndef PROXY_ADMIN_ASK_JSON_H
#define PROXY_ADMIN_ASK_JSON_H

#include <jansson.h>

#include "proxy/commands/admin_ask.h"

/* The object that larder answered with, or NULL with the error written. `body` empty: GET, else POST of JSON. */
json_t *admin_ask_json(const struct config *config, const char *target, struct span body, struct buf *error);

/* A member; empty, and 0, where there is none. */
const char *admin_text_of(const json_t *object, const char *name);
int64_t admin_number_of(const json_t *object, const char *name);

/* One line of JSON. */
void admin_print_json(const json_t *object, struct buf *out);

/* The answer as JSON, or a line for each row of its array `name`. Takes `answer`; false where that is NULL. */
MUST_CHECK bool admin_print_rows(json_t *answer, const char *name, bool json,
                                 void (*write_row)(const json_t *row, struct buf *out), struct buf *out);

#endif
