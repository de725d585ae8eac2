/* test_purge.c: purges as rows, and what a set of them makes of a response. */
#include <criterion/criterion.h>

#include <string.h>

#include "cache/purge_set.h"
#include "tests/unit/support.h"

enum { SECRET = 7 };

/* ---- rows ---- */

Test(purge, a_row_is_read_as_it_was_written)
{
    static const struct purge cases[] = {
        {.kind = PURGE_URL, .mode = PURGE_HARD, .name = SPAN_INIT("http://a/b?c"), .sequence = 1, .time_ms = 5},
        {.kind = PURGE_PREFIX, .mode = PURGE_SOFT, .name = SPAN_INIT("http://a/"), .sequence = 2, .time_ms = 1},
        {.kind = PURGE_TAG, .mode = PURGE_HARD, .name = SPAN_INIT("\xff\x01"), .sequence = 3},
        {.kind = PURGE_GROUP, .mode = PURGE_HARD, .name = SPAN_INIT("http://a "), .sequence = UINT64_MAX},
        {.kind = PURGE_ALL, .mode = PURGE_SOFT, .name = SPAN_INIT(""), .sequence = 4, .time_ms = 6},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct purge got;
        struct buf row;

        buf_init(&row, 4096);
        purge_encode(&cases[i], &row);
        cr_assert(purge_decode(buf_span(&row), cases[i].sequence, &got), "case %zu", i);
        cr_expect_eq(got.kind, cases[i].kind);
        cr_expect_eq(got.mode, cases[i].mode);
        cr_expect_eq(got.sequence, cases[i].sequence);
        cr_expect_eq(got.time_ms, cases[i].time_ms);
        cr_expect(span_equal(got.name, cases[i].name));
        cr_expect_not(purge_decode(buf_span(&row), cases[i].sequence - 1, &got), "under another sequence");
        for (size_t at = 0; at < row.len; at++) {
            row.data[at] ^= 1;
            cr_expect_not(purge_decode(buf_span(&row), cases[i].sequence, &got), "byte %zu", at);
            row.data[at] ^= 1;
        }
        for (size_t len = 0; len < row.len; len++) {
            cr_expect_not(purge_decode((struct span){row.data, len}, cases[i].sequence, &got), "%zu bytes", len);
        }
        buf_finish(&row);
    }
}

