/* config_schema.c: the tables. A new setting is one line here, its field in config.h, and its line in
 * config.example.toml. */
#include "proxy/config/config_schema.h"

#include <string.h>

#include "proxy/config/suggest.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define TIB (UINT64_C(1) << 40)

#define SECOND_MS UINT64_C(1000)
#define DAY_MS    (86400 * SECOND_MS)

#define CONFIG_FIELD(field) .offset = offsetof(struct config, field), .bytes = sizeof(((struct config *)NULL)->field)
#define SITE_FIELD(field)   .offset = offsetof(struct site, field), .bytes = sizeof(((struct site *)NULL)->field)
#define ORIGIN_FIELD(field)                                                                                            \
    .offset = offsetof(struct origin_url, field), .bytes = sizeof(((struct origin_url *)NULL)->field)
#define RULE_FIELD(field)        .offset = offsetof(struct rule, field), .bytes = sizeof(((struct rule *)NULL)->field)
#define LIST(type, items, count) .offset = offsetof(type, items), .count_offset = offsetof(type, count)
#define GIVES(field)             .given_offset = offsetof(struct rule, field)
#define TEST_FIELD(field)        .offset = offsetof(struct test, field), .bytes = sizeof(((struct test *)NULL)->field)
#define LATER_FIELD(field)                                                                                             \
    .offset = offsetof(struct test_later, field), .bytes = sizeof(((struct test_later *)NULL)->field)
#define EXPECT_FIELD(field)                                                                                            \
    .offset = offsetof(struct test_expect, field), .bytes = sizeof(((struct test_expect *)NULL)->field)
#define EXPECT_GIVES(field) .given_offset = offsetof(struct test_expect, field)

/* Ten years: longer is a slip, and nothing overflows below it. */
#define LIFETIME .min = 0, .max = 10 * 365 * UINT64_C(86400)

static const struct config_choice access_formats[] = {{"json", ACCESS_JSON}, {"combined", ACCESS_COMBINED}, {NULL, 0}};
static const struct config_choice log_levels[] = {
    {"error", LOG_ERROR}, {"warn", LOG_WARN}, {"info", LOG_INFO}, {"debug", LOG_DEBUG}, {NULL, 0}};
static const struct config_choice forwarded_styles[] = {
    {"x-forwarded", FORWARDED_X}, {"forwarded", FORWARDED_RFC}, {"none", FORWARDED_NONE}, {NULL, 0}};
static const struct config_choice admissions[] = {
    {"second", ADMIT_LARGE_SECOND}, {"always", ADMIT_LARGE_ALWAYS}, {NULL, 0}};
static const struct config_choice profiles[] = {{"safe", PROFILE_SAFE}, {"rfc", PROFILE_RFC}, {NULL, 0}};

static const struct config_choice modes[] = {
    {"normal", MODE_NORMAL}, {"offline", MODE_OFFLINE}, {"record", MODE_RECORD}, {NULL, 0}};

static const struct config_choice balances[] = {{"round-robin", BALANCE_ROUND_ROBIN},
                                                {"least-connections", BALANCE_LEAST_CONNECTIONS},
                                                {"hash", BALANCE_HASH},
                                                {NULL, 0}};

