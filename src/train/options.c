/* Training options: defaults and limits. */
#include <math.h>

#include "loss/kinds.h"
#include "train/train.h"

nf_train_options nf_train_defaults(void) {
    nf_train_options options = {
        .loss = nf_loss_weston(),
        .sampling = NF_SAMPLE_M_PER_CLASS,
        .batch_size = 128,
        .per_class = 4,
        .positive_fraction = 0.5,
        .epochs = 60,
        .optimizer = NF_ADAM,
        .lr = 3e-3,
        .momentum = 0.9,
        .weight_decay = 3,
        .schedule = NF_SCHEDULE_COSINE,
        .valid_fraction = 0.1,
        .patience = 20,
    };
    options.loss.reduction = NF_REDUCE_MEAN_SIDES;
    options.loss.pos_weight = 0.1;
    return options;
}

static nf_status check_range(nf_context *context, const char *name, double value, bool good,
                             const char *limit) {
    if (good) return NF_OK;
    return nf_fail(context, NF_ERR_ARG, "%s is %g: it must be %s", name, value, limit);
}

static nf_status check_enums(nf_context *context, const nf_train_options *o) {
    if ((int)o->sampling < NF_SAMPLE_M_PER_CLASS || o->sampling > NF_SAMPLE_PAIRS) {
        return nf_fail(context, NF_ERR_ARG, "sampling is %d: it must be an nf_sampling value",
                       (int)o->sampling);
    }
    if (o->optimizer != NF_ADAM && o->optimizer != NF_SGD) {
        return nf_fail(context, NF_ERR_ARG, "optimizer is %d: it must be NF_ADAM or NF_SGD",
                       (int)o->optimizer);
    }
    if (o->schedule != NF_SCHEDULE_COSINE && o->schedule != NF_SCHEDULE_CONSTANT) {
        return nf_fail(context, NF_ERR_ARG,
                       "schedule is %d: it must be NF_SCHEDULE_COSINE or NF_SCHEDULE_CONSTANT",
                       (int)o->schedule);
    }
    return NF_OK;
}

static nf_status check_sizes(nf_context *context, const nf_train_options *o, bool labels) {
    if (o->epochs == 0) {
        return nf_fail(context, NF_ERR_ARG, "epochs is 0: it must be at least 1");
    }
    if (o->sampling != NF_SAMPLE_ALL && o->batch_size < 2) {
        return nf_fail(context, NF_ERR_ARG,
                       "batch_size is %zu: it must be at least 2, since a pair needs two rows",
                       o->batch_size);
    }
    if (labels && o->sampling == NF_SAMPLE_M_PER_CLASS &&
        (o->per_class < 2 || o->per_class > o->batch_size)) {
        return nf_fail(context, NF_ERR_ARG,
                       "per_class is %zu: it must be from 2 (a positive pair) to batch_size %zu",
                       o->per_class, o->batch_size);
    }
    if (o->memory_bank > 0 &&
        (!labels || o->sampling == NF_SAMPLE_PAIRS || o->sampling == NF_SAMPLE_ALL)) {
        return nf_fail(context, NF_ERR_ARG,
                       "memory_bank is %zu: it goes with batches of labelled rows, sampling "
                       "m-per-class or random; use 0",
                       o->memory_bank);
    }
    return NF_OK;
}

static nf_status check_beta(nf_context *context, const nf_train_options *o) {
    if ((int)o->learn_beta < NF_LEARN_BETA_NONE || o->learn_beta > NF_LEARN_BETA_CLASS) {
        return nf_fail(context, NF_ERR_ARG, "learn_beta is %d: it must be an nf_learn_beta value",
                       (int)o->learn_beta);
    }
    const bool learnt = o->learn_beta != NF_LEARN_BETA_NONE;
    if (learnt && o->loss.kind != NF_KIND_MARGIN) {
        return nf_fail(context, NF_ERR_ARG,
                       "learn_beta goes with a loss of kind margin and this one is of kind %s",
                       nf_loss_kind_name(o->loss.kind));
    }
    nf_status status =
        check_range(context, "beta_lr", o->beta_lr,
                    isfinite(o->beta_lr) && o->beta_lr >= 0 && (learnt || o->beta_lr == 0),
                    learnt ? "finite and at least 0" : "0 without learn_beta");
    if (status != NF_OK) return status;
    return check_range(context, "nu", o->nu,
                       isfinite(o->nu) && o->nu >= 0 && (learnt || o->nu == 0),
                       learnt ? "finite and at least 0" : "0 without learn_beta");
}

nf_status nf_train_options_check(nf_context *context, const nf_train_options *o, bool labels) {
    nf_status status = nf_loss_check(context, &o->loss);
    if (status == NF_OK && o->loss.reduction == NF_REDUCE_NONE) {
        status = nf_fail(context, NF_ERR_ARG,
                         "loss.reduction is none: training needs one number; use mean-sides");
    }
    if (status == NF_OK && !nf_kind_has_pair_terms(o->loss.kind) &&
        (!labels || o->sampling == NF_SAMPLE_PAIRS)) {
        status = nf_fail(context, NF_ERR_ARG,
                         "a loss of kind %s compares the pairs of a row with each other: train on "
                         "labelled rows with another sampling than pairs",
                         nf_loss_kind_name(o->loss.kind));
    }
    if (status == NF_OK) status = check_enums(context, o);
    if (status == NF_OK) status = check_beta(context, o);
    if (status == NF_OK) status = nf_mined_check(context, o, labels);
    if (status == NF_OK) status = check_sizes(context, o, labels);
    if (status == NF_OK) {
        status =
            check_range(context, "lr", o->lr, isfinite(o->lr) && o->lr > 0, "finite and above 0");
    }
    if (status == NF_OK && o->optimizer == NF_SGD) {
        status = check_range(context, "momentum", o->momentum, o->momentum >= 0 && o->momentum < 1,
                             "at least 0 and below 1");
    }
    if (status == NF_OK) {
        status =
            check_range(context, "weight_decay", o->weight_decay,
                        isfinite(o->weight_decay) && o->weight_decay >= 0, "finite and at least 0");
    }
    if (status == NF_OK && labels && o->sampling == NF_SAMPLE_PAIRS) {
        status = check_range(context, "positive_fraction", o->positive_fraction,
                             o->positive_fraction > 0 && o->positive_fraction < 1,
                             "above 0 and below 1: training needs pairs of both sides");
    }
    if (status == NF_OK) {
        status = check_range(context, "valid_fraction", o->valid_fraction,
                             o->valid_fraction >= 0 && o->valid_fraction < 1,
                             "at least 0 (none) and below 1");
    }
    return status;
}
