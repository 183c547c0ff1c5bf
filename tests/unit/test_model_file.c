/* Model files: what is written is what is read, and what is damaged is refused. */
#include "support.h"

#include <math.h>
#include <unistd.h>

#include "model/model.h"

static char folder[] = "/tmp/nearfar-model-XXXXXX";
static char path[64];

static int make_folder(void **state) {
    (void)state;
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/m.safetensors", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    (void)unlink(path);
    return rmdir(folder);
}

static nf_model *make_model(nf_context *context, int bias, int standardize) {
    nf_model_options o = nf_model_defaults();
    o.inputs = 5;
    o.hidden_layers = 2;
    o.hidden[0] = 4;
    o.hidden[1] = 3;
    o.outputs = 2;
    o.activation = NF_TANH;
    o.bias = bias;
    o.standardize = standardize;
    o.normalize = !bias;
    o.seed = UINT64_MAX;
    nf_model *model = NULL;
    assert_ok(context, nf_model_create(context, &o, &model));
    if (standardize) {
        double x[50];
        test_random_f64(1, x, 50, -1e3, 1e3);
        assert_ok(context, nf_model_fit_standardization(context, model, nf_matrix_f64(x, 10, 5)));
    }
    assert_ok(context, nf_model_set_metadata(context, model, "class_names", "[\"a\",\"\u00e9\"]"));
    assert_ok(context, nf_model_set_metadata(context, model, "a key of another program", ""));
    return model;
}

static void *slurp(nf_context *context, size_t *size) {
    void *bytes = NULL;
    assert_ok(context, nf_file_read(context, path, 0, 0, &bytes, size));
    return bytes;
}

static void loading_gives_the_model_that_was_saved(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    for (int kind = 0; kind < 4; kind++) {
        nf_model *model = make_model(context, kind & 1, kind >> 1), *loaded = NULL;
        assert_ok(context, nf_model_save(context, model, path));
        assert_ok(context, nf_model_load(context, path, &loaded));
        const nf_model_options *a = nf_model_get_options(model), *b = nf_model_get_options(loaded);
        assert_memory_equal(a->hidden, b->hidden, sizeof a->hidden);
        assert_true(a->inputs == b->inputs && a->hidden_layers == b->hidden_layers &&
                    a->outputs == b->outputs && a->activation == b->activation &&
                    a->bias == b->bias && a->standardize == b->standardize &&
                    a->normalize == b->normalize && a->seed == b->seed);
        assert_memory_equal(model->parameter, loaded->parameter, model->parameters * sizeof(float));
        assert_true(loaded->fitted == (kind >> 1));
        if (kind >> 1) {
            assert_memory_equal(nf_model_mean(model), nf_model_mean(loaded), 5 * sizeof(double));
            assert_memory_equal(nf_model_std(model), nf_model_std(loaded), 5 * sizeof(double));
        }
        assert_string_equal(nf_model_metadata(loaded, "class_names"), "[\"a\",\"\u00e9\"]");
        assert_string_equal(nf_model_metadata(loaded, "a key of another program"), "");
        assert_null(nf_model_metadata_at(loaded, 2, NULL));

        /* same model, same bytes; twice through the file too */
        size_t size, again;
        void *first = slurp(context, &size);
        assert_ok(context, nf_model_save(context, loaded, path));
        void *second = slurp(context, &again);
        assert_int_equal(size, again);
        assert_memory_equal(first, second, size);
        nf_bytes_free(context, first);
        nf_bytes_free(context, second);
        nf_model_free(context, model);
        nf_model_free(context, loaded);
    }
    nf_context_free(context);
}

static void every_truncation_is_refused(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    nf_model *model = make_model(context, 1, 1), *loaded = NULL;
    assert_ok(context, nf_model_save(context, model, path));
    size_t size;
    char *bytes = slurp(context, &size);
    for (size_t length = 0; length < size; length++) {
        assert_int_equal(nf_model_parse(context, bytes, length, &loaded), NF_ERR_DATA);
        assert_null(loaded);
        assert_true(nf_context_error(context)->message[0] != '\0');
    }
    nf_bytes_free(context, bytes);
    nf_model_free(context, model);
    nf_context_free(context);
}

/* Any single bit: refused, or a model in range. Damage to the options is always refused or changes
 * only the seed and foreign metadata; weights carry no checksum. */
