/* config_lists.c: the values of sites and rules: host names, paths, globs, and lists of such. */
#include <string.h>

#include "http/token.h"
#include "http/unkeyed.h"
#include "http/uri.h"
#include "proxy/config/config_schema.h"

enum { RULE_NAME_MAX_BYTES = 64 };

struct config_members config_members_of(const struct config_place *place)
{
    if (place->node->kind == TOML_ARRAY) {
        return (struct config_members){place->node->children, place->node->child_count, true};
    }
    return (struct config_members){place->node, 1, false};
}

struct config_place config_member_place(const struct config_place *list, const struct config_members *members,
                                        size_t index)
{
    struct config_place place = *list;

    place.node = &members->nodes[index];
    place.item = members->is_list ? index + 1 : 0;
    return place;
}

/* Lower-case ASCII copy; false at the arena's limit. */
static bool copy_lower(struct arena *arena, struct span text, struct span *out_text)
{
    char *lower = arena_alloc_text(arena, text.len + 1);

    if (lower == NULL) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        lower[i] = ascii_lower(text.data[i]);
    }
    lower[text.len] = '\0';
    *out_text = (struct span){lower, text.len};
    return true;
}

bool config_is_visible(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] <= 0x20 || text.data[i] >= 0x7f) {
            return false;
        }
    }
    return text.len > 0;
}

/* A host name, an IPv4 or a bracketed IPv6 address; "*." in front stands for any labels there. The port plays no part
 * in routing. */
bool config_member_host(struct span text, struct arena *arena, struct span *out_text)
{
    struct span host = span_starts_with(text, SPAN("*.")) ? span_skip(text, 2) : text;

    if (!config_is_visible(host) || span_find(host, '*') != SIZE_MAX || !uri_host_valid(host)) {
        return false;
    }
    if (host.data[0] == '[') {
        if (host.len != text.len || host.data[host.len - 1] != ']') {
            return false;
        }
        return copy_lower(arena, span_take(span_skip(host, 1), host.len - 2), out_text);
    }
    return span_find(host, ':') == SIZE_MAX && copy_lower(arena, text, out_text);
}

/* Methods are case-sensitive (RFC 9110 §9.1) and upper case by custom: "get" is a slip that would never match. */
bool config_member_method(struct span text, struct arena *arena, struct span *out_text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] >= 'a' && text.data[i] <= 'z') {
            return false;
        }
    }
    return is_token(text) && arena_copy(arena, text, out_text);
}

bool config_member_language(struct span text, struct arena *arena, struct span *out_text)
{
    for (size_t i = 0; i < text.len; i++) {
        char byte = ascii_lower(text.data[i]);
        if (!(byte >= 'a' && byte <= 'z') && !(byte >= '0' && byte <= '9') && byte != '-') {
            return false;
        }
    }
    return text.len > 0 && text.data[0] != '-' && arena_copy(arena, text, out_text);
}

bool config_member_parameter_glob(struct span text, struct arena *arena, struct span *out_text)
{
    return config_is_visible(text) && arena_copy(arena, text, out_text);
}

bool config_member_path_glob(struct span text, struct arena *arena, struct span *out_text)
{
    return config_is_visible(text) && (text.data[0] == '/' || text.data[0] == '*') && arena_copy(arena, text, out_text);
}

bool config_member_media_glob(struct span text, struct arena *arena, struct span *out_text)
{
    bool has_parameters = span_find(text, ';') != SIZE_MAX; /* they are not compared */

    return config_is_visible(text) && !has_parameters && copy_lower(arena, text, out_text);
}

/* Framing, routing and the connection are larder's own business. */
bool config_member_field_name(struct span text, struct arena *arena, struct span *out_text)
{
    static const struct span reserved[] = {
        SPAN_INIT("Host"),       SPAN_INIT("Content-Length"), SPAN_INIT("Transfer-Encoding"),
        SPAN_INIT("Connection"), SPAN_INIT("Keep-Alive"),     SPAN_INIT("Expect"),
        SPAN_INIT("TE"),         SPAN_INIT("Trailer"),        SPAN_INIT("Upgrade"),
    };

    for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
        if (span_equal_nocase(text, reserved[i])) {
            return false;
        }
    }
    return is_token(text) && arena_copy(arena, text, out_text);
}

/* These are removed, or written anew, before rules are looked at. Applications that see fields as environment variables
 * take one with `_` for them (http/unkeyed.h): whoever passed that on would let every client say what only a trusted
 * proxy may. */
bool config_member_passed_field(struct span text, struct arena *arena, struct span *out_text)
{
    struct span taken_for;

    if (!unkeyed_with_hyphens(text, arena, &taken_for)) {
        return false;
    }
    return !forwarded_is_one(taken_for) && config_member_field_name(taken_for, arena, &taken_for) &&
           config_member_field_name(text, arena, out_text);
}

bool config_member_forwarded_field(struct span text, struct arena *arena, struct span *out_text)
{
    return forwarded_may_be_told(text) && arena_copy(arena, text, out_text);
}

bool config_set_list(struct config_reader *reader, const struct config_key *key, void *base,
                     const struct config_place *place)
{
    struct config_members members = config_members_of(place);
    struct arena *arena = &reader->config->arena;
    struct span *items = arena_alloc(arena, (members.count + 1) * sizeof *items);

    if (items == NULL) {
        return config_fail_memory(reader, place);
    }
    for (size_t i = 0; i < members.count; i++) {
        struct config_place member = config_member_place(place, &members, i);
        if (!config_is_text(member.node) || !key->member(member.node->text, arena, &items[i])) {
            return config_fail_expected(reader, &member, TOML_STRING, "expected %s", key->expected);
        }
    }
    config_store_list(key, base, items, members.count);
    return true;
}

