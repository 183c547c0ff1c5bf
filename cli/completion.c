/* Completion scripts of bash and zsh, from the tables of commands and options. */
#include <string.h>

#include "cli.h"

static void print_words(const cli_option *option, const char *separator) {
    for (size_t i = 0; option->choices(i) != NULL; i++) {
        printf("%s%s", i == 0 ? "" : separator, option->choices(i));
    }
}

static bool has_words(const cli_option *option) {
    return option->kind == KIND_CHOICE || option->kind == KIND_COUNT_OR_WORD;
}

static bool takes_file(const cli_option *option) {
    return option->kind == KIND_INPUT || option->kind == KIND_OUTPUT;
}

/* ---- bash ---- */

static void bash_option_case(const cli_option *option, unsigned bit, const char *command) {
    if (option->kind == KIND_FLAG || (option->commands & bit) == 0) return;
    printf("        %s:--%s", command, option->name);
    if (option->letter != 0) printf("|%s:-%c", command, option->letter);
    printf(") ");
    if (has_words(option)) {
        printf("COMPREPLY=($(compgen -W '");
        print_words(option, " ");
        printf("' -- \"$current\"))");
    } else if (takes_file(option)) {
        printf("COMPREPLY=($(compgen -f -- \"$current\"))");
    } else {
        printf("COMPREPLY=()");
    }
    printf("; return ;;\n");
}

static void bash_command(const cli_command *command) {
    printf("        %s) words='", command->name);
    for (size_t i = 0; i < OPT_COUNT_ALL; i++) {
        if ((cli_options[i].commands & command->bit) != 0) printf("--%s ", cli_options[i].name);
    }
    printf("'; values='%s'", command->operand_values != NULL ? command->operand_values : "");
    printf("; files=%d ;;\n", command->bit < ON_COMPLETION && command->operands > 0);
}

static void print_bash(void) {
    printf(
        "# bash completion for nearfar\n_nearfar() {\n"
        "    local current=\"${COMP_WORDS[COMP_CWORD]}\" previous=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
        "    local command=\"${COMP_WORDS[1]}\" words= values= files=0\n"
        "    if ((COMP_CWORD == 1)); then\n        COMPREPLY=($(compgen -W '");
    for (const cli_command *command = cli_commands; command->name != NULL; command++) {
        printf("%s ", command->name);
    }
    printf("--help --version' -- \"$current\"))\n        return\n    fi\n"
           "    case \"$command:$previous\" in\n");
    for (const cli_command *command = cli_commands; command->name != NULL; command++) {
        for (size_t i = 0; i < OPT_COUNT_ALL; i++) {
            bash_option_case(&cli_options[i], command->bit, command->name);
        }
    }
    printf("    esac\n    case \"$command\" in\n");
    for (const cli_command *command = cli_commands; command->name != NULL; command++) {
        bash_command(command);
    }
    printf("    esac\n"
           "    if [[ \"$current\" == -* ]]; then\n"
           "        COMPREPLY=($(compgen -W \"$words\" -- \"$current\"))\n"
           "    elif ((files)); then\n"
           "        COMPREPLY=($(compgen -f -W \"$values\" -- \"$current\"))\n"
           "    else\n"
           "        COMPREPLY=($(compgen -W \"$values\" -- \"$current\"))\n"
           "    fi\n}\ncomplete -o filenames -o bashdefault -F _nearfar nearfar\n");
}

/* ---- zsh ---- */

/* Inside '...[text]:...' of _arguments: no quotes, brackets or colons. */
static void zsh_text(const char *text) {
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '\'': printf("'\\''"); break;
        case '[':
        case ']':
        case ':':
        case '\\': printf("\\%c", *text); break;
        default: putchar(*text);
        }
    }
}

static void zsh_option(const cli_option *option) {
    printf("                ");
    if (option->letter != 0) {
        printf("'(-%c --%s)'{-%c,--%s%s}'[", option->letter, option->name, option->letter,
               option->name, option->kind != KIND_FLAG ? "=" : "");
    } else {
        printf("'--%s%s[", option->name, option->kind != KIND_FLAG ? "=" : "");
    }
    zsh_text(option->help);
    printf("]");
    if (option->kind != KIND_FLAG) {
        printf(":");
        zsh_text(option->argument);
        printf(":");
        if (has_words(option)) {
            printf("(");
            print_words(option, " ");
            printf(")");
        } else if (takes_file(option)) {
            printf("_files");
        }
    }
    printf("' \\\n");
}

static void print_zsh(void) {
    printf("#compdef nearfar\n# zsh completion for nearfar\n_nearfar() {\n"
           "    local curcontext=\"$curcontext\" state line\n    local -a commands\n"
           "    commands=(\n");
    for (const cli_command *command = cli_commands; command->name != NULL; command++) {
        printf("        '%s:", command->name);
        zsh_text(command->summary);
        printf("'\n");
    }
    printf("    )\n    _arguments -C '1:subcommand:->command' '*::argument:->arguments' "
           "'--help[show help]' '--version[show the version]'\n"
           "    case $state in\n    command) _describe -t commands subcommand commands ;;\n"
           "    arguments)\n        case $words[1] in\n");
    for (const cli_command *command = cli_commands; command->name != NULL; command++) {
        printf("            %s)\n                _arguments -s \\\n", command->name);
        for (size_t i = 0; i < OPT_COUNT_ALL; i++) {
            if ((cli_options[i].commands & command->bit) != 0) zsh_option(&cli_options[i]);
        }
        if (command->bit >= ON_COMPLETION) {
            printf("                '*:argument:(%s)' ;;\n", command->operand_values);
        } else if (command->operand_values != NULL) {
            printf("                '*:file: _alternative \"sets:bundled set:(%s)\" "
                   "\"files:file:_files\"' ;;\n",
                   command->operand_values);
        } else {
            printf("                '*:file:_files' ;;\n");
        }
    }
    printf("        esac ;;\n    esac\n}\n"
           "if [[ $zsh_eval_context[-1] == loadautofunc ]]; then\n    _nearfar \"$@\"\nelse\n"
           "    compdef _nearfar nearfar\nfi\n");
}

int cli_run_completion(cli *app) {
    const char *shell = app->args.operands > 0 ? app->args.operand[0] : "";
    if (strcmp(shell, "bash") == 0) {
        print_bash();
        return CLI_OK;
    }
    if (strcmp(shell, "zsh") == 0) {
        print_zsh();
        return CLI_OK;
    }
    return cli_fail(app, CLI_USAGE, "completion needs the name of a shell, bash or zsh%s%s%s",
                    shell[0] != '\0' ? ", not '" : "",
                    shell[0] != '\0' ? cli_quote(shell).text : "", shell[0] != '\0' ? "'" : "");
}
