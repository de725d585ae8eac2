/* model_write.c: the model's messages as header text.
 *
 * `style` chooses among spellings that mean the same: order, case, quotes, unknown members, repeated directives (the
 * first counts), several lines. */
#include "tests/unit/model_write.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "tests/unit/cache_support.h"

const struct span selector_names[SELECTOR_COUNT] = {SPAN_INIT("X-Select"), SPAN_INIT("Accept-Encoding"),
                                                    SPAN_INIT("Accept-Language")};
const struct span field_names[FIELD_COUNT] = {SPAN_INIT("X-A"), SPAN_INIT("X-B"), SPAN_INIT("Set-Cookie")};

enum {
    STYLE_REVERSE = 1,
    STYLE_UPPER = 2,
    STYLE_QUOTED = 4,
    STYLE_NOISE = 8,
    STYLE_REPEATED = 16,
    STYLE_LINES = 32,
    STYLE_ZEROS = 64,
};

enum {
    MEMBERS_MAX = 32,
    MEMBER_BYTES = 48,
};

__attribute__((format(printf, 3, 4))) static void add(struct headers *headers, struct span name, const char *format,
                                                      ...)
{
    char text[1024];
    struct span value;
    va_list args;

    va_start(args, format);
    int len = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    REQUIRE(len >= 0 && (size_t)len < sizeof(text));
    REQUIRE(arena_copy(headers->arena, (struct span){text, (size_t)len}, &value));
    REQUIRE(headers_add(headers, name, value));
}

/* The form of a date follows from its value, so that one moment is always written in the same way. */
static void add_moment(struct headers *headers, struct span name, struct opt when)
{
    static const char *const nonsense[] = {"0", "", "-1", "Tue, 14 Nov 2023 22:13:20 UTC", "soon"};
    static const char *const formats[] = {"%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT",
                                          "%a %b %e %H:%M:%S %Y"};
    char text[64];
    struct tm parts;
    time_t at = (time_t)(T0_S + when.value);

    if (when.form == BROKEN) {
        add(headers, name, "%s", nonsense[(unsigned)when.value % ARRAY_LEN(nonsense)]);
    } else if (when.form == GIVEN) {
        /* Two-digit years mean something within 50 years only */
        bool near = when.value < 100000000 && when.value > -100000000;
        size_t form = near ? (unsigned)when.value % ARRAY_LEN(formats) : 0;
        REQUIRE(gmtime_r(&at, &parts) != NULL);
        REQUIRE(strftime(text, sizeof(text), formats[form], &parts) > 0);
        add(headers, name, "%s", text);
    }
}

struct members {
    char text[MEMBERS_MAX][MEMBER_BYTES];
    int count;
    unsigned style;
};

__attribute__((format(printf, 2, 3))) static void member(struct members *members, const char *format, ...)
{
    va_list args;

    REQUIRE(members->count < MEMBERS_MAX);
    va_start(args, format);
    int len = vsnprintf(members->text[members->count], MEMBER_BYTES, format, args);
    va_end(args);
    REQUIRE(len > 0 && len < MEMBER_BYTES);
    members->count++;
}

static void flag(struct members *members, bool on, const char *name, const char *upper)
{
    if (on) {
        member(members, "%s", members->style & STYLE_UPPER ? upper : name);
    }
}

static void number(struct members *members, struct opt value, const char *name)
{
    static const char *const nonsense[] = {"x", "-5", "1.5", "'5'", "5s"};
    const char *quote = members->style & STYLE_QUOTED ? "\"" : "";

    if (value.form == BROKEN) {
        member(members, "%s=%s", name, nonsense[(unsigned)value.value % ARRAY_LEN(nonsense)]);
    } else if (value.form == GIVEN && value.value == INT32_MAX && members->style & STYLE_ZEROS) {
        member(members, "%s=99999999999999999999", name);
    } else if (value.form == GIVEN) {
        member(members, members->style & STYLE_ZEROS ? "%s=%s%05d%s" : "%s=%s%d%s", name, quote, value.value, quote);
    }
}

static void fields_list(struct members *members, uint8_t fields, const char *name)
{
    char list[64] = "";
    size_t len = 0;

    for (int i = 0; i < FIELD_COUNT; i++) {
        if (fields >> i & 1) {
            len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s", len > 0 ? ", " : "", field_names[i].data);
        }
    }
    if (len > 0) {
        member(members, "%s=\"%s\"", name, list);
    }
}

static void repeat(struct members *members, struct opt value, const char *name)
{
    if (value.form != ABSENT) {
        member(members, "%s=77", name); /* the first one counts, RFC 9111 §4.2.1 */
    }
}

