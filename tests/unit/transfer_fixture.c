/* transfer_fixture.c: see transfer_fixture.h. */
#include "transfer_fixture.h"

char from_dir[SUPPORT_PATH_BYTES];
char to_dir[SUPPORT_PATH_BYTES];
struct store *from;
struct store *to;
struct store_reader *from_reader;
struct store_reader *to_reader;
struct arena arena;

static void open_to(uint64_t size_bytes)
{
    support_dir_make(to_dir);
    to = support_open(to_dir, size_bytes);
    to_reader = store_reader_create(to);
    cr_assert_not_null(to_reader);
}

static void close_to(void)
{
    store_reader_destroy(to_reader);
    store_close(to);
    support_dir_remove(to_dir);
}

void setup(void)
{
    support_dir_make(from_dir);
    from = support_open(from_dir, SIZE);
    from_reader = store_reader_create(from);
    cr_assert_not_null(from_reader);
    open_to(SIZE);
    arena_init(&arena, SUPPORT_ARENA_BYTES);
}

void teardown(void)
{
    arena_finish(&arena);
    close_to();
    store_reader_destroy(from_reader);
    store_close(from);
    support_dir_remove(from_dir);
}

void renew_to(uint64_t size_bytes)
{
    close_to();
    open_to(size_bytes);
}

bool on_put(void *arg, struct span bytes) /* archive_put_fn */
{
    buf_add(arg, bytes);
    return true;
}

struct source {
    struct span rest;
    size_t step; /* bytes at a time; 0: as many as are wanted */
};

static size_t on_get(void *arg, char *bytes, size_t max) /* archive_get_fn */
{
    struct source *source = arg;
    size_t want = source->step > 0 && source->step < max ? source->step : max;
    struct span part = span_take(source->rest, want);

    if (part.len > 0) {
        memcpy(bytes, part.data, part.len);
    }
    source->rest = span_skip(source->rest, part.len);
    return part.len;
}

struct export_result export_with(struct export_options options, struct buf *out_file)
{
    struct export_result result;

    buf_init(out_file, SIZE_MAX / 2);
    options.now_ms = options.now_ms == 0 ? NOW_MS : options.now_ms;
    options.put = on_put;
    options.arg = out_file;
    cr_assert_eq(export_run(from_reader, &options, &result), ERR_OK);
    return result;
}

enum err import_at(struct span file, size_t step, int64_t now_ms, struct import_result *out_result)
{
    struct source source = {.rest = file, .step = step};
    struct archive_reader *archive;
    enum err error = archive_open(on_get, &source, &archive);

    *out_result = (struct import_result){0};
    if (error == ERR_OK) {
        error = import_run(to, archive, now_ms, out_result);
        archive_close(archive);
    }
    return error;
}

void put(struct store *store, unsigned number, unsigned version, const char *variant, size_t body_len)
{
    struct support_object object = {.number = number, .version = version, .variant = variant, .body_len = body_len};

    cr_assert_eq(support_put(store, &object, NULL, NULL), ERR_OK);
}

enum support_outcome check(unsigned number, const char *variant, unsigned *out_version)
{
    arena_reset(&arena);
    return support_check(to_reader, to, number, variant, &arena, out_version);
}

uint64_t count_in_to(void)
{
    struct store_stats stats;

    store_stats_of(to, &stats);
    return stats.objects;
}
