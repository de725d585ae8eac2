/* memory.c: see the header. A page cache is charged to the control group whose process read the file. */
#include "proxy/io/memory.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "http/span.h"

#define GROUPS_ROOT "/sys/fs/cgroup"

/* The number in a file such as memory.max; UINT64_MAX for "max", or where there is none. */
static uint64_t limit_in(const char *path)
{
    char line[64];
    uint64_t limit = UINT64_MAX;
    FILE *file = fopen(path, "re");

    if (file == NULL) {
        return UINT64_MAX;
    }
    if (fgets(line, sizeof(line), file) == NULL || !span_to_u64(span_trim(span_of(line)), &limit)) {
        limit = UINT64_MAX;
    }
    (void)fclose(file);
    return limit;
}

/* The path of the process's group: what follows "0::" in a line of /proc/self/cgroup. False: version 1, or none. */
static bool group_of_process(char out_path[PATH_MAX])
{
    char line[PATH_MAX];
    bool found = false;
    FILE *file = fopen("/proc/self/cgroup", "re");

    if (file == NULL) {
        return false;
    }
    while (!found && fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "0::/", 4) == 0) {
            int len = snprintf(out_path, PATH_MAX, GROUPS_ROOT "%s", line + 3);
            found = len > 0 && len < PATH_MAX;
        }
    }
    (void)fclose(file);
    return found;
}

uint64_t memory_limit_bytes(void)
{
    uint64_t limit = uv_get_total_memory();
    uint64_t constrained = uv_get_constrained_memory(); /* version 1; 0: none */
    char group[PATH_MAX];
    char path[PATH_MAX + 16];

    if (constrained > 0 && constrained < limit) {
        limit = constrained;
    }
    if (!group_of_process(group)) {
        return limit;
    }
    /* From the group up to the root: each of them limits all below it. */
    while (strlen(group) >= sizeof(GROUPS_ROOT) - 1) {
        snprintf(path, sizeof(path), "%s/memory.max", group);
        uint64_t own = limit_in(path);
        limit = own < limit ? own : limit;
        char *slash = strrchr(group, '/');
        *slash = '\0';
    }
    return limit;
}
