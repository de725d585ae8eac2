/* purge_journal.c: see purge_journal.h. */
#include "cache/purge_journal.h"

#include <stdlib.h>

#include "cache/cache_internal.h"
#include "cache/store_tools.h"

enum { ARENA_BYTES = 8 * 1024 * 1024 /* a head as fields */ };

struct purge_journal {
    uint64_t secret;
    struct purge_set *set;
    struct purge_reader *reader;
    struct arena arena; /* of one judgement */
    uint64_t newest;
    enum err error;
};

static bool on_purge(void *arg, uint64_t sequence, struct span row) /* store_purge_fn */
{
    struct purge_journal *journal = arg;

    journal->newest = sequence;
    journal->error = purge_set_load(journal->set, sequence, row);
    return journal->error == ERR_OK;
}

enum err purge_journal_load(struct store_reader *reader, struct purge_journal **out_journal)
{
    struct purge_journal *journal = calloc(1, sizeof(*journal));

    if (journal == NULL) {
        return ERR_NO_MEMORY;
    }
    arena_init(&journal->arena, ARENA_BYTES);
    journal->secret = store_secret(store_reader_store(reader));
    journal->set = purge_set_create(journal->secret);
    journal->reader = journal->set == NULL ? NULL : purge_reader_create(journal->set);
    enum err error = journal->reader == NULL ? ERR_NO_MEMORY : store_each_purge(reader, 0, on_purge, journal);
    if (error == ERR_OK) {
        error = journal->error;
    }
    if (error != ERR_OK) {
        purge_journal_destroy(journal);
        return error;
    }
    purge_set_publish(journal->set, journal->newest);
    *out_journal = journal;
    return ERR_OK;
}

void purge_journal_destroy(struct purge_journal *journal)
{
    if (journal == NULL) {
        return;
    }
    purge_reader_destroy(journal->reader);
    purge_set_destroy(journal->set);
    arena_finish(&journal->arena);
    free(journal);
}

uint64_t purge_journal_newest(const struct purge_journal *journal)
{
    return journal->newest;
}

struct purge_verdict purge_journal_judge(struct purge_journal *journal, struct span key, struct span head,
                                         uint64_t birth)
{
    struct key hashed = {.text = key};

    if (birth >= journal->newest) {
        return (struct purge_verdict){.effect = PURGED_NOT};
    }
    hashed.hash = key_hash_of(key, journal->secret);
    arena_reset(&journal->arena);
    return cache_judge(journal->reader, &hashed, head, birth, &journal->arena);
}
