/* store_file.c: what is done to the store's directory before LMDB may see it.
 *
 * LMDB maps the file and believes it: a file shorter than its meta pages say ends the process with SIGBUS. So the two
 * meta pages are read by hand first:
 *
 *     page n (n = 0, 1), 16 bytes of page header     10 u16 flags, bit 3: a meta page
 *     16  u32 magic      20  u32 version
 *     40  u32 page size  80  u64 root of the free list's tree
 *                       128  u64 root of the main tree
 *     136 u64 last page  144 u64 transaction
 *
 * The later transaction's page is the one in force. */
#define _GNU_SOURCE /* F_OFD_SETLK, O_PATH */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/store_batch.h"
#include "cache/store_tools.h"

#define LMDB_LOCK_FILE "lock.mdb"
#define SET_ASIDE      "data.mdb.damaged-"
#define META_MAGIC     0xBEEFC0DEu
#define META_VERSION   1u
#define META_PAGE_FLAG 0x08u
#define PAGE_NONE      UINT64_MAX /* the root of an empty tree */

enum {
    META_COUNT = 2,
    META_BYTES = 152, /* of a meta page, as far as it is looked at */
    AT_FLAGS = 10,
    AT_MAGIC = 16,
    AT_VERSION = 20,
    AT_PAGE_BYTES = 40,
    AT_FREE_ROOT = 80,
    AT_MAIN_ROOT = 128,
    AT_LAST_PAGE = 136,
};

static enum err err_from_errno(int code);
static enum err check_meta(const char meta[META_BYTES], uint64_t page_bytes, uint64_t file_bytes, uint64_t *out_last,
                           struct buf *note);
static uint64_t newest_set_aside(const char *dir);
static void remove_set_aside(const char *dir, uint64_t newest);

enum err store_file_lock(const char *dir, int *out_lock_fd, struct buf *note)
{
    char path[PATH_MAX];

    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        enum err error = err_from_errno(errno);
        buf_format(note, "cannot make the directory %s: %s", dir, strerror(errno));
        return error;
    }
    if (!store_file_path(dir, STORE_LOCK_FILE, path)) {
        buf_format(note, "the directory's name is too long");
        return ERR_IO;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        enum err error = err_from_errno(errno);
        buf_format(note, "cannot open %s: %s", path, strerror(errno));
        return error;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        enum err error = errno == EWOULDBLOCK ? ERR_IN_USE : err_from_errno(errno);
        buf_format(note, "cannot lock %s: %s", path,
                   error == ERR_IN_USE ? "another process uses this directory" : strerror(errno));
        close(fd);
        return error;
    }
    /* So that it can be asked for without taking it. Where the file system has none of these, what shows that a process
     * has opened the store is what it writes. */
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    (void)fcntl(fd, F_OFD_SETLK, &whole);
    *out_lock_fd = fd;
    return ERR_OK;
}

bool store_file_is_locked(const char *dir)
{
    char path[PATH_MAX];
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = store_file_path(dir, STORE_LOCK_FILE, path) ? open(path, O_RDONLY | O_CLOEXEC) : -1;

    if (fd < 0) {
        return false;
    }
    bool locked = fcntl(fd, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
    close(fd);
    return locked;
}

enum err store_file_check(const char *dir, uint64_t *out_pages, struct buf *note)
{
    char path[PATH_MAX];
    char meta[META_BYTES];
    struct stat status;
    uint64_t page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    enum err error = ERR_OK;

    if (!store_file_path(dir, STORE_DATA_FILE, path)) {
        return ERR_IO;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        error = errno == ENOENT ? ERR_NOT_FOUND : err_from_errno(errno);
        if (error != ERR_NOT_FOUND) {
            buf_format(note, "cannot open %s: %s", path, strerror(errno));
        }
        return error;
    }
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) {
        buf_format(note, "%s is not a file", path);
        close(fd);
        return ERR_IO;
    }
    if (status.st_size == 0) {
        close(fd);
        return ERR_NOT_FOUND; /* made and not written yet when the machine stopped: LMDB starts it anew */
    }
    *out_pages = META_COUNT;
    for (unsigned i = 0; i < META_COUNT && error == ERR_OK; i++) {
        uint64_t last = 0;
        ssize_t got = pread(fd, meta, sizeof(meta), (off_t)(i * page_bytes));

        if (got < 0) {
            error = err_from_errno(errno);
            buf_format(note, "cannot read %s: %s", path, strerror(errno));
        } else if (got < (ssize_t)sizeof(meta)) {
            error = ERR_DAMAGED;
            buf_format(note, "the data file is truncated");
        } else {
            error = check_meta(meta, page_bytes, (uint64_t)status.st_size, &last, note);
        }
        if (error == ERR_OK && last + 1 > *out_pages) {
            *out_pages = last + 1;
        }
    }
    close(fd);
    return error;
}

