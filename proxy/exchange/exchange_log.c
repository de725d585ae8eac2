/* exchange_log.c: the end of an exchange: what it was is counted, and told to whoever listens. */
#include "cache/search.h"
#include "proxy/exchange/decide.h"
#include "proxy/exchange/exchange_internal.h"
#include "proxy/server/worker.h"

/* A purge's text stands where a rule's name would, for Cache-Status only: it is no rule, and ends with the request. */
static const char *rule_of(const struct exchange *ex)
{
    return ex->rule == ex->purge_text ? NULL : ex->rule;
}

struct span exchange_scheme(const struct exchange *ex)
{
    return ex->request.uri.scheme.len > 0 ? ex->request.uri.scheme : ex->scheme;
}

static struct access_entry entry_of(const struct exchange *ex, const struct stream_count *count)
{
    return (struct access_entry){
        .time_ms = ex->time_ms,
        .client = ex->client,
        .client_port = ex->client_port,
        .forwarded_for = ex->named,
        .method = ex->request.method_name,
        .scheme = exchange_scheme(ex),
        .host = ex->host,
        .target = ex->target,
        .minor = ex->request.minor,
        .user_agent = headers_value(&ex->request.headers, SPAN("User-Agent")),
        .referer = headers_value(&ex->request.headers, SPAN("Referer")),
        .status = count->status,
        .request_bytes = count->request_body_bytes,
        .response_bytes = count->sent_bytes,
        .body_bytes = count->body_bytes,
        .outcome = ex->outcome,
        .reason = ex->reason,
        .store_reason = ex->store_reason,
        .rule = rule_of(ex),
        .site = ex->site == NULL ? NULL : ex->site->name,
        .trace_id = ex->trace_id,
        .parent_id = ex->parent_id,
        .span_id = ex->span_id,
        .collapsed = ex->collapsed,
        .origin_status = ex->origin_status,
        .origin = ex->origin,
        .attempts = ex->attempts,
        .ttl_s = ex->ttl_s,
        .age_s = ex->age_s,
        .origin_us = ex->answered_us == 0 ? -1 : (int64_t)(ex->answered_us - ex->asked_us),
        .first_byte_us = ex->first_byte_us == 0 ? -1 : (int64_t)(ex->first_byte_us - ex->begun_us),
        .total_us = (int64_t)(exchange_now_us() - ex->begun_us),
        .end = ex->end,
        .error = ex->error,
    };
}

static void count_metrics(const struct exchange *ex, const struct stream_count *counts)
{
    const struct metrics_request request = {.outcome = ex->outcome,
                                            .reason = ex->reason,
                                            .end = ex->end,
                                            .status = counts->status,
                                            .sent_bytes = counts->sent_bytes,
                                            .body_bytes = counts->body_bytes,
                                            .duration_us = exchange_now_us() - ex->begun_us};

    metrics_count_request(ex->worker->shard, ex->site, &request);
}

/* What is missed and cannot be stored costs its bytes each time: then that is the reason to look into. */
struct fetch_cause exchange_cause(const struct exchange *ex)
{
    bool costs =
        ex->store_reason == REASON_RECORDED || (ex->store_reason != REASON_NONE && !decide_is_kept(ex->store_reason));

    if (!ex->collapsed && costs && decide_shows_storing(ex->outcome, ex->reason)) {
        return (struct fetch_cause){.reason = ex->store_reason};
    }
    return (struct fetch_cause){.reason = ex->reason, .rule = rule_of(ex)};
}

static void count_traffic(const struct exchange *ex, const struct stream_count *counts)
{
    const struct fetch_cause cause = exchange_cause(ex);
    bool own_key = ex->key.text.len > 0 && !search_is_marked(ex->key.text);
    const struct traffic_event event = {.site = ex->site,
                                        .uri = &ex->request.uri,
                                        .url = own_key ? key_url(ex->key.text) : SPAN(""),
                                        .reason = cause.reason,
                                        .rule = cause.rule,
                                        .counts = {.requests = 1,
                                                   .hits = ex->outcome == OUTCOME_HIT,
                                                   .sent_bytes = counts->sent_bytes,
                                                   .received_bytes = ex->fetched_bytes,
                                                   .origin_us = ex->fetch_waited_us}};

    traffic_count(ex->worker->traffic, &event);
}

void exchange_tell(const struct exchange *ex, const struct stream_count *counts)
{
    count_metrics(ex, counts);
    count_traffic(ex, counts);
    bool logs = access_log_is_open(&ex->worker->access_log);
    bool followed = follow_is_active(ex->worker->follow);
    if (!logs && !followed) {
        return;
    }
    struct access_entry entry = entry_of(ex, counts);
    if (logs) {
        access_log_write(&ex->worker->access_log, &entry);
    }
    if (followed) {
        follow_offer(ex->worker->follow, &entry);
    }
}
