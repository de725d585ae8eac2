/* warm.c: see warm.h.
 *
 * Happy path: the URLs are collected, the combinations of fields are made, and each thread takes the next request when
 *             its turn has come, asks, and counts the answer.
 * Failures:   - a file that cannot be read, a sitemap that is none, nothing to ask for: refused before anything is
 * asked.
 *             - nobody listens: the first thread to find out ends the run.
 *             - an answer breaks off, or is an error: counted, the first few named on standard error. */
#include "proxy/commands/warm.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "http/token.h"
#include "proxy/commands/admin_ask_json.h"
#include "proxy/commands/gunzip.h"
#include "proxy/commands/progress.h"
#include "proxy/commands/warm_client.h"
#include "proxy/commands/warm_urls.h"
#include "proxy/io/log.h"
#include "proxy/io/thread.h"
#include "proxy/server/listener.h"

enum {
    CONCURRENCY_USUAL = 4,
    CONCURRENCY_MAX = 64,
    VARIANTS_MAX = 64,
    REASONS_MAX = 32,
    NAMED_MAX = 10,                       /* failures that are named one by one */
    SITEMAP_MAX_BYTES = 64 * 1024 * 1024, /* also of what a compressed one becomes */
    GZIP_LAYERS_MAX = 2,
    SITEMAPS_MAX = 1000,
    FIELDS_MAX_BYTES = 64 * 1024,
};

struct reason_count {
    char word[WARM_WORD_BYTES];
    uint64_t count;
};

/* What all threads share. */
struct warm {
    const struct address *address;
    const struct warm_urls *urls;
    struct span variants[VARIANTS_MAX]; /* lines of fields */
    size_t variant_count;
    bool names_scheme;    /* fields say what a proxy in front would */
    uint64_t interval_us; /* between two starts; 0: none */
    bool quiet;
    pthread_mutex_t mutex; /* guards everything below */
    uint64_t next;         /* request: URL and variant */
    uint64_t due_us;       /* when it may start, CLOCK_MONOTONIC */
    uint64_t asked, hits, stored, failed;
    struct reason_count reasons[REASONS_MAX]; /* why others are not stored */
    size_t reason_count;
    struct progress progress;
    bool nobody; /* listens */
};

/* ---- what to ask ---- */

static const struct span usual_fields = SPAN_INIT("User-Agent: larder-warm\r\n");

static struct span name_of(const char *field)
{
    return span_take(span_of(field), span_find(span_of(field), ':'));
}

/* What the request's line and framing say (RFC 9112 §3.2, §6) is not for variants. */
static bool check_field(const char *field, struct buf *error)
{
    static const struct span own[] = {SPAN_INIT("Connection"), SPAN_INIT("Content-Length"),
                                      SPAN_INIT("Transfer-Encoding")};
    struct span name = name_of(field);

    if (!is_token(name) || strpbrk(field, "\r\n") != NULL || name.len == span_of(field).len) {
        buf_format(error, "-H: expected a field such as 'Accept-Encoding: gzip', found %s",
                   log_quoted(span_of(field)).text);
        return false;
    }
    if (span_equal_nocase(name, SPAN("Host"))) {
        buf_format(error, "-H: Host is the URL's: give the URL with that host instead of %s",
                   log_quoted(span_of(field)).text);
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(own); i++) {
        if (span_equal_nocase(name, own[i])) {
            buf_format(
                error,
                "-H: %.*s makes no variant: larder warm asks by GET without content, on connections that it keeps",
                SPAN_ARG(own[i]));
            return false;
        }
    }
    return true;
}

static bool is_named(const struct options *options, size_t before, struct span name)
{
    for (size_t i = 0; i < before; i++) {
        if (span_equal_nocase(name_of(options->fields[i]), name)) {
            return true;
        }
    }
    return false;
}

/* Every combination of one value of each name, in the order in which names were first given; our own User-Agent where
 * none is. */
static bool make_variants(struct warm *warm, const struct options *options, struct arena *arena, struct buf *error)
{
    warm->variants[0] = is_named(options, options->field_count, SPAN("User-Agent")) ? SPAN("") : usual_fields;
    warm->variant_count = 1;
    warm->names_scheme = is_named(options, options->field_count, SPAN("X-Forwarded-Proto")) ||
                         is_named(options, options->field_count, SPAN("Forwarded"));
    for (size_t i = 0; i < options->field_count; i++) {
        struct span name = name_of(options->fields[i]);
        size_t values = 0;
        size_t before = warm->variant_count;
        bool again = is_named(options, i, name);
        struct span made[VARIANTS_MAX];
        if (!check_field(options->fields[i], error)) {
            return false;
        }
        for (size_t k = i; k < options->field_count && !again; k++) {
            if (!span_equal_nocase(name_of(options->fields[k]), name)) {
                continue;
            }
            for (size_t v = 0; v < before; v++) {
                if (values == VARIANTS_MAX || !arena_format(arena, &made[values], "%.*s%s\r\n",
                                                            SPAN_ARG(warm->variants[v]), options->fields[k])) {
                    buf_format(error, "-H: expected at most %d combinations", VARIANTS_MAX);
                    return false;
                }
                values++;
            }
        }
        if (values > 0) {
            memcpy(warm->variants, made, values * sizeof(made[0]));
            warm->variant_count = values;
        }
    }
    return true;
}

