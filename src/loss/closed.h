/* Positives in closed form. For a class of n rows with mean mu,
 *
 *   sum_{i<j} |x_i - x_j|^2 = n sum_i |x_i - mu|^2,   d/dx_i = 2 n (x_i - mu)
 *
 * in O(n d) instead of O(n^2 d). Where it applies it defines the loss, at every n. */
#ifndef NF_LOSS_CLOSED_H
#define NF_LOSS_CLOSED_H

#include "loss/pass.h"

/* Whether the positive side is a multiple of the squared distance. */
bool nf_closed_applies(const nf_loss *loss);

/* Sum over positive pairs within the set (rows in class order) times `coefficient`, in *phi; sets the
 * set's sums to the gradient, in their unit (see nf_pass_factor), when it has them. */
nf_status nf_closed_positives(nf_context *context, const nf_pass_set *set, double coefficient,
                              double *phi) NF_MUST_USE;

#endif
