/* .npy: what NumPy writes is read exactly, everything else is refused with its place. */
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

/* Version 1 file of a header text and data. */
static size_t make(char *out, const char *header, const void *data, size_t size) {
    size_t length = strlen(header);
    memcpy(out, "\x93NUMPY\x01\x00", 8);
    out[8] = (char)(length & 255);
    out[9] = (char)(length >> 8);
    memcpy(out + 10, header, length);
    if (size > 0) memcpy(out + 10 + length, data, size);
    return 10 + length + size;
}

static void refuse(const void *bytes, size_t size, const char *text) {
    void *copy = exact_copy(bytes, size);
    nf_array *array = (nf_array *)0x1;
    assert_fails(ctx, nf_npy_parse(ctx, copy, size, &array), NF_ERR_DATA, text);
    assert_ptr_equal(array, (nf_array *)0x1);
    free(copy);
}

static void refuse_header(const char *header, const char *text) {
    static char file[200000];
    static const char data[64];
    refuse(file, make(file, header, data, 24), text);
}

static nf_array *parse(const char *header, const void *data, size_t size) {
    char file[512];
    size_t total = make(file, header, data, size);
    void *copy = exact_copy(file, total);
    nf_array *array = NULL;
    assert_ok(ctx, nf_npy_parse(ctx, copy, total, &array));
    free(copy);
    return array;
}

static void reads_every_type_and_byte_order(void **state) {
    (void)state;
    /* 1 in each type, little and big endian. */
    static const struct {
        const char *code;
        nf_dtype dtype;
        size_t size;
        unsigned char little[8];
    } types[] = {
        {"b1", NF_DTYPE_BOOL, 1, {1}},
        {"i1", NF_DTYPE_I8, 1, {1}},
        {"u1", NF_DTYPE_U8, 1, {1}},
        {"i2", NF_DTYPE_I16, 2, {1}},
        {"u2", NF_DTYPE_U16, 2, {1}},
        {"i4", NF_DTYPE_I32, 4, {1}},
        {"u4", NF_DTYPE_U32, 4, {1}},
        {"i8", NF_DTYPE_I64, 8, {1}},
        {"u8", NF_DTYPE_U64, 8, {1}},
        {"f2", NF_DTYPE_F16, 2, {0, 0x3c}},
        {"f4", NF_DTYPE_F32, 4, {0, 0, 0x80, 0x3f}},
        {"f8", NF_DTYPE_F64, 8, {0, 0, 0, 0, 0, 0, 0xf0, 0x3f}},
    };
    for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
        for (int big = 0; big < 2; big++) {
            unsigned char data[8];
            char header[128];
            size_t size = types[k].size;
            for (size_t b = 0; b < size; b++) data[b] = types[k].little[big ? size - 1 - b : b];
            snprintf(header, sizeof header,
                     "{'descr': '%c%s', 'fortran_order': False, 'shape': (1,), }\n",
                     big ? '>' : '<', types[k].code);
            nf_array *array = parse(header, data, size);
            assert_int_equal(array->dtype, types[k].dtype);
            assert_int_equal(array->ndim, 1);
            assert_int_equal(array->count, 1);
            nf_array *values = NULL;
            assert_ok(ctx, nf_array_to_f64(ctx, array, "x", &values));
            assert_true(((double *)values->data)[0] == 1.0);
            nf_array_free(ctx, values);
            nf_array_free(ctx, array);
        }
    }
}

static void fortran_order_becomes_c_order(void **state) {
    (void)state;
    /* a[i][j][k] = 100 i + 10 j + k, stored first index fastest */
    int16_t data[2 * 3 * 4];
    size_t at = 0;
    for (int k = 0; k < 4; k++) {
        for (int j = 0; j < 3; j++) {
            for (int i = 0; i < 2; i++) data[at++] = (int16_t)(100 * i + 10 * j + k);
        }
    }
    nf_array *array =
        parse("{'descr': '<i2', 'fortran_order': True, 'shape': (2, 3, 4), }", data, sizeof data);
    const int16_t *values = array->data;
    for (int i = 0; i < 2; i++) {
        for (int j = 0; j < 3; j++) {
            for (int k = 0; k < 4; k++) {
                assert_int_equal(values[(i * 3 + j) * 4 + k], 100 * i + 10 * j + k);
            }
        }
    }
    nf_array_free(ctx, array);
}

