/* All pairs of rows, or of two sets, under targets. */
#include "loss/arguments.h"
#include "loss/kinds.h"
#include "loss/online.h"
#include "loss/reference.h"
#include "loss/row_terms.h"
#include "loss/separable.h"
#include "loss/target_terms.h"
#include "loss/user.h"

#include <math.h>
#include <string.h>

/* What the strip function needs. */
typedef struct nf_targets_rule {
    nf_target_rule rule[2]; /* by the set that the rows of a pass are of */
    nf_contrast_side side[2];
} nf_targets_rule;

static bool is_separable(const nf_loss *loss) { return nf_kind_has_pair_terms(loss->kind); }

/* y of a pair, and its weight with those of its rows. */
static bool weighted_target(const nf_target_rule *rule, size_t i, size_t j, double *y,
                            double *weight) {
    if (!nf_target_of(rule, i, j, y, weight)) return false;
    *weight *= nf_target_weight(rule, 0, i) * nf_target_weight(rule, 1, j);
    return true;
}

/* phi and dphi/dt of one side. */
static int term(const nf_separable *state, const nf_targets_rule *rule, int side, double t,
                double *value, double *slope) {
    const nf_loss *loss = state->job->loss;
    if (loss->kind == NF_KIND_USER) return nf_user_term(loss->function, side, t, value, slope);
    *value = nf_term(&rule->side[side], side, t, slope);
    return 0;
}

static double distance_at(const nf_strip *strip, size_t at) {
    return strip->type == NF_FLOAT32 ? (double)((const float *)strip->t)[at]
                                     : ((const double *)strip->t)[at];
}

/* Both sides of one pair, as far as this pass has them; the slope is theirs together. */
static int one_pair(const nf_separable *state, double y, double weight, double t,
                    nf_separable_sums *sums, double *slope) {
    const nf_targets_rule *rule = state->rule;
    const double share[2] = {1 - y, y};
    for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) {
        double phi, steep;
        if (!state->now->side[side] || !(share[side] > 0)) continue;
        int failure = term(state, rule, side, t, &phi, &steep);
        if (failure != 0) return failure;
        const double factor = weight * share[side];
        *slope += factor > 0 ? state->coefficient[side] * factor * steep : 0;
        sums->value[side] += factor > 0 ? factor * phi : 0;
        sums->distance[side] += t;
        if (factor > 0 && phi > 0) {
            sums->active[side]++;
            sums->mass[side] += share[side];
        }
        if (side == NF_NEGATIVE && t == 0 && state->now->metric != NF_DOT) sums->coincident++;
    }
    return 0;
}

static int target_strip(void *user, const nf_strip *strip) {
    nf_separable *state = user;
    const nf_targets_rule *rule = state->rule;
    nf_separable_sums *sums = &state->block[strip->block];
    for (size_t r = 0; r < strip->rows; r++) {
        for (size_t c = 0; c < strip->cols; c++) {
            const size_t at = r * strip->ld + c;
            double y, weight, slope = 0;
            if (weighted_target(&rule->rule[state->own], strip->i + r, strip->j + c, &y, &weight)) {
                int failure = one_pair(state, y, weight, distance_at(strip, at), sums, &slope);
                if (failure != 0) return failure;
            }
            if (strip->type == NF_FLOAT32) {
                ((float *)strip->slope)[at] = (float)slope;
            } else {
                ((double *)strip->slope)[at] = slope;
            }
        }
    }
    return 0;
}

/* ---- hard pairs ------------------------------------------------------------------------------- */

/* Distances of pairs with a weight, to each side that they have a share in. */
static int range_strip(void *user, const nf_strip *strip) {
    const nf_separable *state = user;
    const nf_online_pairs *pairs = state->rule;
    const nf_targets_rule *rule = pairs->rule;
    nf_online_range *range = &pairs->block[strip->block];
    for (size_t r = 0; r < strip->rows; r++) {
        for (size_t c = 0; c < strip->cols; c++) {
            const double t = distance_at(strip, r * strip->ld + c);
            double y, weight;
            if (!weighted_target(&rule->rule[state->own], strip->i + r, strip->j + c, &y, &weight))
                continue;
            if (!(weight > 0)) continue;
            if (y > 0) nf_online_see(range, NF_POSITIVE, t);
            if (y < 1) nf_online_see(range, NF_NEGATIVE, t);
        }
    }
    return 0;
}

/* A loss of the hard pairs becomes one of kind user, kept in *online. */
static nf_status choose_hard(nf_context *context, nf_tiled_job *job, const nf_targets_rule *rule,
                             nf_online *online) {
    nf_online_range range;
    if (job->loss->kind != NF_KIND_ONLINE_CONTRASTIVE) return NF_OK;
    nf_status status = nf_online_measure(context, job, range_strip, true, rule, &range);
    if (status != NF_OK) return status;
    nf_online_choose(job->loss, &range, online);
    job->loss = &online->loss;
    return NF_OK;
}

