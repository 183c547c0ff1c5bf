#include "loss/softmax.h"

#include <math.h>
#include <string.h>

#include "loss/row_terms.h"

/* ---- exponents -------------------------------------------------------------------------------- */

static nf_softmax_side linear(double scale, double shift) {
    return (nf_softmax_side){.on = true, .scale = scale, .shift = shift};
}

/* `base` in terms of t: it is a similarity for cosine and dot, a distance otherwise. */
static double base_distance(const nf_loss *loss) {
    return loss->pos_metric == NF_COSINE ? 1 - loss->base
           : loss->pos_metric == NF_DOT  ? -loss->base
                                         : loss->base;
}

nf_softmax nf_softmax_exponents(const nf_loss *loss) {
    const double m = loss->neg_margin, base = base_distance(loss);
    nf_softmax softmax = {{linear(-1, 0), linear(-1, 0)}};
    switch (loss->kind) {
    case NF_KIND_MULTI_SIMILARITY:
        softmax.side[NF_POSITIVE] = linear(loss->alpha, -loss->alpha * base);
        softmax.side[NF_NEGATIVE] = linear(-loss->beta, loss->beta * base);
        break;
    case NF_KIND_CIRCLE: /* of s = 1 - t: -gamma [1 + m - s]+ (s - 1 + m), gamma [s + m]+ (s - m) */
        softmax.side[NF_POSITIVE] = (nf_softmax_side){true, true, loss->gamma, m, -m, 1};
        softmax.side[NF_NEGATIVE] = (nf_softmax_side){true, true, loss->gamma, 1 + m, 1 - m, -1};
        break;
    case NF_KIND_LIFTED:
    case NF_KIND_GENERALIZED_LIFTED:
        softmax.side[NF_POSITIVE] = linear(1, -loss->pos_margin);
        softmax.side[NF_NEGATIVE] = linear(-1, loss->neg_margin);
        break;
    default:
        if (loss->temperature > 0) {
            softmax.side[NF_POSITIVE] = softmax.side[NF_NEGATIVE] =
                linear(-1 / loss->temperature, 0);
        }
    }
    return softmax;
}

/* ---- statistics ------------------------------------------------------------------------------- */

nf_softmax_tile nf_softmax_tile_of(const nf_strip *strip) {
    return (nf_softmax_tile){.t = strip->t,
                             .slope = strip->slope,
                             .ld = strip->ld,
                             .rows = strip->rows,
                             .cols = strip->cols,
                             .i = strip->i,
                             .j = strip->j,
                             .row_class = strip->row_class,
                             .col_class = strip->col_class,
                             .skip = strip->skip,
                             .work = strip->work};
}

static nf_softmax sides_of(const nf_softmax_state *state, const nf_strip *strip) {
    nf_softmax softmax = state->softmax;
    for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) {
        softmax.side[side].on = strip->any[side];
    }
    return softmax;
}

static int stats_strip(void *user, const nf_strip *strip) {
    const nf_softmax_state *state = user;
    const nf_softmax_tile tile = nf_softmax_tile_of(strip);
    const nf_softmax softmax = sides_of(state, strip);
    nf_softmax_row *const stats[2] = {state->own->stats[0] + strip->i,
                                      state->own->stats[1] + strip->i};
    state->kernels->softmax_stats(&softmax, &tile, stats);
    if (strip->mirrored) {
        nf_softmax_row *const columns[2] = {state->other->stats[0] + strip->j,
                                            state->other->stats[1] + strip->j};
        state->kernels->softmax_column_stats(&softmax, &tile, columns);
    }
    return 0;
}

/* One pass with set s as rows. */
static nf_status run_pass(nf_context *context, nf_softmax_state *state, int s, nf_strip_fn run,
                          bool gradient) {
    state->own = &state->side[s];
    state->other = &state->side[state->sets == 1 ? 0 : 1 - s];
    nf_strip_pass pass = {.own = &state->own->set,
                          .other = &state->other->set,
                          .metric = state->job->loss->pos_metric,
                          .side = {true, true},
                          .once = state->sets == 1,
                          .reach = -1,
                          .run = run,
                          .user = state,
                          .gradient = gradient};
    nf_status status = nf_strip_run(context, &pass);
    state->result.tiles_total += pass.tiles;
    state->result.tiles_skipped += pass.tiles_skipped;
    state->result.updates_total += pass.updates;
    state->result.updates_skipped += pass.updates_skipped;
    return status;
}

