/* little_endian.h: numbers in stored bytes: little-endian on any machine, at any address. Threads: any. */
#ifndef CACHE_LITTLE_ENDIAN_H
#define CACHE_LITTLE_ENDIAN_H

#include <stdint.h>

/* Writes the low `bytes` (8 at most) of `value`. */
static inline void le_put(char *at, unsigned bytes, uint64_t value)
{
    for (unsigned i = 0; i < bytes; i++) {
        at[i] = (char)(unsigned char)(value >> (8 * i) & 0xff);
    }
}

static inline uint64_t le_get(const char *at, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++) {
        value |= (uint64_t)(unsigned char)at[i] << (8 * i);
    }
    return value;
}

#endif
