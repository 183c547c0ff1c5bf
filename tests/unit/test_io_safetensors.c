/* safetensors: strict reading, repeatable writing. */
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

/* A file of a header text and `data` zero bytes, with the true header length. */
static size_t make(char **out, const void *header, size_t length, size_t data) {
    char *file = calloc(1, 8 + length + data + 1);
    assert_non_null(file);
    for (int k = 0; k < 8; k++) file[k] = (char)((uint64_t)length >> 8 * k);
    memcpy(file + 8, header, length);
    *out = file;
    return 8 + length + data;
}

static void refuse_bytes(const void *bytes, size_t size, const char *message) {
    void *copy = exact_copy(bytes, size);
    nf_safetensors *file = NULL;
    assert_fails(ctx, nf_safetensors_parse(ctx, copy, size, &file), NF_ERR_DATA, message);
    assert_null(file);
    free(copy);
}

static void refuse_sized(const void *header, size_t length, size_t data, const char *message) {
    char *file;
    size_t size = make(&file, header, length, data);
    refuse_bytes(file, size, message);
    free(file);
}

static void refuse(const char *header, size_t data, const char *message) {
    refuse_sized(header, strlen(header), data, message);
}

#define TENSOR(dtype, shape, begin, end) \
    "{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #begin "," #end "]}"
#define U8_4 TENSOR("U8", "4", 0, 4)

static void reads_tensors_in_order_of_offset(void **state) {
    (void)state;
    static const char header[] =
        "{\"v\":" TENSOR("U8", "4", 16, 20) ",\"__metadata__\":{\"b\":\"2\",\"a\":\"\\u00e9\"},"
                                            "\"e\":" TENSOR("F64", "0,3", 16, 16) ",\"w\":" TENSOR(
                                                "F32", "2,2", 0, 16) "}   ";
    char *bytes;
    size_t size = make(&bytes, header, sizeof header - 1, 20);
    float one = 1;
    memcpy(bytes + 8 + sizeof header - 1 + 12, &one, 4);
    nf_safetensors *file = NULL;
    assert_ok(ctx, nf_safetensors_parse(ctx, bytes, size, &file));
    free(bytes);
    assert_int_equal(file->tensors, 3);
    assert_string_equal(file->tensor[0].name, "w");
    assert_int_equal(file->tensor[0].dtype, NF_DTYPE_F32);
    assert_int_equal(file->tensor[0].ndim, 2);
    assert_int_equal(file->tensor[0].shape[1], 2);
    assert_true(((const float *)file->tensor[0].data)[3] == 1.0f);
    assert_string_equal(file->tensor[1].name, "e");
    assert_int_equal(file->tensor[1].count, 0);
    assert_string_equal(file->tensor[2].name, "v");
    assert_int_equal(file->entries, 2);
    assert_string_equal(file->metadata[0].key, "a");
    assert_string_equal(file->metadata[0].value, "\xc3\xa9");
    assert_string_equal(file->metadata[1].value, "2");
    nf_safetensors_free(ctx, file);

    size = make(&bytes, "{}", 2, 0);
    assert_ok(ctx, nf_safetensors_parse(ctx, bytes, size, &file));
    assert_int_equal(file->tensors, 0);
    nf_safetensors_free(ctx, file);
    free(bytes);
}

static void refuses_bad_lengths(void **state) {
    (void)state;
    refuse_bytes(BYTES(""), "cut off");
    refuse_bytes(BYTES("\2\0\0\0\0\0\0"), "cut off");
    refuse_bytes(BYTES("\0\0\0\0\0\0\0\0"), "must start with '{'");
    refuse_bytes(BYTES("\1\0\0\0\0\0\0\0{}"), "must start with '{'");
    refuse_bytes(BYTES("\3\0\0\0\0\0\0\0{}"), "claims 3 bytes");
    refuse_bytes(BYTES("\xff\xff\xff\xff\xff\xff\xff\xff{}"), "claims 18446744073709551615");
    refuse_bytes(BYTES("\x02\0\0\0\0\0\0\0[]"), "must start with '{'");
    refuse_bytes(BYTES("\x03\0\0\0\0\0\0\0 {}"), "must start with '{'");
    /* one byte over 100 MB, and all of it there */
    size_t length = 100000001;
    char *header = malloc(length), *file;
    assert_non_null(header);
    memset(header, ' ', length);
    header[0] = '{', header[1] = '}';
    size_t size = make(&file, header, length, 0);
    nf_safetensors *parsed = NULL;
    assert_fails(ctx, nf_safetensors_parse(ctx, file, size, &parsed), NF_ERR_DATA,
                 "at most 100000000");
    free(file);
    free(header);
}