static const struct config_key server_keys[] = {
    {"listen", config_set_listen, LIST(struct config, server.listen, server.listen_count),
     .standard = "127.0.0.1:8080"},
    {"workers", config_set_count, CONFIG_FIELD(server.workers), .min = 1, .max = 256},
    {"user", config_set_account, CONFIG_FIELD(server.user)},
    {"group", config_set_account, CONFIG_FIELD(server.group)},
    {"access_log", config_set_access_log, CONFIG_FIELD(server.access_log), .standard = "off"},
    {"access_log_format", config_set_choice, CONFIG_FIELD(server.access_format), .standard = "json",
     .choices = access_formats},
    {"facts", config_set_size, CONFIG_FIELD(server.facts_bytes), .standard = "4MiB", .min = 0, .max = TIB},
    {"log_level", config_set_choice, CONFIG_FIELD(server.log_level), .standard = "info", .choices = log_levels},
    {"forwarded", config_set_choice, CONFIG_FIELD(server.forwarded), .standard = "x-forwarded",
     .choices = forwarded_styles},
    {"trust_forwarded", config_set_trust, LIST(struct config, server.trust_forwarded, server.trust_forwarded_count),
     .standard = "false"},
    {"trust_forwarded_fields", config_set_list,
     LIST(struct config, server.trust_forwarded_fields.items, server.trust_forwarded_fields.count),
     .member = config_member_forwarded_field,
     .expected =
         "names of further X-Forwarded- fields, without _ and of at most 64 bytes, such as \"X-Forwarded-Prefix\""},
    {"name", config_set_pseudonym, CONFIG_FIELD(server.via), .standard = "larder"},
    {"upgrades", config_set_list, LIST(struct config, server.upgrades, server.upgrade_count), .standard = "websocket",
     .member = config_member_field_name, .expected = "names of protocols, such as \"websocket\""},
    {"shutdown_timeout", config_set_duration_ms, CONFIG_FIELD(server.shutdown_timeout_ms), .standard = "30s",
     .max = DAY_MS},
    {"watchdog", config_set_duration_ms, CONFIG_FIELD(server.watchdog_ms), .standard = "30s", .min = 0, .max = DAY_MS},
};

#define TIMEOUT .min = 10, .max = DAY_MS

static const struct config_key timeout_keys[] = {
    {"client_head", config_set_duration_ms, CONFIG_FIELD(server.client_head_timeout_ms), .standard = "10s", TIMEOUT},
    {"client_body", config_set_duration_ms, CONFIG_FIELD(server.client_body_timeout_ms), .standard = "30s", TIMEOUT},
    {"client_idle", config_set_duration_ms, CONFIG_FIELD(server.client_idle_timeout_ms), .standard = "60s", TIMEOUT},
    {"client_write", config_set_duration_ms, CONFIG_FIELD(server.client_write_timeout_ms), .standard = "60s", TIMEOUT},
    {"slow_follower", config_set_duration_ms, CONFIG_FIELD(server.slow_follower_timeout_ms), .standard = "2s", TIMEOUT},
    {"origin_connect", config_set_duration_ms, CONFIG_FIELD(server.origin_connect_timeout_ms), .standard = "5s",
     TIMEOUT},
    {"origin_queue", config_set_duration_ms, CONFIG_FIELD(server.origin_queue_timeout_ms), .standard = "2s", .min = 0,
     .max = DAY_MS},
    {"origin_first_byte", config_set_duration_ms, CONFIG_FIELD(server.origin_first_byte_timeout_ms), .standard = "60s",
     TIMEOUT},
    {"origin_between_bytes", config_set_duration_ms, CONFIG_FIELD(server.origin_between_bytes_timeout_ms),
     .standard = "60s", TIMEOUT},
    {"origin_idle", config_set_duration_ms, CONFIG_FIELD(server.origin_idle_timeout_ms), .standard = "4s", TIMEOUT},
    {"resolve_ttl", config_set_duration_ms, CONFIG_FIELD(server.resolve_ttl_ms), .standard = "30s", .min = 0,
     .max = DAY_MS},
    {"tunnel_idle", config_set_duration_ms, CONFIG_FIELD(server.tunnel_idle_timeout_ms), .standard = "1h", .min = 10,
     .max = 30 * DAY_MS},
};

