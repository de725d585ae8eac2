/* store_memory.c: a store six times as large as the memory: the limit is a cgroup's, which a child process enters.
 *
 * The cgroup is made below our own, or, where that may have none with a memory limit, below the nearest of its parents
 * that may: cgroup v1 (memory.limit_in_bytes) and v2 (memory.max). It needs root, as a rule. */
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store.h"

enum { TIMES = 6, TURNOVERS = 3 };

static const char *const roots[] = {"/sys/fs/cgroup/memory", "/sys/fs/cgroup"};
static const char *const limits[] = {"memory.limit_in_bytes", "memory.max"};

static bool write_number(const char *dir, const char *name, uint64_t number)
{
    char path[PATH_MAX];
    char text[24];
    int len = snprintf(text, sizeof text, "%" PRIu64, number);

    if (snprintf(path, sizeof path, "%s/%s", dir, name) >= (int)sizeof path) {
        return false;
    }
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    bool written = write(fd, text, (size_t)len) == len;
    close(fd);
    return written;
}

/* Where we are in the hierarchy whose line in /proc/self/cgroup has these controllers. */
static bool own_path(const char *controllers, char out_path[PATH_MAX])
{
    FILE *file = fopen("/proc/self/cgroup", "r");
    char line[PATH_MAX];
    bool found = false;

    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        char *names = strchr(line, ':');
        char *path = names == NULL ? NULL : strchr(names + 1, ':');
        if (path == NULL) {
            continue;
        }
        *path = '\0';
        path[1 + strcspn(path + 1, "\n")] = '\0';
        found = strcmp(names + 1, controllers) == 0;
        (void)snprintf(out_path, PATH_MAX, "%s", path + 1);
    }
    if (file != NULL) {
        fclose(file);
    }
    return found;
}

static bool make_below(const char *parent, const char *limit, uint64_t bytes, char out_dir[PATH_MAX])
{
    if (snprintf(out_dir, PATH_MAX, "%s/larder-bench-%d", parent, getpid()) >= PATH_MAX || mkdir(out_dir, 0755) != 0) {
        return false;
    }
    if (write_number(out_dir, limit, bytes)) {
        return true;
    }
    (void)rmdir(out_dir); /* has no memory controller */
    return false;
}

static bool make_cgroup(uint64_t bytes, char out_dir[PATH_MAX])
{
    for (unsigned version = 0; version < 2; version++) {
        char own[PATH_MAX];
        char parent[PATH_MAX];
        bool more = own_path(version == 0 ? "memory" : "", own);
        while (more) {
            if (snprintf(parent, sizeof parent, "%s%s", roots[version], own) < (int)sizeof parent &&
                make_below(parent, limits[version], bytes, out_dir)) {
                return true;
            }
            char *last = strrchr(own, '/');
            more = last != NULL && own[1] != '\0';
            if (more) {
                last[last == own] = '\0';
            }
        }
    }
    return false;
}

static void run(const struct bench_options *given, const char *cgroup)
{
    struct bench_options options = *given;
    struct bench_churn churn;
    char title[96];

    if (!write_number(cgroup, "cgroup.procs", (uint64_t)getpid())) {
        printf("\nmemory: left out. The cgroup %s cannot be entered\n", cgroup);
        return;
    }
    options.turnovers = options.turnovers < TURNOVERS ? options.turnovers : TURNOVERS;
    bench_churn_begin(&churn, &options, TIMES * options.memory_bytes, options.memory_bytes, false);
    (void)snprintf(title, sizeof title, "churn, lognormal, in %" PRIu64 " MiB of memory", options.memory_bytes >> 20);
    bench_churn_report(&churn, title, "");
    bench_churn_end(&churn);
}

void bench_memory(const struct bench_options *options)
{
    char cgroup[PATH_MAX];

    if (!bench_disk_has_room(options, TIMES * options->memory_bytes, "memory")) {
        return;
    }
    if (!make_cgroup(options->memory_bytes, cgroup)) {
        printf("\nmemory: left out. No cgroup with a memory limit can be made here (it needs root)\n");
        return;
    }
    (void)fflush(stdout);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        run(options, cgroup);
        (void)fflush(stdout);
        _exit(0);
    }
    int status;
    REQUIRE(waitpid(child, &status, 0) == child);
    if (status != 0) {
        printf("\nmemory: the process in the cgroup ended with %d: its memory did not suffice?\n", status);
    }
    if (rmdir(cgroup) != 0) {
        fprintf(stderr, "%s stays\n", cgroup);
    }
}
