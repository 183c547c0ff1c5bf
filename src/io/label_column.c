/* Labels in text: whole numbers keep their value, anything else becomes a class. */
#include "io/internal.h"

#include <math.h>
#include <stdio.h>

static bool is_unlabelled(const char *text, size_t length) {
    return length == 0 || (length == 1 && text[0] == '?');
}

/* A number written as 3.0 or 3e0 is the label 3, as long as float64 holds it for certain. */
static bool integral(const char *text, size_t length, bool *number, int64_t *value) {
    double real;
    *number = nf_number_parse(text, length, &real);
    if (!*number || real != floor(real) || fabs(real) >= 0x1p53) return false;
    *value = (int64_t)real;
    return true;
}

static bool spells_nan(const char *text, size_t length) {
    if (length > 0 && (text[0] == '+' || text[0] == '-')) text++, length--;
    return length == 3 && (text[0] | 32) == 'n' && (text[1] | 32) == 'a' && (text[2] | 32) == 'n';
}

void nf_label_scan(nf_label_column *column, const char *text, size_t length, bool unquote,
                   size_t line) {
    int64_t value = 0;
    bool number = false;
    column->rows++;
    column->bytes += length;
    if (is_unlabelled(text, length)) {
        column->unlabelled = true;
        return;
    }
    nf_integer_kind kind = unquote ? NF_INTEGER_NOT : nf_integer_parse(text, length, &value);
    if (kind == NF_INTEGER_BIG) {
        column->bigs++;
    } else if (kind == NF_INTEGER_OK || integral(text, length, &number, &value)) {
        if (value == -1) column->unlabelled = true;
    } else if (number || spells_nan(text, length)) {
        if (column->bad_line == 0) {
            column->bad_line = line;
            snprintf(column->bad_text, sizeof column->bad_text, "%.*s",
                     (int)nf_min_size(length, 39), text);
        }
    } else {
        column->strings++;
    }
}

nf_status nf_label_begin(nf_context *context, nf_label_column *column, int64_t *labels) {
    column->out = labels;
    column->classes_used = column->strings > 0 || column->bigs > 0;
    if (column->bad_line != 0 && column->strings == 0) {
        return nf_fail(context, NF_ERR_DATA,
                       "line %zu: label '%s' is not a whole number: number the classes, or leave "
                       "the cell empty for an unlabelled row",
                       column->bad_line, column->bad_text);
    }
    if (!column->classes_used) return NF_OK;
    column->unlabelled = false; /* a -1 is a class name among names */
    return nf_classes_init(context, &column->classes, column->rows, column->bytes);
}

void nf_label_store(nf_label_column *column, const char *text, size_t length, bool unquote) {
    int64_t value = -1;
    bool number;
    if (is_unlabelled(text, length)) {
        column->unlabelled = true;
    } else if (column->classes_used) {
        value = nf_classes_intern(&column->classes, text, length, unquote);
    } else if (nf_integer_parse(text, length, &value) != NF_INTEGER_OK) {
        (void)integral(text, length, &number, &value);
    }
    column->out[column->stored++] = value;
}

nf_status nf_label_end(nf_context *context, nf_label_column *column, nf_table *table) {
    table->has_unlabelled = column->unlabelled;
    if (!column->classes_used) return NF_OK;
    table->classes = column->classes.count;
    return nf_classes_names(context, &column->classes, &table->class_names);
}
