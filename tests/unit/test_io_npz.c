/* .npz and gzip. */
#include "io_test.h"

#include <time.h>
#include <zlib.h>

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

static size_t load(const char *folder, const char *name, char *buffer, size_t room) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return read_back(path, buffer, room);
}

#define CORPUS NF_SOURCE_DIR "/tests/fuzz/corpus/npz"

static char file[200000];

static void names_and_members(void **state) {
    (void)state;
    static const char *const archives[] = {"xy.npz", "deflated.npz"};
    for (int k = 0; k < 2; k++) {
        size_t size = load(NF_TEST_DATA, archives[k], file, sizeof file), count = 0;
        char **names = NULL;
        assert_ok(ctx, nf_npz_names(ctx, file, size, &names, &count));
        assert_int_equal(count, 2);
        assert_string_equal(names[0], k == 0 ? "x" : "data");
        assert_string_equal(names[1], k == 0 ? "y" : "labels");
        for (size_t m = 0; m < count; m++) {
            char with_ending[40];
            nf_array *plain = NULL, *ending = NULL;
            snprintf(with_ending, sizeof with_ending, "%s.npy", names[m]);
            assert_ok(ctx, nf_npz_parse(ctx, file, size, names[m], &plain));
            assert_ok(ctx, nf_npz_parse(ctx, file, size, with_ending, &ending));
            assert_int_equal(plain->count, ending->count);
            nf_array_free(ctx, plain);
            nf_array_free(ctx, ending);
        }
        nf_bytes_free(ctx, names);
    }
}

static void damaged_archives_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *name, *message;
    } bad[] = {{"not_npy_inside", "not an .npy file"},
               {"bzip2", "zip method 12"},
               {"cut_half", "damaged"},
               {"cut_end", "damaged"},
               {"cut_start", "damaged"},
               {"checksum", "damaged"},
               {"deflate_damaged", ""},
               {"lies_packed", ""},
               {"lies_size", "claims"},
               {"lies_offset", ""},
               {"lies_inflated", ""},
               {"encrypted", "encrypted"},
               {"ok_empty_archive", "holds no array"},
               {"empty", "holds no array"},
               {"text", "damaged"}};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        size_t size = load(CORPUS, bad[k].name, file, sizeof file);
        void *copy = exact_copy(file, size);
        nf_array *array = NULL;
        nf_status status =
            nf_npz_parse(ctx, copy, size, strstr(bad[k].name, "y_inside") ? "x" : NULL, &array);
        if (status == NF_ERR_DATA && strstr(nf_context_error(ctx)->message, "several") != NULL) {
            status = nf_npz_parse(ctx, copy, size, "x", &array);
        }
        test_assert_status(ctx, status, NF_ERR_DATA, bad[k].name, __FILE__, __LINE__);
        test_assert_contains(nf_context_error(ctx)->message, bad[k].message, __FILE__, __LINE__);
        assert_null(array);
        free(copy);
    }
}

/* Truncation anywhere and any flipped bit of the data or the headers' sizes: refused, or exactly
 * the same numbers (a flip in a date, say). */
static void truncation_and_bit_flips(void **state) {
    (void)state;
    static const double values[3] = {1, 2, 3};
    nf_named_array member = {"x", {.dtype = NF_DTYPE_F64, .ndim = 1, .shape = {3}, .count = 3}};
    member.array.data = (void *)(uintptr_t)values;
    const char *path = temp_path("x.npz");
    assert_ok(ctx, nf_npz_write(ctx, path, &member, 1));
    size_t size = read_back(path, file, sizeof file);
    temp_remove(path);
    nf_array *array = NULL;
    for (size_t cut = 0; cut < size; cut++) {
        assert_fails(ctx, nf_npz_parse(ctx, file, cut, "x", &array), NF_ERR_DATA, "");
    }
    for (size_t bit = 0; bit < size * 8; bit++) {
        file[bit / 8] = (char)(file[bit / 8] ^ (1 << bit % 8));
        nf_status status = nf_npz_parse(ctx, file, size, "x", &array);
        if (status == NF_OK) {
            assert_int_equal(array->count, 3);
            assert_memory_equal(array->data, values, sizeof values);
            nf_array_free(ctx, array);
            array = NULL;
        } else {
            assert_int_equal(status, NF_ERR_DATA);
        }
        file[bit / 8] = (char)(file[bit / 8] ^ (1 << bit % 8));
    }
}

