/* pace.c: see pace.h. */
#include "proxy/io/pace.h"

void pace_begin(struct pace *pace)
{
    *pace = (struct pace){0};
}

void pace_wait(struct pace *pace, uint64_t now_ms)
{
    if (pace->since_ms == 0) {
        pace->since_ms = now_ms;
    }
}

bool pace_moved(struct pace *pace, uint64_t now_ms, uint64_t total_bytes, uint64_t min_bytes_s, uint64_t window_ms)
{
    if (pace->since_ms != 0 && now_ms > pace->since_ms) {
        pace->waited_ms += now_ms - pace->since_ms;
    }
    pace->since_ms = 0;
    if (pace->waited_ms < window_ms || pace->waited_ms == 0) {
        return true;
    }
    bool enough = (double)(total_bytes - pace->first_bytes) * 1000 >= (double)min_bytes_s * (double)pace->waited_ms;
    pace->waited_ms = 0;
    pace->first_bytes = total_bytes;
    return enough;
}
