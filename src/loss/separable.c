#include "loss/separable.h"

#include <math.h>
#include <string.h>

static void choose_groups(nf_separable *state) {
    const nf_loss *loss = state->job->loss;
    const bool together = loss->pos_metric == loss->neg_metric;
    state->groups = together ? 1 : 2;
    for (int g = 0; g < state->groups; g++) {
        const int side = g == 0 ? NF_NEGATIVE : NF_POSITIVE;
        nf_separable_group *group = &state->group[g];
        group->metric = nf_term_metric(loss, side);
        group->unit = nf_term_unit(loss, side);
        group->side[side] = true;
        if (together) group->side[NF_POSITIVE] = true;
    }
}

static nf_status make_sets(nf_context *context, nf_separable *state) {
    const nf_tiled_side *sides[2] = {state->job->a, state->job->b};
    nf_status status = NF_OK;
    for (int g = 0; g < state->groups; g++) {
        for (int s = 0; s < 2 && s < state->sets && status == NF_OK; s++) {
            nf_separable_group *group = &state->group[g];
            status = nf_strip_set_make(context, sides[s], group->unit, state->job->loss->fast != 0,
                                       &group->set[s]);
            if (g == 0 || !state->group[0].unit) {
                state->result.zero_rows += group->set[s].set.rows.zero_rows;
            }
        }
    }
    size_t blocks =
        nf_max_size(state->group[0].set[0].set.blocks, state->group[0].set[1].set.blocks);
    if (status == NF_OK) {
        status = nf_scratch(context, &state->block, blocks, sizeof *state->block, "block sums");
    }
    return status;
}

/* Rows of set s against the other; its terms go to `total`, once per pair. */
static nf_status run_pass(nf_context *context, nf_separable *state, nf_separable_group *group,
                          int s, bool gradient, nf_separable_sums *total) {
    const double once = state->sets == 1 ? 0.5 : 1; /* within a set every pair comes twice */
    const nf_loss *loss = state->job->loss;
    nf_strip_set *own = &group->set[s], *other = &group->set[state->sets == 1 ? 0 : 1 - s];
    double reach =
        state->radius > 0 && !loss->stats ? nf_bounds_reach(group->metric, state->radius) : -1;
    nf_strip_pass pass = {.own = own,
                          .other = other,
                          .metric = group->metric,
                          .side = {group->side[0], group->side[1]},
                          .reach = reach,
                          .anywhere = state->anywhere,
                          .once = state->once && state->sets == 1,
                          .run = state->run,
                          .user = state,
                          .gradient = gradient && own->set.sum != NULL};
    memset(state->block, 0, own->set.blocks * sizeof *state->block);
    state->now = group;
    state->own = s;
    nf_status status = nf_strip_run(context, &pass);
    for (size_t b = 0; status == NF_OK && b < own->set.blocks; b++) {
        const nf_separable_sums *part = &state->block[b];
        for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) {
            total->value[side] += once * part->value[side];
            total->distance[side] += once * part->distance[side];
            total->mass[side] += once * part->mass[side];
            total->active[side] += part->active[side];
        }
        total->coincident += part->coincident;
    }
    state->result.tiles_total += pass.tiles;
    state->result.tiles_skipped += pass.tiles_skipped;
    state->result.updates_total += pass.updates;
    state->result.updates_skipped += pass.updates_skipped;
    return status;
}

/* Terms of all groups; with `gradient` also the gradient of set s. */
static nf_status run_passes(nf_context *context, nf_separable *state, int s, bool gradient,
                            nf_separable_sums *total) {
    nf_status status = NF_OK;
    *total = (nf_separable_sums){0};
    for (int g = 0; g < state->groups && status == NF_OK; g++) {
        status = run_pass(context, state, &state->group[g], s, gradient, total);
    }
    if (state->sets == 1) {
        total->active[0] /= 2;
        total->active[1] /= 2;
        total->coincident /= 2;
    }
    return status;
}

