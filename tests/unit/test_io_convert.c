/* Arrays as matrices, labels, flags, weights, indices: exact, or refused by name and position. */
#include "io_test.h"

#include <math.h>

static nf_context *ctx;

static int setup(void **state) {
    (void)state;
    ctx = test_context(1);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    nf_context_free(ctx);
    return 0;
}

static nf_array view(nf_dtype dtype, size_t n, void *data) {
    return (nf_array){.dtype = dtype, .ndim = 1, .shape = {n}, .count = n, .data = data};
}

static void check_labels(nf_dtype dtype, void *data, size_t n, const int64_t *expected) {
    nf_array array = view(dtype, n, data), *labels = NULL;
    for (int shape = 0; shape < 2; shape++) { /* (n) and (n, 1) */
        array.ndim = shape + 1;
        array.shape[1] = 1;
        assert_ok(ctx, nf_array_to_labels(ctx, &array, "labels", &labels));
        assert_int_equal(labels->dtype, NF_DTYPE_I64);
        assert_int_equal(labels->ndim, 1);
        assert_int_equal(labels->count, n);
        assert_memory_equal(labels->data, expected, n * sizeof *expected);
        nf_array_free(ctx, labels);
    }
}

static void labels_of_every_type_keep_their_value(void **state) {
    (void)state;
    check_labels(NF_DTYPE_BOOL, (uint8_t[]){1, 0, 1}, 3, (int64_t[]){1, 0, 1});
    check_labels(NF_DTYPE_I8, (int8_t[]){-128, 127, -1}, 3, (int64_t[]){-128, 127, -1});
    check_labels(NF_DTYPE_U8, (uint8_t[]){255, 0}, 2, (int64_t[]){255, 0});
    check_labels(NF_DTYPE_I16, (int16_t[]){-32768, 7}, 2, (int64_t[]){-32768, 7});
    check_labels(NF_DTYPE_U16, (uint16_t[]){65535, 352}, 2, (int64_t[]){65535, 352});
    check_labels(NF_DTYPE_I32, (int32_t[]){INT32_MIN, 7}, 2, (int64_t[]){INT32_MIN, 7});
    check_labels(NF_DTYPE_U32, (uint32_t[]){UINT32_MAX, 7}, 2, (int64_t[]){UINT32_MAX, 7});
    check_labels(NF_DTYPE_I64, (int64_t[]){INT64_MIN, INT64_MAX, 1}, 3,
                 (int64_t[]){INT64_MIN, INT64_MAX, 1});
    /* neighbours that float64 cannot tell apart */
    check_labels(NF_DTYPE_I64, (int64_t[]){9007199254740992, 9007199254740993}, 2,
                 (int64_t[]){9007199254740992, 9007199254740993});
    check_labels(NF_DTYPE_U64, (uint64_t[]){9007199254740992, 9007199254740993, INT64_MAX}, 3,
                 (int64_t[]){9007199254740992, 9007199254740993, INT64_MAX});
    check_labels(NF_DTYPE_F16, (uint16_t[]){0x3c00, 0xc000, 0x8000}, 3, (int64_t[]){1, -2, 0});
    check_labels(NF_DTYPE_F32, (float[]){1.0f, -1.0f, -0.0f, 16777216.0f}, 4,
                 (int64_t[]){1, -1, 0, 16777216});
    check_labels(NF_DTYPE_F64, (double[]){1.0, -0.0, 9007199254740992.0, -0x1p63}, 4,
                 (int64_t[]){1, 0, 9007199254740992, INT64_MIN});
    check_labels(NF_DTYPE_I64, (int64_t[]){0}, 0, (int64_t[]){0});
}

static void large_uint64_labels_become_classes(void **state) {
    (void)state;
    uint64_t values[] = {(uint64_t)1 << 63,       UINT64_MAX,        5,
                         ((uint64_t)1 << 63) + 1, (uint64_t)1 << 63, 5};
    check_labels(NF_DTYPE_U64, values, 6, (int64_t[]){0, 1, 2, 3, 0, 2});
}

static void refuse_labels(nf_dtype dtype, void *data, size_t n, const char *message) {
    nf_array array = view(dtype, n, data), *labels = NULL;
    assert_fails(ctx, nf_array_to_labels(ctx, &array, "labels", &labels), NF_ERR_DATA, message);
    assert_null(labels);
}

