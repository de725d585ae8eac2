/* store_faults.c: a short life of a store, with the disk failing at every call it makes, one after the other.
 *
 * Runs under shim.c. For each call, error and manner (once, or from then on) a child lives that life in a directory of
 * its own: it opens, stores small and large objects, replaces, removes, purges and evicts, closes, opens again with a
 * lower limit. It must not crash, hang or read a wrong byte; calls may be refused. Then the disk is well, and the
 * parent opens what is there: every object that is found is byte-exact, what a removal or a purge that was not refused
 * was about is as it said, the tables agree with the figures to the last page and block, and the store works.
 *
 * Usage: store_faults [STEP [large]]   every STEP-th call (1: all); large: with a body file */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "recount.h"
#include "shim.h"
#include "store_support.h"

#define MIB ((size_t)1024 * 1024)

enum {
    SIZES = 3, /* the sizes it is opened with, one after the other */
    NUMBERS = 24,
    CHILD_S = 60,         /* then it hangs */
    CONTROL_BYTES = 4096, /* of the file: run */
};

static struct fault_control *control;
static uint64_t calls; /* that the last child made */

/* ---- the life ---- */

enum { LIFE_OK, LIFE_WRONG = 3, LIFE_DULL = 4 /* not even without a fault did it do what it is for */ };

struct kind {
    uint64_t sizes[SIZES];
    size_t body_len; /* of the large ones, and as much more for each as `body_step`: more than fit */
    size_t body_step;
};
static const struct kind without_body_file = {{24 * MIB, 16 * MIB, 16 * MIB}, 2200000, 100000};
static const struct kind with_body_file = {{160 * MIB, 128 * MIB, 16 * MIB}, 10 * MIB, 100000};
static const struct kind *kind = &without_body_file;

/* In the page of the control file, behind what the shim uses: what the child did that counts afterwards. */
struct done {
    bool removed; /* the object before the last */
    uint64_t purge;
};
static struct done *done;

/* Looks at everything; false where a byte is wrong. */
static bool look(struct store *store, unsigned *out_good)
{
    struct store_reader *reader = store_reader_create(store);
    struct arena arena;
    bool right = true;

    *out_good = 0;
    if (reader == NULL) {
        return true;
    }
    arena_init(&arena, SUPPORT_ARENA_BYTES);
    for (unsigned number = 0; number < NUMBERS && right; number++) {
        unsigned version;
        enum support_outcome outcome = support_check(reader, store, number, NULL, &arena, &version);
        right = outcome != SUPPORT_WRONG;
        *out_good += outcome == SUPPORT_GOOD;
        arena_reset(&arena);
    }
    arena_finish(&arena);
    store_reader_destroy(reader);
    return right;
}

static void purge(struct store *store)
{
    struct store_purge row = {.sequence = store_newest_purge(store) + 1, .row = {"everything", 10}};
    struct store_op op = {.kind = STORE_OP_PURGE, .purges = &row, .purge_count = 1};

    if (store_apply(store, &op, 1) == ERR_OK) {
        done->purge = row.sequence;
    }
}

/* Every refusal is as it may be: what counts is what is there afterwards. False: it did too little. */
static bool work(struct store *store)
{
    struct store_stats stats;
    struct support_object small[NUMBERS / 2];
    enum err ignored;

    for (unsigned i = 0; i < ARRAY_LEN(small); i++) {
        small[i] = (struct support_object){.number = i, .body_len = i * 700};
    }
    ignored = support_put_many(store, small, ARRAY_LEN(small));
    for (unsigned number = NUMBERS / 2; number < NUMBERS; number++) {
        struct support_object object = {.number = number, .body_len = kind->body_len + number * kind->body_step};
        ignored = support_put(store, &object, NULL, NULL); /* evicts */
    }
    struct support_object replaced = {.number = NUMBERS - 1, .version = 2, .body_len = 5000};
    ignored = support_put(store, &replaced, NULL, NULL);
    done->removed = support_remove(store, NUMBERS - 2) == ERR_OK;
    purge(store);
    ignored = support_settle(store);
    (void)ignored;
    store_stats_of(store, &stats);
    return stats.evictions > 0 && done->removed && (kind == &without_body_file || stats.body_used_bytes > 20 * MIB);
}

/* In the child. */
static int live(const char *dir)
{
    struct buf note;
    unsigned good;
    int result = LIFE_OK;

    for (size_t i = 0; i < SIZES && result == LIFE_OK; i++) {
        struct store *store = NULL;
        buf_init(&note, 4096);
        if (support_try_open(dir, kind->sizes[i], &store, &note) == ERR_OK) {
            bool busy = i > 0 || work(store);
            result = !look(store, &good) ? LIFE_WRONG : !busy && control->at == 0 ? LIFE_DULL : LIFE_OK;
            store_close(store);
        }
        buf_finish(&note);
    }
    return result;
}

/* ---- one fault ---- */

struct fault {
    uint64_t at;
    int code; /* 0: a short write */
    bool lasting;
};

static const char *name_of(const struct fault *fault)
{
    static char name[80];

    snprintf(name, sizeof(name), "call %llu, %s, %s", (unsigned long long)fault->at,
             fault->code == 0 ? "short" : strerror(fault->code), fault->lasting ? "lasting" : "once");
    return name;
}

static bool fail(const struct fault *fault, const char *what)
{
    fprintf(stderr, "%s: %s\n", name_of(fault), what);
    return false;
}

