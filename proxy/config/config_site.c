/* config_site.c: sites and their rules put together, and what must hold between them. */
#include <string.h>

#include "proxy/config/config_schema.h"
#include "proxy/io/log.h"

enum { US_PER_S = 1000000 };

/* Query parameters that follow people around and never change a page; strip_tracking removes them.
 * config.example.toml lists them. */
static const struct span tracking_parameters[] = {
    SPAN_INIT("utm_*"),   SPAN_INIT("gclid"),   SPAN_INIT("gclsrc"), SPAN_INIT("dclid"),  SPAN_INIT("gbraid"),
    SPAN_INIT("wbraid"),  SPAN_INIT("_ga"),     SPAN_INIT("_gl"),    SPAN_INIT("fbclid"), SPAN_INIT("igshid"),
    SPAN_INIT("msclkid"), SPAN_INIT("yclid"),   SPAN_INIT("ttclid"), SPAN_INIT("twclid"), SPAN_INIT("mc_cid"),
    SPAN_INIT("mc_eid"),  SPAN_INIT("mkt_tok"), SPAN_INIT("_hsenc"), SPAN_INIT("_hsmi"),  SPAN_INIT("li_fat_id"),
};

static const struct toml_node no_tables = {.kind = TOML_ARRAY};

const struct toml_node *config_tables_of(struct config_reader *reader, const struct toml_node *table, struct span path,
                                         const char *name, const char *header)
{
    const struct toml_node *tables = toml_member(table, span_of(name));
    struct config_place place = {.section = path, .name = name, .node = tables};

    if (tables == NULL) {
        return &no_tables;
    }
    if (tables->kind != TOML_ARRAY) {
        (void)config_fail_expected(reader, &place, TOML_ARRAY, "expected %s", header);
        return NULL;
    }
    for (size_t i = 0; i < tables->child_count; i++) {
        if (tables->children[i].kind != TOML_TABLE) {
            place.item = i + 1;
            place.node = &tables->children[i];
            (void)config_fail_expected(reader, &place, TOML_ARRAY, "expected %s", header);
            return NULL;
        }
    }
    return tables;
}

/* Where `name` is set in `table`, or the table where it is not. */
static struct config_place place_in(const struct toml_node *table, struct span path, const char *name)
{
    const struct toml_node *node = toml_member(table, span_of(name));

    return (struct config_place){.section = path, .name = name, .node = node != NULL ? node : table};
}

/* Without a name it is called by its number: "rule-3". */
static bool name_rule(struct config_reader *reader, const struct site *site, struct rule *rule,
                      const struct toml_node *table, struct span path)
{
    struct config_place place = place_in(table, path, "name");
    bool unnamed = rule->name == NULL;
    struct span name;

    if (unnamed) {
        if (!arena_format(&reader->config->arena, &name, "rule-%zu", (size_t)(rule - site->rules) + 1)) {
            return config_fail_memory(reader, &place);
        }
        rule->name = name.data;
    }
    for (const struct rule *other = site->rules; other < rule; other++) {
        if (strcmp(other->name, rule->name) == 0) {
            return unnamed ? config_fail(reader, &place, "missing, expected a name, as another rule is called \"%s\"",
                                         rule->name)
                           : config_fail_expected(reader, &place, TOML_STRING,
                                                  "expected a name that no other rule of the site has");
        }
    }
    return true;
}

/* Settings that cannot have an effect together: somebody expects one that would silently be missing. */
static bool check_rule_settings(struct config_reader *reader, const struct rule *rule, const struct toml_node *table,
                                struct span path)
{
    static const char *const for_stored[] = {
        "ttl",           "default_ttl",    "stale_while_revalidate", "stale_if_error",
        "stale_if_slow", "ignore_cookies", "store_set_cookie",       "early_hints"};
    static const char *const for_request[] = {"strip_query",
                                              "strip_tracking",
                                              "sort_query",
                                              "normalize_accept_encoding",
                                              "normalize_accept_language",
                                              "strip_request_fields",
                                              "rate_limit",
                                              "pass_request_fields",
                                              "no_vary_search",
                                              "head_as_get",
                                              "trace"};

