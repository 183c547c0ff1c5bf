#include "base/base.h"

#include <string.h>

/* Alignment by over-allocation: the word before an aligned block holds what the allocator gave. */
struct nf_scratch_block {
    nf_scratch_block *next;
};

nf_status nf_allocate(nf_context *context, void *out, size_t count, size_t size, const char *what) {
    size_t bytes, total;
    if (nf_mul_overflows(count, size, &bytes) ||
        nf_add_overflows(bytes, NF_ALIGNMENT + sizeof(void *), &total) || total > PTRDIFF_MAX) {
        return nf_fail(context, NF_ERR_RANGE,
                       "%s: %zu elements of %zu bytes exceed the address space", what, count, size);
    }
    char *raw = context->allocator.allocate(context->allocator.user, total);
    if (raw == NULL) {
        return nf_fail(context, NF_ERR_NOMEM,
                       "out of memory: %s needs %zu bytes; use fewer rows or free memory", what,
                       bytes);
    }
    uintptr_t start = (uintptr_t)raw + sizeof(void *);
    char *aligned = raw + sizeof(void *) + (NF_ALIGNMENT - start % NF_ALIGNMENT) % NF_ALIGNMENT;
    memcpy(aligned - sizeof(void *), &raw, sizeof raw);
    memcpy(out, &aligned, sizeof aligned);
    return NF_OK;
}

nf_status nf_allocate_zeroed(nf_context *context, void *out, size_t count, size_t size,
                             const char *what) {
    nf_status status = nf_allocate(context, out, count, size, what);
    if (status == NF_OK) {
        void *block;
        memcpy(&block, out, sizeof block);
        memset(block, 0, count * size);
    }
    return status;
}

void nf_release(nf_context *context, void *block) {
    if (block == NULL) return;
    void *raw;
    memcpy(&raw, (char *)block - sizeof(void *), sizeof raw);
    context->allocator.release(context->allocator.user, raw);
}

nf_status nf_scratch(nf_context *context, void *out, size_t count, size_t size, const char *what) {
    size_t bytes, total;
    if (context->reserve != NULL && !nf_mul_overflows(count, size, &bytes) &&
        bytes <= context->reserve_size) {
        size_t need = nf_round_up(bytes, NF_ALIGNMENT);
        if (need <= context->reserve_size - context->reserve_used) {
            void *block = context->reserve + context->reserve_used;
            context->reserve_used += need;
            memcpy(out, &block, sizeof block);
            return NF_OK;
        }
    }
    if (nf_mul_overflows(count, size, &bytes) || nf_add_overflows(bytes, NF_ALIGNMENT, &total)) {
        total = SIZE_MAX; /* nf_allocate reports it */
    }
    char *block = NULL;
    nf_status status = nf_allocate(context, &block, total, 1, what);
    if (status != NF_OK) return status;
    nf_scratch_block *header = (nf_scratch_block *)(void *)block;
    header->next = context->scratch;
    context->scratch = header;
    block += NF_ALIGNMENT;
    memcpy(out, &block, sizeof block);
    return NF_OK;
}

nf_scope nf_scope_enter(nf_context *context) {
    if (context->depth++ == 0) {
        atomic_store_explicit(&context->cancelled, 0, memory_order_relaxed);
        context->progress_depth = 0;
        context->progress_done = context->progress_total = 0;
    }
    return (nf_scope){context->scratch, context->reserve_used, nf_fp_default()};
}

nf_status(nf_scope_leave)(nf_context *context, nf_scope scope, nf_status status) {
    while (context->scratch != scope.scratch) {
        nf_scratch_block *block = context->scratch;
        context->scratch = block->next;
        nf_release(context, block);
    }
    context->reserve_used = scope.reserve_used;
    if (context->progress_depth == context->depth) context->progress_depth = 0;
    context->depth--;
    nf_fp_restore(scope.fp_control);
    return status;
}