static nf_status gather_stats(nf_context *context, nf_softmax_state *state) {
    nf_status status = NF_OK;
    for (int s = 0; s < state->sets && status == NF_OK; s++) {
        nf_anchors *side = &state->side[s];
        nf_softmax_row *rows;
        status = nf_scratch(context, &rows, side->count, 2 * sizeof *rows, "row statistics");
        if (status != NF_OK) return status;
        for (size_t r = 0; r < 2 * side->count; r++) {
            rows[r] = (nf_softmax_row){.peak = -(double)INFINITY};
        }
        side->stats[0] = rows;
        side->stats[1] = rows + side->count;
    }
    status = run_pass(context, state, 0, stats_strip, false);
    if (status == NF_OK && state->sets == 2 && state->job->loss->kind == NF_KIND_LIFTED) {
        status = run_pass(context, state, 1, stats_strip, false);
    }
    return status;
}

/* ---- terms ------------------------------------------------------------------------------------ */

static void store_numbers(const nf_softmax_state *state, nf_anchors *side, size_t r,
                          const nf_anchor_numbers *numbers, double weight) {
    for (int s = NF_NEGATIVE; s <= NF_POSITIVE; s++) {
        nf_set_number(state->type, side->number.shift[s], r, numbers->shift[s]);
        nf_set_number(state->type, side->number.factor[s], r, weight * numbers->factor[s]);
        nf_set_number(state->type, side->number.constant[s], r, weight * numbers->constant[s]);
    }
}

/* Columns are read to whole lines from any block's start. */
static nf_status make_numbers(nf_context *context, const nf_softmax_state *state,
                              nf_anchors *side) {
    const size_t element = nf_type_size(state->type);
    const size_t bytes = nf_round_up((side->count + NF_BLOCK_ROWS) * element, NF_ALIGNMENT);
    unsigned char *base;
    nf_status status = nf_scratch(context, &base, 6, bytes, "anchors");
    if (status != NF_OK) return status;
    memset(base, 0, 6 * bytes);
    for (size_t s = 0; s < 2; s++) {
        side->number.shift[s] = base + s * bytes;
        side->number.factor[s] = base + (2 + s) * bytes;
        side->number.constant[s] = base + (4 + s) * bytes;
    }
    return NF_OK;
}

static double inverse(double value) { return value > 0 ? 1 / value : 0; }

/* The factor of the sum of (weighted) terms. */
static double reduction_factor(const nf_softmax_state *state) {
    switch (state->job->loss->reduction) {
    case NF_REDUCE_SUM:
    case NF_REDUCE_NONE: return 1;
    case NF_REDUCE_DIVISOR: return 1 / state->job->loss->divisor;
    case NF_REDUCE_MEAN_NONZERO: return inverse((double)state->total.active);
    case NF_REDUCE_MEAN_ANCHORS: return inverse((double)state->side[0].count);
    default: return inverse((double)state->total.terms);
    }
}

static nf_status finish_anchors(nf_context *context, nf_softmax_state *state) {
    const nf_tiled_job *job = state->job;
    const nf_loss *loss = job->loss;
    nf_anchors *side = &state->side[0];
    nf_status status = nf_scratch(context, &side->term, side->count, sizeof(double), "terms");
    if (status != NF_OK) return status;
    for (size_t r = 0; r < side->count; r++) {
        nf_anchor_numbers numbers;
        bool counts;
        double value = nf_anchor_term(loss, &side->stats[NF_NEGATIVE][r],
                                      &side->stats[NF_POSITIVE][r], &numbers, &counts);
        const bool kept = loss->reduction != NF_REDUCE_MEAN_NONZERO || !(value <= 0);
        state->total.value += kept ? value : 0;
        state->total.terms += counts;
        state->total.active += value > 0;
        side->term[r] = value;
        store_numbers(state, side, r, &numbers, kept ? nf_upstream_of(job->rows, job->a, r) : 0);
    }
    return NF_OK;
}

