/* Losses under targets as plain loops in long double, written from their formulas; they share nothing with
 * the engine. Two sets are one whose pairs within a set have no target, with one set's rows as anchors. */
#ifndef NF_TEST_TARGET_REFERENCE_H
#define NF_TEST_TARGET_REFERENCE_H

#include "nearfar/loss.h"

typedef struct target_problem {
    nf_loss loss;
    size_t n, d; /* at most 64 columns */
    const double *x;
    const double *y;        /* (n, n) targets, both triangles; -1: no pair */
    const double *u;        /* (n, n) weights of pairs */
    const double *v;        /* (n) weights of rows */
    const int *in;          /* (n) whether the row is labelled */
    const int *anchor;      /* (n) whether terms start from the row; NULL: from all */
    const double *upstream; /* (n) of reduction none; NULL: 1 */
    double *terms;          /* (n) out: scale times the terms that start from each row; or NULL */
} target_problem;

long double target_reference(const target_problem *problem);

/* Its gradient (n, d) by differences; what circle loss holds constant is held. */
void target_reference_gradient(const target_problem *problem, double *gradient);

/* Fails with the loss and what was compared. */
void target_assert_near(const nf_loss *loss, const char *what, double got, double want,
                        double tolerance);

double target_largest(const double *values, size_t count);

#endif
