/* cold.c: see the header. */
#include "proxy/cold.h"

struct cold_read {
    uv_work_t work;
    struct store *store;
    uint64_t body_id;
    struct store_cold cold;
    cold_done_fn done; /* NULL: nobody waits */
    void *arg;
};

static void on_work(uv_work_t *work) /* uv_work_cb, on a thread of the pool */
{
    struct cold_read *read = work->data;

    store_warm(read->store, &read->cold);
}

static void on_done(uv_work_t *work, int status) /* uv_after_work_cb */
{
    struct cold_read *read = work->data;

    (void)status; /* it is never cancelled */
    store_unpin(read->store, read->body_id);
    if (read->done != NULL) {
        read->done(read->arg);
    }
    free(read);
}

struct cold_read *cold_read_start(uv_loop_t *loop, struct store *store, uint64_t body_id, const struct store_cold *cold,
                                  cold_done_fn done, void *arg)
{
    struct cold_read *read = malloc(sizeof(*read));

    if (read == NULL || !store_pin(store, body_id)) {
        free(read);
        return NULL;
    }
    *read = (struct cold_read){.store = store, .body_id = body_id, .cold = *cold, .done = done, .arg = arg};
    read->work.data = read;
    REQUIRE(uv_queue_work(loop, &read->work, on_work, on_done) == 0); /* fails only without a function */
    return read;
}

void cold_read_forget(struct cold_read *read)
{
    if (read != NULL) {
        read->done = NULL;
    }
}
