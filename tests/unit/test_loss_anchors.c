/* The terms of rows as anchors, before reduction, and gradients that come down to them. */
#include "support.h"

#include <math.h>

enum { N = 36, D = 7 };

typedef struct fixture {
    double x[N * D];
    float x32[N * D];
    int64_t labels[N], ids[N];
} fixture;

/* Four classes and two unlabelled rows; every labelled row has positives and negatives. */
static void fill(fixture *f) {
    test_random_f64(3, f->x, N * D, -1, 1);
    for (int e = 0; e < N * D; e++) {
        f->x32[e] = (float)f->x[e];
        f->x[e] = (double)f->x32[e];
    }
    for (int r = 0; r < N; r++) f->labels[r] = 7 * ((r * r + r / 5) % 4), f->ids[r] = r;
    f->labels[4] = f->labels[19] = -1;
}

static nf_labels labels_of(const fixture *f) { return (nf_labels){f->labels, N, 1}; }

static const char *const names[] = {"nt-xent",
                                    "supcon",
                                    "nca",
                                    "multi-similarity",
                                    "circle",
                                    "lifted",
                                    "generalized-lifted",
                                    "n-pairs",
                                    "triplet",
                                    "tfa-semihard",
                                    "tfa-hard",
                                    "margin"};
enum { NAMES = sizeof names / sizeof names[0] };

static nf_loss loss_of(nf_context *context, const char *name) {
    nf_loss loss;
    assert_ok(context, nf_loss_preset(context, name, &loss));
    loss.scale = 1.5;
    loss.reduction = NF_REDUCE_NONE;
    if (loss.kind == NF_KIND_CIRCLE) loss.gamma = 4;
    return loss;
}

/* ---- values ----------------------------------------------------------------------------------- */

/* Rows at unit length, their euclidean distance. */
static double unit_distance(const fixture *f, int i, int j, int dot) {
    double a = 0, b = 0, ab = 0, sum = 0;
    for (int k = 0; k < D; k++) {
        a += f->x[i * D + k] * f->x[i * D + k];
        b += f->x[j * D + k] * f->x[j * D + k];
        ab += f->x[i * D + k] * f->x[j * D + k];
    }
    if (dot) return ab / sqrt(a * b);
    for (int k = 0; k < D; k++) {
        double e = f->x[i * D + k] / sqrt(a) - f->x[j * D + k] / sqrt(b);
        sum += e * e;
    }
    return sqrt(sum);
}

static double lifted_term(const fixture *f, int i) {
    double total = 0;
    for (int p = 0; p < N; p++) {
        if (p == i || f->labels[i] < 0 || f->labels[p] != f->labels[i]) continue;
        double sum = 0;
        for (int n = 0; n < N; n++) {
            if (f->labels[n] < 0 || f->labels[n] == f->labels[i]) continue;
            sum += exp(1 - unit_distance(f, i, n, 0)) + exp(1 - unit_distance(f, p, n, 0));
        }
        double z = log(sum) + unit_distance(f, i, p, 0);
        total += z > 0 ? z * z / 2 : 0;
    }
    return total;
}

/* First and second rows of the classes, by first appearance. */
static double n_pairs_term(const fixture *f, int i) {
    int first[4], second[4], classes = 0, own = -1;
    for (int r = 0; r < N; r++) {
        int earlier[2] = {0}, count = 0;
        for (int q = 0; q < r; q++) {
            if (f->labels[q] == f->labels[r] && count++ < 2) earlier[count - 1] = q;
        }
        if (f->labels[r] < 0 || count != 1) continue;
        first[classes] = earlier[0];
        second[classes++] = r;
    }
    assert_int_equal(classes, 4);
    double sum = 0;
    for (int c = 0; c < classes; c++) {
        if (first[c] == i) own = c;
    }
    if (own < 0) return 0;
    for (int c = 0; c < classes; c++) sum += exp(unit_distance(f, i, second[c], 1));
    return log(sum) - unit_distance(f, i, second[own], 1);
}

/* A row as the only query against the batch has the batch's term, but for losses whose terms look at
 * more than the pairs of a row. */
static double query_term(nf_context *context, const fixture *f, nf_loss loss, int i) {
    nf_loss_result r;
    loss.reduction = NF_REDUCE_SUM;
    nf_loss_sets sets = {nf_matrix_f64(f->x + i * D, 1, D),
                         nf_matrix_f64(f->x, N, D),
                         {f->labels + i, 1, 1},
                         labels_of(f),
                         f->ids + i,
                         f->ids};
    assert_ok(context,
              nf_loss_reference(context, &loss, &sets, &r, (nf_matrix_out){0}, (nf_matrix_out){0}));
    return r.value;
}

