/* model.h: RFC 9111 for a shared cache, small and slow, on abstract messages: what test_model.c compares larder with.
 *
 * Nothing of larder is used here, no parser least of all: a message is a set of numbers, model_write.c turns it into
 * header text for larder, the model reads the numbers. Zeroed, every struct is the plainest of its kind (a GET, a 200
 * without a field, `safe` without a rule): the shrinker relies on that. Times are relative to the moment T0 of
 * cache_support.h. */
#ifndef TESTS_UNIT_MODEL_H
#define TESTS_UNIT_MODEL_H

#include <stdbool.h>
#include <stdint.h>

/* A number in a message. */
enum { ABSENT, GIVEN, BROKEN };
struct opt {
    uint8_t form;
    int32_t value; /* BROKEN: which nonsense is sent */
};

enum { FIELD_A, FIELD_B, FIELD_SET_COOKIE, FIELD_COUNT }; /* plain fields of a response */
enum { SELECTOR_COUNT = 3, SELECTOR_CHOICES = 6 };        /* fields of a request that Vary may name; their values */

enum { M_GET, M_HEAD, M_POST, M_DELETE, M_OPTIONS, M_UNKNOWN, M_METHOD_COUNT };

/* Cache-Control of a response. */
struct m_control {
    bool no_store, no_cache, is_private, is_public, must_revalidate, proxy_revalidate, must_understand, immutable;
    uint8_t no_cache_fields, private_fields; /* bit n: plain field n is named */
    struct opt max_age, s_maxage, while_revalidate, if_error;
    uint8_t style; /* how it is written; means nothing */
};

struct m_response {
    uint8_t status; /* index into model_status */
    struct m_control control;
    struct opt date, expires, last_modified; /* seconds since T0 */
    struct opt age;
    uint8_t etag; /* 0: none */
    bool etag_weak;
    uint8_t vary; /* bit n: selector n is named */
    bool vary_star;
    uint8_t fields[FIELD_COUNT]; /* 0: absent, else which value */
    bool unknown_coding, long_body;
    uint8_t style; /* how Vary is written */
};

struct m_request {
    uint8_t method;
    bool cookie, authorization, content, upgrade, if_match, if_unmodified_since;
    bool no_cache, no_store, only_if_cached, max_stale_any, pragma_no_cache;
    struct opt max_age, max_stale, min_fresh, if_error;
    bool none_match_star;
    uint8_t none_match; /* bit n: entity tag n is in If-None-Match; bit 0: one that nobody has */
    struct opt modified_since;
    uint8_t selectors[SELECTOR_COUNT]; /* 0: absent, 1: empty, else which class of equal values */
    uint8_t style;
};

/* Profile and rules. */
struct m_rules {
    bool letter; /* profile `rfc` */
    struct opt ttl, default_ttl, while_revalidate, if_error;
    bool bypass, ignore_cookies, store_set_cookie, request_directives, small_objects;
    struct opt max_stale; /* ABSENT: no bound */
};

/* A stored response: what was kept, for whom, and when it came. */
struct m_stored {
    struct m_response response; /* without the fields that private="…" names */
    uint8_t selectors[SELECTOR_COUNT];
    int64_t request_ms, response_ms;
};

enum m_failure { M_FAILS_STATUS, M_FAILS_DISCONNECTED, M_FAILS_TIMEOUT };

enum ruling {
    FORBIDDEN, /* doing it violates the standard or the configuration */
    ALLOWED,   /* either way is right */
    EXPECTED,  /* clearly permitted: a cache that does not do it loses something */
};

enum m_condition { M_NO_CONDITION, M_CLIENT_HAS_IT, M_CLIENT_NEEDS_IT };

extern const unsigned model_status[];
enum { MODEL_STATUS_COUNT = 16 };

enum ruling model_look_up(const struct m_request *request, const struct m_rules *rules);
bool model_invalidates(const struct m_request *request, const struct m_response *response);

/* RFC 9111 §3. `answer` is as it would be stored. */
enum ruling model_store(const struct m_request *request, const struct m_stored *answer, const struct m_rules *rules);

/* What is kept of a response that may be stored. */
struct m_stored model_keep(const struct m_request *request, const struct m_response *response, int64_t request_ms,
                           int64_t response_ms);

bool model_selects(const struct m_stored *stored, const struct m_request *request);
int64_t model_age_ms(const struct m_stored *stored, int64_t now_ms);

/* RFC 9111 §4. May it be served without asking the origin? `*out_behind`: only while it is revalidated behind. */
enum ruling model_reuse(const struct m_request *request, const struct m_stored *stored, const struct m_rules *rules,
                        int64_t now_ms, bool *out_behind);

/* RFC 9111 §4.2.4, RFC 5861 §4. May it be served after the origin failed to validate it? */
enum ruling model_serve_stale(const struct m_request *request, const struct m_stored *stored,
                              const struct m_rules *rules, enum m_failure failure, int64_t now_ms);

/* RFC 9111 §4.3.4: does a 304 speak of it, and what becomes of it then? */
enum ruling model_speaks_of(const struct m_stored *stored, const struct m_response *not_modified);
struct m_stored model_freshen(const struct m_stored *stored, const struct m_response *not_modified, int64_t request_ms,
                              int64_t response_ms);

/* RFC 9111 §5.2.2.4: the plain fields that must not be sent without validation, as bits. */
uint8_t model_withheld(const struct m_stored *stored);

/* RFC 9111 §4.3.2 */
enum m_condition model_condition(const struct m_request *request, const struct m_stored *stored);

#endif
