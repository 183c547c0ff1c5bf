/* Kind online-contrastive: the contrastive loss of the hard pairs, which are the positives farther
 * apart than the nearest negative and the negatives nearer than the farthest positive.
 *
 * Which pairs these are takes a look at every distance. After it the loss is one of kind user: a
 * function of a distance, for which other pairs have no term. */
#ifndef NF_LOSS_ONLINE_H
#define NF_LOSS_ONLINE_H

#include "loss/separable.h"

/* Distances of the pairs that a choice looks at. */
typedef struct nf_online_range {
    double nearest_negative, farthest_positive; /* +Inf and -Inf without any */
    double sum[2];
    uint64_t count[2];
} nf_online_range;

nf_online_range nf_online_no_range(void);
void nf_online_see(nf_online_range *range, int side, double t);
void nf_online_add(nf_online_range *total, const nf_online_range *part, unsigned times);

/* The choice made: `loss` is of kind user and points into the struct, which stays where it is. */
typedef struct nf_online {
    double above, below, margin; /* hard are positives with t > above, negatives with t < below */
    nf_pair_function function;
    nf_loss loss;
} nf_online;

void nf_online_choose(const nf_loss *loss, const nf_online_range *range, nf_online *online);

/* What a strip function that measures finds in nf_separable.rule. */
typedef struct nf_online_pairs {
    nf_online_range *block; /* one of each block, to add to */
    const void *rule;
} nf_online_pairs;

/* The distances of all pairs of a job, by `run`; `anywhere` and `rule` as in nf_separable. */
nf_status nf_online_measure(nf_context *context, const nf_tiled_job *job, nf_strip_fn run,
                            bool anywhere, const void *rule, nf_online_range *range) NF_MUST_USE;

/* All pairs of two sets, or within one. */
nf_status nf_online_run(nf_context *context, const nf_tiled_job *job,
                        nf_loss_result *result) NF_MUST_USE;

#endif
