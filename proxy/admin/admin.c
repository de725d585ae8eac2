/* admin.c: the listeners of the administration. See admin.h. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/admin/admin_internal.h"
#include "proxy/io/conn.h"
#include "proxy/io/log.h"
#include "proxy/server/listener.h"
#include "proxy/server/sockets.h"
#include "proxy/server/worker.h"

enum {
    BACKLOG = 64,
    SOCKET_MODE = 0600,
    COLLECT_MS = 30 * 1000,
    ACCEPT_AGAIN_MS = 100,
};

static enum err open_all(struct admin *admin, struct buf *error);
static enum err open_listener(struct admin *admin, const struct address *configured, struct buf *error);
static void close_listener(struct admin_listener *listener);
static void on_connection(uv_stream_t *stream, int status);
static void on_listener_closed(uv_handle_t *handle);
static void on_accept_timer(uv_timer_t *timer);
static void on_collect(uv_timer_t *timer);

enum err admin_open(const struct admin_scope *scope, struct admin **out_admin, struct buf *out_error)
{
    struct admin *admin = calloc(1, sizeof(*admin));

    if (admin == NULL) {
        buf_add_text(out_error, err_text(ERR_NO_MEMORY));
        return ERR_NO_MEMORY;
    }
    admin->scope = *scope;
    admin->started_ms = worker_now_ms();
    admin->config_ms = admin->started_ms;
    admin->read_buffer = malloc(WORKER_READ_BUFFER_BYTES);
    admin->reader = cache_reader_create(scope->cache);
    enum err error = admin->read_buffer != NULL ? open_all(admin, out_error) : ERR_NO_MEMORY;
    REQUIRE(uv_timer_init(scope->loop, &admin->accept_timer) == 0);
    REQUIRE(uv_timer_init(scope->loop, &admin->collect_timer) == 0);
    REQUIRE(uv_timer_start(&admin->collect_timer, on_collect, COLLECT_MS, COLLECT_MS) == 0);
    if (error == ERR_OK && admin->listener_count > 0) {
        const struct history_scope sampled = {
            .metrics = scope->metrics, .cache = scope->cache, .connection_count = scope->connection_count};
        history_start(&admin->history, scope->loop, &sampled);
    }
    *out_admin = admin;
    return error;
}

static enum err open_all(struct admin *admin, struct buf *error)
{
    const struct config *config = admin->scope.config;
    enum err result = ERR_OK;

    if (config->admin.listen_count >= ADMIN_LISTENERS_MAX) {
        buf_format(error, "admin.listen: expected at most %d addresses", ADMIN_LISTENERS_MAX - 1);
        return ERR_LIMIT;
    }
    if (config->admin.socket != NULL) {
        struct address address = {.kind = ADDRESS_UNIX, .host = config->admin.socket};
        result = open_listener(admin, &address, error);
        if (result != ERR_OK && config->admin.socket_is_default) {
            log_warn("no socket for larder's commands error=%s", log_quoted(buf_span(error)).text);
            buf_clear(error);
            result = ERR_OK;
        }
    }
    for (size_t i = 0; i < config->admin.listen_count && result == ERR_OK; i++) {
        result = open_listener(admin, &config->admin.listen[i], error);
    }
    return result;
}

static enum err start_listener(struct admin_listener *listener, int fd)
{
    socket_handle_init(&listener->socket, listener->admin->scope.loop,
                       listener->address.kind == ADDRESS_UNIX ? UV_NAMED_PIPE : UV_TCP);
    listener->socket.handle.data = listener;
    listener->open = true;
    return err_from_uv(socket_handle_listen(&listener->socket, fd, BACKLOG, on_connection));
}

/* A socket that listens: inherited, or bound. */
static enum err bind_listener(struct admin_listener *listener, int *out_fd, struct buf *error)
{
    struct address *address = &listener->address;

    *out_fd = sockets_take_one(listener->admin->scope.inherited, address, &listener->has_file);
    if (*out_fd >= 0) {
        return ERR_OK;
    }
    enum err result = listener_open(address, 1, out_fd, error);
    if (result != ERR_OK) {
        return result;
    }
    listener->has_file = address->kind == ADDRESS_UNIX;
    /* Before it listens: nobody else can have connected. */
    if (address->kind == ADDRESS_UNIX && chmod(address->host, SOCKET_MODE) < 0) {
        buf_format(error, "cannot listen on unix:%s: its mode cannot be set", address->host);
        result = ERR_IO;
    } else {
        result = listener_listen(address, 1, out_fd, error);
    }
    if (result != ERR_OK) {
        close(*out_fd);
        listener_remove_file(address);
    }
    return result;
}

