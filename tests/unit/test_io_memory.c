/* Out of memory anywhere in io: the right code, no leak, nothing written, and the retry works.
 *
 * The context's allocator fails at every call in turn; so does malloc, for the JSON and zip
 * libraries (not under AddressSanitizer, which has a malloc of its own). Memory limits of the
 * readers are checked against the length of the file. */
#include "io_test.h"

#include <stdbool.h>

#if defined(__SANITIZE_ADDRESS__)
#define OWN_MALLOC 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define OWN_MALLOC 0
#endif
#endif
#ifndef OWN_MALLOC
#ifdef __GLIBC__
#define OWN_MALLOC 1
#else
#define OWN_MALLOC 0
#endif
#endif

static struct {
    int armed;
    size_t calls, fail_at;
    long live; /* blocks of this program */
} heap;

#if OWN_MALLOC
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void __libc_free(void *block);

#define INTERPOSED __attribute__((visibility("default")))

static int heap_fails(void) { return heap.armed && ++heap.calls == heap.fail_at; }

static void *counted(void *block) {
    heap.live += block != NULL;
    return block;
}

INTERPOSED void *malloc(size_t size) { return heap_fails() ? NULL : counted(__libc_malloc(size)); }

INTERPOSED void *calloc(size_t count, size_t size) {
    return heap_fails() ? NULL : counted(__libc_calloc(count, size));
}

INTERPOSED void *realloc(void *block, size_t size) {
    if (heap_fails()) return NULL;
    return block == NULL ? counted(__libc_malloc(size)) : __libc_realloc(block, size);
}

INTERPOSED void free(void *block) {
    heap.live -= block != NULL;
    __libc_free(block);
}
#endif

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

/* ---- one body for every public function ------------------------------------------------------ */

typedef struct job {
    const char *name;
    nf_status (*run)(nf_context *context, const struct job *job);
    const char *path; /* source, or where to write */
    void *bytes;
    size_t size;
} job;

static uint64_t result; /* a hash of what came out; written on success only */

static uint64_t hash(uint64_t h, const void *bytes, size_t size) {
    const unsigned char *b = bytes;
    for (size_t i = 0; i < size; i++) h = (h ^ b[i]) * 0x100000001b3u;
    return h;
}

static uint64_t hash_array(uint64_t h, const nf_array *a) {
    if (a == NULL) return h + 1;
    h = hash(h, a->shape, sizeof a->shape);
    return hash(h, a->data, a->count * nf_dtype_size(a->dtype));
}

static nf_status done_array(nf_context *context, nf_status status, nf_array *array) {
    if (status == NF_OK)
        result = hash_array(1, array);
    else
        assert_null(array);
    nf_array_free(context, array);
    return status;
}

static nf_status done_table(nf_context *context, nf_status status, nf_table *table) {
    if (status == NF_OK) {
        uint64_t h = hash_array(hash_array(2, table->x), table->labels);
        for (size_t k = 0; k < table->classes; k++) {
            h = hash(h, table->class_names[k], strlen(table->class_names[k]));
        }
        for (char **name = table->columns; name != NULL && *name != NULL; name++) {
            h = hash(h, *name, strlen(*name));
        }
        result = h;
    } else {
        assert_null(table);
    }
    nf_table_free(context, table);
    return status;
}

static nf_status done_file(const job *j, nf_status status) {
    static char buffer[100000];
    heap.armed = 0; /* reading back is the test's own work */
    if (status == NF_OK) {
        result = hash(3, buffer, read_back(j->path, buffer, sizeof buffer));
        unlink(j->path);
    } else {
        assert_int_equal(access(j->path, F_OK), -1);
    }
    return status;
}

static nf_status npy(nf_context *context, const job *j) {
    nf_array *array = NULL;
    nf_status status = nf_npy_parse(context, j->bytes, j->size, &array);
    return done_array(context, status, array);
}

static nf_status idx(nf_context *context, const job *j) {
    nf_array *array = NULL;
    nf_status status = nf_idx_parse(context, j->bytes, j->size, &array);
    return done_array(context, status, array);
}

static nf_status npz(nf_context *context, const job *j) {
    nf_array *array = NULL;
    nf_status status = nf_npz_parse(context, j->bytes, j->size, "x", &array);
    return done_array(context, status, array);
}

static nf_status npz_names(nf_context *context, const job *j) {
    char **names = NULL;
    size_t count = 0;
    nf_status status = nf_npz_names(context, j->bytes, j->size, &names, &count);
    if (status == NF_OK)
        result = hash(4, names[0], strlen(names[0]));
    else
        assert_null(names);
    nf_bytes_free(context, names);
    return status;
}

