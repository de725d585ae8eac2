/* test_site_mode.c: in which mode a site is run: configured, ordered, and over reloads. */
#include <criterion/criterion.h>

#include "proxy/config/site_mode.h"
#include "tests/unit/config_support.h"

TestSuite(site_mode, .init = config_test_setup, .fini = config_test_teardown);

static struct config *load(const char *text)
{
    struct config *config = load_config(text);

    cr_assert_not_null(config, "%s", error_text());
    return config;
}

#define SITE_A "[[site]]\nhosts = [\"a.test\", \"b.test\"]\norigin = \"http://o\"\n"
#define APP    "[[site]]\nhosts = \"a.test\"\npath = \"/app\"\norigin = \"http://o\"\nmode = \"record\"\n"
#define OTHERS "[[site]]\norigin = \"http://o\"\nmode = \"offline\"\n"

Test(site_mode, what_is_configured_holds_first)
{
    struct config *config = load(SITE_A APP OTHERS);
    struct site_modes *modes = site_modes_create();

    cr_expect_eq(site_mode(&config->sites[1]), MODE_RECORD, "also where nobody gives orders");
    cr_assert(modes != NULL && site_modes_bind(modes, config));
    cr_expect_eq(site_mode(&config->sites[0]), MODE_NORMAL);
    cr_expect_eq(site_mode(&config->sites[1]), MODE_RECORD);
    cr_expect_eq(site_mode(&config->sites[2]), MODE_OFFLINE);
    config_destroy(config);
    site_modes_destroy(modes);
    site_modes_destroy(NULL);
}

Test(site_mode, orders_and_reloads)
{
    struct config *first = load(SITE_A APP);
    struct config *same = load(OTHERS SITE_A APP);
    struct config *changed = load(SITE_A "mode = \"record\"\n");
    struct site_modes *modes = site_modes_create();

    cr_assert(modes != NULL && site_modes_bind(modes, first));
    site_modes_adopt(modes, first);
    site_mode_order(&first->sites[0], MODE_OFFLINE);
    cr_assert(site_modes_bind(modes, same));
    cr_expect_eq(site_mode(&same->sites[1]), MODE_OFFLINE, "before it is in force, too");
    site_modes_adopt(modes, same);
    cr_expect_eq(site_mode(&same->sites[1]), MODE_OFFLINE, "an order holds over a reload");
    cr_expect_eq(site_mode(&same->sites[2]), MODE_RECORD, "another path is another site");
    site_mode_order(&same->sites[1], MODE_NORMAL);
    cr_expect_eq(site_mode(&first->sites[0]), MODE_NORMAL, "former configurations obey");
    site_mode_order(&same->sites[1], MODE_OFFLINE);
    cr_assert(site_modes_bind(modes, changed));
    cr_expect_eq(site_mode(&changed->sites[0]), MODE_OFFLINE, "it is not in force yet, and may never be");
    site_modes_adopt(modes, changed);
    cr_expect_eq(site_mode(&changed->sites[0]), MODE_RECORD, "what was changed in the file holds");
    site_mode_order(&changed->sites[0], MODE_NORMAL);
    site_modes_adopt(modes, changed);
    cr_expect_eq(site_mode(&changed->sites[0]), MODE_NORMAL);
    config_destroy(first);
    config_destroy(same);
    config_destroy(changed);
    site_modes_destroy(modes);
}

static bool pass_on(void *arg, const struct mode_order *order)
{
    return site_modes_learn(arg, order);
}

static bool refuse(void *arg, const struct mode_order *order)
{
    cr_expect(span_equal(order->name, SPAN("a.test")) && span_equal(order->path, SPAN("/")));
    ++*(unsigned *)arg;
    return false;
}

Test(site_mode, orders_go_over_to_another_process)
{
    struct config *first = load(SITE_A APP OTHERS);
    struct config *same = load(APP SITE_A);
    struct config *changed = load(SITE_A "mode = \"record\"\n");
    struct site_modes *former = site_modes_create();
    struct site_modes *later = site_modes_create();
    struct site_modes *last = site_modes_create();
    unsigned refused = 0;

    cr_assert(former != NULL && later != NULL && last != NULL && site_modes_bind(former, first));
    cr_assert(site_modes_tell(former, refuse, &refused) && refused == 0, "nothing was ordered");
    site_mode_order(&first->sites[0], MODE_OFFLINE);
    cr_expect(!site_modes_tell(former, refuse, &refused) && refused == 1);
    cr_assert(site_modes_tell(former, pass_on, later));
    site_modes_adopt(later, same);
    cr_assert(site_modes_bind(later, same));
    cr_expect_eq(site_mode(&same->sites[0]), MODE_RECORD);
    cr_expect_eq(site_mode(&same->sites[1]), MODE_OFFLINE, "ordered there, in force here");
    cr_assert(site_modes_tell(later, pass_on, last));
    site_modes_adopt(last, changed);
    cr_assert(site_modes_bind(last, changed));
    cr_expect_eq(site_mode(&changed->sites[0]), MODE_RECORD, "what was changed in the file holds");
    config_destroy(first);
    config_destroy(same);
    config_destroy(changed);
    site_modes_destroy(former);
    site_modes_destroy(later);
    site_modes_destroy(last);
}

Test(site_mode, names)
{
    struct config *config = load(SITE_A APP OTHERS);
    static const struct {
        const char *name;
        bool want[3];
    } cases[] = {
        {"a.test", {true, true, false}},      {"A.TEST", {true, true, false}},
        {"b.test", {true, false, false}},     {"a.test/", {true, false, false}},
        {"a.test/app", {false, true, false}}, {"a.test/ap", {false, false, false}},
        {"a.testing", {false, false, false}}, {"default", {false, false, true}},
        {"", {false, false, false}},          {"/app", {false, false, false}},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t k = 0; k < 3; k++) {
            cr_expect_eq(site_mode_names(&config->sites[k], span_of(cases[i].name)), cases[i].want[k], "%s, %zu",
                         cases[i].name, k);
        }
    }
    config_destroy(config);
}

Test(site_mode, texts)
{
    enum mode mode;

    for (enum mode each = MODE_NORMAL; each <= MODE_RECORD; each++) {
        cr_expect(site_mode_of_text(span_of(site_mode_text(each)), &mode) && mode == each);
    }
    cr_expect_not(site_mode_of_text(SPAN("Offline"), &mode));
    cr_expect_not(site_mode_of_text(SPAN(""), &mode));
}