static const struct config_key limit_keys[] = {
    {"head", config_set_size, CONFIG_FIELD(server.max_head_bytes), .standard = "32KiB", .min = KIB, .max = 16 * MIB},
    {"target", config_set_size, CONFIG_FIELD(server.max_target_bytes), .standard = "8KiB", .min = 256, .max = MIB},
    {"fields", config_set_count, CONFIG_FIELD(server.max_fields), .standard = "128", .min = 8, .max = 10000},
    {"request_body", config_set_size, CONFIG_FIELD(server.max_request_body_bytes), .standard = "0", .min = 0,
     .max = 1024 * TIB},
    {"connections", config_set_count, CONFIG_FIELD(server.max_connections), .standard = "10000", .min = 1,
     .max = 10000000},
    {"connections_per_client", config_set_count, CONFIG_FIELD(server.max_client_connections), .standard = "0", .min = 0,
     .max = 10000000},
    {"client_ipv6_prefix", config_set_count, CONFIG_FIELD(server.client_ipv6_prefix), .standard = "64", .min = 16,
     .max = 128},
    {"requests", config_set_count, CONFIG_FIELD(server.max_requests), .standard = "0", .min = 0, .max = 10000000},
    {"client_rate", config_set_size, CONFIG_FIELD(server.client_min_rate), .standard = "256", .min = 0, .max = GIB},
    {"origin_connections", config_set_count, CONFIG_FIELD(server.max_origin_connections), .standard = "256", .min = 1,
     .max = 100000},
    {"idle_origin_connections", config_set_count, CONFIG_FIELD(server.max_idle_origin_connections), .standard = "64",
     .min = 0, .max = 100000},
    {"origin_queue", config_set_count, CONFIG_FIELD(server.max_origin_queue), .standard = "256", .min = 0,
     .max = 100000},
    {"request_memory", config_set_size, CONFIG_FIELD(server.max_request_memory_bytes), .standard = "256KiB",
     .min = 16 * KIB, .max = GIB},
    {"stream_buffer", config_set_size, CONFIG_FIELD(server.stream_buffer_bytes), .standard = "1MiB", .min = 64 * KIB,
     .max = GIB},
    {"stream_memory", config_set_size, CONFIG_FIELD(server.stream_memory_bytes), .standard = "512MiB", .min = MIB,
     .max = TIB},
};

static const struct config_key cache_keys[] = {
    {"dir", config_set_path_text, CONFIG_FIELD(cache.dir), .standard = "larder-cache"},
    {"size", config_set_size, CONFIG_FIELD(cache.size_bytes), .standard = "1GiB", .min = 16 * MIB, .max = 64 * TIB},
    {"max_object_size", config_set_size, CONFIG_FIELD(cache.max_object_bytes), .min = KIB, .max = 32 * TIB},
    {"profile", config_set_choice, CONFIG_FIELD(cache.profile), .standard = "safe", .choices = profiles},
    {"targets", config_set_list, LIST(struct config, cache.targets, cache.target_count),
     .standard = "CDN-Cache-Control", .member = config_member_field_name,
     .expected = "names of response fields, such as \"CDN-Cache-Control\""},
    {"max_variants", config_set_count, CONFIG_FIELD(cache.max_variants), .standard = "64", .min = 1, .max = 1000},
    {"admit_large", config_set_choice, CONFIG_FIELD(cache.admit_large), .standard = "second", .choices = admissions},
    {"write_queue", config_set_size, CONFIG_FIELD(cache.write_queue_bytes), .standard = "32MiB", .min = MIB,
     .max = 16 * GIB},
    {"hot_memory", config_set_size, CONFIG_FIELD(cache.hot_bytes), .min = 0, .max = TIB},
    {"collapse_wait", config_set_duration_ms, CONFIG_FIELD(cache.collapse_wait_ms), .standard = "10s", .min = 0,
     .max = DAY_MS},
    {"max_heuristic", config_set_duration_ms, CONFIG_FIELD(cache.max_heuristic_ms), .standard = "1d", .min = 0,
     .max = 3650 * DAY_MS},
    {"max_stale", config_set_duration_ms, CONFIG_FIELD(cache.max_stale_ms), .standard = "1d", .min = 0,
     .max = 3650 * DAY_MS},
    {"hit_for_miss", config_set_duration_ms, CONFIG_FIELD(cache.hit_for_miss_ms), .standard = "10s", .min = 0,
     .max = DAY_MS},
};

static const struct config_key admin_keys[] = {
    {"socket", config_set_text, CONFIG_FIELD(admin.socket)},
    {"listen", config_set_listen, LIST(struct config, admin.listen, admin.listen_count)},
    {"token", config_set_text, CONFIG_FIELD(admin.token_text)},
};

