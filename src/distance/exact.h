/* One pair in double with scaling: the slow, always-right path behind the tiles. */
#ifndef NF_DISTANCE_EXACT_H
#define NF_DISTANCE_EXACT_H

#include "base/base.h"
#include "kernel/kernel.h"
#include "nearfar/distance.h"

/* A metric is a raw number from one of three kernels, and a transform of it. */
typedef enum nf_family { NF_SQUARED, NF_PRODUCT, NF_ABSOLUTE } nf_family;

static inline nf_family nf_metric_family(nf_metric metric) {
    return metric == NF_DOT ? NF_PRODUCT : metric == NF_CITYBLOCK ? NF_ABSOLUTE : NF_SQUARED;
}

static inline nf_transform nf_metric_transform(nf_metric metric) {
    return metric == NF_EUCLIDEAN ? NF_T_SQRT
           : metric == NF_COSINE  ? NF_T_HALF
           : metric == NF_DOT     ? NF_T_NEGATED
                                  : NF_T_RAW;
}

/* Distance of rows a and b (d elements of `type`; already unit rows for cosine) under the metric, to
 * the accuracy of double: no spurious overflow or underflow. Inf where the value exceeds double. */
double nf_exact_distance(nf_metric metric, nf_type type, const void *a, const void *b, size_t d);

/* Raw numbers within these bounds are right as the tile gives them; outside, the pair is computed by
 * nf_exact_distance. `power` (>= 1) is the largest power of raw that will be taken. */
void nf_trusted_range(nf_family family, nf_type type, size_t d, double power, double *low,
                      double *high);

/* Whether two rows are the same bytes. */
bool nf_rows_equal(nf_type type, const void *a, const void *b, size_t d);

#endif