static void written_archives_read_back_and_repeat(void **state) {
    (void)state;
    int64_t i[3] = {1, -2, 3};
    float w[6] = {0.5f, 1, 2, 3, 4, 5};
    uint8_t flag = 1;
    const nf_named_array members[] = {
        {"i", {.dtype = NF_DTYPE_I64, .ndim = 1, .shape = {3}, .count = 3, .data = i}},
        {"w", {.dtype = NF_DTYPE_F32, .ndim = 2, .shape = {2, 3}, .count = 6, .data = w}},
        {"none", {.dtype = NF_DTYPE_F32, .ndim = 2, .shape = {0, 3}, .count = 0, .data = NULL}},
        {"flag", {.dtype = NF_DTYPE_BOOL, .ndim = 0, .count = 1, .data = &flag}}};
    static char again[20000];
    const char *path = temp_path("a.npz");
    assert_ok(ctx, nf_npz_write(ctx, path, members, 4));
    size_t size = read_back(path, file, sizeof file);
    setenv("TZ", "Asia/Tokyo", 1);
    tzset();
    assert_ok(ctx, nf_npz_write(ctx, path, members, 4));
    unsetenv("TZ");
    tzset();
    assert_int_equal(read_back(path, again, sizeof again), size);
    assert_memory_equal(file, again, size); /* no date, no zone */
    temp_remove(path);
    for (int k = 0; k < 4; k++) {
        nf_array *array = NULL;
        const nf_array *want = &members[k].array;
        assert_ok(ctx, nf_npz_parse(ctx, file, size, members[k].name, &array));
        assert_int_equal(array->dtype, want->dtype);
        assert_int_equal(array->ndim, want->ndim);
        assert_memory_equal(array->shape, want->shape, sizeof want->shape);
        if (want->count > 0) {
            assert_memory_equal(array->data, want->data, want->count * nf_dtype_size(want->dtype));
        }
        nf_array_free(ctx, array);
    }
}

static void writer_refuses(void **state) {
    (void)state;
    float w[2] = {1, 2};
    nf_named_array members[2] = {
        {"w", {.dtype = NF_DTYPE_F32, .ndim = 1, .shape = {2}, .count = 2, .data = w}},
        {"w", {.dtype = NF_DTYPE_F32, .ndim = 1, .shape = {2}, .count = 2, .data = w}}};
    const char *path = temp_path("a.npz");
    assert_fails(ctx, nf_npz_write(ctx, path, members, 2), NF_ERR_ARG, "two arrays are called 'w'");
    assert_fails(ctx, nf_npz_write(ctx, path, members, 0), NF_ERR_ARG, "count is 0");
    members[1].name = "";
    assert_fails(ctx, nf_npz_write(ctx, path, members, 2), NF_ERR_ARG, "has no name");
    members[1].name = "v";
    members[1].array.ndim = 40;
    assert_fails(ctx, nf_npz_write(ctx, path, members, 2), NF_ERR_ARG, "ndim is 40");
    members[1].array.ndim = 1;
    assert_fails(ctx, nf_npz_write(ctx, "/no/such/a.npz", members, 2), NF_ERR_IO, "No such file");
    temp_remove(path);
}

/* ---- gzip ----------------------------------------------------------------------------------- */

static size_t gzip(const void *bytes, size_t size, char *out, size_t room) {
    z_stream stream;
    memset(&stream, 0, sizeof stream);
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (Bytef *)(uintptr_t)bytes;
    stream.avail_in = (uInt)size;
    stream.next_out = (Bytef *)out;
    stream.avail_out = (uInt)room;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    size_t made = room - stream.avail_out;
    deflateEnd(&stream);
    return made;
}

