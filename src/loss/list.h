/* A loss over listed pairs, row i[p] of x with row j[p] of y: what the pair-list and the row form share.
 * Distances and terms are computed once per pair and kept; gradients are gathered by row. */
#ifndef NF_LOSS_LIST_H
#define NF_LOSS_LIST_H

#include "nearfar/loss.h"

#include "base/base.h"

typedef struct nf_list_job {
    const nf_loss *loss;
    nf_matrix x, y;
    bool within;          /* y is x, and both ends of a pair take gradient into the same matrix */
    const int64_t *i, *j; /* NULL: pair p is row p of both */
    size_t count;
    const uint8_t *same;
    const double *weight; /* NULL: all 1 */
    /* Pairs 2k and 2k + 1 are (anchor, positive) and (anchor, negative) of triplet k and have one term
     * together: the kinds triplet and margin, without weights and extras. */
    bool triplets;
    const double *beta; /* (rows of x) of kind margin: that of each anchor; NULL: loss->beta */
    double *beta_slope; /* out (rows of x): d value / d beta of each; or NULL */
    const nf_pair_terms *extras;
    nf_matrix_out gradient[2]; /* of x and y; data NULL: not wanted */
} nf_list_job;

/* Run; result, terms and gradients are written on success only. Arguments are checked before. */
nf_status nf_list_run(nf_context *context, const nf_list_job *job,
                      nf_loss_result *result) NF_MUST_USE;

/* Check weights and extras of `count` pairs. */
nf_status nf_list_check_extras(nf_context *context, const double *weight,
                               const nf_pair_terms *extras, size_t count,
                               nf_reduction reduction) NF_MUST_USE;

#endif
