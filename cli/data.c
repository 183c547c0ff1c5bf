/* Rows and labels from files. */
#include "data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *cli_labels_text(const cli *app) {
    if (cli_given(app, OPT_LABELS)) return cli_get(app, OPT_LABELS)->text;
    if (cli_given(app, OPT_LABEL_COLUMN)) return cli_get(app, OPT_LABEL_COLUMN)->text;
    return NULL;
}

/* Text tables have columns to choose from and cells that may be empty; arrays have neither. */
static bool is_text_table(const char *source) {
    static const char *const endings[] = {".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz"};
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        if (cli_ends_with(source, endings[i])) return true;
    }
    return false;
}

static double element(nf_matrix x, size_t row, size_t column) {
    size_t at = row * x.ld + column;
    return x.type == NF_FLOAT64 ? ((const double *)x.data)[at]
                                : (double)((const float *)x.data)[at];
}

/* NaN and Inf are found here, where the file's name is known. */
static int check_finite(cli *app, const cli_rows *rows) {
    size_t count = 0, row = 0, column = 0;
    for (size_t i = 0; i < rows->x.rows; i++) {
        for (size_t j = 0; j < rows->x.cols; j++) {
            if (isfinite(element(rows->x, i, j))) continue;
            if (count == 0) {
                row = i;
                column = j;
            }
            count++;
        }
    }
    if (count == 0) return CLI_OK;
    bool can_pass = (cli_options[OPT_ALLOW_NONFINITE].commands & app->command->bit) != 0;
    return cli_fail(app, CLI_DATA,
                    "%s: %zu value%s NaN or infinite, the first in row %zu, column %zu (counted "
                    "from 0): replace or remove %s%s",
                    cli_quote(rows->source).text, count, count == 1 ? " is" : "s are", row, column,
                    count == 1 ? "it" : "them", can_pass ? ", or pass --allow-nonfinite" : "");
}

/* {-1, +1} with -1 as "unlabelled" would drop half of a binary problem without a word. */
static int check_binary(cli *app, const cli_rows *rows) {
    bool minus = false, plus = false;
    if (!rows->labels.has_unlabelled || rows->names->class_names != NULL) return CLI_OK;
    for (size_t i = 0; i < rows->labels.n; i++) {
        if (rows->labels.data[i] == -1) {
            minus = true;
        } else if (rows->labels.data[i] == 1) {
            plus = true;
        } else {
            return CLI_OK;
        }
    }
    if (!minus || !plus) return CLI_OK;
    return cli_fail(app, CLI_DATA,
                    "%s: the labels are exactly -1 and 1, and -1 means unlabelled: add "
                    "--unlabelled none to make -1 a class of its own",
                    cli_quote(rows->source).text);
}

static int use_labels(cli *app, cli_rows *rows, const nf_table *table, const char *source) {
    bool none = cli_get(app, OPT_UNLABELLED)->choice == 1;
    rows->names = table;
    rows->labels = (nf_labels){table->labels->data, table->labels->count, !none};
    if (none && table->has_unlabelled && is_text_table(source)) {
        if (table->class_names == NULL) {
            return cli_fail(app, CLI_DATA,
                            "%s has empty label cells, which --unlabelled none would mix up with "
                            "the label -1: fill them, or drop the option",
                            cli_quote(source).text);
        }
        rows->labels.has_unlabelled = 1; /* names: -1 stands for an empty cell only */
    }
    if (rows->table != NULL && rows->table->x != NULL && rows->labels.n != rows->x.rows) {
        return cli_fail(app, CLI_DATA, "%s has %zu labels, but %s has %zu rows: they must match",
                        cli_quote(source).text, rows->labels.n, cli_quote(rows->source).text,
                        rows->x.rows);
    }
    return check_binary(app, rows);
}

static int load_label_file(cli *app, const char *source, cli_rows *rows) {
    nf_csv_options csv = nf_csv_defaults();
    nf_status status = nf_labels_load(app->context, source, &csv, &rows->label_table);
    if (status != NF_OK) return cli_data_status(app, status, cli_quote(source).text);
    if (rows->label_table->labels == NULL) {
        return cli_fail(app, CLI_DATA, "%s holds no labels", cli_quote(source).text);
    }
    return use_labels(app, rows, rows->label_table, source);
}

