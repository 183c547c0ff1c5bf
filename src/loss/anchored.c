#include "loss/anchored.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "loss/gradient.h"

#define NF_STRIP_ROWS 8 /* anchors of a task of the update of anchors */

typedef struct nf_anchor_sums {
    double value, extra, distance[2], weight, mass, active_mass;
    uint64_t terms, active, active_of[2], coincident;
} nf_anchor_sums;

typedef struct nf_anchored {
    const nf_anchored_job *job;
    nf_panel_set set[2];
    nf_panels panels;
    nf_update_fn update;
    int sets;       /* 1 within one set, else 2 */
    double *sum[2]; /* (rows, stride) gradient sums, or NULL */
    bool gradient;
    nf_anchor_sums *of; /* (anchors) */
    size_t columns, chunks;
    unsigned char *used; /* (block, chunks): some weight of the anchor there is not 0 */
    size_t worker_bytes;
    unsigned char *scratch;
    uint64_t tiles, updates_skipped;
} nf_anchored;

/* A worker's arrays: an anchor, its slopes, its targets; later, in the same room, an update. */
static size_t worker_bytes(const nf_anchored *run) {
    const size_t rows = NF_PANEL_COLUMNS * nf_type_size(run->panels.type), two = 2 * sizeof(double);
    size_t slopes = nf_round_up((run->columns + 1) * sizeof(double), NF_ALIGNMENT), update;
    if (run->job->split != NULL) {
        slopes += nf_anchor_target_bytes(run->columns, run->job->weighted);
    }
    if (nf_mul_overflows(run->panels.stride, nf_max_size(rows, two), &update)) return SIZE_MAX;
    return nf_max_size(nf_anchor_bytes(run->columns) + slopes, nf_round_up(update, NF_ALIGNMENT));
}

static unsigned char *worker_scratch(const nf_anchored *run, int worker) {
    return run->scratch + (size_t)worker * run->worker_bytes;
}

/* ---- terms ------------------------------------------------------------------------------------ */

