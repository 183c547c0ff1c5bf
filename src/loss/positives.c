/* Terms of positive pairs: NT-Xent, and lifted structure.
 *
 *   nt-xent  phi_ij = softplus(L_i - z_ij),  L_i the log sum of exp(z) over the negatives of i
 *   lifted   phi_ij = max(0, J_ij)^2 / 2,    J_ij = log(e^L_i + e^L_j) + t_ij - pos_margin
 *
 * Everything a pair needs is in double; positives are few beside negatives. */
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
    if (!(j > 0)) return positive;
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

static nf_positive evaluate(const nf_softmax_state *state, double t, double anchor_log,
                            double other_log) {
    return nf_positive_term(state->job->loss, &state->softmax, t, anchor_log, other_log);
}

/* ---- the positives of a strip ------------------------------------------------------------------ */

static double t_at(const nf_strip *strip, size_t at) {
    return strip->type == NF_FLOAT32 ? (double)((const float *)strip->t)[at]
                                     : ((const double *)strip->t)[at];
}

static void add_term(const nf_positive *positive, const nf_anchors *anchors, size_t row,
                     nf_term_sums *sums) {
    anchors->term[row] += positive->value;
    sums->value += anchors->share[row] * positive->value;
    sums->terms++;
    sums->active += positive->value > 0;
}

/* Row r as anchor, and with the roles exchanged where the columns are anchors too; sums are of terms
 * that start from the row, and from the column where the pair is not met again. */
static void gather_row(const nf_softmax_state *state, const nf_strip *strip, size_t r,
                       nf_term_sums *sums) {
    const nf_anchors *own = state->own, *other = state->other;
    const size_t row = strip->i + r;
    size_t first, stop;
    nf_strip_positives(strip, r, &first, &stop);
    for (size_t c = first; c < stop; c++) {
        const size_t at = r * strip->ld + c, column = strip->j + c;
        if (strip->skip != NULL && strip->skip[at] != 0) continue;
        const double t = t_at(strip, at);
        if (own->anchor) {
            nf_positive p = evaluate(state, t, own->log_sum[row], other->log_sum[column]);
            add_term(&p, own, row, sums);
            own->pull[row] += own->weight[row] * p.pull[0];
            if (strip->mirrored) other->pull[column] += own->weight[row] * p.pull[1];
        }
        if (!other->anchor) continue;
        nf_positive p = evaluate(state, t, other->log_sum[column], own->log_sum[row]);
        own->pull[row] += other->weight[column] * p.pull[1];
        if (!strip->mirrored) continue;
        add_term(&p, other, column, sums);
        other->pull[column] += other->weight[column] * p.pull[0];
    }
}

static int gather_strip(void *user, const nf_strip *strip) {
    const nf_softmax_state *state = user;
    for (size_t r = 0; r < strip->rows; r++) {
        gather_row(state, strip, r, &state->block[strip->block]);
    }
    return 0;
}

void nf_positives_slopes(const nf_softmax_state *state, const nf_strip *strip) {
    const nf_anchors *own = state->own, *other = state->other;
    for (size_t r = 0; r < strip->rows; r++) {
        const size_t row = strip->i + r;
        size_t first, stop;
        nf_strip_positives(strip, r, &first, &stop);
        for (size_t c = first; c < stop; c++) {
            const size_t at = r * strip->ld + c, column = strip->j + c;
            if (strip->skip != NULL && strip->skip[at] != 0) continue;
            const double t = t_at(strip, at);
            double slope = 0;
            if (own->anchor) {
                slope += own->weight[row] *
                         evaluate(state, t, own->log_sum[row], other->log_sum[column]).slope;
            }
            if (other->anchor) {
                slope += other->weight[column] *
                         evaluate(state, t, other->log_sum[column], own->log_sum[row]).slope;
            }
            if (strip->type == NF_FLOAT32) {
                ((float *)strip->slope)[at] = (float)slope;
            } else {
                ((double *)strip->slope)[at] = slope;
            }
        }
    }
}

/* ---- the pass --------------------------------------------------------------------------------- */

static nf_status prepare(nf_context *context, const nf_softmax_state *state, nf_anchors *side) {
    nf_status status =
        nf_scratch(context, &side->log_sum, side->count, 5 * sizeof(double), "anchors");
    if (status != NF_OK) return status;
    side->weight = side->log_sum + side->count;
    side->pull = side->weight + side->count;
    side->share = side->pull + side->count;
    side->term = side->share + side->count;
    for (size_t r = 0; r < side->count; r++) {
        const double positives = side->stats[NF_POSITIVE][r].pairs;
        side->log_sum[r] = nf_log_sum(&side->stats[NF_NEGATIVE][r]);
        side->share[r] = side->anchor ? 1 : 0;
        if (state->job->loss->reduction == NF_REDUCE_MEAN_ANCHORS && positives > 0) {
            side->share[r] /= positives;
        }
        side->weight[r] = side->share[r];
        if (side->anchor) side->weight[r] *= nf_upstream_of(state->job->rows, state->job->a, r);
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
    for (size_t b = 0; b < blocks && status == NF_OK; b++) {
        state->total.value += state->block[b].value;
        state->total.terms += state->block[b].terms;
        state->total.active += state->block[b].active;
    }
    return status;
}

nf_status nf_positives_gather(nf_context *context, nf_softmax_state *state) {
    nf_status status = NF_OK;
    for (int s = 0; s < state->sets && status == NF_OK; s++) {
        status = prepare(context, state, &state->side[s]);
    }
    if (status == NF_OK) status = gather(context, state, 0);
    if (status == NF_OK && state->sets == 2 && state->job->loss->kind == NF_KIND_LIFTED) {
        status = gather(context, state, 1);
    }
    return status;
}
