#include "distance/strips.h"

#include <string.h>

nf_status nf_strips_check(nf_context *context, const nf_distance_options *options, nf_matrix x,
                          const char *x_name, nf_matrix y, const char *y_name,
                          nf_distance_job *job) {
    nf_distance_options chosen = options != NULL ? *options : nf_distance_defaults();
    nf_status status = nf_check_matrix(context, x, x_name);
    if (status == NF_OK) status = nf_check_matrix(context, y, y_name);
    if (status == NF_OK && (x.type != y.type || x.cols != y.cols)) {
        status =
            nf_fail(context, NF_ERR_ARG,
                    "%s has %zu columns of %s and %s has %zu of %s: columns and type must agree",
                    x_name, x.cols, x.type == NF_FLOAT32 ? "float32" : "float64", y_name, y.cols,
                    y.type == NF_FLOAT32 ? "float32" : "float64");
    }
    if (status == NF_OK && !chosen.allow_nonfinite) {
        status = nf_check_finite(context, x, x_name);
        bool same = x.data == y.data && x.rows == y.rows && x.ld == y.ld;
        if (status == NF_OK && !same) status = nf_check_finite(context, y, y_name);
    }
    /* Finite input is established, so the run itself need not look for it. */
    chosen.allow_nonfinite = 1;
    if (status == NF_OK) status = nf_distance_prepare(context, &chosen, x, y, job);
    if (status == NF_OK) status = nf_distance_prepare_tiles(context, job);
    return status;
}

nf_status nf_strips_begin(nf_context *context, const nf_distance_options *options, nf_matrix x,
                          const char *x_name, nf_matrix y, const char *y_name, size_t capacity,
                          nf_strips *strips) {
    nf_status status = nf_strips_check(context, options, x, x_name, y, y_name, &strips->job);
    strips->allow_nonfinite = options != NULL && options->allow_nonfinite;
    strips->type = x.type;
    strips->capacity = capacity;
    if (status == NF_OK) {
        size_t room;
        if (nf_add_overflows(capacity, nf_lanes(x.type), &room)) room = SIZE_MAX;
        status =
            nf_scratch(context, &strips->values, room, nf_type_size(x.type), "strip of distances");
    }
    return status;
}

static nf_rows rows_range(const nf_rows *rows, size_t first, size_t count) {
    nf_rows part = *rows;
    if (part.x.data != NULL && part.x.cols > 0) part.x.data = nf_matrix_row(rows->x, first);
    part.x.rows = part.count = count;
    if (part.inverse != NULL) {
        part.scale += first;
        part.inverse += first;
    }
    if (part.norm != NULL) {
        part.norm = (const char *)part.norm + first * nf_type_size(part.norm_type);
    }
    return part;
}

typedef struct strip_sink {
    char *values;
    size_t columns;
    nf_type type;
    bool allow_nonfinite;
    atomic_bool infinite;
} strip_sink;

/* x - x is 0 for a finite number only; input is finite here, so NaN cannot be. */
static bool any_infinite(nf_type type, const void *values, size_t count) {
    int infinite = 0;
    const float *f = values;
    const double *g = values;
    if (type == NF_FLOAT32) {
        for (size_t c = 0; c < count; c++) infinite |= !(f[c] - f[c] == 0);
    } else {
        for (size_t c = 0; c < count; c++) infinite |= !(g[c] - g[c] == 0);
    }
    return infinite != 0;
}

static void emit_strip(void *user, size_t i, size_t first, size_t count, const void *values) {
    strip_sink *sink = user;
    size_t element = nf_type_size(sink->type);
    memcpy(sink->values + (i * sink->columns + first) * element, values, count * element);
    if (!sink->allow_nonfinite && any_infinite(sink->type, values, count)) {
        atomic_store_explicit(&sink->infinite, true, memory_order_relaxed);
    }
}

/* A zero row is at cosine distance 1 from every row but itself. */
static void restore_self(nf_strips *strips, nf_strip strip) {
    if (!strips->job.self || strips->job.x.zero_rows == 0) return;
    for (size_t r = 0; r < strip.rows; r++) {
        size_t item = strip.row + r;
        if (item < strip.column || item >= strip.column + strip.columns) continue;
        if (strips->job.options.metric != NF_COSINE || !nf_rows_is_zero(&strips->job.x, item)) {
            continue;
        }
        size_t at = r * strip.columns + (item - strip.column);
        if (strips->type == NF_FLOAT32) {
            ((float *)strips->values)[at] = 0;
        } else {
            ((double *)strips->values)[at] = 0;
        }
    }
}

nf_status nf_strips_compute(nf_context *context, nf_strips *strips, nf_strip strip) {
    strip_sink sink = {.values = strips->values,
                       .columns = strip.columns,
                       .type = strips->type,
                       .allow_nonfinite = strips->allow_nonfinite};
    atomic_init(&sink.infinite, false);
    nf_distance_job job = strips->job;
    job.x = rows_range(&strips->job.x, strip.row, strip.rows);
    job.y = rows_range(&strips->job.y, strip.column, strip.columns);
    job.self = false;
    job.upper = strip.upper && strip.row == strip.column;
    job.emit = emit_strip;
    job.user = &sink;
    /* A scope of its own: progress is counted by the caller, tiles are freed after each strip. */
    nf_scope scope = nf_scope_enter(context);
    nf_status status = nf_distance_run(context, &job);
    if (status == NF_OK && atomic_load(&sink.infinite)) {
        status = nf_distance_range_error(context, job.options.metric, strips->type);
    }
    if (status == NF_OK) restore_self(strips, strip);
    return nf_scope_leave(context, scope, status);
}
