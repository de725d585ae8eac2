/* fuzz_exchange.c: a whole exchange, both sides said by the input: what the client sends, a NUL byte, what the origin
 * answers.
 *
 * The layers in the order of an exchange, without sockets: head, decisions, rules, key; the request as it is forwarded;
 * the response's head and body, whether it is stored, and what is stored. Besides not crashing: a request that was
 * taken is forwarded as one that reads the same; no stored response answers content, a passed field or another method
 * than GET; a stored head is read back as it was written. */
#include <string.h>

#include "cache/head.h"
#include "cache/vary.h"
#include "http/forward.h"
#include "http/framing.h"
#include "http/parser.h"
#include "http/serialize.h"
#include "http/unkeyed.h"
#include "proxy/config/route.h"
#include "proxy/exchange/assess.h"
#include "proxy/exchange/decide.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { ARENA_BYTES = 1 << 20, OUT_BYTES = 1 << 18 };

static const struct head_limits limits = {.head_bytes = 16384, .target_bytes = 4096, .field_count = 128};
static const struct head_limits wide = {.head_bytes = 1 << 17, .target_bytes = 1 << 16, .field_count = 256};

static const struct config *configuration(void)
{
    static struct config *config;
    struct buf error;

    if (config == NULL) {
        struct config_flags flags = {.origin = "http://127.0.0.1:1"};
        buf_init(&error, 1024);
        config = config_load(&flags, &error);
        REQUIRE(config != NULL);
        buf_finish(&error);
    }
    return config;
}

static bool read_request(struct span data, struct arena *arena, struct http_request *request)
{
    struct head_scan scan = {0};
    size_t len;

    return head_find(&scan, data, &limits, &len) == ERR_OK &&
           parse_request_head(span_take(data, len), &limits, arena, request) == ERR_OK &&
           decide_request(configuration(), FORWARDED_NONE, SPAN("http"), headers_value(&request->headers, SPAN("Host")),
                          request, arena) == ERR_OK;
}

/* What the origin gets reads as what was understood. */
static void check_forwarded(const struct http_request *request, struct arena *arena)
{
    struct http_request copy = *request;
    struct http_request again;
    struct head_scan scan = {0};
    struct span target;
    struct buf out;
    size_t len;

    if (!headers_copy(&copy.headers, &request->headers, arena) || !forward_remove_hop_by_hop(&copy.headers) ||
        !headers_set(&copy.headers, SPAN("Host"), request->uri.authority) ||
        !uri_path_and_query(&request->uri, arena, &target)) {
        return;
    }
    (void)headers_remove(&copy.headers, SPAN("Content-Length")); /* framing is the connection's */
    buf_init(&out, OUT_BYTES);
    write_request_line(&out, copy.method_name, target);
    write_fields(&out, &copy.headers);
    write_end(&out);
    REQUIRE(head_find(&scan, buf_span(&out), &wide, &len) == ERR_OK && len == out.len);
    if (request->uri.authority.len > 0) {
        REQUIRE(parse_request_head(buf_span(&out), &wide, arena, &again) == ERR_OK);
        REQUIRE(again.method == request->method && span_equal(again.target, target));
        REQUIRE(again.framing.kind == FRAMING_NONE);
    }
    buf_finish(&out);
}

static bool read_response(struct span data, enum method method, struct arena *arena, struct http_response *response)
{
    struct head_scan scan = {0};
    struct body_decoder decoder;
    size_t len;

    if (head_find(&scan, data, &limits, &len) != ERR_OK ||
        parse_response_head(span_take(data, len), &limits, method, arena, response) != ERR_OK) {
        return false;
    }
    struct span rest = span_skip(data, len);
    enum err error = ERR_OK;
    body_decoder_init(&decoder, &response->framing);
    while (error == ERR_OK && rest.len > 0 && !body_decoder_done(&decoder)) {
        struct span piece;
        error = body_decoder_feed(&decoder, &rest, &piece);
    }
    body_decoder_finish(&decoder);
    return error == ERR_OK && response->status >= 200;
}

static void check_stored(const struct http_request *request, const struct http_response *response, struct arena *arena)
{
    struct headers again;
    struct buf head, second;

    REQUIRE(request->method == METHOD_GET || request->method == METHOD_POST);
    REQUIRE(!unkeyed_has(request));
    REQUIRE(response->status < 400 || !unkeyed_is_odd(&request->headers));
    buf_init(&head, OUT_BYTES);
    buf_init(&second, OUT_BYTES);
    head_write(&response->headers, &head);
    REQUIRE(!head.failed);
    if (head_read(buf_span(&head), arena, &again) == ERR_OK) {
        write_fields(&second, &again);
        REQUIRE(span_equal(buf_span(&head), buf_span(&second)));
    }
    buf_finish(&head);
    buf_finish(&second);
}

static void run(struct span client, struct span origin, struct arena *arena)
{
    struct http_request request;
    struct http_response response;
    char memory[VARY_MAX_BYTES];
    struct buf selection;

    if (!read_request(client, arena, &request)) {
        return;
    }
    const struct site *site = route_find(configuration(), &request.uri);
    REQUIRE(site != NULL);
    decide_upgrade(configuration(), &request.headers);
    if (!route_rewrite_request(site, &request, arena)) {
        return;
    }
    REQUIRE(!unkeyed_has(&request)); /* no rule lets one through */
    check_forwarded(&request, arena);
    if (!read_response(origin, request.method, arena, &response) || !assess_complete(&response, 1000, arena)) {
        return;
    }
    struct answered answered = {.config = configuration(),
                                .site = site,
                                .request = &request,
                                .response = &response,
                                .request_ms = 0,
                                .response_ms = 1000,
                                .has_key = true};
    buf_init_in(&selection, memory, sizeof memory);
    if (assess_response(&answered, arena, &selection).verdict.store) {
        check_stored(&request, &response, arena);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    const uint8_t *cut = size > 0 ? memchr(bytes, 0, size) : NULL;
    size_t first = cut == NULL ? size : (size_t)(cut - bytes);
    struct span client = {(const char *)bytes, first};
    struct span origin = {(const char *)bytes + first + (cut != NULL ? 1 : 0), size - first - (cut != NULL ? 1 : 0)};
    struct arena arena;

    arena_init(&arena, ARENA_BYTES);
    run(client, origin, &arena);
    arena_finish(&arena);
    return 0;
}