static enum err open_listener(struct admin *admin, const struct address *configured, struct buf *error)
{
    const struct address wanted = listener_address(configured);
    struct admin_listener *listener = &admin->listeners[admin->listener_count];
    struct buf text;
    int fd;

    free(listener->host); /* of one that could not be opened */
    *listener = (struct admin_listener){.admin = admin, .host = strdup(wanted.host), .wanted = wanted};
    if (listener->host == NULL) {
        buf_add_text(error, err_text(ERR_NO_MEMORY));
        return ERR_NO_MEMORY;
    }
    listener->wanted.host = listener->host;
    listener->address = listener->wanted;
    enum err result = bind_listener(listener, &fd, error);
    if (result != ERR_OK) {
        return result;
    }
    admin->listener_count++;
    listener->fd = fd;
    result = start_listener(listener, fd);
    if (result != ERR_OK) {
        buf_format(error, "the administration cannot listen: %s", err_text(result));
        return result;
    }
    buf_init(&text, 512);
    address_format(&listener->address, &text);
    log_info("administration address=%.*s", SPAN_ARG(buf_span(&text)));
    buf_finish(&text);
    return ERR_OK;
}

void admin_use(struct admin *admin, const struct config *config, struct origin_set *const *origin_sets)
{
    admin->scope.config = config;
    admin->scope.origin_sets = origin_sets;
    admin->config_ms = worker_now_ms();
}

bool admin_bequeath(const struct admin *admin, struct legacy *legacy)
{
    for (size_t i = 0; i < admin->listener_count; i++) {
        const struct admin_listener *listener = &admin->listeners[i];
        if (!legacy_add(legacy, listener->fd, &listener->wanted, listener->has_file)) {
            return false;
        }
    }
    return true;
}

void admin_hold_orders(struct admin *admin, bool hold)
{
    admin->holds_orders = hold;
}

void admin_leave(struct admin *admin)
{
    for (size_t i = 0; i < admin->listener_count; i++) {
        struct admin_listener *listener = &admin->listeners[i];
        listener->has_file = false;
        close_listener(listener);
    }
}

void admin_close(struct admin *admin)
{
    if (admin == NULL || admin->closing) {
        return;
    }
    admin->closing = true;
    uv_close((uv_handle_t *)&admin->accept_timer, NULL);
    uv_close((uv_handle_t *)&admin->collect_timer, NULL);
    history_stop(&admin->history);
    for (size_t i = 0; i < admin->listener_count; i++) {
        close_listener(&admin->listeners[i]);
    }
    admin_clients_close(admin);
}

void admin_destroy(struct admin *admin)
{
    if (admin != NULL) {
        for (size_t i = 0; i < ARRAY_LEN(admin->listeners); i++) {
            free(admin->listeners[i].host);
        }
        cache_reader_destroy(admin->reader);
        free(admin->read_buffer);
        free(admin);
    }
}

static void close_listener(struct admin_listener *listener)
{
    if (listener->open && !uv_is_closing(&listener->socket.handle)) {
        uv_close(&listener->socket.handle, on_listener_closed);
    }
    if (listener->has_file) {
        listener->has_file = false;
        listener_remove_file(&listener->address);
    }
}

/* libuv accepts nothing more on a handle until the connection that waits in it was taken: without memory, later. */
static void take_connection(struct admin_listener *listener)
{
    enum err error = admin_client_accept(listener->admin, listener);

    if (error != ERR_OK && !listener->complained) {
        log_warn("a connection to the administration is refused error=%s", err_name(error));
    }
    listener->complained = error != ERR_OK;
    listener->owes = error == ERR_NO_MEMORY;
    if (listener->owes) {
        REQUIRE(uv_timer_start(&listener->admin->accept_timer, on_accept_timer, ACCEPT_AGAIN_MS, 0) == 0);
    }
}

static void on_accept_timer(uv_timer_t *timer) /* uv_timer_cb */
{
    struct admin *admin = CONTAINER_OF(timer, struct admin, accept_timer);

    for (size_t i = 0; i < admin->listener_count; i++) {
        if (admin->listeners[i].owes && admin->listeners[i].open) {
            take_connection(&admin->listeners[i]);
        }
    }
}

static void on_connection(uv_stream_t *stream, int status) /* uv_connection_cb */
{
    struct admin_listener *listener = stream->data;

    if (status >= 0 && !listener->admin->closing) { /* else libuv has closed what it could not accept */
        take_connection(listener);
    }
}

static void on_listener_closed(uv_handle_t *handle) /* uv_close_cb */
{
    struct admin_listener *listener = handle->data;

    listener->open = false;
}

static void on_collect(uv_timer_t *timer) /* uv_timer_cb */
{
    const struct admin *admin = CONTAINER_OF(timer, struct admin, collect_timer);

    traffic_collect(admin->scope.traffic, worker_now_ms());
}
