/* Words on standard error. */
#include <string.h>

#include "cli.h"

cli_quoted cli_quote(const char *text) {
    cli_quoted quoted;
    const size_t room = sizeof quoted.text - 4;
    size_t used = 0;
    for (; text[used] != '\0' && used < room; used++) {
        unsigned char byte = (unsigned char)text[used];
        quoted.text[used] = (byte < 0x20 || byte == 0x7f) ? '?' : text[used];
    }
    if (text[used] != '\0') {
        /* Do not cut a UTF-8 character in two. */
        while (used > 0 && ((unsigned char)text[used] & 0xc0) == 0x80) used--;
        memcpy(quoted.text + used, "...", 3);
        used += 3;
    }
    quoted.text[used] = '\0';
    return quoted;
}

static void say(cli *app, const char *kind, const char *format, va_list arguments) {
    cli_progress_clear(app);
    fputs("nearfar: ", stderr);
    fputs(kind, stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
}

int cli_fail(cli *app, int code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    say(app, "error: ", format, arguments);
    va_end(arguments);
    return code;
}

void cli_warn(cli *app, const char *format, ...) {
    if (app->quiet) return;
    va_list arguments;
    va_start(arguments, format);
    say(app, "warning: ", format, arguments);
    va_end(arguments);
}

void cli_note(cli *app, const char *format, ...) {
    if (app->quiet) return;
    va_list arguments;
    va_start(arguments, format);
    say(app, "", format, arguments);
    va_end(arguments);
}

void cli_detail(cli *app, const char *format, ...) {
    if (!app->verbose) return;
    va_list arguments;
    va_start(arguments, format);
    say(app, "", format, arguments);
    va_end(arguments);
}

static int exit_code(nf_status status) {
    switch (status) {
    case NF_OK: return CLI_OK;
    case NF_ERR_ARG: return CLI_USAGE;
    case NF_ERR_DATA:
    case NF_ERR_RANGE: return CLI_DATA;
    case NF_ERR_NOMEM: return CLI_MEMORY;
    case NF_ERR_IO: return CLI_IO;
    case NF_ERR_CANCELLED: return CLI_SIGNAL + (cli_interrupted() != 0 ? cli_interrupted() : 2);
    case NF_ERR_DIVERGED: return CLI_DIVERGED;
    case NF_ERR_UNSUPPORTED:
    case NF_ERR_CALLBACK: return CLI_FAILED;
    }
    return CLI_FAILED;
}

static int report_status(cli *app, nf_status status, const char *what, int code) {
    if (status == NF_OK) return CLI_OK;
    if (status == NF_ERR_CANCELLED || cli_interrupted() != 0) {
        return cli_fail(app, CLI_SIGNAL + (cli_interrupted() != 0 ? cli_interrupted() : 2),
                        "interrupted; no output was written");
    }
    const char *message = nf_context_error(app->context)->message;
    if (message[0] == '\0') message = nf_status_text(status);
    /* The library names the file where it knows it. */
    if (what == NULL || strstr(message, what) != NULL) return cli_fail(app, code, "%s", message);
    return cli_fail(app, code, "%s: %s", what, message);
}

int cli_status(cli *app, nf_status status, const char *what) {
    return report_status(app, status, what, exit_code(status));
}

int cli_data_status(cli *app, nf_status status, const char *what) {
    int code = status == NF_ERR_ARG ? CLI_DATA : exit_code(status);
    return report_status(app, status, what, code);
}

int cli_no_memory(cli *app, const char *what) {
    return cli_fail(app, CLI_MEMORY, "out of memory for %s: use fewer rows, or free some memory",
                    what);
}
