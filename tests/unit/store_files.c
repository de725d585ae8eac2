/* store_files.c: see store_files.h. */
#include "store_files.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "http/check.h"

unsigned char *file_read(const char *path, size_t *out_len)
{
    struct stat status;
    int fd = open(path, O_RDONLY);

    REQUIRE(fd >= 0);
    REQUIRE(fstat(fd, &status) == 0);
    size_t len = (size_t)status.st_size;
    unsigned char *bytes = malloc(len + 1); /* of an empty file, too */
    REQUIRE(bytes != NULL);
    REQUIRE(pread(fd, bytes, len, 0) == (ssize_t)len);
    close(fd);
    *out_len = len;
    return bytes;
}

void file_write(const char *path, off_t at, const void *bytes, size_t len)
{
    int fd = open(path, O_WRONLY | O_CREAT, 0600);

    REQUIRE(fd >= 0);
    REQUIRE(pwrite(fd, bytes, len, at) == (ssize_t)len);
    close(fd);
}

unsigned file_replace(const char *path, struct span what, struct span with)
{
    size_t len;
    unsigned char *bytes = file_read(path, &len);
    unsigned count = 0;

    for (size_t at = 0; at + what.len <= len; at++) {
        if (memcmp(bytes + at, what.data, what.len) == 0) {
            file_write(path, (off_t)at, with.data, with.len);
            count++;
        }
    }
    free(bytes);
    return count;
}

void files_limit(uint64_t bytes)
{
    struct rlimit limit;

    (void)signal(SIGXFSZ, SIG_IGN);
    REQUIRE(getrlimit(RLIMIT_FSIZE, &limit) == 0);
    limit.rlim_cur = bytes == UINT64_MAX ? limit.rlim_max : bytes;
    REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}
