/* Memory that a machine does not have is asked for in vain: malloc promises it all the same, and the
 * kernel ends the program when it is used, minutes later and without a word. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define PATH_ROOM 4096

/* The number after `key`, which starts a line of a file such as "MemFree:   123 kB"; -1 if none. */
static double number_after(const char *path, const char *key) {
    char line[256];
    double value = -1;
    FILE *file = fopen(path, "r");
    while (file != NULL && value < 0 && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, key, strlen(key)) != 0) continue;
        char *rest = line + strlen(key), *end;
        const unsigned long long number = strtoull(rest, &end, 10);
        if (end != rest) value = (double)number;
    }
    if (file != NULL) fclose(file);
    return value;
}

static void lower(double *limit, double value) {
    if (value >= 0 && value < *limit) *limit = value;
}

/* The limits of a control group and of those it is in: `file` in each folder from root + path up to
 * root. A folder that cannot be seen from inside a container has no say here. */
static void lower_by_groups(double *limit, const char *root, const char *path, const char *file) {
    char folder[PATH_ROOM], name[PATH_ROOM + 64];
    if (snprintf(folder, sizeof folder, "%s%s", root, path) >= (int)sizeof folder) return;
    for (;;) {
        snprintf(name, sizeof name, "%s/%s", folder, file);
        lower(limit, number_after(name, "")); /* "max" is no number */
        char *slash = strrchr(folder, '/');
        if (slash == NULL || slash < folder + strlen(root)) return;
        *slash = '\0';
    }
}

/* Bytes that the control groups of this process allow; lines "4:memory:/path" and "0::/path". */
static double group_limit(void) {
    double limit = (double)INFINITY;
    char line[PATH_ROOM];
    FILE *file = fopen("/proc/self/cgroup", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;
        if (path == NULL) continue;
        *path++ = '\0';
        if (controllers[1] == '\0') {
            lower_by_groups(&limit, "/sys/fs/cgroup", path, "memory.max");
        } else if (strcmp(controllers + 1, "memory") == 0) {
            lower_by_groups(&limit, "/sys/fs/cgroup/memory", path, "memory.limit_in_bytes");
        }
    }
    if (file != NULL) fclose(file);
    return limit;
}

int cli_check_memory(cli *app, double bytes, const char *what, const char *remedy) {
    const double available = number_after("/proc/meminfo", "MemAvailable:");
    const double swap = number_after("/proc/meminfo", "SwapFree:");
    const double spare = swap > 0 ? 1024 * swap : 0, group = group_limit();
    double limit = (double)INFINITY;
    lower(&limit, available >= 0 ? 1024 * available : -1);
    lower(&limit, group);
    if (!(bytes > limit + spare)) return CLI_OK;
    char need[32], have[32];
    cli_human_bytes(bytes, need, sizeof need);
    cli_human_bytes(limit + spare, have, sizeof have);
    return cli_fail(app, CLI_MEMORY, "out of memory: %s take %s, and %s %s: %s", what, need,
                    group <= limit ? "this process may use" : "this machine has", have, remedy);
}
