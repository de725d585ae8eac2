/* warm_urls.c: see warm_urls.h. */
#include "proxy/commands/warm_urls.h"

#include <expat.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cache/key.h"
#include "http/uri.h"

enum {
    ARENA_BYTES = 512 * 1024 * 1024, /* taken as it is needed */
    LINE_BYTES = 64 * 1024,          /* longer lines name no URL that larder takes */
    SLOTS_FIRST = 1024,
    LOC_BYTES = 8192,
};

void warm_urls_init(struct warm_urls *urls)
{
    *urls = (struct warm_urls){0};
    arena_init(&urls->arena, ARENA_BYTES);
}

void warm_urls_finish(struct warm_urls *urls)
{
    free(urls->items);
    free(urls->slots);
    arena_finish(&urls->arena);
}

/* ---- the set ---- */

static uint64_t hash_of(const struct warm_url *url)
{
    return key_hash_short(url->target, key_hash_short(url->host, url->secure));
}

/* Where the URL stands, or the free slot where it would. */
static uint32_t *slot_of(const struct warm_urls *urls, const struct warm_url *url)
{
    size_t at = (size_t)hash_of(url) & (urls->slot_count - 1);

    while (urls->slots[at] != 0) { /* at most half of them are taken */
        const struct warm_url *there = &urls->items[urls->slots[at] - 1];
        if (there->secure == url->secure && span_equal(there->host, url->host) &&
            span_equal(there->target, url->target)) {
            break;
        }
        at = (at + 1) & (urls->slot_count - 1);
    }
    return &urls->slots[at];
}

/* Room for one more. False: no memory. */
static bool grow(struct warm_urls *urls)
{
    if (urls->count < urls->capacity) {
        return true;
    }
    size_t capacity = urls->capacity > 0 ? urls->capacity * 2 : SLOTS_FIRST / 2;
    struct warm_url *items = realloc(urls->items, capacity * sizeof(*items));
    if (items == NULL) {
        return false;
    }
    urls->items = items;
    uint32_t *slots = calloc(capacity * 2, sizeof(*slots));
    if (slots == NULL) {
        return false;
    }
    free(urls->slots);
    urls->slots = slots;
    urls->slot_count = capacity * 2;
    urls->capacity = capacity;
    for (size_t i = 0; i < urls->count; i++) {
        *slot_of(urls, &urls->items[i]) = (uint32_t)i + 1;
    }
    return true;
}

static enum err add(struct warm_urls *urls, const struct warm_url *url)
{
    if (!grow(urls)) {
        return ERR_NO_MEMORY;
    }
    uint32_t *slot = slot_of(urls, url);
    if (*slot != 0) {
        return ERR_OK;
    }
    if (urls->count == WARM_URLS_MAX) {
        return ERR_LIMIT;
    }
    struct warm_url *item = &urls->items[urls->count];
    if (!arena_copy(&urls->arena, url->host, &item->host) || !arena_copy(&urls->arena, url->target, &item->target)) {
        return ERR_LIMIT;
    }
    item->secure = url->secure;
    urls->count++;
    *slot = (uint32_t)urls->count;
    return ERR_OK;
}

enum err warm_urls_add(struct warm_urls *urls, struct span url)
{
    struct arena arena;
    struct uri uri;
    struct warm_url parts;

    url = span_take(url, span_find(url, '#'));
    arena_init(&arena, 4 * LINE_BYTES);
    enum err error = url.len > LINE_BYTES ? ERR_BAD_TARGET : uri_parse_absolute(url, &arena, &uri);
    if (error == ERR_OK) {
        parts.secure = span_equal(uri.scheme, SPAN("https"));
        parts.host = uri.authority;
        error = uri_path_and_query(&uri, &arena, &parts.target) ? add(urls, &parts) : ERR_BAD_TARGET;
    }
    arena_finish(&arena);
    return error;
}

/* The same, of a file in which other lines are worth something, too. */
static enum err add_or_skip(struct warm_urls *urls, struct span url)
{
    enum err error = warm_urls_add(urls, url);

    if (error == ERR_BAD_TARGET || error == ERR_BAD_HOST) {
        urls->skipped++;
        return ERR_OK;
    }
    return error;
}

/* ---- files of lines ---- */

typedef enum err line_fn(struct warm_urls *urls, struct span line, struct span host);

/* Without white space at both ends, line ends included. */
static struct span trim(struct span text)
{
    while (text.len > 0 && strchr(" \t\r\n", text.data[0]) != NULL) {
        text = span_skip(text, 1);
    }
    while (text.len > 0 && strchr(" \t\r\n", text.data[text.len - 1]) != NULL) {
        text.len--;
    }
    return text;
}

/* A line that is too long is skipped. */
static enum err each_line(struct warm_urls *urls, FILE *file, struct span host, line_fn *take)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t len;
    enum err error = ERR_OK;

    while (error == ERR_OK && (len = getline(&line, &size, file)) >= 0) {
        struct span text = trim((struct span){line, (size_t)len});
        if (text.len >= LINE_BYTES) {
            urls->skipped++;
        } else if (text.len > 0) {
            error = take(urls, text, host);
        }
    }
    free(line);
    return error == ERR_OK && ferror(file) != 0 ? ERR_IO : error;
}

static enum err take_url(struct warm_urls *urls, struct span line, struct span host) /* line_fn */
{
    (void)host;
    return line.data[0] == '#' ? ERR_OK : add_or_skip(urls, line);
}

