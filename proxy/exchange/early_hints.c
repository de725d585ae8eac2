/* early_hints.c: see early_hints.h. */
#include "proxy/exchange/early_hints.h"

#include "cache/head.h"
#include "http/link.h"

static bool is_wanted(const struct http_request *request)
{
    return request->method == METHOD_GET && request->minor >= 1 &&
           span_equal(headers_value(&request->headers, SPAN("Sec-Fetch-Mode")), SPAN("navigate"));
}

bool early_hints_for(const struct http_request *request, const struct policy *policy, const struct record *record,
                     const struct headers *stored_headers, struct arena *arena, struct headers *out_headers)
{
    struct headers reusable;

    headers_init(out_headers, arena);
    if (!policy->early_hints || !is_wanted(request) || record->status != 200 ||
        !headers_copy(&reusable, stored_headers, arena)) {
        return false;
    }
    if (record->qualified_no_cache || record->qualified_private) {
        head_drop_qualified(&reusable); /* no-cache="Link" means these too */
    }
    for (const struct header *field = headers_find(&reusable, SPAN("Link")); field != NULL;
         field = headers_find_next(&reusable, field)) {
        struct span rest = field->value;
        struct span value;
        while (link_next(&rest, &value)) {
            if (link_is_hint(value) && !headers_add(out_headers, SPAN("Link"), value)) {
                return false;
            }
        }
    }
    return out_headers->count > 0;
}