static nf_status csv(nf_context *context, const job *j) {
    nf_table *table = NULL;
    nf_status status = nf_csv_parse(context, j->bytes, j->size, NULL, &table);
    return done_table(context, status, table);
}

static nf_status svmlight(nf_context *context, const job *j) {
    nf_table *table = NULL;
    nf_status status = nf_svmlight_parse(context, j->bytes, j->size, 0, &table);
    return done_table(context, status, table);
}

static nf_status gunzip(nf_context *context, const job *j) {
    void *out = NULL;
    size_t size = 0;
    nf_status status = nf_gunzip(context, j->bytes, j->size, 0, &out, &size);
    if (status == NF_OK)
        result = hash(5, out, size);
    else
        assert_null(out);
    nf_bytes_free(context, out);
    return status;
}

static nf_status file_read(nf_context *context, const job *j) {
    void *out = NULL;
    size_t size = 0;
    nf_status status = nf_file_read(context, j->path, 1, 0, &out, &size);
    if (status == NF_OK)
        result = hash(6, out, size);
    else
        assert_null(out);
    nf_bytes_free(context, out);
    return status;
}

static nf_status safetensors(nf_context *context, const job *j) {
    nf_safetensors *file = NULL;
    nf_status status = nf_safetensors_parse(context, j->bytes, j->size, &file);
    if (status == NF_OK) {
        uint64_t h = 7;
        for (size_t k = 0; k < file->tensors; k++) {
            const nf_tensor *t = &file->tensor[k];
            h = hash(h, t->data, t->count * nf_dtype_size(t->dtype));
        }
        result = h;
    } else {
        assert_null(file);
    }
    nf_safetensors_free(context, file);
    return status;
}

static nf_status table_load(nf_context *context, const job *j) {
    nf_table *table = NULL;
    nf_status status = nf_table_load(context, j->path, NULL, &table);
    return done_table(context, status, table);
}

static nf_status digits_load(nf_context *context, const job *j) {
    (void)j;
    nf_table *table = NULL;
    nf_status status = nf_digits_load(context, NF_DIGITS_TRAIN, &table);
    return done_table(context, status, table);
}

static nf_status labels_load(nf_context *context, const job *j) {
    nf_table *table = NULL;
    nf_status status = nf_labels_load(context, j->path, NULL, &table);
    return done_table(context, status, table);
}

static nf_status array_load(nf_context *context, const job *j) {
    nf_array *array = NULL;
    nf_status status = nf_array_load(context, j->path, &array);
    return done_array(context, status, array);
}

static nf_status pair_load(nf_context *context, const job *j) {
    nf_pair_file *file = NULL;
    nf_status status = nf_pair_file_load(context, j->path, NF_SAME_01, &file);
    if (status == NF_OK) {
        result = hash_array(hash_array(hash_array(hash_array(8, file->i), file->j), file->same),
                            file->weight);
    } else {
        assert_null(file);
    }
    nf_pair_file_free(context, file);
    return status;
}

static uint64_t numbers[6] = {1, 0, UINT64_MAX, 1, 0, 1};
static uint8_t flags[3] = {1, 0, 1};

static nf_status convert(nf_context *context, const job *j) {
    nf_array wide = {.dtype = NF_DTYPE_U64, .ndim = 1, .shape = {6}, .count = 6, .data = numbers};
    nf_array flag = {.dtype = NF_DTYPE_U8, .ndim = 1, .shape = {3}, .count = 3, .data = flags};
    nf_array *out = NULL;
    nf_status status;
    if (strcmp(j->name, "to_labels") == 0)
        status = nf_array_to_labels(context, &wide, "x", &out);
    else if (strcmp(j->name, "to_matrix") == 0)
        status = nf_array_to_matrix(context, &wide, "x", &out);
    else if (strcmp(j->name, "to_f64") == 0)
        status = nf_array_to_f64(context, &wide, "x", &out);
    else if (strcmp(j->name, "to_index") == 0)
        status = nf_array_to_index(context, &flag, "x", &out);
    else
        status = nf_array_to_same(context, &flag, "x", NF_SAME_01, &out);
    return done_array(context, status, out);
}

static nf_status npy_write(nf_context *context, const job *j) {
    static const size_t shape[1] = {6};
    return done_file(j, nf_npy_write(context, j->path, NF_DTYPE_U64, 1, shape, numbers));
}

static nf_status npz_write(nf_context *context, const job *j) {
    nf_named_array member[2] = {
        {"a", {.dtype = NF_DTYPE_U64, .ndim = 1, .shape = {6}, .count = 6, .data = numbers}},
        {"b", {.dtype = NF_DTYPE_U8, .ndim = 1, .shape = {3}, .count = 3, .data = flags}}};
    return done_file(j, nf_npz_write(context, j->path, member, 2));
}

