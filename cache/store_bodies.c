/* store_bodies.c: input and output of the body file.
 *
 *  block       0  payload                     4072  u32 bytes of it in use     4076  12 zero bytes
 *           4088  u64 XXH3-64 of all before, seeded */
#define _GNU_SOURCE /* preadv2 */
#include "cache/store_bodies.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cache/store_gather.h"
#include "http/xxh3.h"

enum {
    STAT_BLOCK_BYTES = 512,        /* of st_blocks */
    AT_END = BODIES_PAYLOAD_BYTES, /* what is no payload */
    AT_LEN = AT_END,
    AT_CHECK = 4088,
    START_BLOCKS = 256, /* written behind each other: the disk may begin */
    WARM_BYTES = 64 * 1024,
    NUMBER_BITS = 24,
};

struct bodies {
    int fd;
    uint64_t secret;
    uint64_t max_blocks;          /* that it may ever have */
    _Atomic uint64_t block_count; /* that it has */
    bool unsynced;                /* the disk thread's, as are the next three */
    bool too_long;                /* what was reserved in vain could not be given back yet */
    struct extent unstarted;      /* written, in one run, and not yet on its way to the disk */
    struct gather gather;         /* not written yet */
    const char *map;              /* of all the blocks there may be, for bodies_view; NULL: none */
    atomic_ushort *checked; /* for each block, a tag of the piece whose check was right here; 0: none. Its memory is
                               touched for blocks that were read only. NULL: none */
};

_Static_assert((int)GATHER_BLOCK_BYTES == (int)BODIES_BLOCK_BYTES, "what is gathered are blocks");
_Static_assert((int)GATHER_END_BYTES == BODIES_BLOCK_BYTES - AT_END, "a block's end");

static enum err set_size(struct bodies *bodies, uint64_t *out_had_blocks, struct buf *note);
static struct span gather_block(struct bodies *bodies, const struct body_run *run, uint64_t index, struct span bytes);
static bool check_block(const struct bodies *bodies, uint64_t body_id, uint64_t number, const char *block,
                        struct span *out_payload);
static bool inside(const struct bodies *bodies, struct extent extent);
static uint16_t tag_of(const struct bodies *bodies, uint64_t body_id, uint64_t number);
static void open_view(struct bodies *bodies);

static enum err err_from_errno(int code)
{
    return code == ENOSPC || code == EDQUOT ? ERR_NO_SPACE : code == ENOMEM ? ERR_NO_MEMORY : ERR_IO;
}

/* ---- opening ---- */

enum err bodies_open(const char *path, const struct bodies_size *size, uint64_t secret, struct bodies **out_bodies,
                     uint64_t *out_had_blocks, struct buf *note)
{
    REQUIRE(size->blocks <= size->max_blocks);

    struct bodies *bodies = calloc(1, sizeof(*bodies));

    if (bodies == NULL) {
        return ERR_NO_MEMORY;
    }
    bodies->secret = secret;
    bodies->max_blocks = size->max_blocks;
    bodies->block_count = size->blocks;
    bodies->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    enum err error = ERR_OK;
    if (bodies->fd < 0) {
        error = err_from_errno(errno);
        buf_format(note, "cannot open %s: %s", path, strerror(errno));
    }
    if (error == ERR_OK) {
        error = set_size(bodies, out_had_blocks, note);
    }
    if (error != ERR_OK) {
        bodies_close(bodies);
        return error;
    }
    open_view(bodies);
    *out_bodies = bodies;
    return ERR_OK;
}

/* Without it every read copies. */
static void open_view(struct bodies *bodies)
{
    void *map = mmap(NULL, (size_t)(bodies->max_blocks * BODIES_BLOCK_BYTES), PROT_READ, MAP_SHARED, bodies->fd, 0);

    bodies->checked = calloc((size_t)bodies->max_blocks, sizeof(*bodies->checked)); /* zero pages until written to */
    if (map == MAP_FAILED || bodies->checked == NULL) {
        return;
    }
    bodies->map = map;
}

static enum err set_size(struct bodies *bodies, uint64_t *out_had_blocks, struct buf *note)
{
    uint64_t bytes = bodies->block_count * BODIES_BLOCK_BYTES;
    struct stat status;

