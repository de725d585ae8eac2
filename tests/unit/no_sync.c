/* no_sync.c: the disk is not waited for. Who kills processes and cuts no power finds what was written all the same, and
 * how long thousands of syncs take is the disk's to say: on a busy one, minutes.
 *
 * In place of libc's, for LMDB as well: that syncs its meta pages by a descriptor with O_DSYNC. A program that has a
 * sync of its own keeps it. */
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <unistd.h>

int fdatasync(int fd) __attribute__((weak));
int fsync(int fd) __attribute__((weak));
int open_without_sync(const char *path, int flags, ...) __asm__("open"); /* LMDB's: without large file support */

int fdatasync(int fd)
{
    (void)fd;
    return 0;
}

int fsync(int fd)
{
    (void)fd;
    return 0;
}

int open_without_sync(const char *path, int flags, ...)
{
    va_list rest;

    va_start(rest, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags & ~(O_SYNC | O_DSYNC), mode);
}
