/* check_tests.c: see check_tests.h. */
#include "proxy/why/check_tests.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cache/vary.h"
#include "http/date.h"
#include "proxy/io/log.h"
#include "proxy/why/why_internal.h"

enum {
    ARENA_BYTES = 32 * 1024 * 1024, /* of one test: a head of the greatest size, in several forms */
    LINE_BYTES = 2048,              /* of one difference; the rest is cut */
};
static const int64_t usual_time_ms = INT64_C(1767225600) * 1000; /* 2026-01-01 */

/* One test under way. */
struct run {
    const struct config *config;
    const struct test *test;
    const struct test_later *later; /* NULL: the first request */
    const struct test_expect *expect;
    struct arena *arena;
    int64_t time_ms;   /* when the response came */
    bool knows_answer; /* the test says what the origin answers, or it is not asked */
    struct buf *error;
    size_t differences;
    size_t untold; /* of them: there was no room */
};

/* What is compared with the expectations. */
struct found {
    const struct why *why;
    enum reason reason;
    const char *rule;
    unsigned status;                   /* 0: the origin's, which the test does not say */
    bool stored;                       /* by this request */
    const struct why_variant *variant; /* what is stored, NULL: nothing */
};

/* ---- telling ---- */

/* The line of the key `what`; that of its table, or of the test, for what has none. */
static uint32_t line_of(const struct test_expect *expect, const char *what)
{
    for (size_t i = 0; i < expect->line_count; i++) {
        if (span_equal(expect->lines[i].key, span_of(what))) {
            return expect->lines[i].line;
        }
    }
    return expect->line;
}

