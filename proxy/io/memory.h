/* memory.h: how much memory this process and its page cache may have. Threads: any. */
#ifndef PROXY_MEMORY_H
#define PROXY_MEMORY_H

#include <stdint.h>

/* The machine's, or the least limit of the control groups (version 1 or 2) that the process is in. */
uint64_t memory_limit_bytes(void);

#endif
