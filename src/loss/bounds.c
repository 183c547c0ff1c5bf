#include "loss/bounds.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Covers what rounding in double can take from a radius or add to a distance of centres: far more than
 * the (d + 4) 2^-53 it is for any d that fits in memory. */
#define NF_SLACK 1e-9

/* Row r as the tiles see it, in double. */
static void load(const nf_pass_set *set, size_t r, void *narrow, double *wide) {
    const size_t d = set->rows.x.cols;
    nf_rows_copy(&set->rows, r, 1, set->rows.x.type, narrow, d);
    for (size_t k = 0; k < d; k++) {
        wide[k] = set->rows.x.type == NF_FLOAT32 ? (double)((const float *)narrow)[k]
                                                 : ((const double *)narrow)[k];
    }
}

static double distance(const double *a, const double *b, size_t d) {
    double lane[8] = {0};
    size_t k = 0;
    for (; k + 8 <= d; k += 8) {
        for (size_t l = 0; l < 8; l++) lane[l] += (a[k + l] - b[k + l]) * (a[k + l] - b[k + l]);
    }
    for (; k < d; k++) lane[0] += (a[k] - b[k]) * (a[k] - b[k]);
    for (size_t l = 1; l < 8; l++) lane[0] += lane[l];
    return sqrt(lane[0]);
}

nf_status nf_bounds_make(nf_context *context, const nf_pass_set *set, nf_bounds *bounds) {
    const size_t d = set->rows.x.cols;
    double *center, *radius, *row;
    nf_status status =
        nf_scratch(context, &center, set->blocks, d * sizeof *center, "block centres");
    if (status == NF_OK) {
        status = nf_scratch(context, &radius, set->blocks, sizeof *radius, "block radii");
    }
    if (status == NF_OK) status = nf_scratch(context, &row, d, 2 * sizeof *row, "bounds row");
    if (status != NF_OK) return status;
    for (size_t b = 0; b < set->blocks; b++) {
        const size_t first = set->block[b], stop = set->block[b + 1];
        double *own = center + b * d;
        memset(own, 0, d * sizeof *own);
        for (size_t r = first; r < stop; r++) {
            load(set, r, row + d, row);
            for (size_t k = 0; k < d; k++) own[k] += row[k];
        }
        for (size_t k = 0; k < d; k++) own[k] /= (double)(stop - first);
        radius[b] = 0;
        for (size_t r = first; r < stop; r++) {
            load(set, r, row + d, row);
            radius[b] = fmax(radius[b], distance(row, own, d));
        }
        radius[b] *= 1 + NF_SLACK;
    }
    *bounds = (nf_bounds){center, radius};
    return NF_OK;
}

double nf_bounds_reach(nf_metric metric, double margin) {
    double positive = fmax(margin, 0);
    switch (metric) {
    case NF_EUCLIDEAN: return positive;
    case NF_SQEUCLIDEAN: return sqrt(positive) * (1 + NF_SLACK);
    case NF_COSINE: return sqrt(2 * positive) * (1 + NF_SLACK);
    case NF_DOT:
    case NF_CITYBLOCK: break;
    }
    return -1;
}

bool nf_bounds_apart(const nf_bounds *a, size_t i, const nf_bounds *b, size_t j, size_t d,
                     nf_type type, double reach) {
    double apart = distance(a->center + i * d, b->center + j * d, d) * (1 - NF_SLACK);
    double gap = apart - a->radius[i] - b->radius[j];
    double unit = type == NF_FLOAT32 ? FLT_EPSILON : DBL_EPSILON;
    double kept =
        1 - ((double)d + 8) * unit - NF_SLACK; /* of a distance, after a kernel's rounding */
    /* A margin is rounded to the type before it is compared; infinities and NaN are not apart. */
    return kept > 0.5 && gap <= DBL_MAX && gap * kept > reach * (1 + unit);
}
