#include "proxy/commands/store_options.h"

#include <string.h>

#include "proxy/config/suggest.h"
#include "proxy/io/log.h"

enum word { WORD_NONE, WORD_OPTIONAL, WORD_NEEDED };

static const struct {
    const char *name;
    const char *word_name; /* for messages and help */
    enum word word;
    const char *text;
} verbs[STORE_VERB_COUNT] = {
    [STORE_STAT] = {"stat", "", WORD_NONE, "how full it is, of what, who reads it"},
    [STORE_CHECK] = {"check", "", WORD_NONE, "read everything, compare every checksum and digest, count anew"},
    [STORE_COMPACT] = {"compact", "", WORD_NONE, "write the file anew without holes; larder must be stopped"},
    [STORE_LS] = {"ls", "PATTERN", WORD_OPTIONAL, "list what is stored, or what of it PATTERN matches"},
    [STORE_GET] = {"get", "KEY", WORD_NEEDED,
                   "print a response as it is stored, with Age and Content-Length; KEY is a URL"},
    [STORE_EXPORT] = {"export", "FILE", WORD_NEEDED, "write what is stored to FILE (- is standard output)"},
    [STORE_IMPORT] = {"import", "FILE", WORD_NEEDED,
                      "store what an export holds (- is standard input); larder must be stopped"},
};

#define ON(verb) (1u << (verb))
#define ON_ALL   (ON(STORE_VERB_COUNT) - 1)

enum kind { KIND_TEXT, KIND_LIST, KIND_NUMBER, KIND_BOOL };

static const struct flag {
    const char *name;
    const char *value; /* for the help; empty for KIND_BOOL */
    unsigned verbs;
    enum kind kind;
    size_t offset;
    size_t count_offset; /* KIND_LIST */
    size_t max;          /* KIND_LIST */
    const char *text;
} flags[] = {
    {"--cache-dir", "DIR", ON_ALL, KIND_TEXT, offsetof(struct store_arguments, cache_dir), 0, 0,
     "where the cache lies (larder-cache)"},
    {"--config", "FILE", ON_ALL, KIND_TEXT, offsetof(struct store_arguments, config_file), 0, 0, "as given to serve"},
    {"--quiet", "", ON_ALL, KIND_BOOL, offsetof(struct store_arguments, quiet), 0, 0,
     "no progress bar (there is none either where standard error is no terminal)"},
    {"--json", "", ON(STORE_STAT) | ON(STORE_CHECK) | ON(STORE_LS), KIND_BOOL, offsetof(struct store_arguments, json),
     0, 0, "one JSON object; of ls one a line"},
    {"--limit", "N", ON(STORE_LS), KIND_NUMBER, offsetof(struct store_arguments, limit), 0, 0, "at most so many lines"},
    {"--variant", "N", ON(STORE_GET), KIND_NUMBER, offsetof(struct store_arguments, variant), 0, 0,
     "which of the variants, as ls counts them (1, the newest)"},
    {"-H", "'NAME: VALUE'", ON(STORE_GET), KIND_LIST, offsetof(struct store_arguments, fields),
     offsetof(struct store_arguments, field_count), STORE_FIELDS_MAX,
     "the variant that a request with this field selects, may be repeated"},
    {"--head", "", ON(STORE_GET), KIND_BOOL, offsetof(struct store_arguments, head_only), 0, 0, "only the head"},
    {"--body", "", ON(STORE_GET), KIND_BOOL, offsetof(struct store_arguments, body_only), 0, 0, "only the body"},
    {"--exclude", "PATTERN", ON(STORE_EXPORT), KIND_LIST, offsetof(struct store_arguments, exclude),
     offsetof(struct store_arguments, exclude_count), STORE_EXCLUDE_MAX, "without what matches, may be repeated"},
    {"--without-tagged", "", ON(STORE_EXPORT), KIND_BOOL, offsetof(struct store_arguments, without_tagged), 0, 0,
     "without responses that carry tags"},
    {"--without-private", "", ON(STORE_EXPORT), KIND_BOOL, offsetof(struct store_arguments, without_private), 0, 0,
     "without Set-Cookie, and what Authorization or Cookie selected"},
    {"--cache-size", "SIZE", ON(STORE_IMPORT), KIND_TEXT, offsetof(struct store_arguments, cache_size), 0, 0,
     "of a store that import makes; one that is there keeps its size"},
};

