/* The memory bank: what it holds, the loss against it, and its file. */
#include "support.h"

#include <unistd.h>

static nf_bank *make_bank(nf_context *context, size_t capacity, size_t d) {
    nf_bank *bank = NULL;
    assert_ok(context, nf_bank_create(context, capacity, d, NF_FLOAT64, &bank));
    return bank;
}

static void push(nf_context *context, nf_bank *bank, const double *x, const int64_t *labels,
                 size_t n, size_t d) {
    assert_ok(context,
              nf_bank_push(context, bank, nf_matrix_f64(x, n, d), (nf_labels){labels, n, 0}, NULL));
}

/* One column whose values, labels and ids tell rows apart. */
static void expect_ids(const nf_bank *bank, const int64_t *ids, size_t n) {
    nf_bank_rows rows = nf_bank_get_rows(bank);
    assert_int_equal(rows.x.rows, n);
    assert_int_equal(rows.labels.n, n);
    for (size_t r = 0; r < n; r++) {
        assert_int_equal(rows.ids[r], ids[r]);
        assert_int_equal(rows.labels.data[r], 100 + ids[r]);
        assert_true(((const double *)rows.x.data)[r] == (double)(10 * ids[r]));
    }
}

static void the_newest_rows_stay(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    nf_bank *bank = make_bank(context, 4, 1);
    double x[12];
    int64_t labels[12];
    for (int k = 0; k < 12; k++) {
        x[k] = 10 * k;
        labels[k] = 100 + k;
    }
    assert_int_equal(nf_bank_capacity(bank), 4);
    expect_ids(bank, NULL, 0);
    push(context, bank, x, labels, 3, 1);
    expect_ids(bank, (const int64_t[]){0, 1, 2}, 3);
    push(context, bank, x + 3, labels + 3, 3, 1);
    expect_ids(bank, (const int64_t[]){4, 5, 2, 3}, 4);
    push(context, bank, x + 6, labels + 6, 0, 1);
    expect_ids(bank, (const int64_t[]){4, 5, 2, 3}, 4);
    push(context, bank, x + 6, labels + 6, 6, 1); /* more than it holds */
    expect_ids(bank, (const int64_t[]){10, 11, 8, 9}, 4);
    nf_bank_reset(bank);
    expect_ids(bank, NULL, 0);
    push(context, bank, x, labels, 1, 1);
    expect_ids(bank, (const int64_t[]){0}, 1);
    nf_bank_free(context, bank);
    nf_bank_free(context, NULL);
    nf_context_free(context);
}

/* By hand: the batch's rows against all rows of the bank, as a reference loss. */
static void the_loss_is_that_of_the_reference_form(void **state) {
    (void)state;
    enum { N = 5, D = 3, STEPS = 4, CAPACITY = 12 };
    nf_context *context = test_context(1);
    nf_bank *bank = make_bank(context, CAPACITY, D), *by_hand = make_bank(context, CAPACITY, D);
    nf_loss loss = nf_loss_weston();
    for (uint64_t step = 0; step < STEPS; step++) {
        double x[N * D], gradient[N * D], expected[N * D];
        int64_t labels[N], ids[N];
        test_random_f64(step, x, N * D, -1, 1);
        test_random_labels(step, labels, N, 0, 2);
        for (int k = 0; k < N; k++) ids[k] = (int64_t)(step % 3) * 3 + k; /* some come again */
        nf_matrix view = nf_matrix_f64(x, N, D);
        nf_labels of = {labels, N, 0};
        nf_loss_result result, wanted;
        assert_ok(context, nf_loss_bank(context, &loss, bank, view, of, ids, &result,
                                        nf_matrix_out_f64(gradient, N, D)));
        assert_ok(context, nf_bank_push(context, by_hand, view, of, ids));
        nf_bank_rows rows = nf_bank_get_rows(by_hand);
        nf_loss_sets sets = {view, rows.x, of, rows.labels, ids, rows.ids};
        assert_ok(context,
                  nf_loss_reference(context, &loss, &sets, &wanted,
                                    nf_matrix_out_f64(expected, N, D), (nf_matrix_out){0}));
        assert_memory_equal(&result, &wanted, sizeof result);
        assert_memory_equal(gradient, expected, sizeof gradient);
        uint64_t pairs = result.positive_pairs + result.negative_pairs;
        assert_true(pairs < N * rows.x.rows && pairs > 0); /* no row met itself */
    }
    nf_bank_free(context, bank);
    nf_bank_free(context, by_hand);
    nf_context_free(context);
}

static void a_row_without_id_does_not_meet_itself(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    nf_bank *bank = make_bank(context, 8, 1);
    nf_loss loss = nf_loss_weston();
    nf_loss_result result;
    double x[2] = {0, 2};
    int64_t labels[2] = {7, 7};
    for (uint64_t step = 0; step < 3; step++) {
        assert_ok(context,
                  nf_loss_bank(context, &loss, bank, nf_matrix_f64(x, 2, 1),
                               (nf_labels){labels, 2, 0}, NULL, &result, (nf_matrix_out){0}));
        assert_int_equal(result.positive_pairs, 2 + 4 * step);
    }
    nf_bank_free(context, bank);
    nf_context_free(context);
}

