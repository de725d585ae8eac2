/* shim.c: LD_PRELOAD library that makes the disk fail: at the n-th call, with a chosen error, once or from then on.
 *
 * write, writev, pwrite, pwritev, fsync, fdatasync, ftruncate, posix_fallocate and mmap of files below one directory,
 * and open, openat of paths there. Reads are left alone: what cannot be read is SIGBUS in a map (test_store_damage.c).
 * It can also say that nothing is in memory, and that the machine has less of it.
 * See shim.h for how it is told. Without $FAULT_CONTROL it does nothing. */
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "control.h"

static struct fault_control *control;

__attribute__((constructor)) static void start(void)
{
    control = control_map("FAULT_CONTROL", sizeof(*control));
}

static bool path_is_meant(const char *path)
{
    size_t len = strlen(control->directory);

    return len > 0 && strncmp(path, control->directory, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static bool file_is_meant(int fd)
{
    char link[64];
    char path[PATH_MAX];

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof(path) - 1);
    if (len < 0) {
        return false;
    }
    path[len] = '\0';
    return path_is_meant(path);
}

/* Counts the call. True: it is one that fails; errno is set. */
static bool fails(bool meant, uint32_t *out_code)
{
    if (!meant) {
        return false;
    }
    uint64_t number = ++control->calls;
    uint64_t at = control->at;
    if (at == 0 || number < at || (number > at && control->lasting == 0)) {
        return false;
    }
    control->failed++;
    *out_code = control->code;
    errno = (int)*out_code;
    return true;
}

static bool file_fails(int fd, uint32_t *out_code)
{
    int before = errno;
    bool meant = control != NULL && file_is_meant(fd);

    errno = before;
    return fails(meant, out_code);
}

/* How much of a write is done: all, half (short), or nothing: -1. */
static ssize_t allowed(int fd, size_t len)
{
    uint32_t code;

    if (!file_fails(fd, &code)) {
        return (ssize_t)len;
    }
    return code == 0 ? (ssize_t)(len / 2) : -1;
}

/* Of a call that is done or not. */
static bool refused(int fd)
{
    uint32_t code;

    return file_fails(fd, &code) && code != 0;
}

ssize_t write(int fd, const void *bytes, size_t len)
{
    ssize_t part = allowed(fd, len);

    return part < 0 ? -1 : syscall(SYS_write, fd, bytes, (size_t)part);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at)
{
    ssize_t part = allowed(fd, len);

    return part < 0 ? -1 : syscall(SYS_pwrite64, fd, bytes, (size_t)part, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t at)
{
    return pwrite64(fd, bytes, len, at);
}

/* A short one writes its first run only. */
ssize_t pwritev64(int fd, const struct iovec *runs, int count, off64_t at)
{
    ssize_t part = allowed(fd, 2);

    if (part == 1) {
        return syscall(SYS_pwrite64, fd, runs[0].iov_base, runs[0].iov_len / 2, at);
    }
    return part < 0 ? -1 : syscall(SYS_pwritev, fd, runs, count, at, 0);
}

ssize_t pwritev(int fd, const struct iovec *runs, int count, off_t at)
{
    return pwritev64(fd, runs, count, at);
}

ssize_t writev(int fd, const struct iovec *runs, int count)
{
    ssize_t part = allowed(fd, 2);

    if (part == 1) {
        return syscall(SYS_write, fd, runs[0].iov_base, runs[0].iov_len / 2);
    }
    return part < 0 ? -1 : syscall(SYS_writev, fd, runs, count);
}

int fsync(int fd)
{
    return refused(fd) ? -1 : (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return refused(fd) ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int ftruncate64(int fd, off64_t len)
{
    return refused(fd) ? -1 : (int)syscall(SYS_ftruncate, fd, len);
}

int ftruncate(int fd, off_t len)
{
    return ftruncate64(fd, len);
}

int posix_fallocate64(int fd, off64_t at, off64_t len)
{
    if (refused(fd)) {
        return errno; /* this one returns its error */
    }
    return syscall(SYS_fallocate, fd, 0, at, len) == 0 ? 0 : errno;
}

int posix_fallocate(int fd, off_t at, off_t len)
{
    return posix_fallocate64(fd, at, len);
}

void *mmap64(void *address, size_t len, int protection, int flags, int fd, off64_t at)
{
    if ((flags & MAP_ANONYMOUS) == 0 && refused(fd)) {
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, address, len, protection, flags, fd, at);
}

void *mmap(void *address, size_t len, int protection, int flags, int fd, off_t at)
{
    return mmap64(address, len, protection, flags, fd, at);
}

ssize_t preadv64v2(int fd, const struct iovec *runs, int count, off64_t at, int flags)
{
    int before = errno;

    if (control != NULL && control->cold != 0 && (flags & RWF_NOWAIT) != 0 && file_is_meant(fd)) {
        errno = EAGAIN;
        return -1;
    }
    errno = before;
    return syscall(SYS_preadv2, fd, runs, count, at, 0, flags);
}

ssize_t preadv2(int fd, const struct iovec *runs, int count, off_t at, int flags)
{
    return preadv64v2(fd, runs, count, at, flags);
}

uint64_t uv_get_total_memory(void)
{
    uint64_t (*real)(void);
    void *found = dlsym(RTLD_NEXT, "uv_get_total_memory");

    if (control != NULL && control->memory != 0) {
        return control->memory;
    }
    memcpy(&real, &found, sizeof(real));
    return found == NULL ? UINT64_MAX : real();
}

static int open_at(int directory, const char *path, int flags, mode_t mode)
{
    uint32_t code;

    if (control != NULL && fails(path_is_meant(path), &code) && code != 0) {
        return -1;
    }
    return (int)syscall(SYS_openat, directory, path, flags, mode);
}

static mode_t mode_of(int flags, va_list rest)
{
    return (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0;
}

int open64(const char *path, int flags, ...)
{
    va_list rest;

    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return open_at(AT_FDCWD, path, flags, mode);
}

int open(const char *path, int flags, ...)
{
    va_list rest;

    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return open_at(AT_FDCWD, path, flags, mode);
}

int openat64(int directory, const char *path, int flags, ...)
{
    va_list rest;

    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return open_at(directory, path, flags, mode);
}

int openat(int directory, const char *path, int flags, ...)
{
    va_list rest;

    va_start(rest, flags);
    mode_t mode = mode_of(flags, rest);
    va_end(rest);
    return open_at(directory, path, flags, mode);
}
