/* admin_facts.c: GET /v1/facts: what is remembered of recent requests, and the configuration that served them. */
#include <stdlib.h>

#include "proxy/admin/admin_internal.h"

/* The first line. */
static char *head_text(const struct config *config, uint32_t one_in)
{
    json_t *text = json_stringn(config->text.len > 0 ? config->text.data : "", config->text.len);
    json_t *head = json_pack("{sI s{ss? so ss? ss?}}", "one_in", (json_int_t)one_in, "config", "file", config->file,
                             "text", text, "origin", config->origin_flag, "profile", config->profile_flag);
    char *line = head != NULL ? json_dumps(head, JSON_COMPACT) : NULL;

    json_decref(head);
    return line;
}

enum admin_progress admin_run_facts(struct admin_call *call)
{
    uint32_t one_in = 1;
    struct buf lines;

    buf_init(&lines, call->answer.limit / 2);
    bool good = facts_read(call->admin->scope.facts, &lines, &one_in);
    char *head = good ? head_text(call->admin->scope.config, one_in) : NULL;
    if (head != NULL) {
        buf_add_text(&call->answer, head);
        buf_add_byte(&call->answer, '\n');
        buf_add(&call->answer, buf_span(&lines));
    }
    good = head != NULL;
    free(head);
    buf_finish(&lines);
    if (!good) {
        return admin_fail(call, 500, "no memory");
    }
    call->status = 200;
    call->content_type = "application/x-ndjson";
    return ADMIN_ANSWERED;
}
