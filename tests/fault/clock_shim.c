/* clock_shim.c: LD_PRELOAD library that puts the wall clock forward or back while the process runs.
 *
 * The file named by $CLOCK_CONTROL is mapped as struct control, which a test changes. The monotonic clock goes on as it
 * does. Without the variable it does nothing. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct control {
    _Atomic int64_t offset_s;
};

static struct control *control;

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("CLOCK_CONTROL");
    int fd = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);

    if (fd < 0) {
        return;
    }
    void *page = mmap(NULL, sizeof(*control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    control = page == MAP_FAILED ? NULL : page;
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
    int result = (int)syscall(SYS_clock_gettime, clock, out);

    if (result == 0 && clock == CLOCK_REALTIME && control != NULL) {
        out->tv_sec += control->offset_s;
    }
    return result;
}
