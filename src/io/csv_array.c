/* Text files as arrays of numbers: ids, indices, weights, flags. */
#include "io/csv.h"

typedef struct csv_column {
    bool integers, negative, big; /* all integers; some < 0; some beyond int64 */
    bool unsigned_ok;             /* all fit uint64 */
    void *next;
} csv_column;

static nf_status scan_cell(void *user, const nf_csv_cell *cell, size_t column) {
    csv_column *c = user;
    int64_t value = 0;
    size_t large;
    (void)column;
    nf_integer_kind kind = nf_integer_parse(cell->text, cell->length, &value);
    c->integers &= kind != NF_INTEGER_NOT;
    c->negative |= kind == NF_INTEGER_OK && value < 0;
    c->big |= kind == NF_INTEGER_BIG;
    c->unsigned_ok &= nf_size_parse(cell->text, cell->length, &large);
    return NF_OK;
}

static nf_status store_cell(void *user, const nf_csv_cell *cell, size_t column) {
    csv_column *c = user;
    (void)column;
    if (c->big) {
        size_t value = 0;
        (void)nf_size_parse(cell->text, cell->length, &value);
        *(uint64_t *)c->next = value;
    } else {
        (void)nf_integer_parse(cell->text, cell->length, c->next);
    }
    c->next = (char *)c->next + 8;
    return NF_OK;
}

static nf_status each_row(const nf_csv_layout *layout, nf_csv_visit visit, csv_column *column) {
    nf_csv_cursor cursor = layout->body;
    nf_status status = NF_OK;
    while (status == NF_OK && nf_csv_more(layout, &cursor)) {
        status = nf_csv_row(layout, &cursor, visit, column);
    }
    return status;
}

/* Store the (already parsed) single column exactly if it holds integers only. */
static nf_status integers_instead(nf_context *context, const nf_csv_layout *layout,
                                  nf_array **array) {
    csv_column column = {.integers = true, .unsigned_ok = true};
    nf_array *made = NULL;
    nf_status status = each_row(layout, scan_cell, &column);
    if (status != NF_OK || !column.integers || (column.big && !column.unsigned_ok)) return status;
    status = nf_array_new(context, column.big ? NF_DTYPE_U64 : NF_DTYPE_I64, 1, (*array)->shape,
                          "array", &made);
    if (status != NF_OK) return status;
    column.next = made->data;
    status = each_row(layout, store_cell, &column);
    nf_array_free(context, *array);
    *array = made;
    return status;
}

nf_status nf_csv_array(nf_context *context, const void *bytes, size_t size, nf_array **out) {
    nf_scope scope = nf_scope_enter(context);
    nf_csv_options options = nf_csv_defaults();
    nf_table *table = NULL;
    nf_csv_layout layout;
    nf_c_locale locale;
    options.features_only = 1;
    nf_status status = nf_csv_parse(context, bytes, size, &options, &table);
    if (status != NF_OK) return nf_scope_leave(context, scope, status);
    nf_array *array = table->x;
    table->x = NULL;
    nf_table_free(context, table);
    if (array->shape[1] == 1) {
        array->ndim = 1;
        status = nf_c_locale_enter(context, &locale);
        if (status == NF_OK) {
            status = nf_csv_layout_find(context, bytes, size, &options, &layout);
            if (status == NF_OK) status = integers_instead(context, &layout, &array);
            nf_c_locale_leave(&locale);
        }
    }
    if (status == NF_OK) {
        *out = array;
    } else {
        nf_array_free(context, array);
    }
    return nf_scope_leave(context, scope, status);
}
