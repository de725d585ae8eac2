/* store_support.c: see store.h. */
#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "cache/store_tools.h"
#include "store.h"

enum { OPS = 2048, KEYS_BYTES = 16 * 1024 * 1024, HEAD_BYTES = 320, FIRST_MIN_BYTES = 64 * 1024 + STORE_PIECE_BYTES };

static const char path_of_file[] = "%s/%s";

static const char *base_dir(void)
{
    const char *base = getenv("TMPDIR");

    return base == NULL ? "/tmp" : base;
}

void bench_dir_make(char out_dir[BENCH_PATH_BYTES])
{
    int len = snprintf(out_dir, BENCH_PATH_BYTES, "%s/larder-bench-XXXXXX", base_dir());

    REQUIRE(len < BENCH_PATH_BYTES);
    REQUIRE(mkdtemp(out_dir) != NULL);
}

void bench_dir_remove(const char *dir)
{
    DIR *listing = opendir(dir);

    if (listing == NULL) {
        return;
    }
    for (const struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        if (entry->d_name[0] != '.') {
            (void)unlinkat(dirfd(listing), entry->d_name, 0); /* rmdir will tell */
        }
    }
    closedir(listing);
    if (rmdir(dir) != 0) {
        fprintf(stderr, "%s stays\n", dir);
    }
}

struct store *bench_open(const char *dir, uint64_t size_bytes, uint64_t memory_bytes)
{
    uint64_t machine_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    struct store_options options = {.dir = dir,
                                    .size_bytes = size_bytes,
                                    .max_variants = 8,
                                    .memory_bytes = memory_bytes == BENCH_MEMORY ? machine_bytes : memory_bytes};
    struct store *store = NULL;
    struct buf note;

    buf_init(&note, 1024);
    enum err error = store_open(&options, &store, &note);
    if (error != ERR_OK) {
        fprintf(stderr, "%s: %.*s\n", err_text(error), SPAN_ARG(buf_span(&note)));
    }
    REQUIRE(error == ERR_OK);
    buf_finish(&note);
    return store;
}

uint64_t bench_next_count(uint64_t objects, uint64_t max)
{
    uint64_t next = objects == 0 ? 10000 : objects * 10;

    return objects < max && next > max ? max : next;
}

/* ---- chance ---- */

uint64_t bench_random(uint64_t *state)
{
    *state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t value = *state;
    value = (value ^ value >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ value >> 27) * UINT64_C(0x94D049BB133111EB);
    return value ^ value >> 31;
}

double bench_uniform(uint64_t *state)
{
    return (double)(bench_random(state) >> 11) / 9007199254740992.0; /* 2^53 */
}

uint64_t bench_lognormal(uint64_t *state, double median, double sigma, uint64_t max)
{
    double a = 1 - bench_uniform(state); /* never 0 */
    double normal = sqrt(-2 * log(a)) * cos(6.283185307179586 * bench_uniform(state));
    double bytes = median * exp(sigma * normal);

    return bytes < (double)max ? (uint64_t)bytes : max;
}

/* ---- figures ---- */

