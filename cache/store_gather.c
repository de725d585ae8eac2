/* store_gather.c: see store_gather.h. */
#define _GNU_SOURCE /* pwritev */
#include "cache/store_gather.h"

#include <errno.h>
#include <string.h>

bool gather_fits(const struct gather *gather, uint64_t block)
{
    const struct extent *extent = &gather->extent;

    return extent->count == 0 || (block == extent->first + extent->count && block % GATHER_BLOCKS != 0);
}

static void add_run(struct gather *gather, struct span bytes)
{
    if (bytes.len > 0) {
        gather->runs[gather->run_count] =
            (struct iovec){(void *)(uintptr_t)bytes.data, bytes.len}; /* it is only read */
        gather->run_count++;
    }
}

void gather_add(struct gather *gather, uint64_t block, struct span payload, struct span padding,
                const char end[GATHER_END_BYTES])
{
    char *kept_end = gather->ends[gather->extent.count];

    REQUIRE(gather_fits(gather, block));
    REQUIRE(payload.len + padding.len + GATHER_END_BYTES == GATHER_BLOCK_BYTES);
    if (gather->extent.count == 0) {
        gather->extent.first = block;
    }
    gather->extent.count++;
    memcpy(kept_end, end, GATHER_END_BYTES);
    add_run(gather, payload);
    add_run(gather, padding);
    add_run(gather, (struct span){kept_end, GATHER_END_BYTES});
}

/* Takes the first `count` bytes off the runs. Returns how many runs that empties. */
static size_t skip(struct iovec *runs, size_t count)
{
    size_t emptied = 0;

    while (count > 0 && count >= runs[emptied].iov_len) {
        count -= runs[emptied].iov_len;
        emptied++;
    }
    if (count > 0) {
        runs[emptied].iov_base = (char *)runs[emptied].iov_base + count;
        runs[emptied].iov_len -= count;
    }
    return emptied;
}

int gather_write(struct gather *gather, int fd)
{
    size_t done = 0; /* runs */
    off_t at = (off_t)(gather->extent.first * GATHER_BLOCK_BYTES);
    int code = 0;

    while (done < gather->run_count && code == 0) {
        ssize_t written = pwritev(fd, gather->runs + done, (int)(gather->run_count - done), at);
        if (written > 0) {
            done += skip(gather->runs + done, (size_t)written);
            at += written;
        } else if (written == 0) {
            code = EIO;
        } else if (errno != EINTR) {
            code = errno;
        }
    }
    gather_forget(gather);
    return code;
}

void gather_forget(struct gather *gather)
{
    gather->extent = (struct extent){0};
    gather->run_count = 0;
}
