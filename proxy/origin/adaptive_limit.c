/* adaptive_limit.c: a limit that follows latency. See adaptive_limit.h. */
#include "proxy/origin/adaptive_limit.h"

#include <math.h>

static const double cut_factor = 0.75;            /* by a time-out */
static const double least_factor = 0.5;           /* by slow answers, in one window */
static const double fall_share = 1.0 / 2;         /* of the way from the usual time to that of the window */
static const double rise_share = 1.0 / 64;        /* … when the limit is little used */
static const double rise_share_used = 1.0 / 1024; /* … when slowness may be of our own making */

static void begin_window(struct adaptive_limit *limit, uint64_t now_ms)
{
    limit->window_end_ms = now_ms + ADAPTIVE_WINDOW_MS;
    limit->sum_ms = 0;
    limit->answers = 0;
    limit->most_under_way = 0;
}

static void set(struct adaptive_limit *limit, double value)
{
    double minimum = limit->maximum < ADAPTIVE_MINIMUM ? limit->maximum : ADAPTIVE_MINIMUM;

    limit->limit = fmin(fmax(value, minimum), limit->maximum);
}

void adaptive_limit_init(struct adaptive_limit *limit, unsigned maximum)
{
    *limit = (struct adaptive_limit){.maximum = maximum};
    set(limit, ADAPTIVE_START);
}

unsigned adaptive_limit_now(const struct adaptive_limit *limit)
{
    return (unsigned)limit->limit;
}

static void end_window(struct adaptive_limit *limit)
{
    double took_ms = fmax(limit->sum_ms / limit->answers, 1);

    if (limit->usual_ms <= 0) {
        limit->usual_ms = took_ms;
    }
    bool used = limit->most_under_way * 2.0 >= limit->limit;
    double rise = used ? rise_share_used : rise_share;
    limit->usual_ms += (took_ms - limit->usual_ms) * (took_ms < limit->usual_ms ? fall_share : rise);
    if (!used) {
        return;
    }
    double factor = fmin(fmax(ADAPTIVE_TOLERANCE * limit->usual_ms / took_ms, least_factor), 1);
    set(limit, limit->limit * factor + (factor < 1 ? 0 : sqrt(limit->limit)));
}

void adaptive_limit_answered(struct adaptive_limit *limit, uint64_t took_ms, unsigned under_way, uint64_t now_ms)
{
    if (limit->window_end_ms == 0) {
        begin_window(limit, now_ms);
    }
    limit->sum_ms += (double)took_ms;
    limit->answers++;
    if (under_way > limit->most_under_way) {
        limit->most_under_way = under_way;
    }
    if (now_ms >= limit->window_end_ms && limit->answers >= ADAPTIVE_WINDOW_ANSWERS) {
        end_window(limit);
        begin_window(limit, now_ms);
    }
}

void adaptive_limit_timed_out(struct adaptive_limit *limit, uint64_t now_ms)
{
    if (now_ms < limit->next_cut_ms) {
        return;
    }
    set(limit, limit->limit * cut_factor);
    begin_window(limit, now_ms);
    limit->next_cut_ms = limit->window_end_ms;
}
