/* top_absent.c: `larder top` in a build without ncurses. */
#include "proxy/commands/top.h"

bool top_run(const struct config *config, const struct options *options, struct buf *out, struct buf *error)
{
    (void)config;
    (void)options;
    (void)out;
    buf_add_text(error, "top: this larder was built without ncurses (libncurses-dev)");
    return false;
}
