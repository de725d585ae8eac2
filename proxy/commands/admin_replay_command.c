/* admin_replay_command.c: `larder check --replay NEW.toml`: what another configuration would make of the requests that
 * the larder that runs remembers. replay.c judges them, by the one that is in force and by the new one; here they are
 * fetched, and the verdicts compared. */
#include <inttypes.h>
#include <stdlib.h>

#include "proxy/commands/admin_ask_json.h"
#include "proxy/commands/admin_commands.h"
#include "proxy/commands/store_command.h"
#include "proxy/io/log.h"
#include "proxy/why/check_tests.h"
#include "proxy/why/replay.h"

enum {
    EXAMPLES_MAX = 3,
    GROUPS_SHOWN = 20,
    LINE_BYTES = 160,
};

/* Facts as they came; everything borrows from the JSON values. */
struct recorded {
    json_t *head;
    json_t **values; /* of each fact */
    struct replay_fact *facts;
    size_t count;
    size_t room;
    size_t left_out; /* of paths that were given up meanwhile */
};

/* Verdicts that changed in the same way. */
struct group {
    const struct replay_verdict *before, *after; /* of the first */
    struct span route;                           /* of its path */
    size_t count;
    size_t examples[EXAMPLES_MAX]; /* numbers of facts, of different URLs */
    size_t example_count;
};

struct sums {
    size_t hits;
    uint64_t origin_requests;
    uint64_t origin_bytes;
};

struct comparison {
    const struct recorded *recorded;
    struct replay_verdict *before, *after;
    struct sums sums_before, sums_after;
    size_t unreadable;
    uint32_t one_in;
    struct group *groups;
    size_t group_count;
};

/* ---- what was recorded ---- */

static void recorded_finish(struct recorded *recorded)
{
    for (size_t i = 0; i < recorded->count; i++) {
        free((void *)recorded->facts[i].fields);
        free((void *)recorded->facts[i].response.fields);
        json_decref(recorded->values[i]);
    }
    free(recorded->values);
    free(recorded->facts);
    json_decref(recorded->head);
}

/* The texts of a list; to be freed. NULL: no memory, or no list. */
static const char **texts_of(const json_t *list, size_t *out_count)
{
    size_t count = json_array_size(list);
    const char **texts = calloc(count + 1, sizeof(*texts));

    for (size_t i = 0; i < count && texts != NULL; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        texts[i] = text != NULL ? text : "";
    }
    *out_count = texts != NULL ? count : 0;
    return texts;
}

static bool read_fact(const json_t *value, struct replay_fact *fact)
{
    const json_t *response = json_object_get(value, "response");

    *fact = (struct replay_fact){
        .time_ms = admin_number_of(value, "time_ms"),
        .method = admin_text_of(value, "method"),
        .url = admin_text_of(value, "url"),
        .collapsed = json_is_true(json_object_get(value, "collapsed")),
        .store_reason = reason_of_token(admin_text_of(value, "store_reason")),
        .received_bytes = (uint64_t)admin_number_of(value, "received_bytes"),
        .response = {.known = response != NULL,
                     .stored = json_is_true(json_object_get(response, "stored")),
                     .time_ms = admin_number_of(response, "time_ms"),
                     .status = (unsigned)admin_number_of(response, "status"),
                     .length = (uint64_t)admin_number_of(response, "length")},
    };
    fact->fields = texts_of(json_object_get(value, "fields"), &fact->field_count);
    fact->response.fields = texts_of(json_object_get(response, "fields"), &fact->response.field_count);
    return fact->fields != NULL && fact->response.fields != NULL;
}

static bool make_room(struct recorded *recorded)
{
    size_t room = recorded->room * 2 + 1024;
    json_t **values = realloc(recorded->values, room * sizeof(json_t *));

    if (values == NULL) {
        return false;
    }
    recorded->values = values;
    struct replay_fact *facts = realloc(recorded->facts, room * sizeof(struct replay_fact));
    if (facts == NULL) {
        return false;
    }
    recorded->facts = facts;
    recorded->room = room;
    return true;
}

/* Takes the value. */
static bool add_fact(struct recorded *recorded, json_t *value)
{
    if (recorded->count == recorded->room && !make_room(recorded)) {
        json_decref(value);
        return false;
    }
    recorded->values[recorded->count] = value;
    bool good = read_fact(value, &recorded->facts[recorded->count]);
    recorded->count++; /* also to give back what was read of it */
    return good;
}

