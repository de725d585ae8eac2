/* origin_list.h: the two kinds of lists an origin keeps: requests in order, idle connections with the youngest first.
 *
 * Links are in the members; a member is in one list at most, and the caller knows in which. Threads: the worker's. */
#ifndef PROXY_ORIGIN_LIST_H
#define PROXY_ORIGIN_LIST_H

#include "proxy/origin/origin.h"

struct request_list {
    struct origin_request *first;
    struct origin_request *last;
    size_t count;
};

struct idle_list {
    struct origin_conn *first; /* youngest */
    struct origin_conn *last;
    uint64_t count;
};

void request_list_append(struct request_list *list, struct origin_request *request);
void request_list_remove(struct request_list *list, struct origin_request *request);

void idle_list_push(struct idle_list *list, struct origin_conn *conn); /* in front */
void idle_list_remove(struct idle_list *list, struct origin_conn *conn);

#endif
