/* Contexts: options, environment, errors, and the argument checks every call goes through. */
#include "support.h"

#include <math.h>

#include "base/base.h"
#include "base/cpu.h"

static nf_status create(int threads, nf_isa isa, nf_error *error) {
    nf_context_options options = {.threads = threads, .isa = isa};
    nf_context *context;
    nf_status status = nf_context_create(&context, &options, error);
    assert_int_equal(status != NF_OK, context == NULL);
    assert_int_equal(error->status, status);
    nf_context_free(context);
    return status;
}

static void assert_create_fails(int threads, nf_isa isa, nf_status expected, const char *text) {
    nf_error error;
    assert_int_equal(create(threads, isa, &error), expected);
    test_assert_contains(error.message, text, __FILE__, __LINE__);
}

static void options_are_checked(void **state) {
    (void)state;
    assert_create_fails(-1, NF_ISA_AUTO, NF_ERR_ARG, "-1");
    assert_create_fails(1025, NF_ISA_AUTO, NF_ERR_ARG, "1025");
    assert_create_fails(1, (nf_isa)77, NF_ERR_ARG, "77");
    for (nf_isa isa = NF_ISA_SCALAR; isa <= NF_ISA_NEON; isa++) {
        nf_error error;
        nf_status status = create(1024, isa, &error);
        assert_int_equal(status, nf_cpu_supports(isa) ? NF_OK : NF_ERR_UNSUPPORTED);
        if (status != NF_OK)
            test_assert_contains(error.message, nf_isa_name(isa), __FILE__, __LINE__);
    }
    nf_context *context;
    assert_int_equal(nf_context_create(&context, NULL, NULL), NF_OK);
    assert_true(nf_context_threads(context) >= 1);
    assert_string_equal(nf_context_isa(context), nf_isa_name(nf_cpu_best()));
    assert_int_equal(nf_context_error(context)->status, NF_OK);
    assert_string_equal(nf_context_error(context)->message, "");
    nf_context_free(context);
    nf_context_free(NULL);
}

static void the_environment_is_checked(void **state) {
    (void)state;
    const char *bad_threads[] = {
        "0", "-1", "abc", "10000000000", "1.5", "4x", "99999999999999999999"};
    for (size_t k = 0; k < sizeof bad_threads / sizeof *bad_threads; k++) {
        setenv("NF_NUM_THREADS", bad_threads[k], 1);
        assert_create_fails(0, NF_ISA_AUTO, NF_ERR_ARG, "NF_NUM_THREADS");
        nf_error error;
        assert_int_equal(create(2, NF_ISA_AUTO, &error), NF_OK); /* an option wins */
    }
    setenv("NF_NUM_THREADS", "3", 1);
    nf_context *context = test_context(0);
    assert_int_equal(nf_context_threads(context), 3);
    nf_context_free(context);
    setenv("NF_NUM_THREADS", "", 1); /* empty counts as unset */
    nf_error error;
    assert_int_equal(create(0, NF_ISA_AUTO, &error), NF_OK);
    unsetenv("NF_NUM_THREADS");

    setenv("NF_ISA", "sse9", 1);
    assert_create_fails(0, NF_ISA_AUTO, NF_ERR_ARG, "sse9");
    setenv("NF_ISA", "scalar", 1);
    context = test_context(1);
    assert_string_equal(nf_context_isa(context), "scalar");
    nf_context_free(context);
#if defined(__x86_64__)
    setenv("NF_ISA", "neon", 1);
    assert_create_fails(0, NF_ISA_AUTO, NF_ERR_UNSUPPORTED, "neon");
#endif
    unsetenv("NF_ISA");
}

static void every_status_has_words(void **state) {
    (void)state;
    for (int status = NF_OK; status <= NF_ERR_CALLBACK; status++) {
        assert_true(strncmp(nf_status_name((nf_status)status), "NF_", 3) == 0);
        assert_true(strlen(nf_status_text((nf_status)status)) > 3);
    }
    assert_string_equal(nf_status_name((nf_status)1234), "NF_ERR_UNKNOWN");
    assert_string_equal(nf_status_name(NF_OK), "NF_OK");
    assert_non_null(nf_status_text((nf_status)-7));
    assert_string_equal(nf_version(), NF_VERSION_STRING);
    assert_int_equal(nf_type_size(NF_FLOAT32), 4);
    assert_int_equal(nf_type_size(NF_FLOAT64), 8);
    assert_int_equal(nf_type_size((nf_type)9), 0);
}

