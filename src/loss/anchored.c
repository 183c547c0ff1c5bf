#include "loss/anchored.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "distance/gram.h"
#include "loss/gradient.h"
#include "loss/row_terms.h"
#include "loss/update.h"

typedef struct nf_anchor_sums {
    double value, extra, distance[2], weight, mass, active_mass;
    uint64_t terms, active, active_of[2], coincident;
} nf_anchor_sums;

typedef struct nf_anchored {
    const nf_anchored_job *job;
    nf_panel_set set[2];
    nf_panels panels;
    const nf_kernels *wide; /* of float64, for an anchor's numbers */
    unsigned char *slope;   /* (block, ld) of the panel's distances; later, weights */
    nf_span_shape shape;
    nf_block_facts rows[2]; /* of blocks of NF_PANEL_COLUMNS rows */
    int sets;               /* 1 within one set, else 2 */
    double *sum[2];         /* (rows, d) gradient sums over nf_pass_factor, or NULL */
    bool gradient;
    nf_anchor_sums *of; /* (anchors) */
    size_t columns, chunks;
    nf_weight_facts *facts; /* (chunks) of the panel's weights in a chunk of columns */
    bool *used;             /* (chunks) some of them is not 0 */
    size_t worker_bytes;
    unsigned char *scratch;
    uint64_t tiles;
    atomic_ullong updates, updates_skipped; /* strips, see nf_update_work */
} nf_anchored;

/* A worker's arrays: an anchor, its slopes, its targets; later, in the same room, parts of gradient
 * sums, or two rows in double. */
static size_t worker_bytes(const nf_anchored *run) {
    const size_t weights = NF_PANEL_COLUMNS * sizeof(double);
    size_t slopes = nf_round_up((run->columns + 1) * sizeof(double), NF_ALIGNMENT), update;
    if (run->job->split != NULL) {
        slopes += nf_anchor_target_bytes(run->columns, run->job->weighted);
    }
    if (nf_mul_overflows(run->panels.stride, NF_PANEL_COLUMNS * sizeof(double), &update) ||
        nf_add_overflows(update, weights, &update)) {
        return SIZE_MAX;
    }
    return nf_max_size(nf_anchor_bytes(run->columns) + slopes, nf_round_up(update, NF_ALIGNMENT));
}

static unsigned char *worker_scratch(const nf_anchored *run, int worker) {
    return run->scratch + (size_t)worker * run->worker_bytes;
}

/* ---- terms ------------------------------------------------------------------------------------ */

static void count(const nf_anchored *run, const nf_anchor *anchor, nf_anchor_sums *sums) {
    const int64_t *class_of = run->job->b->class_of;
    uint64_t sign[3];
    anchor->kernels->tally(anchor->negative, anchor->m, sign);
    if (run->job->metric != NF_DOT) sums->coincident = sign[1];
    if (!run->job->stats) return;
    for (size_t c = 0; c < anchor->m; c++) {
        const double t = anchor->t[c];
        if (t != t) continue;
        if (anchor->target != NULL) {
            sums->distance[NF_POSITIVE] += anchor->target[c] > 0 ? t : 0;
            sums->distance[NF_NEGATIVE] += anchor->target[c] < 1 ? t : 0;
            continue;
        }
        sums->distance[class_of[c] == anchor->class_of ? NF_POSITIVE : NF_NEGATIVE] += t;
    }
}

/* The anchor's slopes to their row of the panel. */
static void store_slopes(const nf_anchored *run, size_t r, double *slope) {
    const nf_panels *panels = &run->panels;
    const bool zero = panels->metric == NF_COSINE &&
                      (panels->a->rows.zero_rows > 0 || panels->b->rows.zero_rows > 0);
    for (size_t c = 0; zero && c < run->columns; c++) {
        if (nf_panels_zero(panels, panels->first + r, c)) slope[c] = 0;
    }
    panels->kernels->narrow(run->slope + r * panels->ld * nf_type_size(panels->type), slope, 1,
                            run->columns);
}