static void shapes_scalar_empty_and_deep(void **state) {
    (void)state;
    double one = 1;
    nf_array *array =
        parse("{'descr': '<f8', 'fortran_order': False, 'shape': (), }", &one, sizeof one);
    assert_int_equal(array->ndim, 0);
    assert_int_equal(array->count, 1);
    nf_array_free(ctx, array);

    array = parse("{'descr': '<f8', 'fortran_order': False, 'shape': (0,), }", NULL, 0);
    assert_int_equal(array->count, 0);
    nf_array_free(ctx, array);

    array = parse("{'descr': '<f8', 'fortran_order': True, 'shape': (0, 5), }", NULL, 0);
    assert_int_equal(array->shape[1], 5);
    nf_array_free(ctx, array);

    char header[256] = "{'descr': '<f8', 'fortran_order': True, 'shape': (";
    for (int k = 0; k < 32; k++) strcat(header, "1,");
    strcat(header, ")}");
    array = parse(header, &one, sizeof one);
    assert_int_equal(array->ndim, 32);
    nf_array_free(ctx, array);
}

static void versions_two_and_three(void **state) {
    (void)state;
    static const char header[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n";
    float one = 1;
    for (int version = 2; version <= 3; version++) {
        char file[128] = "\x93NUMPY";
        file[6] = (char)version;
        file[7] = 0;
        uint32_t length = sizeof header - 1;
        memcpy(file + 8, &length, 4);
        memcpy(file + 12, header, length);
        memcpy(file + 12 + length, &one, 4);
        nf_array *array = NULL;
        assert_ok(ctx, nf_npy_parse(ctx, file, 16 + length, &array));
        assert_true(((float *)array->data)[0] == 1.0f);
        nf_array_free(ctx, array);
    }
}

static void refuses_bad_lengths_and_versions(void **state) {
    (void)state;
    char file[256];
    size_t size =
        make(file, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n", "1234", 4);
    static const unsigned char versions[] = {0, 4, 255};
    for (size_t k = 0; k < sizeof versions; k++) {
        file[6] = (char)versions[k];
        refuse(file, size, "version");
    }
    file[6] = 1, file[7] = 1;
    refuse(file, size, "version 1.1");
    file[7] = 0;
    static const unsigned lengths[] = {0, 1, 65535};
    for (size_t k = 0; k < 3; k++) {
        file[8] = (char)(lengths[k] & 255), file[9] = (char)(lengths[k] >> 8);
        refuse(file, size, lengths[k] == 65535 ? "cut off" : "expected");
    }
    file[6] = 2;
    memcpy(file + 8, "\xf0\xff\xff\xff", 4);
    refuse(file, size, "4294967280");
    refuse(BYTES("\x93NUMPY\x02\x00\x00\x00"), "ends within its header");
    refuse(BYTES(""), "not an .npy file");
    refuse(BYTES("NUMPY hello"), "not an .npy file");
}

static void refuses_bad_dictionaries(void **state) {
    (void)state;
    refuse_header("{'descr': '<f4', 'fortran_order': False}", "expected the keys");
    refuse_header("{'descr': '<f4', 'shape': (6,)}", "expected the keys");
    refuse_header("{'fortran_order': False, 'shape': (6,)}", "expected the keys");
    refuse_header("{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (6,)}",
                  "once");
    refuse_header("{'descr': '<f4', 'fortran_order': False, 'shape': (6,), 'more': 1}", "once");
    refuse_header("{'descr: <f4, }", "closing quote");
    refuse_header("{'descr", "closing quote");
    refuse_header("{'descr': '<f4", "closing quote");
    refuse_header("{'de\\scr': '<f4'}", "closing quote");
    refuse_header("{'descr' '<f4'}", "expected ':'");
    refuse_header("{'descr': '<f4' 'fortran_order': False, 'shape': (6,)}", "expected ','");
    refuse_header("{'descr': '<f4', 'fortran_order': False, 'shape': (6,)} x", "after '}'");
    refuse_header("{'descr': '<f4', 'fortran_order': False, 'shape': (6,)", "expected ','");
    refuse_header("{,}", "quoted key");
    refuse_header("[]", "expected '{'");
    refuse_header("((((((((", "expected '{'");
    refuse_header("{'descr': '<f4', 'fortran_order': 1, 'shape': (6,)}", "True or False");
    refuse_header("{'descr': '<f4', 'fortran_order': 'True', 'shape': (6,)}", "True or False");
    refuse_header("{'descr': '<f4', 'fortran_order': true, 'shape': (6,)}", "True or False");
}

static void refuses_other_types(void **state) {
    (void)state;
#define WITH_TYPE(t) "{'descr': " t ", 'fortran_order': False, 'shape': (6,)}"
    refuse_header(WITH_TYPE("'<ixy'"), "'<ixy' is not supported");
    refuse_header(WITH_TYPE("'|O'"), "pickled");
    refuse_header(WITH_TYPE("'O'"), "'O' is not supported");
    refuse_header(WITH_TYPE("'|S999999999'"), "strings");
    refuse_header(WITH_TYPE("'<U3'"), "strings");
    refuse_header(WITH_TYPE("'<c8'"), "not supported");
    refuse_header(WITH_TYPE("'<f16'"), "not supported");
    refuse_header(WITH_TYPE("'|f4'"), "not supported");
    refuse_header(WITH_TYPE("'<M8'"), "not supported");
    refuse_header(WITH_TYPE("''"), "not supported");
    refuse_header(WITH_TYPE("4"), "a type such as");
    refuse_header(WITH_TYPE("[('a', '<f4'), ('b', '<f4')]"), "structured");
}

static void refuses_bad_shapes(void **state) {
    (void)state;
    static char header[150000];
#define WITH_SHAPE(s) "{'descr': '<f4', 'fortran_order': False, 'shape': " s "}"
    refuse_header(WITH_SHAPE("(-1,)"), "a dimension");
    refuse_header(WITH_SHAPE("(9223372036854775808, 2)"), "exceeds the address space");
    refuse_header(WITH_SHAPE("(2**63, 2)"), "expected ','");
    refuse_header(WITH_SHAPE("(18446744073709551616,)"), "a dimension");
    refuse_header(WITH_SHAPE("(4294967296, 4294967296)"), "exceeds the address space");
    refuse_header(WITH_SHAPE("(0, 4294967296, 4294967296)"), "exceeds the address space");
    refuse_header(WITH_SHAPE("(4611686018427387904,)"), "exceeds the address space");
    refuse_header(WITH_SHAPE("(np.int64(1),)"), "a dimension");
    refuse_header(WITH_SHAPE("(6)"), "after the only dimension");
    refuse_header(WITH_SHAPE("6"), "a shape");
    refuse_header(WITH_SHAPE("(,)"), "a dimension");
    refuse_header(WITH_SHAPE("(6,,)"), "a dimension");
    refuse_header(WITH_SHAPE("(6 6)"), "expected ','");
    refuse_header(WITH_SHAPE("(6.0,)"), "expected ','");
    refuse_header(WITH_SHAPE("((((6"), "a dimension");
    refuse_header(WITH_SHAPE("(3,)"), "needs 12 bytes of data but has 24");
    refuse_header(WITH_SHAPE("(7,)"), "needs 28 bytes of data but has 24");
    strcpy(header, "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    for (int k = 0; k < 33; k++) strcat(header, "1,");
    strcat(header, ")}");
    refuse_header(header, "at most 32");
    /* 60,000 digits, the most a version 1 header holds */
    size_t used = (size_t)snprintf(header, sizeof header,
                                   "{'descr': '<f4', 'fortran_order': False, 'shape': (");
    memset(header + used, '9', 60000);
    strcpy(header + used + 60000, ",)}");
    refuse_header(header, "a dimension");
    /* nesting without recursion */
    memset(header, '(', 60000);
    header[60000] = '\0';
    refuse_header(header, "expected '{'");
}

static void refuses_truncation_at_every_byte(void **state) {
    (void)state;
    char file[256];
    float data[6] = {1, 2, 3, 4, 5, 6};
    size_t size =
        make(file, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }        \n", data,
             sizeof data);
    for (size_t cut = 0; cut < size; cut++) refuse(file, cut, "");
    file[size] = 0;
    refuse(file, size + 1, "after the end");
}

/* Any flipped bit: refused, or an array no larger than the file. */
static void survives_every_bit_flip(void **state) {
    (void)state;
    char file[256];
    float data[6] = {1, 2, 3, 4, 5, 6};
    size_t size =
        make(file, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }        \n", data,
             sizeof data);
    for (size_t bit = 0; bit < size * 8; bit++) {
        char *copy = exact_copy(file, size);
        nf_array *array = NULL;
        copy[bit / 8] = (char)(copy[bit / 8] ^ (1 << bit % 8));
        nf_status status = nf_npy_parse(ctx, copy, size, &array);
        if (status == NF_OK) {
            assert_true(array->count * nf_dtype_size(array->dtype) < size);
            nf_array_free(ctx, array);
        } else {
            assert_int_equal(status, NF_ERR_DATA);
        }
        free(copy);
    }
}

static void written_arrays_read_back_the_same(void **state) {
    (void)state;
    static const size_t shape[3] = {4, 3, 2};
    unsigned char data[24 * 8];
    char buffer[1024];
    for (nf_dtype dtype = NF_DTYPE_BOOL; nf_dtype_name(dtype) != NULL; dtype++) {
        for (int ndim = 0; ndim <= 3; ndim++) {
            for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)(i * 37 + 11);
            for (size_t i = 0; dtype == NF_DTYPE_BOOL && i < 24; i++) data[i] &= 1;
            const char *path = temp_path("a.npy");
            assert_ok(ctx, nf_npy_write(ctx, path, dtype, ndim, shape, data));
            size_t size = read_back(path, buffer, sizeof buffer), count = 1;
            for (int k = 0; k < ndim; k++) count *= shape[k];
            assert_int_equal((size - count * nf_dtype_size(dtype)) % 64, 0);
            nf_array *array = NULL;
            assert_ok(ctx, nf_npy_parse(ctx, buffer, size, &array));
            assert_int_equal(array->dtype, dtype);
            assert_int_equal(array->ndim, ndim);
            assert_int_equal(array->count, count);
            assert_memory_equal(array->data, data, count * nf_dtype_size(dtype));
            nf_array_free(ctx, array);
            temp_remove(path);
        }
    }
}

