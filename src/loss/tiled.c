#include "loss/tiled.h"

#include <math.h>
#include <string.h>

#include "distance/gram.h"
#include "loss/bounds.h"
#include "loss/closed.h"
#include "loss/cluster.h"
#include "loss/gradient.h"

/* The sides that share rows and kernel run in one pass. */
typedef struct nf_group {
    bool side[2];
    bool unit;
    nf_pass_set set[2];
} nf_group;

typedef struct nf_tiled_state {
    const nf_tiled_job *job;
    nf_group group[2];
    int groups, sets; /* sets: 1 within one set, else 2 */
    size_t *block[2], blocks[2];
    double *sum[2]; /* gradients of each set over `factor`, in double, engine order */
    double factor;
    double coefficient[2]; /* per side, at most 1, times `common` */
    double common;
    double phi; /* in units of common */
    bool closed;
    nf_loss_result result;
} nf_tiled_state;

#define NF_FEW_BLOCKS 8

static const nf_tiled_side *side_of(const nf_tiled_state *state, int s) {
    return s == 0 ? state->job->a : state->job->b;
}

/* Rows from which on a class has blocks of its own. */
static size_t own_blocks(const nf_tiled_side *side) { return 2 * nf_pass_block_rows(side->x.cols); }

/* The end of the class that starts at `first`. */
static size_t class_end(const nf_tiled_side *side, size_t first) {
    size_t stop = first + 1;
    while (stop < side->count && side->class_of[stop] == side->class_of[first]) stop++;
    return stop;
}

/* Rows of a block: fewer where there would be too few blocks for threads to share. */
static size_t rows_of_block(const nf_tiled_side *side) {
    const size_t rows = nf_pass_block_rows(side->x.cols);
    return side->count >= 2 * rows && side->count < NF_FEW_BLOCKS * rows ? rows / 2 : rows;
}

/* Blocks of at most `rows`; a large class has its own, of equal lengths, so that its inner tiles hold
 * positives only. Depends on labels and d only. */
static nf_status cut_blocks(nf_context *context, const nf_tiled_side *side, size_t **block,
                            size_t *blocks) {
    const size_t rows = rows_of_block(side), n = side->count;
    nf_status status = nf_scratch(context, block, 3 * (n / rows) + 3, sizeof(size_t), "blocks");
    if (status != NF_OK) return status;
    size_t count = 0, start = 0;
    for (size_t first = 0, stop; first < n; first = stop) {
        stop = class_end(side, first);
        if (stop - first >= own_blocks(side)) {
            if (first > start) (*block)[count++] = start;
            const size_t own = nf_cluster_block(stop - first, rows);
            for (start = first; start < stop; start += own) (*block)[count++] = start;
            start = stop;
        }
        for (; stop - start >= rows; start += rows) (*block)[count++] = start;
    }
    if (start < n) (*block)[count++] = start;
    (*block)[count] = n;
    *blocks = count;
    return NF_OK;
}

/* Rows of large classes in an order that keeps near rows together, where nearness counts. It depends
 * on rows, labels and loss only: never on what is going to be skipped. */
static nf_status cluster_rows(nf_context *context, const nf_loss *loss, nf_tiled_side *side) {
    const size_t rows = nf_pass_block_rows(side->x.cols), n = side->count;
    size_t *order, largest = 0;
    int64_t *ids = NULL;
    double *key;
    if (nf_bounds_reach(loss->neg_metric, loss->neg_margin) < 0 || side->x.cols == 0) return NF_OK;
    for (size_t first = 0, stop; first < n; first = stop) {
        stop = class_end(side, first);
        largest = nf_max_size(largest, stop - first);
    }
    if (largest < own_blocks(side) || largest == n) return NF_OK;
    nf_status status = nf_scratch(context, &order, n, sizeof *order, "row order");
    if (status == NF_OK && side->ids != NULL) {
        status = nf_scratch(context, &ids, n, sizeof *ids, "row ids");
    }
    if (status == NF_OK) status = nf_scratch(context, &key, largest, sizeof *key, "row places");
    if (status != NF_OK) return status;
    memcpy(order, side->order, n * sizeof *order);
    if (ids != NULL) memcpy(ids, side->ids, n * sizeof *ids);
    for (size_t first = 0, stop; first < n; first = stop) {
        stop = class_end(side, first);
        if (stop - first < own_blocks(side)) continue;
        nf_cluster_class(context, side->x, order, ids, first, stop - first,
                         nf_cluster_block(stop - first, rows), key);
    }
    side->order = order;
    if (ids != NULL) side->ids = ids;
    return NF_OK;
}

