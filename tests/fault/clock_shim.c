/* clock_shim.c: LD_PRELOAD library that puts the clocks forward, or the wall clock back, while the process runs.
 *
 * The file named by $CLOCK_CONTROL is mapped as struct control, which a test changes. The monotonic clock goes on as it
 * does, but for the time that is said to have passed, too: what takes long need not be waited for. Without the variable
 * it does nothing. */
#include <stdint.h>
#include <time.h>

#include "control.h"

struct control {
    _Atomic int64_t offset_s;  /* of the wall clock */
    _Atomic int64_t passed_ms; /* of the monotonic one; never less than before */
};

static struct control *control;

__attribute__((constructor)) static void start(void)
{
    control = control_map("CLOCK_CONTROL", sizeof(*control));
}

int clock_gettime(clockid_t clock, struct timespec *out)
{
    int result = (int)syscall(SYS_clock_gettime, clock, out);

    if (result != 0 || control == NULL) {
        return result;
    }
    if (clock == CLOCK_REALTIME) {
        out->tv_sec += control->offset_s;
    } else if (clock == CLOCK_MONOTONIC || clock == CLOCK_MONOTONIC_COARSE) {
        int64_t passed_ms = control->passed_ms;
        int64_t nsec = out->tv_nsec + passed_ms % 1000 * 1000000;
        out->tv_sec += passed_ms / 1000 + nsec / 1000000000;
        out->tv_nsec = nsec % 1000000000;
    }
    return 0;
}
