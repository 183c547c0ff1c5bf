#include "loss/user.h"

#include <math.h>
#include <string.h>

#include "loss/strip.h"

/* What a pass gathers, per block of rows, so that sums have one order. */
typedef struct nf_user_sums {
    double value[2], distance[2];
    uint64_t active[2], coincident;
} nf_user_sums;

/* Sides that share rows and metric. */
typedef struct nf_user_group {
    bool side[2], unit;
    nf_metric metric;
    nf_strip_set set[2];
    double *sum[2];
} nf_user_group;

typedef struct nf_user_state {
    const nf_tiled_job *job;
    nf_user_group group[2];
    int groups, sets;
    double coefficient[2]; /* of the slopes, at most 1 */
    const nf_user_group *now;
    nf_user_sums *block, total;
    nf_loss_result result;
} nf_user_state;

/* ---- the function on a strip ------------------------------------------------------------------- */

/* Widened t, values and slopes of a strip for a function that knows double only. */
static int call_widened(const nf_pair_function *function, int same, size_t n, const float *t,
                        float *value, float *slope) {
    enum { AT_ONCE = 64 };
    double wide[3][AT_ONCE];
    for (size_t first = 0; first < n; first += AT_ONCE) {
        const size_t count = nf_min_size(AT_ONCE, n - first);
        for (size_t k = 0; k < count; k++) wide[0][k] = (double)t[first + k];
        int failure = function->f64(function->user, same, count, wide[0], wide[1], wide[2]);
        if (failure != 0) return failure;
        for (size_t k = 0; k < count; k++) value[first + k] = (float)wide[1][k];
        for (size_t k = 0; k < count; k++) slope[first + k] = (float)wide[2][k];
    }
    return 0;
}

static int call_f32(const nf_pair_function *function, int same, size_t n, const float *t,
                    float *value, float *slope) {
    if (function->f32 == NULL) return call_widened(function, same, n, t, value, slope);
    return function->f32(function->user, same, n, t, value, slope);
}

static int call_f64(const nf_pair_function *function, int same, size_t n, const double *t,
                    double *value, double *slope) {
    return function->f64(function->user, same, n, t, value, slope);
}

int nf_user_term(const nf_pair_function *function, int same, double t, double *value,
                 double *slope) {
    if (function->f64 != NULL) return function->f64(function->user, same, 1, &t, value, slope);
    float narrow = (float)t, narrow_value, narrow_slope;
    int failure =
        function->f32(function->user, same, 1, &narrow, &narrow_value, &narrow_slope);
    *value = (double)narrow_value;
    *slope = (double)narrow_slope;
    return failure;
}

/* Sums in eight chains and a fixed order. Pairs that do not count are set to 0 by selection. */
#define DEFINE_RANGE(name, T, CALL)                                                            \
    static int name(const nf_user_state *state, int side, const nf_strip *strip, size_t row,   \
                    size_t first, size_t stop, nf_user_sums *sums) {                           \
        const size_t at = row * strip->ld + first, count = stop - first;                       \
        const T *t = (const T *)strip->t + at;                                                 \
        const unsigned char *skip = strip->skip != NULL ? strip->skip + at : NULL;             \
        T *slope = (T *)strip->slope + at, *value = (T *)strip->work;                          \
        int failure = CALL(state->job->loss->function, side, count, t, value, slope);          \
        if (failure != 0) return failure;                                                      \
        const T coefficient = (T)state->coefficient[side];                                     \
        for (size_t k = 0; k < count; k++) slope[k] *= coefficient;                            \
        double sum[8] = {0}, distance = 0;                                                     \
        for (size_t k = 0; skip != NULL && k < count; k++) {                                   \
            if (skip[k] != 0) value[k] = slope[k] = 0;                                         \
        }                                                                                      \
        uint64_t active = 0, coincident = 0;                                                   \
        for (size_t k = 0; k < count; k++) {                                                   \
            sum[k % 8] += (double)value[k];                                                    \
            active += value[k] > 0;                                                            \
            coincident += t[k] == 0 && (skip == NULL || skip[k] == 0);                         \
        }                                                                                      \
        for (size_t k = 0; state->job->loss->stats && k < count; k++) {                        \
            if (skip == NULL || skip[k] == 0) distance += (double)t[k];                        \
        }                                                                                      \
        for (size_t k = 4; k > 0; k /= 2) {                                                    \
            for (size_t l = 0; l < k; l++) sum[l] += sum[l + k];                               \
        }                                                                                      \
        sums->value[side] += sum[0];                                                           \
        sums->distance[side] += distance;                                                      \
        sums->active[side] += active;                                                          \
        if (side == NF_NEGATIVE && state->now->metric != NF_DOT) sums->coincident += coincident; \
        return 0;                                                                              \
    }

