/* Dense products in float32 on the kernel table, for models. Parallel over fixed blocks of output
 * rows; every output element is one FMA chain, so bits depend on its own inputs only. */
#ifndef NF_KERNEL_DENSE_H
#define NF_KERNEL_DENSE_H

#include "base/base.h"

/* out (rows, cols) = a (rows, k) b' , b (cols, k). Leading dimensions in elements. */
nf_status nf_dense_nt(nf_context *context, float *out, size_t ldo, const float *a, size_t lda,
                      const float *b, size_t ldb, size_t rows, size_t cols, size_t k) NF_MUST_USE;

/* out (rows, cols) = a (rows, k) b, b (k, cols). */
nf_status nf_dense_nn(nf_context *context, float *out, size_t ldo, const float *a, size_t lda,
                      const float *b, size_t ldb, size_t rows, size_t cols, size_t k) NF_MUST_USE;

/* out (rows, cols) = a' b, a (k, rows), b (k, cols). */
nf_status nf_dense_tn(nf_context *context, float *out, size_t ldo, const float *a, size_t lda,
                      const float *b, size_t ldb, size_t rows, size_t cols, size_t k) NF_MUST_USE;

#endif
