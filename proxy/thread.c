/* thread.c: pthread_create with all signals blocked; a new thread has the mask of the one that made it. */
#include "proxy/thread.h"

#include <signal.h>

bool thread_start(pthread_t *out_thread, void *(*run)(void *arg), void *arg)
{
    sigset_t all;
    sigset_t before;
    pthread_t thread;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&thread, NULL, run, arg) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started) {
        *out_thread = thread;
    }
    return started;
}
