/* Pairs: from labels to classes, pair counts, pair lists, offline samples and batches.
 *
 * A pair is unordered, (i, j) with i < j, never (i, i). It is positive when both rows have the same
 * label, negative when the labels differ; unlabelled rows take part in none. Counts are 64-bit:
 * 65,537 rows already have more than 2^31 pairs.
 */
#ifndef NEARFAR_PAIRS_H
#define NEARFAR_PAIRS_H

#include "nearfar/context.h"
#include "nearfar/matrix.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- label sets ------------------------------------------------------------------------------ */

/* Several labels a row: row i has the labels label[offset[i]] .. label[offset[i + 1] - 1], in any
 * order. A pair is positive if the rows share a label. A row without labels makes no pair. */
typedef struct nf_label_sets {
    const size_t *offset; /* (n + 1), ascending from 0 */
    const int64_t *label;
} nf_label_sets;

/* ---- partition ------------------------------------------------------------------------------ */

/* Rows grouped by class. Classes are numbered by first appearance, members ascend. All fields are
 * read-only; shareable between threads. */
typedef struct nf_partition {
    size_t n;        /* rows, labelled or not */
    size_t labelled; /* rows that have a class */
    size_t classes;
    const int64_t *label;    /* (classes): the label of each class */
    const size_t *offset;    /* (classes + 1): class c has rows row[offset[c] .. offset[c + 1]) */
    const size_t *row;       /* (labelled) */
    const int64_t *class_of; /* (n): class of each row, -1 if unlabelled */
    size_t singletons;       /* classes with one row: they have no positive pair */
    uint64_t positive_pairs, negative_pairs;
} nf_partition;

/* Group n labels. O(n) memory, O(n) expected time. Labels that are exactly {-1, +1} while -1 means
 * unlabelled are NF_ERR_DATA: half of a binary problem would vanish (set has_unlabelled = 0). n = 0
 * is fine; n beyond 2^32 - 1 is NF_ERR_RANGE. The labels are copied, not kept. */
NF_API NF_MUST_USE nf_status nf_partition_create(nf_context *context, nf_labels labels,
                                                 nf_partition **partition);
NF_API void nf_partition_free(nf_context *context, nf_partition *partition); /* NULL allowed */

/* ---- pair index ----------------------------------------------------------------------------- */

/* Position of pair (i, j), i < j < n, in the condensed order (0,1), (0,2), .. (n-2,n-1):
 * i n - i (i + 1) / 2 + j - i - 1. Exact for n <= 2^32 - 1. */
NF_API uint64_t nf_pair_rank(uint64_t n, uint64_t i, uint64_t j);

/* Inverse of nf_pair_rank for rank < n (n - 1) / 2, n <= 2^32 - 1. Exact: integer arithmetic. */
NF_API void nf_pair_unrank(uint64_t n, uint64_t rank, uint64_t *i, uint64_t *j);

/* ---- all pairs ------------------------------------------------------------------------------ */

typedef enum nf_pair_kind {
    NF_PAIRS_POSITIVE = 1,
    NF_PAIRS_NEGATIVE = 2,
    NF_PAIRS_BOTH = 3
} nf_pair_kind;

/* A block of `count` > 0 pairs, valid during the call; return non-zero to stop (the visit returns
 * NF_ERR_CALLBACK). Called on the calling thread. */
typedef int (*nf_pair_fn)(void *user, size_t count, const int64_t *i, const int64_t *j,
                          const uint8_t *same);

/* Every pair of the kind, in ascending order of (i, j), in blocks. Memory O(n), time O(n + pairs)
 * whatever the classes' sizes. Reports progress in pairs and can be cancelled. */
NF_API NF_MUST_USE nf_status nf_pairs_visit(nf_context *context, const nf_partition *partition,
                                            nf_pair_kind kind, nf_pair_fn visit, void *user);

/* The same into arrays that hold partition->positive_pairs and/or negative_pairs entries;
 * `capacity` smaller than the count is NF_ERR_RANGE and nothing is written. `same` may be NULL; i
 * and j may be NULL when there is no pair. */
NF_API NF_MUST_USE nf_status nf_pairs_list(nf_context *context, const nf_partition *partition,
                                           nf_pair_kind kind, size_t capacity, int64_t *i,
                                           int64_t *j, uint8_t *same);

/* ---- pair lists ----------------------------------------------------------------------------- */

/* A pair list: the offline form. (i, i) is refused, (j, i) is the pair (i, j), a pair listed twice
 * counts twice. */
