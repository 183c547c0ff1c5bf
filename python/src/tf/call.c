#include "call.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "reserve.h"

/* ---- contexts -------------------------------------------------------------------------------
 * TensorFlow may run kernels at once on several threads and makes many kernel objects, while a
 * context with its worker threads is worth keeping: idle ones wait in slots that belong to the
 * process. Slots are exchanged atomically, without a lock. */

enum { SLOTS = 8 };

static _Atomic(nf_context *) idle[SLOTS];
static atomic_int thread_limit;    /* 0: automatic */
static atomic_uint generation_now; /* changes with the limit: contexts of an older one go */

static void free_idle(void) {
    for (int k = 0; k < SLOTS; k++) nf_context_free(atomic_exchange(&idle[k], NULL));
}

/* Threads of every later execution, 0 for automatic. For Python, through ctypes. */
__attribute__((visibility("default"))) void nearfar_tensorflow_set_threads(int threads);
void nearfar_tensorflow_set_threads(int threads) {
    atomic_store(&thread_limit, threads);
    atomic_fetch_add(&generation_now, 1);
    free_idle();
}

static TF_Code code_of(nf_status status) {
    switch (status) {
    case NF_OK: return TF_OK;
    case NF_ERR_ARG:
    case NF_ERR_DATA:
    case NF_ERR_RANGE: return TF_INVALID_ARGUMENT;
    case NF_ERR_NOMEM: return TF_RESOURCE_EXHAUSTED;
    case NF_ERR_CANCELLED: return TF_CANCELLED;
    case NF_ERR_UNSUPPORTED: return TF_UNIMPLEMENTED;
    case NF_ERR_IO:
    case NF_ERR_CALLBACK:
    case NF_ERR_DIVERGED: break;
    }
    return TF_INTERNAL;
}

static int fail(tf_call *call, const nf_error *error) {
    TF_SetStatus(call->status, code_of(error->status), error->message);
    return 0;
}

static int take_context(tf_call *call) {
    call->generation = atomic_load(&generation_now);
    for (int k = 0; k < SLOTS && call->context == NULL; k++) {
        if (atomic_load_explicit(&idle[k], memory_order_relaxed) != NULL) {
            call->context = atomic_exchange(&idle[k], NULL);
        }
    }
    if (call->context != NULL) return 1;
    nf_context_options options = {.threads = atomic_load(&thread_limit)};
    nf_error error;
    if (nf_context_create(&call->context, &options, &error) != NF_OK) return fail(call, &error);
    return call_check(call, nf_context_reserve(call->context, RESERVE));
}

static void give_context(tf_call *call) {
    if (call->context == NULL) return;
    int current = call->generation == atomic_load(&generation_now);
    for (int k = 0; k < SLOTS && current; k++) {
        nf_context *none = NULL;
        if (atomic_compare_exchange_strong(&idle[k], &none, call->context)) {
            if (call->generation != atomic_load(&generation_now)) free_idle(); /* changed since */
            return;
        }
    }
    nf_context_free(call->context);
}

/* ---- begin, end, errors --------------------------------------------------------------------- */

int call_begin(tf_call *call, TF_OpKernelContext *tensorflow) {
    memset(call, 0, sizeof *call);
    call->tensorflow = tensorflow;
    call->status = TF_NewStatus();
    return take_context(call);
}

void call_end(tf_call *call) {
    if (TF_GetCode(call->status) != TF_OK) {
        TF_OpKernelContext_Failure(call->tensorflow, call->status);
    }
    give_context(call);
    while (call->tensors > 0) TF_DeleteTensor(call->tensor[--call->tensors]);
    TF_DeleteStatus(call->status);
}

int call_check(tf_call *call, nf_status status) {
    return status == NF_OK ? 1 : fail(call, nf_context_error(call->context));
}

int call_refuse(tf_call *call, const char *format, ...) {
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    TF_SetStatus(call->status, TF_INVALID_ARGUMENT, text);
    return 0;
}

/* ---- tensors -------------------------------------------------------------------------------- */

static TF_Tensor *input(tf_call *call, int i) {
    TF_Tensor *tensor = NULL;
    TF_GetInput(call->tensorflow, i, &tensor, call->status);
    if (TF_GetCode(call->status) != TF_OK) return NULL;
    return call->tensor[call->tensors++] = tensor;
}

int call_matrix(tf_call *call, int i, const char *name, nf_matrix *view) {
    TF_Tensor *tensor = input(call, i);
    if (tensor == NULL) return 0;
    if (TF_NumDims(tensor) != 2) {
        return call_refuse(call, "%s has %d dimensions: it must be a matrix, one row per item",
                           name, TF_NumDims(tensor));
    }
    nf_type type = TF_TensorType(tensor) == TF_DOUBLE ? NF_FLOAT64 : NF_FLOAT32;
    size_t rows = (size_t)TF_Dim(tensor, 0), cols = (size_t)TF_Dim(tensor, 1);
    *view = (nf_matrix){TF_TensorData(tensor), type, rows, cols, cols};
    return 1;
}

int call_vector(tf_call *call, int i, const char *name, const void **data, size_t *count) {
    TF_Tensor *tensor = input(call, i);
    if (tensor == NULL) return 0;
    if (TF_NumDims(tensor) != 1) {
        return call_refuse(call, "%s has %d dimensions: it must be a vector", name,
                           TF_NumDims(tensor));
    }
    *count = (size_t)TF_Dim(tensor, 0);
    *data = TF_TensorData(tensor);
    return 1;
}

int call_vector_of(tf_call *call, int i, const char *name, size_t count, int optional,
                   const void **data) {
    size_t found = 0;
    if (!call_vector(call, i, name, data, &found)) return 0;
    if (optional && found == 0) {
        *data = NULL;
        return 1;
    }
    return found == count
               ? 1
               : call_refuse(call, "%s has %zu entries: it must have %zu", name, found, count);
}

static void *new_tensor(tf_call *call, int i, nf_type type, const int64_t *dims, int rank) {
    size_t bytes = nf_type_size(type);
    for (int k = 0; k < rank; k++) bytes *= (size_t)dims[k];
    TF_DataType kind = type == NF_FLOAT64 ? TF_DOUBLE : TF_FLOAT;
    TF_Tensor *tensor =
        TF_AllocateOutput(call->tensorflow, i, kind, dims, rank, bytes, call->status);
    if (TF_GetCode(call->status) != TF_OK) return NULL;
    call->tensor[call->tensors++] = tensor;
    return TF_TensorData(tensor);
}

int call_new_matrix(tf_call *call, int i, nf_type type, size_t rows, size_t cols,
                    nf_matrix_out *view) {
    const int64_t dims[] = {(int64_t)rows, (int64_t)cols};
    void *data = new_tensor(call, i, type, dims, 2);
    *view = (nf_matrix_out){data, type, rows, cols, cols};
    return TF_GetCode(call->status) == TF_OK;
}

int call_new_vector(tf_call *call, int i, nf_type type, size_t count, void **data) {
    const int64_t dims[] = {(int64_t)count};
    *data = new_tensor(call, i, type, dims, 1);
    return TF_GetCode(call->status) == TF_OK;
}

int call_new_scalar(tf_call *call, int i, nf_type type, double value) {
    void *data = new_tensor(call, i, type, NULL, 0);
    if (data == NULL) return 0;
    if (type == NF_FLOAT64) {
        *(double *)data = value;
    } else {
        *(float *)data = (float)value;
    }
    return 1;
}
