/* Elementary functions with one fixed operation sequence: no libm, no fused operations, so every
 * compiler, instruction set and C library gives the same bits. */
#ifndef NF_BASE_MATH_H
#define NF_BASE_MATH_H

/* tanh(x), within 3 ulp; odd, +-1 from |x| = 20 on; NaN for NaN. */
double nf_tanh(double x);

/* The double result rounded to float: within 0.51 ulp. */
float nf_tanhf(float x);

/* cos(pi x), within 2 ulp of 1; exact at multiples of 1/2. |x| <= 2^50; NaN for NaN and Inf. */
double nf_cospi(double x);

/* exp(x), within 2 ulp; 0 below -745, Inf above 709.79. */
double nf_exp(double x);

/* log(x), within 2 ulp; -Inf at 0, NaN below. */
double nf_log(double x);

/* log(1 + exp(x)), within 4 ulp, without overflow; its derivative 1 / (1 + exp(-x)) goes to *slope. */
double nf_softplus(double x, double *slope);

#endif
