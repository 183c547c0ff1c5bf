#include "support.h"

#include "base/random.h"

void test_assert_status(nf_context *context, nf_status actual, nf_status expected,
                        const char *expression, const char *file, int line) {
    if (actual == expected) return;
    print_error("%s\n  returned %s, expected %s: %s\n", expression, nf_status_name(actual),
                nf_status_name(expected),
                context != NULL ? nf_context_error(context)->message : "");
    _fail(file, line);
}

void test_assert_contains(const char *message, const char *text, const char *file, int line) {
    if (strstr(message, text) != NULL) return;
    print_error("message '%s'\n  does not contain '%s'\n", message, text);
    _fail(file, line);
}

nf_context *test_context_isa(int threads, nf_isa isa) {
    nf_context_options options = {.threads = threads, .isa = isa};
    nf_context *context;
    nf_error error;
    if (nf_context_create(&context, &options, &error) != NF_OK) fail_msg("%s", error.message);
    return context;
}

nf_context *test_context(int threads) { return test_context_isa(threads, NF_ISA_AUTO); }

void test_random_f64(uint64_t seed, double *out, size_t count, double low, double high) {
    for (size_t i = 0; i < count; i++) {
        out[i] = low + (high - low) * nf_random_unit(seed, 1000, i);
    }
}

void test_random_f32(uint64_t seed, float *out, size_t count, double low, double high) {
    for (size_t i = 0; i < count; i++) {
        out[i] = (float)(low + (high - low) * nf_random_unit(seed, 1000, i));
    }
}

void test_random_labels(uint64_t seed, int64_t *out, size_t count, int64_t low, int64_t high) {
    for (size_t i = 0; i < count; i++) {
        out[i] = low + (int64_t)nf_random_below(seed, 1001, i, (uint64_t)(high - low + 1));
    }
}

/* ---- failing allocations -------------------------------------------------------------------- */

/* Each block carries its size in front; 32 bytes keep malloc's alignment. */
#define HEADER 32

static void *counting_allocate(void *user, size_t size) {
    test_allocator *a = user;
    a->calls++;
    if (a->fail_at != 0 && (a->calls == a->fail_at || (a->fail_after && a->calls > a->fail_at))) {
        return NULL;
    }
    char *block = malloc(size + HEADER);
    if (block == NULL) return NULL;
    memcpy(block, &size, sizeof size);
    a->live++;
    a->live_bytes += size;
    if (a->live_bytes > a->peak_bytes) a->peak_bytes = a->live_bytes;
    return block + HEADER;
}

static void counting_release(void *user, void *block) {
    test_allocator *a = user;
    size_t size;
    memcpy(&size, (char *)block - HEADER, sizeof size);
    a->live--;
    a->live_bytes -= size;
    free((char *)block - HEADER);
}

void test_allocator_init(test_allocator *allocator) {
    memset(allocator, 0, sizeof *allocator);
    allocator->hooks = (nf_allocator){counting_allocate, counting_release, allocator};
}

/* One run under a fresh context; `retry` runs the body again on the same context afterwards. */
static nf_status run(int threads, test_body_fn body, void *user, size_t fail_at, int fail_after,
                     void *outputs, size_t output_bytes, const void *expected, size_t *calls) {
    test_allocator allocator;
    test_allocator_init(&allocator);
    nf_context_options options = {.allocator = &allocator.hooks, .threads = threads};
    nf_context *context;
    nf_error error;
    assert_int_equal(nf_context_create(&context, &options, &error), NF_OK);
    size_t base = allocator.calls, live = allocator.live;

    memset(outputs, 0xA5, output_bytes);
    allocator.fail_at = fail_at == 0 ? 0 : base + fail_at;
    allocator.fail_after = fail_after;
    nf_status status = body(context, user);
    if (calls != NULL) *calls = allocator.calls - base;
    allocator.fail_at = 0;
    if (status != NF_OK) {
        test_assert_status(context, status, NF_ERR_NOMEM, "body", __FILE__, __LINE__);
        for (size_t i = 0; i < output_bytes; i++) {
            if (((unsigned char *)outputs)[i] != 0xA5) {
                fail_msg("allocation %zu failed and output byte %zu was written", fail_at, i);
            }
        }
    } else if (expected != NULL) {
        assert_memory_equal(outputs, expected, output_bytes);
    }
    if (expected != NULL) { /* the strong guarantee: the same call now succeeds, same bytes */
        assert_ok(context, body(context, user));
        assert_memory_equal(outputs, expected, output_bytes);
    }
    (void)live;
    nf_context_free(context);
    if (allocator.live != 0) {
        fail_msg("allocation %zu failed: %zu blocks leaked", fail_at, allocator.live);
    }
    return status;
}

size_t test_fail_every_allocation(int threads, test_body_fn body, void *user, void *outputs,
                                  size_t output_bytes) {
    size_t calls = 0;
    char *expected = malloc(output_bytes + 1);
    assert_non_null(expected);
    assert_int_equal(run(threads, body, user, 0, 0, outputs, output_bytes, NULL, &calls), NF_OK);
    memcpy(expected, outputs, output_bytes);
    for (size_t k = 1; k <= calls; k++) {
        (void)run(threads, body, user, k, 0, outputs, output_bytes, expected, NULL);
        (void)run(threads, body, user, k, 1, outputs, output_bytes, expected, NULL);
    }
    free(expected);
    return calls;
}
