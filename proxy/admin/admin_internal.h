/* admin_internal.h: a request to the administration, and the routes; shared by admin*.c. */
#ifndef PROXY_ADMIN_INTERNAL_H
#define PROXY_ADMIN_INTERNAL_H

#include <jansson.h>

#include "http/message.h"
#include "proxy/admin/admin.h"
#include "proxy/admin/history.h"
#include "proxy/io/socket_handle.h"

enum {
    ADMIN_LISTENERS_MAX = 17, /* the socket, and 16 addresses */
    ADMIN_CLIENTS_MAX = 64,
};

struct admin_client;
struct admin_call;
struct purge_wait;

/* An answer without an end: what it is made of, and the calls back. */
struct admin_stream {
    void (*on_drained)(struct admin_stream *stream); /* what was sent is gone: admin_stream_send may be called again */
    void (*on_idle)(struct admin_stream *stream);    /* nothing was sent for a while: something empty should be */
    void (*on_closed)(struct admin_stream *stream);  /* the connection is gone, and with it the call */
};

struct admin_listener {
    union socket_handle socket;
    struct admin *admin;
    char *host;             /* of the addresses: what the configuration said goes with it, the listener stays */
    struct address wanted;  /* as configured */
    struct address address; /* as it became */
    int fd;                 /* the handle's */
    bool has_file;          /* a unix socket's file is removed with it */
    bool open;
    bool complained; /* the last connection was refused */
    bool owes;       /* a connection waits in the handle, for memory */
};

struct admin {
    struct admin_scope scope;
    int64_t started_ms;
    int64_t config_ms; /* since when the configuration is in force */
    struct admin_listener listeners[ADMIN_LISTENERS_MAX];
    size_t listener_count;
    struct admin_client *clients;
    unsigned client_count;
    struct cache_reader *reader; /* NULL: the store cannot be read */
    char *read_buffer;
    uv_timer_t collect_timer; /* what workers counted, by time */
    uv_timer_t accept_timer;  /* while a listener owes */
    struct history history;
    bool holds_orders; /* another process has what they change, or will */
    bool closing;
};

/* One request and its answer. Spans live until it is answered. */
struct admin_call {
    struct admin *admin;
    struct http_request request;
    struct span path, query; /* of the target */
    struct span body;
    struct arena *arena;
    unsigned status;
    const char *content_type;
    const char *allow;       /* of a 405 */
    struct buf answer;       /* its body */
    struct purge_wait *wait; /* what the answer waits for */
    size_t purges;           /* how many rows that waits for */
    struct admin_stream *stream;
};

enum admin_progress {
    ADMIN_ANSWERED, /* status and answer are filled in */
    ADMIN_LATER,    /* admin_answer will be called, from the loop */
    ADMIN_STREAM,   /* `stream` and content_type are filled in */
};

struct admin_route {
    enum method method;
    const char *path;
    enum admin_progress (*run)(struct admin_call *call);
};

extern const struct admin_route admin_routes[];
extern const size_t admin_route_count;

/* admin_routes.c: finds the route, or the file of the dashboard, and runs it; answers 404 and 405 itself. */
enum admin_progress admin_dispatch(struct admin_call *call);

/* admin_access.c: may it be run, having come in at this address? False: the refusal is its answer. */
MUST_CHECK bool admin_may(struct admin_call *call, const struct address *address);

/* admin_status.c */
enum admin_progress admin_run_metrics(struct admin_call *call);
enum admin_progress admin_run_status(struct admin_call *call);
enum admin_progress admin_run_sites(struct admin_call *call);
enum admin_progress admin_run_history(struct admin_call *call);

/* admin_config.c */
enum admin_progress admin_run_config(struct admin_call *call);

/* admin_why.c */
enum admin_progress admin_run_why(struct admin_call *call);

/* admin_purge.c */
enum admin_progress admin_run_purge(struct admin_call *call);
enum admin_progress admin_run_purges(struct admin_call *call);

/* admin_report.c */
enum admin_progress admin_run_report(struct admin_call *call);
enum admin_progress admin_run_urls(struct admin_call *call);

/* RFC 3339, UTC, seconds. To be taken. */
json_t *admin_time_json(int64_t time_ms);

/* admin_facts.c */
enum admin_progress admin_run_facts(struct admin_call *call);

/* admin_mode.c */
enum admin_progress admin_run_modes(struct admin_call *call);
enum admin_progress admin_run_mode(struct admin_call *call);
json_t *admin_mode_json(const struct site *site); /* to be taken */

/* admin_log.c */
enum admin_progress admin_run_log(struct admin_call *call);

/* The value of a parameter of the query, as it came; empty: none. */
struct span admin_parameter(const struct admin_call *call, struct span name);

/* All values of a parameter that may be repeated, decoded; in the call's arena. False: more than `max`, or one that
 * cannot be decoded. */
MUST_CHECK bool admin_parameter_texts(const struct admin_call *call, struct span name, const char **texts, size_t max,
                                      size_t *out_count);

/* Answers. `value` may be NULL (no memory) and is taken. */
enum admin_progress admin_reply_json(struct admin_call *call, unsigned status, json_t *value);
enum admin_progress admin_fail(struct admin_call *call, unsigned status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* An order that another process has to be given (admin_hold_orders). */
enum admin_progress admin_fail_held(struct admin_call *call);

/* admin_client.c: takes the connection that waits at the listener. ERR_NO_MEMORY: it waits there still. */
MUST_CHECK enum err admin_client_accept(struct admin *admin, struct admin_listener *listener);
void admin_clients_close(struct admin *admin);

/* admin_client.c: a call that was left for later is answered now. */
void admin_answer(struct admin_call *call);

/* admin_client.c: more of a stream. Only when what was sent before is gone: not before the first on_drained, and once
 * for each. */
void admin_stream_send(struct admin_call *call, struct span bytes);

#endif
