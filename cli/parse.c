/* Command line to command, options and operands. */
#include <string.h>

#include "cli.h"

/* Options that every subcommand knows are also allowed before it. */
static unsigned known_bits(const cli *app) { return app->command != NULL ? app->command->bit : 0; }

static const cli_option *find_long(const cli *app, const char *name, size_t length) {
    unsigned bits = known_bits(app);
    if (bits != 0) return cli_option_find(name, length, bits);
    const cli_option *option = cli_option_find(name, length, ON_INFO);
    return option != NULL && option->section == SECTION_GENERAL ? option : NULL;
}

static const cli_option *find_short(const cli *app, char letter) {
    unsigned bits = known_bits(app);
    if (bits != 0) return cli_option_find_letter(letter, bits);
    const cli_option *option = cli_option_find_letter(letter, ON_INFO);
    return option != NULL && option->section == SECTION_GENERAL ? option : NULL;
}

/* Subcommands that know an option which this one does not, as a list in words. */
static void list_owners(const char *name, size_t length, char *buffer, size_t size) {
    size_t used = 0;
    buffer[0] = '\0';
    for (const cli_command *command = cli_commands; command->name != NULL; command++) {
        if (cli_option_find(name, length, command->bit) == NULL) continue;
        int wrote =
            snprintf(buffer + used, size - used, "%s%s", used > 0 ? ", " : "", command->name);
        if (wrote > 0) used += (size_t)wrote;
        if (used >= size) return;
    }
}

static int refuse_option(cli *app, const char *argument) {
    const char *name = argument + 2;
    size_t length = strcspn(name, "=");
    char bare[48] = "";
    char owners[128] = "";
    if (length < sizeof bare) {
        memcpy(bare, name, length);
        bare[length] = '\0';
        list_owners(bare, length, owners, sizeof owners);
    }
    if (owners[0] != '\0' && app->command == NULL) {
        return cli_fail(app, CLI_USAGE, "--%s goes after the subcommand (it belongs to %s)", bare,
                        owners);
    }
    if (owners[0] != '\0') {
        return cli_fail(app, CLI_USAGE, "nearfar %s has no option --%s; it belongs to %s",
                        app->command->name, bare, owners);
    }
    const char *words[OPT_COUNT_ALL];
    size_t count = 0;
    for (size_t i = 0; i < OPT_COUNT_ALL; i++) {
        unsigned bits = app->command != NULL ? app->command->bit : (unsigned)ON_ANY;
        if ((cli_options[i].commands & bits) != 0) words[count++] = cli_options[i].name;
    }
    const char *near = cli_suggest(bare, words, count);
    if (near != NULL) {
        return cli_fail(app, CLI_USAGE, "unknown option '%s'; did you mean --%s?",
                        cli_quote(argument).text, near);
    }
    return cli_fail(app, CLI_USAGE, "unknown option '%s'; 'nearfar %s%s--help' lists the options",
                    cli_quote(argument).text, app->command != NULL ? app->command->name : "",
                    app->command != NULL ? " " : "");
}

/* A value may be a negative number or "-"; anything else with a dash is a forgotten value. */
static bool looks_like_option(const char *text) {
    if (text[0] != '-' || text[1] == '\0') return false;
    return !((text[1] >= '0' && text[1] <= '9') || text[1] == '.');
}

static int take_value(cli *app, const cli_option *option, const char *shown, const char *text) {
    cli_value *value = &app->args.option[option->id];
    if (value->set) {
        return cli_fail(app, CLI_USAGE, "%s is given twice: keep one", shown);
    }
    if (option->kind == KIND_FLAG) {
        if (text != NULL) {
            return cli_fail(app, CLI_USAGE, "%s takes no value, but '%s' was given", shown,
                            cli_quote(text).text);
        }
        value->set = true;
        return CLI_OK;
    }
    if (text == NULL) {
        return cli_fail(app, CLI_USAGE, "%s needs a value: %s %s", shown, shown, option->argument);
    }
    return cli_value_read(app, option, shown, text, value);
}

