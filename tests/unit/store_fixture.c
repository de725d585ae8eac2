/* store_fixture.c: see store_fixture.h. */
#include "store_fixture.h"

struct store *store;
struct store_reader *reader;

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
    dir_begin();
    open_store(size_bytes);
}

void fixture_end(void)
{
    close_store();
    dir_end();
}

struct store_stats stats_now(void)
{
    struct store_stats stats;

    store_stats_of(store, &stats);
    return stats;
}

enum support_outcome check(unsigned number)
{
    unsigned version;

    arena_reset(&arena);
    return support_check(reader, store, number, NULL, &arena, &version);
}
