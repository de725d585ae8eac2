/* test_forwarded.c: whom a proxy asks for (RFC 7239). */
#include <criterion/criterion.h>

#include "http/forwarded.h"
#include "tests/unit/support.h"

Test(forwarded, the_clients_address)
{
    static const char spoofed[] = "X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil\r\n"
                                  "X-Forwarded-Port: 1\r\nForwarded: for=9.9.9.9\r\nX-Real-IP: 8.8.8.8\r\n"
                                  "X-Forwarded: 9.9.9.9\r\nA: 1\r\n";
    static const struct {
        const char *name, *before;
        enum forwarded_style style;
        bool trust;
        const char *client, *host, *after;
    } cases[] = {
        {"added", "A: 1\r\n", FORWARDED_X, false, "1.2.3.4", "h",
         "A: 1\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n"},
        {"what a stranger says is replaced", spoofed, FORWARDED_X, false, "1.2.3.4", "h",
         "A: 1\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n"},
        {"what a trusted client says is kept", spoofed, FORWARDED_X, true, "::1", "h",
         "A: 1\r\nX-Forwarded-For: 9.9.9.9, ::1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: h\r\n"},
        {"the scheme as the key has it", "X-Forwarded-Proto: evil\r\n", FORWARDED_X, true, "::1", "h",
         "X-Forwarded-For: ::1\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: h\r\n"},
        {"a unix socket", "", FORWARDED_X, false, "", "", "X-Forwarded-For: unknown\r\nX-Forwarded-Proto: http\r\n"},
        {"a trusted client that says it the other way", "Forwarded: proto=https\r\n", FORWARDED_X, true, "::1", "",
         "X-Forwarded-For: ::1\r\nX-Forwarded-Proto: http\r\n"},
        {"RFC 7239", "", FORWARDED_RFC, false, "1.2.3.4", "h", "Forwarded: for=1.2.3.4;proto=http;host=h\r\n"},
        {"RFC 7239 §6, IPv6, and a host with a port", "", FORWARDED_RFC, false, "2001:db8::1", "h:81",
         "Forwarded: for=\"[2001:db8::1]\";proto=http;host=\"h:81\"\r\n"},
        {"RFC 7239, unknown", "", FORWARDED_RFC, false, "unknown", "", "Forwarded: for=unknown;proto=http\r\n"},
        {"RFC 7239, a stranger", spoofed, FORWARDED_RFC, false, "1.2.3.4", "h",
         "A: 1\r\nForwarded: for=1.2.3.4;proto=http;host=h\r\n"},
        {"RFC 7239, trusted", spoofed, FORWARDED_RFC, true, "1.2.3.4", "h",
         "A: 1\r\nForwarded: for=9.9.9.9, for=1.2.3.4;proto=http;host=h\r\n"},
        {"RFC 7239 §5.3, hosts that no key has",
         "Forwarded: for=9.9.9.9;Host=evil;proto=https, host=\"H\" ; by=_a\r\nForwarded: host=\"a, b\", "
         "for=8.8.8.8\r\n",
         FORWARDED_RFC, true, "1.2.3.4", "h",
         "Forwarded: for=9.9.9.9;proto=https, host=\"H\";by=_a, for=unknown, for=8.8.8.8, "
         "for=1.2.3.4;proto=http;host=h\r\n"},
        {"none", spoofed, FORWARDED_NONE, false, "1.2.3.4", "h", "A: 1\r\n"},
        {"none, trusted", spoofed, FORWARDED_NONE, true, "1.2.3.4", "h", "A: 1\r\n"},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers headers = test_headers(&arena, cases[i].before);
        struct forwarded forwarded = {
            .style = cases[i].style,
            .client = span_of(cases[i].client),
            .scheme = SPAN("http"),
            .host = span_of(cases[i].host),
        };

        enum forwarded_style believed = cases[i].trust ? cases[i].style : FORWARDED_NONE;
        forwarded.request_scheme = forwarded_scheme(&headers, believed, SPAN("http"));
        forwarded_remove_untold(&headers, believed, NULL);
        cr_expect(forwarded_add(&headers, &forwarded), "%s", cases[i].name);
        cr_expect_str_eq(test_headers_text(&headers, &arena), cases[i].after, "%s", cases[i].name);
    }
    arena_finish(&arena);
}

