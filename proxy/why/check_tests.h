/* check_tests.h: runs the tests of a configuration, with the functions that serve requests.
 *
 * Each test asks what `larder why` asks, of a store that holds nothing, then nothing but the response of the test. The
 * clock of a test is the Date of its response, or the beginning of 2026. No origin, no store, no clock is touched.
 * Threads: one. */
#ifndef PROXY_CHECK_TESTS_H
#define PROXY_CHECK_TESTS_H

#include "proxy/config/config.h"

/* False with one line for each difference in `out_error`, without a line end behind the last; what has no room in it is
 * counted. Every test is run. */
MUST_CHECK bool check_tests(const struct config *config, struct buf *out_error);

/* config_load, and then the tests: NULL with the error written when either fails. */
struct config *check_tests_load(const struct config_flags *flags, struct buf *out_error);

#endif
