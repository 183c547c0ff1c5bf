/* nearfar: learn, apply and judge embeddings from the command line. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

/* A program started with a closed standard stream would give its number to the next file it
 * opens, and results would end up in a data file. A closed output must still be a write error, so
 * it is opened for reading only. */
static void occupy_standard_streams(void) {
    for (int stream = 0; stream <= 2; stream++) {
        if (fcntl(stream, F_GETFD) != -1 || errno != EBADF) continue;
        int got = open("/dev/null", stream == 0 ? O_WRONLY : O_RDONLY);
        if (got >= 0 && got != stream) close(got);
    }
}

static void look_at_terminal(cli *app) {
    const char *term = getenv("TERM");
    app->terminal = isatty(2) && term != NULL && strcmp(term, "dumb") != 0;
    const char *locale = getenv("LC_ALL");
    if (locale == NULL || locale[0] == '\0') locale = getenv("LC_CTYPE");
    if (locale == NULL || locale[0] == '\0') locale = getenv("LANG");
    app->utf8 =
        locale != NULL && (strstr(locale, "UTF-8") != NULL || strstr(locale, "utf8") != NULL ||
                           strstr(locale, "UTF8") != NULL);
}

static int make_context(cli *app) {
    nf_error error;
    nf_context_options options = {
        .threads = (int)cli_get(app, OPT_THREADS)->integer,
        .progress = cli_progress_poll,
        .progress_user = app,
    };
    nf_status status = nf_context_create(&app->context, &options, &error);
    if (status == NF_OK) return CLI_OK;
    return cli_fail(app, status == NF_ERR_NOMEM ? CLI_MEMORY : CLI_USAGE, "%s", error.message);
}

static int run(cli *app) {
    int code = cli_check_outputs(app);
    if (code == CLI_OK) code = make_context(app);
    if (code != CLI_OK) return code;
    cli_interrupt_install();
    cli_detail(app, "%d thread%s, instruction set %s", nf_context_threads(app->context),
               nf_context_threads(app->context) == 1 ? "" : "s", nf_context_isa(app->context));
    code = app->command->run(app);
    cli_progress_end(app);
    nf_context_free(app->context);
    return code;
}

static int start(cli *app, int argc, char **argv) {
    /* Hidden: the build makes nearfar.1 with it. */
    if (argc == 2 && strcmp(argv[1], "--print-man") == 0) {
        cli_print_manual();
        return CLI_OK;
    }
    int code = cli_parse(app, argc, argv);
    if (code != CLI_OK) return code;
    if (cli_given(app, OPT_VERSION)) {
        printf("nearfar %s\n", nf_version());
        return CLI_OK;
    }
    if (cli_given(app, OPT_HELP)) {
        if (app->command != NULL) {
            cli_print_command_help(app->command);
        } else {
            cli_print_help();
        }
        return CLI_OK;
    }
    if (app->command == NULL) {
        cli_print_welcome();
        return CLI_OK;
    }
    return run(app);
}

int main(int argc, char **argv) {
    cli app;
    memset(&app, 0, sizeof app);
    occupy_standard_streams();
    cli_interrupt_quiet_writes();
    look_at_terminal(&app);
    int code = start(&app, argc, argv);
    int written = cli_finish_stdout(&app);
    return code != CLI_OK ? code : written;
}
