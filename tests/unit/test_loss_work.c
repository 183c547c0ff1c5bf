/* What a result says of the work done: updates are counted in strips, those without a weight are
 * skipped, and what is left to do depends on the pairs only. */
#include "probe.h"
#include "support.h"

#include <math.h>

#include "base/random.h"

enum { N = 700, D = 9, CLASSES = 3 };

typedef struct fixture {
    float x[N * D];
    int64_t labels[N];
} fixture;

/* Classes `apart` from each other along the first axis, rows within half a unit of their centres. */
static fixture *make(double apart) {
    fixture *f = malloc(sizeof *f);
    for (size_t r = 0; r < N; r++) {
        f->labels[r] = (int64_t)(r % CLASSES);
        for (size_t k = 0; k < D; k++) {
            double centre = k == 0 ? apart * (double)(r % CLASSES) : 0;
            f->x[r * D + k] = (float)(centre + nf_random_unit(3, r, k) / sqrt(D));
        }
    }
    return f;
}

static nf_loss_result run(const fixture *f, nf_loss loss, int reference, int gradient, int threads,
                          nf_isa isa) {
    nf_context *context = test_context_isa(threads, isa);
    nf_loss_result result;
    float *g = malloc(2 * sizeof f->x);
    nf_matrix x = nf_matrix_f32(f->x, N, D);
    nf_labels labels = {f->labels, N, 0};
    nf_matrix_out a = nf_matrix_out_f32(g, N, D), b = nf_matrix_out_f32(g + N * D, N, D);
    if (!gradient) a.data = b.data = NULL;
    if (reference) {
        nf_loss_sets sets = {x, x, labels, labels, NULL, NULL};
        assert_ok(context, nf_loss_reference(context, &loss, &sets, &result, a, b));
    } else {
        assert_ok(context, nf_loss_batch(context, &loss, x, labels, &result, a));
    }
    free(g);
    nf_context_free(context);
    return result;
}

static nf_loss preset(const char *name) {
    nf_context *context = test_context(1);
    nf_loss loss;
    assert_ok(context, nf_loss_preset(context, name, &loss));
    nf_context_free(context);
    return loss;
}

static uint64_t done(nf_loss_result result) {
    assert_true(result.updates_skipped <= result.updates_total);
    return result.updates_total - result.updates_skipped;
}

static const char *const names[] = {"weston", "hinge",   "pml",   "nt-xent",
                                    "lifted", "triplet", "margin"};
#define NAMES (sizeof names / sizeof names[0])

/* Every pair has a weight: no strip can be skipped but those of a triangle's empty half. */
static void all_weights_are_all_updates(void **state) {
    (void)state;
    fixture *f = make(0.1);
    nf_loss loss = nf_loss_weston();
    loss.neg_margin = 100;
    nf_loss_result result = run(f, loss, 1, 1, 1, NF_ISA_AUTO);
    assert_int_equal(result.updates_skipped, 0);
    /* A strip of rows meets every row of the other set in blocks of at most 96, and is met so. */
    const uint64_t strips = (N + 11) / 12, blocks = (N + 95) / 96;
    assert_true(result.updates_total >= 2 * strips * blocks);
    for (size_t i = 0; i < NAMES; i++) {
        loss = preset(names[i]);
        loss.neg_margin *= loss.neg_margin > 0 ? 1000 : 1;
        result = run(f, loss, 1, 1, 2, NF_ISA_AUTO);
        assert_true(done(result) > result.updates_total / 2);
    }
    free(f);
}

static void no_weight_is_no_update(void **state) {
    (void)state;
    fixture *f = make(10);
    nf_loss loss = nf_loss_weston();
    loss.stats = 1; /* every tile is computed */
    nf_loss_result result = run(f, loss, 0, 1, 2, NF_ISA_AUTO);
    assert_true(result.updates_total > 0);
    assert_int_equal(result.updates_skipped, result.updates_total);
    loss.stats = 0;
    result = run(f, loss, 0, 1, 2, NF_ISA_AUTO);
    assert_int_equal(result.updates_skipped, result.updates_total);
    loss = preset("triplet"); /* whose triplets are all beyond the margin */
    loss.normalize = 0;
    result = run(f, loss, 0, 1, 2, NF_ISA_AUTO);
    assert_true(result.updates_total > 0);
    assert_int_equal(result.updates_skipped, result.updates_total);
    free(f);
}

/* Classes that overlap at their rims: some strips have weights and others none. */
static void what_is_left_to_do_depends_on_the_pairs(void **state) {
    (void)state;
    nf_isa isa[4];
    const size_t isas = probe_isas(isa);
    fixture *f = make(1.2);
    for (size_t i = 0; i < NAMES; i++) {
        nf_loss loss = preset(names[i]);
        for (int reference = 0; reference < 2; reference++) {
            if (reference && loss.kind == NF_KIND_MARGIN) continue;
            const nf_loss_result first = run(f, loss, reference, 1, 1, isa[0]);
            assert_true(done(first) > 0);
            if (strcmp(names[i], "weston") == 0) assert_true(first.updates_skipped > 0);
            for (size_t k = 0; k < isas; k++) {
                loss.stats = (int)(k % 2);
                assert_int_equal(done(run(f, loss, reference, 1, 3, isa[k])), done(first));
            }
            loss.stats = 1;
            assert_int_equal(done(run(f, loss, reference, 1, 2, isa[0])), done(first));
            loss.stats = 0;
            const nf_loss_result value = run(f, loss, reference, 0, 2, isa[0]);
            assert_int_equal(value.updates_total, 0);
            assert_int_equal(value.updates_skipped, 0);
        }
    }
    free(f);
}

/* One row among those of the other class, all others far from them: few strips have work. */
static void one_near_row_is_few_updates(void **state) {
    (void)state;
    fixture *f = make(10);
    for (size_t r = 0; r < N; r++) f->labels[r] = (int64_t)(r % 2);
    for (size_t r = 0; r < N; r++) {
        for (size_t k = 0; k < D; k++) f->x[r * D + k] = k == 1 ? 0.01F * (float)r : 0;
        f->x[r * D] = (float)(r % 2) * 50;
    }
    for (size_t k = 0; k < D; k++) f->x[301 * D + k] = f->x[300 * D + k];
    f->x[301 * D] += 0.5F;
    nf_loss loss = nf_loss_weston();
    nf_loss_result result = run(f, loss, 0, 1, 2, NF_ISA_AUTO);
    assert_int_equal(result.active_negative > 0, 1);
    loss.stats = 1;
    nf_loss_result all = run(f, loss, 0, 1, 2, NF_ISA_AUTO);
    assert_int_equal(done(result), done(all));
    assert_true(done(all) >= 2);
    assert_true(all.updates_skipped > 100 * 2 && done(all) < all.updates_total / 5);
    free(f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_weights_are_all_updates),
        cmocka_unit_test(no_weight_is_no_update),
        cmocka_unit_test(what_is_left_to_do_depends_on_the_pairs),
        cmocka_unit_test(one_near_row_is_few_updates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
