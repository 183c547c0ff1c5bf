/* Targets: every way of saying what is positive, weights and groups, against a list of the same pairs;
 * hard labels against the batch form. */
#include "support.h"

#include <math.h>

enum { N = 131, D = 5, PAIRS = N * (N - 1) / 2 };

typedef struct data {
    double x[N * D];
    float narrow[N * D];
    int64_t label[N], group[N];
    double soft[N * N], pair_weight[N * N], row_weight[N];
    size_t offset[N + 1];
    int64_t set_label[4 * N];
} data;

static data *make_data(uint64_t seed) {
    data *d = calloc(1, sizeof *d);
    test_random_f32(seed, d->narrow, N * D, -0.7, 0.7);
    for (size_t k = 0; k < N * D; k++) d->x[k] = (double)d->narrow[k];
    test_random_labels(seed, d->label, N, -1, 4);
    test_random_labels(seed + 1, d->group, N, 0, 20);
    test_random_f64(seed, d->soft, N * N, 0, 1);
    for (size_t k = 0; k < N * N; k += 3) d->soft[k] = k % 2 == 0 ? 0 : 1; /* some are hard */
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j <= i; j++) d->soft[i * N + j] = NAN; /* never read */
    }
    test_random_f64(seed + 2, d->pair_weight, N * N, 0, 2);
    d->pair_weight[1] = 0;
    test_random_f64(seed + 3, d->row_weight, N, 0, 2);
    int64_t size[N], label[4 * N];
    test_random_labels(seed + 4, size, N, 0, 4);
    test_random_labels(seed + 5, label, 4 * N, 0, 12);
    for (size_t i = 0; i < N; i++) {
        d->offset[i + 1] = d->offset[i] + (size_t)size[i];
        memcpy(d->set_label + d->offset[i], label + 4 * i, (size_t)size[i] * sizeof *label);
    }
    return d;
}

enum { LABELS, SETS, SOFT, SOURCES };

static nf_targets targets_of(const data *d, int source, nf_label_sets *sets, int extras) {
    static const nf_class_weight weights[] = {{0, 0.5}, {3, 2}, {-1, 7}, {99, 4}};
    nf_targets t = {0};
    *sets = (nf_label_sets){d->offset, d->set_label};
    if (source == LABELS) t.labels = (nf_labels){d->label, N, 1};
    if (source == SETS) t.sets = sets;
    if (source == SOFT) t.soft = nf_matrix_f64(d->soft, N, N);
    if (extras & 1) t.row_weight = d->row_weight;
    if (extras & 2) t.pair_weight = nf_matrix_f64(d->pair_weight, N, N);
    if (extras & 4) t.group = d->group;
    if ((extras & 8) && source == LABELS) {
        t.class_weight = weights;
        t.class_weights = sizeof weights / sizeof weights[0];
    }
    return t;
}

/* ---- the same pairs as a list ------------------------------------------------------------------ */

typedef struct list {
    size_t count;
    int64_t i[2 * PAIRS], j[2 * PAIRS];
    uint8_t same[2 * PAIRS];
    double weight[2 * PAIRS], term[2 * PAIRS], share[2 * PAIRS];
    double pairs, total_weight, mass[2];
    uint64_t positive, negative;
} list;

static double weight_of_class(int64_t label) { return label == 0 ? 0.5 : label == 3 ? 2 : 1; }

static int share_a_label(const data *d, size_t i, size_t j) {
    for (size_t a = d->offset[i]; a < d->offset[i + 1]; a++) {
        for (size_t b = d->offset[j]; b < d->offset[j + 1]; b++) {
            if (d->set_label[a] == d->set_label[b]) return 1;
        }
    }
    return 0;
}

static void put(list *l, size_t i, size_t j, int same, double share, double weight) {
    if (share <= 0) return;
    size_t at = l->count++;
    l->i[at] = (int64_t)i;
    l->j[at] = (int64_t)j;
    l->same[at] = (uint8_t)same;
    l->share[at] = share;
    l->weight[at] = weight * share;
    l->mass[same] += share;
    if (same) {
        l->positive++;
    } else {
        l->negative++;
    }
}

