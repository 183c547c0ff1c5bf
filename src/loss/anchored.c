#include "loss/anchored.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "distance/gram.h"
#include "loss/anchored_gradient.h"
#include "loss/row_terms.h"

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
    unsigned char *scratch = nf_anchored_scratch(run, worker);
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

/* ---- the run ---------------------------------------------------------------------------------- */

static nf_status begin(nf_context *context, nf_anchored *run, nf_loss_result *result) {
    nf_status status = NF_OK;
    for (int s = 0; s < run->sets && status == NF_OK; s++) {
        const nf_tiled_side *side = nf_anchored_side(run, s);
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
    run->columns = nf_anchored_side(run, run->sets - 1)->count;
    run->chunks = (run->columns + NF_PANEL_COLUMNS - 1) / NF_PANEL_COLUMNS;
    if (status == NF_OK && run->gradient) status = nf_anchored_begin_gradients(context, run);
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
        if (status == NF_OK && run->gradient) status = nf_anchored_update(context, run);
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
    status = nf_anchored_finish_gradients(context, &run, factor * nf_pass_factor(job->metric));
    if (status != NF_OK) return status;
    nf_anchored_write_gradients(&run);
    write_terms(&run);
    write_class_sums(&run, factor);
    *result = made;
    return NF_OK;
}