typedef struct nf_pairs {
    size_t count;
    const int64_t *i, *j; /* (count) row indices */
    const uint8_t *same;  /* (count) 1 = positive, 0 = negative */
    const double *weight; /* (count) >= 0, or NULL for all 1 */
} nf_pairs;

/* Check a list against n rows: indices in [0, n), i != j, same 0 or 1, weights finite and >= 0.
 * NF_ERR_ARG names the first bad position and value. */
NF_API NF_MUST_USE nf_status nf_pairs_check(nf_context *context, nf_pairs pairs, size_t n);

/* out[p] = x[index[p]] for p < count; out (count, d) of x's type. For left and right arrays of a
 * pair list. A row number outside x is NF_ERR_ARG with its position. */
NF_API NF_MUST_USE nf_status nf_rows_gather(nf_context *context, nf_matrix x, const int64_t *index,
                                            size_t count, nf_matrix_out out);

/* ---- offline sampling ----------------------------------------------------------------------- */

typedef struct nf_pair_sample_options {
    size_t count;             /* pairs to draw */
    double positive_fraction; /* 0 .. 1, default 0.5: round(count * fraction) positives */
    int replace;              /* default 1. With 0 no pair is drawn twice; NF_ERR_DATA if a side
                                 has fewer pairs than asked for */
    uint64_t seed;            /* default 0 */
} nf_pair_sample_options;

NF_API nf_pair_sample_options nf_pair_sample_defaults(void);

/* Draw pairs, uniform within each side: a positive's class has probability proportional to
 * n_c (n_c - 1) / 2, every pair of a side the same probability. Positives and negatives come
 * shuffled together. weight (may be NULL) = 1 / (P p), P all valid pairs, p the expected number
 * of times one draw gives this pair, so that (1 / count) sum weight * phi estimates the mean of phi
 * over all pairs without bias when both sides are drawn. A side that has no pair while the
 * fraction asks for some is NF_ERR_DATA. Each draw is a uniform number turned into its pair:
 * O(log classes), no rejection of pairs. Without replacement every subset of a side is equally
 * likely (Floyd's algorithm). Memory O(count + classes). i < j in every pair. The draw depends on
 * (labels, options) only. `options` NULL means defaults (count 0). */
NF_API NF_MUST_USE nf_status nf_pairs_sample(nf_context *context, const nf_partition *partition,
                                             const nf_pair_sample_options *options, int64_t *i,
                                             int64_t *j, uint8_t *same, double *weight);

/* ---- batches -------------------------------------------------------------------------------- */

typedef enum nf_batch_kind {
    NF_BATCH_ALL = 0,        /* one batch of all labelled rows, ascending */
    NF_BATCH_RANDOM = 1,     /* shuffled rows in runs of batch_size */
    NF_BATCH_M_PER_CLASS = 2 /* classes chosen at random, up to per_class rows of each */
} nf_batch_kind;

typedef struct nf_batch_options {
    nf_batch_kind kind; /* default m-per-class */
    size_t batch_size;  /* rows; default 128. >= 2 */
    size_t per_class;   /* m; default 4. 1 .. batch_size */
    uint64_t seed;
    uint64_t epoch; /* each epoch is another shuffle of the same seed */
} nf_batch_options;

NF_API nf_batch_options nf_batch_defaults(void);

/* One epoch: batch b has rows row[offset[b] .. offset[b + 1]). Every labelled row is seen exactly
 * once; unlabelled rows, which have no pair, are left out of every kind. There are
 * labelled / batch_size batches rounded to the nearest whole number, at least 1 (0 without labelled
 * rows): a last batch shorter than half of batch_size is folded into the ones before.
 *
 * Random: runs of batch_size shuffled rows; the last batch takes the rest, batch_size / 2 to less
 * than 3/2 batch_size rows.
 *
 * M per class: the rows of a class are shuffled and cut in groups of m; the last group of a class
 * is smaller when m does not divide its size (never a row twice). Groups are dealt class by class,
 * classes in random order, each to the batch with the fewest rows, ties at random: batches differ
 * by at most m rows, and a class with g groups has floor(g / batches) or ceil(g / batches) of them
 * in each batch, so in none twice while another lacks it. */
typedef struct nf_batches {
    size_t batches;
    const size_t *offset; /* (batches + 1) */
    const size_t *row;
} nf_batches;

/* `options` NULL means defaults. Depends on (labels, options) only. O(labelled log batches) time. */
NF_API NF_MUST_USE nf_status nf_batches_create(nf_context *context, const nf_partition *partition,
                                               const nf_batch_options *options,
                                               nf_batches **batches);
NF_API void nf_batches_free(nf_context *context, nf_batches *batches); /* NULL allowed */

#ifdef __cplusplus
}
#endif
#endif
