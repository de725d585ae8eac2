/* config_values.c: text to sizes, durations and addresses, and the setters of simple values. */
#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>
#include <sys/un.h>

#include "http/token.h"
#include "proxy/config/config_schema.h"
#include "proxy/io/log.h"

enum { PSEUDONYM_MAX_BYTES = 255 }; /* Via and Cache-Status have room for it in any head */

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {
    {"B", 1},
    {"KiB", UINT64_C(1) << 10},
    {"MiB", UINT64_C(1) << 20},
    {"GiB", UINT64_C(1) << 30},
    {"TiB", UINT64_C(1) << 40},
    {"KB", 1000},
    {"kB", 1000},
    {"MB", 1000000},
    {"GB", UINT64_C(1000000000)},
    {"TB", UINT64_C(1000000000000)},
};

static const struct unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
};

/* Digits, at most one space, a unit. */
static bool parse_with_unit(struct span text, const struct unit *units, size_t unit_count, uint64_t *out_value)
{
    size_t digits = 0;
    uint64_t number;

    while (digits < text.len && text.data[digits] >= '0' && text.data[digits] <= '9') {
        digits++;
    }
    struct span unit = span_skip(text, digits);
    if (unit.len > 0 && unit.data[0] == ' ') {
        unit = span_skip(unit, 1);
    }
    if (!span_to_u64(span_take(text, digits), &number)) {
        return false;
    }
    for (size_t i = 0; i < unit_count; i++) {
        if (span_equal(unit, span_of(units[i].name))) {
            return !__builtin_mul_overflow(number, units[i].factor, out_value);
        }
    }
    return false;
}

bool config_parse_size(struct span text, uint64_t *out_bytes)
{
    uint64_t bytes;

    if (!span_to_u64(text, &bytes) && !parse_with_unit(text, size_units, ARRAY_LEN(size_units), &bytes)) {
        return false;
    }
    *out_bytes = bytes;
    return true;
}

bool config_parse_duration(struct span text, uint64_t *out_ms)
{
    uint64_t ms = 0;

    if (!span_equal(text, SPAN("0")) && !parse_with_unit(text, duration_units, ARRAY_LEN(duration_units), &ms)) {
        return false;
    }
    *out_ms = ms;
    return true;
}

/* Zero is "0" with the first unit's name. */
static struct config_text in_largest_unit(uint64_t value, const struct unit *units, size_t unit_count)
{
    struct config_text text;
    const struct unit *best = &units[0];

    for (size_t i = 1; i < unit_count; i++) {
        if (value != 0 && value % units[i].factor == 0 && units[i].factor > best->factor) {
            best = &units[i];
        }
    }
    (void)snprintf(text.text, sizeof text.text, "%" PRIu64 "%s", value / best->factor, best->name);
    return text;
}

struct config_text config_size_text(uint64_t bytes)
{
    return in_largest_unit(bytes, size_units, 5); /* the binary ones */
}

struct config_text config_duration_text(uint64_t ms)
{
    return in_largest_unit(ms, duration_units, ARRAY_LEN(duration_units));
}

/* Numeric addresses only: what listens must not depend on a resolver. */
static bool host_is_numeric(const char *host, bool bracketed)
{
    unsigned char address[sizeof(struct in6_addr)];

    return inet_pton(bracketed ? AF_INET6 : AF_INET, host, address) == 1;
}

static bool parse_unix_address(struct span path, struct arena *arena, struct address *out_address)
{
    struct span copy;

    if (path.len == 0 || path.len >= sizeof((struct sockaddr_un *)NULL)->sun_path ||
        memchr(path.data, '\0', path.len) != NULL) {
        return false;
    }
    if (!arena_format(arena, &copy, "%.*s", SPAN_ARG(path))) {
        return false;
    }
    *out_address = (struct address){.kind = ADDRESS_UNIX, .host = copy.data};
    return true;
}

bool config_parse_address(struct span text, struct arena *arena, struct address *out_address)
{
    static const struct span unix_prefix = SPAN_INIT("unix:");
    size_t colon = SIZE_MAX;
    struct span copy;
    uint64_t port;

    if (span_starts_with(text, unix_prefix)) {
        return parse_unix_address(span_skip(text, unix_prefix.len), arena, out_address);
    }
    for (size_t i = 0; i < text.len; i++) {
        colon = text.data[i] == ':' ? i : colon;
    }
    if (colon == SIZE_MAX || !span_to_u64(span_skip(text, colon + 1), &port) || port > UINT16_MAX) {
        return false;
    }
    struct span host = span_take(text, colon);
    bool bracketed = host.len >= 2 && host.data[0] == '[' && host.data[host.len - 1] == ']';
    if (host.len == 0) {
        host = SPAN("::"); /* both families */
        bracketed = true;
    } else if (bracketed) {
        host = span_take(span_skip(host, 1), host.len - 2);
    }
    if (memchr(host.data, '\0', host.len) != NULL || !arena_format(arena, &copy, "%.*s", SPAN_ARG(host)) ||
        !host_is_numeric(copy.data, bracketed)) {
        return false;
    }
    *out_address = (struct address){.kind = ADDRESS_IP, .host = copy.data, .port = (uint16_t)port};
    return true;
}

