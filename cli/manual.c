/* The manual page, in man(7) macros, from the tables of commands and options. */
#include <string.h>

#include "cli.h"

/* Escape what roff would take for itself: backslashes, dashes and a dot or quote at a line's
 * start. */
static void roff(const char *text) {
    bool start = true;
    for (; *text != '\0'; text++) {
        if (start && (*text == '.' || *text == '\'')) printf("\\&");
        if (*text == '\\') {
            printf("\\e");
        } else if (*text == '-') {
            printf("\\-");
        } else if (*text == '\n') {
            printf("\n.br\n");
        } else {
            putchar(*text);
        }
        start = *text == '\n';
    }
}

static void print_option(const cli_option *option) {
    char fallback[64];
    printf(".TP\n");
    if (option->letter != 0) printf("\\fB\\-%c\\fR, ", option->letter);
    printf("\\fB\\-\\-");
    roff(option->name);
    printf("\\fR");
    if (option->argument != NULL) {
        printf(" \\fI");
        roff(option->argument);
        printf("\\fR");
    }
    printf("\n");
    roff(option->help);
    bool listed = option->argument != NULL && strchr(option->argument, '|') != NULL;
    if (option->kind == KIND_CHOICE && !listed) {
        for (size_t i = 0; option->choices(i) != NULL; i++) {
            printf(i == 0 ? ": " : ", ");
            roff(option->choices(i));
        }
    }
    cli_option_default(option->id, fallback, sizeof fallback);
    if (fallback[0] != '\0') {
        printf(" (default ");
        roff(fallback);
        printf(")");
    }
    printf("\n");
}

static bool general(const cli_option *option) {
    return option->section == SECTION_GENERAL || option->id == OPT_JSON;
}

static void print_command(const cli_command *command) {
    printf(".SS \"nearfar %s\"\n", command->name);
    roff(command->summary);
    printf(".\n.PP\n.nf\n");
    for (size_t i = 0; command->usage[i] != NULL; i++) {
        printf("nearfar ");
        roff(command->usage[i]);
        printf("\n");
    }
    printf(".fi\n");
    if (command->details != NULL) {
        printf(".PP\n");
        roff(command->details);
        printf("\n");
    }
    for (size_t i = 0; i < OPT_COUNT_ALL; i++) {
        if ((cli_options[i].commands & command->bit) != 0 && !general(&cli_options[i])) {
            print_option(&cli_options[i]);
        }
    }
    printf(".PP\nExamples:\n.RS\n.nf\n");
    for (size_t i = 0; command->examples[i].line != NULL; i++) {
        printf("# ");
        roff(command->examples[i].meaning);
        printf("\n");
        roff(command->examples[i].line);
        printf("\n");
    }
    printf(".fi\n.RE\n");
}

static void print_loss(void) {
    printf(".SH LOSS\nIn the losses weston to sbert a positive pair (same label) at distance t "
           "contributes\n.PP\n.RS\n"
           "scale * pos_weight * max(0, t \\- pos_margin)^exponent\n.RE\n.PP\n"
           "and a negative pair (different label)\n.PP\n.RS\n"
           "scale * neg_weight * max(0, margin \\- t)^exponent.\n.RE\n.PP\nAll losses:\n");
    for (size_t i = 0; nf_loss_preset_name(i) != NULL; i++) {
        printf(".TP\n.B %s\n", nf_loss_preset_name(i));
        roff(nf_loss_preset_formula(i));
        printf("\n");
    }
    char text[512];
    cli_training_text(text, sizeof text);
    printf(".PP\n");
    roff(text);
    printf("\n");
}

void cli_print_manual(void) {
    printf(".TH NEARFAR 1 \"\" \"nearfar %s\" \"User Commands\"\n.SH NAME\n"
           "nearfar \\- learn embeddings from pairs, same label near and different label far\n"
           ".SH SYNOPSIS\n.B nearfar\n.I SUBCOMMAND\n[\\fIarguments\\fR] [\\fIoptions\\fR]\n"
           ".SH DESCRIPTION\n"
           "Learns, applies and judges embeddings, exactly over all pairs of rows, at any batch "
           "size, on a CPU. Results go to standard output, words and progress to standard "
           "error.\n.SH SUBCOMMANDS\n",
           nf_version());
    for (const cli_command *command = cli_commands; command->name != NULL; command++) {
        print_command(command);
    }
    print_loss();
    printf(".SH GENERAL OPTIONS\n");
    for (size_t i = 0; i < OPT_COUNT_ALL; i++) {
        if (general(&cli_options[i])) print_option(&cli_options[i]);
    }
    printf(
        ".SH FILES\n"
        "Reads .npy, .npz (\\fIfile.npz:member\\fR), CSV and TSV, svmlight and IDX, each also "
        "gzipped, and the bundled set by the name \\fBdigits\\fR. Writes .npy, .npz, CSV, and "
        "models as .safetensors. An output named \\- is standard output. Outputs appear when "
        "complete: a failed run leaves an old file as it was.\n"
        ".SH ENVIRONMENT\n.TP\n.B NF_NUM_THREADS\nthreads to use when \\-\\-threads is not "
        "given\n.TP\n.B NF_ISA\ninstruction set: scalar, avx2, avx512 or neon\n"
        ".SH EXIT STATUS\n.TP\n0\nsuccess\n.TP\n1\nfailed\n.TP\n2\nwrong usage\n.TP\n3\nbad data\n"
        ".TP\n4\ntraining diverged\n.TP\n5\nout of memory\n.TP\n6\nreading or writing failed\n"
        ".TP\n130, 143\ninterrupted by SIGINT or SIGTERM: the work stops and cleans up; a second "
        "signal ends it at once. A program that is killed may leave a \\fI.nearfar\\-*.tmp\\fR "
        "beside the output, which may be deleted\n");
}
