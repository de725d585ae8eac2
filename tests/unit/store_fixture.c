/* store_fixture.c: see store_fixture.h. */
#include "store_fixture.h"

char dir[SUPPORT_PATH_BYTES];
struct store *store;
struct store_reader *reader;
struct arena arena;

void open_store(uint64_t size_bytes)
{
    store = support_open(dir, size_bytes);
    reader = store_reader_create(store);
    cr_assert_not_null(reader);
}

void close_store(void)
{
    store_reader_destroy(reader);
    store_close(store);
}

void fixture_begin(uint64_t size_bytes)
{
    support_dir_make(dir);
    arena_init(&arena, SUPPORT_ARENA_BYTES);
    open_store(size_bytes);
}

void fixture_end(void)
{
    close_store();
    arena_finish(&arena);
    support_dir_remove(dir);
}

struct store_stats stats_now(void)
{
    struct store_stats stats;

    store_stats_of(store, &stats);
    return stats;
}
