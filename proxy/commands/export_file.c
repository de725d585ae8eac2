/* export_file.c: see export_file.h. */
#include "proxy/commands/export_file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "cache/store_tools.h"
#include "proxy/io/log.h"

enum { LINKS_MAX = 40 };

static bool is_standard_output(const char *name);
static int find_target(struct export_file *file);
static bool open_straight(struct export_file *file, struct buf *error);
static bool open_beside(struct export_file *file, struct buf *error);

bool export_file_open(struct export_file *file, const char *name, struct buf *error)
{
    *file = (struct export_file){.name = name};
    int failed = is_standard_output(name) ? 0 : find_target(file);
    if (failed != 0) {
        export_file_fail(file, failed, error);
        return false;
    }
    return export_file_is_straight(file) ? open_straight(file, error) : open_beside(file, error);
}

void export_file_fail(const struct export_file *file, int code, struct buf *error)
{
    buf_format(error, "store export: cannot write %s: %s", log_quoted(span_of(file->name)).text, strerror(code));
}

bool export_file_is_straight(const struct export_file *file)
{
    return file->target[0] == '\0';
}

/* ---- where it goes ---- */

/* Under whatever name: /dev/stdout, /proc/self/fd/1. */
static bool is_standard_output(const char *name)
{
    struct stat named;
    struct stat ours;

    return strcmp(name, "-") == 0 || (stat(name, &named) == 0 && fstat(STDOUT_FILENO, &ours) == 0 &&
                                      named.st_dev == ours.st_dev && named.st_ino == ours.st_ino);
}

/* "there/" for "there/file", "./" for "file". False: too long. */
static bool directory_of(const char *path, char out_directory[PATH_MAX])
{
    const char *slash = strrchr(path, '/');
    int written = slash == NULL ? snprintf(out_directory, PATH_MAX, "./")
                                : snprintf(out_directory, PATH_MAX, "%.*s", (int)(slash - path) + 1, path);

    return written > 0 && written < PATH_MAX;
}

/* A link there names what is open, wherever that lies or lay. */
static bool is_of_proc(const char *directory)
{
    struct statfs system;

    return statfs(directory, &system) == 0 && system.f_type == PROC_SUPER_MAGIC;
}

/* From a link to what it names. 0, or an errno. */
static int follow_link(char target[PATH_MAX], const char *directory)
{
    char named[PATH_MAX];
    char followed[PATH_MAX];
    ssize_t len = readlink(target, named, sizeof named - 1);

    if (len < 0) {
        return errno;
    }
    named[len] = '\0';
    int written = snprintf(followed, sizeof followed, "%s%s", named[0] == '/' ? "" : directory, named);
    if (written < 0 || (size_t)written >= sizeof followed) {
        return ENAMETOOLONG;
    }
    memcpy(target, followed, (size_t)written + 1);
    return 0;
}

/* The place that the file is to have; left empty where it is to be written straight through. 0, or an errno. */
static int find_target(struct export_file *file)
{
    char target[PATH_MAX];
    char directory[PATH_MAX];
    struct stat status;
    size_t len = strlen(file->name);

    if (len == 0 || len >= sizeof target) {
        return len == 0 ? ENOENT : ENAMETOOLONG;
    }
    memcpy(target, file->name, len + 1);
    for (int links = 0; links < LINKS_MAX; links++) {
        bool there = lstat(target, &status) == 0;
        if (!there && errno != ENOENT) {
            return errno;
        }
        if (!there || S_ISREG(status.st_mode)) {
            memcpy(file->target, target, strlen(target) + 1);
            return 0;
        }
        if (!S_ISLNK(status.st_mode)) {
            return S_ISDIR(status.st_mode) ? EISDIR : 0;
        }
        if (!directory_of(target, directory)) {
            return ENAMETOOLONG;
        }
        if (is_of_proc(directory)) {
            return 0;
        }
        int failed = follow_link(target, directory);
        if (failed != 0) {
            return failed;
        }
    }
    return ELOOP;
}

/* ---- opening ---- */

static bool take_descriptor(struct export_file *file, int fd)
{
    file->stream = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (file->stream == NULL && fd >= 0) {
        int failed = errno;
        (void)close(fd); /* nothing was written to it */
        errno = failed;
    }
    return file->stream != NULL;
}

