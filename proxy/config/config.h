/* config.h: everything that can be set, with its unit; built from a TOML file and the command line, then never changed.
 *
 * Shared by all threads as pointer to const. Durations are milliseconds, sizes bytes. Text and lists belong to the
 * configuration's own arena. Each key is described in config.example.toml, with its default. Errors: config_load writes
 * one line that names file, line, column, key and what was expected; sites, rules and list members count from 1 there:
 * "site[2].rule[1].ttl". Tests are read here and run by check_tests.h, which whoever serves by a configuration asks
 * first. */
#ifndef PROXY_CONFIG_H
#define PROXY_CONFIG_H

#include <stdatomic.h>

#include "cache/policy.h"
#include "http/arena.h"
#include "http/buf.h"
#include "http/forwarded.h"
#include "http/span.h"
#include "proxy/client/rate_limit.h"
#include "proxy/config/host_index.h"
#include "proxy/config/network.h"
#include "proxy/origin/balance.h"

enum address_kind { ADDRESS_IP, ADDRESS_UNIX };

/* Where to listen: "127.0.0.1:8080", ":8080" (all, IPv6 and IPv4), "[::1]:8080", "unix:/path". */
struct address {
    enum address_kind kind;
    const char *host; /* numeric, without brackets; "::" for all; ADDRESS_UNIX: the path */
    uint16_t port;    /* 0: the system picks */
};

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

enum access_format { ACCESS_JSON, ACCESS_COMBINED };

/* An origin: its URL, "http://host[:port]" (a path is not allowed), and its part in the site's load. */
struct origin_url {
    const char *text; /* as configured */
    const char *host; /* without brackets */
    uint16_t port;
    const char *authority; /* host and port as in the URL */
    unsigned weight;       /* 1 and up: its share of the requests */
    bool backup;           /* asked only when none of the others is in service */
};

/* [site.health_check]: requests of our own that find out whether origins are well. */
struct health_check {
    const char *path; /* NULL: no checks */
    const char *host; /* of the request; NULL: host_header, or the origin's own */
    uint64_t interval_ms;
    uint64_t timeout_ms;
    unsigned *statuses; /* that are expected; none: 200 to 399 */
    size_t status_count;
    unsigned healthy;   /* passed in a row that make it healthy */
    unsigned unhealthy; /* failed in a row that make it unhealthy */
};

/* [[site.rule]]: what to match, and the settings it gives. Absent conditions match everything. */
struct rule {
    const char *name;
    struct span path_glob; /* against the path; empty: any */
    struct span *methods;  /* exact; none: any */
    size_t method_count;
    unsigned *statuses; /* none: any; else the rule matches only once a response is known */
    size_t status_count;
    struct span content_type_glob; /* against the media type without parameters; lower case; else as statuses */
    bool given[SETTING_COUNT];     /* which settings the rule gives */
    int64_t ttl_s, default_ttl_s, stale_while_revalidate_s, stale_if_error_s;
    uint64_t stale_if_slow_ms, hold_back_ms;
    bool bypass, ignore_cookies, store_set_cookie, request_directives, own_etag, strip_tags, sentinel, early_hints,
        no_vary_search, head_as_get;
    unsigned min_uses;        /* requests until it is stored */
    bool gives_query;         /* it sets strip_query, strip_tracking or sort_query, and so decides all three */
    struct span *strip_query; /* globs of parameter names; strip_tracking has added the usual ones */
    size_t strip_query_count;
    bool strip_tracking;
    bool sort_query;
    bool gives_rate;                /* rate_limit and rate_burst */
    struct rate rate;               /* of each client */
    bool gives_trace, trace;        /* begins a trace where the client brings none */
    bool gives_vary;                /* variant normalisation */
    bool normalize_accept_encoding; /* Accept-Encoding becomes "br", "gzip" or "", for the cache and the origin */
    bool gives_language;
    struct span *languages; /* Accept-Language becomes one of these, best first */
    size_t language_count;
    bool gives_passed_fields;         /* pass_request_fields is set, be it empty */
    struct span *pass_request_fields; /* of http/unkeyed.h, that the origin gets after all */
    size_t pass_request_field_count;
    bool gives_request_fields;         /* strip_request_fields is set, be it empty */
    struct span *strip_request_fields; /* removed before the cache and the origin see them */
    size_t strip_request_field_count;
};

