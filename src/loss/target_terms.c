#include "loss/target_terms.h"

#include <math.h>

#include "base/math.h"
#include "loss/margin.h"
#include "loss/triplet.h"

/* ---- sums of exponentials ---------------------------------------------------------------------- */

/* What a pair counts on one side. */
static double mass_of(const nf_anchor *anchor, int side, size_t c) {
    const double y = anchor->target[c];
    return nf_anchor_weight(anchor, c) * (side == NF_POSITIVE ? y : 1 - y);
}

static double exponent(const nf_softmax_side *side, double t, double *slope) {
    if (!side->product) {
        *slope = side->scale;
        return side->scale * t + side->shift;
    }
    const double u = side->sign * t, grow = u + side->shift;
    const double factor = side->scale * (grow > 0 ? grow : 0);
    *slope = side->sign * factor;
    return factor * (u + side->offset);
}

/* The pairs of one side: nf_softmax_row has masses where that one counts pairs. */
typedef struct nf_side_sum {
    nf_softmax_row row;
    const size_t *column; /* (count) */
    size_t count;
    double *e; /* exp(z - peak) */
} nf_side_sum;

static size_t list_negatives(const nf_anchor *anchor) {
    size_t count = 0;
    for (size_t c = 0; c < anchor->m; c++) {
        anchor->columns[count] = c;
        count += !isnan(anchor->negative[c]) && mass_of(anchor, NF_NEGATIVE, c) > 0;
    }
    return count;
}

static nf_side_sum sum_of_side(const nf_target_terms *terms, const nf_anchor *anchor, int side) {
    const nf_softmax_side *exponents = &terms->softmax.side[side];
    nf_side_sum sum = {.row = {.peak = -(double)INFINITY}, .e = anchor->work[side]};
    nf_softmax_row *row = &sum.row;
    sum.column = side == NF_POSITIVE ? anchor->positive : anchor->columns;
    sum.count = side == NF_POSITIVE ? anchor->positives : list_negatives(anchor);
    for (size_t k = 0; k < sum.count; k++) {
        const double mass = mass_of(anchor, side, sum.column[k]), t = anchor->t[sum.column[k]];
        double slope, z = mass > 0 ? exponent(exponents, t, &slope) : -(double)INFINITY;
        row->peak = z > row->peak ? z : row->peak;
        row->pairs += mass;
        row->distance += mass > 0 ? mass * t : 0;
        sum.e[k] = z;
    }
    for (size_t k = 0; k < sum.count; k++) sum.e[k] -= row->peak;
    anchor->kernels->exponentials(sum.e, sum.count);
    for (size_t k = 0; k < sum.count; k++) {
        row->sum += mass_of(anchor, side, sum.column[k]) * sum.e[k];
    }
    /* Infinitely far pairs alone: there is no sum to take logarithms of. */
    if (row->pairs > 0 && !(row->sum > 0)) row->sum = (double)NAN;
    return sum;
}

/* Add weight (factor exp(z - shift) dz/dt + constant) of the pairs of a side to their slopes. */
static void add_slopes(const nf_target_terms *terms, const nf_anchor *anchor, int side,
                       const nf_side_sum *sum, const nf_anchor_numbers *numbers, double weight,
                       nf_anchor_terms *out) {
    const double constant = weight * numbers->constant[side];
    double factor = weight * numbers->factor[side];
    if (factor == 0 && constant == 0) return;
    if (factor != 0) factor *= nf_exp(sum->row.peak - numbers->shift[side]);
    for (size_t k = 0; k < sum->count; k++) {
        const size_t c = sum->column[k];
        double steep;
        exponent(&terms->softmax.side[side], anchor->t[c], &steep);
        out->slope[c] += mass_of(anchor, side, c) * (factor * sum->e[k] * steep + constant);
    }
}

/* ---- one term per anchor ----------------------------------------------------------------------- */

