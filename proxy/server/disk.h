/* disk.h: the one thread that runs the cache's writes (cache_write). Event loops never wait for it.
 *
 * Threads: these functions are the main thread's. */
#ifndef PROXY_DISK_H
#define PROXY_DISK_H

#include <pthread.h>

#include "cache/cache.h"

enum disk_wish {
    DISK_WRITES,
    DISK_PAUSES,
    DISK_ENDS,
};

struct disk {
    struct cache *cache;
    pthread_t thread;
    bool running;
    pthread_mutex_t mutex; /* guards `wish` and `parked` */
    pthread_cond_t changed;
    enum disk_wish wish;
    bool parked; /* all is written, and it waits for another wish */

    /* the thread's own */
    bool refused; /* the last commit failed */
    bool failed;  /* the store had failed when it was last looked at */
    bool deleted; /* it was said that files of it are */
};

/* ERR_NO_MEMORY: no thread can be had, and `disk` is as one zeroed. */
MUST_CHECK enum err disk_start(struct disk *disk, struct cache *cache);

/* Returns when everything that was queued is written. Nothing is written from then on until disk_resume: the thread is
 * kept meanwhile, because another might not be had. */
void disk_pause(struct disk *disk);
void disk_resume(struct disk *disk);

/* Writes everything that is queued, and ends; accepts a zeroed one. */
void disk_stop(struct disk *disk);

#endif
