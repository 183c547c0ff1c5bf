/* Names, defaults and checks of the miners. */
#include <math.h>

#include "base/names.h"
#include "pairs/mine.h"

NF_NAMES(miners, "miner", NF_MINER_MAP);
NF_NAMES(violations, "violation", NF_VIOLATION_MAP);

const char *nf_miner_name(nf_miner miner) { return nf_name_of(&miners, (int)miner); }

const char *nf_violation_name(nf_violation violation) {
    return nf_name_of(&violations, (int)violation);
}

nf_status nf_miner_parse(nf_context *context, const char *name, nf_miner *miner) {
    int value;
    nf_status status = nf_name_parse(context, &miners, name, &value);
    if (status == NF_OK) *miner = (nf_miner)value;
    return status;
}

nf_mine_options nf_mine_defaults(nf_miner miner) {
    return (nf_mine_options){.miner = miner,
                             .metric = miner == NF_MINE_MULTI_SIMILARITY ? NF_COSINE : NF_EUCLIDEAN,
                             .normalize = miner != NF_MINE_MULTI_SIMILARITY,
                             .pos_margin = 0.2,
                             .neg_margin = 0.8,
                             .epsilon = 0.1,
                             .margin = 0.2,
                             .violation = miner == NF_MINE_SEMI_HARD ? NF_VIOLATION_SEMI_HARD
                                                                     : NF_VIOLATION_ALL,
                             .cutoff = 0.5,
                             .nonzero_loss_cutoff = 1.4};
}

/* ---- check ------------------------------------------------------------------------------------ */

static nf_status check_finite(nf_context *context, double value, const char *name) {
    if (isfinite(value)) return NF_OK;
    return nf_fail(context, NF_ERR_ARG, "%s is %g: it must be finite", name, value);
}

static nf_status check_weighted(nf_context *context, const nf_mine_options *options) {
    if (options->metric != NF_EUCLIDEAN || !options->normalize) {
        return nf_fail(context, NF_ERR_ARG,
                       "distance-weighted needs metric euclidean and normalize 1: its density is "
                       "that of distances on the unit sphere");
    }
    if (!(options->cutoff > 0)) {
        return nf_fail(context, NF_ERR_ARG, "cutoff is %g: it must be above 0", options->cutoff);
    }
    return NF_OK;
}

bool nf_mine_gives_triplets(nf_miner miner) {
    return miner != NF_MINE_PAIR_MARGIN && miner != NF_MINE_MULTI_SIMILARITY;
}

nf_status nf_mine_check(nf_context *context, const nf_mine_options *options) {
    if (options == NULL) {
        return nf_fail(context, NF_ERR_ARG,
                       "options is NULL: pass nf_mine_defaults(miner), changed as wanted");
    }
    if (nf_miner_name(options->miner) == NULL) {
        return nf_fail(context, NF_ERR_ARG, "miner is %d: it must be an nf_miner value",
                       (int)options->miner);
    }
    if (nf_metric_name(options->metric) == NULL) {
        return nf_fail(context, NF_ERR_ARG, "metric is %d: it must be an nf_metric value",
                       (int)options->metric);
    }
    if (nf_violation_name(options->violation) == NULL) {
        return nf_fail(context, NF_ERR_ARG, "violation is %d: it must be an nf_violation value",
                       (int)options->violation);
    }
    nf_status status = check_finite(context, options->pos_margin, "pos_margin");
    if (status == NF_OK) status = check_finite(context, options->neg_margin, "neg_margin");
    if (status == NF_OK) status = check_finite(context, options->epsilon, "epsilon");
    if (status == NF_OK) status = check_finite(context, options->margin, "margin");
    if (status == NF_OK) status = check_finite(context, options->cutoff, "cutoff");
    if (status == NF_OK) {
        status = check_finite(context, options->nonzero_loss_cutoff, "nonzero_loss_cutoff");
    }
    if (status == NF_OK && options->miner == NF_MINE_DISTANCE_WEIGHTED) {
        status = check_weighted(context, options);
    }
    return status;
}

/* ---- the call --------------------------------------------------------------------------------- */

static nf_miner_fn function_of(nf_miner miner, bool within) {
    switch (miner) {
    case NF_MINE_PAIR_MARGIN: return within ? nf_mine_pair_margin : nf_mine_pair_margin_between;
    case NF_MINE_MULTI_SIMILARITY: return nf_mine_multi_similarity;
    case NF_MINE_BATCH_HARD: return nf_mine_batch_hard;
    case NF_MINE_EASY_POSITIVE: return nf_mine_easy_positive;
    case NF_MINE_DISTANCE_WEIGHTED: return nf_mine_distance_weighted;
    case NF_MINE_TRIPLET_MARGIN:
    case NF_MINE_SEMI_HARD: break;
    }
    return nf_mine_triplet_margin;
}

static nf_status mine(nf_context *context, const nf_mine_options *options, const nf_mine_data *data,
                      nf_mined **mined) {
    nf_status status = nf_mine_check(context, options);
    if (status != NF_OK) return status;
    nf_mine_options chosen = *options;
    if (chosen.miner == NF_MINE_SEMI_HARD) chosen.violation = NF_VIOLATION_SEMI_HARD;
    const nf_mine_weighted weighted = {&chosen, (double)data->sets.query.cols, data->within};
    const bool drawn = chosen.miner == NF_MINE_DISTANCE_WEIGHTED;
    nf_mine_job job = {.metric = chosen.metric,
                       .normalize = chosen.normalize,
                       .miner = function_of(chosen.miner, data->within),
                       .options = drawn ? (const void *)&weighted : (const void *)&chosen,
                       .triplets = nf_mine_gives_triplets(chosen.miner)};
    return nf_mine_run(context, &job, data, mined);
}

nf_status nf_mine(nf_context *context, const nf_mine_options *options, nf_matrix x,
                  nf_labels labels, nf_mined **mined) {
    nf_scope scope = nf_scope_enter(context);
    const nf_mine_data data = nf_mine_within(x, labels);
    return nf_scope_leave(context, scope, mine(context, options, &data, mined));
}

nf_status nf_mine_reference(nf_context *context, const nf_mine_options *options,
                            const nf_mine_sets *sets, nf_mined **mined) {
    nf_scope scope = nf_scope_enter(context);
    nf_mine_data data;
    nf_status status = nf_mine_between(context, sets, &data);
    if (status == NF_OK) status = mine(context, options, &data, mined);
    return nf_scope_leave(context, scope, status);
}
