/* test_store_tree.c: rows found in LMDB's trees without LMDB: in pages that are made here, good and bad ones. That it
 * finds what LMDB wrote is seen by every test of the store. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "cache/store_tree.h"
#include "http/check.h"

enum { PAGE_BYTES = 4096, PAGES = 64, MAX_KEYS = 600, LEAF_KEYS = 20, FIRST_PAGE = 2 };

/* Keys as they are in a tree, rising. */
struct keys {
    bool numbers;
    size_t count;
    uint64_t values[MAX_KEYS]; /* where they are not numbers: their text, big-endian, and `n` bytes of 'k' more */
    size_t more[MAX_KEYS];
};

static char *map; /* no longer than its pages: the address sanitizer sees who looks behind them */
static struct tree_view view;

static void setup(void)
{
    map = calloc(PAGES, PAGE_BYTES);
    cr_assert_not_null(map);
    view = (struct tree_view){.map = map, .page_bytes = PAGE_BYTES, .last_page = PAGES - 1};
}

static void teardown(void)
{
    free(map);
}

TestSuite(store_tree, .init = setup, .fini = teardown);

static void put16(char *at, size_t value)
{
    uint16_t number = (uint16_t)value;

    memcpy(at, &number, sizeof(number));
}

static struct span key_bytes(const struct keys *keys, size_t index, char room[64])
{
    uint64_t value = keys->values[index];

    if (!keys->numbers) {
        for (size_t i = 0; i < sizeof(value); i++) {
            room[i] = (char)(value >> (56 - 8 * i));
        }
        memset(room + sizeof(value), 'k', keys->more[index]);
        return (struct span){room, sizeof(value) + keys->more[index]};
    }
    memcpy(room, &value, sizeof(value));
    return (struct span){room, sizeof(value)};
}

static void page_begin(uint64_t number, unsigned kind)
{
    char *page = map + number * PAGE_BYTES;

    memset(page, 0, PAGE_BYTES);
    memcpy(page, &number, sizeof(number));
    put16(page + PAGE_AT_FLAGS, kind);
    put16(page + PAGE_AT_LOWER, PAGE_HEADER_BYTES);
    put16(page + PAGE_AT_LOWER + 2, PAGE_BYTES);
}

/* `low`, `flags`: of the node: the length of the data or the child's number. */
static void page_add(uint64_t number, size_t low, unsigned flags, struct span key, const void *data, size_t len)
{
    char *page = map + number * PAGE_BYTES;
    size_t lower = page_u16(page + PAGE_AT_LOWER);
    size_t upper = page_u16(page + PAGE_AT_LOWER + 2) - (NODE_HEADER_BYTES + key.len + len + 1) / 2 * 2;
    char *node = page + upper;

    cr_assert_geq(upper, lower + 2);
    put16(node, low);
    put16(node + 4, flags);
    put16(node + NODE_AT_KEY_BYTES, key.len);
    memcpy(node + NODE_HEADER_BYTES, key.data, key.len);
    if (len > 0) {
        memcpy(node + NODE_HEADER_BYTES + key.len, data, len);
    }
    put16(page + lower, upper);
    put16(page + PAGE_AT_LOWER, lower + 2);
    put16(page + PAGE_AT_LOWER + 2, upper);
}

/* The value of each key is its index. */
static struct tree_root make_tree(const struct keys *keys)
{
    struct tree_root tree = {.page = FIRST_PAGE, .depth = 1, .numbers = keys->numbers};
    uint64_t next = FIRST_PAGE + (keys->count > LEAF_KEYS ? 1 : 0);
    char room[64];

    if (keys->count > LEAF_KEYS) {
        tree.depth = 2;
        page_begin(FIRST_PAGE, PAGE_BRANCH);
    }
    for (size_t i = 0; i < keys->count; i++) {
        struct span key = key_bytes(keys, i, room);
        if (i % LEAF_KEYS == 0) {
            page_begin(next, PAGE_LEAF);
            if (tree.depth == 2) {
                page_add(FIRST_PAGE, next, 0, i == 0 ? (struct span){room, 0} : key, NULL, 0);
            }
            next++;
        }
        page_add(next - 1, sizeof(i), 0, key, &i, sizeof(i));
    }
    return tree;
}