bool config_is_text(const struct toml_node *node)
{
    return node->kind == TOML_STRING || node->kind == TOML_WORD;
}

const char *config_copy_text(struct config_reader *reader, const struct config_place *place, struct span text)
{
    char *copy = arena_alloc_text(&reader->config->arena, text.len + 1);

    if (copy == NULL) {
        (void)config_fail_memory(reader, place);
        return NULL;
    }
    if (text.len > 0) {
        memcpy(copy, text.data, text.len);
    }
    copy[text.len] = '\0';
    return copy;
}

static void *field_of(const struct config_key *key, void *base)
{
    return (char *)base + key->offset;
}

/* Numbers and members of enums are as wide as their field. */
static void store_number(const struct config_key *key, void *base, uint64_t value)
{
    if (key->bytes == sizeof(uint64_t)) {
        memcpy(field_of(key, base), &value, sizeof value);
    } else {
        unsigned narrow = (unsigned)value;
        REQUIRE(key->bytes == sizeof narrow);
        memcpy(field_of(key, base), &narrow, sizeof narrow);
    }
}

static void store_pointer(const struct config_key *key, void *base, const void *pointer)
{
    memcpy(field_of(key, base), &pointer, sizeof pointer);
}

void config_store_list(const struct config_key *key, void *base, const void *items, size_t count)
{
    store_pointer(key, base, items);
    memcpy((char *)base + key->count_offset, &count, sizeof count);
}

bool config_set_bool(struct config_reader *reader, const struct config_key *key, void *base,
                     const struct config_place *place)
{
    const struct toml_node *node = place->node;
    bool value = node->kind == TOML_BOOLEAN ? node->boolean : span_equal(node->text, SPAN("true"));

    if (node->kind != TOML_BOOLEAN && (node->kind != TOML_WORD || (!value && !span_equal(node->text, SPAN("false"))))) {
        return config_fail_expected(reader, place, TOML_BOOLEAN, "expected true or false");
    }
    memcpy(field_of(key, base), &value, sizeof value);
    return true;
}

bool config_set_count(struct config_reader *reader, const struct config_key *key, void *base,
                      const struct config_place *place)
{
    const struct toml_node *node = place->node;
    uint64_t value =
        node->kind == TOML_INTEGER ? (uint64_t)node->integer : 0; /* negative ones are far above any maximum */

    if ((node->kind != TOML_INTEGER && (node->kind != TOML_WORD || !span_to_u64(node->text, &value))) ||
        value < key->min || value > key->max) {
        return config_fail_expected(reader, place, TOML_INTEGER, "expected a whole number from %" PRIu64 " to %" PRIu64,
                                    key->min, key->max);
    }
    store_number(key, base, value);
    return true;
}

bool config_set_size(struct config_reader *reader, const struct config_key *key, void *base,
                     const struct config_place *place)
{
    const struct toml_node *node = place->node;
    uint64_t value = node->kind == TOML_INTEGER ? (uint64_t)node->integer : 0;

    if ((node->kind != TOML_INTEGER && (!config_is_text(node) || !config_parse_size(node->text, &value))) ||
        value < key->min || value > key->max) {
        return config_fail_expected(reader, place, TOML_STRING, "expected a size from %s to %s such as \"64MiB\"",
                                    key->min == 0 ? "0" : config_size_text(key->min).text,
                                    config_size_text(key->max).text);
    }
    store_number(key, base, value);
    return true;
}

/* Milliseconds of a duration; whole numbers are seconds. False on anything else. */
static bool duration_of(const struct toml_node *node, uint64_t *out_ms)
{
    if (node->kind == TOML_INTEGER) {
        return node->integer >= 0 && !__builtin_mul_overflow((uint64_t)node->integer, UINT64_C(1000), out_ms);
    }
    return config_is_text(node) && config_parse_duration(node->text, out_ms);
}

bool config_set_duration_ms(struct config_reader *reader, const struct config_key *key, void *base,
                            const struct config_place *place)
{
    uint64_t ms;

    if (!duration_of(place->node, &ms) || ms < key->min || ms > key->max) {
        return config_fail_expected(reader, place, TOML_STRING, "expected a duration from %s to %s such as \"10s\"",
                                    key->min == 0 ? "0" : config_duration_text(key->min).text,
                                    config_duration_text(key->max).text);
    }
    store_number(key, base, ms);
    return true;
}

/* HTTP counts lifetimes in seconds: a fraction would be lost. */
bool config_set_duration_s(struct config_reader *reader, const struct config_key *key, void *base,
                           const struct config_place *place)
{
    uint64_t ms;

    if (!duration_of(place->node, &ms) || ms % 1000 != 0 || ms / 1000 < key->min || ms / 1000 > key->max) {
        return config_fail_expected(reader, place, TOML_STRING,
                                    "expected a duration in whole seconds up to %s such as \"10s\"",
                                    config_duration_text(key->max * 1000).text);
    }
    store_number(key, base, ms / 1000);
    return true;
}