static void views_are_checked(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    float data[12] = {0};
    assert_ok(context, nf_check_matrix(context, nf_matrix_f32(data, 3, 4), "x"));
    assert_ok(context, nf_check_matrix(context, nf_matrix_f32(NULL, 0, 4), "x"));
    assert_ok(context, nf_check_matrix(context, nf_matrix_f32(NULL, 3, 0), "x"));
    assert_fails(context, nf_check_matrix(context, nf_matrix_f32(NULL, 3, 4), "x"), NF_ERR_ARG,
                 "x");
    nf_matrix x = nf_matrix_f32(data, 3, 4);
    x.ld = 3;
    assert_fails(context, nf_check_matrix(context, x, "left"), NF_ERR_ARG, "left");
    x.ld = SIZE_MAX / 2;
    assert_fails(context, nf_check_matrix(context, x, "left"), NF_ERR_RANGE, "left");
    x = nf_matrix_f32(data, 3, 4);
    x.type = (nf_type)5;
    assert_fails(context, nf_check_matrix(context, x, "x"), NF_ERR_ARG, "5");
    nf_matrix_out out = nf_matrix_out_f32(data, 3, 4);
    assert_ok(context, nf_check_out(context, out, "out", 3, 4, NF_FLOAT32));
    assert_fails(context, nf_check_out(context, out, "out", 4, 3, NF_FLOAT32), NF_ERR_ARG, "4 x 3");
    assert_fails(context, nf_check_out(context, out, "out", 3, 4, NF_FLOAT64), NF_ERR_ARG,
                 "float64");
    nf_context_free(context);
}

static void overlap_is_refused_to_the_element(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    float data[40] = {0};
    for (size_t at = 0; at <= 28; at++) { /* x is data[12 .. 24) */
        nf_matrix_out out = nf_matrix_out_f32(data + at, 3, 4);
        nf_status status =
            nf_check_overlap(context, out, "gradient", nf_matrix_f32(data + 12, 3, 4), "x");
        assert_int_equal(status, at > 0 && at < 24 ? NF_ERR_ARG : NF_OK);
    }
    /* The gap after the last row belongs to nobody. */
    nf_matrix x = {data, NF_FLOAT32, 2, 3, 10};
    assert_ok(context,
              nf_check_overlap(context, nf_matrix_out_f32(data + 13, 1, 4), "out", x, "x"));
    assert_ok(context, nf_check_overlap(context, (nf_matrix_out){0}, "out", x, "x"));
    /* No columns, no elements. */
    nf_matrix_out empty = {data, NF_FLOAT32, 4, 0, 10};
    assert_ok(context, nf_check_overlap(context, empty, "out", nf_matrix_f32(data + 5, 3, 4), "x"));
    nf_context_free(context);
}

static void nonfinite_values_are_found(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const double bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (size_t cols = 1; cols < 40; cols += 3) {
        size_t ld = cols + 2;
        double wide[5 * 42];
        float narrow[5 * 42];
        for (size_t at = 0; at<5 * cols; at += cols> 8 ? 3 : 1) {
            for (size_t k = 0; k < 5 * 42; k++) wide[k] = 1e300, narrow[k] = -3e38f;
            /* The gap between rows may hold anything. */
            for (size_t r = 0; r < 5; r++) wide[r * ld + cols] = narrow[r * ld + cols] = NAN;
            nf_matrix x = {wide, NF_FLOAT64, 5, cols, ld}, y = {narrow, NF_FLOAT32, 5, cols, ld};
            assert_ok(context, nf_check_finite(context, x, "x"));
            assert_ok(context, nf_check_finite(context, y, "y"));
            size_t r = at / cols, c = at % cols;
            wide[r * ld + c] = bad[at % 4];
            narrow[r * ld + c] = (float)bad[(at + 1) % 4];
            char place[64];
            snprintf(place, sizeof place, "row %zu, column %zu", r, c);
            assert_fails(context, nf_check_finite(context, x, "x"), NF_ERR_DATA, place);
            assert_fails(context, nf_check_finite(context, y, "y"), NF_ERR_DATA, place);
            wide[4 * ld + cols - 1] = NAN;
            size_t count = at == 5 * cols - 1 ? 1 : 2;
            snprintf(place, sizeof place, "%zu NaN or infinite", count);
            assert_fails(context, nf_check_finite(context, x, "x"), NF_ERR_DATA, place);
        }
    }
    assert_ok(context, nf_check_finite(context, nf_matrix_f32(NULL, 5, 0), "x"));
    assert_ok(context, nf_check_finite(context, nf_matrix_f64(NULL, 0, 5), "x"));
    nf_context_free(context);
}

static void long_messages_are_cut(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    char text[2 * NF_MESSAGE_SIZE];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    assert_int_equal(nf_fail(context, NF_ERR_DATA, "%s", text), NF_ERR_DATA);
    assert_int_equal(strlen(nf_context_error(context)->message), NF_MESSAGE_SIZE - 1);
    nf_context_free(context);
}

int main(void) {
    unsetenv("NF_NUM_THREADS");
    unsetenv("NF_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(the_environment_is_checked),
        cmocka_unit_test(every_status_has_words),
        cmocka_unit_test(views_are_checked),
        cmocka_unit_test(overlap_is_refused_to_the_element),
        cmocka_unit_test(nonfinite_values_are_found),
        cmocka_unit_test(long_messages_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
