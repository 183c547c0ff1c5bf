/* Targets of pairs that one class per row cannot say: several labels a row, soft targets, weights of
 * rows, classes and pairs, and groups whose rows make no pair.
 *
 * A pair (i, j), i != j, has a target y in [0, 1], 1 = positive, 0 = negative, and a weight u >= 0; a
 * row has a weight v >= 0. Rows without a label, and rows of one group, make no pair.
 *
 * Kinds contrastive, online-contrastive and user (phi+, phi- of loss.h). With w = v_i v_j u the loss of a pair is
 *
 *   w (y phi+(t+) + (1 - y) phi-(t-))
 *
 * and reductions, with sums over the pairs i < j, are
 *   sum            sum of the above
 *   mean           that / P, P the number of pairs
 *   weighted-mean  that / sum w
 *   mean-sides     sum w y phi+ / sum y  +  sum w (1 - y) phi- / sum (1 - y); an empty side is 0
 *   mean-nonzero   the same, with the sums below taken over the terms that are > 0
 *   divisor        sum of the above / divisor
 *
 * Kinds that compare the pairs of a row i. A pair counts a = u y as a positive and b = u (1 - y) as a
 * negative: every sum over positives or negatives in loss.h is one over all pairs of the row with that
 * factor in front, so that a weight is a number of copies and a soft pair y of a positive and 1 - y of
 * a negative. v_i multiplies the terms that start from i:
 *
 *   nt-xent             v_i a_ip log(1 + exp(-s_ip / T) sum_j b_ij exp(s_ij / T)), each (i, p)
 *   supcon              v_i (log sum_j (a_ij + b_ij) exp(s_ij / T) - sum_j a_ij s_ij / T / sum_j a_ij),
 *                       the cross entropy of soft labels
 *   nca                 v_i (log sum_j (a_ij + b_ij) exp(-t_ij / T) - log sum_j a_ij exp(-t_ij / T))
 *   multi-similarity    v_i (log(1 + sum_j a_ij exp(..)) / alpha + log(1 + sum_j b_ij exp(..)) / beta)
 *   circle              v_i log(1 + sum_j a_ij exp(..) sum_j b_ij exp(..))
 *   lifted              v_i a_ip [log(sum_j b_ij exp(..) + sum_j b_pj exp(..)) + t_ip - pos_margin]+^2
 *                       / 2, each (i, p)
 *   generalized-lifted  v_i [log sum_j a_ij exp(..) + log sum_j b_ij exp(..)]+
 *   n-pairs             v_a u_ap log(1 + sum_k u_ak exp(s(a, b_k) - s(a, p))). Rows in order are
 *                       anchors if they make no positive pair with rows already chosen and have a later
 *                       such row to be their positive; y is 0 or 1
 *   triplet, margin     v_a u_ap u_an phi of each triplet; weights decide no choice; y is 0 or 1
 *
 * A row has positives (negatives) for these terms if some a (b) is > 0. Terms are as in loss.h and
 * reductions
 *   sum            the sum of the above
 *   mean           that / the number of terms; where terms are positive pairs that / sum y_ip
 *   weighted-mean  that / the sum of what the terms are multiplied by: v_i, v_i a_ip, v_a u_ap u_an
 *   mean-nonzero   as mean, over the terms > 0
 *   mean-anchors   the mean over rows of v_i sum_p u_ip y_ip (..) / sum_p y_ip
 *   divisor        the sum over the divisor
 */
#ifndef NEARFAR_TARGETS_H
#define NEARFAR_TARGETS_H

#include "nearfar/loss.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Weight of the rows of one class. */
typedef struct nf_class_weight {
    int64_t label;
    double weight; /* finite, >= 0 */
} nf_class_weight;

