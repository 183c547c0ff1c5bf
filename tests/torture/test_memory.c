/* N = 50,000 rows of 64 float32 columns: the loss with its gradient stays under 200 MB of resident
 * memory, and what it takes beyond inputs and outputs is 8 n d bytes and a fixed scratch. The full
 * problem takes a while and runs with NF_TEST_LONG=1; otherwise the same is asserted of what the
 * allocator is asked for, on a problem cut short. */
#include <sys/wait.h>
#include <unistd.h>

#include "probe.h"
#include "support.h"

enum { N = 50000, D = 64 };

/* Peak resident size of this process in bytes; 0 where the system does not tell it. */
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

#if defined(__linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define RESIDENT_MEMORY_IS_OURS 1

/* Separated classes, whose tiles are skipped: a process of its own, so that its peak is this call's. */
static size_t peak_of_call(size_t n) {
    float *x = malloc(n * D * 4), *gradient = malloc(n * D * 4); /* not touched before the call */
    int64_t *label = malloc(n * sizeof *label);
    for (size_t r = 0; r < n; r++) {
        label[r] = (int64_t)(r % 10);
        for (size_t k = 0; k < D; k++) x[r * D + k] = (float)(k == r % 10 ? 3 : 0);
    }
    const size_t before = peak_resident();
    nf_context *context = test_context(2);
    nf_loss loss = nf_loss_weston();
    nf_loss_result result;
    assert_ok(context,
              nf_loss_batch(context, &loss, nf_matrix_f32(x, n, D), (nf_labels){label, n, 0},
                            &result, nf_matrix_out_f32(gradient, n, D)));
    const size_t peak = peak_resident();
    nf_context_free(context);
    free(x);
    free(gradient);
    free(label);
    return peak - before;
}
#endif

/* Sums in double take 8 n d bytes; the gradient's own 4 n d come when half of them has gone. */
static void sums_make_room_for_the_gradient(void **state) {
    (void)state;
#if !defined(RESIDENT_MEMORY_IS_OURS)
    skip(); /* a sanitizer keeps pages of its own */
#else
    if (peak_resident() == 0) skip();
    const size_t n = 200000;
    int ends[2], status;
    size_t grown = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        grown = peak_of_call(n);
        _exit(write(ends[1], &grown, sizeof grown) == sizeof grown ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(read(ends[0], &grown, sizeof grown), sizeof grown);
    close(ends[0]);
    close(ends[1]);
    assert_true(grown > 8 * n * D);
    assert_true(grown < 8 * n * D + 150 * n + 16000000);
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_matrix_of_pairs_never_exists),
                                       cmocka_unit_test(sums_make_room_for_the_gradient)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
