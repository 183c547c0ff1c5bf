/* What every module may use: context internals, errors, memory, checked sizes, argument checks.
 *
 * Pattern of a public function:
 *
 *     nf_scope scope = nf_scope_enter(context);
 *     nf_status status = ...;
 *     if (status == NF_OK) status = nf_scratch(context, &ptr, count, size, "row norms");
 *     ...
 *     return nf_scope_leave(context, scope, status);
 *
 * Entering a scope sets the floating-point environment to the default; leaving it frees the scratch
 * taken since and restores the caller's environment. Scopes nest.
 */
#ifndef NF_BASE_BASE_H
#define NF_BASE_BASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nearfar/context.h"
#include "nearfar/matrix.h"

#define NF_PRINTF(text, first) __attribute__((format(printf, text, first)))
#define NF_ALIGNMENT 64

typedef struct nf_pool nf_pool;
typedef struct nf_scratch_block nf_scratch_block;

struct nf_context {
    nf_allocator allocator;
    nf_error error;
    int threads;
    nf_isa isa; /* resolved, never AUTO */
    nf_progress_fn progress;
    void *progress_user;
    uint64_t progress_done, progress_total;
    uint64_t progress_time; /* of the last callback, nanoseconds */
    int depth;              /* nested scopes */
    int progress_depth;     /* scope depth that counts progress; 0: none yet */
    atomic_int cancelled;
    nf_pool *pool; /* made on first parallel use */
    nf_scratch_block *scratch;
    unsigned char *reserve;
    size_t reserve_size, reserve_used;
};

/* ---- errors (status.c) ---------------------------------------------------------------------- */

/* Record an error and return its status, so that `return nf_fail(...)` reads well. */
nf_status nf_fail(nf_context *context, nf_status status, const char *format, ...) NF_PRINTF(3, 4);
#ifdef __clang_analyzer__ /* which cannot see, from another file, that the status comes back */
#define nf_fail(context, status, ...) (nf_fail(context, status, __VA_ARGS__), (status))
#endif

/* ---- checked sizes -------------------------------------------------------------------------- */

static inline bool nf_mul_overflows(size_t a, size_t b, size_t *product) {
    return __builtin_mul_overflow(a, b, product);
}

static inline bool nf_add_overflows(size_t a, size_t b, size_t *sum) {
    return __builtin_add_overflow(a, b, sum);
}

static inline size_t nf_min_size(size_t a, size_t b) { return a < b ? a : b; }
static inline size_t nf_max_size(size_t a, size_t b) { return a > b ? a : b; }
static inline size_t nf_round_up(size_t value, size_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

/* ---- memory (memory.c) ---------------------------------------------------------------------- */

/* An aligned array of count * size bytes from the context's allocator; `what` names it in the
 * message. A zero-sized request gives a valid pointer. Only the calling thread may allocate. */
nf_status nf_allocate(nf_context *context, void *out /* T ** */, size_t count, size_t size,
                      const char *what) NF_MUST_USE;
nf_status nf_allocate_zeroed(nf_context *context, void *out, size_t count, size_t size,
                             const char *what) NF_MUST_USE;
void nf_release(nf_context *context, void *block); /* NULL allowed */

/* Scratch: as nf_allocate, but freed when the enclosing scope is left. */
nf_status nf_scratch(nf_context *context, void *out, size_t count, size_t size,
                     const char *what) NF_MUST_USE;

/* What these bytes of scratch hold is not needed any more and is lost: if they are many and come from
 * malloc, the system gets their pages back at once (pages.c). */
void nf_scratch_forget(nf_context *context, void *start, size_t bytes);
bool nf_memory_is_malloc(const nf_context *context); /* context.c */

/* ---- scopes (memory.c) ---------------------------------------------------------------------- */

typedef struct nf_scope {
    nf_scratch_block *scratch;
    size_t reserve_used;
    unsigned fp_control;
} nf_scope;

nf_scope nf_scope_enter(nf_context *context);
nf_status nf_scope_leave(nf_context *context, nf_scope scope, nf_status status);
#ifdef __clang_analyzer__
#define nf_scope_leave(context, scope, status) (nf_scope_leave(context, scope, status), (status))
#endif

/* Default floating-point control on this thread; returns what was there (fp.c). */
unsigned nf_fp_default(void);
void nf_fp_restore(unsigned control);

/* ---- progress and cancelling (progress.c) --------------------------------------------------- */

/* Count `total` units of work from here, inside a scope. When an outer call already counts, this one
 * only polls for cancelling. */
void nf_progress_start(nf_context *context, uint64_t total);
/* Add work done; calls the callback at most every 20 ms. Calling thread only. nf_progress_add(c, 0)
 * only polls. */
void nf_progress_add(nf_context *context, uint64_t done);
/* NF_ERR_CANCELLED with its message once the callback asked to stop, else NF_OK. */
nf_status nf_progress_status(nf_context *context);

/* ---- argument checks (check.c) -------------------------------------------------------------- */

/* A view's type, ld and data; `name` is the argument's. */
nf_status nf_check_matrix(nf_context *context, nf_matrix x, const char *name) NF_MUST_USE;
/* An output of the given shape and type that does not overlap the input `x`. */
nf_status nf_check_out(nf_context *context, nf_matrix_out out, const char *name, size_t rows,
                       size_t cols, nf_type type) NF_MUST_USE;
nf_status nf_check_overlap(nf_context *context, nf_matrix_out out, const char *out_name,
                           nf_matrix in, const char *in_name) NF_MUST_USE;
/* NaN and Inf: NF_ERR_DATA with the first (row, column) and the count. */
nf_status nf_check_finite(nf_context *context, nf_matrix x, const char *name) NF_MUST_USE;

/* Element i of an array of either type, as double, for slow paths. */
static inline double nf_element_get(nf_type type, const void *values, size_t i) {
    return type == NF_FLOAT32 ? (double)((const float *)values)[i] : ((const double *)values)[i];
}

static inline void nf_element_set(nf_type type, void *values, size_t i, double value) {
    if (type == NF_FLOAT32) {
        ((float *)values)[i] = (float)value;
    } else {
        ((double *)values)[i] = value;
    }
}

/* Element (r, c) as double, for slow paths. data is NULL only in a matrix without elements, which
 * the analyser cannot know. */
static inline double nf_matrix_get(nf_matrix x, size_t r, size_t c) {
    const float *f = x.data;
    const double *g = x.data;
    size_t at = r * x.ld + c;
    return x.type == NF_FLOAT32 ? (double)f[at] : g[at]; /* NOLINT(clang-analyzer-core.*) */
}

/* First element of row r; NULL for a matrix without data, which has no element. */
static inline const void *nf_matrix_row(nf_matrix x, size_t r) {
    if (x.data == NULL) return NULL;
    return x.type == NF_FLOAT32 ? (const void *)((const float *)x.data + r * x.ld)
                                : (const void *)((const double *)x.data + r * x.ld);
}

static inline void *nf_matrix_out_row(nf_matrix_out x, size_t r) {
    if (x.data == NULL) return NULL;
    return x.type == NF_FLOAT32 ? (void *)((float *)x.data + r * x.ld)
                                : (void *)((double *)x.data + r * x.ld);
}

#endif
