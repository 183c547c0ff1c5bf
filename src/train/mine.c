/* Mining: the loss of a batch over the pairs or triplets that a miner finds in its embedding. */
#include "base/random.h"
#include "pairs/mine.h"
#include "train/train.h"

/* ---- checks ----------------------------------------------------------------------------------- */

static bool of_pairs(const nf_loss *loss) {
    return loss->kind == NF_KIND_CONTRASTIVE || loss->kind == NF_KIND_USER;
}

/* A loss with terms of what the miner finds. */
static nf_status check_loss(nf_context *context, const nf_train_options *o) {
    const nf_loss *loss = &o->loss;
    const char *miner = nf_miner_name(o->mine->miner), *kind = nf_loss_kind_name(loss->kind);
    if (of_pairs(loss)) return NF_OK;
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
    if (o->memory_bank > 0) {
        return nf_fail(context, NF_ERR_ARG,
                       "mine is %s and memory_bank %zu: a miner looks at the batch alone; use one "
                       "of them",
                       miner, o->memory_bank);
    }
    if (o->mine->seed != 0) {
        return nf_fail(context, NF_ERR_ARG,
                       "mine.seed is set: the draws of a training follow its own seed; leave it 0");
    }
    return check_loss(context, o);
}

/* ---- steps ------------------------------------------------------------------------------------ */

nf_status nf_source_mined_loss(nf_run *run, nf_loss_result *result) {
    const nf_loss *loss = &run->options.loss;
    const size_t d = run->model->options.outputs;
    const nf_matrix y = nf_matrix_f32(run->a.y, run->rows, d);
    const nf_matrix_out gradient = nf_matrix_out_f32(run->a.gradient[0], run->rows, d);
    nf_mine_options options = *run->options.mine;
    const nf_labels labels = {run->source.step_labels, run->rows, 0};
    nf_mined *mined = NULL;
    options.seed = nf_random(run->options.seed, NF_STREAM_MINING, run->step);
    nf_status status = nf_mine(run->context, &options, y, labels, &mined);
    if (status != NF_OK) return status;
    if (nf_mine_gives_triplets(options.miner)) {
        const nf_triplet_list list = {mined->triplets, mined->anchor, mined->positive,
                                      mined->negative};
        run->mined = list.count;
        const nf_margin_beta beta = nf_beta_view(run);
        status = beta.count > 0 ? nf_loss_margin_triplets(run->context, loss, y, labels, list,
                                                          &beta, result, gradient)
                                : nf_loss_triplets(run->context, loss, y, list, result, gradient);
    } else {
        run->mined = mined->pairs.count;
        status = nf_loss_pairs(run->context, loss, y, mined->pairs, NULL, result, gradient);
    }
    nf_mined_free(run->context, mined);
    return status;
}
