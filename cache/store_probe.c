/* store_probe.c: the first open after an unclean stop happens in a child.
 *
 * It goes where an open would go: begins a transaction, opens and stats the tables, looks at the first and last key of
 * each, and at the beginning of the free list. What ends it (a signal, an assertion in LMDB, the time limit) would have
 * ended us. About 3 ms for a healthy store, of which the fork is most: the pages have been read ahead; nothing in it
 * grows with the store. The limit is one of processor time, which a damaged tree takes that goes on for ever: a disk
 * that is slow, or has to spin up first, is not damage.
 *
 * The child touches nothing but LMDB and its own memory, and leaves by _exit: no buffer is flushed twice. */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cache/store_internal.h"

enum {
    PROBE_CPU_S = 5,
    FREE_LIST_ROWS = 64, /* a commit's worth each; the oldest, which the next batches use */
    EXIT_GOOD = 0,
    EXIT_DAMAGED = 1, /* LMDB said so, or faulted */
    EXIT_UNKNOWN = 2, /* no memory, no descriptor: the real open will tell */
};

struct probe {
    const char *dir;
    uint64_t map_bytes;
    int code;
};

/* The first rows, and the last one. Keys must rise. */
static int probe_rows(MDB_txn *txn, MDB_dbi table, unsigned rows)
{
    MDB_cursor *cursor;
    MDB_val key;
    MDB_val data;
    uint64_t number = 0;
    uint64_t last = 0;
    int code = mdb_cursor_open(txn, table, &cursor);

    if (code == 0) {
        code = mdb_cursor_get(cursor, &key, &data, MDB_FIRST);
    }
    for (unsigned i = 1; code == 0 && i < rows; i++) {
        code = number_of_key(key, &number);
        if (code == 0 && number <= last) {
            code = MDB_CORRUPTED;
        }
        last = number;
        if (code == 0) {
            code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT);
        }
    }
    if (code == 0) {
        code = mdb_cursor_get(cursor, &key, &data, MDB_LAST);
    }
    return code == MDB_NOTFOUND ? 0 : code;
}

static int probe_tables(MDB_txn *txn)
{
    enum { FREE_LIST = 0, MAIN = 1 };
    MDB_stat stat;
    int code = mdb_stat(txn, MAIN, &stat);

    if (code == 0) {
        code = probe_rows(txn, FREE_LIST, FREE_LIST_ROWS);
    }
    for (size_t i = 0; i < TABLE_COUNT && code == 0; i++) {
        MDB_dbi table;
        code = mdb_dbi_open(txn, store_tables[i].name, store_tables[i].flags, &table);
        if (code == 0) {
            code = mdb_stat(txn, table, &stat);
        }
        if (code == 0) {
            code = probe_rows(txn, table, 1);
        }
    }
    /* Not our tables: the real open says so. */
    return code == MDB_NOTFOUND || code == MDB_INCOMPATIBLE ? 0 : code;
}

static void on_probe(void *arg) /* guarded_fn */
{
    struct probe *probe = arg;
    MDB_env *env;
    MDB_txn *txn = NULL;
    int code = mdb_env_create(&env);

    if (code == 0) {
        code = mdb_env_set_assert(env, guard_on_assert);
    }
    if (code == 0) {
        code = mdb_env_set_maxdbs(env, TABLE_COUNT);
    }
    if (code == 0) {
        code = mdb_env_set_mapsize(env, probe->map_bytes);
    }
    if (code == 0) {
        code = mdb_env_set_maxreaders(env, STORE_READER_SLOTS);
    }
    if (code == 0) {
        code = mdb_env_open(env, probe->dir, STORE_ENV_FLAGS, 0600);
    }
    if (code == 0) {
        code = mdb_txn_begin(env, NULL, 0, &txn); /* takes the lock that a killed writer may have left */
    }
    if (code == 0) {
        mdb_txn_abort(txn);
        code = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);
    }
    probe->code = code == 0 ? probe_tables(txn) : code;
}

_Noreturn static void run_child(const char *dir, uint64_t map_bytes)
{
    struct probe probe = {.dir = dir, .map_bytes = map_bytes};
    const struct rlimit limit = {.rlim_cur = PROBE_CPU_S, .rlim_max = 2 * PROBE_CPU_S};
    sigset_t limit_only;

    (void)signal(SIGXCPU, SIG_DFL); /* none of these can fail for a valid number */
    (void)sigemptyset(&limit_only);
    (void)sigaddset(&limit_only, SIGXCPU);
    (void)sigprocmask(SIG_UNBLOCK, &limit_only, NULL);
    (void)setrlimit(RLIMIT_CPU, &limit); /* refused only where a lower one is in force */
    if (!guard_call(on_probe, &probe)) {
        _exit(EXIT_DAMAGED);
    }
    enum err error = err_from_mdb(probe.code);
    _exit(error == ERR_OK ? EXIT_GOOD : error == ERR_DAMAGED ? EXIT_DAMAGED : EXIT_UNKNOWN);
}

bool store_probe(const char *dir, uint64_t map_bytes, struct buf *note)
{
    int status;
    pid_t child = fork();

    if (child < 0) {
        return true; /* no process to spare: the trees are checked in any case */
    }
    if (child == 0) {
        run_child(dir, map_bytes);
    }
    pid_t got = waitpid(child, &status, 0);
    while (got < 0 && errno == EINTR) {
        got = waitpid(child, &status, 0);
    }
    if (got < 0) {
        return true; /* SIGCHLD is ignored in this process: nobody knows */
    }
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        return true; /* somebody's, or the kernel's for want of memory: says nothing of the file */
    }
    if (WIFSIGNALED(status)) {
        buf_format(note, "after an unclean stop the data file cannot be opened (%s)",
                   WTERMSIG(status) == SIGXCPU ? "it has no end" : "a fault");
        return false;
    }
    if (WEXITSTATUS(status) == EXIT_DAMAGED) {
        buf_format(note, "after an unclean stop the data file is damaged");
        return false;
    }
    return true;
}