static nf_status csv_write(nf_context *context, const job *j) {
    static const double x[4] = {1, 2, 3, 4.5};
    return done_file(j, nf_csv_write(context, j->path, nf_matrix_f64(x, 2, 2), NULL));
}

static nf_status safetensors_write(nf_context *context, const job *j) {
    const nf_tensor t[2] = {{"a", NF_DTYPE_U64, 1, {6}, 6, numbers},
                            {"b", NF_DTYPE_U8, 1, {3}, 3, flags}};
    const nf_metadata m[2] = {{"k", "v"}, {"format", "nf"}};
    return done_file(j, nf_safetensors_write(context, j->path, t, 2, m, 2));
}

static nf_status file_write(nf_context *context, const job *j) {
    return done_file(j, nf_file_write(context, j->path, "hello", 5));
}

#define DATA(name) NF_TEST_DATA "/" name
#define SEED(name) NF_SOURCE_DIR "/tests/fuzz/corpus/" name

static char out_path[256], pairs_csv[256], labels_txt[256], table_csv[256];

static job jobs[] = {
    {"npy", npy, SEED("npy/ok_fortran"), NULL, 0},
    {"idx", idx, SEED("idx/ok_0e"), NULL, 0},
    {"npz", npz, DATA("xy.npz"), NULL, 0},
    {"npz deflated", npz, SEED("npz/ok_deflated"), NULL, 0},
    {"npz_names", npz_names, DATA("xy.npz"), NULL, 0},
    {"csv", csv, table_csv, NULL, 0},
    {"svmlight", svmlight, SEED("svmlight/ok_strings"), NULL, 0},
    {"gunzip", gunzip, SEED("gunzip/ok_two"), NULL, 0},
    {"file_read", file_read, SEED("gunzip/ok"), NULL, 0},
    {"file_read unsized", file_read, "/proc/self/limits", NULL, 0},
    {"safetensors", safetensors, SEED("safetensors/ok"), NULL, 0},
    {"table npz", table_load, DATA("xy.npz"), NULL, 0},
    {"table npy.gz", table_load, DATA("c_f4.npy.gz"), NULL, 0},
    {"table csv", table_load, table_csv, NULL, 0},
    {"table digits", table_load, "digits-test", NULL, 0},
    {"digits", digits_load, NULL, NULL, 0},
    {"table svmlight", table_load, SEED("svmlight/ok"), NULL, 0},
    {"labels text", labels_load, labels_txt, NULL, 0},
    {"labels npz", labels_load, DATA("xy.npz"), NULL, 0},
    {"labels digits", labels_load, "digits", NULL, 0},
    {"array text", array_load, labels_txt, NULL, 0},
    {"array npz", array_load, DATA("xy.npz:y"), NULL, 0},
    {"pairs npz", pair_load, DATA("pairs.npz"), NULL, 0},
    {"pairs csv", pair_load, pairs_csv, NULL, 0},
    {"to_labels", convert, NULL, NULL, 0},
    {"to_matrix", convert, NULL, NULL, 0},
    {"to_f64", convert, NULL, NULL, 0},
    {"to_index", convert, NULL, NULL, 0},
    {"to_same", convert, NULL, NULL, 0},
    {"npy_write", npy_write, out_path, NULL, 0},
    {"npz_write", npz_write, out_path, NULL, 0},
    {"csv_write", csv_write, out_path, NULL, 0},
    {"safetensors_write", safetensors_write, out_path, NULL, 0},
    {"file_write", file_write, out_path, NULL, 0},
};
#define JOBS (sizeof jobs / sizeof *jobs)

static nf_status body(nf_context *context, void *user) {
    const job *j = user;
    return j->run(context, j);
}

static void make_files(void) {
    char folder[200];
    const char *path = temp_path("out");
    snprintf(folder, sizeof folder, "%.190s", path);
    *strrchr(folder, '/') = '\0';
    snprintf(out_path, sizeof out_path, "%s/out", folder);
    snprintf(pairs_csv, sizeof pairs_csv, "%s/pairs.csv", folder);
    snprintf(labels_txt, sizeof labels_txt, "%s/labels.txt", folder);
    snprintf(table_csv, sizeof table_csv, "%s/table.csv", folder);
    put_file(pairs_csv, BYTES("i,j,same,weight\n0,1,1,2\n"));
    put_file(labels_txt, BYTES("4\n5\n18446744073709551615\n"));
    put_file(table_csv, BYTES("a,\"b\"\"\",class\n1,2,cat\n3,4,dog\n"));
    for (size_t k = 0; k < JOBS; k++) {
        if (jobs[k].path == NULL || access(jobs[k].path, R_OK) != 0) continue;
        jobs[k].bytes = malloc(10000);
        assert_non_null(jobs[k].bytes);
        jobs[k].size = read_back(jobs[k].path, jobs[k].bytes, 10000);
    }
}