static const struct config_key site_keys[] = {
    {"hosts", config_set_list, LIST(struct site, hosts, host_count), .member = config_member_host,
     .expected = "host names without port, such as \"www.example.com\" or \"*.example.com\""},
    {"path", config_set_site_path, SITE_FIELD(path_prefix), .standard = "/"},
    {"origin", config_set_origins, LIST(struct site, origins, origin_count)},
    {"mode", config_set_choice, SITE_FIELD(mode), .standard = "normal", .choices = modes},
    {"host_header", config_set_host_header, SITE_FIELD(host_header)},
    {"purge_from", config_set_networks, LIST(struct site, purge_from, purge_from_count)},
    {"balance", config_set_choice, SITE_FIELD(balance), .standard = "round-robin", .choices = balances},
    {"retries", config_set_count, SITE_FIELD(retries), .standard = "2", .min = 0, .max = 10},
    {"retry_budget", config_set_count, SITE_FIELD(retry_budget), .standard = "20", .min = 0, .max = 100},
    {"eject_after", config_set_count, SITE_FIELD(eject_after), .standard = "5", .min = 0, .max = 1000},
    {"eject_time", config_set_duration_ms, SITE_FIELD(eject_time_ms), .standard = "10s", .min = 10, .max = DAY_MS},
    {"adaptive_limit", config_set_bool, SITE_FIELD(adaptive_limit), .standard = "false"},
};

static const struct config_key origin_keys[] = {
    {"url", config_set_origin_url, .offset = 0},
    {"weight", config_set_count, ORIGIN_FIELD(weight), .standard = "1", .min = 1, .max = 1000},
    {"backup", config_set_bool, ORIGIN_FIELD(backup), .standard = "false"},
};

static const struct config_key check_keys[] = {
    {"path", config_set_check_path, SITE_FIELD(check.path)},
    {"host", config_set_host_header, SITE_FIELD(check.host)},
    {"interval", config_set_duration_ms, SITE_FIELD(check.interval_ms), .standard = "5s", .min = 10, .max = DAY_MS},
    {"timeout", config_set_duration_ms, SITE_FIELD(check.timeout_ms), .standard = "2s", .min = 10, .max = DAY_MS},
    {"statuses", config_set_statuses, LIST(struct site, check.statuses, check.status_count), .min = 200, .max = 599},
    {"healthy", config_set_count, SITE_FIELD(check.healthy), .standard = "2", .min = 1, .max = 1000},
    {"unhealthy", config_set_count, SITE_FIELD(check.unhealthy), .standard = "3", .min = 1, .max = 1000},
};