static void every_flipped_bit_is_survived(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    nf_model *model = make_model(context, 1, 1), *loaded = NULL;
    assert_ok(context, nf_model_save(context, model, path));
    size_t size;
    char *bytes = slurp(context, &size);
    for (size_t bit = 0; bit < size * 8; bit++) {
        bytes[bit / 8] ^= (char)(1 << bit % 8);
        nf_status status = nf_model_parse(context, bytes, size, &loaded);
        if (status == NF_OK) {
            assert_int_equal(nf_model_get_options(loaded)->inputs, 5);
            assert_int_equal(nf_model_layers(loaded), 3);
            for (size_t i = 0; i < loaded->parameters; i++) {
                assert_true(isfinite(loaded->parameter[i]));
            }
            nf_model_free(context, loaded);
            loaded = NULL;
        } else {
            assert_int_equal(status, NF_ERR_DATA);
        }
        bytes[bit / 8] ^= (char)(1 << bit % 8);
    }
    nf_bytes_free(context, bytes);
    nf_model_free(context, model);
    nf_context_free(context);
}

/* ---- crafted files -------------------------------------------------------------------------- */

typedef struct craft {
    nf_metadata metadata[12];
    nf_tensor tensor[4];
    size_t entries, tensors;
} craft;

static const double mean_values[2] = {0, 1};
static const float weight_values[6] = {1, 2, 3, 4, 5, 6}, bias_values[3] = {0};

/* A right file: 2 inputs, 3 outputs, one layer. */
static craft good_file(void) {
    static const double std_values[2] = {1, 2};
    return (craft){.metadata = {{"activation", "relu"},
                                {"bias", "1"},
                                {"format", "nearfar-model"},
                                {"hidden", ""},
                                {"inputs", "2"},
                                {"normalize", "0"},
                                {"outputs", "3"},
                                {"seed", "7"},
                                {"standardize", "1"},
                                {"version", "1"}},
                   .tensor = {{"input.mean", NF_DTYPE_F64, 1, {2}, 2, mean_values},
                              {"input.std", NF_DTYPE_F64, 1, {2}, 2, std_values},
                              {"layers.0.weight", NF_DTYPE_F32, 2, {3, 2}, 6, weight_values},
                              {"layers.0.bias", NF_DTYPE_F32, 1, {3}, 3, bias_values}},
                   .entries = 10,
                   .tensors = 4};
}

static void set(craft *file, const char *key, const char *value) {
    for (size_t i = 0; i < file->entries; i++) {
        if (strcmp(file->metadata[i].key, key) == 0) file->metadata[i].value = value;
    }
}

static void drop(craft *file, const char *key) {
    for (size_t i = 0; i < file->entries; i++) {
        if (strcmp(file->metadata[i].key, key) != 0) continue;
        file->metadata[i] = file->metadata[--file->entries];
    }
}

static nf_status load(nf_context *context, const craft *file) {
    nf_model *model = NULL;
    assert_ok(context, nf_safetensors_write(context, path, file->tensor, file->tensors,
                                            file->metadata, file->entries));
    nf_status status = nf_model_load(context, path, &model);
    assert_true((status == NF_OK) == (model != NULL));
    nf_model_free(context, model);
    return status;
}

