/* Shared by all C suites: cmocka in its required order, a context per test, random data, and the
 * counting allocator behind the fail-the-k-th-allocation tests. */
#ifndef NF_TEST_SUPPORT_H
#define NF_TEST_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "nearfar/nearfar.h"

/* Assert NF_OK, printing the context's message otherwise. */
#define assert_ok(context, expression) \
    test_assert_status((context), (expression), NF_OK, #expression, __FILE__, __LINE__)
/* Assert a status and that the message contains `text`. */
#define assert_fails(context, expression, expected, text)                                         \
    do {                                                                                          \
        test_assert_status((context), (expression), (expected), #expression, __FILE__, __LINE__); \
        test_assert_contains(nf_context_error(context)->message, (text), __FILE__, __LINE__);     \
    } while (0)

void test_assert_status(nf_context *context, nf_status actual, nf_status expected,
                        const char *expression, const char *file, int line);
void test_assert_contains(const char *message, const char *text, const char *file, int line);

/* A context with `threads` threads (0: automatic) and the default allocator. */
nf_context *test_context(int threads);
nf_context *test_context_isa(int threads, nf_isa isa);

/* Deterministic random data. */
void test_random_f32(uint64_t seed, float *out, size_t count, double low, double high);
void test_random_f64(uint64_t seed, double *out, size_t count, double low, double high);
void test_random_labels(uint64_t seed, int64_t *out, size_t count, int64_t low, int64_t high);

/* ---- failing allocations -------------------------------------------------------------------- */

typedef struct test_allocator {
    nf_allocator hooks;
    size_t calls; /* allocations asked for */
    size_t live;  /* blocks not yet released */
    size_t live_bytes, peak_bytes;
    size_t fail_at; /* 1-based number of the call that fails; 0: none */
    int fail_after; /* also fail all later calls */
} test_allocator;

void test_allocator_init(test_allocator *allocator);

/* Run `body` once counting allocations, then once for every k with the k-th failing (once, and
 * again with all later ones failing too): each run must return NF_ERR_NOMEM or NF_OK (when the
 * library can do without), leak nothing, leave `outputs` (bytes) untouched on failure, and the
 * retry must give the same bytes as the first run. body(context, user) does the whole job,
 * freeing the objects it makes, and writes its results to `outputs`. Returns the number of
 * allocations, so that a test can assert it is > 0. */
typedef nf_status (*test_body_fn)(nf_context *context, void *user);
size_t test_fail_every_allocation(int threads, test_body_fn body, void *user, void *outputs,
                                  size_t output_bytes);

#endif