static bool fail_read(const char *name, enum err problem, struct buf *error)
{
    const char *why = problem == ERR_IO             ? strerror(errno)
                      : problem == ERR_BAD_RESPONSE ? "it is no sitemap"
                      : problem == ERR_DAMAGED      ? "what is compressed is damaged"
                      : problem == ERR_LIMIT        ? "too many URLs"
                                                    : err_text(problem);

    buf_format(error, "warm: %s: %s", log_quoted(span_of(name)).text, why);
    return false;
}

/* "-" is standard input. */
static bool read_lines(struct warm_urls *urls, const char *name, bool is_log, struct span host, struct buf *error)
{
    bool standard = strcmp(name, "-") == 0;
    FILE *file = standard ? stdin : fopen(name, "re");

    if (file == NULL) {
        return fail_read(name, ERR_IO, error);
    }
    enum err problem = is_log ? warm_urls_read_log(urls, file, host) : warm_urls_read_list(urls, file);
    bool good = problem == ERR_OK || fail_read(name, problem, error);
    if (!standard) {
        (void)fclose(file); /* it was only read */
    }
    return good;
}

/* Compressed as a file (.xml.gz), on its way (Content-Encoding: gzip), or both: no XML begins as gzip does. */
static enum err unpack(struct buf *xml)
{
    enum err error = ERR_OK;

    for (unsigned layer = 0; layer < GZIP_LAYERS_MAX && error == ERR_OK && gunzip_knows(buf_span(xml)); layer++) {
        struct buf plain;
        buf_init(&plain, xml->limit);
        error = gunzip(buf_span(xml), &plain);
        buf_finish(xml);
        *xml = plain;
    }
    return error;
}

/* Asks larder for one. False with the status's line written, where that is not 200. */
static bool ask_for_sitemap(struct warm_client *client, const struct warm_url *url, struct buf *xml,
                            enum err *out_problem, struct buf *error)
{
    struct warm_request request = {
        .secure = url->secure, .host = url->host, .target = url->target, .fields = usual_fields, .body = xml};
    struct warm_answer answer;

    buf_clear(xml);
    *out_problem = warm_client_get(client, &request, &answer);
    if (*out_problem == ERR_OK && answer.status != 200) {
        buf_format(error, "warm: %s: larder answers with status %u", log_quoted(url->target).text, answer.status);
        return false;
    }
    if (*out_problem == ERR_OK) {
        *out_problem = unpack(xml);
    }
    return true;
}

/* Asks larder for a sitemap, and for those that it names. */
static bool read_sitemap(struct warm_urls *urls, const char *name, const struct address *address, struct buf *error)
{
    struct warm_client client = {.address = address};
    struct warm_urls sitemaps;
    struct buf xml;
    enum err problem;

    warm_urls_init(&sitemaps);
    buf_init(&xml, SITEMAP_MAX_BYTES);
    problem = warm_urls_add(&sitemaps, span_of(name));
    for (size_t i = 0; i < sitemaps.count && problem == ERR_OK; i++) {
        if (i == SITEMAPS_MAX) {
            problem = ERR_LIMIT;
        } else if (!ask_for_sitemap(&client, &sitemaps.items[i], &xml, &problem, error)) {
            break;
        } else if (problem == ERR_OK) {
            problem = warm_urls_read_sitemap(urls, buf_span(&xml), &sitemaps);
        }
    }
    warm_client_close(&client);
    buf_finish(&xml);
    warm_urls_finish(&sitemaps);
    return error->len == 0 && (problem == ERR_OK || fail_read(name, problem, error));
}

static bool collect(struct warm_urls *urls, const struct options *options, const struct address *address,
                    struct buf *error)
{
    struct span host = span_of(options->site != NULL ? options->site : "");

