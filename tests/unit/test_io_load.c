/* Sources of every kind as tables, arrays, labels and pair lists. */
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

static const char *data_path(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", NF_TEST_DATA, name);
    return path;
}

/* A file with the given name and text; removed by the caller through temp_remove. */
static const char *text_file(const char *name, const char *text) {
    const char *path = temp_path(name);
    put_file(path, text, strlen(text));
    return path;
}

/* A file of the set's name goes first for nf_table_load and means nothing to nf_digits_load. */
static void digits_whatever_files_there_are(void **state) {
    (void)state;
    char folder[4096], *old = getcwd(NULL, 0);
    assert_non_null(old);
    nf_table *file = NULL, *set = NULL, *again = NULL;
    assert_ok(ctx, nf_table_load(ctx, "digits-test", NULL, &set));
    snprintf(folder, sizeof folder, "%s", text_file("digits-test", "1,2\n3,4\n"));
    *strrchr(folder, '/') = '\0';
    assert_int_equal(chdir(folder), 0);
    nf_status loaded = nf_table_load(ctx, "digits-test", NULL, &file);
    nf_status bundled = nf_digits_load(ctx, NF_DIGITS_TEST, &again);
    assert_int_equal(chdir(old), 0);
    free(old);
    assert_ok(ctx, loaded);
    assert_ok(ctx, bundled);
    assert_int_equal(file->x->shape[0], 2);
    assert_int_equal(again->x->shape[0], 896);
    assert_memory_equal(again->x->data, set->x->data, set->x->count * sizeof(float));
    assert_memory_equal(again->labels->data, set->labels->data, 896 * sizeof(int64_t));
    nf_table_free(ctx, file);
    nf_table_free(ctx, set);
    nf_table_free(ctx, again);
    assert_int_equal(nf_digits_load(ctx, (nf_digits)3, &again), NF_ERR_ARG);
    assert_string_equal(nf_context_error(ctx)->message, "subset is 3: it must be one of nf_digits");
}

static void digits_are_the_published_set(void **state) {
    (void)state;
    nf_table *all = NULL, *train = NULL, *test = NULL;
    assert_ok(ctx, nf_table_load(ctx, "digits", NULL, &all));
    assert_ok(ctx, nf_table_load(ctx, "digits-train", NULL, &train));
    assert_ok(ctx, nf_table_load(ctx, "digits-test", NULL, &test));
    assert_int_equal(all->x->shape[0], 1797);
    assert_int_equal(all->x->shape[1], 64);
    assert_int_equal(train->x->shape[0], 901);
    assert_int_equal(test->x->shape[0], 896);
    assert_false(all->has_unlabelled);

    /* class counts of the UCI description; the halves differ by at most one row a class */
    static const int counts[10] = {178, 182, 177, 183, 181, 182, 181, 179, 174, 180};
    int have[3][10] = {{0}};
    const nf_table *tables[3] = {all, train, test};
    double sum[3] = {0, 0, 0};
    for (int t = 0; t < 3; t++) {
        const int64_t *labels = tables[t]->labels->data;
        const float *x = tables[t]->x->data;
        for (size_t i = 0; i < tables[t]->labels->count; i++) {
            assert_in_range(labels[i], 0, 9);
            have[t][labels[i]]++;
        }
        for (size_t i = 0; i < tables[t]->x->count; i++) sum[t] += (double)x[i];
    }
    for (int c = 0; c < 10; c++) {
        assert_int_equal(have[0][c], counts[c]);
        assert_int_equal(have[1][c] + have[2][c], counts[c]);
        assert_in_range(have[1][c] - have[2][c], 0, 1);
    }
    assert_true(sum[0] == 561718); /* numpy: load_digits().data.sum() */
    assert_true(sum[1] + sum[2] == sum[0]);
    static const float first[16] = {0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0};
    assert_memory_equal(all->x->data, first, sizeof first);
    nf_table_free(ctx, all);
    nf_table_free(ctx, train);
    nf_table_free(ctx, test);

    assert_ok(ctx, nf_labels_load(ctx, "digits", NULL, &all));
    assert_null(all->x);
    assert_int_equal(all->labels->count, 1797);
    nf_table_free(ctx, all);
}