static const char details[] =
    "PATTERN is of the whole URL, such as 'http://*/img/*'; where it begins with \"/\", of path and query, of any\n"
    "host: '/img/*'. * stands for any text, ? for any byte. log --url takes the same patterns.\n\n"
    "stat, check, ls, get and export may be used while larder runs: they change nothing and never hold it up.\n"
    "What was stored in the last moments may not be on the disk yet. Exit status: 0; 1 where damage was found,\n"
    "nothing is stored under KEY, or FILE is not whole; 2 where it could not be done at all. compact and import\n"
    "leave a store as it is that larder could not go on with, and what root makes with them belongs to its user.\n";

static const struct flag *find_flag(enum store_verb verb, struct span name)
{
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if ((flags[i].verbs & ON(verb)) != 0 && span_equal(name, span_of(flags[i].name))) {
            return &flags[i];
        }
    }
    return NULL;
}

static bool fail_unknown_flag(enum store_verb verb, struct span name, struct buf *error)
{
    buf_format(error, "store %s: unknown flag %s", verbs[verb].name, log_quoted(name).text);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if ((flags[i].verbs & ON(verb)) != 0 && suggest_is_near(name, span_of(flags[i].name))) {
            buf_format(error, ", did you mean %s?", flags[i].name);
            break;
        }
    }
    buf_add_text(error, " (larder help store)");
    return false;
}

static bool set_value(struct store_arguments *arguments, const struct flag *flag, const char *value, struct buf *error)
{
    char *at = (char *)arguments + flag->offset;

    switch (flag->kind) {
    case KIND_TEXT:
        *(const char **)(void *)at = value;
        return true;
    case KIND_LIST: {
        size_t *count = (size_t *)(void *)((char *)arguments + flag->count_offset);
        if (*count == flag->max) {
            buf_format(error, "%s: expected at most %zu of them", flag->name, flag->max);
            return false;
        }
        ((const char **)(void *)at)[*count] = value;
        (*count)++;
        return true;
    }
    case KIND_NUMBER:
        if (!span_to_u64(span_of(value), (uint64_t *)(void *)at) || *(uint64_t *)(void *)at == 0) {
            buf_format(error, "%s: expected a number from 1 on, found %s", flag->name, log_quoted(span_of(value)).text);
            return false;
        }
        return true;
    case KIND_BOOL:
        *(bool *)(void *)at = true;
        return true;
    }
    UNREACHABLE();
}

/* Reads one flag at `*index` and moves to the last word it took. */
static bool parse_flag(struct store_arguments *arguments, int argc, const char *const *argv, int *index,
                       struct buf *error)
{
    const char *word = argv[*index];
    const char *equals = strchr(word, '=');
    struct span name = {word, equals != NULL ? (size_t)(equals - word) : strlen(word)};
    const struct flag *flag = find_flag(arguments->verb, name);

    if (flag == NULL) {
        return fail_unknown_flag(arguments->verb, name, error);
    }
    if (flag->kind == KIND_BOOL && equals != NULL) {
        buf_format(error, "%s: expected nothing behind it (larder help store)", flag->name);
        return false;
    }
    if (flag->kind != KIND_BOOL && equals == NULL && *index + 1 >= argc) {
        buf_format(error, "%s: expected %s behind it (larder help store)", flag->name, flag->value);
        return false;
    }
    const char *value = flag->kind == KIND_BOOL ? NULL : equals != NULL ? equals + 1 : argv[++*index];
    return set_value(arguments, flag, value, error);
}