Test(purge, names_have_the_form_of_their_kind)
{
    static const struct {
        struct purge purge;
        bool want;
    } cases[] = {
        {{.kind = PURGE_URL, .name = SPAN_INIT("http://a/")}, true},
        {{.kind = PURGE_URL, .name = SPAN_INIT("/a")}, false},
        {{.kind = PURGE_URL, .name = SPAN_INIT("")}, false},
        {{.kind = PURGE_PREFIX, .name = SPAN_INIT("")}, false},
        {{.kind = PURGE_GLOB, .name = SPAN_INIT("*")}, true},
        {{.kind = PURGE_HOST, .name = SPAN_INIT("*.a")}, true},
        {{.kind = PURGE_TAG, .name = SPAN_INIT("")}, false},
        {{.kind = PURGE_GROUP, .name = SPAN_INIT("a")}, false},
        {{.kind = PURGE_ALL, .name = SPAN_INIT("")}, true},
        {{.kind = PURGE_ALL, .name = SPAN_INIT("a")}, false},
        {{.kind = 0, .name = SPAN_INIT("a")}, false},
        {{.kind = PURGE_KINDS, .name = SPAN_INIT("a")}, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(purge_valid(&cases[i].purge), cases[i].want, "case %zu", i);
    }
}

Test(purge, parts_of_a_url)
{
    static const struct {
        const char *url, *origin, *host;
    } cases[] = {
        {"http://a/b", "http://a", "a"},
        {"http://a:80/b", "http://a:80", "a"},
        {"https://[::1]:80/", "https://[::1]:80", "[::1]"},
        {"http://[::1]/:9", "http://[::1]", "[::1]"},
        {"http://a?b", "http://a?b", "a?b"},
        {"a/b", "", ""},
        {"http:/a", "", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span url = span_of(cases[i].url);
        cr_expect(span_equal(purge_url_origin(url), span_of(cases[i].origin)), "%s", cases[i].url);
        cr_expect(span_equal(purge_url_host(url), span_of(cases[i].host)), "%s", cases[i].url);
    }
}

/* ---- the set ---- */

static struct purge_set *set;
static struct purge_reader *reader;
static struct arena arena;

static void setup(void)
{
    set = purge_set_create(SECRET);
    reader = purge_reader_create(set);
    cr_assert_not_null(reader);
    arena = test_arena();
}

static void teardown(void)
{
    purge_reader_destroy(reader);
    purge_set_destroy(set);
    arena_finish(&arena);
}

TestSuite(purge_set, .init = setup, .fini = teardown);

static enum err add(enum purge_kind kind, enum purge_mode mode, const char *name)
{
    uint64_t replaced;
    uint64_t sequence = purge_set_newest(set) + 1;
    struct purge purge = {
        .kind = kind, .mode = mode, .name = span_of(name), .sequence = sequence, .time_ms = (int64_t)sequence * 1000};
    enum err error = purge_set_add(set, &purge, &replaced);

    purge_set_publish(set, sequence);
    return error;
}

static struct purge_verdict judge(const char *url, const char *head, uint64_t birth)
{
    struct purge_subject subject = {
        .hash = key_hash_of_url(span_of(url), SECRET), .url = span_of(url), .head = span_of(head), .birth = birth};

    arena_reset(&arena);
    return purge_set_judge(reader, &subject, &arena);
}

#define HEAD                                                                                                           \
    "Surrogate-Key: one two\r\nCache-Tag: three\r\nCache-Groups: \"g\", \"h\\\"i\"\r\nContent-Type: text/html\r\n"

Test(purge_set, what_each_kind_names)
{
    static const struct {
        enum purge_kind kind;
        const char *name;
        bool want;
    } cases[] = {
        {PURGE_URL, "http://www.example.org/a/b?c=d", true},
        {PURGE_URL, "http://www.example.org/a/b?c=", false},
        {PURGE_URL, "http://www.example.org/a/b", false},
        {PURGE_URL, "https://www.example.org/a/b?c=d", false},
        {PURGE_PREFIX, "http://www.example.org/a", true},
        {PURGE_PREFIX, "http://www.example.org/a/b?c=d", true},
        {PURGE_PREFIX, "http://www.example.org/a/b?c=d&", false},
        {PURGE_PREFIX, "www.example.org", false},
        {PURGE_GLOB, "*", true},
        {PURGE_GLOB, "http://*.example.org/a/*", true},
        {PURGE_GLOB, "*/a/?*=d", true},
        {PURGE_GLOB, "/a/*", false},
        {PURGE_GLOB, "*/a/b", false},
        {PURGE_GLOB, "*b?c=d", true}, /* the ? stands for the URL's own */
        {PURGE_TAG, "one", true},
        {PURGE_TAG, "three", true},
        {PURGE_TAG, "One", false},
        {PURGE_TAG, "one two", false},
        {PURGE_TAG, "g", false},
        {PURGE_GROUP, "http://www.example.org g", true}, /* RFC 9875 2.1 */
        {PURGE_GROUP, "http://www.example.org h\"i", true},
        {PURGE_GROUP, "http://www.example.org G", false},
        {PURGE_GROUP, "https://www.example.org g", false},
        {PURGE_GROUP, "http://www.example.org one", false},
        {PURGE_HOST, "www.example.org", true},
        {PURGE_HOST, "example.org", false},
        {PURGE_HOST, "*.example.org", true},
        {PURGE_HOST, "*.www.example.org", false},
        {PURGE_HOST, "*.xample.org", false},
        {PURGE_ALL, "", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (enum purge_mode mode = PURGE_HARD; mode <= PURGE_SOFT; mode++) {
            enum purge_effect want = !cases[i].want ? PURGED_NOT : mode == PURGE_HARD ? PURGED_HARD : PURGED_SOFT;
            const char *url = "http://www.example.org/a/b?c=d";

            teardown();
            setup();
            cr_assert_eq(add(cases[i].kind, mode, cases[i].name), ERR_OK);
            struct purge_verdict verdict = judge(url, HEAD, 0);
            cr_expect_eq(verdict.effect, want, "%s %s", purge_kind_text(cases[i].kind), cases[i].name);
            if (want != PURGED_NOT) {
                cr_expect_eq(verdict.purge.kind, cases[i].kind);
                cr_expect_eq(verdict.purge.sequence, 1);
                cr_expect(span_equal(verdict.purge.name, span_of(cases[i].name)), "%s", cases[i].name);
            }
            cr_expect_eq(judge(url, HEAD, 1).effect, PURGED_NOT, "born later: %s", cases[i].name);
        }
    }
}

Test(purge_set, a_host_with_a_port)
{
    cr_assert_eq(add(PURGE_HOST, PURGE_HARD, "a.example"), ERR_OK);
    cr_assert_eq(add(PURGE_HOST, PURGE_HARD, "*.b.example"), ERR_OK);
    cr_expect_eq(judge("http://a.example:8080/", "", 0).effect, PURGED_HARD);
    cr_expect_eq(judge("http://x.b.example:8080/", "", 0).effect, PURGED_HARD);
    cr_expect_eq(judge("http://b.example:8080/", "", 0).effect, PURGED_NOT);
}

Test(purge_set, hard_beats_soft_and_the_newest_is_named)
{
    cr_assert_eq(add(PURGE_TAG, PURGE_SOFT, "one"), ERR_OK);
    cr_assert_eq(add(PURGE_PREFIX, PURGE_SOFT, "http://a/"), ERR_OK);
    struct purge_verdict verdict = judge("http://a/b", HEAD, 0);
    cr_expect_eq(verdict.effect, PURGED_SOFT);
    cr_expect_eq(verdict.purge.sequence, 2);
    cr_expect_eq(verdict.purge.time_ms, 1000, "it has been stale since the first");
    verdict = judge("http://a/b", HEAD, 1);
    cr_expect_eq(verdict.purge.kind, PURGE_PREFIX);
    cr_expect_eq(verdict.purge.time_ms, 2000);
    cr_assert_eq(add(PURGE_TAG, PURGE_HARD, "two"), ERR_OK);
    cr_assert_eq(add(PURGE_ALL, PURGE_SOFT, ""), ERR_OK);
    verdict = judge("http://a/b", HEAD, 0);
    cr_expect_eq(verdict.effect, PURGED_HARD);
    cr_expect_eq(verdict.purge.sequence, 3);
    cr_expect_eq(judge("http://a/b", HEAD, 3).effect, PURGED_SOFT);
    cr_expect_eq(judge("http://a/b", HEAD, 4).effect, PURGED_NOT);
}

Test(purge_set, the_same_again_takes_its_place)
{
    static const struct {
        enum purge_kind kind;
        const char *name;
    } cases[] = {{PURGE_URL, "http://a/"}, {PURGE_GLOB, "http://a/*"}, {PURGE_ALL, ""}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t before = purge_set_newest(set);
        uint64_t replaced;
        struct purge purge = {.kind = cases[i].kind, .mode = PURGE_HARD, .name = span_of(cases[i].name)};

        purge.sequence = before + 1;
        cr_assert_eq(purge_set_add(set, &purge, &replaced), ERR_OK);
        cr_expect_eq(replaced, 0);
        purge_set_publish(set, purge.sequence);
        purge.mode = PURGE_SOFT;
        purge.sequence = before + 2;
        cr_assert_eq(purge_set_add(set, &purge, &replaced), ERR_OK);
        cr_expect_eq(replaced, 0, "soft beside hard");
        purge_set_publish(set, purge.sequence);
        purge.mode = PURGE_HARD;
        purge.sequence = before + 3;
        cr_assert_eq(purge_set_add(set, &purge, &replaced), ERR_OK);
        cr_expect_eq(replaced, before + 1);
        purge_set_publish(set, purge.sequence);
        cr_expect_eq(judge("http://a/", "", before + 1).effect, PURGED_HARD);
    }
}

static bool has_room(enum purge_kind kind, const char *name)
{
    return purge_set_has_room(set, &(struct purge){.kind = kind, .name = span_of(name)}, 1);
}

Test(purge_set, limits)
{
    char name[64];

    for (unsigned i = 0; i < PURGE_SET_MAX_PATTERNS; i++) {
        snprintf(name, sizeof(name), "http://a/%u/*", i);
        cr_expect(has_room(PURGE_GLOB, "*"));
        cr_assert_eq(add(PURGE_GLOB, PURGE_HARD, name), ERR_OK);
    }
    cr_expect_not(has_room(PURGE_GLOB, "*"));
    cr_expect_eq(add(PURGE_PREFIX, PURGE_HARD, "http://a/"), ERR_LIMIT);
    cr_expect_eq(add(PURGE_GLOB, PURGE_HARD, "http://a/0/*"), ERR_OK, "one that is there already");
    cr_expect_eq(judge("http://a/b", "", 0).effect, PURGED_NOT);
    cr_expect_eq(judge("http://a/127/b", "", 0).effect, PURGED_HARD);
    for (unsigned i = 0; i < PURGE_SET_MAX_NAMES; i++) {
        snprintf(name, sizeof(name), "http://a/u%u", i);
        cr_assert_eq(add(PURGE_URL, PURGE_HARD, name), ERR_OK);
    }
    cr_expect_not(has_room(PURGE_URL, "http://a/"));
    cr_expect_eq(purge_set_fill_percent(set), 100);
    cr_expect_eq(add(PURGE_TAG, PURGE_HARD, "x"), ERR_LIMIT);
    cr_expect(has_room(PURGE_ALL, ""));
    cr_expect(has_room(PURGE_HOST, "a"));
    cr_expect_not(has_room(PURGE_HOST, "*.a"));
    for (unsigned i = 0; has_room(PURGE_HOST, "a"); i++) {
        snprintf(name, sizeof(name), "host%u", i);
        cr_assert_eq(add(PURGE_HOST, PURGE_HARD, name), ERR_OK);
    }
    cr_expect_eq(add(PURGE_HOST, PURGE_HARD, "a"), ERR_LIMIT);
    cr_expect(has_room(PURGE_ALL, ""), "hosts do not take its place");
    cr_expect_eq(judge("http://a/u1000", "", 0).effect, PURGED_HARD);
    cr_expect_eq(judge("http://a/u131071", "", 0).effect, PURGED_HARD);
    cr_expect_eq(judge("http://a/u131072", "", 0).effect, PURGED_NOT);
}

Test(purge_set, trimmed_rows_are_gone)
{
    char name[64];

    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "http://a/%u", i);
        cr_assert_eq(add(i % 10 == 0 && i < 500 ? PURGE_GLOB : PURGE_URL, PURGE_HARD, name), ERR_OK);
    }
    purge_set_trim(set, 501); /* of 1 to 1000 */
    cr_expect_eq(judge("http://a/499", "", 0).effect, PURGED_NOT);
    cr_expect_eq(judge("http://a/490", "", 0).effect, PURGED_NOT);
    cr_expect_eq(judge("http://a/500", "", 0).effect, PURGED_HARD);
    cr_expect_eq(judge("http://a/999", "", 0).effect, PURGED_HARD);
    cr_expect_eq(purge_set_newest(set), 1000);
    cr_expect_eq(purge_set_fill_percent(set), 0);
}

Test(purge_set, what_cannot_be_read_is_dead)
{
    cr_assert_eq(add(PURGE_URL, PURGE_HARD, "http://a/b"), ERR_OK);
    cr_expect_eq(judge("http://a/c", "broken", 0).effect, PURGED_NOT, "no tag is asked for");
    cr_assert_eq(add(PURGE_TAG, PURGE_SOFT, "x"), ERR_OK);
    cr_expect_eq(judge("http://a/c", "broken", 0).effect, PURGED_HARD);
}