struct site {
    const char *name;      /* first host, or "default" */
    enum mode mode;        /* that it begins with; site_mode (site_mode.h) says what holds now */
    atomic_uint *mode_now; /* what holds now, shared by all configurations that have the site; NULL: `mode` */
    struct span *hosts;    /* lower case, exact or "*.example.com"; none: every host */
    size_t host_count;
    struct span path_prefix; /* "/" by default */
    struct origin_url *origins;
    size_t origin_count;
    enum balance balance;
    unsigned retries;       /* of one request, at most */
    unsigned retry_budget;  /* percent of the requests that may go out again; 0: none */
    unsigned eject_after;   /* failures in a row; 0: never */
    uint64_t eject_time_ms; /* the first time; it doubles */
    bool adaptive_limit;    /* of requests at each origin, by how long it takes to answer */
    struct health_check check;
    struct network *purge_from; /* who may send PURGE; none: it is passed on like any other method */
    size_t purge_from_count;
    const char *host_header; /* sent to the origin; NULL: the client's */
    struct rule *rules;
    size_t rule_count;
};

/* The request of a [[test]] or of a [[test.later]]. */
struct test_request {
    const char *line;    /* "GET http://host/path", "http://host/path"; NULL in a later one: as the first */
    struct span *fields; /* "Name: value", zero-terminated */
    size_t field_count;
    bool gives_fields;
};

/* Where the file gives a key. */
struct key_line {
    struct span key;
    uint32_t line;
};

/* What a test expects of the answer. Texts that are NULL and what is not given are not looked at. */
struct test_expect {
    uint32_t line;          /* of the file */
    struct key_line *lines; /* of its keys */
    size_t line_count;
    const char *answer; /* "hit", "fetch" …: how it is answered, as why_action_text has it */
    const char *reason; /* a token of cache/reason.h */
    const char *rule;   /* that decided */
    const char *site;
    const char *key;        /* "GET http://host/path" */
    struct span *forwarded; /* "Name: value" that the origin gets */
    size_t forwarded_count;
    struct span *removed; /* names that it does not get */
    size_t removed_count;
    bool gives_status, gives_stored, gives_lifetime, gives_while_revalidate, gives_if_error;
    unsigned status;
    bool stored;
    int64_t lifetime_s, stale_while_revalidate_s, stale_if_error_s; /* of what is stored */
};

/* [[test.later]]: a request that comes some time after the response. */
struct test_later {
    int64_t after_s;
    struct test_request request;
    struct test_expect expect;
};

/* [[test]]: a request, what the origin answers, and what becomes of it. Run by check_tests.h. */
struct test {
    const char *name;
    struct test_request request;
    unsigned response_status; /* 0: none is supposed */
    struct span *response_fields;
    size_t response_field_count;
    bool has_response_length;
    uint64_t response_length;
    struct test_expect expect;
    struct test_later *laters;
    size_t later_count;
};

enum { CONFIG_KEPT_MAX = 16 }; /* as many as only a restart can change, and more */

struct config {
    struct arena arena;                     /* owns everything below */
    const char *file;                       /* where it came from, NULL without one */
    struct span text;                       /* what stood there */
    const char *origin_flag, *profile_flag; /* of the command line, or NULL */
    struct span flags;                      /* all of them that override it: "--workers 2 --cache-dir /var/tmp/a" */
    const char *kept[CONFIG_KEPT_MAX];      /* settings that a reload could not change: they are as they were */
    size_t kept_count;

    struct {
        struct address *listen;
        size_t listen_count;
        unsigned workers;       /* 0: one a core */
        const char *user;       /* to become when the addresses are bound; NULL: stays who it is */
        const char *group;      /* NULL: the user's */
        const char *access_log; /* path, "-" for standard output, NULL for off */
        enum access_format access_format;
        uint64_t facts_bytes; /* of recent requests, of each worker; 0: none are kept */
        enum log_level log_level;
        enum forwarded_style forwarded;
        struct network *trust_forwarded; /* who may say in those fields for whom it asks: `true` is everybody */
        size_t trust_forwarded_count;
        struct field_names trust_forwarded_fields; /* further ones that count of them: http/forwarded.h */
        const char *via;                           /* pseudonym in Via and Cache-Status */
        uint64_t instance_id;  /* random at each start: tells this larder from others of the same name (CDN-Loop) */
        struct span *upgrades; /* protocols that clients may switch to (Upgrade); others are not passed on */
        size_t upgrade_count;
        uint64_t shutdown_timeout_ms;
        uint64_t watchdog_ms; /* 0: workers may be silent for ever */
        uint64_t client_head_timeout_ms;
        uint64_t client_body_timeout_ms;
        uint64_t client_idle_timeout_ms;
        uint64_t client_write_timeout_ms;
        uint64_t slow_follower_timeout_ms; /* for a slot of a body that several clients get, and that is not stored */
        uint64_t origin_connect_timeout_ms;
        uint64_t origin_queue_timeout_ms; /* for a connection to become free */
        uint64_t origin_first_byte_timeout_ms;
        uint64_t origin_between_bytes_timeout_ms;
        uint64_t origin_idle_timeout_ms;
        uint64_t resolve_ttl_ms; /* a resolved name is looked up again after this */
        uint64_t tunnel_idle_timeout_ms;
        uint64_t max_head_bytes;
        uint64_t max_target_bytes;
        uint64_t max_fields;
        uint64_t max_request_body_bytes;      /* 0: no limit */
        uint64_t max_connections;             /* clients, over all workers */
        uint64_t max_client_connections;      /* of one client address; 0: no limit */
        unsigned client_ipv6_prefix;          /* bits of an IPv6 address that tell clients apart */
        uint64_t max_requests;                /* answered at a time, over all workers; 0: as connections */
        uint64_t client_min_rate;             /* bytes a second while we wait for a client; 0: no limit */
        uint64_t max_origin_connections;      /* to one origin, per worker */
        uint64_t max_idle_origin_connections; /* kept to one origin, per worker */
        uint64_t max_origin_queue;            /* requests waiting for one origin, per worker */
        uint64_t max_request_memory_bytes;    /* arena of one exchange */
        uint64_t stream_memory_bytes;         /* of all such responses */
        uint64_t stream_buffer_bytes;         /* body bytes of one response in memory */
    } server;

