/* thread_shim.c: LD_PRELOAD library that lets the n-th thread since it was told not be started.
 *
 * The file named by $THREAD_CONTROL is mapped as struct control; a test changes it while the process runs. Without the
 * variable it does nothing. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "control.h"

enum { LOOK_MS = 1 };

struct control {
    _Atomic uint64_t calls;  /* of the process `pid`, since the test set it to 0 */
    _Atomic uint64_t at;     /* the one that fails; 0: none */
    _Atomic uint64_t failed; /* how many did, or are about to */
    _Atomic uint64_t hold;   /* not 0: it fails when this is 0 again */
    _Atomic uint64_t pid;    /* 0: of all */
};

static struct control *control;

__attribute__((constructor)) static void start(void)
{
    control = control_map("THREAD_CONTROL", sizeof(*control));
}

static bool fails(void)
{
    if (control == NULL || (control->pid != 0 && control->pid != (uint64_t)getpid()) ||
        ++control->calls != control->at) {
        return false;
    }
    control->failed++;
    while (control->hold != 0) {
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000}, NULL);
    }
    return true;
}

int pthread_create(pthread_t *out_thread, const pthread_attr_t *attributes, void *(*run)(void *arg), void *arg)
{
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    void *found = dlsym(RTLD_NEXT, "pthread_create");

    if (found == NULL || fails()) {
        return EAGAIN;
    }
    memcpy(&real, &found, sizeof(real));
    return real(out_thread, attributes, run, arg);
}
