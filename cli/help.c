/* Help on the terminal: examples first, then the formulas, then the options. */
#include <string.h>
#include <sys/ioctl.h>

#include "cli.h"

#define OPTION_COLUMN 30

static size_t text_columns(void) {
    struct winsize size;
    if (ioctl(1, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40) {
        return size.ws_col < 100 ? size.ws_col : 100;
    }
    return 80;
}

/* Print text word by word; lines after the first start at `indent`, the first is at `column`. */
static void wrap(const char *text, size_t indent, size_t column, size_t width) {
    size_t gap = 0; /* blanks owed before the next word, so that no line ends in one */
    while (*text != '\0') {
        size_t word = strcspn(text, " \n");
        if (word > 0 && gap > 0 && column + gap + word > width) {
            printf("\n%*s", (int)indent, "");
            column = indent;
            gap = 0;
        }
        if (word > 0) {
            printf("%*s%.*s", (int)gap, "", (int)word, text);
            column += gap + word;
            gap = 0;
        }
        text += word;
        if (*text == ' ') {
            gap++;
            text++;
        } else if (*text == '\n') {
            printf("\n%*s", (int)indent, "");
            column = indent;
            gap = 0;
            text++;
        }
    }
    putchar('\n');
}

static void print_example(const cli_example *example, size_t width) {
    if (strlen(example->line) <= 46 && 2 + 46 + 3 + strlen(example->meaning) <= width) {
        printf("  %-46s # %s\n", example->line, example->meaning);
    } else {
        printf("  # %s\n  %s\n", example->meaning, example->line);
    }
}

static void print_option(const cli_option *option, size_t width) {
    char left[64], text[640], fallback[64];
    int used = option->letter != 0
                   ? snprintf(left, sizeof left, "  -%c, --%s", option->letter, option->name)
                   : snprintf(left, sizeof left, "      --%s", option->name);
    if (option->argument != NULL && used > 0) {
        snprintf(left + used, sizeof left - (size_t)used, " %s", option->argument);
    }
    cli_option_default(option->id, fallback, sizeof fallback);
    size_t length = (size_t)snprintf(text, sizeof text, "%s", option->help);
    /* Words of a choice that the argument does not list already. */
    bool listed = option->argument != NULL && strchr(option->argument, '|') != NULL;
    if (option->kind == KIND_CHOICE && !listed) {
        for (size_t i = 0; option->choices(i) != NULL && length < sizeof text; i++) {
            length += (size_t)snprintf(text + length, sizeof text - length, "%s%s",
                                       i == 0 ? ": " : ", ", option->choices(i));
        }
    }
    if (fallback[0] != '\0' && length < sizeof text) {
        snprintf(text + length, sizeof text - length, " (default %s)", fallback);
    }
    printf("%s", left);
    size_t column = strlen(left);
    if (column + 2 > OPTION_COLUMN) {
        printf("\n%*s", OPTION_COLUMN, "");
    } else {
        printf("%*s", (int)(OPTION_COLUMN - column), "");
    }
    wrap(text, OPTION_COLUMN, OPTION_COLUMN, width);
}

static void print_options(unsigned command, size_t width) {
    for (int section = 0; section < SECTION_COUNT; section++) {
        bool titled = false;
        for (size_t i = 0; i < OPT_COUNT_ALL; i++) {
            const cli_option *option = &cli_options[i];
            if ((option->commands & command) == 0 || (int)option->section != section) continue;
            if (!titled) printf("\n%s options\n", cli_section_title((cli_section)section));
            titled = true;
            print_option(option, width);
        }
    }
}

/* Training weighs the sides in its own way unless told otherwise. */
void cli_training_text(char *buffer, size_t size) {
    const nf_loss loss = nf_train_defaults().loss;
    snprintf(
        buffer, size,
        "Training reduces by %s where the preset says mean, and then takes pos_weight %g unless "
        "--pos-weight sets it: a pull as strong as the push collapses classes onto each other.",
        nf_reduction_name(loss.reduction), loss.pos_weight);
}

static void print_loss(size_t width, bool training) {
    printf("\nThe loss\n  ");
    wrap("weston, tfa, drlim, hinge, pml and sbert are one family:\n"
         "same label:       scale * pos_weight * max(0, t - pos_margin)^exponent\n"
         "different label:  scale * neg_weight * max(0, margin - t)^exponent\n"
         "where t is the distance of the two rows. 'same' is 1 for near, 0 for far. The other "
         "losses compare the pairs of a row with each other and need labelled rows; a is the "
         "anchor, p a positive, n a negative.",
         2, 2, width);
    for (size_t i = 0; nf_loss_preset_name(i) != NULL; i++) {
        const char *name = nf_loss_preset_name(i);
        printf("  %-8s", name);
        if (strlen(name) > 7) printf("\n%10s", "");
        wrap(nf_loss_preset_formula(i), 10, 10, width);
    }
    if (!training) return;
    char text[512];
    cli_training_text(text, sizeof text);
    printf("  ");
    wrap(text, 2, 2, width);
}

static void print_exit_codes(void) {
    printf(
        "\nExit status\n"
        "  0 success, 1 failed, 2 wrong usage, 3 bad data, 4 training diverged, 5 out of memory,\n"
        "  6 reading or writing failed, 130 or 143 interrupted\n");
}

void cli_print_command_help(const cli_command *command) {
    size_t width = text_columns();
    printf("nearfar %s: %s\n\nExamples\n", command->name, command->summary);
    for (size_t i = 0; command->examples[i].line != NULL; i++) {
        print_example(&command->examples[i], width);
    }
    printf("\nUsage\n");
    for (size_t i = 0; command->usage[i] != NULL; i++) {
        printf("  nearfar ");
        wrap(command->usage[i], 14, 10, width);
    }
    if (command->details != NULL) {
        printf("\n");
        wrap(command->details, 0, 0, width);
    }
    if (command->shows_loss) print_loss(width, command->bit == ON_TRAIN);
    print_options(command->bit, width);
}

static void print_subcommands(void) {
    for (const cli_command *command = cli_commands; command->name != NULL; command++) {
        printf("  %-12s%s\n", command->name, command->summary);
    }
}

static void print_first_steps(void) {
    size_t width = text_columns();
    static const cli_example examples[] = {
        {"nearfar train digits-train -o model.safetensors", "learn"},
        {"nearfar embed model.safetensors digits-test -o emb.npy", "apply"},
        {"nearfar eval emb.npy --labels digits-test", "judge"},
    };
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        printf("  %-56s", examples[i].line);
        printf(width >= 70 ? "# %s\n" : "\n", examples[i].meaning);
    }
}