bool config_set_choice(struct config_reader *reader, const struct config_key *key, void *base,
                       const struct config_place *place)
{
    struct buf names;

    for (const struct config_choice *choice = key->choices; choice->name != NULL; choice++) {
        if (config_is_text(place->node) && span_equal(place->node->text, span_of(choice->name))) {
            store_number(key, base, choice->value);
            return true;
        }
    }
    buf_init(&names, 256);
    for (const struct config_choice *choice = key->choices; choice->name != NULL; choice++) {
        const char *separator = choice == key->choices ? "" : choice[1].name == NULL ? " or " : ", ";
        buf_format(&names, "%s\"%s\"", separator, choice->name);
    }
    (void)config_fail_expected(reader, place, TOML_STRING, "expected %.*s", SPAN_ARG(buf_span(&names)));
    buf_finish(&names);
    return false;
}

/* Text that names something in the file system: not empty, and nothing the system would cut short. */
static bool is_file_name(const struct toml_node *node)
{
    return config_is_text(node) && node->text.len > 0 && memchr(node->text.data, '\0', node->text.len) == NULL;
}

static bool store_text(struct config_reader *reader, const struct config_key *key, void *base,
                       const struct config_place *place)
{
    const char *copy = config_copy_text(reader, place, place->node->text);

    if (copy != NULL) {
        store_pointer(key, base, copy);
    }
    return copy != NULL;
}

bool config_set_path_text(struct config_reader *reader, const struct config_key *key, void *base,
                          const struct config_place *place)
{
    if (!is_file_name(place->node)) {
        return config_fail_expected(reader, place, TOML_STRING, "expected a path");
    }
    return store_text(reader, key, base, place);
}

/* Whether the system knows it is asked at the start: a configuration may be checked elsewhere. */
bool config_set_account(struct config_reader *reader, const struct config_key *key, void *base,
                        const struct config_place *place)
{
    if (!config_is_text(place->node) || !is_token(place->node->text)) {
        return config_fail_expected(reader, place, TOML_STRING, "expected the name of an account");
    }
    return store_text(reader, key, base, place);
}

bool config_set_access_log(struct config_reader *reader, const struct config_key *key, void *base,
                           const struct config_place *place)
{
    if (!is_file_name(place->node)) {
        return config_fail_expected(reader, place, TOML_STRING,
                                    "expected a path, \"-\" for standard output, or \"off\"");
    }
    if (span_equal(place->node->text, SPAN("off"))) {
        store_pointer(key, base, NULL);
        return true;
    }
    return store_text(reader, key, base, place);
}

/* A token in Via (RFC 9110 §7.6.3) and in Cache-Status (RFC 9651 §3.3.4: starts with a letter) alike. */
bool config_set_pseudonym(struct config_reader *reader, const struct config_key *key, void *base,
                          const struct config_place *place)
{
    struct span text = place->node->text;

    if (!config_is_text(place->node) || !is_token(text) || text.len > PSEUDONYM_MAX_BYTES ||
        !((text.data[0] | 0x20) >= 'a' && (text.data[0] | 0x20) <= 'z')) {
        return config_fail_expected(
            reader, place, TOML_STRING,
            "expected a name of letters, digits and - that starts with a letter, at most 255 of them");
    }
    return store_text(reader, key, base, place);
}

/* One address: false with the error written. Port 0 may repeat: each gets its own. */
static bool set_address(struct config_reader *reader, const struct address *earlier, size_t earlier_count,
                        struct address *out_address, const struct config_place *place)
{
    if (!config_is_text(place->node) || !config_parse_address(place->node->text, &reader->config->arena, out_address)) {
        return config_fail_expected(
            reader, place, TOML_STRING,
            "expected an address such as \"127.0.0.1:8080\", \":8080\", \"[::1]:8080\" or \"unix:/path\"");
    }
    for (size_t i = 0; i < earlier_count; i++) {
        if (earlier[i].kind == out_address->kind && earlier[i].port == out_address->port &&
            strcmp(earlier[i].host, out_address->host) == 0 &&
            (out_address->kind == ADDRESS_UNIX || out_address->port != 0)) {
            return config_fail_expected(reader, place, TOML_STRING, "expected each address once");
        }
    }
    return true;
}

bool config_set_listen(struct config_reader *reader, const struct config_key *key, void *base,
                       const struct config_place *place)
{
    bool is_list = place->node->kind == TOML_ARRAY;
    const struct toml_node *members = is_list ? place->node->children : place->node;
    size_t count = is_list ? place->node->child_count : 1;

    if (count == 0) {
        return config_fail_expected(reader, place, TOML_STRING, "expected an address or a list of them");
    }
    struct address *addresses = arena_alloc(&reader->config->arena, count * sizeof *addresses);
    if (addresses == NULL) {
        return config_fail_memory(reader, place);
    }
    for (size_t i = 0; i < count; i++) {
        struct config_place member = *place;
        member.node = &members[i];
        member.item = is_list ? i + 1 : 0;
        if (!set_address(reader, addresses, i, &addresses[i], &member)) {
            return false;
        }
    }
    config_store_list(key, base, addresses, count);
    return true;
}
