/* The forms of a loss: a batch, also with weights of rows, pairs, rows and reference, and a batch and a
 * reference with the boundary of a margin loss. Each gives the value and the gradient of the value,
 * computed in one pass; the gradient of the operation is then NearfarLossScale, a multiplication. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "loss.h"

/* ---- inputs and outputs --------------------------------------------------------------------- */

/* 0 .. 1 in int64 to the engine's bytes; anything else is kept as a value that it refuses. */
static uint8_t *same_bytes(tf_call *call, const int64_t *same, size_t count) {
    uint8_t *bytes = malloc(count > 0 ? count : 1);
    if (bytes == NULL) {
        TF_SetStatus(call->status, TF_RESOURCE_EXHAUSTED, "no memory for `same`");
        return NULL;
    }
    for (size_t p = 0; p < count; p++) {
        bytes[p] = same[p] == 0 || same[p] == 1 ? (uint8_t)same[p] : 2;
    }
    return bytes;
}

/* A value that float32 cannot hold must not leave as Inf. */
static int give_value(tf_call *call, nf_type type, double value) {
    if (type == NF_FLOAT32 && isinf((float)value)) {
        return call_refuse(
            call, "the loss is %g, beyond float32: use reduction 'mean' or float64 rows", value);
    }
    return call_new_scalar(call, 0, type, value);
}

/* ---- forms ---------------------------------------------------------------------------------- */

static void compute_batch(void *object, TF_OpKernelContext *tensorflow) {
    const loss_kernel *kernel = object;
    tf_call call;
    nf_matrix x;
    nf_matrix_out gradient;
    const void *labels;
    nf_loss_result result;
    if (call_begin(&call, tensorflow) && call_matrix(&call, 0, "embeddings", &x) &&
        call_vector_of(&call, 1, "labels", x.rows, 0, &labels) &&
        call_new_matrix(&call, 1, x.type, x.rows, x.cols, &gradient)) {
        nf_labels classes = {labels, x.rows, kernel->has_unlabelled};
        if (call_check(&call,
                       nf_loss_batch(call.context, &kernel->loss, x, classes, &result, gradient))) {
            give_value(&call, x.type, result.value);
        }
    }
    call_end(&call);
}

static void compute_weighted(void *object, TF_OpKernelContext *tensorflow) {
    const loss_kernel *kernel = object;
    tf_call call;
    nf_matrix x;
    nf_matrix_out gradient;
    const void *labels, *weight;
    nf_loss_result result;
    if (call_begin(&call, tensorflow) && call_matrix(&call, 0, "embeddings", &x) &&
        call_vector_of(&call, 1, "labels", x.rows, 0, &labels) &&
        call_vector_of(&call, 2, "sample_weight", x.rows, 0, &weight) &&
        call_new_matrix(&call, 1, x.type, x.rows, x.cols, &gradient)) {
        nf_targets targets = {.labels = {labels, x.rows, kernel->has_unlabelled},
                              .row_weight = weight};
        if (call_check(&call, nf_loss_targets(call.context, &kernel->loss, x, &targets, &result,
                                              gradient))) {
            give_value(&call, x.type, result.value);
        }
    }
    call_end(&call);
}

static void compute_pairs(void *object, TF_OpKernelContext *tensorflow) {
    const loss_kernel *kernel = object;
    tf_call call;
    nf_matrix x;
    nf_matrix_out gradient;
    const void *i, *j, *same, *weight;
    size_t count;
    uint8_t *bytes = NULL;
    nf_loss_result result;
    if (call_begin(&call, tensorflow) && call_matrix(&call, 0, "x", &x) &&
        call_vector(&call, 1, "i", &i, &count) && call_vector_of(&call, 2, "j", count, 0, &j) &&
        call_vector_of(&call, 3, "same", count, 0, &same) &&
        call_vector_of(&call, 4, "weight", count, 1, &weight) &&
        call_new_matrix(&call, 1, x.type, x.rows, x.cols, &gradient) &&
        (bytes = same_bytes(&call, same, count)) != NULL) {
        nf_pairs pairs = {count, i, j, bytes, weight};
        if (call_check(&call, nf_loss_pairs(call.context, &kernel->loss, x, pairs, NULL, &result,
                                            gradient))) {
            give_value(&call, x.type, result.value);
        }
    }
    free(bytes);
    call_end(&call);
}

static void compute_rows(void *object, TF_OpKernelContext *tensorflow) {
    const loss_kernel *kernel = object;
    tf_call call;
    nf_matrix left, right;
    nf_matrix_out left_gradient, right_gradient;
    const void *same, *weight;
    uint8_t *bytes = NULL;
    nf_loss_result result;
    if (call_begin(&call, tensorflow) && call_matrix(&call, 0, "left", &left) &&
        call_matrix(&call, 1, "right", &right) &&
        call_vector_of(&call, 2, "same", left.rows, 0, &same) &&
        call_vector_of(&call, 3, "weight", left.rows, 1, &weight) &&
        call_new_matrix(&call, 1, left.type, left.rows, left.cols, &left_gradient) &&
        call_new_matrix(&call, 2, right.type, right.rows, right.cols, &right_gradient) &&
        (bytes = same_bytes(&call, same, left.rows)) != NULL) {
        if (call_check(&call, nf_loss_rows(call.context, &kernel->loss, left, right, bytes, weight,
                                           NULL, &result, left_gradient, right_gradient))) {
            give_value(&call, left.type, result.value);
        }
    }
    free(bytes);
    call_end(&call);
}

