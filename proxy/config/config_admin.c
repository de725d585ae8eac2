/* config_admin.c: who may give orders: [admin], with what is not given there, and purge_from of a site.
 *
 * The socket is for those who may open its file. An address that only this machine reaches may go without a token;
 * every other one must have one. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proxy/config/config_schema.h"

enum { TOKEN_MIN_BYTES = 16, TOKEN_MAX_BYTES = 1024 };

bool address_is_local(const struct address *address)
{
    return address->kind == ADDRESS_UNIX || strncmp(address->host, "127.", 4) == 0 || strcmp(address->host, "::1") == 0;
}

/* Beside the cache, so that the commands find it where they find that. */
static bool complete_socket(struct config_reader *reader)
{
    struct config *config = reader->config;
    struct config_place place = config_place_of(reader, SECTION_ADMIN, "socket");
    struct span path;

    if (config->admin.socket != NULL && strcmp(config->admin.socket, "off") == 0) {
        config->admin.socket = NULL;
    } else if (config->admin.socket == NULL) {
        if (!arena_format(&config->arena, &path, "%s/admin.sock", config->cache.dir)) {
            return config_fail_memory(reader, &place);
        }
        config->admin.socket = path.data;
        config->admin.socket_is_default = true;
    }
    return true;
}

/* The first line of the file. */
static bool read_token(struct config_reader *reader, const char *path)
{
    struct config_place place = config_place_of(reader, SECTION_ADMIN, "token");
    char text[TOKEN_MAX_BYTES + 2];
    FILE *file = fopen(path, "rb");

    if (file == NULL) {
        return config_fail(reader, &place, "expected a file that can be read: %s: %s", path, strerror(errno));
    }
    struct span whole = {text, fread(text, 1, sizeof text, file)};
    (void)fclose(file); /* only read */
    struct span token = span_trim(span_take(whole, span_find(whole, '\n')));
    if (!arena_copy(&reader->config->arena, token, &reader->config->admin.token)) {
        return config_fail_memory(reader, &place);
    }
    return true;
}

/* What can stand in an Authorization field (RFC 6750 §2.1), and cannot be guessed. */
static bool check_token(struct config_reader *reader)
{
    static const struct span others = SPAN_INIT("-._~+/=");
    struct config_place place = config_place_of(reader, SECTION_ADMIN, "token");
    struct span token = reader->config->admin.token;
    bool good = token.len >= TOKEN_MIN_BYTES && token.len <= TOKEN_MAX_BYTES;

    for (size_t i = 0; i < token.len && good; i++) {
        char c = token.data[i];
        bool is_letter = ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c >= '0' && c <= '9');
        good = is_letter || span_find(others, c) != SIZE_MAX;
    }
    return good ||
           config_fail(reader, &place,
                       "expected %d to %d letters, digits and - . _ ~ + / =, or \"file:/path\" with such a line",
                       TOKEN_MIN_BYTES, TOKEN_MAX_BYTES);
}

static bool complete_token(struct config_reader *reader)
{
    static const char file_prefix[] = "file:";
    struct config *config = reader->config;
    const char *given = config->admin.token_text;

    if (given == NULL) {
        return true;
    }
    if (strncmp(given, file_prefix, sizeof file_prefix - 1) != 0) {
        config->admin.token = span_of(given);
    } else if (!read_token(reader, given + sizeof file_prefix - 1)) {
        return false;
    }
    return check_token(reader);
}

bool config_complete_admin(struct config_reader *reader)
{
    const struct config *config = reader->config;
    struct config_place place = config_place_of(reader, SECTION_ADMIN, "listen");

    if (!complete_socket(reader) || !complete_token(reader)) {
        return false;
    }
    for (size_t i = 0; i < config->admin.listen_count; i++) {
        if (config->admin.token.len == 0 && !address_is_local(&config->admin.listen[i])) {
            return config_fail(reader, &place, "expected a token too, for an address that other machines reach");
        }
    }
    return true;
}

/* `others`: what else the key may be. */
static bool read_networks(struct config_reader *reader, const struct config_key *key, void *base,
                          const struct config_place *place, const char *others)
{
    struct config_members members = config_members_of(place);
    struct network *networks = arena_alloc(&reader->config->arena, (members.count + 1) * sizeof(*networks));

    if (networks == NULL) {
        return config_fail_memory(reader, place);
    }
    for (size_t i = 0; i < members.count; i++) {
        struct config_place member = config_member_place(place, &members, i);
        if (!config_is_text(member.node) || !network_parse(member.node->text, &networks[i])) {
            return config_fail_expected(reader, &member, TOML_STRING,
                                        "expected %san address such as \"127.0.0.1\" or \"::1\", a network such as "
                                        "\"10.0.0.0/8\", or \"unix\"",
                                        others);
        }
    }
    config_store_list(key, base, networks, members.count);
    return true;
}

bool config_set_networks(struct config_reader *reader, const struct config_key *key, void *base,
                         const struct config_place *place)
{
    return read_networks(reader, key, base, place, "");
}

bool config_set_trust(struct config_reader *reader, const struct config_key *key, void *base,
                      const struct config_place *place)
{
    static const struct network everybody[] = {{.bits = 0}, {.is_unix = true}};
    const struct toml_node *node = place->node;
    bool is_word = node->kind == TOML_WORD; /* a default: without quotes */

    if (node->kind == TOML_BOOLEAN ? node->boolean : is_word && span_equal(node->text, SPAN("true"))) {
        config_store_list(key, base, everybody, ARRAY_LEN(everybody));
        return true;
    }
    if (node->kind == TOML_BOOLEAN || (is_word && span_equal(node->text, SPAN("false")))) {
        config_store_list(key, base, NULL, 0);
        return true;
    }
    return read_networks(reader, key, base, place, "true, false, ");
}