static void npy_and_gzip_load_as_tables(void **state) {
    (void)state;
    static const char *const names[] = {"c_f4.npy", "c_f4.npy.gz", "big_i4.npy", "savetxt.txt"};
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        nf_table *table = NULL;
        assert_ok(ctx, nf_table_load(ctx, data_path(names[k]), NULL, &table));
        nf_matrix x = nf_array_view(table->x);
        assert_int_equal(x.rows, 3);
        assert_int_equal(x.cols, 4);
        assert_int_equal(x.type, k < 2 ? NF_FLOAT32 : NF_FLOAT64);
        assert_null(table->labels);
        nf_table_free(ctx, table);
    }
}

static void npz_uses_usual_names(void **state) {
    (void)state;
    nf_table *table = NULL;
    assert_ok(ctx, nf_table_load(ctx, data_path("xy.npz"), NULL, &table));
    assert_int_equal(table->x->shape[0], 3);
    static const int64_t labels[3] = {2, 0, 1};
    assert_memory_equal(table->labels->data, labels, sizeof labels);
    nf_table_free(ctx, table);

    assert_ok(ctx, nf_table_load(ctx, data_path("deflated.npz"), NULL, &table));
    assert_int_equal(table->x->shape[0], 100);
    assert_int_equal(table->labels->count, 100);
    nf_table_free(ctx, table);

    assert_ok(ctx, nf_table_load(ctx, data_path("one.npz"), NULL, &table));
    assert_int_equal(table->x->shape[1], 4);
    nf_table_free(ctx, table);

    nf_array *array = NULL;
    assert_ok(ctx, nf_array_load(ctx, data_path("xy.npz:y"), &array));
    assert_int_equal(array->dtype, NF_DTYPE_I64);
    nf_array_free(ctx, array);
    assert_fails(ctx, nf_array_load(ctx, data_path("xy.npz:z"), &array), NF_ERR_DATA,
                 "no array 'z'; it has x, y");
    assert_fails(ctx, nf_array_load(ctx, data_path("xy.npz"), &array), NF_ERR_DATA,
                 "several arrays");
    assert_fails(ctx, nf_array_load(ctx, data_path("c_f4.npy:x"), &array), NF_ERR_DATA,
                 "is not an .npz");
}

static void labels_from_any_file(void **state) {
    (void)state;
    nf_table *table = NULL;
    assert_ok(ctx, nf_labels_load(ctx, data_path("xy.npz"), NULL, &table));
    assert_null(table->x);
    assert_int_equal(table->labels->count, 3);
    nf_table_free(ctx, table);

    const char *path = text_file("labels.txt", "cat\ndog\n\ncat\n?\n");
    assert_ok(ctx, nf_labels_load(ctx, path, NULL, &table));
    static const int64_t named[5] = {0, 1, -1, 0, -1};
    assert_int_equal(table->labels->count, 5);
    assert_memory_equal(table->labels->data, named, sizeof named);
    assert_true(table->has_unlabelled);
    assert_int_equal(table->classes, 2);
    assert_string_equal(table->class_names[1], "dog");
    nf_table_free(ctx, table);
    temp_remove(path);

    char source[300];
    path = text_file("t.csv", "a,kind,b\n1,x,2\n3,y,4\n");
    snprintf(source, sizeof source, "%s:kind", path);
    assert_ok(ctx, nf_labels_load(ctx, source, NULL, &table));
    assert_int_equal(table->classes, 2);
    assert_null(table->x);
    nf_table_free(ctx, table);
    assert_fails(ctx, nf_labels_load(ctx, path, NULL, &table), NF_ERR_DATA,
                 "the columns are a, kind, b");
    temp_remove(path);

    path = text_file("t.svm", "1 1:2\n-1 2:1\n");
    assert_ok(ctx, nf_labels_load(ctx, path, NULL, &table));
    assert_null(table->x);
    assert_true(table->has_unlabelled);
    nf_table_free(ctx, table);
    temp_remove(path);
}

