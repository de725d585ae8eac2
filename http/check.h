/* check.h: the project's whole macro vocabulary.
 *
 * REQUIRE is for programmer errors only: entry conditions and the state a step relies on. It is compiled in always. It
 * is never applied to bytes from the network, the disk or the configuration: those are validated by functions that can
 * say no. */
#ifndef HTTP_CHECK_H
#define HTTP_CHECK_H

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#define REQUIRE(condition) ((condition) ? (void)0 : check_failed(#condition, __FILE__, __LINE__, __func__))

#define UNREACHABLE() check_failed("unreachable", __FILE__, __LINE__, __func__)

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* The struct of type `type` whose member `member` is at `pointer`. */
#define CONTAINER_OF(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* The result must be looked at; a deliberate ignore is `(void)` with a reason. */
#define MUST_CHECK __attribute__((warn_unused_result))

/* Ends the process: the program is wrong, and going on could serve wrong bytes. */
_Noreturn static inline void check_failed(const char *condition, const char *file, int line, const char *function)
{
    fprintf(stderr, "larder: bug: %s does not hold at %s:%d in %s\n", condition, file, line, function);
    abort();
}

#endif