static void what_does_not_fit_is_refused_and_changes_nothing(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    nf_bank *bank = NULL;
    assert_fails(context, nf_bank_create(context, 0, 3, NF_FLOAT32, &bank), NF_ERR_ARG, "capacity");
    assert_fails(context, nf_bank_create(context, 3, 0, NF_FLOAT32, &bank), NF_ERR_ARG, "d is 0");
    assert_fails(context, nf_bank_create(context, 3, 3, (nf_type)9, &bank), NF_ERR_ARG, "type");
    assert_fails(context, nf_bank_create(context, SIZE_MAX, 3, NF_FLOAT32, &bank), NF_ERR_RANGE,
                 "address space");
    bank = make_bank(context, 3, 1);
    double x[2] = {0, 10}, bad[2] = {1, 0.0 / 0.0}, huge[2] = {-1e200, 1e200}, gradient[2] = {5, 5};
    float single[2] = {0, 1};
    int64_t labels[2] = {100, 101};
    nf_labels of = {labels, 2, 0};
    nf_loss loss = nf_loss_weston();
    nf_loss_result result;
    push(context, bank, x, labels, 2, 1);
    assert_fails(
        context,
        nf_bank_push(context, bank, nf_matrix_f64(x, 1, 2), (nf_labels){labels, 1, 0}, NULL),
        NF_ERR_ARG, "columns");
    assert_fails(context, nf_bank_push(context, bank, nf_matrix_f32(single, 2, 1), of, NULL),
                 NF_ERR_ARG, "float32");
    assert_fails(
        context,
        nf_bank_push(context, bank, nf_matrix_f64(x, 2, 1), (nf_labels){labels, 1, 0}, NULL),
        NF_ERR_ARG, "labels");
    assert_fails(
        context,
        nf_bank_push(context, bank, nf_matrix_f64(x, 2, 1), (nf_labels){labels, 2, 1}, NULL),
        NF_ERR_ARG, "has_unlabelled");
    assert_fails(context, nf_bank_push(context, bank, nf_matrix_f64(bad, 2, 1), of, NULL),
                 NF_ERR_DATA, "NaN");
    labels[1] = 100; /* positives 2e200 apart: the square is beyond double */
    assert_fails(context,
                 nf_loss_bank(context, &loss, bank, nf_matrix_f64(huge, 2, 1), of, NULL, &result,
                              nf_matrix_out_f64(gradient, 2, 1)),
                 NF_ERR_RANGE, "");
    assert_true(gradient[0] == 5 && gradient[1] == 5);
    expect_ids(bank, (const int64_t[]){0, 1}, 2);
    nf_bank_free(context, bank);
    nf_context_free(context);
}

/* ---- files ---------------------------------------------------------------------------------- */

static char folder[] = "/tmp/nearfar-bank-XXXXXX";
static char path[64];

static int make_folder(void **state) {
    (void)state;
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/b.safetensors", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    (void)unlink(path);
    return rmdir(folder);
}

/* Saved after any number of rows and loaded, it goes on as the one that was saved. */
static void a_loaded_bank_goes_on(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    double x[20];
    int64_t labels[20];
    for (int k = 0; k < 20; k++) {
        x[k] = 10 * k;
        labels[k] = 100 + k;
    }
    for (size_t before = 0; before <= 11; before++) {
        nf_bank *bank = make_bank(context, 5, 1), *loaded = NULL;
        push(context, bank, x, labels, before, 1);
        assert_ok(context, nf_bank_save(context, bank, path));
        assert_ok(context, nf_bank_load(context, path, &loaded));
        assert_int_equal(nf_bank_capacity(loaded), 5);
        push(context, bank, x + before, labels + before, 3, 1);
        push(context, loaded, x + before, labels + before, 3, 1);
        nf_bank_rows a = nf_bank_get_rows(bank), b = nf_bank_get_rows(loaded);
        assert_int_equal(a.x.rows, b.x.rows);
        assert_memory_equal(a.x.data, b.x.data, a.x.rows * sizeof(double));
        assert_memory_equal(a.ids, b.ids, a.x.rows * sizeof(int64_t));
        assert_memory_equal(a.labels.data, b.labels.data, a.x.rows * sizeof(int64_t));
        nf_bank_free(context, bank);
        nf_bank_free(context, loaded);
    }
    nf_context_free(context);
}

/* Write the tensors and metadata of a bank of two rows with one thing changed. */
typedef struct file_case {
    const char *key, *value; /* metadata to replace; value NULL: left out */
    const char *message;
} file_case;

