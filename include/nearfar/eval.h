/* Evaluation: retrieval and verification, exact and blocked (memory O(n), never n x n).
 *
 * Retrieval. For a query, the other rows (or the reference rows whose id differs) are ranked by
 * distance, ties by smaller index. Relevant = same label; R = number of relevant rows. Queries
 * with R = 0 are dropped and counted.
 *   recall@k    share of queries with a relevant row among the k nearest
 *   R-precision mean over queries of (relevant among the R nearest) / R
 *   MAP@R       mean over queries of (1/R) sum_{i<=R} P(i) rel(i), P(i) = precision at i
 *               (Musgrave, Belongie & Lim, A Metric Learning Reality Check, ECCV 2020, eq. 6)
 *   kNN accuracy share of queries whose label is the majority among the k nearest; ties go to the
 *               label of the nearest row among the tied ones. Queries with R = 0 are kept out.
 *
 * Verification. Every pair (unordered; query x reference with a reference set) is accepted when
 * its distance is <= threshold. TAR = accepted positives / positives, FAR = accepted negatives /
 * negatives. Distances are ranked as float32 numbers; equal ones are one threshold.
 *   ROC AUC     P(d+ < d-) + P(d+ = d-) / 2
 *   EER         where FAR = 1 - TAR, linear between the two thresholds around the crossing
 *   TAR@FAR(f)  largest TAR over thresholds with FAR <= f (0 if none)
 *   best accuracy  the largest (accepted positives + rejected negatives) / pairs, smallest
 *               threshold that reaches it
 */
#ifndef NEARFAR_EVAL_H
#define NEARFAR_EVAL_H

#include "nearfar/distance.h"
#include "nearfar/pairs.h"

#ifdef __cplusplus
extern "C" {
#endif

#define NF_EVAL_MAX_K 16

typedef struct nf_eval_options {
    nf_distance_options distance; /* default euclidean */
    size_t k[NF_EVAL_MAX_K];      /* default 1, 5, 10; each >= 1; ranks past the end count as no hit */
    size_t k_count;
    int retrieval, verification;  /* default 1, 1 */
    size_t knn_k;                 /* neighbours of the kNN accuracy; default 5 */
} nf_eval_options;

NF_API nf_eval_options nf_eval_defaults(void);

typedef struct nf_eval_result {
    size_t n;               /* rows evaluated as queries (labelled) */
    size_t queries;         /* of those, with at least one relevant row */
    size_t dropped;         /* without: lone rows of a class */
    double recall[NF_EVAL_MAX_K];
    double r_precision, map_at_r, knn_accuracy; /* NaN when queries = 0 */
    uint64_t positive_pairs, negative_pairs;
    double roc_auc, eer, eer_threshold;         /* NaN when a side has no pair */
    double tar_at_far_1e2, tar_at_far_1e3;
    double best_accuracy, best_threshold;
} nf_eval_result;

/* x (n, d) against itself, labels (n). Errors as nf_knn. */
NF_API NF_MUST_USE nf_status nf_eval(nf_context *context, const nf_eval_options *options,
                                     nf_matrix x, nf_labels labels, nf_eval_result *result);

/* Query x reference; ids as in nf_loss_reference (both or neither NULL). */
NF_API NF_MUST_USE nf_status nf_eval_reference(nf_context *context, const nf_eval_options *options,
                                               nf_matrix query, nf_labels query_labels,
                                               const int64_t *query_ids, nf_matrix reference,
                                               nf_labels reference_labels,
                                               const int64_t *reference_ids,
                                               nf_eval_result *result);

#ifdef __cplusplus
}
#endif
#endif
