/* server_upgrade.c: another process takes this one's place, without a refused connection or a lost request.
 *
 * Happy path: the program is started anew by its command, with our listening sockets. It reads and checks its
 *             configuration while we serve. When it lacks only the store we tell it the modes that were ordered, and
 *             take no such order any more; we write what is queued and let the store go: for the few milliseconds until
 *             it serves we go on without one, and both accept from the same sockets. Then we accept nothing more, give
 *             it our idle connections, say that it is done, and finish what runs within shutdown_timeout. Bodies that
 *             we are still sending from the store it leaves where they are; what our last requests invalidate we tell
 *             it.
 * Failures:   - it cannot start, or is not ready in time: we take the store back and go on, and the log says so.
 *             - it has changed the store before it failed: we go on without storing; the next upgrade or restart mends
 *               that.
 *             - we are told to stop before it serves: it is killed.
 *             - it does not take a connection, or hangs: that is closed, as at any stop.
 *             - we hang: it serves regardless, from the same sockets, and ends us when our time is over
 *               (predecessor.h). Until then the clients that we hold wait. It may be gone by then: so the kernel ends
 *               us a little later. */
#include <stdlib.h>
#include <unistd.h>

#include "http/check.h"
#include "proxy/config/site_mode.h"
#include "proxy/io/log.h"
#include "proxy/server/process.h"
#include "proxy/server/server_internal.h"

enum { OWN_GRACE_MS = 2 * PREDECESSOR_GRACE_MS }; /* the successor's word first: it says so in the log */

static bool on_wants_store(struct successor *successor);
static void on_serves(struct successor *successor);
static void on_failed(struct successor *successor, const char *why);

static const struct successor_events successor_events = {on_wants_store, on_serves, on_failed};

static struct server *server_of(struct successor *successor)
{
    return CONTAINER_OF(successor, struct server, successor);
}

bool server_is_upgrading(const struct server *server)
{
    return server->successor.state != SUCCESSOR_NONE;
}

void server_upgrade(struct server *server)
{
    struct legacy legacy = {0};

    if (server_is_upgrading(server)) {
        log_warn("an upgrade is under way already, signal ignored signal=SIGUSR2");
        return;
    }
    log_info("upgrading: starting %s", log_quoted(span_of(server->argv[0])).text);
    buf_clear(&server->text);
    bool started = false;
    if (sockets_bequeath(&server->crews->sockets, &legacy) && admin_bequeath(server->admin, &legacy)) {
        started = successor_start(&server->successor, &server->loop, server->argv, server->worker_count, &legacy,
                                  &successor_events, &server->text);
    } else {
        buf_add(&server->text, SPAN("no memory is left"));
    }
    legacy_finish(&legacy);
    if (!started) {
        log_error("the upgrade failed, this larder goes on error=%s", log_quoted(buf_span(&server->text)).text);
    }
}

/* ---- the former one's side ---- */

static bool tell_pinned(struct successor *successor, const uint64_t *bodies, size_t count, uint64_t leaves_ms)
{
    enum { MANY = CHANNEL_MESSAGE_MAX_BYTES / sizeof(uint64_t) };
    const struct channel_go go = {.leaves_ms = leaves_ms, .pid = getpid()};
    bool told = true;

    for (size_t at = 0; at < count && told; at += MANY) {
        size_t some = count - at < MANY ? count - at : MANY;
        told = successor_tell(successor, CHANNEL_PINNED,
                              (struct span){(const char *)(bodies + at), some * sizeof(*bodies)}, -1);
    }
    return told && successor_tell(successor, CHANNEL_GO, (struct span){(const char *)&go, sizeof(go)}, -1);
}

static bool tell_mode(void *arg, const struct mode_order *order) /* site_modes_tell */
{
    const struct channel_mode mode = {order->configured, order->ordered, order->name.len};
    struct buf bytes;

    buf_init(&bytes, CHANNEL_MESSAGE_MAX_BYTES);
    buf_add(&bytes, (struct span){(const char *)&mode, sizeof(mode)});
    buf_add(&bytes, order->name);
    buf_add(&bytes, order->path);
    bool told = !bytes.failed && successor_tell(arg, CHANNEL_MODE, buf_span(&bytes), -1);
    buf_finish(&bytes);
    return told;
}

/* The disk thread writes what is queued, and goes on behind: it is what tells everyone that nothing is stored. */
static bool on_wants_store(struct successor *successor)
{
    struct server *server = server_of(successor);
    struct store *store = cache_store(server->cache);
    uint64_t *bodies = NULL;
    size_t count = 0;

    admin_hold_orders(server->admin, true);
    if (!site_modes_tell(server->modes, tell_mode, successor)) {
        return false;
    }
    disk_pause(&server->disk);
    successor->had_store = store_is_away(store) || store_let_go(store, &bodies, &count);
    disk_resume(&server->disk);
    bool told = successor->had_store &&
                tell_pinned(successor, bodies, count, server->crews->config->server.shutdown_timeout_ms);
    free(bodies);
    return told;
}

