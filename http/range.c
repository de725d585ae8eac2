/* range.c: byte ranges: asked for, weighed, described. */
#include "http/range.h"

#include <string.h>

#include "http/date.h"
#include "http/token.h"
#include "http/validators.h"

static const struct span bytes_unit = SPAN_INIT("bytes");

static bool read_spec(struct span text, struct range_spec *out_spec);
static bool spec_resolve(const struct range_spec *spec, uint64_t complete_length, struct byte_range *out_range);
static size_t coalesce(struct byte_range *ranges, size_t count, struct byte_range added);
static bool is_strong_tag(struct span text);
static size_t write_number(uint64_t value, char *to);
static bool add_checked(uint64_t *sum, uint64_t value);

bool range_parse(struct span value, struct range_set *out_set)
{
    struct range_set set = {.count = 0};
    struct span unit, member;

    /* RFC 9110 §14.1: units ignore case. Nothing stands between unit and `=`. */
    if (!span_split(&value, '=', &unit) || !span_equal_nocase(unit, bytes_unit)) {
        return false;
    }
    /* RFC 9110 §14.1.1: one invalid member makes the whole invalid. Members hold no quotes, so commas always separate.
     */
    while (span_split(&value, ',', &member)) {
        member = span_trim(member);
        if (member.len == 0) {
            continue; /* RFC 9110 §5.6.1.2 */
        }
        if (set.count == RANGE_SPECS_MAX || !read_spec(member, &set.specs[set.count])) {
            return false;
        }
        set.count++;
    }
    if (set.count == 0) {
        return false;
    }
    *out_set = set;
    return true;
}

bool range_text(const struct range_spec *spec, struct arena *arena, struct span *out_text)
{
    unsigned long long first = spec->first;
    unsigned long long last = spec->last;

    switch (spec->kind) {
    case RANGE_SPEC_CLOSED:
        return arena_format(arena, out_text, "bytes=%llu-%llu", first, last);
    case RANGE_SPEC_OPEN:
        return arena_format(arena, out_text, "bytes=%llu-", first);
    case RANGE_SPEC_SUFFIX:
        return arena_format(arena, out_text, "bytes=-%llu", last);
    }
    UNREACHABLE();
}

bool range_of_request(const struct headers *request_headers, struct range_set *out_set)
{
    /* RFC 9110 §5.3: Range is no list, so two lines have no meaning */
    return headers_count_of(request_headers, SPAN("Range")) == 1 &&
           range_parse(headers_value(request_headers, SPAN("Range")), out_set);
}

bool range_is_void(const struct headers *request_headers)
{
    size_t lines = headers_count_of(request_headers, SPAN("Range"));
    struct span value = headers_value(request_headers, SPAN("Range"));
    struct range_set set;
    struct span unit;

    if (lines != 1) {
        return lines > 1;
    }
    bool other_unit = span_find(value, '=') != SIZE_MAX && span_split(&value, '=', &unit) && is_token(unit) &&
                      !span_equal_nocase(unit, bytes_unit);
    return !other_unit && !range_of_request(request_headers, &set);
}

enum range_verdict range_resolve(const struct range_set *set, uint64_t complete_length, struct ranges *out_ranges)
{
    struct byte_range found[RANGE_SPECS_MAX];
    uint64_t asked_bytes = 0;
    bool satisfiable = false;
    struct ranges ranges = {.count = 0};
    size_t count = 0;

    REQUIRE(set->count > 0);
    REQUIRE(set->count <= RANGE_SPECS_MAX);
    if (complete_length == 0) {
        return RANGE_NONE; /* RFC 9110 §14.2: may be ignored where there is no content */
    }
    for (size_t i = 0; i < set->count; i++) {
        struct byte_range range;

        if (!spec_resolve(&set->specs[i], complete_length, &range)) {
            continue;
        }
        satisfiable = true;
        if (!add_checked(&asked_bytes, range.last - range.first + 1)) {
            return RANGE_NONE;
        }
        count = coalesce(found, count, range);
    }
    /* RFC 9110 §14.1.1: one range that can be satisfied is enough */
    if (!satisfiable) {
        return RANGE_UNSATISFIABLE;
    }
    for (size_t i = 0; i < count; i++) {
        ranges.total_bytes += found[i].last - found[i].first + 1; /* disjoint: never above the complete length */
    }
    /* RFC 9110 §14.2 and §17.15: what costs more than the whole, or comes in too many pieces, is not worth ranges */
    if (count > RANGES_MAX ||
        (set->count > 1 && (asked_bytes >= complete_length || ranges.total_bytes >= complete_length))) {
        return RANGE_NONE;
    }
    for (size_t i = 0; i < count; i++) {
        ranges.items[i] = found[i];
    }
    ranges.count = count;
    *out_ranges = ranges;
    return RANGE_SATISFIABLE;
}

