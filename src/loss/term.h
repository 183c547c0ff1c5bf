/* One pair of the contrastive family in double. */
#ifndef NF_LOSS_TERM_H
#define NF_LOSS_TERM_H

#include "distance/exact.h"
#include "nearfar/loss.h"

/* A side of a loss: coefficient scale * pos_weight (or neg_weight) times `factor`. */
nf_contrast_side nf_term_side(const nf_loss *loss, int side, double factor);

static inline nf_metric nf_term_metric(const nf_loss *loss, int side) {
    return side == NF_POSITIVE ? loss->pos_metric : loss->neg_metric;
}

/* Whether a side's rows are taken at unit length. */
static inline bool nf_term_unit(const nf_loss *loss, int side) {
    return loss->normalize || nf_term_metric(loss, side) == NF_COSINE;
}

/* phi(t), and dphi/dt in *slope. */
double nf_term(const nf_contrast_side *side, int which, double t, double *slope);

/* row_gradient += slope dt/da for row a of the pair (a, b); rows in double, unit rows for cosine.
 * The gradient of a distance at 0 is 0. */
void nf_term_gradient(nf_metric metric, double slope, double t, const double *a, const double *b,
                      size_t d, double *row_gradient);

/* The scale each side's terms get from the loss's reduction. `active` are counts of non-zero terms and
 * `weight` the sum of list weights; only read by the reductions that need them. */
void nf_reduction_scales(const nf_loss *loss, const uint64_t pairs[2], const uint64_t active[2],
                         double weight, double scale[2]);

/* The same where pairs count in part: `mass` and `active` are sums over the pairs of each side of what
 * they count, `pairs` is the number of pairs. */
void nf_reduction_scales_by_mass(const nf_loss *loss, const double mass[2], double pairs,
                                 const double active[2], double weight, double scale[2]);

#endif
