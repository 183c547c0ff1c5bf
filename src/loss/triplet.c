#include "loss/triplet.h"

#include <math.h>

#include "base/math.h"

double nf_triplet_term(const nf_triplet_terms *loss, double violation, double *slope) {
    if (loss->smooth) return nf_softplus(violation, slope);
    *slope = violation > 0;
    return violation > 0 ? violation : 0;
}

/* Add triplet (p, n), columns both. */
static void add_triplet(const nf_triplet_terms *loss, const nf_anchor *anchor, size_t p, size_t n,
                        nf_anchor_terms *out) {
    double slope;
    const double weight = nf_anchor_weight(anchor, p) * nf_anchor_weight(anchor, n);
    double term = nf_triplet_term(loss, (anchor->t[p] + loss->margin) - anchor->t[n], &slope);
    out->value += weight * term;
    out->weight += weight;
    out->terms++;
    out->active += weight * term > 0;
    out->slope[p] += weight * slope;
    out->slope[n] -= weight * slope;
}

/* ---- one negative per positive or per anchor --------------------------------------------------- */

void nf_triplet_semi_hard(const void *loss, const nf_anchor *anchor, nf_anchor_terms *out) {
    nf_anchor_semi_hard(anchor);
    const size_t farthest = nf_anchor_negative(anchor, true);
    for (size_t k = 0; k < anchor->positives; k++) {
        size_t negative = anchor->columns[k] < anchor->m ? anchor->columns[k] : farthest;
        add_triplet(loss, anchor, anchor->positive[k], negative, out);
    }
}

void nf_triplet_hard(const void *loss, const nf_anchor *anchor, nf_anchor_terms *out) {
    add_triplet(loss, anchor, nf_anchor_positive(anchor, true), nf_anchor_negative(anchor, false),
                out);
}

nf_anchor_fn nf_triplet_choice(nf_triplets triplets) {
    static const nf_anchor_fn choices[] = {[NF_TRIPLETS_ALL] = nf_triplet_all,
                                           [NF_TRIPLETS_SEMI_HARD] = nf_triplet_semi_hard,
                                           [NF_TRIPLETS_HARD] = nf_triplet_hard};
    return choices[triplets];
}

nf_status nf_triplet_run(nf_context *context, const nf_tiled_job *job, nf_loss_result *result) {
    const nf_triplet_terms terms = {job->loss->neg_margin, job->loss->smooth != 0};
    nf_anchored_job anchored = nf_anchored_of(job, nf_triplet_choice(job->loss->triplets), &terms);
    return nf_anchored_run(context, &anchored, result);
}
