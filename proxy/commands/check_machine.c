/* check_machine.c: see check_machine.h. */
#include "proxy/commands/check_machine.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/io/log.h"

/* May we write there? With a user of its own larder writes as that one, of whose rights nothing is known here. */
static const char *why_not_permitted(const char *path, int rights, bool as_we_are)
{
    return as_we_are && access(path, rights) < 0 ? strerror(errno) : NULL;
}

static const char *why_no_new_file(const char *directory, bool as_we_are)
{
    struct stat status;

    if (stat(directory, &status) < 0) {
        return strerror(errno);
    }
    return S_ISDIR(status.st_mode) ? why_not_permitted(directory, W_OK | X_OK, as_we_are) : strerror(ENOTDIR);
}

/* Where `path`, which names nothing, leads: through symbolic links to what is missing, as far as can be told. */
static void follow_links(const char *path, char out_end[PATH_MAX])
{
    enum { LINKS_MAX = 40 }; /* as Linux, whose stat() says ELOOP of a longer chain */
    char target[PATH_MAX];
    char joined[PATH_MAX];
    int length = snprintf(out_end, PATH_MAX, "%s", path);

    for (int i = 0; i < LINKS_MAX && length < PATH_MAX; i++) {
        ssize_t target_len = readlink(out_end, target, sizeof(target));
        if (target_len <= 0) {
            return;
        }
        const char *slash = strrchr(out_end, '/');
        int prefix = target[0] == '/' || slash == NULL ? 0 : (int)(slash + 1 - out_end);
        length = snprintf(joined, sizeof(joined), "%.*s%.*s", prefix, out_end, (int)target_len, target);
        if (length < PATH_MAX) {
            memcpy(out_end, joined, (size_t)length + 1);
        }
    }
}

static void cut_to_directory(char *path)
{
    char *slash = strrchr(path, '/');

    if (slash == NULL) {
        memcpy(path, ".", sizeof("."));
    } else {
        slash[slash == path ? 1 : 0] = '\0';
    }
}

/* The start opens it to append to it, and makes it where it is missing, at the end of links: the directory matters only
 * then. */
static void check_log(const char *path, bool as_we_are, struct buf *out)
{
    char directory[PATH_MAX];
    struct stat status;
    const char *at = path;
    const char *why = NULL;

    if (stat(path, &status) == 0) {
        why = S_ISDIR(status.st_mode) ? strerror(EISDIR) : why_not_permitted(path, W_OK, as_we_are);
    } else if (errno == ENOENT || errno == ENOTDIR) {
        follow_links(path, directory);
        cut_to_directory(directory);
        at = directory;
        why = why_no_new_file(directory, as_we_are);
    } else if (as_we_are || errno != EACCES) {
        why = strerror(errno);
    }
    if (why != NULL) {
        buf_format(out, "larder: server.access_log: %s: %s, on this machine\n", log_quoted(span_of(at)).text, why);
    }
}

void check_machine(const struct config *config, struct buf *out)
{
    if (config->server.user != NULL && getpwnam(config->server.user) == NULL) {
        buf_format(out, "larder: server.user: no such user on this machine: %s\n",
                   log_quoted(span_of(config->server.user)).text);
    }
    if (config->server.group != NULL && getgrnam(config->server.group) == NULL) {
        buf_format(out, "larder: server.group: no such group on this machine: %s\n",
                   log_quoted(span_of(config->server.group)).text);
    }
    if (config->server.access_log != NULL && strcmp(config->server.access_log, "-") != 0) {
        check_log(config->server.access_log, config->server.user == NULL, out);
    }
}