static void labels_that_are_no_classes_are_refused(void **state) {
    (void)state;
    refuse_labels(NF_DTYPE_F64, (double[]){1, 1.5}, 2, "labels[1] is 1.5");
    refuse_labels(NF_DTYPE_F32, (float[]){NAN, 1}, 2, "labels[0] is NaN");
    refuse_labels(NF_DTYPE_F64, (double[]){1, INFINITY}, 2, "labels[1] is inf");
    refuse_labels(NF_DTYPE_F64, (double[]){0x1p63}, 1, "within int64");
    refuse_labels(NF_DTYPE_F16, (uint16_t[]){0x3800}, 1, "labels[0] is 0.5");
    nf_array array = view(NF_DTYPE_I8, 4, (int8_t[]){1, 2, 3, 4}), *labels = NULL;
    array.ndim = 2, array.shape[0] = 2, array.shape[1] = 2;
    assert_fails(ctx, nf_array_to_labels(ctx, &array, "y", &labels), NF_ERR_DATA,
                 "y has shape (2, 2): it must be (n,) or (n, 1)");
    array.ndim = 0;
    assert_fails(ctx, nf_array_to_labels(ctx, &array, "y", &labels), NF_ERR_DATA, "shape ()");
}

static void check_same(nf_dtype dtype, nf_same_encoding encoding, void *data) {
    static const uint8_t expected[3] = {1, 0, 1};
    nf_array array = view(dtype, 3, data), *same = NULL;
    for (int shape = 0; shape < 2; shape++) {
        array.ndim = shape + 1;
        array.shape[1] = 1;
        assert_ok(ctx, nf_array_to_same(ctx, &array, "same", encoding, &same));
        assert_int_equal(same->dtype, NF_DTYPE_U8);
        assert_int_equal(same->ndim, 1);
        assert_int_equal(same->count, 3);
        assert_memory_equal(same->data, expected, 3);
        nf_array_free(ctx, same);
    }
}

static void same_of_every_type_gives_the_same_bytes(void **state) {
    (void)state;
    check_same(NF_DTYPE_BOOL, NF_SAME_01, (uint8_t[]){1, 0, 1});
    check_same(NF_DTYPE_I8, NF_SAME_01, (int8_t[]){1, 0, 1});
    check_same(NF_DTYPE_U8, NF_SAME_01, (uint8_t[]){1, 0, 1});
    check_same(NF_DTYPE_I16, NF_SAME_01, (int16_t[]){1, 0, 1});
    check_same(NF_DTYPE_U16, NF_SAME_01, (uint16_t[]){1, 0, 1});
    check_same(NF_DTYPE_I32, NF_SAME_01, (int32_t[]){1, 0, 1});
    check_same(NF_DTYPE_U32, NF_SAME_01, (uint32_t[]){1, 0, 1});
    check_same(NF_DTYPE_I64, NF_SAME_01, (int64_t[]){1, 0, 1});
    check_same(NF_DTYPE_U64, NF_SAME_01, (uint64_t[]){1, 0, 1});
    check_same(NF_DTYPE_F16, NF_SAME_01, (uint16_t[]){0x3c00, 0x8000, 0x3c00});
    check_same(NF_DTYPE_F32, NF_SAME_01, (float[]){1, -0.0f, 1});
    check_same(NF_DTYPE_F64, NF_SAME_01, (double[]){1, 0, 1});
    check_same(NF_DTYPE_I8, NF_SAME_PM1, (int8_t[]){1, -1, 1});
    check_same(NF_DTYPE_I64, NF_SAME_PM1, (int64_t[]){1, -1, 1});
    check_same(NF_DTYPE_F32, NF_SAME_PM1, (float[]){1, -1, 1});
}

static void refuse_same(nf_dtype dtype, nf_same_encoding encoding, void *data, const char *text) {
    nf_array array = view(dtype, 2, data), *same = NULL;
    assert_fails(ctx, nf_array_to_same(ctx, &array, "same", encoding, &same), NF_ERR_DATA, text);
    assert_null(same);
}

