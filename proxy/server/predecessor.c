/* predecessor.c: see predecessor.h. */
#include "proxy/server/predecessor.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http/check.h"
#include "proxy/io/log.h"
#include "proxy/server/channel.h"
#include "proxy/server/successor.h"

enum {
    FIRST_FD = 3,
    WORKERS_MAX = 256,
    RECEIVE_MAX = 64, /* messages a turn of the loop */
    PINS_MAX = 1024 * 1024,
};

struct predecessor {
    int fd; /* our end of the channel; -1: it has ended */
    unsigned workers;
    char *kinds; /* of the sockets */
    struct cache *cache;
    uint64_t *pinned;
    size_t pinned_count;
    size_t held; /* of them are pinned here */
    const struct predecessor_events *events;
    uv_poll_t poll;
    uv_timer_t timer; /* until it must have ended */
    struct channel_go go;
    bool listening;
    char buffer[CHANNEL_MESSAGE_MAX_BYTES + 1];
};

bool predecessor_find(struct predecessor **out_predecessor, struct buf *out_error)
{
    const char *text = getenv(SUCCESSOR_VARIABLE);
    struct span rest = text != NULL ? span_of(text) : SPAN("");
    struct span version;
    struct span number;
    uint64_t workers;

    *out_predecessor = NULL;
    if (text == NULL) {
        return true;
    }
    struct predecessor *predecessor = calloc(1, sizeof(*predecessor));
    char *kinds = strdup(strrchr(text, ' ') != NULL ? strrchr(text, ' ') + 1 : "");
    bool understood = span_split(&rest, ' ', &version) && span_equal(version, SPAN(CHANNEL_VERSION)) &&
                      span_split(&rest, ' ', &number) && span_to_u64(number, &workers) && workers > 0 &&
                      workers <= WORKERS_MAX;
    if (predecessor == NULL || kinds == NULL || !understood) {
        buf_add(out_error, SPAN("the larder that runs cannot be taken over by this one: restart it"));
        free(predecessor);
        free(kinds);
        return false;
    }
    predecessor->workers = (unsigned)workers;
    predecessor->kinds = kinds;
    predecessor->fd = FIRST_FD + (int)strlen(kinds);
    (void)fcntl(predecessor->fd, F_SETFD, FD_CLOEXEC); /* if it is none, the first use says so */
    (void)unsetenv(SUCCESSOR_VARIABLE);                /* fails only for an invalid name */
    *out_predecessor = predecessor;
    return true;
}

unsigned predecessor_workers(const struct predecessor *predecessor)
{
    return predecessor->workers;
}

const char *predecessor_socket_kinds(const struct predecessor *predecessor)
{
    return predecessor->kinds;
}

static bool add_pinned(struct predecessor *predecessor, struct span bytes)
{
    size_t count = bytes.len / sizeof(uint64_t);

    if (predecessor->pinned_count + count > PINS_MAX) {
        return false;
    }
    uint64_t *grown = realloc(predecessor->pinned, (predecessor->pinned_count + count + 1) * sizeof(*grown));
    if (grown == NULL) {
        return false;
    }
    predecessor->pinned = grown;
    memcpy(grown + predecessor->pinned_count, bytes.data, count * sizeof(*grown));
    predecessor->pinned_count += count;
    return true;
}

static bool read_go(struct predecessor *predecessor, struct span bytes, struct buf *out_error)
{
    if (bytes.len != sizeof(predecessor->go)) {
        buf_add(out_error, SPAN("the larder that runs cannot be taken over by this one: restart it"));
        return false;
    }
    memcpy(&predecessor->go, bytes.data, sizeof(predecessor->go));
    return true;
}

static bool learn_mode(struct site_modes *modes, struct span bytes)
{
    struct span text = span_skip(bytes, sizeof(struct channel_mode));
    struct channel_mode mode;

    if (bytes.len < sizeof(mode)) {
        return false;
    }
    memcpy(&mode, bytes.data, sizeof(mode));
    if (mode.configured > MODE_RECORD || mode.ordered > MODE_RECORD || mode.name_len > text.len) {
        return false;
    }
    const struct mode_order order = {.name = span_take(text, mode.name_len),
                                     .path = span_skip(text, mode.name_len),
                                     .configured = (enum mode)mode.configured,
                                     .ordered = (enum mode)mode.ordered};
    log_info("an order of the former larder mode site=%s path=%s mode=%s configured=%s", log_quoted(order.name).text,
             log_quoted(order.path).text, site_mode_text(order.ordered), site_mode_text(order.configured));
    return site_modes_learn(modes, &order);
}

bool predecessor_take_store(struct predecessor *predecessor, struct site_modes *modes, struct buf *out_error)
{
    struct channel_message message = {.kind = CHANNEL_STORE, .fd = -1};
    bool good = channel_send(predecessor->fd, &message, SUCCESSOR_WAIT_MS);

    while (good) {
        good = channel_receive(predecessor->fd, predecessor->buffer, &message, SUCCESSOR_WAIT_MS) == CHANNEL_GOT;
        if (good && message.kind == CHANNEL_GO) {
            return read_go(predecessor, message.bytes, out_error);
        }
        if (good && message.kind == CHANNEL_MODE) {
            good = message.fd < 0 && learn_mode(modes, message.bytes);
        } else {
            good = good && message.kind == CHANNEL_PINNED && message.fd < 0 && add_pinned(predecessor, message.bytes);
        }
    }
    buf_add(out_error, SPAN("the larder that runs does not give its store away"));
    return false;
}

