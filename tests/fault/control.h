/* control.h: how a test tells a preloaded library what to do: through a page of a file that both have mapped. */
#ifndef TESTS_FAULT_CONTROL_H
#define TESTS_FAULT_CONTROL_H

#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The first bytes of the file that the environment's `variable` names; NULL: nothing is to be done. By system calls: a
 * library may stand in the place of their functions. */
static inline void *control_map(const char *variable, size_t bytes)
{
    const char *path = getenv(variable);
    int fd = path == NULL ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        return NULL;
    }
    void *page = (void *)syscall(SYS_mmap, NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return page == MAP_FAILED ? NULL : page;
}

#endif