static void count(const nf_anchored *run, const nf_anchor *anchor, nf_anchor_sums *sums) {
    const int64_t *class_of = run->job->b->class_of;
    uint64_t coincident = 0;
    for (size_t c = 0; c < anchor->m; c++) coincident += anchor->negative[c] == 0;
    if (run->job->metric != NF_DOT) sums->coincident = coincident;
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

/* Slopes dphi/dt to what the update kernels take: dphi/d(raw), whose gradient is that of the family
 * without nf_pass_factor. The gradient of a distance at 0 is 0. */
static void weigh(nf_metric metric, size_t count, const double *t, double *slope) {
    switch (metric) {
    case NF_EUCLIDEAN:
        for (size_t c = 0; c < count; c++) slope[c] = t[c] > 0 ? 0.5 * slope[c] / t[c] : 0;
        break;
    case NF_COSINE:
        for (size_t c = 0; c < count; c++) slope[c] *= 0.5;
        break;
    case NF_DOT:
        for (size_t c = 0; c < count; c++) slope[c] = -slope[c];
        break;
    case NF_SQEUCLIDEAN:
    case NF_CITYBLOCK: break;
    }
}

/* Doubles to a row of the panel; whether some are not 0. */
static bool store(const nf_panels *panels, size_t r, size_t first, size_t count,
                  const double *value) {
    const size_t at = r * panels->ld + first;
    int used = 0;
    for (size_t c = 0; c < count; c++) used |= value[c] != 0;
    if (panels->type == NF_FLOAT32) {
        float *to = (float *)(void *)panels->panel + at;
        for (size_t c = 0; c < count; c++) to[c] = (float)value[c];
    } else {
        memcpy((double *)(void *)panels->panel + at, value, count * sizeof *value);
    }
    return used != 0;
}

/* The anchor's slopes over its distances in the panel: as weights, or as they are when the panel
 * holds a distance that the kernels cannot. */
static void store_weights(const nf_anchored *run, size_t r, const double *t, double *slope) {
    const nf_panels *panels = &run->panels;
    const bool zero = panels->metric == NF_COSINE &&
                      (panels->a->rows.zero_rows > 0 || panels->b->rows.zero_rows > 0);
    if (!atomic_load_explicit(&panels->exact, memory_order_relaxed)) {
        weigh(panels->metric, run->columns, t, slope);
    }
    for (size_t c = 0; zero && c < run->columns; c++) {
        if (nf_panels_zero(panels, panels->first + r, c)) slope[c] = 0;
    }
    for (size_t chunk = 0; chunk < run->chunks; chunk++) {
        const size_t first = chunk * NF_PANEL_COLUMNS;
        const size_t count = nf_min_size(NF_PANEL_COLUMNS, run->columns - first);
        run->used[r * run->chunks + chunk] = store(panels, r, first, count, slope + first);
    }
}

/* The anchor's distances, and which of them are of positives and of negatives. */
static void fill_anchor(const nf_anchored *run, size_t r, unsigned char *targets,
                        nf_anchor *anchor) {
    const nf_anchored_job *job = run->job;
    const size_t a = run->panels.first + r;
    anchor->item = job->b->order;
    anchor->row = job->a->order[a];
    nf_panels_row(&run->panels, r, anchor->t);
    if (job->split != NULL) {
        nf_anchor_place_targets(anchor, job->weighted, targets);
        job->split(job->rule, anchor);
    } else {
        nf_anchor_split(anchor, job->b->class_of, job->a->class_of[a]);
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
    for (size_t c = 0; c < run->columns; c++) sums.active_of[NF_NEGATIVE] += out.slope[c] < 0;
    for (size_t c = 0; c < run->columns; c++) sums.active_of[NF_POSITIVE] += out.slope[c] > 0;
    run->of[a] = sums;
    if (run->gradient) store_weights(run, r, anchor.t, out.slope);
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
    const size_t at = r * panels->ld + c, a = panels->first + r;
    double slope = panels->type == NF_FLOAT32 ? (double)((float *)(void *)panels->panel)[at]
                                              : ((double *)(void *)panels->panel)[at];
    if (slope == 0) return;
    const unsigned char *x = nf_panels_a(panels, a), *y = nf_panels_b(panels, c);
    double t = nf_exact_distance(panels->metric, panels->type, x, y, panels->d);
    widen(panels, to_a ? x : y, two);
    widen(panels, to_a ? y : x, two + panels->stride);
    double *sum =
        to_a ? run->sum[0] + a * panels->stride : run->sum[run->sets - 1] + c * panels->stride;
    nf_term_gradient(panels->metric, slope / nf_pass_factor(panels->metric), t, two,
                     two + panels->stride, panels->d, sum);
}

static bool chunk_used(const nf_anchored *run, size_t first, size_t rows, size_t chunk) {
    bool used = false;
    for (size_t r = first; r < first + rows; r++) used |= run->used[r * run->chunks + chunk];
    return used;
}

/* Anchors [8 task, 8 task + 8): their weights against every column. */
static void update_anchors(void *argument, size_t task, int worker) {
    const nf_anchored *run = argument;
    const nf_panels *panels = &run->panels;
    const size_t first = task * NF_STRIP_ROWS, element = nf_type_size(panels->type);
    const size_t rows = nf_min_size(NF_STRIP_ROWS, panels->rows - first);
    unsigned char *buffer = worker_scratch(run, worker);
    const bool exact = atomic_load_explicit(&panels->exact, memory_order_relaxed);
    for (size_t chunk = 0; chunk < run->chunks; chunk++) {
        const size_t c = chunk * NF_PANEL_COLUMNS;
        const size_t columns = nf_min_size(NF_PANEL_COLUMNS, run->columns - c);
        if (!chunk_used(run, first, rows, chunk)) continue;
        for (size_t p = 0; exact && p < rows * columns; p++) {
            add_exact(run, first + p / columns, c + p % columns, true, (double *)(void *)buffer);
        }
        if (exact) continue;
        run->update(buffer, panels->stride, panels->panel + (first * panels->ld + c) * element,
                    panels->ld, 1, nf_panels_a(panels, panels->first + first), panels->stride,
                    nf_panels_b(panels, c), panels->stride, rows, columns, panels->d);
        panels->kernels->accumulate(run->sum[0] + (panels->first + first) * panels->stride, buffer,
                                    rows * panels->stride);
    }
}

/* The columns of one chunk: their weights against every anchor of the panel. */
static void update_columns(void *argument, size_t chunk, int worker) {
    const nf_anchored *run = argument;
    const nf_panels *panels = &run->panels;
    const size_t c = chunk * NF_PANEL_COLUMNS, element = nf_type_size(panels->type);
    const size_t columns = nf_min_size(NF_PANEL_COLUMNS, run->columns - c);
    unsigned char *buffer = worker_scratch(run, worker);
    const bool exact = atomic_load_explicit(&panels->exact, memory_order_relaxed);
    if (!chunk_used(run, 0, panels->rows, chunk)) return;
    for (size_t p = 0; exact && p < columns * panels->rows; p++) {
        add_exact(run, p % panels->rows, c + p / panels->rows, false, (double *)(void *)buffer);
    }
    if (exact) return;
    run->update(buffer, panels->stride, panels->panel + c * element, 1, panels->ld,
                nf_panels_b(panels, c), panels->stride, nf_panels_a(panels, panels->first),
                panels->stride, columns, panels->rows, panels->d);
    panels->kernels->accumulate(run->sum[run->sets - 1] + c * panels->stride, buffer,
                                columns * panels->stride);
}

static nf_status update_panel(nf_context *context, nf_anchored *run) {
    const size_t rows = run->panels.rows, strips = (rows + NF_STRIP_ROWS - 1) / NF_STRIP_ROWS;
    const double flops = 2.0 * (double)rows * (double)run->columns * (double)run->panels.d;
    nf_status status = NF_OK;
    if (run->sum[0] != NULL) {
        status = nf_parallel(context, strips, flops > NF_WAKE_FLOPS, 0, update_anchors, run);
    }
    if (status == NF_OK && run->sum[run->sets - 1] != NULL) {
        status = nf_parallel(context, run->chunks, flops > NF_WAKE_FLOPS, 0, update_columns, run);
    }
    for (size_t chunk = 0; chunk < run->chunks; chunk++) {
        run->updates_skipped += !chunk_used(run, 0, rows, chunk);
    }
    return status;
}

/* ---- the run ---------------------------------------------------------------------------------- */

static const nf_tiled_side *side_of(const nf_anchored *run, int s) {
    return s == 0 ? run->job->a : run->job->b;
}

static nf_status begin(nf_context *context, nf_anchored *run, nf_loss_result *result) {
    nf_status status = NF_OK;
    for (int s = 0; s < run->sets && status == NF_OK; s++) {
        const nf_tiled_side *side = side_of(run, s);
        run->set[s] = (nf_panel_set){
            .rows = {.x = side->x, .order = side->order, .count = side->count}, .ids = side->ids};
        if (run->job->unit) status = nf_rows_make_unit(context, &run->set[s].rows);
        result->zero_rows += run->set[s].rows.zero_rows;
        run->gradient |= side->gradient.data != NULL;
    }
    if (status == NF_OK) {
        status = nf_panels_begin(context, &run->panels, run->job->metric, &run->set[0],
                                 &run->set[run->sets - 1], true);
    }
    for (int s = 0; s < run->sets && status == NF_OK; s++) {
        const nf_tiled_side *side = side_of(run, s);
        const size_t row = run->panels.stride * sizeof(double);
        if (side->gradient.data == NULL) continue;
        status = nf_scratch(context, &run->sum[s], side->count, row, "gradient sums");
        if (status == NF_OK) memset(run->sum[s], 0, side->count * row);
    }
    run->columns = side_of(run, run->sets - 1)->count;
    run->chunks = (run->columns + NF_PANEL_COLUMNS - 1) / NF_PANEL_COLUMNS;
    run->worker_bytes = worker_bytes(run);
    if (status == NF_OK) {
        status = nf_scratch(context, &run->scratch, (size_t)context->threads, run->worker_bytes,
                            "an anchor's distances");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &run->used, run->panels.block, run->chunks, "used columns");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &run->of, run->job->a->count, sizeof *run->of, "anchor sums");
    }
    if (status != NF_OK) return status;
    run->update = run->panels.family == NF_SQUARED   ? run->panels.kernels->update_difference
                  : run->panels.family == NF_PRODUCT ? run->panels.kernels->update_product
                                                     : run->panels.kernels->update_sign;
    return NF_OK;
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
    case NF_REDUCE_SUM: return job->scale;
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
    result->updates_skipped = run->updates_skipped;
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
    const size_t stride = run->panels.stride, d = run->panels.d;
    double *u;
    nf_status status = nf_scratch(context, &u, d, sizeof *u, "unit row");
    if (status != NF_OK) return status;
    for (int s = 0; s < run->sets; s++) {
        const nf_rows *rows = &run->set[s].rows;
        for (size_t r = 0; run->sum[s] != NULL && r < rows->count; r++) {
            double *row = run->sum[s] + r * stride;
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
            nf_gradient_store(side->gradient, side->order[r], run->sum[s] + r * run->panels.stride);
        }
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
                             .stats = own->stats != 0,
                             .reduction = own->reduction,
                             .scale = own->scale,
                             .anchor = anchor,
                             .loss = loss,
                             .a = job->a,
                             .b = job->b,
                             .pairs = {job->pairs[NF_NEGATIVE], job->pairs[NF_POSITIVE]}};
}

nf_status nf_anchored_run(nf_context *context, const nf_anchored_job *job, nf_loss_result *result) {
    nf_anchored run = {.job = job, .sets = job->a == job->b ? 1 : 2};
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
    write_class_sums(&run, factor);
    *result = made;
    return NF_OK;
}
