/* admin_purge.c: POST /v1/purge and GET /v1/purges.
 *
 * A purge is answered when it is durable; in force it is before. The journal lists what is durable. */
#include <string.h>

#include "proxy/admin/admin_internal.h"
#include "proxy/exchange/purge_names.h"
#include "proxy/exchange/purge_wait.h"
#include "proxy/io/log.h"
#include "proxy/server/worker.h"

enum {
    LIST_USUAL = 100,
    LIST_MAX = 10000,
};

/* ---- POST /v1/purge ---- */

/* Carries one order through its members. */
struct order {
    struct admin_call *call;
    struct purge_list *list;
    char error[256]; /* what is wrong with it */
};

static enum err add_url(struct order *order, struct span text)
{
    const struct admin *admin = order->call->admin;

    return purge_add_url(order->list, admin->scope.config, admin->scope.cache, admin->reader, text, order->call->arena);
}

static enum err add_prefix(struct order *order, struct span text)
{
    return purge_add_prefix(order->list, order->call->admin->scope.config, text, order->call->arena);
}

static enum err add_glob(struct order *order, struct span text)
{
    return purge_add_glob(order->list, order->call->admin->scope.config, text, order->call->arena);
}

static enum err add_tag(struct order *order, struct span text)
{
    return purge_add_tag(order->list, text);
}

static enum err add_site(struct order *order, struct span text)
{
    return purge_add_site(order->list, order->call->admin->scope.config, text, order->call->arena);
}

static const struct {
    const char *name;
    enum err (*add)(struct order *order, struct span text);
    const char *expected;
} members[] = {
    {"urls", add_url, "absolute URLs such as \"http://www.example.com/a\""},
    {"prefixes", add_prefix,
     "absolute URLs such as \"http://www.example.com/img/\", with no * at the end (that is a glob)"},
    {"globs", add_glob, "absolute URLs that may have * and ?, such as \"http://*/img/*.png\""},
    {"tags", add_tag, "names of tags such as \"product-42\""},
    {"sites", add_site, "sites that have hosts, hosts, or \"*.example.com\""},
};

/* False with the order's error written. */
static bool add_text(struct order *order, size_t member, const json_t *value)
{
    const char *text = json_string_value(value);
    size_t len = json_string_length(value);
    enum err error = text == NULL ? ERR_BAD_TARGET : members[member].add(order, (struct span){text, len});

    if (error == ERR_LIMIT) {
        (void)snprintf(order->error, sizeof order->error, "expected at most %d names", CACHE_PURGES_MAX);
    } else if (error == ERR_NOT_FOUND) {
        (void)snprintf(order->error, sizeof order->error,
                       members[member].add == add_site ? "%s: no site is called %.80s, and none serves such a host"
                                                       : "%s: no site serves the host of %.80s",
                       members[member].name, log_quoted((struct span){text, len}).text);
    } else if (error != ERR_OK) {
        (void)snprintf(order->error, sizeof order->error, "%s: expected %s, found %.80s", members[member].name,
                       members[member].expected,
                       text != NULL ? log_quoted((struct span){text, len}).text : "something else");
    }
    return error == ERR_OK;
}

static bool add_texts(struct order *order, size_t member, const json_t *value)
{
    size_t index;
    json_t *item;

    if (!json_is_array(value)) {
        return add_text(order, member, value);
    }
    json_array_foreach(value, index, item)
    {
        if (!add_text(order, member, item)) {
            return false;
        }
    }
    return true;
}

static bool add_member(struct order *order, const char *name, const json_t *value)
{
    if (strcmp(name, "soft") == 0 && json_is_boolean(value)) {
        return true; /* read before the others */
    }
    if (strcmp(name, "everything") == 0 && json_is_boolean(value)) {
        return !json_is_true(value) || purge_add_everything(order->list) == ERR_OK;
    }
    for (size_t i = 0; i < ARRAY_LEN(members); i++) {
        if (strcmp(name, members[i].name) == 0) {
            return add_texts(order, i, value);
        }
    }
    (void)snprintf(order->error, sizeof order->error,
                   "expected urls, prefixes, globs, tags, sites (each a text or a list of texts), everything or soft "
                   "(true or false), found %.80s",
                   log_quoted(span_of(name)).text);
    return false;
}

static bool read_order(struct order *order, json_t *object)
{
    const char *name;
    json_t *value;

    if (!json_is_object(object)) {
        (void)snprintf(order->error, sizeof order->error, "expected an object");
        return false;
    }
    order->list->mode = json_is_true(json_object_get(object, "soft")) ? PURGE_SOFT : PURGE_HARD;
    json_object_foreach(object, name, value)
    {
        if (!add_member(order, name, value)) {
            return false;
        }
    }
    if (order->list->count == 0) {
        (void)snprintf(order->error, sizeof order->error, "expected something to purge");
    }
    return order->list->count > 0;
}

static void on_durable(void *arg, uint64_t sequence, enum err error) /* purge_wait_fn */
{
    struct admin_call *call = arg;

    json_int_t last = (json_int_t)sequence;
    json_int_t first = last - (json_int_t)call->purges + 1; /* one step: no other gets between them */

    call->wait = NULL;
    if (error == ERR_OK) {
        (void)admin_reply_json(call, 200, json_pack("{sI sI}", "first_sequence", first, "sequence", last));
    } else {
        (void)admin_reply_json(call, 500,
                               json_pack("{sI sI ss}", "first_sequence", first, "sequence", last, "error",
                                         "the disk refuses: the purge is in force, but lost if larder ends before "
                                         "the disk takes writes again"));
    }
    admin_answer(call);
}