static bool run_child(const struct fault *fault, const char *dir)
{
    int status;

    control->at = 0;
    snprintf(control->directory, sizeof(control->directory), "%s", dir);
    control->calls = 0;
    control->failed = 0;
    control->code = (uint32_t)fault->code;
    control->lasting = fault->lasting;
    *done = (struct done){.removed = false};
    control->at = fault->at;
    pid_t child = fork();
    if (child == 0) {
        alarm(CHILD_S);
        _exit(live(dir));
    }
    bool ended = child > 0 && waitpid(child, &status, 0) == child;
    control->at = 0;
    calls = control->calls;
    if (!ended) {
        return fail(fault, "no child");
    }
    if (WIFSIGNALED(status)) {
        return fail(fault, WTERMSIG(status) == SIGALRM ? "hangs" : "crashes");
    }
    if (fault->at > 0 && control->failed == 0) {
        return fail(fault, "no call failed: the life is not the same each time");
    }
    return WEXITSTATUS(status) == LIFE_OK ||
           fail(fault, WEXITSTATUS(status) == LIFE_DULL ? "nothing was evicted, removed, or put into the body file"
                                                        : "a wrong byte, or a failed check");
}

/* What was promised, unless the file was set aside. */
static bool is_removed(struct store *store)
{
    struct store_reader *reader = store_reader_create(store);
    struct stored stored;
    struct arena arena;

    arena_init(&arena, SUPPORT_ARENA_BYTES);
    bool found = reader != NULL && support_find(reader, store, NUMBERS - 2, NULL, &arena, &stored) == STORE_FOUND;
    if (found && stored.pinned) {
        store_unpin(store, stored.record.body_id);
    }
    arena_finish(&arena);
    store_reader_destroy(reader);
    return !done->removed || !found;
}

/* With a disk that is well again. */
static bool look_after(const struct fault *fault, const char *dir)
{
    struct support_object object = {.number = NUMBERS, .body_len = 300000};
    struct store_stats stats;
    struct recount recount;
    struct store *store = NULL;
    struct buf note;
    unsigned good;

    buf_init(&note, 4096);
    enum err error = support_try_open(dir, kind->sizes[SIZES - 1], &store, &note);
    if (error != ERR_OK) {
        fprintf(stderr, "%s: %.*s\n", err_name(error), SPAN_ARG(buf_span(&note)));
        buf_finish(&note);
        return fail(fault, "cannot be opened afterwards");
    }
    bool right = look(store, &good) || fail(fault, "a wrong byte after the fault");
    right = right && (is_removed(store) || fail(fault, "what was removed is there"));
    right = right && (good == 0 || store_newest_purge(store) >= done->purge || fail(fault, "a purge is forgotten"));
    right = right && (support_put(store, &object, NULL, NULL) == ERR_OK || fail(fault, "stores nothing afterwards"));
    right = right && (support_settle(store) == ERR_OK || fail(fault, "does not settle"));
    store_stats_of(store, &stats);
    store_close(store);
    buf_clear(&note);
    if (right && !recount_dir(dir, &recount, &note)) {
        fprintf(stderr, "%.*s\n", SPAN_ARG(buf_span(&note)));
        right = fail(fault, "the tables do not agree");
    }
    if (right && (recount.objects != stats.objects || recount.used_pages * 4096 != stats.used_bytes)) {
        fprintf(stderr, "%llu objects, %llu counted; %llu bytes, %llu counted\n", (unsigned long long)stats.objects,
                (unsigned long long)recount.objects, (unsigned long long)stats.used_bytes,
                (unsigned long long)recount.used_pages * 4096);
        right = fail(fault, "the figures are not what is there");
    }
    buf_finish(&note);
    return right;
}

static bool try_fault(const struct fault *fault)
{
    char dir[SUPPORT_PATH_BYTES];

    support_dir_make(dir);
    bool right = run_child(fault, dir) && look_after(fault, dir);
    support_dir_remove(dir);
    return right;
}

/* ---- all of them ---- */

static bool map_control(void)
{
    const char *path = getenv("FAULT_CONTROL");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        return false;
    }
    _Static_assert(sizeof(*control) + sizeof(*done) <= CONTROL_BYTES, "both fit");
    char *page = mmap(NULL, CONTROL_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (page == MAP_FAILED) {
        return false;
    }
    control = (struct fault_control *)(void *)page;
    done = (struct done *)(void *)(page + CONTROL_BYTES / 2);
    return true;
}

int main(int argc, char **argv)
{
    static const struct fault manners[] = {
        {.code = EIO},
        {.code = EIO, .lasting = true},
        {.code = ENOSPC, .lasting = true},
        {.code = 0},
    };
    uint64_t step = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    unsigned wrong = 0;
    unsigned tried = 0;

    if (argc > 2) {
        kind = &with_body_file;
    }
    if (!map_control() || step == 0) {
        fprintf(stderr, "usage: FAULT_CONTROL=FILE LD_PRELOAD=shim.so store_faults [STEP [large]]\n");
        return 2;
    }
    struct fault none = {.at = 0};
    bool well = try_fault(&none);
    uint64_t all = calls;
    if (!well || all < 20) {
        fprintf(stderr, "without a fault: %llu calls\n", (unsigned long long)all);
        return 1;
    }
    for (uint64_t at = 1; at <= all; at += step) {
        for (size_t i = 0; i < ARRAY_LEN(manners); i++) {
            struct fault fault = manners[i];
            fault.at = at;
            wrong += try_fault(&fault) ? 0 : 1;
            tried++;
        }
    }
    printf("%llu calls, %u faults, %u wrong\n", (unsigned long long)all, tried, wrong);
    return wrong == 0 ? 0 : 1;
}
