#include "loss/span.h"

#include <math.h>
#include <string.h>

/* Radii of a block's strips; `buffer` holds a strip of unit rows. */
static void radii(const nf_kernels *kernels, const nf_pass_set *set, size_t b,
                  unsigned char *buffer, double *radius2) {
    const size_t d = set->rows.x.cols, row = d * nf_type_size(set->rows.x.type);
    for (size_t first = set->block[b]; first < set->block[b + 1]; first += NF_STRIP_HEIGHT) {
        const void *x[NF_STRIP_HEIGHT];
        const size_t rows = nf_min_size(NF_STRIP_HEIGHT, set->block[b + 1] - first);
        for (size_t r = 0; r < rows; r++) {
            x[r] = nf_rows_view(&set->rows, first + r, buffer + r * row);
        }
        *radius2++ = kernels->strip_radius2(x, rows, d);
    }
}

nf_status nf_block_facts_make(nf_context *context, const nf_pass_set *set, bool gradient,
                              nf_block_facts *facts) {
    const size_t d = set->rows.x.cols;
    const nf_kernels *kernels = nf_kernels_get(context, set->rows.x.type);
    int64_t *low;
    double *radius2 = NULL;
    unsigned char *rows;
    nf_status status = nf_scratch(context, &low, set->blocks, 2 * sizeof *low, "block classes");
    if (status == NF_OK && gradient) {
        status = nf_scratch(context, &radius2, set->blocks, NF_STRIPS * sizeof *radius2, "radii");
    }
    if (status == NF_OK && gradient) {
        status = nf_scratch(context, &rows, NF_STRIP_HEIGHT, d * nf_type_size(set->rows.x.type),
                            "strip rows");
    }
    if (status != NF_OK) return status;
    int64_t *high = low + set->blocks;
    for (size_t b = 0; b < set->blocks; b++) {
        low[b] = high[b] = set->class_of[set->block[b]];
        for (size_t r = set->block[b] + 1; r < set->block[b + 1]; r++) {
            low[b] = set->class_of[r] < low[b] ? set->class_of[r] : low[b];
            high[b] = set->class_of[r] > high[b] ? set->class_of[r] : high[b];
        }
        if (gradient) radii(kernels, set, b, rows, radius2 + b * NF_STRIPS);
    }
    *facts = (nf_block_facts){low, high, radius2};
    return NF_OK;
}

size_t nf_span_layout(const nf_span_shape *shape, size_t blocks, unsigned char *base,
                      nf_span *span) {
    const size_t part = shape->gradient ? shape->block_bytes : 0;
    const size_t weight = shape->gradient ? shape->block_rows * sizeof(double) : 0;
    const size_t own = shape->borrows ? 0 : blocks;
    const size_t sizes[4] = {own * shape->block_bytes, own * shape->panel_bytes, blocks * part,
                             blocks * weight};
    unsigned char *slot[4];
    size_t used = 0;
    for (int i = 0; i < 4; i++) {
        slot[i] = base != NULL ? base + used : NULL;
        used += nf_round_up(sizes[i], NF_ALIGNMENT);
    }
    *span = (nf_span){.shape = shape,
                      .rows = slot[0],
                      .panel = slot[1],
                      .part = slot[2],
                      .weight = (double *)(void *)slot[3]};
    return used;
}

static size_t first_row(const nf_span *span, size_t b) { return span->set->block[span->first + b]; }

static size_t row_count(const nf_span *span, size_t b) {
    return first_row(span, b + 1) - first_row(span, b);
}

const unsigned char *nf_span_rows(nf_span *span, size_t b) {
    const nf_span_shape *shape = span->shape;
    unsigned char *rows = span->rows + b * shape->block_bytes;
    if (!span->copied[b]) {
        nf_rows_copy(&span->set->rows, first_row(span, b), row_count(span, b), shape->type, rows,
                     shape->stride);
        span->copied[b] = true;
    }
    return rows;
}

const unsigned char *nf_span_panel(nf_span *span, size_t b) {
    const nf_span_shape *shape = span->shape;
    unsigned char *panel = span->panel + b * shape->panel_bytes;
    if (!span->packed[b]) {
        shape->kernels->pack(panel, nf_span_rows(span, b), shape->stride, row_count(span, b),
                             shape->d);
        span->packed[b] = true;
    }
    return panel;
}

unsigned char *nf_span_part(nf_span *span, size_t b) {
    const nf_span_shape *shape = span->shape;
    unsigned char *part = span->part + b * shape->block_bytes;
    if (!span->touched[b]) {
        const size_t rows = row_count(span, b);
        memset(part, 0, rows * shape->stride * nf_type_size(shape->type));
        memset(span->weight + b * shape->block_rows, 0, rows * sizeof(double));
        span->touched[b] = true;
    }
    return part;
}

void nf_settle_rows(const nf_span_shape *shape, const unsigned char *x, const unsigned char *part,
                    const double *weight, size_t count, double *sum) {
    const size_t row = shape->stride * nf_type_size(shape->type);
    for (size_t r = 0; r < count; r++) {
        const size_t first = r / NF_STRIP_HEIGHT * NF_STRIP_HEIGHT;
        shape->kernels->settle(sum + r * shape->d, part + r * row, weight[r], x + r * row,
                               x + first * row, shape->d);
    }
}

void nf_span_settle(nf_span *span) {
    const nf_span_shape *shape = span->shape;
    for (size_t b = 0; b < span->count; b++) {
        if (!span->touched[b]) continue;
        nf_settle_rows(shape, nf_span_rows(span, b), nf_span_part(span, b),
                       span->weight + b * shape->block_rows, row_count(span, b),
                       span->set->sum + first_row(span, b) * shape->d);
        span->touched[b] = false;
    }
}