static enum admin_progress begin_purge(struct admin_call *call, const struct purge_list *list)
{
    const struct admin *admin = call->admin;
    enum err error = purge_wait_begin(admin->scope.cache, admin->scope.mailbox, list->items, list->count, on_durable,
                                      call, &call->wait);

    if (error == ERR_OK) {
        call->purges = list->count;
        return ADMIN_LATER;
    }
    if (error == ERR_LIMIT) {
        return admin_fail(call, 503,
                          "more purges wait or are in force than can be; purge a site or everything, or try again");
    }
    return admin_fail(call, 500, "%s", err_text(error));
}

enum admin_progress admin_run_purge(struct admin_call *call)
{
    struct span type = headers_value(&call->request.headers, SPAN("Content-Type"));
    struct order order = {.call = call, .list = arena_alloc(call->arena, sizeof(*order.list))};
    json_error_t error;

    if (order.list == NULL) {
        return admin_fail(call, 500, "no memory");
    }
    if (call->admin->holds_orders) {
        return admin_fail_held(call);
    }
    /* Pages of other sites can send forms, not this. */
    if (!span_equal_nocase(span_trim(span_take(type, span_find(type, ';'))), SPAN("application/json"))) {
        return admin_fail(call, 415, "expected Content-Type: application/json");
    }
    json_t *object =
        json_loadb(call->body.len > 0 ? call->body.data : "", call->body.len, JSON_REJECT_DUPLICATES, &error);
    if (object == NULL) {
        return admin_fail(call, 400, "expected JSON: %s at byte %d", error.text, error.position);
    }
    order.list->time_ms = worker_now_ms();
    bool good = read_order(&order, object);
    enum admin_progress progress =
        good ? begin_purge(call, order.list)
             : admin_fail(call, 400, "%s", order.error[0] != '\0' ? order.error : "expected at most 256 names");
    json_decref(object); /* the rows have copies of its texts */
    return progress;
}

/* ---- GET /v1/purges ---- */

/* The newest `limit` rows: a ring once it is full. */
struct listing {
    json_t *rows;
    size_t limit;
    size_t oldest; /* where the next one goes then */
};

/* Names may be any bytes; JSON wants UTF-8. Behind a URL a mark may stand (cache/search.h). */
static json_t *name_json(const struct purge *purge)
{
    size_t len = purge->kind == PURGE_URL ? span_find(purge->name, ' ') : purge->name.len;
    struct span name = span_take(purge->name, len);
    json_t *text = json_stringn(name.data, name.len);

    return text != NULL ? text : json_string("(not UTF-8)");
}

static bool on_row(void *arg, uint64_t sequence, struct span row) /* store_purge_fn */
{
    struct listing *listing = arg;
    struct purge purge;

    if (!purge_decode(row, sequence, &purge)) {
        return true;
    }
    json_t *entry =
        json_pack("{sI so ss ss so}", "sequence", (json_int_t)sequence, "time", admin_time_json(purge.time_ms), "kind",
                  purge_kind_text(purge.kind), "mode", purge_mode_text(purge.mode), "name", name_json(&purge));
    if (json_array_size(listing->rows) < listing->limit) {
        return json_array_append_new(listing->rows, entry) == 0;
    }
    size_t place = listing->oldest;
    listing->oldest = (place + 1) % listing->limit;
    return json_array_set_new(listing->rows, place, entry) == 0;
}

/* The rows in their order, as a new array. */
static json_t *in_order(const struct listing *listing)
{
    json_t *ordered = json_array();
    size_t count = json_array_size(listing->rows);

    for (size_t i = 0; i < count; i++) {
        json_t *row = json_array_get(listing->rows, (listing->oldest + i) % count);
        if (json_array_append(ordered, row) != 0) {
            json_decref(ordered);
            return NULL;
        }
    }
    return ordered;
}

enum admin_progress admin_run_purges(struct admin_call *call)
{
    struct cache_reader *reader = call->admin->reader;
    struct span text = admin_parameter(call, SPAN("limit"));
    struct span since = admin_parameter(call, SPAN("since"));
    struct listing listing = {.rows = json_array()};
    uint64_t limit = LIST_USUAL;
    uint64_t after = 0;

    if ((text.len > 0 && !span_to_u64(text, &limit)) || (since.len > 0 && !span_to_u64(since, &after)) ||
        after == UINT64_MAX || limit == 0 || limit > LIST_MAX) {
        json_decref(listing.rows);
        return admin_fail(call, 400, "expected a limit from 1 to %d, and a sequence for since", LIST_MAX);
    }
    listing.limit = (size_t)limit;
    bool read = reader != NULL && store_each_purge(cache_reader_store(reader), after + 1, on_row, &listing) == ERR_OK;
    json_t *ordered = read ? in_order(&listing) : NULL;
    json_decref(listing.rows);
    if (!read) {
        return admin_fail(call, 503, "the journal cannot be read");
    }
    return admin_reply_json(call, 200, json_pack("{so}", "purges", ordered));
}
