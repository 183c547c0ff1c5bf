/* Verification figures from distances in ascending order: counts in, exact integers inside. */
#ifndef NF_EVAL_CURVE_H
#define NF_EVAL_CURVE_H

#include "base/base.h"
#include "nearfar/eval.h"

__extension__ typedef unsigned __int128 nf_uint128;

typedef struct nf_curve {
    uint64_t positives, negatives;                   /* pairs in all */
    uint64_t accepted_positives, accepted_negatives; /* up to the last threshold */
    nf_uint128 twice_area; /* sum over negatives of 2 (positives below) + (positives at) */
    bool has_last, crossed;
    double last, eer, eer_threshold;
    uint64_t tar_1e2, tar_1e3; /* accepted positives */
    uint64_t best_correct;
    double best_threshold;
} nf_curve;

void nf_curve_begin(nf_curve *curve, uint64_t positives, uint64_t negatives);

/* Pairs at the next distance (ascending); both counts may not be 0. */
void nf_curve_add(nf_curve *curve, float distance, uint64_t positives, uint64_t negatives);

/* Pairs of one side only over a range of distances that holds neither the crossing (nor is the last
 * before it) nor the best threshold: their distances do not matter. */
void nf_curve_skip(nf_curve *curve, uint64_t positives, uint64_t negatives);

/* Whether FAR >= 1 - TAR once these are accepted. */
bool nf_curve_crosses(const nf_curve *curve, uint64_t accepted_positives,
                      uint64_t accepted_negatives);

void nf_curve_result(const nf_curve *curve, nf_eval_result *result);

#endif
