/* origin_list.c: doubly linked lists of origin requests and of idle connections. */
#include "proxy/origin/origin_list.h"

void request_list_append(struct request_list *list, struct origin_request *request)
{
    request->next = NULL;
    request->previous = list->last;
    if (list->last != NULL) {
        list->last->next = request;
    } else {
        list->first = request;
    }
    list->last = request;
    list->count++;
}

void request_list_remove(struct request_list *list, struct origin_request *request)
{
    if (request->previous != NULL) {
        request->previous->next = request->next;
    } else {
        list->first = request->next;
    }
    if (request->next != NULL) {
        request->next->previous = request->previous;
    } else {
        list->last = request->previous;
    }
    request->next = NULL;
    request->previous = NULL;
    list->count--;
}

void idle_list_push(struct idle_list *list, struct origin_conn *conn)
{
    conn->next = list->first;
    conn->previous = NULL;
    if (list->first != NULL) {
        list->first->previous = conn;
    } else {
        list->last = conn;
    }
    list->first = conn;
    list->count++;
}

void idle_list_remove(struct idle_list *list, struct origin_conn *conn)
{
    if (conn->previous != NULL) {
        conn->previous->next = conn->next;
    } else {
        list->first = conn->next;
    }
    if (conn->next != NULL) {
        conn->next->previous = conn->previous;
    } else {
        list->last = conn->previous;
    }
    conn->next = NULL;
    conn->previous = NULL;
    list->count--;
}