enum err warm_urls_read_list(struct warm_urls *urls, FILE *file)
{
    return each_line(urls, file, SPAN(""), take_url);
}

/* A request as a log has it. */
static enum err take_request(struct warm_urls *urls, struct span method, struct span scheme, struct span host,
                             struct span target)
{
    char memory[LINE_BYTES];
    struct buf url;

    buf_init_in(&url, memory, sizeof memory);
    if (!span_equal(method, SPAN("GET")) && !span_equal(method, SPAN("HEAD"))) {
        return ERR_OK;
    }
    if (target.len > 0 && target.data[0] == '/') {
        buf_add(&url, scheme);
        buf_add_text(&url, "://");
        buf_add(&url, host);
    }
    buf_add(&url, target);
    if (url.failed) {
        urls->skipped++;
        return ERR_OK;
    }
    return add_or_skip(urls, buf_span(&url));
}

static enum err take_json(struct warm_urls *urls, struct span line)
{
    json_t *entry = json_loadb(line.data, line.len, 0, NULL);
    const char *method = json_string_value(json_object_get(entry, "method"));
    const char *scheme = json_string_value(json_object_get(entry, "scheme"));
    const char *host = json_string_value(json_object_get(entry, "host"));
    const char *target = json_string_value(json_object_get(entry, "target"));
    enum err error = ERR_OK;

    if (method != NULL && host != NULL && target != NULL) {
        error = take_request(urls, span_of(method), span_of(scheme != NULL ? scheme : "http"), span_of(host),
                             span_of(target));
    } else {
        urls->skipped++;
    }
    json_decref(entry);
    return error;
}

static enum err take_log_line(struct warm_urls *urls, struct span line, struct span host) /* line_fn */
{
    struct span request, method, target;

    if (line.data[0] == '{') {
        return take_json(urls, line);
    }
    /* host ident user [time] "GET /a HTTP/1.1" …; what is escaped in it is no target that could be asked for. */
    if (!span_split(&line, '"', &request) || !span_split(&line, '"', &request) || !span_split(&request, ' ', &method) ||
        !span_split(&request, ' ', &target)) {
        urls->skipped++;
        return ERR_OK;
    }
    return take_request(urls, method, SPAN("http"), host, target);
}

enum err warm_urls_read_log(struct warm_urls *urls, FILE *file, struct span host)
{
    return each_line(urls, file, host, take_log_line);
}

/* ---- sitemaps ---- */

struct sitemap {
    XML_Parser parser;
    struct warm_urls *urls, *nested;
    bool known; /* its first element is that of a sitemap, or of an index */
    bool index;
    bool in_loc;
    char loc[LOC_BYTES];
    size_t loc_len; /* more than LOC_BYTES: too long */
    enum err error;
};

/* Names without their namespace: generators differ in it. */
static bool is_named(const XML_Char *name, const char *wanted)
{
    const XML_Char *colon = strrchr(name, ':');

    return strcmp(colon != NULL ? colon + 1 : name, wanted) == 0;
}

static void XMLCALL on_start(void *data, const XML_Char *name, const XML_Char **attributes)
{
    struct sitemap *sitemap = data;

    (void)attributes;
    if (!sitemap->known) {
        sitemap->index = is_named(name, "sitemapindex");
        sitemap->known = sitemap->index || is_named(name, "urlset");
        return;
    }
    sitemap->in_loc = strcmp(name, "loc") == 0; /* those of images and videos have a prefix */
    sitemap->loc_len = 0;
}

static void XMLCALL on_text(void *data, const XML_Char *text, int len)
{
    struct sitemap *sitemap = data;

    if (!sitemap->in_loc) {
        return;
    }
    if (sitemap->loc_len + (size_t)len <= LOC_BYTES) {
        memcpy(sitemap->loc + sitemap->loc_len, text, (size_t)len);
    }
    sitemap->loc_len += (size_t)len;
}

static void XMLCALL on_end(void *data, const XML_Char *name)
{
    struct sitemap *sitemap = data;

    (void)name;
    if (sitemap->in_loc && sitemap->error == ERR_OK) {
        struct span url = {sitemap->loc, sitemap->loc_len <= LOC_BYTES ? sitemap->loc_len : 0};
        sitemap->error = add_or_skip(sitemap->index ? sitemap->nested : sitemap->urls, trim(url));
        if (sitemap->error != ERR_OK) {
            (void)XML_StopParser(sitemap->parser, XML_FALSE);
        }
    }
    sitemap->in_loc = false;
}

enum err warm_urls_read_sitemap(struct warm_urls *urls, struct span xml, struct warm_urls *nested)
{
    struct sitemap sitemap = {.parser = XML_ParserCreate(NULL), .urls = urls, .nested = nested};

    if (sitemap.parser == NULL) {
        return ERR_NO_MEMORY;
    }
    if (xml.len > INT32_MAX) {
        XML_ParserFree(sitemap.parser);
        return ERR_LIMIT;
    }
    XML_SetUserData(sitemap.parser, &sitemap);
    XML_SetElementHandler(sitemap.parser, on_start, on_end);
    XML_SetCharacterDataHandler(sitemap.parser, on_text);
    bool good = XML_Parse(sitemap.parser, xml.len > 0 ? xml.data : "", (int)xml.len, 1) == XML_STATUS_OK;
    XML_ParserFree(sitemap.parser);
    if (sitemap.error != ERR_OK) {
        return sitemap.error;
    }
    return good && sitemap.known ? ERR_OK : ERR_BAD_RESPONSE;
}
