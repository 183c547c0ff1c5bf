/* Allocation, scratch, scopes, the context's reserve, and contexts when memory runs out. */
#include "support.h"

#include "base/base.h"

static nf_context *counted_context(test_allocator *allocator) {
    test_allocator_init(allocator);
    nf_context_options options = {.allocator = &allocator->hooks, .threads = 1};
    nf_context *context;
    assert_int_equal(nf_context_create(&context, &options, NULL), NF_OK);
    return context;
}

static void assert_usable(const void *block, size_t bytes) {
    assert_non_null(block);
    assert_int_equal((uintptr_t)block % NF_ALIGNMENT, 0);
    memset((void *)(uintptr_t)block, 0x5A, bytes);
}

static void blocks_are_aligned_and_returned(void **state) {
    (void)state;
    test_allocator allocator;
    nf_context *context = counted_context(&allocator);
    for (size_t bytes = 0; bytes < 300; bytes += 7) {
        void *block, *zeroed;
        assert_ok(context, nf_allocate(context, &block, bytes, 1, "block"));
        assert_usable(block, bytes);
        assert_ok(context, nf_allocate_zeroed(context, &zeroed, bytes, 1, "zeroed"));
        for (size_t k = 0; k < bytes; k++) assert_int_equal(((char *)zeroed)[k], 0);
        nf_release(context, block);
        nf_release(context, zeroed);
    }
    nf_release(context, NULL);
    nf_context_free(context);
    assert_int_equal(allocator.live, 0);
}

static void sizes_that_overflow_are_refused(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    void *block;
    assert_fails(context, nf_allocate(context, &block, SIZE_MAX, 8, "thing"), NF_ERR_RANGE,
                 "thing");
    assert_fails(context, nf_allocate(context, &block, SIZE_MAX / 2, 1, "half"), NF_ERR_RANGE,
                 "half");
    nf_scope scope = nf_scope_enter(context);
    nf_status status = nf_scratch(context, &block, SIZE_MAX / 4, 8, "scratch thing");
    status = nf_scope_leave(context, scope, status);
    assert_int_equal(status, NF_ERR_RANGE);
    scope = nf_scope_enter(context);
    status = nf_scratch(context, &block, SIZE_MAX - 3, 1, "edge");
    assert_int_equal(nf_scope_leave(context, scope, status), NF_ERR_RANGE);
    nf_context_free(context);
}

static void scratch_ends_with_its_scope(void **state) {
    (void)state;
    test_allocator allocator;
    nf_context *context = counted_context(&allocator);
    size_t before = allocator.live;
    nf_scope outer = nf_scope_enter(context);
    void *a, *b;
    assert_ok(context, nf_scratch(context, &a, 100, 1, "a"));
    assert_usable(a, 100);
    nf_scope inner = nf_scope_enter(context);
    for (size_t k = 0; k < 20; k++) {
        assert_ok(context, nf_scratch(context, &b, k, 8, "b"));
        assert_usable(b, 8 * k); /* a zero-sized request gives a valid pointer too */
    }
    assert_int_equal(nf_scope_leave(context, inner, NF_ERR_DATA), NF_ERR_DATA);
    assert_int_equal(allocator.live, before + 1);
    assert_int_equal(((unsigned char *)a)[99], 0x5A);
    assert_int_equal(nf_scope_leave(context, outer, NF_OK), NF_OK);
    assert_int_equal(allocator.live, before);
    nf_context_free(context);
}

static void reserve_serves_scratch(void **state) {
    (void)state;
    test_allocator allocator;
    nf_context *context = counted_context(&allocator);
    assert_ok(context, nf_context_reserve(context, 1000));
    size_t calls = allocator.calls;
    for (int round = 0; round < 3; round++) {
        nf_scope scope = nf_scope_enter(context);
        unsigned char *a, *b, *c;
        assert_ok(context, nf_scratch(context, &a, 500, 1, "a"));
        assert_ok(context, nf_scratch(context, &b, 400, 1, "b"));
        assert_usable(a, 500);
        assert_usable(b, 400);
        assert_true(a + 500 <= b || b + 400 <= a);
        assert_int_equal(allocator.calls, calls);
        assert_ok(context, nf_scratch(context, &c, 400, 1, "does not fit"));
        assert_usable(c, 400);
        assert_int_equal(allocator.calls, ++calls);
        assert_int_equal(nf_scope_leave(context, scope, NF_OK), NF_OK);
    }
    assert_ok(context, nf_context_reserve(context, 0));
    assert_int_equal(allocator.live, 1); /* the context itself */
    nf_context_free(context);
    assert_int_equal(allocator.live, 0);
}

static void a_failed_reserve_keeps_the_old(void **state) {
    (void)state;
    test_allocator allocator;
    nf_context *context = counted_context(&allocator);
    assert_ok(context, nf_context_reserve(context, 640));
    allocator.fail_at = allocator.calls + 1;
    assert_fails(context, nf_context_reserve(context, 100000), NF_ERR_NOMEM, "100000");
    allocator.fail_at = 0;
    size_t calls = allocator.calls;
    nf_scope scope = nf_scope_enter(context);
    void *a;
    assert_ok(context, nf_scratch(context, &a, 640, 1, "a"));
    assert_int_equal(allocator.calls, calls);
    assert_int_equal(nf_scope_leave(context, scope, NF_OK), NF_OK);
    nf_context_free(context);
    assert_int_equal(allocator.live, 0);
}

static void a_context_that_cannot_be_made_leaves_nothing(void **state) {
    (void)state;
    test_allocator allocator;
    test_allocator_init(&allocator);
    nf_context_options options = {.allocator = &allocator.hooks};
    for (size_t k = 1;; k++) {
        nf_context *context = (nf_context *)(uintptr_t)1;
        nf_error error = {NF_OK, ""};
        allocator.calls = 0;
        allocator.fail_at = k;
        nf_status status = nf_context_create(&context, &options, &error);
        if (status == NF_OK) {
            assert_true(k > 1);
            nf_context_free(context);
            break;
        }
        assert_int_equal(status, NF_ERR_NOMEM);
        assert_int_equal(error.status, NF_ERR_NOMEM);
        assert_null(context);
        assert_int_equal(allocator.live, 0);
        assert_true(strlen(error.message) > 0);
        allocator.fail_at = 0;
    }
    assert_int_equal(allocator.live, 0);
}

static nf_status reserve_body(nf_context *context, void *user) {
    nf_status status = nf_context_reserve(context, 4096);
    if (status == NF_OK) memset(user, 1, 1);
    return status;
}

static void reserve_survives_every_failed_allocation(void **state) {
    (void)state;
    char done;
    assert_true(test_fail_every_allocation(1, reserve_body, &done, &done, 1) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_are_aligned_and_returned),
        cmocka_unit_test(sizes_that_overflow_are_refused),
        cmocka_unit_test(scratch_ends_with_its_scope),
        cmocka_unit_test(reserve_serves_scratch),
        cmocka_unit_test(a_failed_reserve_keeps_the_old),
        cmocka_unit_test(a_context_that_cannot_be_made_leaves_nothing),
        cmocka_unit_test(reserve_survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