bool store_file_is_missed(const char *dir, struct buf *note)
{
    char path[PATH_MAX];
    struct stat status;
    bool there = store_file_path(dir, STORE_DATA_FILE, path) && stat(path, &status) == 0 && status.st_size > 0;

    if (there || store_body_file_blocks(dir) == 0) {
        return false;
    }
    buf_format(note, "%s/%s is missing or empty, and what it said of the bodies beside it is lost: the store is empty",
               dir, STORE_DATA_FILE);
    return true;
}

enum err store_file_set_aside(const char *dir, struct buf *note)
{
    char from[PATH_MAX];
    char to[PATH_MAX];
    char name[64];
    uint64_t number = newest_set_aside(dir) + 1;

    snprintf(name, sizeof(name), SET_ASIDE "%llu", (unsigned long long)number);
    if (!store_file_path(dir, STORE_DATA_FILE, from) || !store_file_path(dir, name, to)) {
        return ERR_IO;
    }
    if (rename(from, to) != 0) {
        enum err error = err_from_errno(errno);
        buf_format(note, "; cannot set it aside: %s", strerror(errno));
        return error;
    }
    /* Only then: whatever happens, the newest one is kept. One is enough to find out what went wrong. */
    remove_set_aside(dir, number);
    buf_format(note,
               "; it was set aside as %s (%llu MiB, nobody needs it: delete it at will), and the store starts empty",
               to, (unsigned long long)(store_file_set_aside_bytes(dir) >> 20));
    return ERR_OK;
}

uint64_t store_file_set_aside_bytes(const char *dir)
{
    enum { STAT_BLOCK_BYTES = 512 };
    char path[PATH_MAX];
    char name[64];
    struct stat status;

    snprintf(name, sizeof(name), SET_ASIDE "%llu", (unsigned long long)newest_set_aside(dir));
    return store_file_path(dir, name, path) && stat(path, &status) == 0 ? (uint64_t)status.st_blocks * STAT_BLOCK_BYTES
                                                                        : 0;
}

uint64_t store_file_stamp(const char *dir)
{
    return store_file_changed_ns(dir, STORE_DATA_FILE);
}

uint64_t store_file_changed_ns(const char *dir, const char *name)
{
    char path[PATH_MAX];
    struct stat status;

    if (!store_file_path(dir, name, path) || stat(path, &status) != 0) {
        return 0;
    }
    return (uint64_t)status.st_ctim.tv_sec * 1000000000 + (uint64_t)status.st_ctim.tv_nsec;
}

struct store_owner store_file_owner(const char *dir)
{
    char path[PATH_MAX];
    struct stat status;

    if ((store_file_path(dir, STORE_DATA_FILE, path) && stat(path, &status) == 0) || stat(dir, &status) == 0) {
        return (struct store_owner){.user = status.st_uid, .group = status.st_gid};
    }
    return (struct store_owner){.user = geteuid(), .group = getegid()};
}

void store_file_give(const char *dir, struct store_owner owner)
{
    static const char *const names[] = {STORE_LOCK_FILE, LMDB_LOCK_FILE, STORE_DATA_FILE, STORE_BODIES_FILE,
                                        STORE_MARKER_FILE};
    struct stat status;

    if (geteuid() != 0 || owner.user == 0) {
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[PATH_MAX];
        /* O_PATH: closing another descriptor of LMDB's lock file would drop its locks. */
        int fd = store_file_path(dir, names[i], path) ? open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC) : -1;
        if (fd < 0) {
            continue;
        }
        if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && status.st_nlink == 1 && status.st_uid == 0) {
            (void)fchownat(fd, "", owner.user, owner.group, AT_EMPTY_PATH); /* refused: then it stays root's */
        }
        close(fd);
    }
}

