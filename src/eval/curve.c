#include "eval/curve.h"

#include <math.h>

void nf_curve_begin(nf_curve *curve, uint64_t positives, uint64_t negatives) {
    *curve = (nf_curve){.positives = positives,
                        .negatives = negatives,
                        .eer = (double)NAN,
                        .eer_threshold = (double)NAN,
                        .best_correct = negatives, /* accepting nothing */
                        .best_threshold = -(double)INFINITY};
}

bool nf_curve_crosses(const nf_curve *curve, uint64_t accepted_positives,
                      uint64_t accepted_negatives) {
    return (nf_uint128)accepted_negatives * curve->positives >=
           (nf_uint128)(curve->positives - accepted_positives) * curve->negatives;
}

static double false_accept_rate(const nf_curve *curve) {
    return (double)curve->accepted_negatives / (double)curve->negatives;
}

static double false_reject_rate(const nf_curve *curve) {
    return (double)(curve->positives - curve->accepted_positives) / (double)curve->positives;
}

static void accept(nf_curve *curve, uint64_t positives, uint64_t negatives) {
    curve->twice_area +=
        (nf_uint128)negatives * (2 * (nf_uint128)curve->accepted_positives + positives);
    curve->accepted_positives += positives;
    curve->accepted_negatives += negatives;
    double far = false_accept_rate(curve);
    if (far <= 1e-2) curve->tar_1e2 = curve->accepted_positives;
    if (far <= 1e-3) curve->tar_1e3 = curve->accepted_positives;
}

void nf_curve_skip(nf_curve *curve, uint64_t positives, uint64_t negatives) {
    if (positives > 0 || negatives > 0) accept(curve, positives, negatives);
}

void nf_curve_add(nf_curve *curve, float distance, uint64_t positives, uint64_t negatives) {
    double far_before = false_accept_rate(curve), frr_before = false_reject_rate(curve);
    accept(curve, positives, negatives);
    if (!curve->crossed &&
        nf_curve_crosses(curve, curve->accepted_positives, curve->accepted_negatives)) {
        double far = false_accept_rate(curve), above = frr_before - far_before;
        double share = above / (above + (far - false_reject_rate(curve)));
        curve->crossed = true;
        curve->eer = far_before + share * (far - far_before);
        curve->eer_threshold = curve->has_last && isfinite(distance)
                                   ? curve->last + share * ((double)distance - curve->last)
                                   : (double)distance;
    }
    uint64_t correct = curve->accepted_positives + (curve->negatives - curve->accepted_negatives);
    if (correct > curve->best_correct) {
        curve->best_correct = correct;
        curve->best_threshold = (double)distance;
    }
    curve->has_last = true;
    curve->last = (double)distance;
}

void nf_curve_result(const nf_curve *curve, nf_eval_result *result) {
    double positives = (double)curve->positives, negatives = (double)curve->negatives;
    result->roc_auc = (double)curve->twice_area / (2 * positives * negatives);
    /* twice_area counts pairs with the positive nearer: P(d+ < d-) + P(d+ = d-) / 2 */
    result->eer = curve->eer;
    result->eer_threshold = curve->eer_threshold;
    result->tar_at_far_1e2 = (double)curve->tar_1e2 / positives;
    result->tar_at_far_1e3 = (double)curve->tar_1e3 / positives;
    result->best_accuracy = (double)curve->best_correct / (positives + negatives);
    result->best_threshold = curve->best_threshold;
}
