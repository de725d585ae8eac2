/* targeted.h: cache directives for chosen caches: CDN-Cache-Control and its kind (RFC 9213).
 *
 * A targeted field is a structured-field dictionary, read strictly, where Cache-Control is read as leniently as RFC
 * 9111 asks. Threads: any. */
#ifndef HTTP_TARGETED_H
#define HTTP_TARGETED_H

#include "http/directives.h"

/* Reads all lines of that field. True if it is there, valid and not empty: then Cache-Control and Expires do not count,
 * whatever it says (RFC 9213 §2.2). False: as if it were not there.
 *
 * Names are lower case, the last of equal ones counts. A time is an Integer; any other type is as if the directive were
 * absent, a negative one is DIRECTIVE_INVALID, one above INT32_MAX is INT32_MAX. `public`, `immutable` and
 * `must-understand` count as Boolean true only; directives that forbid count with any value but Boolean false.
 * `private` and `no-cache` are qualified by a String that is a list of field names, and unqualified with anything else
 * or at the arena's limit (the safe reading). */
bool directives_of_targeted(const struct headers *headers, struct span field_name, struct arena *arena,
                            struct response_directives *out);

#endif