static void choose_groups(nf_tiled_state *state) {
    const nf_loss *loss = state->job->loss;
    bool together = nf_metric_family(loss->pos_metric) == nf_metric_family(loss->neg_metric) &&
                    nf_term_unit(loss, NF_POSITIVE) == nf_term_unit(loss, NF_NEGATIVE);
    state->groups = together ? 1 : 2;
    state->group[0].side[NF_NEGATIVE] = true;
    state->group[0].side[NF_POSITIVE] = together;
    state->group[0].unit = nf_term_unit(loss, NF_NEGATIVE);
    state->group[1].side[NF_POSITIVE] = true;
    state->group[1].unit = nf_term_unit(loss, NF_POSITIVE);
}

static nf_status make_sets(nf_context *context, nf_tiled_state *state, nf_group *group) {
    for (int s = 0; s < state->sets; s++) {
        const nf_tiled_side *side = side_of(state, s);
        nf_pass_set *set = &group->set[s];
        *set = (nf_pass_set){.rows = {.x = side->x, .order = side->order, .count = side->count},
                             .class_of = side->class_of,
                             .ids = side->ids,
                             .blocks = state->blocks[s],
                             .block = state->block[s]};
        nf_status status = NF_OK;
        if (group->unit) status = nf_rows_make_unit(context, &set->rows);
        if (status == NF_OK && state->job->loss->fast) {
            status = nf_gram_make_norms(context, &set->rows, side->x.type);
        }
        if (status != NF_OK) return status;
        if (!group->unit) continue;
        if (group == &state->group[0] || !state->group[0].unit) {
            state->result.zero_rows += set->rows.zero_rows;
        }
    }
    return NF_OK;
}

static bool side_has_terms(const nf_tiled_state *state, int side) {
    return state->job->pairs[side] > 0 && state->coefficient[side] > 0;
}

/* A pass of one group with the given sides. */
static nf_status run_pass(nf_context *context, nf_tiled_state *state, nf_group *group,
                          const bool on[2], const double coefficient[2], bool prune,
                          nf_pass *pass) {
    const nf_loss *loss = state->job->loss;
    *pass = (nf_pass){.metric = {loss->neg_metric, loss->pos_metric},
                      .a = &group->set[0],
                      .b = &group->set[state->sets - 1],
                      .prune = prune};
    pass->contrast.unmeasured = prune;
    bool any = false;
    for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) {
        pass->contrast.side[side] = nf_term_side(loss, side, 1);
        pass->contrast.side[side].coefficient = coefficient[side];
        pass->contrast.side[side].on = on[side] && group->side[side];
        any |= pass->contrast.side[side].on;
    }
    return any ? nf_pass_run(context, pass) : NF_OK;
}

/* Active counts and distances of the given sides, without gradients. */
static nf_status count_sides(nf_context *context, nf_tiled_state *state, const bool on[2],
                             nf_contrast_sums *sums) {
    const double ones[2] = {1, 1};
    nf_status status = NF_OK;
    for (int g = 0; g < state->groups && status == NF_OK; g++) {
        nf_group group = state->group[g];
        group.set[0].sum = group.set[1].sum = NULL;
        nf_pass pass;
        status = run_pass(context, state, &group, on, ones, !state->job->loss->stats, &pass);
        for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) {
            if (!on[side] || !group.side[side]) continue;
            sums->active[side] = pass.sums.active[side];
            sums->distance[side] = pass.sums.distance[side];
        }
    }
    return status;
}

static nf_status choose_scales(nf_context *context, nf_tiled_state *state) {
    const nf_loss *loss = state->job->loss;
    const uint64_t *pairs = state->job->pairs;
    nf_contrast_sums counted = {0};
    if (loss->reduction == NF_REDUCE_MEAN_NONZERO) {
        const bool both[2] = {pairs[0] > 0, pairs[1] > 0};
        nf_status status = count_sides(context, state, both, &counted);
        if (status != NF_OK) return status;
    }
    double scale[2];
    nf_reduction_scales(loss, pairs, counted.active, (double)(pairs[0] + pairs[1]), scale);
    for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) {
        state->coefficient[side] = nf_term_side(loss, side, scale[side]).coefficient;
        if (pairs[side] == 0) state->coefficient[side] = 0;
        state->common = fmax(state->common, state->coefficient[side]);
    }
    for (int side = NF_NEGATIVE; state->common > 0 && side <= NF_POSITIVE; side++) {
        state->coefficient[side] /= state->common;
    }
    return NF_OK;
}

/* ---- gradients -------------------------------------------------------------------------------- */

static nf_status make_sums(nf_context *context, const nf_tiled_state *state, nf_group *group) {
    for (int s = 0; s < state->sets; s++) {
        const nf_tiled_side *side = side_of(state, s);
        const size_t d = side->x.cols;
        if (side->gradient.data == NULL) continue;
        nf_status status = nf_scratch(context, &group->set[s].sum, side->count, d * sizeof(double),
                                      "gradient sums");
        if (status != NF_OK) return status;
    }
    return NF_OK;
}