void cli_print_help(void) {
    printf("nearfar %s: learn embeddings from pairs, same label near and different label far\n\n"
           "Examples\n",
           nf_version());
    print_first_steps();
    printf("\nUsage\n  nearfar SUBCOMMAND [arguments] [options]\n\nSubcommands\n");
    print_subcommands();
    printf("\n'nearfar SUBCOMMAND --help' shows examples, formulas and options of each.\n");
    print_options(ON_HELP | ON_INFO, text_columns());
    print_exit_codes();
}

void cli_print_welcome(void) {
    printf("nearfar learns embeddings from pairs: same label near, different label far.\n\n"
           "What to do next, here with the bundled digits; put your own file in their place:\n\n");
    print_first_steps();
    printf("\nSubcommands\n");
    print_subcommands();
    printf("\n'nearfar SUBCOMMAND --help' shows examples and options of each.\n");
}

int cli_run_help(cli *app) {
    if (app->args.operands == 0) {
        cli_print_help();
        return CLI_OK;
    }
    const cli_command *command = cli_command_find(app->args.operand[0]);
    if (command == NULL) {
        return cli_fail(app, CLI_USAGE, "no subcommand '%s'; 'nearfar --help' lists them",
                        cli_quote(app->args.operand[0]).text);
    }
    cli_print_command_help(command);
    return CLI_OK;
}
