/* Options of a loss as an attribute, and the terms of rows as anchors. */
#include <stdlib.h>
#include <string.h>

#include "loss.h"

/* ---- options -------------------------------------------------------------------------------- */

static loss_kernel *create_of(TF_OpKernelConstruction *construction, int count) {
    int64_t field[MARGIN_NUMBERS];
    if (!construction_integers(construction, "loss", field, count)) return NULL;
    double number[MARGIN_NUMBERS] = {0};
    memcpy(number, field, (size_t)count * sizeof *number);
    loss_kernel *kernel = construction_allocate(construction, sizeof *kernel);
    if (kernel == NULL) return NULL;
    *kernel = (loss_kernel){.loss = loss_from_numbers(number),
                            .has_unlabelled = number[LOSS_NUMBER_unlabelled] != 0,
                            .by_label = number[BY_LABEL] != 0,
                            .nu = number[NU]};
    return kernel;
}

void *loss_kernel_create(TF_OpKernelConstruction *construction) {
    return create_of(construction, LOSS_NUMBERS);
}

void *loss_kernel_create_margin(TF_OpKernelConstruction *construction) {
    return create_of(construction, MARGIN_NUMBERS);
}

void loss_kernel_release(void *kernel) { free(kernel); }

/* ---- terms ---------------------------------------------------------------------------------- */

static int rows_of(tf_call *call, const loss_kernel *kernel, nf_matrix *x, nf_labels *labels) {
    const void *data;
    if (!call_matrix(call, 0, "embeddings", x) ||
        !call_vector_of(call, 1, "labels", x->rows, 0, &data)) {
        return 0;
    }
    *labels = (nf_labels){data, x->rows, kernel->has_unlabelled};
    return 1;
}

/* Terms are made in double; the output is of the rows' type. */
static int give_terms(tf_call *call, const loss_kernel *kernel, nf_matrix x, nf_labels labels) {
    void *out;
    nf_loss_result result;
    if (!call_new_vector(call, 0, x.type, x.rows, &out)) return 0;
    double *made = x.type == NF_FLOAT64 ? out : malloc((x.rows + 1) * sizeof *made);
    if (made == NULL) {
        TF_SetStatus(call->status, TF_RESOURCE_EXHAUSTED, "no memory for the terms");
        return 0;
    }
    const nf_row_terms extras = {made, NULL};
    int done = call_check(call, nf_loss_anchors(call->context, &kernel->loss, x, labels, &extras,
                                                &result, (nf_matrix_out){0}));
    if (x.type == NF_FLOAT64) return done;
    for (size_t r = 0; r < x.rows && done; r++) ((float *)out)[r] = (float)made[r];
    free(made);
    return done;
}

static void compute_anchors(void *object, TF_OpKernelContext *tensorflow) {
    tf_call call;
    nf_matrix x;
    nf_labels labels;
    if (call_begin(&call, tensorflow) && rows_of(&call, object, &x, &labels)) {
        give_terms(&call, object, x, labels);
    }
    call_end(&call);
}

static void compute_pull(void *object, TF_OpKernelContext *tensorflow) {
    const loss_kernel *kernel = object;
    tf_call call;
    nf_matrix x;
    nf_matrix_out gradient;
    nf_labels labels;
    const void *upstream;
    nf_loss_result result;
    if (call_begin(&call, tensorflow) && rows_of(&call, kernel, &x, &labels) &&
        call_vector_of(&call, 2, "upstream", x.rows, 0, &upstream) &&
        call_new_matrix(&call, 0, x.type, x.rows, x.cols, &gradient)) {
        const nf_row_terms extras = {NULL, upstream};
        call_check(&call, nf_loss_anchors(call.context, &kernel->loss, x, labels, &extras, &result,
                                          gradient));
    }
    call_end(&call);
}

static void shape_terms(TF_ShapeInferenceContext *context, TF_Status *status) {
    shape_like(context, 0, 1, 1, status);
}

static void shape_pull(TF_ShapeInferenceContext *context, TF_Status *status) {
    shape_like(context, 0, 0, 2, status);
}

const tf_operation operation_loss_anchors = {"NearfarLossAnchors", LIST("x: T", "labels: int64"),
                                             LIST("terms: T"),     ATTRIBUTES,
                                             shape_terms,          loss_kernel_create,
                                             compute_anchors,      loss_kernel_release};

const tf_operation operation_loss_anchors_pull = {"NearfarLossAnchorsPull",
                                                  LIST("x: T", "labels: int64", "upstream: double"),
                                                  LIST("gradient: T"),
                                                  ATTRIBUTES,
                                                  shape_pull,
                                                  loss_kernel_create,
                                                  compute_pull,
                                                  loss_kernel_release};
