/* admin_commands.h: `larder purge`, `larder purges`, `larder report` and others: orders and questions to a larder that
 * runs.
 *
 * Threads: one. Errors: one line. */
#ifndef PROXY_ADMIN_COMMANDS_H
#define PROXY_ADMIN_COMMANDS_H

#include "proxy/commands/options.h"
#include "proxy/why/why.h"

/* Writes what is to be printed. */
MUST_CHECK bool admin_command_purge(const struct config *config, const struct options *options, struct buf *out,
                                    struct buf *error);
MUST_CHECK bool admin_command_purges(const struct config *config, const struct options *options, struct buf *out,
                                     struct buf *error);

/* admin_report_command.c */
MUST_CHECK bool admin_command_report(const struct config *config, const struct options *options, struct buf *out,
                                     struct buf *error);

/* admin_mode_command.c */
MUST_CHECK bool admin_command_mode(const struct config *config, const struct options *options, struct buf *out,
                                   struct buf *error);

/* admin_mode_command.c: the sites' modes as the larder that runs has them, if one does: for what explains it. */
void admin_learn_modes(struct config *config);

/* admin_why_command.c: what the larder that runs says of a request. */
MUST_CHECK bool admin_command_why(const struct config *config, const struct why_options *options, bool json, bool bold,
                                  struct buf *out, struct buf *error);

/* admin_why_command.c: what the origin last answered, as the larder that runs remembers it, if one does. */
void admin_learn_last(const struct config *config, const struct why_options *options, struct why *why);

/* admin_log_command.c: prints lines as they come, until Ctrl-C. */
MUST_CHECK bool admin_command_log(const struct config *config, const struct options *options, struct buf *out,
                                  struct buf *error);

/* admin_replay_command.c: `larder check --replay`. */
MUST_CHECK bool admin_command_replay(const struct config *config, const struct options *options, struct buf *out,
                                     struct buf *error);

#endif