int cli_load_labels(cli *app, const char *source, cli_rows *rows) {
    *rows = (cli_rows){.source = source};
    if (source[0] == ':') {
        return cli_fail(app, CLI_USAGE,
                        "--labels '%s' names a column, but there is no table to take "
                        "it from: name a file",
                        cli_quote(source).text);
    }
    return load_label_file(app, source, rows);
}

static int take_labels(cli *app, const char *labels, const char *needs, cli_rows *rows) {
    bool column = labels != NULL && labels[0] == ':';
    if (labels != NULL && !column) {
        if (rows->table->labels != NULL && rows->table->label_column != NULL) {
            cli_detail(app, "labels come from %s, not from the column %s of %s",
                       cli_quote(labels).text, cli_quote(rows->table->label_column).text,
                       cli_quote(rows->source).text);
        }
        return load_label_file(app, labels, rows);
    }
    if (rows->table->labels != NULL) return use_labels(app, rows, rows->table, rows->source);
    if (column) {
        return cli_fail(app, CLI_USAGE, "'%s' names a column, but %s is not a table with columns",
                        cli_quote(labels).text, cli_quote(rows->source).text);
    }
    if (needs == NULL) return CLI_OK;
    return cli_fail(app, CLI_USAGE, "%s has no labels of its own: give %s FILE",
                    cli_quote(rows->source).text, needs);
}

int cli_load_rows(cli *app, const char *source, const char *labels, const char *needs,
                  cli_rows *rows) {
    *rows = (cli_rows){.source = source};
    nf_csv_options csv = nf_csv_defaults();
    if (labels != NULL && labels[0] == ':') {
        csv.label_column = labels + 1;
        csv.require_labels = 1;
        if (labels[1] == '\0') {
            return cli_fail(app, CLI_USAGE, "'%s' names no column: write :NAME or :NUMBER", labels);
        }
    } else if (labels == NULL && needs != NULL && is_text_table(source)) {
        csv.require_labels = 1; /* the message lists the columns */
    }
    nf_status status = nf_table_load(app->context, source, &csv, &rows->table);
    if (status != NF_OK) return cli_data_status(app, status, cli_quote(source).text);
    if (rows->table->x == NULL) {
        return cli_fail(app, CLI_DATA, "%s holds labels but no features", cli_quote(source).text);
    }
    rows->x = nf_array_view(rows->table->x);
    int code = cli_given(app, OPT_ALLOW_NONFINITE) ? CLI_OK : check_finite(app, rows);
    if (code == CLI_OK) code = take_labels(app, labels, needs, rows);
    if (code == CLI_OK) {
        cli_detail(app, "%s: %zu rows, %zu columns, %s", cli_quote(source).text, rows->x.rows,
                   rows->x.cols, rows->x.type == NF_FLOAT64 ? "float64" : "float32");
    }
    return code;
}

void cli_free_rows(cli *app, cli_rows *rows) {
    nf_table_free(app->context, rows->table);
    nf_table_free(app->context, rows->label_table);
    free(rows->widened);
    *rows = (cli_rows){0};
}

static int widen(cli *app, cli_rows *rows) {
    size_t count = rows->x.rows * rows->x.cols;
    const float *narrow = rows->x.data;
    rows->widened = malloc(count > 0 ? count * sizeof *rows->widened : 1);
    if (rows->widened == NULL) return cli_no_memory(app, "the rows as float64");
    for (size_t i = 0; i < count; i++) rows->widened[i] = (double)narrow[i];
    rows->x = nf_matrix_f64(rows->widened, rows->x.rows, rows->x.cols);
    return CLI_OK;
}

int cli_match_types(cli *app, cli_rows *a, cli_rows *b) {
    if (a->x.type == b->x.type) return CLI_OK;
    return widen(app, a->x.type == NF_FLOAT32 ? a : b);
}

int cli_match_columns(cli *app, const cli_rows *a, const cli_rows *b) {
    if (a->x.cols == b->x.cols) return CLI_OK;
    return cli_fail(app, CLI_DATA, "%s has %zu columns, but %s has %zu: they must match",
                    cli_quote(a->source).text, a->x.cols, cli_quote(b->source).text, b->x.cols);
}

/* ---- class names of two sets ---- */

typedef struct named_class {
    const char *name;
    int64_t label;
} named_class;

