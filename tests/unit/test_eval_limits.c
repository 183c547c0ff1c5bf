/* Evaluation: arguments, progress and bounded memory. */
#include "support.h"

#include <math.h>

#include "nearfar/eval.h"

static void bad_arguments_are_named(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    float x[4] = {0, 1, 2, 3}, big[2] = {-3e38f, 3e38f};
    int64_t labels[4] = {0, 1, 0, 1}, binary[4] = {-1, 1, -1, 1}, ids[4] = {0, 1, 2, 3};
    nf_matrix m = nf_matrix_f32(x, 4, 1);
    nf_labels l = {labels, 4, 1}, b = {binary, 4, 1};
    nf_eval_result r, untouched;
    memset(&r, 0x55, sizeof r);
    untouched = r;
    nf_eval_options options = nf_eval_defaults();
    assert_fails(context, nf_eval(context, NULL, m, (nf_labels){labels, 3, 1}, &r), NF_ERR_ARG,
                 "labels has 3 values");
    assert_fails(context, nf_eval(context, NULL, m, (nf_labels){NULL, 4, 1}, &r), NF_ERR_ARG,
                 "labels");
    assert_fails(context, nf_eval(context, NULL, m, b, &r), NF_ERR_DATA, "has_unlabelled");
    assert_fails(context, nf_eval_reference(context, NULL, m, l, NULL, m, b, NULL, &r), NF_ERR_DATA,
                 "reference_labels");
    assert_fails(context, nf_eval_reference(context, NULL, m, l, ids, m, l, NULL, &r), NF_ERR_ARG,
                 "reference_ids is NULL");
    assert_fails(context,
                 nf_eval_reference(context, NULL, m, l, NULL, nf_matrix_f32(x, 4, 0), l, NULL, &r),
                 NF_ERR_ARG, "columns");
    options.k_count = NF_EVAL_MAX_K + 1;
    assert_fails(context, nf_eval(context, &options, m, l, &r), NF_ERR_ARG, "k_count");
    options = nf_eval_defaults();
    options.k[1] = 0;
    assert_fails(context, nf_eval(context, &options, m, l, &r), NF_ERR_ARG, "k[1] is 0");
    options = nf_eval_defaults();
    options.knn_k = 0;
    assert_fails(context, nf_eval(context, &options, m, l, &r), NF_ERR_ARG, "knn_k");
    options = nf_eval_defaults();
    options.distance.metric = (nf_metric)-1;
    assert_fails(context, nf_eval(context, &options, m, l, &r), NF_ERR_ARG, "metric");
    assert_fails(context,
                 nf_eval(context, NULL, nf_matrix_f32(big, 2, 1), (nf_labels){labels, 2, 1}, &r),
                 NF_ERR_RANGE, "float32");
    x[2] = NAN;
    assert_fails(context, nf_eval(context, NULL, m, l, &r), NF_ERR_DATA, "x has 1 NaN");
    assert_memory_equal(&r, &untouched, sizeof r);
    nf_context_free(context);
}

typedef struct progress_log {
    uint64_t calls, stop_after, last_done, last_total;
} progress_log;

static int log_progress(void *user, uint64_t done, uint64_t total) {
    progress_log *log = user;
    assert_true(done <= total && done >= log->last_done);
    log->last_done = done;
    log->last_total = total;
    return ++log->calls == log->stop_after;
}

static void progress_is_reported_and_cancels(void **state) {
    (void)state;
    size_t n = 6000, cols = 8;
    float *x = malloc(n * cols * sizeof *x);
    int64_t *labels = malloc(n * sizeof *labels);
    test_random_f32(1, x, n * cols, 0, 1);
    test_random_labels(1, labels, n, 0, 9);
    nf_eval_result r, untouched;
    memset(&r, 0x55, sizeof r);
    untouched = r;
    nf_context *context = test_context(2);
    progress_log log = {.stop_after = 2};
    nf_context_set_progress(context, log_progress, &log);
    nf_matrix m = nf_matrix_f32(x, n, cols);
    assert_fails(context, nf_eval(context, NULL, m, (nf_labels){labels, n, 1}, &r),
                 NF_ERR_CANCELLED, "cancelled");
    assert_memory_equal(&r, &untouched, sizeof r);
    log = (progress_log){0};
    assert_ok(context, nf_eval(context, NULL, m, (nf_labels){labels, n, 1}, &r));
    assert_true(log.calls > 2 && log.last_done > log.last_total / 2);
    nf_context_free(context);
    free(x), free(labels);
}

/* 10,000 rows: the matrix would be 400 MB. */
static void memory_is_bounded(void **state) {
    (void)state;
    size_t n = 10000, cols = 4;
    float *x = malloc(n * cols * sizeof *x);
    int64_t *labels = malloc(n * sizeof *labels);
    test_random_f32(1, x, n * cols, 0, 1);
    test_random_labels(1, labels, n, 0, 9);
    test_allocator allocator;
    test_allocator_init(&allocator);
    nf_context_options options = {.allocator = &allocator.hooks, .threads = 2};
    nf_context *context;
    assert_int_equal(nf_context_create(&context, &options, NULL), NF_OK);
    nf_eval_result r;
    assert_ok(context,
              nf_eval(context, NULL, nf_matrix_f32(x, n, cols), (nf_labels){labels, n, 1}, &r));
    nf_context_free(context);
    assert_true(allocator.peak_bytes < (size_t)100 << 20);
    assert_true(r.positive_pairs + r.negative_pairs == n * (n - 1) / 2);
    free(x), free(labels);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_arguments_are_named),
        cmocka_unit_test(progress_is_reported_and_cancels),
        cmocka_unit_test(memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
