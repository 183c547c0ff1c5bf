/* Terms of positive pairs: NT-Xent, and lifted structure.
 *
 *   nt-xent  phi_ij = softplus(L_i - z_ij),  L_i the log sum of exp(z) over the negatives of i
 *   lifted   phi_ij = max(0, J_ij)^2 / 2,    J_ij = log(e^L_i + e^L_j) + t_ij - pos_margin
 */
#include <math.h>
#include <string.h>

#include "base/math.h"
#include "loss/row_terms.h"
#include "loss/softmax.h"

static nf_positive nt_xent(const nf_softmax_side *side, double t, double anchor_log) {
    double q, value = nf_softplus(anchor_log - (side->scale * t + side->shift), &q);
    return (nf_positive){value, -q * side->scale, {q, 0}};
}

static nf_positive lifted(double margin, double t, double anchor_log, double other_log) {
    const double top = fmax(anchor_log, other_log);
    nf_positive positive = {0};
    /* Without negatives on either end their log sum counts as 0, as in the original. */
    double both = 0, share = 0;
    if (!isinf(top)) {
        both = top + nf_softplus(-fabs(anchor_log - other_log), &share);
        if (anchor_log > other_log) share = 1 - share;
    }
    const double j = both + t - margin;
    if (j <= 0) return positive;
    positive.value = j * j / 2;
    positive.slope = j;
    if (!isinf(top)) {
        positive.pull[0] = j * share;
        positive.pull[1] = j * (1 - share);
    }
    return positive;
}

nf_positive nf_positive_term(const nf_loss *loss, const nf_softmax *softmax, double t,
                             double anchor_log, double other_log) {
    return loss->kind == NF_KIND_LIFTED ? lifted(loss->pos_margin, t, anchor_log, other_log)
                                        : nt_xent(&softmax->side[NF_NEGATIVE], t, anchor_log);
}

/* ---- the positives of a strip ------------------------------------------------------------------ */

static nf_positive_job job_of(const nf_softmax_state *state, const nf_softmax_tile *tile) {
    return (nf_positive_job){.rule = &state->positive,
                             .tile = tile,
                             .rows = state->own->end,
                             .columns = state->other->end};
}

/* Terms start from the row, and from the column where the pair is not met again. */
static int gather_strip(void *user, const nf_strip *strip) {
    const nf_softmax_state *state = user;
    const nf_anchors *own = state->own, *other = state->other;
    const nf_softmax_tile tile = nf_softmax_tile_of(strip);
    nf_term_sums *sums = &state->block[strip->block];
    nf_positive_job job = job_of(state, &tile);
    job.row_term = own->term + strip->i;
    job.row_pull = own->pull + strip->i;
    if (strip->mirrored) {
        job.col_term = other->term + strip->j;
        job.col_pull = other->pull + strip->j;
    }
    state->kernels->positive_terms(&job);
    if (own->anchor) {
        sums->terms += job.pairs;
        sums->active += job.active[0];
    }
    if (strip->mirrored && other->anchor) {
        sums->terms += job.pairs;
        sums->active += job.active[1];
    }
    return 0;
}

void nf_positives_slopes(const nf_softmax_state *state, const nf_strip *strip) {
    const nf_softmax_tile tile = nf_softmax_tile_of(strip);
    const nf_positive_job job = job_of(state, &tile);
    state->kernels->positive_slopes(&job);
}

/* ---- the pass --------------------------------------------------------------------------------- */

/* Of every term of the row in the value, up to `common`. */
static double share_of(const nf_softmax_state *state, const nf_anchors *side, size_t r) {
    const double positives = side->stats[NF_POSITIVE][r].pairs;
    if (!side->anchor) return 0;
    return state->job->loss->reduction == NF_REDUCE_MEAN_ANCHORS && positives > 0 ? 1 / positives
                                                                                  : 1;
}

static nf_status prepare(nf_context *context, const nf_softmax_state *state, nf_anchors *side) {
    /* Columns are read to whole lines from any block's start. */
    const size_t element = nf_type_size(state->type);
    const size_t bytes = nf_round_up((side->count + NF_BLOCK_ROWS) * element, NF_ALIGNMENT);
    unsigned char *ends;
    nf_status status = nf_scratch(context, &side->pull, side->count, 2 * sizeof(double), "anchors");
    if (status == NF_OK) status = nf_scratch(context, &ends, 2, bytes, "anchors");
    if (status != NF_OK) return status;
    memset(ends, 0, 2 * bytes);
    side->end = (nf_positive_ends){ends, ends + bytes};
    side->term = side->pull + side->count;
    for (size_t r = 0; r < side->count; r++) {
        double weight = share_of(state, side, r);
        if (side->anchor) weight *= nf_upstream_of(state->job->rows, state->job->a, r);
        nf_set_number(state->type, ends, r, nf_log_sum(&side->stats[NF_NEGATIVE][r]));
        nf_set_number(state->type, ends + bytes, r, weight);
        side->pull[r] = side->term[r] = 0;
    }
    return NF_OK;
}

static nf_status gather(nf_context *context, nf_softmax_state *state, int s) {
    state->own = &state->side[s];
    state->other = &state->side[state->sets == 1 ? 0 : 1 - s];
    const size_t blocks = state->own->set.set.blocks;
    memset(state->block, 0, blocks * sizeof *state->block);
    nf_strip_pass pass = {.own = &state->own->set,
                          .other = &state->other->set,
                          .metric = state->job->loss->pos_metric,
                          .side = {false, true},
                          .once = state->sets == 1,
                          .reach = -1,
                          .run = gather_strip,
                          .user = state};
    nf_status status = nf_strip_run(context, &pass);
    state->result.tiles_total += pass.tiles;
    state->result.tiles_skipped += pass.tiles_skipped;
    state->result.updates_total += pass.updates;
    state->result.updates_skipped += pass.updates_skipped;
    for (size_t b = 0; b < blocks && status == NF_OK; b++) {
        state->total.terms += state->block[b].terms;
        state->total.active += state->block[b].active;
    }
    return status;
}

nf_status nf_positives_gather(nf_context *context, nf_softmax_state *state) {
    const nf_softmax_side *negative = &state->softmax.side[NF_NEGATIVE];
    const nf_anchors *anchors = &state->side[0];
    nf_status status = NF_OK;
    state->positive = (nf_positive_rule){.lifted = state->job->loss->kind == NF_KIND_LIFTED,
                                         .scale = negative->scale,
                                         .shift = negative->shift,
                                         .margin = state->job->loss->pos_margin};
    for (int s = 0; s < state->sets && status == NF_OK; s++) {
        status = prepare(context, state, &state->side[s]);
    }
    if (status == NF_OK) status = gather(context, state, 0);
    if (status == NF_OK && state->sets == 2 && state->job->loss->kind == NF_KIND_LIFTED) {
        status = gather(context, state, 1);
    }
    for (size_t r = 0; status == NF_OK && r < anchors->count; r++) {
        state->total.value += share_of(state, anchors, r) * anchors->term[r];
    }
    return status;
}
