#include "proxy/commands/demo_site.h"

#include <inttypes.h>
#include <stdio.h>

#include "http/date.h"
#include "http/serialize.h"
#include "http/validators.h"

enum {
    BORN_S = 1717243200,   /* 2024-06-01T12:00:00Z: when most of the site was last modified */
    CLOCK_STEP_S = 5,      /* /clock changes this often */
    FEED_STEP_S = 300,     /* /feed.xml changes this often */
    BODY_MAX_BYTES = 2048, /* of a page that is made anew for each request */
};

static const char page[] =
    "<!doctype html>\n"
    "<html lang=\"en\">\n"
    "<meta charset=\"utf-8\">\n"
    "<title>larder's demo site</title>\n"
    "<link rel=\"stylesheet\" href=\"/style.css\">\n"
    "<img src=\"/logo.svg\" alt=\"a jar\" width=\"96\" height=\"96\">\n"
    "<h1>A slow little site</h1>\n"
    "<p>Every answer takes its time, unless a cache has it already. Reload this page.</p>\n"
    "<ul>\n"
    "<li><a href=\"/api/items\">/api/items</a>: five seconds fresh, then stale while revalidated\n"
    "<li><a href=\"/feed.xml\">/feed.xml</a>: Last-Modified and half a minute fresh\n"
    "<li><a href=\"/clock\">/clock</a>: changes every five seconds, its ETag with it\n"
    "<li><a href=\"/cached-demo\">/cached-demo</a>: its ETag is \"demo-v1\"\n"
    "<li><a href=\"/agents\">/agents</a>: one variant for each browser, all the same\n"
    "<li><a href=\"/only-last-modified\">/only-last-modified</a>: nothing but Last-Modified\n"
    "<li><a href=\"/no-validator\">/no-validator</a>: neither validator nor freshness\n"
    "<li><a href=\"/private\">/private</a>: for one reader only\n"
    "<li><a href=\"/error\">/error</a>: 500\n"
    "</ul>\n"
    "</html>\n";

static const char style[] = "body { font: 1rem/1.5 sans-serif; max-width: 40rem; margin: 3rem auto; color: #333; }\n"
                            "img { float: right; }\n"
                            "a { color: #b5541c; }\n";

static const char logo[] = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 96 96\">\n"
                           "<rect x=\"22\" y=\"28\" width=\"52\" height=\"58\" rx=\"10\" fill=\"#f3c98b\" "
                           "stroke=\"#7a4a1e\" stroke-width=\"4\"/>\n"
                           "<rect x=\"26\" y=\"12\" width=\"44\" height=\"14\" rx=\"4\" fill=\"#b5541c\" "
                           "stroke=\"#7a4a1e\" stroke-width=\"4\"/>\n"
                           "<rect x=\"32\" y=\"46\" width=\"32\" height=\"22\" fill=\"#fff\"/>\n"
                           "</svg>\n";

static const char items[] = "{\"items\": [{\"id\": 1, \"name\": \"plum jam\"}, {\"id\": 2, \"name\": \"pickles\"}]}\n";

/* One address of the site. NULL and 0: the answer does not have that field. */
struct resource {
    const char *path;
    const char *type;
    const char *cache_control;
    const char *etag;
    int64_t last_modified_s;
    const char *body;
    unsigned status; /* 0: 200 */
    const char *vary;
};

static const struct resource resources[] = {
    {"/", "text/html; charset=utf-8", "max-age=60", "\"page-1\"", 0, page, 0},
    {"/style.css", "text/css", "max-age=300", "\"style-1\"", BORN_S, style, 0},
    {"/logo.svg", "image/svg+xml", "max-age=31536000, immutable", "\"logo-1\"", 0, logo, 0},
    {"/api/items", "application/json", "max-age=5, stale-while-revalidate=30", "\"items-1\"", 0, items, 0},
    {"/cached-demo", "text/plain", "max-age=10", "\"demo-v1\"", 0, "This is what is stored.\n", 0},
    {"/agents", "text/plain", "max-age=60", "\"agents-1\"", 0,
     "The same for each browser, though Vary says otherwise.\n", 0, "User-Agent"},
    {"/only-last-modified", "text/plain", NULL, NULL, BORN_S, "A cache may guess how long this is fresh.\n", 0},
    {"/no-validator", "text/plain", NULL, NULL, 0, "Nothing says how long this is good, nor which version it is.\n", 0},
    {"/private", "text/plain", "private, max-age=60", "\"private-1\"", 0, "For one reader only.\n", 0},
    {"/error", "text/plain", NULL, NULL, 0, "The demo origin fails here, as asked.\n", 500},
};

/* What is made anew: the two resources that change as time goes by. */
struct made {
    char etag[48];
    char body[BODY_MAX_BYTES];
};

static struct resource make_clock(int64_t now_s, struct made *made)
{
    int64_t step = now_s / CLOCK_STEP_S;
    char date[DATE_TEXT_LEN];

    date_format(step * CLOCK_STEP_S, date);
    (void)snprintf(made->etag, sizeof made->etag, "\"clock-%" PRId64 "\"", step);
    (void)snprintf(made->body, sizeof made->body, "At the origin it is about %.*s.\n", DATE_TEXT_LEN, date);
    return (struct resource){
        .type = "text/plain", .cache_control = "max-age=2", .etag = made->etag, .body = made->body};
}