static int compare_names(const void *a, const void *b) {
    return strcmp(((const named_class *)a)->name, ((const named_class *)b)->name);
}

static bool only_unlabelled(const cli_rows *rows) {
    for (size_t i = 0; i < rows->labels.n; i++) {
        if (rows->labels.data[i] != -1) return false;
    }
    return true;
}

/* b's class c gets the number that a gives to the same name, or one of its own past a's. */
static void renumber(const nf_table *a, const nf_table *b, named_class *sorted, int64_t *number) {
    for (size_t c = 0; c < a->classes; c++) {
        sorted[c] = (named_class){a->class_names[c], (int64_t)c};
    }
    qsort(sorted, a->classes, sizeof *sorted, compare_names);
    for (size_t c = 0; c < b->classes; c++) {
        named_class wanted = {b->class_names[c], 0};
        const named_class *found =
            bsearch(&wanted, sorted, a->classes, sizeof *sorted, compare_names);
        number[c] = found != NULL ? found->label : (int64_t)(a->classes + c);
    }
    int64_t *label = b->labels->data;
    for (size_t i = 0; i < b->labels->count; i++) {
        if (label[i] >= 0) label[i] = number[label[i]];
    }
}

int cli_match_classes(cli *app, cli_rows *a, cli_rows *b) {
    const nf_table *first = a->names, *second = b->names;
    if (first->class_names == NULL && second->class_names == NULL) return CLI_OK;
    if (first->class_names == NULL || second->class_names == NULL) {
        const cli_rows *numbers = first->class_names == NULL ? a : b;
        const cli_rows *names = first->class_names == NULL ? b : a;
        if (only_unlabelled(numbers)) return CLI_OK;
        return cli_fail(app, CLI_DATA,
                        "labels of %s are numbers, but those of %s are names: they cannot match",
                        cli_quote(numbers->source).text, cli_quote(names->source).text);
    }
    named_class *sorted = malloc((first->classes + 1) * sizeof *sorted);
    int64_t *number = malloc((second->classes + 1) * sizeof *number);
    if (sorted == NULL || number == NULL) {
        free(sorted);
        free(number);
        return cli_no_memory(app, "class names");
    }
    renumber(first, second, sorted, number);
    free(sorted);
    free(number);
    return CLI_OK;
}

/* ---- reference sets ---- */

int cli_check_reference(cli *app) {
    static const cli_option_id extras[] = {
        OPT_REFERENCE_LABELS, OPT_REFERENCE_LABEL_SETS,  OPT_IDS,
        OPT_REFERENCE_IDS,    OPT_REFERENCE_ROW_WEIGHTS, OPT_REFERENCE_GROUPS};
    if (!cli_given(app, OPT_REFERENCE)) {
        for (size_t i = 0; i < sizeof extras / sizeof *extras; i++) {
            if (!cli_given(app, extras[i])) continue;
            return cli_fail(app, CLI_USAGE, "--%s goes with --reference, which is missing",
                            cli_options[extras[i]].name);
        }
    }
    if (cli_given(app, OPT_IDS) != cli_given(app, OPT_REFERENCE_IDS)) {
        return cli_fail(app, CLI_USAGE, "--ids and --reference-ids go together: give both or none");
    }
    return CLI_OK;
}

int cli_load_reference(cli *app, cli_rows *query, cli_rows *reference, nf_array **ids,
                       nf_array **reference_ids) {
    const cli_value *labels = cli_get(app, OPT_REFERENCE_LABELS);
    const bool sets = cli_given(app, OPT_REFERENCE_LABEL_SETS) || cli_given(app, OPT_SOFT);
    int code = cli_load_rows(app, cli_get(app, OPT_REFERENCE)->text, labels->text,
                             sets ? NULL : "--reference-labels", reference);
    if (code == CLI_OK) code = cli_match_columns(app, query, reference);
    if (code == CLI_OK) code = cli_match_types(app, query, reference);
    if (code == CLI_OK && !sets) code = cli_match_classes(app, query, reference);
    if (code == CLI_OK) code = cli_load_ids(app, OPT_IDS, query->x.rows, ids);
    if (code == CLI_OK) {
        code = cli_load_ids(app, OPT_REFERENCE_IDS, reference->x.rows, reference_ids);
    }
    return code;
}