static int by_time(const void *a, const void *b)
{
    const json_t *x = *(json_t *const *)a;
    const json_t *y = *(json_t *const *)b;
    int64_t x_ms = admin_number_of(x, "time_ms");
    int64_t y_ms = admin_number_of(y, "time_ms");

    return x_ms < y_ms ? -1 : x_ms > y_ms;
}

/* The lines, sorted by time. False: no memory, or they are not as expected. */
static bool read_lines(struct span lines, struct recorded *recorded)
{
    json_t *list = json_array();
    struct span line;
    bool good = list != NULL && span_split(&lines, '\n', &line);

    recorded->head = good ? json_loadb(line.data, line.len, 0, NULL) : NULL;
    int64_t one_in = admin_number_of(recorded->head, "one_in");
    good = one_in > 0;
    while (good && span_split(&lines, '\n', &line)) {
        json_t *value = json_loadb(line.data, line.len, 0, NULL);
        if (value != NULL && admin_number_of(value, "sample") % one_in != 0) {
            recorded->left_out++;
            json_decref(value);
        } else {
            good = value != NULL && json_array_append_new(list, value) == 0;
        }
    }
    size_t count = json_array_size(list);
    json_t **sorted = calloc(count + 1, sizeof(json_t *));
    good = good && sorted != NULL;
    for (size_t i = 0; i < count && good; i++) {
        sorted[i] = json_array_get(list, i);
    }
    if (good) {
        qsort(sorted, count, sizeof(json_t *), by_time);
    }
    for (size_t i = 0; i < count && good; i++) {
        good = add_fact(recorded, json_incref(sorted[i]));
    }
    free(sorted);
    json_decref(list);
    return good;
}

static bool fetch_facts(const struct config *config, struct recorded *recorded, struct buf *error)
{
    struct admin_answer answer = {0};

    if (!admin_ask(config, "/v1/facts", SPAN(""), &answer, error)) {
        return false;
    }
    bool good = answer.status == 200 && read_lines(buf_span(&answer.body), recorded);
    buf_finish(&answer.body);
    if (!good) {
        buf_format(error, "larder answers with status %u, and not as expected", answer.status);
    }
    return good;
}

/* The configuration in force, as larder has it. */
static struct config *load_present(const struct recorded *recorded, struct buf *error)
{
    const json_t *said = json_object_get(recorded->head, "config");
    const json_t *text = json_object_get(said, "text");
    const struct config_flags flags = {
        .file = json_string_value(json_object_get(said, "file")),
        .text = {json_string_value(text), json_string_length(text)},
        .origin = json_string_value(json_object_get(said, "origin")),
        .profile = json_string_value(json_object_get(said, "profile")),
    };

    return config_load(&flags, error);
}

/* ---- the comparison ---- */

/* The first segment of a URL's path. */
static struct span route_of(const char *url)
{
    struct span rest = span_of(url);
    size_t scheme = span_find(rest, ':');
    struct span path = span_skip(rest, scheme == SIZE_MAX ? 0 : scheme + 3);

    path = span_skip(path, span_find(path, '/'));
    path = span_take(path, span_find(path, '?'));
    size_t slash = span_find(span_skip(path, 1), '/');
    return slash == SIZE_MAX ? span_take(path, path.len > 0) : span_take(path, slash + 2);
}

static bool is_same(const struct replay_verdict *a, const struct replay_verdict *b)
{
    return a->readable == b->readable && a->action == b->action && a->reason == b->reason;
}

static struct group *group_of(struct comparison *comparison, size_t number)
{
    const struct replay_verdict *before = &comparison->before[number];
    const struct replay_verdict *after = &comparison->after[number];
    struct span route = route_of(comparison->recorded->facts[number].url);

    for (size_t i = 0; i < comparison->group_count; i++) {
        struct group *group = &comparison->groups[i];
        if (is_same(group->before, before) && is_same(group->after, after) && span_equal(group->route, route) &&
            span_equal(span_of(group->after->site), span_of(after->site))) {
            return group;
        }
    }
    struct group *groups = realloc(comparison->groups, (comparison->group_count + 1) * sizeof(*groups));
    if (groups == NULL) {
        return NULL;
    }
    comparison->groups = groups;
    struct group *group = &groups[comparison->group_count++];
    *group = (struct group){.before = before, .after = after, .route = route};
    return group;
}