static void clear_sums(const nf_tiled_state *state, nf_group *group) {
    for (int s = 0; s < state->sets; s++) {
        nf_pass_set *set = &group->set[s];
        if (set->sum != NULL)
            memset(set->sum, 0, set->rows.count * set->rows.x.cols * sizeof(double));
    }
}

/* Sums of a group to gradients with respect to x, added to the total. A single group of rows as they
 * are is left to the last step, which rounds. */
static nf_status finish_group(nf_context *context, nf_tiled_state *state, nf_group *group) {
    int some_side = group->side[NF_NEGATIVE] ? NF_NEGATIVE : NF_POSITIVE;
    nf_metric metric = nf_term_metric(state->job->loss, some_side);
    const double factor = state->common * nf_pass_factor(metric);
    double *u;
    if (state->groups == 1 && !group->unit) {
        for (int s = 0; s < state->sets; s++) state->sum[s] = group->set[s].sum;
        state->factor = factor;
        return NF_OK;
    }
    state->factor = 1;
    nf_status status = nf_scratch(context, &u, state->job->a->x.cols, sizeof *u, "unit row");
    if (status != NF_OK) return status;
    for (int s = 0; s < state->sets; s++) {
        nf_pass_set *set = &group->set[s];
        if (set->sum == NULL) continue;
        const size_t d = set->rows.x.cols;
        for (size_t r = 0; r < set->rows.count; r++) {
            double *row = set->sum + r * d;
            for (size_t k = 0; k < d; k++) row[k] *= factor;
            if (group->unit) nf_gradient_through_unit(&set->rows, r, row, u);
            if (state->sum[s] == NULL) continue;
            for (size_t k = 0; k < d; k++) state->sum[s][r * d + k] += row[k];
        }
        if (state->sum[s] == NULL) state->sum[s] = set->sum;
    }
    return NF_OK;
}

/* The first row with a gradient that its type cannot hold. */
static size_t row_out_of_range(const nf_tiled_side *side, const void *gradient) {
    const size_t d = side->x.cols;
    for (size_t i = 0; i < side->count * d; i++) {
        const double own = side->x.type == NF_FLOAT32 ? (double)((const float *)gradient)[i]
                                                      : ((const double *)gradient)[i];
        if (!isfinite(own)) return side->order[i / d];
    }
    return 0;
}

/* Gradients in their type, one row after the other, where their sums were. */
static nf_status round_gradients(nf_context *context, const nf_tiled_state *state) {
    for (int s = 0; s < state->sets; s++) {
        const nf_tiled_side *side = side_of(state, s);
        const size_t count = side->count * side->x.cols, bytes = count * nf_type_size(side->x.type);
        double *sum = state->sum[s];
        if (sum == NULL) continue;
        if (!nf_kernels_get(context, side->x.type)->narrow(sum, sum, state->factor, count)) {
            return nf_gradient_range_error(context, "the gradient", side->x.type,
                                           row_out_of_range(side, sum));
        }
        /* Its output may need as many pages now. */
        nf_scratch_forget(context, (char *)sum + bytes, count * sizeof(double) - bytes);
    }
    return NF_OK;
}

static void write_gradients(const nf_tiled_state *state) {
    for (int s = 0; s < state->sets; s++) {
        const nf_tiled_side *side = side_of(state, s);
        if (side->gradient.data == NULL) continue;
        const size_t row = side->x.cols * nf_type_size(side->x.type);
        const char *gradient = (const char *)state->sum[s];
        for (size_t r = 0; side->count < side->x.rows && r < side->x.rows; r++) {
            memset(nf_matrix_out_row(side->gradient, r), 0, row);
        }
        for (size_t r = 0; r < side->count; r++) {
            memcpy(nf_matrix_out_row(side->gradient, side->order[r]), gradient + r * row, row);
        }
    }
}

/* Progress counts every pass there can be at most, so that it never goes back. */
static void start_progress(nf_context *context, const nf_tiled_state *state) {
    const nf_group *group = &state->group[0];
    uint64_t passes = (uint64_t)state->groups;
    if (state->job->loss->reduction == NF_REDUCE_MEAN_NONZERO) passes += (uint64_t)state->groups;
    if (state->job->loss->stats && state->closed) passes++;
    nf_progress_start(context, passes * nf_pass_work(&group->set[0], &group->set[state->sets - 1]));
}

/* ---- the run ---------------------------------------------------------------------------------- */