enum err predecessor_pin(struct predecessor *predecessor, struct cache *cache)
{
    predecessor->cache = cache;
    while (predecessor->held < predecessor->pinned_count) {
        uint64_t body = predecessor->pinned[predecessor->held];
        if (body == 0 || !store_pin(cache_store(cache), body)) {
            return ERR_NO_MEMORY;
        }
        predecessor->held++;
    }
    return ERR_OK;
}

static void let_pins_go(struct predecessor *predecessor)
{
    while (predecessor->held > 0) {
        predecessor->held--;
        store_unpin(cache_store(predecessor->cache), predecessor->pinned[predecessor->held]);
    }
}

static void take_purge(struct predecessor *predecessor, struct span bytes)
{
    uint64_t sequence;

    if (bytes.len < sizeof(sequence)) {
        return;
    }
    memcpy(&sequence, bytes.data, sizeof(sequence));
    if (!cache_purge_row(predecessor->cache, sequence, span_skip(bytes, sizeof(sequence)))) {
        log_warn("a purge of the former larder could not be taken over");
    }
}

static void on_message(struct predecessor *predecessor, const struct channel_message *message)
{
    if (message->kind == CHANNEL_CONNECTION && message->fd >= 0 && message->bytes.len > 0) {
        predecessor->events->connection(predecessor->events->arg, message->fd, message->bytes.data[0] == 1,
                                        span_skip(message->bytes, 1));
        return;
    }
    if (message->fd >= 0) {
        close(message->fd);
    }
    if (message->kind == CHANNEL_REMOVED) {
        struct key key = {.text = message->bytes,
                          .hash = key_hash_of(message->bytes, cache_secret(predecessor->cache))};
        cache_invalidate(predecessor->cache, &key, NULL);
    }
    if (message->kind == CHANNEL_PURGED) {
        take_purge(predecessor, message->bytes);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events) /* uv_poll_cb */
{
    struct predecessor *predecessor = poll->data;

    (void)events;
    for (unsigned i = 0; i < RECEIVE_MAX; i++) {
        struct channel_message message;
        enum channel_got got =
            status < 0 ? CHANNEL_ENDED : channel_receive(predecessor->fd, predecessor->buffer, &message, 0);
        if (got == CHANNEL_NOTHING) {
            return;
        }
        if (got == CHANNEL_ENDED) {
            log_info("the former larder has ended");
            predecessor_close(predecessor);
            return;
        }
        on_message(predecessor, &message);
    }
}

/* While it is our parent it has not ended, and its pid is no other's. */
static void on_timer(uv_timer_t *timer) /* uv_timer_cb */
{
    struct predecessor *predecessor = timer->data;
    pid_t pid = (pid_t)predecessor->go.pid;

    if (pid != getppid()) { /* started by way of something else: it ends itself */
        log_error("the former larder hangs: it has not ended in its time pid=%d", (int)pid);
        return;
    }
    log_error("the former larder hangs: it has not ended in its time, ending it pid=%d", (int)pid);
    predecessor->events->hangs(predecessor->events->arg);
    (void)kill(pid, SIGKILL); /* fails only where it has become another user, which the service manager then ends */
}

void predecessor_take_over(struct predecessor *predecessor, uv_loop_t *loop, const struct predecessor_events *events)
{
    struct channel_message message = {.kind = CHANNEL_SERVING, .fd = -1};

    predecessor->events = events;
    REQUIRE(uv_poll_init(loop, &predecessor->poll, predecessor->fd) == 0); /* fails only for what cannot be polled */
    predecessor->poll.data = predecessor;
    predecessor->listening = true;
    REQUIRE(uv_poll_start(&predecessor->poll, UV_READABLE, on_readable) == 0);
    REQUIRE(uv_timer_init(loop, &predecessor->timer) == 0);
    predecessor->timer.data = predecessor;
    REQUIRE(uv_timer_start(&predecessor->timer, on_timer, predecessor->go.leaves_ms + PREDECESSOR_GRACE_MS, 0) == 0);
    (void)channel_send(predecessor->fd, &message, SUCCESSOR_WAIT_MS); /* one that is gone shows at the next read */
}

void predecessor_close(struct predecessor *predecessor)
{
    if (predecessor != NULL && predecessor->listening) {
        predecessor->listening = false;
        uv_close((uv_handle_t *)&predecessor->poll, NULL);
        uv_close((uv_handle_t *)&predecessor->timer, NULL);
        let_pins_go(predecessor);
        close(predecessor->fd);
        predecessor->fd = -1;
    }
}

void predecessor_destroy(struct predecessor *predecessor)
{
    if (predecessor != NULL) {
        let_pins_go(predecessor);
        if (predecessor->fd >= 0) {
            close(predecessor->fd);
        }
        free(predecessor->pinned);
        free(predecessor->kinds);
        free(predecessor);
    }
}
