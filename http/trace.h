/* trace.h: the field traceparent (W3C Trace Context, level 1 §3.2): "00-TRACE-PARENT-FLAGS", by which the requests that
 * one request causes find together.
 *
 * Ownership: borrows from the fields; what is written lies in the arena. Threads: any. */
#ifndef HTTP_TRACE_H
#define HTTP_TRACE_H

#include "http/headers.h"

enum {
    TRACE_ID_LEN = 32,   /* hexadecimal digits, lower case */
    TRACE_SPAN_LEN = 16, /* the same: PARENT, and what names this request to the next */
    TRACE_SAMPLED = 1,   /* of the flags: the caller records it */
};

struct trace {
    struct span id;     /* of all requests together */
    struct span parent; /* of the request that caused this one; empty: this is the first */
    unsigned flags;     /* those that are known: TRACE_SAMPLED */
};

/* What the field says; borrows from it. False: it is absent, there are several, or it is none (a later version counts
 * as far as it is like this one). */
bool trace_read(const struct headers *headers, struct trace *out_trace);

/* Replaces the field: the receiver's parent is `span`. False at the arena's limit. */
MUST_CHECK bool trace_write(struct headers *headers, const struct trace *trace, struct span span, struct arena *arena);

#endif