static void row_terms(const void *user, const nf_anchor *anchor, nf_anchor_terms *out) {
    const nf_target_terms *terms = user;
    const double weight = nf_target_weight(terms->rule, 0, anchor->row);
    nf_side_sum sum[2];
    nf_anchor_numbers numbers;
    bool counts;
    for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) {
        sum[side] = sum_of_side(terms, anchor, side);
    }
    const double value = nf_anchor_term(terms->loss, &sum[NF_NEGATIVE].row, &sum[NF_POSITIVE].row,
                                        &numbers, &counts);
    out->terms = counts;
    out->weight = counts ? weight : 0;
    out->active = weight * value > 0;
    if (terms->term != NULL) terms->term[anchor->row] = weight * value;
    if (terms->loss->reduction == NF_REDUCE_MEAN_NONZERO && value <= 0) return;
    out->value = weight * value;
    for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) {
        add_slopes(terms, anchor, side, &sum[side], &numbers, weight, out);
    }
}

/* ---- a term per positive pair ------------------------------------------------------------------ */

/* The weight of the anchor's terms, but for those of its pairs; with mean-anchors over the sum of its
 * targets. */
static double share_of(const nf_target_terms *terms, const nf_anchor *anchor) {
    const double weight = nf_target_weight(terms->rule, 0, anchor->row);
    double targets = 0;
    if (terms->loss->reduction != NF_REDUCE_MEAN_ANCHORS) return weight;
    for (size_t k = 0; k < anchor->positives; k++) targets += anchor->target[anchor->positive[k]];
    return targets > 0 ? weight / targets : 0;
}

/* What the anchor's terms count for in the gradient beside what they do in the value. */
static double upstream_of(const nf_target_terms *terms, size_t row) {
    return terms->upstream != NULL ? terms->upstream[row] : 1;
}

/* lifted structure's first pass: what an anchor needs to know of the others. */
static void gather(const void *user, const nf_anchor *anchor, nf_anchor_terms *out) {
    const nf_target_terms *terms = user;
    const nf_side_sum negatives = sum_of_side(terms, anchor, NF_NEGATIVE);
    (void)out;
    terms->log_sum[anchor->row] = nf_log_sum(&negatives.row);
    terms->share[anchor->row] = share_of(terms, anchor) * upstream_of(terms, anchor->row);
}

/* Its second over two sets, with rows of the other one as anchors: terms start from their positives. */
static void gather_other(const void *user, const nf_anchor *anchor, nf_anchor_terms *out) {
    const nf_target_terms *terms = user;
    const nf_side_sum negatives = sum_of_side(terms, anchor, NF_NEGATIVE);
    const double log_sum = nf_log_sum(&negatives.row);
    double pull = 0;
    (void)out;
    for (size_t k = 0; k < anchor->positives; k++) {
        const size_t c = anchor->positive[k], from = anchor->item[c];
        const double mass = mass_of(anchor, NF_POSITIVE, c);
        const nf_positive pair = nf_positive_term(terms->loss, &terms->softmax, anchor->t[c],
                                                  terms->log_sum[from], log_sum);
        if (mass > 0) pull += terms->share[from] * mass * pair.pull[1];
    }
    terms->other_log_sum[anchor->row] = log_sum;
    terms->other_pull[anchor->row] = pull;
}

/* The anchor as a negative of the rows of the other set. */
static void add_other_slopes(const nf_target_terms *terms, const nf_anchor *anchor,
                             const nf_side_sum *negatives, nf_anchor_terms *out) {
    const nf_softmax_side *exponents = &terms->softmax.side[NF_NEGATIVE];
    for (size_t k = 0; k < negatives->count; k++) {
        const size_t c = negatives->column[k], other = anchor->item[c];
        const double pull = terms->other_pull[other];
        double steep;
        if (pull == 0) continue;
        const double z = exponent(exponents, anchor->t[c], &steep);
        out->slope[c] += mass_of(anchor, NF_NEGATIVE, c) * pull *
                         nf_exp(z - terms->other_log_sum[other]) * steep;
    }
}

/* The log sum at the other end of a pair, for lifted structure, and what of the terms that start there
 * comes back to the anchor. */
static double other_log_sum(const nf_target_terms *terms, size_t other) {
    if (terms->loss->kind != NF_KIND_LIFTED) return -(double)INFINITY;
    return terms->other_log_sum != NULL ? terms->other_log_sum[other] : terms->log_sum[other];
}

static double other_share(const nf_target_terms *terms, size_t other) {
    const bool both = terms->loss->kind == NF_KIND_LIFTED && terms->other_log_sum == NULL;
    return both ? terms->share[other] : 0;
}