static void streaming_writer_counts(void **state) {
    (void)state;
    static const size_t shape[2] = {300, 100};
    static float rows[300][100];
    test_random_f32(1, rows[0], 30000, -1, 1);
    const char *path = temp_path("s.npy");
    nf_npy_writer *writer = NULL;
    assert_ok(ctx, nf_npy_open(ctx, path, NF_DTYPE_F32, 2, shape, &writer));
    for (size_t r = 0; r < 299; r++) assert_ok(ctx, nf_npy_append(ctx, writer, rows[r], 100));
    assert_fails(ctx, nf_npy_commit(ctx, writer), NF_ERR_ARG, "29900 elements were appended");
    assert_fails(ctx, nf_npy_append(ctx, writer, rows[0], 101), NF_ERR_ARG, "exceeds the 30000");
    assert_int_equal(access(path, F_OK), -1); /* nothing before the commit */
    assert_ok(ctx, nf_npy_append(ctx, writer, rows[299], 100));
    assert_ok(ctx, nf_npy_commit(ctx, writer));
    nf_npy_close(ctx, writer);
    nf_array *array = NULL;
    assert_ok(ctx, nf_array_load(ctx, path, &array));
    assert_memory_equal(array->data, rows, sizeof rows);
    nf_array_free(ctx, array);
    temp_remove(path);

    path = temp_path("gone.npy");
    assert_ok(ctx, nf_npy_open(ctx, path, NF_DTYPE_F32, 2, shape, &writer));
    assert_ok(ctx, nf_npy_append(ctx, writer, rows, 20000));
    nf_npy_close(ctx, writer);
    temp_remove(path); /* the folder must be empty */
    nf_npy_close(ctx, NULL);
}

