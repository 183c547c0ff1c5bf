/* CSV and TSV tables in two passes: the first checks shape and finds what the labels are, the
 * second decodes into memory of the exact size. */
#include "io/csv.h"

typedef struct csv_table {
    nf_csv_layout layout;
    nf_label_column labels;
    size_t rows, features;
    double *next; /* where the next feature goes */
} csv_table;

static nf_status scan_cell(void *user, const nf_csv_cell *cell, size_t column) {
    csv_table *t = user;
    if (column == t->layout.label) {
        nf_label_scan(&t->labels, cell->text, cell->length, cell->unquote, cell->line);
    } else if (!t->layout.options->labels_only && cell->length == 0) {
        return nf_csv_bad_cell(&t->layout, cell, column);
    }
    return NF_OK;
}

static nf_status store_cell(void *user, const nf_csv_cell *cell, size_t column) {
    csv_table *t = user;
    if (column == t->layout.label) {
        nf_label_store(&t->labels, cell->text, cell->length, cell->unquote);
    } else if (!t->layout.options->labels_only) {
        if (!nf_number_parse(cell->text, cell->length, t->next)) {
            return nf_csv_bad_cell(&t->layout, cell, column);
        }
        t->next++;
    }
    return NF_OK;
}

static nf_status each_row(csv_table *t, nf_csv_visit visit, size_t *rows) {
    nf_csv_cursor cursor = t->layout.body;
    size_t count = 0;
    while (nf_csv_more(&t->layout, &cursor)) {
        nf_status status = nf_csv_row(&t->layout, &cursor, visit, t);
        if (status != NF_OK) return status;
        count++;
    }
    *rows = count;
    return NF_OK;
}

static nf_status allocate_table(csv_table *t, nf_table *table) {
    nf_context *context = t->layout.context;
    size_t shape[2] = {t->rows, t->features};
    nf_status status = NF_OK;
    if (!t->layout.options->labels_only) {
        status = nf_array_new(context, NF_DTYPE_F64, 2, shape, "table", &table->x);
        if (status == NF_OK) t->next = table->x->data;
    }
    if (status == NF_OK && t->layout.label != NF_CSV_NONE) {
        status = nf_array_new(context, NF_DTYPE_I64, 1, shape, "labels", &table->labels);
        if (status == NF_OK) status = nf_label_begin(context, &t->labels, table->labels->data);
    }
    return status;
}

static nf_status name_columns(csv_table *t, nf_table *table) {
    nf_status status = NF_OK;
    if (!t->layout.header) return NF_OK;
    if (!t->layout.options->labels_only) {
        status = nf_csv_column_names(&t->layout, t->layout.label, &table->columns);
    }
    if (status == NF_OK && t->layout.label != NF_CSV_NONE) {
        status = nf_csv_column_name(&t->layout, t->layout.label, &table->label_column);
    }
    return status;
}

static nf_status parse(csv_table *t, nf_table *table) {
    nf_context *context = t->layout.context;
    nf_status status = each_row(t, scan_cell, &t->rows);
    if (status == NF_OK && t->rows == 0) {
        return nf_fail(context, NF_ERR_DATA, "the file has %s but no rows",
                       t->layout.header ? "a header" : "blank lines");
    }
    t->features = t->layout.columns - (t->layout.label != NF_CSV_NONE ? 1 : 0);
    if (status == NF_OK && !t->layout.options->labels_only && t->features == 0) {
        return nf_fail(context, NF_ERR_DATA,
                       "the file holds a label column only: features are missing");
    }
    if (status == NF_OK) status = allocate_table(t, table);
    if (status == NF_OK) status = each_row(t, store_cell, &t->rows);
    if (status == NF_OK && t->layout.label != NF_CSV_NONE) {
        status = nf_label_end(context, &t->labels, table);
    }
    return status == NF_OK ? name_columns(t, table) : status;
}

static nf_status check_options(nf_context *context, const nf_csv_options *options) {
    char s = options->separator;
    if (s == '"' || s == '\n' || s == '\r' || (s >= '0' && s <= '9') || s == '.' || s == '-') {
        return nf_fail(context, NF_ERR_ARG,
                       "separator is '%c': it must differ from quotes, line ends and the "
                       "characters of numbers",
                       s);
    }
    if (options->features_only && (options->labels_only || options->require_labels)) {
        return nf_fail(context, NF_ERR_ARG,
                       "features_only contradicts labels_only and require_labels: choose one");
    }
    return NF_OK;
}

nf_status nf_csv_parse(nf_context *context, const void *bytes, size_t size,
                       const nf_csv_options *options, nf_table **out) {
    nf_csv_options defaults = nf_csv_defaults();
    if (options == NULL) options = &defaults;
    nf_scope scope = nf_scope_enter(context);
    nf_c_locale locale;
    nf_status status = nf_c_locale_enter(context, &locale);
    if (status != NF_OK) return nf_scope_leave(context, scope, status);
    csv_table t;
    memset(&t, 0, sizeof t);
    nf_table *table = NULL;
    status = check_options(context, options);
    if (status == NF_OK) status = nf_csv_layout_find(context, bytes, size, options, &t.layout);
    if (status == NF_OK) status = nf_table_new(context, &table);
    if (status == NF_OK) status = parse(&t, table);
    if (status == NF_OK) {
        *out = table;
    } else {
        nf_table_free(context, table);
    }
    nf_c_locale_leave(&locale);
    return nf_scope_leave(context, scope, status);
}
