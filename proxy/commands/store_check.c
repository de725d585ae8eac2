/* store_check.c: `larder store check`: everything is read, every checksum and digest compared, everything counted
 * anew.
 *
 * Of a stopped store LMDB's own pages are looked at first. Of a running one they cannot be (they change), nor can
 * bodies without an object be told from those being stored: the report says so. Nobody is kept out: where a larder is
 * started meanwhile, what its writing spoils is left out, and the report is one of a running store. */
#include <inttypes.h>
#include <stdio.h>

#include "proxy/commands/progress.h"
#include "proxy/commands/store_command.h"
#include "proxy/io/log.h"

enum { TEXT_MAX_BYTES = 16384, REPORTED_MAX = 20 };

struct report {
    bool running; /* a larder uses it, or was started meanwhile */
    struct store_rest rest;
    bool trees_good;
    bool keeps; /* the next start would */
    bool json;
    uint64_t responses; /* good ones */
    uint64_t notes;     /* larder's own, as good */
    uint64_t body_bytes;
    uint64_t gone;
    uint64_t damaged;
    struct store_reader *reader;
    struct store_survey survey;
    struct store_recount recount;
    struct progress progress;
    struct buf why; /* it would not keep it */
};

static bool is_good(const struct report *report)
{
    const struct store_recount *recount = &report->recount;

    return report->trees_good && report->keeps && report->damaged == 0 && recount->damaged_index_rows == 0 &&
           recount->dangling_variants == 0 && recount->orphan_bodies == 0 && recount->lost_pages == 0;
}

/* The first ones by name; a store with a million of them needs no list. */
static void tell(struct report *report, const struct store_item *item, enum store_fault fault)
{
    report->damaged++;
    if (report->damaged <= REPORTED_MAX) {
        progress_end(&report->progress);
        fprintf(stderr, "response %" PRIu64 " %s: %s\n", item->object_id,
                item->key.len > 0 ? log_quoted(item->key).text : "of an unknown key", store_fault_text(fault));
    }
}

static bool on_item(void *arg, const struct store_item *item) /* store_item_fn */
{
    struct report *report = arg;
    enum store_fault fault = item->fault;

    progress_step(&report->progress, report->responses + report->notes + report->damaged + report->gone);
    if (fault == STORE_FAULT_NONE) {
        fault = store_read_body(report->reader, &item->stored.record, NULL, NULL);
    }
    if (fault == STORE_FAULT_GONE) {
        report->gone++;
    } else if (fault != STORE_FAULT_NONE) {
        tell(report, item, fault);
    } else if (item->note) {
        report->notes++;
    } else {
        report->responses++;
        report->body_bytes += store_body_bytes(&item->stored.record);
    }
    return true;
}

static void on_progress(void *arg, unsigned percent) /* store_progress_fn */
{
    progress_step(arg, percent);
}

/* What was found of a store at rest, if it still is. */
static void give_up_rest(struct report *report, const char *dir)
{
    if (!report->running && !store_rest_lasts(dir, &report->rest)) {
        report->running = true;
        report->trees_good = true; /* nothing is known of them */
        report->keeps = true;
        report->recount.bodies = 0;
        report->recount.orphan_bodies = 0;
    }
}

static enum err look(struct report *report, struct store *store, bool quiet)
{
    struct store_tour walk = {.with_notes = true, .visit = on_item, .arg = report};
    struct progress counting;
    enum err error = store_survey_of(store, &report->survey);

    if (error == ERR_OK) {
        progress_begin(&report->progress, "check", report->survey.objects, quiet);
        error = store_walk_objects(report->reader, &walk);
        progress_end(&report->progress);
    }
    if (error == ERR_OK) {
        progress_begin(&counting, "count", 100, quiet);
        error = store_recount(report->reader, !report->running, on_progress, &counting, &report->recount);
        progress_end(&counting);
    }
    return error;
}

