/* Losses over an anchor's distances: an anchor sees its distances to all positives and negatives at
 * once and gives a value and a slope per distance; panels, gradients and reductions are the same
 * for all of them. doc/math/triplet.md. */
#ifndef NF_LOSS_ANCHORED_H
#define NF_LOSS_ANCHORED_H

#include "distance/panels.h"
#include "loss/tiled.h"
#include "pairs/anchor.h"

/* What a loss makes of an anchor; all 0 on entry. */
typedef struct nf_anchor_terms {
    double *slope;            /* (m) d value / d t */
    double value;             /* sum of the anchor's terms */
    uint64_t terms, active;   /* how many there are, and how many are above 0 */
    double extra;             /* what else the loss wants summed over the anchors of a class */
    double weight;            /* of all terms together, where reduction weighted-mean is allowed */
    double mass, active_mass; /* where means divide by these instead of terms and active */
} nf_anchor_terms;

/* Called from workers, for anchors with at least one positive and one negative, or for all. */
typedef void (*nf_anchor_fn)(const void *loss, const nf_anchor *anchor, nf_anchor_terms *out);

/* What is a pair: fills positives, negatives, targets and weights of an anchor whose distances are
 * known, and makes those NaN that are of no pair. */
typedef void (*nf_split_fn)(const void *rule, nf_anchor *anchor);

typedef struct nf_anchored_job {
    nf_metric metric;
    bool unit; /* rows are taken at unit length */
    bool fast; /* distances in Gram form */
    bool stats;
    nf_reduction reduction;
    double divisor; /* of reduction divisor */
    double scale;   /* of every term */
    nf_anchor_fn anchor;
    const void *loss;           /* of the function */
    bool lone;                  /* also anchors without positives or without negatives */
    bool by_mass;               /* means divide by masses */
    nf_split_fn split;          /* instead of classes; or NULL */
    const void *rule;           /* of split */
    bool weighted;              /* split gives weights */
    const nf_tiled_side *a, *b; /* anchors and the others; the same: within one set */
    uint64_t pairs[2];
    const nf_row_terms *rows; /* or NULL */
    /* Out (classes), set to 0 by the caller, or NULL: sums over the anchors of a class. */
    double *extra; /* reduced */
    uint64_t *class_terms;
} nf_anchored_job;

/* The job of a loss over these sets. */
nf_anchored_job nf_anchored_of(const nf_tiled_job *job, nf_anchor_fn anchor, const void *loss);

/* Run; result, extra and gradients are written on success only. */
nf_status nf_anchored_run(nf_context *context, const nf_anchored_job *job,
                          nf_loss_result *result) NF_MUST_USE;

#endif