static void a_damaged_file_is_refused(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    static const file_case cases[] = {
        {"format", "nearfar-model", "not a memory bank"},
        {"format", NULL, "not a memory bank"},
        {"version", "2", "newer nearfar"},
        {"capacity", "0", "whole number"},
        {"capacity", "1", "do not fit"},
        {"capacity", "99999999999999999999", "whole number"},
        {"next", "1", "do not fit"},
        {"next", "-1", "whole number"},
        {"pushed", "1", "do not fit"},
        {"pushed", NULL, "whole number"},
        {"has_unlabelled", "2", "whole number"},
    };
    double x[2] = {1, 2};
    int64_t labels[2] = {3, 4};
    nf_tensor tensor[] = {
        {.name = "embeddings",
         .dtype = NF_DTYPE_F64,
         .ndim = 2,
         .shape = {2, 1},
         .count = 2,
         .data = x},
        {.name = "ids", .dtype = NF_DTYPE_I64, .ndim = 1, .shape = {2}, .count = 2, .data = labels},
        {.name = "labels",
         .dtype = NF_DTYPE_I64,
         .ndim = 1,
         .shape = {2},
         .count = 2,
         .data = labels}};
    static const nf_metadata right[] = {{"capacity", "3"},       {"format", "nearfar-bank"},
                                        {"has_unlabelled", "0"}, {"next", "2"},
                                        {"pushed", "2"},         {"version", "1"}};
    nf_bank *bank = NULL;
    assert_ok(context, nf_safetensors_write(context, path, tensor, 3, right, 6));
    assert_ok(context, nf_bank_load(context, path, &bank));
    nf_bank_free(context, bank);
    bank = NULL;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        nf_metadata entries[6];
        size_t count = 0;
        for (size_t e = 0; e < 6; e++) {
            nf_metadata entry = right[e];
            if (strcmp(entry.key, cases[c].key) == 0) entry.value = cases[c].value;
            if (entry.value != NULL) entries[count++] = entry;
        }
        assert_ok(context, nf_safetensors_write(context, path, tensor, 3, entries, count));
        assert_fails(context, nf_bank_load(context, path, &bank), NF_ERR_DATA, cases[c].message);
        assert_null(bank);
    }
    assert_ok(context, nf_safetensors_write(context, path, tensor, 2, right, 6));
    assert_fails(context, nf_bank_load(context, path, &bank), NF_ERR_DATA, "must hold");
    tensor[1].dtype = NF_DTYPE_F64;
    assert_ok(context, nf_safetensors_write(context, path, tensor, 3, right, 6));
    assert_fails(context, nf_bank_load(context, path, &bank), NF_ERR_DATA, "int64");
    tensor[1].dtype = NF_DTYPE_I64;
    x[1] = 1.0 / 0.0;
    assert_ok(context, nf_safetensors_write(context, path, tensor, 3, right, 6));
    assert_fails(context, nf_bank_load(context, path, &bank), NF_ERR_DATA, "finite");
    nf_context_free(context);
}

/* ---- memory --------------------------------------------------------------------------------- */

typedef struct outputs {
    double gradient[6];
    nf_loss_result result;
    uint64_t rows;
} outputs;

static nf_status whole_life(nf_context *context, void *user) {
    outputs *out = user;
    static const double x[6] = {0, 0, 1, 1, 2, 0};
    static const int64_t labels[3] = {0, 0, 1};
    nf_loss loss = nf_loss_weston();
    nf_labels of = {labels, 3, 0};
    nf_bank *bank = NULL, *loaded = NULL, *parsed = NULL;
    void *bytes = NULL;
    size_t size = 0;
    double gradient[6];
    nf_loss_result result;
    nf_status status = nf_bank_create(context, 4, 2, NF_FLOAT64, &bank);
    if (status == NF_OK) status = nf_bank_push(context, bank, nf_matrix_f64(x, 3, 2), of, NULL);
    if (status == NF_OK) status = nf_bank_save(context, bank, path);
    if (status == NF_OK) status = nf_bank_load(context, path, &loaded);
    if (status == NF_OK) status = nf_file_read(context, path, 0, 0, &bytes, &size);
    if (status == NF_OK) status = nf_bank_parse(context, bytes, size, &parsed);
    if (status == NF_OK) {
        status = nf_loss_bank(context, &loss, parsed, nf_matrix_f64(x, 3, 2), of, NULL, &result,
                              nf_matrix_out_f64(gradient, 3, 2));
    }
    if (status == NF_OK) {
        memcpy(out->gradient, gradient, sizeof gradient);
        out->result = result;
        out->rows = nf_bank_get_rows(parsed).x.rows;
    }
    nf_bytes_free(context, bytes);
    nf_bank_free(context, bank);
    nf_bank_free(context, loaded);
    nf_bank_free(context, parsed);
    return status;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    outputs out;
    memset(&out, 0, sizeof out);
    assert_true(test_fail_every_allocation(1, whole_life, &out, &out, sizeof out) > 0);
    assert_int_equal(out.rows, 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_rows_stay),
        cmocka_unit_test(the_loss_is_that_of_the_reference_form),
        cmocka_unit_test(a_row_without_id_does_not_meet_itself),
        cmocka_unit_test(what_does_not_fit_is_refused_and_changes_nothing),
        cmocka_unit_test(a_loaded_bank_goes_on),
        cmocka_unit_test(a_damaged_file_is_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
