/* The machine's ceiling: independent chains of fused multiply-adds on registers alone. */
#ifndef NF_BENCH_CEILING_H
#define NF_BENCH_CEILING_H

#include <stddef.h>

/* Run `steps` steps on float32 and return their flops. The result goes to *sink, so that no
 * compiler can leave the work out. */
double ceiling_scalar(size_t steps, float *sink);
double ceiling_avx2(size_t steps, float *sink);
double ceiling_avx512(size_t steps, float *sink);
double ceiling_neon(size_t steps, float *sink);

#endif
