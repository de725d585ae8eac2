/* exchange_trace.c: larder's place in a trace (http/trace.h): the origin learns that this request caused its own, and
 * the log tells which. Where the client brings no trace, a rule may begin one. */
#include "http/trace.h"
#include "proxy/exchange/exchange_internal.h"
#include "proxy/server/worker.h"

/* Sixteen hexadecimal digits, not all zero. */
static bool make_id(struct worker *worker, struct arena *arena, struct span *out_id)
{
    return arena_format(arena, out_id, "%016llx", (unsigned long long)(worker_random(worker) | 1));
}

static bool make_trace(struct exchange *ex, struct trace *out_trace)
{
    struct span parts[2];

    *out_trace = (struct trace){.flags = TRACE_SAMPLED};
    return make_id(ex->worker, ex->arena, &parts[0]) && make_id(ex->worker, ex->arena, &parts[1]) &&
           arena_join(ex->arena, parts, ARRAY_LEN(parts), &out_trace->id);
}

bool exchange_enter_trace(struct exchange *ex)
{
    struct headers *headers = &ex->request.headers;
    struct trace trace;

    if (!trace_read(headers, &trace)) {
        if (!route_traces(ex->site, &ex->request)) {
            return true; /* what cannot be read is for the origin to judge */
        }
        if (!make_trace(ex, &trace)) {
            return false;
        }
        (void)headers_remove(headers, SPAN("tracestate")); /* it belongs to a trace that cannot be read */
    }
    ex->trace_id = trace.id;
    ex->parent_id = trace.parent;
    return make_id(ex->worker, ex->arena, &ex->span_id) && trace_write(headers, &trace, ex->span_id, ex->arena);
}
