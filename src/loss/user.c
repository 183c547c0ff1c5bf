#include "loss/user.h"

#include <math.h>
#include <string.h>

#include "loss/separable.h"

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
    int failure = function->f32(function->user, same, 1, &narrow, &narrow_value, &narrow_slope);
    *value = (double)narrow_value;
    *slope = (double)narrow_slope;
    return failure;
}

/* Sums in eight chains and a fixed order. Pairs that do not count are set to 0 by selection. */
#define DEFINE_RANGE(name, T, CALL)                                                              \
    static int name(const nf_separable *state, int side, const nf_strip *strip, size_t row,      \
                    size_t first, size_t stop, nf_separable_sums *sums) {                        \
        const size_t at = row * strip->ld + first, count = stop - first;                         \
        const T *t = (const T *)strip->t + at;                                                   \
        const unsigned char *skip = strip->skip != NULL ? strip->skip + at : NULL;               \
        T *slope = (T *)strip->slope + at, *value = (T *)strip->work;                            \
        int failure = CALL(state->job->loss->function, side, count, t, value, slope);            \
        if (failure != 0) return failure;                                                        \
        const T coefficient = (T)state->coefficient[side];                                       \
        for (size_t k = 0; k < count; k++) slope[k] *= coefficient;                              \
        double sum[8] = {0}, distance = 0;                                                       \
        for (size_t k = 0; skip != NULL && k < count; k++) {                                     \
            if (skip[k] != 0) value[k] = slope[k] = 0;                                           \
        }                                                                                        \
        uint64_t active = 0, coincident = 0;                                                     \
        for (size_t k = 0; k < count; k++) {                                                     \
            sum[k % 8] += (double)value[k];                                                      \
            active += value[k] > 0;                                                              \
            coincident += t[k] == 0 && (skip == NULL || skip[k] == 0);                           \
        }                                                                                        \
        for (size_t k = 0; state->job->loss->stats && k < count; k++) {                          \
            if (skip == NULL || skip[k] == 0) distance += (double)t[k];                          \
        }                                                                                        \
        for (size_t k = 4; k > 0; k /= 2) {                                                      \
            for (size_t l = 0; l < k; l++) sum[l] += sum[l + k];                                 \
        }                                                                                        \
        sums->value[side] += sum[0];                                                             \
        sums->distance[side] += distance;                                                        \
        sums->mass[side] += (double)active;                                                      \
        sums->active[side] += active;                                                            \
        if (side == NF_NEGATIVE && state->now->metric != NF_DOT) sums->coincident += coincident; \
        return 0;                                                                                \
    }

DEFINE_RANGE(range_f32, float, call_f32)
DEFINE_RANGE(range_f64, double, call_f64)

static int one_range(const nf_separable *state, int side, const nf_strip *strip, size_t row,
                     size_t first, size_t stop, nf_separable_sums *sums) {
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

/* Sums of a strip, `times` for the ends that its pairs are met from. */
static void add_sums(nf_separable_sums *total, const nf_separable_sums *part, unsigned times) {
    for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) {
        total->value[side] += times * part->value[side];
        total->distance[side] += times * part->distance[side];
        total->mass[side] += times * part->mass[side];
        total->active[side] += times * part->active[side];
    }
    total->coincident += times * part->coincident;
}

static int user_strip(void *user, const nf_strip *strip) {
    nf_separable *state = user;
    nf_separable_sums sums = {0};
    int failure = 0;
    for (size_t r = 0; r < strip->rows && failure == 0; r++) {
        size_t first, stop;
        nf_strip_positives(strip, r, &first, &stop);
        failure = one_range(state, NF_NEGATIVE, strip, r, 0, first, &sums);
        if (failure == 0) failure = one_range(state, NF_POSITIVE, strip, r, first, stop, &sums);
        if (failure == 0)
            failure = one_range(state, NF_NEGATIVE, strip, r, stop, strip->cols, &sums);
    }
    add_sums(&state->block[strip->block], &sums, strip->mirrored ? 2 : 1);
    return failure;
}

nf_status nf_user_run(nf_context *context, const nf_tiled_job *job, nf_loss_result *result) {
    const nf_pair_function *function = job->loss->function;
    if (job->a->x.type == NF_FLOAT64 && function->f64 == NULL) {
        return nf_fail(context, NF_ERR_ARG,
                       "the function has no f64 and the rows are float64: give it one, or pass "
                       "float32");
    }
    const uint64_t *pairs = job->pairs;
    nf_separable state = {.job = job,
                          .run = user_strip,
                          .once = true,
                          .radius = function->radius,
                          .mass = {(double)pairs[0], (double)pairs[1]},
                          .pairs = (double)(pairs[0] + pairs[1]),
                          .weight = (double)(pairs[0] + pairs[1])};
    return nf_separable_run(context, &state, result);
}