static void other_flags_are_refused_with_a_hint(void **state) {
    (void)state;
    refuse_same(NF_DTYPE_I8, NF_SAME_01, (int8_t[]){1, -1}, "set same_encoding to pm1");
    refuse_same(NF_DTYPE_F64, NF_SAME_01, (double[]){-1, 1}, "same[0] is -1");
    refuse_same(NF_DTYPE_I8, NF_SAME_01, (int8_t[]){1, 2}, "same[1] is 2: the values must be 1");
    refuse_same(NF_DTYPE_F64, NF_SAME_01, (double[]){0.5, 1}, "same[0] is 0.5");
    refuse_same(NF_DTYPE_F64, NF_SAME_01, (double[]){1, NAN}, "same[1] is nan");
    refuse_same(NF_DTYPE_I8, NF_SAME_PM1, (int8_t[]){1, 0}, "with same_encoding pm1");
    refuse_same(NF_DTYPE_U64, NF_SAME_01, (uint64_t[]){UINT64_MAX, 1}, "same[0]");
    nf_array array = view(NF_DTYPE_I8, 2, (int8_t[]){1, 0}), *same = NULL;
    assert_fails(ctx, nf_array_to_same(ctx, &array, "same", (nf_same_encoding)7, &same), NF_ERR_ARG,
                 "same_encoding is 7");
    array.ndim = 2, array.shape[0] = 1, array.shape[1] = 2;
    assert_fails(ctx, nf_array_to_same(ctx, &array, "same", NF_SAME_01, &same), NF_ERR_DATA,
                 "shape (1, 2)");
}

static void matrices_keep_or_widen_their_type(void **state) {
    (void)state;
    static const struct {
        nf_dtype from, to;
    } cases[] = {
        {NF_DTYPE_BOOL, NF_DTYPE_F32}, {NF_DTYPE_I8, NF_DTYPE_F32},  {NF_DTYPE_U8, NF_DTYPE_F32},
        {NF_DTYPE_I16, NF_DTYPE_F32},  {NF_DTYPE_U16, NF_DTYPE_F32}, {NF_DTYPE_I32, NF_DTYPE_F64},
        {NF_DTYPE_U32, NF_DTYPE_F64},  {NF_DTYPE_I64, NF_DTYPE_F64}, {NF_DTYPE_U64, NF_DTYPE_F64},
        {NF_DTYPE_F16, NF_DTYPE_F32},  {NF_DTYPE_F32, NF_DTYPE_F32}, {NF_DTYPE_F64, NF_DTYPE_F64}};
    static unsigned char zeros[12 * 8];
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        nf_array array = {
            .dtype = cases[k].from, .ndim = 3, .shape = {2, 3, 2}, .count = 12, .data = zeros};
        nf_array *matrix = NULL;
        assert_ok(ctx, nf_array_to_matrix(ctx, &array, "x", &matrix));
        assert_int_equal(matrix->dtype, cases[k].to);
        assert_int_equal(matrix->ndim, 2);
        assert_int_equal(matrix->shape[0], 2);
        assert_int_equal(matrix->shape[1], 6);
        nf_matrix m = nf_array_view(matrix);
        assert_int_equal(m.type, cases[k].to == NF_DTYPE_F32 ? NF_FLOAT32 : NF_FLOAT64);
        assert_int_equal(m.ld, 6);
        nf_array_free(ctx, matrix);
    }
    nf_array line = view(NF_DTYPE_I16, 3, (int16_t[]){1, -2, 3}), *matrix = NULL;
    assert_ok(ctx, nf_array_to_matrix(ctx, &line, "x", &matrix));
    assert_int_equal(matrix->shape[1], 1);
    assert_true(((float *)matrix->data)[1] == -2.0f);
    nf_array_free(ctx, matrix);
    line.ndim = 0;
    assert_fails(ctx, nf_array_to_matrix(ctx, &line, "x", &matrix), NF_ERR_DATA,
                 "x is a single number");
}