    for (size_t i = 0; i < options->name_count; i++) {
        const struct purge_option *name = &options->names[i];
        bool good = true;
        if (strcmp(name->member, "urls") == 0) {
            enum err problem = warm_urls_add(urls, span_of(name->text));
            good = problem == ERR_OK || fail_read(name->text, problem, error);
        } else if (strcmp(name->member, "sitemap") == 0) {
            good = read_sitemap(urls, name->text, address, error);
        } else {
            good = read_lines(urls, name->text, strcmp(name->member, "log") == 0, host, error);
        }
        if (!good) {
            return false;
        }
    }
    if (urls->count == 0) {
        buf_add_text(error, "warm: there is no URL to ask for");
    }
    return urls->count > 0;
}

/* ---- asking ---- */

static uint64_t now_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void sleep_until(uint64_t time_us)
{
    struct timespec until = {.tv_sec = (time_t)(time_us / 1000000), .tv_nsec = (long)(time_us % 1000000 * 1000)};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
    }
}

/* The next request and when it may start. False: there is none. */
static bool take(struct warm *warm, uint64_t *out_index, uint64_t *out_due_us)
{
    pthread_mutex_lock(&warm->mutex);
    bool more = warm->next < warm->urls->count * warm->variant_count && !warm->nobody;
    if (more) {
        uint64_t now = now_us();
        *out_index = warm->next++;
        *out_due_us = warm->due_us > now ? warm->due_us : now; /* what was missed is not made up for in a burst */
        warm->due_us = *out_due_us + warm->interval_us;
    }
    pthread_mutex_unlock(&warm->mutex);
    return more;
}

/* The mutex is held. More different reasons than there is room for are counted with the last. */
static void count_reason(struct warm *warm, const char *word)
{
    size_t i = 0;

    while (i < warm->reason_count && i < REASONS_MAX - 1 && strcmp(warm->reasons[i].word, word) != 0) {
        i++;
    }
    if (i == warm->reason_count) {
        (void)snprintf(warm->reasons[i].word, sizeof(warm->reasons[i].word), "%s",
                       i == REASONS_MAX - 1 ? "other" : word);
        warm->reason_count++;
    }
    warm->reasons[i].count++;
}

static void count(struct warm *warm, const struct warm_url *url, enum err error, const struct warm_answer *answer)
{
    pthread_mutex_lock(&warm->mutex);
    warm->asked++;
    warm->nobody = warm->nobody || error == ERR_CONNECT;
    if (error == ERR_OK && answer->hit) {
        warm->hits++;
    } else if (error == ERR_OK && answer->stored) {
        warm->stored++;
    } else if (error == ERR_OK && answer->status < 400) {
        count_reason(warm, answer->detail[0] != '\0' ? answer->detail : "not-said");
    } else {
        warm->failed++;
        if (warm->failed <= NAMED_MAX && !warm->quiet && !warm->nobody) {
            char status[16];
            (void)snprintf(status, sizeof status, "%u", answer->status);
            progress_end(&warm->progress);
            fprintf(stderr, "larder: warm: %s: %s://%.*s%.*s\n", error == ERR_OK ? status : err_text(error),
                    url->secure ? "https" : "http", SPAN_ARG(url->host), SPAN_ARG(url->target));
            progress_begin(&warm->progress, "warm", warm->progress.total, warm->quiet);
        }
    }
    progress_step(&warm->progress, warm->asked);
    pthread_mutex_unlock(&warm->mutex);
}

static void *run(void *arg) /* start routine of a thread */
{
    struct warm *warm = arg;
    struct warm_client client = {.address = warm->address};
    uint64_t index, due_us;

    while (take(warm, &index, &due_us)) {
        const struct warm_url *url = &warm->urls->items[index / warm->variant_count];
        struct warm_request request = {.secure = url->secure && !warm->names_scheme,
                                       .host = url->host,
                                       .target = url->target,
                                       .fields = warm->variants[index % warm->variant_count]};
        struct warm_answer answer = {.status = 0};
        sleep_until(due_us);
        count(warm, url, warm_client_get(&client, &request, &answer), &answer);
    }
    warm_client_close(&client);
    return NULL;
}

/* False: not even one thread could be had. */
static bool ask_all(struct warm *warm, size_t concurrency)
{
    pthread_t threads[CONCURRENCY_MAX];
    size_t started = 0;

    progress_begin(&warm->progress, "warm", warm->urls->count * warm->variant_count, warm->quiet);
    while (started < concurrency && thread_start(&threads[started], run, warm)) {
        started++;
    }
    for (size_t i = 0; i < started; i++) {
        pthread_join(threads[i], NULL);
    }
    progress_end(&warm->progress);
    return started > 0;
}

/* ---- the command ---- */

/* Where the larder that runs listens, which it tells itself; where it tells nothing, as configured. False: it was named
 * by its cache alone, and tells nothing. */
static bool find_listener(const struct config *config, const struct options *options, struct arena *arena,
                          struct address *out_address, struct buf *error)
{
    struct buf why;