static void terms_are_those_of_the_rows(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    fixture f;
    fill(&f);
    for (int k = 0; k < NAMES; k++) {
        nf_loss loss = loss_of(context, names[k]);
        nf_loss_result none, sum;
        double terms[N], total = 0;
        nf_row_terms extras = {terms, NULL};
        assert_ok(context, nf_loss_anchors(context, &loss, nf_matrix_f64(f.x, N, D), labels_of(&f),
                                           &extras, &none, (nf_matrix_out){0}));
        for (int i = 0; i < N; i++) {
            double want = loss.kind == NF_KIND_LIFTED    ? loss.scale * lifted_term(&f, i)
                          : loss.kind == NF_KIND_N_PAIRS ? loss.scale * n_pairs_term(&f, i)
                                                         : query_term(context, &f, loss, i);
            if (!(fabs(terms[i] - want) <= 1e-11 * (1 + fabs(want)))) {
                fail_msg("%s: term %d is %.17g, want %.17g", names[k], i, terms[i], want);
            }
            total += terms[i];
        }
        loss.reduction = NF_REDUCE_SUM;
        assert_ok(context, nf_loss_batch(context, &loss, nf_matrix_f64(f.x, N, D), labels_of(&f),
                                         &sum, (nf_matrix_out){0}));
        assert_true(sum.value > 0 && none.value == sum.value);
        assert_true(fabs(total - sum.value) <= 1e-12 * sum.value);
        assert_true(terms[4] == 0 && terms[19] == 0);
    }
    nf_context_free(context);
}

/* ---- gradients -------------------------------------------------------------------------------- */

static double upstreamed(nf_context *context, const fixture *f, const nf_loss *loss,
                         const double *upstream) {
    double terms[N], sum = 0;
    nf_row_terms extras = {terms, NULL};
    nf_loss_result r;
    assert_ok(context, nf_loss_anchors(context, loss, nf_matrix_f64(f->x, N, D), labels_of(f),
                                       &extras, &r, (nf_matrix_out){0}));
    for (int i = 0; i < N; i++) sum += upstream[i] * terms[i];
    return sum;
}

/* Circle loss holds factors constant, so differences do not show its gradient. */
static void upstream_weighs_the_gradients_of_rows(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    fixture f;
    double upstream[N];
    fill(&f);
    test_random_f64(5, upstream, N, -1, 1);
    upstream[2] = 0;
    for (int k = 0; k < NAMES; k++) {
        nf_loss loss = loss_of(context, names[k]);
        if (loss.kind == NF_KIND_CIRCLE) continue;
        nf_loss_result r;
        double gradient[N * D];
        nf_row_terms extras = {NULL, upstream};
        assert_ok(context, nf_loss_anchors(context, &loss, nf_matrix_f64(f.x, N, D), labels_of(&f),
                                           &extras, &r, nf_matrix_out_f64(gradient, N, D)));
        for (int e = 0; e < N * D; e += 5) {
            const double kept = f.x[e], h = 1e-6;
            f.x[e] = kept + h;
            double up = upstreamed(context, &f, &loss, upstream);
            f.x[e] = kept - h;
            double down = upstreamed(context, &f, &loss, upstream), want = (up - down) / (2 * h);
            f.x[e] = kept;
            if (!(fabs(gradient[e] - want) <= 3e-6 * (1 + fabs(want)))) {
                fail_msg("%s: gradient %d is %.10g, by differences %.10g", names[k], e, gradient[e],
                         want);
            }
        }
    }
    nf_context_free(context);
}

/* The gradients of single rows sum up to that of all, circle included. */
static void rows_add_up(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    fixture f;
    fill(&f);
    for (int k = 0; k < NAMES; k++) {
        nf_loss loss = loss_of(context, names[k]);
        nf_loss_result r;
        double all[N * D], one[N * D], sum[N * D] = {0}, upstream[N] = {0}, most = 0;
        assert_ok(context, nf_loss_anchors(context, &loss, nf_matrix_f64(f.x, N, D), labels_of(&f),
                                           NULL, &r, nf_matrix_out_f64(all, N, D)));
        for (int i = 0; i < N; i++) {
            nf_row_terms extras = {NULL, upstream};
            upstream[i] = 1;
            assert_ok(context,
                      nf_loss_anchors(context, &loss, nf_matrix_f64(f.x, N, D), labels_of(&f),
                                      &extras, &r, nf_matrix_out_f64(one, N, D)));
            upstream[i] = 0;
            for (int e = 0; e < N * D; e++) sum[e] += one[e];
        }
        for (int e = 0; e < N * D; e++) most = fmax(most, fabs(all[e]));
        for (int e = 0; e < N * D; e++) assert_true(fabs(all[e] - sum[e]) <= 1e-12 * most);
    }
    nf_context_free(context);
}

