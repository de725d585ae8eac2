/* respond_conditions.c: what the client's own fields make of a response, wherever it came from: its conditions a 304,
 * its Range a 206 or 416 (RFC 9110 §13.2.2, §14.2). */
#include "proxy/exchange/exchange_internal.h"

#include "cache/head.h"
#include "http/multipart.h"
#include "http/validators.h"
#include "proxy/exchange/decide.h"

bool respond_matches(const struct exchange *ex, const struct stream_head *head)
{
    return ex->own_match.len == 0 || ex->status < 200 || ex->status > 299 ||
           if_match_has(ex->own_match, headers_value(respond_fields(ex, head), SPAN("ETag")));
}

/* Is it a single part of a whole that is known, from the flight? */
static bool is_part(const struct exchange *ex)
{
    return ex->source == SOURCE_FLIGHT && flight_head(ex->flight)->partial;
}

/* Does the client hold this response already (RFC 9110 §13.2.2)? Only a 200, or a part of one, is compared. */
static bool client_has_it(const struct exchange *ex, const struct stream_head *head, int64_t received_ms)
{
    unsigned status = is_part(ex) ? 200 : ex->status;

    return !ex->passes && decide_not_modified(&ex->request, status, respond_fields(ex, head), received_ms, ex->now_ms);
}

/* Leaves the fields for which `belongs` holds. */
static bool keep_fields(struct exchange *ex, struct stream_head *head, bool (*belongs)(struct span name))
{
    const struct headers *all = respond_fields(ex, head);
    struct headers kept;

    headers_init(&kept, ex->arena);
    for (size_t i = 0; i < all->count; i++) {
        const struct header *field = &all->items[i];
        if (belongs(field->name) && !headers_add(&kept, field->name, field->value)) {
            return false;
        }
    }
    ex->headers = kept;
    head->headers = &ex->headers;
    head->lines = (struct span){NULL, 0};
    return true;
}

/* Leaves the fields that a 304 carries (RFC 9110 §15.4.5). Of a head that is sent as it lies in memory they lie there,
 * too. */
static bool make_not_modified(struct exchange *ex, struct stream_head *head)
{
    const struct hot_response *hot = ex->cached.hot;

    ex->status = 304;
    head->body = STREAM_BODY_NONE;
    if (hot != NULL && head->lines.data == hot->stored.head.data) {
        head->lines = hot->not_modified;
        return true;
    }
    return keep_fields(ex, head, field_belongs_in_304);
}

/* The parts of a multipart/byteranges, and the fields that go with it. */
static bool make_multipart(struct exchange *ex, struct stream_head *head, const struct ranges *ranges,
                           uint64_t complete_length)
{
    struct multipart multipart = {.content_type = headers_value(respond_fields(ex, head), SPAN("Content-Type")),
                                  .ranges = ranges,
                                  .complete_length = complete_length};
    struct part *part = arena_alloc(ex->arena, PARTS_MAX * sizeof(*part));
    struct span type;
    uint64_t random[2];

    ex->parts = part;
    if (part == NULL || uv_random(NULL, NULL, random, sizeof(random), 0, NULL) != 0 ||
        !arena_format(ex->arena, &multipart.boundary, "larder-%016llx%016llx", (unsigned long long)random[0],
                      (unsigned long long)random[1]) ||
        !multipart_type(&multipart, ex->arena, &type) || !multipart_length(&multipart, &head->length)) {
        return false;
    }
    for (size_t i = 0; i < ranges->count; i++) {
        if (!multipart_part_head(&multipart, i, ex->arena, &part->text)) {
            return false;
        }
        part->end = part->text.len;
        part++;
        *part++ = (struct part){.first = ranges->items[i].first, .end = ranges->items[i].last + 1};
    }
    if (!multipart_end(&multipart, ex->arena, &part->text)) {
        return false;
    }
    part->end = part->text.len;
    part++;
    ex->part_count = (size_t)(part - ex->parts);
    ex->ahead = 0;
    struct headers *headers = respond_change(ex, head);
    return headers != NULL && headers_set(headers, SPAN("Content-Type"), type);
}

