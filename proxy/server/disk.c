/* disk.c: the thread that does every write of the store.
 *
 * Happy path: has the store's pages looked at, where the start left that to be done behind it; then waits for work,
 * then for a batch's worth of it or BATCH_MS, and lets the cache write in one commit. When the cache's writes are
 * stopped it writes what is queued, and waits to be told what that was for: a pause, or the end.
 *
 * Scheduling: SCHED_BATCH, which takes nothing from its share of the processors, but it interrupts no other thread when
 * it is woken. It is woken by workers, in the midst of a request, and the kernel would run it in their place for up to
 * some milliseconds: while 100 MB/s were stored on two busy cores that befell the worker 24 to 33 times a second, and
 * now at most once. Of the 99th percentile of hits meanwhile (0.90 ms; 0.55 for a server beside it that stores nothing)
 * it took 0.23 ms. Not a lower priority: it brought nothing more, workers wait for mutexes that this thread holds, and
 * it must write as much as they fetch.
 *
 * Failures: the cache's own affair: it tells the fetches concerned, and goes on without storing. */
#define _GNU_SOURCE /* SCHED_BATCH */
#include "proxy/server/disk.h"

#include <sched.h>
#include <time.h>

#include "http/check.h"
#include "proxy/io/log.h"
#include "proxy/io/thread.h"

enum {
    WORK_MS = 1000,   /* the longest it sleeps: work that nobody queues (space to reclaim) is looked for then */
    REFUSED_MS = 100, /* after a failed commit, so that a full disk does not keep a core busy */
    BATCH_MS = 50,    /* the longest something queued waits for others to share its commit */
};

static void finish(struct disk *disk);
static void tell(struct disk *disk, enum disk_wish wish);
static void *run(void *arg);
static void interrupt_nobody(void);
static void check_pages(struct disk *disk);
static void write_batch(struct disk *disk);
static struct timespec time_in(long delay_ms);

enum err disk_start(struct disk *disk, struct cache *cache)
{
    *disk = (struct disk){.cache = cache};
    cache_start_writes(cache);
    REQUIRE(pthread_mutex_init(&disk->mutex, NULL) == 0);
    REQUIRE(pthread_cond_init(&disk->changed, NULL) == 0);
    if (!thread_start(&disk->thread, run, disk)) {
        finish(disk);
        return ERR_NO_MEMORY;
    }
    disk->running = true;
    return ERR_OK;
}

/* The thread has done as it was told: the next wish does not take the place of this one. */
static void wait_until(struct disk *disk, bool parked)
{
    pthread_mutex_lock(&disk->mutex);
    while (disk->parked != parked) {
        pthread_cond_wait(&disk->changed, &disk->mutex);
    }
    pthread_mutex_unlock(&disk->mutex);
}

void disk_pause(struct disk *disk)
{
    tell(disk, DISK_PAUSES);
    cache_stop_writes(disk->cache);
    wait_until(disk, true);
}

void disk_resume(struct disk *disk)
{
    cache_start_writes(disk->cache);
    tell(disk, DISK_WRITES);
    wait_until(disk, false);
}

void disk_stop(struct disk *disk)
{
    if (disk->running) {
        tell(disk, DISK_ENDS);
        cache_stop_writes(disk->cache);
        pthread_join(disk->thread, NULL);
        finish(disk);
    }
}

static void finish(struct disk *disk)
{
    pthread_cond_destroy(&disk->changed);
    pthread_mutex_destroy(&disk->mutex);
    *disk = (struct disk){0};
}

static void tell(struct disk *disk, enum disk_wish wish)
{
    pthread_mutex_lock(&disk->mutex);
    disk->wish = wish;
    pthread_cond_broadcast(&disk->changed);
    pthread_mutex_unlock(&disk->mutex);
}

/* All is written. True: it was a pause, and that is over. */
static bool park(struct disk *disk)
{
    pthread_mutex_lock(&disk->mutex);
    disk->parked = disk->wish == DISK_PAUSES;
    pthread_cond_broadcast(&disk->changed);
    while (disk->wish == DISK_PAUSES) {
        pthread_cond_wait(&disk->changed, &disk->mutex);
    }
    disk->parked = false;
    pthread_cond_broadcast(&disk->changed);
    bool goes_on = disk->wish == DISK_WRITES;
    pthread_mutex_unlock(&disk->mutex);
    return goes_on;
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
        log_warn("%s (%s): responses are passed on without being stored",
                 store_disk_refuses(cache_store(disk->cache)) ? "the disk refuses writes" : "a batch was not written",
                 why == NULL ? "too much at once" : why);
    }
    disk->refused = !written && !store_is_away(cache_store(disk->cache));
    if (!written) {
        struct timespec pause = {.tv_nsec = REFUSED_MS * 1000000};
        nanosleep(&pause, NULL);
    }
}

/* Nobody who writes into a deleted file hears of it. */
static void look_for_files(struct disk *disk)
{
    if (!disk->deleted && store_look_for_files(cache_store(disk->cache))) {
        log_error(
            "files of the store were deleted under larder: it goes on with them, but a restart will not find what "
            "they hold, and their room is free only then");
        disk->deleted = true;
    }
}

/* Until the cache's writes are stopped, and all that was queued then is written. */
static void write_queued(struct disk *disk)
{
    struct timespec until = time_in(WORK_MS);

    while (cache_wait(disk->cache, WAIT_FOR_WORK, &until)) {
        look_for_files(disk);
        until = time_in(BATCH_MS);
        (void)cache_wait(disk->cache, WAIT_FOR_BATCH, &until); /* stopped or not: what is queued is written */
        write_batch(disk);
        until = time_in(WORK_MS);
    }
}

static void *run(void *arg) /* start routine of pthread_create */
{
    struct disk *disk = arg;

    interrupt_nobody();
    do {
        check_pages(disk);
        write_queued(disk);
    } while (park(disk));
    return NULL;
}

/* Where larder runs under another policy, an operator has chosen it. Where the system refuses (a filter of system
 * calls), this thread remains as it was. */
static void interrupt_nobody(void)
{
    struct sched_param none = {0};

    if (sched_getscheduler(0) == SCHED_OTHER) { /* 0: this thread */
        (void)sched_setscheduler(0, SCHED_BATCH, &none);
    }
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