static nf_status choose_scales(nf_context *context, nf_separable *state, double *common) {
    const nf_loss *loss = state->job->loss;
    nf_separable_sums counted = {0};
    double scale[2];
    if (loss->reduction == NF_REDUCE_MEAN_NONZERO) {
        nf_status status = run_passes(context, state, 0, false, &counted);
        if (status != NF_OK) return status;
    }
    const double *mass = state->mass;
    nf_reduction_scales_by_mass(loss, mass, state->pairs, counted.mass, state->weight, scale);
    *common = fmax(mass[0] > 0 ? scale[0] : 0, mass[1] > 0 ? scale[1] : 0);
    for (int side = 0; side < 2; side++) {
        state->coefficient[side] = *common > 0 && mass[side] > 0 ? scale[side] / *common : 0;
    }
    *common *= loss->scale;
    return NF_OK;
}

static uint64_t work_of(const nf_separable *state) {
    const nf_separable_group *group = &state->group[0];
    uint64_t passes = state->job->loss->reduction == NF_REDUCE_MEAN_NONZERO ? 2 : 1;
    if (state->sets == 2 && group->set[1].set.sum != NULL) passes++;
    return passes * (uint64_t)state->groups *
           nf_strip_work(&group->set[0], &group->set[state->sets - 1],
                         state->once && state->sets == 1);
}

/* The gradient of set s over all groups, finished, in *sum. */
static nf_status finish(nf_context *context, nf_separable *state, int s, double common,
                        double **sum) {
    nf_status status = NF_OK;
    *sum = NULL;
    for (int g = 0; g < state->groups && status == NF_OK; g++) {
        const nf_separable_group *group = &state->group[g];
        const nf_pass_set *set = &group->set[s].set;
        status = nf_strip_finish(context, &group->set[s], group->metric, common);
        const size_t count = set->sum != NULL ? set->rows.count * set->rows.x.cols : 0;
        for (size_t k = 0; *sum != NULL && k < count; k++) (*sum)[k] += set->sum[k];
        if (*sum == NULL) *sum = set->sum;
    }
    return status;
}

static void fill_result(nf_separable *state, double common) {
    const nf_separable_sums *total = &state->total;
    const uint64_t *pairs = state->job->pairs;
    nf_loss_result *result = &state->result;
    result->value = common * (state->coefficient[0] * total->value[0] +
                              state->coefficient[1] * total->value[1]);
    result->positive_pairs = pairs[NF_POSITIVE];
    result->negative_pairs = pairs[NF_NEGATIVE];
    result->active_negative = total->active[NF_NEGATIVE];
    result->coincident_negatives = total->coincident;
    if (!state->job->loss->stats) return;
    result->has_stats = 1;
    result->active_positive = total->active[NF_POSITIVE];
    if (pairs[1] > 0) result->mean_positive_distance = total->distance[1] / (double)pairs[1];
    if (pairs[0] > 0) result->mean_negative_distance = total->distance[0] / (double)pairs[0];
}

nf_status nf_separable_run(nf_context *context, nf_separable *state, nf_loss_result *result) {
    const nf_tiled_job *job = state->job;
    state->sets = job->a == job->b ? 1 : 2;
    nf_separable_sums unused;
    double common = 0, *sum[2] = {NULL, NULL};
    choose_groups(state);
    nf_status status = make_sets(context, state);
    if (status == NF_OK) {
        nf_progress_start(context, work_of(state));
        status = choose_scales(context, state, &common);
    }
    if (status == NF_OK) status = run_passes(context, state, 0, true, &state->total);
    if (status == NF_OK && state->sets == 2 && state->group[0].set[1].set.sum != NULL) {
        status = run_passes(context, state, 1, true, &unused);
    }
    const nf_tiled_side *sides[2] = {job->a, job->b};
    for (int s = 0; s < 2 && s < state->sets && status == NF_OK; s++) {
        status = finish(context, state, s, common, &sum[s]);
        if (status == NF_OK) status = nf_strip_check_gradient(context, sides[s], sum[s]);
    }
    if (status != NF_OK) return status;
    fill_result(state, common);
    if (!isfinite(state->result.value)) {
        return nf_fail(context, NF_ERR_RANGE,
                       "the loss is not finite: values of its terms exceed "
                       "what their type can hold");
    }
    for (int s = 0; s < 2 && s < state->sets; s++) nf_strip_write_gradient(sides[s], sum[s]);
    *result = state->result;
    return NF_OK;
}