static void writer_refuses_bad_arguments(void **state) {
    (void)state;
    static const size_t shape[2] = {(size_t)1 << 32, (size_t)1 << 32};
    nf_npy_writer *writer = NULL;
    assert_fails(ctx, nf_npy_open(ctx, "/tmp/x.npy", (nf_dtype)99, 2, shape, &writer), NF_ERR_ARG,
                 "dtype is 99");
    assert_fails(ctx, nf_npy_open(ctx, "/tmp/x.npy", NF_DTYPE_F32, 33, shape, &writer), NF_ERR_ARG,
                 "ndim is 33");
    assert_fails(ctx, nf_npy_open(ctx, "/tmp/x.npy", NF_DTYPE_F32, -1, shape, &writer), NF_ERR_ARG,
                 "ndim is -1");
    assert_fails(ctx, nf_npy_open(ctx, "/tmp/x.npy", NF_DTYPE_F32, 2, shape, &writer), NF_ERR_RANGE,
                 "address space");
    assert_fails(ctx, nf_npy_open(ctx, "", NF_DTYPE_F32, 1, shape, &writer), NF_ERR_ARG, "empty");
    assert_fails(ctx, nf_npy_open(ctx, "/no/such/folder/x", NF_DTYPE_F32, 0, shape, &writer),
                 NF_ERR_IO, "No such file");
    assert_null(writer);
}

