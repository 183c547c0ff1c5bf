/* One execution of an operation: its tensors as views of the engine, its context, its errors. */
#ifndef NEARFAR_TF_CALL_H
#define NEARFAR_TF_CALL_H

#include "api.h"
#include "nearfar/nearfar.h"

enum { CALL_TENSORS = 12 };

typedef struct tf_call {
    TF_OpKernelContext *tensorflow;
    TF_Status *status;
    nf_context *context;
    unsigned generation;
    TF_Tensor *tensor[CALL_TENSORS]; /* inputs and outputs, given back at the end */
    int tensors;
} tf_call;

/* Start and end. After a failure anywhere, the functions below do nothing and tell so by 0. */
int call_begin(tf_call *call, TF_OpKernelContext *tensorflow);
void call_end(tf_call *call);

/* Inputs: a matrix (rank 2), or a vector whose length is put in *count. What an error calls them is
 * `name`. */
int call_matrix(tf_call *call, int i, const char *name, nf_matrix *view);
int call_vector(tf_call *call, int i, const char *name, const void **data, size_t *count);
/* A vector of a known length; with `optional` also of length 0, *data then NULL. */
int call_vector_of(tf_call *call, int i, const char *name, size_t count, int optional,
                   const void **data);

/* Outputs, of `type`: contiguous memory of rows x cols, or of one scalar or vector. */
int call_new_matrix(tf_call *call, int i, nf_type type, size_t rows, size_t cols,
                    nf_matrix_out *view);
int call_new_vector(tf_call *call, int i, nf_type type, size_t count, void **data);
int call_new_scalar(tf_call *call, int i, nf_type type, double value);

/* Fail the execution: with the engine's error, or with a text of one's own. */
int call_check(tf_call *call, nf_status status);
int call_refuse(tf_call *call, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- registration --------------------------------------------------------------------------- */

typedef struct tf_operation {
    const char *name;
    const char *const *inputs, *const *outputs, *const *attributes; /* NULL-terminated */
    void (*shape)(TF_ShapeInferenceContext *context, TF_Status *status);
    void *(*create)(TF_OpKernelConstruction *construction);
    void (*compute)(void *kernel, TF_OpKernelContext *tensorflow);
    void (*release)(void *kernel);
} tf_operation;

extern const tf_operation operation_loss_batch, operation_loss_weighted, operation_loss_pairs,
    operation_loss_rows, operation_loss_reference, operation_loss_margin, operation_loss_anchors,
    operation_loss_anchors_pull, operation_loss_anchors_reference,
    operation_loss_anchors_reference_pull, operation_loss_margin_reference, operation_loss_scale,
    operation_distances, operation_pair_distances;

/* Attribute `name`, `count` whole numbers; 0 after a failure. */
int construction_integers(TF_OpKernelConstruction *construction, const char *name, int64_t *values,
                          int count);
/* Memory of a kernel, for free(); NULL after a failure. */
void *construction_allocate(TF_OpKernelConstruction *construction, size_t size);

/* Shapes: output i is a scalar; has the shape of input `like`. 0 after a failure. */
int shape_scalar(TF_ShapeInferenceContext *context, int i, TF_Status *status);
int shape_like(TF_ShapeInferenceContext *context, int i, int like, int rank, TF_Status *status);

#endif
