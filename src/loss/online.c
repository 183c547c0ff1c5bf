#include "loss/online.h"

#include <math.h>

#include "loss/user.h"

/* ---- the choice ------------------------------------------------------------------------------- */

nf_online_range nf_online_no_range(void) {
    return (nf_online_range){.nearest_negative = INFINITY, .farthest_positive = -INFINITY};
}

void nf_online_see(nf_online_range *range, int side, double t) {
    if (side == NF_POSITIVE && t > range->farthest_positive) range->farthest_positive = t;
    if (side == NF_NEGATIVE && t < range->nearest_negative) range->nearest_negative = t;
    range->sum[side] += t;
    range->count[side]++;
}

void nf_online_add(nf_online_range *total, const nf_online_range *part, unsigned times) {
    total->nearest_negative = fmin(total->nearest_negative, part->nearest_negative);
    total->farthest_positive = fmax(total->farthest_positive, part->farthest_positive);
    for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) {
        total->sum[side] += times * part->sum[side];
        total->count[side] += times * part->count[side];
    }
}

/* Values and slopes of hard pairs, selected: the slope at the margin, and at 0, is 0. */
#define DEFINE_TERMS(name, T)                                                              \
    static int name(void *user, int same, size_t n, const T *t, T *value, T *slope) {      \
        const nf_online *online = user;                                                    \
        const T margin = (T)online->margin;                                                \
        for (size_t k = 0; same != 0 && k < n; k++) {                                      \
            const T z = (double)t[k] > online->above ? t[k] : 0;                           \
            value[k] = z * z;                                                              \
            slope[k] = 2 * z;                                                              \
        }                                                                                  \
        for (size_t k = 0; same == 0 && k < n; k++) {                                      \
            const T z = (double)t[k] < online->below && t[k] < margin ? margin - t[k] : 0; \
            value[k] = z * z;                                                              \
            slope[k] = -2 * z;                                                             \
        }                                                                                  \
        return 0;                                                                          \
    }

DEFINE_TERMS(terms_f32, float)
DEFINE_TERMS(terms_f64, double)

/* A side without the other is judged by its own mean. */
void nf_online_choose(const nf_loss *loss, const nf_online_range *range, nf_online *online) {
    const uint64_t *count = range->count;
    online->above = range->nearest_negative;
    online->below = range->farthest_positive;
    if (count[NF_NEGATIVE] == 0 && count[NF_POSITIVE] > 0) {
        online->above = range->sum[NF_POSITIVE] / (double)count[NF_POSITIVE];
    }
    if (count[NF_POSITIVE] == 0 && count[NF_NEGATIVE] > 0) {
        online->below = range->sum[NF_NEGATIVE] / (double)count[NF_NEGATIVE];
    }
    online->margin = loss->neg_margin;
    /* No negative has a term from here on; 0 promises nothing. */
    const double radius = fmin(online->below, online->margin);
    online->function = (nf_pair_function){.f32 = terms_f32,
                                          .f64 = terms_f64,
                                          .user = online,
                                          .radius = radius > 0 && isfinite(radius) ? radius : 0};
    online->loss = *loss;
    online->loss.kind = NF_KIND_USER;
    online->loss.neg_margin = 0;
    online->loss.function = &online->function;
}

/* ---- all pairs -------------------------------------------------------------------------------- */

/* Distances [first, stop) of a row, all of one side. */
static void see_range(nf_online_range *range, int side, const nf_strip *strip, size_t row,
                      size_t first, size_t stop) {
    for (size_t c = first; c < stop; c++) {
        const size_t at = row * strip->ld + c;
        if (strip->skip != NULL && strip->skip[at] != 0) continue;
        nf_online_see(range, side,
                      strip->type == NF_FLOAT32 ? (double)((const float *)strip->t)[at]
                                                : ((const double *)strip->t)[at]);
    }
}

static int range_strip(void *user, const nf_strip *strip) {
    const nf_separable *state = user;
    const nf_online_pairs *pairs = state->rule;
    nf_online_range range = nf_online_no_range();
    for (size_t r = 0; r < strip->rows; r++) {
        size_t first, stop;
        nf_strip_positives(strip, r, &first, &stop);
        see_range(&range, NF_NEGATIVE, strip, r, 0, first);
        see_range(&range, NF_POSITIVE, strip, r, first, stop);
        see_range(&range, NF_NEGATIVE, strip, r, stop, strip->cols);
    }
    /* Pairs of a mirrored strip are met here only, others from both ends. */
    nf_online_add(&pairs->block[strip->block], &range, strip->mirrored ? 2 : 1);
    return 0;
}

nf_status nf_online_measure(nf_context *context, const nf_tiled_job *job, nf_strip_fn run,
                            bool anywhere, const void *rule, nf_online_range *range) {
    nf_tiled_side side[2] = {*job->a, *job->b};
    nf_loss loss = *job->loss;
    nf_loss_result unused;
    nf_online_pairs pairs = {.rule = rule};
    const size_t rows = nf_pass_block_rows(side[0].x.cols);
    const size_t blocks = (side[0].count + rows - 1) / rows;
    *range = nf_online_no_range();
    nf_status status =
        nf_scratch(context, &pairs.block, blocks, sizeof *pairs.block, "ranges of distances");
    if (status != NF_OK) return status;
    for (size_t b = 0; b < blocks; b++) pairs.block[b] = *range;
    side[0].gradient = side[1].gradient = (nf_matrix_out){0};
    loss.reduction = NF_REDUCE_SUM;
    loss.stats = 0;
    const nf_tiled_job quiet = {.loss = &loss,
                                .a = &side[0],
                                .b = job->a == job->b ? &side[0] : &side[1],
                                .pairs = {job->pairs[0], job->pairs[1]}};
    nf_separable state = {
        .job = &quiet, .run = run, .once = !anywhere, .anywhere = anywhere, .rule = &pairs};
    status = nf_separable_run(context, &state, &unused);
    for (size_t b = 0; status == NF_OK && b < blocks; b++) nf_online_add(range, &pairs.block[b], 1);
    return status;
}

nf_status nf_online_run(nf_context *context, const nf_tiled_job *job, nf_loss_result *result) {
    nf_online_range range;
    nf_online online;
    nf_status status = nf_online_measure(context, job, range_strip, false, NULL, &range);
    if (status != NF_OK) return status;
    nf_online_choose(job->loss, &range, &online);
    nf_tiled_job chosen = *job;
    chosen.loss = &online.loss;
    return nf_user_run(context, &chosen, result);
}
