/* A loss that is a sum of terms of single pairs, on the strip engine: which passes it takes, the scales
 * of its reduction, and the results. What a term is, a strip function says. */
#ifndef NF_LOSS_SEPARABLE_H
#define NF_LOSS_SEPARABLE_H

#include "loss/strip.h"

/* What a pass gathers, per block of rows, so that sums have one order. `mass` is the number of active
 * pairs, or the sum of what each counts. */
typedef struct nf_separable_sums {
    double value[2], distance[2], mass[2];
    uint64_t active[2], coincident;
} nf_separable_sums;

/* Sides that share rows and metric. */
typedef struct nf_separable_group {
    bool side[2], unit;
    nf_metric metric;
    nf_strip_set set[2];
} nf_separable_group;

typedef struct nf_separable {
    const nf_tiled_job *job;
    nf_strip_fn
        run; /* its user is this struct: fills slopes times coefficient[side], adds to block */
    const void *rule; /* for the strip function */
    bool once;        /* strips may be mirrored: the sums of such a one are added twice */
    bool anywhere;    /* classes do not tell which pairs are positive: rule does */
    double radius;    /* > 0: distance beyond which negatives have no term; 0: none */
    double mass[2];   /* of the pairs of each side: their number, or the sum of what each counts */
    double pairs, weight; /* number of pairs, sum of their weights */
    /* for the strip function */
    double coefficient[2]; /* of the slopes, at most 1 */
    const nf_separable_group *now;
    int own; /* set that the rows of the pass are of; the columns are of the other, if there is one */
    nf_separable_sums *block;
    /* inside */
    nf_separable_group group[2];
    int groups, sets;
    nf_separable_sums total;
    nf_loss_result result;
} nf_separable;

/* Run; the fields of the first part are set. Result and gradients are written on success only. */
nf_status nf_separable_run(nf_context *context, nf_separable *state,
                           nf_loss_result *result) NF_MUST_USE;

#endif
