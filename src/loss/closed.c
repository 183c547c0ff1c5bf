#include "loss/closed.h"

#include <math.h>
#include <string.h>

bool nf_closed_applies(const nf_loss *loss) {
    bool squared = (loss->pos_metric == NF_EUCLIDEAN && loss->pos_exponent == 2) ||
                   (loss->pos_metric == NF_SQEUCLIDEAN && loss->pos_exponent == 1);
    /* mean-nonzero needs to know how many positives are at distance 0, which needs distances */
    return squared && loss->pos_margin == 0 && loss->reduction != NF_REDUCE_MEAN_NONZERO;
}

/* Row r of the set as the tiles see it, in double: unit rows are rounded to T first. */
static void load(const nf_pass_set *set, size_t r, void *narrow, double *wide) {
    const size_t d = set->rows.x.cols;
    if (set->rows.inverse == NULL || set->rows.x.type == NF_FLOAT64) {
        nf_rows_copy(&set->rows, r, 1, NF_FLOAT64, wide, d);
        return;
    }
    nf_rows_copy(&set->rows, r, 1, NF_FLOAT32, narrow, d);
    for (size_t k = 0; k < d; k++) wide[k] = (double)((const float *)narrow)[k];
}

/* |row|^2 in eight chains and a fixed tree: one chain would be bound by its latency. */
static double squared_length(const double *row, size_t d) {
    double lane[8] = {0};
    size_t k = 0;
    for (; k + 8 <= d; k += 8) {
        for (size_t l = 0; l < 8; l++) lane[l] += row[k + l] * row[k + l];
    }
    for (; k < d; k++) lane[k % 8] += row[k] * row[k];
    for (size_t width = 4; width > 0; width /= 2) {
        for (size_t l = 0; l < width; l++) lane[l] += lane[l + width];
    }
    return lane[0];
}

/* Rows [first, stop) are one class. Deviations are taken from the first member, so that a class far
 * from the origin keeps its digits. */
static double one_class(const nf_pass_set *set, size_t first, size_t stop, double coefficient,
                        double *origin, double *mean, double *row) {
    const size_t d = set->rows.x.cols;
    const double n = (double)(stop - first);
    void *narrow = row + d;
    load(set, first, narrow, origin);
    memset(mean, 0, d * sizeof *mean);
    for (size_t r = first; r < stop; r++) {
        load(set, r, narrow, row);
        for (size_t k = 0; k < d; k++) mean[k] += row[k] - origin[k];
    }
    for (size_t k = 0; k < d; k++) mean[k] /= n;
    double sum = 0;
    for (size_t r = first; r < stop; r++) {
        load(set, r, narrow, row);
        for (size_t k = 0; k < d; k++) row[k] = (row[k] - origin[k]) - mean[k];
        sum += squared_length(row, d);
        if (set->sum == NULL) continue;
        double *out = set->sum + r * d;
        for (size_t k = 0; k < d; k++) out[k] += coefficient * n * row[k];
    }
    return coefficient * n * sum;
}

nf_status nf_closed_positives(nf_context *context, const nf_pass_set *set, double coefficient,
                              double *phi) {
    const size_t d = set->rows.x.cols, count = set->rows.count;
    double *origin;
    nf_status status = nf_scratch(context, &origin, 4 * d + 1, sizeof *origin, "class means");
    if (status != NF_OK) return status;
    *phi = 0;
    for (size_t first = 0, stop; first < count; first = stop) {
        for (stop = first + 1; stop < count && set->class_of[stop] == set->class_of[first];) stop++;
        if (stop - first > 1) {
            *phi += one_class(set, first, stop, coefficient, origin, origin + d, origin + 2 * d);
        }
    }
    return NF_OK;
}