static const struct config_key rule_keys[] = {
    {"name", config_set_rule_name, RULE_FIELD(name)},
    {"path", config_set_glob, RULE_FIELD(path_glob), .member = config_member_path_glob,
     .expected = "a path that may have * and ?, such as \"/img/*\""},
    {"methods", config_set_list, LIST(struct rule, methods, method_count), .member = config_member_method,
     .expected = "methods such as \"GET\""},
    {"statuses", config_set_statuses, LIST(struct rule, statuses, status_count), .min = 200, .max = 599},
    {"content_type", config_set_glob, RULE_FIELD(content_type_glob), .member = config_member_media_glob,
     .expected = "a media type that may have * and ?, such as \"image/*\""},
    {"ttl", config_set_duration_s, RULE_FIELD(ttl_s), GIVES(given[SETTING_TTL]), LIFETIME},
    {"default_ttl", config_set_duration_s, RULE_FIELD(default_ttl_s), GIVES(given[SETTING_DEFAULT_TTL]), LIFETIME},
    {"stale_while_revalidate", config_set_duration_s, RULE_FIELD(stale_while_revalidate_s),
     GIVES(given[SETTING_STALE_WHILE_REVALIDATE]), LIFETIME},
    {"stale_if_error", config_set_duration_s, RULE_FIELD(stale_if_error_s), GIVES(given[SETTING_STALE_IF_ERROR]),
     LIFETIME},
    {"stale_if_slow", config_set_duration_ms, RULE_FIELD(stale_if_slow_ms), GIVES(given[SETTING_STALE_IF_SLOW]),
     .max = DAY_MS},
    {"bypass", config_set_bool, RULE_FIELD(bypass), GIVES(given[SETTING_BYPASS])},
    {"ignore_cookies", config_set_bool, RULE_FIELD(ignore_cookies), GIVES(given[SETTING_IGNORE_COOKIES])},
    {"store_set_cookie", config_set_bool, RULE_FIELD(store_set_cookie), GIVES(given[SETTING_STORE_SET_COOKIE])},
    {"request_directives", config_set_bool, RULE_FIELD(request_directives), GIVES(given[SETTING_REQUEST_DIRECTIVES])},
    {"own_etag", config_set_bool, RULE_FIELD(own_etag), GIVES(given[SETTING_OWN_ETAG])},
    {"hold_back", config_set_duration_ms, RULE_FIELD(hold_back_ms), GIVES(given[SETTING_HOLD_BACK]), .max = DAY_MS},
    {"strip_tags", config_set_bool, RULE_FIELD(strip_tags), GIVES(given[SETTING_STRIP_TAGS])},
    {"no_vary_search", config_set_bool, RULE_FIELD(no_vary_search), GIVES(given[SETTING_NO_VARY_SEARCH])},
    {"early_hints", config_set_bool, RULE_FIELD(early_hints), GIVES(given[SETTING_EARLY_HINTS])},
    {"min_uses", config_set_count, RULE_FIELD(min_uses), GIVES(given[SETTING_MIN_USES]), .min = 1, .max = 100},
    {"head_as_get", config_set_bool, RULE_FIELD(head_as_get), GIVES(given[SETTING_HEAD_AS_GET])},
    {"sentinel", config_set_bool, RULE_FIELD(sentinel), GIVES(given[SETTING_SENTINEL])},
    {"pass_request_fields", config_set_list, LIST(struct rule, pass_request_fields, pass_request_field_count),
     GIVES(gives_passed_fields), .member = config_member_passed_field,
     .expected = "names of request fields, such as \"X-Original-URL\", but none that says for whom a proxy asks "
                 "(X-Forwarded-*, X-Real-IP, Forwarded: server.trust_forwarded), nor that with _ for -"},
    {"rate_limit", config_set_rate, RULE_FIELD(rate.interval_us), GIVES(gives_rate)},
    {"rate_burst", config_set_count, RULE_FIELD(rate.burst), .min = 1, .max = 1000000},
    {"trace", config_set_bool, RULE_FIELD(trace), GIVES(gives_trace)},
    {"strip_query", config_set_list, LIST(struct rule, strip_query, strip_query_count), GIVES(gives_query),
     .member = config_member_parameter_glob, .expected = "names of query parameters, such as \"ref\" or \"utm_*\""},
    {"strip_tracking", config_set_bool, RULE_FIELD(strip_tracking), GIVES(gives_query)},
    {"sort_query", config_set_bool, RULE_FIELD(sort_query), GIVES(gives_query)},
    {"normalize_accept_encoding", config_set_bool, RULE_FIELD(normalize_accept_encoding), GIVES(gives_vary)},
    {"normalize_accept_language", config_set_list, LIST(struct rule, languages, language_count), GIVES(gives_language),
     .member = config_member_language, .expected = "language tags such as \"en\" or \"pt-BR\""},
    {"strip_request_fields", config_set_list, LIST(struct rule, strip_request_fields, strip_request_field_count),
     GIVES(gives_request_fields), .member = config_member_field_name,
     .expected = "names of request fields, such as \"Cookie\", except Host, Content-Length and those that concern the "
                 "connection"},
};

#define FIELDS .member = config_member_field, .expected = "fields such as \"Accept-Encoding: gzip\""

static const struct config_key test_keys[] = {
    {"name", config_set_text, TEST_FIELD(name)},
    {"request", config_set_request_line, TEST_FIELD(request.line)},
    {"headers", config_set_list, LIST(struct test, request.fields, request.field_count), FIELDS},
};

static const struct config_key test_response_keys[] = {
    {"status", config_set_count, TEST_FIELD(response_status), .min = 200, .max = 599},
    {"headers", config_set_list, LIST(struct test, response_fields, response_field_count), FIELDS},
    {"length", config_set_size, TEST_FIELD(response_length), .given_offset = offsetof(struct test, has_response_length),
     .max = 1024 * TIB},
};

/* Of every answer, then of the first alone. */
#define EXPECT_OF_ANSWER                                                                                               \
    {"answer", config_set_answer, EXPECT_FIELD(answer)}, {"reason", config_set_reason, EXPECT_FIELD(reason)},          \
        {"rule", config_set_rule_name, EXPECT_FIELD(rule)},                                                            \
        {"status", config_set_count, EXPECT_FIELD(status), EXPECT_GIVES(gives_status), .min = 200, .max = 599},        \
    {                                                                                                                  \
        "lifetime", config_set_duration_s, EXPECT_FIELD(lifetime_s), EXPECT_GIVES(gives_lifetime), LIFETIME            \
    }