    struct {
        const char *dir;
        uint64_t size_bytes;
        uint64_t max_object_bytes;
        enum profile profile;
        struct span *targets; /* fields that replace Cache-Control for us, first valid one wins (RFC 9213) */
        size_t target_count;
        uint64_t max_variants;        /* of one key */
        enum admit_large admit_large; /* what is asked of large bodies before a full store takes them */
        uint64_t write_queue_bytes;   /* waiting for the disk */
        uint64_t hot_bytes;           /* as it was set, or CONFIG_HOT_BY_SIZE: see config_hot_bytes */
        uint64_t collapse_wait_ms;    /* the longest a request waits for another's response head */
        uint64_t max_heuristic_ms;    /* no lifetime that is guessed (RFC 9111 §4.2.2) is longer; 0: none is */
        uint64_t max_stale_ms;        /* no stale response is served beyond this */
        uint64_t hit_for_miss_ms;     /* how long requests for an unsharable key do not wait for each other */
    } cache;

    struct {
        const char *socket;     /* path of the unix socket; NULL: none */
        bool socket_is_default; /* nobody asked for it: then larder does without rather than not start */
        struct address *listen;
        size_t listen_count;
        const char *token_text; /* as given: the token, or "file:/path"; or NULL */
        struct span token;      /* that requests to `listen` must bring; empty: none is asked for */
    } admin;

    struct site *sites;
    size_t site_count;
    struct host_index hosts; /* the sites by their hosts: route.h */

    struct test *tests;
    size_t test_count;
};

#define CONFIG_HOT_BY_SIZE UINT64_MAX /* hot_memory is not set */

/* What the command line gave; NULL and 0 where it gave nothing. Flags override the file. */
struct config_flags {
    const char *file;
    struct span text; /* in place of what stands in the file; empty: it is read */
    const char *const *listen;
    size_t listen_count;
    const char *origin;
    const char *cache_dir;
    const char *cache_size;
    const char *workers;
    const char *profile;
    const char *access_log;
    const char *log_level;
    const char *admin; /* where the administration listens besides its socket */
};

/* Defaults, then the file, then the flags, then validation. NULL on failure, with one line in `out_error` (no newline).
 */
struct config *config_load(const struct config_flags *flags, struct buf *out_error);

void config_destroy(struct config *config); /* accepts NULL */

/* Memory for responses that are kept decoded, over all workers, on a machine with so much of it: what hot_memory says.
 * Where it says nothing it grows with the store, and never beyond a small part of the memory. */
uint64_t config_hot_bytes(const struct config *config, uint64_t memory_bytes);

/* "64KiB", "10 MB", "1GiB", "1TiB", plain bytes. False on anything else and on overflow. */
bool config_parse_size(struct span text, uint64_t *out_bytes);

/* "250ms", "10s", "5m", "2h", "7d", "0". False on anything else and on overflow. */
bool config_parse_duration(struct span text, uint64_t *out_ms);

/* Does only this machine reach it? */
bool address_is_local(const struct address *address);

/* "10/s", "300/m", "50/h" as the microseconds between two; 0 for "off". False on anything else. */
bool config_parse_rate(struct span text, uint64_t *out_interval_us);

/* The address forms above; host is copied to the arena. False on anything else. */
bool config_parse_address(struct span text, struct arena *arena, struct address *out_address);

#endif
