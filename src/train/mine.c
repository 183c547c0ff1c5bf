/* Mining: the loss of a batch over the pairs or triplets that a miner finds in its embedding, or between
 * it and a memory bank. */
#include <string.h>

#include "base/random.h"
#include "loss/kinds.h"
#include "pairs/mine.h"
#include "train/bank.h"
#include "train/train.h"

/* ---- checks ----------------------------------------------------------------------------------- */

/* A loss with terms of what the miner finds. */
static nf_status check_loss(nf_context *context, const nf_train_options *o) {
    const nf_loss *loss = &o->loss;
    const char *miner = nf_miner_name(o->mine->miner), *kind = nf_loss_kind_name(loss->kind);
    if (nf_kind_has_pair_terms(loss->kind)) return NF_OK;
    if (loss->kind != NF_KIND_TRIPLET && loss->kind != NF_KIND_MARGIN) {
        return nf_fail(context, NF_ERR_ARG,
                       "mine is %s: a loss of kind %s compares all pairs of a row with each other "
                       "and has no terms for mined ones; train it without a miner, or use a loss "
                       "of kind contrastive%s",
                       miner, kind,
                       nf_mine_gives_triplets(o->mine->miner) ? ", triplet or margin" : "");
    }
    if (!nf_mine_gives_triplets(o->mine->miner)) {
        return nf_fail(context, NF_ERR_ARG,
                       "mine is %s, which finds pairs: a loss of kind %s needs triplets; use a "
                       "miner such as batch-hard or semi-hard, or a loss of kind contrastive",
                       miner, kind);
    }
    if (loss->triplets == NF_TRIPLETS_ALL) return NF_OK;
    return nf_fail(context, NF_ERR_ARG,
                   "mine is %s and loss.triplets %s: both choose triplets; use triplets all", miner,
                   nf_triplets_name(loss->triplets));
}

nf_status nf_mined_check(nf_context *context, const nf_train_options *o, bool labels) {
    if (o->mine == NULL) return NF_OK;
    nf_status status = nf_mine_check(context, o->mine);
    if (status != NF_OK) return status;
    const char *miner = nf_miner_name(o->mine->miner);
    if (!labels || o->sampling == NF_SAMPLE_PAIRS) {
        return nf_fail(context, NF_ERR_ARG,
                       "mine is %s: a miner looks for pairs in batches of labelled rows; use "
                       "sampling m-per-class, random or all",
                       miner);
    }
    if (o->mine->seed != 0) {
        return nf_fail(context, NF_ERR_ARG,
                       "mine.seed is set: the draws of a training follow its own seed; leave it 0");
    }
    return check_loss(context, o);
}

/* ---- steps ------------------------------------------------------------------------------------ */

/* What a miner found, and the rows that it numbers. */
typedef struct mined_rows {
    nf_matrix x; /* the batch; with a bank its rows follow */
    nf_labels labels;
    nf_matrix_out gradient;
    nf_mined *mined;
    size_t others; /* the row that positives and negatives count from: 0, or the bank's first */
} mined_rows;

static nf_status mine_batch(nf_run *run, const nf_mine_options *options, mined_rows *rows) {
    const size_t d = run->model->options.outputs;
    rows->x = nf_matrix_f32(run->a.y, run->rows, d);
    rows->labels = (nf_labels){run->source.step_labels, run->rows, 0};
    rows->gradient = nf_matrix_out_f32(run->a.gradient[0], run->rows, d);
    return nf_mine(run->context, options, rows->x, rows->labels, &rows->mined);
}

/* Batch and bank as one matrix, so that the losses of lists serve. */
static nf_status join(nf_context *context, nf_matrix x, nf_labels labels, const nf_bank_rows *held,
                      mined_rows *rows) {
    const size_t n = x.rows, m = held->x.rows, d = x.cols;
    float *both, *slopes;
    int64_t *label;
    nf_status status = nf_scratch(context, &both, n + m, d * sizeof *both, "batch and bank");
    if (status == NF_OK) {
        status = nf_scratch(context, &slopes, n + m, d * sizeof *slopes, "batch and bank");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &label, n + m, sizeof *label, "batch and bank");
    }
    if (status != NF_OK) return status;
    memcpy(both, x.data, n * d * sizeof *both);
    memcpy(both + n * d, held->x.data, m * d * sizeof *both);
    memcpy(label, labels.data, n * sizeof *label);
    memcpy(label + n, held->labels.data, m * sizeof *label);
    rows->x = nf_matrix_f32(both, n + m, d);
    rows->labels = (nf_labels){label, n + m, 0};
    rows->gradient = nf_matrix_out_f32(slopes, n + m, d);
    rows->others = n;
    return NF_OK;
}

