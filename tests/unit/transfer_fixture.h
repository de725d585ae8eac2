/* transfer_fixture.h: two stores, and what is exported from the one and imported into the other. */
#ifndef TESTS_UNIT_TRANSFER_FIXTURE_H
#define TESTS_UNIT_TRANSFER_FIXTURE_H

#include <criterion/criterion.h>
#include <string.h>

#include "cache/archive_format.h"
#include "cache/transfer.h"
#include "store_support.h"

enum { SIZE = 32 * 1024 * 1024, NOW_MS = 100000 };

extern char from_dir[SUPPORT_PATH_BYTES];
extern char to_dir[SUPPORT_PATH_BYTES];
extern struct store *from;
extern struct store *to;
extern struct store_reader *from_reader;
extern struct store_reader *to_reader;
extern struct arena arena;

void setup(void);
void teardown(void);
/* An empty `to`, of another size. */
void renew_to(uint64_t size_bytes);

/* archive_put_fn: adds the bytes to the struct buf `arg`. */
bool on_put(void *arg, struct span bytes);

/* All of `from` that the options do not leave out. `now_ms` 0: NOW_MS. The file is the caller's to finish. */
struct export_result export_with(struct export_options options, struct buf *out_file);
/* Into `to`; reads the file in steps of so many bytes, 0: as many as are wanted. */
enum err import_at(struct span file, size_t step, int64_t now_ms, struct import_result *out_result);

void put(struct store *store, unsigned number, unsigned version, const char *variant, size_t body_len);
/* What became of it in `to`. */
enum support_outcome check(unsigned number, const char *variant, unsigned *out_version);
uint64_t count_in_to(void);

#endif
