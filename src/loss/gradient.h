/* From gradient sums to gradients. */
#ifndef NF_LOSS_GRADIENT_H
#define NF_LOSS_GRADIENT_H

#include "distance/rows.h"

/* Gradient with respect to a unit row u = x / |x|, in place, to that with respect to x:
 * (g - u (u . g)) / |x|; 0 for a zero row. u is scratch of d doubles. */
void nf_gradient_through_unit(const nf_rows *rows, size_t r, double *gradient, double *u);

/* Row of doubles to T; false if a value is not finite in T. */
bool nf_gradient_fits(nf_type type, const double *gradient, size_t d);
void nf_gradient_store(nf_matrix_out out, size_t row, const double *gradient);

nf_status nf_gradient_range_error(nf_context *context, const char *name, nf_type type, size_t row);

#endif
