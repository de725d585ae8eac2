/* Addresses that are meant together. */
#include <criterion/criterion.h>

#include "proxy/config/network.h"

Test(network, has)
{
    static const struct {
        const char *network, *host;
        bool want;
    } cases[] = {
        {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1", "127.0.0.2", false},
        {"10.0.0.0/8", "10.255.1.2", true},
        {"10.0.0.0/8", "11.0.0.0", false},
        {"0.0.0.0/0", "192.0.2.1", true},
        {"0.0.0.0/0", "::1", false},
        {"192.0.2.128/25", "192.0.2.200", true},
        {"192.0.2.128/25", "192.0.2.100", false},
        {"::1", "::1", true},
        {"::1", "127.0.0.1", false},
        {"2001:db8::/32", "2001:db8:1::2", true},
        {"2001:db8::/32", "2001:db9::", false},
        {"::/0", "2001:db8::1", true},
        {"unix", "unix", true},
        {"unix", "127.0.0.1", false},
        {"127.0.0.1", "unix", false},
        {"0.0.0.0/0", "unknown", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct network network;
        cr_assert(network_parse(span_of(cases[i].network), &network), "%s", cases[i].network);
        cr_expect_eq(network_has(&network, cases[i].host), cases[i].want, "%s has %s", cases[i].network, cases[i].host);
    }
}

Test(network, one_of_several_has)
{
    struct network networks[2];

    cr_assert(network_parse(SPAN("10.0.0.0/8"), &networks[0]) && network_parse(SPAN("unix"), &networks[1]));
    cr_expect(networks_have(networks, 2, "10.1.2.3"));
    cr_expect(networks_have(networks, 2, "unix"));
    cr_expect_not(networks_have(networks, 2, "11.1.2.3"));
    cr_expect_not(networks_have(networks, 0, "10.1.2.3"));
}

Test(network, what_is_none)
{
    static const char *const texts[] = {
        "",      "localhost", "127.0.0.1/33", "::1/129",     "127.0.0.1/24", "10.0.0.0/", "10.0.0.0/8/",
        "1.2.3", "1.2.3.4.5", "[::1]",        "10.0.0.0/-1", "unix:/a"};
    struct network network;

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        cr_expect_not(network_parse(span_of(texts[i]), &network), "%s", texts[i]);
    }
}
