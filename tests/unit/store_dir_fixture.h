/* store_dir_fixture.h: a directory for the stores of each test of a program, which opens them itself; and what it needs
 * beside. */
#ifndef TESTS_UNIT_STORE_DIR_FIXTURE_H
#define TESTS_UNIT_STORE_DIR_FIXTURE_H

#include <criterion/criterion.h>

#include "store_support.h"

enum { SUPPORT_NAME_BYTES = 256 }; /* of a file in a directory */

extern char dir[SUPPORT_PATH_BYTES];
extern char data_path[SUPPORT_PATH_BYTES + 16]; /* LMDB's file in it */
extern struct arena arena;
extern struct buf note; /* of an open, 4 KiB */

void dir_begin(void);
void dir_end(void);

/* How many of LMDB's files opens have set aside there, and the name of one. */
unsigned set_aside_count(char out_name[SUPPORT_NAME_BYTES]);

#endif