static bool parse_verb(const char *word, enum store_verb *out_verb, struct buf *error)
{
    for (enum store_verb verb = 0; verb < STORE_VERB_COUNT; verb++) {
        if (strcmp(word, verbs[verb].name) == 0) {
            *out_verb = verb;
            return true;
        }
    }
    buf_format(error, "store: unknown command %s, ", log_quoted(span_of(word)).text);
    for (enum store_verb verb = 0; verb < STORE_VERB_COUNT; verb++) {
        if (suggest_is_near(span_of(word), span_of(verbs[verb].name))) {
            buf_format(error, "did you mean %s? (larder help store)", verbs[verb].name);
            return false;
        }
    }
    buf_add_text(error, "expected stat, check, compact, ls, get, export or import (larder help store)");
    return false;
}

bool store_options_parse(int argc, const char *const *argv, struct store_arguments *out_arguments,
                         struct buf *out_error)
{
    struct store_arguments arguments = {.help = argc == 0};

    for (int i = 0; i < argc && !arguments.help; i++) {
        arguments.help = strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
    }
    if (arguments.help) {
        *out_arguments = arguments;
        return true;
    }
    if (!parse_verb(argv[0], &arguments.verb, out_error)) {
        return false;
    }
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '-' && argv[i][1] != '\0') {
            if (!parse_flag(&arguments, argc, argv, &i, out_error)) {
                return false;
            }
        } else if (verbs[arguments.verb].word == WORD_NONE || arguments.word != NULL) {
            buf_format(out_error, "store %s: unexpected %s (larder help store)", verbs[arguments.verb].name,
                       log_quoted(span_of(argv[i])).text);
            return false;
        } else {
            arguments.word = argv[i];
        }
    }
    if (verbs[arguments.verb].word == WORD_NEEDED && arguments.word == NULL) {
        buf_format(out_error, "store %s: expected %s (larder help store)", verbs[arguments.verb].name,
                   verbs[arguments.verb].word_name);
        return false;
    }
    if (arguments.head_only && arguments.body_only) {
        buf_add_text(out_error, "store get: --head and --body exclude each other");
        return false;
    }
    *out_arguments = arguments;
    return true;
}

bool store_options_flag_words(enum store_verb verb, size_t index, struct flag_words *out_words)
{
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if ((flags[i].verbs & ON(verb)) != 0 && index-- == 0) {
            *out_words = (struct flag_words){flags[i].name, flags[i].value, flags[i].text};
            return true;
        }
    }
    return false;
}

void store_options_verb_words(enum store_verb verb, struct flag_words *out_words)
{
    *out_words = (struct flag_words){verbs[verb].name, verbs[verb].word_name, verbs[verb].text};
}

const char *store_options_details(void)
{
    return details;
}

void store_options_write_help(struct buf *out)
{
    for (enum store_verb verb = 0; verb < STORE_VERB_COUNT; verb++) {
        char head[40];
        (void)snprintf(head, sizeof head, "%s %s", verbs[verb].name, verbs[verb].word_name);
        buf_format(out, "  %-14s  %s\n", head, verbs[verb].text);
    }
    buf_add_byte(out, '\n');
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        char head[40];
        (void)snprintf(head, sizeof head, "%s %s", flags[i].name, flags[i].value);
        buf_format(out, "  %-18s  %s", head, flags[i].text);
        if (flags[i].verbs != ON_ALL) {
            const char *separator = " (";
            for (enum store_verb verb = 0; verb < STORE_VERB_COUNT; verb++) {
                if ((flags[i].verbs & ON(verb)) != 0) {
                    buf_format(out, "%s%s", separator, verbs[verb].name);
                    separator = ", ";
                }
            }
            buf_add_byte(out, ')');
        }
        buf_add_byte(out, '\n');
    }
    buf_add_byte(out, '\n');
    buf_add_text(out, details);
}