int loss_sets_of(tf_call *call, const loss_kernel *kernel, nf_loss_sets *sets) {
    const void *query_labels, *reference_labels, *query_ids, *reference_ids;
    nf_matrix query, reference;
    if (!call_matrix(call, 0, "query", &query) || !call_matrix(call, 1, "reference", &reference) ||
        !call_vector_of(call, 2, "query_labels", query.rows, 0, &query_labels) ||
        !call_vector_of(call, 3, "reference_labels", reference.rows, 0, &reference_labels) ||
        !call_vector_of(call, 4, "query_ids", query.rows, 1, &query_ids) ||
        !call_vector_of(call, 5, "reference_ids", reference.rows, 1, &reference_ids)) {
        return 0;
    }
    *sets = (nf_loss_sets){
        .query = query,
        .reference = reference,
        .query_labels = {query_labels, query.rows, kernel->has_unlabelled},
        .reference_labels = {reference_labels, reference.rows, kernel->has_unlabelled},
        .query_ids = query_ids,
        .reference_ids = reference_ids};
    return 1;
}

static int new_gradients(tf_call *call, const nf_loss_sets *sets, nf_matrix_out out[2]) {
    const nf_matrix q = sets->query, r = sets->reference;
    return call_new_matrix(call, 1, q.type, q.rows, q.cols, &out[0]) &&
           call_new_matrix(call, 2, q.type, r.rows, r.cols, &out[1]);
}

static void compute_reference(void *object, TF_OpKernelContext *tensorflow) {
    const loss_kernel *kernel = object;
    tf_call call;
    nf_loss_sets sets;
    nf_matrix_out gradient[2];
    nf_loss_result result;
    if (call_begin(&call, tensorflow) && loss_sets_of(&call, kernel, &sets) &&
        new_gradients(&call, &sets, gradient) &&
        call_check(&call, nf_loss_reference(call.context, &kernel->loss, &sets, &result,
                                            gradient[0], gradient[1]))) {
        give_value(&call, sets.query.type, result.value);
    }
    call_end(&call);
}

/* ---- margin losses with their boundary ------------------------------------------------------- */

/* Input i as the boundary, and its gradient as output o. */
static int beta_of(tf_call *call, const loss_kernel *kernel, int i, int o, nf_margin_beta *beta) {
    const void *values;
    void *gradient;
    size_t count;
    if (!call_vector(call, i, "beta", &values, &count) ||
        !call_new_vector(call, o, NF_FLOAT64, count, &gradient)) {
        return 0;
    }
    *beta = (nf_margin_beta){values, count, kernel->nu, gradient, kernel->by_label};
    return 1;
}

static void compute_margin(void *object, TF_OpKernelContext *tensorflow) {
    const loss_kernel *kernel = object;
    tf_call call;
    nf_matrix x;
    nf_matrix_out gradient;
    nf_margin_beta beta;
    const void *labels;
    nf_loss_result result;
    if (call_begin(&call, tensorflow) && call_matrix(&call, 0, "embeddings", &x) &&
        call_vector_of(&call, 1, "labels", x.rows, 0, &labels) &&
        call_new_matrix(&call, 1, x.type, x.rows, x.cols, &gradient) &&
        beta_of(&call, kernel, 2, 2, &beta)) {
        nf_labels classes = {labels, x.rows, kernel->has_unlabelled};
        if (call_check(&call, nf_loss_margin(call.context, &kernel->loss, x, classes, &beta,
                                             &result, gradient))) {
            give_value(&call, x.type, result.value);
        }
    }
    call_end(&call);
}

static void compute_margin_reference(void *object, TF_OpKernelContext *tensorflow) {
    const loss_kernel *kernel = object;
    tf_call call;
    nf_loss_sets sets;
    nf_matrix_out gradient[2];
    nf_margin_beta beta;
    nf_loss_result result;
    if (call_begin(&call, tensorflow) && loss_sets_of(&call, kernel, &sets) &&
        new_gradients(&call, &sets, gradient) && beta_of(&call, kernel, 6, 3, &beta) &&
        call_check(&call, nf_loss_margin_reference(call.context, &kernel->loss, &sets, &beta,
                                                   &result, gradient[0], gradient[1]))) {
        give_value(&call, sets.query.type, result.value);
    }
    call_end(&call);
}

/* ---- scale ----------------------------------------------------------------------------------
 * out = factor * gradient. It takes the rows and pairs that the gradient came from as well, so that
 * a second differentiation knows what it depends on. */