static void add_members(struct headers *headers, struct members *members)
{
    char line[MEMBERS_MAX * (MEMBER_BYTES + 2)];
    size_t len = 0;

    for (int i = 0; i < members->count; i++) {
        len += (size_t)snprintf(line + len, sizeof(line) - len, "%s%s", len > 0 ? ", " : "", members->text[i]);
        if (members->style & STYLE_LINES || i + 1 == members->count) {
            add(headers, SPAN("Cache-Control"), "%s", line);
            len = 0;
        }
    }
}

static void add_control(struct headers *headers, const struct m_control *control)
{
    struct members members = {.style = control->style};
    struct members ordered = {.style = control->style};

    flag(&members, control->no_store, "no-store", "NO-STORE");
    flag(&members, control->no_cache, "no-cache", "No-Cache");
    flag(&members, control->is_private, "private", "Private");
    flag(&members, control->is_public, "public", "PUBLIC");
    flag(&members, control->must_revalidate, "must-revalidate", "Must-Revalidate");
    flag(&members, control->proxy_revalidate, "proxy-revalidate", "proxy-REVALIDATE");
    flag(&members, control->must_understand, "must-understand", "Must-understand");
    flag(&members, control->immutable, "immutable", "Immutable");
    fields_list(&members, control->no_cache_fields, "no-cache");
    fields_list(&members, control->private_fields, "private");
    number(&members, control->max_age, "max-age");
    number(&members, control->s_maxage, "s-maxage");
    number(&members, control->while_revalidate, "stale-while-revalidate");
    number(&members, control->if_error, "stale-if-error");
    if (members.count > 0 && control->style & STYLE_NOISE) {
        member(&members, "extension=\"max-age=3600, no-store\"");
    }
    for (int i = 0; i < members.count; i++) {
        int from = control->style & STYLE_REVERSE ? members.count - 1 - i : i;
        member(&ordered, "%s", members.text[from]);
    }
    if (control->style & STYLE_REPEATED) {
        repeat(&ordered, control->max_age, "max-age");
        repeat(&ordered, control->s_maxage, "S-MaxAge");
        repeat(&ordered, control->while_revalidate, "stale-while-revalidate");
        repeat(&ordered, control->if_error, "stale-if-error");
    }
    add_members(headers, &ordered);
}

static void add_vary(struct headers *headers, const struct m_response *response)
{
    bool lines = (response->style & STYLE_LINES) != 0;
    bool backwards = (response->style & STYLE_REVERSE) != 0;
    char line[128] = "";
    size_t len = 0;

    for (int i = 0; i < SELECTOR_COUNT; i++) {
        int n = backwards ? SELECTOR_COUNT - 1 - i : i;
        if ((response->vary >> n & 1) && lines) {
            add(headers, SPAN("Vary"), "%s", selector_names[n].data);
        } else if (response->vary >> n & 1) {
            len +=
                (size_t)snprintf(line + len, sizeof(line) - len, "%s%s", len > 0 ? ", " : "", selector_names[n].data);
        }
    }
    if (len > 0 || response->vary_star) {
        add(headers, SPAN("Vary"), "%s%s", line, response->vary_star ? ", *" : "");
    }
}

struct http_response write_response(const struct m_response *response, unsigned status, struct arena *arena)
{
    struct http_response out = {.status = status, .minor = 1};
    struct opt age = response->age;

    headers_init(&out.headers, arena);
    add_control(&out.headers, &response->control);
    add_moment(&out.headers, SPAN("Date"), response->date);
    add_moment(&out.headers, SPAN("Expires"), response->expires);
    add_moment(&out.headers, SPAN("Last-Modified"), response->last_modified);
    if (age.form != ABSENT) {
        add(&out.headers, SPAN("Age"), age.form == BROKEN ? "x%d" : "%d, 7", age.value);
    }
    if (response->etag != 0) {
        add(&out.headers, SPAN("ETag"), "%s\"v,%u\"", response->etag_weak ? "W/" : "", response->etag);
    }
    add_vary(&out.headers, response);
    for (int i = 0; i < FIELD_COUNT; i++) {
        if (response->fields[i] != 0) {
            add(&out.headers, field_names[i], "value%u", response->fields[i]);
        }
    }
    out.framing = (struct framing){.kind = FRAMING_LENGTH, .length = response->long_body ? 5000 : 50};
    if (response->unknown_coding) {
        out.framing = (struct framing){.kind = FRAMING_CLOSE, .unknown_coding = true};
    }
    return out;
}

