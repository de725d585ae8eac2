/* model_parts.c: the rules of partial responses, one function for each question, read off the standards' text. */
#include "tests/unit/model_parts.h"

#include <stddef.h>

/* ---- what is asked for ---- */

enum m_selected model_range(const struct m_range *range, unsigned complete_length, struct m_bytes *out_bytes)
{
    unsigned first = 0;
    unsigned end = complete_length;

    if (range->form == M_RANGE_SUFFIX && range->more < complete_length) {
        first = complete_length - range->more; /* longer than the representation: all of it */
    }
    if (range->form == M_RANGE_CLOSED || range->form == M_RANGE_OPEN) {
        first = range->first;
    }
    if (range->form == M_RANGE_CLOSED && first + range->more < complete_length) {
        end = first + range->more + 1; /* beyond the end, or absent: the rest of it */
    }
    if (first >= end) {
        return M_UNSATISFIABLE; /* §14.1.1 */
    }
    *out_bytes = (struct m_bytes){(uint8_t)first, (uint8_t)end};
    return range->form == M_RANGE_NONE ? M_WHOLE : M_PART;
}

/* ---- validators ---- */

/* RFC 9110 §8.8.2.2: nothing can have changed unseen in the second that it names. */
static bool date_is_strong(const struct m_response *head)
{
    return head->last_modified.form == GIVEN && head->date.form == GIVEN &&
           head->last_modified.value < head->date.value;
}

bool model_has_strong_validator(const struct m_response *head)
{
    return head->etag != 0 ? !head->etag_weak : date_is_strong(head);
}

bool model_if_range_holds(const struct m_if_range *if_range, const struct m_response *head)
{
    if (if_range->etag != 0) {
        return !if_range->etag_weak && !head->etag_weak && if_range->etag == head->etag; /* strong comparison */
    }
    if (if_range->date.form != ABSENT) {
        return date_is_strong(head) && if_range->date.value == head->last_modified.value;
    }
    return true;
}

static bool share_strong_validator(const struct m_response *a, const struct m_response *b)
{
    if (!model_has_strong_validator(a) || !model_has_strong_validator(b) || a->etag != b->etag) {
        return false;
    }
    return a->etag != 0 || a->last_modified.value == b->last_modified.value;
}

bool model_may_combine(const struct m_received *a, const struct m_received *b)
{
    return a->target == b->target && a->complete_length == b->complete_length &&
           share_strong_validator(&a->head.response, &b->head.response);
}

/* ---- bytes ---- */

uint8_t model_byte(unsigned version, unsigned at)
{
    return (uint8_t)(version * 32 + at);
}

static const struct m_received *received(const struct m_history *history, unsigned number)
{
    return number == 0 || number > history->count ? NULL : &history->items[number - 1];
}

/* RFC 9111 §4.3.4: what a 304 was asked about, if it speaks of that; NULL for other answers. */
static const struct m_received *confirmed(const struct m_history *history, const struct m_received *it)
{
    const struct m_received *asked = received(history, it->confirms);

    return asked != NULL && model_speaks_of(&asked->head, &it->not_modified) != FORBIDDEN ? asked : NULL;
}

bool model_may_hold(const struct m_history *history, unsigned number)
{
    const struct m_received *it = received(history, number);

    return it != NULL && it->may_store && !it->invalidated &&
           (it->confirms == 0 || (confirmed(history, it) != NULL && model_may_hold(history, it->confirms)));
}

static bool brought(const struct m_received *it, unsigned at, uint8_t byte)
{
    return it->bytes.first <= at && at < it->bytes.end && model_byte(it->version, at) == byte;
}

bool model_byte_belongs(const struct m_history *history, unsigned number, unsigned before, unsigned at, uint8_t byte)
{
    const struct m_received *head = received(history, number);

    if (head == NULL) {
        return false;
    }
    /* a 304 brings no bytes, those of what it confirmed stay */
    if (brought(head, at, byte) ||
        (confirmed(history, head) != NULL && model_byte_belongs(history, head->confirms, before, at, byte))) {
        return true;
    }
    for (unsigned i = 0; i < history->count; i++) {
        const struct m_received *other = &history->items[i];
        bool may_use = i >= before || model_may_hold(history, i + 1);
        if (may_use && model_may_combine(head, other) && brought(other, at, byte)) {
            return true;
        }
    }
    return false;
}

void model_invalidate(struct m_history *history, unsigned target, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (history->items[i].target == target) {
            history->items[i].invalidated = true;
        }
    }
}