static void fill_list(const data *d, int source, int extras, list *l) {
    memset(l, 0, sizeof *l);
    for (size_t i = 0; i < N; i++) {
        for (size_t j = i + 1; j < N; j++) {
            double y = d->soft[i * N + j], w = 1;
            if (source == LABELS) {
                if (d->label[i] == -1 || d->label[j] == -1) continue;
                y = d->label[i] == d->label[j];
            }
            if (source == SETS) {
                if (d->offset[i] == d->offset[i + 1] || d->offset[j] == d->offset[j + 1]) continue;
                y = share_a_label(d, i, j);
            }
            if ((extras & 4) && d->group[i] == d->group[j]) continue;
            if (extras & 1) w *= d->row_weight[i] * d->row_weight[j];
            if (extras & 2) w *= d->pair_weight[i * N + j];
            if ((extras & 8) && source == LABELS) {
                w *= weight_of_class(d->label[i]) * weight_of_class(d->label[j]);
            }
            l->pairs += 1;
            l->total_weight += w;
            put(l, i, j, 1, y, w);
            put(l, i, j, 0, 1 - y, w);
        }
    }
}

/* The scale of each side, from the words of the header. */
static void scales(const list *l, const nf_loss *loss, double scale[2]) {
    const nf_reduction reduction = loss->reduction;
    double active[2] = {0, 0};
    for (size_t p = 0; p < l->count; p++) {
        if (l->term[p] > 0) active[l->same[p]] += l->share[p];
    }
    for (int s = 0; s < 2; s++) {
        double by = reduction == NF_REDUCE_SUM             ? 1
                    : reduction == NF_REDUCE_MEAN          ? l->pairs
                    : reduction == NF_REDUCE_WEIGHTED_MEAN ? l->total_weight
                    : reduction == NF_REDUCE_MEAN_SIDES    ? l->mass[s]
                    : reduction == NF_REDUCE_DIVISOR       ? loss->divisor
                                                           : active[s];
        scale[s] = by > 0 ? 1 / by : 0;
    }
}

static void assert_near(double got, double want, double tolerance) {
    if (!(fabs(got - want) <= tolerance)) fail_msg("%.17g is not %.17g", got, want);
}

/* Value and gradient of the targets against the list, float64 or float32. */
static void compare(nf_context *context, const data *d, const nf_loss *loss, int source, int extras,
                    list *l, int narrow) {
    nf_label_sets sets;
    nf_targets targets = targets_of(d, source, &sets, extras);
    double got[N * D], want[N * D], upstream[2 * PAIRS], scale[2], value = 0;
    float got_narrow[N * D];
    nf_loss_result result, listed;
    nf_matrix x = narrow ? nf_matrix_f32(d->narrow, N, D) : nf_matrix_f64(d->x, N, D);
    nf_matrix_out out = narrow ? nf_matrix_out_f32(got_narrow, N, D) : nf_matrix_out_f64(got, N, D);
    assert_ok(context, nf_loss_targets(context, loss, x, &targets, &result, out));
    for (size_t k = 0; narrow && k < N * D; k++) got[k] = (double)got_narrow[k];

    fill_list(d, source, extras, l);
    nf_loss one = *loss;
    one.reduction = NF_REDUCE_NONE;
    one.divisor = 0;
    nf_pairs pairs = {
        .count = l->count, .i = l->i, .j = l->j, .same = l->same, .weight = l->weight};
    nf_pair_terms terms = {.terms = l->term};
    assert_ok(context, nf_loss_pairs(context, &one, nf_matrix_f64(d->x, N, D), pairs, &terms,
                                     &listed, (nf_matrix_out){0}));
    scales(l, loss, scale);
    for (size_t p = 0; p < l->count; p++) {
        upstream[p] = scale[l->same[p]];
        value += upstream[p] * l->term[p];
    }
    terms.upstream = upstream;
    assert_ok(context, nf_loss_pairs(context, &one, nf_matrix_f64(d->x, N, D), pairs, &terms,
                                     &listed, nf_matrix_out_f64(want, N, D)));
    double norm = 0;
    for (size_t k = 0; k < N * D; k++) norm = fmax(norm, fabs(want[k]));
    const double epsilon = narrow ? 2e-5 : 1e-12;
    assert_near(result.value, value, epsilon * fmax(1e-3, value));
    for (size_t k = 0; k < N * D; k++) assert_near(got[k], want[k], epsilon * fmax(1e-3, norm));
    assert_int_equal(result.positive_pairs, l->positive);
    assert_int_equal(result.negative_pairs, l->negative);
}