static struct resource make_feed(int64_t now_s, struct made *made)
{
    int64_t changed_s = now_s - now_s % FEED_STEP_S;
    char date[DATE_TEXT_LEN];

    date_format(changed_s, date);
    (void)snprintf(
        made->body, sizeof made->body,
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n"
        "<rss version=\"2.0\"><channel><title>Demo</title><link>/</link><description>News of the larder</description>\n"
        "<item><title>Batch %" PRId64 " is in its jars</title><pubDate>%.*s</pubDate></item>\n"
        "</channel></rss>\n",
        changed_s / FEED_STEP_S, DATE_TEXT_LEN, date);
    return (struct resource){
        .type = "application/rss+xml", .cache_control = "max-age=30", .last_modified_s = changed_s, .body = made->body};
}

static struct resource find_resource(const struct http_request *request, int64_t now_s, struct made *made)
{
    struct span rest = request->target;
    struct span path = {NULL, 0};

    (void)span_split(&rest, '?', &path); /* queries make no difference here */
    if (request->method != METHOD_GET && request->method != METHOD_HEAD) {
        return (struct resource){.type = "text/plain", .body = "Only GET and HEAD are answered here.\n", .status = 405};
    }
    if (span_equal(path, SPAN("/clock"))) {
        return make_clock(now_s, made);
    }
    if (span_equal(path, SPAN("/feed.xml"))) {
        return make_feed(now_s, made);
    }
    for (size_t i = 0; i < ARRAY_LEN(resources); i++) {
        if (span_equal(path, span_of(resources[i].path))) {
            return resources[i];
        }
    }
    return (struct resource){.type = "text/plain", .body = "There is nothing here.\n", .status = 404};
}

static bool add_date(struct headers *headers, struct span name, int64_t time_s)
{
    char date[DATE_TEXT_LEN];
    struct span copy;

    date_format(time_s, date);
    return arena_copy(headers->arena, (struct span){date, sizeof date}, &copy) && headers_add(headers, name, copy);
}

static bool add_length(struct headers *headers, size_t bytes)
{
    struct span text;

    return arena_format(headers->arena, &text, "%zu", bytes) && headers_add(headers, SPAN("Content-Length"), text);
}

/* The fields of the full answer. */
static bool add_fields(struct headers *headers, const struct resource *resource, struct span body, int64_t now_s)
{
    return add_date(headers, SPAN("Date"), now_s) &&
           headers_add(headers, SPAN("Content-Type"), span_of(resource->type)) && add_length(headers, body.len) &&
           (resource->cache_control == NULL ||
            headers_add(headers, SPAN("Cache-Control"), span_of(resource->cache_control))) &&
           (resource->etag == NULL || headers_add(headers, SPAN("ETag"), span_of(resource->etag))) &&
           (resource->vary == NULL || headers_add(headers, SPAN("Vary"), span_of(resource->vary))) &&
           (resource->last_modified_s == 0 || add_date(headers, SPAN("Last-Modified"), resource->last_modified_s)) &&
           (resource->status != 405 || headers_add(headers, SPAN("Allow"), SPAN("GET, HEAD")));
}

/* Does the client hold the current version already? Only what the resource has can be compared: without Last-Modified,
 * If-Modified-Since says nothing. */
static bool is_not_modified(const struct http_request *request, const struct resource *resource,
                            const struct headers *fields, int64_t now_s)
{
    bool has_tags = headers_has(&request->headers, SPAN("If-None-Match"));

    if (resource->status != 0 || (resource->etag == NULL && resource->last_modified_s == 0) ||
        (!has_tags && resource->last_modified_s == 0)) {
        return false;
    }
    return condition_evaluate(&request->headers, fields, now_s, now_s) == CONDITION_MATCHED;
}

static void write_not_modified(const struct headers *fields, struct buf *out)
{
    write_status_line(out, 304);
    for (size_t i = 0; i < fields->count; i++) {
        if (field_belongs_in_304(fields->items[i].name)) {
            write_field(out, fields->items[i].name, fields->items[i].value);
        }
    }
}

void demo_site_answer(const struct http_request *request, int64_t now_s, enum demo_after after, struct arena *arena,
                      struct buf *out)
{
    struct made made = {.etag = ""};
    struct resource resource = find_resource(request, now_s, &made);
    struct span body = span_of(resource.body);
    struct headers fields;

    headers_init(&fields, arena);
    if (!add_fields(&fields, &resource, body, now_s)) {
        demo_site_refuse(503, out);
        return;
    }
    if (is_not_modified(request, &resource, &fields, now_s)) {
        write_not_modified(&fields, out);
        body.len = 0;
    } else {
        write_status_line(out, resource.status == 0 ? 200 : resource.status);
        write_fields(out, &fields);
    }
    if (after == DEMO_CLOSE) {
        write_field(out, SPAN("Connection"), SPAN("close"));
    } else if (request->minor == 0) {
        write_field(out, SPAN("Connection"), SPAN("keep-alive"));
    }
    write_end(out);
    if (request->method != METHOD_HEAD) {
        buf_add(out, body);
    }
}

void demo_site_refuse(unsigned status, struct buf *out)
{
    write_status_line(out, status);
    write_field(out, SPAN("Content-Length"), SPAN("0"));
    write_field(out, SPAN("Connection"), SPAN("close"));
    write_end(out);
}