static void on_removed(struct cache_successor *heir, struct span key_text) /* cache_successor: the disk thread */
{
    struct server *server = CONTAINER_OF(heir, struct server, heir);

    if (!successor_tell(&server->successor, CHANNEL_REMOVED, key_text, -1)) {
        log_warn("the successor could not be told that a response was invalidated key=%s", log_quoted(key_text).text);
    }
}

static void on_purged(struct cache_successor *heir, uint64_t sequence, struct span row) /* the same */
{
    struct server *server = CONTAINER_OF(heir, struct server, heir);
    struct buf bytes;

    buf_init(&bytes, CHANNEL_MESSAGE_MAX_BYTES);
    buf_add(&bytes, (struct span){(const char *)&sequence, sizeof(sequence)});
    buf_add(&bytes, row);
    if (bytes.failed || !successor_tell(&server->successor, CHANNEL_PURGED, buf_span(&bytes), -1)) {
        log_warn("the successor could not be told of a purge sequence=%llu", (unsigned long long)sequence);
    }
    buf_finish(&bytes);
}

static void on_leave_timer(uv_timer_t *timer) /* uv_timer_cb */
{
    struct server *server = timer->data;

    log_warn("shutdown_timeout is over, closing what still runs");
    for (struct crew *crew = server->crews; crew != NULL; crew = crew->next) {
        crew_abort(crew);
    }
}

static void on_serves(struct successor *successor)
{
    struct server *server = server_of(successor);
    const struct config *config = server->crews->config;

    notify_main_pid(&server->notify, successor_pid(successor));
    server->heir = (struct cache_successor){.removed = on_removed, .purged = on_purged};
    cache_set_successor(server->cache, &server->heir);
    server->stopping = true;
    admin_leave(server->admin);
    for (struct crew *crew = server->crews; crew != NULL; crew = crew->next) {
        crew_leave(crew);
    }
    REQUIRE(uv_timer_start(&server->leave_timer, on_leave_timer, config->server.shutdown_timeout_ms, 0) == 0);
    process_end_in(config->server.shutdown_timeout_ms + OWN_GRACE_MS);
    server_remove_ended_crews(server);
}

void server_check_left(struct server *server)
{
    for (const struct crew *crew = server->crews; crew != NULL; crew = crew->next) {
        if (!crew_has_retired(crew) && !crew->stopping) {
            return;
        }
    }
    log_info("upgraded: the new larder serves, this one finishes what it began pid=%d",
             successor_pid(&server->successor));
}

static void on_failed(struct successor *successor, const char *why)
{
    struct server *server = server_of(successor);
    bool stores = !successor->had_store || store_take_back(cache_store(server->cache));

    admin_hold_orders(server->admin, false);
    log_error("the upgrade failed, this larder goes on error=%s", log_quoted(span_of(why)).text);
    if (!stores) {
        log_error("the store was changed by the new larder: this one goes on without it, until it is restarted");
    }
}

void server_pass_on(struct server *server, struct handover *handover)
{
    char is_unix = handover->is_unix ? 1 : 0;

    if (server->successor.state == SUCCESSOR_SERVES) {
        struct buf bytes;
        buf_init(&bytes, CHANNEL_MESSAGE_MAX_BYTES);
        buf_add(&bytes, (struct span){&is_unix, 1});
        buf_add(&bytes, buf_span(&handover->in));
        if (!bytes.failed) {
            (void)successor_tell(&server->successor, CHANNEL_CONNECTION, buf_span(&bytes), handover->fd);
        }
        buf_finish(&bytes);
    }
    handover_drop(handover, &server->limits);
}

/* ---- the new one's side ---- */

static void on_connection(void *arg, int fd, bool is_unix, struct span input) /* predecessor_events.connection */
{
    struct server *server = arg;
    struct handover *handover = server->stopping ? NULL : calloc(1, sizeof(*handover));

    if (handover == NULL) {
        close(fd);
        return;
    }
    *handover = (struct handover){.fd = fd, .is_unix = is_unix};
    buf_init(&handover->in, CHANNEL_MESSAGE_MAX_BYTES);
    buf_add(&handover->in, input);
    if (handover->in.failed) {
        handover_drop(handover, &server->limits);
        return;
    }
    crew_take_connection(server->crews, handover);
}

/* The service manager must not take the end of the former one for ours. */
static void on_hangs(void *arg) /* predecessor_events.hangs */
{
    const struct server *server = arg;

    notify_main_pid(&server->notify, getpid());
}

void server_forsake(struct server *server)
{
    if (server->predecessor != NULL && server->crews != NULL) {
        sockets_leave_files(&server->crews->sockets);
    }
    if (server->predecessor != NULL && server->admin != NULL) {
        admin_leave(server->admin);
    }
}

void server_succeed(struct server *server)
{
    server->predecessor_events =
        (struct predecessor_events){.connection = on_connection, .hangs = on_hangs, .arg = server};
    predecessor_take_over(server->predecessor, &server->loop, &server->predecessor_events);
}
