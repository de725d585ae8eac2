/* test_link.c: Link values taken apart (RFC 8288), and which are early hints (RFC 8297). */
#include <criterion/criterion.h>

#include "http/check.h"
#include "http/link.h"

Test(link, values_one_by_one)
{
    static const struct {
        const char *name, *field, *want; /* wanted values with " | " behind each */
    } cases[] = {
        {"one (3)", "</a.css>; rel=preload", "</a.css>; rel=preload | "},
        {"two (3)", "</a>; rel=preload, </b>; rel=next", "</a>; rel=preload | </b>; rel=next | "},
        {"no parameters", "</a>, </b>", "</a> | </b> | "},
        {"a comma in the target", "</a,b>; rel=x, </c>", "</a,b>; rel=x | </c> | "},
        {"a comma in a quoted string", "</a>; title=\"x, <y>\"; rel=x, </c>",
         "</a>; title=\"x, <y>\"; rel=x | </c> | "},
        {"an escaped quote", "</a>; title=\"x\\\", y\", </c>", "</a>; title=\"x\\\", y\" | </c> | "},
        {"empty members", ", ,</a>,,\t</b> ,", "</a> | </b> | "},
        {"an empty target", "<>; rel=preload", "<>; rel=preload | "},
        {"nothing", "", ""},
        {"no link-value", "/a; rel=preload", ""},
        {"none behind a good one", "</a>, b, </c>", "</a> | "},
        {"a target that does not end", "</a; rel=preload", ""},
        {"a string that does not end", "</a>; title=\"x, </b>", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span rest = span_of(cases[i].field);
        struct span want = span_of(cases[i].want);
        struct span value;
        while (link_next(&rest, &value)) {
            cr_expect(span_starts_with(want, value), "%s: %.*s", cases[i].name, SPAN_ARG(value));
            want = span_skip(want, value.len);
            cr_expect(span_starts_with(want, SPAN(" | ")), "%s", cases[i].name);
            want = span_skip(want, 3);
        }
        cr_expect_eq(want.len, 0, "%s: missing %.*s", cases[i].name, SPAN_ARG(want));
    }
}

Test(link, hints)
{
    static const struct {
        const char *value;
        bool hint;
    } cases[] = {
        {"</a.css>; rel=preload; as=style", true},
        {"</a.css>;rel=\"preload\"", true},
        {"</a.js>; rel=modulepreload", true},
        {"<https://cdn.test>; rel=preconnect", true},
        {"<//cdn.test>; rel=DNS-Prefetch", true},
        {"</a>; REL=\"x preload\"", true},
        {"</a>; as=font; crossorigin; rel = preload", true},
        {"</a>; rel=next", false},
        {"</a>; rel=preloaded", false},
        {"</a>; rel=\"pre load\"", false},
        {"</a>", false},
        {"</a>;", false},
        {"</a>; title=\"; rel=preload\"", false},
        {"</a>; rel=next; rel=preload", false},
        {"</a>; rel=preload; rel=next", true},
        {"</a>; rel=preload; anchor=\"/b\"", false},
        {"</a>; rel", false},
        {"</a>; rel=\"preload", false},
        {"", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(link_is_hint(span_of(cases[i].value)), cases[i].hint, "%s", cases[i].value);
    }
}
