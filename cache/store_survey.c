/* store_survey.c: figures of a store's file for people, and whether anybody has it open. See store_tools.h. */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/store_internal.h"
#include "cache/store_tools.h"

struct survey_call {
    struct store_reader *reader;
    struct store_survey survey;
    uint64_t oldest_txn; /* of the readers but ours */
    int code;
};

static int count_tables(struct survey_call *call);
static int count_blocks(struct survey_call *call, uint64_t *out_blocks);
static uint64_t length_of(const char *dir, const char *name, uint64_t *out_disk_bytes);
static int on_reader_line(const char *line, void *arg);

static void on_survey(void *arg) /* guarded_fn */
{
    struct survey_call *call = arg;
    struct store *store = call->reader->store;
    MDB_envinfo info;

    call->code = mdb_env_info(store->env, &info);
    if (call->code != 0) {
        return;
    }
    call->survey.reader_slots = info.me_maxreaders;
    call->survey.commits = info.me_last_txnid;
    call->oldest_txn = UINT64_MAX;
    (void)mdb_reader_list(store->env, on_reader_line, call); /* a figure less */
    if (call->oldest_txn != UINT64_MAX && call->oldest_txn < info.me_last_txnid) {
        call->survey.oldest_reader = info.me_last_txnid - call->oldest_txn;
    }
    call->code = reader_begin(call->reader);
    if (call->code == 0) {
        call->code = count_tables(call);
        reader_end(call->reader);
    }
}

/* "      1234 7f2a4c0 17\n", or "-" in place of the transaction: a slot without a snapshot. The first line is a head.
 */
static int on_reader_line(const char *line, void *arg) /* MDB_msg_func */
{
    struct survey_call *call = arg;
    struct span rest = span_trim(span_of(line));
    struct span word;
    uint64_t number;

    if (!span_split(&rest, ' ', &word) || !span_to_u64(word, &number)) {
        return 0;
    }
    call->survey.readers++;
    size_t newline = span_find(rest, '\n');
    rest = span_take(rest, newline == SIZE_MAX ? rest.len : newline);
    while (span_split(&rest, ' ', &word)) {
        if (rest.len == 0 && span_to_u64(word, &number) && number < call->oldest_txn) {
            call->oldest_txn = number;
        }
    }
    return 0;
}

static int count_tables(struct survey_call *call)
{
    struct store *store = call->reader->store;
    struct store_survey *survey = &call->survey;
    const struct {
        enum table table;
        uint64_t *out;
    } counted[] = {
        {TABLE_OBJECTS, &survey->objects},        {TABLE_INDEX, &survey->keys},    {TABLE_CHUNKS, &survey->pieces},
        {TABLE_PENDING, &survey->pending_bodies}, {TABLE_PURGES, &survey->purges},
    };
    uint64_t pages = 0;
    uint64_t blocks = 0;
    int code = store_used_pages(store, call->reader->txn, &pages);

    for (size_t i = 0; i < ARRAY_LEN(counted) && code == 0; i++) {
        MDB_stat stat;
        code = mdb_stat(call->reader->txn, store->tables[counted[i].table], &stat);
        *counted[i].out = code == 0 ? stat.ms_entries : 0;
    }
    if (code == 0) {
        code = count_blocks(call, &blocks);
    }
    survey->used_bytes = pages * store->page_bytes + blocks * BODIES_BLOCK_BYTES;
    return code;
}

/* Bits of the body file's bitmap, as it was committed. */
static int count_blocks(struct survey_call *call, uint64_t *out_blocks)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val data;
    int code = store_open_cursor(call->reader->txn, call->reader->store->tables[TABLE_BLOCKS], &cursor);

    if (code != 0) {
        return code;
    }
    code = mdb_cursor_get(cursor, &key, &data, MDB_FIRST);
    while (code == 0) {
        for (size_t at = 0; at + sizeof(uint64_t) + CHECK_BYTES <= data.mv_size; at += sizeof(uint64_t)) {
            uint64_t word;
            memcpy(&word, (const char *)data.mv_data + at, sizeof(word));
            *out_blocks += (uint64_t)__builtin_popcountll(word);
        }
        code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

enum err store_survey_of(struct store *store, struct store_survey *out_survey)
{
    struct survey_call call = {.reader = store_reader_create(store)};

    if (call.reader == NULL) {
        return ERR_LIMIT;
    }
    if (!guard_run(store, on_survey, &call)) {
        call.code = MDB_CORRUPTED;
    }
    if (call.code == 0) {
        call.survey.format = store_format();
        call.survey.limit_bytes = store_size_in(store->dir);
        (void)length_of(store->dir, STORE_DATA_FILE, &call.survey.disk_bytes); /* only what it adds up */
        (void)length_of(store->dir, STORE_BODIES_FILE, &call.survey.disk_bytes);
        call.survey.stale_readers = store->stale_readers;
        *out_survey = call.survey;
    }
    store_reader_destroy(call.reader);
    return err_from_mdb(call.code);
}

struct store *store_reader_store(struct store_reader *reader)
{
    return reader->store;
}

/* ---- sizes ---- */

/* 0 where there is no such file. */
static uint64_t length_of(const char *dir, const char *name, uint64_t *out_disk_bytes)
{
    enum { STAT_BLOCK_BYTES = 512 };
    char path[PATH_MAX];
    struct stat status;

    if (!store_file_path(dir, name, path) || stat(path, &status) != 0) {
        return 0;
    }
    *out_disk_bytes += (uint64_t)status.st_blocks * STAT_BLOCK_BYTES;
    return (uint64_t)status.st_size;
}

/* The length of LMDB's file says it. Where the other is longer they were made before the border between them moved:
 * then each was as long as its share. */
bool store_owns_file(const char *dir, const char *name)
{
    static const char *const names[] = {"lock.mdb", STORE_LOCK_FILE, STORE_BODIES_FILE, STORE_MARKER_FILE};
    char path[PATH_MAX];
    struct stat status;
    bool owned = span_starts_with(span_of(name), SPAN(STORE_DATA_FILE)); /* set aside, or being compacted, too */

    for (size_t i = 0; i < ARRAY_LEN(names) && !owned; i++) {
        owned = strcmp(name, names[i]) == 0;
    }
    return owned && store_file_path(dir, STORE_DATA_FILE, path) && stat(path, &status) == 0;
}

uint64_t store_size_in(const char *dir)
{
    uint64_t disk_bytes = 0;
    uint64_t size_bytes = length_of(dir, STORE_DATA_FILE, &disk_bytes);
    uint64_t body_bytes = length_of(dir, STORE_BODIES_FILE, &disk_bytes);

    return size_bytes > 0 && size_bytes < body_bytes ? size_bytes + body_bytes : size_bytes;
}

/* ---- is it at rest? ---- */

enum err store_rest_begin(const char *dir, struct store_rest *out_rest)
{
    if (store_size_in(dir) == 0) {
        return ERR_NOT_FOUND;
    }
    /* In this order: who takes the lock after it was asked for writes to the marker after that, too. */
    *out_rest = (struct store_rest){store_file_stamp(dir), store_marker_stamp(dir)};
    return store_file_is_locked(dir) ? ERR_IN_USE : ERR_OK;
}

bool store_rest_lasts(const char *dir, const struct store_rest *rest)
{
    return !store_file_is_locked(dir) && store_file_stamp(dir) == rest->data_stamp &&
           store_marker_stamp(dir) == rest->marker_stamp;
}
