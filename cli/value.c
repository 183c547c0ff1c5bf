/* Values of options: strict reading, and messages that name option, value, limit and remedy. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* Plain digits to a number; false if anything else is there or it does not fit. */
static bool read_digits(const char *text, size_t length, uint64_t *value) {
    uint64_t result = 0;
    if (length == 0) return false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') return false;
        if (__builtin_mul_overflow(result, (uint64_t)10, &result)) return false;
        if (__builtin_add_overflow(result, (uint64_t)(text[i] - '0'), &result)) return false;
    }
    *value = result;
    return true;
}

/* [+-] digits [. digits] [e [+-] digits], with at least one digit before the exponent: no hex,
 * no nan or inf, no blanks, and the same in every locale. */
static bool is_decimal(const char *text) {
    const char *at = text;
    if (*at == '+' || *at == '-') at++;
    size_t whole = strspn(at, "0123456789");
    at += whole;
    size_t part = 0;
    if (*at == '.') {
        at++;
        part = strspn(at, "0123456789");
        at += part;
    }
    if (whole + part == 0) return false;
    if (*at == 'e' || *at == 'E') {
        at++;
        if (*at == '+' || *at == '-') at++;
        size_t exponent = strspn(at, "0123456789");
        if (exponent == 0) return false;
        at += exponent;
    }
    return *at == '\0';
}

static int read_integer(cli *app, const cli_option *option, const char *shown, const char *text,
                        uint64_t *value) {
    const uint64_t low = (uint64_t)option->low, high = (uint64_t)option->high;
    if (read_digits(text, strlen(text), value) && *value >= low && *value <= high) return CLI_OK;
    char hint[64] = "";
    if (is_decimal(text)) {
        double number = strtod(text, NULL);
        if (number >= option->low && number <= option->high && number < 1e15 &&
            number == (double)(uint64_t)number) {
            snprintf(hint, sizeof hint, "; write %llu", (unsigned long long)number);
        }
    }
    return cli_fail(
        app, CLI_USAGE, "%s is '%s': it must be a whole number from %llu to %llu in plain digits%s",
        shown, cli_quote(text).text, (unsigned long long)low, (unsigned long long)high, hint);
}

static int read_seed(cli *app, const char *shown, const char *text, uint64_t *value) {
    if (read_digits(text, strlen(text), value)) return CLI_OK;
    return cli_fail(app, CLI_USAGE,
                    "%s is '%s': it must be a whole number from 0 to 18446744073709551615 in plain "
                    "digits",
                    shown, cli_quote(text).text);
}

static int read_number(cli *app, const cli_option *option, const char *shown, const char *text,
                       double *value) {
    if (!is_decimal(text)) {
        return cli_fail(app, CLI_USAGE,
                        "%s is '%s': it must be a finite decimal number from %g to %g, such as "
                        "0.5 or 1e-3",
                        shown, cli_quote(text).text, option->low, option->high);
    }
    errno = 0;
    *value = strtod(text, NULL);
    if (errno == ERANGE) {
        return cli_fail(app, CLI_USAGE,
                        "%s is '%s': that is %s a double can hold; it must be a number from %g to "
                        "%g",
                        shown, cli_quote(text).text,
                        *value > 1 || *value < -1 ? "more than" : "nearer to 0 than", option->low,
                        option->high);
    }
    if (*value < option->low || *value > option->high) {
        return cli_fail(app, CLI_USAGE, "%s is '%s': it must be a number from %g to %g", shown,
                        cli_quote(text).text, option->low, option->high);
    }
    return CLI_OK;
}

static int read_list(cli *app, const cli_option *option, const char *shown, const char *text,
                     cli_value *value) {
    const char *at = text;
    for (;;) {
        size_t length = strcspn(at, ",");
        uint64_t item = 0;
        if (value->list_count == CLI_MAX_LIST) {
            return cli_fail(app, CLI_USAGE, "%s is '%s': at most %d numbers fit", shown,
                            cli_quote(text).text, CLI_MAX_LIST);
        }
        if (!read_digits(at, length, &item) || item < (uint64_t)option->low ||
            item > (uint64_t)option->high) {
            return cli_fail(app, CLI_USAGE,
                            "%s is '%s': item %zu must be a whole number from %.0f to %.0f; "
                            "separate items by commas, as in 256,128",
                            shown, cli_quote(text).text, value->list_count + 1, option->low,
                            option->high);
        }
        value->list[value->list_count++] = (size_t)item;
        if (at[length] == '\0') return CLI_OK;
        at += length + 1;
    }
}

static bool find_choice(const cli_option *option, const char *text, size_t *choice) {
    for (size_t i = 0; option->choices(i) != NULL; i++) {
        if (strcmp(option->choices(i), text) == 0) {
            *choice = i;
            return true;
        }
    }
    return false;
}

static int refuse_choice(cli *app, const cli_option *option, const char *shown, const char *text) {
    char all[256] = "";
    const char *words[32];
    size_t count = 0, used = 0;
    for (; count < 32 && option->choices(count) != NULL; count++) {
        words[count] = option->choices(count);
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", count > 0 ? ", " : "",
                                 words[count]);
        if (used >= sizeof all) used = sizeof all - 1;
    }
    const char *near = cli_suggest(text, words, count);
    return cli_fail(app, CLI_USAGE, "%s is '%s': it must be one of %s%s%s%s", shown,
                    cli_quote(text).text, all, near != NULL ? "; did you mean " : "",
                    near != NULL ? near : "", near != NULL ? "?" : "");
}

int cli_value_read(cli *app, const cli_option *option, const char *shown, const char *text,
                   cli_value *value) {
    *value = (cli_value){.set = true, .text = text};
    if (text[0] == '\0') {
        return cli_fail(app, CLI_USAGE, "%s has an empty value: give %s", shown, option->argument);
    }
    switch (option->kind) {
    case KIND_INTEGER: return read_integer(app, option, shown, text, &value->integer);
    case KIND_SEED: return read_seed(app, shown, text, &value->integer);
    case KIND_NUMBER: return read_number(app, option, shown, text, &value->number);
    case KIND_LIST: return read_list(app, option, shown, text, value);
    case KIND_CHOICE:
        if (find_choice(option, text, &value->choice)) return CLI_OK;
        return refuse_choice(app, option, shown, text);
    case KIND_COUNT_OR_WORD:
        if (find_choice(option, text, &value->choice)) {
            value->word = true;
            return CLI_OK;
        }
        return read_integer(app, option, shown, text, &value->integer);
    case KIND_FLAG:
    case KIND_TEXT:
    case KIND_INPUT:
    case KIND_OUTPUT: break;
    }
    return CLI_OK;
}
