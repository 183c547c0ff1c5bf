/* NearfarBenchNothing: the inputs, outputs and attributes of NearfarLossBatch, registered the same
 * way, and a kernel that allocates its outputs and computes nothing. What a call costs at least. */
#include "api.h"

static void compute(void *kernel, TF_OpKernelContext *context) {
    (void)kernel;
    TF_Status *status = TF_NewStatus();
    TF_Tensor *x = NULL, *value = NULL, *gradient = NULL;
    TF_GetInput(context, 0, &x, status);
    if (TF_GetCode(status) == TF_OK) {
        const int64_t dims[] = {TF_Dim(x, 0), TF_Dim(x, 1)};
        const size_t bytes = (size_t)(dims[0] * dims[1]) * sizeof(float);
        value = TF_AllocateOutput(context, 0, TF_FLOAT, dims, 0, sizeof(float), status);
        gradient = TF_AllocateOutput(context, 1, TF_FLOAT, dims, 2, bytes, status);
    }
    if (value != NULL) *(float *)TF_TensorData(value) = 0;
    if (TF_GetCode(status) != TF_OK) TF_OpKernelContext_Failure(context, status);
    if (gradient != NULL) TF_DeleteTensor(gradient);
    if (value != NULL) TF_DeleteTensor(value);
    if (x != NULL) TF_DeleteTensor(x);
    TF_DeleteStatus(status);
}

static void shape(TF_ShapeInferenceContext *context, TF_Status *status) {
    TF_ShapeHandle *rows = TF_NewShapeHandle();
    TF_ShapeHandle *scalar = TF_ShapeInferenceContextScalar(context);
    TF_ShapeInferenceContextSetOutput(context, 0, scalar, status);
    TF_ShapeInferenceContextGetInput(context, 0, rows, status);
    TF_ShapeInferenceContextSetOutput(context, 1, rows, status);
    TF_DeleteShapeHandle(scalar);
    TF_DeleteShapeHandle(rows);
}

__attribute__((constructor)) static void register_operation(void) {
    TF_Status *status = TF_NewStatus();
    TF_OpDefinitionBuilder *builder = TF_NewOpDefinitionBuilder("NearfarBenchNothing");
    TF_OpDefinitionBuilderAddAttr(builder, "T: {float}");
    TF_OpDefinitionBuilderAddAttr(builder, "loss: list(int)");
    TF_OpDefinitionBuilderAddInput(builder, "x: T");
    TF_OpDefinitionBuilderAddInput(builder, "labels: int64");
    TF_OpDefinitionBuilderAddOutput(builder, "value: T");
    TF_OpDefinitionBuilderAddOutput(builder, "gradient: T");
    TF_OpDefinitionBuilderSetShapeInferenceFunction(builder, shape);
    TF_RegisterOpDefinition(builder, status);
    TF_KernelBuilder *kernel =
        TF_NewKernelBuilder("NearfarBenchNothing", "CPU", NULL, compute, NULL);
    TF_RegisterKernelBuilder("NearfarBenchNothing", kernel, status);
    TF_DeleteStatus(status);
}
