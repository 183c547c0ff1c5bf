#include "distance/panels.h"

#include <math.h>

#include "base/pool.h"
#include "distance/gram.h"

#define NF_PANEL_BYTES ((size_t)64 << 20)

/* ---- rows ------------------------------------------------------------------------------------- */

typedef struct nf_copy {
    const nf_rows *rows;
    nf_type type;
    unsigned char *out;
    size_t stride;
} nf_copy;

static void copy_task(void *argument, size_t task, int worker) {
    const nf_copy *copy = argument;
    const size_t first = task * NF_PANEL_COLUMNS;
    (void)worker;
    nf_rows_copy(copy->rows, first, nf_min_size(NF_PANEL_COLUMNS, copy->rows->count - first),
                 copy->type, copy->out + first * copy->stride * nf_type_size(copy->type),
                 copy->stride);
}

static nf_status copy_rows(nf_context *context, const nf_panels *panels, const nf_rows *rows,
                           const unsigned char **out) {
    unsigned char *made;
    size_t bytes;
    if (nf_mul_overflows(panels->stride, nf_type_size(panels->type), &bytes)) bytes = SIZE_MAX;
    nf_status status = nf_scratch(context, &made, rows->count, bytes, "rows in order");
    if (status != NF_OK) return status;
    nf_copy copy = {rows, panels->type, made, panels->stride};
    size_t tasks = (rows->count + NF_PANEL_COLUMNS - 1) / NF_PANEL_COLUMNS;
    bool wake = (double)rows->count * (double)panels->d > NF_WAKE_FLOPS;
    *out = made;
    return nf_parallel(context, tasks, wake, 0, copy_task, &copy);
}

static bool needs_copy(const nf_rows *rows) {
    return rows->order != NULL || rows->inverse != NULL || rows->x.cols == 0;
}

static nf_status place_rows(nf_context *context, nf_panels *panels, bool padded) {
    const nf_rows *a = &panels->a->rows, *b = &panels->b->rows;
    const bool within = panels->a == panels->b;
    bool copy = padded || needs_copy(a) || needs_copy(b) || a->x.ld != b->x.ld;
    panels->stride = copy ? nf_pad(panels->type, panels->d) : a->x.ld;
    panels->a_rows = a->x.data;
    panels->b_rows = b->x.data;
    if (!copy) return NF_OK;
    nf_status status = copy_rows(context, panels, b, &panels->b_rows);
    if (within) {
        panels->a_rows = panels->b_rows;
    } else if (status == NF_OK) {
        status = copy_rows(context, panels, a, &panels->a_rows);
    }
    return status;
}

nf_status nf_panels_begin(nf_context *context, nf_panels *panels, nf_metric metric,
                          const nf_panel_set *a, const nf_panel_set *b, bool padded) {
    *panels = (nf_panels){.a = a,
                          .b = b,
                          .metric = metric,
                          .family = nf_metric_family(metric),
                          .type = a->rows.x.type,
                          .d = a->rows.x.cols};
    const size_t element = nf_type_size(panels->type), columns = b->rows.count;
    panels->kernels = nf_kernels_get(context, panels->type);
    nf_trusted_range(panels->family, panels->type, panels->d, 1, &panels->low, &panels->high);
    atomic_init(&panels->exact, false);
    /* An odd number of lines, so that a column's weights do not fall into one set of the cache. */
    panels->ld = nf_pad(panels->type, columns);
    if (panels->ld / nf_lanes(panels->type) % 2 == 0) panels->ld += nf_lanes(panels->type);
    size_t fit = NF_PANEL_BYTES / (nf_max_size(panels->ld, 1) * element);
    fit = nf_max_size(fit / NF_STRIP_HEIGHT * NF_STRIP_HEIGHT, NF_STRIP_HEIGHT);
    panels->block = nf_min_size(NF_PANEL_ROWS, fit);
    panels->block = nf_max_size(nf_min_size(panels->block, a->rows.count), 1);
    panels->packed_bytes =
        nf_round_up(NF_PANEL_COLUMNS * nf_max_size(panels->d, 1) * element, NF_ALIGNMENT);
    nf_status status = place_rows(context, panels, padded);
    if (status == NF_OK) {
        status = nf_scratch(context, &panels->panel, panels->ld, panels->block * element,
                            "panel of distances");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &panels->packed, (size_t)context->threads,
                            panels->packed_bytes, "packed columns");
    }
    return status;
}