/* The terms of the anchor's positive pairs; d value / d log sum of its negatives, for lifted structure
 * from the pairs' other ends too. */
static double add_pairs(const nf_target_terms *terms, const nf_anchor *anchor, double log_sum,
                        nf_anchor_terms *out) {
    const double share = share_of(terms, anchor);
    const double row_weight = nf_target_weight(terms->rule, 0, anchor->row);
    const double upstream = upstream_of(terms, anchor->row);
    double pull = 0, own = 0;
    for (size_t k = 0; k < anchor->positives; k++) {
        const size_t c = anchor->positive[k], other = anchor->item[c];
        const double mass = mass_of(anchor, NF_POSITIVE, c), weight = share * mass;
        const nf_positive pair = nf_positive_term(terms->loss, &terms->softmax, anchor->t[c],
                                                  log_sum, other_log_sum(terms, other));
        const bool active = weight * pair.value > 0;
        out->terms++;
        out->active += active;
        out->weight += row_weight * mass;
        out->mass += anchor->target[c];
        out->active_mass += active ? anchor->target[c] : 0;
        if (!(mass > 0)) continue;
        out->value += weight * pair.value;
        own += row_weight * mass * pair.value;
        out->slope[c] += weight * upstream * pair.slope;
        pull += (weight * upstream + other_share(terms, other) * mass) * pair.pull[0];
    }
    if (terms->term != NULL) terms->term[anchor->row] = own;
    return pull;
}

void nf_target_pair_terms(const void *user, const nf_anchor *anchor, nf_anchor_terms *out) {
    const nf_target_terms *terms = user;
    const nf_side_sum negatives = sum_of_side(terms, anchor, NF_NEGATIVE);
    const nf_softmax_row *negative = &negatives.row;
    const double pull = add_pairs(terms, anchor, nf_log_sum(negative), out);
    if (!(negative->pairs > 0)) return;
    const nf_anchor_numbers numbers = {.shift[NF_NEGATIVE] = negative->peak,
                                       .factor[NF_NEGATIVE] = pull / negative->sum};
    add_slopes(terms, anchor, NF_NEGATIVE, &negatives, &numbers, 1, out);
    if (terms->other_pull != NULL) add_other_slopes(terms, anchor, &negatives, out);
}

/* ---- triplets ---------------------------------------------------------------------------------- */

typedef struct nf_target_triplets {
    nf_anchor_fn anchor;
    const void *loss; /* of the function */
    const nf_target_rule *rule;
} nf_target_triplets;

static void triplets(const void *user, const nf_anchor *anchor, nf_anchor_terms *out) {
    const nf_target_triplets *own = user;
    own->anchor(own->loss, anchor, out);
    if (own->rule->side[0].weight == NULL) return;
    const double weight = nf_target_weight(own->rule, 0, anchor->row);
    for (size_t c = 0; c < anchor->m; c++) out->slope[c] *= weight;
    out->value *= weight;
    out->weight *= weight;
    if (!(weight > 0)) out->active = 0;
}

static nf_status run_triplets(nf_context *context, nf_anchored_job *anchored,
                              nf_loss_result *result) {
    const nf_loss *loss = ((const nf_target_terms *)anchored->loss)->loss;
    const nf_triplet_terms triplet = {loss->neg_margin, loss->smooth != 0};
    const nf_margin_terms margin = {loss->neg_margin, &loss->beta, false};
    const bool is_margin = loss->kind == NF_KIND_MARGIN;
    const nf_target_triplets own = {
        .anchor = is_margin ? nf_margin_anchor : nf_triplet_choice(loss->triplets),
        .loss = is_margin ? (const void *)&margin : (const void *)&triplet,
        .rule = anchored->rule};
    anchored->anchor = triplets;
    anchored->loss = &own;
    return nf_anchored_run(context, anchored, result);
}

/* ---- the run ----------------------------------------------------------------------------------- */

