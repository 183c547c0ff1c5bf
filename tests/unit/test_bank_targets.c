/* Rows of a memory bank with what they bring besides a label: against the query x reference forms with
 * the targets looked up by hand, through a file, and what is refused. */
#include "support.h"

#include <stdbool.h>
#include <unistd.h>

enum { STEPS = 6, N = 5, ROWS = STEPS * N, D = 3, CAPACITY = 12 };
enum { SETS = 1, WEIGHTS = 2, GROUPS = 4, CLASSES = 8, ALL_WAYS = 16 };

static const nf_class_weight class_weights[] = {{0, 0.5}, {2, 3}};

/* All rows that are ever pushed; row k has the id k. */
typedef struct history {
    double x[ROWS * D], weight[ROWS];
    int64_t label[ROWS], group[ROWS], set_label[3 * ROWS];
    size_t offset[ROWS + 1];
} history;

static history *make_history(uint64_t seed) {
    history *h = calloc(1, sizeof *h);
    int64_t size[ROWS];
    test_random_f64(seed, h->x, ROWS * D, -1, 1);
    test_random_f64(seed + 1, h->weight, ROWS, 0, 2);
    test_random_labels(seed, h->label, ROWS, 0, 2);
    test_random_labels(seed + 1, h->group, ROWS, 0, 9);
    test_random_labels(seed + 2, h->set_label, 3 * ROWS, 0, 6);
    test_random_labels(seed + 3, size, ROWS, 0, 2);
    for (size_t r = 0; r < ROWS; r++) h->offset[r + 1] = h->offset[r] + (size_t)size[r];
    return h;
}

/* Targets of some rows, in arrays of their own. */
typedef struct picked {
    double x[ROWS * D], weight[ROWS];
    int64_t label[ROWS], group[ROWS], set_label[3 * ROWS];
    size_t offset[ROWS + 1];
    nf_label_sets sets;
    nf_row_targets targets;
    nf_labels labels;
} picked;

static void pick(const history *h, const int64_t *ids, size_t n, int ways, picked *out) {
    memset(out, 0, sizeof *out);
    for (size_t k = 0; k < n; k++) {
        const size_t r = (size_t)ids[k], count = h->offset[r + 1] - h->offset[r];
        memcpy(out->x + k * D, h->x + r * D, D * sizeof *h->x);
        out->weight[k] = h->weight[r];
        out->label[k] = h->label[r];
        out->group[k] = h->group[r];
        memcpy(out->set_label + out->offset[k], h->set_label + h->offset[r],
               count * sizeof *h->set_label);
        out->offset[k + 1] = out->offset[k] + count;
    }
    out->sets = (nf_label_sets){out->offset, out->set_label};
    if (ways & SETS) out->targets.sets = &out->sets;
    if (ways & WEIGHTS) out->targets.row_weight = out->weight;
    if (ways & GROUPS) out->targets.group = out->group;
    if (!(ways & SETS)) out->labels = (nf_labels){out->label, n, 0};
    if (!(ways & CLASSES)) return;
    out->targets.class_weight = class_weights;
    out->targets.class_weights = 2;
}

static const char *const names[] = {"weston", "supcon", "lifted", "triplet", "margin"};
enum { NAMES = sizeof names / sizeof names[0] };

static void step_ids(size_t step, int64_t *ids) {
    for (size_t k = 0; k < N; k++) ids[k] = (int64_t)(step * N + k);
}

static nf_loss loss_of(nf_context *context, size_t k, bool none) {
    nf_loss loss;
    assert_ok(context, nf_loss_preset(context, names[k], &loss));
    if (none && k > 0) loss.reduction = NF_REDUCE_NONE;
    return loss;
}

