/* Terms of anchors: SupCon, NCA, multi-similarity, circle, generalised lifted structure. */
#include <math.h>

#include "base/math.h"
#include "loss/softmax.h"

/* The peak's own exponential is 1: a sum of nothing had exponents that are no numbers. */
double nf_log_sum(const nf_softmax_row *row) {
    if (!(row->pairs > 0)) return -(double)INFINITY;
    return row->sum > 0 ? row->peak + nf_log(row->sum) : (double)NAN;
}

/* factor of exp(z - peak) that makes it coefficient exp(z) / sum exp(z). */
static void softmax(const nf_softmax_row *row, int side, double coefficient,
                    nf_anchor_numbers *numbers) {
    if (!(row->pairs > 0)) return;
    numbers->shift[side] = row->peak;
    numbers->factor[side] = coefficient / row->sum;
}

/* log sum over all others - mean of z over the positives */
static double supcon(const nf_loss *loss, const nf_softmax_row *negative,
                     const nf_softmax_row *positive, nf_anchor_numbers *numbers) {
    if (!(positive->pairs > 0)) return 0;
    const double slope = 1 / loss->temperature;
    nf_softmax_row all = {.peak = fmax(negative->peak, positive->peak),
                          .pairs = negative->pairs + positive->pairs};
    all.sum = positive->sum * nf_exp(positive->peak - all.peak);
    if (negative->pairs > 0) all.sum += negative->sum * nf_exp(negative->peak - all.peak);
    softmax(&all, NF_NEGATIVE, 1, numbers);
    softmax(&all, NF_POSITIVE, 1, numbers);
    numbers->constant[NF_POSITIVE] = slope / positive->pairs;
    return nf_log_sum(&all) + slope * (positive->distance / positive->pairs);
}

/* log sum over all - log sum over the positives = softplus(log sum of negatives - of positives) */
static double nca(const nf_softmax_row *negative, const nf_softmax_row *positive,
                  nf_anchor_numbers *numbers) {
    if (!(positive->pairs > 0)) return 0;
    double q, value = nf_softplus(nf_log_sum(negative) - nf_log_sum(positive), &q);
    softmax(negative, NF_NEGATIVE, q, numbers);
    softmax(positive, NF_POSITIVE, -q, numbers);
    return value;
}

/* log(1 + sum exp(z)) / rate of each side */
static double multi_similarity(const nf_loss *loss, const nf_softmax_row *const row[2],
                               nf_anchor_numbers *numbers) {
    const double rate[2] = {loss->beta, loss->alpha};
    double value = 0;
    for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) {
        double q;
        value += nf_softplus(nf_log_sum(row[side]), &q) / rate[side];
        softmax(row[side], side, q / rate[side], numbers);
    }
    return value;
}

/* softplus of the sum of both log sums; nothing without both sides */
static double circle(const nf_softmax_row *const row[2], nf_anchor_numbers *numbers) {
    if (!(row[NF_NEGATIVE]->pairs > 0 && row[NF_POSITIVE]->pairs > 0)) return 0;
    double q, value = nf_softplus(nf_log_sum(row[NF_NEGATIVE]) + nf_log_sum(row[NF_POSITIVE]), &q);
    for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) softmax(row[side], side, q, numbers);
    return value;
}

/* max(0, sum of both log sums), a side without pairs giving 0 */
static double generalized_lifted(const nf_softmax_row *const row[2], nf_anchor_numbers *numbers) {
    double z = 0;
    for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) {
        if (row[side]->pairs > 0) z += nf_log_sum(row[side]);
    }
    if (z <= 0) return 0; /* NaN goes on, to be refused */
    for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) softmax(row[side], side, 1, numbers);
    return z;
}

double nf_anchor_term(const nf_loss *loss, const nf_softmax_row *negative,
                      const nf_softmax_row *positive, nf_anchor_numbers *numbers, bool *counts) {
    const nf_softmax_row *const row[2] = {negative, positive};
    *numbers = (nf_anchor_numbers){0};
    *counts = true;
    switch (loss->kind) {
    case NF_KIND_SUPCON: return supcon(loss, negative, positive, numbers);
    case NF_KIND_NCA: *counts = positive->pairs > 0; return nca(negative, positive, numbers);
    case NF_KIND_MULTI_SIMILARITY: return multi_similarity(loss, row, numbers);
    case NF_KIND_CIRCLE: return circle(row, numbers);
    case NF_KIND_GENERALIZED_LIFTED: return generalized_lifted(row, numbers);
    default: return 0;
    }
}
