/* Options: their table, and arguments parsed by it. */
#ifndef NF_CLI_OPTIONS_H
#define NF_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cli;

/* Subcommands as bits, so that an option can name those that know it. */
enum {
    ON_TRAIN = 1 << 0,
    ON_EMBED = 1 << 1,
    ON_EVAL = 1 << 2,
    ON_LOSS = 1 << 3,
    ON_PAIRS = 1 << 4,
    ON_DISTANCES = 1 << 5,
    ON_KNN = 1 << 6,
    ON_INFO = 1 << 7,
    ON_COMPLETION = 1 << 8,
    ON_HELP = 1 << 9,
    ON_WORK = ON_COMPLETION - 1, /* those that compute something */
    ON_ANY = (ON_HELP << 1) - 1
};

typedef enum cli_kind {
    KIND_FLAG,
    KIND_TEXT,
    KIND_INPUT,        /* a file to read */
    KIND_OUTPUT,       /* a file to write */
    KIND_CHOICE,       /* one of a few words */
    KIND_INTEGER,      /* whole number, plain digits, within low .. high */
    KIND_SEED,         /* whole number, 0 .. 2^64 - 1 */
    KIND_NUMBER,       /* finite decimal number within low .. high */
    KIND_LIST,         /* comma-separated whole numbers, each within low .. high */
    KIND_COUNT_OR_WORD /* INTEGER, or one of a few words */
} cli_kind;

typedef enum cli_section {
    SECTION_DATA,
    SECTION_PAIRS,
    SECTION_MODEL,
    SECTION_LOSS,
    SECTION_TRAINING,
    SECTION_EVALUATION,
    SECTION_DISTANCE,
    SECTION_OUT,
    SECTION_GENERAL,
    SECTION_COUNT
} cli_section;

typedef enum cli_option_id {
#define OPTION(id, ...) OPT_##id,
#include "options.def"
#undef OPTION
    OPT_COUNT_ALL
} cli_option_id;

/* The i-th allowed word, NULL past the end. */
typedef const char *(*cli_choices)(size_t i);

typedef struct cli_option {
    cli_option_id id;
    char letter;
    const char *name, *argument;
    cli_kind kind;
    double low, high;
    cli_choices choices;
    unsigned commands;
    cli_section section;
    const char *help;
} cli_option;

#define CLI_MAX_LIST 16
#define CLI_MAX_OPERANDS 2

typedef struct cli_value {
    bool set;
    const char *text; /* as given; NULL for a flag */
    double number;    /* NUMBER */
    uint64_t integer; /* INTEGER, SEED, COUNT_OR_WORD with a number */
    size_t choice;    /* CHOICE, COUNT_OR_WORD with a word: position among the choices */
    bool word;        /* COUNT_OR_WORD: a word was given */
    size_t list[CLI_MAX_LIST], list_count;
} cli_value;

typedef struct cli_args {
    cli_value option[OPT_COUNT_ALL];
    const char *operand[CLI_MAX_OPERANDS];
    size_t operands;
} cli_args;

extern const cli_option cli_options[OPT_COUNT_ALL];

/* Title of a section of --help. */
const char *cli_section_title(cli_section section);

/* The default of an option as text in `buffer`; empty if it has none. */
void cli_option_default(cli_option_id id, char *buffer, size_t size);

/* The option of that name or letter that a command (bit) knows; NULL if none. */
const cli_option *cli_option_find(const char *name, size_t length, unsigned command);
const cli_option *cli_option_find_letter(char letter, unsigned command);

/* Parse the command line into app: its command, options and operands. 0, or an exit code after a
 * message. */
int cli_parse(struct cli *app, int argc, char **argv);

/* Read one value by its option's kind; `shown` is the option as the user wrote it. */
int cli_value_read(struct cli *app, const cli_option *option, const char *shown, const char *text,
                   cli_value *value);

#endif