static void expect_all(const struct keys *keys, const char *name)
{
    struct tree_root tree = make_tree(keys);
    struct span value;
    char room[64];

    for (size_t i = 0; i < keys->count; i++) {
        size_t got = SIZE_MAX;
        cr_assert_eq(tree_find(&view, &tree, key_bytes(keys, i, room), &value), TREE_FOUND, "%s: %zu", name, i);
        cr_assert_eq(value.len, sizeof(got));
        memcpy(&got, value.data, sizeof(got));
        cr_assert_eq(got, i, "%s: %zu", name, i);
        struct keys beside = {.numbers = keys->numbers, .count = 1, .values = {keys->values[i] + 1}};
        if (i + 1 == keys->count || keys->values[i + 1] != keys->values[i] + 1) {
            cr_assert_eq(tree_find(&view, &tree, key_bytes(&beside, 0, room), &value), TREE_ABSENT, "%s: behind %zu",
                         name, i);
        }
    }
    struct keys least = {.numbers = keys->numbers, .count = 1, .values = {keys->values[0] - 1}};
    cr_expect_eq(tree_find(&view, &tree, key_bytes(&least, 0, room), &value), TREE_ABSENT, "%s", name);
}

static uint64_t mix(uint64_t value)
{
    value = (value ^ value >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ value >> 27) * UINT64_C(0x94D049BB133111EB);
    return value ^ value >> 31;
}