/* RFC 7239 §4: what readers would take in more than one way, and what they would obey though no key has it, goes no
 * further. */
Test(forwarded, what_is_passed_on_of_a_trusted_proxys_field_rfc7239_4)
{
    static const struct {
        const char *fields, *passed; /* in front of larder's own element */
        const char *scheme, *client; /* as read from the same fields */
    } cases[] = {
        {"for=9.9.9.9;proto=https\r\n", "for=9.9.9.9;proto=https", "https", "9.9.9.9"},
        {"for=\"x;host=evil.test, for=192.0.2.1;proto=https\r\n", "for=unknown", "http", "unknown"},
        {"for=\"x;host=evil.test\r\nForwarded: for=192.0.2.1;proto=https\r\n", "for=unknown, for=192.0.2.1", "http",
         "192.0.2.1"},
        {"for=192.0.2.1;proto=https\r\nForwarded: for=\"x;host=evil.test\r\nForwarded: by=\"\r\n",
         "for=192.0.2.1;proto=https, for=unknown, for=unknown", "https", "unknown"},
        {"for=10.0.0.1\r\nForwarded: for=\"x, for=192.0.2.1\r\n", "for=10.0.0.1, for=unknown", "http", "unknown"},
        {"for=\"x\\\", for=192.0.2.1\r\n", "for=unknown", "http", "unknown"},
        {",\r\nForwarded: \r\nForwarded: proto=https\r\n", "proto=https", "https", "unknown"},
        {"host =evil.test;for=a\r\n", "for=a", "http", "a"},
        {"host= evil.test;for=a\r\n", "for=a", "http", "a"},
        {"host\t=evil.test, for=b\r\n", "for=unknown, for=b", "http", "b"},
        {"for=a, proto =https\r\n", "for=a, for=unknown", "http", "unknown"},
        {"evil.test;=evil.test;for=a;by=;@=evil.test\r\n", "for=a", "http", "a"},
        {"for=a;by=x\"evil.test\"\r\n", "for=a", "http", "a"},
        {"for=a;by=\"x\"evil.test\r\n", "for=a", "http", "a"},
        {"for=a;by=\"x\"\"evil.test\"\r\n", "for=a", "http", "a"},
        {"for=a;by=\"x;host=evil.test\"\r\n", "for=a", "http", "a"},
        {"for=a;by=\"x, host=evil.test\"\r\n", "for=a", "http", "a"},
        {"for=a;by=\"x\\\"evil.test\"\r\n", "for=a", "http", "a"},
        {"for=a;proto=evil.test\r\n", "for=a", "http", "a"},
        {"for=a;proto=http;Proto=https\r\n", "for=a;proto=http", "http", "a"},
        {"for=a;proto=evil.test;proto=https\r\n", "for=a", "http", "a"},
        {"for=a;FOR=b;host=h;host=evil.test\r\n", "for=a;host=h", "http", "a"},
        {"for=a;host=evil.test;host=h\r\n", "for=a", "http", "a"},
        {"proto=evil.test, for=a;proto=https\r\n", "for=unknown, for=a", "http", "a"},
        {"host=evil.test, for=a;proto=https\r\n", "for=unknown, for=a", "http", "a"},
        /* the client's own hop says no scheme: no other's is taken for it, by nobody */
        {"for=a, for=b;proto=https\r\nForwarded: proto=https;by=c\r\n", "for=a, for=b, by=c", "http", "unknown"},
        {"for=a;proto=http, for=b;proto=https\r\n", "for=a;proto=http, for=b;proto=https", "http", "b"},
        /* §6 wants quotes around a port: who leaves them out is understood, and passed on with them */
        {"for=192.0.2.1:4711;proto=https\r\n", "for=\"192.0.2.1:4711\";proto=https", "https", "192.0.2.1"},
        {"For = 192.0.2.1:80\r\n", "for=unknown", "http", "unknown"},
        {"for=[2001:db8::1]:80, for=2001:db8::2;by=_x\r\n", "for=\"[2001:db8::1]:80\", by=_x", "http", "unknown"},
        /* origins search for `host=` and `proto=` anywhere in the field */
        {"for=a;xhost=evil.test;x-proto=https, by=_b;secret=_c\r\n", "for=a, by=_b", "http", "unknown"},
        {"xproto=https, for=a\r\n", "for=unknown, for=a", "http", "a"},
        {"for=\"x host=evil.test\";by=\"host=evil.test\"\r\n", "for=unknown", "http", "unknown"},
        {"for=\"x\tevil.test\";by=\"_a \", for=\" b\"\r\n", "for=unknown, for=unknown", "http", "unknown"},
        {"for=host=evil.test;by=proto=https\r\n", "for=unknown", "http", "unknown"},
        {"for==evil.test;by=\"=\";for=a\r\n", "for=a", "http", "a"},
        {"for=a:80, for=[2001:db8::1]\r\n", "for=\"a:80\", for=\"[2001:db8::1]\"", "http", "2001:db8::1"},
        {"for=a;by=[::1;host=[h];by=[::1]80;by=[::1]:0;by=b:70000\r\n", "for=a", "http", "a"},
        {"for=192.0.2.1:80;for=192.0.2.2\r\n", "for=\"192.0.2.1:80\"", "http", "192.0.2.1"},
        {"for=a;host=h:81;by=x:\"y\"\r\n", "for=a", "http", "a"},
        {"for=:;by=:,for=[]\r\n", "for=unknown, for=unknown", "http", "unknown"},
        {"by=b:,by=b:,by=[::],by=\r\n", "by=\"b:\", by=\"b:\", by=\"[::]\", for=unknown", "http", "unknown"},
        {"for=a;by=x:{y}@\r\n", "for=a", "http", "a"},
        {"for=a, host=evil.test\r\n", "for=a, for=unknown", "http", "unknown"},
        {"for=a;proto=\"WSS\", for=b;proto=ws;by=\"\"\r\n", "for=a;proto=\"WSS\", for=b;proto=ws;by=\"\"", "https",
         "b"},
        {"a=1;b=1;c=1;d=1;e=1;f=1;g=1;h=1;i=1;for=a\r\n", "for=a", "http", "a"},
        {"a,b,c\r\n", "for=unknown, for=unknown, for=unknown", "http", "unknown"},
        {" \r\n", "", "http", "unknown"},
    };
    struct arena arena = test_arena();
    const struct forwarded forwarded = {
        .style = FORWARDED_RFC, .client = SPAN("::1"), .scheme = SPAN("http"), .host = SPAN("h")};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span fields, want;
        cr_assert(arena_format(&arena, &fields, "Forwarded: %s", cases[i].fields));
        struct headers headers = test_headers(&arena, fields.data);
        struct span scheme = forwarded_scheme(&headers, FORWARDED_RFC, SPAN("http"));
        struct span client = forwarded_client(&headers, FORWARDED_RFC);

        cr_expect(span_equal(scheme, span_of(cases[i].scheme)), "%s: %.*s", cases[i].fields, SPAN_ARG(scheme));
        cr_expect(span_equal(client, span_of(cases[i].client)), "%s: %.*s", cases[i].fields, SPAN_ARG(client));
        cr_assert(arena_format(&arena, &want, "Forwarded: %s%sfor=\"[::1]\";proto=http;host=h\r\n", cases[i].passed,
                               cases[i].passed[0] != '\0' ? ", " : ""));
        forwarded_remove_untold(&headers, FORWARDED_RFC, NULL);
        cr_expect(forwarded_add(&headers, &forwarded));
        cr_expect_str_eq(test_headers_text(&headers, &arena), want.data, "%s", cases[i].fields);
    }
    arena_finish(&arena);
}

