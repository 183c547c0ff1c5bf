/* Views: matrices and labels as the caller holds them. Nothing here owns memory.
 *
 * Letters used for shapes in every header: n rows (items), m rows of a second matrix,
 * d columns (dimensions), k neighbours.
 */
#ifndef NEARFAR_MATRIX_H
#define NEARFAR_MATRIX_H

#include <stddef.h>
#include <stdint.h>

#include "nearfar/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum nf_type { NF_FLOAT32 = 0, NF_FLOAT64 = 1 } nf_type;

/* Bytes of one element: 4 or 8; 0 for a value outside the enum. */
NF_API size_t nf_type_size(nf_type type);

/* Input matrix (rows, cols), row-major: element (r, c) is data[r * ld + c].
 * `data` may be NULL when the matrix has no element. Needs ld >= cols. */
typedef struct nf_matrix {
    const void *data;
    nf_type type;
    size_t rows, cols;
    size_t ld; /* leading dimension, in elements */
} nf_matrix;

/* Output matrix, same layout. Must not overlap any input. */
typedef struct nf_matrix_out {
    void *data;
    nf_type type;
    size_t rows, cols;
    size_t ld;
} nf_matrix_out;

/* Views of contiguous arrays (ld = cols). */
NF_API nf_matrix nf_matrix_f32(const float *data, size_t rows, size_t cols);
NF_API nf_matrix nf_matrix_f64(const double *data, size_t rows, size_t cols);
NF_API nf_matrix_out nf_matrix_out_f32(float *data, size_t rows, size_t cols);
NF_API nf_matrix_out nf_matrix_out_f64(double *data, size_t rows, size_t cols);

/* One int64 class label per row. With `has_unlabelled` non-zero, -1 marks a row that takes part
 * in no label pair (scikit-learn's convention); with 0, -1 is an ordinary class. */
typedef struct nf_labels {
    const int64_t *data;
    size_t n;
    int has_unlabelled;
} nf_labels;

#ifdef __cplusplus
}
#endif
#endif
