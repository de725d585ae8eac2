/* cold.c: see the header. */
#include "proxy/exchange/cold.h"

struct cold_read {
    uv_work_t work;
    struct store *store;
    uint64_t body_id; /* pinned; 0: a look-up */
    struct store_cold cold;
    struct key_hash hash; /* of the look-up */
    cold_done_fn done;    /* NULL: nobody waits */
    void *arg;
};

static void on_work(uv_work_t *work) /* uv_work_cb, on a thread of the pool */
{
    struct cold_read *read = work->data;

    if (read->body_id != 0) {
        store_warm(read->store, &read->cold);
    } else {
        store_warm_find(read->store, read->hash);
    }
}

static void on_done(uv_work_t *work, int status) /* uv_after_work_cb */
{
    struct cold_read *read = work->data;

    (void)status; /* it is never cancelled */
    if (read->body_id != 0) {
        store_unpin(read->store, read->body_id);
    }
    if (read->done != NULL) {
        read->done(read->arg);
    }
    free(read);
}

static struct cold_read *start(uv_loop_t *loop, const struct cold_read *what)
{
    struct cold_read *read = malloc(sizeof(*read));

    if (read == NULL) {
        return NULL;
    }
    *read = *what;
    read->work.data = read;
    REQUIRE(uv_queue_work(loop, &read->work, on_work, on_done) == 0); /* fails only without a function */
    return read;
}

struct cold_read *cold_read_start(uv_loop_t *loop, struct store *store, uint64_t body_id, const struct store_cold *cold,
                                  cold_done_fn done, void *arg)
{
    struct cold_read what = {.store = store, .body_id = body_id, .cold = *cold, .done = done, .arg = arg};

    if (!store_pin(store, body_id)) {
        return NULL;
    }
    struct cold_read *read = start(loop, &what);
    if (read == NULL) {
        store_unpin(store, body_id);
    }
    return read;
}

struct cold_read *cold_find_start(uv_loop_t *loop, struct store *store, struct key_hash hash, cold_done_fn done,
                                  void *arg)
{
    struct cold_read what = {.store = store, .hash = hash, .done = done, .arg = arg};

    return start(loop, &what);
}

void cold_read_forget(struct cold_read *read)
{
    if (read != NULL) {
        read->done = NULL;
    }
}
