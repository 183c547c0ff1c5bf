/* Every failing allocation of contexts, distances and losses: the right status, nothing leaked,
 * outputs untouched, and the same bytes on retry. */
#include "support.h"

#include "base/random.h"

enum { N = 110, M = 40, D = 9 }; /* two blocks of rows */

typedef struct data {
    float x[N * D], y[M * D];
    int64_t label[N], other_label[M], ids[N], other_ids[M], i[M], j[M];
    uint8_t same[M];
    double weight[M], upstream[M];
} data;

/* All that any call writes; padding is never touched. */
typedef struct outputs {
    nf_loss_result result;
    float gradient[N * D], other_gradient[M * D];
    double terms[M];
    float matrix[N * M], condensed[N * (N - 1) / 2], listed[M];
} outputs;

typedef struct job {
    data in;
    outputs out;
    nf_loss loss;
    nf_distance_options distance;
} job;

static nf_matrix x_of(job *j) { return nf_matrix_f32(j->in.x, N, D); }
static nf_matrix y_of(job *j) { return nf_matrix_f32(j->in.y, M, D); }
static nf_matrix left_of(job *j) { return nf_matrix_f32(j->in.x, M, D); }
static nf_matrix_out gx_of(job *j, size_t rows) {
    return nf_matrix_out_f32(j->out.gradient, rows, D);
}
static nf_matrix_out gy_of(job *j) { return nf_matrix_out_f32(j->out.other_gradient, M, D); }

static nf_status full(nf_context *context, void *user) {
    job *j = user;
    return nf_distances_full(context, &j->distance, x_of(j), y_of(j),
                             nf_matrix_out_f32(j->out.matrix, N, M));
}

static nf_status condensed(nf_context *context, void *user) {
    job *j = user;
    return nf_distances_condensed(context, &j->distance, x_of(j), j->out.condensed);
}

static nf_status listed(nf_context *context, void *user) {
    job *j = user;
    return nf_distances_pairs(context, &j->distance, x_of(j), y_of(j), j->in.i, j->in.j, M,
                              j->out.listed);
}

static nf_status batch(nf_context *context, void *user) {
    job *j = user;
    return nf_loss_batch(context, &j->loss, x_of(j), (nf_labels){j->in.label, N, 1}, &j->out.result,
                         gx_of(j, N));
}

static nf_status pairs(nf_context *context, void *user) {
    job *j = user;
    nf_pairs list = {M, j->in.i, j->in.j, j->in.same, j->in.weight};
    nf_pair_terms extras = {j->out.terms, j->in.upstream};
    return nf_loss_pairs(context, &j->loss, x_of(j), list, &extras, &j->out.result, gx_of(j, N));
}

static nf_status rows(nf_context *context, void *user) {
    job *j = user;
    nf_pair_terms extras = {j->out.terms, j->in.upstream};
    return nf_loss_rows(context, &j->loss, left_of(j), y_of(j), j->in.same, j->in.weight, &extras,
                        &j->out.result, gx_of(j, M), gy_of(j));
}

static nf_status reference(nf_context *context, void *user) {
    job *j = user;
    nf_loss_sets sets = {x_of(j),   y_of(j),        {j->in.label, N, 1}, {j->in.other_label, M, 1},
                         j->in.ids, j->in.other_ids};
    return nf_loss_reference(context, &j->loss, &sets, &j->out.result, gx_of(j, N), gy_of(j));
}

static nf_status words(nf_context *context, void *user) {
    job *j = user;
    nf_metric metric;
    nf_reduction reduction;
    nf_loss loss;
    nf_status status = nf_metric_parse(context, "cosine", &metric);
    if (status == NF_OK) status = nf_reduction_parse(context, "sum", &reduction);
    if (status == NF_OK) status = nf_loss_preset(context, "hinge", &loss);
    if (status == NF_OK) status = nf_loss_check(context, &loss);
    if (status == NF_OK) status = nf_context_reserve(context, 1000);
    if (status == NF_OK) j->out.result.value = (double)metric + (double)reduction;
    return status;
}

static job *make_job(uint64_t seed) {
    job *j = calloc(1, sizeof *j);
    test_random_f32(seed, j->in.x, N * D, -1, 1);
    test_random_f32(seed + 1, j->in.y, M * D, -1, 1);
    test_random_labels(seed, j->in.label, N, -1, 3);
    test_random_labels(seed + 1, j->in.other_label, M, -1, 3);
    test_random_f64(seed, j->in.weight, M, 0, 2);
    test_random_f64(seed + 1, j->in.upstream, M, -1, 1);
    for (size_t k = 0; k < N; k++) j->in.ids[k] = (int64_t)k;
    for (size_t k = 0; k < M; k++) {
        j->in.other_ids[k] = (int64_t)(3 * k);
        j->in.i[k] = (int64_t)k;
        j->in.j[k] = (int64_t)((k + 1) % M);
        j->in.same[k] = (uint8_t)(k % 2);
    }
    return j;
}