/* A pipe waits here for its reader. */
static bool open_straight(struct export_file *file, struct buf *error)
{
    struct stat status;

    if (is_standard_output(file->name)) {
        file->stream = stdout;
    } else { /* what another process has open is not written from its beginning */
        bool regular = stat(file->name, &status) == 0 && S_ISREG(status.st_mode);
        int fd = open(file->name, O_WRONLY | O_CLOEXEC | O_NOCTTY | (regular ? O_APPEND : 0));
        if (!take_descriptor(file, fd)) {
            export_file_fail(file, errno, error);
            return false;
        }
    }
    if (isatty(fileno(file->stream)) == 1) {
        buf_format(error, "store export: %s is a terminal: give a file, or | to something",
                   file->stream == stdout ? "standard output" : log_quoted(span_of(file->name)).text);
        export_file_abandon(file);
        return false;
    }
    return true;
}

/* Which would be the store no longer. */
static bool is_of_store(const struct export_file *file)
{
    const char *slash = strrchr(file->target, '/');
    char directory[PATH_MAX];

    return directory_of(file->target, directory) &&
           store_owns_file(directory, slash != NULL ? slash + 1 : file->target);
}

static bool open_beside(struct export_file *file, struct buf *error)
{
    int len = snprintf(file->partial, sizeof file->partial, "%s.partial-XXXXXX", file->target);

    if (is_of_store(file)) {
        buf_format(error, "store export: %s is a file of a store: the export would destroy it",
                   log_quoted(span_of(file->name)).text);
        return false;
    }
    if (len < 0 || (size_t)len >= sizeof file->partial) {
        export_file_fail(file, ENAMETOOLONG, error);
        return false;
    }
    if (faccessat(AT_FDCWD, file->target, W_OK, AT_EACCESS) != 0 && errno != ENOENT) {
        export_file_fail(file, errno, error); /* a rename would not ask */
        return false;
    }
    if (!take_descriptor(file, mkstemp(file->partial))) { /* 0600 */
        export_file_fail(file, errno, error);
        return false;
    }
    return true;
}

/* ---- closing ---- */

/* Who could read what it replaces can read it, nobody else. 0, or an errno. */
static int take_mode(int fd, const char *target)
{
    struct stat before;

    if (lstat(target, &before) != 0) {
        return errno == ENOENT ? 0 : errno;
    }
    if (!S_ISREG(before.st_mode)) {
        return EEXIST; /* made meanwhile */
    }
    mode_t mode = before.st_mode & (S_IRWXU | S_IRWXG | S_IRWXO);
    if (fchown(fd, before.st_uid, before.st_gid) != 0 && fchown(fd, (uid_t)-1, before.st_gid) != 0) {
        mode &= ~(mode_t)S_IRWXG; /* its group would be another one */
    }
    return fchmod(fd, mode) == 0 ? 0 : errno;
}

/* The new name, too, is on the disk. */
static void sync_directory(const char *target)
{
    char directory[PATH_MAX];
    int fd = directory_of(target, directory) ? open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

    if (fd >= 0) {
        (void)fsync(fd); /* not every file system can; the file itself is there */
        (void)close(fd);
    }
}

/* 0, or an errno. */
static int flush(struct export_file *file)
{
    int fd = fileno(file->stream);

    if (fflush(file->stream) != 0) {
        return errno;
    }
    if (export_file_is_straight(file)) {
        return 0;
    }
    int failed = take_mode(fd, file->target);
    return failed == 0 && fsync(fd) != 0 ? errno : failed;
}

bool export_file_finish(struct export_file *file, struct buf *error)
{
    bool straight = export_file_is_straight(file);
    int failed = flush(file);

    if (file->stream != stdout && fclose(file->stream) != 0 && failed == 0) {
        failed = errno;
    }
    if (failed == 0 && !straight && rename(file->partial, file->target) != 0) {
        failed = errno;
    }
    if (failed != 0) {
        if (!straight) {
            (void)unlink(file->partial); /* nobody needs it */
        }
        export_file_fail(file, failed, error);
        return false;
    }
    if (!straight) {
        sync_directory(file->target);
    }
    return true;
}

void export_file_abandon(struct export_file *file)
{
    if (file->stream != stdout) {
        (void)fclose(file->stream); /* it is given up */
    }
    if (!export_file_is_straight(file)) {
        (void)unlink(file->partial);
    }
}
