/* disk.h: the one thread that runs the cache's writes (cache_write). Event loops never wait for it. */
#ifndef PROXY_DISK_H
#define PROXY_DISK_H

#include <pthread.h>

#include "cache/cache.h"

struct disk {
    struct cache *cache;
    pthread_t thread;
    bool running;
    bool refused; /* the last commit failed */
    bool failed;  /* the store had failed when it was last looked at */
};

MUST_CHECK enum err disk_start(struct disk *disk, struct cache *cache);
void disk_stop(
    struct disk *disk); /* writes everything that is queued, then returns; accepts a zeroed one. May be started again */

#endif