static const struct config_key test_expect_keys[] = {
    EXPECT_OF_ANSWER,
    {"stored", config_set_bool, EXPECT_FIELD(stored), EXPECT_GIVES(gives_stored)},
    {"stale_while_revalidate", config_set_duration_s, EXPECT_FIELD(stale_while_revalidate_s),
     EXPECT_GIVES(gives_while_revalidate), LIFETIME},
    {"stale_if_error", config_set_duration_s, EXPECT_FIELD(stale_if_error_s), EXPECT_GIVES(gives_if_error), LIFETIME},
    {"site", config_set_text, EXPECT_FIELD(site)},
    {"key", config_set_text, EXPECT_FIELD(key)},
    {"forwarded", config_set_list, LIST(struct test_expect, forwarded, forwarded_count), FIELDS},
    {"removed", config_set_list, LIST(struct test_expect, removed, removed_count), .member = config_member_field_name,
     .expected = "names of request fields, such as \"Cookie\""},
};

static const struct config_key test_later_keys[] = {
    {"after", config_set_duration_s, LATER_FIELD(after_s), LIFETIME},
    {"request", config_set_request_line, LATER_FIELD(request.line)},
    {"headers", config_set_list, LIST(struct test_later, request.fields, request.field_count),
     .given_offset = offsetof(struct test_later, request.gives_fields), FIELDS},
};

static const struct config_key test_later_expect_keys[] = {EXPECT_OF_ANSWER};

#define SECTION(path, keys)                                                                                            \
    {                                                                                                                  \
        path, keys, ARRAY_LEN(keys)                                                                                    \
    }

const struct config_section config_sections[SECTION_COUNT] = {
    [SECTION_TOP] = {"", NULL, 0},
    [SECTION_SERVER] = SECTION("server", server_keys),
    [SECTION_TIMEOUTS] = SECTION("server.timeouts", timeout_keys),
    [SECTION_LIMITS] = SECTION("server.limits", limit_keys),
    [SECTION_CACHE] = SECTION("cache", cache_keys),
    [SECTION_ADMIN] = SECTION("admin", admin_keys),
    [SECTION_SITE] = SECTION("site", site_keys),
    [SECTION_ORIGIN] = SECTION("site.origin", origin_keys),
    [SECTION_CHECK] = SECTION("site.health_check", check_keys),
    [SECTION_RULE] = SECTION("site.rule", rule_keys),
    [SECTION_TEST] = SECTION("test", test_keys),
    [SECTION_TEST_RESPONSE] = SECTION("test.response", test_response_keys),
    [SECTION_TEST_EXPECT] = SECTION("test.expect", test_expect_keys),
    [SECTION_TEST_LATER] = SECTION("test.later", test_later_keys),
    [SECTION_TEST_LATER_EXPECT] = SECTION("test.later.expect", test_later_expect_keys),
};

/* The name of `table` inside `section`, NULL where it is not directly in there: "server.limits" is "limits" in
 * "server". */
static const char *inner_name(const struct config_section *section, const struct config_section *table)
{
    size_t len = strlen(section->path);
    const char *rest = table->path + len;

    if (strncmp(table->path, section->path, len) != 0 || table == section) {
        return NULL;
    }
    if (len > 0) {
        rest = *rest == '.' ? rest + 1 : "";
    }
    return *rest != '\0' && strchr(rest, '.') == NULL ? rest : NULL;
}

/* What may stand in a section: its keys, then the tables in it. NULL behind the last. */
static const char *known_name(const struct config_section *section, size_t index)
{
    if (index < section->key_count) {
        return section->keys[index].name;
    }
    index -= section->key_count;
    for (size_t i = 0; i < SECTION_COUNT; i++) {
        const char *name = inner_name(section, &config_sections[i]);
        bool is_key = name != NULL && config_find_key(section, span_of(name)) != NULL; /* "origin": a key and tables */
        if (name != NULL && !is_key && index-- == 0) {
            return name;
        }
    }
    return NULL;
}