static void write_text(const struct report *report, const char *dir, struct buf *out)
{
    const struct store_recount *recount = &report->recount;

    buf_format(out, "%s: %s%s\n", dir, is_good(report) ? "good" : "DAMAGED",
               report->running ? " (in use: what can be checked then)" : "");
    buf_format(out, "  responses      %" PRIu64 " good, ", report->responses);
    store_add_size(out, report->body_bytes);
    buf_format(out, " of bodies read; %" PRIu64 " damaged", report->damaged);
    buf_format(out, report->gone > 0 ? "; %" PRIu64 " removed meanwhile\n" : "\n", report->gone);
    buf_format(out, "  index          %" PRIu64 " keys; %" PRIu64 " damaged, %" PRIu64 " variants lead nowhere\n",
               recount->index_rows, recount->damaged_index_rows, recount->dangling_variants);
    if (report->running) {
        buf_add_text(out, "  bodies, pages  only of a stopped store\n");
        return;
    }
    buf_format(out, "  bodies         %" PRIu64 "; %" PRIu64 " without a response\n", recount->bodies,
               recount->orphan_bodies);
    buf_format(out, "  pages          %s; %" PRIu64 " free, %" PRIu64 " lost\n",
               report->trees_good ? "good" : "DAMAGED", recount->free_pages, recount->lost_pages);
    if (!report->keeps) {
        buf_format(out, "  next start     sets this aside and begins empty: %.*s\n", SPAN_ARG(buf_span(&report->why)));
    }
}

static void write_json(const struct report *report, const char *dir, struct buf *out)
{
    const struct store_recount *recount = &report->recount;

    buf_add_text(out, "{\"dir\":");
    buf_add_json_string(out, span_of(dir));
    buf_format(out, ",\"good\":%s,\"in_use\":%s", is_good(report) ? "true" : "false",
               report->running ? "true" : "false");
    buf_format(out, ",\"responses\":%" PRIu64 ",\"body_bytes\":%" PRIu64 ",\"damaged\":%" PRIu64 ",\"gone\":%" PRIu64,
               report->responses, report->body_bytes, report->damaged, report->gone);
    buf_format(out, ",\"keys\":%" PRIu64 ",\"damaged_keys\":%" PRIu64 ",\"dangling_variants\":%" PRIu64,
               recount->index_rows, recount->damaged_index_rows, recount->dangling_variants);
    if (!report->running) {
        buf_format(out,
                   ",\"bodies\":%" PRIu64 ",\"orphan_bodies\":%" PRIu64 ",\"pages_good\":%s,\"free_pages\":%" PRIu64
                   ",\"lost_pages\":%" PRIu64 ",\"next_start_keeps\":%s",
                   recount->bodies, recount->orphan_bodies, report->trees_good ? "true" : "false", recount->free_pages,
                   recount->lost_pages, report->keeps ? "true" : "false");
    }
    buf_add_text(out, "}\n");
}

/* With LMDB's pages damaged nothing else is worth looking at: reading on may fault. */
static int report_bad_trees(struct store_context *context, const struct report *report)
{
    if (report->json) {
        printf("{\"good\":false,\"in_use\":%s,\"pages_good\":false}\n", report->running ? "true" : "false");
    } else {
        printf("%s: DAMAGED%s: the pages of the file itself; larder sets it aside at its next start\n", context->dir,
               report->running ? " (in use)" : "");
    }
    return STORE_EXIT_DAMAGE;
}

static int conclude(struct store_context *context, const struct report *report, enum err error)
{
    struct buf out;

    if (error == ERR_DAMAGED) {
        return report_bad_trees(context, report);
    }
    if (error != ERR_OK) {
        return store_context_fail(context, error);
    }
    buf_init(&out, TEXT_MAX_BYTES);
    if (report->json) {
        write_json(report, context->dir, &out);
    } else {
        write_text(report, context->dir, &out);
    }
    printf("%.*s", SPAN_ARG(buf_span(&out)));
    buf_finish(&out);
    return is_good(report) ? STORE_EXIT_OK : STORE_EXIT_DAMAGE;
}

int store_check_run(struct store_context *context)
{
    struct report report = {.keeps = true, .json = context->arguments->json};

    report.running = store_rest_begin(context->dir, &report.rest) != ERR_OK;
    report.trees_good = report.running || store_trees_good(context->dir);
    give_up_rest(&report, context->dir);
    if (!report.trees_good) {
        return report_bad_trees(context, &report);
    }
    struct store *store = store_context_look(context, &report.reader);
    if (store == NULL) {
        /* Without LMDB's file there are no pages: what is known stands in the error. */
        return context->opened == ERR_DAMAGED && store_size_in(context->dir) > 0 ? report_bad_trees(context, &report)
                                                                                 : store_context_status(context);
    }
    buf_init(&report.why, 1024);
    report.keeps = report.running || store_would_keep(store, &report.why);
    enum err error = look(&report, store, context->arguments->quiet);
    store_context_leave(store, report.reader);
    give_up_rest(&report, context->dir);
    int status = conclude(context, &report, error);
    buf_finish(&report.why);
    return status;
}
