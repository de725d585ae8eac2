/* route.h: from a request to the site that serves it and the settings its rules give.
 *
 * Pure functions over the configuration. Threads: any. */
#ifndef PROXY_ROUTE_H
#define PROXY_ROUTE_H

#include "http/message.h"
#include "proxy/config/config.h"

/* The site for a target URI: an exact host before a wildcard (the longest), before a site without hosts; among equals
 * the longest path prefix (whole segments: "/a" matches "/a" and "/a/b", not "/ab"). NULL: none. */
const struct site *route_find(const struct config *config, const struct uri *uri);

/* Does a site serve that host, or some host below if it is written "*.example.com"? */
bool route_has_host(const struct config *config, struct span host);

/* Settings that hold for a request before its response is known (rules with conditions on the response do not match
 * yet: `status` 0, `response_headers` NULL), or for request and response. Those of a stored response serve as well. */
struct policy route_policy(const struct config *config, const struct site *site, const struct http_request *request,
                           unsigned status, const struct headers *response_headers);

/* Does any rule have a condition on the response? Else route_policy says the same with and without it. */
bool route_asks_response(const struct site *site);

/* The first rule that matches and gives a rate limit, "off" included. NULL: none. */
const struct rule *route_rate(const struct site *site, const struct http_request *request);

/* Does a rule begin a trace where the client brings none? The first that matches and says so, or says no. */
bool route_traces(const struct site *site, const struct http_request *request);

/* Applies what changes the request itself, before key and forwarding: removal of the fields of http/unkeyed.h, query
 * filter, field removal, normalisation of Accept-Encoding and Accept-Language, each by the first rule that matches and
 * gives it. False at the arena's limit. */
MUST_CHECK bool route_rewrite_request(const struct site *site, struct http_request *request, struct arena *arena);

#endif
