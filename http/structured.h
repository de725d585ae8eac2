/* structured.h: structured fields: dictionaries, lists and single items (RFC 9651).
 *
 * The whole field is checked first: one error anywhere and none of it counts (RFC 9651 §4.2). What passed is then
 * handed out member by member, and nothing can fail any more but the arena, which only structured_text uses. Ownership:
 * everything borrows from the text it was parsed from. Time: linear in the field for a check or a walk. Threads: any.
 */
#ifndef HTTP_STRUCTURED_H
#define HTTP_STRUCTURED_H

#include "http/headers.h"

enum structured_type {
    STRUCTURED_INTEGER,
    STRUCTURED_DECIMAL,
    STRUCTURED_STRING,
    STRUCTURED_TOKEN,
    STRUCTURED_BYTES, /* byte sequence */
    STRUCTURED_BOOLEAN,
    STRUCTURED_DATE,
    STRUCTURED_DISPLAY, /* display string: UTF-8 */
    STRUCTURED_INNER_LIST,
};

struct structured_item {
    enum structured_type type;
    int64_t number;         /* integer; date in seconds; decimal in thousandths; boolean 0 or 1 */
    struct span text;       /* of the other types and of an inner list: as written, without the marks around it */
    struct span parameters; /* as written, each with its semicolon */
};

struct structured_member {
    struct span key; /* empty in lists */
    struct structured_item item;
};

enum structured_kind {
    STRUCTURED_LIST,
    STRUCTURED_DICTIONARY,
    STRUCTURED_INNER,      /* the items of an inner list */
    STRUCTURED_PARAMETERS, /* the parameters of an item */
};

/* Checked text, and how far it was read. A copy is a second reader. */
struct structured {
    enum structured_kind kind;
    struct span rest; /* what structured_next has not handed out; empty at the end */
};

/* Checks a whole list or dictionary. False if it is malformed: the field is to be ignored. The empty value is a valid
 * one without members. */
MUST_CHECK bool structured_parse(enum structured_kind kind, struct span value, struct structured *out_field);

/* Checks a field whose value is one item. */
MUST_CHECK bool structured_parse_item(struct span value, struct structured_item *out_item);

/* structured_parse of all lines of that name, joined in the arena where there are several (RFC 9651 §4.2). An absent
 * field is an empty one. False also at the arena's limit. */
MUST_CHECK bool structured_of_headers(enum structured_kind kind, const struct headers *headers, struct span name,
                                      struct arena *arena, struct structured *out_field);

/* The next member; false at the end. Of equal keys all are handed out: the last one counts (RFC 9651 §3.1.2, §3.2). */
bool structured_next(struct structured *field, struct structured_member *out_member);

/* The member that counts for `key` among those not handed out yet; false if there is none. */
bool structured_find(const struct structured *field, struct span key, struct structured_item *out_item);

/* The items of an inner list (none for other types); the parameters of any item. */
struct structured structured_inner_list(const struct structured_item *item);
struct structured structured_parameters(const struct structured_item *item);

/* What a string, token, byte sequence or display string means: escapes resolved, base64 decoded (in the arena only if
 * that changes anything). The bytes of a byte sequence and of a display string may be any, NUL and line ends included.
 * Other types give the empty span. False at the arena's limit. */
MUST_CHECK bool structured_text(const struct structured_item *item, struct arena *arena, struct span *out_text);

#endif