bool store_file_path(const char *dir, const char *name, char out_path[PATH_MAX])
{
    int len = snprintf(out_path, PATH_MAX, "%s/%s", dir, name);

    return len > 0 && len < PATH_MAX;
}

enum err store_file_replace(const char *dir, const char *replacement)
{
    char path[PATH_MAX];
    char from[PATH_MAX];

    if (!store_file_path(dir, STORE_DATA_FILE, path)) {
        return ERR_IO;
    }
    if (replacement == NULL) {
        return unlink(path) == 0 || errno == ENOENT ? ERR_OK : err_from_errno(errno);
    }
    if (!store_file_path(dir, replacement, from) || rename(from, path) != 0) {
        return ERR_IO;
    }
    /* After a power cut it would be the old file else: larger, but whole. */
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        (void)fsync(fd);
        close(fd);
    }
    return ERR_OK;
}

void store_file_remove_copy(const char *dir)
{
    char path[PATH_MAX];

    if (store_file_path(dir, STORE_COMPACT_FILE, path)) {
        (void)unlink(path); /* there may be none */
    }
}

static enum err err_from_errno(int code)
{
    return code == ENOSPC || code == EDQUOT ? ERR_NO_SPACE : code == ENOMEM ? ERR_NO_MEMORY : ERR_IO;
}

static uint64_t number_at(const char *meta, size_t at, size_t bytes)
{
    uint32_t small;
    uint64_t large;

    if (bytes == sizeof(small)) {
        memcpy(&small, meta + at, sizeof(small));
        return small;
    }
    memcpy(&large, meta + at, sizeof(large));
    return large;
}

static enum err check_meta(const char meta[META_BYTES], uint64_t page_bytes, uint64_t file_bytes, uint64_t *out_last,
                           struct buf *note)
{
    uint16_t flags;

    memcpy(&flags, meta + AT_FLAGS, sizeof(flags));
    if ((flags & META_PAGE_FLAG) == 0 || number_at(meta, AT_MAGIC, 4) != META_MAGIC) {
        buf_format(note, "the data file is not LMDB's");
        return ERR_FOREIGN;
    }
    if (number_at(meta, AT_VERSION, 4) != META_VERSION) {
        buf_format(note, "the data file is of another version of LMDB");
        return ERR_FOREIGN;
    }
    if (number_at(meta, AT_PAGE_BYTES, 4) != page_bytes) {
        buf_format(note, "the data file was made with another page size");
        return ERR_FOREIGN;
    }
    uint64_t last = number_at(meta, AT_LAST_PAGE, 8);
    uint64_t free_root = number_at(meta, AT_FREE_ROOT, 8);
    uint64_t main_root = number_at(meta, AT_MAIN_ROOT, 8);
    if (last < META_COUNT - 1 || last >= file_bytes / page_bytes) {
        buf_format(note, "the data file is truncated");
        return ERR_DAMAGED;
    }
    if ((free_root > last && free_root != PAGE_NONE) || (main_root > last && main_root != PAGE_NONE)) {
        buf_format(note, "the data file is damaged");
        return ERR_DAMAGED;
    }
    *out_last = last;
    return ERR_OK;
}

/* The number behind SET_ASIDE in a file's name; false for other files. */
static bool set_aside_number(const char *name, uint64_t *out_number)
{
    struct span text = span_of(name);

    return span_starts_with(text, SPAN(SET_ASIDE)) && span_to_u64(span_skip(text, sizeof(SET_ASIDE) - 1), out_number);
}

static uint64_t newest_set_aside(const char *dir)
{
    uint64_t newest = 0;
    DIR *listing = opendir(dir);

    if (listing == NULL) {
        return 0;
    }
    for (const struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        uint64_t number;
        if (set_aside_number(entry->d_name, &number) && number > newest && number < UINT64_MAX) {
            newest = number;
        }
    }
    closedir(listing);
    return newest;
}

static void remove_set_aside(const char *dir, uint64_t newest)
{
    DIR *listing = opendir(dir);

    if (listing == NULL) {
        return;
    }
    for (const struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        uint64_t number;
        if (set_aside_number(entry->d_name, &number) && number != newest) {
            (void)unlinkat(dirfd(listing), entry->d_name, 0); /* a file too many is no reason to fail */
        }
    }
    closedir(listing);
}
