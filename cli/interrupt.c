/* SIGINT and SIGTERM ask the work to stop at the next progress call; a second one ends at once. */
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

/* A handler can only speak through such a variable; it is the program's one piece of global
 * state. */
static volatile sig_atomic_t stop_signal;

static void handle(int number) {
    if (stop_signal != 0) _exit(CLI_SIGNAL + number);
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