DEFINE_RANGE(range_f32, float, call_f32)
DEFINE_RANGE(range_f64, double, call_f64)

static int64_t class_at(nf_type type, const void *classes, size_t at) {
    return type == NF_FLOAT32 ? ((const int32_t *)classes)[at] : ((const int64_t *)classes)[at];
}

static int one_range(const nf_user_state *state, int side, const nf_strip *strip, size_t row,
                     size_t first, size_t stop, nf_user_sums *sums) {
    if (first == stop) return 0;
    if (!state->now->side[side]) {
        const size_t element = nf_type_size(strip->type);
        memset((unsigned char *)strip->slope + (row * strip->ld + first) * element, 0,
               (stop - first) * element);
        return 0;
    }
    return strip->type == NF_FLOAT32 ? range_f32(state, side, strip, row, first, stop, sums)
                                     : range_f64(state, side, strip, row, first, stop, sums);
}

/* Columns are in class order: the positives of a row are one range. */
static int user_strip(void *user, const nf_strip *strip) {
    nf_user_state *state = user;
    nf_user_sums *sums = &state->block[strip->block];
    int failure = 0;
    for (size_t r = 0; r < strip->rows && failure == 0; r++) {
        const int64_t own = class_at(strip->type, strip->row_class, r);
        size_t first = 0, stop;
        while (first < strip->cols && class_at(strip->type, strip->col_class, first) < own) first++;
        for (stop = first; stop < strip->cols; stop++) {
            if (class_at(strip->type, strip->col_class, stop) != own) break;
        }
        failure = one_range(state, NF_NEGATIVE, strip, r, 0, first, sums);
        if (failure == 0) failure = one_range(state, NF_POSITIVE, strip, r, first, stop, sums);
        if (failure == 0) failure = one_range(state, NF_NEGATIVE, strip, r, stop, strip->cols, sums);
    }
    return failure;
}

/* ---- passes ----------------------------------------------------------------------------------- */

static void choose_groups(nf_user_state *state) {
    const nf_loss *loss = state->job->loss;
    const bool together = loss->pos_metric == loss->neg_metric;
    state->groups = together ? 1 : 2;
    for (int g = 0; g < state->groups; g++) {
        const int side = g == 0 ? NF_NEGATIVE : NF_POSITIVE;
        nf_user_group *group = &state->group[g];
        group->metric = nf_term_metric(loss, side);
        group->unit = nf_term_unit(loss, side);
        group->side[side] = true;
        if (together) group->side[NF_POSITIVE] = true;
    }
}

static nf_status make_sets(nf_context *context, nf_user_state *state) {
    const nf_tiled_side *sides[2] = {state->job->a, state->job->b};
    nf_status status = NF_OK;
    for (int g = 0; g < state->groups; g++) {
        for (int s = 0; s < state->sets && status == NF_OK; s++) {
            nf_user_group *group = &state->group[g];
            status = nf_strip_set_make(context, sides[s], group->unit, &group->set[s]);
            if (status == NF_OK) {
                status =
                    nf_strip_sums(context, &group->set[s], sides[s]->gradient, &group->sum[s]);
            }
            if (g == 0 || !state->group[0].unit) {
                state->result.zero_rows += group->set[s].set.rows.zero_rows;
            }
        }
    }
    size_t blocks = nf_max_size(state->group[0].set[0].set.blocks,
                                state->group[0].set[1].set.blocks);
    if (status == NF_OK) {
        status = nf_scratch(context, &state->block, blocks, sizeof *state->block, "block sums");
    }
    return status;
}

/* Rows of set s against the other; its terms go to `total`, once per pair. */
static nf_status run_pass(nf_context *context, nf_user_state *state, nf_user_group *group, int s,
                          bool gradient, nf_user_sums *total) {
    const double once = state->sets == 1 ? 0.5 : 1; /* within a set every pair comes twice */
    const nf_loss *loss = state->job->loss;
    const nf_strip_set *own = &group->set[s], *other = &group->set[state->sets == 1 ? 0 : 1 - s];
    double reach = loss->function->radius > 0 && !loss->stats
                       ? nf_bounds_reach(group->metric, loss->function->radius)
                       : -1;
    nf_strip_pass pass = {.own = own,
                          .other = other,
                          .metric = group->metric,
                          .side = {group->side[0], group->side[1]},
                          .reach = reach,
                          .run = user_strip,
                          .user = state,
                          .sum = gradient ? group->sum[s] : NULL};
    memset(state->block, 0, own->set.blocks * sizeof *state->block);
    state->now = group;
    nf_status status = nf_strip_run(context, &pass);
    for (size_t b = 0; status == NF_OK && b < own->set.blocks; b++) {
        const nf_user_sums *part = &state->block[b];
        for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) {
            total->value[side] += once * part->value[side];
            total->distance[side] += once * part->distance[side];
            total->active[side] += part->active[side];
        }
        total->coincident += part->coincident;
    }
    state->result.tiles_total += pass.tiles;
    state->result.tiles_skipped += pass.tiles_skipped;
    return status;
}

