/* Accept-Encoding and Accept-Language reduced to what matters (RFC 9110 §12.5). */
#include <criterion/criterion.h>

#include "http/negotiate.h"
#include "support.h"

Test(negotiate, accept_language)
{
    static const struct span languages[] = {SPAN_INIT("en"), SPAN_INIT("de"), SPAN_INIT("pt-BR")};
    static const struct {
        const char *name, *headers, *want;
    } cases[] = {
        {"the only one", "Accept-Language: de\r\n", "de"},
        {"the highest weight, RFC 9110 §12.4.2", "Accept-Language: en;q=0.5, de;q=0.9\r\n", "de"},
        {"equal weights: the earlier of ours", "Accept-Language: de, en\r\n", "en"},
        {"a range with a region, RFC 4647 §3.4", "Accept-Language: de-AT\r\n", "de"},
        {"a range without, RFC 4647 §3.3.1", "Accept-Language: pt\r\n", "pt-BR"},
        {"not the beginning of a word", "Accept-Language: d, p\r\n", "en"},
        {"case makes no difference", "Accept-Language: DE\r\n", "de"},
        {"none of ours: the first", "Accept-Language: fr, it\r\n", "en"},
        {"refused", "Accept-Language: en;q=0, *;q=0.1\r\n", "de"},
        {"the star is for what is not named", "Accept-Language: *;q=0.9, en;q=0.2\r\n", "de"},
        {"the longer range counts", "Accept-Language: pt-BR;q=0.1, pt;q=0.9, en;q=0.5\r\n", "en"},
        {"several lines, RFC 9110 §5.3", "Accept-Language: en;q=0.1\r\nAccept-Language: de\r\n", "de"},
        {"nonsense", "Accept-Language: ;;;,,\r\n", "en"},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers headers = test_headers(&arena, cases[i].headers);
        struct span got = negotiate_language(&headers, languages, ARRAY_LEN(languages));
        cr_expect(span_equal(got, span_of(cases[i].want)), "%s: %.*s", cases[i].name, SPAN_ARG(got));
    }
    arena_finish(&arena);
}

Test(negotiate, accept_encoding)
{
    static const struct {
        const char *name, *headers, *want;
    } cases[] = {
        {"both: br", "Accept-Encoding: gzip, deflate, br\r\n", "br"},
        {"gzip weighs more", "Accept-Encoding: gzip;q=1, br;q=0.5\r\n", "gzip"},
        {"only gzip", "Accept-Encoding: gzip\r\n", "gzip"},
        {"the old name", "Accept-Encoding: x-gzip\r\n", "gzip"},
        {"anything", "Accept-Encoding: *\r\n", "br"},
        {"refused", "Accept-Encoding: br;q=0, gzip;q=0\r\n", ""},
        {"absent", "", ""},
    };
    struct arena arena = test_arena();

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct headers headers = test_headers(&arena, cases[i].headers);
        struct span got = negotiate_encoding(&headers);
        cr_expect(span_equal(got, span_of(cases[i].want)), "%s: %.*s", cases[i].name, SPAN_ARG(got));
    }
    arena_finish(&arena);
}
