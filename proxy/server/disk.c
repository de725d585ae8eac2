/* disk.c: the thread that does every write of the store.
 *
 * Happy path: has the store's pages looked at, where the start left that to be done behind it; then waits for work,
 * then for a batch's worth of it or BATCH_MS, and lets the cache write in one commit.
 *
 * Failures: the cache's own affair: it tells the fetches concerned, and goes on without storing. */
#include "proxy/server/disk.h"

#include <time.h>

#include "proxy/io/log.h"
#include "proxy/io/thread.h"

enum {
    WORK_MS = 1000,   /* the longest it sleeps: work that nobody queues (space to reclaim) is looked for then */
    REFUSED_MS = 100, /* after a failed commit, so that a full disk does not keep a core busy */
    BATCH_MS = 50,    /* the longest something queued waits for others to share its commit */
};

static void *run(void *arg);
static void check_pages(struct disk *disk);
static void write_batch(struct disk *disk);
static struct timespec time_in(long delay_ms);

enum err disk_start(struct disk *disk, struct cache *cache)
{
    *disk = (struct disk){.cache = cache};
    cache_start_writes(cache);
    disk->running = thread_start(&disk->thread, run, disk);
    return disk->running ? ERR_OK : ERR_NO_MEMORY;
}

void disk_stop(struct disk *disk)
{
    if (disk->running) {
        cache_stop_writes(disk->cache);
        pthread_join(disk->thread, NULL);
        disk->running = false;
    }
}

/* Damage is reported with the first batch, which fails. */
static void check_pages(struct disk *disk)
{
    struct store *store = cache_store(disk->cache);
    struct timespec from;
    struct timespec to;

    if (store_pages_checked(store)) {
        return;
    }
    log_info("the store's pages are looked at: until then nothing is stored");
    clock_gettime(CLOCK_MONOTONIC, &from);
    enum err error = store_check_pages(store);
    clock_gettime(CLOCK_MONOTONIC, &to);
    if (error == ERR_OK) {
        log_info("the store's pages are good ms=%lld",
                 (long long)(to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000);
    } else if (error != ERR_DAMAGED) {
        log_warn("looking at the store's pages was broken off");
    }
}

/* Says once that the disk refuses, and once that it does not any more; in between responses pass unstored. */
static void write_batch(struct disk *disk)
{
    bool written = cache_write(disk->cache);

    if (store_failed(cache_store(disk->cache)) && !disk->failed) {
        log_error("the store is out of order (%s): larder goes on without storing; a restart sets it aside",
                  store_failure(cache_store(disk->cache)));
        disk->failed = true;
    }
    if (written && disk->refused) {
        log_info("the disk takes writes again");
    }
    if (!written && !disk->refused && !disk->failed && !store_is_away(cache_store(disk->cache))) {
        const char *why = store_refusal(cache_store(disk->cache));
        log_warn("the disk refuses writes (%s): responses are passed on without being stored",
                 why == NULL ? "too much at once" : why);
    }
    disk->refused = !written && !store_is_away(cache_store(disk->cache));
    if (!written) {
        struct timespec pause = {.tv_nsec = REFUSED_MS * 1000000};
        nanosleep(&pause, NULL);
    }
}

static void *run(void *arg) /* start routine of pthread_create */
{
    struct disk *disk = arg;
    struct timespec until;

    check_pages(disk);
    until = time_in(WORK_MS);
    while (cache_wait(disk->cache, WAIT_FOR_WORK, &until)) {
        until = time_in(BATCH_MS);
        (void)cache_wait(disk->cache, WAIT_FOR_BATCH, &until); /* stopped or not: what is queued is written */
        write_batch(disk);
        until = time_in(WORK_MS);
    }
    return NULL;
}

static struct timespec time_in(long delay_ms)
{
    struct timespec time = {0};

    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_nsec += delay_ms * 1000000;
    time.tv_sec += time.tv_nsec / 1000000000;
    time.tv_nsec %= 1000000000;
    return time;
}
