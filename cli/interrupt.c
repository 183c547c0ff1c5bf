/* SIGINT and SIGTERM ask the work to stop at the next progress call; a second one ends at once. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

/* A handler can only speak through such a variable; it is the program's one piece of global
 * state. */
static volatile sig_atomic_t stop_signal;

/* "/proc/self/fd/N" of a descriptor below 100. */
static void descriptor_path(int fd, char *path) {
    static const char folder[] = "/proc/self/fd/";
    memcpy(path, folder, sizeof folder - 1);
    path += sizeof folder - 1;
    if (fd >= 10) *path++ = (char)('0' + fd / 10);
    *path++ = (char)('0' + fd % 10);
    *path = '\0';
}

/* A file on its way, as doc/formats.md has it, and not one that is read. */
static bool is_temporary(int fd, const char *path) {
    static const char start[] = ".nearfar-", end[] = ".tmp";
    const char *slash = strrchr(path, '/');
    const size_t length = strlen(path);
    const int mode = fcntl(fd, F_GETFL);
    return slash != NULL && strncmp(slash + 1, start, sizeof start - 1) == 0 &&
           strcmp(path + length - (sizeof end - 1), end) == 0 && mode != -1 &&
           (mode & O_ACCMODE) == O_WRONLY;
}

/* Delete files that will never be complete, by calls that a signal handler may make. Where there is
 * no /proc they stay. */
static void delete_temporaries(void) {
    char entry[32], path[4096];
    for (int fd = 3; fd < 100; fd++) {
        descriptor_path(fd, entry);
        const ssize_t length = readlink(entry, path, sizeof path - 1);
        if (length <= 0) continue;
        path[length] = '\0';
        if (is_temporary(fd, path)) unlink(path);
    }
}

static void handle(int number) {
    if (stop_signal != 0) {
        delete_temporaries();
        _exit(CLI_SIGNAL + number);
    }
    stop_signal = number;
}

int cli_interrupted(void) { return (int)stop_signal; }

void cli_interrupt_install(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = handle;
    sigaction(SIGTERM, &action, NULL);
    struct sigaction before;
    /* A shell starts background jobs with SIGINT ignored; keep that. */
    if (sigaction(SIGINT, NULL, &before) == 0 && before.sa_handler != SIG_IGN) {
        sigaction(SIGINT, &action, NULL);
    }
}

void cli_interrupt_quiet_writes(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGXFSZ, &action, NULL);
}
