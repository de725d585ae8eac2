/* why_hints.c: the words of `larder why`: what to change to get another answer, one hint for each reason in
 * cache/reason.h; the names of actions and settings. */
#include "proxy/why/why.h"

static const char *const hints[REASON_COUNT] = {
    [REASON_NONE] = "nothing was decided",
    /* served from the cache */
    [REASON_FRESH] = "asked sooner: a shorter max-age or s-maxage from the origin, or a rule's ttl",
    [REASON_FRESH_HEURISTIC] =
        "the origin says no lifetime: let it send max-age, or give a rule's ttl; max_heuristic bounds the guess",
    [REASON_FRESH_BY_RULE] = "change ttl or default_ttl of that rule",
    [REASON_STALE_WHILE_REVALIDATE] =
        "to wait for the origin instead: stale_while_revalidate = \"0\" in a rule, or no such directive",
    [REASON_STALE_IF_ERROR] = "to see the failure instead: stale_if_error = \"0\" in a rule, or no such directive",
    [REASON_STALE_DISCONNECTED] = "to see the failure instead: must-revalidate from the origin, or a smaller max_stale",
    [REASON_STALE_IF_SLOW] = "to wait for the origin instead: stale_if_slow = \"0\" in a rule in front of that one",
    [REASON_STALE_SATURATED] = "to wait in line instead: stale_if_error = \"0\" in a rule; or more origin_connections",
    [REASON_MAX_STALE] = "a request without max-stale, or a rule without request_directives",
    [REASON_OFFLINE] = "larder mode SITE normal: then the origin is asked",
    [REASON_REPLAYED] = "larder mode SITE normal: then the origin is asked, and no recording is replayed",
    [REASON_REVALIDATED] = "a longer lifetime saves the question: max-age from the origin, or a rule's ttl",
    [REASON_FOLLOWED] = "nothing to change: the origin was asked once for several clients",
    /* not served from the cache: what was asked */
    [REASON_METHOD] = "only GET and HEAD are answered from a cache",
    [REASON_HEAD_MISS] =
        "a GET stores what later HEADs are answered from; head_as_get = true in a rule in front of that one",
    [REASON_RANGE] = "a GET without Range stores the whole; ranges are then answered from it",
    [REASON_ORIGIN_CONDITION] = "a request without If-Match and If-Unmodified-Since",
    [REASON_UPGRADE] = "a request without Connection: upgrade",
    [REASON_BODY_ON_GET] = "a GET without content",
    [REASON_UNKEYED_FIELD] = "a request without that field, or a rule that does not name it in pass_request_fields",
    [REASON_BYPASS_RULE] = "bypass = false in a rule in front of that one, or a narrower path in it",
    [REASON_REQUEST_NO_CACHE] = "a request without no-cache, or a rule without request_directives",
    [REASON_REQUEST_MAX_AGE] = "a request without max-age, or a rule without request_directives",
    [REASON_REQUEST_MIN_FRESH] = "a request without min-fresh, or a rule without request_directives",
    [REASON_ONLY_IF_CACHED] = "a request without only-if-cached is fetched from the origin",
    [REASON_COOKIE] = "an explicit max-age from the origin, or ignore_cookies in a rule where Cookie changes nothing",
    /* not served from the cache: what is stored */
    [REASON_URI_MISS] =
        "the first request fetches it; what never stays has its reason as detail in Cache-Status and in the access log",
    [REASON_VARY_MISS] =
        "fewer variants: a shorter Vary from the origin, or normalize_accept_encoding and its kind in a rule",
    [REASON_STALE] = "a longer max-age from the origin or a rule's ttl; stale_while_revalidate to answer at once",
    [REASON_NO_CACHE] = "the origin sends no-cache: let it send max-age, or give a rule's ttl",
    [REASON_MUST_REVALIDATE] = "the origin sends must-revalidate, proxy-revalidate or s-maxage: leave them out there",
    [REASON_PURGE] =
        "another address than those in the site's purge_from gets 403; without purge_from PURGE is passed on",
    [REASON_PURGE_REFUSED] = "put the client's address into the site's purge_from",
    [REASON_PURGED] = "nothing to change: the next answer is stored again",
    [REASON_PURGED_SOFT] = "nothing to change: a 304 or a new answer from the origin makes it fresh again",
    [REASON_INVALIDATED] = "nothing to change: the answer to a POST, PUT or DELETE said that it is another now",
    [REASON_STORE_AWAY] = "nothing: it lasts for the moment of an upgrade",
    [REASON_STORE_FAILED] = "see the process log: a full disk needs room, and a restart sets a damaged store aside",
    [REASON_UNREADABLE] =
        "nothing: the answer is stored again; where this goes on (larder_store_damaged_reads_total) look at the disk",
    /* stored */
    [REASON_STORED] = "not to be stored: no-store from the origin, or bypass in a rule",
    [REASON_STORED_BY_RULE] = "change ttl, default_ttl or store_set_cookie of that rule",
    [REASON_RECORDED] = "larder why URL says why it is not for a cache; larder mode SITE normal ends the recording",
    [REASON_UPDATED] = "nothing to change: a longer lifetime asks less often",
    [REASON_UNCHANGED] = "ETag or Last-Modified from the origin, and its 304, save sending the same body again",
    /* not stored: what was asked and answered */
    [REASON_NOT_STORED_METHOD] =
        "only answers to GET are stored, and to POST with explicit freshness and Content-Location",
    [REASON_NOT_STORED_STATUS] = "an explicit max-age from the origin, or a ttl in a rule whose statuses name this one",
    [REASON_NOT_STORED_PARTIAL] = "one range, and a 206 with Content-Range and complete length; or a GET without Range",
    [REASON_RANGE_MISMATCH] = "an origin whose Content-Range tells the truth",
    [REASON_PARTIAL] = "once the rest is fetched it is stored with what there is, if the origin sends a strong ETag",
    [REASON_REQUEST_NO_STORE] = "a request without no-store, or a rule without request_directives",
    [REASON_NO_STORE] = "no-store out of the origin's Cache-Control; no rule lifts it",
    [REASON_PRIVATE] = "private out of the origin's Cache-Control; no rule lifts it",
    [REASON_AUTHORIZATION] = "public, s-maxage or must-revalidate from the origin, if the answer is for everyone",
    [REASON_SET_COOKIE] = "no Set-Cookie from the origin, or store_set_cookie in a rule where it is for everyone",
    [REASON_COOKIE_HEURISTIC] = "an explicit max-age from the origin, or ignore_cookies in a rule",
    [REASON_VARY_STAR] = "the origin's Vary: * allows no reuse; let it name the fields",
    [REASON_VARY_TOO_MUCH] = "a shorter Vary from the origin, or strip_request_fields for long fields",
    [REASON_VARY_CLIENT] =
        "a Vary without that field, or, where the origin needs no address, forwarded = \"none\" in [server]",
    [REASON_VARY_TWIN] = "the same request without that field; strip_request_fields in a rule removes it",
    [REASON_NO_FRESHNESS] =
        "max-age without no-cache, or a validator, from the origin; or a rule's ttl (default_ttl lifts no no-cache)",
    [REASON_MUST_UNDERSTAND] = "must-understand out of the origin's Cache-Control, or a status larder knows",
    [REASON_TAGS_TOO_MUCH] =
        "at most 1024 tags of 1024 bytes (Surrogate-Key, Cache-Tag, xkey) and 64 Cache-Groups of 128 from the origin",
    [REASON_ODD_REQUEST] = "the same request without its large or odd fields shows what others get",
    [REASON_TYPE_CONTRADICTS] =
        "max-age from the origin, if this page is for everyone; sentinel = false by rule where names mean nothing",
    [REASON_ECHO] = "Vary with that field from the origin, or a rule without sentinel",
    [REASON_UNKNOWN_CODING] = "no transfer coding but chunked from the origin, or the profile rfc",
    [REASON_TOO_LARGE] = "a larger max_object_size; it is at most half of size in [cache], which has to grow with it",
    [REASON_FIRST_REQUEST] =
        "nothing to change: the next request stores it; a larger size, or admit_large = \"always\"",
    [REASON_MIN_USES] = "a smaller min_uses in that rule",
    [REASON_TRUNCATED] = "the origin or the network: the body ended early",
    [REASON_ERROR_KEEPS_STORED] = "nothing to change: the good response stays until the origin recovers",
    [REASON_OUTDATED] = "nothing to change: the next GET fetches what is current",
    [REASON_DISK_BEHIND] = "a faster disk, or a larger write_queue",
    [REASON_RACED] = "nothing to change: the next answer is stored",
    /* answered by larder itself */
    [REASON_BAD_REQUEST] = "see the text of the error; sizes have their limits in [server.limits]",
    [REASON_LOOP] = "an origin that is the server itself, not something that leads back to this larder",
    [REASON_TOO_MANY_CONNECTIONS] = "a larger connections in [server.limits]",
    [REASON_CLIENT_CONNECTIONS] =
        "a larger connections_per_client in [server.limits]; trust_forwarded changes nothing here",
    [REASON_TOO_MANY_REQUESTS] = "a larger requests in [server.limits]",
    [REASON_STREAM_MEMORY] = "a larger stream_memory in [server.limits], or faster clients",
    [REASON_NO_MEMORY] = "more memory for larder, or lower limits on connections and requests",
    [REASON_RATE_LIMIT] = "a larger rate_limit or rate_burst in that rule, or a client that waits for Retry-After",
    [REASON_OWN_TAG] =
        "own_etag = false in a rule where clients change things under conditions, or tags from the origin",
    [REASON_MAX_FORWARDS] = "a request without Max-Forwards, or with a larger one",
    [REASON_NO_SITE] = "a [[site]] for this host and path, or --origin for all others",
    [REASON_OFFLINE_MISS] = "larder mode SITE record (or larder warm) and the same request, before it is offline again",
    [REASON_ORIGIN_FAILED] = "the origin; stale_if_error in a rule bridges failures with what is stored",
    [REASON_ORIGIN_TIMEOUT] =
        "the origin; or a longer origin_first_byte, origin_between_bytes or origin_connect in [server.timeouts]",
    [REASON_ORIGIN_SATURATED] =
        "more origins or origin_connections, or an origin_queue with more places or a longer wait",
    [REASON_ORIGINS_DOWN] = "the process log says why the checks of [site.health_check] fail",
};