static void a_row_keeps_what_it_came_with(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    static const double upstream[N] = {1, -2, 0.5, 3, 1};
    for (size_t k = 0; k < NAMES; k++) {
        for (int ways = 0; ways < ALL_WAYS; ways++) {
            if ((ways & SETS) && (ways & CLASSES)) continue;
            history *h = make_history(k + 10);
            nf_bank *bank = NULL;
            const bool none = ways % 3 == 1;
            uint64_t pairs[2] = {0, 0};
            const nf_loss loss = loss_of(context, k, none);
            assert_ok(context, nf_bank_create(context, CAPACITY, D, NF_FLOAT64, &bank));
            for (size_t step = 0; step < STEPS; step++) {
                int64_t ids[N];
                double gradient[N * D], want[N * D], terms[2][N] = {{0}};
                static picked own, held;
                nf_loss_result result, wanted;
                const nf_row_terms extras[2] = {
                    {terms[0], loss.reduction == NF_REDUCE_NONE ? upstream : NULL},
                    {terms[1], loss.reduction == NF_REDUCE_NONE ? upstream : NULL}};
                step_ids(step, ids);
                pick(h, ids, N, ways, &own);
                const nf_matrix x = nf_matrix_f64(own.x, N, D);
                assert_ok(context,
                          nf_loss_targets_bank(context, &loss, bank, x, own.labels, ids,
                                               &own.targets, k > 0 ? &extras[0] : NULL, &result,
                                               nf_matrix_out_f64(gradient, N, D)));
                const nf_bank_rows rows = nf_bank_get_rows(bank);
                assert_int_equal(rows.x.rows, step < 2 ? (step + 1) * N : CAPACITY);
                pick(h, rows.ids, rows.x.rows, k > 0 ? ways & ~(WEIGHTS | CLASSES) : ways, &held);
                const nf_loss_sets sets = {x,          nf_matrix_f64(held.x, rows.x.rows, D),
                                           own.labels, held.labels,
                                           ids,        rows.ids};
                const nf_reference_targets both = {.query = own.targets, .reference = held.targets};
                assert_ok(context, nf_loss_targets_reference(
                                       context, &loss, &sets, &both, k > 0 ? &extras[1] : NULL,
                                       &wanted, nf_matrix_out_f64(want, N, D), (nf_matrix_out){0}));
                assert_memory_equal(&result, &wanted, sizeof result);
                assert_memory_equal(gradient, want, sizeof gradient);
                assert_memory_equal(terms[0], terms[1], sizeof terms[0]);
                pairs[0] += result.negative_pairs;
                pairs[1] += result.positive_pairs;
            }
            assert_true(pairs[0] > 50 && pairs[1] > 10);
            nf_bank_free(context, bank);
            free(h);
        }
    }
    nf_context_free(context);
}

/* Terms and a learnt boundary without targets. */
static void other_forms_meet_the_bank(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    history *h = make_history(3);
    const double betas[3] = {0.6, 0.8, 1}, upstream[N] = {1, 2, 0, -1, 1};
    nf_bank *bank = NULL, *other = NULL;
    const nf_loss supcon = loss_of(context, 1, true), margin = loss_of(context, 4, false);
    assert_ok(context, nf_bank_create(context, CAPACITY, D, NF_FLOAT64, &bank));
    assert_ok(context, nf_bank_create(context, CAPACITY, D, NF_FLOAT64, &other));
    for (size_t step = 0; step < STEPS; step++) {
        double gradient[2][N * D], terms[2][N], slopes[2][3];
        nf_loss_result result[2];
        const nf_matrix x = nf_matrix_f64(h->x + step * N * D, N, D);
        const nf_labels labels = {h->label + step * N, N, 0};
        const nf_matrix_out none = {0};
        nf_row_terms extras = {terms[0], upstream};
        nf_margin_beta beta = {betas, 3, 0.1, slopes[0], 1};
        int64_t ids[N];
        step_ids(step, ids);
        assert_ok(context, nf_loss_anchors_bank(context, &supcon, bank, x, labels, NULL, &extras,
                                                &result[0], nf_matrix_out_f64(gradient[0], N, D)));
        nf_bank_rows rows = nf_bank_get_rows(bank);
        nf_loss_sets sets = {x, rows.x, labels, rows.labels, ids, rows.ids};
        extras.terms = terms[1];
        assert_ok(context, nf_loss_anchors_reference(context, &supcon, &sets, &extras, &result[1],
                                                     nf_matrix_out_f64(gradient[1], N, D), none));
        assert_memory_equal(&result[0], &result[1], sizeof result[0]);
        assert_memory_equal(gradient[0], gradient[1], sizeof gradient[0]);
        assert_memory_equal(terms[0], terms[1], sizeof terms[0]);
        assert_ok(context, nf_loss_margin_bank(context, &margin, other, x, labels, NULL, &beta,
                                               &result[0], nf_matrix_out_f64(gradient[0], N, D)));
        beta.gradient = slopes[1];
        assert_ok(context, nf_loss_margin_reference(context, &margin, &sets, &beta, &result[1],
                                                    nf_matrix_out_f64(gradient[1], N, D), none));
        assert_memory_equal(&result[0], &result[1], sizeof result[0]);
        assert_memory_equal(gradient[0], gradient[1], sizeof gradient[0]);
        assert_memory_equal(slopes[0], slopes[1], sizeof slopes[0]);
    }
    nf_bank_free(context, bank);
    nf_bank_free(context, other);
    free(h);
    nf_context_free(context);
}

