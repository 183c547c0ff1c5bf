/* Losses of exponentials as plain loops in long double, written from their formulas; they share nothing
 * with the engine. */
#ifndef NF_TEST_SOFTMAX_REFERENCE_H
#define NF_TEST_SOFTMAX_REFERENCE_H

#include "nearfar/loss.h"

typedef struct softmax_problem {
    nf_loss loss;
    size_t n, m, d;
    const double *x, *y;          /* (n, d), (m, d); y NULL: all pairs within x */
    const int64_t *label, *other; /* -1: unlabelled */
    const int64_t *ids, *other_ids;
} softmax_problem;

/* The distance of two rows of d <= 64 under the loss. */
long double softmax_reference_distance(const nf_loss *loss, const long double *a,
                                       const long double *b, size_t d);

long double softmax_reference(const softmax_problem *problem);

/* Its gradient with respect to x and, unless NULL, y by differences; the factors that circle loss holds
 * constant are held. */
void softmax_reference_gradient(const softmax_problem *problem, double *x, double *y);

#endif
