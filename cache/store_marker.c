/* store_marker.c: a file that says how the last process ended.
 *
 *     running 0 01700000000 0      how, crashes in a row, when it was started, the data file's stamp at a close
 *
 * The first word is `running` from open to close, `stopped` after a close, `crashed` when a signal handler saw the end,
 * `damaged` when the store had failed. All have one length: the handler overwrites the word and nothing else. The time
 * is the file's own (st_mtime), taken when it was written; so is the time of a crash. A data file that still has the
 * stamp of a close, by a process that had looked at its pages, was changed by nobody since.
 *
 * A kill is not a crash: a store whose processes are killed again and again keeps everything. Nor is one that has
 * nothing to do with the store: store_guard.c says which ones are noted. An open that fails leaves the marker as it
 * found it: it has learnt nothing of the store. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/store_internal.h"

#define RUNNING "running"
#define STOPPED "stopped"
#define CRASHED "crashed"
#define DAMAGED "damaged"

enum {
    WORD_BYTES = sizeof(RUNNING) - 1,
    LINE_BYTES = STORE_MARKER_BYTES,
    EARLY_S = 10,    /* a crash within so many seconds of the start counts */
    MAX_CRASHES = 2, /* in a row */
};

static void write_line(int fd, const char *word, uint64_t crashes, uint64_t stamp)
{
    char line[LINE_BYTES];
    struct stat status;
    int64_t start_s = 0;

    /* Twice: the first time makes the time that the second one writes. A marker that cannot be written is missed at the
     * next open only, and there for a probe only. */
    for (unsigned i = 0; i < 2; i++) {
        int len = snprintf(line, sizeof(line), "%s %llu %011lld %020llu\n", word, (unsigned long long)crashes,
                           (long long)start_s, (unsigned long long)stamp);
        (void)!pwrite(fd, line, (size_t)len, 0);
        if (fstat(fd, &status) == 0) {
            start_s = (int64_t)status.st_mtim.tv_sec;
        }
    }
}

static enum last_stop read_line(int fd, struct store_marker *found, uint64_t *out_crashes)
{
    struct stat status;
    uint64_t crashes;
    uint64_t start_s;
    struct span rest;
    struct span word;
    struct span number;

    *out_crashes = 0;
    ssize_t got = pread(fd, found->line, sizeof(found->line), 0);
    found->len = got > 0 ? (size_t)got : 0;
    struct span bytes = {found->line, found->len};
    if (fstat(fd, &status) == 0) {
        found->written = status.st_mtim;
    } else {
        return LAST_STOP_UNCLEAN;
    }
    if (!span_split(&bytes, '\n', &rest) || !span_split(&rest, ' ', &word) || !span_split(&rest, ' ', &number) ||
        !span_to_u64(number, &crashes) || !span_split(&rest, ' ', &number) || !span_to_u64(number, &start_s)) {
        return LAST_STOP_UNCLEAN;
    }
    if (!span_to_u64(rest, &found->stamp)) {
        found->stamp = 0;
    }
    if (span_equal(word, SPAN(STOPPED))) {
        return LAST_STOP_CLEAN;
    }
    if (span_equal(word, SPAN(DAMAGED))) {
        return LAST_STOP_DAMAGED;
    }
    if (span_equal(word, SPAN(CRASHED)) && (uint64_t)status.st_mtim.tv_sec - start_s < EARLY_S) {
        *out_crashes = crashes + 1;
    }
    return *out_crashes >= MAX_CRASHES ? LAST_STOP_CRASHES : LAST_STOP_UNCLEAN;
}

int store_marker_open(const char *dir, struct store_marker *out_found)
{
    char path[PATH_MAX];
    uint64_t crashes;

    *out_found = (struct store_marker){.last = LAST_STOP_UNCLEAN};
    int fd = store_file_path(dir, STORE_MARKER_FILE, path) ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd >= 0) {
        out_found->last = read_line(fd, out_found, &crashes);
        write_line(fd, RUNNING, crashes, 0);
    }
    return fd;
}

uint64_t store_marker_stamp(const char *dir)
{
    return store_file_changed_ns(dir, STORE_MARKER_FILE);
}

enum last_stop store_marker_peek(const char *dir)
{
    char path[PATH_MAX];
    uint64_t crashes;
    struct store_marker found = {.last = LAST_STOP_UNCLEAN};
    int fd = store_file_path(dir, STORE_MARKER_FILE, path) ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd >= 0) {
        found.last = read_line(fd, &found, &crashes);
        close(fd);
    }
    return found.last;
}

bool store_marker_blames(enum last_stop last, struct buf *note)
{
    switch (last) {
    case LAST_STOP_CLEAN:
    case LAST_STOP_UNCLEAN:
        return false;
    case LAST_STOP_DAMAGED:
        buf_add_text(note, "the data file was found damaged while it was in use");
        return true;
    case LAST_STOP_CRASHES:
        buf_add_text(note, "two crashes in the store soon after the start, perhaps of the data file");
        return true;
    }
    UNREACHABLE();
}

void store_marker_forgive(int fd, struct store_marker *found)
{
    found->len = 0;
    if (fd >= 0) {
        write_line(fd, RUNNING, 0, 0);
    }
}

void store_marker_restore(int fd, const struct store_marker *found)
{
    const struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, found->written};

    if (fd >= 0) { /* what cannot be written says `running`: the next open looks more closely */
        if (ftruncate(fd, (off_t)found->len) == 0 && pwrite(fd, found->line, found->len, 0) == (ssize_t)found->len) {
            (void)futimens(fd, times);
        }
        close(fd);
    }
}

void store_marker_close(int fd, enum last_stop how, uint64_t stamp)
{
    if (fd >= 0) {
        write_line(fd, how == LAST_STOP_DAMAGED ? DAMAGED : STOPPED, 0, stamp);
        close(fd);
    }
}

void store_marker_write_crashed(int fd)
{
    (void)!pwrite(fd, CRASHED, WORD_BYTES, 0); /* no one is left to tell */
}
