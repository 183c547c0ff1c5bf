#include "loss/strip_set.h"

#include <string.h>

#include "distance/gram.h"
#include "loss/gradient.h"

static nf_status cut_blocks(nf_context *context, nf_pass_set *set) {
    const size_t rows = nf_pass_block_rows(set->rows.x.cols), n = set->rows.count;
    size_t *block;
    set->blocks = (n + rows - 1) / rows;
    nf_status status = nf_scratch(context, &block, set->blocks + 1, sizeof *block, "blocks");
    if (status != NF_OK) return status;
    for (size_t b = 0; b <= set->blocks; b++) block[b] = nf_min_size(b * rows, n);
    set->block = block;
    return NF_OK;
}

nf_status nf_strip_set_make(nf_context *context, const nf_tiled_side *side, bool unit, bool fast,
                            nf_strip_set *set) {
    const size_t d = side->x.cols, element = nf_type_size(side->x.type);
    const size_t padded_rows = nf_pad(side->x.type, nf_pass_block_rows(d));
    *set =
        (nf_strip_set){.set = {.rows = {.x = side->x, .order = side->order, .count = side->count},
                               .class_of = side->class_of,
                               .ids = side->ids},
                       .stride = nf_span_stride(side->x),
                       .block_bytes = nf_pass_block_rows(d) * nf_span_stride(side->x) * element,
                       .panel_bytes = padded_rows * d * element};
    nf_status status = cut_blocks(context, &set->set);
    if (status == NF_OK && unit) status = nf_rows_make_unit(context, &set->set.rows);
    if (status == NF_OK && fast) {
        status = nf_gram_make_norms(context, &set->set.rows, side->x.type);
    }
    if (status == NF_OK) {
        status = nf_block_facts_make(context, &set->set, side->gradient.data != NULL, &set->facts);
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &set->row, side->count, set->stride * element, "rows");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &set->panel, set->set.blocks, set->panel_bytes, "panels");
    }
    if (status == NF_OK && side->gradient.data != NULL) {
        status =
            nf_scratch(context, &set->set.sum, side->count, d * sizeof(double), "gradient sums");
        if (status == NF_OK) memset(set->set.sum, 0, side->count * d * sizeof(double));
    }
    if (status != NF_OK) return status;
    nf_rows_copy(&set->set.rows, 0, side->count, side->x.type, set->row, set->stride);
    const nf_kernels *kernels = nf_kernels_get(context, side->x.type);
    for (size_t b = 0; b < set->set.blocks; b++) {
        const size_t first = set->set.block[b];
        kernels->pack(set->panel + b * set->panel_bytes, set->row + first * set->stride * element,
                      set->stride, set->set.block[b + 1] - first, d);
    }
    return NF_OK;
}

nf_status nf_strip_finish(nf_context *context, const nf_strip_set *set, nf_metric metric,
                          double factor) {
    const size_t d = set->set.rows.x.cols;
    if (set->set.sum == NULL) return NF_OK;
    double *u;
    nf_status status = nf_scratch(context, &u, d, sizeof *u, "unit row");
    factor *= nf_pass_factor(metric);
    for (size_t r = 0; status == NF_OK && r < set->set.rows.count; r++) {
        double *row = set->set.sum + r * d;
        for (size_t k = 0; k < d; k++) row[k] *= factor;
        if (set->set.rows.inverse != NULL) nf_gradient_through_unit(&set->set.rows, r, row, u);
    }
    return status;
}

nf_status nf_strip_check_gradient(nf_context *context, const nf_tiled_side *side,
                                  const double *sum) {
    const size_t d = side->x.cols;
    for (size_t r = 0; sum != NULL && r < side->count; r++) {
        if (nf_gradient_fits(side->x.type, sum + r * d, d)) continue;
        return nf_gradient_range_error(context, "the gradient", side->x.type, side->order[r]);
    }
    return NF_OK;
}

void nf_strip_write_gradient(const nf_tiled_side *side, const double *sum) {
    if (side->gradient.data == NULL) return;
    const size_t d = side->x.cols, row = d * nf_type_size(side->x.type);
    for (size_t r = 0; r < side->x.rows; r++) memset(nf_matrix_out_row(side->gradient, r), 0, row);
    for (size_t r = 0; sum != NULL && r < side->count; r++) {
        nf_gradient_store(side->gradient, side->order[r], sum + r * d);
    }
}