static void a_list_of_the_same_pairs_agrees(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    data *d = make_data(1);
    list *l = malloc(sizeof *l);
    static const nf_reduction reductions[] = {NF_REDUCE_SUM,           NF_REDUCE_MEAN,
                                              NF_REDUCE_WEIGHTED_MEAN, NF_REDUCE_MEAN_SIDES,
                                              NF_REDUCE_MEAN_NONZERO,  NF_REDUCE_DIVISOR};
    static const char *const presets[] = {"weston", "hinge", "pml", "sbert"};
    for (int source = LABELS; source < SOURCES; source++) {
        for (int extras = 0; extras < 16; extras++) {
            for (size_t r = 0; r < 6; r++) {
                nf_loss loss;
                assert_ok(context,
                          nf_loss_preset(context, presets[(r + (size_t)extras) % 4], &loss));
                loss.reduction = reductions[r];
                loss.divisor = r == 5 ? 7.5 : 0;
                loss.pos_weight = 0.3;
                loss.scale = 3;
                compare(context, d, &loss, source, extras, l, 0);
                if (extras % 5 == 0) compare(context, d, &loss, source, extras, l, 1);
            }
        }
    }
    nf_loss loss = nf_loss_weston(); /* another metric and exponent for negatives */
    loss.neg_metric = NF_CITYBLOCK;
    loss.neg_exponent = 1.5;
    for (int source = LABELS; source < SOURCES; source++)
        compare(context, d, &loss, source, 7, l, 0);
    free(l);
    free(d);
    nf_context_free(context);
}

static void hard_labels_are_the_batch_form(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    data *d = make_data(2);
    for (size_t p = 0; nf_loss_preset_name(p) != NULL; p++) {
        nf_loss loss;
        assert_ok(context, nf_loss_preset(context, nf_loss_preset_name(p), &loss));
        if (loss.kind != NF_KIND_CONTRASTIVE) continue;
        loss.stats = 1;
        double a[N * D], b[N * D];
        nf_loss_result targets_result, batch_result;
        nf_targets targets = {.labels = {d->label, N, 1}};
        nf_matrix x = nf_matrix_f64(d->x, N, D);
        assert_ok(context, nf_loss_targets(context, &loss, x, &targets, &targets_result,
                                           nf_matrix_out_f64(a, N, D)));
        assert_ok(context, nf_loss_batch(context, &loss, x, targets.labels, &batch_result,
                                         nf_matrix_out_f64(b, N, D)));
        assert_near(targets_result.value, batch_result.value, 1e-12);
        for (size_t k = 0; k < N * D; k++) assert_near(a[k], b[k], 1e-12);
        assert_int_equal(targets_result.positive_pairs, batch_result.positive_pairs);
        assert_int_equal(targets_result.negative_pairs, batch_result.negative_pairs);
        assert_int_equal(targets_result.active_negative, batch_result.active_negative);
        assert_int_equal(targets_result.active_positive, batch_result.active_positive);
        assert_near(targets_result.mean_negative_distance, batch_result.mean_negative_distance,
                    1e-12);
    }
    free(d);
    nf_context_free(context);
}

static int contrast(void *user, int same, size_t n, const double *t, double *value, double *slope) {
    (void)user;
    for (size_t k = 0; k < n; k++) {
        double e = same ? t[k] : fmax(0, 1 - t[k]);
        value[k] = e * e;
        slope[k] = same ? 2 * e : -2 * e;
    }
    return 0;
}

static int stubborn(void *user, int same, size_t n, const double *t, double *value, double *slope) {
    (void)t;
    (void)same;
    for (size_t k = 0; k < n; k++) value[k] = slope[k] = 0;
    return *(int *)user;
}

