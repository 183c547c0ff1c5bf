/* Batches whose pairs are told by targets: weights and groups beside labels, or label sets and soft
 * targets instead of them. */
#include <string.h>

#include "base/random.h"
#include "train/train.h"

/* ---- checks ------------------------------------------------------------------------------------- */

static nf_status check_options(nf_run *run) {
    const nf_train_options *o = &run->options;
    if (o->sampling == NF_SAMPLE_PAIRS) {
        return nf_fail(run->context, NF_ERR_ARG, "targets go with batches: use sampling %s",
                       run->source.own_positives ? "random or all" : "m-per-class, random or all");
    }
    if (o->mine != NULL) {
        return nf_fail(run->context, NF_ERR_ARG,
                       "mine is %s: a miner looks at labels alone; use none with targets",
                       nf_miner_name(o->mine->miner));
    }
    if (o->learn_beta != NF_LEARN_BETA_NONE) {
        return nf_fail(run->context, NF_ERR_ARG,
                       "learn_beta is set: the boundary is learnt from labels alone; use none with "
                       "targets");
    }
    if (!run->source.own_positives || o->sampling != NF_SAMPLE_M_PER_CLASS) return NF_OK;
    return nf_fail(
        run->context, NF_ERR_ARG,
        "sampling is m-per-class: rows with label sets or soft targets have no class; use "
        "random or all");
}

static nf_status check_labels(nf_run *run, const nf_train_data *data) {
    if (data->targets->labels.data != NULL) {
        return nf_fail(run->context, NF_ERR_ARG,
                       "targets.labels is given: the labels of the rows are data.labels");
    }
    if (!run->source.own_positives || data->labels.data == NULL) return NF_OK;
    return nf_fail(run->context, NF_ERR_ARG,
                   "labels and targets.%s are given: keep the one that says what is positive",
                   data->targets->sets != NULL ? "sets" : "soft");
}

nf_status nf_source_targets_make(nf_run *run, const nf_train_data *data) {
    nf_source *s = &run->source;
    nf_target_rule *rule;
    if (data->targets == NULL) return NF_OK;
    nf_targets targets = *data->targets;
    nf_status status = check_labels(run, data);
    if (status == NF_OK) status = check_options(run);
    if (status == NF_OK) status = nf_scratch(run->context, &rule, 1, sizeof *rule, "targets");
    if (status != NF_OK) return status;
    if (!s->own_positives) targets.labels = data->labels;
    status = nf_target_rule_make(run->context, &targets, data->x.rows, rule);
    if (status == NF_OK) {
        status = nf_target_check_kind(run->context, &run->options.loss, rule, data->x.rows,
                                      data->x.rows);
    }
    s->targets = rule;
    return status;
}

/* ---- the source --------------------------------------------------------------------------------- */

/* A pair with y > 1/2 (a positive) or not, the first in row order. */
static bool find_pair(const nf_source *s, bool positive, size_t pair[2]) {
    for (size_t i = 0; i < s->rows; i++) {
        for (size_t j = i + 1; j < s->rows; j++) {
            double y, weight;
            if (!nf_target_of(s->targets, s->row[i], s->row[j], &y, &weight)) continue;
            if ((y > 0.5) != positive) continue;
            pair[0] = i;
            pair[1] = j;
            return true;
        }
    }
    return false;
}

static nf_status check_sides(nf_run *run) {
    nf_source *s = &run->source;
    if (s->rows < 2) {
        return nf_fail(run->context, NF_ERR_DATA, "%zu labelled row%s: training needs at least 2",
                       s->rows, s->rows == 1 ? "" : "s");
    }
    for (int side = 0; side < 2; side++) {
        if (find_pair(s, side == 1, s->example[side])) continue;
        return nf_fail(run->context, NF_ERR_DATA,
                       "no pair of the %zu rows has a target %s 1/2: training needs %s pairs too",
                       s->rows, side == 1 ? "above" : "of at most",
                       side == 1 ? "positive" : "negative");
    }
    return NF_OK;
}

nf_status nf_source_targets(nf_run *run, nf_matrix x) {
    nf_source *s = &run->source;
    nf_context *context = run->context;
    size_t *row, rows = 0;
    int64_t *classes;
    nf_status status = nf_scratch(context, &row, x.rows, sizeof *row, "training rows");
    if (status == NF_OK) {
        status = nf_scratch(context, &classes, x.rows, sizeof *classes, "training rows");
    }
    if (status != NF_OK) return status;
    for (size_t r = 0; r < x.rows; r++) {
        if (nf_target_is_labelled(s->targets, 0, r)) row[rows++] = r;
    }
    if (rows > 0) memset(classes, 0, rows * sizeof *classes);
    status = nf_source_labels(run, x, row, rows, classes);
    return status == NF_OK ? check_sides(run) : status;
}

/* ---- steps -------------------------------------------------------------------------------------- */

nf_status nf_source_targets_loss(nf_run *run, nf_loss_result *result) {
    const nf_source *s = &run->source;
    const size_t d = run->model->options.outputs;
    nf_target_rule rule = *s->targets;
    rule.side[0].row = rule.side[1].row = s->step_row;
    const nf_target_job job = {.loss = &run->options.loss,
                               .rule = &rule,
                               .sets = 1,
                               .x = {nf_matrix_f32(run->a.y, run->rows, d)},
                               .gradient = {nf_matrix_out_f32(run->a.gradient[0], run->rows, d)}};
    return nf_target_loss(run->context, &job, result);
}

/* Random pairs until both sides are full or patience ends, after one of each that exists. */
nf_status nf_source_targets_sample(nf_run *run, nf_sample *sample) {
    const nf_source *s = &run->source;
    const uint64_t seed = run->options.seed;
    size_t taken[2] = {0, 0};
    sample->count = 0;
    sample->right_x = s->x;
    for (uint64_t draw = 0; draw < 40 * NF_DIAGNOSE_SIDE; draw++) {
        size_t i = (size_t)nf_random_below(seed, NF_STREAM_DIAGNOSTICS, 2 * draw, s->rows);
        size_t j = (size_t)nf_random_below(seed, NF_STREAM_DIAGNOSTICS, 2 * draw + 1, s->rows);
        double y, weight;
        if (draw < 2) {
            i = s->example[draw][0];
            j = s->example[draw][1];
        }
        if (!nf_target_of(s->targets, s->row[i], s->row[j], &y, &weight)) continue;
        const int side = y > 0.5;
        if (taken[side] == NF_DIAGNOSE_SIDE) continue;
        taken[side]++;
        sample->left[sample->count] = s->row[i];
        sample->right[sample->count] = s->row[j];
        sample->same[sample->count++] = (uint8_t)side;
    }
    return NF_OK;
}