    if (fstat(bodies->fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        buf_format(note, "the body file is not a file");
        return ERR_IO;
    }
    if ((uint64_t)status.st_size > bytes && ftruncate(bodies->fd, (off_t)bytes) != 0) {
        buf_format(note, "cannot cut the body file: %s", strerror(errno));
        return err_from_errno(errno);
    }
    /* A copy of the directory may have holes: then all of it. Else not even asked: of a file system that cannot do this
     * glibc writes to every block, at every start. */
    bool whole = (uint64_t)status.st_size == bytes && (uint64_t)status.st_blocks >= bytes / STAT_BLOCK_BYTES;
    int code = whole ? 0 : posix_fallocate(bodies->fd, 0, (off_t)bytes);
    if (code != 0) {
        buf_format(note, "cannot reserve %llu MiB for bodies: %s", (unsigned long long)bytes >> 20, strerror(code));
        if ((uint64_t)status.st_size < bytes &&
            ftruncate(bodies->fd, status.st_size) != 0) { /* gives back what it got */
            buf_format(note, "; nor give back what was: %s", strerror(errno));
        }
        return err_from_errno(code);
    }
    *out_had_blocks = (uint64_t)status.st_size / BODIES_BLOCK_BYTES;
    return ERR_OK;
}

int bodies_resize(struct bodies *bodies, uint64_t block_count)
{
    uint64_t had = bodies->block_count;

    REQUIRE(block_count <= bodies->max_blocks);
    REQUIRE(bodies->gather.extent.count == 0);
    if (block_count < had) {
        if (ftruncate(bodies->fd, (off_t)(block_count * BODIES_BLOCK_BYTES)) != 0) {
            return errno;
        }
    } else {
        int code = posix_fallocate(bodies->fd, (off_t)(had * BODIES_BLOCK_BYTES),
                                   (off_t)((block_count - had) * BODIES_BLOCK_BYTES));
        if (code != 0) {
            bodies->too_long =
                ftruncate(bodies->fd, (off_t)(had * BODIES_BLOCK_BYTES)) != 0; /* gives back what it got */
            return code;
        }
    }
    bodies->block_count = block_count;
    bodies->too_long = false;
    return 0;
}

enum err bodies_open_readonly(const char *path, uint64_t secret, struct bodies **out_bodies)
{
    struct bodies *bodies = calloc(1, sizeof(*bodies));

    if (bodies == NULL) {
        return ERR_NO_MEMORY;
    }
    bodies->secret = secret;
    bodies->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (bodies->fd < 0) {
        enum err error = errno == ENOENT ? ERR_NOT_FOUND : ERR_IO;
        bodies_close(bodies);
        return error;
    }
    bodies->block_count = INT64_MAX / BODIES_BLOCK_BYTES; /* it may become longer meanwhile; reads meet its end */
    *out_bodies = bodies;
    return ERR_OK;
}

void bodies_close(struct bodies *bodies)
{
    if (bodies == NULL) {
        return;
    }
    if (bodies->map != NULL) {
        (void)munmap((void *)(uintptr_t)bodies->map, (size_t)(bodies->max_blocks * BODIES_BLOCK_BYTES));
    }
    free(bodies->checked);
    if (bodies->fd >= 0) {
        close(bodies->fd);
    }
    free(bodies);
}

int bodies_descriptor(const struct bodies *bodies)
{
    return bodies == NULL ? -1 : bodies->fd;
}

/* ---- writing ---- */

/* What was checked there is being replaced. */
static void forget_checked(struct bodies *bodies, struct extent extent)
{
    for (uint64_t i = 0; bodies->checked != NULL && i < extent.count; i++) {
        atomic_ushort *tag = &bodies->checked[extent.first + i];
        if (atomic_load_explicit(tag, memory_order_relaxed) != 0) { /* else its memory need not be touched */
            atomic_store_explicit(tag, 0, memory_order_relaxed);
        }
    }
}

/* The disk writes what it has got while the rest of the batch is made: then bodies_sync has less to wait for. Errors
 * show there. Nine pairs of runs, with and without, of a mean of 82 KB an object, on a machine that had much else to
 * do: from a tenth fewer to three fifths more bytes a second, a sixth more on average; no more CPU time. */
static void start_writing(struct bodies *bodies)
{
    if (bodies->unstarted.count > 0) {
        (void)sync_file_range(bodies->fd, (off_t)(bodies->unstarted.first * BODIES_BLOCK_BYTES),
                              (off_t)(bodies->unstarted.count * BODIES_BLOCK_BYTES), SYNC_FILE_RANGE_WRITE);
    }
    bodies->unstarted = (struct extent){0};
}

static void note_written(struct bodies *bodies, struct extent extent)
{
    struct extent *unstarted = &bodies->unstarted;

    if (unstarted->first + unstarted->count != extent.first) {
        start_writing(bodies);
        unstarted->first = extent.first;
    }
    unstarted->count += extent.count;
    if (unstarted->count >= START_BLOCKS) {
        start_writing(bodies);
    }
}

static int write_gathered(struct bodies *bodies)
{
    struct extent extent = bodies->gather.extent;
    int code = gather_write(&bodies->gather, bodies->fd);

    if (code == 0) {
        note_written(bodies, extent);
    }
    return code;
}

int bodies_write(struct bodies *bodies, const struct body_run *run, struct span bytes)
{
    int code = 0;

    REQUIRE(inside(bodies, run->extent));
    REQUIRE((bytes.len + BODIES_PAYLOAD_BYTES - 1) / BODIES_PAYLOAD_BYTES == run->extent.count);
    bodies->unsynced = true;
    forget_checked(bodies, run->extent);
    for (uint64_t i = 0; i < run->extent.count && code == 0; i++) {
        if (!gather_fits(&bodies->gather, run->extent.first + i)) {
            code = write_gathered(bodies);
        }
        if (code == 0) {
            bytes = gather_block(bodies, run, i, bytes);
        }
    }
    return code;
}

void bodies_abort(struct bodies *bodies)
{
    gather_forget(&bodies->gather);
}

/* After a failure the kernel may have dropped what was not written and say nothing of it the next time. So the batch
 * must fail: then nothing refers to these blocks, and whoever takes them next writes them whole. */
int bodies_sync(struct bodies *bodies)
{
    if (bodies->too_long) {
        bodies->too_long = ftruncate(bodies->fd, (off_t)(bodies->block_count * BODIES_BLOCK_BYTES)) != 0;
    }
    if (!bodies->unsynced) {
        return 0;
    }
    int code = write_gathered(bodies);
    if (code != 0) {
        return code;
    }
    bodies->unstarted = (struct extent){0};
    if (fdatasync(bodies->fd) != 0) {
        return errno;
    }
    bodies->unsynced = false;
    return 0;
}

/* ---- reading ---- */

enum err bodies_read(const struct bodies *bodies, const struct body_run *run, enum bodies_wait wait, char *buffer,
                     struct span out_pieces[BODIES_READ_BLOCKS], size_t *out_count)
{
    ssize_t got;