static void refuses_bad_json(void **state) {
    (void)state;
    refuse("{\"a\":" U8_4 ",\"a\":" U8_4 "}", 4, "duplicate");
    refuse("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4,
           "duplicate");
    refuse("{\"__metadata__\":{\"a\":\"1\",\"a\":\"1\"}}", 0, "duplicate");
    refuse("{\"a\":" U8_4 "}{}", 4, "byte");
    refuse("{\"a\":" U8_4, 4, "byte");
    refuse("{\"a\":" U8_4 ",}", 4, "byte");
    refuse("{'a':1}", 0, "byte");
    refuse("{\"\\ud800\":" U8_4 "}", 4, "byte");
    refuse("{\"a\\u0000b\":" U8_4 "}", 4, "byte");
    refuse_sized(BYTES("{\"\xff\xfe\":" U8_4 "}"), 4, "unable to decode byte 0xff");
    refuse_sized(BYTES("{\"a\0\":" U8_4 "}"), 4, "byte");
    /* nesting of 10^5: refused before the JSON parser, which recurses, sees it */
    static char deep[600010];
    size_t used = (size_t)sprintf(deep, "{\"a\":");
    memset(deep + used, '[', 100000);
    refuse_sized(deep, used + 100000, 0, "nested deeper than 3");
    used = 0;
    for (int k = 0; k < 100000; k++) used += (size_t)sprintf(deep + used, "{\"a\":");
    refuse_sized(deep, used, 0, "nested deeper than 3");
    refuse("{\"[[[[[[\\\"[[[\":1}", 0, "must have dtype"); /* brackets in strings do not nest */
}