static void wrong_files_are_named(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    craft file = good_file();
    assert_ok(context, load(context, &file));
#define REFUSED(change, text)                                           \
    do {                                                                \
        file = good_file();                                             \
        change;                                                         \
        assert_fails(context, load(context, &file), NF_ERR_DATA, text); \
    } while (0)
    REFUSED(set(&file, "format", "pt"), "not a nearfar model: its format is 'pt'");
    REFUSED(drop(&file, "format"), "no 'format'");
    REFUSED(set(&file, "version", "2"), "version '2'");
    REFUSED(drop(&file, "version"), "no 'version'");
    REFUSED(drop(&file, "seed"), "no 'seed'");
    REFUSED(set(&file, "inputs", "2x"), "'inputs' is '2x'");
    REFUSED(set(&file, "inputs", "-2"), "'inputs'");
    REFUSED(set(&file, "inputs", "02"), "'inputs'");
    REFUSED(set(&file, "inputs", " 2"), "'inputs'");
    REFUSED(set(&file, "inputs", ""), "'inputs'");
    REFUSED(set(&file, "inputs", "0"), "inputs is 0");
    REFUSED(set(&file, "inputs", "18446744073709551616"), "'inputs'");
    REFUSED(set(&file, "inputs", "9223372036854775807"), "address space");
    REFUSED(set(&file, "inputs", "1000000000000"), "'input.mean' has shape (2)");
    REFUSED(set(&file, "inputs", "3"), "'input.mean' has shape (2): its options call for (3)");
    REFUSED(set(&file, "outputs", "4"), "'layers.0.weight' has shape (3, 2)");
    REFUSED(set(&file, "seed", "18446744073709551616"), "'seed'");
    REFUSED(set(&file, "bias", "2"), "'bias' is '2': expected 0 or 1");
    REFUSED(set(&file, "bias", "0"), "'layers.0.bias' does not belong");
    REFUSED(set(&file, "standardize", "0"), "'input.mean' does not belong");
    REFUSED(set(&file, "normalize", "yes"), "'normalize'");
    REFUSED(set(&file, "activation", "gelu"), "'activation' is 'gelu'");
    REFUSED(set(&file, "hidden", "4"), "'layers.0.weight'");
    REFUSED(set(&file, "hidden", ","), "'hidden'");
    REFUSED(set(&file, "hidden", "4,"), "'hidden'");
    REFUSED(set(&file, "hidden", "4;4"), "'hidden'");
    REFUSED(set(&file, "hidden", "0"), "hidden[0] is 0");
    REFUSED(set(&file, "hidden", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"), "at most 16");
    REFUSED(file.tensors = 3, "'layers.0.bias' is missing");
    REFUSED(file.tensor[3].name = "layers.00.bias", "'layers.0.bias' is missing");
    REFUSED((file.tensor[3].ndim = 2, file.tensor[3].shape[1] = 1), "has shape (3, 1)");
    REFUSED((file.tensor[2].dtype = NF_DTYPE_I32), "'layers.0.weight' is i4: it must be f4");
    const float bad_weight[6] = {1, 2, NAN, 4, 5, 6};
    REFUSED(file.tensor[2].data = bad_weight, "position 2");
    const double zero_std[2] = {1, 0}, bad_mean[2] = {INFINITY, 0};
    REFUSED(file.tensor[1].data = zero_std, "above 0");
    REFUSED(file.tensor[0].data = bad_mean, "'input.mean' has the value inf");
#undef REFUSED
    nf_context_free(context);
}

static void a_failed_save_leaves_the_old_file(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    nf_model *model = make_model(context, 1, 1);
    char missing[96];
    snprintf(missing, sizeof missing, "%s/no/such/folder/m", folder);
    assert_int_equal(nf_model_save(context, model, missing), NF_ERR_IO);
    nf_model *loaded = NULL;
    assert_int_equal(nf_model_load(context, missing, &loaded), NF_ERR_IO);
    assert_null(loaded);
    nf_model_free(context, model);
    nf_context_free(context);
}

/* ---- memory --------------------------------------------------------------------------------- */

static nf_status round_trip(nf_context *context, void *user) {
    unsigned char *out = user;
    nf_model_options o = nf_model_defaults();
    o.inputs = 3;
    o.outputs = 2;
    nf_model *model = NULL, *loaded = NULL;
    nf_status status = nf_model_create(context, &o, &model);
    if (status == NF_OK) status = nf_model_set_metadata(context, model, "key", "value");
    if (status == NF_OK) status = nf_model_save(context, model, path);
    if (status == NF_OK) status = nf_model_load(context, path, &loaded);
    if (status == NF_OK) memcpy(out, loaded->parameter, 8 * sizeof(float));
    nf_model_free(context, loaded);
    nf_model_free(context, model);
    return status;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    unsigned char out[8 * sizeof(float)];
    assert_true(test_fail_every_allocation(1, round_trip, out, out, sizeof out) > 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loading_gives_the_model_that_was_saved),
        cmocka_unit_test(every_truncation_is_refused),
        cmocka_unit_test(every_flipped_bit_is_survived),
        cmocka_unit_test(wrong_files_are_named),
        cmocka_unit_test(a_failed_save_leaves_the_old_file),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
