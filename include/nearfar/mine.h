/* Miners: the pairs or triplets of labelled rows that are worth training on, from exact distances.
 *
 *   miner              gives                                                           defaults
 *   pair-margin        positives with t > pos_margin, negatives with t < neg_margin    0.2, 0.8
 *   multi-similarity   of each anchor: positives with t + epsilon > its nearest        epsilon 0.1
 *                      negative, negatives with t - epsilon < its farthest positive
 *   batch-hard         triplets: each anchor's farthest positive and nearest negative
 *   easy-positive      triplets: each anchor's nearest positive and the nearest
 *                      negative farther than it, anchors without one left out
 *   triplet-margin     triplets with t(a, n) - t(a, p) <= margin; `violation` picks   0.2, all
 *                      hard (<= 0) or semi-hard (> 0) ones of them, or the easy rest
 *   semi-hard          triplet-margin with violation semi-hard                         0.2
 *   distance-weighted  triplets: random positives, negatives drawn with probability    0.5, 1.4
 *                      proportional to 1 / q(t), q the density of distances on the
 *                      unit sphere, t not below `cutoff`, none from
 *                      `nonzero_loss_cutoff` on
 *
 * They are those of pytorch-metric-learning with its defaults: metric euclidean of unit rows
 * (normalize 1), cosine for multi-similarity. Sources: multi-similarity: Wang et al., Multi-Similarity
 * Loss, CVPR 2019. batch-hard: Hermans, Beyer & Leibe, In Defense of the Triplet Loss, 2017.
 * easy-positive: Xuan, Stylianou & Pless, WACV 2020. semi-hard: Schroff, Kalenichenko & Philbin,
 * FaceNet, CVPR 2015. distance-weighted: Wu et al., Sampling Matters in Deep Embedding Learning, ICCV
 * 2017, section 4.
 *
 * What is mined depends on (x, labels, options) only, not on threads or instruction set. Unlabelled
 * rows take no part. Memory beyond the result: a copy of the labelled rows and a panel of 96 x n
 * distances (at most about 64 MB); the n x n matrix never exists.
 */
#ifndef NEARFAR_MINE_H
#define NEARFAR_MINE_H

#include "nearfar/distance.h"
#include "nearfar/pairs.h"

