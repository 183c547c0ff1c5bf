/* The program's own state and services: exit codes, messages, results, progress, interruption.
 *
 * Results go to standard output, words to standard error. Functions return an exit code, 0 for
 * success; whoever returns another has already said why.
 */
#ifndef NF_CLI_CLI_H
#define NF_CLI_CLI_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "nearfar/nearfar.h"
#include "options.h"

enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_DATA = 3,
    CLI_DIVERGED = 4,
    CLI_MEMORY = 5,
    CLI_IO = 6,
    CLI_SIGNAL = 128 /* + number of the signal */
};

#define CLI_PRINTF(text, first) __attribute__((format(printf, text, first)))

/* An example of --help: a command line, and what it does. */
typedef struct cli_example {
    const char *line, *meaning;
} cli_example;

typedef struct cli cli;

typedef struct cli_command {
    const char *name;
    unsigned bit;
    const char *summary;        /* one line */
    const char *usage[8];       /* forms, without the name of the program; NULL ends */
    cli_example examples[8];    /* line NULL ends */
    const char *details;        /* paragraphs, or NULL */
    bool shows_loss;            /* --help prints the formulas of the loss */
    size_t operands;            /* at most */
    const char *operand_values; /* completion: words an operand may be, or NULL for files */
    int (*run)(cli *app);
} cli_command;

typedef struct cli_progress {
    const char *label; /* NULL: nothing under way */
    double start;      /* seconds */
    double drawn;      /* time of the last drawing */
    double from, to;   /* share of the whole that the running call covers */
    bool visible;      /* a bar stands on the current line of the terminal */
    bool polling_only; /* do not draw, only look for interruption */
} cli_progress;

struct cli {
    const cli_command *command;
    cli_args args;
    nf_context *context;
    cli_progress progress;
    bool quiet, verbose, json;
    bool terminal;    /* standard error is a terminal that can redraw a line */
    bool utf8;        /* the terminal takes UTF-8 */
    bool stdout_used; /* a data file was written to standard output */
};

/* ---- commands.c ---- */
extern const cli_command cli_commands[];
const cli_command *cli_command_find(const char *name);

/* ---- message.c ---- */

/* Text from outside, made safe for a terminal and cut to fit a message. */
typedef struct cli_quoted {
    char text[96];
} cli_quoted;
cli_quoted cli_quote(const char *text);

int cli_fail(cli *app, int code, const char *format, ...) CLI_PRINTF(3, 4);
void cli_warn(cli *app, const char *format, ...) CLI_PRINTF(2, 3);
void cli_note(cli *app, const char *format, ...) CLI_PRINTF(2, 3);
void cli_detail(cli *app, const char *format, ...) CLI_PRINTF(2, 3); /* only with -v */

/* Exit code of a library call; prints the library's message after `what` (may be NULL). With
 * cli_data an NF_ERR_ARG is the data's fault, not the command line's. */
int cli_status(cli *app, nf_status status, const char *what);
int cli_data_status(cli *app, nf_status status, const char *what);
int cli_no_memory(cli *app, const char *what);

/* ---- suggest.c ---- */

/* Best of `count` words near to `text`, or NULL if none is near. */
const char *cli_suggest(const char *text, const char *const *words, size_t count);

/* ---- help.c, manual.c, completion.c ---- */
void cli_print_welcome(void);
void cli_print_help(void);
void cli_print_command_help(const cli_command *command);
void cli_print_manual(void);
void cli_training_text(char *buffer, size_t size); /* how training changes a preset */
int cli_run_completion(cli *app);

/* ---- progress.c ---- */
void cli_progress_begin(cli *app, const char *label);
void cli_progress_part(cli *app, double from, double to);
void cli_progress_end(cli *app);
void cli_progress_clear(cli *app); /* before other text on standard error */
void cli_progress_draw(cli *app, double share, const char *text);
int cli_progress_poll(void *app, uint64_t done, uint64_t total); /* an nf_progress_fn */
double cli_clock(void);

/* ---- interrupt.c ---- */
void cli_interrupt_install(void);
/* A closed pipe or a file at its limit is a write error (exit code 6), not a signal. */
void cli_interrupt_quiet_writes(void);
int cli_interrupted(void); /* number of the signal that asked to stop, or 0 */

/* ---- output.c ---- */

/* Before any work: every output can be written, none is an input or another output, and its name
 * ends as one of `endings` (NULL-terminated; NULL: any). "-" means standard output. */
int cli_check_outputs(cli *app);
int cli_check_ending(cli *app, cli_option_id id, const char *const *endings);
bool cli_ends_with(const char *text, const char *ending);
/* Path of an output option: "-" becomes /dev/stdout. NULL if not given. */
const char *cli_output_path(cli *app, cli_option_id id);
/* Refuse a file of `bytes` bytes that the file system has no room for. `remedy` may be NULL. */
int cli_check_room(cli *app, const char *path, double bytes, const char *remedy);
int cli_finish_stdout(cli *app);
void cli_human_bytes(double bytes, char *buffer, size_t size);

/* ---- memory.c ---- */
/* Refuse work whose `what` takes more bytes than the machine has or a control group allows. */
int cli_check_memory(cli *app, double bytes, const char *what, const char *remedy);

/* ---- json.c ---- */
json_t *cli_json_document(void); /* begin; cli_json_print ends it */
json_t *cli_json_list(void);     /* a list of its own */
bool cli_json_lost(void);        /* memory ran out since the document or list was begun */
void cli_json_number(json_t *object, const char *key, double value); /* NaN, Inf: null */
void cli_json_count(json_t *object, const char *key, uint64_t value);
void cli_json_text(json_t *object, const char *key, const char *value); /* NULL: null */
void cli_json_flag(json_t *object, const char *key, bool value);
void cli_json_shape(json_t *object, const char *key, size_t ndim, const size_t *shape);
int cli_json_print(cli *app, json_t *document); /* takes the document */

/* ---- table of results ---- */
/* On standard output, or on standard error when a data file goes to standard output. */
void cli_row(cli *app, const char *name, const char *format, ...) CLI_PRINTF(3, 4);
void cli_row_number(cli *app, const char *name, double value); /* 6 digits; "-" if undefined */
void cli_row_count(cli *app, const char *name, uint64_t value);

static inline bool cli_given(const cli *app, cli_option_id id) { return app->args.option[id].set; }
static inline const cli_value *cli_get(const cli *app, cli_option_id id) {
    return &app->args.option[id];
}

/* ---- subcommands ---- */
int cli_run_train(cli *app);
int cli_run_embed(cli *app);
int cli_run_eval(cli *app);
int cli_run_loss(cli *app);
int cli_run_pairs(cli *app);
int cli_run_distances(cli *app);
int cli_run_knn(cli *app);
int cli_run_info(cli *app);
int cli_run_help(cli *app);

#endif
