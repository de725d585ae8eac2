/* repeat.c: which requests are sent once more. See repeat.h. */
#include "proxy/origin/repeat.h"

bool repeat_is_harmless(const struct http_request *request)
{
    return method_is_idempotent(request->method) && !framing_has_body(&request->framing);
}

bool repeat_is_permitted(const struct http_request *request, const struct repeat_end *end)
{
    bool crossed = end->kept && !end->responded && end->after_ms < REPEAT_CROSSING_MS;

    return crossed && repeat_is_harmless(request);
}
