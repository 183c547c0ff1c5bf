/* The part of TensorFlow's C API that the operations use, declared here so that building needs no
 * TensorFlow: facts of its binary interface (tensorflow/c/ops.h, kernels.h, tf_tensor.h,
 * tf_status.h), the same from 2.16 on. All handles are opaque. */
#ifndef NEARFAR_TF_API_H
#define NEARFAR_TF_API_H

#include <stddef.h>
#include <stdint.h>

typedef struct TF_Status TF_Status;
typedef struct TF_Tensor TF_Tensor;
typedef struct TF_ShapeHandle TF_ShapeHandle;
typedef struct TF_KernelBuilder TF_KernelBuilder;
typedef struct TF_OpDefinitionBuilder TF_OpDefinitionBuilder;
typedef struct TF_OpKernelConstruction TF_OpKernelConstruction;
typedef struct TF_OpKernelContext TF_OpKernelContext;
typedef struct TF_ShapeInferenceContext TF_ShapeInferenceContext;

/* C enums of TensorFlow: values of types.proto and error_codes.proto. */
typedef enum TF_DataType { TF_FLOAT = 1, TF_DOUBLE = 2, TF_INT64 = 9 } TF_DataType;
typedef enum TF_Code {
    TF_OK = 0,
    TF_CANCELLED = 1,
    TF_INVALID_ARGUMENT = 3,
    TF_RESOURCE_EXHAUSTED = 8,
    TF_UNIMPLEMENTED = 12,
    TF_INTERNAL = 13
} TF_Code;

extern TF_Status *TF_NewStatus(void);
extern void TF_DeleteStatus(TF_Status *status);
extern void TF_SetStatus(TF_Status *status, TF_Code code, const char *message);
extern TF_Code TF_GetCode(const TF_Status *status);
extern const char *TF_Message(const TF_Status *status);

extern void TF_DeleteTensor(TF_Tensor *tensor);
extern TF_DataType TF_TensorType(const TF_Tensor *tensor);
extern int TF_NumDims(const TF_Tensor *tensor);
extern int64_t TF_Dim(const TF_Tensor *tensor, int dimension);
extern void *TF_TensorData(const TF_Tensor *tensor);

extern TF_OpDefinitionBuilder *TF_NewOpDefinitionBuilder(const char *name);
extern void TF_OpDefinitionBuilderAddInput(TF_OpDefinitionBuilder *builder, const char *spec);
extern void TF_OpDefinitionBuilderAddOutput(TF_OpDefinitionBuilder *builder, const char *spec);
extern void TF_OpDefinitionBuilderAddAttr(TF_OpDefinitionBuilder *builder, const char *spec);
extern void TF_OpDefinitionBuilderSetShapeInferenceFunction(
    TF_OpDefinitionBuilder *builder,
    void (*infer)(TF_ShapeInferenceContext *context, TF_Status *status));
extern void TF_RegisterOpDefinition(TF_OpDefinitionBuilder *builder, TF_Status *status);

extern TF_ShapeHandle *TF_NewShapeHandle(void);
extern void TF_DeleteShapeHandle(TF_ShapeHandle *handle);
extern TF_ShapeHandle *TF_ShapeInferenceContextScalar(TF_ShapeInferenceContext *context);
extern void TF_ShapeInferenceContextGetInput(TF_ShapeInferenceContext *context, int i,
                                             TF_ShapeHandle *handle, TF_Status *status);
extern void TF_ShapeInferenceContextSetOutput(TF_ShapeInferenceContext *context, int i,
                                              TF_ShapeHandle *handle, TF_Status *status);
extern void TF_ShapeInferenceContextWithRank(TF_ShapeInferenceContext *context,
                                             TF_ShapeHandle *handle, int64_t rank,
                                             TF_ShapeHandle *result, TF_Status *status);
extern void TF_ShapeInferenceContextSubshape(TF_ShapeInferenceContext *context,
                                             TF_ShapeHandle *handle, int64_t start, int64_t end,
                                             TF_ShapeHandle *result, TF_Status *status);
extern void TF_ShapeInferenceContextConcatenateShapes(TF_ShapeInferenceContext *context,
                                                      TF_ShapeHandle *first, TF_ShapeHandle *second,
                                                      TF_ShapeHandle *result, TF_Status *status);

extern TF_KernelBuilder *TF_NewKernelBuilder(const char *op, const char *device,
                                             void *(*create)(TF_OpKernelConstruction *),
                                             void (*compute)(void *, TF_OpKernelContext *),
                                             void (*release)(void *));
extern void TF_KernelBuilder_TypeConstraint(TF_KernelBuilder *builder, const char *attr,
                                            TF_DataType type, TF_Status *status);
extern void TF_RegisterKernelBuilder(const char *name, TF_KernelBuilder *builder,
                                     TF_Status *status);

extern void TF_OpKernelConstruction_GetAttrInt64List(TF_OpKernelConstruction *construction,
                                                     const char *name, int64_t *values, int limit,
                                                     TF_Status *status);
extern void TF_OpKernelConstruction_GetAttrSize(TF_OpKernelConstruction *construction,
                                                const char *name, int32_t *list_size,
                                                int32_t *total_size, TF_Status *status);
extern void TF_OpKernelConstruction_Failure(TF_OpKernelConstruction *construction,
                                            TF_Status *status);
extern void TF_GetInput(TF_OpKernelContext *context, int i, TF_Tensor **tensor, TF_Status *status);
extern TF_Tensor *TF_AllocateOutput(TF_OpKernelContext *context, int i, TF_DataType type,
                                    const int64_t *dims, int rank, size_t bytes, TF_Status *status);
extern void TF_OpKernelContext_Failure(TF_OpKernelContext *context, TF_Status *status);

#endif