static void add_sums(struct sums *sums, const struct replay_verdict *verdict)
{
    sums->hits += verdict->hit;
    sums->origin_requests += verdict->origin_requests;
    sums->origin_bytes += verdict->origin_bytes;
}

static int by_count(const void *a, const void *b)
{
    size_t x = ((const struct group *)a)->count;
    size_t y = ((const struct group *)b)->count;

    return x < y ? 1 : x > y ? -1 : 0;
}

static void add_example(struct group *group, const struct recorded *recorded, size_t fact)
{
    for (size_t i = 0; i < group->example_count; i++) {
        if (strcmp(recorded->facts[group->examples[i]].url, recorded->facts[fact].url) == 0) {
            return;
        }
    }
    if (group->example_count < EXAMPLES_MAX) {
        group->examples[group->example_count++] = fact;
    }
}

static bool compare(struct comparison *comparison)
{
    const struct recorded *recorded = comparison->recorded;

    for (size_t i = 0; i < recorded->count; i++) {
        add_sums(&comparison->sums_before, &comparison->before[i]);
        add_sums(&comparison->sums_after, &comparison->after[i]);
        comparison->unreadable += !comparison->before[i].readable;
        if (!is_same(&comparison->before[i], &comparison->after[i])) {
            struct group *group = group_of(comparison, i);
            if (group == NULL) {
                return false;
            }
            group->count++;
            add_example(group, recorded, i);
        }
    }
    if (comparison->group_count > 0) {
        qsort(comparison->groups, comparison->group_count, sizeof(struct group), by_count);
    }
    return true;
}

/* ---- telling ---- */

static json_t *sums_json(const struct sums *sums)
{
    return json_pack("{sI sI sI}", "hits", (json_int_t)sums->hits, "origin_requests", (json_int_t)sums->origin_requests,
                     "origin_bytes", (json_int_t)sums->origin_bytes);
}

static json_t *verdict_json(const struct replay_verdict *verdict)
{
    if (!verdict->readable) {
        return json_pack("{ss}", "answer", "unreadable");
    }
    return json_pack("{ss ss ss?}", "answer", why_action_text(verdict->action), "reason", reason_token(verdict->reason),
                     "rule", verdict->rule);
}

static json_t *group_json(const struct comparison *comparison, const struct group *group)
{
    json_t *examples = json_array();

    for (size_t i = 0; i < group->example_count; i++) {
        (void)json_array_append_new(examples, json_string(comparison->recorded->facts[group->examples[i]].url));
    }
    return json_pack("{sI so so ss so so}", "requests", (json_int_t)group->count, "before", verdict_json(group->before),
                     "after", verdict_json(group->after), "site", group->after->site, "route",
                     json_sprintf("%.*s*", SPAN_ARG(group->route)), "examples", examples);
}

static void write_json(const struct comparison *comparison, struct buf *out)
{
    json_t *changed = json_array();

    for (size_t i = 0; i < comparison->group_count; i++) {
        (void)json_array_append_new(changed, group_json(comparison, &comparison->groups[i]));
    }
    json_t *answer =
        json_pack("{sI sI sI so so so}", "requests", (json_int_t)comparison->recorded->count, "one_in",
                  (json_int_t)comparison->one_in, "unreadable", (json_int_t)comparison->unreadable, "before",
                  sums_json(&comparison->sums_before), "after", sums_json(&comparison->sums_after), "changed", changed);
    admin_print_json(answer, out);
    json_decref(answer);
}

static void add_verdict(const struct replay_verdict *verdict, struct buf *out)
{
    if (!verdict->readable) {
        buf_add_text(out, "unreadable");
        return;
    }
    buf_format(out, "%s (%s", why_action_text(verdict->action), reason_token(verdict->reason));
    if (verdict->rule != NULL) {
        buf_format(out, " %s", verdict->rule);
    }
    buf_add_byte(out, ')');
}

static void write_share(size_t part, size_t whole, struct buf *out)
{
    size_t tenths = whole > 0 ? part * 1000 / whole : 0;

    buf_format(out, "%8zu.%zu %%", tenths / 10, tenths % 10);
}

static void write_size(uint64_t bytes, struct buf *out)
{
    char memory[64];
    struct buf cell;

    buf_init_in(&cell, memory, sizeof memory);
    store_add_size(&cell, bytes);
    buf_format(out, "%*s%.*s", (int)(cell.len < 12 ? 12 - cell.len : 0), "", SPAN_ARG(buf_span(&cell)));
}

