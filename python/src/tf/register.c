/* Registration, when TensorFlow loads the library (tf.load_op_library): a constructor, since that
 * is when TensorFlow listens. */
#include <stdio.h>
#include <stdlib.h>

#include "call.h"

void *construction_allocate(TF_OpKernelConstruction *construction, size_t size) {
    void *memory = malloc(size);
    if (memory != NULL) return memory;
    TF_Status *status = TF_NewStatus();
    TF_SetStatus(status, TF_RESOURCE_EXHAUSTED, "no memory for the kernel");
    TF_OpKernelConstruction_Failure(construction, status);
    TF_DeleteStatus(status);
    return NULL;
}

int construction_integers(TF_OpKernelConstruction *construction, const char *name, int64_t *values,
                          int count) {
    TF_Status *status = TF_NewStatus();
    int32_t found = 0, bytes = 0;
    TF_OpKernelConstruction_GetAttrSize(construction, name, &found, &bytes, status);
    if (TF_GetCode(status) == TF_OK && found != count) {
        char text[96];
        snprintf(text, sizeof text, "attribute %s has %d entries: it must have %d", name,
                 (int)found, count);
        TF_SetStatus(status, TF_INVALID_ARGUMENT, text);
    }
    if (TF_GetCode(status) == TF_OK) {
        TF_OpKernelConstruction_GetAttrInt64List(construction, name, values, count, status);
    }
    int done = TF_GetCode(status) == TF_OK;
    if (!done) TF_OpKernelConstruction_Failure(construction, status);
    TF_DeleteStatus(status);
    return done;
}

int shape_scalar(TF_ShapeInferenceContext *context, int i, TF_Status *status) {
    TF_ShapeHandle *scalar = TF_ShapeInferenceContextScalar(context);
    TF_ShapeInferenceContextSetOutput(context, i, scalar, status);
    TF_DeleteShapeHandle(scalar);
    return TF_GetCode(status) == TF_OK;
}

int shape_like(TF_ShapeInferenceContext *context, int i, int like, int rank, TF_Status *status) {
    TF_ShapeHandle *shape = TF_NewShapeHandle();
    TF_ShapeInferenceContextGetInput(context, like, shape, status);
    if (TF_GetCode(status) == TF_OK) {
        TF_ShapeInferenceContextWithRank(context, shape, rank, shape, status);
    }
    if (TF_GetCode(status) == TF_OK) TF_ShapeInferenceContextSetOutput(context, i, shape, status);
    TF_DeleteShapeHandle(shape);
    return TF_GetCode(status) == TF_OK;
}

static void define(const tf_operation *operation, TF_Status *status) {
    TF_OpDefinitionBuilder *builder = TF_NewOpDefinitionBuilder(operation->name);
    for (int k = 0; operation->attributes[k] != NULL; k++) {
        TF_OpDefinitionBuilderAddAttr(builder, operation->attributes[k]);
    }
    for (int k = 0; operation->inputs[k] != NULL; k++) {
        TF_OpDefinitionBuilderAddInput(builder, operation->inputs[k]);
    }
    for (int k = 0; operation->outputs[k] != NULL; k++) {
        TF_OpDefinitionBuilderAddOutput(builder, operation->outputs[k]);
    }
    TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, operation->shape);
    TF_RegisterOpDefinition(builder, status); /* takes the builder */
}

static void add_kernel(const tf_operation *operation, TF_DataType type, TF_Status *status) {
    TF_KernelBuilder *builder = TF_NewKernelBuilder(operation->name, "CPU", operation->create,
                                                    operation->compute, operation->release);
    TF_KernelBuilder_TypeConstraint(builder, "T", type, status);
    if (TF_GetCode(status) == TF_OK) TF_RegisterKernelBuilder(operation->name, builder, status);
}

__attribute__((constructor)) static void register_operations(void) {
    const tf_operation *const all[] = {&operation_loss_batch,
                                       &operation_loss_weighted,
                                       &operation_loss_pairs,
                                       &operation_loss_rows,
                                       &operation_loss_reference,
                                       &operation_loss_anchors,
                                       &operation_loss_anchors_pull,
                                       &operation_loss_anchors_reference,
                                       &operation_loss_anchors_reference_pull,
                                       &operation_loss_margin,
                                       &operation_loss_margin_reference,
                                       &operation_loss_scale,
                                       &operation_distances,
                                       &operation_pair_distances};
    TF_Status *status = TF_NewStatus();
    for (size_t k = 0; k < sizeof all / sizeof all[0] && TF_GetCode(status) == TF_OK; k++) {
        define(all[k], status);
        if (TF_GetCode(status) == TF_OK) add_kernel(all[k], TF_FLOAT, status);
        if (TF_GetCode(status) == TF_OK) add_kernel(all[k], TF_DOUBLE, status);
    }
    /* Nothing hears a constructor; the Python side sees that the operations are missing. */
    if (TF_GetCode(status) != TF_OK) fprintf(stderr, "nearfar: %s\n", TF_Message(status));
    TF_DeleteStatus(status);
}
