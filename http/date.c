/* date.c: HTTP dates. The three forms have fixed columns; each is read by its own short function. */
#include "http/date.h"

#include <string.h>

#include "http/check.h"

enum {
    DAY_S = 86400,
    MS_PER_S = 1000,
    CENTURY_WINDOW_YEARS = 50,
};

static const int64_t min_time_s = -62167219200; /* 0000-01-01 00:00:00 */
static const int64_t max_time_s = 253402300799; /* 9999-12-31 23:59:59 */

static const struct span day_names[] = {
    SPAN_INIT("Sunday"),   SPAN_INIT("Monday"), SPAN_INIT("Tuesday"),  SPAN_INIT("Wednesday"),
    SPAN_INIT("Thursday"), SPAN_INIT("Friday"), SPAN_INIT("Saturday"),
};

static const struct span month_names[] = {
    SPAN_INIT("Jan"), SPAN_INIT("Feb"), SPAN_INIT("Mar"), SPAN_INIT("Apr"), SPAN_INIT("May"), SPAN_INIT("Jun"),
    SPAN_INIT("Jul"), SPAN_INIT("Aug"), SPAN_INIT("Sep"), SPAN_INIT("Oct"), SPAN_INIT("Nov"), SPAN_INIT("Dec"),
};

/* The first letters of a day's or a month's name, written as they are above. */
struct abbreviation {
    char letters[3];
};

/* A point in time as it is written. */
struct civil {
    int64_t year;
    unsigned month; /* 1 … 12 */
    unsigned day;   /* 1 … 31 */
    unsigned hour, minute, second;
};

static bool read_imf(struct span text, struct civil *out);
static bool read_rfc850(struct span text, int64_t now_s, struct civil *out);
static bool read_asctime(struct span text, struct civil *out);
static bool read_digits(struct span text, size_t at, size_t count, unsigned *out_value);
static bool read_month(struct span text, size_t at, unsigned *out_month);
static bool read_time(struct span text, size_t at, struct civil *out);
static bool text_at(struct span text, size_t at, struct span want);
static struct abbreviation abbreviation_of(const char *text);
static bool abbreviates(struct abbreviation abbreviation, struct span name);
static bool is_day_abbreviation(const char *text);
static bool is_day_name(struct span text);
static int64_t days_from_civil(int64_t year, unsigned month, unsigned day);
static struct civil civil_from_time(int64_t time_s);
static int64_t floor_div(int64_t a, int64_t b);
static bool civil_valid(const struct civil *civil);
static int64_t civil_to_time(const struct civil *civil);

bool date_parse(struct span text, int64_t now_s, int64_t *out_time_s)
{
    struct civil civil;

    /* RFC 9110 §5.6.7: a recipient must accept all three */
    if (!read_imf(text, &civil) && !read_rfc850(text, now_s, &civil) && !read_asctime(text, &civil)) {
        return false;
    }
    if (!civil_valid(&civil)) {
        return false;
    }
    *out_time_s = civil_to_time(&civil);
    return true;
}

static void write_digits(char *to, size_t count, uint64_t value)
{
    while (count > 0) {
        to[--count] = (char)('0' + value % 10);
        value /= 10;
    }
}

static int64_t clamp(int64_t time_s)
{
    return time_s < min_time_s ? min_time_s : time_s > max_time_s ? max_time_s : time_s;
}

void date_format(int64_t time_s, char out_text[DATE_TEXT_LEN])
{
    struct civil civil;
    size_t weekday;

    time_s = clamp(time_s);
    civil = civil_from_time(time_s);
    weekday = (size_t)((floor_div(time_s, DAY_S) % 7 + 7 + 4) % 7); /* 1970 began with a Thursday */

    memcpy(out_text, "Sun, 06 Nov 1994 08:49:37 GMT", DATE_TEXT_LEN);
    memcpy(out_text, day_names[weekday].data, 3);
    write_digits(out_text + 5, 2, civil.day);
    memcpy(out_text + 8, month_names[civil.month - 1].data, 3);
    write_digits(out_text + 12, 4, (uint64_t)civil.year);
    write_digits(out_text + 17, 2, civil.hour);
    write_digits(out_text + 20, 2, civil.minute);
    write_digits(out_text + 23, 2, civil.second);
}

