/* Evaluation: retrieval and verification, exact and blocked (memory O(n d + threads * m) and at most
 * about 100 MB of counts and strips, never n x m).
 *
 * Rows have one label each, or a set of labels (nf_eval_label_sets); then "same label" below reads
 * "a label in common", and with one label in every set all figures are the same bits.
 *
 * Unlabelled rows are left out on both sides: they are no queries, and nothing is known of their
 * relevance.
 *
 * Retrieval. For a query, the other rows (or the reference rows whose id differs) are ranked by
 * distance, ties by smaller index, NaN last. Relevant = same label; R = number of relevant rows.
 * Queries with R = 0 are dropped and counted.
 *   recall@k    share of queries with a relevant row among the k nearest (also called hit rate or
 *               precision@1 for k = 1)
 *   R-precision mean over queries of (relevant among the R nearest) / R
 *   MAP@R       mean over queries of (1/R) sum_{i<=R} P(i) rel(i), P(i) = precision at i
 *               (Musgrave, Belongie & Lim, A Metric Learning Reality Check, ECCV 2020, eq. 6)
 *   kNN accuracy share of queries whose label is the majority among the k nearest; ties go to the
 *               label of the nearest row among the tied ones. Queries with R = 0 are kept out. Of
 *               label sets every label of a neighbour is one vote; the query is right if it has the
 *               label that wins, ties as above and within a row to the smallest label
 *
 * Verification. Every pair (unordered; query x reference with a reference set) is accepted when
 * its distance is <= threshold; thresholds are the distances that occur, and -Inf, which accepts
 * nothing. TAR = accepted positives / positives, FAR = accepted negatives / negatives. Distances
 * are ranked as float32 numbers (float64 ones are rounded to it first); equal ones are one
 * threshold, and all NaN are one after Inf. Counts are exact integers, whatever the number of pairs.
 *   ROC AUC     P(d+ < d-) + P(d+ = d-) / 2
 *   EER         where FAR = 1 - TAR, linear between the two thresholds around the crossing; its
 *               threshold is interpolated in the same proportion
 *   TAR@FAR(f)  largest TAR over thresholds with FAR <= f (0 if none)
 *   best accuracy  the largest (accepted positives + rejected negatives) / pairs, smallest
 *               threshold that reaches it (-Inf when nothing beats accepting no pair)
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
    size_t k[NF_EVAL_MAX_K]; /* default 1, 5, 10; each >= 1; ranks past the end count as no hit */
    size_t k_count;
    int retrieval, verification; /* default 1, 1 */
    size_t knn_k;                /* neighbours of the kNN accuracy; default 5 */
} nf_eval_options;

NF_API nf_eval_options nf_eval_defaults(void);

typedef struct nf_eval_result {
    size_t n;       /* rows evaluated as queries (labelled) */
    size_t queries; /* of those, with at least one relevant row; 0 when retrieval is off */
    size_t dropped; /* without: lone rows of a class; 0 when retrieval is off */
    /* Retrieval; NaN when queries = 0 or retrieval is off. recall[q] belongs to options.k[q], NaN
     * beyond k_count. */
    double recall[NF_EVAL_MAX_K];
    double r_precision, map_at_r, knn_accuracy;
    /* Verification; counts 0 when it is off, the rest NaN when it is off or a side has no pair. */
    uint64_t positive_pairs, negative_pairs;
    double roc_auc, eer, eer_threshold;
    double tar_at_far_1e2, tar_at_far_1e3;
    double best_accuracy, best_threshold;
} nf_eval_result;

/* x (n, d) against itself, labels (n). `options` NULL means defaults. n = 0 and one class are fine:
 * what is undefined is NaN. The same bits for any number of threads. Reports progress in distances
 * and can be cancelled. Errors: NF_ERR_ARG (shapes, types, k = 0), NF_ERR_DATA (NaN, Inf; labels of
 * exactly -1 and +1 while -1 means unlabelled), NF_ERR_RANGE, NF_ERR_NOMEM, NF_ERR_CANCELLED. */
NF_API NF_MUST_USE nf_status nf_eval(nf_context *context, const nf_eval_options *options,
                                     nf_matrix x, nf_labels labels, nf_eval_result *result);

/* Query (n, d) x reference (m, d), labels of each side; a pair with equal ids is the same item and
 * takes no part (ids (n), (m); both or neither NULL: none excluded). */
NF_API NF_MUST_USE nf_status nf_eval_reference(nf_context *context, const nf_eval_options *options,
                                               nf_matrix query, nf_labels query_labels,
                                               const int64_t *query_ids, nf_matrix reference,
                                               nf_labels reference_labels,
                                               const int64_t *reference_ids,
                                               nf_eval_result *result);

/* The same for rows with several labels each: `sets` for the n rows of x. A row without labels is
 * left out like an unlabelled one; labels may be any numbers, -1 too, and repeat. Errors: those of
 * nf_eval, NF_ERR_ARG (sets NULL), NF_ERR_DATA (offsets that do not ascend from 0), NF_ERR_RANGE
 * (beyond 2^32 - 1 labels). */
NF_API NF_MUST_USE nf_status nf_eval_label_sets(nf_context *context, const nf_eval_options *options,
                                                nf_matrix x, const nf_label_sets *sets,
                                                nf_eval_result *result);

/* The same for query x reference; neither of the two sets may be NULL. */
NF_API NF_MUST_USE nf_status nf_eval_label_sets_reference(
    nf_context *context, const nf_eval_options *options, nf_matrix query,
    const nf_label_sets *query_sets, const int64_t *query_ids, nf_matrix reference,
    const nf_label_sets *reference_sets, const int64_t *reference_ids, nf_eval_result *result);

#ifdef __cplusplus
}
#endif
#endif