static void a_function_of_ones_own(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    data *d = make_data(3);
    nf_pair_function function = {.f64 = contrast};
    nf_loss own = nf_loss_user(&function), built_in = nf_loss_weston();
    nf_label_sets sets;
    nf_targets targets = targets_of(d, SOFT, &sets, 3);
    nf_matrix x = nf_matrix_f64(d->x, N, D);
    double a[N * D], b[N * D];
    nf_loss_result first, second;
    assert_ok(context,
              nf_loss_targets(context, &own, x, &targets, &first, nf_matrix_out_f64(a, N, D)));
    assert_ok(context, nf_loss_targets(context, &built_in, x, &targets, &second,
                                       nf_matrix_out_f64(b, N, D)));
    assert_near(first.value, second.value, 1e-12);
    for (size_t k = 0; k < N * D; k++) assert_near(a[k], b[k], 1e-12);
    int answer = 5;
    nf_pair_function failing = {.f64 = stubborn, .user = &answer};
    own = nf_loss_user(&failing);
    assert_fails(context,
                 nf_loss_targets(context, &own, x, &targets, &first, nf_matrix_out_f64(a, N, D)),
                 NF_ERR_CALLBACK, "returned 5");
    free(d);
    nf_context_free(context);
}

static void bits_do_not_depend_on_threads(void **state) {
    (void)state;
    data *d = make_data(4);
    nf_loss loss = nf_loss_weston();
    nf_label_sets sets;
    nf_targets targets = targets_of(d, SOFT, &sets, 7);
    float first[N * D];
    nf_loss_result one;
    for (int threads = 1; threads <= 7; threads++) {
        nf_context *context = test_context(threads);
        float gradient[N * D];
        nf_loss_result result;
        assert_ok(context, nf_loss_targets(context, &loss, nf_matrix_f32(d->narrow, N, D), &targets,
                                           &result, nf_matrix_out_f32(gradient, N, D)));
        if (threads == 1) {
            memcpy(first, gradient, sizeof first);
            one = result;
        }
        assert_memory_equal(first, gradient, sizeof first);
        assert_memory_equal(&one, &result, sizeof one);
        nf_context_free(context);
    }
    free(d);
}

static void no_pair_is_a_zero(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    double x[4] = {1, 2, 3, 4}, gradient[4] = {9, 9, 9, 9};
    int64_t group[2] = {5, 5}, label[2] = {0, 1};
    nf_loss loss = nf_loss_weston();
    nf_targets targets = {.labels = {label, 2, 0}, .group = group};
    nf_loss_result result;
    for (int r = 0; r < 5; r++) {
        loss.reduction = (nf_reduction[]){NF_REDUCE_SUM, NF_REDUCE_MEAN, NF_REDUCE_WEIGHTED_MEAN,
                                          NF_REDUCE_MEAN_SIDES, NF_REDUCE_MEAN_NONZERO}[r];
        for (size_t n = 0; n <= 2; n++) {
            targets.labels.n = n;
            gradient[0] = 9;
            assert_ok(context, nf_loss_targets(context, &loss, nf_matrix_f64(x, n, 2), &targets,
                                               &result, nf_matrix_out_f64(gradient, n, 2)));
            assert_true(result.value == 0 && result.positive_pairs + result.negative_pairs == 0);
            assert_true(n == 0 || gradient[0] == 0);
        }
    }
    nf_context_free(context);
}

