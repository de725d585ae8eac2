/* options.h: the command line.
 *
 * `larder COMMAND [FLAG...]`; a flag's value follows it or stands behind `=`. Texts borrow from argv. Threads: one.
 * Errors: one line that names the flag and says where help is. */
#ifndef PROXY_OPTIONS_H
#define PROXY_OPTIONS_H

#include "proxy/commands/store_options.h"
#include "proxy/config/config.h"

enum command {
    COMMAND_SERVE,
    COMMAND_WHY,
    COMMAND_VARY,
    COMMAND_STORE,
    COMMAND_PURGE,
    COMMAND_PURGES,
    COMMAND_REPORT,
    COMMAND_LOG,
    COMMAND_TOP,
    COMMAND_MODE,
    COMMAND_WARM,
    COMMAND_DEMO,
    COMMAND_CHECK,
    COMMAND_VERSION,
    COMMAND_HELP,
    COMMAND_COUNT
};

enum { OPTIONS_LISTEN_MAX = 16, OPTIONS_FIELDS_MAX = 128, OPTIONS_NAMES_MAX = 256 };

/* What `larder purge` names: the member of the order (openapi.json) and one of its texts. What `larder warm` reads:
 * "urls", "list", "sitemap" or "log", and where it is. */
struct purge_option {
    const char *member;
    const char *text;
};

struct options {
    const char *const *argv; /* what was parsed */
    enum command command;
    enum command help_about; /* COMMAND_HELP: the command to explain, COMMAND_HELP itself for all of them */
    struct config_flags
        config; /* COMMAND_SERVE, COMMAND_WHY, COMMAND_VARY, COMMAND_PURGE, COMMAND_PURGES,
                   COMMAND_REPORT, COMMAND_LOG, COMMAND_TOP, COMMAND_MODE, COMMAND_WARM; of COMMAND_CHECK only `file`,
                   and `cache_dir` with `replay`. `listen` is NULL: see options_config_flags */
    const char *listen[OPTIONS_LISTEN_MAX];
    size_t listen_count;
    const char *delay; /* COMMAND_DEMO */
    const char *hints; /* COMMAND_DEMO */
    const char *url; /* COMMAND_WHY: or a reason's token; COMMAND_VARY: NULL for the whole store; COMMAND_LOG: a glob */
    bool json; /* COMMAND_WHY, COMMAND_VARY, COMMAND_PURGE, COMMAND_PURGES, COMMAND_REPORT, COMMAND_LOG, COMMAND_CHECK,
                  COMMAND_MODE */
    const char *limit;                     /* COMMAND_VARY, COMMAND_PURGES, COMMAND_REPORT */
    const char *since;                     /* COMMAND_REPORT */
    const char *replay;                    /* COMMAND_CHECK: a configuration to try */
    const char *outcome, *reason, *client; /* COMMAND_LOG */
    const char *site, *mode; /* COMMAND_MODE: both NULL: all are listed; COMMAND_WARM: the host of combined logs */
    const char *rate, *concurrency; /* COMMAND_WARM */
    bool quiet;                     /* COMMAND_WARM */
    /* COMMAND_PURGE, COMMAND_WARM: */
    struct purge_option names[OPTIONS_NAMES_MAX];
    size_t name_count;
    bool everything;
    bool soft;
    bool wait; /* said for the reader: a purge never ends sooner */
    /* COMMAND_WHY: */
    const char *method;
    const char *fields[OPTIONS_FIELDS_MAX]; /* "Name: value" */
    size_t field_count;
    const char *response_status; /* COMMAND_LOG: of lines to show; else what the origin is supposed to answer; NULL:
                                    nothing is supposed */
    const char *response_fields[OPTIONS_FIELDS_MAX];
    size_t response_field_count;
    struct store_arguments store; /* COMMAND_STORE */
};

/* False with one line (no newline) in `out_error`; exit status 2 is customary. */
bool options_parse(int argc, const char *const *argv, struct options *out_options, struct buf *out_error);

/* What names things of this member of a purge's order (options.names): "--tag" for "tags"; NULL: no flag does. */
const char *options_purge_flag(struct span member);

/* The flags that configure larder, `listen` among them; borrows from `options`. */
struct config_flags options_config_flags(const struct options *options);

/* The same texts one by one, for manual pages and completions (doc/describe.c). */
struct command_words {
    const char *name;
    const char *arguments; /* "URL [FLAG]...", may be empty */
    const char *summary;
    const char *details; /* lines; those that begin with two spaces are examples */
};
void options_command_words(enum command command, struct command_words *out_words);

/* The flag `index` of a command, from 0; false behind the last. COMMAND_STORE has its own: store_options.h. */
bool options_flag_words(enum command command, size_t index, struct flag_words *out_words);

/* What `larder help [COMMAND]` prints. */
void options_write_help(enum command about, struct buf *out);

#endif