    if (!inside(bodies, run->extent) || run->extent.count > BODIES_READ_BLOCKS) {
        return ERR_DAMAGED; /* of the row that said so */
    }
    struct iovec to = {.iov_base = buffer, .iov_len = (size_t)run->extent.count * BODIES_BLOCK_BYTES};
    do {
        got = preadv2(bodies->fd, &to, 1, (off_t)(run->extent.first * BODIES_BLOCK_BYTES),
                      wait == BODIES_NOW ? RWF_NOWAIT : 0);
    } while (got < 0 && errno == EINTR);
    if (got == 0 && wait == BODIES_WAIT) {
        return ERR_DAMAGED; /* behind the end: the row was of a body that is gone, with what it lay in */
    }
    if (got < BODIES_BLOCK_BYTES) {
        bool cold = got >= 0 || errno == EAGAIN || errno == EOPNOTSUPP || errno == ENOSYS;
        return cold && wait == BODIES_NOW ? ERR_COLD : ERR_IO;
    }
    size_t count = 0;
    while (count < (size_t)got / BODIES_BLOCK_BYTES &&
           check_block(bodies, run->body_id, run->number + count, buffer + count * BODIES_BLOCK_BYTES,
                       &out_pieces[count])) {
        if (bodies->checked != NULL && out_pieces[count].len == BODIES_PAYLOAD_BYTES) {
            atomic_store_explicit(&bodies->checked[run->extent.first + count],
                                  tag_of(bodies, run->body_id, run->number + count), memory_order_relaxed);
        }
        count++;
    }
    if (count == 0) {
        return ERR_DAMAGED; /* one that comes later shows when it is the first */
    }
    *out_count = count;
    return ERR_OK;
}

/* How many of the first `count` blocks are in memory. */
static size_t resident(const struct bodies *bodies, uint64_t first, size_t count)
{
    unsigned char pages[BODIES_READ_BLOCKS];
    size_t found = 0;

    if (sysconf(_SC_PAGESIZE) != BODIES_BLOCK_BYTES ||
        mincore((void *)(uintptr_t)(bodies->map + first * BODIES_BLOCK_BYTES), count * BODIES_BLOCK_BYTES, pages) !=
            0) {
        return 0;
    }
    while (found < count && (pages[found] & 1) != 0) {
        found++;
    }
    return found;
}

size_t bodies_view(const struct bodies *bodies, const struct body_run *run, bool probe,
                   struct span out_pieces[BODIES_READ_BLOCKS])
{
    size_t count = 0;

