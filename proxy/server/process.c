/* process.c: see process.h.
 *
 * Failures:
 * - A name that the system does not know, a change that it refuses: the start fails.
 * - The change can be taken back afterwards: the start fails as well; what goes on as a user must not be able to become
 *   root again. */
#include "proxy/server/process.h"

#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "proxy/io/log.h"

enum {
    SPARE_DESCRIPTORS = 64, /* files, loops, libuv's own */
    DIR_MODE = 0700,        /* of the cache's directory, as the store makes it */
    MS_PER_S = 1000,
    US_PER_MS = 1000,
};

struct account {
    uid_t user;
    gid_t group;
};

/* Clients and origins' connections, and three a listening socket. */
static rlim_t wanted_descriptors(const struct config *config, unsigned worker_count)
{
    uint64_t origins = 0;

    for (size_t i = 0; i < config->site_count; i++) {
        origins += config->sites[i].origin_count;
    }
    uint64_t a_worker = origins * config->server.max_origin_connections + 3 * config->server.listen_count;
    return (rlim_t)(config->server.max_connections + worker_count * a_worker + SPARE_DESCRIPTORS);
}

void process_raise_descriptor_limit(const struct config *config, unsigned worker_count)
{
    rlim_t wanted = wanted_descriptors(config, worker_count);
    struct rlimit limit = {0};

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return; /* then it stays what it is */
    }
    struct rlimit raised = {.rlim_cur = wanted, .rlim_max = wanted};
    if (limit.rlim_max < wanted && setrlimit(RLIMIT_NOFILE, &raised) == 0) { /* only root may */
        limit = raised;
    }
    raised = (struct rlimit){.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    if (limit.rlim_cur < limit.rlim_max && setrlimit(RLIMIT_NOFILE, &raised) == 0) {
        limit = raised;
    }
    if (limit.rlim_cur < config->server.max_connections + SPARE_DESCRIPTORS) {
        log_warn("fewer descriptors than max_connections needs max_connections=%llu limit=%llu",
                 (unsigned long long)config->server.max_connections, (unsigned long long)limit.rlim_cur);
    }
}

unsigned process_planned_descriptors(const struct config *config, unsigned worker_count)
{
    struct rlimit limit = {0};
    rlim_t planned = wanted_descriptors(config, worker_count);

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < planned) {
        planned = limit.rlim_cur;
    }
    return planned < UINT_MAX ? (unsigned)planned : UINT_MAX;
}

static bool fail(struct buf *out_error, const char *key, const char *name, const char *what)
{
    buf_format(out_error, "server.%s: cannot become %s: %s", key, log_quoted(span_of(name)).text, what);
    return false;
}

static bool find_account(const struct config *config, struct account *out_account, struct buf *out_error)
{
    const struct passwd *user = getpwnam(config->server.user);

    if (user == NULL) {
        return fail(out_error, "user", config->server.user, "no such user");
    }
    *out_account = (struct account){.user = user->pw_uid, .group = user->pw_gid};
    if (config->server.group != NULL) {
        const struct group *group = getgrnam(config->server.group);

        if (group == NULL) {
            return fail(out_error, "group", config->server.group, "no such group");
        }
        out_account->group = group->gr_gid;
    }
    return true;
}

/* What is there already keeps its owner: whether it can be used is found out by opening it. */
static bool make_cache_dir(const struct config *config, const struct account *account, struct buf *out_error)
{
    if (mkdir(config->cache.dir, DIR_MODE) < 0) {
        return true; /* it exists, or cannot be made: the store says why */
    }
    if (chown(config->cache.dir, account->user, account->group) < 0) {
        buf_format(out_error, "cache.dir: cannot give %s to %s: %s", log_quoted(span_of(config->cache.dir)).text,
                   config->server.user, strerror(errno));
        return false;
    }
    return true;
}

/* The order matters: without the user's rights the groups can not be changed any more. */
static bool become(const struct config *config, const struct account *account, struct buf *out_error)
{
    if (initgroups(config->server.user, account->group) < 0 ||
        setgid(account->group) < 0 || /* of root: the real, the effective and the saved one */
        setuid(account->user) < 0) {
        return fail(out_error, "user", config->server.user, strerror(errno));
    }
    if (account->user != 0 && setuid(0) == 0) {
        return fail(out_error, "user", config->server.user, "it could become root again");
    }
    return true;
}

bool process_drop_privileges(const struct config *config, struct buf *out_error)
{
    struct account account;

    if (config->server.user == NULL) {
        return true;
    }
    if (!find_account(config, &account, out_error)) {
        return false;
    }
    if (geteuid() != 0) {
        bool is_same = geteuid() == account.user && (config->server.group == NULL || getegid() == account.group);
        return is_same || fail(out_error, "user", config->server.user, "only root can");
    }
    return make_cache_dir(config, &account, out_error) && become(config, &account, out_error);
}

bool process_make_cache_dir(const struct config *config, struct buf *out_error)
{
    struct account account;

    return config->server.user == NULL || geteuid() != 0 ||
           (find_account(config, &account, out_error) && make_cache_dir(config, &account, out_error));
}

void process_warn_of_root(void)
{
    if (geteuid() == 0) {
        log_warn("running as root: server.user names whom to become when the addresses are bound");
    }
}

void process_end_in(uint64_t delay_ms)
{
    const struct itimerval once = {.it_value = {.tv_sec = (time_t)(delay_ms / MS_PER_S),
                                                .tv_usec = (suseconds_t)(delay_ms % MS_PER_S) * US_PER_MS}};
    sigset_t alarm;

    /* Whoever started us may have ignored or blocked it. None of these can fail for a valid number. */
    (void)signal(SIGALRM, SIG_DFL);
    (void)sigemptyset(&alarm);
    (void)sigaddset(&alarm, SIGALRM);
    (void)pthread_sigmask(SIG_UNBLOCK, &alarm, NULL);
    REQUIRE(setitimer(ITIMER_REAL, &once, NULL) == 0);
}
