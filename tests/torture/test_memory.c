/* N = 50,000 rows of 64 float32 columns: the loss with its gradient stays under 200 MB of resident
 * memory, and what it takes beyond inputs and outputs is 8 n d bytes and a fixed scratch. The full
 * problem takes a while and runs with NF_TEST_LONG=1; otherwise the same is asserted of what the
 * allocator is asked for, on a problem cut short. */
#include "probe.h"
#include "support.h"

enum { N = 50000, D = 64 };

/* Peak resident size of this process in bytes. */
static size_t peak_resident(void) {
    size_t kilobytes = 0;
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0) kilobytes = strtoul(line + 6, NULL, 10);
    }
    if (file != NULL) fclose(file);
    return kilobytes * 1024;
}

static int stop_after(void *user, uint64_t done, uint64_t total) {
    (void)done;
    (void)total;
    return --*(int *)user < 0;
}

static void the_matrix_of_pairs_never_exists(void **state) {
    (void)state;
    float *x = malloc((size_t)N * D * 4), *gradient = malloc((size_t)N * D * 4);
    int64_t *label = malloc(N * sizeof *label);
    test_random_f32(1, x, (size_t)N * D, -0.5, 0.5);
    test_random_labels(1, label, N, 0, 9);
    memset(gradient, 1, (size_t)N * D * 4);

    test_allocator allocator;
    test_allocator_init(&allocator);
    int left = 10;
    nf_context_options options = {.allocator = &allocator.hooks,
                                  .threads = 2,
                                  .progress = probe_long() ? NULL : stop_after,
                                  .progress_user = &left};
    nf_context *context;
    nf_loss loss = nf_loss_weston();
    loss.neg_margin = 3;
    nf_loss_result r;
    assert_int_equal(nf_context_create(&context, &options, NULL), NF_OK);
    double start = probe_seconds();
    nf_status status =
        nf_loss_batch(context, &loss, nf_matrix_f32(x, N, D), (nf_labels){label, N, 1}, &r,
                      nf_matrix_out_f32(gradient, N, D));
    double taken = probe_seconds() - start;
    if (probe_long()) {
        assert_ok(context, status);
        assert_int_equal(r.positive_pairs + r.negative_pairs, (uint64_t)N * (N - 1) / 2);
        print_message(
            "n = %d, d = %d with gradient: %.2f s on 2 threads, %.1f MB resident at most\n", N, D,
            taken, (double)peak_resident() / 1e6);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        assert_true(peak_resident() < 200000000);
#endif
    } else {
        assert_true(status == NF_ERR_CANCELLED || status == NF_OK);
    }
    /* Gradient sums, O(n) for classes and order, scratch per thread. */
    assert_true(allocator.peak_bytes < (size_t)8 * N * D + (size_t)200 * N + 2 * 4000000);
    nf_context_free(context);
    assert_int_equal(allocator.live, 0);
    free(x);
    free(gradient);
    free(label);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_matrix_of_pairs_never_exists)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
