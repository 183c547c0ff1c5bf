#include "loss/anchored_gradient.h"

#include <string.h>

#include "base/pool.h"
#include "loss/gradient.h"

static void widen(const nf_panels *panels, const unsigned char *row, double *out) {
    for (size_t k = 0; k < panels->d; k++) out[k] = nf_element_get(panels->type, row, k);
}

/* Gradient of one pair's slope to its row of a (or of b), the distance done over in double. */
static void add_exact(const nf_anchored *run, size_t r, size_t c, bool to_a, double *two) {
    const nf_panels *panels = &run->panels;
    const size_t at = r * panels->ld + c, a = panels->first + r, d = panels->d;
    const double slope = nf_element_get(panels->type, run->slope, at);
    if (slope == 0) return;
    const unsigned char *x = nf_panels_a(panels, a), *y = nf_panels_b(panels, c);
    double t = nf_exact_distance(panels->metric, panels->type, x, y, d);
    widen(panels, to_a ? x : y, two);
    widen(panels, to_a ? y : x, two + d);
    double *sum = to_a ? run->sum[0] + a * d : run->sum[run->sets - 1] + c * d;
    nf_term_gradient(panels->metric, slope / nf_pass_factor(panels->metric), t, two, two + d, d,
                     sum);
}

static size_t chunk_columns(const nf_anchored *run, size_t chunk) {
    return nf_min_size(NF_PANEL_COLUMNS, run->columns - chunk * NF_PANEL_COLUMNS);
}

/* Rows [first, first + rows) of the panel against a chunk of columns, without a side to update. */
static nf_update update_of(const nf_anchored *run, size_t first, size_t rows, size_t chunk,
                           nf_weight_facts *facts) {
    const nf_panels *panels = &run->panels;
    const size_t element = nf_type_size(panels->type), c = chunk * NF_PANEL_COLUMNS;
    *facts = run->facts[chunk];
    facts->row_sum = (unsigned char *)facts->row_sum + first * element;
    facts->row_near = (unsigned char *)facts->row_near + first / NF_STRIP_HEIGHT * element;
    facts->weighted += first * NF_BIT_WORDS;
    return (nf_update){.kernels = panels->kernels,
                       .family = panels->family,
                       .type = panels->type,
                       .d = panels->d,
                       .stride = panels->stride,
                       .ld = panels->ld,
                       .weights = run->slope + (first * panels->ld + c) * element,
                       .facts = facts,
                       .rows = rows,
                       .cols = chunk_columns(run, chunk),
                       .a.x = nf_panels_a(panels, panels->first + first),
                       .b.x = nf_panels_b(panels, c)};
}

/* The side of `rows` rows of set s from row `first` on, with an empty part in the worker's scratch. */
static void begin_part(const nf_anchored *run, int s, size_t first, size_t rows, int worker,
                       nf_update_side *side) {
    const size_t bytes = rows * run->panels.stride * nf_type_size(run->panels.type);
    side->part = nf_anchored_scratch(run, worker);
    side->weight = (double *)(void *)(side->part + nf_round_up(bytes, NF_ALIGNMENT));
    side->radius2 = run->rows[s].radius2 + first / NF_STRIP_HEIGHT;
    memset(side->part, 0, bytes);
    memset(side->weight, 0, rows * sizeof *side->weight);
}

static void settle(const nf_anchored *run, int s, size_t first, size_t rows,
                   const nf_update_side *side) {
    nf_settle_rows(&run->shape, side->x, side->part, side->weight, rows,
                   run->sum[s] + first * run->panels.d);
}

/* The anchors of one strip: their weights against every column. */
static void update_anchors(void *argument, size_t strip, int worker) {
    nf_anchored *run = argument;
    const nf_panels *panels = &run->panels;
    const size_t first = strip * NF_STRIP_HEIGHT, a = panels->first + first;
    const size_t rows = nf_min_size(NF_STRIP_HEIGHT, panels->rows - first);
    nf_update_work work = {0};
    atomic_fetch_add_explicit(&run->updates, run->chunks, memory_order_relaxed);
    if (atomic_load_explicit(&panels->exact, memory_order_relaxed)) {
        double *two = (double *)(void *)nf_anchored_scratch(run, worker);
        for (size_t p = 0; p < rows * run->columns; p++) {
            add_exact(run, first + p / run->columns, p % run->columns, true, two);
        }
        return;
    }
    for (size_t chunk = 0; chunk < run->chunks; chunk++) {
        nf_weight_facts facts;
        if (!run->used[chunk]) {
            work.skipped++;
            continue;
        }
        nf_update update = update_of(run, first, rows, chunk, &facts);
        begin_part(run, 0, a, rows, worker, &update.a);
        nf_update_run(&update, &work);
        settle(run, 0, a, rows, &update.a);
    }
    atomic_fetch_add_explicit(&run->updates_skipped, work.skipped, memory_order_relaxed);
}