/* Anchors are rows of the batch, the others rows of the bank, which holds the batch too; a row does not
 * meet its older self. */
static nf_status mine_bank(nf_run *run, const nf_mine_options *options, mined_rows *rows) {
    nf_source *s = &run->source;
    const nf_matrix y = nf_matrix_f32(run->a.y, run->rows, run->model->options.outputs);
    const nf_labels labels = {s->step_labels, run->rows, 0};
    nf_status status = nf_bank_push(run->context, s->bank, y, labels, s->step_ids);
    if (status != NF_OK) return status;
    const nf_bank_rows held = nf_bank_get_rows(s->bank);
    const nf_mine_sets sets = {y, held.x, labels, held.labels, s->step_ids, held.ids};
    status = nf_mine_reference(run->context, options, &sets, &rows->mined);
    return status == NF_OK ? join(run->context, y, labels, &held, rows) : status;
}

/* Row numbers counted from `first`. */
static nf_status from_first(nf_context *context, size_t first, size_t count, const int64_t **row) {
    int64_t *moved;
    if (first == 0) return NF_OK;
    nf_status status = nf_scratch(context, &moved, count, sizeof *moved, "mined rows");
    if (status != NF_OK) return status;
    for (size_t k = 0; k < count; k++) moved[k] = (*row)[k] + (int64_t)first;
    *row = moved;
    return NF_OK;
}

static nf_status loss_of_triplets(nf_run *run, const mined_rows *rows, nf_loss_result *result) {
    const nf_loss *loss = &run->options.loss;
    const nf_margin_beta beta = nf_beta_view(run);
    const nf_mined *mined = rows->mined;
    nf_triplet_list list = {mined->triplets, mined->anchor, mined->positive, mined->negative};
    nf_status status = from_first(run->context, rows->others, list.count, &list.positive);
    if (status == NF_OK) {
        status = from_first(run->context, rows->others, list.count, &list.negative);
    }
    if (status != NF_OK) return status;
    run->mined = list.count;
    if (beta.count == 0) {
        return nf_loss_triplets(run->context, loss, rows->x, list, result, rows->gradient);
    }
    return nf_loss_margin_triplets(run->context, loss, rows->x, rows->labels, list, &beta, result,
                                   rows->gradient);
}

static nf_status loss_of_pairs(nf_run *run, const mined_rows *rows, nf_loss_result *result) {
    nf_pairs pairs = rows->mined->pairs;
    nf_status status = from_first(run->context, rows->others, pairs.count, &pairs.j);
    if (status != NF_OK) return status;
    run->mined = pairs.count;
    return nf_loss_pairs(run->context, &run->options.loss, rows->x, pairs, NULL, result,
                         rows->gradient);
}

nf_status nf_source_mined_loss(nf_run *run, nf_loss_result *result) {
    nf_scope scope = nf_scope_enter(run->context);
    nf_mine_options options = *run->options.mine;
    mined_rows rows = {.mined = NULL};
    options.seed = nf_random(run->options.seed, NF_STREAM_MINING, run->step);
    nf_status status = run->source.bank != NULL ? mine_bank(run, &options, &rows)
                                                : mine_batch(run, &options, &rows);
    if (status == NF_OK) {
        status = nf_mine_gives_triplets(options.miner) ? loss_of_triplets(run, &rows, result)
                                                       : loss_of_pairs(run, &rows, result);
    }
    if (status == NF_OK && rows.others > 0) {
        memcpy(run->a.gradient[0], rows.gradient.data,
               run->rows * rows.x.cols * sizeof *run->a.gradient[0]);
    }
    nf_mined_free(run->context, rows.mined);
    return nf_scope_leave(run->context, scope, status);
}
