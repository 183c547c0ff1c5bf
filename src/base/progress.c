#include "base/base.h"

#include <time.h>

#define NF_PROGRESS_INTERVAL 20000000u /* nanoseconds */

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

void nf_progress_start(nf_context *context, uint64_t total) {
    if (context->progress_depth != 0) return;
    context->progress_depth = context->depth;
    context->progress_done = 0;
    context->progress_total = total;
}

void nf_progress_add(nf_context *context, uint64_t done) {
    if (context->depth == context->progress_depth) context->progress_done += done;
    if (context->progress == NULL) return;
    /* Who has said stop is not asked again: in Python the exception of its answer is waiting. */
    if (atomic_load_explicit(&context->cancelled, memory_order_relaxed)) return;
    uint64_t time = now();
    if (time - context->progress_time < NF_PROGRESS_INTERVAL) return;
    context->progress_time = time;
    uint64_t shown = context->progress_done, total = context->progress_total;
    if (total > 0 && shown > total) shown = total;
    if (context->progress(context->progress_user, shown, total) != 0) {
        atomic_store(&context->cancelled, 1);
    }
}

nf_status nf_progress_status(nf_context *context) {
    if (atomic_load(&context->cancelled) == 0) return NF_OK;
    return nf_fail(context, NF_ERR_CANCELLED, "cancelled by the progress callback");
}
