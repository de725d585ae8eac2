/* clock_shim.c: LD_PRELOAD library that puts the wall clock forward or back while the process runs.
 *
 * The file named by $CLOCK_CONTROL is mapped as struct control, which a test changes. The monotonic clock goes on as it
 * does. Without the variable it does nothing. */
#include <stdint.h>
#include <time.h>

#include "control.h"

struct control {
    _Atomic int64_t offset_s;
};

static struct control *control;

__attribute__((constructor)) static void start(void)
{
    control = control_map("CLOCK_CONTROL", sizeof(*control));
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
    int result = (int)syscall(SYS_clock_gettime, clock, out);

    if (result == 0 && clock == CLOCK_REALTIME && control != NULL) {
        out->tv_sec += control->offset_s;
    }
    return result;
}
