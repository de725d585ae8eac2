/* admin_report.c: GET /v1/report and GET /v1/urls: what the traffic is made of. */
#include <stdlib.h>

#include "proxy/admin/admin_internal.h"
#include "proxy/server/worker.h"
#include "proxy/why/why.h"

enum {
    LIMIT_USUAL = 100,
    LIMIT_MAX = 4096,
};
#define SINCE_USUAL_MS ((uint64_t)24 * 60 * 60 * 1000)

/* The rows of a table, and their sum. */
struct listing {
    const struct heavy_row **rows;
    size_t count;
    size_t room;
    struct heavy_counts total;
};

static bool list_row(void *arg, const struct heavy_row *row) /* heavy_fn */
{
    struct listing *listing = arg;

    if (listing->count == listing->room) {
        size_t room = listing->room * 2 + 256;
        const struct heavy_row **rows = realloc(listing->rows, room * sizeof(struct heavy_row *));
        if (rows == NULL) {
            return false;
        }
        listing->rows = rows;
        listing->room = room;
    }
    listing->rows[listing->count++] = row;
    heavy_add(&listing->total, &row->counts);
    return true;
}

static int compare_u64(uint64_t a, uint64_t b)
{
    return a < b ? 1 : a > b ? -1 : 0; /* the greatest first */
}

static int by_cost(const void *a, const void *b)
{
    const struct heavy_counts *x = &(*(const struct heavy_row *const *)a)->counts;
    const struct heavy_counts *y = &(*(const struct heavy_row *const *)b)->counts;
    int order = compare_u64(x->received_bytes, y->received_bytes);

    order = order != 0 ? order : compare_u64(x->origin_us, y->origin_us);
    return order != 0 ? order : compare_u64(x->requests, y->requests);
}

static int by_requests(const void *a, const void *b)
{
    const struct heavy_counts *x = &(*(const struct heavy_row *const *)a)->counts;
    const struct heavy_counts *y = &(*(const struct heavy_row *const *)b)->counts;
    int order = compare_u64(x->requests, y->requests);

    return order != 0 ? order : compare_u64(x->sent_bytes, y->sent_bytes);
}

static bool set_counts(json_t *object, const struct heavy_counts *counts)
{
    return json_object_set_new(object, "requests", json_integer((json_int_t)counts->requests)) == 0 &&
           json_object_set_new(object, "hits", json_integer((json_int_t)counts->hits)) == 0 &&
           json_object_set_new(object, "sent_bytes", json_integer((json_int_t)counts->sent_bytes)) == 0 &&
           json_object_set_new(object, "received_bytes", json_integer((json_int_t)counts->received_bytes)) == 0 &&
           json_object_set_new(object, "origin_us", json_integer((json_int_t)counts->origin_us)) == 0;
}

static json_t *counts_json(const struct heavy_counts *counts)
{
    json_t *object = json_object();

    if (object != NULL && !set_counts(object, counts)) {
        json_decref(object);
        return NULL;
    }
    return object;
}

/* What is cut within a character is no UTF-8; paths and URLs are ASCII. */
static json_t *text_json(struct span text)
{
    json_t *value = json_stringn(text.data, text.len);

    return value != NULL ? value : json_string("(not UTF-8)");
}

static json_t *route_json(const struct heavy_row *row)
{
    const struct traffic_key key = traffic_key_of(row);
    json_t *rule = key.rule.len > 0 ? text_json(key.rule) : json_null();

    return json_pack("{so ss ss so so ss}", "site", text_json(key.site), "reason", reason_token(key.reason), "text",
                     reason_text(key.reason), "rule", rule, "route", text_json(key.route), "hint",
                     why_hint(key.reason));
}

static json_t *url_json(const struct heavy_row *row)
{
    return json_pack("{so}", "url", text_json((struct span){row->key, row->key_len}));
}

