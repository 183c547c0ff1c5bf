/* One call from XLA: metadata, its context, and errors. */
#include "jax/xla.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"
#include "reserve.h"

#define IDLE 16

/* ---- contexts ------------------------------------------------------------------------------- */

/* XLA gives a handler no state of ours, so contexts that no call is using wait here. Slots are taken
 * and filled by single exchanges: there is no lock that a fork could leave held. */
static _Atomic(nf_context *) idle[IDLE];
static atomic_uint generation; /* changes with `threads` */
static atomic_int threads;

static void free_idle(void) {
    for (size_t k = 0; k < IDLE; k++) nf_context_free(atomic_exchange(&idle[k], NULL));
}

void xla_set_threads(int count) {
    atomic_store(&threads, count);
    atomic_fetch_add(&generation, 1);
    free_idle();
}

static nf_status take_context(xla_call *call, nf_error *error) {
    call->generation = atomic_load(&generation);
    for (size_t k = 0; k < IDLE; k++) {
        call->context = atomic_exchange(&idle[k], NULL);
        if (call->context != NULL) return NF_OK;
    }
    nf_context_options options = {.threads = atomic_load(&threads)};
    nf_status status = nf_context_create(&call->context, &options, error);
    if (status != NF_OK) return status;
    status = nf_context_reserve(call->context, RESERVE);
    if (status != NF_OK) {
        *error = *nf_context_error(call->context);
        nf_context_free(call->context);
    }
    return status;
}

static void give_context(xla_call *call) {
    nf_context *context = call->context;
    call->context = NULL;
    if (call->generation == atomic_load(&generation)) {
        for (size_t k = 0; k < IDLE; k++) {
            nf_context *empty = NULL;
            if (atomic_compare_exchange_strong(&idle[k], &empty, context)) return;
        }
    }
    nf_context_free(context);
}

/* ---- errors --------------------------------------------------------------------------------- */

static xla_error *make_error(xla_frame *frame, int code, const char *message) {
    char text[NF_MESSAGE_SIZE + 96];
    char words[NF_MESSAGE_SIZE + 64];
    core_python_words(message, words, sizeof words);
    snprintf(text, sizeof text, "nearfar: %s", words);
    xla_error_arguments arguments = {sizeof arguments, NULL, text, code};
    return frame->api->create_error(&arguments);
}

static int code_of(nf_status status) {
    switch (status) {
    case NF_ERR_ARG:
    case NF_ERR_DATA: return XLA_INVALID_ARGUMENT;
    case NF_ERR_RANGE: return XLA_OUT_OF_RANGE;
    case NF_ERR_NOMEM: return XLA_RESOURCE_EXHAUSTED;
    case NF_ERR_CANCELLED: return XLA_CANCELLED;
    case NF_ERR_UNSUPPORTED: return XLA_UNIMPLEMENTED;
    case NF_OK:
    case NF_ERR_IO:
    case NF_ERR_DIVERGED:
    case NF_ERR_CALLBACK: break;
    }
    return XLA_INTERNAL;
}

nf_status xla_fail(xla_call *call, const char *message) {
    snprintf(call->message, sizeof call->message, "%s", message);
    return NF_ERR_ARG;
}

void xla_note_padding(xla_call *call) {
    if (call->message[0] != '\0') return;
    snprintf(call->message, sizeof call->message, "%s (counted without the padding)",
             nf_context_error(call->context)->message);
}

/* ---- calls ---------------------------------------------------------------------------------- */

/* At registration XLA asks for the version of the interface, with no operands. */
static int answer_metadata(xla_frame *frame) {
    xla_extension *extension = frame->extensions;
    if (extension == NULL || extension->type != XLA_EXTENSION_METADATA) return 0;
    xla_metadata *metadata = ((xla_metadata_extension *)(void *)extension)->metadata;
    metadata->version.major = XLA_VERSION_MAJOR;
    metadata->version.minor = XLA_VERSION_MINOR;
    return 1;
}

static const double *options_of(const xla_frame *frame, size_t count) {
    if (frame->attributes.size != 1 || frame->attributes.types[0] != XLA_ATTRIBUTE_ARRAY) {
        return NULL;
    }
    const xla_array *array = frame->attributes.value[0];
    return array->type == XLA_F64 && array->size == count ? array->data : NULL;
}

int xla_enter(xla_call *call, xla_frame *frame, int64_t args, size_t options) {
    call->error = NULL;
    if (answer_metadata(frame)) return 1;
    call->frame = frame;
    call->owned_count = call->block_count = 0;
    call->message[0] = '\0';
    call->options = options_of(frame, options);
    if (frame->args.size < args || call->options == NULL) {
        call->error = make_error(frame, XLA_INTERNAL,
                                 "a target was called in a way that nearfar.jax does not: use its "
                                 "functions");
        return 1;
    }
    nf_error error;
    if (take_context(call, &error) != NF_OK) {
        call->error = make_error(frame, code_of(error.status), error.message);
        return 1;
    }
    return 0;
}

xla_error *xla_leave(xla_call *call, nf_status status) {
    xla_error *error = NULL;
    if (status != NF_OK) {
        const char *own = call->message;
        const char *message = own[0] != '\0' ? own : nf_context_error(call->context)->message;
        error = make_error(call->frame, code_of(status), message);
    }
    while (call->owned_count > 0) nf_array_free(call->context, call->owned[--call->owned_count]);
    while (call->block_count > 0) free(call->block[--call->block_count]);
    give_context(call);
    return error;
}