    if (bodies->map == NULL || !inside(bodies, run->extent)) {
        return 0;
    }
    while (count < run->extent.count && count < BODIES_READ_BLOCKS &&
           atomic_load_explicit(&bodies->checked[run->extent.first + count], memory_order_relaxed) ==
               tag_of(bodies, run->body_id, run->number + count)) {
        count++;
    }
    if (probe && count > 0) {
        count = resident(bodies, run->extent.first, count);
    }
    for (size_t i = 0; i < count; i++) {
        out_pieces[i] = (struct span){bodies->map + (run->extent.first + i) * BODIES_BLOCK_BYTES, BODIES_PAYLOAD_BYTES};
    }
    return count;
}

void bodies_prefetch(const struct bodies *bodies, struct extent extent)
{
    if (inside(bodies, extent)) {
        (void)posix_fadvise(bodies->fd, (off_t)(extent.first * BODIES_BLOCK_BYTES),
                            (off_t)(extent.count * BODIES_BLOCK_BYTES), POSIX_FADV_WILLNEED); /* advice */
    }
}

void bodies_warm(const struct bodies *bodies, struct extent extent)
{
    char bytes[WARM_BYTES];
    off_t at = (off_t)(extent.first * BODIES_BLOCK_BYTES);
    off_t end = (off_t)((extent.first + extent.count) * BODIES_BLOCK_BYTES);

    if (!inside(bodies, extent)) {
        return;
    }
    while (at < end) {
        size_t len = end - at < WARM_BYTES ? (size_t)(end - at) : WARM_BYTES;
        ssize_t got = pread(bodies->fd, bytes, len, at);
        if (got <= 0) {
            return;
        }
        at += got;
    }
}

/* ---- blocks ---- */

static uint64_t seed_of(const struct bodies *bodies, uint64_t body_id, uint64_t number)
{
    return (body_id << NUMBER_BITS | number) ^ bodies->secret;
}

/* Never 0. */
static uint16_t tag_of(const struct bodies *bodies, uint64_t body_id, uint64_t number)
{
    return (uint16_t)((seed_of(bodies, body_id, number) * UINT64_C(0x9e3779b97f4a7c15)) >> 48 | 1);
}

/* Gathers the run's block of that index, with the first bytes of `bytes`. Returns the rest. */
static struct span gather_block(struct bodies *bodies, const struct body_run *run, uint64_t index, struct span bytes)
{
    static const char zeros[BODIES_PAYLOAD_BYTES];
    struct span payload = span_take(bytes, BODIES_PAYLOAD_BYTES);
    struct span padding = {zeros, BODIES_PAYLOAD_BYTES - payload.len};
    char end[GATHER_END_BYTES] = {0};
    uint32_t len = (uint32_t)payload.len;
    XXH3_state_t state;

    memcpy(end + (AT_LEN - AT_END), &len, sizeof(len));
    XXH3_INITSTATE(&state);
    (void)XXH3_64bits_reset_withSeed(&state, seed_of(bodies, run->body_id, run->number + index));
    (void)XXH3_64bits_update(&state, payload.data, payload.len); /* these fail only for NULL */
    (void)XXH3_64bits_update(&state, padding.data, padding.len);
    (void)XXH3_64bits_update(&state, end, AT_CHECK - AT_END);
    uint64_t check = XXH3_64bits_digest(&state);
    memcpy(end + (AT_CHECK - AT_END), &check, sizeof(check));
    gather_add(&bodies->gather, run->extent.first + index, payload, padding, end);
    return span_skip(bytes, payload.len);
}

static bool check_block(const struct bodies *bodies, uint64_t body_id, uint64_t number, const char *block,
                        struct span *out_payload)
{
    uint64_t check;
    uint32_t len;

    memcpy(&check, block + AT_CHECK, sizeof(check));
    memcpy(&len, block + AT_LEN, sizeof(len));
    if (check != XXH3_64bits_withSeed(block, AT_CHECK, seed_of(bodies, body_id, number)) || len == 0 ||
        len > BODIES_PAYLOAD_BYTES) {
        return false;
    }
    *out_payload = (struct span){block, len};
    return true;
}

static bool inside(const struct bodies *bodies, struct extent extent)
{
    uint64_t count = atomic_load_explicit(&bodies->block_count, memory_order_relaxed);

    return extent.count > 0 && extent.first < count && extent.count <= count - extent.first;
}
