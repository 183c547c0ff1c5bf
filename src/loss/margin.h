/* Margin loss (Wu, Manmatha, Smola & Krahenbuhl, Sampling matters in deep embedding learning, ICCV
 * 2017): a triplet (a, p, n) has the term
 *   max(0, t(a, p) - beta + margin) + max(0, beta - t(a, n) + margin),
 * beta that of the anchor's class. Over all triplets both parts are sums over pairs, the first
 * times the anchor's negatives, the second times its positives. doc/math/margin.md. */
#ifndef NF_LOSS_MARGIN_H
#define NF_LOSS_MARGIN_H

#include "loss/anchored.h"

typedef struct nf_margin_terms {
    double margin;
    const double *beta; /* one, or one per class */
    bool per_class;
} nf_margin_terms;

/* An nf_anchor_fn with an nf_margin_terms. `active` counts parts above 0, each in every triplet it is
 * in: the divisor of PyTorch Metric Learning's DivisorReducer. `extra` is d value / d beta. */
void nf_margin_anchor(const void *loss, const nf_anchor *anchor, nf_anchor_terms *out);

/* The kind `margin` over all pairs of two sets, or within one. */
nf_status nf_margin_run(nf_context *context, const nf_tiled_job *job,
                        nf_loss_result *result) NF_MUST_USE;

#endif