static void one_column_text_keeps_integers_exact(void **state) {
    (void)state;
    nf_array *array = NULL;
    const char *path = text_file("ids.txt", "9007199254740993\n-1\n");
    assert_ok(ctx, nf_array_load(ctx, path, &array));
    static const int64_t ids[2] = {9007199254740993, -1};
    assert_int_equal(array->dtype, NF_DTYPE_I64);
    assert_int_equal(array->ndim, 1);
    assert_memory_equal(array->data, ids, sizeof ids);
    nf_array_free(ctx, array);
    temp_remove(path);

    path = text_file("ids.csv", "id\n18446744073709551615\n1\n");
    assert_ok(ctx, nf_array_load(ctx, path, &array));
    static const uint64_t large[2] = {UINT64_MAX, 1};
    assert_int_equal(array->dtype, NF_DTYPE_U64);
    assert_memory_equal(array->data, large, sizeof large);
    nf_array_free(ctx, array);
    temp_remove(path);

    path = text_file("w.csv", "0.5\n2\n");
    assert_ok(ctx, nf_array_load(ctx, path, &array));
    static const double weights[2] = {0.5, 2};
    assert_int_equal(array->dtype, NF_DTYPE_F64);
    assert_memory_equal(array->data, weights, sizeof weights);
    nf_array_free(ctx, array);
    temp_remove(path);

    path = text_file("two.csv", "y,z\n1,2\n3,4\n");
    assert_ok(ctx, nf_array_load(ctx, path, &array));
    assert_int_equal(array->ndim, 2);
    assert_int_equal(array->shape[1], 2);
    nf_array_free(ctx, array);
    temp_remove(path);
}

static void check_pairs(const nf_pair_file *file, int weighted) {
    static const int64_t i[3] = {0, 1, 2}, j[3] = {1, 2, 0};
    static const uint8_t same[3] = {1, 0, 1};
    static const double weight[3] = {1, 0.5, 2};
    assert_int_equal(file->count, 3);
    assert_memory_equal(file->i->data, i, sizeof i);
    assert_memory_equal(file->j->data, j, sizeof j);
    assert_memory_equal(file->same->data, same, sizeof same);
    if (weighted)
        assert_memory_equal(file->weight->data, weight, sizeof weight);
    else
        assert_null(file->weight);
}

static void pair_lists_of_every_form(void **state) {
    (void)state;
    nf_pair_file *file = NULL;
    assert_ok(ctx, nf_pair_file_load(ctx, data_path("pairs.npz"), NF_SAME_01, &file));
    check_pairs(file, 1);
    nf_pair_file_free(ctx, file);

    static const int64_t rows[9] = {0, 1, 1, 1, 2, 0, 2, 0, 1};
    static const size_t shape[2] = {3, 3};
    const char *path = temp_path("p.npy");
    assert_ok(ctx, nf_npy_write(ctx, path, NF_DTYPE_I64, 2, shape, rows));
    assert_ok(ctx, nf_pair_file_load(ctx, path, NF_SAME_01, &file));
    check_pairs(file, 0);
    nf_pair_file_free(ctx, file);
    temp_remove(path);

    static const char *const texts[] = {"i,j,same\n0,1,1\n1,2,0\n2,0,1\n",
                                        "0\t1\t1\n1\t2\t0\n2\t0\t1\n",
                                        "same,weight,j,i\n1,1,1,0\n0,.5,2,1\n1,2,0,2\n"};
    for (int k = 0; k < 3; k++) {
        path = text_file("p.csv", texts[k]);
        assert_ok(ctx, nf_pair_file_load(ctx, path, NF_SAME_01, &file));
        check_pairs(file, k == 2);
        nf_pair_file_free(ctx, file);
        temp_remove(path);
    }

    path = text_file("p.csv", "i,j,same\n0,1,1\n1,2,-1\n2,0,1\n");
    assert_fails(ctx, nf_pair_file_load(ctx, path, NF_SAME_01, &file), NF_ERR_DATA, "pm1");
    assert_ok(ctx, nf_pair_file_load(ctx, path, NF_SAME_PM1, &file));
    check_pairs(file, 0);
    nf_pair_file_free(ctx, file);
    temp_remove(path);
}

static void bad_pair_lists_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"i,j\n0,1\n", "no column same"},          {"0,1\n", "no column same"},
        {"i,j,same,w\n0,1,1,1\n", "4 columns"},    {"0,1,1,1,1\n", "5 columns"},
        {"i,j,same\n0.5,1,1\n", "i[0] is 0.5"},    {"i,j,same\n0,1,2\n", "same[0] is 2"},
        {"i,j,same\n0,1e17,1\n", "j[0] is 1e+17"}, {"i,j,same,weight\n0,1,1,nan\n", "not finite"}};
    nf_pair_file *file = NULL;
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        const char *path = text_file("p.csv", bad[k].text);
        assert_fails(ctx, nf_pair_file_load(ctx, path, NF_SAME_01, &file), NF_ERR_DATA,
                     bad[k].message);
        temp_remove(path);
    }
    assert_fails(ctx, nf_pair_file_load(ctx, data_path("c_f4.npy"), NF_SAME_01, &file), NF_ERR_DATA,
                 "(3, 4)");
    assert_fails(ctx, nf_pair_file_load(ctx, data_path("xy.npz"), NF_SAME_01, &file), NF_ERR_DATA,
                 "no array 'i'");
    assert_fails(ctx, nf_pair_file_load(ctx, data_path("pairs.npz:i"), NF_SAME_01, &file),
                 NF_ERR_DATA, "give the file alone");
    assert_null(file);
}

