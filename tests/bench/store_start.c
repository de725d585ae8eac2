/* store_start.c: how long a start takes until it can serve, and until it can store, in stores of different sizes. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store.h"

enum { BYTES_AN_OBJECT = 1200 /* in LMDB's file, more than it takes */, ARENA_BYTES = 65536 };

enum ending { STOPPED, KILLED };

struct start {
    double open_ms;  /* then readers may come */
    double find_ms;  /* the first object, behind that */
    double write_ms; /* the first batch, behind that */
};

/* None of its files is in memory any more. */
static void forget_pages(const char *dir)
{
    DIR *listing = opendir(dir);

    REQUIRE(listing != NULL);
    for (const struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        int fd = openat(dirfd(listing), entry->d_name, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            (void)fsync(fd); /* what is dirty would stay */
            (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
            close(fd);
        }
    }
    closedir(listing);
}

static void write_one(struct store *store, uint64_t number)
{
    struct bench_writer writer;

    bench_writer_init(&writer, store);
    bench_put(&writer, number, 0);
    bench_flush(&writer);
    REQUIRE(writer.refused == 0);
    bench_writer_finish(&writer);
}

/* A process that uses the store and ends so. */
static void use(const char *dir, uint64_t size_bytes, uint64_t number, enum ending ending)
{
    pid_t child = fork();

    REQUIRE(child >= 0);
    if (child == 0) {
        struct store *store = bench_open(dir, size_bytes, BENCH_MEMORY);
        write_one(store, number);
        if (ending == KILLED) {
            (void)kill(getpid(), SIGKILL);
        }
        store_close(store);
        _exit(0);
    }
    REQUIRE(waitpid(child, NULL, 0) == child);
}

static double ms_since(uint64_t *from_ns)
{
    uint64_t now = bench_now_ns();
    double ms = (double)(now - *from_ns) / 1e6;

    *from_ns = now;
    return ms;
}

static struct start measure(const char *dir, uint64_t size_bytes, uint64_t number)
{
    struct start start;
    struct headers request;
    struct stored stored;
    struct arena arena;

    forget_pages(dir);
    arena_init(&arena, ARENA_BYTES);
    uint64_t at = bench_now_ns();
    struct store *store = bench_open(dir, size_bytes, BENCH_MEMORY);
    start.open_ms = ms_since(&at);
    struct store_reader *reader = store_reader_create(store);
    REQUIRE(reader != NULL);
    headers_init(&request, &arena);
    struct key key = bench_key(store, number, &arena);
    REQUIRE(store_find(reader, &key, &request, &arena, &stored) == STORE_FOUND);
    start.find_ms = ms_since(&at);
    write_one(store, number);
    start.write_ms = ms_since(&at);
    store_reader_destroy(reader);
    store_close(store);
    arena_finish(&arena);
    return start;
}

static void report(const char *dir, uint64_t size_bytes, uint64_t objects, enum ending ending)
{
    char label[80];

    use(dir, size_bytes, 0, ending);
    struct start start = measure(dir, size_bytes, objects / 2);
    (void)snprintf(label, sizeof label, "%" PRIu64 " objects, after a %s: open, hit, write, ms", objects,
                   ending == KILLED ? "kill" : "stop");
    bench_row(label, ending == KILLED ? "≤ 20 to open" : "", "%.1f, %.1f, %.1f", start.open_ms, start.find_ms,
              start.write_ms);
}

void bench_start(const struct bench_options *options)
{
    bench_head("start, cold");
    for (uint64_t objects = bench_next_count(0, options->max_objects); objects <= options->max_objects;
         objects = bench_next_count(objects, options->max_objects)) {
        uint64_t size_bytes = 2 * objects * BYTES_AN_OBJECT; /* LMDB's file gets what it needs (store_border.c) */
        char dir[BENCH_PATH_BYTES];
        struct bench_writer writer;

        if (!bench_disk_has_room(options, size_bytes, "start")) {
            return;
        }
        bench_dir_make(dir);
        struct store *store = bench_open(dir, size_bytes, BENCH_MEMORY);
        bench_writer_init(&writer, store);
        for (uint64_t number = 0; number < objects; number++) {
            bench_put(&writer, number, 0);
        }
        bench_flush(&writer);
        REQUIRE(writer.refused == 0);
        bench_writer_finish(&writer);
        store_close(store);
        report(dir, size_bytes, objects, STOPPED);
        report(dir, size_bytes, objects, KILLED);
        bench_dir_remove(dir);
    }
}
