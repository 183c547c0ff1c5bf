/* All triplets with smooth terms log(1 + exp(z)): every one is visited. */
#include <math.h>

#include "base/math.h"
#include "loss/triplet.h"

/* ---- any distances: each term by itself -------------------------------------------------------- */

static void each_by_itself(const nf_triplet_terms *loss, const nf_anchor *anchor,
                           nf_anchor_terms *out) {
    for (size_t k = 0; k < anchor->positives; k++) {
        const size_t p = anchor->positive[k];
        const double threshold = anchor->t[p] + loss->margin;
        double value = 0, pull = 0;
        for (size_t c = 0; c < anchor->m; c++) {
            double slope, t = anchor->negative[c];
            if (t != t) continue;
            double term = nf_softplus(threshold - t, &slope);
            value += term;
            pull += slope;
            out->active += term > 0;
            out->slope[c] -= slope;
        }
        out->value += value;
        out->slope[p] = pull;
    }
}

/* ---- violations within +-NF_NEAR: exp(z) is a product ------------------------------------------ */

#define NF_NEAR 8.0 /* exp(-8) + 1 keeps 1e-12 of its logarithm, (exp(8) + 1)^64 is no overflow */
#define NF_LANES 8
#define NF_FACTORS 64 /* of a lane before its logarithm is taken */

/* The positive with exp(threshold) = e against negatives with exp(-t) = f: terms log(1 + e f), slopes
 * e f / (1 + e f), added to *pull and to push. A sum of logarithms is the logarithm of a product, one
 * for many terms. */
static double one_positive(double e, const double *f, size_t count, double *push, double *pull) {
    double value = 0, sum[NF_LANES] = {0};
    for (size_t first = 0; first < count; first += NF_FACTORS * NF_LANES) {
        const size_t stop = nf_min_size(first + NF_FACTORS * NF_LANES, count);
        double product[NF_LANES] = {1, 1, 1, 1, 1, 1, 1, 1};
        size_t n = first;
        for (; n + NF_LANES <= stop; n += NF_LANES) {
            for (size_t l = 0; l < NF_LANES; l++) {
                const double q = e * f[n + l], slope = q / (1 + q);
                product[l] *= 1 + q;
                push[n + l] += slope;
                sum[l] += slope;
            }
        }
        for (size_t l = 0; n < stop; n++, l++) {
            const double q = e * f[n], slope = q / (1 + q);
            product[l] *= 1 + q;
            push[n] += slope;
            sum[l] += slope;
        }
        for (size_t l = 0; l < NF_LANES; l++) value += nf_log(product[l]);
    }
    *pull = 0;
    for (size_t l = 0; l < NF_LANES; l++) *pull += sum[l];
    return value;
}

static void as_products(const nf_triplet_terms *loss, const nf_anchor *anchor, double center,
                        nf_anchor_terms *out) {
    double *f = anchor->work[0], *push = anchor->work[1];
    size_t count = 0;
    for (size_t c = 0; c < anchor->m; c++) {
        if (isnan(anchor->negative[c])) continue;
        push[count] = 0;
        f[count] = nf_exp(center - anchor->negative[c]);
        anchor->columns[count++] = c;
    }
    for (size_t k = 0; k < anchor->positives; k++) {
        const size_t p = anchor->positive[k];
        const double e = nf_exp((anchor->t[p] + loss->margin) - center);
        out->value += one_positive(e, f, count, push, &out->slope[p]);
    }
    for (size_t k = 0; k < count; k++) out->slope[anchor->columns[k]] = -push[k];
    out->active = out->terms;
}

void nf_triplet_all_smooth(const nf_triplet_terms *loss, const nf_anchor *anchor,
                           nf_anchor_terms *out) {
    const double nearest = anchor->t[nf_anchor_negative(anchor, false)];
    const double farthest = anchor->t[nf_anchor_negative(anchor, true)];
    const double low = anchor->t[nf_anchor_positive(anchor, false)] + loss->margin;
    const double high = anchor->t[nf_anchor_positive(anchor, true)] + loss->margin;
    if (high - nearest <= NF_NEAR && farthest - low <= NF_NEAR) {
        as_products(loss, anchor, nearest, out);
    } else {
        each_by_itself(loss, anchor, out);
    }
}
