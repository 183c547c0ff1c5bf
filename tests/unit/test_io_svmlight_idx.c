/* svmlight and IDX. */
#include "io_test.h"

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

static nf_status svm(const void *text, size_t size, size_t max_elements, nf_table **table) {
    void *copy = exact_copy(text, size);
    nf_status status = nf_svmlight_parse(ctx, copy, size, max_elements, table);
    free(copy);
    return status;
}

static void refuse_svm(const void *text, size_t size, nf_status status, const char *message) {
    nf_table *table = NULL;
    assert_fails(ctx, svm(text, size, 1 << 20, &table), status, message);
    assert_null(table);
}

static void svmlight_becomes_dense(void **state) {
    (void)state;
    static const double values[12] = {0.5, 0, 2, 0, 1e-3, 0, 0, 0, 0, 0, 0, -7};
    static const int64_t labels[4] = {1, -1, 1, 2};
    static const char *const texts[] = {
        "1 1:0.5 3:2\n-1 2:1e-3\n+1\n2 3:-7\n",
        "1 1:0.5 3:2 # comment 9:9\r\n\r\n# only a comment\n  -1\t2:.001 \n1# none\n2.0 3:-7"};
    for (int k = 0; k < 2; k++) {
        nf_table *table = NULL;
        assert_ok(ctx, svm(texts[k], strlen(texts[k]), 12, &table));
        assert_int_equal(table->x->shape[0], 4);
        assert_int_equal(table->x->shape[1], 3);
        assert_memory_equal(table->x->data, values, sizeof values);
        assert_memory_equal(table->labels->data, labels, sizeof labels);
        assert_true(table->has_unlabelled); /* the -1 */
        nf_table_free(ctx, table);
    }
    nf_table *table = NULL;
    assert_ok(ctx, svm(BYTES("cat 1:1\ndog 1:2\n? 1:3\n"), 0, &table));
    assert_int_equal(table->classes, 2);
    assert_int_equal(((int64_t *)table->labels->data)[2], -1);
    nf_table_free(ctx, table);
}

static void svmlight_refuses(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {{"1 0:1\n", "line 1: '0:1' is index 0: indices start at 1"},
               {"1 -1:1\n", "whole number from 1"},
               {"1 2:1 1:1\n", "must ascend"},
               {"1 2:1 2:1\n", "must ascend"},
               {"1 9223372036854775808:1\n", "whole number from 1 to 2^32"},
               {"1 18446744073709551616:1\n", "whole number from 1 to 2^32"},
               {"1 1:2\n1 1:\n", "line 2: '1:' is without a value"},
               {"1 :1\n", "':1' is no feature"},
               {"1 1:nan\n", "not finite"},
               {"1 1:inf\n", "not finite"},
               {"1 1:0x1\n", "hexadecimal"},
               {"1 1:0,5\n", "decimal comma"},
               {"1 1:x\n", "not a number"},
               {"1 1:2:3\n", "not a number"},
               {"1 qid:3 1:1\n", "query id"},
               {"# nothing\n", "no feature"},
               {"1\n2\n", "2 rows and no feature"},
               {"1,2 1:1\n", "list of labels"},
               {"1.5 1:1\n", "label '1.5' is not a whole number"},
               {"1:1 2:2\n", "a feature where a label must be"},
               {"1 7\n", "expected index:value"},
               {"1 1:1\r2 1:1\n", "lone carriage return"},
               {"", "no feature"}};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        refuse_svm(bad[k].text, strlen(bad[k].text), NF_ERR_DATA, bad[k].message);
    }
    refuse_svm(BYTES("1 1:\0001\n"), NF_ERR_DATA, "NUL byte");
    refuse_svm(BYTES("1 2147483648:1\n"), NF_ERR_RANGE, "exceed the limit of 1048576");
    nf_table *table = NULL; /* the default limit, too */
    assert_fails(ctx, svm(BYTES("1 2147483648:1\n"), 0, &table), NF_ERR_RANGE, "268435456");
    assert_fails(ctx, svm(BYTES("1 4:1\n2 1:1\n"), 7, &table), NF_ERR_RANGE, "limit of 7");
}