static void torture(job *j, test_body_fn body, int must_allocate) {
    for (int threads = 1; threads <= 2; threads++) {
        size_t calls = test_fail_every_allocation(threads, body, j, &j->out, sizeof j->out);
        if (must_allocate) assert_true(calls > 0);
    }
}

static void distances_survive(void **state) {
    (void)state;
    job *j = make_job(1);
    for (int metric = NF_EUCLIDEAN; metric <= NF_CITYBLOCK; metric++) {
        j->distance = nf_distance_defaults();
        j->distance.metric = (nf_metric)metric;
        j->distance.normalize = metric % 2;
        j->distance.precise = metric == NF_DOT;
        torture(j, full, 1);
        torture(j, condensed, 1);
        torture(j, listed, 0);
    }
    for (int metric = NF_EUCLIDEAN; metric <= NF_COSINE; metric++) {
        j->distance = (nf_distance_options){.metric = (nf_metric)metric, .fast = 1};
        torture(j, full, 1);
        torture(j, condensed, 1);
        torture(j, listed, 0);
    }
    free(j);
}

static void losses_survive(void **state) {
    (void)state;
    job *j = make_job(2);
    for (int c = 0; c < 5; c++) {
        j->loss = nf_loss_weston();
        j->loss.reduction = (nf_reduction)c;
        j->loss.stats = c % 2;
        if (c == 1) j->loss.neg_metric = NF_CITYBLOCK, j->loss.neg_margin = 3; /* two passes */
        if (c == 2) j->loss.normalize = 1;
        if (c == 3) j->loss.pos_metric = NF_COSINE;
        torture(j, batch, 1);
        torture(j, reference, 1);
        torture(j, pairs, 1);
        torture(j, rows, 1);
    }
    static const char *const names[] = {"weston", "pml", "nca", "triplet"};
    for (int c = 0; c < 4; c++) {
        nf_context *context = test_context(1);
        assert_ok(context, nf_loss_preset(context, names[c], &j->loss));
        nf_context_free(context);
        j->loss.fast = 1;
        torture(j, batch, 1);
        torture(j, reference, 1);
    }
    free(j);
}

static void words_survive(void **state) {
    (void)state;
    job *j = make_job(3);
    torture(j, words, 1);
    free(j);
}

/* With threads woken, the pool's own allocation may fail too: the call goes on alone. */
static nf_status wide_batch(nf_context *context, void *user) {
    job *j = user;
    enum { ROWS = 600 };
    static const size_t bytes = ROWS * 32 * sizeof(float);
    float *x = malloc(bytes);
    int64_t *label = malloc(ROWS * sizeof *label);
    test_random_f32(5, x, ROWS * 32, -1, 1);
    test_random_labels(5, label, ROWS, 0, 3);
    nf_status status =
        nf_loss_batch(context, &j->loss, nf_matrix_f32(x, ROWS, 32), (nf_labels){label, ROWS, 1},
                      &j->out.result, (nf_matrix_out){0});
    free(x);
    free(label);
    return status;
}

static void a_pool_that_cannot_be_made_changes_nothing(void **state) {
    (void)state;
    job *j = make_job(4);
    j->loss = nf_loss_weston();
    j->loss.neg_margin = 4;
    size_t calls = test_fail_every_allocation(3, wide_batch, j, &j->out, sizeof j->out);
    assert_true(calls > test_fail_every_allocation(1, wide_batch, j, &j->out, sizeof j->out));
    free(j);
}

/* ---- the context's reserve ---------------------------------------------------------------------- */

static void enough_reserve_means_no_allocation(void **state) {
    (void)state;
    job *j = make_job(6);
    j->loss = nf_loss_weston();
    j->distance = nf_distance_defaults();
    const struct {
        const char *name;
        test_body_fn body;
    } calls[] = {{"full", full},          {"condensed", condensed}, {"listed", listed},
                 {"batch", batch},        {"pairs", pairs},         {"rows", rows},
                 {"reference", reference}};
    for (size_t k = 0; k < sizeof calls / sizeof *calls; k++) {
        test_allocator allocator;
        test_allocator_init(&allocator);
        nf_context_options options = {.allocator = &allocator.hooks, .threads = 1};
        nf_context *context;
        assert_int_equal(nf_context_create(&context, &options, NULL), NF_OK);
        assert_ok(context, calls[k].body(context, j));
        outputs *want = malloc(sizeof *want);
        memcpy(want, &j->out, sizeof *want);
        assert_ok(context, nf_context_reserve(context, 2 * allocator.peak_bytes + 65536));
        size_t before = allocator.calls;
        for (int round = 0; round < 3; round++) assert_ok(context, calls[k].body(context, j));
        if (allocator.calls != before) {
            fail_msg("%s: %zu allocations despite the reserve", calls[k].name,
                     allocator.calls - before);
        }
        assert_memory_equal(want, &j->out, sizeof *want);
        free(want);
        nf_context_free(context);
        assert_int_equal(allocator.live, 0);
    }
    free(j);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distances_survive),
        cmocka_unit_test(losses_survive),
        cmocka_unit_test(words_survive),
        cmocka_unit_test(a_pool_that_cannot_be_made_changes_nothing),
        cmocka_unit_test(enough_reserve_means_no_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