/* The value in the next argument, if that can be one. */
static const char *next_value(int argc, char **argv, int *at) {
    if (*at + 1 >= argc || looks_like_option(argv[*at + 1])) return NULL;
    *at += 1;
    return argv[*at];
}

static int parse_long(cli *app, int argc, char **argv, int *at) {
    const char *argument = argv[*at];
    size_t length = strcspn(argument + 2, "=");
    const cli_option *option = find_long(app, argument + 2, length);
    if (option == NULL) return refuse_option(app, argument);
    char shown[48];
    snprintf(shown, sizeof shown, "--%s", option->name);
    const char *text = argument[2 + length] == '=' ? argument + 3 + length : NULL;
    if (text == NULL && option->kind != KIND_FLAG) text = next_value(argc, argv, at);
    return take_value(app, option, shown, text);
}

/* -k 10, -k10, -qv */
static int parse_short(cli *app, int argc, char **argv, int *at) {
    const char *letter = argv[*at] + 1;
    for (; *letter != '\0'; letter++) {
        const cli_option *option = find_short(app, *letter);
        if (option == NULL) {
            char bad[3] = {'-', *letter, '\0'};
            return cli_fail(app, CLI_USAGE,
                            "unknown option '%s' in '%s'; 'nearfar %s%s--help' lists the options",
                            cli_quote(bad).text, cli_quote(argv[*at]).text,
                            app->command != NULL ? app->command->name : "",
                            app->command != NULL ? " " : "");
        }
        char shown[3] = {'-', *letter, '\0'};
        if (option->kind == KIND_FLAG) {
            int code = take_value(app, option, shown, NULL);
            if (code != CLI_OK) return code;
            continue;
        }
        const char *text = letter[1] != '\0' ? letter + 1 : next_value(argc, argv, at);
        return take_value(app, option, shown, text);
    }
    return CLI_OK;
}

static int take_command(cli *app, const char *name) {
    app->command = cli_command_find(name);
    if (app->command != NULL) return CLI_OK;
    const char *words[32];
    size_t count = 0;
    for (; cli_commands[count].name != NULL && count < 32; count++) {
        words[count] = cli_commands[count].name;
    }
    const char *near = cli_suggest(name, words, count);
    if (near != NULL) {
        return cli_fail(app, CLI_USAGE, "unknown subcommand '%s'; did you mean 'nearfar %s'?",
                        cli_quote(name).text, near);
    }
    return cli_fail(app, CLI_USAGE, "unknown subcommand '%s'; 'nearfar --help' lists them",
                    cli_quote(name).text);
}

static int take_operand(cli *app, const char *text) {
    if (app->command == NULL) return take_command(app, text);
    if (text[0] == '\0') return cli_fail(app, CLI_USAGE, "an argument is empty: leave it out");
    if (app->args.operands == app->command->operands) {
        return cli_fail(app, CLI_USAGE,
                        "'%s' is one argument too many: usage is nearfar %s; 'nearfar %s --help' "
                        "tells more",
                        cli_quote(text).text, app->command->usage[0], app->command->name);
    }
    app->args.operand[app->args.operands++] = text;
    return CLI_OK;
}

int cli_parse(cli *app, int argc, char **argv) {
    bool options_end = false;
    for (int at = 1; at < argc; at++) {
        const char *argument = argv[at];
        int code;
        if (options_end || argument[0] != '-' || argument[1] == '\0') {
            code = take_operand(app, argument);
        } else if (strcmp(argument, "--") == 0) {
            options_end = true;
            code = CLI_OK;
        } else if (argument[1] == '-') {
            code = parse_long(app, argc, argv, &at);
        } else {
            code = parse_short(app, argc, argv, &at);
        }
        if (code != CLI_OK) return code;
    }
    app->quiet = cli_given(app, OPT_QUIET);
    app->verbose = cli_given(app, OPT_VERBOSE);
    app->json = cli_given(app, OPT_JSON);
    if (app->quiet && app->verbose) {
        return cli_fail(app, CLI_USAGE, "--quiet and --verbose exclude each other: keep one");
    }
    return CLI_OK;
}
