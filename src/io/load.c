/* Any file as a table, an array or labels. */
#include "io/internal.h"

static const char *const x_names[] = {"x", "X", "data", "embeddings", NULL};
static const char *const label_names[] = {"y", "labels", "target", NULL};

static void mark_unlabelled(nf_table *table) {
    const int64_t *labels = table->labels->data;
    for (size_t i = 0; i < table->labels->count; i++) table->has_unlabelled |= labels[i] == -1;
}

/* Takes over `array` (which may be NULL): freed in every case. */
static nf_status set_labels(nf_context *context, nf_table *table, nf_array *array) {
    if (array == NULL) return NF_OK;
    nf_status status = nf_array_to_labels(context, array, "labels", &table->labels);
    nf_array_free(context, array);
    if (status == NF_OK) mark_unlabelled(table);
    return status;
}

static nf_status set_x(nf_context *context, nf_table *table, nf_array *array) {
    nf_status status = nf_array_to_matrix(context, array, "data", &table->x);
    nf_array_free(context, array);
    return status;
}

static nf_status wrong_format(nf_context *context, const nf_source *source, const char *use) {
    return nf_fail(context, NF_ERR_DATA, "this is a %s file, which cannot be used as %s",
                   nf_format_name(source->format), use);
}

/* Formats that hold one array. */
static nf_status parse_array(nf_context *context, const nf_source *source, nf_array **array) {
    switch (source->format) {
    case NF_FORMAT_NPY: return nf_npy_parse(context, source->bytes, source->size, array);
    case NF_FORMAT_IDX: return nf_idx_parse(context, source->bytes, source->size, array);
    case NF_FORMAT_NPZ:
        return nf_npz_parse(context, source->bytes, source->size, source->member, array);
    case NF_FORMAT_CSV: return nf_csv_array(context, source->bytes, source->size, array);
    default: return wrong_format(context, source, "an array");
    }
}

/* An .npz with x and perhaps labels under their usual names, else its only member. */
static nf_status parse_npz_table(nf_context *context, const nf_source *source, nf_table *table) {
    nf_array *x = NULL, *labels = NULL;
    nf_status status = NF_OK;
    if (source->member == NULL) {
        status = nf_npz_first(context, source->bytes, source->size, x_names, &x);
    }
    if (status == NF_OK && x != NULL) {
        status = nf_npz_first(context, source->bytes, source->size, label_names, &labels);
    } else if (status == NF_OK) {
        status = nf_npz_parse(context, source->bytes, source->size, source->member, &x);
    }
    if (status != NF_OK) {
        nf_array_free(context, x);
        return status;
    }
    status = set_x(context, table, x);
    if (status != NF_OK) {
        nf_array_free(context, labels);
        return status;
    }
    return set_labels(context, table, labels);
}

static nf_csv_options csv_options(const nf_source *source, const nf_csv_options *options) {
    nf_csv_options chosen = options != NULL ? *options : nf_csv_defaults();
    if (source->member != NULL) chosen.label_column = source->member;
    return chosen;
}

static nf_status parse_table(nf_context *context, const nf_source *source,
                             const nf_csv_options *options, nf_table **out) {
    nf_csv_options csv = csv_options(source, options);
    if (source->format == NF_FORMAT_CSV) {
        return nf_csv_parse(context, source->bytes, source->size, &csv, out);
    }
    if (source->format == NF_FORMAT_SVMLIGHT) {
        return nf_svmlight_parse(context, source->bytes, source->size, 0, out);
    }
    if (source->format == NF_FORMAT_SAFETENSORS) return wrong_format(context, source, "a table");
    nf_table *table = NULL;
    nf_array *array = NULL;
    nf_status status = nf_table_new(context, &table);
    if (status == NF_OK && source->format == NF_FORMAT_NPZ) {
        status = parse_npz_table(context, source, table);
    } else if (status == NF_OK) {
        status = parse_array(context, source, &array);
        if (status == NF_OK) status = set_x(context, table, array);
    }
    if (status == NF_OK) {
        *out = table;
    } else {
        nf_table_free(context, table);
    }
    return status;
}