/* With a reduction to one number the terms come beside what nf_loss_batch gives, bit for bit. */
static void other_reductions_are_the_batch_form(void **state) {
    (void)state;
    nf_context *contexts[2] = {test_context(1), test_context(3)};
    fixture f;
    fill(&f);
    for (int k = 0; k < NAMES; k++) {
        nf_loss loss = loss_of(contexts[0], names[k]);
        loss.reduction = k % 2 ? NF_REDUCE_MEAN : NF_REDUCE_MEAN_NONZERO;
        nf_loss_result r[2];
        float gradient[2][N * D];
        double terms[2][N];
        assert_ok(contexts[0],
                  nf_loss_batch(contexts[0], &loss, nf_matrix_f32(f.x32, N, D), labels_of(&f),
                                &r[0], nf_matrix_out_f32(gradient[0], N, D)));
        for (int c = 0; c < 2; c++) {
            nf_row_terms extras = {terms[c], NULL};
            assert_ok(contexts[c],
                      nf_loss_anchors(contexts[c], &loss, nf_matrix_f32(f.x32, N, D), labels_of(&f),
                                      &extras, &r[1], nf_matrix_out_f32(gradient[1], N, D)));
            assert_memory_equal(&r[0], &r[1], sizeof r[0]);
            assert_memory_equal(gradient[0], gradient[1], sizeof gradient[0]);
        }
        assert_memory_equal(terms[0], terms[1], sizeof terms[0]);
    }
    nf_context_free(contexts[0]), nf_context_free(contexts[1]);
}

/* ---- edges ------------------------------------------------------------------------------------ */

static void rows_without_terms_are_zero(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const double x[6] = {1, 2, 3, 4, 5, 7};
    const int64_t labels[3][3] = {{0, 1, 2}, {5, 5, 5}, {-1, -1, 3}};
    for (int k = 0; k < NAMES; k++) {
        nf_loss loss = loss_of(context, names[k]);
        for (int l = 0; l < 3; l++) {
            for (size_t n = 0; n <= 3; n++) {
                double terms[3] = {9, 9, 9};
                nf_loss_result r;
                nf_row_terms extras = {terms, NULL};
                assert_ok(context, nf_loss_anchors(context, &loss, nf_matrix_f64(x, n, 2),
                                                   (nf_labels){labels[l], n, 1}, &extras, &r,
                                                   (nf_matrix_out){0}));
                double sum = 0;
                for (size_t i = 0; i < n; i++) sum += terms[i];
                assert_true(fabs(sum - r.value) <= 1e-14 * (1 + r.value));
                if (l == 2) assert_true(sum == 0);
                for (size_t i = n; i < 3; i++) assert_true(terms[i] == 9);
            }
        }
    }
    nf_context_free(context);
}

static void wrong_arguments_are_named(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    fixture f;
    fill(&f);
    double upstream[N] = {0}, terms[N] = {0};
    nf_matrix x = nf_matrix_f64(f.x, N, D);
    nf_loss_result r;
    nf_loss loss = loss_of(context, "supcon");
    nf_row_terms extras = {NULL, upstream}, inside = {f.x, NULL};
    upstream[3] = NAN;
    const nf_matrix_out none = {0};
    assert_fails(context, nf_loss_anchors(context, &loss, x, labels_of(&f), &extras, &r, none),
                 NF_ERR_ARG, "upstream[3]");
    upstream[3] = 0;
    assert_fails(context, nf_loss_anchors(context, &loss, x, labels_of(&f), &inside, &r, none),
                 NF_ERR_ARG, "terms");
    assert_fails(context, nf_loss_batch(context, &loss, x, labels_of(&f), &r, none), NF_ERR_ARG,
                 "nf_loss_anchors");
    loss.reduction = NF_REDUCE_MEAN;
    assert_fails(context, nf_loss_anchors(context, &loss, x, labels_of(&f), &extras, &r, none),
                 NF_ERR_ARG, "upstream has a number per row");
    extras = (nf_row_terms){terms, NULL};
    loss = nf_loss_weston();
    assert_fails(context, nf_loss_anchors(context, &loss, x, labels_of(&f), &extras, &r, none),
                 NF_ERR_ARG, "nf_loss_pairs");
    nf_context_free(context);
}

typedef struct memory_case {
    int name;
    fixture f;
    struct {
        nf_loss_result result;
        float gradient[N * D];
        double terms[N];
    } out;
} memory_case;

static nf_status run_once(nf_context *context, void *user) {
    memory_case *c = user;
    nf_loss loss;
    nf_status status = nf_loss_preset(context, names[c->name], &loss);
    if (status != NF_OK) return status;
    nf_row_terms extras = {c->out.terms, NULL};
    return nf_loss_anchors(context, &loss, nf_matrix_f32(c->f.x32, N, D), labels_of(&c->f), &extras,
                           &c->out.result, nf_matrix_out_f32(c->out.gradient, N, D));
}

static void failed_allocations_change_nothing(void **state) {
    (void)state;
    memory_case c = {0};
    fill(&c.f);
    for (c.name = 0; c.name < NAMES; c.name++) {
        assert_true(test_fail_every_allocation(2, run_once, &c, &c.out, sizeof c.out) > 6);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terms_are_those_of_the_rows),
        cmocka_unit_test(upstream_weighs_the_gradients_of_rows),
        cmocka_unit_test(rows_add_up),
        cmocka_unit_test(other_reductions_are_the_batch_form),
        cmocka_unit_test(rows_without_terms_are_zero),
        cmocka_unit_test(wrong_arguments_are_named),
        cmocka_unit_test(failed_allocations_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
