/* purge_fixture.h: purges of what clients of cache_fixture.h stored, for the tests of purges.
 *
 * A response is its header fields and five bytes. A purge is in force when `purge` has returned; the journal has it
 * when `told` has grown. */
#ifndef TESTS_UNIT_PURGE_FIXTURE_H
#define TESTS_UNIT_PURGE_FIXTURE_H

#include "cache_fixture.h"

#define TAGGED "Surrogate-Key: one two\r\nETag: \"v1\"\r\n"

/* What was told to who purged: how often, and the last time. */
extern unsigned told;
extern uint64_t told_sequence;
extern enum err told_error;

/* In place of cache_fixture.h's; its teardown serves. */
void setup_purged(void);
void open_purged(void);
/* What is queued is not written. */
void restart(void);

/* Makes it a client for `path` and looks that up. */
enum store_found look_up(struct client *client, const char *path);
/* The origin's head, and the body but for its end. */
void begin_answer(struct client *client, const char *fields);
/* A whole fetch with these fields. */
void store_with(const char *path, const char *fields);

enum purge_effect effect_on(const char *path, bool *out_found);
void expect_effect(const char *path, bool found, enum purge_effect effect, const char *name);

/* cache_purged_fn that counts. */
void on_purged(void *arg, uint64_t sequence, enum err error);
/* A second after what was stored. */
enum err purge(enum purge_kind kind, enum purge_mode mode, const char *name);

/* Responses in the store, and purges in its journal. */
uint64_t objects(void);
unsigned rows(void);

/* So many batches that a walk for what was purged comes next (REST_BATCHES of reclaim.c). */
void rest(void);

#endif