/* All 65,536 halves against the definition. */
static void halves_decode_exactly(void **state) {
    (void)state;
    static uint16_t halves[65536];
    for (unsigned k = 0; k < 65536; k++) halves[k] = (uint16_t)k;
    nf_array array = view(NF_DTYPE_F16, 65536, halves), *matrix = NULL;
    assert_ok(ctx, nf_array_to_matrix(ctx, &array, "x", &matrix));
    const float *values = matrix->data;
    for (unsigned k = 0; k < 65536; k++) {
        int exponent = k >> 10 & 31, fraction = k & 1023;
        double magnitude = exponent == 31  ? (fraction != 0 ? (double)NAN : (double)INFINITY)
                           : exponent == 0 ? ldexp(fraction, -24)
                                           : ldexp(1024 + fraction, exponent - 25);
        if (isnan(magnitude))
            assert_true(isnan(values[k]));
        else
            assert_true((double)values[k] == (k >> 15 != 0 ? -magnitude : magnitude));
        assert_int_equal(signbit(values[k]) != 0, k >> 15);
    }
    nf_array_free(ctx, matrix);
}

static void weights_must_be_finite(void **state) {
    (void)state;
    nf_array array = view(NF_DTYPE_F32, 2, (float[]){0.5f, 2}), *values = NULL;
    assert_ok(ctx, nf_array_to_f64(ctx, &array, "weights", &values));
    assert_true(((double *)values->data)[0] == 0.5);
    nf_array_free(ctx, values);
    array.data = (float[]){1, NAN};
    assert_fails(ctx, nf_array_to_f64(ctx, &array, "weights", &values), NF_ERR_DATA,
                 "weights[1] is nan");
    array.ndim = 2, array.shape[0] = 1, array.shape[1] = 2;
    assert_fails(ctx, nf_array_to_f64(ctx, &array, "weights", &values), NF_ERR_DATA, "(1, 2)");
}

static void indices_must_be_integers(void **state) {
    (void)state;
    nf_array array = view(NF_DTYPE_U16, 2, (uint16_t[]){65535, 0}), *values = NULL;
    assert_ok(ctx, nf_array_to_index(ctx, &array, "i", &values));
    assert_int_equal(((int64_t *)values->data)[0], 65535);
    nf_array_free(ctx, values);
    array = view(NF_DTYPE_I64, 2, (int64_t[]){-1, INT64_MAX});
    assert_ok(ctx, nf_array_to_index(ctx, &array, "i", &values));
    assert_true(((int64_t *)values->data)[1] == INT64_MAX);
    nf_array_free(ctx, values);
    array = view(NF_DTYPE_U64, 2, (uint64_t[]){1, (uint64_t)1 << 63});
    assert_fails(ctx, nf_array_to_index(ctx, &array, "i", &values), NF_ERR_DATA,
                 "i[1] is 9223372036854775808");
    array = view(NF_DTYPE_F64, 1, (double[]){1});
    assert_fails(ctx, nf_array_to_index(ctx, &array, "i", &values), NF_ERR_DATA, "astype('int64')");
    array = view(NF_DTYPE_BOOL, 1, (uint8_t[]){1});
    assert_fails(ctx, nf_array_to_index(ctx, &array, "i", &values), NF_ERR_DATA, "type b1");
}

static void dtypes_have_names_and_sizes(void **state) {
    (void)state;
    assert_string_equal(nf_dtype_name(NF_DTYPE_U16), "u2");
    assert_int_equal(nf_dtype_size(NF_DTYPE_U16), 2);
    assert_null(nf_dtype_name((nf_dtype)12));
    assert_int_equal(nf_dtype_size((nf_dtype)12), 0);
    nf_array_free(ctx, NULL);
    nf_bytes_free(ctx, NULL);
    nf_table_free(ctx, NULL);
    nf_pair_file_free(ctx, NULL);
    nf_safetensors_free(ctx, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_of_every_type_keep_their_value),
        cmocka_unit_test(large_uint64_labels_become_classes),
        cmocka_unit_test(labels_that_are_no_classes_are_refused),
        cmocka_unit_test(same_of_every_type_gives_the_same_bytes),
        cmocka_unit_test(other_flags_are_refused_with_a_hint),
        cmocka_unit_test(matrices_keep_or_widen_their_type),
        cmocka_unit_test(halves_decode_exactly),
        cmocka_unit_test(weights_must_be_finite),
        cmocka_unit_test(indices_must_be_integers),
        cmocka_unit_test(dtypes_have_names_and_sizes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
