/* Distances: the full matrix of two sets, and those of a list of pairs. */
#include <stdlib.h>

#include "call.h"

enum { DISTANCE_FIELDS = 2 };

static void *create(TF_OpKernelConstruction *construction) {
    int64_t field[DISTANCE_FIELDS];
    if (!construction_integers(construction, "options", field, DISTANCE_FIELDS)) return NULL;
    nf_distance_options *options = construction_allocate(construction, sizeof *options);
    if (options == NULL) return NULL;
    *options = nf_distance_defaults();
    options->metric = (nf_metric)field[0];
    options->normalize = field[1] != 0;
    return options;
}

static void release(void *kernel) { free(kernel); }

static void compute_full(void *object, TF_OpKernelContext *tensorflow) {
    tf_call call;
    nf_matrix x, y;
    nf_matrix_out out;
    if (call_begin(&call, tensorflow) && call_matrix(&call, 0, "x", &x) &&
        call_matrix(&call, 1, "y", &y) && call_new_matrix(&call, 0, x.type, x.rows, y.rows, &out)) {
        call_check(&call, nf_distances_full(call.context, object, x, y, out));
    }
    call_end(&call);
}

static void compute_pairs(void *object, TF_OpKernelContext *tensorflow) {
    tf_call call;
    nf_matrix x, y;
    const void *i, *j;
    void *out;
    size_t count;
    if (call_begin(&call, tensorflow) && call_matrix(&call, 0, "x", &x) &&
        call_matrix(&call, 1, "y", &y) && call_vector(&call, 2, "i", &i, &count) &&
        call_vector_of(&call, 3, "j", count, 0, &j) &&
        call_new_vector(&call, 0, x.type, count, &out)) {
        call_check(&call, nf_distances_pairs(call.context, object, x, y, i, j, count, out));
    }
    call_end(&call);
}

/* (n, m) from x (n, d) and y (m, d). */
static void shape_full(TF_ShapeInferenceContext *context, TF_Status *status) {
    TF_ShapeHandle *side[2] = {TF_NewShapeHandle(), TF_NewShapeHandle()};
    TF_ShapeHandle *out = TF_NewShapeHandle();
    for (int k = 0; k < 2 && TF_GetCode(status) == TF_OK; k++) {
        TF_ShapeInferenceContextGetInput(context, k, side[k], status);
        if (TF_GetCode(status) == TF_OK) {
            TF_ShapeInferenceContextWithRank(context, side[k], 2, side[k], status);
        }
        if (TF_GetCode(status) == TF_OK) {
            TF_ShapeInferenceContextSubshape(context, side[k], 0, 1, side[k], status);
        }
    }
    if (TF_GetCode(status) == TF_OK) {
        TF_ShapeInferenceContextConcatenateShapes(context, side[0], side[1], out, status);
    }
    if (TF_GetCode(status) == TF_OK) TF_ShapeInferenceContextSetOutput(context, 0, out, status);
    TF_DeleteShapeHandle(out);
    TF_DeleteShapeHandle(side[1]);
    TF_DeleteShapeHandle(side[0]);
}

static void shape_pairs(TF_ShapeInferenceContext *context, TF_Status *status) {
    shape_like(context, 0, 2, 1, status);
}

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define ATTRIBUTES LIST("T: {float, double}", "options: list(int)")

const tf_operation operation_distances = {"NearfarDistances",  LIST("x: T", "y: T"),
                                          LIST("distance: T"), ATTRIBUTES,
                                          shape_full,          create,
                                          compute_full,        release};

const tf_operation operation_pair_distances = {"NearfarPairDistances",
                                               LIST("x: T", "y: T", "i: int64", "j: int64"),
                                               LIST("distance: T"),
                                               ATTRIBUTES,
                                               shape_pairs,
                                               create,
                                               compute_pairs,
                                               release};
