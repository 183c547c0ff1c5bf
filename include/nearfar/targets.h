/* Targets of pairs that one class per row cannot say: several labels a row, soft targets, weights of
 * rows, classes and pairs, and groups whose rows make no pair.
 *
 * A pair (i, j) has a target y in [0, 1], 1 = positive, 0 = negative, and a weight w >= 0; its loss is
 *
 *   w (y phi+(t+) + (1 - y) phi-(t-))
 *
 * with the phi of a loss (loss.h). Reductions, with sums over the pairs i < j:
 *   sum            sum of the above
 *   mean           that / P, P the number of pairs
 *   weighted-mean  that / sum w
 *   mean-sides     sum w y phi+ / sum y  +  sum w (1 - y) phi- / sum (1 - y); an empty side is 0
 *   mean-nonzero   the same, with the sums below taken over the terms that are > 0
 */
#ifndef NEARFAR_TARGETS_H
#define NEARFAR_TARGETS_H

#include "nearfar/loss.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Several labels a row: row i has the labels label[offset[i]] .. label[offset[i + 1] - 1], in any
 * order. A pair is positive if the rows share a label. A row without labels makes no pair. */
typedef struct nf_label_sets {
    const size_t *offset; /* (n + 1), ascending from 0 */
    const int64_t *label;
} nf_label_sets;

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
    nf_matrix
        pair_weight; /* (n, n), finite, >= 0: a further factor of (i, j) with i < j, the rest is
                              not read; data NULL: 1 */
    const int64_t
        *group; /* (n): rows with equal groups (crops of one image) make no pair; NULL: all
                              do */
} nf_targets;

/* All pairs of x (n, d) under these targets; kinds contrastive and user (others are NF_ERR_ARG, and
 * so are reductions none and mean-anchors). With hard targets and weights 1 this is nf_loss_batch to
 * rounding; every pair is computed from both ends, for about four times the work. In the result,
 * pairs with y > 0 count as positive and pairs with y < 1 as negative; a pair between counts as both.
 * Memory beyond inputs and outputs: O(n d). Errors: NF_ERR_ARG, NF_ERR_DATA, NF_ERR_RANGE,
 * NF_ERR_NOMEM, NF_ERR_CANCELLED, NF_ERR_CALLBACK. */
NF_API NF_MUST_USE nf_status nf_loss_targets(nf_context *context, const nf_loss *loss, nf_matrix x,
                                             const nf_targets *targets, nf_loss_result *result,
                                             nf_matrix_out gradient);

#ifdef __cplusplus
}
#endif
#endif
