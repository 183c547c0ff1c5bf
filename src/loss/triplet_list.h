/* Terms of listed triplets. */
#ifndef NF_LOSS_TRIPLET_LIST_H
#define NF_LOSS_TRIPLET_LIST_H

#include "base/base.h"
#include "loss/list.h"

/* Scale times the term, its derivatives to t(a, n) and t(a, p) in the order of the sides, and what the
 * triplet adds to the divisor of mean-nonzero: 1 if it is active, of kind margin 1 for each part. */
typedef struct nf_listed_triplet {
    double value, slope[2];
    unsigned active;
} nf_listed_triplet;

/* Kinds triplet and margin; beta is for the latter. */
nf_listed_triplet nf_triplet_listed(const nf_loss *loss, double beta, double positive,
                                    double negative);

/* Checks of nf_loss_triplets before its list runs, and the list as pairs of a job within x. */
nf_status nf_triplet_list_prepare(nf_context *context, const nf_loss *loss, nf_matrix x,
                                  nf_triplet_list triplets, const nf_loss_result *result,
                                  nf_matrix_out gradient, nf_list_job *job) NF_MUST_USE;

/* The factor of the reduction; a mean over no terms is 0. */
double nf_triplet_list_scale(const nf_loss *loss, uint64_t terms, uint64_t active_terms);

#endif