/* The columns of one chunk: weights from slopes, then theirs against every anchor of the panel. */
static void update_columns(void *argument, size_t chunk, int worker) {
    nf_anchored *run = argument;
    const nf_panels *panels = &run->panels;
    const size_t c = chunk * NF_PANEL_COLUMNS, columns = chunk_columns(run, chunk);
    const int last = run->sets - 1;
    const uint64_t strips = run->sum[last] != NULL ? nf_update_strips(columns) : 0;
    nf_update_work work = {0};
    run->used[chunk] = true;
    atomic_fetch_add_explicit(&run->updates, strips, memory_order_relaxed);
    if (atomic_load_explicit(&panels->exact, memory_order_relaxed)) {
        double *two = (double *)(void *)nf_anchored_scratch(run, worker);
        for (size_t p = 0; run->sum[last] != NULL && p < columns * panels->rows; p++) {
            add_exact(run, p % panels->rows, c + p / panels->rows, false, two);
        }
        return;
    }
    const size_t at = c * nf_type_size(panels->type);
    const nf_slope_tile tile = {.slope = run->slope + at,
                                .t = panels->panel + at,
                                .ld = panels->ld,
                                .rows = panels->rows,
                                .cols = columns,
                                .transform = nf_metric_transform(panels->metric),
                                .facts = &run->facts[chunk]};
    run->used[chunk] = panels->kernels->weigh(&tile);
    if (!run->used[chunk]) work.skipped = strips;
    if (run->used[chunk] && run->sum[last] != NULL) {
        nf_weight_facts facts;
        nf_update update = update_of(run, 0, panels->rows, chunk, &facts);
        begin_part(run, last, c, columns, worker, &update.b);
        nf_update_run(&update, &work);
        settle(run, last, c, columns, &update.b);
    }
    atomic_fetch_add_explicit(&run->updates_skipped, work.skipped, memory_order_relaxed);
}

nf_status nf_anchored_update(nf_context *context, nf_anchored *run) {
    const size_t rows = run->panels.rows;
    const size_t strips = (rows + NF_STRIP_HEIGHT - 1) / NF_STRIP_HEIGHT;
    const double flops = 2.0 * (double)rows * (double)run->columns * (double)run->panels.d;
    nf_status status =
        nf_parallel(context, run->chunks, flops > NF_WAKE_FLOPS, 0, update_columns, run);
    if (status == NF_OK && run->sum[0] != NULL) {
        status = nf_parallel(context, strips, flops > NF_WAKE_FLOPS, 0, update_anchors, run);
    }
    return status;
}

/* Sums of set s and the radii of its strips. */
static nf_status begin_sums(nf_context *context, nf_anchored *run, int s) {
    const nf_tiled_side *side = nf_anchored_side(run, s);
    const size_t d = run->panels.d;
    nf_pass_set set = {.rows = run->set[s].rows, .class_of = side->class_of};
    size_t *block;
    if (side->gradient.data == NULL) return NF_OK;
    set.blocks = (side->count + NF_PANEL_COLUMNS - 1) / NF_PANEL_COLUMNS;
    nf_status status = nf_scratch(context, &block, set.blocks + 1, sizeof *block, "blocks");
    if (status != NF_OK) return status;
    for (size_t b = 0; b <= set.blocks; b++) {
        block[b] = nf_min_size(b * NF_PANEL_COLUMNS, side->count);
    }
    set.block = block;
    status = nf_block_facts_make(context, &set, true, &run->rows[s]);
    if (status == NF_OK) {
        status =
            nf_scratch(context, &run->sum[s], side->count, d * sizeof(double), "gradient sums");
    }
    if (status == NF_OK) memset(run->sum[s], 0, side->count * d * sizeof(double));
    return status;
}

nf_status nf_anchored_begin_gradients(nf_context *context, nf_anchored *run) {
    const nf_panels *panels = &run->panels;
    const size_t element = nf_type_size(panels->type);
    const size_t ld = nf_pad(panels->type, NF_PANEL_COLUMNS);
    run->shape = (nf_span_shape){
        .kernels = panels->kernels, .type = panels->type, .d = panels->d, .stride = panels->stride};
    nf_weight_facts unused;
    unsigned char *memory;
    const size_t bytes = nf_weight_facts_layout(panels->type, panels->block, ld, NULL, &unused);
    nf_status status = NF_OK;
    for (int s = 0; s < run->sets && status == NF_OK; s++) status = begin_sums(context, run, s);
    if (status == NF_OK) {
        status = nf_scratch(context, &run->slope, panels->ld, panels->block * element,
                            "panel of slopes");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &run->facts, run->chunks, sizeof *run->facts, "weights");
    }
    if (status == NF_OK) status = nf_scratch(context, &memory, run->chunks, bytes, "weights");
    if (status == NF_OK) {
        status = nf_scratch(context, &run->used, run->chunks, sizeof *run->used, "used columns");
    }
    for (size_t chunk = 0; status == NF_OK && chunk < run->chunks; chunk++) {
        nf_weight_facts_layout(panels->type, panels->block, ld, memory + chunk * bytes,
                               &run->facts[chunk]);
    }
    return status;
}

nf_status nf_anchored_finish_gradients(nf_context *context, const nf_anchored *run, double factor) {
    const size_t d = run->panels.d;
    double *u;
    nf_status status = nf_scratch(context, &u, d, sizeof *u, "unit row");
    if (status != NF_OK) return status;
    for (int s = 0; s < run->sets; s++) {
        const nf_rows *rows = &run->set[s].rows;
        for (size_t r = 0; run->sum[s] != NULL && r < rows->count; r++) {
            double *row = run->sum[s] + r * d;
            for (size_t k = 0; k < d; k++) row[k] *= factor;
            if (run->job->unit) nf_gradient_through_unit(rows, r, row, u);
            if (nf_gradient_fits(rows->x.type, row, d)) continue;
            return nf_gradient_range_error(context, "the gradient", rows->x.type,
                                           nf_rows_source(rows, r));
        }
    }
    return NF_OK;
}

void nf_anchored_write_gradients(const nf_anchored *run) {
    for (int s = 0; s < run->sets; s++) {
        const nf_tiled_side *side = nf_anchored_side(run, s);
        if (side->gradient.data == NULL) continue;
        for (size_t r = 0; r < side->x.rows; r++) {
            memset(nf_matrix_out_row(side->gradient, r), 0,
                   side->x.cols * nf_type_size(side->x.type));
        }
        for (size_t r = 0; r < side->count; r++) {
            nf_gradient_store(side->gradient, side->order[r], run->sum[s] + r * run->panels.d);
        }
    }
}