/* "larder.toml:42: test "name", after 30s: what: text" */
static void differ(struct run *run, const char *what, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void differ(struct run *run, const char *what, const char *format, ...)
{
    const struct config *config = run->config;
    char text[LINE_BYTES];
    va_list arguments;

    run->differences++;
    if (run->error->limit - run->error->len < (size_t)2 * LINE_BYTES) {
        run->untold++;
        return;
    }
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    buf_format(run->error, "%s%s:%" PRIu32 ": test %s", run->error->len > 0 ? "\n" : "",
               config->file != NULL ? config->file : "", line_of(run->expect, what),
               log_quoted(span_of(run->test->name)).text);
    if (run->later != NULL) {
        buf_format(run->error, ", %" PRId64 " s later", run->later->after_s);
    }
    buf_format(run->error, ": %s: %s", what, text);
}

/* "private: private to one user, rule "x"" */
static struct log_text reason_words(enum reason reason, const char *rule)
{
    struct log_text words;

    (void)snprintf(words.text, sizeof words.text, "%s: %s%s%s", reason_token(reason), reason_text(reason),
                   rule != NULL ? ", rule " : "", rule != NULL ? rule : "");
    return words;
}

/* ---- comparing ---- */

static void compare_text(struct run *run, const char *what, const char *want, const char *is, const struct found *found)
{
    if (want != NULL && (is == NULL || strcmp(want, is) != 0)) {
        differ(run, what, "expected %s, is %s (%s)", log_quoted(span_of(want)).text,
               is != NULL ? log_quoted(span_of(is)).text : "none", reason_words(found->reason, found->rule).text);
    }
}

static void compare_seconds(struct run *run, const char *what, bool given, int64_t want_s, int64_t is_s)
{
    if (given && want_s != is_s) {
        differ(run, what, "expected %" PRId64 " s, is %" PRId64 " s", want_s, is_s);
    }
}

/* How long stale use is really possible, and what forbids it. */
static void compare_window(struct run *run, enum setting setting, int64_t want_s, const struct why_variant *variant)
{
    const struct freshness_inputs *inputs = &variant->record.inputs;
    struct stale_window window = policy_stale_use(&variant->policy, inputs, setting);
    int64_t is_s = window.length_s > 0 ? window.length_s : 0;
    const char *forbidden = policy_stale_forbidden(&inputs->directives);

    if (want_s != is_s) {
        differ(run, why_setting_name(setting), "expected %" PRId64 " s, is %" PRId64 " s%s%s", want_s, is_s,
               forbidden != NULL ? ": never stale after " : "", forbidden != NULL ? forbidden : "");
    }
}

/* A time of what is not stored. */
static void compare_no_time(struct run *run, const char *what, bool given, const struct found *found)
{
    if (given && run->later == NULL && !run->knows_answer) {
        differ(run, what, "expected one, and what the origin answers is not said: give a [test.response]");
    } else if (given) {
        differ(run, what, "expected one, and nothing is stored (%s)", reason_words(found->reason, found->rule).text);
    }
}

static void compare_times(struct run *run, const struct found *found)
{
    const struct test_expect *expect = run->expect;

    if (found->variant == NULL) {
        compare_no_time(run, "lifetime", expect->gives_lifetime, found);
        compare_no_time(run, "stale_while_revalidate", expect->gives_while_revalidate, found);
        compare_no_time(run, "stale_if_error", expect->gives_if_error, found);
        return;
    }
    compare_seconds(run, "lifetime", expect->gives_lifetime, expect->lifetime_s, found->variant->freshness.lifetime_s);
    if (expect->gives_while_revalidate) {
        compare_window(run, SETTING_STALE_WHILE_REVALIDATE, expect->stale_while_revalidate_s, found->variant);
    }
    if (expect->gives_if_error) {
        compare_window(run, SETTING_STALE_IF_ERROR, expect->stale_if_error_s, found->variant);
    }
}

/* The request as the origin would get it, but for what larder says of itself there. */
static void compare_forwarded(struct run *run, const struct why *why)
{
    const struct headers *headers = &why->request.headers;

    for (size_t i = 0; i < run->expect->forwarded_count; i++) {
        struct span value = run->expect->forwarded[i];
        struct span name;
        struct span is;
        bool present = false;
        (void)span_split(&value, ':', &name);
        value = span_trim(value);
        if (!headers_combine(headers, name, run->arena, &is, &present) || !present) {
            differ(run, "forwarded", "expected %s, the field is not sent", log_quoted(run->expect->forwarded[i]).text);
        } else if (!span_equal(is, value)) {
            differ(run, "forwarded", "expected %.*s to be %s, is %s", SPAN_ARG(name), log_quoted(value).text,
                   log_quoted(is).text);
        }
    }
    for (size_t i = 0; i < run->expect->removed_count; i++) {
        if (headers_has(headers, run->expect->removed[i])) {
            differ(run, "removed", "expected %.*s not to be sent, it is", SPAN_ARG(run->expect->removed[i]));
        }
    }
}

static void compare(struct run *run, const struct found *found)
{
    const struct test_expect *expect = run->expect;
    const struct why *why = found->why;
    struct span key = why->key.text;

    compare_text(run, "site", expect->site, why->site != NULL ? why->site->name : NULL, found);
    if (expect->key != NULL && !span_equal(key, span_of(expect->key))) {
        differ(run, "key", "expected %s, is %s", log_quoted(span_of(expect->key)).text,
               key.len > 0 ? log_quoted(key).text : "none");
    }
    compare_forwarded(run, why);
    compare_text(run, "answer", expect->answer, why_action_text(why->action), found);
    if (expect->gives_stored && expect->stored && !run->knows_answer) {
        differ(run, "stored", "expected true, and what the origin answers is not said: give a [test.response]");
    } else if (expect->gives_stored && expect->stored != found->stored) {
        differ(run, "stored", "expected %s, is %s (%s)", expect->stored ? "true" : "false",
               found->stored ? "true" : "false", reason_words(found->reason, found->rule).text);
    }
    compare_text(run, "reason", expect->reason, reason_token(found->reason), found);
    compare_text(run, "rule", expect->rule, found->rule, found);
    if (expect->gives_status && found->status == 0) {
        differ(run, "status", "expected %u, is the origin's, and %s", expect->status,
               run->later != NULL ? "what it answers later is not known"
                                  : "what it answers is not said: give a [test.response]");
    } else if (expect->gives_status && expect->status != found->status) {
        bool ranged = found->status == 200 && headers_has(&why->request.headers, SPAN("Range"));
        differ(run, "status", "expected %u, is %u (%s)%s", expect->status, found->status,
               reason_words(found->reason, found->rule).text,
               ranged && !run->test->has_response_length ? "; of a response without length there are no ranges" : "");
    }
    compare_times(run, found);
}

/* ---- asking ---- */

/* A request of the test as `larder why` takes it. False: no memory. */
static bool make_options(struct run *run, const struct test_request *request, struct why_options *out)
{
    const char *line = request->line != NULL ? request->line : run->test->request.line;
    const struct test_request *fields = run->later == NULL || request->gives_fields ? request : &run->test->request;
    const char **texts = arena_alloc(run->arena, (fields->field_count + 1) * sizeof *texts);
    struct span method = SPAN("GET");

    REQUIRE(line != NULL); /* config_tests.c refuses a test without one */
    const char *space = strchr(line, ' ');
    if (space != NULL) {
        method = (struct span){line, (size_t)(space - line)};
    }
    if (texts == NULL || !arena_format(run->arena, &method, "%.*s", SPAN_ARG(method))) {
        return false;
    }
    for (size_t i = 0; i < fields->field_count; i++) {
        texts[i] = fields->fields[i].data;
    }
    *out = (struct why_options){.url = space != NULL ? space + 1 : line,
                                .method = method.data,
                                .fields = texts,
                                .field_count = fields->field_count};
    return true;
}

/* Adds the response of the test. */
static bool add_response(struct run *run, struct why_options *options)
{
    const struct test *test = run->test;
    const char **texts = arena_alloc(run->arena, (test->response_field_count + 1) * sizeof *texts);

    if (texts == NULL) {
        return false;
    }
    for (size_t i = 0; i < test->response_field_count; i++) {
        texts[i] = test->response_fields[i].data;
    }
    options->response_status = test->response_status;
    options->response_fields = texts;
    options->response_field_count = test->response_field_count;
    options->has_response_length = test->has_response_length;
    options->response_length = test->response_length;
    return true;
}

/* The Date of the response, so that Expires and Last-Modified mean what they say. */
static int64_t time_of(const struct test *test)
{
    for (size_t i = 0; i < test->response_field_count; i++) {
        struct span value = test->response_fields[i];
        struct span name;
        int64_t time_s;
        (void)span_split(&value, ':', &name);
        if (span_equal_nocase(name, SPAN("Date")) && date_parse(span_trim(value), usual_time_ms / 1000, &time_s) &&
            time_s > 0) {
            return time_s * 1000;
        }
    }
    return usual_time_ms;
}

/* Reads the request, finds site and key, and selects `stored` (or NULL) if the request does. False: told, or no memory
 * (then nothing was told). */
static bool ask(struct run *run, const struct why_options *options, const struct key *stored_key,
                const struct stored *stored, struct why *why)
{
    struct buf error; /* its words are for a command line */

    buf_init(&error, LINE_BYTES);
    bool read = why_read_request(why, options, &error);
    buf_finish(&error);
    if (!read) {
        differ(run, "request", "expected a URL such as \"http://www.example.com/\", found %s",
               log_quoted(span_of(options->url)).text);
    }
    if (!read || !why_route(why)) {
        return false;
    }
    if (why->site != NULL && !key_of_uri(&why->request.uri, 0, run->arena, &why->key)) {
        return false;
    }
    if (stored != NULL && why->site != NULL && why->past_cache == REASON_NONE &&
        span_equal(why->key.text, stored_key->text)) {
        why->has_selected = vary_matches(stored->selection, &why->request.headers, run->arena) &&
                            why_make_variant(why, stored, &why->selected);
        why->found = why->has_selected ? STORE_FOUND : STORE_OTHER_VARIANTS;
    }
    return why_judge(why);
}

static void run_later(struct run *run, const struct key *key, const struct stored *stored)
{
    struct why why = {.config = run->config, .arena = run->arena, .now_ms = run->time_ms + run->later->after_s * 1000};
    struct why_options options;

    if (!make_options(run, &run->later->request, &options) || !ask(run, &options, key, stored, &why)) {
        return;
    }
    struct found found = {.why = &why,
                          .reason = why.reason,
                          .rule = why.rule,
                          .status = why.status,
                          .variant = why.has_selected ? &why.selected : NULL};
    compare(run, &found);
}

/* The response of the test, as it would be stored. False: told, or no memory. */
static bool suppose(struct run *run, struct why *why, struct why_options *options, struct stored *out_stored,
                    struct why_variant *out_variant)
{
    struct buf error;

    buf_init(&error, LINE_BYTES);
    bool good = add_response(run, options) && why_suppose(why, options, &error);
    if (!good) {
        differ(run, "response", "%.*s", SPAN_ARG(buf_span(&error)));
    }
    buf_finish(&error);
    return good && (!why->supposed.stored ||
                    (why_stored_of_supposed(why, out_stored) && why_make_variant(why, out_stored, out_variant)));
}

static void run_test(struct run *run)
{
    const struct test *test = run->test;
    struct why why = {.config = run->config, .arena = run->arena, .now_ms = run->time_ms};
    struct why_options options;
    struct why_variant variant;
    struct stored stored;

    run->expect = &test->expect;
    if (!make_options(run, &test->request, &options) || !ask(run, &options, NULL, NULL, &why) ||
        (test->response_status != 0 && !suppose(run, &why, &options, &stored, &variant))) {
        if (run->differences == 0) {
            differ(run, "request", "expected less: it does not fit into the memory of a test");
        }
        return;
    }
    struct found found = {.why = &why, .reason = why.reason, .rule = why.rule, .status = why.status};
    run->knows_answer = why.has_supposed || !why.has_failures;
    if (why.has_supposed) {
        found.reason = why.supposed.reason;
        found.rule = why.supposed.rule;
        found.stored = why.supposed.stored;
        found.status = why.supposed.client_status;
        found.variant = found.stored ? &variant : NULL;
    }
    compare(run, &found);
    for (size_t i = 0; i < test->later_count; i++) {
        run->later = &test->laters[i];
        run->expect = &run->later->expect;
        run_later(run, &why.key, found.stored ? &stored : NULL);
    }
}

bool check_tests(const struct config *config, struct buf *out_error)
{
    size_t differences = 0;
    size_t untold = 0;

    for (size_t i = 0; i < config->test_count; i++) {
        struct arena arena;
        arena_init(&arena, ARENA_BYTES);
        struct run run = {.config = config,
                          .test = &config->tests[i],
                          .arena = &arena,
                          .time_ms = time_of(&config->tests[i]),
                          .error = out_error};
        run_test(&run);
        arena_finish(&arena);
        differences += run.differences;
        untold += run.untold;
    }
    if (untold > 0) {
        buf_format(out_error, "\n%zu more differences", untold);
    }
    return differences == 0;
}

struct config *check_tests_load(const struct config_flags *flags, struct buf *out_error)
{
    struct config *config = config_load(flags, out_error);

    if (config != NULL && !check_tests(config, out_error)) {
        config_destroy(config);
        return NULL;
    }
    return config;
}
