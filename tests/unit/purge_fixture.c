/* purge_fixture.c: see purge_fixture.h. */
#include "purge_fixture.h"

/* Room for heads that a walk cannot read, and for more jobs than a batch takes. */
enum { PURGED_QUEUE = 4 * 1024 * 1024, BODY = 5 };

unsigned told;
uint64_t told_sequence;
enum err told_error;

void setup_purged(void)
{
    setup_with(STORE_SIZE, PURGED_QUEUE);
}

void open_purged(void)
{
    open_cache(STORE_SIZE, PURGED_QUEUE);
}

void restart(void)
{
    close_cache();
    open_purged();
}

/* ---- clients ---- */

enum store_found look_up(struct client *client, const char *path)
{
    *client = client_for(path, NULL);
    return find(client);
}

void begin_answer(struct client *client, const char *fields)
{
    REQUIRE(give_head(client, &(struct answer){.fields = fields}) == ERR_OK);
    give_body(client, 0, 0, BODY);
}

void store_with(const char *path, const char *fields)
{
    struct client client = fetched(path, &(struct answer){.fields = fields}, 0, BODY);

    leave(&client);
}

enum purge_effect effect_on(const char *path, bool *out_found)
{
    struct client client;

    *out_found = look_up(&client, path) == STORE_FOUND;
    enum purge_effect effect = client.cached.purged.effect;
    leave(&client);
    return effect;
}

void expect_effect(const char *path, bool found, enum purge_effect effect, const char *name)
{
    bool is_found;

    cr_expect_eq(effect_on(path, &is_found), effect, "%s: %s", name, path);
    cr_expect_eq(is_found, found, "%s: %s", name, path);
}

/* ---- purges ---- */

void on_purged(void *arg, uint64_t sequence, enum err error) /* cache_purged_fn */
{
    (void)arg;
    told++;
    told_sequence = sequence;
    told_error = error;
}

enum err purge(enum purge_kind kind, enum purge_mode mode, const char *name)
{
    struct purge one = {.kind = kind, .mode = mode, .name = span_of(name), .time_ms = NOW_MS + 1000};

    return cache_purge(cache, &one, 1, on_purged, NULL);
}

/* ---- what the store holds ---- */

uint64_t objects(void)
{
    struct store_stats stats;

    store_stats_of(cache_store(cache), &stats);
    return stats.objects;
}

static bool count_row(void *arg, uint64_t sequence, struct span row) /* store_purge_fn */
{
    (void)sequence;
    (void)row;
    *(unsigned *)arg += 1;
    return true;
}

unsigned rows(void)
{
    unsigned count = 0;

    cr_assert_eq(store_each_purge(cache_reader_store(reader), 0, count_row, &count), ERR_OK);
    return count;
}

void rest(void)
{
    enum { RESTING = 600 };

    for (unsigned i = 0; i < RESTING; i++) {
        cr_assert(cache_write(cache));
    }
}