/* ---- what the reductions divide by ------------------------------------------------------------- */

static nf_status count(nf_context *context, const nf_target_job *job, nf_separable *state,
                       uint64_t pairs[2]) {
    const nf_target_rule *rule = job->rule;
    const size_t n = job->x[0].rows, m = job->x[job->sets - 1].rows;
    for (size_t i = 0; i < n; i++) {
        double mass[2] = {0, 0}, weights = 0; /* of a row, so that sums stay exact for longer */
        for (size_t j = job->sets == 1 ? i + 1 : 0; j < m; j++) {
            double y, weight;
            if (!weighted_target(rule, i, j, &y, &weight)) continue;
            pairs[NF_POSITIVE] += y > 0;
            pairs[NF_NEGATIVE] += y < 1;
            mass[NF_POSITIVE] += y;
            mass[NF_NEGATIVE] += 1 - y;
            weights += weight;
            state->pairs += 1;
        }
        state->mass[0] += mass[0];
        state->mass[1] += mass[1];
        state->weight += weights;
        nf_progress_add(context, 0);
        nf_status status = nf_progress_status(context);
        if (status != NF_OK) return status;
    }
    return NF_OK;
}

/* ---- the run ----------------------------------------------------------------------------------- */

/* Rows as they come, all in one class: the rule says what is a pair. Losses of anchors have no terms of
 * rows that are in no pair, and so leave out what has no label. */
static nf_status make_side(nf_context *context, const nf_target_job *job, int s,
                           nf_tiled_side *side) {
    const nf_matrix x = job->x[s];
    const bool all = is_separable(job->loss);
    size_t *order;
    int64_t *class_of;
    nf_status status = nf_scratch(context, &order, x.rows, sizeof *order, "row order");
    if (status == NF_OK) {
        status = nf_scratch(context, &class_of, x.rows, sizeof *class_of, "classes");
    }
    if (status != NF_OK) return status;
    size_t rows = 0;
    for (size_t r = 0; r < x.rows; r++) {
        if (all || nf_target_is_labelled(job->rule, s, r)) order[rows++] = r;
    }
    if (x.rows > 0) memset(class_of, 0, x.rows * sizeof *class_of);
    *side = (nf_tiled_side){
        .x = x, .order = order, .count = rows, .class_of = class_of, .gradient = job->gradient[s]};
    return NF_OK;
}

static nf_status run(nf_context *context, nf_separable *state, nf_targets_rule *targets,
                     nf_loss_result *result) {
    const nf_tiled_job *job = state->job;
    const nf_loss *loss = job->loss;
    const nf_target_rule *rule = &targets->rule[0];
    if (loss->kind == NF_KIND_N_PAIRS) return nf_target_run_npairs(context, job, rule, result);
    if (!is_separable(loss)) return nf_target_run(context, job, rule, result);
    for (int s = NF_NEGATIVE; s <= NF_POSITIVE; s++) {
        targets->side[s] = nf_term_side(loss, s, 1 / loss->scale);
    }
    return nf_separable_run(context, state, result);
}

nf_status nf_target_loss(nf_context *context, const nf_target_job *job, nf_loss_result *result) {
    nf_scope scope = nf_scope_enter(context);
    nf_targets_rule targets = {.rule = {*job->rule, nf_target_turned(job->rule)}};
    nf_tiled_side side[2];
    nf_online online;
    nf_tiled_job tiled = {
        .loss = job->loss, .a = &side[0], .b = &side[job->sets - 1], .rows = job->rows};
    nf_separable state = {.job = &tiled, .run = target_strip, .anywhere = true, .rule = &targets};
    nf_status status = make_side(context, job, 0, &side[0]);
    if (status == NF_OK && job->sets == 2) status = make_side(context, job, 1, &side[1]);
    if (status == NF_OK) status = count(context, job, &state, tiled.pairs);
    if (status == NF_OK) status = choose_hard(context, &tiled, &targets, &online);
    if (status == NF_OK) status = run(context, &state, &targets, result);
    return nf_scope_leave(context, scope, status);
}

/* ---- the call ---------------------------------------------------------------------------------- */

/* What all forms with targets refuse, given whether terms of rows may be kept. */
static nf_status check_loss(nf_context *context, const nf_loss *loss, nf_type type,
                            const void *targets, bool of_rows) {
    nf_status status = nf_loss_check(context, loss);
    if (status != NF_OK) return status;
    if (is_separable(loss) && (of_rows || loss->reduction == NF_REDUCE_NONE)) {
        return nf_fail(context, NF_ERR_ARG,
                       "a loss of kind %s has terms of pairs, not of rows: with targets take a "
                       "reduction that gives a number, such as sum or mean, and no terms",
                       nf_loss_kind_name(loss->kind));
    }
    if (loss->kind == NF_KIND_USER && type == NF_FLOAT64 && loss->function->f64 == NULL) {
        return nf_fail(context, NF_ERR_ARG,
                       "the function has no f64 and the rows are float64: give it one, or pass "
                       "float32");
    }
    if (targets != NULL) return NF_OK;
    return nf_fail(context, NF_ERR_ARG, "targets is NULL: say what is positive");
}