#ifdef __cplusplus
extern "C" {
#endif

/* enum suffix, value, name */
#define NF_MINER_MAP(XX)                        \
    XX(PAIR_MARGIN, 0, "pair-margin")           \
    XX(MULTI_SIMILARITY, 1, "multi-similarity") \
    XX(BATCH_HARD, 2, "batch-hard")             \
    XX(EASY_POSITIVE, 3, "easy-positive")       \
    XX(TRIPLET_MARGIN, 4, "triplet-margin")     \
    XX(SEMI_HARD, 5, "semi-hard")               \
    XX(DISTANCE_WEIGHTED, 6, "distance-weighted")

typedef enum nf_miner {
#define XX(name, value, text) NF_MINE_##name = value,
    NF_MINER_MAP(XX)
#undef XX
} nf_miner;

NF_API const char *nf_miner_name(nf_miner miner); /* NULL outside the enum */
NF_API NF_MUST_USE nf_status nf_miner_parse(nf_context *context, const char *name, nf_miner *miner);

/* Which triplets of triplet-margin, by t(a, n) - t(a, p) = gap. */
#define NF_VIOLATION_MAP(XX)      \
    XX(ALL, 0, "all")             \
    XX(HARD, 1, "hard")           \
    XX(SEMI_HARD, 2, "semi-hard") \
    XX(EASY, 3, "easy")

typedef enum nf_violation {
#define XX(name, value, text) NF_VIOLATION_##name = value,
    NF_VIOLATION_MAP(XX)
#undef XX
} nf_violation;

NF_API const char *nf_violation_name(nf_violation violation); /* NULL outside the enum */

typedef struct nf_mine_options {
    nf_miner miner;
    nf_metric metric;
    int normalize;
    double pos_margin, neg_margin;      /* pair-margin; finite */
    double epsilon;                     /* multi-similarity; finite */
    double margin;                      /* triplet-margin, semi-hard; finite */
    nf_violation violation;             /* triplet-margin */
    double cutoff, nonzero_loss_cutoff; /* distance-weighted; finite, cutoff > 0 */
    size_t per_anchor; /* distance-weighted: triplets of an anchor; 0: as many as its
                                           class has rows */
    uint64_t seed;     /* distance-weighted */
} nf_mine_options;

/* The miner's defaults, those of the table. */
NF_API nf_mine_options nf_mine_defaults(nf_miner miner);

/* What was mined; read-only, freed with nf_mined_free. Row numbers are those of x; with a reference
 * set anchors are rows of the queries, everything else rows of the reference set. */
typedef struct nf_mined {
    /* Pairs (anchor i, other j), ascending by (i, j); weight NULL. Within one set pair-margin gives
     * each pair once, with i < j; the others see a pair from both ends and may give it as (i, j) and
     * as (j, i). */
    nf_pairs pairs;
    /* Triplets, ascending by (anchor, positive, negative) but for distance-weighted, where the draws
     * of an anchor keep their order. */
    size_t triplets;
    const int64_t *anchor, *positive, *negative; /* (triplets) */
} nf_mined;

/* Mine x (n, d) with labels (n). Without a positive or a negative pair the result is empty, never an
 * error. distance-weighted needs euclidean distances of unit rows; an anchor whose negatives are all
 * at nonzero_loss_cutoff or beyond gives nothing.
 * Errors: NF_ERR_ARG, NF_ERR_DATA (NaN, Inf; labels of exactly -1 and +1 while -1 means unlabelled),
 * NF_ERR_RANGE (a distance exceeds the type), NF_ERR_NOMEM, NF_ERR_CANCELLED. */
NF_API NF_MUST_USE nf_status nf_mine(nf_context *context, const nf_mine_options *options,
                                     nf_matrix x, nf_labels labels, nf_mined **mined);
NF_API void nf_mined_free(nf_context *context, nf_mined *mined); /* NULL allowed */

/* Query x reference: query (n, d) gives the anchors, reference (m, d) their positives and negatives. A
 * query and a reference row with equal ids are the same item and make no pair; pass both ids or
 * neither. */
typedef struct nf_mine_sets {
    nf_matrix query, reference;
    nf_labels query_labels, reference_labels; /* has_unlabelled the same for both */
    const int64_t *query_ids, *reference_ids; /* (n), (m), or both NULL */
} nf_mine_sets;

/* nf_mine over two sets: miners given a ref_emb in pytorch-metric-learning. With per_anchor 0
 * distance-weighted draws as many triplets as the anchor has positives. A pair (i, j) is row i of the
 * queries and row j of the reference set: nf_rows_gather makes nf_loss_rows' left and right of them.
 * Memory: a copy of the labelled rows of both and a panel of 96 x m distances. Errors as nf_mine. */
NF_API NF_MUST_USE nf_status nf_mine_reference(nf_context *context, const nf_mine_options *options,
                                               const nf_mine_sets *sets, nf_mined **mined);

/* ---- hard negatives of a whole data set ------------------------------------------------------- */

/* For each labelled row the nearest rows of other classes, filtered in the order of these fields, with
 * the meaning they have in sentence-transformers' mine_hard_negatives, where a score is a similarity:
 * 1 - t for cosine, -t for every other metric. A NaN means no filter. */
typedef struct nf_mine_hard_options {
    nf_metric metric; /* default cosine */
    int normalize;    /* default 0 */
    size_t range_max; /* only so many nearest negatives are looked at; 0 (default): range_min +
                               negatives, or range_min + 10 negatives when there is a filter */
    double
        absolute_margin; /* keep a negative only if t >= T + absolute_margin, T the distance of the
                               anchor's farthest positive; an anchor without one loses nothing */
    double relative_margin; /* keep it only if its score <= S - |S| relative_margin, S that of the
                               farthest positive; 0.05: at least 5 % less similar */
    double
        min_distance; /* keep t >= min_distance: nearer ones may be false negatives (max_score) */
    double max_distance; /* keep t <= max_distance: farther ones teach nothing (min_score) */
    size_t range_min;    /* of those kept, leave out the nearest range_min; default 0 */
    size_t negatives;    /* of the rest take so many; default 3, at least 1 */
    int random;          /* 0 (default): the nearest; 1: at random, without replacement */
    uint64_t seed;
    size_t positives; /* also give so many farthest positives of each anchor that has a negative;
                         default 1 */
} nf_mine_hard_options;

NF_API nf_mine_hard_options nf_mine_hard_defaults(void);

/* Hard negatives (same = 0) and positives (same = 1) of every anchor as pairs, by anchor, positives
 * first (farthest first), then negatives (nearest first); ties go to the smaller row. Exact: every
 * distance is computed, those of nf_distances_full bit for bit. Memory as nf_mine and O(range_max)
 * per anchor of a panel. Errors as nf_mine. */
NF_API NF_MUST_USE nf_status nf_mine_hard(nf_context *context, const nf_mine_hard_options *options,
                                          nf_matrix x, nf_labels labels, nf_mined **mined);

/* nf_mine_hard for the rows of the queries among those of a reference set (a corpus). */
NF_API NF_MUST_USE nf_status nf_mine_hard_reference(nf_context *context,
                                                    const nf_mine_hard_options *options,
                                                    const nf_mine_sets *sets, nf_mined **mined);

#ifdef __cplusplus
}
#endif
#endif