    for (size_t i = 0; rule->bypass && i < ARRAY_LEN(for_stored); i++) {
        if (toml_member(table, span_of(for_stored[i])) != NULL) {
            struct config_place place = place_in(table, path, for_stored[i]);
            return config_fail(reader, &place, "expected not together with bypass = true, which goes past the cache");
        }
    }
    bool needs_response = rule->status_count > 0 || rule->content_type_glob.len > 0;
    for (size_t i = 0; needs_response && i < ARRAY_LEN(for_request); i++) {
        if (toml_member(table, span_of(for_request[i])) != NULL) {
            struct config_place place = place_in(table, path, for_request[i]);
            return config_fail(
                reader, &place,
                "expected not together with statuses or content_type, which are known too late to change the request");
        }
    }
    return true;
}

/* max_stale is in force whatever allows more, so more would silently be less. */
static bool check_stale_windows(struct config_reader *reader, const struct rule *rule, const struct toml_node *table,
                                struct span path)
{
    const struct {
        const char *name;
        bool given;
        int64_t window_s;
    } windows[] = {
        {"stale_while_revalidate", rule->given[SETTING_STALE_WHILE_REVALIDATE], rule->stale_while_revalidate_s},
        {"stale_if_error", rule->given[SETTING_STALE_IF_ERROR], rule->stale_if_error_s},
    };
    uint64_t max_stale_s = reader->config->cache.max_stale_ms / 1000;

    for (size_t i = 0; i < ARRAY_LEN(windows); i++) {
        if (windows[i].given && windows[i].window_s > (int64_t)max_stale_s) {
            struct config_place place = place_in(table, path, windows[i].name);
            return config_fail_expected(reader, &place, TOML_STRING,
                                        "expected at most cache.max_stale, which is %llu s",
                                        (unsigned long long)max_stale_s);
        }
    }
    return true;
}

static bool is_any_path(struct span glob)
{
    return glob.len == 0 || span_equal(glob, SPAN("/*")) || span_equal(glob, SPAN("*"));
}

/* Each setting comes from the first rule that matches and gives it: behind a rule that matches everything, one that
 * gives the same can never count. */
static bool check_rule_counts(struct config_reader *reader, const struct site *site, const struct rule *rule,
                              const struct toml_node *table, struct span path)
{
    const struct config_section *section = &config_sections[SECTION_RULE];

    for (size_t i = 0; i < section->key_count; i++) {
        const struct config_key *key = &section->keys[i];
        if (key->given_offset == 0 || toml_member(table, span_of(key->name)) == NULL) {
            continue;
        }
        for (const struct rule *before = site->rules; before < rule; before++) {
            bool gives = *(const bool *)((const char *)before + key->given_offset);
            bool takes_all = is_any_path(before->path_glob) && before->method_count == 0 && before->status_count == 0 &&
                             before->content_type_glob.len == 0;
            if (gives && takes_all) {
                struct config_place place = place_in(table, path, key->name);
                return config_fail(reader, &place,
                                   "never counts: rule \"%s\" stands in front, matches everything and gives it; put "
                                   "this rule in front of that one",
                                   before->name);
            }
        }
    }
    return true;
}

/* A rule sees only what its site serves. */
static bool check_rule_path(struct config_reader *reader, const struct site *site, const struct rule *rule,
                            const struct toml_node *table, struct span path)
{
    struct span fixed = rule->path_glob;
    size_t wild = 0;

    while (wild < fixed.len && fixed.data[wild] != '*' && fixed.data[wild] != '?') {
        wild++;
    }
    fixed = span_take(fixed, wild);
    if (span_starts_with(fixed, site->path_prefix) || span_starts_with(site->path_prefix, fixed)) {
        return true;
    }
    struct config_place place = place_in(table, path, "path");
    return config_fail_expected(reader, &place, TOML_STRING, "expected a path below the site's, which is %s",
                                log_quoted(site->path_prefix).text);
}

/* Without a burst it is what comes in a second. */
static bool complete_rate(struct config_reader *reader, struct rule *rule, const struct toml_node *table,
                          struct span path)
{
    struct config_place place = place_in(table, path, "rate_burst");

    if (rule->rate.burst > 0) {
        return rule->gives_rate || config_fail(reader, &place, "expected only together with rate_limit");
    }
    rule->rate.burst =
        rule->rate.interval_us > 0 && rule->rate.interval_us < US_PER_S ? US_PER_S / rule->rate.interval_us : 1;
    return true;
}

