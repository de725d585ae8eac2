/* purge_names.c: see purge_names.h. */
#include "proxy/exchange/purge_names.h"

#include "cache/search.h"
#include "proxy/config/route.h"

static enum err add(struct purge_list *list, enum purge_kind kind, struct span name)
{
    struct purge purge = {.kind = kind, .mode = list->mode, .name = name, .time_ms = list->time_ms};

    if (list->count == ARRAY_LEN(list->items)) {
        return ERR_LIMIT;
    }
    if (!purge_valid(&purge)) {
        return ERR_BAD_TARGET;
    }
    list->items[list->count++] = purge;
    return ERR_OK;
}

/* A copy whose first `count` bytes are in lower case. False at the arena's limit. */
static bool copy_lower(struct arena *arena, struct span text, size_t count, struct span *out_copy)
{
    char *copy = arena_alloc_text(arena, text.len);

    if (copy == NULL) {
        return false;
    }
    for (size_t i = 0; i < text.len; i++) {
        copy[i] = i < count ? ascii_lower(text.data[i]) : text.data[i];
    }
    *out_copy = (struct span){copy, text.len};
    return true;
}

/* The schemes that a name with this one stands for. TLS ends in front of larder: what clients there call https is
 * stored as http, unless the proxy that ends it is trusted to say so (forwarded_scheme). Then both may be stored, and
 * the purge of a page means it by either: who orders it may well know only one. */
struct schemes {
    struct span items[2];
    size_t count;
};

static struct schemes stored_schemes(const struct config *config, struct span scheme)
{
    bool told = config->server.trust_forwarded_count > 0;

    if (!span_equal_nocase(scheme, SPAN("http")) && !span_equal_nocase(scheme, SPAN("https"))) {
        return (struct schemes){.items = {scheme}, .count = 1}; /* of a glob: a pattern */
    }
    return (struct schemes){.items = {SPAN_INIT("http"), SPAN_INIT("https")}, .count = told ? 2 : 1};
}

static enum err add_stored_uri(struct purge_list *list, struct cache *cache, struct cache_reader *reader,
                               const struct uri *uri, struct arena *arena)
{
    uint64_t secret = cache_secret(cache);
    struct search search;
    struct key key;

    if (!key_of_uri(uri, secret, arena, &key)) {
        return ERR_ARENA_FULL;
    }
    enum err error = add(list, PURGE_URL, key_url(key.text));
    if (error == ERR_OK && reader != NULL && search_find(reader, uri, arena, &search) &&
        search_key(&search, uri, secret, arena, &key)) {
        error = add(list, PURGE_URL, key_url(key.text));
    }
    return error;
}

enum err purge_add_uri(struct purge_list *list, const struct config *config, struct cache *cache,
                       struct cache_reader *reader, const struct uri *uri, struct arena *arena)
{
    struct schemes schemes = stored_schemes(config, uri->scheme);
    enum err error = ERR_OK;

    for (size_t i = 0; i < schemes.count && error == ERR_OK; i++) {
        struct uri stored = *uri;
        stored.scheme = schemes.items[i];
        error = add_stored_uri(list, cache, reader, &stored, arena);
    }
    return error;
}

enum err purge_add_url(struct purge_list *list, const struct config *config, struct cache *cache,
                       struct cache_reader *reader, struct span url, struct arena *arena)
{
    struct http_request request = {.method = METHOD_GET, .method_name = SPAN_INIT("GET")};
    enum err error = uri_parse_absolute(url, arena, &request.uri);

    if (error != ERR_OK) {
        return error;
    }
    headers_init(&request.headers, arena);
    if (!route_has_host(config, uri_host_of(request.uri.authority))) {
        return ERR_NOT_FOUND;
    }
    const struct site *site = route_find(config, &request.uri);
    if (site != NULL && !route_rewrite_request(site, &request, arena)) {
        return ERR_ARENA_FULL;
    }
    return purge_add_uri(list, config, cache, reader, &request.uri, arena);
}

enum err purge_add_prefix(struct purge_list *list, const struct config *config, struct span prefix, struct arena *arena)
{
    struct uri uri;
    struct span rest;
    enum err error = uri_parse_absolute(prefix, arena, &uri);

