/* Outputs are checked before any work: hours must not end in "no such folder". */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "cli.h"

#define MAX_PATH 4096

const char *cli_output_path(cli *app, cli_option_id id) {
    if (!cli_given(app, id)) return NULL;
    const char *text = cli_get(app, id)->text;
    return strcmp(text, "-") == 0 ? "/dev/stdout" : text;
}

bool cli_ends_with(const char *text, const char *ending) {
    size_t length = strlen(text), tail = strlen(ending);
    return length > tail && strcmp(text + length - tail, ending) == 0;
}

int cli_check_ending(cli *app, cli_option_id id, const char *const *endings) {
    const char *path = cli_output_path(app, id);
    if (path == NULL) return CLI_OK;
    struct stat status;
    /* Pipes and devices have no ending to go by: they take the first format. */
    if (strncmp(path, "/dev/", 5) == 0) return CLI_OK;
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode)) return CLI_OK;
    for (size_t i = 0; endings[i] != NULL; i++) {
        if (cli_ends_with(path, endings[i])) return CLI_OK;
    }
    return cli_fail(app, CLI_USAGE, "--%s is '%s': its name must end in %s%s%s",
                    cli_options[id].name, cli_quote(path).text, endings[0],
                    endings[1] != NULL ? " or " : "", endings[1] != NULL ? endings[1] : "");
}

/* Folder of a path, into a buffer of MAX_PATH. */
static bool folder_of(const char *path, char *folder) {
    const char *slash = strrchr(path, '/');
    size_t length = slash == NULL ? 0 : slash == path ? 1 : (size_t)(slash - path);
    if (length >= MAX_PATH) return false;
    memcpy(folder, path, length);
    folder[length] = '\0';
    if (length == 0) strcpy(folder, ".");
    return true;
}

static int check_folder(cli *app, const char *option, const char *path) {
    char folder[MAX_PATH];
    struct stat status;
    if (strlen(path) >= MAX_PATH || !folder_of(path, folder)) {
        return cli_fail(app, CLI_IO, "--%s '%s': the path is too long; at most %d bytes fit",
                        option, cli_quote(path).text, MAX_PATH - 1);
    }
    if (stat(folder, &status) != 0) {
        return cli_fail(app, CLI_IO, "--%s %s: folder '%s' cannot be used (%s); make it first",
                        option, cli_quote(path).text, cli_quote(folder).text, strerror(errno));
    }
    if (!S_ISDIR(status.st_mode)) {
        return cli_fail(app, CLI_IO, "--%s %s: '%s' is not a folder", option, cli_quote(path).text,
                        cli_quote(folder).text);
    }
    if (access(folder, W_OK | X_OK) != 0) {
        return cli_fail(app, CLI_IO, "--%s %s: folder '%s' cannot be written to (%s)", option,
                        cli_quote(path).text, cli_quote(folder).text, strerror(errno));
    }
    return CLI_OK;
}

static int check_one(cli *app, const char *option, const char *path) {
    struct stat status;
    if (stat(path, &status) != 0) return check_folder(app, option, path);
    if (S_ISDIR(status.st_mode)) {
        return cli_fail(app, CLI_IO, "--%s %s is a folder: name a file in it", option,
                        cli_quote(path).text);
    }
    if (access(path, W_OK) != 0) {
        return cli_fail(app, CLI_IO, "--%s %s cannot be written to (%s)", option,
                        cli_quote(path).text, strerror(errno));
    }
    if (!S_ISREG(status.st_mode)) return CLI_OK;
    char real[PATH_MAX];
    /* A link is followed, so its target's folder takes the temporary file. */
    return check_folder(app, option, realpath(path, real) != NULL ? real : path);
}

static const char *name_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash != NULL ? slash + 1 : path;
}

