/* Parallel loops on the context's own threads.
 *
 * Tasks are handed out by an atomic counter, so which worker runs a task is not fixed: a task's
 * result must depend on its number only, and tasks of one loop must not write the same memory.
 */
#ifndef NF_BASE_POOL_H
#define NF_BASE_POOL_H

#include "base/base.h"

/* `worker` is in [0, nf_context_threads()) and selects per-worker scratch. */
typedef void (*nf_task_fn)(void *argument, size_t task, int worker);

/* Run tasks 0 .. count - 1 and wait. The caller is worker 0. With `wake` false (too little work to
 * pay for a wake-up) or one thread, everything runs on the caller. `units` is the progress each
 * task counts for (0: none). Tasks not yet started are dropped once the call is cancelled. */
nf_status nf_parallel(nf_context *context, size_t count, bool wake, uint64_t units, nf_task_fn task,
                      void *argument) NF_MUST_USE;

/* Below this many floating-point operations no thread is woken. */
#define NF_WAKE_FLOPS 4e6

void nf_pool_free(nf_context *context);

#endif
