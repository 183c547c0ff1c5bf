/* Losses that compare the pairs of an anchor, under targets: every sum over positives is one over all
 * pairs with the factor w y, every sum over negatives one with w (1 - y), and the anchor's terms have
 * the weight of its row. doc/math/targets.md. */
#ifndef NF_LOSS_TARGET_TERMS_H
#define NF_LOSS_TARGET_TERMS_H

#include "loss/anchored.h"
#include "loss/softmax.h"
#include "loss/target.h"

/* What the functions of an anchor below are given. */
typedef struct nf_target_terms {
    const nf_loss *loss;
    const nf_target_rule *rule;
    nf_softmax softmax; /* exponents */
    const double
        *upstream; /* (rows) what the terms of an anchor count for in the gradient; or NULL */
    double *term;  /* (rows) out: sum of an anchor's terms, not shared out; or NULL */
    /* lifted structure: of every row the log sum of its negatives, and of every anchor what its terms
     * count for in the gradient, but for the weights of pairs */
    double *log_sum, *share;
    /* the same over two sets: of every row of the other set the log sum of its negatives, and the
     * derivative of the loss with respect to it; NULL within one set */
    double *other_log_sum, *other_pull;
} nf_target_terms;

/* Terms of positive pairs: NT-Xent, N-pairs, lifted structure. An nf_anchor_fn. */
void nf_target_pair_terms(const void *terms, const nf_anchor *anchor, nf_anchor_terms *out);

/* A loss of any kind but contrastive and user; rows of `job` in order are those that the rule does not
 * leave out. */
nf_status nf_target_run(nf_context *context, const nf_tiled_job *job, const nf_target_rule *rule,
                        nf_loss_result *result) NF_MUST_USE;

/* The same for kind n-pairs, whose pairs it chooses within one set. */
nf_status nf_target_run_npairs(nf_context *context, const nf_tiled_job *job,
                               const nf_target_rule *rule, nf_loss_result *result) NF_MUST_USE;

/* What is asked of the terms of anchors, before a run of their function and after it. The upstream of
 * terms of pairs is for the function, any other for the run, which is given *rows. */
nf_status nf_target_begin_terms(nf_context *context, const nf_tiled_job *job, bool pairs,
                                nf_target_terms *terms, nf_anchored_job *anchored,
                                nf_row_terms *rows) NF_MUST_USE;
void nf_target_write_terms(const nf_tiled_job *job, const nf_target_terms *terms);

/* What a run of losses of exponentials over all pairs reports of its pairs. */
void nf_target_count(const nf_tiled_job *job, nf_loss_result *result);

#endif