static void what_does_not_fit_is_refused_and_changes_nothing(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    history *h = make_history(4);
    nf_bank *bank = NULL;
    int64_t ids[N];
    static picked with, without;
    nf_loss_result result;
    const nf_loss weston = loss_of(context, 0, false), supcon = loss_of(context, 1, false);
    const nf_matrix_out none = {0};
    step_ids(0, ids);
    pick(h, ids, N, SETS | WEIGHTS | GROUPS, &with);
    pick(h, ids, N, 0, &without);
    const nf_matrix x = nf_matrix_f64(with.x, N, D);
    const nf_row_targets given = with.targets;
    assert_ok(context, nf_bank_create(context, CAPACITY, D, NF_FLOAT64, &bank));
    assert_ok(context, nf_bank_push_targets(context, bank, x, (nf_labels){0}, NULL, &with.targets));
#define REFUSED(status, text)                                                                      \
    assert_fails(context,                                                                          \
                 nf_loss_targets_bank(context, &weston, bank, x, with.labels, NULL, &with.targets, \
                                      NULL, &result, none),                                        \
                 status, text);                                                                    \
    with.targets = given
    assert_fails(context, nf_bank_push(context, bank, x, without.labels, NULL), NF_ERR_ARG,
                 "without label sets and those of the bank with them");
    with.targets.row_weight = NULL;
    REFUSED(NF_ERR_ARG, "without row weights");
    with.targets.group = NULL;
    REFUSED(NF_ERR_ARG, "without groups");
    with.weight[1] = -1;
    REFUSED(NF_ERR_DATA, "targets.row_weight[1] is -1");
    with.weight[1] = 1;
    with.offset[1] = 9;
    REFUSED(NF_ERR_DATA, "offsets must ascend");
    with.labels = without.labels;
    REFUSED(NF_ERR_ARG, "labels and targets.sets are given");
#undef REFUSED
    nf_row_terms extras = {with.weight, NULL};
    with.labels = (nf_labels){0};
    pick(h, ids, N, SETS | WEIGHTS | GROUPS, &with);
    assert_fails(context,
                 nf_loss_targets_bank(context, &weston, bank, x, with.labels, NULL, &with.targets,
                                      &extras, &result, none),
                 NF_ERR_ARG, "terms of pairs");
    assert_fails(
        context,
        nf_loss_margin_bank(context, &supcon, bank, x, with.labels, NULL, NULL, &result, none),
        NF_ERR_ARG, "");
    assert_int_equal(nf_bank_get_rows(bank).x.rows, N);
    nf_bank_reset(bank);
    assert_fails(
        context,
        nf_loss_margin_bank(context, &supcon, bank, x, without.labels, NULL, NULL, &result, none),
        NF_ERR_ARG, "beta belongs to kind margin");
    assert_ok(context, nf_bank_push(context, bank, x, without.labels, NULL));
    assert_null(nf_bank_get_rows(bank).sets.offset);
    assert_ok(context,
              nf_loss_bank(context, &supcon, bank, x, without.labels, NULL, &result, none));
    nf_bank_free(context, bank);
    free(h);
    nf_context_free(context);
}

/* ---- files -------------------------------------------------------------------------------------- */

static char folder[] = "/tmp/nearfar-bank-targets-XXXXXX";
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

