/* Tiles whose blocks are farther apart than the margin are skipped: never a bit differs from the pass
 * that computes them all (with statistics on, which needs every distance). */
#include "support.h"

#include <math.h>

#include "base/random.h"

enum { CLASSES = 6, PER_CLASS = 200, N = CLASSES * PER_CLASS, D = 7 };

typedef struct fixture {
    nf_context *context;
    float xf[N * D], gf[2][N * D], hf[2][N * D];
    double xd[N * D], gd[2][N * D], hd[2][N * D];
    int64_t labels[N];
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    f->context = test_context(2);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    nf_context_free(f->context);
    free(f);
    return 0;
}

/* Classes around centres `apart` from each other along one axis, rows within `spread` of them. */
static void fill(fixture *f, uint64_t seed, double apart, double spread) {
    for (size_t r = 0; r < N; r++) {
        f->labels[r] = (int64_t)(r % CLASSES);
        for (size_t k = 0; k < D; k++) {
            double center = k == 0 ? apart * (double)(r % CLASSES) : 0.3;
            double offset = spread * (nf_random_unit(seed, 1, r * D + k) - 0.5);
            f->xd[r * D + k] = center + offset;
            f->xf[r * D + k] = (float)f->xd[r * D + k];
        }
    }
}

static nf_loss_result run(fixture *f, nf_loss loss, nf_type type, int stats, int reference) {
    nf_loss_result result;
    loss.stats = stats;
    int f32 = type == NF_FLOAT32;
    nf_matrix x = f32 ? nf_matrix_f32(f->xf, N, D) : nf_matrix_f64(f->xd, N, D);
    nf_matrix_out g =
        f32 ? nf_matrix_out_f32(f->gf[stats], N, D) : nf_matrix_out_f64(f->gd[stats], N, D);
    nf_matrix_out h =
        f32 ? nf_matrix_out_f32(f->hf[stats], N, D) : nf_matrix_out_f64(f->hd[stats], N, D);
    nf_labels labels = {f->labels, N, 0};
    if (reference) {
        nf_loss_sets sets = {
            .query = x, .reference = x, .query_labels = labels, .reference_labels = labels};
        assert_ok(f->context, nf_loss_reference(f->context, &loss, &sets, &result, g, h));
    } else {
        assert_ok(f->context, nf_loss_batch(f->context, &loss, x, labels, &result, g));
    }
    return result;
}

/* Value, gradients and counts with and without pruning; returns how many more tiles were skipped. */
static uint64_t assert_same_bits(fixture *f, nf_loss loss, nf_type type, int reference) {
    nf_loss_result pruned = run(f, loss, type, 0, reference),
                   all = run(f, loss, type, 1, reference);
    assert_memory_equal(&pruned.value, &all.value, sizeof pruned.value);
    assert_int_equal(pruned.active_negative, all.active_negative);
    assert_int_equal(pruned.coincident_negatives, all.coincident_negatives);
    assert_int_equal(pruned.negative_pairs, all.negative_pairs);
    assert_int_equal(pruned.tiles_total, all.tiles_total);
    assert_memory_equal(f->gf[0], f->gf[1], sizeof f->gf[0]);
    assert_memory_equal(f->gd[0], f->gd[1], sizeof f->gd[0]);
    assert_memory_equal(f->hf[0], f->hf[1], sizeof f->hf[0]);
    assert_memory_equal(f->hd[0], f->hd[1], sizeof f->hd[0]);
    assert_true(pruned.tiles_skipped >= all.tiles_skipped);
    return pruned.tiles_skipped - all.tiles_skipped;
}

static const nf_metric metrics[] = {NF_EUCLIDEAN, NF_SQEUCLIDEAN, NF_COSINE, NF_CITYBLOCK, NF_DOT};

static void far_classes_are_skipped(void **state) {
    fixture *f = *state;
    fill(f, 1, 10, 0.5);
    for (int type = 0; type < 2; type++) {
        for (int reference = 0; reference < 2; reference++) {
            uint64_t skipped = assert_same_bits(f, nf_loss_weston(), (nf_type)type, reference);
            assert_true(skipped >= 2 * CLASSES * (CLASSES - 1) / 2);
        }
    }
}

/* Classes like plates, thin towards each other and far wider than the gap between them: balls around
 * their blocks overlap, and the line between their centres tells them apart. */
