/* store_marker.c: a file that says how the last process ended.
 *
 *     running 0 01700000000 0      how, crashes in a row, when it was started, the data file's stamp at a close
 *
 * The first word is `running` from open to close, `stopped` after a close, `crashed` when a signal handler saw the end,
 * `damaged` when the store had failed. All have one length: the handler overwrites the word and nothing else. The time
 * is the file's own (st_mtime), taken when it was written; so is the time of a crash. A data file that still has the
 * stamp of a close, by a process that had looked at its pages, was changed by nobody since.
 *
 * A kill is not a crash: a store whose processes are killed again and again keeps everything. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/store_internal.h"

#define MARKER_FILE "marker"
#define RUNNING     "running"
#define STOPPED     "stopped"
#define CRASHED     "crashed"
#define DAMAGED     "damaged"

enum {
    WORD_BYTES = sizeof(RUNNING) - 1,
    LINE_BYTES = 64,
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

static enum last_stop read_line(int fd, uint64_t *out_crashes, uint64_t *out_stamp)
{
    char line[LINE_BYTES];
    struct stat status;
    uint64_t crashes;
    uint64_t start_s;
    struct span rest;
    struct span word;
    struct span number;

    *out_crashes = 0;
    *out_stamp = 0;
    ssize_t got = pread(fd, line, sizeof(line), 0);
    struct span bytes = {line, got > 0 ? (size_t)got : 0};
    if (!span_split(&bytes, '\n', &rest) || !span_split(&rest, ' ', &word) || !span_split(&rest, ' ', &number) ||
        !span_to_u64(number, &crashes) || !span_split(&rest, ' ', &number) || !span_to_u64(number, &start_s) ||
        fstat(fd, &status) != 0) {
        return LAST_STOP_UNCLEAN;
    }
    if (!span_to_u64(rest, out_stamp)) {
        *out_stamp = 0;
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

int store_marker_open(const char *dir, enum last_stop *out_last, uint64_t *out_stamp)
{
    char path[PATH_MAX];
    uint64_t crashes;

    *out_last = LAST_STOP_UNCLEAN;
    *out_stamp = 0;
    int fd = store_file_path(dir, MARKER_FILE, path) ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (fd >= 0) {
        *out_last = read_line(fd, &crashes, out_stamp);
        write_line(fd, RUNNING, crashes, 0);
    }
    return fd;
}

void store_marker_forgive(int fd)
{
    if (fd >= 0) {
        write_line(fd, RUNNING, 0, 0);
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