/* What is to be read from these fields. */
struct reading {
    const char *fields;
    enum forwarded_style style;
    const char *want;
};

static void expect_readings(const struct reading *cases, size_t count,
                            struct span (*read)(const struct headers *, enum forwarded_style))
{
    struct arena arena = test_arena();

    for (size_t i = 0; i < count; i++) {
        struct headers headers = test_headers(&arena, cases[i].fields);
        struct span got = read(&headers, cases[i].style);

        cr_expect(span_equal(got, span_of(cases[i].want)), "%s: %.*s", cases[i].fields, SPAN_ARG(got));
    }
    arena_finish(&arena);
}

static struct span scheme_over_http(const struct headers *headers, enum forwarded_style style)
{
    return forwarded_scheme(headers, style, SPAN("http"));
}

Test(forwarded, the_scheme_that_the_client_used_rfc9110_4_2_2)
{
    static const struct reading cases[] = {
        {"", FORWARDED_X, "http"},
        {"X-Forwarded-Proto: https\r\n", FORWARDED_X, "https"},
        {"x-forwarded-proto: HTTPS , http\r\n", FORWARDED_X, "https"},
        {"X-Forwarded-Proto: http, https\r\n", FORWARDED_X, "http"},
        {"X-Forwarded-Proto: wss\r\n", FORWARDED_X, "https"},
        {"X-Forwarded-Proto: ws, https\r\n", FORWARDED_X, "http"},
        {"X-Forwarded-Proto: gopher\r\n", FORWARDED_X, "http"},
        {"X-Forwarded-Proto: \r\n", FORWARDED_X, "http"},
        {"X-Forwarded-Proto: http\r\nForwarded: proto=https\r\n", FORWARDED_X, "http"},
        {"Forwarded: proto=https\r\n", FORWARDED_X, "http"},
        {"Forwarded: for=1.2.3.4;Proto=\"https\", for=10.0.0.1;proto=http\r\n", FORWARDED_RFC, "https"},
        {"X-Forwarded-Proto: https\r\n", FORWARDED_RFC, "http"},
        {"X-Forwarded-Proto: http\r\nForwarded: for=\"[::1];proto=http\";proto=https\r\n", FORWARDED_RFC, "https"},
        {"Forwarded: for=1.2.3.4, proto=https\r\n", FORWARDED_RFC, "http"},
        {"Forwarded: proto=https\r\nX-Forwarded-Proto: https\r\n", FORWARDED_NONE, "http"},
    };

    expect_readings(cases, ARRAY_LEN(cases), scheme_over_http);
}

