/* config.c: defaults, then the file, then the flags, then what must hold between settings.
 *
 * Each of the three sources goes through the setters of config_schema.c, so a bad value is refused in the same words
 * wherever it stands. */
#include "proxy/config/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/config/config_schema.h"
#include "proxy/io/log.h"

enum {
    FILE_MAX_BYTES = 1 << 20,
    ARENA_MAX_BYTES = 64 << 20,
};

static bool read_file(struct config_reader *reader, struct buf *text);
static bool keep_text(struct config_reader *reader, struct span text);
static bool parse_file(struct config_reader *reader, struct span text, struct toml_document **out_document);
static bool read_tables(struct config_reader *reader);
static bool apply_flags(struct config_reader *reader, const struct config_flags *flags);
static bool keep_flags(struct config_reader *reader, const struct config_flags *flags);
static bool check_together(struct config_reader *reader);

struct config *config_load(const struct config_flags *flags, struct buf *out_error)
{
    static const struct toml_node nothing = {.kind = TOML_TABLE};
    struct toml_document *document = NULL;
    struct buf text;
    struct config *config = calloc(1, sizeof *config);
    struct config_reader reader = {.config = config, .error = out_error, .root = &nothing};

    if (config == NULL) {
        buf_add_text(out_error, "out of memory");
        return NULL;
    }
    arena_init(&config->arena, ARENA_MAX_BYTES);
    buf_init(&text, FILE_MAX_BYTES);
    config->file = flags->file;
    config->origin_flag = flags->origin;
    config->profile_flag = flags->profile;
    bool ok = config_set_standards(&reader, SECTION_SERVER, config) &&
              config_set_standards(&reader, SECTION_TIMEOUTS, config) &&
              config_set_standards(&reader, SECTION_LIMITS, config) &&
              config_set_standards(&reader, SECTION_CACHE, config);
    if (ok && flags->file != NULL) {
        buf_add(&text, flags->text);
        ok = (text.len > 0 || read_file(&reader, &text)) && parse_file(&reader, buf_span(&text), &document) &&
             keep_text(&reader, buf_span(&text));
    }
    if (document != NULL) {
        reader.root = toml_root(document);
    }
    ok = ok && read_tables(&reader) && apply_flags(&reader, flags) && keep_flags(&reader, flags) &&
         config_read_sites(&reader, flags->origin) && config_read_tests(&reader) && check_together(&reader);
    toml_destroy(document);
    buf_finish(&text);
    if (!ok) {
        config_destroy(config);
        return NULL;
    }
    return config;
}

void config_destroy(struct config *config)
{
    if (config != NULL) {
        arena_finish(&config->arena);
        free(config);
    }
}

static bool read_file(struct config_reader *reader, struct buf *text)
{
    const char *path = reader->config->file;
    FILE *file = fopen(path, "rb");
    char piece[4096];
    size_t len;

    if (file == NULL) {
        buf_format(reader->error, "%s: expected a configuration file: %s", path, strerror(errno));
        return false;
    }
    while (!text->failed && (len = fread(piece, 1, sizeof piece, file)) > 0) {
        buf_add(text, (struct span){piece, len});
    }
    int error = ferror(file) ? errno : 0;
    (void)fclose(file); /* only read */
    if (error != 0) {
        buf_format(reader->error, "%s: expected a configuration file: %s", path, strerror(error));
        return false;
    }
    if (text->failed) {
        buf_format(reader->error, "%s: expected a configuration file of at most %s", path,
                   config_size_text(FILE_MAX_BYTES).text);
        return false;
    }
    return true;
}

/* What is in force may differ from what stands in the file by now. */
static bool keep_text(struct config_reader *reader, struct span text)
{
    if (!arena_copy(&reader->config->arena, text, &reader->config->text)) {
        buf_format(reader->error, "%s: out of memory", reader->config->file);
        return false;
    }
    return true;
}

static bool parse_file(struct config_reader *reader, struct span text, struct toml_document **out_document)
{
    struct toml_error error;

    *out_document = toml_parse(text, &error);
    if (*out_document == NULL) {
        buf_format(reader->error, "%s:%" PRIu32 ":%" PRIu32 ": expected TOML: %s", reader->config->file, error.line,
                   error.column, error.text);
        return false;
    }
    return true;
}

/* The table of a section, NULL (and fine) where the file has none. False where something else has its name. */
static bool find_table(struct config_reader *reader, const struct toml_node *parent, struct span section,
                       const char *name, const struct toml_node **out_table)
{
    const struct toml_node *table = toml_member(parent, span_of(name));

    if (table != NULL && table->kind != TOML_TABLE) {
        struct config_place place = {.section = section, .name = name, .node = table};
        return config_fail_expected(reader, &place, TOML_TABLE, "expected a table");
    }
    *out_table = table;
    return true;
}

