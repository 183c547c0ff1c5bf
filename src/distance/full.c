/* The full and the condensed distance matrix. */
#include <string.h>

#include "distance/tiles.h"

static void emit_full(void *user, size_t i, size_t first, size_t count, const void *values) {
    const nf_matrix_out *out = user;
    size_t element = nf_type_size(out->type);
    memcpy((unsigned char *)nf_matrix_out_row(*out, i) + first * element, values, count * element);
}

nf_status nf_distances_full(nf_context *context, const nf_distance_options *options, nf_matrix x,
                            nf_matrix y, nf_matrix_out out) {
    nf_scope scope = nf_scope_enter(context);
    nf_distance_job job;
    nf_status status = nf_distance_prepare(context, options, x, y, &job);
    if (status == NF_OK) status = nf_check_out(context, out, "out", x.rows, y.rows, x.type);
    if (status == NF_OK) status = nf_check_overlap(context, out, "out", x, "x");
    if (status == NF_OK) status = nf_check_overlap(context, out, "out", y, "y");
    if (status == NF_OK) status = nf_distance_prepare_tiles(context, &job);
    if (status == NF_OK) {
        job.emit = emit_full;
        job.user = &out;
        status = nf_distance_run(context, &job);
    }
    return nf_scope_leave(context, scope, status);
}

typedef struct nf_condensed {
    unsigned char *out;
    size_t n, element;
} nf_condensed;

/* Position of pair (i, j), i < j: rows (0,1) .. (0,n-1), (1,2) ..; fits since the whole array does. */
static size_t condensed_at(size_t n, size_t i, size_t j) {
    size_t before = i % 2 == 0 ? i / 2 * (2 * n - i - 1) : (2 * n - i - 1) / 2 * i;
    return before + (j - i - 1);
}

static void emit_condensed(void *user, size_t i, size_t first, size_t count, const void *values) {
    const nf_condensed *condensed = user;
    size_t skip = i + 1 > first ? i + 1 - first : 0; /* columns j <= i */
    if (skip >= count) return;
    size_t rank = condensed_at(condensed->n, i, first + skip);
    memcpy(condensed->out + rank * condensed->element,
           (const unsigned char *)values + skip * condensed->element,
           (count - skip) * condensed->element);
}

nf_status nf_distances_condensed(nf_context *context, const nf_distance_options *options,
                                 nf_matrix x, void *out) {
    nf_scope scope = nf_scope_enter(context);
    nf_distance_job job;
    nf_status status = nf_distance_prepare(context, options, x, x, &job);
    if (status == NF_OK && x.rows > 1) {
        size_t count = x.rows % 2 == 0 ? x.rows / 2 : x.rows, bytes;
        size_t other = x.rows % 2 == 0 ? x.rows - 1 : (x.rows - 1) / 2;
        if (nf_mul_overflows(count, other, &count) ||
            nf_mul_overflows(count, nf_type_size(x.type), &bytes) || bytes > PTRDIFF_MAX) {
            status = nf_fail(context, NF_ERR_RANGE,
                             "condensed distances of %zu rows exceed the address space", x.rows);
        } else if (out == NULL) {
            status = nf_fail(context, NF_ERR_ARG, "out is NULL: it must hold %zu values", count);
        } else {
            nf_matrix_out view = {out, x.type, 1, count, count};
            status = nf_check_overlap(context, view, "out", x, "x");
        }
    }
    if (status == NF_OK) status = nf_distance_prepare_tiles(context, &job);
    if (status == NF_OK) {
        nf_condensed condensed = {out, x.rows, nf_type_size(x.type)};
        job.upper = true;
        job.emit = emit_condensed;
        job.user = &condensed;
        status = nf_distance_run(context, &job);
    }
    return nf_scope_leave(context, scope, status);
}