uint64_t bench_now_ns(void)
{
    struct timespec now;

    REQUIRE(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t bench_cpu_ns(void)
{
    struct timespec now;

    REQUIRE(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t io_figure(const char *name)
{
    uint64_t bytes = 0;
    size_t len = strlen(name);
    char line[128];
    FILE *file = fopen("/proc/self/io", "r");

    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, len) == 0) {
            bytes = strtoull(line + len, NULL, 10);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return bytes;
}

/* Not write_bytes: that counts whole folios. */
uint64_t bench_written_bytes(void)
{
    return io_figure("wchar: ");
}

uint64_t bench_read_bytes(void)
{
    return io_figure("read_bytes: ");
}

uint64_t bench_disk_bytes(const char *dir)
{
    uint64_t bytes = 0;
    char path[BENCH_PATH_BYTES * 2];
    struct stat status;
    DIR *listing = opendir(dir);

    REQUIRE(listing != NULL);
    for (const struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        (void)snprintf(path, sizeof path, path_of_file, dir, entry->d_name);
        if (stat(path, &status) == 0 && S_ISREG(status.st_mode)) {
            bytes += (uint64_t)status.st_blocks * 512;
        }
    }
    closedir(listing);
    return bytes;
}

bool bench_disk_has_room(const struct bench_options *options, uint64_t bytes, const char *part)
{
    struct statvfs status;

    REQUIRE(statvfs(base_dir(), &status) == 0);
    uint64_t free_bytes = (uint64_t)status.f_bavail * status.f_frsize;
    if (free_bytes >= options->keep_bytes && free_bytes - options->keep_bytes >= bytes) {
        return true;
    }
    printf("\n%s: left out. %s has %" PRIu64 " MiB free; it takes %" PRIu64 ", and %" PRIu64
           " are to stay free (--keep-free-mib)\n",
           part, base_dir(), free_bytes >> 20, bytes >> 20, options->keep_bytes >> 20);
    return false;
}

static bool add_body(void *arg, const struct store_item *item) /* store_item_fn */
{
    *(uint64_t *)arg += store_body_bytes(&item->stored.record);
    return true;
}

uint64_t bench_live_bytes(struct store *store)
{
    uint64_t bytes = 0;
    struct store_reader *reader = store_reader_create(store);
    struct store_tour walk = {.records_only = true, .visit = add_body, .arg = &bytes};

    REQUIRE(reader != NULL);
    REQUIRE(store_walk_objects(reader, &walk) == ERR_OK);
    store_reader_destroy(reader);
    return bytes;
}

/* ---- writing ---- */

struct key bench_key(struct store *store, uint64_t number, struct arena *arena)
{
    struct key key = {0};

    REQUIRE(arena_format(arena, &key.text, "GET http://www.example.com/assets/objects/%" PRIu64, number));
    key.hash = key_hash_of(key.text, store_secret(store));
    return key;
}

void bench_writer_init(struct bench_writer *writer, struct store *store)
{
    *writer = (struct bench_writer){
        .store = store, .batch_bytes = (size_t)(store_batch_bytes(store) / STORE_PIECE_BYTES * STORE_PIECE_BYTES)};
    writer->ops = malloc(OPS * sizeof(*writer->ops));
    writer->records = malloc(OPS * sizeof(*writer->records));
    writer->slices = malloc((size_t)OPS * SLICE_BYTES);
    writer->bytes = malloc(writer->batch_bytes);
    REQUIRE(writer->ops != NULL && writer->records != NULL && writer->slices != NULL && writer->bytes != NULL);
    memset(writer->bytes, 'x', writer->batch_bytes); /* what it holds is of no interest */
    arena_init(&writer->keys, KEYS_BYTES);
}

void bench_writer_finish(struct bench_writer *writer)
{
    free(writer->ops);
    free(writer->records);
    free(writer->slices);
    free(writer->bytes);
    free(writer->commit_ns);
    arena_finish(&writer->keys);
}

void bench_flush(struct bench_writer *writer)
{
    if (writer->commit_count == writer->commit_capacity) {
        writer->commit_capacity = writer->commit_capacity == 0 ? 1024 : writer->commit_capacity * 2;
        writer->commit_ns = realloc(writer->commit_ns, writer->commit_capacity * sizeof(*writer->commit_ns));
        REQUIRE(writer->commit_ns != NULL);
    }
    uint64_t start = bench_now_ns();
    writer->refused += store_apply(writer->store, writer->ops, writer->op_count) != ERR_OK;
    writer->commit_ns[writer->commit_count] = bench_now_ns() - start;
    writer->commit_count++;
    writer->op_count = 0;
    writer->len = 0;
    arena_reset(&writer->keys);
}

static struct store_op *add_op(struct bench_writer *writer, enum store_op_kind kind, uint64_t body_id)
{
    struct store_op *op = &writer->ops[writer->op_count];

    *op = (struct store_op){.kind = kind, .body_id = body_id};
    writer->op_count++;
    return op;
}

/* A stream begins with its key: a find compares it. What follows is of no interest. */
static void begin_stream(struct bench_writer *writer, uint64_t number)
{
    struct key key = bench_key(writer->store, number, &writer->keys);

    memcpy(writer->bytes + writer->len, key.text.data, key.text.len);
}

static void add_pieces(struct bench_writer *writer, uint64_t body_id, size_t prefix_len, uint32_t *piece, size_t len)
{
    struct store_op *op = add_op(writer, STORE_OP_PIECES, body_id);

    op->first_piece = *piece;
    op->prefix_len = writer->place == BENCH_PLACE_LMDB ? SIZE_MAX / 2 : prefix_len;
    op->bytes = (struct span){writer->bytes + writer->len, len};
    *piece += (uint32_t)(len / STORE_PIECE_BYTES);
    writer->len += len;
}

/* A body that lies where its size does not put it comes in one batch: its place is chosen by its first pieces. */
static size_t first_bytes(const struct bench_writer *writer, size_t prefix_len, uint64_t stream_len)
{
    size_t front = (prefix_len + STORE_PIECE_BYTES - 1) / STORE_PIECE_BYTES * STORE_PIECE_BYTES;

    return writer->place == BENCH_PLACE_FILE && front < stream_len ? front : 0;
}

/* A find reads a short body whole, out of LMDB; of what is stored in slices it leaves the body to store_read. */
static void in_one_slice(struct bench_writer *writer, struct record *record, uint64_t body_id)
{
    char *bytes = writer->slices + writer->op_count * SLICE_BYTES;
    struct slices slices = {
        .items = {{.end = record->body_len, .body_id = body_id, .offset = record->key_len + record->head_len}},
        .count = 1};

    slices_write(&slices, bytes);
    record->slices = (struct span){bytes, SLICE_BYTES};
}

void bench_put(struct bench_writer *writer, uint64_t number, uint64_t body_len)
{
    uint64_t body_id = store_new_body_id(writer->store);
    struct record record = {.status = 200,
                            .inputs = {.status = 200, .request_ms = 1000, .response_ms = 2000, .date_s = 2},
                            .head_len = HEAD_BYTES,
                            .body_len = body_len};
    uint32_t piece = 0;

    if (writer->op_count + 3 >= OPS) {
        bench_flush(writer);
    }
    record.key_len = (uint32_t)bench_key(writer->store, number, &writer->keys).text.len;
    size_t prefix_len = record.key_len + record.head_len;
    uint64_t rest = prefix_len + body_len;
    uint64_t whole = writer->place == BENCH_PLACE_BY_SIZE ? FIRST_MIN_BYTES : rest;
    if (rest > writer->batch_bytes - writer->len && writer->batch_bytes - writer->len < whole) {
        bench_flush(writer);
    }
    begin_stream(writer, number);
    size_t first = first_bytes(writer, prefix_len, rest);
    if (first > 0) {
        add_pieces(writer, body_id, prefix_len, &piece, first);
        rest -= first;
    }
    while (rest > writer->batch_bytes - writer->len) {
        /* As much as fits, in whole pieces; the rest goes into the next batch. */
        size_t part = (writer->batch_bytes - writer->len) / STORE_PIECE_BYTES * STORE_PIECE_BYTES;
        if (part > 0) {
            add_pieces(writer, body_id, prefix_len, &piece, part);
            rest -= part;
        }
        bench_flush(writer);
    }
    add_pieces(writer, body_id, prefix_len, &piece, (size_t)rest);
    if (first > 0) {
        in_one_slice(writer, &record, body_id);
    }
    writer->records[writer->op_count] = record;
    struct store_op *op = add_op(writer, STORE_OP_PUBLISH, body_id);
    op->key = bench_key(writer->store, number, &writer->keys);
    op->record = &writer->records[writer->op_count - 1];
    writer->payload_bytes += body_len;
    writer->objects++;
}

static int compare(const void *a, const void *b)
{
    const uint64_t *left = a;
    const uint64_t *right = b;

    return (*left > *right) - (*left < *right);
}

double bench_commit_ms(struct bench_writer *writer, double part)
{
    if (writer->commit_count == 0) {
        return 0;
    }
    qsort(writer->commit_ns, writer->commit_count, sizeof(*writer->commit_ns), compare);
    return (double)writer->commit_ns[(size_t)((double)(writer->commit_count - 1) * part)] / 1e6;
}

/* ---- tables ---- */

void bench_head(const char *title)
{
    printf("\n| %s | figure | aim |\n| --- | ---: | --- |\n", title);
}

void bench_row(const char *label, const char *aim, const char *format, ...)
{
    va_list arguments;

    printf("| %s | ", label);
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    printf(" | %s |\n", aim);
    (void)fflush(stdout); /* so that one sees it while it goes on */
}
