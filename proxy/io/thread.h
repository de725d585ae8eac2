/* thread.h: starting a thread that gets no signals but for its own faults: the others are the main thread's. Threads:
 * any. */
#ifndef PROXY_THREAD_H
#define PROXY_THREAD_H

#include <pthread.h>
#include <stdbool.h>

#include "http/check.h"

/* False: the system has no thread left for us. Threads that it starts itself, libuv's pool among them, inherit this. */
MUST_CHECK bool thread_start(pthread_t *out_thread, void *(*run)(void *arg), void *arg);

#endif
