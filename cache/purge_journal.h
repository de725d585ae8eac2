/* purge_journal.h: the purges that a store's journal holds, asked what they make of what is stored: for those who look
 * at a store without serving from it.
 *
 * A purge names responses at once; they are deleted behind it (reclaim.c). Until then they are in the store's tables
 * like any other, and nothing about them tells that they are dead but this. What is purged after the journal was loaded
 * is not known. Threads: one at a time. */
#ifndef CACHE_PURGE_JOURNAL_H
#define CACHE_PURGE_JOURNAL_H

#include "cache/purge_set.h"
#include "cache/store.h"

struct purge_journal;

/* Reads all of it: some MiB at most. ERR_NO_MEMORY; ERR_IO, ERR_DAMAGED: it cannot be read. */
MUST_CHECK enum err purge_journal_load(struct store_reader *reader, struct purge_journal **out_journal);
void purge_journal_destroy(struct purge_journal *journal); /* accepts NULL */

/* What was born with this sequence or later is named by none of them. */
uint64_t purge_journal_newest(const struct purge_journal *journal);

/* What they make of a response that is stored under `key` with this head, as a look-up has it. The name of the purge
 * borrows from `key`, or until the next call. */
struct purge_verdict purge_journal_judge(struct purge_journal *journal, struct span key, struct span head,
                                         uint64_t birth);

#endif