static bool read_table(struct config_reader *reader, enum config_section_id id, const struct toml_node *table)
{
    return table == NULL || config_read_section(reader, id, span_of(config_sections[id].path), table, reader->config);
}

/* Everything but the sites, which --origin concerns. */
static bool read_tables(struct config_reader *reader)
{
    const struct toml_node *server = NULL;
    const struct toml_node *timeouts = NULL;
    const struct toml_node *limits = NULL;
    const struct toml_node *cache = NULL;
    const struct toml_node *admin = NULL;

    return config_read_section(reader, SECTION_TOP, SPAN(""), reader->root, NULL) &&
           find_table(reader, reader->root, SPAN(""), "server", &server) &&
           find_table(reader, server, SPAN("server"), "timeouts", &timeouts) &&
           find_table(reader, server, SPAN("server"), "limits", &limits) &&
           find_table(reader, reader->root, SPAN(""), "cache", &cache) &&
           find_table(reader, reader->root, SPAN(""), "admin", &admin) && read_table(reader, SECTION_SERVER, server) &&
           read_table(reader, SECTION_TIMEOUTS, timeouts) && read_table(reader, SECTION_LIMITS, limits) &&
           read_table(reader, SECTION_CACHE, cache) && read_table(reader, SECTION_ADMIN, admin);
}

/* --listen may be repeated: its values are one list that replaces the file's. */
static bool apply_listen(struct config_reader *reader, const struct config_key *key, const struct config_flags *flags)
{
    struct toml_node list = {.kind = TOML_ARRAY, .child_count = flags->listen_count};
    struct config_place place = {.name = "--listen", .node = &list};

    list.children = arena_alloc(&reader->config->arena, flags->listen_count * sizeof *list.children);
    if (list.children == NULL) {
        return config_fail_memory(reader, &place);
    }
    for (size_t i = 0; i < flags->listen_count; i++) {
        list.children[i] = (struct toml_node){.kind = TOML_WORD, .text = span_of(flags->listen[i])};
    }
    if (flags->listen_count == 1) {
        place.node = list.children; /* "--listen", not "--listen[1]" */
    }
    return key->set(reader, key, reader->config, &place);
}

/* The flags of one value each that are settings. */
static const struct {
    const char *flag;
    size_t value_offset; /* in struct config_flags */
    enum config_section_id section;
    const char *key;
} settings[] = {
    {"--workers", offsetof(struct config_flags, workers), SECTION_SERVER, "workers"},
    {"--access-log", offsetof(struct config_flags, access_log), SECTION_SERVER, "access_log"},
    {"--log-level", offsetof(struct config_flags, log_level), SECTION_SERVER, "log_level"},
    {"--cache-dir", offsetof(struct config_flags, cache_dir), SECTION_CACHE, "dir"},
    {"--cache-size", offsetof(struct config_flags, cache_size), SECTION_CACHE, "size"},
    {"--profile", offsetof(struct config_flags, profile), SECTION_CACHE, "profile"},
    {"--admin", offsetof(struct config_flags, admin), SECTION_ADMIN, "listen"},
};

static const char *value_of(const struct config_flags *flags, size_t setting)
{
    return *(const char *const *)(const void *)((const char *)flags + settings[setting].value_offset);
}

static bool apply_flags(struct config_reader *reader, const struct config_flags *flags)
{
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        const struct config_key *key = config_find_key(&config_sections[settings[i].section], span_of(settings[i].key));
        const char *value = value_of(flags, i);
        struct toml_node node = {.kind = TOML_WORD, .text = span_of(value)};
        struct config_place place = {.name = settings[i].flag, .node = &node};
        if (value != NULL && !key->set(reader, key, reader->config, &place)) {
            return false;
        }
    }
    const struct config_key *listen = config_find_key(&config_sections[SECTION_SERVER], SPAN("listen"));
    return flags->listen_count == 0 || apply_listen(reader, listen, flags);
}

/* As they were given, for people. */
static bool keep_flags(struct config_reader *reader, const struct config_flags *flags)
{
    struct buf text;

    buf_init(&text, FILE_MAX_BYTES);
    for (size_t i = 0; i < flags->listen_count; i++) {
        buf_format(&text, " --listen %s", flags->listen[i]);
    }
    if (flags->origin != NULL) {
        buf_format(&text, " --origin %s", flags->origin);
    }
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        if (value_of(flags, i) != NULL) {
            buf_format(&text, " %s %s", settings[i].flag, value_of(flags, i));
        }
    }
    bool kept = !text.failed &&
                arena_copy(&reader->config->arena, span_skip(buf_span(&text), text.len > 0), &reader->config->flags);
    buf_finish(&text);
    return kept || config_fail_memory(reader, &(struct config_place){.name = "--listen"});
}

struct config_place config_place_of(const struct config_reader *reader, enum config_section_id id, const char *name)
{
    struct span path = span_of(config_sections[id].path);
    const struct toml_node *table = reader->root;
    struct span rest = path;
    struct span part;

