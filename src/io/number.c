/* Decimal numbers, the same in every locale of the host program. */
#include "io/internal.h"

#include <math.h>
#include <stdlib.h>

/* Long enough for the exact expansion of any float64. */
#define NUMBER_MAX 1280

nf_status nf_c_locale_enter(nf_context *context, nf_c_locale *locale) {
    locale->c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (locale->c == (locale_t)0) {
        return nf_fail(context, NF_ERR_NOMEM, "out of memory: the C locale; free memory");
    }
    locale->previous = uselocale(locale->c);
    return NF_OK;
}

void nf_c_locale_leave(const nf_c_locale *locale) {
    uselocale(locale->previous);
    freelocale(locale->c);
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static size_t digits(const char *text, size_t length, size_t at) {
    size_t count = 0;
    while (at + count < length && is_digit(text[at + count])) count++;
    return count;
}

/* strtod also takes hexadecimal, nan(..) and inf: only plain decimals may reach it. */
static bool is_decimal(const char *text, size_t length) {
    size_t at = length > 0 && (text[0] == '+' || text[0] == '-') ? 1 : 0;
    size_t whole = digits(text, length, at), fraction = 0;
    at += whole;
    if (at < length && text[at] == '.') {
        fraction = digits(text, length, at + 1);
        at += 1 + fraction;
    }
    if (whole + fraction == 0) return false;
    if (at < length && (text[at] == 'e' || text[at] == 'E')) {
        at++;
        if (at < length && (text[at] == '+' || text[at] == '-')) at++;
        size_t exponent = digits(text, length, at);
        if (exponent == 0) return false;
        at += exponent;
    }
    return at == length;
}

bool nf_number_parse(const char *text, size_t length, double *value) {
    char copy[NUMBER_MAX];
    if (length >= sizeof copy || !is_decimal(text, length)) return false;
    memcpy(copy, text, length);
    copy[length] = '\0';
    double parsed = strtod(copy, NULL);
    if (!isfinite(parsed)) return false;
    *value = parsed;
    return true;
}

nf_integer_kind nf_integer_parse(const char *text, size_t length, int64_t *value) {
    bool negative = length > 0 && text[0] == '-';
    size_t at = length > 0 && (text[0] == '-' || text[0] == '+') ? 1 : 0;
    if (at == length || digits(text, length, at) != length - at) return NF_INTEGER_NOT;
    int64_t sum = 0;
    for (; at < length; at++) {
        int digit = text[at] - '0';
        if (__builtin_mul_overflow(sum, 10, &sum) ||
            __builtin_add_overflow(sum, negative ? -digit : digit, &sum)) {
            return NF_INTEGER_BIG;
        }
    }
    *value = sum;
    return NF_INTEGER_OK;
}

bool nf_size_parse(const char *text, size_t length, size_t *value) {
    if (length == 0 || digits(text, length, 0) != length) return false;
    size_t sum = 0;
    for (size_t at = 0; at < length; at++) {
        if (nf_mul_overflows(sum, 10, &sum) ||
            nf_add_overflows(sum, (size_t)(text[at] - '0'), &sum)) {
            return false;
        }
    }
    *value = sum;
    return true;
}

static bool starts_with(const char *text, size_t length, const char *prefix) {
    size_t at = length > 0 && (text[0] == '-' || text[0] == '+') ? 1 : 0;
    for (; *prefix != '\0'; prefix++, at++) {
        if (at >= length || (text[at] | 0x20) != *prefix) return false;
    }
    return true;
}

/* Digits in groups of three after `mark`: 1,234 or 1.234.567 or 12 345. */
static bool is_grouped(const char *text, size_t length, char mark) {
    size_t at = length > 0 && (text[0] == '-' || text[0] == '+') ? 1 : 0;
    size_t lead = digits(text, length, at), groups = 0;
    if (lead < 1 || lead > 3) return false;
    for (at += lead; at < length && text[at] == mark; at += 4, groups++) {
        if (digits(text, length, at + 1) < 3) return false;
    }
    return groups > 0 && (at >= length || !is_digit(text[at]));
}

const char *nf_number_problem(const char *text, size_t length) {
    if (length == 0) return "empty: fill the cell or remove the row";
    if (length >= NUMBER_MAX) return "too long for a number: write at most 1279 characters";
    if (starts_with(text, length, "0x")) return "hexadecimal: write the number in decimal";
    if (starts_with(text, length, "nan") || starts_with(text, length, "na") ||
        starts_with(text, length, "inf")) {
        return "not finite: replace or remove missing and infinite values";
    }
    if (is_decimal(text, length)) return "beyond the range of float64: rescale the column";
    const char *comma = memchr(text, ',', length);
    bool once =
        comma != NULL && memchr(comma + 1, ',', (size_t)(text + length - comma - 1)) == NULL;
    if (is_grouped(text, length, ',') && once) {
        return "not a number here (decimal comma or thousands separator?): write a decimal point "
               "and no separators";
    }
    if (is_grouped(text, length, ',') || is_grouped(text, length, '.') ||
        is_grouped(text, length, '\'') || is_grouped(text, length, ' ') ||
        is_grouped(text, length, '_')) {
        return "a number with thousands separators: write it without them";
    }
    if (once) {
        char copy[NUMBER_MAX];
        memcpy(copy, text, length);
        copy[comma - text] = '.';
        if (is_decimal(copy, length)) return "a number with a decimal comma: write a decimal point";
    }
    return "not a number";
}