    *out_address = config->server.listen[0];
    if (options->listen_count > 0) {
        return true;
    }
    buf_init(&why, 4096);
    json_t *status = admin_ask_json(config, "/v1/status", SPAN(""), &why);
    const char *text = json_string_value(json_array_get(json_object_get(status, "listen"), 0));
    bool found = (text != NULL && config_parse_address(span_of(text), arena, out_address)) ||
                 options->config.cache_dir == NULL || options->config.file != NULL;
    if (!found) {
        buf_add_text(error, "warm: ");
        buf_add(error, why.len > 0 ? buf_span(&why) : SPAN("larder does not say where it listens: see --listen"));
    }
    json_decref(status);
    buf_finish(&why);
    return found;
}

static void write_summary(const struct warm *warm, struct buf *out)
{
    uint64_t others = 0;

    for (size_t i = 0; i < warm->reason_count; i++) {
        others += warm->reasons[i].count;
    }
    buf_format(out, "%llu request%s for %zu URL%s\n", (unsigned long long)warm->asked, warm->asked == 1 ? "" : "s",
               warm->urls->count, warm->urls->count == 1 ? "" : "s");
    buf_format(out, "  stored now   %llu\n", (unsigned long long)warm->stored);
    buf_format(out, "  hits         %llu\n", (unsigned long long)warm->hits);
    buf_format(out, "  not stored   %llu\n", (unsigned long long)others);
    for (size_t i = 0; i < warm->reason_count; i++) {
        buf_format(out, "    %-22s %llu\n", warm->reasons[i].word, (unsigned long long)warm->reasons[i].count);
    }
    buf_format(out, "  failed       %llu\n", (unsigned long long)warm->failed);
    if (warm->urls->skipped > 0) {
        buf_format(out, "%llu line%s name%s no URL that could be asked for\n", (unsigned long long)warm->urls->skipped,
                   warm->urls->skipped == 1 ? "" : "s", warm->urls->skipped == 1 ? "s" : "");
    }
}

static bool read_numbers(const struct options *options, struct warm *warm, size_t *out_concurrency, struct buf *error)
{
    uint64_t concurrency = CONCURRENCY_USUAL;

    if (options->rate != NULL && !config_parse_rate(span_of(options->rate), &warm->interval_us)) {
        buf_format(error, "--rate: expected requests a second, minute or hour such as 20/s, or off, found %s",
                   log_quoted(span_of(options->rate)).text);
        return false;
    }
    if (options->concurrency != NULL && (!span_to_u64(span_of(options->concurrency), &concurrency) || concurrency < 1 ||
                                         concurrency > CONCURRENCY_MAX)) {
        buf_format(error, "--concurrency: expected a number from 1 to %d, found %s", CONCURRENCY_MAX,
                   log_quoted(span_of(options->concurrency)).text);
        return false;
    }
    *out_concurrency = (size_t)concurrency;
    return true;
}

static enum warm_result warm_all(struct warm *warm, struct warm_urls *urls, const struct options *options,
                                 struct buf *out, struct buf *error)
{
    struct arena arena;
    size_t concurrency;
    enum warm_result result = WARM_REFUSED;

    arena_init(&arena, (size_t)VARIANTS_MAX * VARIANTS_MAX * FIELDS_MAX_BYTES);
    if (read_numbers(options, warm, &concurrency, error) && make_variants(warm, options, &arena, error) &&
        collect(urls, options, warm->address, error)) {
        if (!ask_all(warm, concurrency)) {
            buf_add_text(error, "warm: no thread can be started");
        } else if (warm->nobody) {
            buf_add_text(error, "warm: no larder listens at ");
            address_format(warm->address, error);
            buf_add_text(error, ": is it running, with this configuration? See --config, --cache-dir and --listen");
        } else {
            write_summary(warm, out);
            result = warm->failed == 0 ? WARM_DONE : WARM_FAILED;
        }
    }
    arena_finish(&arena);
    return result;
}

enum warm_result warm_run(const struct config *config, const struct options *options, struct buf *out,
                          struct buf *error)
{
    struct warm_urls urls;
    struct address address;
    struct warm warm = {.address = &address, .urls = &urls, .interval_us = 1000000 / 20, .quiet = options->quiet};
    enum warm_result result = WARM_REFUSED;
    struct arena arena;

    REQUIRE(pthread_mutex_init(&warm.mutex, NULL) == 0);
    arena_init(&arena, FIELDS_MAX_BYTES);
    warm_urls_init(&urls);
    if (find_listener(config, options, &arena, &address, error)) {
        result = warm_all(&warm, &urls, options, out, error);
    }
    warm_urls_finish(&urls);
    arena_finish(&arena);
    pthread_mutex_destroy(&warm.mutex);
    return result;
}