/* Exactly one of labels, sets and soft says what is positive. */
typedef struct nf_targets {
    nf_labels labels;          /* (n); data NULL: not given */
    const nf_label_sets *sets; /* for n rows, or NULL */
    nf_matrix soft;            /* (n, n), in [0, 1]: y of (i, j) with i < j, the rest is not read;
                                  data NULL: not given */
    const double *row_weight;  /* (n), finite, >= 0: w has the factor row_weight[i] row_weight[j];
                                  NULL: 1 */
    const nf_class_weight *class_weight; /* with labels: a further weight of rows, 1 for classes not
                                            listed */
    size_t class_weights;
    nf_matrix pair_weight; /* (n, n), finite, >= 0: u of (i, j) with i < j, the rest is not read;
                              data NULL: 1 */
    const int64_t *group;  /* (n): rows with equal groups (crops of one image) make no pair; NULL:
                              all do */
} nf_targets;

/* All pairs of x (n, d) under these targets; reduction none is NF_ERR_ARG here, and so are targets
 * between 0 and 1 for the kinds n-pairs, triplet and margin. With hard targets and weights 1 this is
 * nf_loss_batch to rounding; every pair is computed from both ends and looked at one by one in double,
 * for several times the work; distances are rounded to x's type before, where one below its smallest
 * number is 0. In the result, pairs with y > 0 count as positive and pairs with y < 1 as negative; a
 * pair between counts as both. Memory beyond inputs and outputs: O(n d). Errors: NF_ERR_ARG,
 * NF_ERR_DATA, NF_ERR_RANGE, NF_ERR_NOMEM, NF_ERR_CANCELLED, NF_ERR_CALLBACK. */
NF_API NF_MUST_USE nf_status nf_loss_targets(nf_context *context, const nf_loss *loss, nf_matrix x,
                                             const nf_targets *targets, nf_loss_result *result,
                                             nf_matrix_out gradient);

/* nf_loss_targets with the terms of each row as anchor, as nf_loss_anchors: they are multiplied by v
 * and the weights of their pairs, and reduction none is allowed. For the kinds that compare the pairs
 * of a row (contrastive, online-contrastive and user have terms of pairs: NF_ERR_ARG). */
NF_API NF_MUST_USE nf_status nf_loss_targets_anchors(nf_context *context, const nf_loss *loss,
                                                     nf_matrix x, const nf_targets *targets,
                                                     const nf_row_terms *extras,
                                                     nf_loss_result *result,
                                                     nf_matrix_out gradient);

/* What rows of one of two sets bring; zeroed: nothing. Fields as in nf_targets. */
typedef struct nf_row_targets {
    const nf_label_sets *sets;
    const double *row_weight;
    const nf_class_weight *class_weight; /* with labels */
    size_t class_weights;
    const int64_t *group; /* a query and a reference row with equal groups make no pair */
} nf_row_targets;

/* Targets of query (n, d) x reference (m, d). Exactly one of the labels of nf_loss_sets, both `sets`,
 * and soft says what is positive; of groups and ids both sets have some or neither. */
typedef struct nf_reference_targets {
    nf_row_targets query, reference;
    nf_matrix soft;        /* (n, m), in [0, 1]: y of (query, reference) */
    nf_matrix pair_weight; /* (n, m), finite, >= 0: u */
} nf_reference_targets;

/* All pairs of a query and a reference row under targets, except those with equal ids or groups.
 * `sets` has the rows, and labels, data NULL and n 0 without them. Everything is as said at the top of
 * this file with i a query, j a reference row: kinds of pairs have w = v_i v_j u and sums
 * over all pairs; the others have terms that start from queries only, so that reference.row_weight and
 * class_weight are NF_ERR_ARG for them. For lifted the log sum at p is over queries, its negatives.
 * extras: of the n queries, as in nf_loss_anchors_reference, or NULL. Kind n-pairs is NF_ERR_ARG. With
 * labels and weights 1 this is nf_loss_reference to rounding. Memory beyond inputs and outputs:
 * O((n + m) d). Errors as nf_loss_targets. */
NF_API NF_MUST_USE nf_status nf_loss_targets_reference(
    nf_context *context, const nf_loss *loss, const nf_loss_sets *sets,
    const nf_reference_targets *targets, const nf_row_terms *extras, nf_loss_result *result,
    nf_matrix_out query_gradient, nf_matrix_out reference_gradient);

#ifdef __cplusplus
}
#endif
#endif