Test(forwarded, the_last_one_is_whom_the_trusted_proxy_saw_rfc7239_4)
{
    static const struct reading cases[] = {
        {"X-Forwarded-For: 192.0.2.1, 192.0.2.7\r\n", FORWARDED_X, "192.0.2.7"},
        {"X-Forwarded-For: 192.0.2.7\r\nA: 1\r\nx-forwarded-for: 192.0.2.1\r\n", FORWARDED_X, "192.0.2.1"},
        {"X-Forwarded-For: 192.0.2.1:4711\r\n", FORWARDED_X, "192.0.2.1"},
        {"X-Forwarded-For: [2001:db8::1]:80\r\n", FORWARDED_X, "2001:db8::1"},
        {"X-Forwarded-For: 2001:db8::1\r\n", FORWARDED_X, "2001:db8::1"},
        {"X-Forwarded-For: \", 192.0.2.7\r\n", FORWARDED_X, "192.0.2.7"},
        {"X-Forwarded-For: 192.0.2.1,\r\n", FORWARDED_X, "unknown"},
        {"X-Forwarded-For: [broken\r\n", FORWARDED_X, "unknown"},
        {"X-Forwarded-For: \r\n", FORWARDED_X, "unknown"},
        {"X-Forwarded-For: :80\r\n", FORWARDED_X, "unknown"},
        {"Forwarded: for=192.0.2.1;proto=http, proto=http;for=\"[2001:db8::7]:80\"\r\n", FORWARDED_RFC, "2001:db8::7"},
        {"Forwarded: proto=\";for=192.0.2.1\"; For=192.0.2.60\r\n", FORWARDED_RFC, "192.0.2.60"},
        {"Forwarded: by=192.0.2.60\r\n", FORWARDED_RFC, "unknown"},
        {"Forwarded: for=192.0.2.1, by=192.0.2.60\r\n", FORWARDED_RFC, "unknown"},
        {"Forwarded: for=_hidden\r\n", FORWARDED_RFC, "_hidden"},
        {"Host: a\r\n", FORWARDED_X, ""},
        {"Forwarded: for=192.0.2.1\r\n", FORWARDED_X, ""},
        {"X-Forwarded-For: 192.0.2.1\r\n", FORWARDED_RFC, ""},
        {"X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.2\r\n", FORWARDED_RFC, "192.0.2.2"},
        {"X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.2\r\n", FORWARDED_X, "192.0.2.1"},
        {"X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.2\r\n", FORWARDED_NONE, ""},
    };

    expect_readings(cases, ARRAY_LEN(cases), forwarded_client);
}