/* Negatives of pair losses: the log sum's derivative, by the pull of the positives on it. */
static void finish_pairs(nf_softmax_state *state) {
    for (int s = 0; s < state->sets; s++) {
        nf_anchors *side = &state->side[s];
        for (size_t r = 0; r < side->count; r++) {
            const nf_softmax_row *negative = &side->stats[NF_NEGATIVE][r];
            nf_anchor_numbers numbers = {0};
            if (negative->pairs > 0) {
                numbers.shift[NF_NEGATIVE] = negative->peak;
                numbers.factor[NF_NEGATIVE] = side->pull[r] / negative->sum;
            }
            store_numbers(state, side, r, &numbers, 1);
        }
    }
}

static nf_status find_terms(nf_context *context, nf_softmax_state *state) {
    nf_status status = NF_OK;
    for (int s = 0; s < state->sets && status == NF_OK; s++) {
        status = make_numbers(context, state, &state->side[s]);
    }
    if (status == NF_OK && state->of_pairs) status = nf_positives_gather(context, state);
    if (status != NF_OK) return status;
    if (state->of_pairs) {
        finish_pairs(state);
    } else {
        status = finish_anchors(context, state);
    }
    state->common = state->job->loss->scale * reduction_factor(state);
    return status;
}

static const nf_tiled_side *rows_of(const nf_softmax_state *state, int s) {
    return s == 0 ? state->job->a : state->job->b;
}

/* ---- gradients -------------------------------------------------------------------------------- */

static int weights_strip(void *user, const nf_strip *strip) {
    const nf_softmax_state *state = user;
    const nf_softmax_tile tile = nf_softmax_tile_of(strip);
    nf_softmax softmax = sides_of(state, strip);
    if (state->of_pairs) softmax.side[NF_POSITIVE].on = false;
    /* Rows and columns that are no anchors have no numbers but those a pair loss gave them. */
    bool rows = state->own->anchor || state->job->loss->kind == NF_KIND_LIFTED;
    bool columns = state->other->anchor || state->job->loss->kind == NF_KIND_LIFTED;
    state->kernels->softmax_weights(&softmax, &tile, rows ? &state->own->number : NULL,
                                    columns ? &state->other->number : NULL);
    if (state->of_pairs && strip->any[NF_POSITIVE]) nf_positives_slopes(state, strip);
    return 0;
}

static nf_status find_gradients(nf_context *context, nf_softmax_state *state) {
    nf_status status = NF_OK;
    for (int s = 0; s < state->sets && status == NF_OK; s++) {
        nf_anchors *side = &state->side[s];
        if (side->set.set.sum == NULL) continue;
        if (state->common > 0) status = run_pass(context, state, s, weights_strip, true);
        if (status == NF_OK) {
            status =
                nf_strip_finish(context, &side->set, state->job->loss->pos_metric, state->common);
        }
        if (status == NF_OK) {
            status = nf_strip_check_gradient(context, rows_of(state, s), side->set.set.sum);
        }
    }
    return status;
}

/* ---- the run ---------------------------------------------------------------------------------- */

static nf_status make_sides(nf_context *context, nf_softmax_state *state) {
    const bool unit = nf_term_unit(state->job->loss, NF_POSITIVE);
    nf_status status = NF_OK;
    for (int s = 0; s < state->sets && status == NF_OK; s++) {
        nf_anchors *side = &state->side[s];
        side->count = rows_of(state, s)->count;
        side->anchor = s == 0;
        status = nf_strip_set_make(context, rows_of(state, s), unit, state->job->loss->fast != 0,
                                   &side->set);
        state->result.zero_rows += side->set.set.rows.zero_rows;
    }
    if (status != NF_OK) return status;
    size_t blocks = nf_max_size(state->side[0].set.set.blocks, state->side[1].set.set.blocks);
    return nf_scratch(context, &state->block, blocks, sizeof *state->block, "block sums");
}

bool nf_softmax_has_terms(const nf_loss *loss, const uint64_t pairs[2]) {
    switch (loss->kind) {
    case NF_KIND_NT_XENT:
    case NF_KIND_N_PAIRS:
    case NF_KIND_SUPCON:
    case NF_KIND_LIFTED: return pairs[NF_POSITIVE] > 0 && pairs[NF_NEGATIVE] > 0;
    default: return pairs[NF_POSITIVE] + pairs[NF_NEGATIVE] > 0;
    }
}

