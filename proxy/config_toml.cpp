/* config_toml.cpp: toml++ behind extern "C"; the only C++ of the project.
 *
 * Built without exceptions and RTTI: toml++ then returns its errors. The tree borrows keys and strings from toml++'s
 * own table, which the document keeps. */
#include "proxy/config_toml.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <utility>

#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS  0
#include <toml++/toml.h>

/* Deeper than any configuration; bounds the recursion over what a file says. */
static constexpr unsigned MAX_DEPTH = 32;

struct toml_document {
    toml::table table; /* owns the texts */
    toml_node root{};
};

static span span_from(std::string_view text)
{
    return span{text.data(), text.size()};
}

static void free_children(toml_node &node)
{
    for (size_t i = 0; i < node.child_count; i++) {
        free_children(node.children[i]);
    }
    free(node.children);
    node.children = nullptr;
    node.child_count = 0;
}

/* Zeroed room for the children; false without memory. An empty table needs none. */
static bool allocate_children(toml_node &node, size_t count)
{
    if (count == 0) {
        return true;
    }
    node.children = static_cast<toml_node *>(calloc(count, sizeof(toml_node)));
    return node.children != nullptr;
}

static bool convert(const toml::node &from, toml_node &to, unsigned depth);

/* toml++ sorts tables by key; the file's order is the one people know. */
static bool convert_table(const toml::table &from, toml_node &to, unsigned depth)
{
    if (!allocate_children(to, from.size())) {
        return false;
    }
    for (auto &&[key, value] : from) {
        toml_node &child = to.children[to.child_count++];
        child.key = span_from(key.str());
        child.key_line = key.source().begin.line;
        child.key_column = key.source().begin.column;
        if (!convert(value, child, depth + 1)) {
            return false;
        }
    }
    std::stable_sort(to.children, to.children + to.child_count, [](const toml_node &a, const toml_node &b) {
        return std::pair(a.key_line, a.key_column) < std::pair(b.key_line, b.key_column);
    });
    return true;
}

static bool convert_array(const toml::array &from, toml_node &to, unsigned depth)
{
    if (!allocate_children(to, from.size())) {
        return false;
    }
    for (const toml::node &value : from) {
        if (!convert(value, to.children[to.child_count++], depth + 1)) {
            return false;
        }
    }
    return true;
}

static bool convert(const toml::node &from, toml_node &to, unsigned depth)
{
    to.line = from.source().begin.line;
    to.column = from.source().begin.column;
    if (depth > MAX_DEPTH) {
        return false;
    }
    switch (from.type()) {
    case toml::node_type::table:
        to.kind = TOML_TABLE;
        return convert_table(*from.as_table(), to, depth);
    case toml::node_type::array:
        to.kind = TOML_ARRAY;
        return convert_array(*from.as_array(), to, depth);
    case toml::node_type::string:
        to.kind = TOML_STRING;
        to.text = span_from(from.as_string()->get());
        return true;
    case toml::node_type::integer:
        to.kind = TOML_INTEGER;
        to.integer = from.as_integer()->get();
        return true;
    case toml::node_type::boolean:
        to.kind = TOML_BOOLEAN;
        to.boolean = from.as_boolean()->get();
        return true;
    case toml::node_type::floating_point:
        to.kind = TOML_FLOAT;
        return true;
    case toml::node_type::date:
    case toml::node_type::time:
    case toml::node_type::date_time:
        to.kind = TOML_TIME;
        return true;
    case toml::node_type::none:
        break;
    }
    return false;
}

/* One line of printable ASCII: the description quotes the file. */
static void set_error(toml_error *out_error, toml::source_position place, std::string_view text)
{
    size_t len = std::min(text.size(), sizeof out_error->text - 1);

    out_error->line = place.line;
    out_error->column = place.column;
    for (size_t i = 0; i < len; i++) {
        unsigned char byte = static_cast<unsigned char>(text[i]);
        out_error->text[i] = byte < 0x20 || byte > 0x7e ? '?' : text[i];
    }
    out_error->text[len] = '\0';
}

toml_document *toml_parse(span text, toml_error *out_error)
{
    toml::parse_result result = toml::parse(std::string_view(text.data, text.len));
    if (!result) {
        set_error(out_error, result.error().source().begin, result.error().description());
        return nullptr;
    }
    toml_document *document = new (std::nothrow) toml_document;
    if (document == nullptr) {
        set_error(out_error, {}, "out of memory");
        return nullptr;
    }
    document->table = std::move(result).table();
    if (!convert(document->table, document->root, 0)) {
        set_error(out_error, {}, "nested too deeply, or out of memory");
        toml_destroy(document);
        return nullptr;
    }
    return document;
}

void toml_destroy(toml_document *document)
{
    if (document != nullptr) {
        free_children(document->root);
        delete document;
    }
}

const toml_node *toml_root(const toml_document *document)
{
    return &document->root;
}
