/* store_files.h: the files of a store as bytes, for tests of what happens to them from outside. Ends the process where
 * a file cannot be read or written. */
#ifndef TESTS_UNIT_STORE_FILES_H
#define TESTS_UNIT_STORE_FILES_H

#include <sys/types.h>

#include "http/span.h"

/* All of it; to be freed. */
unsigned char *file_read(const char *path, size_t *out_len);

/* Overwrites what is at `at`, in place: also under a store that is open. A file that is not there is made. */
void file_write(const char *path, off_t at, const void *bytes, size_t len);

/* Writes `with` over the beginning of every place where `what` stands; tells how many there are. */
unsigned file_replace(const char *path, struct span what, struct span with);

/* From now on this process cannot write behind this place of any file: such writes fail, with no signal.
 * UINT64_MAX: it can again. */
void files_limit(uint64_t bytes);

#endif
