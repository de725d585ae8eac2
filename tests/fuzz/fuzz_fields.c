/* fuzz_fields.c: any bytes as the values that header fields hold. The first byte chooses which reader gets the rest. */
#include <string.h>

#include "http/buf.h"
#include "http/date.h"
#include "http/directives.h"
#include "http/forward.h"
#include "http/link.h"
#include "http/no_vary_search.h"
#include "http/token.h"
#include "http/validators.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { NOW_S = 1700000000 };

static void try_directives(struct span text, struct arena *arena)
{
    struct headers headers;
    struct response_directives response;
    struct request_directives request;

    headers_init(&headers, arena);
    REQUIRE(headers_add(&headers, SPAN("Cache-Control"), text));
    response = directives_of_response(&headers, arena);
    request = directives_of_request(&headers, arena);
    REQUIRE(response.present && request.present);
    REQUIRE(response.max_age.state == request.max_age.state);
    REQUIRE(response.max_age.seconds >= 0);
}

static void try_date(struct span text)
{
    char out[DATE_TEXT_LEN];
    int64_t time_s, back_s;

    if (date_parse(text, NOW_S, &time_s)) {
        date_format(time_s, out);
        REQUIRE(date_parse((struct span){out, sizeof out}, NOW_S, &back_s));
        REQUIRE(back_s == time_s || time_s > 253402300799); /* a leap second at the end of the year 9999 */
    }
}

static void try_lists(struct span text, struct arena *arena)
{
    struct span rest = text;
    struct span member, value, name;
    bool has_value;
    size_t total = 0;

    while (list_next(&rest, &member)) {
        REQUIRE(member.len > 0);
        total += member.len;
        parameter_split(member, &name, &value, &has_value);
        REQUIRE(name.len + value.len + has_value == member.len);
        REQUIRE(quality_of(member, &value) <= 1000);
        if (unquote(member, arena, &value)) {
            REQUIRE(value.len <= member.len);
        }
    }
    REQUIRE(total <= text.len);
    REQUIRE(rest.len == 0);
}

static void try_etags(struct span text, struct arena *arena)
{
    struct headers headers;
    struct span etag = text;
    struct span list;

    REQUIRE(span_split(&etag, '\n', &list) || text.len == 0);
    headers_init(&headers, arena);
    REQUIRE(headers_add(&headers, SPAN("If-None-Match"), text.len == 0 ? text : list));
    REQUIRE(headers_add(&headers, SPAN("ETag"), etag));
    (void)condition_evaluate(&headers, &headers, NOW_S, NOW_S); /* any is fine */
    REQUIRE(etag_equal_weak(text, text));
}

static void try_uri(struct span text, struct arena *arena)
{
    static const struct span strip[] = {SPAN_INIT("utm_*"), SPAN_INIT("*a*b*"), SPAN_INIT("?")};
    struct uri base = {
        .scheme = SPAN("http"), .authority = SPAN("h"), .path = SPAN("/a/b"), .query = SPAN("c"), .has_query = true};
    struct uri uri, again;
    struct span path;

    if (uri_resolve(&base, text, arena, &uri) != ERR_OK) {
        return;
    }
    REQUIRE(uri.path.len > 0);
    REQUIRE(uri.path.data[0] == '/');
    REQUIRE(uri_host_valid(uri.authority));
    REQUIRE(uri_same_origin(&uri, &uri));
    REQUIRE(uri_filter_query(&uri, strip, ARRAY_LEN(strip), true, arena));
    REQUIRE(uri_path_and_query(&uri, arena, &path));
    again = uri;
    REQUIRE(uri_filter_query(&again, strip, ARRAY_LEN(strip), true, arena));
    REQUIRE(span_equal(again.query, uri.query));
    REQUIRE(again.has_query == uri.has_query || uri.query.len == 0);
}

static void try_forwarding(struct span text, struct arena *arena)
{
    struct headers headers;

    headers_init(&headers, arena);
    REQUIRE(headers_add(&headers, SPAN("Connection"), text));
    REQUIRE(headers_add(&headers, SPAN("Host"), SPAN("h")));
    REQUIRE(headers_add(&headers, SPAN("A"), SPAN("b")));
    REQUIRE(forward_remove_hop_by_hop(&headers));
    REQUIRE(headers_has(&headers, SPAN("Host")));
    REQUIRE(!headers_has(&headers, SPAN("Connection")));
}

static void try_links(struct span text)
{
    struct span rest = text;
    struct span value;

    while (link_next(&rest, &value)) {
        REQUIRE(value.len >= 2 && value.data[0] == '<');
        REQUIRE(value.data + value.len <= rest.data);
        (void)link_is_hint(value); /* either is fine */
    }
    (void)link_is_hint(text);
}

/* A line of the field, then a query. */
static void try_search(struct span text, struct arena *arena)
{
    struct headers headers;
    struct no_vary_search variance;
    struct uri uri = {.has_query = true, .query = text};
    struct span field, form, again;

    if (!span_split(&uri.query, '\n', &field)) {
        return;
    }
    headers_init(&headers, arena);
    REQUIRE(headers_add(&headers, SPAN("No-Vary-Search"), field));
    if (no_vary_search_of(&headers, arena, &variance) && no_vary_search_query(&variance, &uri, arena, &form)) {
        uri.query = form;
        REQUIRE(no_vary_search_query(&variance, &uri, arena, &again));
        REQUIRE(span_equal(form, again));
    }
}

static void try_json(struct span text)
{
    struct buf out;

    buf_init(&out, text.len * 6 + 2);
    buf_add_json_string(&out, text);
    REQUIRE(!out.failed);
    for (size_t i = 0; i < out.len; i++) {
        REQUIRE((unsigned char)out.data[i] >= 0x20);
    }
    buf_finish(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct span text;
    struct arena arena;

    if (size == 0) {
        return 0;
    }
    text = (struct span){(const char *)bytes + 1, size - 1};
    arena_init(&arena, 4 * 1024 * 1024);
    switch (bytes[0] % 9) {
    case 0:
        try_directives(text, &arena);
        break;
    case 1:
        try_date(text);
        break;
    case 2:
        try_lists(text, &arena);
        break;
    case 3:
        try_etags(text, &arena);
        break;
    case 4:
        try_uri(text, &arena);
        break;
    case 5:
        try_forwarding(text, &arena);
        break;
    case 6:
        try_links(text);
        break;
    case 7:
        try_search(text, &arena);
        break;
    default:
        try_json(text);
        break;
    }
    arena_finish(&arena);
    return 0;
}