static void write_sums(const struct comparison *comparison, struct buf *out)
{
    const struct sums *before = &comparison->sums_before;
    const struct sums *after = &comparison->sums_after;
    size_t count = comparison->recorded->count;

    buf_add_text(out, "                              before       after\nanswered from the store ");
    write_share(before->hits, count, out);
    write_share(after->hits, count, out);
    buf_format(out, "\nrequests to origins     %12" PRIu64 "%12" PRIu64 "\nbytes from origins      ",
               before->origin_requests, after->origin_requests);
    write_size(before->origin_bytes, out);
    write_size(after->origin_bytes, out);
    buf_add_text(out, "\n(both worked out from what was asked; what was is in larder report)\n");
}

static void write_group(const struct comparison *comparison, const struct group *group, struct buf *out)
{
    buf_format(out, "%8zu  ", group->count);
    add_verdict(group->before, out);
    buf_add_text(out, " -> ");
    add_verdict(group->after, out);
    buf_format(out, "  %s %.*s*\n", group->after->site, SPAN_ARG(group->route));
    for (size_t i = 0; i < group->example_count; i++) {
        buf_format(out, "          %.*s\n", LINE_BYTES, comparison->recorded->facts[group->examples[i]].url);
    }
}

static void write_text(const struct comparison *comparison, struct buf *out)
{
    const struct recorded *recorded = comparison->recorded;
    int64_t begin_ms = recorded->count > 0 ? recorded->facts[0].time_ms : 0;
    int64_t end_ms = recorded->count > 0 ? recorded->facts[recorded->count - 1].time_ms : 0;

    buf_format(out, "%zu request%s within ", recorded->count, recorded->count == 1 ? "" : "s");
    store_add_duration(out, (end_ms - begin_ms) / 1000);
    if (comparison->one_in > 1) {
        buf_format(out, ", those for one path in %" PRIu32, comparison->one_in);
    }
    if (comparison->unreadable > 0) {
        buf_format(out, ", %zu that cannot be asked again", comparison->unreadable);
    }
    buf_add_byte(out, '\n');
    write_sums(comparison, out);
    buf_add_text(out, comparison->group_count > 0 ? "\nchanged\n" : "\nno answer changes\n");
    for (size_t i = 0; i < comparison->group_count && i < GROUPS_SHOWN; i++) {
        write_group(comparison, &comparison->groups[i], out);
    }
    if (comparison->group_count > GROUPS_SHOWN) {
        buf_format(out, "and %zu more kinds of changes (--json has all)\n", comparison->group_count - GROUPS_SHOWN);
    }
}

/* ---- the command ---- */

static bool judge(const struct recorded *recorded, const struct config *present, const struct config *replacement,
                  struct comparison *comparison)
{
    comparison->recorded = recorded;
    comparison->one_in = (uint32_t)admin_number_of(recorded->head, "one_in");
    comparison->before = calloc(recorded->count + 1, sizeof(struct replay_verdict));
    comparison->after = calloc(recorded->count + 1, sizeof(struct replay_verdict));
    return comparison->before != NULL && comparison->after != NULL &&
           replay_run(present, recorded->facts, recorded->count, comparison->before) &&
           replay_run(replacement, recorded->facts, recorded->count, comparison->after) && compare(comparison);
}

bool admin_command_replay(const struct config *config, const struct options *options, struct buf *out,
                          struct buf *error)
{
    struct recorded recorded = {0};
    struct comparison comparison = {0};
    struct config *present = NULL;
    struct config *replacement = NULL;
    bool good = fetch_facts(config, &recorded, error);

    if (good) {
        present = load_present(&recorded, error);
    }
    if (present != NULL) {
        const struct config_flags flags = {
            .file = options->replay, .origin = present->origin_flag, .profile = present->profile_flag};
        replacement = check_tests_load(&flags, error);
    }
    good = replacement != NULL;
    if (good && !judge(&recorded, present, replacement, &comparison)) {
        buf_add_text(error, "check: out of memory");
        good = false;
    }
    if (good && options->json) {
        write_json(&comparison, out);
    } else if (good) {
        write_text(&comparison, out);
    }
    free(comparison.groups);
    free(comparison.before);
    free(comparison.after);
    config_destroy(replacement);
    config_destroy(present);
    recorded_finish(&recorded);
    return good;
}