void date_format_rfc3339(int64_t time_s, char out_text[DATE_RFC3339_LEN])
{
    struct civil civil = civil_from_time(clamp(time_s));

    memcpy(out_text, "1994-11-06T08:49:37Z", DATE_RFC3339_LEN);
    write_digits(out_text, 4, (uint64_t)civil.year);
    write_digits(out_text + 5, 2, civil.month);
    write_digits(out_text + 8, 2, civil.day);
    write_digits(out_text + 11, 2, civil.hour);
    write_digits(out_text + 14, 2, civil.minute);
    write_digits(out_text + 17, 2, civil.second);
}

void date_format_rfc3339_ms(int64_t time_ms, char out_text[DATE_RFC3339_MS_LEN])
{
    int64_t time_s = floor_div(time_ms, MS_PER_S);

    date_format_rfc3339(time_s, out_text);
    out_text[DATE_RFC3339_LEN - 1] = '.';
    write_digits(out_text + DATE_RFC3339_LEN, 3, (uint64_t)(time_ms - time_s * MS_PER_S));
    out_text[DATE_RFC3339_MS_LEN - 1] = 'Z';
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
static bool read_imf(struct span text, struct civil *out)
{
    unsigned year;

    if (text.len != DATE_TEXT_LEN || !is_day_abbreviation(text.data) || text.data[3] != ',' || text.data[4] != ' ' ||
        text.data[7] != ' ' || text.data[11] != ' ' || text.data[16] != ' ' || !text_at(text, 25, SPAN(" GMT"))) {
        return false;
    }
    if (!read_digits(text, 5, 2, &out->day) || !read_month(text, 8, &out->month) || !read_digits(text, 12, 4, &year)) {
        return false;
    }
    out->year = year;
    return read_time(text, 17, out);
}

/* "Sunday, 06-Nov-94 08:49:37 GMT" */
static bool read_rfc850(struct span text, int64_t now_s, struct civil *out)
{
    size_t comma = span_find(text, ',');
    struct civil now = civil_from_time(now_s < min_time_s ? min_time_s : now_s > max_time_s ? max_time_s : now_s);
    struct civil earlier;
    unsigned year;
    int64_t last; /* the last year that can be meant */

    if (comma == SIZE_MAX || !is_day_name(span_take(text, comma))) {
        return false;
    }
    text = span_skip(text, comma);
    if (text.len != 24 || text.data[1] != ' ' || text.data[4] != '-' || text.data[8] != '-' || text.data[11] != ' ' ||
        !text_at(text, 20, SPAN(" GMT"))) {
        return false;
    }
    if (!read_digits(text, 2, 2, &out->day) || !read_month(text, 5, &out->month) || !read_digits(text, 9, 2, &year) ||
        !read_time(text, 12, out)) {
        return false;
    }
    /* RFC 9110 §5.6.7: what appears to be more than 50 years in the future is the most recent year in the past */
    last = now.year + CENTURY_WINDOW_YEARS;
    out->year = last - (last % 100 - (int64_t)year + 100) % 100;
    earlier = *out;
    earlier.year -= CENTURY_WINDOW_YEARS;
    if (civil_to_time(&earlier) > now_s) {
        out->year -= 100;
    }
    return true;
}

/* "Sun Nov  6 08:49:37 1994" */
static bool read_asctime(struct span text, struct civil *out)
{
    unsigned year;

    if (text.len != 24 || !is_day_abbreviation(text.data) || text.data[3] != ' ' || text.data[7] != ' ' ||
        text.data[10] != ' ' || text.data[19] != ' ') {
        return false;
    }
    if (!read_month(text, 4, &out->month) || !read_time(text, 11, out) || !read_digits(text, 20, 4, &year)) {
        return false;
    }
    out->year = year;
    /* date3: two digits, or a space and one */
    return text.data[8] == ' ' ? read_digits(text, 9, 1, &out->day) : read_digits(text, 8, 2, &out->day);
}

static bool read_digits(struct span text, size_t at, size_t count, unsigned *out_value)
{
    unsigned value = 0;

    for (size_t i = at; i < at + count; i++) {
        if (text.data[i] < '0' || text.data[i] > '9') {
            return false;
        }
        value = value * 10 + (unsigned)(text.data[i] - '0');
    }
    *out_value = value;
    return true;
}

static bool read_month(struct span text, size_t at, unsigned *out_month)
{
    struct abbreviation month = abbreviation_of(text.data + at);

    for (unsigned i = 0; i < ARRAY_LEN(month_names); i++) {
        if (abbreviates(month, month_names[i])) {
            *out_month = i + 1;
            return true;
        }
    }
    return false;
}

/* "08:49:37" */
static bool read_time(struct span text, size_t at, struct civil *out)
{
    return text.data[at + 2] == ':' && text.data[at + 5] == ':' && read_digits(text, at, 2, &out->hour) &&
           read_digits(text, at + 3, 2, &out->minute) && read_digits(text, at + 6, 2, &out->second);
}

static bool text_at(struct span text, size_t at, struct span want)
{
    return span_equal_nocase(span_take(span_skip(text, at), want.len), want);
}

/* Whatever their case: the bit in which the cases differ makes no letter of what is none. */
static struct abbreviation abbreviation_of(const char *text)
{
    return (struct abbreviation){{(char)(text[0] & ~0x20), (char)(text[1] | 0x20), (char)(text[2] | 0x20)}};
}

static bool abbreviates(struct abbreviation abbreviation, struct span name)
{
    return memcmp(name.data, abbreviation.letters, sizeof abbreviation.letters) == 0;
}

/* Which day the date really was is nobody's business: origins get it wrong. */
static bool is_day_abbreviation(const char *text)
{
    struct abbreviation day = abbreviation_of(text);

    for (size_t i = 0; i < ARRAY_LEN(day_names); i++) {
        if (abbreviates(day, day_names[i])) {
            return true;
        }
    }
    return false;
}

static bool is_day_name(struct span text)
{
    for (size_t i = 0; i < ARRAY_LEN(day_names); i++) {
        if (span_equal_nocase(text, day_names[i])) {
            return true;
        }
    }
    return false;
}

static bool is_leap_year(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static bool civil_valid(const struct civil *civil)
{
    static const unsigned char month_days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

    if (civil->day < 1 || civil->day > month_days[civil->month - 1] ||
        (civil->month == 2 && civil->day == 29 && !is_leap_year(civil->year))) {
        return false;
    }
    return civil->hour <= 23 && civil->minute <= 59 && civil->second <= 60; /* 60: a leap second */
}

static int64_t civil_to_time(const struct civil *civil)
{
    return days_from_civil(civil->year, civil->month, civil->day) * DAY_S + (int64_t)civil->hour * 3600 +
           (int64_t)civil->minute * 60 + (int64_t)civil->second;
}

/* Days from 1970-01-01. Years are counted from March, so that the leap day is the last of its year and each month's
 * first day has a simple formula: day of year of month m (March is 0) is (153 m + 2) / 5. */
static int64_t days_from_civil(int64_t year, unsigned month, unsigned day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t m = month <= 2 ? (int64_t)month + 9 : (int64_t)month - 3;
    int64_t leap_days = floor_div(y, 4) - floor_div(y, 100) + floor_div(y, 400);

    return y * 365 + leap_days + (153 * m + 2) / 5 + (int64_t)day - 1 - 719468; /* 0000-03-01 to 1970-01-01 */
}

static struct civil civil_from_time(int64_t time_s)
{
    int64_t days = floor_div(time_s, DAY_S);
    int64_t rest_s = time_s - days * DAY_S;
    int64_t since_march_0 = days + 719468;
    /* At most one too small: the mean year of 365.2425 days divides well but for the edges. */
    int64_t y = floor_div(since_march_0 * 400, 146097) - 1;
    int64_t day_of_year, m;

    while (days_from_civil(y + 1, 3, 1) <= days) {
        y++;
    }
    day_of_year = days - days_from_civil(y, 3, 1);
    m = (5 * day_of_year + 2) / 153;
    return (struct civil){
        .year = m >= 10 ? y + 1 : y,
        .month = (unsigned)(m >= 10 ? m - 9 : m + 3),
        .day = (unsigned)(day_of_year - (153 * m + 2) / 5 + 1),
        .hour = (unsigned)(rest_s / 3600),
        .minute = (unsigned)(rest_s / 60 % 60),
        .second = (unsigned)(rest_s % 60),
    };
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}