static void take_sums(nf_tiled_state *state, const nf_group *group, const nf_pass *pass) {
    nf_loss_result *result = &state->result;
    result->tiles_total += pass->tiles;
    result->tiles_skipped += pass->tiles_skipped;
    result->updates_total += pass->updates;
    result->updates_skipped += pass->updates_skipped;
    result->coincident_negatives += pass->sums.coincident;
    for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) {
        if (!group->side[side] || !side_has_terms(state, side)) continue;
        state->phi += pass->sums.phi[side];
    }
}

static nf_status run_group(nf_context *context, nf_tiled_state *state, nf_group *group,
                           nf_contrast_sums *sums) {
    const bool on[2] = {side_has_terms(state, NF_NEGATIVE),
                        side_has_terms(state, NF_POSITIVE) && !state->closed};
    nf_status status = make_sums(context, state, group);
    if (status == NF_OK && state->closed && group->side[NF_POSITIVE] &&
        side_has_terms(state, NF_POSITIVE)) {
        double phi;
        status =
            nf_closed_positives(context, &group->set[0], state->coefficient[NF_POSITIVE], &phi);
        state->phi += phi;
    } else if (status == NF_OK) {
        clear_sums(state, group);
    }
    nf_pass pass;
    if (status == NF_OK) {
        status = run_pass(context, state, group, on, state->coefficient, !state->job->loss->stats,
                          &pass);
    }
    if (status != NF_OK) return status;
    take_sums(state, group, &pass);
    for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) {
        if (!on[side] || !group->side[side]) continue;
        sums->active[side] = pass.sums.active[side];
        sums->distance[side] = pass.sums.distance[side];
    }
    return finish_group(context, state, group);
}

/* Statistics of the sides whose distances the loss did not need take a forward pass of their own. */
static nf_status fill_statistics(nf_context *context, nf_tiled_state *state,
                                 nf_contrast_sums *sums) {
    const nf_loss *loss = state->job->loss;
    const uint64_t *pairs = state->job->pairs;
    nf_loss_result *result = &state->result;
    if (loss->stats) {
        const bool missing[2] = {pairs[0] > 0 && !side_has_terms(state, NF_NEGATIVE),
                                 pairs[1] > 0 &&
                                     (state->closed || !side_has_terms(state, NF_POSITIVE))};
        nf_status status = NF_OK;
        if (missing[0] || missing[1]) status = count_sides(context, state, missing, sums);
        if (status != NF_OK) return status;
        result->has_stats = 1;
        result->active_positive = loss->pos_weight > 0 ? sums->active[NF_POSITIVE] : 0;
        if (pairs[NF_POSITIVE] > 0) {
            result->mean_positive_distance =
                sums->distance[NF_POSITIVE] / (double)pairs[NF_POSITIVE];
        }
        if (pairs[NF_NEGATIVE] > 0) {
            result->mean_negative_distance =
                sums->distance[NF_NEGATIVE] / (double)pairs[NF_NEGATIVE];
        }
    }
    result->active_negative = loss->neg_weight > 0 ? sums->active[NF_NEGATIVE] : 0;
    return NF_OK;
}

nf_status nf_tiled_run(nf_context *context, const nf_tiled_job *job, nf_loss_result *result) {
    nf_tiled_state state = {.job = job, .sets = job->a == job->b ? 1 : 2};
    nf_contrast_sums sums = {0};
    nf_status status = NF_OK;
    choose_groups(&state);
    for (int s = 0; s < state.sets && status == NF_OK; s++) {
        status = cluster_rows(context, job->loss, s == 0 ? job->a : job->b);
        if (status != NF_OK) break;
        status = cut_blocks(context, side_of(&state, s), &state.block[s], &state.blocks[s]);
    }
    for (int g = 0; g < state.groups && status == NF_OK; g++) {
        status = make_sets(context, &state, &state.group[g]);
    }
    state.closed = state.sets == 1 && nf_closed_applies(job->loss);
    if (status == NF_OK) {
        start_progress(context, &state);
        status = choose_scales(context, &state);
    }
    for (int g = 0; g < state.groups && status == NF_OK; g++) {
        status = run_group(context, &state, &state.group[g], &sums);
    }
    if (status == NF_OK) status = fill_statistics(context, &state, &sums);
    if (status != NF_OK) return status;

    state.result.value = state.common * state.phi;
    state.result.positive_pairs = job->pairs[NF_POSITIVE];
    state.result.negative_pairs = job->pairs[NF_NEGATIVE];
    if (!isfinite(state.result.value)) {
        return nf_fail(context, NF_ERR_RANGE,
                       "the loss is not finite: distances or margins reach a power the type cannot "
                       "hold; scale the data down%s",
                       job->a->x.type == NF_FLOAT32 ? ", or pass float64" : "");
    }
    status = round_gradients(context, &state);
    if (status != NF_OK) return status;
    write_gradients(&state);
    *result = state.result;
    return NF_OK;
}