/* ---- distances -------------------------------------------------------------------------------- */

/* Raw numbers of anchor a and columns [first, first + count) to distances, in place. */
static void finish(nf_panels *panels, unsigned char *values, size_t a, size_t first, size_t count) {
    const nf_transform transform = nf_metric_transform(panels->metric);
    const unsigned char *row = nf_panels_a(panels, a);
    if (!panels->kernels->outside(values, count, panels->low, panels->high)) {
        panels->kernels->distance(values, count, transform);
        return;
    }
    for (size_t c = 0; c < count; c++) {
        const unsigned char *other = nf_panels_b(panels, first + c);
        double raw = nf_element_get(panels->type, values, c);
        unsigned char *one = values + c * nf_type_size(panels->type);
        if ((raw >= panels->low && raw <= panels->high) ||
            (raw == 0 && nf_rows_equal(panels->type, row, other, panels->d))) {
            panels->kernels->distance(one, 1, transform);
            continue;
        }
        nf_element_set(panels->type, one, 0,
                       nf_exact_distance(panels->metric, panels->type, row, other, panels->d));
        atomic_store_explicit(&panels->exact, true, memory_order_relaxed);
    }
}

static void mark(nf_panels *panels, unsigned char *values, size_t a, size_t first, size_t count) {
    const int64_t *a_ids = panels->a->ids, *b_ids = panels->b->ids;
    if (panels->a->rows.zero_rows > 0 || panels->b->rows.zero_rows > 0) {
        for (size_t c = 0; c < count; c++) {
            if (nf_panels_zero(panels, a, first + c)) nf_element_set(panels->type, values, c, 1);
        }
    }
    if (panels->a == panels->b && a >= first && a < first + count) {
        nf_element_set(panels->type, values, a - first, NAN);
    }
    if (a_ids == NULL || b_ids == NULL) return;
    for (size_t c = 0; c < count; c++) {
        if (a_ids[a] == b_ids[first + c]) nf_element_set(panels->type, values, c, NAN);
    }
}

static void panel_task(void *argument, size_t task, int worker) {
    nf_panels *panels = argument;
    const size_t element = nf_type_size(panels->type), first = task * NF_PANEL_COLUMNS;
    const size_t columns = nf_min_size(NF_PANEL_COLUMNS, panels->b->rows.count - first);
    unsigned char *packed = panels->packed + (size_t)worker * panels->packed_bytes;
    unsigned char *values = panels->panel + first * element;
    panels->kernels->pack(packed, nf_panels_b(panels, first), panels->stride, columns, panels->d);
    nf_raw_tile_run(&(nf_raw_tile){.kernels = panels->kernels,
                                   .family = panels->family,
                                   .d = panels->d,
                                   .x = &panels->a->rows,
                                   .y = &panels->b->rows,
                                   .i = panels->first,
                                   .j = first,
                                   .rows = panels->rows,
                                   .cols = columns,
                                   .out = values,
                                   .ldo = panels->ld,
                                   .a = nf_panels_a(panels, panels->first),
                                   .lda = panels->stride,
                                   .panel = packed});
    for (size_t r = 0; r < panels->rows; r++) {
        unsigned char *row = values + r * panels->ld * element;
        finish(panels, row, panels->first + r, first, columns);
        mark(panels, row, panels->first + r, first, columns);
    }
}

nf_status nf_panels_compute(nf_context *context, nf_panels *panels, size_t first, size_t rows) {
    const size_t columns = panels->b->rows.count;
    panels->first = first;
    panels->rows = rows;
    atomic_store(&panels->exact, false);
    bool wake = 2.0 * (double)rows * (double)columns * (double)panels->d > NF_WAKE_FLOPS;
    return nf_parallel(context, (columns + NF_PANEL_COLUMNS - 1) / NF_PANEL_COLUMNS, wake, 0,
                       panel_task, panels);
}

void nf_panels_row(const nf_panels *panels, size_t r, double *t) {
    const size_t columns = panels->b->rows.count;
    if (panels->type == NF_FLOAT64) {
        const double *row = (const double *)(const void *)panels->panel + r * panels->ld;
        for (size_t c = 0; c < columns; c++) t[c] = row[c];
    } else {
        const float *row = (const float *)(const void *)panels->panel + r * panels->ld;
        for (size_t c = 0; c < columns; c++) t[c] = (double)row[c];
    }
}