static bool add_tracking_parameters(struct config_reader *reader, struct rule *rule, const struct config_place *place)
{
    size_t count = rule->strip_query_count + ARRAY_LEN(tracking_parameters);
    struct span *globs = arena_alloc(&reader->config->arena, count * sizeof *globs);

    if (globs == NULL) {
        return config_fail_memory(reader, place);
    }
    for (size_t i = 0; i < rule->strip_query_count; i++) {
        globs[i] = rule->strip_query[i];
    }
    memcpy(globs + rule->strip_query_count, tracking_parameters, sizeof tracking_parameters);
    rule->strip_query = globs;
    rule->strip_query_count = count;
    return true;
}

static bool read_rules(struct config_reader *reader, struct site *site, const struct toml_node *site_table,
                       struct span site_path)
{
    struct arena *arena = &reader->config->arena;
    const struct toml_node *tables = config_tables_of(reader, site_table, site_path, "rule", "[[site.rule]] tables");
    struct config_place place = {.section = site_path, .name = "rule", .node = tables};

    if (tables == NULL) {
        return false;
    }
    site->rules = arena_alloc(arena, (tables->child_count + 1) * sizeof *site->rules);
    if (site->rules == NULL) {
        return config_fail_memory(reader, &place);
    }
    for (size_t i = 0; i < tables->child_count; i++) {
        const struct toml_node *table = &tables->children[i];
        struct rule *rule = &site->rules[i];
        struct span path;
        if (!arena_format(arena, &path, "%.*s.rule[%zu]", SPAN_ARG(site_path), i + 1)) {
            return config_fail_memory(reader, &place);
        }
        if (!config_read_section(reader, SECTION_RULE, path, table, rule) ||
            !name_rule(reader, site, rule, table, path) || !check_rule_settings(reader, rule, table, path) ||
            !check_rule_path(reader, site, rule, table, path) || !check_stale_windows(reader, rule, table, path) ||
            !check_rule_counts(reader, site, rule, table, path) || !complete_rate(reader, rule, table, path) ||
            (rule->strip_tracking && !add_tracking_parameters(reader, rule, &place))) {
            return false;
        }
        site->rule_count++;
    }
    return true;
}

/* [site.health_check] */
static bool read_check(struct config_reader *reader, struct site *site, const struct toml_node *site_table,
                       struct span site_path)
{
    const struct toml_node *table = toml_member(site_table, SPAN("health_check"));
    struct config_place place = {.section = site_path, .name = "health_check", .node = table};
    struct span path;

    if (table == NULL) {
        return true;
    }
    if (table->kind != TOML_TABLE) {
        return config_fail_expected(reader, &place, TOML_TABLE, "expected a table");
    }
    if (!arena_format(&reader->config->arena, &path, "%.*s.health_check", SPAN_ARG(site_path))) {
        return config_fail_memory(reader, &place);
    }
    if (!config_read_section(reader, SECTION_CHECK, path, table, site)) {
        return false;
    }
    place = (struct config_place){.section = path, .name = "path", .node = table};
    return site->check.path != NULL || config_fail(reader, &place, "missing, expected a path such as \"/health\"");
}

/* A site before the file says anything of it. */
static bool init_site(struct config_reader *reader, struct site *site)
{
    *site = (struct site){0};
    return config_set_standards(reader, SECTION_SITE, site) && config_set_standards(reader, SECTION_CHECK, site);
}

static const char *site_name(struct config_reader *reader, const struct site *site, const struct config_place *place)
{
    return site->host_count > 0 ? config_copy_text(reader, place, site->hosts[0]) : "default";
}

/* A host that both have, "" if both serve every host, NULL if they differ. */
static struct span shared_host(const struct site *a, const struct site *b)
{
    if (a->host_count == 0 && b->host_count == 0) {
        return SPAN("");
    }
    for (size_t i = 0; i < a->host_count; i++) {
        for (size_t k = 0; k < b->host_count; k++) {
            if (span_equal(a->hosts[i], b->hosts[k])) {
                return a->hosts[i];
            }
        }
    }
    return (struct span){NULL, 0};
}

