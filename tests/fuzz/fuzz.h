/* What every fuzz target shares: one context on the counting allocator of tests/support, and the
 * promise that holds for every parser: whatever the bytes, the call returns, leaks nothing and
 * keeps to a memory limit that follows from the length of the input. */
#ifndef NF_FUZZ_H
#define NF_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_ASSERT(condition)                                                             \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                       \
        }                                                                                  \
    } while (0)

static test_allocator fuzz_allocator;
static size_t fuzz_live_bytes;

/* The context, with memory counted from here on. */
static inline nf_context *fuzz_begin(void) {
    static nf_context *context;
    if (context == NULL) {
        test_allocator_init(&fuzz_allocator);
        nf_context_options options = {.allocator = &fuzz_allocator.hooks, .threads = 1};
        if (nf_context_create(&context, &options, NULL) != NF_OK) abort();
        fuzz_live_bytes = fuzz_allocator.live_bytes;
    }
    fuzz_allocator.peak_bytes = fuzz_live_bytes;
    return context;
}

/* All memory is back, and there never was more than `limit` bytes. */
static inline void fuzz_end(size_t limit) {
    FUZZ_ASSERT(fuzz_allocator.live_bytes == fuzz_live_bytes);
    FUZZ_ASSERT(fuzz_allocator.peak_bytes - fuzz_live_bytes <= limit);
}

/* Only these may come out of a parser. */
static inline void fuzz_status(nf_context *context, nf_status status) {
    FUZZ_ASSERT(status == NF_OK || status == NF_ERR_DATA || status == NF_ERR_RANGE ||
                status == NF_ERR_ARG);
    if (status != NF_OK) FUZZ_ASSERT(nf_context_error(context)->message[0] != '\0');
}

#endif
