/* interrupt.h: Ctrl-C and its sisters, for a command that has something to clear away before it ends.
 *
 * SIGINT, SIGTERM and SIGHUP are noted, and end a read or write that waits for the other side (EINTR); the command asks
 * now and then, clears up, says what it leaves, and the process ends by the same signal after all, so that a shell or a
 * service manager sees what happened. Threads: one. */
#ifndef PROXY_INTERRUPT_H
#define PROXY_INTERRUPT_H

#include <stdbool.h>

/* From now on. A signal that is ignored (nohup) stays so. */
void interrupt_watch(void);

bool interrupt_came(void);

/* Ends the process by the signal that came; returns where none did. */
void interrupt_pass_on(void);

#endif