static nf_status idx(const void *bytes, size_t size, nf_array **array) {
    void *copy = exact_copy(bytes, size);
    nf_status status = nf_idx_parse(ctx, copy, size, array);
    free(copy);
    return status;
}

static void refuse_idx(const void *bytes, size_t size, const char *message) {
    nf_array *array = NULL;
    assert_fails(ctx, idx(bytes, size, &array), NF_ERR_DATA, message);
    assert_null(array);
}

static void idx_of_every_type(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        nf_dtype dtype;
        double value;
    } cases[] = {{BYTES("\0\0\x08\1\0\0\0\1\xff"), NF_DTYPE_U8, 255},
                 {BYTES("\0\0\x09\1\0\0\0\1\xff"), NF_DTYPE_I8, -1},
                 {BYTES("\0\0\x0b\1\0\0\0\1\x01\x02"), NF_DTYPE_I16, 258},
                 {BYTES("\0\0\x0c\1\0\0\0\1\xff\xff\xff\xfe"), NF_DTYPE_I32, -2},
                 {BYTES("\0\0\x0d\1\0\0\0\1\x3f\xc0\0\0"), NF_DTYPE_F32, 1.5},
                 {BYTES("\0\0\x0e\1\0\0\0\1\xc0\x04\0\0\0\0\0\0"), NF_DTYPE_F64, -2.5}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        nf_array *array = NULL, *values = NULL;
        assert_ok(ctx, idx(cases[k].bytes, cases[k].size, &array));
        assert_int_equal(array->dtype, cases[k].dtype);
        assert_ok(ctx, nf_array_to_f64(ctx, array, "x", &values));
        assert_true(((double *)values->data)[0] == cases[k].value);
        nf_array_free(ctx, values);
        nf_array_free(ctx, array);
    }
    nf_array *array = NULL, *matrix = NULL;
    assert_ok(ctx, idx(BYTES("\0\0\x08\3\0\0\0\2\0\0\0\2\0\0\0\1abcd"), &array));
    assert_ok(ctx, nf_array_to_matrix(ctx, array, "images", &matrix));
    assert_int_equal(matrix->shape[0], 2); /* images become rows */
    assert_int_equal(matrix->shape[1], 2);
    nf_array_free(ctx, matrix);
    nf_array_free(ctx, array);
}

static void idx_refuses(void **state) {
    (void)state;
    char deep[4 + 4 * 255 + 1] = {0};
    refuse_idx(BYTES("\0\0\x07\1\0\0\0\1x"), "type 0x07");
    refuse_idx(BYTES("\0\0\xff\1\0\0\0\1x"), "type 0xFF");
    refuse_idx(BYTES("\0\0\x0a\1\0\0\0\1x"), "type 0x0A");
    refuse_idx(BYTES("\0\0\x08\0x"), "has 0 dimensions");
    deep[2] = 8, deep[3] = (char)255;
    refuse_idx(deep, sizeof deep, "has 255 dimensions");
    refuse_idx(BYTES("\0\0\x0e\3\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
                     "12345678"),
               "does not match its 8 bytes");
    refuse_idx(BYTES("\0\0\x08\2\0\0\0\0\xff\xff\xff\xffx"), "does not match");
    refuse_idx(BYTES("\0\0\x08\1\0\0\0\2x"), "cut off");
    refuse_idx(BYTES("\0\0\x08\1\0\0\0\1xy"), "does not match its 2 bytes");
    refuse_idx(BYTES("\0\0\x08\3\0\0"), "ends within its header");
    refuse_idx(BYTES("\x1f\x8b\x08\0\0\0"), "gzipped: inflate it first");
    refuse_idx(BYTES("P5 3 3"), "must start with two zero bytes");
    refuse_idx(BYTES("\0\0\x08"), "not an IDX file");
    refuse_idx(BYTES(""), "not an IDX file");
    static const char good[] = "\0\0\x0c\2\0\0\0\2\0\0\0\1"
                               "abcdefgh";
    for (size_t cut = 0; cut < sizeof good - 1; cut++) refuse_idx(good, cut, "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(svmlight_becomes_dense),
        cmocka_unit_test(svmlight_refuses),
        cmocka_unit_test(idx_of_every_type),
        cmocka_unit_test(idx_refuses),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
