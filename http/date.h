/* date.h: HTTP dates, three forms in, one out (RFC 9110 §5.6.7).
 *
 * Reads IMF-fixdate, RFC 850 and asctime, ignoring case and the weekday's truth; refuses everything else (other zones,
 * missing comma, double spaces, one-digit hours, two-digit years in IMF form). Times are seconds since 1970, 64 bits.
 * Threads: any. */
#ifndef HTTP_DATE_H
#define HTTP_DATE_H

#include "http/span.h"

enum {
    DATE_TEXT_LEN = 29,       /* "Sun, 06 Nov 1994 08:49:37 GMT" */
    DATE_RFC3339_LEN = 20,    /* "1994-11-06T08:49:37Z" */
    DATE_RFC3339_MS_LEN = 24, /* "1994-11-06T08:49:37.123Z" */
};

/* `now_s` decides the century of RFC 850's two-digit years: one that would lie more than 50 years ahead is in the past.
 */
bool date_parse(struct span text, int64_t now_s, int64_t *out_time_s);

/* Writes exactly DATE_TEXT_LEN bytes, no zero. Times before year 0 or after 9999 are clamped. */
void date_format(int64_t time_s, char out_text[DATE_TEXT_LEN]);

/* The same time as logs and JSON have it (RFC 3339): exactly DATE_RFC3339_LEN bytes. */
void date_format_rfc3339(int64_t time_s, char out_text[DATE_RFC3339_LEN]);

/* With milliseconds: exactly DATE_RFC3339_MS_LEN bytes. */
void date_format_rfc3339_ms(int64_t time_ms, char out_text[DATE_RFC3339_MS_LEN]);

#endif
