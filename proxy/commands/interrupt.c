#include "proxy/commands/interrupt.h"

#include <signal.h>
#include <stddef.h>

#include "http/check.h"

static const int watched[] = {SIGINT, SIGTERM, SIGHUP};

static volatile sig_atomic_t came; /* the signal, 0: none */

static void on_signal(int number)
{
    came = number;
}

void interrupt_watch(void)
{
    struct sigaction action = {.sa_handler = on_signal}; /* without SA_RESTART: what waits is to end */
    struct sigaction before;

    (void)sigemptyset(&action.sa_mask); /* none of these can fail with what they are given */
    for (size_t i = 0; i < ARRAY_LEN(watched); i++) {
        if (sigaction(watched[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN) {
            (void)sigaction(watched[i], &action, NULL);
        }
    }
}

bool interrupt_came(void)
{
    return came != 0;
}

void interrupt_pass_on(void)
{
    if (came != 0) {
        (void)signal(came, SIG_DFL);
        (void)raise(came);
    }
}