static void compute_scale(void *object, TF_OpKernelContext *tensorflow) {
    tf_call call;
    TF_Tensor *factor = NULL;
    nf_matrix gradient;
    nf_matrix_out out;
    (void)object;
    if (call_begin(&call, tensorflow) && call_matrix(&call, 1, "gradient", &gradient) &&
        call_new_matrix(&call, 0, gradient.type, gradient.rows, gradient.cols, &out)) {
        TF_GetInput(tensorflow, 0, &factor, call.status);
        if (TF_GetCode(call.status) == TF_OK) {
            size_t count = gradient.rows * gradient.cols;
            call.tensor[call.tensors++] = factor;
            if (TF_NumDims(factor) != 0) {
                call_refuse(&call, "factor has %d dimensions: it must be one number",
                            TF_NumDims(factor));
            } else if (gradient.type == NF_FLOAT64) {
                const double *in = gradient.data, f = *(const double *)TF_TensorData(factor);
                for (size_t k = 0; k < count; k++) ((double *)out.data)[k] = f * in[k];
            } else {
                const float *in = gradient.data, f = *(const float *)TF_TensorData(factor);
                for (size_t k = 0; k < count; k++) ((float *)out.data)[k] = f * in[k];
            }
        }
    }
    call_end(&call);
}

/* ---- shapes --------------------------------------------------------------------------------- */

static void shape_one(TF_ShapeInferenceContext *context, TF_Status *status) {
    if (shape_scalar(context, 0, status)) shape_like(context, 1, 0, 2, status);
}

static void shape_two(TF_ShapeInferenceContext *context, TF_Status *status) {
    if (shape_scalar(context, 0, status) && shape_like(context, 1, 0, 2, status)) {
        shape_like(context, 2, 1, 2, status);
    }
}

static void shape_margin(TF_ShapeInferenceContext *context, TF_Status *status) {
    shape_one(context, status);
    if (TF_GetCode(status) == TF_OK) shape_like(context, 2, 2, 1, status);
}

static void shape_margin_reference(TF_ShapeInferenceContext *context, TF_Status *status) {
    shape_two(context, status);
    if (TF_GetCode(status) == TF_OK) shape_like(context, 3, 6, 1, status);
}

static void shape_scale(TF_ShapeInferenceContext *context, TF_Status *status) {
    shape_like(context, 0, 1, 2, status);
}

/* ---- operations ----------------------------------------------------------------------------- */

const tf_operation operation_loss_batch = {"NearfarLossBatch",
                                           LIST("x: T", "labels: int64"),
                                           LIST("value: T", "gradient: T"),
                                           ATTRIBUTES,
                                           shape_one,
                                           loss_kernel_create,
                                           compute_batch,
                                           loss_kernel_release};

const tf_operation operation_loss_weighted = {"NearfarLossWeighted",
                                              LIST("x: T", "labels: int64", "weight: double"),
                                              LIST("value: T", "gradient: T"),
                                              ATTRIBUTES,
                                              shape_one,
                                              loss_kernel_create,
                                              compute_weighted,
                                              loss_kernel_release};

const tf_operation operation_loss_pairs = {
    "NearfarLossPairs",
    LIST("x: T", "i: int64", "j: int64", "same: int64", "weight: double"),
    LIST("value: T", "gradient: T"),
    ATTRIBUTES,
    shape_one,
    loss_kernel_create,
    compute_pairs,
    loss_kernel_release};

const tf_operation operation_loss_rows = {
    "NearfarLossRows",
    LIST("left: T", "right: T", "same: int64", "weight: double"),
    LIST("value: T", "left_gradient: T", "right_gradient: T"),
    ATTRIBUTES,
    shape_two,
    loss_kernel_create,
    compute_rows,
    loss_kernel_release};

const tf_operation operation_loss_reference = {
    "NearfarLossReference",
    LIST("query: T", "reference: T", "query_labels: int64", "reference_labels: int64",
         "query_ids: int64", "reference_ids: int64"),
    LIST("value: T", "query_gradient: T", "reference_gradient: T"),
    ATTRIBUTES,
    shape_two,
    loss_kernel_create,
    compute_reference,
    loss_kernel_release};

const tf_operation operation_loss_margin = {
    "NearfarLossMargin",
    LIST("x: T", "labels: int64", "beta: double"),
    LIST("value: T", "gradient: T", "beta_gradient: double"),
    ATTRIBUTES,
    shape_margin,
    loss_kernel_create_margin,
    compute_margin,
    loss_kernel_release};

const tf_operation operation_loss_margin_reference = {
    "NearfarLossMarginReference",
    LIST("query: T", "reference: T", "query_labels: int64", "reference_labels: int64",
         "query_ids: int64", "reference_ids: int64", "beta: double"),
    LIST("value: T", "query_gradient: T", "reference_gradient: T", "beta_gradient: double"),
    ATTRIBUTES,
    shape_margin_reference,
    loss_kernel_create_margin,
    compute_margin_reference,
    loss_kernel_release};

const tf_operation operation_loss_scale = {"NearfarLossScale",
                                           LIST("factor: T", "gradient: T", "inputs: inputs_types"),
                                           LIST("out: T"),
                                           LIST("T: {float, double}",
                                                "inputs_types: list(type) >= 1", "form: string",
                                                "which: int", "loss: list(int)"),
                                           shape_scale,
                                           NULL,
                                           compute_scale,
                                           NULL};
