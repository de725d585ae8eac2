/* multipart.c: multipart/byteranges. Heads are counted from the very pieces they are joined from, so that
 * Content-Length cannot disagree with what is sent. */
#include "http/multipart.h"

#include "http/token.h"

enum { HEAD_PIECES = 7, END_PIECES = 3 };

static size_t head_pieces(const struct multipart *multipart, size_t index, char numbers[CONTENT_RANGE_MAX_BYTES],
                          struct span pieces[HEAD_PIECES]);
static void end_pieces(const struct multipart *multipart, struct span pieces[END_PIECES]);
static bool add_pieces(uint64_t *sum, const struct span *pieces, size_t count);
static bool add_checked(uint64_t *sum, uint64_t value);

/* RFC 9110 §14.6: the boundary is not quoted, since some recipients get that wrong */
bool multipart_type(const struct multipart *multipart, struct arena *arena, struct span *out_type)
{
    struct span parts[] = {SPAN("multipart/byteranges; boundary="), multipart->boundary};

    REQUIRE(is_token(multipart->boundary));
    REQUIRE(multipart->boundary.len <= BOUNDARY_MAX_BYTES);
    return arena_join(arena, parts, ARRAY_LEN(parts), out_type);
}

bool multipart_part_head(const struct multipart *multipart, size_t index, struct arena *arena, struct span *out_head)
{
    char numbers[CONTENT_RANGE_MAX_BYTES];
    struct span pieces[HEAD_PIECES];
    size_t count = head_pieces(multipart, index, numbers, pieces);

    return arena_join(arena, pieces, count, out_head);
}

bool multipart_end(const struct multipart *multipart, struct arena *arena, struct span *out_end)
{
    struct span pieces[END_PIECES];

    end_pieces(multipart, pieces);
    return arena_join(arena, pieces, END_PIECES, out_end);
}

bool multipart_length(const struct multipart *multipart, uint64_t *out_bytes)
{
    char numbers[CONTENT_RANGE_MAX_BYTES];
    struct span pieces[HEAD_PIECES];
    struct span end[END_PIECES];
    uint64_t bytes = 0;

    for (size_t i = 0; i < multipart->ranges->count; i++) {
        struct byte_range range = multipart->ranges->items[i];
        size_t count = head_pieces(multipart, i, numbers, pieces);

        if (!add_pieces(&bytes, pieces, count) || !add_checked(&bytes, range.last - range.first) ||
            !add_checked(&bytes, 1)) {
            return false;
        }
    }
    end_pieces(multipart, end);
    if (!add_pieces(&bytes, end, END_PIECES)) {
        return false;
    }
    *out_bytes = bytes;
    return true;
}

/* RFC 9110 §15.3.7.2, RFC 2046 §5.1. How many pieces; one of them stands in `numbers`. */
static size_t head_pieces(const struct multipart *multipart, size_t index, char numbers[CONTENT_RANGE_MAX_BYTES],
                          struct span pieces[HEAD_PIECES])
{
    struct content_range value = {.has_range = true, .has_length = true, .complete_length = multipart->complete_length};
    size_t count = 0;

    REQUIRE(index < multipart->ranges->count);
    REQUIRE(is_token(multipart->boundary));
    REQUIRE(multipart->boundary.len <= BOUNDARY_MAX_BYTES);
    value.range = multipart->ranges->items[index];
    /* The line end in front of a boundary belongs to it; in front of the first there is no part to end. */
    pieces[count++] = index == 0 ? SPAN("--") : SPAN("\r\n--");
    pieces[count++] = multipart->boundary;
    if (multipart->content_type.len > 0) {
        pieces[count++] = SPAN("\r\nContent-Type: ");
        pieces[count++] = multipart->content_type;
    }
    pieces[count++] = SPAN("\r\nContent-Range: ");
    pieces[count++] = (struct span){numbers, content_range_write(&value, numbers)};
    pieces[count++] = SPAN("\r\n\r\n");
    return count;
}

static void end_pieces(const struct multipart *multipart, struct span pieces[END_PIECES])
{
    pieces[0] = SPAN("\r\n--");
    pieces[1] = multipart->boundary;
    pieces[2] = SPAN("--\r\n");
}

static bool add_pieces(uint64_t *sum, const struct span *pieces, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!add_checked(sum, pieces[i].len)) {
            return false;
        }
    }
    return true;
}

static bool add_checked(uint64_t *sum, uint64_t value)
{
    if (value > UINT64_MAX - *sum) {
        return false;
    }
    *sum += value;
    return true;
}
