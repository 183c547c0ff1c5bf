/* Targets of distances and of the index lists of all pairs. */
#include <string.h>

#include "jax/xla.h"

enum { METRIC, NORMALIZE, DISTANCE_OPTIONS };

static nf_distance_options options_of(const xla_call *call) {
    nf_distance_options options = nf_distance_defaults();
    options.metric = (nf_metric)(int)call->options[METRIC];
    options.normalize = call->options[NORMALIZE] != 0;
    return options;
}

/* ---- distances ------------------------------------------------------------------------------ */

/* The operand after the first `k`, or x itself, so that the engine sees one set. */
static nf_status second_set(xla_call *call, int64_t k, nf_matrix x, nf_matrix *y) {
    *y = x;
    return call->frame->args.size > k ? xla_matrix(call, k, "y", y) : NF_OK;
}

/* x (n, d)[, y (m, d)] -> (n, m) */
xla_error *xla_distances(xla_frame *frame) {
    xla_call call;
    if (xla_enter(&call, frame, 1, DISTANCE_OPTIONS)) return call.error;
    nf_distance_options options = options_of(&call);
    nf_matrix x, y;
    nf_matrix_out out;
    nf_status status = xla_matrix(&call, 0, "x", &x);
    if (status == NF_OK) status = second_set(&call, 1, x, &y);
    if (status == NF_OK) {
        nf_matrix like = {NULL, x.type, x.rows, y.rows, y.rows};
        status = xla_gradient(&call, 0, like, &out);
    }
    if (status == NF_OK) status = nf_distances_full(call.context, &options, x, y, out);
    return xla_leave(&call, status);
}

/* Distances at the places that are pairs; 0 at (-1, -1). */
static nf_status list_distances(xla_call *call, nf_matrix x, nf_matrix y, const int64_t *i,
                                const int64_t *j, size_t count, nf_matrix_out out) {
    nf_distance_options options = options_of(call);
    size_t size = nf_type_size(x.type), kept = 0;
    void *i_kept, *j_kept, *distance;
    for (size_t p = 0; p < count; p++) kept += i[p] != -1 || j[p] != -1;
    if (kept == count) {
        return nf_distances_pairs(call->context, &options, x, y, i, j, count, out.data);
    }
    nf_status status = xla_allocate(call, kept, sizeof *i, &i_kept);
    if (status == NF_OK) status = xla_allocate(call, kept, sizeof *j, &j_kept);
    if (status == NF_OK) status = xla_allocate(call, kept, size, &distance);
    if (status != NF_OK) return status;
    kept = 0;
    for (size_t p = 0; p < count; p++) {
        if (i[p] == -1 && j[p] == -1) continue;
        ((int64_t *)i_kept)[kept] = i[p];
        ((int64_t *)j_kept)[kept++] = j[p];
    }
    status = nf_distances_pairs(call->context, &options, x, y, i_kept, j_kept, kept, distance);
    if (status != NF_OK) {
        xla_note_padding(call);
        return status;
    }
    memset(out.data, 0, count * size);
    kept = 0;
    for (size_t p = 0; p < count; p++) {
        if (i[p] == -1 && j[p] == -1) continue;
        memcpy((char *)out.data + p * size, (const char *)distance + kept++ * size, size);
    }
    return NF_OK;
}

/* x (n, d), i (p), j (p)[, y (m, d)] -> (p) */
xla_error *xla_pair_distances(xla_frame *frame) {
    xla_call call;
    if (xla_enter(&call, frame, 3, DISTANCE_OPTIONS)) return call.error;
    nf_matrix x, y;
    nf_matrix_out out;
    const int64_t *i = NULL, *j = NULL;
    size_t count = 0, j_count = 0;
    nf_status status = xla_matrix(&call, 0, "x", &x);
    if (status == NF_OK) status = second_set(&call, 3, x, &y);
    if (status == NF_OK) status = xla_index(&call, 1, "i", &i, &count);
    if (status == NF_OK) status = xla_index(&call, 2, "j", &j, &j_count);
    if (status == NF_OK && count != j_count) {
        status = xla_fail(&call, "i and j must have one entry per pair");
    }
    if (status == NF_OK) {
        nf_matrix like = {NULL, x.type, 1, count, count};
        status = xla_gradient(&call, 0, like, &out);
    }
    if (status == NF_OK) status = list_distances(&call, x, y, i, j, count, out);
    return xla_leave(&call, status);
}

/* ---- index lists ---------------------------------------------------------------------------- */

/* Result k: values, then -1 up to its size. */
static void write_index(const xla_buffer *buffer, const int64_t *values, size_t count) {
    size_t size = xla_count(buffer);
    for (size_t p = 0; p < size; p++) {
        int64_t value = p < count ? values[p] : -1;
        if (buffer->type == XLA_S64) {
            ((int64_t *)buffer->data)[p] = value;
        } else {
            ((int32_t *)buffer->data)[p] = (int32_t)value;
        }
    }
}

static nf_status write_side(xla_call *call, const nf_partition *partition, nf_pair_kind kind,
                            int64_t first) {
    const xla_buffer *i_out = call->frame->rets.buffer[first];
    const xla_buffer *j_out = call->frame->rets.buffer[first + 1];
    uint64_t pairs =
        kind == NF_PAIRS_POSITIVE ? partition->positive_pairs : partition->negative_pairs;
    void *i, *j;
    if (pairs > xla_count(i_out) || pairs > xla_count(j_out)) {
        return xla_fail(call, kind == NF_PAIRS_POSITIVE
                                  ? "there are more positive pairs than size holds: give a larger "
                                    "size"
                                  : "there are more negative pairs than size holds: give a larger "
                                    "size");
    }
    nf_status status = xla_allocate(call, pairs, sizeof(int64_t), &i);
    if (status == NF_OK) status = xla_allocate(call, pairs, sizeof(int64_t), &j);
    if (status == NF_OK) {
        status = nf_pairs_list(call->context, partition, kind, pairs, i, j, NULL);
    }
    if (status != NF_OK) return status;
    write_index(i_out, i, pairs);
    write_index(j_out, j, pairs);
    return NF_OK;
}

/* labels (n) -> positive i, j and negative i, j, each padded with -1. attribute: has unlabelled */
xla_error *xla_pair_indices(xla_frame *frame) {
    xla_call call;
    if (xla_enter(&call, frame, 1, 1)) return call.error;
    nf_labels labels = {.has_unlabelled = call.options[0] != 0};
    nf_partition *partition = NULL;
    nf_status status = xla_labels(&call, 0, "labels", &labels);
    if (status == NF_OK && frame->rets.size != 4) status = xla_fail(&call, "four results");
    if (status == NF_OK) status = nf_partition_create(call.context, labels, &partition);
    if (status == NF_OK) status = write_side(&call, partition, NF_PAIRS_POSITIVE, 0);
    if (status == NF_OK) status = write_side(&call, partition, NF_PAIRS_NEGATIVE, 2);
    nf_partition_free(call.context, partition);
    return xla_leave(&call, status);
}
