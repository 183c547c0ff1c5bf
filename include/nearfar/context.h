/* Context: allocator, threads, instruction set, progress and the last error.
 *
 * A context may be used by one thread at a time; use one context per thread. Models, partitions
 * and other results are immutable once made and may be shared. The library keeps no other state:
 * no globals, no signal handlers, no environment changes. Floating-point control (rounding,
 * flush-to-zero) is set to the default on entry to each numeric call and restored on return.
 *
 * After fork() the child may go on using a context that was idle at the fork; it starts its own
 * worker threads on first use.
 */
#ifndef NEARFAR_CONTEXT_H
#define NEARFAR_CONTEXT_H

#include <stddef.h>
#include <stdint.h>

#include "nearfar/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct nf_context nf_context;

/* Memory hook. `allocate` returns at least `size` bytes (size > 0) aligned as malloc does, or
 * NULL. `release` takes what `allocate` returned, never NULL. Both are called from the thread
 * that calls the library only, so they need not be thread-safe. */
typedef struct nf_allocator {
    void *(*allocate)(void *user, size_t size);
    void (*release)(void *user, void *block);
    void *user;
} nf_allocator;

/* Instruction sets. Every level gives the same bits; NF_ISA_AUTO takes the fastest available. */
typedef enum nf_isa {
    NF_ISA_AUTO = 0,
    NF_ISA_SCALAR,
    NF_ISA_AVX2,   /* x86-64 with AVX2 and FMA */
    NF_ISA_AVX512, /* x86-64 with AVX-512 F, DQ, BW, VL */
    NF_ISA_NEON    /* AArch64 */
} nf_isa;

/* Called on the calling thread during long work, at most every few milliseconds, with the share
 * done (0 .. total; total 0 if unknown). Return 0 to go on, anything else to stop: the call then
 * returns NF_ERR_CANCELLED with its outputs untouched. */
typedef int (*nf_progress_fn)(void *user, uint64_t done, uint64_t total);

typedef struct nf_context_options {
    const nf_allocator *allocator; /* NULL: malloc and free; copied */
    int threads;                   /* 0: NF_NUM_THREADS if set, else the CPUs this process may use;
                                      1 .. 1024 otherwise. Never changes a result. */
    nf_isa isa;                    /* NF_ISA_AUTO: NF_ISA if set (scalar, avx2, avx512, neon),
                                      else the best this machine has */
    nf_progress_fn progress;       /* NULL: none */
    void *progress_user;
} nf_context_options;

/* Make a context. `options` NULL means all defaults. On failure *context is NULL and `error`
 * (may be NULL) says why: NF_ERR_ARG for a bad option or environment value, NF_ERR_UNSUPPORTED
 * for an instruction set this machine lacks, NF_ERR_NOMEM. */
NF_API NF_MUST_USE nf_status nf_context_create(nf_context **context,
                                               const nf_context_options *options, nf_error *error);

/* Free a context and stop its threads. NULL is allowed. Objects made with the context must be
 * freed before it. */
NF_API void nf_context_free(nf_context *context);

/* The record of the last failed call on this context; status NF_OK if none failed yet. Valid
 * until the next call on the context. */
NF_API const nf_error *nf_context_error(const nf_context *context);

/* Number of threads the context uses (>= 1). */
NF_API int nf_context_threads(const nf_context *context);

/* The instruction set in use, e.g. "avx2". Static string. */
NF_API const char *nf_context_isa(const nf_context *context);

/* Replace the progress callback; NULL removes it. */
NF_API void nf_context_set_progress(nf_context *context, nf_progress_fn progress, void *user);

/* Keep `bytes` of working memory in the context, so that calls needing no more than that do not
 * allocate. 0 gives the memory back. Errors: NF_ERR_NOMEM (the old reserve is kept). */
NF_API NF_MUST_USE nf_status nf_context_reserve(nf_context *context, size_t bytes);

#ifdef __cplusplus
}
#endif
#endif