static void unusable_sources_say_why(void **state) {
    (void)state;
    nf_table *table = NULL;
    assert_fails(ctx, nf_table_load(ctx, "/no/such.npy", NULL, &table), NF_ERR_IO,
                 "'/no/such.npy': No such file");
    assert_fails(ctx, nf_table_load(ctx, "/tmp", NULL, &table), NF_ERR_IO, "directory");
    assert_fails(ctx, nf_table_load(ctx, "", NULL, &table), NF_ERR_ARG, "empty");
    const char *path = text_file("empty.csv", "");
    assert_fails(ctx, nf_table_load(ctx, path, NULL, &table), NF_ERR_DATA, "empty");
    temp_remove(path);
    path = temp_path("noise.bin");
    put_file(path, "\0\1\2\3\4", 5);
    assert_fails(ctx, nf_table_load(ctx, path, NULL, &table), NF_ERR_DATA, "unknown format");
    temp_remove(path);
    path = text_file("t.csv", "1,2\n3,x\n");
    assert_fails(ctx, nf_table_load(ctx, path, NULL, &table), NF_ERR_DATA,
                 path); /* the file's name */
    assert_fails(ctx, nf_table_load(ctx, path, NULL, &table), NF_ERR_DATA, "line 2, column 1");
    temp_remove(path);
    nf_csv_options options = nf_csv_defaults();
    options.require_labels = 1;
    assert_fails(ctx, nf_table_load(ctx, data_path("c_f4.npy"), &options, &table), NF_ERR_DATA,
                 "no labels");
}

static void formats_are_recognised(void **state) {
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *path;
        nf_format format;
    } cases[] = {{BYTES("\x93NUMPY\1\0"), "x.csv", NF_FORMAT_NPY},
                 {BYTES("PK\3\4...."), NULL, NF_FORMAT_NPZ},
                 {BYTES("PK\5\6...."), NULL, NF_FORMAT_NPZ},
                 {BYTES("\0\0\x08\1\0\0\0\0"), "x", NF_FORMAT_IDX},
                 {BYTES("\x02\0\0\0\0\0\0\0{}"), "m", NF_FORMAT_SAFETENSORS},
                 {BYTES("1 2 3\n"), "x.TXT", NF_FORMAT_CSV},
                 {BYTES("1,2\n"), "a.tsv.gz", NF_FORMAT_CSV},
                 {BYTES("1 1:2\n"), "a.libsvm", NF_FORMAT_SVMLIGHT},
                 {BYTES("1\n"), "a.svmlight.gz", NF_FORMAT_SVMLIGHT},
                 {BYTES("1 1:2\n"), "-", NF_FORMAT_SVMLIGHT},
                 {BYTES("1 2\n"), NULL, NF_FORMAT_CSV},
                 {BYTES("a,b\n"), "-", NF_FORMAT_CSV},
                 {BYTES("\0\0\7\1"), "x", NF_FORMAT_UNKNOWN},
                 {BYTES(""), "x", NF_FORMAT_UNKNOWN}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        assert_int_equal(nf_format_detect(cases[k].bytes, cases[k].size, cases[k].path),
                         cases[k].format);
    }
    assert_string_equal(nf_format_name(NF_FORMAT_SVMLIGHT), "svmlight");
    assert_string_equal(nf_format_name(NF_FORMAT_SAFETENSORS), "safetensors");
    assert_null(nf_format_name((nf_format)99));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digits_are_the_published_set),
        cmocka_unit_test(digits_whatever_files_there_are),
        cmocka_unit_test(npy_and_gzip_load_as_tables),
        cmocka_unit_test(npz_uses_usual_names),
        cmocka_unit_test(labels_from_any_file),
        cmocka_unit_test(one_column_text_keeps_integers_exact),
        cmocka_unit_test(pair_lists_of_every_form),
        cmocka_unit_test(bad_pair_lists_are_refused),
        cmocka_unit_test(unusable_sources_say_why),
        cmocka_unit_test(formats_are_recognised),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