static void remove_files(void) {
    for (size_t k = 0; k < JOBS; k++) free(jobs[k].bytes);
    unlink(pairs_csv), unlink(labels_txt), unlink(table_csv);
    temp_remove(out_path); /* the folder is empty */
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    make_files();
    for (size_t k = 0; k < JOBS; k++) {
        size_t calls = test_fail_every_allocation(1, body, &jobs[k], &result, sizeof result);
        if (calls == 0) fail_msg("%s allocated nothing", jobs[k].name);
    }
    remove_files();
}

/* The k-th malloc fails, for every k: only NF_ERR_NOMEM or success, and success right after. */
static void every_malloc_of_the_libraries_may_fail(void **state) {
    (void)state;
    if (!OWN_MALLOC) skip();
    make_files();
    for (size_t k = 0; k < JOBS; k++) {
        result = 0;
        heap.armed = 1, heap.calls = heap.fail_at = 0;
        nf_status status = body(ctx, &jobs[k]);
        heap.armed = 0;
        assert_ok(ctx, status);
        uint64_t expected = result;
        size_t calls = heap.calls;
        for (size_t at = 1; at <= calls; at++) {
            long live = heap.live;
            heap.armed = 1, heap.calls = 0, heap.fail_at = at;
            status = body(ctx, &jobs[k]);
            heap.armed = 0;
            /* libzip loses a source of its own when opening a member fails */
            if (heap.live > live &&
                strstr(jobs[k].path != NULL ? jobs[k].path : "", "npz") == NULL &&
                strstr(jobs[k].name, "npz") == NULL) {
                fail_msg("%s: malloc %zu of %zu failed: %ld blocks leaked", jobs[k].name, at, calls,
                         heap.live - live);
            }
            /* libzip calls an archive damaged, and jansson a string unexpected, when they cannot
             * allocate for it; nothing in their answers tells the difference. */
            const char *message = nf_context_error(ctx)->message;
            bool blames_file =
                status == NF_ERR_DATA && (strstr(message, "archive is damaged") != NULL ||
                                          strstr(message, "safetensors header, byte") != NULL);
            if (status != NF_OK && !blames_file) {
                test_assert_status(ctx, status, NF_ERR_NOMEM, jobs[k].name, __FILE__, __LINE__);
            }
            assert_ok(ctx, body(ctx, &jobs[k]));
            assert_int_equal(result, expected);
        }
    }
    remove_files();
}

/* ---- limits ---------------------------------------------------------------------------------- */

/* Peak memory of parsing a file of `size` bytes. */
static size_t peak_of(nf_status (*run)(nf_context *, const job *), void *bytes, size_t size) {
    test_allocator allocator;
    test_allocator_init(&allocator);
    nf_context_options options = {.allocator = &allocator.hooks, .threads = 1};
    nf_context *counted = NULL;
    assert_int_equal(nf_context_create(&counted, &options, NULL), NF_OK);
    size_t base = allocator.live_bytes;
    job j = {"peak", run, NULL, bytes, size};
    allocator.peak_bytes = base;
    (void)run(counted, &j);
    size_t peak = allocator.peak_bytes - base;
    nf_context_free(counted);
    return peak;
}

#define MIB ((size_t)1 << 20)

static void memory_follows_from_the_length(void **state) {
    (void)state;
    size_t size = 4 * MIB;
    char *bytes = malloc(size);
    assert_non_null(bytes);

    memset(bytes, 0, size);
    bytes[2] = 8, bytes[3] = 1; /* IDX of bytes */
    size_t rest = size - 8;
    for (int b = 0; b < 4; b++) bytes[4 + b] = (char)(rest >> (24 - 8 * b));
    size_t peak = peak_of(idx, bytes, size);
    assert_in_range(peak, size - 8, 2 * size + MIB);

    /* worst cases of text: the shortest cells, and labels that are all different names */
    for (size_t i = 0; i < size; i += 2) bytes[i] = '1', bytes[i + 1] = i % 64 == 62 ? '\n' : ',';
    peak = peak_of(csv, bytes, size);
    assert_in_range(peak, 4 * size, 16 * size + MIB);
    memset(bytes, '\n', size);
    memcpy(bytes, "1,\n", 3);
    assert_in_range(peak_of(csv, bytes, size), 0, MIB);
    size_t used = (size_t)sprintf(bytes, "y,a\n");
    for (unsigned k = 0; used + 16 < size; k++) used += (size_t)sprintf(bytes + used, "%x,1\n", k);
    peak = peak_of(csv, bytes, used);
    assert_in_range(peak, used, 16 * used + MIB);
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(every_malloc_of_the_libraries_may_fail),
        cmocka_unit_test(memory_follows_from_the_length),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
