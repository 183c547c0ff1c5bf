/* Losses over all pairs, a pair list, rows, or query x reference.
 *
 * A loss is a kind with its numbers. The kind `contrastive` is the family
 *
 *   phi+ = scale * pos_weight * max(0, t+ - pos_margin)^pos_exponent     same label
 *   phi- = scale * neg_weight * max(0, neg_margin - t-)^neg_exponent     different label
 *
 * t+ and t- are distances (distance.h) under pos_metric and neg_metric, of the rows or, with
 * `normalize`, of the rows divided by their length.
 *
 *   preset   t            p  pos_margin neg_margin scale normalize reduction
 *   weston   euclidean    2  0          1          1     no        mean          (alias tfa)
 *   drlim    euclidean    2  0          1          1/2   no        mean
 *   hinge    sqeuclidean  1  0          1          1     no        mean
 *   pml      euclidean    1  0          1          1     yes       mean-nonzero
 *   sbert    cosine       2  0          0.5        1/2   -         mean
 *
 * The kind `online-contrastive` has the terms of the hard pairs only: of the positives farther apart
 * than the nearest negative and of the negatives nearer than the farthest positive. Where one side
 * has no pair, its place takes the mean distance of the other. Every other pair has the term 0.
 *
 *   phi+ = scale * t^2 if t > min t-          phi- = scale * max(0, neg_margin - t)^2 if t < max t+
 *
 *   preset               t        margin  normalize  reduction
 *   online-contrastive   cosine   0.5     -          sum
 *
 * It is sentence-transformers' OnlineContrastiveLoss. The choice is among the pairs of the call: all of
 * the batch, all of query x reference, or those of the list with a weight above 0; to the gradient it
 * is a constant. The metric is any but dot.
 *
 * The kind `triplet` looks at triplets (anchor a, positive p, negative n), chosen by `triplets`, with
 * margin neg_margin:
 *
 *   phi = scale * max(0, t(a, p) - t(a, n) + neg_margin), with `smooth` log(1 + exp(..)) of the same
 *
 * Active is a triplet with fl(t(a, p) + neg_margin) > t(a, n). Ties in a choice go to the smaller row.
 * All triplets take time O(n^2 log n) and memory O(n) per anchor, with `smooth` as many steps as there
 * are triplets. The kind `margin` has, over all triplets,
 *
 *   phi = scale * (max(0, t(a, p) - beta + neg_margin) + max(0, beta - t(a, n) + neg_margin))
 *
 * For both, mean is over the triplets; mean-nonzero over those with phi > 0, for `margin` over the
 * parts > 0.
 *
 *   preset                 kind     triplets   t            margin  normalize  reduction
 *   triplet                triplet  all        euclidean    0.05    yes        mean-nonzero
 *   tfa-semihard           triplet  semi-hard  sqeuclidean  1       no         mean
 *   tfa-hard               triplet  hard       sqeuclidean  1       no         mean
 *   sbert-batch-all        triplet  all        euclidean    5       no         mean-nonzero
 *   sbert-batch-hard       triplet  hard       euclidean    5       no         mean
 *   sbert-batch-hard-soft  triplet  hard       euclidean    0       no         mean (smooth)
 *   sbert-batch-semihard   triplet  semi-hard  euclidean    5       no         mean
 *   margin                 margin   all        euclidean    0.2     yes        mean-nonzero (beta 1.2)
 *
 * triplet, margin: pytorch-metric-learning's TripletMarginLoss and MarginLoss (Wu et al., Sampling
 * matters in deep embedding learning, ICCV 2017). semi-hard: Schroff, Kalenichenko & Philbin, FaceNet,
 * CVPR 2015. hard: Hermans, Beyer & Leibe, In defense of the triplet loss, 2017. tfa-*: TensorFlow
 * Addons' TripletSemiHardLoss and TripletHardLoss. sbert-batch-*: sentence-transformers'
 * BatchAllTripletLoss, BatchHardTripletLoss, BatchHardSoftMarginTripletLoss and
 * BatchSemiHardTripletLoss.
 *
 * Losses of exponentials compare all pairs of a row i; p are its positives, n its negatives, s is the
 * similarity 1 - t for cosine and -t otherwise, T the temperature, [z]+ = max(0, z):
 *
 *   nt-xent             each positive pair (i, p), from both ends:
 *                       log(1 + exp(-s_ip / T) sum_n exp(s_in / T))
 *   supcon              log(sum_j exp(s_ij / T)) - mean_p s_ip / T
 *   nca                 log(sum_j exp(-t_ij / T)) - log(sum_p exp(-t_ip / T))
 *   multi-similarity    log(1 + sum_p exp(alpha (base - s_ip))) / alpha
 *                       + log(1 + sum_n exp(beta (s_in - base))) / beta; for a metric other than
 *                       cosine and dot base is a distance and base - s stands for t - base
 *   circle              log(1 + sum_p exp(-gamma [1 + m - s_ip]+ (s_ip - 1 + m))
 *                             * sum_n exp(gamma [s_in + m]+ (s_in - m))), m = neg_margin; cosine
 *                       only; the factors []+ are constants to the gradient
 *   lifted              each positive pair (i, p), from both ends: [log(sum_n exp(neg_margin - t_in)
 *                       + sum_n exp(neg_margin - t_pn)) + t_ip - pos_margin]+^2 / 2
 *   generalized-lifted  [log(sum_p exp(t_ip - pos_margin)) + log(sum_n exp(neg_margin - t_in))]+
 *   n-pairs             of every class with two rows the first, a, and the second, b:
 *                       log(sum_k exp(s(a, b_k))) - s(a, b), k over those classes
 *
 * A row without positives adds 0 to supcon, nca and circle, one without negatives 0 to nt-xent, nca and
 * circle; nt-xent, supcon, lifted and n-pairs are 0 for a batch without any negative pair; an empty
 * sum of generalized-lifted has logarithm 0. Terms of a mean are positive pairs for nt-xent and lifted,
 * rows with a positive for nca, classes for n-pairs, all labelled rows otherwise (queries in
 * nf_loss_reference). mean-nonzero is over the terms > 0, mean-anchors (nt-xent, lifted) the mean over
 * rows of each row's mean. weighted-mean is mean; with weights (targets.h) it divides by theirs.
 *
 *   preset              t            normalize  numbers                            reduction
 *   nt-xent             cosine       -          temperature 0.07                   mean
 *   sbert-mnrl          cosine       -          nt-xent, temperature 0.05          mean
 *   supcon              cosine       -          temperature 0.1                    mean-nonzero
 *   nca                 sqeuclidean  yes        temperature 1                      mean
 *   multi-similarity    cosine       -          alpha 2, beta 50, base 0.5         mean
 *   circle              cosine       -          neg_margin 0.4, gamma 80           mean-nonzero
 *   lifted              euclidean    yes        neg_margin 1, pos_margin 0         mean
 *   tfa-lifted          euclidean    no         lifted, the same numbers           mean
 *   generalized-lifted  euclidean    yes        neg_margin 1, pos_margin 0         mean
 *   n-pairs             dot          yes        -                                  mean
 *
 * Formulas, defaults and reductions are pytorch-metric-learning's; tfa-lifted is TensorFlow Addons'
 * LiftedStructLoss; sbert-mnrl in nf_loss_reference, anchor and positive k with label k, is
 * sentence-transformers' MultipleNegativesRankingLoss. nt-xent (InfoNCE): van den Oord, Li &
 * Vinyals 2018; Chen et al., SimCLR, ICML 2020. supcon: Khosla et al., NeurIPS 2020. nca: Goldberger
 * et al., NIPS 2004. multi-similarity: Wang et al., CVPR 2019. circle: Sun et al., CVPR 2020. lifted:
 * Oh Song et al., CVPR 2016; generalized-lifted: Hermans, Beyer & Leibe 2017. n-pairs: Sohn, NIPS
 * 2016. Time O(n^2 d), memory O(n d).
 *
 * weston is eq. (3) of Weston, Ratle & Collobert, Deep Learning via Semi-Supervised Embedding,
 * ICML 2008: d^2 for a positive, max(0, m - d)^2 for a negative. drlim: Hadsell, Chopra & LeCun,
 * CVPR 2006. pml: pytorch-metric-learning's ContrastiveLoss. sbert: sentence-transformers'
 * ContrastiveLoss.
 *
 * Reductions, over P valid pairs with list weights w (1 without a list):
 *   sum            sum w phi
 *   mean           sum w phi / P
 *   weighted-mean  sum w phi / sum w
 *   mean-sides     mean of the positives + mean of the negatives; an empty side is 0
 *   mean-nonzero   as mean-sides, over the terms that are > 0
 *   divisor        sum w phi / divisor, a number of one's own: the sizes of several batches together,
 *                  or what a loss of pytorch-metric-learning gives its DivisorReducer
 *
 * No valid pair: value 0, gradient all zeros, counts 0. The gradient of a distance at 0 is 0. The
 * gradient at the kink of the hinge (t equal to the margin) is 0. Every gradient is finite, or the
 * call returns NF_ERR_RANGE. NaN or Inf in the input is NF_ERR_DATA. The bits of value and gradient
 * depend on (x, pairs, loss) only: not on threads, instruction set, statistics or a later call.
 */
