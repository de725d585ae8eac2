/* config_origins.c: a site's origins, as URLs or tables, and what checks their health. */
#include <string.h>

#include "http/uri.h"
#include "proxy/config/config_schema.h"

/* "http://host[:port]", a single "/" behind it at most. */
static bool set_url(struct config_reader *reader, const struct config_place *place, struct origin_url *out_origin)
{
    static const char expected[] = "expected an origin such as \"http://127.0.0.1:3000\"";
    struct arena *arena = &reader->config->arena;
    struct uri uri;
    struct span host;
    uint16_t port;

    if (!config_is_text(place->node) || !config_is_visible(place->node->text) ||
        uri_parse_absolute(place->node->text, arena, &uri) != ERR_OK ||
        !uri_split_authority(uri.authority, &host, &port)) {
        return config_fail_expected(reader, place, TOML_STRING, "%s", expected);
    }
    if (!span_equal(uri.scheme, SPAN("http"))) {
        return config_fail_expected(reader, place, TOML_STRING, "%s (https is not spoken to origins)", expected);
    }
    if (uri.has_query || !span_equal(uri.path, SPAN("/"))) {
        return config_fail_expected(reader, place, TOML_STRING, "%s, without a path", expected);
    }
    out_origin->text = config_copy_text(reader, place, place->node->text);
    out_origin->host = config_copy_text(reader, place, host);
    out_origin->port = port == 0 ? 80 : port;
    out_origin->authority = config_copy_text(reader, place, uri.authority);
    return out_origin->text != NULL && out_origin->host != NULL && out_origin->authority != NULL;
}

bool config_set_origin_url(struct config_reader *reader, const struct config_key *key, void *base,
                           const struct config_place *place)
{
    (void)key;
    return set_url(reader, place, base);
}

/* One member of the list: a URL, or a table. */
static bool set_member(struct config_reader *reader, const struct config_place *place, struct origin_url *out_origin)
{
    struct span path;

    if (!config_set_standards(reader, SECTION_ORIGIN, out_origin)) {
        return false;
    }
    if (place->node->kind != TOML_TABLE) {
        return set_url(reader, place, out_origin);
    }
    if (!arena_format(&reader->config->arena, &path, "%.*s.origin[%zu]", SPAN_ARG(place->section), place->item)) {
        return config_fail_memory(reader, place);
    }
    if (!config_read_section(reader, SECTION_ORIGIN, path, place->node, out_origin)) {
        return false;
    }
    struct config_place url = {.section = path, .name = "url", .node = place->node};
    return out_origin->text != NULL ||
           config_fail(reader, &url, "missing, expected an origin such as \"http://127.0.0.1:3000\"");
}

/* Which of two equal ones is meant, in a log or by a weight? */
static bool check_is_new(struct config_reader *reader, const struct origin_url *origins, size_t index,
                         const struct config_place *place)
{
    for (size_t i = 0; i < index; i++) {
        if (strcmp(origins[i].host, origins[index].host) == 0 && origins[i].port == origins[index].port) {
            return config_fail(reader, place, "expected each origin once, it is origin[%zu] already", i + 1);
        }
    }
    return true;
}

bool config_set_origins(struct config_reader *reader, const struct config_key *key, void *base,
                        const struct config_place *place)
{
    struct config_members members = config_members_of(place);
    bool all_backup = true;

    if (members.count == 0) {
        return config_fail_expected(reader, place, TOML_STRING, "expected an origin or a list of them");
    }
    if (members.count > BALANCE_MAX_CANDIDATES) {
        return config_fail(reader, place, "expected at most %d origins", BALANCE_MAX_CANDIDATES);
    }
    struct origin_url *origins = arena_alloc(&reader->config->arena, members.count * sizeof *origins);
    if (origins == NULL) {
        return config_fail_memory(reader, place);
    }
    for (size_t i = 0; i < members.count; i++) {
        struct config_place member = config_member_place(place, &members, i);
        if (!set_member(reader, &member, &origins[i]) || !check_is_new(reader, origins, i, &member)) {
            return false;
        }
        all_backup = all_backup && origins[i].backup;
    }
    if (all_backup) {
        return config_fail(reader, place, "expected an origin that is not a backup");
    }
    config_store_list(key, base, origins, members.count);
    return true;
}

bool config_set_host_header(struct config_reader *reader, const struct config_key *key, void *base,
                            const struct config_place *place)
{
    if (!config_is_text(place->node) || !config_is_visible(place->node->text) || !uri_host_valid(place->node->text)) {
        return config_fail_expected(reader, place, TOML_STRING,
                                    "expected a host with or without port, such as \"www.example.com\"");
    }
    const char *copy = config_copy_text(reader, place, place->node->text);
    if (copy != NULL) {
        memcpy((char *)base + key->offset, &copy, sizeof copy);
    }
    return copy != NULL;
}

bool config_set_check_path(struct config_reader *reader, const struct config_key *key, void *base,
                           const struct config_place *place)
{
    struct span text = place->node->text;

    if (!config_is_text(place->node) || !config_is_visible(text) || text.data[0] != '/' ||
        span_find(text, '#') != SIZE_MAX) {
        return config_fail_expected(reader, place, TOML_STRING, "expected a path such as \"/health\"");
    }
    const char *copy = config_copy_text(reader, place, text);
    if (copy != NULL) {
        memcpy((char *)base + key->offset, &copy, sizeof copy);
    }
    return copy != NULL;
}
