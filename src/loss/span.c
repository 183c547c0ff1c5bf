#include "loss/span.h"

#include <math.h>
#include <string.h>

/* Squared distance of two rows in eight chains and one order of sums, on every machine. */
#define DEFINE_DISTANCE2(name, T)                                                     \
    static double name(const T *a, const T *b, size_t d) {                            \
        double lane[8] = {0};                                                         \
        size_t k = 0;                                                                 \
        for (; k + 8 <= d; k += 8) {                                                  \
            for (size_t l = 0; l < 8; l++) {                                          \
                double apart = (double)a[k + l] - (double)b[k + l];                   \
                lane[l] += apart * apart;                                             \
            }                                                                         \
        }                                                                             \
        for (; k < d; k++) {                                                          \
            lane[0] += ((double)a[k] - (double)b[k]) * ((double)a[k] - (double)b[k]); \
        }                                                                             \
        for (size_t l = 1; l < 8; l++) lane[0] += lane[l];                            \
        return lane[0];                                                               \
    }

DEFINE_DISTANCE2(distance2_f32, float)
DEFINE_DISTANCE2(distance2_f64, double)

static void radii(const nf_pass_set *set, size_t b, unsigned char *rows, double *radius2) {
    const nf_type type = set->rows.x.type;
    const size_t d = set->rows.x.cols, row = d * nf_type_size(type);
    const size_t count = set->block[b + 1] - set->block[b];
    nf_rows_copy(&set->rows, set->block[b], count, type, rows, d);
    for (size_t r = 0; r < count; r++) {
        double *own = &radius2[r / NF_STRIP_HEIGHT];
        const size_t first = r / NF_STRIP_HEIGHT * NF_STRIP_HEIGHT;
        const void *x = rows + r * row, *c = rows + first * row;
        double apart = type == NF_FLOAT32 ? distance2_f32(x, c, d) : distance2_f64(x, c, d);
        *own = r == first || !(apart <= *own) ? apart : *own;
    }
}

nf_status nf_block_facts_make(nf_context *context, const nf_pass_set *set, bool gradient,
                              nf_block_facts *facts) {
    const size_t d = set->rows.x.cols;
    int64_t *low;
    double *radius2 = NULL;
    unsigned char *rows;
    nf_status status = nf_scratch(context, &low, set->blocks, 2 * sizeof *low, "block classes");
    if (status == NF_OK && gradient) {
        status = nf_scratch(context, &radius2, set->blocks, NF_STRIPS * sizeof *radius2, "radii");
    }
    if (status == NF_OK && gradient) {
        status = nf_scratch(context, &rows, nf_pass_block_rows(d),
                            nf_max_size(d, 1) * nf_type_size(set->rows.x.type), "block rows");
    }
    if (status != NF_OK) return status;
    int64_t *high = low + set->blocks;
    for (size_t b = 0; b < set->blocks; b++) {
        low[b] = high[b] = set->class_of[set->block[b]];
        for (size_t r = set->block[b] + 1; r < set->block[b + 1]; r++) {
            low[b] = set->class_of[r] < low[b] ? set->class_of[r] : low[b];
            high[b] = set->class_of[r] > high[b] ? set->class_of[r] : high[b];
        }
        if (gradient) radii(set, b, rows, radius2 + b * NF_STRIPS);
    }
    *facts = (nf_block_facts){low, high, radius2};
    return NF_OK;
}

size_t nf_span_layout(const nf_span_shape *shape, size_t blocks, unsigned char *base,
                      nf_span *span) {
    const size_t part = shape->gradient ? shape->block_bytes : 0;
    const size_t weight = shape->gradient ? shape->block_rows * sizeof(double) : 0;
    const size_t sizes[4] = {blocks * shape->block_bytes, blocks * shape->panel_bytes,
                             blocks * part, blocks * weight};
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
        memset(part, 0, shape->block_bytes);
        memset(span->weight + b * shape->block_rows, 0, shape->block_rows * sizeof(double));
        span->touched[b] = true;
    }
    return part;
}

void nf_span_settle(nf_span *span) {
    const nf_span_shape *shape = span->shape;
    const size_t row = shape->stride * nf_type_size(shape->type);
    for (size_t b = 0; b < span->count; b++) {
        if (!span->touched[b]) continue;
        const unsigned char *rows = nf_span_rows(span, b), *part = nf_span_part(span, b);
        const double *weight = span->weight + b * shape->block_rows;
        double *sum = span->set->sum + first_row(span, b) * shape->d;
        for (size_t r = 0; r < row_count(span, b); r++) {
            const size_t first = r / NF_STRIP_HEIGHT * NF_STRIP_HEIGHT;
            shape->kernels->settle(sum + r * shape->d, part + r * row, weight[r], rows + r * row,
                                   rows + first * row, shape->d);
        }
    }
}