    while (span_split(&rest, '.', &part)) {
        table = toml_member(table, part);
    }
    return (struct config_place){.section = path, .name = name, .node = toml_member(table, span_of(name))};
}

/* `times` × `lower` must not exceed `upper`; both are 64 bits wide. A default gives way to what the file sets; two
 * settings that contradict each other are refused. */
struct order {
    const char *lower;
    const char *upper;
    uint64_t times;
};

static bool check_order(struct config_reader *reader, const struct order *order)
{
    const struct config_section *limits = &config_sections[SECTION_LIMITS];
    const struct config_key *key = config_find_key(limits, span_of(order->lower));
    struct config_place lower_place = config_place_of(reader, SECTION_LIMITS, order->lower);
    struct config_place upper_place = config_place_of(reader, SECTION_LIMITS, order->upper);
    uint64_t *lower = (void *)((char *)reader->config + key->offset);
    uint64_t *upper = (void *)((char *)reader->config + config_find_key(limits, span_of(order->upper))->offset);

    if (*lower * order->times <= *upper) {
        return true;
    }
    if (lower_place.node == NULL && upper_place.node != NULL) {
        *lower = *upper / order->times;
        return true;
    }
    if (upper_place.node == NULL) {
        *upper = *lower * order->times;
        return true;
    }
    return config_fail_expected(reader, &lower_place, TOML_STRING, "expected at most %s%s.%s",
                                order->times == 2 ? "half of " : "", limits->path, order->upper);
}

/* An object may take half of the cache at most, or storing one would evict nearly everything. */
static bool check_max_object(struct config_reader *reader)
{
    static const uint64_t usual_bytes = UINT64_C(4) << 30;
    struct config *config = reader->config;
    uint64_t half = config->cache.size_bytes / 2;
    struct config_place place = config_place_of(reader, SECTION_CACHE, "max_object_size");

    if (place.node == NULL) {
        config->cache.max_object_bytes = half < usual_bytes ? half : usual_bytes;
        return true;
    }
    if (config->cache.max_object_bytes > half) {
        return config_fail_expected(reader, &place, TOML_STRING, "expected at most %s, half of the cache's size",
                                    config_size_text(half).text);
    }
    return true;
}

static void complete_hot_memory(struct config_reader *reader)
{
    if (config_place_of(reader, SECTION_CACHE, "hot_memory").node == NULL) {
        reader->config->cache.hot_bytes = CONFIG_HOT_BY_SIZE;
    }
}

uint64_t config_hot_bytes(const struct config *config, uint64_t memory_bytes)
{
    static const uint64_t least = UINT64_C(64) << 20;
    static const uint64_t most = UINT64_C(1) << 30;
    uint64_t bytes = config->cache.size_bytes / 64;

    if (config->cache.hot_bytes != CONFIG_HOT_BY_SIZE) {
        return config->cache.hot_bytes;
    }
    bytes = bytes < least ? least : bytes;
    bytes = bytes > most ? most : bytes;
    return bytes > memory_bytes / 16 ? memory_bytes / 16 : bytes;
}

static bool check_trust(struct config_reader *reader)
{
    const struct config *config = reader->config;
    struct config_place place = config_place_of(reader, SECTION_SERVER, "trust_forwarded");
    struct config_place fields = config_place_of(reader, SECTION_SERVER, "trust_forwarded_fields");

    if (config->server.trust_forwarded_fields.count > 0 &&
        (config->server.trust_forwarded_count == 0 || config->server.forwarded != FORWARDED_X)) {
        return config_fail(reader, &fields,
                           "expected none without trust_forwarded and forwarded = \"x-forwarded\": nobody is believed");
    }
    if (config->server.trust_forwarded_fields.count > FORWARDED_TOLD_MAX) {
        return config_fail(reader, &fields, "expected at most %d names, found %zu", FORWARDED_TOLD_MAX,
                           config->server.trust_forwarded_fields.count);
    }
    return config->server.trust_forwarded_count == 0 || config->server.forwarded != FORWARDED_NONE ||
           config_fail(reader, &place, "expected false: forwarded = \"none\" leaves no field that could be trusted");
}

static bool check_together(struct config_reader *reader)
{
    /* In this order one pass is enough: what a line changes, no later line breaks. */
    static const struct order orders[] = {
        {"target", "request_memory", 2},
        {"target", "head", 1},
        {"head", "request_memory", 2}, /* the head as it came, and what is made of it */
        {"idle_origin_connections", "origin_connections", 1},
    };

    for (size_t i = 0; i < ARRAY_LEN(orders); i++) {
        if (!check_order(reader, &orders[i])) {
            return false;
        }
    }
    complete_hot_memory(reader);
    return check_max_object(reader) && check_trust(reader) && config_complete_admin(reader);
}