#ifndef NEARFAR_LOSS_H
#define NEARFAR_LOSS_H

#include "nearfar/distance.h"
#include "nearfar/pairs.h"

#ifdef __cplusplus
extern "C" {
#endif

/* enum suffix, value, name */
#define NF_REDUCTION_MAP(XX)              \
    XX(MEAN, 0, "mean")                   \
    XX(SUM, 1, "sum")                     \
    XX(WEIGHTED_MEAN, 2, "weighted-mean") \
    XX(MEAN_SIDES, 3, "mean-sides")       \
    XX(MEAN_NONZERO, 4, "mean-nonzero")   \
    XX(NONE, 5, "none")                   \
    XX(MEAN_ANCHORS, 6, "mean-anchors")   \
    XX(DIVISOR, 7, "divisor")

typedef enum nf_reduction {
#define XX(name, value, text) NF_REDUCE_##name = value,
    NF_REDUCTION_MAP(XX)
#undef XX
} nf_reduction;

NF_API const char *nf_reduction_name(nf_reduction reduction); /* NULL outside the enum */
NF_API NF_MUST_USE nf_status nf_reduction_parse(nf_context *context, const char *name,
                                                nf_reduction *reduction);

/* enum suffix, value, name */
#define NF_LOSS_KIND_MAP(XX)                        \
    XX(CONTRASTIVE, 0, "contrastive")               \
    XX(NT_XENT, 1, "nt-xent")                       \
    XX(SUPCON, 2, "supcon")                         \
    XX(NCA, 3, "nca")                               \
    XX(MULTI_SIMILARITY, 4, "multi-similarity")     \
    XX(CIRCLE, 5, "circle")                         \
    XX(LIFTED, 6, "lifted")                         \
    XX(GENERALIZED_LIFTED, 7, "generalized-lifted") \
    XX(N_PAIRS, 8, "n-pairs")                       \
    XX(TRIPLET, 9, "triplet")                       \
    XX(MARGIN, 10, "margin")                        \
    XX(USER, 11, "user")                            \
    XX(ONLINE_CONTRASTIVE, 12, "online-contrastive")

typedef enum nf_loss_kind {
#define XX(name, value, text) NF_KIND_##name = value,
    NF_LOSS_KIND_MAP(XX)
#undef XX
} nf_loss_kind;

NF_API const char *nf_loss_kind_name(nf_loss_kind kind); /* NULL outside the enum */

/* Which triplets (anchor, positive, negative): all of them; for each anchor and positive the nearest
 * negative that is farther than the positive; for each anchor its farthest positive and nearest
 * negative. */
#define NF_TRIPLETS_MAP(XX)       \
    XX(ALL, 0, "all")             \
    XX(SEMI_HARD, 1, "semi-hard") \
    XX(HARD, 2, "hard")

typedef enum nf_triplets {
#define XX(name, value, text) NF_TRIPLETS_##name = value,
    NF_TRIPLETS_MAP(XX)
#undef XX
} nf_triplets;

NF_API const char *nf_triplets_name(nf_triplets triplets); /* NULL outside the enum */

/* A loss of one's own: value[k] = phi(t[k]) and slope[k] = dphi/dt(t[k]) for n distances of pairs
 * with the same label (same = 1) or with different ones (0). Called from several threads at once on
 * strips of a row, which may hold pairs that do not count; it must be pure, finite for every
 * distance, and give the same bits for the same t. A result other than 0 ends the call with
 * NF_ERR_CALLBACK. */
typedef int (*nf_pair_fn_f32)(void *user, int same, size_t n, const float *t, float *value,
                              float *slope);
typedef int (*nf_pair_fn_f64)(void *user, int same, size_t n, const double *t, double *value,
                              double *slope);

typedef struct nf_pair_function {
    nf_pair_fn_f32 f32; /* for float32 rows; NULL: f64 is called with widened distances */
    nf_pair_fn_f64 f64; /* for float64 rows and pair lists; NULL: float64 is NF_ERR_ARG */
    void *user;
    double radius; /* > 0: a promise that negatives with t >= radius have value and slope 0, so that
                      blocks farther apart are skipped; 0: no promise */
} nf_pair_function;

typedef struct nf_loss {
    nf_metric pos_metric, neg_metric;
    double pos_exponent, neg_exponent; /* 1, 1.5, 2, .. 8: multiples of 1/2 */
    double pos_margin, neg_margin;     /* finite; distances are >= 0 except dot */
    double pos_weight, neg_weight;     /* finite, >= 0 */
    double scale;                      /* finite, > 0 */
    int normalize;                     /* L2-normalise rows first */
    nf_reduction reduction;
    double divisor;    /* reduction divisor: finite, > 0; others: 0 */
    int stats;         /* also count active positives and mean distances: one more forward pass over
                  pairs whose distance the loss does not need; never changes value or gradient */
    nf_loss_kind kind; /* the rest is for kinds other than contrastive, see nf_loss_takes */
    double temperature; /* > 0 */
    double alpha, beta; /* > 0 */
    double base;        /* finite */
    double gamma;       /* > 0 */
    nf_triplets triplets;
    int smooth;                       /* log(1 + exp(z)) instead of max(0, z) */
    const nf_pair_function *function; /* kind user; must outlive every call */
    int fast; /* every kind: distances as with nf_distance_options.fast, for the metrics it is for.
                 Only those of all pairs: of a list or of rows each pair is computed directly.
                 Gradients are differences of rows all the same, with weights of that accuracy */
} nf_loss;

/* Whether a kind takes the field of that name ("temperature", "pos_margin", ..); what it does not
 * take must have its neutral value: weights and exponents 1, everything else 0. "pairs": whether it has
 * terms of single pairs, which lists of pairs need. */
NF_API int nf_loss_takes(nf_loss_kind kind, const char *field);

/* Number of presets, and the i-th preset's name and one-line formula; NULL past the end. */
NF_API size_t nf_loss_presets(void);
NF_API const char *nf_loss_preset_name(size_t i);
NF_API const char *nf_loss_preset_formula(size_t i);

/* Fill `loss` with a preset by name. Changing metrics, margins, exponents afterwards is plain
 * assignment. NF_ERR_ARG lists the names. */
NF_API NF_MUST_USE nf_status nf_loss_preset(nf_context *context, const char *name, nf_loss *loss);

/* eq. (3): the `weston` preset. */
NF_API nf_loss nf_loss_weston(void);

/* The mean over pairs of a function of one's own, with euclidean distances for both sides; set
 * pos_metric and neg_metric for others. */
NF_API nf_loss nf_loss_user(const nf_pair_function *function);

/* Check a loss; NF_ERR_ARG names the field, the value and the limit. All forms call it first. */
NF_API NF_MUST_USE nf_status nf_loss_check(nf_context *context, const nf_loss *loss);

typedef struct nf_loss_result {
    double value;
    uint64_t positive_pairs, negative_pairs; /* valid pairs of each side */
    uint64_t active_negative;                /* negatives with w phi- > 0 */
    uint64_t coincident_negatives;           /* negatives at distance 0: loss without gradient, a
                                                sign of collapse. Kinds contrastive, user, triplet
                                                and margin, metrics other than dot; others 0.
                                                Contrastive: only where negatives can have loss */
    uint64_t zero_rows;                      /* all-zero rows of the input, in a pair or not, with
                                                cosine or normalize; else 0 */
    /* 1: the next three are filled. As wide as its neighbours, so that a result has no padding and
     * equal results are equal bytes. */
    uint64_t has_stats;
    uint64_t active_positive;      /* positives with w phi+ > 0 */
    double mean_positive_distance; /* mean t+, t-; 0 when the side has no pair */
    double mean_negative_distance;
    /* Work of the batch and reference forms. A tile is a block of rows against another, at most 96 by
     * 96 (kinds triplet and margin: 96 anchors by 128 rows); skipped are those no pair of which can
     * have a term (positives that close in form, negatives beyond the margin by the balls around
     * their blocks; the latter only without stats). An update is the gradient of a strip of 12 rows
     * of a computed tile from all rows of its other block: of the tile's rows and, where they have a
     * gradient here, of its columns. Skipped are those all of whose weights are 0; without
     * gradients there are none. total - skipped does not depend on pruning. Skipping never changes
     * a bit. */
    uint64_t tiles_total, tiles_skipped, updates_total, updates_skipped;
    /* Kinds whose terms are not single pairs: how many terms there are (anchors, positive pairs seen
     * from each end, triplets) and how many are > 0 (kind margin: parts > 0, of which a triplet has
     * two); else 0. For the kinds triplet and margin active_positive and active_negative count
     * ordered pairs (anchor, other) in some active term. */
    uint64_t terms, active_terms;
} nf_loss_result;

/* All pairs of labelled rows: x (n, d), labels (n). gradient (n, d) of x's type = d value / d x, or
 * data NULL for the value only (pass a zeroed nf_matrix_out). Memory beyond inputs and outputs: 8 n
 * d bytes with a gradient (of float32 half of it goes back to the system before the gradient is
 * written, unless the context has an allocator), O(n) without, plus a fixed scratch per thread; the
 * n x n matrix never exists. Reduction `none` is NF_ERR_ARG here (nf_loss_anchors, nf_loss_pairs). Where positives have a closed form (euclidean with
 * exponent 2 or sqeuclidean with exponent 1, pos_margin 0, a reduction other than mean-nonzero) it
 * is always used.
 * Errors: NF_ERR_ARG, NF_ERR_DATA, NF_ERR_RANGE, NF_ERR_NOMEM, NF_ERR_CANCELLED. */
NF_API NF_MUST_USE nf_status nf_loss_batch(nf_context *context, const nf_loss *loss, nf_matrix x,
                                           nf_labels labels, nf_loss_result *result,
                                           nf_matrix_out gradient);

/* Per-row extras of nf_loss_anchors and its like; NULL or zeroed means none. */
typedef struct nf_row_terms {
    double *terms;          /* out (n): scale times the sum of the terms that start from each row,
                               before reduction; 0 for rows without any; or NULL */
    const double *upstream; /* (n), finite: with reduction `none` the gradient is that of
                               sum_i upstream[i] terms[i]; NULL means all 1, and must be NULL with
                               other reductions */
} nf_row_terms;

/* nf_loss_batch with the terms of each row as anchor, for the kinds that compare the pairs of a row
 * (contrastive, online-contrastive and user have terms of pairs: NF_ERR_ARG): its positive pairs for nt-xent and lifted,
 * its triplets for triplet and margin, its class for the first row of n-pairs, else the row's one
 * term. The value with reduction `none` is their sum. Errors as nf_loss_batch. */
NF_API NF_MUST_USE nf_status nf_loss_anchors(nf_context *context, const nf_loss *loss, nf_matrix x,
                                             nf_labels labels, const nf_row_terms *extras,
                                             nf_loss_result *result, nf_matrix_out gradient);

/* The boundary beta of a loss of kind margin as something to learn: one for all classes, or one per
 * class. It stands for loss->beta. */
typedef struct nf_margin_beta {
    const double *beta; /* (count), finite */
    size_t count;       /* 1, or the number of classes; any number with by_label */
    double nu;          /* >= 0: adds nu beta to the value; with one per class nu times the sum of
                           the anchors' beta over all triplets, divided as the terms are; nothing
                           without triplets */
    double *gradient;   /* out (count): d value / d beta; or NULL */
    int by_label; /* whose beta[k] is: of the k-th class of nf_partition (0), or of label k (1):
                           labels are then 0 .. count - 1, and classes without a row have gradient 0 */
} nf_margin_beta;

/* nf_loss_batch for kind margin with the gradient of beta. Errors as there; NF_ERR_ARG for another
 * kind, a count that is neither 1 nor the number of classes, a label without a beta. */
NF_API NF_MUST_USE nf_status nf_loss_margin(nf_context *context, const nf_loss *loss, nf_matrix x,
                                            nf_labels labels, const nf_margin_beta *beta,
                                            nf_loss_result *result, nf_matrix_out gradient);

/* Per-pair extras of the pair and row forms; NULL or zeroed means none. */
typedef struct nf_pair_terms {
    double *terms;          /* out (count): w phi per pair, before reduction; or NULL */
    const double *upstream; /* (count), finite: with reduction `none` the gradient is that of
                               sum_p upstream[p] w phi_p; NULL means all 1. Other reductions take
                               upstream[0] as a factor of the gradient only if not NULL */
} nf_pair_terms;

/* A pair list into one matrix x (n, d). */
NF_API NF_MUST_USE nf_status nf_loss_pairs(nf_context *context, const nf_loss *loss, nf_matrix x,
                                           nf_pairs pairs, const nf_pair_terms *extras,
                                           nf_loss_result *result, nf_matrix_out gradient);

/* A list of triplets of rows, the offline form of the kinds triplet and margin. A triplet's rows differ;
 * one listed twice counts twice. */
typedef struct nf_triplet_list {
    size_t count;
    const int64_t *anchor, *positive, *negative; /* (count) row indices */
} nf_triplet_list;

/* A triplet list into one matrix x (n, d): miners' triplets and one's own. Kind triplet (`triplets` all:
 * the list says which) and margin have a term for each triplet, and the reductions are over these
 * (active_positive and active_negative count the listed ends that have a gradient). Kinds with terms of
 * pairs take each as the pairs (anchor, positive) and (anchor, negative): the value and gradient of
 * nf_loss_pairs of those. Other kinds and reduction none are NF_ERR_ARG. An empty list has
 * value 0 and gradient 0. Time O(count d), memory O(count). Errors as nf_loss_batch. */
NF_API NF_MUST_USE nf_status nf_loss_triplets(nf_context *context, const nf_loss *loss, nf_matrix x,
                                              nf_triplet_list triplets, nf_loss_result *result,
                                              nf_matrix_out gradient);

/* nf_loss_triplets for kind margin with the gradient of beta, that of the class of each triplet's anchor
 * in labels (n), which otherwise says nothing; anchors are labelled. Errors as nf_loss_margin and
 * nf_loss_triplets. */
NF_API NF_MUST_USE nf_status nf_loss_margin_triplets(nf_context *context, const nf_loss *loss,
                                                     nf_matrix x, nf_labels labels,
                                                     nf_triplet_list triplets,
                                                     const nf_margin_beta *beta,
                                                     nf_loss_result *result,
                                                     nf_matrix_out gradient);

/* Row k of left with row k of right: left (n, d), right (n, d), same (n) of 0 and 1, weight (n) or
 * NULL. This is loss(x1, x2, y). Two gradients, each may have data NULL. */
NF_API NF_MUST_USE nf_status nf_loss_rows(nf_context *context, const nf_loss *loss, nf_matrix left,
                                          nf_matrix right, const uint8_t *same,
                                          const double *weight, const nf_pair_terms *extras,
                                          nf_loss_result *result, nf_matrix_out left_gradient,
                                          nf_matrix_out right_gradient);

/* Query x reference: query (n, d), reference (m, d), labels of each. Pairs are all (q, r) with both
 * labelled, except those with equal ids (ids NULL on either side: none excluded). Two gradients. */
typedef struct nf_loss_sets {
    nf_matrix query, reference;
    nf_labels query_labels, reference_labels;
    const int64_t *query_ids, *reference_ids; /* (n), (m), both or neither */
} nf_loss_sets;

NF_API NF_MUST_USE nf_status nf_loss_reference(nf_context *context, const nf_loss *loss,
                                               const nf_loss_sets *sets, nf_loss_result *result,
                                               nf_matrix_out query_gradient,
                                               nf_matrix_out reference_gradient);

/* nf_loss_reference with the terms of each query as anchor, terms and upstream (n): as nf_loss_anchors,
 * whose errors it has. Reference rows are no anchors. */
NF_API NF_MUST_USE nf_status nf_loss_anchors_reference(
    nf_context *context, const nf_loss *loss, const nf_loss_sets *sets, const nf_row_terms *extras,
    nf_loss_result *result, nf_matrix_out query_gradient, nf_matrix_out reference_gradient);

/* nf_loss_reference for kind margin with the gradient of beta: anchors are rows of the query set, and
 * the classes that a beta per class belongs to those of query_labels followed by reference_labels.
 * Errors as nf_loss_margin. */
NF_API NF_MUST_USE nf_status nf_loss_margin_reference(
    nf_context *context, const nf_loss *loss, const nf_loss_sets *sets, const nf_margin_beta *beta,
    nf_loss_result *result, nf_matrix_out query_gradient, nf_matrix_out reference_gradient);

#ifdef __cplusplus
}
#endif
#endif