/* Files written by NumPy itself (tests/data/make_io_data.py says how). */
static void reads_files_of_numpy(void **state) {
    (void)state;
    static const char *const names[] = {"c_f4.npy", "fortran_f8.npy", "big_i4.npy", "f2.npy",
                                        "v2.npy"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char path[512];
        nf_array *array = NULL, *matrix = NULL;
        snprintf(path, sizeof path, "%s/%s", NF_TEST_DATA, names[k]);
        assert_ok(ctx, nf_array_load(ctx, path, &array));
        assert_ok(ctx, nf_array_to_matrix(ctx, array, names[k], &matrix));
        nf_matrix view = nf_array_view(matrix);
        assert_int_equal(view.rows, 3);
        assert_int_equal(view.cols, 4);
        for (size_t i = 0; i < 12; i++) {
            double value = view.type == NF_FLOAT32 ? (double)((const float *)view.data)[i]
                                                   : ((const double *)view.data)[i];
            assert_true(value == (double)i - 5);
        }
        nf_array_free(ctx, matrix);
        nf_array_free(ctx, array);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_type_and_byte_order),
        cmocka_unit_test(fortran_order_becomes_c_order),
        cmocka_unit_test(shapes_scalar_empty_and_deep),
        cmocka_unit_test(versions_two_and_three),
        cmocka_unit_test(refuses_bad_lengths_and_versions),
        cmocka_unit_test(refuses_bad_dictionaries),
        cmocka_unit_test(refuses_other_types),
        cmocka_unit_test(refuses_bad_shapes),
        cmocka_unit_test(refuses_truncation_at_every_byte),
        cmocka_unit_test(survives_every_bit_flip),
        cmocka_unit_test(written_arrays_read_back_the_same),
        cmocka_unit_test(streaming_writer_counts),
        cmocka_unit_test(writer_refuses_bad_arguments),
        cmocka_unit_test(reads_files_of_numpy),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
