/* store_options.h: the command line behind `larder store`.
 *
 * `larder store VERB [WORD] [FLAG...]`. Texts borrow from argv. Threads: one. Errors: one line that names the flag and
 * says where help is. */
#ifndef PROXY_STORE_OPTIONS_H
#define PROXY_STORE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "http/buf.h"

enum store_verb {
    STORE_STAT,
    STORE_CHECK,
    STORE_COMPACT,
    STORE_LS,
    STORE_GET,
    STORE_EXPORT,
    STORE_IMPORT,
    STORE_VERB_COUNT,
};

enum { STORE_EXCLUDE_MAX = 64, STORE_FIELDS_MAX = 64 };

struct store_arguments {
    bool help; /* asked for, or no verb given */
    enum store_verb verb;
    const char *word; /* PATTERN, KEY or FILE; NULL where it may be left out */
    const char *config_file;
    const char *cache_dir;
    const char *cache_size;
    bool json;
    bool quiet;
    uint64_t limit;                       /* LS: lines; 0: all */
    uint64_t variant;                     /* GET: 1 is the newest; 0: not given */
    const char *fields[STORE_FIELDS_MAX]; /* GET: "Name: value" of the request that selects */
    size_t field_count;
    bool head_only; /* GET */
    bool body_only;
    const char *exclude[STORE_EXCLUDE_MAX]; /* EXPORT: globs */
    size_t exclude_count;
    bool without_tagged;
    bool without_private;
};

/* The words behind `store`. False with one line (no newline) in `out_error`; `out_arguments` is untouched then. */
bool store_options_parse(int argc, const char *const *argv, struct store_arguments *out_arguments,
                         struct buf *out_error);

/* A flag as help, manual pages and completions say it. */
struct flag_words {
    const char *name;
    const char *value; /* what follows, such as "FILE" or "safe|rfc"; empty: nothing does */
    const char *text;
};

/* The flag `index` of a verb, from 0; false behind the last. */
bool store_options_flag_words(enum store_verb verb, size_t index, struct flag_words *out_words);

/* A verb, with its word in the place of a value. */
void store_options_verb_words(enum store_verb verb, struct flag_words *out_words);

/* What holds for all of them, as `details` of struct command_words. */
const char *store_options_details(void);

/* What `larder help store` prints behind its head line. */
void store_options_write_help(struct buf *out);

#endif