static void bad_targets_are_named(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    double x[6] = {0, 1, 2, 3, 4, 5}, soft[9] = {0}, weight[3] = {1, 1, 1};
    int64_t label[3] = {0, 1, 0};
    size_t offset[4] = {0, 1, 2, 3};
    nf_loss_result result;
    nf_loss loss = nf_loss_weston();
#define REFUSED(status, text, ...)                                                        \
    do {                                                                                  \
        nf_targets t = {__VA_ARGS__};                                                     \
        assert_fails(context,                                                             \
                     nf_loss_targets(context, &loss, nf_matrix_f64(x, 3, 2), &t, &result, \
                                     (nf_matrix_out){0}),                                 \
                     status, text);                                                       \
    } while (0)
    nf_label_sets sets = {offset, label}, no_offset = {NULL, label}, no_label = {offset, NULL};
    REFUSED(NF_ERR_ARG, "0 of targets", .row_weight = weight);
    REFUSED(NF_ERR_ARG, "2 of targets", .labels = {label, 3, 0}, .sets = &sets);
    REFUSED(NF_ERR_ARG, "targets.labels has 2", .labels = {label, 2, 0});
    REFUSED(NF_ERR_ARG, "offset is NULL", .sets = &no_offset);
    REFUSED(NF_ERR_ARG, "label is NULL", .sets = &no_label);
    offset[1] = 3;
    REFUSED(NF_ERR_DATA, "offset[2] is 2", .sets = &sets);
    offset[0] = offset[1] = 1;
    REFUSED(NF_ERR_DATA, "offset[0] is 1", .sets = &sets);
    REFUSED(NF_ERR_ARG, "(2, 3)", .soft = nf_matrix_f64(soft, 2, 3));
    soft[5] = 1.5;
    REFUSED(NF_ERR_DATA, "pair (1, 2) is 1.5", .soft = nf_matrix_f64(soft, 3, 3));
    soft[5] = INFINITY;
    REFUSED(NF_ERR_DATA, "finite", .labels = {label, 3, 0},
            .pair_weight = nf_matrix_f64(soft, 3, 3));
    weight[2] = -1;
    REFUSED(NF_ERR_DATA, "row_weight[2] is -1", .labels = {label, 3, 0}, .row_weight = weight);
    nf_class_weight twice[2] = {{1, 1}, {1, 2}}, bad[1] = {{1, NAN}};
    REFUSED(NF_ERR_DATA, "label 1 twice", .labels = {label, 3, 0}, .class_weight = twice,
            .class_weights = 2);
    REFUSED(NF_ERR_DATA, "class_weight[0] is nan", .labels = {label, 3, 0}, .class_weight = bad,
            .class_weights = 1);
    soft[5] = 0;
    REFUSED(NF_ERR_ARG, "class weights need labels", .soft = nf_matrix_f64(soft, 3, 3),
            .class_weight = twice, .class_weights = 2);
    loss.reduction = NF_REDUCE_NONE;
    REFUSED(NF_ERR_ARG, "reduction is none", .labels = {label, 3, 0});
#undef REFUSED
    loss = nf_loss_weston();
    assert_fails(
        context,
        nf_loss_targets(context, &loss, nf_matrix_f64(x, 3, 2), NULL, &result, (nf_matrix_out){0}),
        NF_ERR_ARG, "targets is NULL");
    nf_context_free(context);
}

typedef struct output {
    double gradient[8];
    nf_loss_result result;
} output;

static nf_status small_loss(nf_context *context, void *user) {
    output *out = user;
    static const double x[8] = {0, 0, 1, 0, 0, 1, 1, 1};
    static const int64_t label[5] = {0, 1, 1, 2, 0};
    static const size_t offset[5] = {0, 1, 3, 4, 5};
    static const double row_weight[4] = {1, 2, 1, 0.5};
    nf_label_sets sets = {offset, label};
    nf_targets targets = {.sets = &sets, .row_weight = row_weight};
    nf_loss loss = nf_loss_weston();
    return nf_loss_targets(context, &loss, nf_matrix_f64(x, 4, 2), &targets, &out->result,
                           nf_matrix_out_f64(out->gradient, 4, 2));
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    output out;
    memset(&out, 0, sizeof out);
    assert_true(test_fail_every_allocation(1, small_loss, &out, &out, sizeof out) > 0);
    assert_true(out.result.value > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_of_the_same_pairs_agrees),
        cmocka_unit_test(hard_labels_are_the_batch_form),
        cmocka_unit_test(a_function_of_ones_own),
        cmocka_unit_test(bits_do_not_depend_on_threads),
        cmocka_unit_test(no_pair_is_a_zero),
        cmocka_unit_test(bad_targets_are_named),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