/* A pass of lifted structure that leaves its numbers in *terms; rows of side s are the anchors. */
static nf_status gather_rows(nf_context *context, const nf_anchored_job *anchored, int s,
                             nf_anchor_fn run, const nf_target_rule *rule) {
    nf_tiled_side side[2] = {s == 0 ? *anchored->a : *anchored->b,
                             s == 0 ? *anchored->b : *anchored->a};
    nf_anchored_job job = *anchored;
    nf_loss_result unused;
    side[0].gradient = side[1].gradient = (nf_matrix_out){0};
    job.a = &side[0];
    job.b = anchored->a == anchored->b ? &side[0] : &side[1];
    job.rows = NULL;
    job.rule = rule;
    job.anchor = run;
    return nf_anchored_run(context, &job, &unused);
}

static nf_status gather_lifted(nf_context *context, const nf_anchored_job *anchored,
                               nf_target_terms *terms) {
    const size_t n = anchored->a->x.rows, m = anchored->b->x.rows;
    const nf_target_rule turned = nf_target_turned(terms->rule);
    nf_status status = nf_scratch(context, &terms->log_sum, n, 2 * sizeof(double), "log sums");
    if (status != NF_OK) return status;
    terms->share = terms->log_sum + n;
    status = gather_rows(context, anchored, 0, gather, terms->rule);
    if (status != NF_OK || anchored->a == anchored->b) return status;
    status = nf_scratch(context, &terms->other_log_sum, m, 2 * sizeof(double), "log sums");
    if (status != NF_OK) return status;
    terms->other_pull = terms->other_log_sum + m;
    return gather_rows(context, anchored, 1, gather_other, &turned);
}

nf_status nf_target_begin_terms(nf_context *context, const nf_tiled_job *job, bool pairs,
                                nf_target_terms *terms, nf_anchored_job *anchored,
                                nf_row_terms *rows) {
    if (job->rows == NULL) return NF_OK;
    *rows = (nf_row_terms){NULL, pairs ? NULL : job->rows->upstream};
    anchored->rows = rows;
    if (pairs) terms->upstream = job->rows->upstream;
    if (job->rows->terms == NULL) return NF_OK;
    const size_t n = job->a->x.rows;
    nf_status status = nf_scratch(context, &terms->term, n, sizeof(double), "terms");
    for (size_t r = 0; status == NF_OK && r < n; r++) terms->term[r] = 0;
    return status;
}

void nf_target_write_terms(const nf_tiled_job *job, const nf_target_terms *terms) {
    for (size_t r = 0; terms->term != NULL && r < job->a->x.rows; r++) {
        job->rows->terms[r] = job->loss->scale * terms->term[r];
    }
}

void nf_target_count(const nf_tiled_job *job, nf_loss_result *result) {
    const bool active = result->active_terms > 0;
    result->active_negative = active ? job->pairs[NF_NEGATIVE] : 0;
    result->active_positive = active && result->has_stats ? job->pairs[NF_POSITIVE] : 0;
    result->coincident_negatives = 0;
}

nf_status nf_target_run(nf_context *context, const nf_tiled_job *job, const nf_target_rule *rule,
                        nf_loss_result *result) {
    const nf_loss *loss = job->loss;
    const bool pairs = loss->kind == NF_KIND_NT_XENT || loss->kind == NF_KIND_LIFTED;
    nf_target_terms terms = {.loss = loss, .rule = rule, .softmax = nf_softmax_exponents(loss)};
    nf_anchored_job anchored =
        nf_anchored_of(job, pairs ? nf_target_pair_terms : row_terms, &terms);
    anchored.split = nf_target_split;
    anchored.rule = rule;
    anchored.weighted = rule->pair_weight.data != NULL;
    if (loss->kind == NF_KIND_TRIPLET || loss->kind == NF_KIND_MARGIN) {
        return run_triplets(context, &anchored, result);
    }
    nf_row_terms rows;
    nf_status status = nf_target_begin_terms(context, job, pairs, &terms, &anchored, &rows);
    anchored.by_mass = pairs;
    anchored.lone = nf_softmax_has_terms(loss, job->pairs);
    if (status == NF_OK && loss->kind == NF_KIND_LIFTED) {
        status = gather_lifted(context, &anchored, &terms);
    }
    if (status == NF_OK) status = nf_anchored_run(context, &anchored, result);
    if (status != NF_OK) return status;
    nf_target_count(job, result);
    nf_target_write_terms(job, &terms);
    return NF_OK;
}
