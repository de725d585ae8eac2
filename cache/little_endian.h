/* little_endian.h: numbers in stored bytes: little-endian on any machine, at any address. Threads: any. */
#ifndef CACHE_LITTLE_ENDIAN_H
#define CACHE_LITTLE_ENDIAN_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

/* Writes the low `bytes` (8 at most) of `value`. */
static inline void le_put(char *at, unsigned bytes, uint64_t value)
{
    uint64_t stored = htole64(value);

    memcpy(at, &stored, bytes);
}

static inline uint64_t le_get(const char *at, unsigned bytes)
{
    uint64_t stored = 0;

    memcpy(&stored, at, bytes);
    return le64toh(stored);
}

#endif
