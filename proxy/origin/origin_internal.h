/* origin_internal.h: the origin as its files share it: origin.c (who gets a connection), origin_idle.c (those nobody
 * uses). Threads: the worker's. */
#ifndef PROXY_ORIGIN_INTERNAL_H
#define PROXY_ORIGIN_INTERNAL_H

#include "proxy/io/mailbox.h"
#include "proxy/origin/adaptive_limit.h"
#include "proxy/origin/origin.h"
#include "proxy/origin/origin_list.h"

struct origin {
    struct worker *worker;
    struct resolver resolver;
    struct request_list waiting; /* for a slot */
    struct request_list due;     /* have a slot; get an idle connection in the next turn of the loop */
    struct request_list active;  /* have a slot; resolving or connecting */
    struct request_list ready;   /* for `done` */
    struct idle_list idle;
    uint64_t in_use;
    bool adaptive;
    struct adaptive_limit limit; /* if adaptive */
    uv_timer_t deadline_timer;   /* for the first of waiting and active */
    struct message turn;         /* runs `due` and `ready` before the loop waits next */
    bool keeps_idle;             /* until the worker stops */
    bool serving;                /* serve_waiting runs */
    struct line_memo lines;      /* of the head that came last */
};

/* origin.c: the request is done, with a connection or an error; told from the loop. */
void origin_set_ready(struct origin_request *request, struct origin_conn *conn, enum err error);

/* origin.c: one connection less in use: who waits is next. */
void origin_free_slot(struct origin *origin);

/* origin_idle.c: the youngest idle connection; there is one. It is still being read, for the idle. */
struct origin_conn *origin_take_idle(struct origin *origin);

/* origin_idle.c: no more are kept than may be, and than are due. */
void origin_trim_idle(struct origin *origin);

void origin_close_oldest_idle(struct origin *origin); /* origin_idle.c */
void origin_conn_closed(struct conn *conn);           /* origin_idle.c: conn.closed, frees it */

#endif