Test(forwarded, x_real_ip_says_what_x_forwarded_for_says_or_nothing)
{
    static const struct {
        const char *fields;
        enum forwarded_style believed;
        const char *left;
    } cases[] = {
        {"X-Real-IP: 192.0.2.1\r\n", FORWARDED_NONE, ""},
        {"X-Real-IP: 192.0.2.1\r\n", FORWARDED_RFC, ""},
        {"X-Real-IP: 192.0.2.1\r\n", FORWARDED_X, ""},
        {"X-Real-IP: \r\n", FORWARDED_X, ""},
        {"X-Forwarded-For: 10.0.0.1, 192.0.2.1\r\nx-real-ip: 192.0.2.1\r\n", FORWARDED_X,
         "X-Forwarded-For: 10.0.0.1, 192.0.2.1\r\nx-real-ip: 192.0.2.1\r\n"},
        {"X-Forwarded-For: 10.0.0.1, 192.0.2.1\r\nX-Real-IP: 10.0.0.1\r\n", FORWARDED_X,
         "X-Forwarded-For: 10.0.0.1, 192.0.2.1\r\n"},
        {"X-Real-IP: 10.0.0.1\r\nX-Forwarded-For: 192.0.2.1\r\nX-Real-IP: 192.0.2.1\r\n", FORWARDED_X,
         "X-Forwarded-For: 192.0.2.1\r\nX-Real-IP: 192.0.2.1\r\n"},
        {"X-Forwarded-For: [2001:DB8::1]:80\r\nX-Real-IP: 2001:db8::1\r\n", FORWARDED_X,
         "X-Forwarded-For: [2001:DB8::1]:80\r\nX-Real-IP: 2001:db8::1\r\n"},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers headers = test_headers(&arena, cases[i].fields);

        forwarded_remove_untold(&headers, cases[i].believed, NULL);
        cr_expect_str_eq(test_headers_text(&headers, &arena), cases[i].left, "%s", cases[i].fields);
    }
    arena_finish(&arena);
}

Test(forwarded, fields_that_a_trusted_proxy_is_said_to_set)
{
    static const char sent[] = "x-forwarded-prefix: /shop\r\nX-Forwarded-Port: 443\r\nX-Forwarded-Server: a\r\n";
    struct span names[] = {SPAN_INIT("X-Forwarded-Prefix"), SPAN_INIT("X-Forwarded-Port")};
    const struct field_names told = {.items = names, .count = ARRAY_LEN(names)};
    struct arena arena = test_arena();
    struct headers trusted = test_headers(&arena, sent);
    struct headers strange = test_headers(&arena, sent);

    forwarded_remove_untold(&trusted, FORWARDED_X, &told);
    cr_expect_str_eq(test_headers_text(&trusted, &arena), "x-forwarded-prefix: /shop\r\nX-Forwarded-Port: 443\r\n");
    forwarded_remove_untold(&strange, FORWARDED_NONE, &told);
    cr_expect_str_eq(test_headers_text(&strange, &arena), "");
    cr_expect(forwarded_may_be_told(SPAN("X-Forwarded-Prefix")));
    cr_expect_not(forwarded_may_be_told(SPAN("X-Forwarded-Host")));
    cr_expect_not(forwarded_may_be_told(SPAN("X-Real-IP")));
    cr_expect_not(forwarded_may_be_told(SPAN("X-Forwarded-My_Prefix")));
    cr_expect(forwarded_may_be_told(SPAN("X-Forwarded-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")),
              "64 bytes");
    cr_expect_not(forwarded_may_be_told(SPAN("X-Forwarded-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")));
    arena_finish(&arena);
}
