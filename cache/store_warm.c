/* store_warm.c: what is on the disk and not in memory.
 *
 * An event loop that touched a page of the map which is not in memory would wait for the disk, 0.1 to 1 ms, and all its
 * clients with it. So it asks first. Both questions and both answers go through file descriptors, for LMDB's file, too:
 * the page cache is one, and a read reports a bad sector where a page fault would be a signal.
 *
 * A piece in LMDB is one page; the pages of one body need not lie together. */
#define _GNU_SOURCE /* preadv2 */
#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cache/store_internal.h"

bool file_is_resident(int fd, uint64_t offset)
{
    char byte;
    struct iovec to = {.iov_base = &byte, .iov_len = 1};

    return preadv2(fd, &to, 1, (off_t)offset, RWF_NOWAIT) == 1;
}

bool reader_is_cold(struct store_reader *reader, uint64_t body_id, uint64_t number, struct store_cold *out_cold)
{
    const struct store *store = reader->store;
    mdb_filehandle_t fd;
    MDB_val value;

    out_cold->count = 0;
    if (mdb_env_get_fd(store->env, &fd) != 0) {
        return false;
    }
    while (out_cold->count < STORE_COLD_RUNS &&
           reader_find_piece(reader, body_id, number + out_cold->count, out_cold->count == 0, &value) == 0) {
        uint64_t offset = (uint64_t)((const char *)value.mv_data - store->map);
        if (out_cold->count == 0 && file_is_resident(fd, offset)) {
            return false;
        }
        out_cold->runs[out_cold->count] =
            (struct store_cold_run){.offset = offset - offset % store->page_bytes, .bytes = store->page_bytes};
        out_cold->count++;
    }
    return out_cold->count > 0;
}

void store_warm(const struct store *store, const struct store_cold *cold)
{
    mdb_filehandle_t fd;

    if (store_failed(store) || mdb_env_get_fd(store->env, &fd) != 0) {
        return;
    }
    for (size_t i = 0; i < cold->count; i++) {
        const struct store_cold_run *run = &cold->runs[i];
        char byte;

        if (run->in_bodies) {
            bodies_warm(store->bodies,
                        (struct extent){run->offset / BODIES_BLOCK_BYTES, run->bytes / BODIES_BLOCK_BYTES});
        } else {
            if (pread(fd, &byte, 1, (off_t)run->offset) < 0) {
                return; /* the next read says what is wrong */
            }
        }
    }
}
