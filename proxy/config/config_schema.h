/* config_schema.h: every key of the configuration: where it belongs, what it may be, where its value goes; shared by
 * config*.c.
 *
 * A key's value comes from the table of defaults, then the file, then a flag, each time through the key's own setter:
 * what is valid is said once. Defaults and flags travel as TOML_WORD nodes. Threads: one at a time. Errors: a setter
 * that refuses has written the one line. */
#ifndef PROXY_CONFIG_SCHEMA_H
#define PROXY_CONFIG_SCHEMA_H

#include "proxy/config/config.h"
#include "proxy/config/config_toml.h"

/* Carries one load from table to table. */
struct config_reader {
    struct config *config;
    struct buf *error;            /* gets the one line */
    const struct toml_node *root; /* the file, NULL without one */
};

/* Where a value stands, for the error line. */
struct config_place {
    struct span section;          /* "site[2].rule[1]"; empty at the top and for flags */
    const char *name;             /* key or flag */
    size_t item;                  /* which member of a list, from 1; 0: the whole */
    const struct toml_node *node; /* the value with its line and column; NULL: no place in a file */
};

struct config_key;

/* Puts the value at `place` into the key's field of `base`. False with the error line written. */
typedef bool config_set_fn(struct config_reader *reader, const struct config_key *key, void *base,
                           const struct config_place *place);

/* A word that stands for a member of an enum. */
struct config_choice {
    const char *name; /* NULL ends the list */
    unsigned value;
};

/* Checks one member of a list and brings it to its normal form, perhaps in the arena. False: not what `expected` says.
 */
typedef bool config_member_fn(struct span text, struct arena *arena, struct span *out_text);

struct config_key {
    const char *name;
    config_set_fn *set;
    size_t offset;                       /* of the field in struct config, struct site or struct rule */
    size_t bytes;                        /* size of that field */
    size_t count_offset;                 /* lists: of the member count */
    size_t given_offset;                 /* of a bool that tells that the key was set; 0: none */
    const char *standard;                /* the default, as in a file but without quotes; NULL: nothing set */
    uint64_t min, max;                   /* numbers; in the unit of the field */
    const struct config_choice *choices; /* words */
    config_member_fn *member;            /* lists */
    const char *expected;                /* lists and texts: "host names such as ..." */
};

/* One table of the file. */
struct config_section {
    const char *path; /* "server.timeouts"; "" is the top; "site" and "site.rule" are arrays of tables */
    const struct config_key *keys;
    size_t key_count;
};

enum config_section_id {
    SECTION_TOP,
    SECTION_SERVER,
    SECTION_TIMEOUTS,
    SECTION_LIMITS,
    SECTION_CACHE,
    SECTION_ADMIN,
    SECTION_SITE,
    SECTION_ORIGIN,
    SECTION_CHECK,
    SECTION_RULE,
    SECTION_TEST,
    SECTION_TEST_RESPONSE,
    SECTION_TEST_EXPECT,
    SECTION_TEST_LATER,
    SECTION_TEST_LATER_EXPECT,
    SECTION_COUNT
};

extern const struct config_section config_sections[SECTION_COUNT];

/* NULL: no such key. */
const struct config_key *config_find_key(const struct config_section *section, struct span name);

/* Walks the members of `table` (a TOML_TABLE): keys of `section` go into `base`, members named like a table that is in
 * this one (such as "timeouts") are left to the caller, everything else is an unknown key. `path` is the section's name
 * in messages. */
bool config_read_section(struct config_reader *reader, enum config_section_id id, struct span path,
                         const struct toml_node *table, void *base);

/* Writes the line "file:line:column: section.name[item]: text"; false, always. */
bool config_fail(struct config_reader *reader, const struct config_place *place, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* As config_fail, ending in ", found ..." with what stands at `place`: its value if it is of `fitting` kind, else its
 * kind. */
bool config_fail_expected(struct config_reader *reader, const struct config_place *place, enum toml_kind fitting,
                          const char *format, ...) __attribute__((format(printf, 4, 5)));

/* config_admin.c: the socket where none is set, the token from its file, and who must bring it. */
bool config_complete_admin(struct config_reader *reader);

/* Where the file sets `name` of a section; without a node where it does not. */
struct config_place config_place_of(const struct config_reader *reader, enum config_section_id id, const char *name);

/* Puts the defaults of a section's keys into `base`, through the same setters: a default out of its own range is a
 * mistake of ours. */
bool config_set_standards(struct config_reader *reader, enum config_section_id id, void *base);

/* The arena of the configuration is full or the system out of memory; false, always. */
bool config_fail_memory(struct config_reader *reader, const struct config_place *place);

/* "64MiB", "10s": the largest unit that leaves a whole number. */
struct config_text {
    char text[32];
};
struct config_text config_size_text(uint64_t bytes);
struct config_text config_duration_text(uint64_t ms);

/* Is the node text, from wherever? */
bool config_is_text(const struct toml_node *node);

/* A zero-terminated copy in the configuration's arena. NULL: error line written. */
const char *config_copy_text(struct config_reader *reader, const struct config_place *place, struct span text);

/* A value that may be one thing or a list of them. */
struct config_members {
    const struct toml_node *nodes;
    size_t count;
    bool is_list;
};
struct config_members config_members_of(const struct config_place *place);
struct config_place config_member_place(const struct config_place *list, const struct config_members *members,
                                        size_t index);

/* Printable ASCII without space: what can stand in a request line or a field. */
bool config_is_visible(struct span text);

/* Puts a list into the key's two fields of `base`. */
void config_store_list(const struct config_key *key, void *base, const void *items, size_t count);

/* Setters; config_values.c. */
config_set_fn config_set_bool, config_set_count, config_set_size, config_set_duration_ms, config_set_duration_s,
    config_set_choice, config_set_access_log, config_set_path_text, config_set_account, config_set_pseudonym,
    config_set_listen;

/* Setters of sites and rules, and their list members; config_lists.c. */
config_set_fn config_set_list, config_set_statuses, config_set_site_path, config_set_rule_name, config_set_glob,
    config_set_rate;
config_member_fn config_member_language, config_member_host, config_member_method, config_member_parameter_glob,
    config_member_field_name, config_member_passed_field, config_member_forwarded_field, config_member_path_glob,
    config_member_media_glob;

/* Setters of tests; config_tests.c. */
config_set_fn config_set_networks; /* config_admin.c */
config_set_fn config_set_trust;    /* config_admin.c */
config_set_fn config_set_text, config_set_request_line, config_set_reason, config_set_answer;
config_member_fn config_member_field;

/* The member `name` of `table` as an array of tables, empty where it is absent; `header` as in "[[site]] tables". NULL
 * with the error written. config_site.c. */
const struct toml_node *config_tables_of(struct config_reader *reader, const struct toml_node *table, struct span path,
                                         const char *name, const char *header);

/* The tests of the file. config_tests.c. */
bool config_read_tests(struct config_reader *reader);

/* Setters of origins and their checks; config_origins.c. */
config_set_fn config_set_origins, config_set_origin_url, config_set_host_header, config_set_check_path;

/* The sites of the file, with their rules; `flag_origin` (or NULL) makes the default site or replaces its origins.
 * config_site.c. */
bool config_read_sites(struct config_reader *reader, const char *flag_origin);

#endif
