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

/* A batch is a query without a reference. */
static int rows_of(tf_call *call, const loss_kernel *kernel, nf_loss_sets *sets) {
    const void *data;
    *sets = (nf_loss_sets){0};
    if (!call_matrix(call, 0, "embeddings", &sets->query) ||
        !call_vector_of(call, 1, "labels", sets->query.rows, 0, &data)) {
        return 0;
    }
    sets->query_labels = (nf_labels){data, sets->query.rows, kernel->has_unlabelled};
    return 1;
}

/* The loss with these terms, over a batch or over two sets. */
static int run(tf_call *call, const loss_kernel *kernel, const nf_loss_sets *sets, int two,
               const nf_row_terms *extras, const nf_matrix_out out[2]) {
    nf_loss_result result;
    if (two) {
        return call_check(call, nf_loss_anchors_reference(call->context, &kernel->loss, sets,
                                                          extras, &result, out[0], out[1]));
    }
    return call_check(call, nf_loss_anchors(call->context, &kernel->loss, sets->query,
                                            sets->query_labels, extras, &result, out[0]));
}

/* Terms are made in double; the output is of the rows' type. */
static void give_terms(tf_call *call, const loss_kernel *kernel, const nf_loss_sets *sets,
                       int two) {
    const nf_matrix x = sets->query;
    const nf_matrix_out none[2] = {{0}, {0}};
    void *out;
    if (!call_new_vector(call, 0, x.type, x.rows, &out)) return;
    double *made = x.type == NF_FLOAT64 ? out : malloc((x.rows + 1) * sizeof *made);
    if (made == NULL) {
        TF_SetStatus(call->status, TF_RESOURCE_EXHAUSTED, "no memory for the terms");
        return;
    }
    const nf_row_terms extras = {made, NULL};
    const int done = run(call, kernel, sets, two, &extras, none);
    if (x.type == NF_FLOAT64) return;
    for (size_t r = 0; r < x.rows && done; r++) ((float *)out)[r] = (float)made[r];
    free(made);
}

/* Gradients, of what comes down to the terms in input `from`. */
static void give_gradients(tf_call *call, const loss_kernel *kernel, const nf_loss_sets *sets,
                           int two, int from) {
    const nf_matrix x[2] = {sets->query, sets->reference};
    nf_matrix_out out[2] = {{0}, {0}};
    const void *upstream;
    if (!call_vector_of(call, from, "upstream", x[0].rows, 0, &upstream)) return;
    for (int s = 0; s <= two; s++) {
        if (!call_new_matrix(call, s, x[s].type, x[s].rows, x[s].cols, &out[s])) return;
    }
    const nf_row_terms extras = {NULL, upstream};
    run(call, kernel, sets, two, &extras, out);
}

static void compute_anchors(void *object, TF_OpKernelContext *tensorflow) {
    tf_call call;
    nf_loss_sets sets;
    if (call_begin(&call, tensorflow) && rows_of(&call, object, &sets)) {
        give_terms(&call, object, &sets, 0);
    }
    call_end(&call);
}

static void compute_pull(void *object, TF_OpKernelContext *tensorflow) {
    tf_call call;
    nf_loss_sets sets;
    if (call_begin(&call, tensorflow) && rows_of(&call, object, &sets)) {
        give_gradients(&call, object, &sets, 0, 2);
    }
    call_end(&call);
}

static void compute_reference(void *object, TF_OpKernelContext *tensorflow) {
    tf_call call;
    nf_loss_sets sets;
    if (call_begin(&call, tensorflow) && loss_sets_of(&call, object, &sets)) {
        give_terms(&call, object, &sets, 1);
    }
    call_end(&call);
}

static void compute_reference_pull(void *object, TF_OpKernelContext *tensorflow) {
    tf_call call;
    nf_loss_sets sets;
    if (call_begin(&call, tensorflow) && loss_sets_of(&call, object, &sets)) {
        give_gradients(&call, object, &sets, 1, 6);
    }
    call_end(&call);
}

static void shape_terms(TF_ShapeInferenceContext *context, TF_Status *status) {
    shape_like(context, 0, 1, 1, status);
}

static void shape_pull(TF_ShapeInferenceContext *context, TF_Status *status) {
    shape_like(context, 0, 0, 2, status);
}

static void shape_reference_pull(TF_ShapeInferenceContext *context, TF_Status *status) {
    if (shape_like(context, 0, 0, 2, status)) shape_like(context, 1, 1, 2, status);
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

#define SETS                                                                      \
    "query: T", "reference: T", "query_labels: int64", "reference_labels: int64", \
        "query_ids: int64", "reference_ids: int64"

const tf_operation operation_loss_anchors_reference = {"NearfarLossAnchorsReference",
                                                       LIST(SETS),
                                                       LIST("terms: T"),
                                                       ATTRIBUTES,
                                                       shape_terms,
                                                       loss_kernel_create,
                                                       compute_reference,
                                                       loss_kernel_release};

const tf_operation operation_loss_anchors_reference_pull = {
    "NearfarLossAnchorsReferencePull",
    LIST(SETS, "upstream: double"),
    LIST("query_gradient: T", "reference_gradient: T"),
    ATTRIBUTES,
    shape_reference_pull,
    loss_kernel_create,
    compute_reference_pull,
    loss_kernel_release};
