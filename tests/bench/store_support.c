/* store_support.c: see store.h. */
#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cache/store_tools.h"
#include "store.h"

enum { OPS = 2048, KEYS_BYTES = 16 * 1024 * 1024, HEAD_BYTES = 320, FIRST_MIN_BYTES = 64 * 1024 + STORE_PIECE_BYTES };

static const char path_of_file[] = "%s/%s";

void bench_dir_make(char out_dir[BENCH_PATH_BYTES])
{
    const char *base = getenv("TMPDIR");
    int len = snprintf(out_dir, BENCH_PATH_BYTES, "%s/larder-bench-XXXXXX", base == NULL ? "/tmp" : base);

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

struct store *bench_open(const char *dir, uint64_t size_bytes)
{
    struct store_options options = {.dir = dir, .size_bytes = size_bytes, .max_variants = 8, .max_readers = 4};
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

/* Not write_bytes: that counts whole folios (STORE.md §4.1). */
uint64_t bench_written_bytes(void)
{
    uint64_t bytes = 0;
    char line[128];
    FILE *file = fopen("/proc/self/io", "r");

    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "wchar: ", 7) == 0) {
            bytes = strtoull(line + 7, NULL, 10);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return bytes;
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
    writer->bytes = malloc(writer->batch_bytes);
    REQUIRE(writer->ops != NULL && writer->records != NULL && writer->bytes != NULL);
    memset(writer->bytes, 'x', writer->batch_bytes); /* what it holds is of no interest */
    arena_init(&writer->keys, KEYS_BYTES);
}

void bench_writer_finish(struct bench_writer *writer)
{
    free(writer->ops);
    free(writer->records);
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
static void begin_stream(struct bench_writer *writer, uint64_t number, uint32_t piece)
{
    if (piece == 0) {
        struct key key = bench_key(writer->store, number, &writer->keys);
        memcpy(writer->bytes + writer->len, key.text.data, key.text.len);
    }
}

void bench_put(struct bench_writer *writer, uint64_t number, uint64_t body_len)
{
    uint64_t body_id = store_new_body_id(writer->store);
    struct record record = {.status = 200,
                            .inputs = {.status = 200, .request_ms = 1000, .response_ms = 2000, .date_s = 2},
                            .head_len = HEAD_BYTES,
                            .body_len = body_len};
    uint32_t piece = 0;

    if (writer->op_count + 2 >= OPS) {
        bench_flush(writer);
    }
    record.key_len = (uint32_t)bench_key(writer->store, number, &writer->keys).text.len;
    size_t prefix_len = record.key_len + record.head_len;
    uint64_t rest = prefix_len + body_len;
    if (rest > writer->batch_bytes - writer->len && writer->batch_bytes - writer->len < FIRST_MIN_BYTES) {
        bench_flush(writer);
    }
    while (rest > writer->batch_bytes - writer->len) {
        /* As much as fits, in whole pieces; the rest goes into the next batch. */
        size_t part = (writer->batch_bytes - writer->len) / STORE_PIECE_BYTES * STORE_PIECE_BYTES;
        if (part > 0) {
            begin_stream(writer, number, piece);
            struct store_op *op = add_op(writer, STORE_OP_PIECES, body_id);
            op->first_piece = piece;
            op->prefix_len = prefix_len;
            op->bytes = (struct span){writer->bytes + writer->len, part};
            piece += (uint32_t)(part / STORE_PIECE_BYTES);
            rest -= part;
        }
        bench_flush(writer);
    }
    begin_stream(writer, number, piece);
    struct store_op *op = add_op(writer, STORE_OP_PIECES, body_id);
    op->first_piece = piece;
    op->prefix_len = prefix_len;
    op->bytes = (struct span){writer->bytes + writer->len, (size_t)rest};
    writer->len += (size_t)rest;
    writer->records[writer->op_count] = record;
    op = add_op(writer, STORE_OP_PUBLISH, body_id);
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