static nf_status check_reduced(nf_context *context, const nf_loss *loss) {
    if (loss == NULL || loss->reduction != NF_REDUCE_NONE) return NF_OK;
    return nf_fail(context, NF_ERR_ARG,
                   "reduction is %s: with targets it must be one that gives a number, "
                   "such as sum or mean, or the terms of rows are asked for: "
                   "nf_loss_targets_anchors",
                   nf_reduction_name(loss->reduction));
}

static nf_status run_batch(nf_context *context, const nf_loss *loss, nf_matrix x,
                           const nf_targets *targets, const nf_row_terms *extras, bool of_rows,
                           nf_loss_result *result, nf_matrix_out gradient) {
    const nf_matrix inputs[2] = {x, {0}};
    const nf_matrix_out gradients[2] = {gradient, {0}};
    const char *const x_name[2] = {"x", ""}, *const name[2] = {"gradient", ""};
    nf_target_rule rule;
    nf_status status = check_loss(context, loss, x.type, targets, of_rows);
    if (status == NF_OK) status = nf_check_result(context, result);
    if (status == NF_OK) status = nf_check_features(context, x, "x");
    if (status == NF_OK) status = nf_check_gradient(context, gradient, "gradient", x, "x");
    if (status == NF_OK) {
        status = nf_row_terms_check(context, loss, extras, inputs, x_name, gradients, name);
    }
    if (status == NF_OK) status = nf_target_rule_make(context, targets, x.rows, &rule);
    if (status == NF_OK) status = nf_target_check_kind(context, loss, &rule, x.rows, x.rows);
    if (status != NF_OK) return status;
    const nf_target_job job = {
        .loss = loss, .rule = &rule, .sets = 1, .x = {x}, .gradient = {gradient}, .rows = extras};
    return nf_target_loss(context, &job, result);
}

nf_status nf_loss_targets(nf_context *context, const nf_loss *loss, nf_matrix x,
                          const nf_targets *targets, nf_loss_result *result,
                          nf_matrix_out gradient) {
    nf_scope scope = nf_scope_enter(context);
    nf_status status = check_reduced(context, loss);
    if (status == NF_OK) {
        status = run_batch(context, loss, x, targets, NULL, false, result, gradient);
    }
    return nf_scope_leave(context, scope, status);
}

nf_status nf_loss_targets_anchors(nf_context *context, const nf_loss *loss, nf_matrix x,
                                  const nf_targets *targets, const nf_row_terms *extras,
                                  nf_loss_result *result, nf_matrix_out gradient) {
    nf_scope scope = nf_scope_enter(context);
    return nf_scope_leave(context, scope,
                          run_batch(context, loss, x, targets, extras, true, result, gradient));
}

/* Weights of reference rows, of which no term of an anchor starts. */
static nf_status check_reference_weights(nf_context *context, const nf_loss *loss,
                                         const nf_row_targets *reference) {
    if (is_separable(loss)) return NF_OK;
    if (reference->row_weight == NULL && reference->class_weights == 0) return NF_OK;
    return nf_fail(context, NF_ERR_ARG,
                   "targets.reference.%s is given: a loss of kind %s weighs the terms that start "
                   "from a row, and none starts from the reference; use targets.pair_weight",
                   reference->row_weight != NULL ? "row_weight" : "class_weights",
                   nf_loss_kind_name(loss->kind));
}

nf_status nf_loss_targets_reference(nf_context *context, const nf_loss *loss,
                                    const nf_loss_sets *sets, const nf_reference_targets *targets,
                                    const nf_row_terms *extras, nf_loss_result *result,
                                    nf_matrix_out query_gradient,
                                    nf_matrix_out reference_gradient) {
    nf_scope scope = nf_scope_enter(context);
    nf_target_rule rule;
    nf_status status = nf_sets_check(context, sets, false);
    if (status == NF_OK) {
        status = check_loss(context, loss, sets->query.type, targets, extras != NULL);
    }
    if (status == NF_OK) status = nf_check_result(context, result);
    if (status == NF_OK) {
        status =
            nf_sets_check_outputs(context, loss, sets, extras, query_gradient, reference_gradient);
    }
    if (status == NF_OK) status = check_reference_weights(context, loss, &targets->reference);
    if (status == NF_OK) status = nf_target_rule_make_sets(context, sets, targets, &rule);
    if (status == NF_OK) {
        status = nf_target_check_kind(context, loss, &rule, sets->query.rows, sets->reference.rows);
    }
    if (status == NF_OK) {
        const nf_target_job job = {.loss = loss,
                                   .rule = &rule,
                                   .sets = 2,
                                   .x = {sets->query, sets->reference},
                                   .gradient = {query_gradient, reference_gradient},
                                   .rows = extras};
        status = nf_target_loss(context, &job, result);
    }
    return nf_scope_leave(context, scope, status);
}
