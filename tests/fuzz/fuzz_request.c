/* fuzz_request.c: any bytes as the head of a request: found, parsed, its URI normalised.
 *
 * Besides not crashing: a head found in one piece is found byte by byte at the same place; normalising is idempotent;
 * what is forwarded parses again to the same; a head whose fields are known already says the same. */
#include "http/check.h"
#include "http/parser.h"
#include "http/serialize.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static const struct head_limits limits = {.head_bytes = 4096, .target_bytes = 1024, .field_count = 50};

static void check_split(struct span data, enum err want, size_t want_len)
{
    struct head_scan scan = {0};
    enum err error = ERR_AGAIN;
    size_t len = 0;

    for (size_t i = 0; i <= data.len && error == ERR_AGAIN; i++) {
        error = head_find(&scan, span_take(data, i), &limits, &len);
    }
    REQUIRE(error == want);
    REQUIRE(len == want_len);
}

static void check_uri(const struct http_request *request, struct arena *arena)
{
    struct span host = headers_value(&request->headers, SPAN("Host"));
    struct uri uri, again;
    struct span target, target_again;

    if (uri_of_request(SPAN("http"), request->target, host, arena, &uri) != ERR_OK) {
        return;
    }
    REQUIRE(uri.authority.len == 0 || uri_host_valid(uri.authority));
    REQUIRE(uri_path_and_query(&uri, arena, &target));
    REQUIRE(uri_of_request(SPAN("http"), target, uri.authority, arena, &again) == ERR_OK);
    REQUIRE(uri_path_and_query(&again, arena, &target_again));
    REQUIRE(span_equal(target, target_again));
    REQUIRE(span_equal(uri.authority, again.authority));
}

static void check_same_fields(const struct headers *a, const struct headers *b)
{
    REQUIRE(a->count == b->count);
    REQUIRE(a->names.present == b->names.present);
    REQUIRE(a->names.repeated == b->names.repeated);
    for (size_t i = 0; i < a->count; i++) {
        REQUIRE(span_equal(a->items[i].name, b->items[i].name));
        REQUIRE(span_equal(a->items[i].value, b->items[i].value));
    }
}

static void check_round_trip(const struct http_request *request, struct arena *arena)
{
    struct http_request again;
    struct buf out;
    struct head_scan scan = {0};
    struct head_limits wide = {.head_bytes = 16384, .target_bytes = 1024, .field_count = 50};
    size_t len = 0;

    if (request->minor == 0) {
        return; /* goes out as 1.1, with other rules */
    }
    buf_init(&out, 16384);
    write_request_line(&out, request->method_name, request->target);
    write_fields(&out, &request->headers);
    write_end(&out);
    REQUIRE(!out.failed);
    REQUIRE(head_find(&scan, buf_span(&out), &wide, &len) == ERR_OK);
    REQUIRE(len == out.len);
    REQUIRE(parse_request_head(buf_span(&out), &wide, arena, &again) == ERR_OK);
    REQUIRE(again.framing.kind == request->framing.kind);
    REQUIRE(again.framing.length == request->framing.length);
    check_same_fields(&again.headers, &request->headers);
    buf_finish(&out);
}

/* Learns the head's fields, then reads it by them. */
static void check_repeated(struct span head, const struct http_request *request, struct arena *arena)
{
    static struct field_memo *memo;
    struct http_request again;
    size_t len = 0;

    memo = memo == NULL ? field_memo_create() : memo;
    if (memo == NULL || head.data[0] == '\r') {
        return; /* with empty lines in front it goes the usual way */
    }
    (void)field_memo_note(memo, request->field_block, &request->headers);
    uint16_t slot = field_memo_note(memo, request->field_block, &request->headers);
    if (parse_repeated_head(head, &limits, memo, slot, arena, &again, &len)) {
        REQUIRE(len == head.len);
        REQUIRE(again.method == request->method && again.minor == request->minor);
        REQUIRE(span_equal(again.target, request->target));
        REQUIRE(again.framing.kind == request->framing.kind && again.framing.length == request->framing.length);
        check_same_fields(&again.headers, &request->headers);
    } else {
        REQUIRE(request->method == METHOD_CONNECT || slot == FIELD_MEMO_NONE);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct span data = {(const char *)bytes, size};
    struct head_scan scan = {0};
    struct http_request request;
    struct arena arena;
    size_t len = 0;
    enum err error = head_find(&scan, data, &limits, &len);

    check_split(data, error, len);
    if (error != ERR_OK) {
        return 0;
    }
    arena_init(&arena, 1024 * 1024);
    if (parse_request_head(span_take(data, len), &limits, &arena, &request) == ERR_OK) {
        check_uri(&request, &arena);
        check_round_trip(&request, &arena);
        check_repeated(span_take(data, len), &request, &arena);
    }
    arena_finish(&arena);
    return 0;
}