/* Terms of all groups; with `gradient` also the gradient of set s. */
static nf_status run_passes(nf_context *context, nf_user_state *state, int s, bool gradient,
                            nf_user_sums *total) {
    nf_status status = NF_OK;
    *total = (nf_user_sums){0};
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

static nf_status choose_scales(nf_context *context, nf_user_state *state, double *common) {
    const nf_loss *loss = state->job->loss;
    const uint64_t *pairs = state->job->pairs;
    nf_user_sums counted = {0};
    double scale[2];
    if (loss->reduction == NF_REDUCE_MEAN_NONZERO) {
        nf_status status = run_passes(context, state, 0, false, &counted);
        if (status != NF_OK) return status;
    }
    nf_reduction_scales(loss->reduction, pairs, counted.active, (double)(pairs[0] + pairs[1]),
                        scale);
    *common = fmax(pairs[0] > 0 ? scale[0] : 0, pairs[1] > 0 ? scale[1] : 0);
    for (int side = 0; side < 2; side++) {
        state->coefficient[side] = *common > 0 && pairs[side] > 0 ? scale[side] / *common : 0;
    }
    *common *= loss->scale;
    return NF_OK;
}

static uint64_t work_of(const nf_user_state *state) {
    const nf_user_group *group = &state->group[0];
    uint64_t passes = state->job->loss->reduction == NF_REDUCE_MEAN_NONZERO ? 2 : 1;
    if (state->sets == 2 && group->sum[1] != NULL) passes++;
    return passes * (uint64_t)state->groups *
           nf_strip_work(&group->set[0], &group->set[state->sets - 1]);
}

/* The gradient of set s over all groups, finished, in *sum. */
static nf_status finish(nf_context *context, nf_user_state *state, int s, double common,
                        double **sum) {
    nf_status status = NF_OK;
    *sum = NULL;
    for (int g = 0; g < state->groups && status == NF_OK; g++) {
        nf_user_group *group = &state->group[g];
        status = nf_strip_finish(context, &group->set[s], common, group->sum[s]);
        if (group->sum[s] == NULL) continue;
        const size_t count = group->set[s].set.rows.count * group->set[s].stride;
        for (size_t k = 0; *sum != NULL && k < count; k++) (*sum)[k] += group->sum[s][k];
        if (*sum == NULL) *sum = group->sum[s];
    }
    return status;
}

static void fill_result(nf_user_state *state, double common) {
    const nf_user_sums *total = &state->total;
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

nf_status nf_user_run(nf_context *context, const nf_tiled_job *job, nf_loss_result *result) {
    nf_user_state state = {.job = job, .sets = job->a == job->b ? 1 : 2};
    nf_user_sums unused;
    double common = 0, *sum[2] = {NULL, NULL};
    if (job->a->x.type == NF_FLOAT64 && job->loss->function->f64 == NULL) {
        return nf_fail(context, NF_ERR_ARG,
                       "the function has no f64 and the rows are float64: give it one, or pass "
                       "float32");
    }
    choose_groups(&state);
    nf_status status = make_sets(context, &state);
    if (status == NF_OK) {
        nf_progress_start(context, work_of(&state));
        status = choose_scales(context, &state, &common);
    }
    if (status == NF_OK) status = run_passes(context, &state, 0, true, &state.total);
    if (status == NF_OK && state.sets == 2 && state.group[0].sum[1] != NULL) {
        status = run_passes(context, &state, 1, true, &unused);
    }
    const nf_tiled_side *sides[2] = {job->a, job->b};
    for (int s = 0; s < state.sets && status == NF_OK; s++) {
        status = finish(context, &state, s, common, &sum[s]);
        if (status == NF_OK) status = nf_strip_check_gradient(context, sides[s], sum[s]);
    }
    if (status != NF_OK) return status;
    fill_result(&state, common);
    if (!isfinite(state.result.value)) {
        return nf_fail(context, NF_ERR_RANGE, "the loss is not finite: the pair function's values "
                                              "exceed what their type can hold");
    }
    for (int s = 0; s < state.sets; s++) nf_strip_write_gradient(sides[s], sum[s]);
    *result = state.result;
    return NF_OK;
}
