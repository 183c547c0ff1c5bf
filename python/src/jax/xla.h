/* What the engine's XLA handlers share: the part of XLA's foreign-function interface that they use,
 * and calls into the engine from it.
 *
 * The interface is a C ABI: XLA calls a handler with a frame that holds everything, so that neither
 * headers nor symbols of jaxlib are needed. The declarations below are the prefix of the frame that
 * has kept its layout since version 0.1, which the handlers report: one binary for every jaxlib that
 * still accepts 0.1. A handler may be called from several threads at once.
 *
 * Pattern of a handler:
 *
 *     xla_call call;
 *     if (xla_enter(&call, frame, args, options)) return call.error;
 *     nf_status status = decode, then nf_...(call.context, ...);
 *     return xla_leave(&call, status);
 */
#ifndef NEARFAR_PYTHON_JAX_XLA_H
#define NEARFAR_PYTHON_JAX_XLA_H

#include <stddef.h>
#include <stdint.h>

#include "nearfar/nearfar.h"

/* ---- the interface -------------------------------------------------------------------------- */

enum { XLA_EXTENSION_METADATA = 1, XLA_ATTRIBUTE_ARRAY = 1 };
enum { XLA_VERSION_MAJOR = 0, XLA_VERSION_MINOR = 1 };

typedef enum xla_type {
    XLA_PRED = 1,
    XLA_S8 = 2,
    XLA_S16 = 3,
    XLA_S32 = 4,
    XLA_S64 = 5,
    XLA_U8 = 6,
    XLA_U16 = 7,
    XLA_U32 = 8,
    XLA_U64 = 9,
    XLA_F16 = 10,
    XLA_F32 = 11,
    XLA_F64 = 12
} xla_type;

typedef enum xla_code {
    XLA_CANCELLED = 1,
    XLA_INVALID_ARGUMENT = 3,
    XLA_RESOURCE_EXHAUSTED = 8,
    XLA_OUT_OF_RANGE = 11,
    XLA_UNIMPLEMENTED = 12,
    XLA_INTERNAL = 13
} xla_code;

typedef struct xla_error xla_error; /* XLA's own */

typedef struct xla_extension {
    size_t struct_size;
    int type;
    struct xla_extension *next;
} xla_extension;

typedef struct xla_version {
    size_t struct_size;
    xla_extension *extensions;
    int major, minor;
} xla_version;

typedef struct xla_metadata {
    size_t struct_size;
    xla_version version;
} xla_metadata;

typedef struct xla_metadata_extension {
    xla_extension base;
    xla_metadata *metadata;
} xla_metadata_extension;

typedef struct xla_error_arguments {
    size_t struct_size;
    xla_extension *extensions;
    const char *message; /* copied */
    int code;
} xla_error_arguments;

typedef struct xla_api {
    size_t struct_size;
    xla_extension *extensions;
    xla_version version;
    const void *internal;
    xla_error *(*create_error)(xla_error_arguments *arguments);
} xla_api;

typedef struct xla_buffer {
    size_t struct_size;
    xla_extension *extensions;
    int type;
    void *data;
    int64_t rank;
    int64_t *dims;
} xla_buffer;

typedef struct xla_array {
    int type;
    size_t size;
    void *data;
} xla_array;

typedef struct xla_buffers { /* arguments or results */
    size_t struct_size;
    xla_extension *extensions;
    int64_t size;
    int *types;
    xla_buffer **buffer;
} xla_buffers;

typedef struct xla_attributes {
    size_t struct_size;
    xla_extension *extensions;
    int64_t size;
    int *types;
    const void **names;
    void **value;
} xla_attributes;

typedef struct xla_frame {
    size_t struct_size;
    xla_extension *extensions;
    const xla_api *api;
    void *context;
    int stage;
    xla_buffers args, rets;
    xla_attributes attributes;
} xla_frame;

typedef xla_error *xla_handler(xla_frame *frame);

/* ---- calls (frame.c) ------------------------------------------------------------------------ */

#define XLA_MAX_OWNED 8

typedef struct xla_call {
    xla_frame *frame;
    nf_context *context;
    unsigned generation;
    const double *options; /* the attribute: numbers, in an order that the target defines */
    nf_array *owned[XLA_MAX_OWNED]; /* converted operands, freed at the end */
    void *block[XLA_MAX_OWNED];     /* working memory, freed at the end */
    size_t owned_count, block_count;
    char message[NF_MESSAGE_SIZE + 32]; /* of an error that is not the engine's */
    xla_error *error;
} xla_call;

/* Begin a call of a target with at least `args` operands and `options` numbers in its attribute.
 * Non-zero: return call->error, which is NULL when XLA only asked for metadata. */
int xla_enter(xla_call *call, xla_frame *frame, int64_t args, size_t options);
/* End it: NULL, or what went wrong as an XLA error. */
xla_error *xla_leave(xla_call *call, nf_status status);
/* A failure of the handler itself. */
nf_status xla_fail(xla_call *call, const char *message);
/* The engine has just failed on a list without its padding: say so, for it names a position. */
void xla_note_padding(xla_call *call);

/* Contexts made from now on use so many threads (0: automatic). */
void xla_set_threads(int threads);

/* ---- operands and results (operand.c) ------------------------------------------------------- */

static inline const xla_buffer *xla_arg(const xla_call *call, int64_t k) {
    return call->frame->args.buffer[k];
}

size_t xla_count(const xla_buffer *buffer);
/* A 2-D float operand. */
nf_status xla_matrix(xla_call *call, int64_t k, const char *name, nf_matrix *matrix);
/* Result k as the gradient of `like`, or nothing when there is no such result. */
nf_status xla_gradient(xla_call *call, int64_t k, nf_matrix like, nf_matrix_out *out);
/* A vector of any integer type as int64, or any type as 0 and 1, or floats as double. */
nf_status xla_labels(xla_call *call, int64_t k, const char *name, nf_labels *labels);
nf_status xla_index(xla_call *call, int64_t k, const char *name, const int64_t **index,
                    size_t *count);
nf_status xla_same(xla_call *call, int64_t k, nf_same_encoding encoding, const uint8_t **same,
                   size_t *count);
/* count 0 while `expected` is not: absent, *values NULL. */
nf_status xla_doubles(xla_call *call, int64_t k, const char *name, size_t expected,
                      const double **values);
/* Working memory of the call. */
nf_status xla_allocate(xla_call *call, size_t count, size_t size, void **data);
/* values as result k, a float buffer. */
nf_status xla_write_doubles(xla_call *call, int64_t k, const double *values, size_t count);

/* ---- targets -------------------------------------------------------------------------------- */

xla_handler xla_loss_batch, xla_loss_anchors, xla_loss_anchors_reference, xla_loss_pairs,
    xla_loss_rows, xla_loss_reference, xla_loss_margin, xla_loss_margin_reference, xla_distances,
    xla_pair_distances, xla_pair_indices;

#endif
