#include "loss/term.h"

#include <math.h>

nf_contrast_side nf_term_side(const nf_loss *loss, int side, double factor) {
    bool positive = side == NF_POSITIVE;
    double exponent = positive ? loss->pos_exponent : loss->neg_exponent;
    return (nf_contrast_side){
        .on = true,
        .transform = nf_metric_transform(nf_term_metric(loss, side)),
        .twice_exponent = (int)(2 * exponent),
        .margin = positive ? loss->pos_margin : loss->neg_margin,
        .coefficient = loss->scale * (positive ? loss->pos_weight : loss->neg_weight) * factor};
}

static double power(double e, int twice) {
    double result = twice % 2 != 0 ? sqrt(e) : 1;
    for (int n = 0; n < twice / 2; n++) result *= e;
    return result;
}

double nf_term(const nf_contrast_side *side, int which, double t, double *slope) {
    double e = which == NF_POSITIVE ? t - side->margin : side->margin - t;
    *slope = 0;
    if (!(e > 0)) return 0;
    double steep =
        side->coefficient * 0.5 * side->twice_exponent * power(e, side->twice_exponent - 2);
    *slope = which == NF_POSITIVE ? steep : -steep;
    return side->coefficient * power(e, side->twice_exponent);
}

void nf_term_gradient(nf_metric metric, double slope, double t, const double *a, const double *b,
                      size_t d, double *row_gradient) {
    if (slope == 0) return;
    switch (metric) {
    case NF_EUCLIDEAN:
        if (!(t > 0)) return;
        for (size_t k = 0; k < d; k++) row_gradient[k] += slope * ((a[k] - b[k]) / t);
        break;
    case NF_SQEUCLIDEAN:
        for (size_t k = 0; k < d; k++) row_gradient[k] += 2 * slope * (a[k] - b[k]);
        break;
    case NF_COSINE:
        for (size_t k = 0; k < d; k++) row_gradient[k] += slope * (a[k] - b[k]);
        break;
    case NF_DOT:
        for (size_t k = 0; k < d; k++) row_gradient[k] -= slope * b[k];
        break;
    case NF_CITYBLOCK:
        for (size_t k = 0; k < d; k++) {
            row_gradient[k] += a[k] > b[k] ? slope : a[k] < b[k] ? -slope : 0;
        }
        break;
    }
}

static double inverse(double value) { return value > 0 ? 1 / value : 0; }

void nf_reduction_scales_by_mass(const nf_loss *loss, const double mass[2], double pairs,
                                 const double active[2], double weight, double scale[2]) {
    for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) {
        switch (loss->reduction) {
        case NF_REDUCE_SUM:
        case NF_REDUCE_NONE:
        case NF_REDUCE_MEAN_ANCHORS: scale[side] = 1; break; /* the last has weights per row */
        case NF_REDUCE_MEAN: scale[side] = inverse(pairs); break;
        case NF_REDUCE_WEIGHTED_MEAN: scale[side] = inverse(weight); break;
        case NF_REDUCE_MEAN_SIDES: scale[side] = inverse(mass[side]); break;
        case NF_REDUCE_MEAN_NONZERO: scale[side] = inverse(active[side]); break;
        case NF_REDUCE_DIVISOR: scale[side] = 1 / loss->divisor; break;
        }
    }
}

void nf_reduction_scales(const nf_loss *loss, const uint64_t pairs[2], const uint64_t active[2],
                         double weight, double scale[2]) {
    const double mass[2] = {(double)pairs[0], (double)pairs[1]};
    const double active_mass[2] = {(double)active[0], (double)active[1]};
    nf_reduction_scales_by_mass(loss, mass, mass[0] + mass[1], active_mass, weight, scale);
}
