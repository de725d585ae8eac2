/* head.c: the head of a stored response.
 *
 * Stored are the field lines as larder would send them, so that writing them back is a copy. What is left out is either
 * rebuilt for each exchange (framing, Age, Cache-Status), or must not be kept at all (RFC 9111 §3.1).
 *
 * The names in no-cache="…" and private="…" are read here line by line, without an arena: a limit must not be able to
 * make a field stay that has to go. They are read in Cache-Control and in whatever is called like it (RFC 9213 §2.4),
 * whichever of them decided: a field too many that goes harms nobody, and the configuration may have changed since. */
#include "cache/head.h"

#include "http/byte_class.h"
#include "http/cache_groups.h"
#include "http/serialize.h"
#include "http/tags.h"
#include "http/token.h"
#include "http/validators.h"

enum { HEAD_MAX_BYTES = 1024 * 1024 };

/* Never stored, and never taken from a 304. */
static const struct span not_stored[] = {
    SPAN_INIT("Age"),                /* kept as a number: RFC 9111 §4 replaces it on every reuse */
    SPAN_INIT("Cache-Status"),       /* speaks of another exchange */
    SPAN_INIT("Connection"),         /* RFC 9110 §7.6.1 */
    SPAN_INIT("Content-Length"),     /* rebuilt from the stored body */
    SPAN_INIT("Proxy-Authenticate"), /* RFC 9111 §3.1, this one and the next two */
    SPAN_INIT("Proxy-Authentication-Info"),
    SPAN_INIT("Proxy-Authorization"),
    SPAN_INIT("Trailer"), /* trailer fields are not stored */
    SPAN_INIT("Transfer-Encoding"),
};

static bool is_kept(const struct headers *headers, bool qualified, struct span name);
static bool is_not_stored(struct span name);
static bool names_fields(const struct headers *headers, struct span directive);
static bool is_qualified_by(const struct headers *headers, struct span directive, struct span name);
static bool line_qualifies(struct span line, struct span directive, struct span name);
static bool equal_unescaped(struct span escaped, struct span name);
static bool read_line(struct span *rest, struct span *out_name, struct span *out_value);
static bool is_updated(const struct headers *not_modified, bool qualified, struct span name);
static void remove_at(struct headers *headers, size_t index);

HEADERS_FOLDED static inline bool is_stored(struct span name)
{
    uint64_t bits = 0;

    for (size_t i = 0; i < ARRAY_LEN(not_stored); i++) { /* the compiler does this */
        bits |= header_name_bit(not_stored[i]);
    }
    return (bits & header_name_bit(name)) == 0 || !is_not_stored(name);
}

void head_write(const struct headers *headers, struct buf *out)
{
    bool qualified = names_fields(headers, SPAN("private"));

    for (size_t i = 0; i < headers->count; i++) {
        const struct header *field = &headers->items[i];
        if (is_kept(headers, qualified, field->name)) {
            write_field(out, field->name, field->value);
        }
    }
}

bool head_write_listed(const struct headers *headers, struct buf *out, struct buf *out_private, struct arena *arena,
                       struct headers *out_written)
{
    bool qualified = names_fields(headers, SPAN("private"));
    size_t begin = out->len;
    struct headers written;
    size_t count = 0;

    headers_init(&written, arena);
    if (!headers_reserve(&written, headers->count)) {
        return false;
    }
    for (size_t i = 0; i < headers->count; i++) {
        const struct header *field = &headers->items[i];
        if (!is_stored(field->name)) {
            continue;
        }
        if (!qualified || !is_qualified_by(headers, SPAN("private"), field->name)) {
            written.items[count++] = *field;
        } else if (out_private != NULL) {
            write_field(out_private, field->name, field->value);
        }
    }
    written.names = headers->names;
    written.count = count;
    write_fields(out, &written);
    if (out->failed) {
        return false;
    }
    const char *at = count > 0 ? out->data + begin : NULL;
    for (size_t i = 0; i < count; i++) { /* as write_fields wrote them */
        struct header *field = &written.items[i];
        field->name.data = at;
        field->value.data = at + field->name.len + 2;
        at = field->value.data + field->value.len + 2;
    }
    *out_written = written;
    return true;
}

/* `qualified`: does private="…" name any field at all? Asked once for all of them. */
static bool is_kept(const struct headers *headers, bool qualified, struct span name)
{
    /* RFC 9111 §5.2.2.7: a shared cache must not store the fields that private="…" names. */
    return is_stored(name) && !(qualified && is_qualified_by(headers, SPAN("private"), name));
}

void head_write_not_modified(const struct headers *stored, struct buf *out)
{
    for (size_t i = 0; i < stored->count; i++) {
        if (field_belongs_in_304(stored->items[i].name)) {
            write_field(out, stored->items[i].name, stored->items[i].value);
        }
    }
}

static bool is_not_stored(struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(not_stored); i++) {
        if (span_equal_nocase(not_stored[i], name)) {
            return true;
        }
    }
    return false;
}

