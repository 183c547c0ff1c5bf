/* Batches of few blocks, which several threads share in two steps: the bits of one thread, also where
 * pairs need double, and whatever allocation fails. */
#include "support.h"

#include "base/random.h"

enum { N = 300, D = 64, CLASSES = 7 };

typedef struct outputs {
    nf_loss_result result;
    float gradient[N * D];
} outputs;

typedef struct work {
    float x[N * D];
    int64_t labels[N];
    outputs out;
} work;

static int setup(void **state) {
    work *w = calloc(1, sizeof *w);
    if (w == NULL) return -1;
    for (size_t r = 0; r < N; r++) {
        w->labels[r] = (int64_t)nf_random_below(1, 1, r, CLASSES);
        for (size_t k = 0; k < D; k++) {
            w->x[r * D + k] = (float)(0.2 * nf_random_unit(2, r, k) + 0.3 * (double)(r % 3));
        }
    }
    *state = w;
    return 0;
}

static int teardown(void **state) {
    free(*state);
    return 0;
}

static void run(work *w, int threads, nf_loss loss, outputs *out) {
    nf_context *context = test_context(threads);
    memset(out, 0, sizeof *out);
    assert_ok(context,
              nf_loss_batch(context, &loss, nf_matrix_f32(w->x, N, D), (nf_labels){w->labels, N, 0},
                            &out->result, nf_matrix_out_f32(out->gradient, N, D)));
    nf_context_free(context);
}

/* Results and all counts of work. */
static void assert_same(work *w, nf_loss loss) {
    outputs *want = &w->out, *got = malloc(sizeof *got);
    run(w, 1, loss, want);
    for (int threads = 2; threads <= 5; threads++) {
        run(w, threads, loss, got);
        assert_memory_equal(got->gradient, want->gradient, sizeof got->gradient);
        assert_true(got->result.value == want->result.value);
        assert_int_equal(got->result.active_negative, want->result.active_negative);
        assert_int_equal(got->result.tiles_total, want->result.tiles_total);
        assert_int_equal(got->result.tiles_skipped, want->result.tiles_skipped);
        assert_int_equal(got->result.updates_total, want->result.updates_total);
        assert_int_equal(got->result.updates_skipped, want->result.updates_skipped);
    }
    free(got);
}

static void every_preset_has_the_bits_of_one_thread(void **state) {
    static const char *const presets[] = {"weston", "drlim", "hinge", "pml", "sbert"};
    nf_context *context = test_context(1);
    for (size_t p = 0; p < sizeof presets / sizeof presets[0]; p++) {
        nf_loss loss;
        assert_ok(context, nf_loss_preset(context, presets[p], &loss));
        for (loss.stats = 0; loss.stats < 2; loss.stats++) assert_same(*state, loss);
    }
    nf_context_free(context);
}

/* Far outliers, and rows nearer than float32 can tell by squares: pairs of the slow path. */
static void pairs_beyond_the_kernels_too(void **state) {
    work *w = *state;
    nf_loss loss = nf_loss_weston();
    for (size_t k = 0; k < D; k++) {
        w->x[17 * D + k] *= 1e22f;
        w->x[200 * D + k] = k == 0 ? 1e-21f : 0;
        w->x[201 * D + k] = k == 0 ? 2e-21f : 0;
    }
    assert_same(w, loss);
    loss.pos_margin = 0.1; /* no closed form */
    assert_same(w, loss);
}

static nf_status batch(nf_context *context, void *user) {
    work *w = user;
    nf_loss loss = nf_loss_weston();
    return nf_loss_batch(context, &loss, nf_matrix_f32(w->x, N, D), (nf_labels){w->labels, N, 0},
                         &w->out.result, nf_matrix_out_f32(w->out.gradient, N, D));
}

static void every_allocation_may_fail(void **state) {
    work *w = *state;
    assert_true(test_fail_every_allocation(2, batch, w, &w->out, sizeof w->out) > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(every_preset_has_the_bits_of_one_thread),
        TEST(pairs_beyond_the_kernels_too),
        TEST(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
