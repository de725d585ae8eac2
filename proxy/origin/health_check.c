/* health_check.c: ask, read the head of the answer, compare its status, close.
 *
 * Happy path: the timer begins a check; the name is resolved, its first address connected to, the request written, a
 *             head read. The same timer then waits for the rest of the interval.
 * Failures:   no address, no connection to any of them, no head, another status, or not all of that in time: the check
 *             has failed. No memory of ours: it says nothing about the origin, and counts for nothing. */
#include "proxy/origin/health_check.h"

#include <stdio.h>
#include <stdlib.h>

#include "http/parser.h"
#include "http/serialize.h"
#include "proxy/config/site_mode.h"
#include "proxy/io/conn.h"
#include "proxy/origin/resolver.h"
#include "proxy/server/worker.h"

enum {
    REQUEST_MAX_BYTES = 64 * 1024,
    LEAST_PAUSE_MS = 1,
};

/* One connection of a check. */
struct probe {
    struct conn conn;
    struct check *check;
    struct buf in; /* the response's head so far */
    struct head_scan scan;
};

/* One origin. */
struct check {
    struct worker *worker;
    const struct site *site;
    struct origin_set *set;
    size_t index; /* of the site's origins */
    struct resolver resolver;
    struct resolver_tries tries;
    uv_timer_t timer; /* until the next one begins, or the running one must have ended */
    bool running;
    uint64_t begun_ms;
    struct probe *probe; /* NULL: none */
};

struct health_checks {
    bool stopped;
    size_t count;
    struct check checks[];
};

static void begin(struct check *check);
static void connect_next(struct check *check);
static void end(struct check *check, bool passed, const char *why);
static void give_up(struct check *check);
static void drop_probe(struct check *check);
static void on_timer(uv_timer_t *timer);
static void on_resolved(struct resolver *resolver, enum err error);
static void on_connected(struct conn *conn, enum err error);
static void on_read(struct conn *conn, struct span bytes);
static void on_end(struct conn *conn, enum err error);
static void on_written(struct conn *conn, enum err error);
static void on_closed(struct conn *conn);

static const struct conn_events probe_events = {.on_read = on_read, .on_end = on_end, .on_written = on_written};

static void start_one(struct check *check, struct worker *worker, const struct site *site, struct origin_set *set,
                      size_t index)
{
    *check = (struct check){.worker = worker, .site = site, .set = set, .index = index};
    resolver_init(&check->resolver, worker, &site->origins[index], on_resolved);
    REQUIRE(uv_timer_init(&worker->loop, &check->timer) == 0);
    check->timer.data = check;
    REQUIRE(uv_timer_start(&check->timer, on_timer, 0, 0) == 0);
}

struct health_checks *health_checks_start(struct worker *worker, struct origin_set *const *sets)
{
    const struct config *config = worker->config;
    size_t count = 0;

    for (size_t i = 0; i < config->site_count; i++) {
        count += config->sites[i].check.path != NULL ? config->sites[i].origin_count : 0;
    }
    struct health_checks *checks = calloc(1, sizeof(*checks) + count * sizeof(checks->checks[0]));
    if (checks == NULL) {
        return NULL;
    }
    for (size_t i = 0; i < config->site_count; i++) {
        const struct site *site = &config->sites[i];
        for (size_t k = 0; site->check.path != NULL && k < site->origin_count; k++) {
            start_one(&checks->checks[checks->count++], worker, site, sets[i], k);
        }
    }
    return checks;
}

void health_checks_stop(struct health_checks *checks)
{
    if (checks == NULL || checks->stopped) {
        return;
    }
    checks->stopped = true;
    for (size_t i = 0; i < checks->count; i++) {
        struct check *check = &checks->checks[i];
        drop_probe(check);
        resolver_stop(&check->resolver);
        uv_close((uv_handle_t *)&check->timer, NULL);
    }
}

void health_checks_destroy(struct health_checks *checks)
{
    free(checks);
}

/* ---- the steps of a check ---- */

static void set_timer(struct check *check, uint64_t wait_ms)
{
    REQUIRE(uv_timer_start(&check->timer, on_timer, wait_ms, 0) == 0);
}

static void begin(struct check *check)
{
    check->running = true;
    check->begun_ms = uv_now(&check->worker->loop);
    check->tries = (struct resolver_tries){0};
    set_timer(check, check->site->check.timeout_ms);
    if (resolver_refresh(&check->resolver) != ERR_OK) {
        end(check, false, err_name(ERR_RESOLVE));
    } else if (check->resolver.count > 0) {
        connect_next(check);
    }
}

static enum err connect_to(struct check *check, const struct sockaddr *address)
{
    struct probe *probe = calloc(1, sizeof(*probe));

    if (probe == NULL) {
        return ERR_NO_MEMORY;
    }
    probe->check = check;
    buf_init(&probe->in, check->worker->config->server.max_head_bytes + WORKER_READ_BUFFER_BYTES);
    check->probe = probe;
    return conn_connect(&probe->conn, check->worker, address, &probe_events, probe, on_connected);
}

/* Begins to connect to the next address that can be tried; without one the check has failed. */
static void connect_next(struct check *check)
{
    if (site_mode(check->site) == MODE_OFFLINE) { /* since the check began */
        give_up(check);
        return;
    }
    for (;;) {
        const struct sockaddr *address = resolver_pick(&check->resolver, &check->tries);

        if (address == NULL) {
            resolver_doubt(&check->resolver);
            end(check, false, err_name(ERR_CONNECT));
            return;
        }
        enum err error = connect_to(check, address);
        if (error == ERR_OK) {
            return;
        }
        if (error == ERR_LIMIT || error == ERR_NO_MEMORY) {
            give_up(check); /* our trouble: no other address would do better */
            return;
        }
        drop_probe(check);
        resolver_demote(&check->resolver, &check->tries);
    }
}