bool head_names_control(struct span name)
{
    const struct span suffix = SPAN_INIT("Cache-Control");

    return name.len >= suffix.len && span_equal_nocase(span_skip(name, name.len - suffix.len), suffix);
}

/* Does a `=` stand behind `directive` anywhere? Only where one does the line is taken apart. */
static bool may_have_argument(struct span line, struct span directive)
{
    for (size_t at = span_find(line, '='); at != SIZE_MAX; at = span_find(line, '=')) {
        struct span before = span_trim(span_take(line, at));
        if (before.len >= directive.len &&
            span_equal_nocase(span_skip(before, before.len - directive.len), directive)) {
            return true;
        }
        line = span_skip(line, at + 1);
    }
    return false;
}

/* The next argument that `directive` has in what is left of a control field's line. */
static bool next_argument(struct span *line, struct span directive, struct span *out_value)
{
    struct span member;

    if (!may_have_argument(*line, directive)) {
        return false; /* as most often */
    }
    while (list_next(line, &member)) {
        struct span key;
        bool has_value;
        parameter_split(member, &key, out_value, &has_value);
        if (has_value && span_equal_nocase(span_trim(key), directive)) {
            return true;
        }
    }
    return false;
}

/* Does a line of a control field hold `directive` with an argument? */
static bool names_fields(const struct headers *headers, struct span directive)
{
    for (size_t i = 0; i < headers->count; i++) {
        const struct header *field = &headers->items[i];
        struct span line = field->value;
        struct span value;
        if (head_names_control(field->name) && next_argument(&line, directive, &value)) {
            return true;
        }
    }
    return false;
}

/* Does a line of a control field hold `directive` with `name` in its argument? */
static bool is_qualified_by(const struct headers *headers, struct span directive, struct span name)
{
    for (size_t i = 0; i < headers->count; i++) {
        const struct header *field = &headers->items[i];
        if (head_names_control(field->name) && line_qualifies(field->value, directive, name)) {
            return true;
        }
    }
    return false;
}

static bool is_qualified(const struct headers *headers, struct span name)
{
    return is_qualified_by(headers, SPAN("no-cache"), name) || is_qualified_by(headers, SPAN("private"), name);
}

void head_write_qualified(const struct headers *control, const struct headers *fields, struct buf *out)
{
    for (size_t i = 0; i < fields->count; i++) {
        const struct header *field = &fields->items[i];
        if (is_stored(field->name) && !head_names_control(field->name) && is_qualified(control, field->name)) {
            write_field(out, field->name, field->value);
        }
    }
}

/* Unlike other directives, a repeated one counts each time: dropping a field too many harms nobody. */
static bool line_qualifies(struct span line, struct span directive, struct span name)
{
    struct span value;

    while (next_argument(&line, directive, &value)) {
        struct span member;
        value = span_trim(value);
        /* RFC 9111 §5.2: token and quoted form; a list of names holds no quotes. RFC 9651 §3.1.2: parameters may follow
         * them. */
        if (span_starts_with(value, SPAN("\""))) {
            value = span_skip(value, 1);
        }
        value = span_take(value, span_find(value, '"'));
        while (span_split(&value, ',', &member)) {
            if (equal_unescaped(span_trim(member), name)) {
                return true;
            }
        }
    }
    return false;
}

/* A field name holds no backslash: each one in `escaped` is part of an escape. */
static bool equal_unescaped(struct span escaped, struct span name)
{
    size_t at = 0;

    for (size_t i = 0; i < escaped.len; i++) {
        if (escaped.data[i] == '\\') {
            continue;
        }
        if (at == name.len || ascii_lower(escaped.data[i]) != ascii_lower(name.data[at])) {
            return false;
        }
        at++;
    }
    return at == name.len;
}

enum err head_read(struct span bytes, struct arena *arena, struct headers *out_headers)
{
    struct headers headers;
    struct span name;
    struct span value;

    headers_init(&headers, arena);
    while (bytes.len > 0) {
        if (!read_line(&bytes, &name, &value)) {
            return ERR_DAMAGED;
        }
        if (!headers_add(&headers, name, value)) {
            return ERR_ARENA_FULL;
        }
    }
    *out_headers = headers;
    return ERR_OK;
}

/* One line exactly as write_field writes it. A value may be empty, a name may not. */
static bool read_line(struct span *rest, struct span *out_name, struct span *out_value)
{
    size_t colon = bytes_run_end(rest->data, 0, rest->len, BYTE_NAME);

    if (colon == 0 || !span_starts_with(span_skip(*rest, colon), SPAN(": "))) {
        return false;
    }
    size_t start = colon + 2;
    size_t end = bytes_value_end(rest->data, start, rest->len);
    struct span value = {rest->data + start, end - start};
    if (!span_starts_with(span_skip(*rest, end), SPAN("\r\n")) || span_trim(value).len != value.len) {
        return false;
    }
    *out_name = span_take(*rest, colon);
    *out_value = value;
    *rest = span_skip(*rest, end + 2);
    return true;
}