/* RFC 9110 §13.1.5 */
bool if_range_holds(const struct headers *request_headers, const struct headers *response_headers, int64_t now_s)
{
    struct span value = headers_value(request_headers, SPAN("If-Range"));
    size_t count = headers_count_of(request_headers, SPAN("If-Range"));
    int64_t wanted_s, modified_s;

    if (count != 1) {
        return count == 0;
    }
    /* A quote among the first three characters tells a tag from a date. */
    if (span_find(span_take(value, 3), '"') != SIZE_MAX) {
        return is_strong_tag(value) && etag_equal_strong(value, headers_value(response_headers, SPAN("ETag")));
    }
    return date_parse(value, now_s, &wanted_s) && last_modified_is_strong(response_headers, now_s) &&
           date_parse(headers_value(response_headers, SPAN("Last-Modified")), now_s, &modified_s) &&
           wanted_s == modified_s;
}

struct span strong_validator_of(const struct headers *response_headers, int64_t now_s)
{
    const struct header *etag = headers_find(response_headers, SPAN("ETag"));

    if (etag != NULL) {
        bool one = headers_find_next(response_headers, etag) == NULL;
        return one && is_strong_tag(etag->value) ? etag->value : (struct span){"", 0};
    }
    return last_modified_is_strong(response_headers, now_s) ? headers_value(response_headers, SPAN("Last-Modified"))
                                                            : (struct span){"", 0};
}

/* RFC 9110 §8.8.2.2 */
bool last_modified_is_strong(const struct headers *response_headers, int64_t now_s)
{
    int64_t modified_s, date_s;

    /* Both are within years 0 … 9999, so the difference cannot overflow. */
    return date_parse(headers_value(response_headers, SPAN("Last-Modified")), now_s, &modified_s) &&
           date_parse(headers_value(response_headers, SPAN("Date")), now_s, &date_s) &&
           date_s - modified_s >= STRONG_DATE_DISTANCE_S;
}

/* RFC 9110 §14.4: range-unit SP ( first-last "/" ( length / "*" ) / "*" "/" length ), nothing else */
bool content_range_parse(struct span value, struct content_range *out)
{
    struct content_range parsed = {.has_range = false};
    struct span unit, range, first;
    size_t slash;

    if (!span_split(&value, ' ', &unit) || !span_equal_nocase(unit, bytes_unit)) {
        return false;
    }
    slash = span_find(value, '/');
    if (slash == SIZE_MAX) {
        return false;
    }
    range = span_take(value, slash);
    value = span_skip(value, slash + 1);
    parsed.has_range = !span_equal(range, SPAN("*"));
    parsed.has_length = !span_equal(value, SPAN("*"));
    if ((!parsed.has_range && !parsed.has_length) ||
        (parsed.has_length && !span_to_u64(value, &parsed.complete_length))) {
        return false;
    }
    if (parsed.has_range) {
        if (!span_split(&range, '-', &first) || !span_to_u64(first, &parsed.range.first) ||
            !span_to_u64(range, &parsed.range.last)) {
            return false;
        }
        /* The last position there is has no length: last + 1 would overflow. */
        if (parsed.range.last < parsed.range.first || parsed.range.last == UINT64_MAX ||
            (parsed.has_length && parsed.complete_length <= parsed.range.last)) {
            return false;
        }
    }
    *out = parsed;
    return true;
}

bool content_range_of_response(const struct headers *response_headers, struct content_range *out)
{
    return headers_count_of(response_headers, SPAN("Content-Range")) == 1 &&
           content_range_parse(headers_value(response_headers, SPAN("Content-Range")), out);
}

size_t content_range_write(const struct content_range *value, char out_text[CONTENT_RANGE_MAX_BYTES])
{
    size_t len = bytes_unit.len;

    REQUIRE(value->has_range || value->has_length);
    memcpy(out_text, bytes_unit.data, bytes_unit.len);
    out_text[len++] = ' ';
    if (value->has_range) {
        len += write_number(value->range.first, out_text + len);
        out_text[len++] = '-';
        len += write_number(value->range.last, out_text + len);
    } else {
        out_text[len++] = '*';
    }
    out_text[len++] = '/';
    if (value->has_length) {
        len += write_number(value->complete_length, out_text + len);
    } else {
        out_text[len++] = '*';
    }
    return len;
}