/* Two names of one file, which need not exist yet. */
static bool same_file(const char *a, const char *b) {
    struct stat first, second;
    char folder[2][MAX_PATH];
    if (strcmp(a, b) == 0) return true;
    bool exists = stat(a, &first) == 0;
    if (exists != (stat(b, &second) == 0)) return false;
    if (!exists) {
        return strcmp(name_of(a), name_of(b)) == 0 && folder_of(a, folder[0]) &&
               folder_of(b, folder[1]) && stat(folder[0], &first) == 0 &&
               stat(folder[1], &second) == 0 && first.st_dev == second.st_dev &&
               first.st_ino == second.st_ino;
    }
    if (!S_ISREG(first.st_mode) && !S_ISFIFO(first.st_mode)) return false;
    return first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

/* An input with its ":member" cut off, unless a file has that very name. */
static const char *input_path(const char *text, char *buffer) {
    struct stat status;
    size_t length = strlen(text);
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || length >= MAX_PATH || stat(text, &status) == 0)
        return text;
    memcpy(buffer, text, (size_t)(colon - text));
    buffer[colon - text] = '\0';
    return buffer;
}

static int check_against_inputs(cli *app, const char *option, const char *path) {
    char buffer[MAX_PATH];
    for (size_t i = 0; i < app->args.operands; i++) {
        if (same_file(path, input_path(app->args.operand[i], buffer))) {
            return cli_fail(app, CLI_USAGE, "--%s %s is also an input: choose another name", option,
                            cli_quote(path).text);
        }
    }
    for (size_t i = 0; i < OPT_COUNT_ALL; i++) {
        if (cli_options[i].kind != KIND_INPUT || !app->args.option[i].set) continue;
        if (same_file(path, input_path(app->args.option[i].text, buffer))) {
            return cli_fail(app, CLI_USAGE, "--%s %s is also the input --%s: choose another name",
                            option, cli_quote(path).text, cli_options[i].name);
        }
    }
    return CLI_OK;
}

static bool is_standard_output(const char *path) {
    struct stat first, second;
    if (strcmp(path, "/dev/stdout") == 0 || strcmp(path, "/dev/fd/1") == 0) return true;
    if (stat(path, &first) != 0 || fstat(1, &second) != 0) return false;
    return !S_ISCHR(first.st_mode) && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

int cli_check_outputs(cli *app) {
    const char *seen[8];
    size_t count = 0;
    for (size_t i = 0; i < OPT_COUNT_ALL; i++) {
        if (cli_options[i].kind != KIND_OUTPUT || !app->args.option[i].set) continue;
        const char *name = cli_options[i].name, *path = cli_output_path(app, (cli_option_id)i);
        int code = check_one(app, name, path);
        if (code == CLI_OK) code = check_against_inputs(app, name, path);
        if (code != CLI_OK) return code;
        for (size_t j = 0; j < count; j++) {
            if (!same_file(path, seen[j])) continue;
            return cli_fail(app, CLI_USAGE,
                            "two outputs are both '%s': choose another name for one",
                            cli_quote(path).text);
        }
        if (count < sizeof seen / sizeof *seen) seen[count++] = path;
        if (is_standard_output(path)) app->stdout_used = true;
    }
    if (app->stdout_used && app->json) {
        return cli_fail(app, CLI_USAGE,
                        "--json and an output to standard output exclude each other: write the "
                        "output to a file");
    }
    return CLI_OK;
}

void cli_human_bytes(double bytes, char *buffer, size_t size) {
    static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB", "PB", "EB"};
    size_t unit = 0;
    while (bytes >= 1000 && unit + 1 < sizeof units / sizeof *units) {
        bytes /= 1000;
        unit++;
    }
    snprintf(buffer, size, unit == 0 ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
}

int cli_check_room(cli *app, const char *path, double bytes, const char *remedy) {
    struct stat status;
    struct statvfs disk;
    char folder[MAX_PATH], need[32], have[32];
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode)) return CLI_OK;
    if (!folder_of(path, folder) || statvfs(folder, &disk) != 0) return CLI_OK;
    double room = (double)disk.f_bavail * (double)disk.f_frsize;
    if (bytes <= room) return CLI_OK;
    cli_human_bytes(bytes, need, sizeof need);
    cli_human_bytes(room, have, sizeof have);
    return cli_fail(app, CLI_IO, "%s needs %s, but its disk has %s free%s%s", cli_quote(path).text,
                    need, have, remedy != NULL ? ": " : "", remedy != NULL ? remedy : "");
}

int cli_finish_stdout(cli *app) {
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout)) return CLI_OK;
    if (errno == 0) { /* an earlier write failed and nothing is left to write: ask for its reason */
        putchar('\n');
        fflush(stdout);
    }
    return cli_fail(app, CLI_IO, "writing to standard output failed (%s)",
                    errno != 0 ? strerror(errno) : "write error");
}