static bool make_partial(struct exchange *ex, struct stream_head *head, const struct ranges *ranges,
                         uint64_t complete_length)
{
    ex->status = 206;
    if (ranges->count > 1) {
        return make_multipart(ex, head, ranges, complete_length);
    }
    respond_with_part(ex, (struct part){.first = ranges->items[0].first, .end = ranges->items[0].last + 1});
    head->length = ranges->total_bytes;
    return respond_set_content_range(
        ex, head,
        &(struct content_range){
            .has_range = true, .range = ranges->items[0], .has_length = true, .complete_length = complete_length});
}

/* Not what the stored head says of its content, nor how long that may be kept: caches in front would keep the refusal
 * for so long, and some would give it to whoever asks for the whole (RFC 9111 §3). */
static bool belongs_in_416(struct span name)
{
    static const struct span left_out[] = {
        SPAN_INIT("Content-Type"),        SPAN_INIT("Content-Encoding"),
        SPAN_INIT("Content-Language"),    SPAN_INIT("Content-Location"),
        SPAN_INIT("Content-Disposition"), SPAN_INIT("Content-Digest"),
        SPAN_INIT("Content-MD5"),         SPAN_INIT("Expires"),
        SPAN_INIT("Surrogate-Control"),
    };

    for (size_t i = 0; i < ARRAY_LEN(left_out); i++) {
        if (span_equal_nocase(left_out[i], name)) {
            return false;
        }
    }
    return !head_names_control(name);
}

/* 416 with the length there is (RFC 9110 §15.5.17). */
static bool make_unsatisfiable(struct exchange *ex, struct stream_head *head, uint64_t complete_length)
{
    ex->status = 416;
    ex->part_count = 0;
    head->length = 0;
    return keep_fields(ex, head, belongs_in_416) &&
           headers_add(&ex->headers, SPAN("Cache-Control"), SPAN("no-store")) &&
           respond_set_content_range(ex, head,
                                     &(struct content_range){.has_length = true, .complete_length = complete_length});
}

static bool ascending(const struct ranges *ranges)
{
    for (size_t i = 1; i < ranges->count; i++) {
        if (ranges->items[i].first < ranges->items[i - 1].first) {
            return false;
        }
    }
    return true;
}

/* Answers with the ranges asked for, if they may be had (RFC 9110 §14.2): of a 200 whose length is known. */
static bool apply_range(struct exchange *ex, struct stream_head *head)
{
    uint64_t length = head->length;
    struct ranges ranges;

    if (ex->passes || ex->status != 200 || head->body != STREAM_BODY_LENGTH) {
        return true;
    }
    enum range_verdict verdict = decide_ranges(&ex->request, respond_fields(ex, head), length, ex->now_ms, &ranges);
    if (verdict == RANGE_SATISFIABLE && ex->source == SOURCE_FLIGHT && !ascending(&ranges)) {
        return true; /* a flight is read forwards only */
    }
    switch (verdict) {
    case RANGE_NONE:
        return true;
    case RANGE_SATISFIABLE:
        return make_partial(ex, head, &ranges, length);
    case RANGE_UNSATISFIABLE:
        return make_unsatisfiable(ex, head, length);
    }
    UNREACHABLE();
}

bool respond_to_conditions(struct exchange *ex, struct stream_head *head, int64_t received_ms)
{
    bool known = head->body == STREAM_BODY_LENGTH;

    respond_with_part(ex, (struct part){.end = known ? head->length : UINT64_MAX});
    bool done = client_has_it(ex, head, received_ms) ? make_not_modified(ex, head) : apply_range(ex, head);
    if (head->body == STREAM_BODY_NONE || head->body == STREAM_BODY_OMITTED) {
        ex->part_count = 0;
    }
    return done;
}
