/* main.c: the command line to the command. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/commands/admin_commands.h"
#include "proxy/commands/check_machine.h"
#include "proxy/commands/demo.h"
#include "proxy/commands/interrupt.h"
#include "proxy/commands/options.h"
#include "proxy/commands/store_command.h"
#include "proxy/commands/top.h"
#include "proxy/commands/variants.h"
#include "proxy/commands/warm.h"
#include "proxy/config/config.h"
#include "proxy/io/log.h"
#include "proxy/server/server.h"
#include "proxy/server/worker.h"
#include "proxy/why/check_tests.h"
#include "proxy/why/why.h"

enum {
    EXIT_OK = 0,
    EXIT_PARTLY = 1,
    EXIT_BAD_SETTINGS = 2,
    ERROR_MAX_BYTES = 65536, /* one line, but of failing tests many */
    HELP_MAX_BYTES = 16384,
    DEMO_ARENA_BYTES = 4096,
    WHY_ARENA_BYTES = 256 * 1024 * 1024, /* heads of all variants of a key */
    WHY_TEXT_MAX_BYTES = 256 * 1024 * 1024,
};

static const char demo_listen_default[] = "127.0.0.1:8081";
static const char demo_delay_default[] = "400ms";
enum { DEMO_DELAY_MAX_MS = 60000 };

static int fail(const struct buf *error)
{
    fprintf(stderr, "larder: %.*s\n", SPAN_ARG(buf_span(error)));
    return EXIT_BAD_SETTINGS;
}

/* A line that begins with the file's name stays so: "FILE:LINE:COLUMN: " is what editors and people look for. */
static int fail_config(const char *file, const struct buf *error)
{
    if (file == NULL || !span_starts_with(buf_span(error), span_of(file))) {
        return fail(error);
    }
    fprintf(stderr, "%.*s\n", SPAN_ARG(buf_span(error)));
    return EXIT_BAD_SETTINGS;
}

/* Where a command could do without the file. */
static int fail_needless_config(const struct options *options, const struct buf *error)
{
    int status = fail_config(options->config.file, error);

    if (options->config.file != NULL) {
        fprintf(stderr, "larder: --cache-dir DIR instead of --config reaches the larder that runs without the file\n");
    }
    return status;
}

/* For commands that look for a larder or a store: where they are does not depend on any site, so none need be given. */
static struct config *load_place(const struct options *options, struct buf *error)
{
    struct config_flags flags = options_config_flags(options);

    if (flags.file == NULL && flags.origin == NULL) {
        flags.origin = "http://127.0.0.1"; /* of the site that there must be; nothing asks it */
    }
    return config_load(&flags, error);
}

static int serve(const struct options *options, struct buf *error)
{
    struct config_flags flags = options_config_flags(options);
    struct config *config = check_tests_load(&flags, error);

    if (config == NULL) {
        return fail_config(flags.file, error);
    }
    log_set_level(config->server.log_level);
    return server_run(config, &flags, options->argv);
}

static int check(const struct options *options, struct buf *error)
{
    struct config_flags flags = {.file = options->config.file};
    struct config *config = check_tests_load(&flags, error);
    struct buf lacks;
    size_t rules = 0;

    if (config == NULL) {
        return fail_config(flags.file, error);
    }
    for (size_t i = 0; i < config->site_count; i++) {
        rules += config->sites[i].rule_count;
    }
    printf("%s: ok, %zu site%s, %zu rule%s", config->file, config->site_count, config->site_count == 1 ? "" : "s",
           rules, rules == 1 ? "" : "s");
    if (config->test_count > 0) {
        printf(", %zu test%s passed", config->test_count, config->test_count == 1 ? "" : "s");
    }
    printf("\n");
    buf_init(&lacks, WHY_TEXT_MAX_BYTES);
    check_machine(config, &lacks);
    fprintf(stderr, "%.*s", SPAN_ARG(buf_span(&lacks)));
    buf_finish(&lacks);
    config_destroy(config);
    return EXIT_OK;
}

/* The supposed status: 200 where only fields are given. False with the error written. */
static bool read_status(const struct options *options, unsigned *out_status, struct buf *error)
{
    uint64_t status = options->response_field_count > 0 ? 200 : 0;

    if (options->response_status != NULL &&
        (!span_to_u64(span_of(options->response_status), &status) || status < 200 || status > 599)) {
        buf_format(error, "--status: expected a status code from 200 to 599, found %s",
                   log_quoted(span_of(options->response_status)).text);
        return false;
    }
    *out_status = (unsigned)status;
    return true;
}

static bool is_bold(void)
{
    return isatty(STDOUT_FILENO) == 1 && getenv("NO_COLOR") == NULL;
}

static bool ask_why(const struct config *config, const struct why_options *options, bool json, struct buf *out,
                    struct buf *error)
{
    struct arena arena;
    struct why why;