bool content_range_text(const struct content_range *value, struct arena *arena, struct span *out_text)
{
    char text[CONTENT_RANGE_MAX_BYTES];
    size_t len = content_range_write(value, text);

    return arena_copy(arena, (struct span){text, len}, out_text);
}

/* RFC 9110 §14.1.1 and §14.1.2 */
static bool read_spec(struct span text, struct range_spec *out_spec)
{
    struct range_spec spec = {.kind = RANGE_SPEC_CLOSED};
    size_t dash = span_find(text, '-');
    struct span first, last;

    if (dash == SIZE_MAX) {
        return false;
    }
    first = span_take(text, dash);
    last = span_skip(text, dash + 1);
    if (first.len == 0) {
        spec.kind = RANGE_SPEC_SUFFIX;
    } else if (last.len == 0) {
        spec.kind = RANGE_SPEC_OPEN;
    }
    /* RFC 9110 §14.1.2: large numbers are no errors */
    if ((first.len > 0 && !span_to_u64_clamped(first, UINT64_MAX, &spec.first)) ||
        (spec.kind != RANGE_SPEC_OPEN && !span_to_u64_clamped(last, UINT64_MAX, &spec.last))) {
        return false;
    }
    if (spec.kind == RANGE_SPEC_CLOSED && spec.last < spec.first) {
        return false;
    }
    *out_spec = spec;
    return true;
}

/* RFC 9110 §14.1.2. False if it cannot be satisfied. `complete_length` is not 0. */
static bool spec_resolve(const struct range_spec *spec, uint64_t complete_length, struct byte_range *out_range)
{
    struct byte_range range = {.first = spec->first, .last = complete_length - 1};

    switch (spec->kind) {
    case RANGE_SPEC_SUFFIX:
        if (spec->last == 0) {
            return false;
        }
        range.first = spec->last < complete_length ? complete_length - spec->last : 0;
        break;
    case RANGE_SPEC_CLOSED:
        if (spec->last < range.last) {
            range.last = spec->last;
        }
        break;
    case RANGE_SPEC_OPEN:
        break;
    }
    if (range.first >= complete_length) {
        return false;
    }
    *out_range = range;
    return true;
}

/* One of them overlaps the other, touches it, or ends closely before it. */
static bool is_near(struct byte_range a, struct byte_range b)
{
    if (a.first > b.first) {
        struct byte_range swap = a;

        a = b;
        b = swap;
    }
    return b.first <= a.last || b.first - a.last - 1 < RANGE_GAP_BYTES;
}

/* RFC 9110 §15.3.7.2: adds a range, joined with all that are near; they leave the place of the first of them. The new
 * count. No two of `ranges` are near each other, before and after. */
static size_t coalesce(struct byte_range *ranges, size_t count, struct byte_range added)
{
    size_t place = count;
    size_t i = 0;

    while (i < count) {
        if (!is_near(ranges[i], added)) {
            i++;
            continue;
        }
        added.first = ranges[i].first < added.first ? ranges[i].first : added.first;
        added.last = ranges[i].last > added.last ? ranges[i].last : added.last;
        place = i < place ? i : place;
        for (size_t k = i; k + 1 < count; k++) {
            ranges[k] = ranges[k + 1];
        }
        count--;
        i = 0; /* it has grown: what was too far away before may be near now */
    }
    for (size_t k = count; k > place; k--) {
        ranges[k] = ranges[k - 1];
    }
    ranges[place] = added;
    return count + 1;
}

/* RFC 9110 §8.8.3: an opaque-tag, without W/ */
static bool is_strong_tag(struct span text)
{
    if (text.len < 2 || text.data[0] != '"' || text.data[text.len - 1] != '"') {
        return false;
    }
    for (size_t i = 1; i < text.len - 1; i++) {
        unsigned char byte = (unsigned char)text.data[i];

        if (byte <= 0x20 || byte == '"' || byte == 0x7f) {
            return false;
        }
    }
    return true;
}

/* How many digits; 20 at most. */
static size_t write_number(uint64_t value, char *to)
{
    size_t len = 1;

    for (uint64_t rest = value; rest >= 10; rest /= 10) {
        len++;
    }
    for (size_t i = len; i > 0; i--) {
        to[i - 1] = (char)('0' + value % 10);
        value /= 10;
    }
    return len;
}

static bool add_checked(uint64_t *sum, uint64_t value)
{
    if (value > UINT64_MAX - *sum) {
        return false;
    }
    *sum += value;
    return true;
}