static bool is_inner_table(const struct config_section *section, struct span name)
{
    const char *known;

    for (size_t i = section->key_count; (known = known_name(section, i)) != NULL; i++) {
        if (span_equal(name, span_of(known))) {
            return true;
        }
    }
    return false;
}

const struct config_key *config_find_key(const struct config_section *section, struct span name)
{
    for (size_t i = 0; i < section->key_count; i++) {
        if (span_equal(name, span_of(section->keys[i].name))) {
            return &section->keys[i];
        }
    }
    return NULL;
}

/* The table whose own name this is, or nearly: "server.limits" for "limits"; NULL: none. */
static const char *table_called(struct span name, bool nearly)
{
    for (size_t i = 0; i < SECTION_COUNT; i++) {
        const char *path = config_sections[i].path;
        const char *dot = strrchr(path, '.');
        struct span own = span_of(dot != NULL ? dot + 1 : path);
        if (own.len > 0 && (span_equal(name, own) || (nearly && suggest_is_near(name, own)))) {
            return path;
        }
    }
    return NULL;
}

/* The first table that has the key; NULL: none. */
static const char *table_with_key(struct span name, const struct config_key **out_key)
{
    for (size_t i = 0; i < SECTION_COUNT; i++) {
        *out_key = config_find_key(&config_sections[i], name);
        if (*out_key != NULL) {
            return config_sections[i].path;
        }
    }
    return NULL;
}

/* What somebody who wrote `place->name` in `section` may have meant: a near miss here, a table or key in another
 * table. */
static bool fail_unknown_key(struct config_reader *reader, const struct config_section *section,
                             const struct config_place *place)
{
    struct span name = span_of(place->name);
    const struct config_key *key = NULL;
    const char *known;
    struct buf names;

    for (size_t i = 0; (known = known_name(section, i)) != NULL; i++) {
        if (suggest_is_near(name, span_of(known))) {
            return config_fail(reader, place, "unknown key, did you mean \"%s\"?", known);
        }
    }
    const char *elsewhere = table_called(name, false);
    if (elsewhere == NULL) {
        elsewhere = table_with_key(name, &key);
    }
    if (elsewhere == NULL) {
        elsewhere = table_called(name, true);
    }
    if (elsewhere != NULL) {
        return config_fail(reader, place, "unknown key here, did you mean %s%s%s?", elsewhere, key != NULL ? "." : "",
                           key != NULL ? key->name : "");
    }
    buf_init(&names, 2048);
    for (size_t i = 0; (known = known_name(section, i)) != NULL; i++) {
        buf_format(&names, "%s%s", i == 0 ? "" : ", ", known);
    }
    (void)config_fail(reader, place, "unknown key, expected one of %.*s", SPAN_ARG(buf_span(&names)));
    buf_finish(&names);
    return false;
}

bool config_read_section(struct config_reader *reader, enum config_section_id id, struct span path,
                         const struct toml_node *table, void *base)
{
    const struct config_section *section = &config_sections[id];

    for (size_t i = 0; i < table->child_count; i++) {
        const struct toml_node *child = &table->children[i];
        struct config_place place = {.section = path, .node = child};
        const struct config_key *key = config_find_key(section, child->key);
        if (key == NULL && is_inner_table(section, child->key)) {
            continue;
        }
        if (key == NULL) {
            struct toml_node at_key = {.line = child->key_line, .column = child->key_column};
            place.node = &at_key;
            place.name = config_copy_text(reader, &place, child->key);
            return place.name != NULL && fail_unknown_key(reader, section, &place);
        }
        place.name = key->name;
        if (!key->set(reader, key, base, &place)) {
            return false;
        }
        if (key->given_offset != 0) {
            *(bool *)((char *)base + key->given_offset) = true;
        }
    }
    return true;
}

bool config_set_standards(struct config_reader *reader, enum config_section_id id, void *base)
{
    const struct config_section *section = &config_sections[id];

    for (size_t i = 0; i < section->key_count; i++) {
        const struct config_key *key = &section->keys[i];
        if (key->standard == NULL) {
            continue;
        }
        struct toml_node node = {.kind = TOML_WORD, .text = span_of(key->standard)};
        struct config_place place = {.section = span_of(section->path), .name = key->name, .node = &node};
        if (!key->set(reader, key, base, &place)) {
            return false;
        }
    }
    return true;
}
