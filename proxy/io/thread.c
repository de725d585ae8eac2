/* thread.c: pthread_create with signals blocked; a new thread has the mask of the one that made it.
 *
 * Not those that a thread brings upon itself: a fault while they are blocked ends the process without asking the
 * handler, and the store's guard (cache/store_guard.c) could not do what it is for. */
#include "proxy/io/thread.h"

#include <signal.h>

#include "http/check.h"

static const int own_faults[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGTRAP, SIGSYS};

bool thread_start(pthread_t *out_thread, void *(*run)(void *arg), void *arg)
{
    sigset_t all;
    sigset_t before;
    pthread_t thread;

    sigfillset(&all);
    for (size_t i = 0; i < ARRAY_LEN(own_faults); i++) {
        sigdelset(&all, own_faults[i]);
    }
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&thread, NULL, run, arg) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (started) {
        *out_thread = thread;
    }
    return started;
}