static json_t *rows_json(const struct listing *listing, size_t limit, json_t *(*make)(const struct heavy_row *row))
{
    json_t *rows = json_array();
    bool good = rows != NULL;

    for (size_t i = 0; i < listing->count && i < limit && good; i++) {
        json_t *row = make(listing->rows[i]);
        good = row != NULL && set_counts(row, &listing->rows[i]->counts);
        good = json_array_append_new(rows, row) == 0 && good;
    }
    if (!good) {
        json_decref(rows);
        return NULL;
    }
    return rows;
}

/* Takes the table. */
static enum admin_progress reply(struct admin_call *call, struct heavy *table, int64_t from_ms, int64_t now_ms,
                                 size_t limit, int (*order)(const void *a, const void *b),
                                 json_t *(*make)(const struct heavy_row *row))
{
    struct listing listing = {0};

    if (table == NULL) {
        return admin_fail(call, 500, "no memory");
    }
    const struct heavy_counts rest = heavy_rest(table);
    heavy_each(table, list_row, &listing);
    heavy_add(&listing.total, &rest);
    if (listing.count > 0) {
        qsort(listing.rows, listing.count, sizeof(struct heavy_row *), order);
    }
    json_t *rows = rows_json(&listing, limit, make);
    free(listing.rows);
    heavy_destroy(table);
    if (rows == NULL) {
        return admin_fail(call, 500, "no memory");
    }
    return admin_reply_json(call, 200,
                            json_pack("{so so so so so}", "since", admin_time_json(from_ms), "until",
                                      admin_time_json(now_ms), "total", counts_json(&listing.total), "rows", rows,
                                      "rest", counts_json(&rest)));
}

/* False: answered with what is wrong. */
static bool read_limit(struct admin_call *call, size_t *out_limit)
{
    struct span text = admin_parameter(call, SPAN("limit"));
    uint64_t limit = LIMIT_USUAL;

    if (text.len > 0 && (!span_to_u64(text, &limit) || limit < 1 || limit > LIMIT_MAX)) {
        (void)admin_fail(call, 400, "expected a limit from 1 to %d", LIMIT_MAX);
        return false;
    }
    *out_limit = (size_t)limit;
    return true;
}

enum admin_progress admin_run_report(struct admin_call *call)
{
    struct traffic *traffic = call->admin->scope.traffic;
    struct span text = admin_parameter(call, SPAN("since"));
    int64_t now_ms = worker_now_ms();
    uint64_t since_ms = SINCE_USUAL_MS;
    int64_t from_ms = now_ms;
    size_t limit;

    if (!read_limit(call, &limit)) {
        return ADMIN_ANSWERED;
    }
    if (text.len > 0 && (!config_parse_duration(text, &since_ms) || since_ms > INT64_MAX / 2)) {
        return admin_fail(call, 400, "expected a duration for since, such as 15m, 1h or 1d");
    }
    traffic_collect(traffic, now_ms);
    struct heavy *table = traffic_report(traffic, now_ms - (int64_t)since_ms, now_ms, &from_ms);
    return reply(call, table, from_ms, now_ms, limit, by_cost, route_json);
}

enum admin_progress admin_run_urls(struct admin_call *call)
{
    struct traffic *traffic = call->admin->scope.traffic;
    struct span text = admin_parameter(call, SPAN("sort"));
    bool cost = span_equal(text, SPAN("cost"));
    int64_t now_ms = worker_now_ms();
    int64_t from_ms = now_ms;
    size_t limit;

    if (!read_limit(call, &limit)) {
        return ADMIN_ANSWERED;
    }
    if (text.len > 0 && !cost && !span_equal(text, SPAN("requests"))) {
        return admin_fail(call, 400, "expected cost or requests for sort");
    }
    traffic_collect(traffic, now_ms);
    struct heavy *table = traffic_urls(traffic, now_ms, &from_ms);
    return reply(call, table, from_ms, now_ms, limit, cost ? by_cost : by_requests, url_json);
}