/* Two sites for the same host and path: which one would serve it? */
static bool check_site_is_new(struct config_reader *reader, size_t index, const struct toml_node *table,
                              struct span path)
{
    const struct site *site = &reader->config->sites[index];
    struct config_place place = place_in(table, path, "hosts");

    for (size_t i = 0; i < index; i++) {
        const struct site *other = &reader->config->sites[i];
        struct span host = shared_host(site, other);
        if (host.data == NULL || !span_equal(site->path_prefix, other->path_prefix)) {
            continue;
        }
        return config_fail(reader, &place, "expected another host or path, %s with path %s is site[%zu] already",
                           host.len > 0 ? log_quoted(host).text : "every host", log_quoted(site->path_prefix).text,
                           i + 1);
    }
    return true;
}

static bool read_site(struct config_reader *reader, size_t index, const struct toml_node *table)
{
    struct site *site = &reader->config->sites[index];
    struct config_place place = {.name = "site", .item = index + 1, .node = table};
    struct span path;

    if (!arena_format(&reader->config->arena, &path, "site[%zu]", index + 1)) {
        return config_fail_memory(reader, &place);
    }
    if (!init_site(reader, site) || !config_read_section(reader, SECTION_SITE, path, table, site) ||
        !check_site_is_new(reader, index, table, path) || !read_check(reader, site, table, path) ||
        !read_rules(reader, site, table, path)) {
        return false;
    }
    site->name = site_name(reader, site, &place);
    return site->name != NULL;
}

/* --origin: the origins of the site that serves every host and path; made where the file has none. */
static bool apply_origin(struct config_reader *reader, const char *flag_origin)
{
    static const struct config_key key = {.offset = offsetof(struct site, origins),
                                          .count_offset = offsetof(struct site, origin_count),
                                          .set = config_set_origins};
    struct config *config = reader->config;
    struct toml_node node = {.kind = TOML_WORD, .text = span_of(flag_origin)};
    struct config_place place = {.name = "--origin", .node = &node};
    size_t i = 0;

    while (i < config->site_count && (config->sites[i].host_count > 0 || config->sites[i].path_prefix.len > 1)) {
        i++;
    }
    if (i == config->site_count) {
        if (!init_site(reader, &config->sites[i])) {
            return false;
        }
        config->sites[i].name = "default";
        config->site_count++;
    }
    return key.set(reader, &key, &config->sites[i], &place);
}

static bool check_sites_have_origins(struct config_reader *reader, const struct toml_node *tables)
{
    struct config *config = reader->config;

    if (config->site_count == 0) {
        return config_fail(reader, &(struct config_place){.name = "site"},
                           "missing, expected --origin http://HOST:PORT, or a [[site]] with an origin in the file "
                           "given with --config");
    }
    for (size_t i = 0; i < config->site_count; i++) {
        struct config_place place = {.name = "origin"};
        if (config->sites[i].origin_count > 0) {
            continue; /* that of --origin has no table */
        }
        place.node = &tables->children[i];
        if (!arena_format(&config->arena, &place.section, "site[%zu]", i + 1)) {
            return config_fail_memory(reader, &place);
        }
        return config_fail(reader, &place, "missing, expected an origin such as \"http://127.0.0.1:3000\"");
    }
    return true;
}

bool config_read_sites(struct config_reader *reader, const char *flag_origin)
{
    struct config *config = reader->config;
    const struct toml_node *tables = config_tables_of(reader, reader->root, SPAN(""), "site", "[[site]] tables");

    if (tables == NULL) {
        return false;
    }
    config->sites =
        arena_alloc(&config->arena, (tables->child_count + 1) * sizeof *config->sites); /* one more for --origin */
    if (config->sites == NULL) {
        return config_fail_memory(reader, &(struct config_place){.name = "site"});
    }
    for (size_t i = 0; i < tables->child_count; i++) {
        if (!read_site(reader, i, &tables->children[i])) {
            return false;
        }
        config->site_count++;
    }
    if (flag_origin != NULL && !apply_origin(reader, flag_origin)) {
        return false;
    }
    if (!host_index_make(&config->hosts, config->sites, config->site_count, &config->arena)) {
        return config_fail_memory(reader, &(struct config_place){.name = "site"});
    }
    return check_sites_have_origins(reader, tables);
}