static void refuses_bad_tensors(void **state) {
    (void)state;
#define ONE(text) "{\"a\":" text "}"
    refuse("{\"a\":" U8_4 ",\"b\":" TENSOR("U8", "3", 5, 8) "}", 8, "'b': its data leaves a hole");
    refuse(ONE(TENSOR("U8", "3", 1, 4)), 4, "hole");
    refuse("{\"a\":" U8_4 ",\"b\":" TENSOR("U8", "5", 3, 8) "}", 8, "overlaps");
    refuse("{\"a\":" U8_4 ",\"b\":" U8_4 "}", 4, "overlaps");
    refuse(ONE(TENSOR("U8", "4", 4, 0)), 4, "must ascend");
    refuse(ONE(TENSOR("U8", "5", 0, 5)), 4, "within the file");
    refuse(ONE(U8_4), 10, "6 bytes after its last tensor"); /* polyglot */
    refuse("{}", 1, "1 bytes after");
    refuse(ONE(TENSOR("U8", "4611686018427387904,4611686018427387904", 0, 4)), 4, "address space");
    refuse(ONE(TENSOR("F64", "2305843009213693952", 0, 4)), 4, "do not match");
    refuse(ONE(TENSOR("F32", "4", 0, 4)), 4, "do not match");
    refuse(ONE(TENSOR("U8", "-4", 0, 4)), 4, "whole numbers from 0");
    refuse(ONE(TENSOR("U8", "4.0", 0, 4)), 4, "whole numbers from 0");
    refuse(ONE(TENSOR("U8", "\"4\"", 0, 4)), 4, "whole numbers from 0");
    refuse(ONE(TENSOR("U8", "4", 0, 4.0)), 4, "two whole numbers");
    refuse(ONE(TENSOR("U8", "4", -0.0, 4)), 4, "two whole numbers");
    refuse(ONE(TENSOR("U8", "4", 0, 18446744073709551620)), 4, "byte"); /* too big for JSON */
    refuse(ONE(TENSOR("F8_E4M3", "4", 0, 4)), 4, "dtype must be");
    refuse(ONE("{\"dtype\":8,\"shape\":[4],\"data_offsets\":[0,4]}"), 4, "dtype must be");
    refuse(ONE("{\"dtype\":\"U8\",\"shape\":4,\"data_offsets\":[0,4]}"), 4, "shape must be");
    refuse(ONE("{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,2,4]}"), 4, "two whole");
    refuse(ONE("{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":4}"), 4, "two whole");
    refuse(ONE("{\"dtype\":\"U8\",\"shape\":[4]}"), 4, "nothing else");
    refuse(ONE("{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"more\":1}"), 4,
           "nothing else");
    refuse(ONE("1"), 0, "nothing else");
    refuse(ONE(TENSOR("U8", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", 0,
                      1)),
           1, "at most 32");
    refuse("{\"__metadata__\":{\"a\":1}}", 0, "must be a string");
    refuse("{\"__metadata__\":[\"a\"]}", 0, "strings to strings");
    refuse("{\"__metadata__\":\"a\"}", 0, "strings to strings");
}

static nf_tensor tensor(const char *name, nf_dtype dtype, size_t rows, size_t cols, void *data) {
    return (nf_tensor){.name = name,
                       .dtype = dtype,
                       .ndim = 2,
                       .shape = {rows, cols},
                       .count = rows * cols,
                       .data = data};
}

static void written_files_read_back_and_repeat(void **state) {
    (void)state;
    static unsigned char data[12][48];
    static char bytes[2][8192];
    nf_tensor tensors[13];
    char names[13][16];
    for (size_t k = 0; k < 12; k++) {
        for (size_t i = 0; i < 48; i++) data[k][i] = (unsigned char)(k == 0 ? i & 1 : k * 17 + i);
        sprintf(names[k], "layer.%zu", 11 - k);
        tensors[k] = tensor(names[k], (nf_dtype)k, 2, 3, data[k]);
    }
    tensors[12] = tensor("empty \"\xe2\x82\xac\"", NF_DTYPE_F64, 0, 3, NULL);
    const nf_metadata metadata[2][2] = {{{"z", "line\n\"quoted\""}, {"a", ""}},
                                        {{"a", ""}, {"z", "line\n\"quoted\""}}};
    const char *path = temp_path("m.safetensors");
    size_t size = 0;
    for (int k = 0; k < 2; k++) { /* metadata in any order */
        assert_ok(ctx, nf_safetensors_write(ctx, path, tensors, 13, metadata[k], 2));
        size = read_back(path, bytes[k], sizeof bytes[k]);
    }
    temp_remove(path);
    assert_memory_equal(bytes[0], bytes[1], size);
    assert_int_equal((unsigned char)bytes[0][0] % 8, 0); /* data starts aligned */
    nf_safetensors *file = NULL;
    assert_ok(ctx, nf_safetensors_parse(ctx, bytes[0], size, &file));
    assert_int_equal(file->tensors, 13);
    for (size_t k = 0; k < 13; k++) {
        const nf_tensor *t = &file->tensor[k];
        assert_string_equal(t->name, tensors[k].name);
        assert_int_equal(t->dtype, tensors[k].dtype);
        assert_memory_equal(t->shape, tensors[k].shape, sizeof t->shape);
        assert_int_equal((uintptr_t)t->data % 64, 0);
        if (k < 12) assert_memory_equal(t->data, data[k], 6 * nf_dtype_size(t->dtype));
    }
    assert_int_equal(file->entries, 2);
    assert_string_equal(file->metadata[0].key, "a");
    assert_string_equal(file->metadata[1].value, "line\n\"quoted\"");
    nf_safetensors_free(ctx, file);

    for (size_t cut = 0; cut < size; cut++) refuse_bytes(bytes[0], cut, "");
}

static void writer_refuses(void **state) {
    (void)state;
    float w[2] = {1, 2};
    nf_tensor t[2] = {tensor("a", NF_DTYPE_F32, 1, 2, w), tensor("a", NF_DTYPE_F32, 1, 2, w)};
    nf_metadata m[2] = {{"k", "v"}, {"k", "w"}};
    const char *path = temp_path("m.safetensors");
    assert_fails(ctx, nf_safetensors_write(ctx, path, t, 2, NULL, 0), NF_ERR_ARG, "'a' is there");
    t[1].name = "__metadata__";
    assert_fails(ctx, nf_safetensors_write(ctx, path, t, 2, NULL, 0), NF_ERR_ARG, "reserved");
    t[1].name = "\xff";
    assert_fails(ctx, nf_safetensors_write(ctx, path, t, 2, NULL, 0), NF_ERR_ARG,
                 "not valid UTF-8");
    t[1].name = NULL;
    assert_fails(ctx, nf_safetensors_write(ctx, path, t, 2, NULL, 0), NF_ERR_ARG, "name is NULL");
    t[1] = tensor("b", NF_DTYPE_F32, 1, 2, NULL);
    assert_fails(ctx, nf_safetensors_write(ctx, path, t, 2, NULL, 0), NF_ERR_ARG, "has no data");
    t[1] = tensor("b", (nf_dtype)77, 1, 2, w);
    assert_fails(ctx, nf_safetensors_write(ctx, path, t, 2, NULL, 0), NF_ERR_ARG, "dtype is 77");
    assert_fails(ctx, nf_safetensors_write(ctx, path, t, 1, m, 2), NF_ERR_ARG,
                 "'k' is there twice");
    m[1] = (nf_metadata){"l", "\xc0\x80"};
    assert_fails(ctx, nf_safetensors_write(ctx, path, t, 1, m, 2), NF_ERR_ARG, "metadata value");
    m[1] = (nf_metadata){NULL, "x"};
    assert_fails(ctx, nf_safetensors_write(ctx, path, t, 1, m, 2), NF_ERR_ARG, "key 1 is NULL");
    m[1] = (nf_metadata){"l", NULL};
    assert_fails(ctx, nf_safetensors_write(ctx, path, t, 1, m, 2), NF_ERR_ARG, "value is NULL");
    temp_remove(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_tensors_in_order_of_offset),
        cmocka_unit_test(refuses_bad_lengths),
        cmocka_unit_test(refuses_bad_json),
        cmocka_unit_test(refuses_bad_tensors),
        cmocka_unit_test(written_files_read_back_and_repeat),
        cmocka_unit_test(writer_refuses),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