const char *why_hint(enum reason reason)
{
    return reason < REASON_COUNT && hints[reason] != NULL ? hints[reason] : "no advice is written for this reason yet";
}

const char *why_action_text(enum why_action action)
{
    switch (action) {
    case WHY_HIT:
        return "hit";
    case WHY_HIT_REVALIDATE:
        return "hit-revalidate";
    case WHY_REVALIDATE:
        return "revalidate";
    case WHY_FETCH:
        return "fetch";
    case WHY_PASS:
        return "pass";
    case WHY_REPLY:
        return "reply";
    }
    UNREACHABLE();
}

const char *why_setting_name(enum setting setting)
{
    static const char *const names[SETTING_COUNT] = {
        [SETTING_TTL] = "ttl",
        [SETTING_DEFAULT_TTL] = "default_ttl",
        [SETTING_STALE_WHILE_REVALIDATE] = "stale_while_revalidate",
        [SETTING_STALE_IF_ERROR] = "stale_if_error",
        [SETTING_STALE_IF_SLOW] = "stale_if_slow",
        [SETTING_BYPASS] = "bypass",
        [SETTING_IGNORE_COOKIES] = "ignore_cookies",
        [SETTING_STORE_SET_COOKIE] = "store_set_cookie",
        [SETTING_REQUEST_DIRECTIVES] = "request_directives",
        [SETTING_OWN_ETAG] = "own_etag",
        [SETTING_HOLD_BACK] = "hold_back",
        [SETTING_STRIP_TAGS] = "strip_tags",
        [SETTING_SENTINEL] = "sentinel",
        [SETTING_EARLY_HINTS] = "early_hints",
        [SETTING_NO_VARY_SEARCH] = "no_vary_search",
        [SETTING_MIN_USES] = "min_uses",
        [SETTING_HEAD_AS_GET] = "head_as_get",
    };

    return names[setting];
}
