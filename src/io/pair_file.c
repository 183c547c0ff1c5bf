/* Pair lists: i, j, same and perhaps a weight, from .npz members, an integer (n, 3) .npy or CSV
 * columns. */
#include "io/internal.h"

#include <math.h>

typedef struct pair_arrays {
    nf_array *i, *j, *same, *weight; /* as the file has them; weight may be NULL */
} pair_arrays;

static void free_arrays(nf_context *context, pair_arrays *a) {
    nf_array_free(context, a->i);
    nf_array_free(context, a->j);
    nf_array_free(context, a->same);
    nf_array_free(context, a->weight);
}

/* Column `c` of a 2-D array as an array of its own. */
static nf_status column_of(nf_context *context, const nf_array *table, size_t c, nf_array **out) {
    size_t size = nf_dtype_size(table->dtype), rows = table->shape[0], cols = table->shape[1];
    nf_status status = nf_array_new(context, table->dtype, 1, &rows, "pair column", out);
    if (status != NF_OK) return status;
    const char *from = (const char *)table->data + c * size;
    char *to = (*out)->data;
    for (size_t r = 0; r < rows; r++) memcpy(to + r * size, from + r * cols * size, size);
    return NF_OK;
}

static nf_status columns_of(nf_context *context, const nf_array *table, const size_t column[4],
                            pair_arrays *a) {
    nf_status status = column_of(context, table, column[0], &a->i);
    if (status == NF_OK) status = column_of(context, table, column[1], &a->j);
    if (status == NF_OK) status = column_of(context, table, column[2], &a->same);
    if (status == NF_OK && column[3] != SIZE_MAX) {
        status = column_of(context, table, column[3], &a->weight);
    }
    return status;
}

static nf_status from_npz(nf_context *context, const nf_source *source, pair_arrays *a) {
    static const char *const weight[] = {"weight", NULL};
    if (source->member != NULL) {
        return nf_fail(context, NF_ERR_DATA,
                       "':%.60s' names one member: a pair list needs i, j and same, so give the "
                       "file alone",
                       source->member);
    }
    nf_status status = nf_npz_parse(context, source->bytes, source->size, "i", &a->i);
    if (status == NF_OK) {
        status = nf_npz_parse(context, source->bytes, source->size, "j", &a->j);
    }
    if (status == NF_OK) {
        status = nf_npz_parse(context, source->bytes, source->size, "same", &a->same);
    }
    if (status == NF_OK) {
        status = nf_npz_first(context, source->bytes, source->size, weight, &a->weight);
    }
    return status;
}

static nf_status from_npy(nf_context *context, const nf_source *source, pair_arrays *a) {
    static const size_t column[4] = {0, 1, 2, SIZE_MAX};
    nf_array *table = NULL;
    char shape[NF_SHAPE_TEXT];
    nf_status status = nf_npy_parse(context, source->bytes, source->size, &table);
    if (status != NF_OK) return status;
    if (table->ndim != 2 || table->shape[1] != 3) {
        status = nf_fail(context, NF_ERR_DATA,
                         "pairs have shape %s: they must be (n, 3) with columns i, j, same",
                         nf_shape_text(shape, table->shape, table->ndim));
    } else {
        status = columns_of(context, table, column, a);
    }
    nf_array_free(context, table);
    return status;
}

/* Which columns of a CSV are i, j, same and weight: by header, else in this order. */
static nf_status csv_columns(nf_context *context, const nf_table *table, size_t column[4]) {
    static const char *const names[4] = {"i", "j", "same", "weight"};
    size_t cols = table->x->shape[1];
    for (size_t k = 0; k < 4; k++) {
        column[k] = table->columns == NULL && k < cols ? k : SIZE_MAX;
        for (size_t c = 0; table->columns != NULL && c < cols; c++) {
            if (strcmp(table->columns[c], names[k]) == 0) column[k] = c;
        }
        if (column[k] == SIZE_MAX && k < 3) {
            return nf_fail(context, NF_ERR_DATA,
                           "pairs have no column %s: they need i, j, same and perhaps weight",
                           names[k]);
        }
    }
    size_t known = column[3] == SIZE_MAX ? 3 : 4;
    if (cols == known) return NF_OK;
    return nf_fail(context, NF_ERR_DATA,
                   "pairs have %zu columns: they need i, j, same and perhaps weight", cols);
}

