#include "distance/order.h"

#include "base/random.h"

#define NF_ORDER_SAMPLE 256
#define NF_ORDER_DEPTH 64 /* halves of halves of what a size_t counts */

typedef struct span {
    size_t begin, end;
} span;

static float value_of(const float *points, size_t ld, size_t point, size_t k) {
    return points[point * ld + k];
}

/* The number whose variance over a sample of the span is largest. */
static size_t widest(const float *points, size_t ld, size_t d, const size_t *order, span s) {
    const size_t count = s.end - s.begin, sample = nf_min_size(count, NF_ORDER_SAMPLE);
    size_t best = 0;
    double most = -1;
    for (size_t k = 0; k < d; k++) {
        double sum = 0, square = 0;
        for (size_t p = 0; p < sample; p++) {
            const size_t at = s.begin + (size_t)((double)count / (double)sample * (double)p);
            const double value = (double)value_of(points, ld, order[at], k);
            sum += value;
            square += value * value;
        }
        const double spread = square - sum * sum / (double)sample;
        if (spread > most) {
            most = spread;
            best = k;
        }
    }
    return best;
}

static void swap(size_t *order, size_t a, size_t b) {
    const size_t kept = order[a];
    order[a] = order[b];
    order[b] = kept;
}

/* Order a span so that no value before `middle` is above one from there on: Hoare's selection, with
 * equal values kept together. */
static void split(const float *points, size_t ld, size_t k, size_t *order, span s, size_t middle) {
    while (s.end - s.begin > 1) {
        const size_t chosen = s.begin + (size_t)nf_random_below(1, 1, s.begin, s.end - s.begin);
        const float pivot = value_of(points, ld, order[chosen], k);
        size_t below = s.begin, above = s.end;
        for (size_t p = s.begin; p < above;) {
            const float value = value_of(points, ld, order[p], k);
            if (value < pivot) {
                swap(order, p++, below++);
            } else if (value > pivot) {
                swap(order, p, --above);
            } else {
                p++;
            }
        }
        if (middle >= below && middle <= above) return;
        s = middle < below ? (span){s.begin, below} : (span){above, s.end};
    }
}

void nf_order_points(const float *points, size_t ld, size_t d, size_t count, size_t leaf,
                     size_t *order) {
    span waiting[NF_ORDER_DEPTH];
    size_t spans = 0;
    for (size_t p = 0; p < count; p++) order[p] = p;
    waiting[spans++] = (span){0, count};
    while (spans > 0) {
        const span s = waiting[--spans];
        const size_t leaves = (s.end - s.begin + leaf - 1) / leaf;
        if (leaves < 2) continue;
        const size_t middle = s.begin + leaves / 2 * leaf;
        split(points, ld, widest(points, ld, d, order, s), order, s, middle);
        waiting[spans++] = (span){s.begin, middle};
        waiting[spans++] = (span){middle, s.end};
    }
}