    arena_init(&arena, WHY_ARENA_BYTES);
    bool asked = why_ask(config, options, worker_now_ms(), &arena, &why, error);
    if (asked && !why.has_selected) { /* people ask why it is not stored */
        admin_learn_last(config, options, &why);
    }
    if (asked && json) {
        why_write_json(&why, out);
    } else if (asked) {
        why_write_text(&why, is_bold(), out);
    }
    arena_finish(&arena);
    return asked;
}

/* Without a configuration only the larder that runs can say, by its own. */
static int ask_running(const struct options *options, const struct why_options *why_options, struct buf *out,
                       struct buf *error)
{
    struct config *config = load_place(options, error);
    bool answered = config != NULL && admin_command_why(config, why_options, options->json, is_bold(), out, error);

    config_destroy(config);
    return answered ? EXIT_OK : fail(error);
}

static int why_of_request(const struct options *options, const struct why_options *why_options, struct buf *out,
                          struct buf *error)
{
    struct config_flags flags = options_config_flags(options);

    if (flags.file == NULL && flags.origin == NULL && flags.profile == NULL) {
        return ask_running(options, why_options, out, error);
    }
    struct config *config = config_load(&flags, error);
    if (config == NULL) {
        return fail_needless_config(options, error);
    }
    admin_learn_modes(config);
    int status = ask_why(config, why_options, options->json, out, error) ? EXIT_OK : fail(error);
    config_destroy(config);
    return status;
}

/* The words first: what is wrong with them has nothing to do with any configuration or store. */
static int why(const struct options *options, struct buf *error)
{
    struct why_options why_options = {.url = options->url,
                                      .method = options->method,
                                      .fields = options->fields,
                                      .field_count = options->field_count,
                                      .response_fields = options->response_fields,
                                      .response_field_count = options->response_field_count};
    int status = EXIT_OK;
    struct buf out;

    if (!read_status(options, &why_options.response_status, error)) {
        return fail(error);
    }
    buf_init(&out, WHY_TEXT_MAX_BYTES);
    if (!why_write_reason(span_of(options->url), options->json, &out)) {
        status =
            why_check_options(&why_options, error) ? why_of_request(options, &why_options, &out, error) : fail(error);
    }
    printf("%.*s", SPAN_ARG(buf_span(&out)));
    buf_finish(&out);
    return status;
}

static bool read_limit(const char *text, size_t *out_limit, struct buf *error)
{
    uint64_t limit = VARIANTS_LIMIT_DEFAULT;

    if (text != NULL && (!span_to_u64(span_of(text), &limit) || limit < 1 || limit > VARIANTS_LIMIT_MAX)) {
        buf_format(error, "--limit: expected a number from 1 to %d, found %s", VARIANTS_LIMIT_MAX,
                   log_quoted(span_of(text)).text);
        return false;
    }
    *out_limit = (size_t)limit;
    return true;
}

static int vary(const struct options *options, struct buf *error)
{
    struct config_flags flags = options_config_flags(options);
    struct variants variants;
    struct buf out;
    size_t limit;

    if (!read_limit(options->limit, &limit, error)) {
        return fail(error);
    }
    struct config *config = options->url != NULL ? config_load(&flags, error) : load_place(options, error);
    if (config == NULL) {
        return fail_config(flags.file, error);
    }
    buf_init(&out, WHY_TEXT_MAX_BYTES);
    int status = EXIT_OK;
    if (!variants_ask(config, options->url, limit, worker_now_ms(), &variants, error)) {
        status = fail(error);
    } else if (options->json) {
        variants_write_json(&variants, &out);
    } else {
        variants_write_text(&variants, &out);
    }
    variants_finish(&variants);
    printf("%.*s", SPAN_ARG(buf_span(&out)));
    buf_finish(&out);
    config_destroy(config);
    return status;
}

static int store(const struct options *options, struct buf *error)
{
    int status = store_command_run(&options->store, error);

    if (error->len > 0) {
        (void)fail_config(options->store.config_file, error); /* its status is the command's */
    }
    interrupt_pass_on();
    return status;
}

/* Commands that ask the larder that runs. */
static int ask_larder(const struct options *options, struct buf *error,
                      bool (*command)(const struct config *config, const struct options *options, struct buf *out,
                                      struct buf *error))
{
    struct config *config = load_place(options, error);
    int status = EXIT_OK;
    struct buf out;

    if (config == NULL) {
        return fail_needless_config(options, error);
    }
    buf_init(&out, WHY_TEXT_MAX_BYTES);
    if (!command(config, options, &out, error)) {
        status = fail_config(options->replay, error);
    }
    printf("%.*s", SPAN_ARG(buf_span(&out)));
    buf_finish(&out);
    config_destroy(config);
    return status;
}

