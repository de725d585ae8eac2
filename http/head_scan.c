/* head_scan.c: see head_scan.h. Runs of bytes that need no decision are passed at once, whole lines where they are as
 * they mostly are; what ends a run is a step of the machine. */
#include "http/head_scan.h"

#include "http/byte_class.h"

enum { TLS_ALERT = 0x15, TLS_HANDSHAKE = 0x16 }; /* first bytes of who speaks TLS (RFC 8446 §5.1); in no head */

/* The bytes that leave the scan in the state it is in. */
static const unsigned char run_class[] = {
    [HEAD_SCAN_WORD_1] = BYTE_NAME, [HEAD_SCAN_WORD_2] = BYTE_TARGET, [HEAD_SCAN_LINE_REST] = BYTE_VALUE,
    [HEAD_SCAN_NAME] = BYTE_NAME,   [HEAD_SCAN_VALUE] = BYTE_VALUE,   [HEAD_SCAN_DONE] = 0,
};

static size_t clean_lines_end(const char *bytes, size_t at, size_t end);
static size_t run_end(const char *bytes, size_t at, size_t end, unsigned class);
static enum err scan_byte(struct head_scan *scan, unsigned char byte);
static enum err scan_first_line(struct head_scan *scan, unsigned char byte);

enum err head_find(struct head_scan *scan, struct span data, const struct head_limits *limits, size_t *out_len)
{
    size_t end = data.len < limits->head_bytes ? data.len : limits->head_bytes;

    while (scan->checked < end && scan->state != HEAD_SCAN_DONE) {
        size_t at = scan->checked;
        enum err error;

        if (scan->state == HEAD_SCAN_LINE_START) {
            at = clean_lines_end(data.data, at, end);
        }
        /* Runs make up nearly all of the rest; the byte that ends one is a step of the machine. */
        at = run_end(data.data, at, end, run_class[scan->state]);
        scan->checked = at;
        if (scan->state == HEAD_SCAN_WORD_2 && at - scan->word_2 > limits->target_bytes) {
            return ERR_TARGET_TOO_LONG;
        }
        if (at == end) {
            break;
        }
        error = scan_byte(scan, (unsigned char)data.data[at]);
        if (error != ERR_OK) {
            return error;
        }
        scan->checked++;
    }
    if (scan->state == HEAD_SCAN_DONE) {
        *out_len = scan->checked;
        return ERR_OK;
    }
    return scan->checked >= limits->head_bytes ? ERR_HEAD_TOO_LARGE : ERR_AGAIN;
}

/* The first place from `at` on whose byte is not of the class, or `end`. Values are most of a head. */
static size_t run_end(const char *bytes, size_t at, size_t end, unsigned class)
{
    return class == BYTE_VALUE ? bytes_value_end(bytes, at, end) : bytes_run_end(bytes, at, end, class);
}

/* Passes whole field lines that leave no question: name, colon, value, CRLF. What it does not pass, the machine below
 * looks at byte by byte. `at` is where a line starts. */
static size_t clean_lines_end(const char *bytes, size_t at, size_t end)
{
    for (;;) {
        size_t colon = bytes_run_end(bytes, at, end, BYTE_NAME);

        if (colon == at || colon == end || bytes[colon] != ':') {
            return at;
        }
        size_t cr = bytes_value_end(bytes, colon + 1, end);
        if (end - cr < 2 || bytes[cr] != '\r' || bytes[cr + 1] != '\n') {
            return at;
        }
        at = cr + 2;
    }
}

/* One step of the scan, for the byte that ended a run. */
static enum err scan_byte(struct head_scan *scan, unsigned char byte)
{
    unsigned char class = byte_classes[byte];

    switch (scan->state) {
    case HEAD_SCAN_START: /* RFC 9112 §2.2: empty lines in front of the first are skipped */
        if (byte == '\r') {
            scan->state = HEAD_SCAN_START_LF;
            return ERR_OK;
        }
        scan->state = HEAD_SCAN_WORD_1;
        return byte == TLS_HANDSHAKE || byte == TLS_ALERT ? ERR_TLS : scan_first_line(scan, byte);
    case HEAD_SCAN_START_LF:
        scan->state = HEAD_SCAN_START;
        scan->skipped = scan->checked + 1;
        return byte == '\n' ? ERR_OK : ERR_BAD_LINE_END;
    case HEAD_SCAN_WORD_1:
    case HEAD_SCAN_WORD_2:
        return scan_first_line(scan, byte);
    case HEAD_SCAN_LINE_REST:
    case HEAD_SCAN_VALUE:
        scan->state = HEAD_SCAN_LINE_LF;
        return byte == '\r' ? ERR_OK : byte == '\n' ? ERR_BAD_LINE_END : ERR_BAD_HEAD;
    case HEAD_SCAN_LINE_LF:
        scan->state = HEAD_SCAN_LINE_START;
        return byte == '\n' ? ERR_OK : ERR_BAD_LINE_END;
    case HEAD_SCAN_LINE_START: /* white space here would be obs-fold (RFC 9112 §5.2), a colon an empty name */
        if (byte == '\r') {
            scan->state = HEAD_SCAN_END_LF;
            return ERR_OK;
        }
        scan->state = HEAD_SCAN_NAME;
        if ((class & BYTE_NAME) != 0) {
            return ERR_OK;
        }
        return byte == '\n' ? ERR_BAD_LINE_END : (class & BYTE_VALUE) != 0 ? ERR_BAD_FIELD : ERR_BAD_HEAD;
    case HEAD_SCAN_NAME: /* RFC 9112 §5.1: no white space in front of the colon */
        scan->state = HEAD_SCAN_VALUE;
        if (byte == ':') {
            return ERR_OK;
        }
        return byte == '\r' || (class & BYTE_VALUE) != 0 ? ERR_BAD_FIELD
               : byte == '\n'                            ? ERR_BAD_LINE_END
                                                         : ERR_BAD_HEAD;
    case HEAD_SCAN_END_LF:
        scan->state = HEAD_SCAN_DONE;
        return byte == '\n' ? ERR_OK : ERR_BAD_LINE_END;
    case HEAD_SCAN_DONE:
        break;
    }
    UNREACHABLE();
}

/* In the first two words of the first line. */
static enum err scan_first_line(struct head_scan *scan, unsigned char byte)
{
    if (byte == ' ') {
        scan->state = scan->state == HEAD_SCAN_WORD_1 ? HEAD_SCAN_WORD_2 : HEAD_SCAN_LINE_REST;
        scan->word_2 = scan->checked + 1;
        return ERR_OK;
    }
    if (byte == '\r') {
        scan->state = HEAD_SCAN_LINE_LF;
        return ERR_OK;
    }
    if ((byte_classes[byte] & BYTE_VALUE) != 0) {
        return ERR_OK; /* not what belongs there, but that is for the parser to say */
    }
    return byte == '\n' ? ERR_BAD_LINE_END : ERR_BAD_HEAD;
}