/* What the request's Host says. */
static const char *host_of(const struct check *check)
{
    const struct site *site = check->site;

    if (site->check.host != NULL) {
        return site->check.host;
    }
    return site->host_header != NULL ? site->host_header : site->origins[check->index].authority;
}

static enum err send_request(const struct check *check, struct conn *conn)
{
    struct buf out;

    buf_init(&out, REQUEST_MAX_BYTES);
    write_request_line(&out, SPAN("GET"), span_of(check->site->check.path));
    write_field(&out, SPAN("Host"), span_of(host_of(check)));
    write_field(&out, SPAN("User-Agent"), span_of(check->worker->config->server.via));
    write_field(&out, SPAN("Connection"), SPAN("close"));
    write_end(&out);
    struct span bytes = buf_span(&out);
    enum err error = out.failed ? ERR_NO_MEMORY : conn_write(conn, &bytes, 1);
    buf_finish(&out);
    return error;
}

static bool is_expected(const struct health_check *check, unsigned status)
{
    for (size_t i = 0; i < check->status_count; i++) {
        if (check->statuses[i] == status) {
            return true;
        }
    }
    return check->status_count == 0 && status >= 200 && status < 400;
}

/* The final head among what has come, if it is there. ERR_AGAIN: not yet. */
static enum err find_status(struct probe *probe, unsigned *out_status)
{
    const struct config *config = probe->check->worker->config;
    struct head_limits limits = {.head_bytes = config->server.max_head_bytes,
                                 .target_bytes = config->server.max_head_bytes,
                                 .field_count = config->server.max_fields};
    struct http_response response = {0};
    enum err error = ERR_OK;

    do {
        struct arena arena;
        size_t head_len = 0;
        error = head_find(&probe->scan, buf_span(&probe->in), &limits, &head_len);
        if (error != ERR_OK) {
            return error;
        }
        arena_init(&arena, config->server.max_request_memory_bytes);
        error = parse_response_head(span_take(buf_span(&probe->in), head_len), &limits, METHOD_GET, &arena, &response);
        arena_finish(&arena);
        buf_consume(&probe->in, head_len);
        probe->scan = (struct head_scan){0};
    } while (error == ERR_OK && response.status < 200);
    *out_status = response.status;
    return error;
}

static void end(struct check *check, bool passed, const char *why)
{
    origin_set_checked(check->set, check->index, passed, why);
    give_up(check);
}

/* Nothing was found out: the next one will. */
static void give_up(struct check *check)
{
    uint64_t took_ms = uv_now(&check->worker->loop) - check->begun_ms;
    uint64_t interval_ms = check->site->check.interval_ms;

    drop_probe(check);
    check->running = false;
    set_timer(check, took_ms < interval_ms ? interval_ms - took_ms : LEAST_PAUSE_MS);
}

static void drop_probe(struct check *check)
{
    struct probe *probe = check->probe;

    check->probe = NULL;
    if (probe != NULL) {
        conn_close(&probe->conn, on_closed);
    }
}

/* ---- what the loop tells ---- */

static void on_timer(uv_timer_t *timer) /* uv_timer_cb */
{
    struct check *check = timer->data;

    if (check->running) {
        end(check, false, err_name(ERR_TIMEOUT));
    } else if (site_mode(check->site) == MODE_OFFLINE) {
        set_timer(check, check->site->check.interval_ms); /* the origin is left alone; what was found out stays */
    } else {
        begin(check);
    }
}

static void on_resolved(struct resolver *resolver, enum err error) /* resolver.answered */
{
    struct check *check = CONTAINER_OF(resolver, struct check, resolver);

    if (!check->running || check->probe != NULL) {
        return;
    }
    if (resolver->count > 0) {
        connect_next(check);
    } else {
        end(check, false, err_name(error));
    }
}

static void on_connected(struct conn *conn, enum err error) /* conn.connected */
{
    struct probe *probe = conn->owner;
    struct check *check = probe->check;

    if (error != ERR_OK) {
        drop_probe(check);
        resolver_demote(&check->resolver, &check->tries);
        connect_next(check);
        return;
    }
    error = send_request(check, conn);
    if (error == ERR_NO_MEMORY) {
        give_up(check);
    } else if (error != ERR_OK) {
        end(check, false, err_name(ERR_RESET));
    } else {
        conn_read_start(conn);
    }
}

static void on_read(struct conn *conn, struct span bytes) /* conn_events.on_read */
{
    struct probe *probe = conn->owner;
    struct check *check = probe->check;
    unsigned status = 0;
    char text[16];

    buf_add(&probe->in, bytes);
    enum err error = probe->in.failed ? ERR_HEAD_TOO_LARGE : find_status(probe, &status);
    if (error == ERR_AGAIN) {
        return;
    }
    if (error != ERR_OK) {
        end(check, false, err_name(ERR_BAD_RESPONSE));
        return;
    }
    (void)snprintf(text, sizeof text, "%u", status);
    end(check, is_expected(&check->site->check, status), text);
}

static void on_end(struct conn *conn, enum err error) /* conn_events.on_end */
{
    struct probe *probe = conn->owner;

    (void)error;
    end(probe->check, false, err_name(ERR_RESET));
}

static void on_written(struct conn *conn, enum err error) /* conn_events.on_written */
{
    (void)conn;
    (void)error; /* on_end tells */
}

static void on_closed(struct conn *conn) /* conn.closed */
{
    struct probe *probe = CONTAINER_OF(conn, struct probe, conn);

    buf_finish(&probe->in);
    free(probe);
}