static int warm(const struct options *options, struct buf *error)
{
    static const int statuses[] = {
        [WARM_DONE] = EXIT_OK, [WARM_FAILED] = EXIT_PARTLY, [WARM_REFUSED] = EXIT_BAD_SETTINGS};
    struct config *config = load_place(options, error);
    struct buf out;

    if (config == NULL) {
        return fail_config(options->config.file, error);
    }
    buf_init(&out, WHY_TEXT_MAX_BYTES);
    enum warm_result result = warm_run(config, options, &out, error);
    if (result == WARM_REFUSED) {
        (void)fail(error);
    }
    printf("%.*s", SPAN_ARG(buf_span(&out)));
    buf_finish(&out);
    config_destroy(config);
    return statuses[result];
}

static int demo(const struct options *options, struct buf *error)
{
    const char *listen = options->listen_count > 0 ? options->listen[options->listen_count - 1] : demo_listen_default;
    const char *delay = options->delay != NULL ? options->delay : demo_delay_default;
    struct demo_options demo_options = {.hints_url = options->hints};
    struct arena arena;
    int status;

    arena_init(&arena, DEMO_ARENA_BYTES);
    if (!config_parse_address(span_of(listen), &arena, &demo_options.listen) ||
        demo_options.listen.kind != ADDRESS_IP) {
        buf_format(error, "--listen: expected an address such as \"127.0.0.1:8081\", found %s",
                   log_quoted(span_of(listen)).text);
        status = fail(error);
    } else if (!config_parse_duration(span_of(delay), &demo_options.delay_ms) ||
               demo_options.delay_ms > DEMO_DELAY_MAX_MS) {
        buf_format(error, "--delay: expected a duration up to 1m such as \"400ms\", found %s",
                   log_quoted(span_of(delay)).text);
        status = fail(error);
    } else {
        status = demo_run(&demo_options);
    }
    arena_finish(&arena);
    return status;
}

static int help(enum command about)
{
    struct buf text;

    buf_init(&text, HELP_MAX_BYTES);
    options_write_help(about, &text);
    printf("%.*s", SPAN_ARG(buf_span(&text)));
    buf_finish(&text);
    return EXIT_OK;
}

static int run(const struct options *options, struct buf *error)
{
    switch (options->command) {
    case COMMAND_SERVE:
        return serve(options, error);
    case COMMAND_WHY:
        return why(options, error);
    case COMMAND_VARY:
        return vary(options, error);
    case COMMAND_STORE:
        return store(options, error);
    case COMMAND_PURGE:
        return ask_larder(options, error, admin_command_purge);
    case COMMAND_PURGES:
        return ask_larder(options, error, admin_command_purges);
    case COMMAND_REPORT:
        return ask_larder(options, error, admin_command_report);
    case COMMAND_LOG:
        return ask_larder(options, error, admin_command_log);
    case COMMAND_TOP:
        return ask_larder(options, error, top_run);
    case COMMAND_MODE:
        return ask_larder(options, error, admin_command_mode);
    case COMMAND_WARM:
        return warm(options, error);
    case COMMAND_DEMO:
        return demo(options, error);
    case COMMAND_CHECK:
        return options->replay != NULL ? ask_larder(options, error, admin_command_replay) : check(options, error);
    case COMMAND_VERSION:
        printf("larder %s\n", LARDER_VERSION);
        return EXIT_OK;
    case COMMAND_HELP:
        return help(options->help_about);
    case COMMAND_COUNT:
        break;
    }
    UNREACHABLE();
}

static bool reader_is_gone(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};

    return poll(&out, 1, 0) == 1 && (out.revents & POLLERR) != 0;
}

/* Half an answer must not pass for one; the status of the command. Who closed the pipe (head) has what it wanted.
 * `said`: a line on standard error tells of a failure already. */
static int end_output(int status, bool said)
{
    int problem = fflush(stdout) == 0 ? 0 : errno;

    if ((problem == 0 && ferror(stdout) == 0) || problem == EPIPE || reader_is_gone()) {
        return status;
    }
    if (!said) { /* of a failure before the flush the cause is not known any more */
        fprintf(stderr, "larder: cannot write to standard output%s%s\n", problem != 0 ? ": " : "",
                problem != 0 ? strerror(problem) : "");
    }
    return EXIT_BAD_SETTINGS;
}

int main(int argc, char **argv)
{
    struct options options;
    struct buf error;
    int status;

    (void)signal(SIGPIPE, SIG_IGN); /* a peer that is gone is an error of the write, not of the process */
    buf_init(&error, ERROR_MAX_BYTES);
    if (options_parse(argc, (const char *const *)argv, &options, &error)) {
        status = run(&options, &error);
    } else {
        status = fail(&error);
    }
    status = end_output(status, error.len > 0);
    buf_finish(&error);
    return status;
}