static int compare_values(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

Test(store_tree, every_key_is_found_however_they_are_spread)
{
    static const size_t counts[] = {1, 2, LEAF_KEYS, LEAF_KEYS + 1, MAX_KEYS};

    for (size_t n = 0; n < ARRAY_LEN(counts); n++) {
        for (int numbers = 0; numbers < 2; numbers++) {
            struct keys keys = {.numbers = numbers == 1, .count = counts[n]};
            for (size_t i = 0; i < keys.count; i++) {
                keys.values[i] = 7 + i;
            }
            expect_all(&keys, "one after another");
            for (size_t i = 0; i < keys.count; i++) {
                keys.values[i] = mix(i + 1) / 2 + 1;
            }
            qsort(keys.values, keys.count, sizeof(keys.values[0]), compare_values);
            expect_all(&keys, "hashes");
            for (size_t i = 0; i < keys.count; i++) {
                keys.values[i] = 100 + i * i * i * i * i;
            }
            expect_all(&keys, "further and further apart");
            for (size_t i = 0; i < keys.count; i++) {
                keys.values[i] = i % 2 == 0 ? 10 + i : (UINT64_C(1) << 62) + i;
            }
            qsort(keys.values, keys.count, sizeof(keys.values[0]), compare_values);
            expect_all(&keys, "at both ends");
        }
    }
}

Test(store_tree, texts_with_the_same_beginning_are_told_apart)
{
    struct keys keys = {.count = 40};
    struct tree_root tree;
    struct span value;
    char room[64];

    for (size_t i = 0; i < keys.count; i++) {
        keys.values[i] = 5;
        keys.more[i] = i;
    }
    tree = make_tree(&keys);
    for (size_t i = 0; i < keys.count; i++) {
        size_t got;
        cr_assert_eq(tree_find(&view, &tree, key_bytes(&keys, i, room), &value), TREE_FOUND, "%zu", i);
        memcpy(&got, value.data, sizeof(got));
        cr_expect_eq(got, i);
    }
    cr_expect_eq(tree_find(&view, &tree, SPAN("meta"), &value), TREE_ABSENT, "shorter than eight bytes");
}

static bool only_branches(void *arg, uint64_t page, bool branch) /* tree_page_fn */
{
    (void)page;
    ++*(unsigned *)arg;
    return branch;
}

Test(store_tree, pages_are_asked_for_before_they_are_read)
{
    struct keys keys = {.numbers = true, .count = 2 * LEAF_KEYS};
    unsigned asked = 0;
    struct span value;
    char room[64];

    for (size_t i = 0; i < keys.count; i++) {
        keys.values[i] = i + 1;
    }
    struct tree_root tree = make_tree(&keys);
    view.may_read = only_branches;
    view.arg = &asked;
    cr_expect_eq(tree_find(&view, &tree, key_bytes(&keys, 3, room), &value), TREE_COLD);
    cr_expect_eq(asked, 2);
}

Test(store_tree, a_long_value_has_pages_of_its_own)
{
    uint64_t page = 10;
    struct keys keys = {.numbers = true, .count = 1, .values = {5}};
    struct tree_root tree = {.page = FIRST_PAGE, .depth = 1, .numbers = true};
    struct span value;
    char room[64];
    struct span key = key_bytes(&keys, 0, room);

    page_begin(FIRST_PAGE, PAGE_LEAF);
    page_add(FIRST_PAGE, 5000, NODE_BIG, key, &page, sizeof(page));
    cr_assert_eq(tree_find(&view, &tree, key, &value), TREE_FOUND);
    cr_expect_eq(value.len, 5000);
    cr_expect_eq(value.data, map + 10 * PAGE_BYTES + PAGE_HEADER_BYTES);
    view.last_page = 10; /* it takes two */
    cr_expect_eq(tree_find(&view, &tree, key, &value), TREE_ODD);
}

Test(store_tree, what_makes_no_sense_is_left_to_lmdb)
{
    struct keys keys = {.numbers = true, .count = LEAF_KEYS};
    struct span value;
    char room[64];

    for (size_t i = 0; i < keys.count; i++) {
        keys.values[i] = i + 1;
    }
    const struct tree_root good = make_tree(&keys);
    const struct tree_root roots[] = {
        {.page = PAGES, .depth = 1, .numbers = true},          {.page = FIRST_PAGE, .depth = 0, .numbers = true},
        {.page = FIRST_PAGE, .depth = 2, .numbers = true},     {.page = FIRST_PAGE, .depth = 1000, .numbers = true},
        {.page = FIRST_PAGE + 1, .depth = 1, .numbers = true},
    };
    struct span key = key_bytes(&keys, 0, room);
    for (size_t i = 0; i < ARRAY_LEN(roots); i++) {
        cr_expect_eq(tree_find(&view, &roots[i], key, &value), TREE_ODD, "%zu", i);
    }
    struct tree_root empty = {.page = PAGE_NONE, .numbers = true};
    cr_expect_eq(tree_find(&view, &empty, key, &value), TREE_ABSENT);
    char *first = map + FIRST_PAGE * PAGE_BYTES;
    size_t node = page_u16(first + PAGE_HEADER_BYTES);
    put16(first + node + NODE_AT_KEY_BYTES, 7); /* no number */
    cr_expect_eq(tree_find(&view, &good, key, &value), TREE_ODD);
    put16(first + PAGE_HEADER_BYTES, PAGE_BYTES - 2);
    cr_expect_eq(tree_find(&view, &good, key, &value), TREE_ODD);
}

Test(store_tree, whatever_a_page_says_nothing_outside_is_read)
{
    struct keys keys = {.numbers = true, .count = 3 * LEAF_KEYS};
    uint64_t state = 1;
    struct span value;
    char room[64];

    for (int numbers = 0; numbers < 2; numbers++) {
        keys.numbers = numbers == 1;
        for (size_t i = 0; i < keys.count; i++) {
            keys.values[i] = 3 * i + 1;
        }
        for (unsigned turn = 0; turn < 3000; turn++) {
            struct tree_root tree = make_tree(&keys);
            for (unsigned flip = 0; flip < 8; flip++) {
                state++;
                size_t page = FIRST_PAGE + mix(state) % 4;
                size_t at = mix(state) >> 32;
                map[page * PAGE_BYTES + (flip % 2 == 0 ? at % 128 : PAGE_BYTES - 1 - at % 1024)] ^=
                    (char)(mix(state) >> 16);
            }
            for (size_t i = 0; i < keys.count; i += 7) {
                if (tree_find(&view, &tree, key_bytes(&keys, i, room), &value) == TREE_FOUND) {
                    cr_assert_geq(value.data, map);
                    cr_assert_leq(value.data + value.len, map + (size_t)PAGES * PAGE_BYTES);
                }
            }
        }
    }
}