static void assert_same_rows(const nf_bank *one, const nf_bank *two) {
    const nf_bank_rows a = nf_bank_get_rows(one), b = nf_bank_get_rows(two);
    const size_t n = a.x.rows;
    assert_int_equal(n, b.x.rows);
    assert_memory_equal(a.x.data, b.x.data, n * D * sizeof(double));
    assert_memory_equal(a.ids, b.ids, n * sizeof(int64_t));
    assert_true((a.sets.offset == NULL) == (b.sets.offset == NULL));
    assert_true((a.row_weight == NULL) == (b.row_weight == NULL));
    assert_true((a.group == NULL) == (b.group == NULL));
    if (a.row_weight != NULL) assert_memory_equal(a.row_weight, b.row_weight, n * sizeof(double));
    if (a.group != NULL) assert_memory_equal(a.group, b.group, n * sizeof(int64_t));
    if (a.sets.offset == NULL) return;
    assert_memory_equal(a.sets.offset, b.sets.offset, (n + 1) * sizeof(size_t));
    assert_memory_equal(a.sets.label, b.sets.label, a.sets.offset[n] * sizeof(int64_t));
}

static void a_loaded_bank_goes_on(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    for (int ways = 0; ways < CLASSES; ways++) {
        history *h = make_history(5);
        nf_bank *bank = NULL;
        assert_ok(context, nf_bank_create(context, CAPACITY, D, NF_FLOAT64, &bank));
        for (size_t step = 0; step < STEPS; step++) {
            nf_bank *loaded = NULL;
            int64_t ids[N];
            static picked own;
            step_ids(step, ids);
            pick(h, ids, N, ways, &own);
            assert_ok(context, nf_bank_save(context, bank, path));
            assert_ok(context, nf_bank_load(context, path, &loaded));
            for (int b = 0; b < 2; b++) {
                assert_ok(context, nf_bank_push_targets(context, b == 0 ? bank : loaded,
                                                        nf_matrix_f64(own.x, N, D), own.labels,
                                                        NULL, &own.targets));
            }
            assert_same_rows(bank, loaded);
            nf_bank_free(context, loaded);
        }
        nf_bank_free(context, bank);
        free(h);
    }
    nf_context_free(context);
}

static nf_tensor vector(const char *name, nf_dtype dtype, size_t count, const void *data) {
    return (nf_tensor){name, dtype, 1, {count}, count, data};
}

static void a_damaged_file_is_refused(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const nf_metadata metadata[] = {{"capacity", "3"},       {"format", "nearfar-bank"},
                                    {"has_unlabelled", "0"}, {"next", "2"},
                                    {"pushed", "2"},         {"version", "1"}};
    const double x[2] = {1, 2};
    double weight[2] = {1, 2};
    const int64_t label[3] = {3, 4, 5};
    int64_t offset[3] = {0, 1, 3};
    nf_tensor tensor[] = {{"embeddings", NF_DTYPE_F64, 2, {2, 1}, 2, x},
                          vector("groups", NF_DTYPE_I64, 2, label),
                          vector("ids", NF_DTYPE_I64, 2, label),
                          vector("labels", NF_DTYPE_I64, 2, label),
                          vector("set_labels", NF_DTYPE_I64, 3, label),
                          vector("set_offsets", NF_DTYPE_I64, 3, offset),
                          vector("weights", NF_DTYPE_F64, 2, weight)};
    nf_bank *bank = NULL;
#define WRITE(count) \
    assert_ok(context, nf_safetensors_write(context, path, tensor, count, metadata, 6))
#define REFUSED(text)                                                             \
    WRITE(7);                                                                     \
    assert_fails(context, nf_bank_load(context, path, &bank), NF_ERR_DATA, text); \
    assert_null(bank)
    WRITE(7);
    assert_ok(context, nf_bank_load(context, path, &bank));
    nf_bank_free(context, bank);
    bank = NULL;
    WRITE(5);
    assert_fails(context, nf_bank_load(context, path, &bank), NF_ERR_DATA, "set_offsets");
    weight[1] = -1;
    REFUSED("a weight");
    weight[1] = 1;
    offset[1] = 4;
    REFUSED("do not ascend");
    offset[1] = 1;
    offset[2] = 2;
    REFUSED("do not ascend");
    offset[2] = 3;
    tensor[1].dtype = NF_DTYPE_F64;
    REFUSED("groups must be int64");
    tensor[1].dtype = NF_DTYPE_I64;
    tensor[6].name = "waits";
    REFUSED("a tensor that no bank has");
#undef REFUSED
#undef WRITE
    nf_context_free(context);
}