/* CSV numbers are float64: indices must be whole and exact. */
static nf_status to_integers(nf_context *context, const char *name, nf_array *array) {
    double *values = array->data;
    for (size_t k = 0; k < array->count; k++) {
        if (values[k] != floor(values[k]) || fabs(values[k]) >= 0x1p53) {
            return nf_fail(context, NF_ERR_DATA, "%s[%zu] is %.9g: indices must be whole numbers",
                           name, k, values[k]);
        }
        int64_t whole = (int64_t)values[k];
        memcpy(&values[k], &whole, sizeof whole);
    }
    array->dtype = NF_DTYPE_I64;
    return NF_OK;
}

static nf_status from_csv(nf_context *context, const nf_source *source, pair_arrays *a) {
    nf_csv_options options = nf_csv_defaults();
    options.features_only = 1;
    nf_table *table = NULL;
    size_t column[4];
    nf_status status = nf_csv_parse(context, source->bytes, source->size, &options, &table);
    if (status == NF_OK) status = csv_columns(context, table, column);
    if (status == NF_OK) status = columns_of(context, table->x, column, a);
    if (status == NF_OK) status = to_integers(context, "i", a->i);
    if (status == NF_OK) status = to_integers(context, "j", a->j);
    nf_table_free(context, table);
    return status;
}

static nf_status read_arrays(nf_context *context, const nf_source *source, pair_arrays *a) {
    switch (source->format) {
    case NF_FORMAT_NPZ: return from_npz(context, source, a);
    case NF_FORMAT_NPY: return from_npy(context, source, a);
    case NF_FORMAT_CSV: return from_csv(context, source, a);
    default:
        return nf_fail(context, NF_ERR_DATA,
                       "this is a %s file: pairs are an .npz with i, j and same, an integer (n, 3) "
                       ".npy or a CSV",
                       nf_format_name(source->format));
    }
}

static nf_status check_lengths(nf_context *context, const nf_pair_file *file) {
    size_t n = file->i->count, weights = file->weight != NULL ? file->weight->count : n;
    if (file->j->count == n && file->same->count == n && weights == n) return NF_OK;
    return nf_fail(context, NF_ERR_DATA,
                   "pairs have %zu i, %zu j, %zu same and %zu weights: they must be as many", n,
                   file->j->count, file->same->count, weights);
}

static nf_status convert(nf_context *context, const pair_arrays *a, nf_same_encoding encoding,
                         nf_pair_file *file) {
    nf_status status = nf_array_to_index(context, a->i, "i", &file->i);
    if (status == NF_OK) status = nf_array_to_index(context, a->j, "j", &file->j);
    if (status == NF_OK) {
        status = nf_array_to_same(context, a->same, "same", encoding, &file->same);
    }
    if (status == NF_OK && a->weight != NULL) {
        status = nf_array_to_f64(context, a->weight, "weight", &file->weight);
    }
    if (status == NF_OK) status = check_lengths(context, file);
    if (status == NF_OK) file->count = file->i->count;
    return status;
}

nf_status nf_pair_file_load(nf_context *context, const char *source, nf_same_encoding encoding,
                            nf_pair_file **out) {
    nf_scope scope = nf_scope_enter(context);
    nf_source from;
    pair_arrays arrays = {NULL, NULL, NULL, NULL};
    nf_pair_file *file = NULL;
    nf_status status = nf_source_open(context, source, &from);
    if (status == NF_OK) {
        status = nf_allocate_zeroed(context, &file, 1, sizeof *file, "pairs");
        if (status == NF_OK) status = read_arrays(context, &from, &arrays);
        if (status == NF_OK) status = convert(context, &arrays, encoding, file);
        status = nf_source_fail(context, &from, status);
    }
    nf_source_close(context, &from);
    free_arrays(context, &arrays);
    if (status == NF_OK) {
        *out = file;
    } else {
        nf_pair_file_free(context, file);
    }
    return nf_scope_leave(context, scope, status);
}

void nf_pair_file_free(nf_context *context, nf_pair_file *file) {
    if (file == NULL) return;
    nf_array_free(context, file->i);
    nf_array_free(context, file->j);
    nf_array_free(context, file->same);
    nf_array_free(context, file->weight);
    nf_release(context, file);
}