static void gunzip_inverts_gzip(void **state) {
    (void)state;
    static char text[300000], packed[310000];
    static const size_t sizes[] = {0, 1, 65535, 65536, 65537, 300000};
    for (size_t i = 0; i < sizeof text; i++) text[i] = (char)(i * i >> 7);
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        size_t size = gzip(text, sizes[k], packed, sizeof packed), out_size = 1;
        void *out = NULL;
        assert_ok(ctx, nf_gunzip(ctx, packed, size, 0, &out, &out_size));
        assert_int_equal(out_size, sizes[k]);
        assert_memory_equal(out, text, sizes[k]);
        nf_bytes_free(ctx, out);
        out = NULL;
        if (sizes[k] > 0) { /* the limit is exact */
            assert_ok(ctx, nf_gunzip(ctx, packed, size, sizes[k], &out, &out_size));
            nf_bytes_free(ctx, out);
        }
        out = NULL;
        if (sizes[k] > 1) {
            assert_fails(ctx, nf_gunzip(ctx, packed, size, sizes[k] - 1, &out, &out_size),
                         NF_ERR_RANGE, "more than the limit");
            assert_null(out);
        }
    }
    size_t first = gzip("hello ", 6, packed, 1000);
    size_t size = first + gzip("world", 5, packed + first, 1000), out_size = 0;
    void *out = NULL;
    assert_ok(ctx, nf_gunzip(ctx, packed, size, 0, &out, &out_size));
    assert_int_equal(out_size, 11);
    assert_memory_equal(out, "hello world", 11);
    nf_bytes_free(ctx, out);
    for (size_t cut = 0; cut < size; cut++) {
        if (cut == first) continue; /* a whole file by itself */
        assert_fails(ctx, nf_gunzip(ctx, packed, cut, 0, &out, &out_size), NF_ERR_DATA, "");
    }
    packed[size] = 'x';
    assert_fails(ctx, nf_gunzip(ctx, packed, size + 1, 0, &out, &out_size), NF_ERR_DATA, "damaged");
    packed[size - 6] ^= 1; /* checksum */
    assert_fails(ctx, nf_gunzip(ctx, packed, size, 0, &out, &out_size), NF_ERR_DATA, "damaged");
    assert_fails(ctx, nf_gunzip(ctx, "hello", 5, 0, &out, &out_size), NF_ERR_DATA, "1f 8b");
}

/* 1 GiB of zeros from 1 MB: refused by the limit without the memory for it. */
static void bombs_cost_no_memory(void **state) {
    (void)state;
    static char zeros[1 << 20], packed[2048];
    size_t size = gzip(zeros, sizeof zeros, packed, sizeof packed);
    char *bomb = malloc(size * 200);
    assert_non_null(bomb);
    for (size_t k = 0; k < 200; k++) memcpy(bomb + k * size, packed, size);
    test_allocator allocator;
    test_allocator_init(&allocator);
    nf_context_options options = {.allocator = &allocator.hooks, .threads = 1};
    nf_context *counted = NULL;
    assert_int_equal(nf_context_create(&counted, &options, NULL), NF_OK);
    void *out = NULL;
    size_t out_size = 0;
    assert_fails(counted, nf_gunzip(counted, bomb, size * 200, (size_t)100 << 20, &out, &out_size),
                 NF_ERR_RANGE, "104857600");
    assert_true(allocator.peak_bytes < 200000);
    nf_context_free(counted);
    free(bomb);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_members),
        cmocka_unit_test(damaged_archives_are_refused),
        cmocka_unit_test(truncation_and_bit_flips),
        cmocka_unit_test(written_archives_read_back_and_repeat),
        cmocka_unit_test(writer_refuses),
        cmocka_unit_test(gunzip_inverts_gzip),
        cmocka_unit_test(bombs_cost_no_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