bool head_freshen(const struct headers *stored, const struct headers *not_modified, struct arena *arena,
                  struct headers *out_headers)
{
    bool qualified = names_fields(not_modified, SPAN("private"));
    struct headers headers;

    headers_init(&headers, arena);
    for (size_t i = 0; i < stored->count; i++) {
        const struct header *field = &stored->items[i];
        bool replaced = headers_has(not_modified, field->name) && is_updated(not_modified, qualified, field->name);
        if (!replaced && !headers_add(&headers, field->name, field->value)) {
            return false;
        }
    }
    for (size_t i = 0; i < not_modified->count; i++) {
        const struct header *field = &not_modified->items[i];
        if (is_updated(not_modified, qualified, field->name) && !headers_add(&headers, field->name, field->value)) {
            return false;
        }
    }
    *out_headers = headers;
    return true;
}

/* RFC 9111 §3.2: every field but those that are not stored (Content-Length is one of them), and Content-Range, which
 * would describe a part of what is stored whole. Content-Encoding and its kin are taken: the body is kept as it came,
 * not as it was processed. */
static bool is_updated(const struct headers *not_modified, bool qualified, struct span name)
{
    return is_kept(not_modified, qualified, name) && !span_equal_nocase(name, SPAN("Content-Range"));
}

/* An entity tag in the 304 decides alone: with the same tag, a newer Last-Modified is news and not a contradiction. */
bool head_not_modified_selects(const struct headers *stored, const struct headers *not_modified)
{
    struct span new_tag = headers_value(not_modified, SPAN("ETag"));
    struct span new_date = headers_value(not_modified, SPAN("Last-Modified"));
    struct span stored_tag = headers_value(stored, SPAN("ETag"));
    struct span stored_date = headers_value(stored, SPAN("Last-Modified"));

    if (new_tag.len > 0) {
        /* RFC 9111 §4.3.4: a strong tag must be the stored one, or nothing is updated. */
        return etag_is_weak(new_tag) ? etag_equal_weak(new_tag, stored_tag) : etag_equal_strong(new_tag, stored_tag);
    }
    return new_date.len == 0 || span_equal(new_date, stored_date);
}

static bool has_line(const struct headers *headers, const struct header *line)
{
    const struct header *field = headers_find(headers, line->name);

    while (field != NULL && !span_equal(field->value, line->value)) {
        field = headers_find_next(headers, field);
    }
    return field != NULL;
}

/* Does the line name the response for purges? Groups that are malformed name nothing, and would undo others beside them
 * (RFC 9651 §4.2). */
static bool names_response(const struct header *line, bool has_groups)
{
    return tags_is_field(line->name) || (has_groups && span_equal_nocase(line->name, SPAN("Cache-Groups")));
}

bool head_unite_names(struct headers *headers, const struct headers *other)
{
    struct cache_groups groups;

    if (!cache_groups_of_response(other, headers->arena, &groups)) {
        return false;
    }
    for (size_t i = 0; i < other->count; i++) {
        const struct header *line = &other->items[i];
        if (names_response(line, groups.count > 0) && !has_line(headers, line) &&
            !headers_add(headers, line->name, line->value)) {
            return false;
        }
    }
    return tags_within_limits(headers);
}

bool head_unite_stored_names(struct span head, struct span other, struct arena *arena, struct span *out_head)
{
    struct headers headers, others;
    struct buf lines;

    if (head_read(head, arena, &headers) != ERR_OK || head_read(other, arena, &others) != ERR_OK) {
        return false;
    }
    size_t count = headers.count;
    if (!head_unite_names(&headers, &others)) {
        return false;
    }
    *out_head = head;
    if (headers.count == count) {
        return true;
    }
    buf_init(&lines, HEAD_MAX_BYTES);
    for (size_t i = 0; i < headers.count; i++) {
        write_field(&lines, headers.items[i].name, headers.items[i].value);
    }
    bool done = !lines.failed && arena_copy(arena, buf_span(&lines), out_head);
    buf_finish(&lines);
    return done;
}

/* RFC 9111 §5.2.2.4, §5.2.2.7. Control fields go last: until then they are what says which. */
void head_drop_qualified(struct headers *headers)
{
    bool drop_control = false;

    for (size_t i = headers->count; i > 0; i--) {
        struct span name = headers->items[i - 1].name;
        if (!is_qualified(headers, name)) {
            continue;
        }
        if (head_names_control(name)) {
            drop_control = true;
        } else {
            remove_at(headers, i - 1);
        }
    }
    for (size_t i = headers->count; drop_control && i > 0; i--) {
        if (head_names_control(headers->items[i - 1].name)) {
            remove_at(headers, i - 1);
        }
    }
}

static void remove_at(struct headers *headers, size_t index)
{
    for (size_t i = index + 1; i < headers->count; i++) {
        headers->items[i - 1] = headers->items[i];
    }
    headers->count--;
}