static void plates_are_skipped_along_the_line(void **state) {
    fixture *f = *state;
    for (int step = 0; step < 4; step++) {
        fill(f, 5, 1.2, 0.1);
        for (size_t r = 0; r < N; r++) {
            for (size_t k = 1; k < D; k++) {
                /* in pairs about the centre */
                size_t pair = r / (2 * CLASSES) * CLASSES + r % CLASSES;
                double side = r / CLASSES % 2 ? 20 : -20;
                f->xd[r * D + k] = 0.3 + side * nf_random_unit(5, 2, pair * D + k);
                f->xf[r * D + k] = (float)f->xd[r * D + k];
            }
        }
        nf_loss loss = nf_loss_weston();
        loss.neg_margin = step < 2 ? 1 : 1.5;
        uint64_t skipped = assert_same_bits(f, loss, step % 2 ? NF_FLOAT64 : NF_FLOAT32, 0);
        assert_true(step < 2 ? skipped >= CLASSES * (CLASSES - 1) / 2 * 4 : skipped > 0);
    }
}

/* Gaps between classes from below to above the margin, for every metric and preset family. */
static void every_gap_gives_the_same_bits(void **state) {
    fixture *f = *state;
    uint64_t skipped = 0;
    for (uint64_t seed = 0; seed < 24; seed++) {
        fill(f, seed, 0.2 + 0.15 * (double)seed, seed % 3 == 0 ? 0 : 0.4);
        for (size_t m = 0; m < sizeof metrics / sizeof metrics[0]; m++) {
            nf_loss loss = nf_loss_weston();
            loss.pos_metric = loss.neg_metric = metrics[m];
            loss.normalize = metrics[m] != NF_DOT && seed % 5 == 4;
            loss.neg_margin = metrics[m] == NF_COSINE ? 0.05 : metrics[m] == NF_DOT ? -1 : 1;
            loss.reduction = seed % 4 == 1 ? NF_REDUCE_MEAN_NONZERO : NF_REDUCE_MEAN_SIDES;
            nf_type type = seed % 2 ? NF_FLOAT64 : NF_FLOAT32;
            skipped += assert_same_bits(f, loss, type, seed % 7 == 3);
        }
    }
    assert_true(skipped > 0);
}

/* Two points per class at a distance within some ulp of the margin: the guard must not take a pair
 * whose computed distance is just inside. */
static void margins_within_ulps_of_the_gap(void **state) {
    fixture *f = *state;
    for (int step = -40; step <= 40; step++) {
        fill(f, 1, 1.0 / 3, 0);
        nf_loss loss = nf_loss_weston();
        loss.neg_margin = (double)(1.0f / 3) * (1 + step * 0x1p-24);
        (void)assert_same_bits(f, loss, NF_FLOAT32, 0);
        loss.neg_margin = 1.0 / 3 * (1 + step * 0x1p-53);
        (void)assert_same_bits(f, loss, NF_FLOAT64, 0);
    }
}

static void margins_that_hold_nothing_or_everything(void **state) {
    fixture *f = *state;
    fill(f, 3, 2, 0.5);
    static const double margins[] = {-1, 0, 1e-30, 100, 1e30};
    for (size_t i = 0; i < sizeof margins / sizeof margins[0]; i++) {
        nf_loss loss = nf_loss_weston();
        loss.neg_margin = margins[i];
        uint64_t skipped = assert_same_bits(f, loss, NF_FLOAT64, 0);
        assert_true(margins[i] < 100 ? skipped > 0 : skipped == 0);
    }
}

typedef struct outputs {
    nf_loss_result result;
    float gradient[N * D];
} outputs;

typedef struct work {
    const fixture *f;
    outputs *out;
} work;

static nf_status batch(nf_context *context, void *user) {
    const work *w = user;
    nf_loss loss = nf_loss_weston();
    return nf_loss_batch(context, &loss, nf_matrix_f32(w->f->xf, N, D),
                         (nf_labels){w->f->labels, N, 0}, &w->out->result,
                         nf_matrix_out_f32(w->out->gradient, N, D));
}

static void every_allocation_of_large_classes_may_fail(void **state) {
    fixture *f = *state;
    outputs *out = calloc(1, sizeof *out);
    fill(f, 1, 3, 0.5);
    work w = {f, out};
    assert_true(test_fail_every_allocation(2, batch, &w, out, sizeof *out) > 0);
    free(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(far_classes_are_skipped),
        TEST(plates_are_skipped_along_the_line),
        TEST(every_gap_gives_the_same_bits),
        TEST(margins_within_ulps_of_the_gap),
        TEST(margins_that_hold_nothing_or_everything),
        TEST(every_allocation_of_large_classes_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
