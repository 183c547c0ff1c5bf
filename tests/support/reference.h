/* The oracle: naive distances, losses and gradients, written from the formulas in the public headers
 * with nothing shared with the engine.
 *
 * Every form of a loss is a list of pairs between rows of x and rows of y (y NULL: x again), so there
 * is one evaluation: values and analytic gradients in long double, and independently of those a value
 * in quadruple precision, of which central differences give a gradient right to about 1e-20.
 * Inputs are double arrays, contiguous; float32 data is widened exactly.
 */
#ifndef NF_TEST_REFERENCE_H
#define NF_TEST_REFERENCE_H

#include "nearfar/nearfar.h"

#if defined(__SIZEOF_FLOAT128__)
typedef __float128 ref_quad;
#else
typedef long double ref_quad; /* IEEE quadruple on AArch64 Linux */
#endif

/* ---- distances ------------------------------------------------------------------------------ */

/* d(a, b) of two rows in quadruple precision. Without columns every distance is 0. */
ref_quad ref_distance(nf_metric metric, int normalize, const double *a, const double *b, size_t d);

/* |got - want| in units in the last place of `want` in the type, denormals included. */
double ref_ulps(nf_type type, double got, ref_quad want);

/* A contiguous double copy of a view; free() it. */
double *ref_widen(nf_matrix x);

/* ---- losses --------------------------------------------------------------------------------- */

typedef struct ref_pair {
    size_t i, j; /* row of x, row of y (of x when y is NULL) */
    int same;
    double weight;
} ref_pair;

typedef struct ref_problem {
    nf_loss loss;
    size_t n, m, d;
    const double *x, *y; /* (n, d), (m, d) or NULL */
    size_t count;
    ref_pair *pairs;
    const double *upstream; /* as nf_pair_terms.upstream */
} ref_problem;

typedef struct ref_result {
    long double value;
    uint64_t positive_pairs, negative_pairs, active_positive, active_negative, coincident_negatives;
    long double mean_positive_distance, mean_negative_distance;
    long double *terms;                   /* (count) w phi */
    long double *gradient_x, *gradient_y; /* (n, d), (m, d) or NULL */
    double kink; /* smallest |t - margin| over all pairs, relative to 1 + |margin| */
    /* How value, terms and gradient react to a relative error of the distances: first derivatives
     * times the size of what t - margin is made of. */
    long double value_condition, gradient_condition;
    long double *term_condition; /* (count) */
} ref_result;

/* The pairs of each form; free(problem.pairs) through ref_problem_free. */
ref_problem ref_batch(nf_loss loss, const double *x, size_t n, size_t d, nf_labels labels);
ref_problem ref_list(nf_loss loss, const double *x, size_t n, size_t d, nf_pairs pairs,
                     const double *upstream);
ref_problem ref_rows(nf_loss loss, const double *left, const double *right, size_t n, size_t d,
                     const uint8_t *same, const double *weight, const double *upstream);
ref_problem ref_sets(nf_loss loss, const double *query, size_t n, const double *reference, size_t m,
                     size_t d, const nf_loss_sets *sets);
void ref_problem_free(ref_problem *problem);

/* Value, counts, terms and the analytic gradient; ref_result_free afterwards. */
ref_result ref_evaluate(const ref_problem *problem);
void ref_result_free(ref_result *result);

/* The function the gradient belongs to (the value, scaled by upstream), in quadruple precision, from
 * separate code. */
ref_quad ref_value(const ref_problem *problem);

/* d value / d x[index] (or y[index - n d]) by central differences of ref_value at steps h, h/2, h/4 and
 * two Richardson extrapolations. Off the kinks only. */
long double ref_difference(const ref_problem *problem, size_t index);

/* |got - want| / |want| in the Frobenius norm; |got| when want is 0. `got` is a view of either type. */
double ref_relative_error(nf_matrix_out got, const long double *want);
/* The Frobenius norm of a long double array. */
long double ref_norm(const long double *values, size_t count);

#endif
