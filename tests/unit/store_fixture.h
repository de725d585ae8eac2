/* store_fixture.h: one store in a directory of its own, open with one reader, for each test of a program. */
#ifndef TESTS_UNIT_STORE_FIXTURE_H
#define TESTS_UNIT_STORE_FIXTURE_H

#include "store_dir_fixture.h"

extern struct store *store;
extern struct store_reader *reader;

void fixture_begin(uint64_t size_bytes);
void fixture_end(void);

/* Once more, in between: what a restart does. */
void open_store(uint64_t size_bytes);
void close_store(void);

struct store_stats stats_now(void);

/* Is the object without variants whole? Resets the arena. */
enum support_outcome check(unsigned number);

#endif