/* The first row of a class or a later one: they are in class order. */
static size_t first_of(const nf_tiled_side *side, int64_t class_of) {
    size_t low = 0, high = side->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (side->class_of[middle] < class_of) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

/* The anchor's distances, and which of them are of positives and of negatives. */
static void fill_anchor(const nf_anchored *run, size_t r, unsigned char *targets,
                        nf_anchor *anchor) {
    const nf_anchored_job *job = run->job;
    const size_t a = run->panels.first + r;
    anchor->kernels = run->wide;
    anchor->item = job->b->order;
    anchor->row = job->a->order[a];
    nf_panels_row(&run->panels, r, anchor->t);
    if (job->split != NULL) {
        nf_anchor_place_targets(anchor, job->weighted, targets);
        job->split(job->rule, anchor);
    } else {
        const int64_t own = job->a->class_of[a];
        size_t first = first_of(job->b, own), stop = first_of(job->b, own + 1);
        nf_anchor_split_range(anchor, first, stop, own);
    }
}

static void anchor_task(void *argument, size_t r, int worker) {
    const nf_anchored *run = argument;
    const nf_anchored_job *job = run->job;
    const size_t a = run->panels.first + r;
    unsigned char *scratch = worker_scratch(run, worker);
    nf_anchor anchor;
    nf_anchor_place(&anchor, run->columns, scratch);
    nf_anchor_terms out = {.slope = (double *)(void *)(scratch + nf_anchor_bytes(run->columns))};
    unsigned char *targets = (unsigned char *)out.slope +
                             nf_round_up((run->columns + 1) * sizeof *out.slope, NF_ALIGNMENT);
    nf_anchor_sums sums = {0};
    memset(out.slope, 0, run->columns * sizeof *out.slope);
    fill_anchor(run, r, targets, &anchor);
    count(run, &anchor, &sums);
    if (job->lone || (anchor.positives > 0 && anchor.negatives > 0)) {
        job->anchor(job->loss, &anchor, &out);
    }
    sums.value = out.value;
    sums.extra = out.extra;
    sums.weight = out.weight;
    sums.mass = out.mass;
    sums.active_mass = out.active_mass;
    sums.terms = out.terms;
    sums.active = out.active;
    /* Positives are pulled, negatives pushed: the sign of a slope tells them apart. */
    uint64_t sign[3];
    run->wide->tally(out.slope, run->columns, sign);
    sums.active_of[NF_NEGATIVE] = sign[0];
    sums.active_of[NF_POSITIVE] = sign[2];
    run->of[a] = sums;
    const double upstream = nf_upstream_of(job->rows, job->a, a);
    for (size_t c = 0; upstream != 1 && c < run->columns; c++) out.slope[c] *= upstream;
    if (run->gradient) store_slopes(run, r, out.slope);
}

/* ---- gradients -------------------------------------------------------------------------------- */

static void widen(const nf_panels *panels, const unsigned char *row, double *out) {
    for (size_t k = 0; k < panels->d; k++) {
        out[k] = panels->type == NF_FLOAT32 ? (double)((const float *)(const void *)row)[k]
                                            : ((const double *)(const void *)row)[k];
    }
}

/* Gradient of one pair's slope to its row of a (or of b), the distance done over in double. */
static void add_exact(const nf_anchored *run, size_t r, size_t c, bool to_a, double *two) {
    const nf_panels *panels = &run->panels;
    const size_t at = r * panels->ld + c, a = panels->first + r, d = panels->d;
    double slope = panels->type == NF_FLOAT32 ? (double)((float *)(void *)run->slope)[at]
                                              : ((double *)(void *)run->slope)[at];
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
    side->part = worker_scratch(run, worker);
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
        double *two = (double *)(void *)worker_scratch(run, worker);
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
        double *two = (double *)(void *)worker_scratch(run, worker);
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

static nf_status update_panel(nf_context *context, nf_anchored *run) {
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

/* ---- the run ---------------------------------------------------------------------------------- */

static const nf_tiled_side *side_of(const nf_anchored *run, int s) {
    return s == 0 ? run->job->a : run->job->b;
}

/* Sums of set s and the radii of its strips. */
static nf_status begin_sums(nf_context *context, nf_anchored *run, int s) {
    const nf_tiled_side *side = side_of(run, s);
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

static nf_status begin_gradients(nf_context *context, nf_anchored *run) {
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

static nf_status begin(nf_context *context, nf_anchored *run, nf_loss_result *result) {
    nf_status status = NF_OK;
    for (int s = 0; s < run->sets && status == NF_OK; s++) {
        const nf_tiled_side *side = side_of(run, s);
        run->set[s] = (nf_panel_set){
            .rows = {.x = side->x, .order = side->order, .count = side->count}, .ids = side->ids};
        if (run->job->unit) status = nf_rows_make_unit(context, &run->set[s].rows);
        if (status == NF_OK && run->job->fast) {
            status = nf_gram_make_norms(context, &run->set[s].rows, side->x.type);
        }
        result->zero_rows += run->set[s].rows.zero_rows;
        run->gradient |= side->gradient.data != NULL;
    }
    if (status == NF_OK) {
        status = nf_panels_begin(context, &run->panels, run->job->metric, &run->set[0],
                                 &run->set[run->sets - 1], true);
    }
    run->columns = side_of(run, run->sets - 1)->count;
    run->chunks = (run->columns + NF_PANEL_COLUMNS - 1) / NF_PANEL_COLUMNS;
    if (status == NF_OK && run->gradient) status = begin_gradients(context, run);
    run->worker_bytes = worker_bytes(run);
    if (status == NF_OK) {
        status = nf_scratch(context, &run->scratch, (size_t)context->threads, run->worker_bytes,
                            "an anchor's distances");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &run->of, run->job->a->count, sizeof *run->of, "anchor sums");
    }
    return status;
}

static nf_status run_panels(nf_context *context, nf_anchored *run) {
    const size_t anchors = run->job->a->count;
    nf_status status = NF_OK;
    nf_progress_start(context, nf_panels_count(&run->panels));
    for (size_t first = 0; first < anchors && status == NF_OK; first += run->panels.block) {
        size_t rows = nf_min_size(run->panels.block, anchors - first);
        bool wake = (double)rows * (double)run->columns > 1 << 14;
        status = nf_panels_compute(context, &run->panels, first, rows);
        if (status == NF_OK) status = nf_parallel(context, rows, wake, 0, anchor_task, run);
        if (status == NF_OK && run->gradient) status = update_panel(context, run);
        run->tiles += run->chunks;
        nf_progress_add(context, 1);
        if (status == NF_OK) status = nf_progress_status(context);
    }
    return status;
}

/* The factor of the reduction. A mean over no terms is 0, not 0 / 0. */
static double reduction_factor(const nf_anchored_job *job, const nf_anchor_sums *total) {
    double count = job->by_mass ? total->mass : (double)total->terms;
    switch (job->reduction) {
    case NF_REDUCE_SUM:
    case NF_REDUCE_NONE: return job->scale;
    case NF_REDUCE_DIVISOR: return job->scale / job->divisor;
    case NF_REDUCE_MEAN_NONZERO:
        count = job->by_mass ? total->active_mass : (double)total->active;
        break;
    case NF_REDUCE_WEIGHTED_MEAN: count = job->split != NULL ? total->weight : count; break;
    case NF_REDUCE_MEAN_ANCHORS: count = (double)job->a->count; break;
    default: break;
    }
    return count > 0 ? job->scale / count : 0;
}

static nf_anchor_sums add_anchors(const nf_anchored *run) {
    nf_anchor_sums total = {0};
    for (size_t a = 0; a < run->job->a->count; a++) {
        const nf_anchor_sums *of = &run->of[a];
        total.value += of->value;
        total.weight += of->weight;
        total.mass += of->mass;
        total.active_mass += of->active_mass;
        total.terms += of->terms;
        total.active += of->active;
        total.coincident += of->coincident;
        for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) {
            total.distance[side] += of->distance[side];
            total.active_of[side] += of->active_of[side];
        }
    }
    return total;
}

static void fill_result(const nf_anchored *run, const nf_anchor_sums *total, double factor,
                        nf_loss_result *result) {
    const uint64_t *pairs = run->job->pairs;
    const uint64_t twice = run->sets == 1 ? 2 : 1; /* within a set a pair is met from both ends */
    result->value = factor * total->value;
    result->positive_pairs = pairs[NF_POSITIVE];
    result->negative_pairs = pairs[NF_NEGATIVE];
    result->coincident_negatives = total->coincident / twice;
    result->active_negative = total->active_of[NF_NEGATIVE];
    result->terms = total->terms;
    result->active_terms = total->active;
    result->tiles_total = run->tiles;
    result->updates_total = atomic_load(&run->updates);
    result->updates_skipped = atomic_load(&run->updates_skipped);
    if (!run->job->stats) return;
    result->has_stats = 1;
    result->active_positive = total->active_of[NF_POSITIVE];
    if (pairs[NF_POSITIVE] > 0) {
        result->mean_positive_distance =
            total->distance[NF_POSITIVE] / (double)(twice * pairs[NF_POSITIVE]);
    }
    if (pairs[NF_NEGATIVE] > 0) {
        result->mean_negative_distance =
            total->distance[NF_NEGATIVE] / (double)(twice * pairs[NF_NEGATIVE]);
    }
}

/* Sums to gradients in place; NF_ERR_RANGE when one does not fit its type. */
static nf_status finish_gradients(nf_context *context, const nf_anchored *run, double factor) {
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

static void write_gradients(const nf_anchored *run) {
    for (int s = 0; s < run->sets; s++) {
        const nf_tiled_side *side = side_of(run, s);
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

static void write_terms(const nf_anchored *run) {
    const nf_tiled_side *side = run->job->a;
    nf_row_terms_clear(run->job->rows, side);
    for (size_t a = 0; a < side->count; a++) {
        nf_row_terms_put(run->job->rows, side, a, run->job->scale * run->of[a].value);
    }
}

static void write_class_sums(const nf_anchored *run, double factor) {
    const nf_tiled_side *side = run->job->a;
    for (size_t a = 0; a < side->count; a++) {
        const size_t own = (size_t)side->class_of[a];
        if (run->job->extra != NULL) run->job->extra[own] += factor * run->of[a].extra;
        if (run->job->class_terms != NULL) run->job->class_terms[own] += run->of[a].terms;
    }
}

nf_anchored_job nf_anchored_of(const nf_tiled_job *job, nf_anchor_fn anchor, const void *loss) {
    const nf_loss *own = job->loss;
    return (nf_anchored_job){.metric = own->neg_metric,
                             .unit = nf_term_unit(own, NF_NEGATIVE),
                             .fast = own->fast != 0,
                             .stats = own->stats != 0,
                             .reduction = own->reduction,
                             .divisor = own->divisor,
                             .scale = own->scale,
                             .anchor = anchor,
                             .loss = loss,
                             .a = job->a,
                             .b = job->b,
                             .rows = job->rows,
                             .pairs = {job->pairs[NF_NEGATIVE], job->pairs[NF_POSITIVE]}};
}

nf_status nf_anchored_run(nf_context *context, const nf_anchored_job *job, nf_loss_result *result) {
    nf_anchored run = {
        .job = job, .wide = nf_kernels_get(context, NF_FLOAT64), .sets = job->a == job->b ? 1 : 2};
    nf_loss_result made = {0};
    nf_status status = begin(context, &run, &made);
    if (status == NF_OK) status = run_panels(context, &run);
    if (status != NF_OK) return status;
    const nf_anchor_sums total = add_anchors(&run);
    const double factor = reduction_factor(job, &total);
    fill_result(&run, &total, factor, &made);
    if (!isfinite(made.value)) {
        return nf_fail(context, NF_ERR_RANGE,
                       "the loss is not finite: a %s distance exceeds what %s can hold; scale the "
                       "data down",
                       nf_metric_name(job->metric),
                       job->a->x.type == NF_FLOAT32 ? "float32" : "float64");
    }
    status = finish_gradients(context, &run, factor * nf_pass_factor(job->metric));
    if (status != NF_OK) return status;
    write_gradients(&run);
    write_terms(&run);
    write_class_sums(&run, factor);
    *result = made;
    return NF_OK;
}
