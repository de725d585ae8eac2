/* validators.c: entity tags and conditional requests. */
#include "http/validators.h"

#include "http/date.h"

static const struct span if_none_match = SPAN_INIT("If-None-Match");
static const struct span if_modified_since = SPAN_INIT("If-Modified-Since");
static const struct span if_match = SPAN_INIT("If-Match");
static const struct span if_unmodified_since = SPAN_INIT("If-Unmodified-Since");

static struct span opaque_tag(struct span etag);

bool etag_is_weak(struct span etag)
{
    return span_starts_with(etag, SPAN("W/")); /* RFC 9110 §8.8.3: case-sensitive */
}

/* RFC 9110 §8.8.3.2 */
bool etag_equal_weak(struct span a, struct span b)
{
    return span_equal(opaque_tag(a), opaque_tag(b));
}

/* RFC 9110 §8.8.3.2 */
bool etag_equal_strong(struct span a, struct span b)
{
    return !etag_is_weak(a) && !etag_is_weak(b) && span_equal(a, b);
}

/* Does a line from `line` on name the tag: a list, `*`, weak comparison (RFC 9110 §13.1.2)? */
static bool if_none_match_has(const struct headers *request_headers, const struct header *line, struct span etag)
{
    for (; line != NULL; line = headers_find_next(request_headers, line)) {
        struct span rest = line->value;
        struct span member;

        /* RFC 9110 §13.1.2: "*" stands alone and matches whatever there is */
        if (span_equal(line->value, SPAN("*"))) {
            return true;
        }
        while (etag.len > 0 && etag_list_next(&rest, &member)) {
            if (etag_equal_weak(member, etag)) {
                return true;
            }
        }
    }
    return false;
}

bool if_match_has(struct span value, struct span etag)
{
    struct span member;

    while (etag_list_next(&value, &member)) {
        if (etag_equal_strong(member, etag)) {
            return true;
        }
    }
    return false;
}

enum condition condition_evaluate(const struct headers *request_headers, const struct headers *response_headers,
                                  int64_t received_s, int64_t now_s)
{
    const struct header *tags = headers_find(request_headers, if_none_match);
    int64_t since_s, modified_s;

    /* RFC 9110 §13.2.2: with If-None-Match there, If-Modified-Since is not looked at */
    if (tags != NULL) {
        return if_none_match_has(request_headers, tags, headers_value(response_headers, SPAN("ETag")))
                   ? CONDITION_MATCHED
                   : CONDITION_NOT_MATCHED;
    }
    /* RFC 9110 §13.1.3: anything but one valid date is ignored */
    if (headers_count_of(request_headers, if_modified_since) != 1 ||
        !date_parse(headers_value(request_headers, if_modified_since), now_s, &since_s)) {
        return CONDITION_NONE;
    }
    /* RFC 9111 §4.3.2: Last-Modified, else Date, else the time it was received */
    if (!date_parse(headers_value(response_headers, SPAN("Last-Modified")), now_s, &modified_s) &&
        !date_parse(headers_value(response_headers, SPAN("Date")), now_s, &modified_s)) {
        modified_s = received_s;
    }
    return modified_s <= since_s ? CONDITION_MATCHED : CONDITION_NOT_MATCHED;
}

bool has_origin_condition(const struct headers *request_headers)
{
    return headers_has(request_headers, if_match) || headers_has(request_headers, if_unmodified_since);
}

void remove_conditions(struct headers *request_headers)
{
    const struct span names[] = {if_none_match, if_modified_since, if_match, if_unmodified_since, SPAN("If-Range")};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)headers_remove(request_headers, names[i]); /* how many there were does not matter */
    }
}

/* RFC 9110 §15.4.5 */
bool field_belongs_in_304(struct span name)
{
    static const struct span left_out[] = {
        SPAN_INIT("Content-Length"),   SPAN_INIT("Content-Type"),  SPAN_INIT("Content-Encoding"),
        SPAN_INIT("Content-Language"), SPAN_INIT("Content-Range"), SPAN_INIT("Transfer-Encoding"),
        SPAN_INIT("Trailer"),
    };

    for (size_t i = 0; i < ARRAY_LEN(left_out); i++) {
        if (span_equal_nocase(left_out[i], name)) {
            return false;
        }
    }
    return true;
}

static struct span opaque_tag(struct span etag)
{
    return etag_is_weak(etag) ? span_skip(etag, 2) : etag;
}

/* The next member of a list of entity tags. Not list_next: in entity tags a backslash is a byte like any other (RFC
 * 9110 §8.8.3), so `"a\"` ends at its second quote. */
bool etag_list_next(struct span *rest, struct span *out_etag)
{
    while (rest->len > 0) {
        bool quoted = false;
        size_t end = span_find(*rest, ',') == SIZE_MAX ? rest->len : 0; /* most lists have one member */

        while (end < rest->len && (quoted || rest->data[end] != ',')) {
            quoted = quoted != (rest->data[end] == '"');
            end++;
        }
        *out_etag = span_trim(span_take(*rest, end));
        *rest = span_skip(*rest, end + 1);
        if (out_etag->len > 0) {
            return true;
        }
    }
    return false;
}