/* ---- memory ------------------------------------------------------------------------------------- */

typedef struct outputs {
    double gradient[3][N * D], terms[N], slope;
    nf_loss_result result[3];
    uint64_t rows, set_labels;
} outputs;

static nf_status three_losses(nf_context *context, nf_bank *banks[3], outputs *out) {
    history *h = make_history(6);
    int64_t ids[N];
    static picked own;
    nf_loss loss[3];
    const double beta_value = 0.9;
    const nf_row_terms extras = {out->terms, NULL};
    const nf_margin_beta beta = {&beta_value, 1, 0, &out->slope, 0};
    nf_status status = NF_OK;
    step_ids(1, ids);
    pick(h, ids, N, SETS | WEIGHTS | GROUPS, &own);
    const nf_matrix x = nf_matrix_f64(own.x, N, D);
    const nf_labels labels = {own.label, N, 0};
    nf_matrix_out gradient[3];
    for (int k = 0; k < 3; k++) {
        gradient[k] = nf_matrix_out_f64(out->gradient[k], N, D);
        if (status == NF_OK) status = nf_loss_preset(context, names[k == 2 ? 4 : 1], &loss[k]);
    }
    if (status == NF_OK) {
        status = nf_loss_targets_bank(context, &loss[0], banks[0], x, own.labels, NULL,
                                      &own.targets, NULL, &out->result[0], gradient[0]);
    }
    if (status == NF_OK) {
        status = nf_loss_anchors_bank(context, &loss[1], banks[1], x, labels, NULL, &extras,
                                      &out->result[1], gradient[1]);
    }
    if (status == NF_OK) {
        status = nf_loss_margin_bank(context, &loss[2], banks[2], x, labels, NULL, &beta,
                                     &out->result[2], gradient[2]);
    }
    free(h);
    return status;
}

static nf_status whole_life(nf_context *context, void *user) {
    outputs *out = user, made = {0};
    nf_bank *banks[3] = {NULL, NULL, NULL}, *loaded = NULL;
    nf_status status = NF_OK;
    for (int k = 0; k < 3 && status == NF_OK; k++) {
        status = nf_bank_create(context, CAPACITY, D, NF_FLOAT64, &banks[k]);
    }
    if (status == NF_OK) status = three_losses(context, banks, &made);
    if (status == NF_OK) status = nf_bank_save(context, banks[0], path);
    if (status == NF_OK) status = nf_bank_load(context, path, &loaded);
    if (status == NF_OK) {
        const size_t offset[2] = {0, 1};
        const int64_t label = 3;
        const double weight = 2;
        const nf_label_sets sets = {offset, &label};
        const nf_row_targets targets = {.sets = &sets, .row_weight = &weight, .group = &label};
        const double x[D] = {1, 2, 3};
        status = nf_bank_push_targets(context, loaded, nf_matrix_f64(x, 1, D), (nf_labels){0}, NULL,
                                      &targets);
    }
    if (status == NF_OK) {
        const nf_bank_rows rows = nf_bank_get_rows(loaded);
        made.rows = rows.x.rows;
        made.set_labels = rows.sets.offset[rows.x.rows];
        *out = made;
    }
    for (int k = 0; k < 3; k++) nf_bank_free(context, banks[k]);
    nf_bank_free(context, loaded);
    return status;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    static outputs out;
    assert_true(test_fail_every_allocation(1, whole_life, &out, &out, sizeof out) > 0);
    assert_int_equal(out.rows, N + 1);
    for (int k = 0; k < 3; k++) assert_true(out.result[k].value > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_keeps_what_it_came_with),
        cmocka_unit_test(other_forms_meet_the_bank),
        cmocka_unit_test(what_does_not_fit_is_refused_and_changes_nothing),
        cmocka_unit_test(a_loaded_bank_goes_on),
        cmocka_unit_test(a_damaged_file_is_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