    if (error != ERR_OK) {
        return error;
    }
    if (prefix.data[prefix.len - 1] == '*') { /* meant as a wildcard, it would purge nothing, and nobody would know */
        return ERR_BAD_TARGET;
    }
    if (!route_has_host(config, uri_host_of(uri.authority))) {
        return ERR_NOT_FOUND;
    }
    if (!uri_path_and_query(&uri, arena, &rest)) {
        return ERR_ARENA_FULL;
    }
    struct schemes schemes = stored_schemes(config, uri.scheme);
    for (size_t i = 0; i < schemes.count && error == ERR_OK; i++) {
        const struct span parts[] = {schemes.items[i], SPAN_INIT("://"), uri.authority, rest};
        struct span name;
        error = arena_join(arena, parts, ARRAY_LEN(parts), &name) ? add(list, PURGE_PREFIX, name) : ERR_ARENA_FULL;
    }
    return error;
}

static bool has_wildcard(struct span glob)
{
    return span_find(glob, '*') != SIZE_MAX || span_find(glob, '?') != SIZE_MAX;
}

enum err purge_add_glob(struct purge_list *list, const struct config *config, struct span glob, struct arena *arena)
{
    struct span scheme = span_take(glob, span_find(glob, ':'));
    struct span rest = span_skip(glob, scheme.len);
    enum err error = ERR_OK;

    if (!span_starts_with(rest, SPAN("://")) || span_find(span_skip(rest, 3), '/') == SIZE_MAX) {
        return ERR_BAD_TARGET;
    }
    struct span authority = span_take(span_skip(rest, 3), span_find(span_skip(rest, 3), '/'));
    if (!has_wildcard(authority)) {
        struct span host;
        uint16_t port;
        if (!uri_split_authority(authority, &host, &port)) {
            return ERR_BAD_TARGET;
        }
        if (!route_has_host(config, host)) {
            return ERR_NOT_FOUND;
        }
    }
    struct schemes schemes = stored_schemes(config, scheme);
    for (size_t i = 0; i < schemes.count && error == ERR_OK; i++) {
        const struct span parts[] = {schemes.items[i], rest};
        size_t path = schemes.items[i].len + 3 + authority.len;
        struct span text, name;
        error = arena_join(arena, parts, ARRAY_LEN(parts), &text) && copy_lower(arena, text, path, &name)
                    ? add(list, PURGE_GLOB, name)
                    : ERR_ARENA_FULL;
    }
    return error;
}

enum err purge_add_tag(struct purge_list *list, struct span tag)
{
    return add(list, PURGE_TAG, tag);
}

enum err purge_add_everything(struct purge_list *list)
{
    return add(list, PURGE_ALL, SPAN(""));
}

static enum err add_hosts(struct purge_list *list, const struct config *config, const struct site *site)
{
    enum err error = ERR_OK;

    if (site->host_count == 0) {
        return config->site_count == 1 ? purge_add_everything(list) : ERR_BAD_TARGET;
    }
    for (size_t i = 0; i < site->host_count && error == ERR_OK; i++) {
        error = add(list, PURGE_HOST, site->hosts[i]);
    }
    return error;
}

enum err purge_add_site(struct purge_list *list, const struct config *config, struct span name, struct arena *arena)
{
    struct span host = span_starts_with(name, SPAN("*.")) ? span_skip(name, 2) : name;
    struct span copy;

    for (size_t i = 0; i < config->site_count; i++) {
        if (span_equal_nocase(name, span_of(config->sites[i].name))) {
            return add_hosts(list, config, &config->sites[i]);
        }
    }
    struct span part;
    uint16_t port;
    if (!uri_host_valid(host) || !uri_split_authority(host, &part, &port) || port != 0) {
        return ERR_BAD_TARGET;
    }
    if (!route_has_host(config, name)) {
        return ERR_NOT_FOUND;
    }
    return copy_lower(arena, name, name.len, &copy) ? add(list, PURGE_HOST, copy) : ERR_ARENA_FULL;
}