static void fill_result(nf_softmax_state *state) {
    const uint64_t *pairs = state->job->pairs;
    nf_loss_result *result = &state->result;
    result->value = state->common * state->total.value;
    result->positive_pairs = pairs[NF_POSITIVE];
    result->negative_pairs = pairs[NF_NEGATIVE];
    result->terms = state->total.terms;
    result->active_terms = state->total.active;
    /* Every negative has an exponential, so all of them count when any term does. */
    result->active_negative = state->total.active > 0 ? pairs[NF_NEGATIVE] : 0;
    if (!state->job->loss->stats) return;
    double sum[2] = {0, 0}, count[2] = {0, 0};
    for (int s = NF_NEGATIVE; s <= NF_POSITIVE; s++) {
        for (size_t r = 0; state->side[0].stats[s] != NULL && r < state->side[0].count; r++) {
            sum[s] += state->side[0].stats[s][r].distance;
            count[s] += state->side[0].stats[s][r].pairs;
        }
    }
    result->has_stats = 1;
    result->active_positive = state->total.active > 0 ? pairs[NF_POSITIVE] : 0;
    result->mean_positive_distance = sum[NF_POSITIVE] * inverse(count[NF_POSITIVE]);
    result->mean_negative_distance = sum[NF_NEGATIVE] * inverse(count[NF_NEGATIVE]);
}

static uint64_t work_of(const nf_softmax_state *state) {
    const uint64_t passes = state->of_pairs ? 3 : 2;
    const nf_strip_set *own = &state->side[0].set;
    if (state->sets == 1) return passes * nf_strip_work(own, own, true);
    return (2 * passes) * nf_strip_work(own, &state->side[1].set, false);
}

nf_status nf_softmax_compute(nf_context *context, const nf_tiled_job *job,
                             nf_softmax_state *state) {
    const nf_loss *loss = job->loss;
    *state = (nf_softmax_state){.job = job,
                                .kernels = nf_kernels_get(context, job->a->x.type),
                                .type = job->a->x.type,
                                .softmax = nf_softmax_exponents(loss),
                                .of_pairs = loss->kind == NF_KIND_NT_XENT ||
                                            loss->kind == NF_KIND_N_PAIRS ||
                                            loss->kind == NF_KIND_LIFTED,
                                .sets = job->a == job->b ? 1 : 2};
    nf_status status = make_sides(context, state);
    if (status == NF_OK) nf_progress_start(context, work_of(state));
    const bool terms = nf_softmax_has_terms(loss, job->pairs);
    if (status == NF_OK && (terms || loss->stats)) status = gather_stats(context, state);
    if (status == NF_OK && terms) status = find_terms(context, state);
    if (status == NF_OK) status = find_gradients(context, state);
    if (status != NF_OK) return status;
    fill_result(state);
    if (isfinite(state->result.value)) return NF_OK;
    return nf_fail(context, NF_ERR_RANGE,
                   "the loss is not finite: distances over the temperature, or times the rate, "
                   "exceed what the type can hold; scale the data down%s",
                   state->type == NF_FLOAT32 ? ", or pass float64" : "");
}

void nf_softmax_write_terms(const nf_softmax_state *state) {
    const nf_tiled_job *job = state->job;
    const nf_anchors *side = &state->side[0];
    nf_row_terms_clear(job->rows, job->a);
    for (size_t r = 0; side->term != NULL && r < side->count; r++) {
        nf_row_terms_put(job->rows, job->a, r, job->loss->scale * side->term[r]);
    }
}

nf_status nf_softmax_run(nf_context *context, const nf_tiled_job *job, nf_loss_result *result) {
    nf_softmax_state state;
    nf_status status = nf_softmax_compute(context, job, &state);
    if (status != NF_OK) return status;
    nf_strip_write_gradient(job->a, state.side[0].set.set.sum);
    if (job->b != job->a) nf_strip_write_gradient(job->b, state.side[1].set.set.sum);
    nf_softmax_write_terms(&state);
    *result = state.result;
    return NF_OK;
}
