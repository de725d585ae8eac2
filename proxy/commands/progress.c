#include "proxy/commands/progress.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { EVERY_MS = 100, BAR_CELLS = 30 };

static uint64_t now_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void progress_begin(struct progress *progress, const char *label, uint64_t total, bool quiet)
{
    *progress = (struct progress){.label = label, .total = total, .on = !quiet && isatty(STDERR_FILENO) == 1};
}

void progress_step(struct progress *progress, uint64_t done)
{
    char bar[BAR_CELLS + 1];

    if (!progress->on) {
        return;
    }
    uint64_t now = now_ms();
    if (now - progress->shown_ms < EVERY_MS) {
        return;
    }
    progress->shown_ms = now;
    if (progress->total == 0) {
        fprintf(stderr, "\r\033[K%s  %llu", progress->label, (unsigned long long)done);
        return;
    }
    uint64_t known = done < progress->total ? done : progress->total;
    unsigned filled = (unsigned)((double)known / (double)progress->total * BAR_CELLS);
    for (unsigned i = 0; i < BAR_CELLS; i++) {
        bar[i] = i < filled ? '=' : i == filled ? '>' : ' ';
    }
    bar[BAR_CELLS] = '\0';
    fprintf(stderr, "\r\033[K%s  [%s] %3u %%  %llu of %llu", progress->label, bar,
            (unsigned)((double)known / (double)progress->total * 100), (unsigned long long)done,
            (unsigned long long)progress->total);
}

void progress_end(struct progress *progress)
{
    if (progress->on && progress->shown_ms != 0) {
        fputs("\r\033[K", stderr);
    }
    progress->on = false;
}