/* Spellings of one class of a selecting field mean the same; those of two classes do not. "|" divides two lines. */
static void add_selector(struct headers *headers, int selector, unsigned choice, unsigned style)
{
    static const char *const spellings[SELECTOR_COUNT][SELECTOR_CHOICES][2] = {
        {{NULL, NULL}, {"", ""}, {"a, b", "a|b"}, {"a, B", "a ,B"}, {"b, a", "b,a"}, {"\"a, b\"", "\"a, b\""}},
        {{NULL, NULL}, {"", ""}, {"gzip, br", "BR|gzip"}, {"gzip", "GZip,"}, {"gzip;q=0", "gzip ; q=0"}, {"br", " br"}},
        {{NULL, NULL}, {"", ""}, {"en, de", "EN|De"}, {"de, en", "de,en"}, {"fr;q=0.5", "FR; q=0.5"}, {"*", "*"}},
    };
    struct span rest = span_of(spellings[selector][choice][(style >> selector) & 1]);
    struct span line;

    if (choice != 0 && rest.len == 0) {
        add(headers, selector_names[selector], "%s", "");
    }
    while (span_split(&rest, '|', &line)) {
        line = span_trim(line);
        add(headers, selector_names[selector], "%.*s", SPAN_ARG(line));
    }
}

static void add_conditions(struct headers *headers, const struct m_request *request)
{
    static const char *const tags[] = {"\"none\"", "\"v,1\"", "\"v,2\""};
    char line[128] = "";
    size_t len = 0;

    for (unsigned i = 0; i < ARRAY_LEN(tags); i++) {
        if (request->none_match >> i & 1) {
            bool weak = (request->style >> i & 1) != 0;
            len += (size_t)snprintf(line + len, sizeof(line) - len, "%s%s%s", len > 0 ? ", " : "", weak ? "W/" : "",
                                    tags[i]);
        }
    }
    if (request->none_match_star || len > 0) {
        add(headers, SPAN("If-None-Match"), "%s", request->none_match_star ? "*" : line);
    }
    add_moment(headers, SPAN("If-Modified-Since"), request->modified_since);
    if (request->if_match) {
        add(headers, SPAN("If-Match"), "\"v,1\"");
    }
    if (request->if_unmodified_since) {
        add_moment(headers, SPAN("If-Unmodified-Since"), (struct opt){GIVEN, 0});
    }
}

struct http_request write_request(const struct m_request *request, struct arena *arena)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "DELETE", "OPTIONS", "M-SEARCH"};
    struct members members = {.style = request->style};
    struct http_request out = {.minor = 1, .target = SPAN("/"), .method_name = span_of(methods[request->method])};

    out.method = method_of(out.method_name);
    headers_init(&out.headers, arena);
    flag(&members, request->no_cache, "no-cache", "No-Cache");
    flag(&members, request->no_store, "no-store", "No-Store");
    flag(&members, request->only_if_cached, "only-if-cached", "ONLY-if-cached");
    flag(&members, request->max_stale_any, "max-stale", "Max-Stale"); /* the first counts: before max-stale=n */
    number(&members, request->max_age, "max-age");
    number(&members, request->max_stale, "max-stale");
    number(&members, request->min_fresh, "min-fresh");
    number(&members, request->if_error, "stale-if-error");
    add_members(&out.headers, &members);
    if (request->pragma_no_cache) {
        add(&out.headers, SPAN("Pragma"), "no-cache");
    }
    if (request->cookie) {
        add(&out.headers, SPAN("Cookie"), "a=b");
    }
    if (request->authorization) {
        add(&out.headers, SPAN("Authorization"), "Basic eA==");
    }
    if (request->upgrade) {
        add(&out.headers, SPAN("Connection"), "Upgrade");
        add(&out.headers, SPAN("Upgrade"), "websocket");
    }
    if (request->content) {
        out.framing = (struct framing){.kind = FRAMING_LENGTH, .length = 3};
    }
    add_conditions(&out.headers, request);
    for (int i = 0; i < SELECTOR_COUNT; i++) {
        add_selector(&out.headers, i, request->selectors[i], request->style);
    }
    return out;
}

static int64_t seconds_or_none(struct opt value)
{
    return value.form == GIVEN ? value.value : -1;
}

struct policy write_policy(const struct m_rules *rules)
{
    return (struct policy){
        .profile = rules->letter ? PROFILE_RFC : PROFILE_SAFE,
        .ttl_s = seconds_or_none(rules->ttl),
        .default_ttl_s = seconds_or_none(rules->default_ttl),
        .stale_while_revalidate_s = seconds_or_none(rules->while_revalidate),
        .stale_if_error_s = seconds_or_none(rules->if_error),
        .rule = {[SETTING_TTL] = "ttl", [SETTING_STALE_WHILE_REVALIDATE] = "swr", [SETTING_STALE_IF_ERROR] = "sie"},
        .bypass = rules->bypass,
        .ignore_cookies = rules->ignore_cookies,
        .store_set_cookie = rules->store_set_cookie,
        .request_directives = rules->request_directives,
        .max_heuristic_s = INT64_MAX,
        .max_stale_s = rules->max_stale.form == GIVEN ? rules->max_stale.value : INT64_MAX,
        .max_object_bytes = rules->small_objects ? 1000 : 0,
    };
}
