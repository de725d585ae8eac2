/* config_toml.h: TOML text as a tree that C can walk; the one door to toml++.
 *
 * Ownership: the document owns every node, key and text, until toml_destroy. Threads: one at a time. Errors: the text
 * of the first mistake with its place. Positions count from 1; columns count characters, not bytes. Includable from C
 * and C++. */
#ifndef PROXY_CONFIG_TOML_H
#define PROXY_CONFIG_TOML_H

#include "http/span.h"

enum toml_kind {
    TOML_TABLE,
    TOML_ARRAY,
    TOML_STRING,
    TOML_INTEGER,
    TOML_FLOAT,
    TOML_BOOLEAN,
    TOML_TIME, /* date, time or both */
    TOML_WORD, /* never from a file: text of a flag or of a default, to be read as whatever type is expected */
};

struct toml_node {
    enum toml_kind kind;
    uint32_t line; /* of the value, 0: not from a file */
    uint32_t column;
    uint32_t key_line; /* of the key, for members of tables; 0 in arrays */
    uint32_t key_column;
    struct span key;            /* for members of tables */
    struct span text;           /* TOML_STRING, TOML_WORD */
    int64_t integer;            /* TOML_INTEGER */
    bool boolean;               /* TOML_BOOLEAN */
    struct toml_node *children; /* TOML_TABLE, TOML_ARRAY; in the order of the file */
    size_t child_count;
};

struct toml_error {
    uint32_t line; /* 0 when it has no place (out of memory) */
    uint32_t column;
    char text[200]; /* without line end */
};

struct toml_document;

#ifdef __cplusplus
extern "C" {
#endif

/* NULL on a mistake, with its description in `out_error`. `text` may go away afterwards. */
struct toml_document *toml_parse(struct span text, struct toml_error *out_error);

void toml_destroy(struct toml_document *document); /* accepts NULL */

/* The top table. */
const struct toml_node *toml_root(const struct toml_document *document);

#ifdef __cplusplus
}
#endif

/* The member `key` of a table, or NULL. */
static inline const struct toml_node *toml_member(const struct toml_node *table, struct span key)
{
    for (size_t i = 0; table != NULL && table->kind == TOML_TABLE && i < table->child_count; i++) {
        const struct toml_node *child = &table->children[i];
        if (child->key.len == key.len && __builtin_memcmp(child->key.data, key.data, key.len) == 0) {
            return child;
        }
    }
    return NULL;
}

#endif