static nf_status check_table(nf_context *context, const nf_table *table,
                             const nf_csv_options *options) {
    if (options != NULL && options->require_labels && table->labels == NULL) {
        return nf_fail(context, NF_ERR_DATA,
                       "it holds no labels: give them as a file of their own");
    }
    if (table->x != NULL && table->labels != NULL &&
        table->x->shape[0] != table->labels->shape[0]) {
        return nf_fail(context, NF_ERR_DATA, "it has %zu rows but %zu labels: they must match",
                       table->x->shape[0], table->labels->shape[0]);
    }
    return NF_OK;
}

nf_status nf_table_load(nf_context *context, const char *source, const nf_csv_options *options,
                        nf_table **out) {
    nf_scope scope = nf_scope_enter(context);
    nf_source from;
    nf_table *table = NULL;
    if (nf_digits_known(source)) {
        nf_digits subset = nf_digits_subset(source);
        return nf_scope_leave(context, scope, nf_digits_load(context, subset, out));
    }
    nf_status status = nf_source_open(context, source, &from);
    if (status == NF_OK) {
        status = parse_table(context, &from, options, &table);
        if (status == NF_OK) status = check_table(context, table, options);
        status = nf_source_fail(context, &from, status);
    }
    nf_source_close(context, &from);
    if (status == NF_OK) {
        *out = table;
    } else {
        nf_table_free(context, table);
    }
    return nf_scope_leave(context, scope, status);
}

nf_status nf_array_load(nf_context *context, const char *source, nf_array **out) {
    nf_scope scope = nf_scope_enter(context);
    nf_source from;
    nf_status status = nf_source_open(context, source, &from);
    if (status == NF_OK) {
        status = nf_source_fail(context, &from, parse_array(context, &from, out));
    }
    nf_source_close(context, &from);
    return nf_scope_leave(context, scope, status);
}

/* The labels of a table, without its features. */
static void drop_features(nf_context *context, nf_table *table) {
    nf_array_free(context, table->x);
    nf_release(context, table->columns);
    table->x = NULL;
    table->columns = NULL;
}

static nf_status parse_label_array(nf_context *context, const nf_source *source, nf_table *table) {
    nf_array *array = NULL;
    nf_status status = NF_OK;
    if (source->format == NF_FORMAT_NPZ && source->member == NULL) {
        status = nf_npz_first(context, source->bytes, source->size, label_names, &array);
    }
    if (status == NF_OK && array == NULL) status = parse_array(context, source, &array);
    return status == NF_OK ? set_labels(context, table, array) : status;
}

static nf_status parse_labels(nf_context *context, const nf_source *source,
                              const nf_csv_options *options, nf_table **out) {
    nf_csv_options csv = csv_options(source, options);
    csv.labels_only = 1;
    if (source->format == NF_FORMAT_CSV) {
        return nf_csv_parse(context, source->bytes, source->size, &csv, out);
    }
    nf_table *table = NULL;
    nf_status status;
    if (source->format == NF_FORMAT_SVMLIGHT) {
        status = nf_svmlight_parse(context, source->bytes, source->size, 0, &table);
        if (status == NF_OK) drop_features(context, table);
    } else {
        status = nf_table_new(context, &table);
        if (status == NF_OK) status = parse_label_array(context, source, table);
    }
    if (status == NF_OK) {
        *out = table;
    } else {
        nf_table_free(context, table);
    }
    return status;
}

nf_status nf_labels_load(nf_context *context, const char *source, const nf_csv_options *options,
                         nf_table **out) {
    nf_scope scope = nf_scope_enter(context);
    nf_source from;
    if (nf_digits_known(source)) {
        nf_table *table = NULL;
        nf_status loaded = nf_digits_load(context, nf_digits_subset(source), &table);
        if (loaded == NF_OK) {
            drop_features(context, table);
            *out = table;
        }
        return nf_scope_leave(context, scope, loaded);
    }
    nf_status status = nf_source_open(context, source, &from);
    if (status == NF_OK) {
        status = nf_source_fail(context, &from, parse_labels(context, &from, options, out));
    }
    nf_source_close(context, &from);
    return nf_scope_leave(context, scope, status);
}
