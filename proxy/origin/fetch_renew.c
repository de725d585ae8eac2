/* fetch_renew.c: an origin that sends again what is stored already, because it knows no 304 or no validators: when the
 * body has come and is the same, only the head is new (cache_fill_complete_or_renew). */
#include "proxy/origin/fetch_internal.h"

/* All lines of the field, in their order. */
static bool same_field(const struct headers *one, const struct headers *other, struct span name)
{
    const struct header *a = headers_find(one, name);
    const struct header *b = headers_find(other, name);

    while (a != NULL && b != NULL && span_equal(a->value, b->value)) {
        a = headers_find_next(one, a);
        b = headers_find_next(other, b);
    }
    return a == NULL && b == NULL;
}

/* What the bytes of the body mean must be the same, too (RFC 9110 §8.3, §8.4), and for whom they are. */
static bool same_but_for_the_body(const struct fetch *fetch, struct span selection)
{
    const struct http_response *response = &fetch->response;
    const struct stored *stored = &fetch->validate.stored;

    return response->status == 200 && stored->record.status == 200 && !record_is_partial(&stored->record) &&
           span_equal(selection, stored->selection) &&
           (response->framing.kind != FRAMING_LENGTH || response->framing.length == stored->record.body_len) &&
           same_field(&fetch->stored, &response->headers, SPAN("Content-Type")) &&
           same_field(&fetch->stored, &response->headers, SPAN("Content-Encoding"));
}

void fetch_prepare_renewal(struct fetch *fetch, struct span selection)
{
    fetch->renews = fetch->validating && !fetch->rekeyed && same_but_for_the_body(fetch, selection) &&
                    fetch_freshen(fetch, &fetch->response.headers, &fetch->renewed) &&
                    fetch->renewed.head.len <= RECORD_MAX_HEAD_BYTES;
}
