/* Distances and exact nearest neighbours.
 *
 *   euclidean    d(a, b) = sqrt(sum_k (a_k - b_k)^2)
 *   sqeuclidean  d(a, b) = sum_k (a_k - b_k)^2
 *   cosine       d(a, b) = |a/|a| - b/|b||^2 / 2  =  1 - cos(a, b)
 *   dot          d(a, b) = - sum_k a_k b_k   (a larger dot product is nearer)
 *   cityblock    d(a, b) = sum_k |a_k - b_k|
 *
 * All are computed from differences, not from |a|^2 + |b|^2 - 2ab, so near points do not cancel:
 * euclidean, sqeuclidean and cityblock are right to (d + 2) ulp, d(x, x) is exactly 0 and
 * d(a, b) and d(b, a) are the same bits, whatever the batch, block or thread. Results that would
 * overflow or underflow in between are recomputed in wider range; a true value beyond the type
 * gives NF_ERR_RANGE. With cosine a zero row is at distance 1 from every other row.
 *
 * With `fast`, euclidean, sqeuclidean and cosine take |a - b|^2 from |a|^2 + |b|^2 - 2ab (a, b unit
 * rows for cosine) where that is above 1/16 of |a|^2 + |b|^2, and from differences everywhere else,
 * with the same bits as without. The relative error of |a - b|^2 is then at most 40 (d + 2) u, u =
 * 2^-24 for float32 and 2^-53 for float64; half of that for its root. Everything else above holds:
 * d(x, x) is 0, and bits depend on the two rows only. d may be at most 32766 for float32. Faster only
 * where few pairs are near, on some machines: see doc/math/gram.md. The other metrics give NF_ERR_ARG.
 */
#ifndef NEARFAR_DISTANCE_H
#define NEARFAR_DISTANCE_H

#include "nearfar/context.h"
#include "nearfar/matrix.h"

#ifdef __cplusplus
extern "C" {
#endif

/* enum suffix, value, name */
#define NF_METRIC_MAP(XX)             \
    XX(EUCLIDEAN, 0, "euclidean")     \
    XX(SQEUCLIDEAN, 1, "sqeuclidean") \
    XX(COSINE, 2, "cosine")           \
    XX(DOT, 3, "dot")                 \
    XX(CITYBLOCK, 4, "cityblock")

typedef enum nf_metric {
#define XX(name, value, text) NF_##name = value,
    NF_METRIC_MAP(XX)
#undef XX
} nf_metric;

/* Name of a metric, or NULL for a value outside the enum. Static string. */
NF_API const char *nf_metric_name(nf_metric metric);

/* The metric with that name. NF_ERR_ARG (message lists the names) if there is none. */
NF_API NF_MUST_USE nf_status nf_metric_parse(nf_context *context, const char *name,
                                             nf_metric *metric);

typedef struct nf_distance_options {
    nf_metric metric;    /* default euclidean */
    int normalize;       /* L2-normalise rows first; a zero row stays zero. Default 0 */
    int precise;         /* accumulate in double: float32 results right to 0.51 ulp. Default 0 */
    int allow_nonfinite; /* 0 (default): NaN or Inf in the input is NF_ERR_DATA with the first
                             (row, column) and the count; 1: they propagate by IEEE rules, and a
                             result beyond the type is Inf instead of NF_ERR_RANGE */
    int fast;            /* euclidean, sqeuclidean and cosine from |a|^2 + |b|^2 - 2ab, see above.
                             Default 0, and never chosen by size */
} nf_distance_options;

/* Defaults: euclidean, everything else 0. */
NF_API nf_distance_options nf_distance_defaults(void);

/* Full matrix: out (n, m), out[i][j] = d(x_i, y_j), for x (n, d) and y (m, d) of one type.
 * `options` NULL means defaults. For the distances of x with itself pass x twice: the result is
 * symmetric bit for bit with an exact zero diagonal (dot excepted).
 * Errors: NF_ERR_ARG (shapes, types), NF_ERR_DATA (NaN, Inf), NF_ERR_RANGE, NF_ERR_NOMEM. */
NF_API NF_MUST_USE nf_status nf_distances_full(nf_context *context,
                                               const nf_distance_options *options, nf_matrix x,
                                               nf_matrix y, nf_matrix_out out);

/* Condensed: out[nf_pair_rank(n, i, j)] = d(x_i, x_j) for i < j, n(n-1)/2 values of x's type, in
 * the order of scipy.spatial.distance.pdist. */
NF_API NF_MUST_USE nf_status nf_distances_condensed(nf_context *context,
                                                    const nf_distance_options *options, nf_matrix x,
                                                    void *out);

/* Pair list: out[p] = d(x_i[p], y_j[p]) for p < count; i indexes x (n, d), j indexes y (m, d).
 * An index outside its matrix is NF_ERR_ARG with its position. */
NF_API NF_MUST_USE nf_status nf_distances_pairs(nf_context *context,
                                                const nf_distance_options *options, nf_matrix x,
                                                nf_matrix y, const int64_t *i, const int64_t *j,
                                                size_t count, void *out);

/* Exact k nearest rows of `reference` (m, d) for each row of `query` (n, d), nearest first, ties by
 * smaller index. index (n, k) and distance (n, k; query's type; may be NULL) are row-major.
 * With `exclude_self` non-zero, query and reference must have the same number of rows and row i
 * is not a neighbour of query i (for neighbours within one set pass it twice).
 * Distances are bit for bit those of nf_distances_full, and so is the order. Needs 1 <= k <= m
 * (m - 1 with exclude_self). NaN distances (allow_nonfinite) come last. Errors as
 * nf_distances_full.
 *
 * Where rows of 96 columns or more differ in few directions, most pairs are told to be too far apart
 * by rigorous bounds from those directions, and never computed; the result does not depend on it
 * (euclidean, sqeuclidean and cosine, neither precise nor fast). Memory O(n k) for the results until they are
 * complete, O(threads * block), and for the bounds at most 300 numbers of 4 bytes for each row, 200
 * MB in all; never n x m. */
NF_API NF_MUST_USE nf_status nf_knn(nf_context *context, const nf_distance_options *options,
                                    nf_matrix query, nf_matrix reference, size_t k,
                                    int exclude_self, int64_t *index, void *distance);

#ifdef __cplusplus
}
#endif
#endif