bool config_set_glob(struct config_reader *reader, const struct config_key *key, void *base,
                     const struct config_place *place)
{
    struct span glob;

    if (!config_is_text(place->node) || !key->member(place->node->text, &reader->config->arena, &glob)) {
        return config_fail_expected(reader, place, TOML_STRING, "expected %s", key->expected);
    }
    memcpy((char *)base + key->offset, &glob, sizeof glob);
    return true;
}

bool config_parse_rate(struct span text, uint64_t *out_interval_us)
{
    static const struct {
        struct span unit;
        uint64_t us;
    } units[] = {{SPAN_INIT("s"), 1000000}, {SPAN_INIT("m"), 60 * 1000000}, {SPAN_INIT("h"), 3600 * UINT64_C(1000000)}};
    size_t slash = span_find(text, '/');
    uint64_t count;

    if (span_equal(text, SPAN("off"))) {
        *out_interval_us = 0;
        return true;
    }
    if (slash == SIZE_MAX || !span_to_u64(span_take(text, slash), &count) || count == 0 || count > 1000000) {
        return false;
    }
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (span_equal(span_skip(text, slash + 1), units[i].unit)) {
            *out_interval_us = units[i].us / count;
            return true;
        }
    }
    return false;
}

bool config_set_rate(struct config_reader *reader, const struct config_key *key, void *base,
                     const struct config_place *place)
{
    uint64_t interval_us;

    if (!config_is_text(place->node) || !config_parse_rate(place->node->text, &interval_us)) {
        return config_fail_expected(reader, place, TOML_STRING,
                                    "expected requests a second, minute or hour such as \"10/s\" or \"300/m\" (at most "
                                    "1000000), or \"off\"");
    }
    memcpy((char *)base + key->offset, &interval_us, sizeof(interval_us));
    return true;
}

bool config_set_statuses(struct config_reader *reader, const struct config_key *key, void *base,
                         const struct config_place *place)
{
    struct config_members members = config_members_of(place);
    unsigned *statuses = arena_alloc(&reader->config->arena, (members.count + 1) * sizeof *statuses);

    if (statuses == NULL) {
        return config_fail_memory(reader, place);
    }
    for (size_t i = 0; i < members.count; i++) {
        struct config_place member = config_member_place(place, &members, i);
        int64_t status = member.node->integer;
        if (member.node->kind != TOML_INTEGER || status < (int64_t)key->min || status > (int64_t)key->max) {
            return config_fail_expected(reader, &member, TOML_INTEGER, "expected status codes from %u to %u",
                                        (unsigned)key->min, (unsigned)key->max);
        }
        statuses[i] = (unsigned)status;
    }
    config_store_list(key, base, statuses, members.count);
    return true;
}

/* "/shop/" and "/shop" are the same prefix; it is brought to the form in which request paths are compared. */
static bool normal_path(struct span text, struct arena *arena, struct span *out_path)
{
    const struct span parts[] = {SPAN("http://site"), text};
    struct span url;
    struct uri uri;

    if (!config_is_visible(text) || text.data[0] != '/' || span_find(text, '*') != SIZE_MAX ||
        !arena_join(arena, parts, 2, &url) || uri_parse_absolute(url, arena, &uri) != ERR_OK || uri.has_query) {
        return false;
    }
    while (uri.path.len > 1 && uri.path.data[uri.path.len - 1] == '/') {
        uri.path.len--;
    }
    *out_path = uri.path;
    return true;
}

bool config_set_site_path(struct config_reader *reader, const struct config_key *key, void *base,
                          const struct config_place *place)
{
    struct span path;

    if (!config_is_text(place->node) || !normal_path(place->node->text, &reader->config->arena, &path)) {
        return config_fail_expected(reader, place, TOML_STRING, "expected a path without * and ?, such as \"/shop\"");
    }
    memcpy((char *)base + key->offset, &path, sizeof path);
    return true;
}

static bool is_rule_name(struct span text)
{
    for (size_t i = 0; i < text.len; i++) {
        char lower = ascii_lower(text.data[i]);
        bool is_alphanumeric = (lower >= 'a' && lower <= 'z') || (lower >= '0' && lower <= '9');
        if (!is_alphanumeric && lower != '-' && lower != '_' && lower != '.') {
            return false;
        }
    }
    return text.len > 0 && text.len <= RULE_NAME_MAX_BYTES;
}

/* The name goes into Cache-Status and logs, where quoting would only be in the way. */
bool config_set_rule_name(struct config_reader *reader, const struct config_key *key, void *base,
                          const struct config_place *place)
{
    if (!config_is_text(place->node) || !is_rule_name(place->node->text)) {
        return config_fail_expected(reader, place, TOML_STRING,
                                    "expected a name of up to %d letters, digits, '-', '_' and '.'",
                                    RULE_NAME_MAX_BYTES);
    }
    const char *copy = config_copy_text(reader, place, place->node->text);
    if (copy != NULL) {
        memcpy((char *)base + key->offset, &copy, sizeof copy);
    }
    return copy != NULL;
}
