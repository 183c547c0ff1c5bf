/* Terms and slopes of positive pairs: a tile gives what the formula gives pair by pair in double, to
 * both ends of every pair, and the same bits on every instruction set. */
#include "probe.h"
#include "support.h"

#include <math.h>

#include "base/random.h"
#include "loss/softmax.h"

#define ROWS 9
#define LD 96

typedef struct pairs {
    nf_type type;
    nf_loss loss;
    nf_positive_rule rule;
    size_t cols;
    bool mirrored, use_skip;
    double t[ROWS * LD], log_sum[2][LD], weight[2][LD];
    int64_t class_of[2][LD];
    unsigned char skip[ROWS * LD];
} pairs;

typedef struct sums {
    double term[2][LD], pull[2][LD], slope[ROWS * LD];
    uint64_t pairs, active[2];
} sums;

static pairs *make_pairs(uint64_t seed) {
    pairs *p = calloc(1, sizeof *p);
    p->type = seed % 2 ? NF_FLOAT64 : NF_FLOAT32;
    p->cols = 1 + seed * 13 % LD;
    p->mirrored = seed % 3 != 0;
    p->use_skip = seed % 5 == 0;
    p->loss.kind = seed / 2 % 2 ? NF_KIND_LIFTED : NF_KIND_NT_XENT;
    p->loss.pos_margin = 0.25;
    p->rule = (nf_positive_rule){.lifted = p->loss.kind == NF_KIND_LIFTED,
                                 .scale = p->loss.kind == NF_KIND_LIFTED ? -1 : -8,
                                 .shift = 0.5,
                                 .margin = 0.25};
    const uint64_t classes = 1 + seed % 4;
    for (size_t k = 0; k < ROWS * LD; k++) {
        p->t[k] = (double)(float)(2 * nf_random_unit(seed, 1, k));
        p->skip[k] = nf_random_below(seed, 2, k, 4) == 0;
        if (p->use_skip && p->skip[k]) p->t[k] = k % 2 ? NAN : INFINITY;
    }
    for (size_t end = 0; end < 2; end++) {
        for (size_t i = 0; i < LD; i++) {
            const uint64_t at = 2 * i + end;
            const double log_sum = (nf_random_unit(seed, 3, at) - 0.5) * (seed % 7 == 0 ? 100 : 6);
            p->log_sum[end][i] =
                nf_random_below(seed, 4, at, 6) == 0 ? -(double)INFINITY : (double)(float)log_sum;
            p->weight[end][i] = seed % 4 == end ? 0 : (double)(float)nf_random_unit(seed, 5, at);
            p->class_of[end][i] =
                end == 1 && i >= p->cols ? -1 : (int64_t)nf_random_below(seed, 6, at, classes);
        }
    }
    return p;
}

static void narrow(float *to, const double *from, size_t count) {
    for (size_t i = 0; i < count; i++) to[i] = (float)from[i];
}

static void run(nf_context *context, const pairs *p, sums *out) {
    float t[ROWS * LD], log_sum[2][LD], weight[2][LD], slope[ROWS * LD] = {0}, work[2 * LD];
    double wide_work[2 * LD];
    int32_t class_of[2][LD];
    const bool f32 = p->type == NF_FLOAT32;
    const nf_kernels *kernels = nf_kernels_get(context, p->type);
    memset(out, 0, sizeof *out);
    narrow(t, p->t, ROWS * LD);
    for (size_t end = 0; end < 2; end++) {
        narrow(log_sum[end], p->log_sum[end], LD);
        narrow(weight[end], p->weight[end], LD);
        for (size_t i = 0; i < LD; i++) class_of[end][i] = (int32_t)p->class_of[end][i];
    }
    const nf_softmax_tile tile = {
        .t = f32 ? (const void *)t : (const void *)p->t,
        .slope = f32 ? (void *)slope : (void *)out->slope,
        .ld = LD,
        .rows = ROWS,
        .cols = p->cols,
        .row_class = f32 ? (const void *)class_of[0] : (const void *)p->class_of[0],
        .col_class = f32 ? (const void *)class_of[1] : (const void *)p->class_of[1],
        .skip = p->use_skip ? p->skip : NULL,
        .work = f32 ? (void *)work : (void *)wide_work};
    nf_positive_ends ends[2];
    for (size_t end = 0; end < 2; end++) {
        ends[end].log_sum = f32 ? (const void *)log_sum[end] : (const void *)p->log_sum[end];
        ends[end].weight = f32 ? (const void *)weight[end] : (const void *)p->weight[end];
    }
    nf_positive_job job = {.rule = &p->rule,
                           .tile = &tile,
                           .rows = ends[0],
                           .columns = ends[1],
                           .row_term = out->term[0],
                           .row_pull = out->pull[0],
                           .col_term = p->mirrored ? out->term[1] : NULL,
                           .col_pull = p->mirrored ? out->pull[1] : NULL};
    kernels->positive_terms(&job);
    kernels->positive_slopes(&job);
    for (size_t k = 0; f32 && k < ROWS * LD; k++) out->slope[k] = (double)slope[k];
    out->pairs = job.pairs;
    out->active[0] = job.active[0];
    out->active[1] = job.active[1];
}

static void expected(const pairs *p, sums *out) {
    nf_softmax softmax = {{{.on = true, .scale = p->rule.scale, .shift = p->rule.shift}}};
    memset(out, 0, sizeof *out);
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t c = 0; c < p->cols; c++) {
            const size_t k = r * LD + c;
            if (p->class_of[0][r] != p->class_of[1][c] || (p->use_skip && p->skip[k])) continue;
            const double own = p->log_sum[0][r], other = p->log_sum[1][c];
            const nf_positive of[2] = {nf_positive_term(&p->loss, &softmax, p->t[k], own, other),
                                       nf_positive_term(&p->loss, &softmax, p->t[k], other, own)};
            const double w[2] = {p->weight[0][r], p->weight[1][c]};
            out->pairs++;
            out->active[0] += of[0].value > 0;
            out->active[1] += of[1].value > 0;
            out->term[0][r] += of[0].value;
            out->pull[0][r] += w[0] * of[0].pull[0] + w[1] * of[1].pull[1];
            out->slope[k] = w[0] * of[0].slope + w[1] * of[1].slope;
            if (!p->mirrored) continue;
            out->term[1][c] += of[1].value;
            out->pull[1][c] += w[1] * of[1].pull[0] + w[0] * of[0].pull[1];
        }
    }
}

static void assert_near(const pairs *p, const char *what, const double *got, const double *want,
                        size_t count) {
    const double tolerance = p->type == NF_FLOAT32 ? 2e-5 : 1e-13;
    for (size_t i = 0; i < count; i++) {
        if (fabs(got[i] - want[i]) <= tolerance * (1 + fabs(want[i]))) continue;
        fail_msg("%s %zu: %.17g for %.17g, %s", what, i, got[i], want[i],
                 p->rule.lifted ? "lifted" : "nt-xent");
    }
}

static void tiles_give_what_the_pairs_give(void **state) {
    (void)state;
    nf_isa isa[4];
    const size_t isas = probe_isas(isa);
    nf_context *contexts[4] = {NULL};
    sums *got = calloc(3, sizeof *got), *want = got + 1, *other = got + 2;
    for (size_t k = 0; k < isas; k++) contexts[k] = test_context_isa(1, isa[k]);
    for (uint64_t seed = 0; seed < 300; seed++) {
        pairs *p = make_pairs(seed);
        run(contexts[0], p, got);
        expected(p, want);
        assert_int_equal(got->pairs, want->pairs);
        for (int role = 0; role < 2; role++) {
            assert_int_equal(got->active[role], want->active[role]);
            assert_near(p, "term", got->term[role], want->term[role], LD);
            assert_near(p, "pull", got->pull[role], want->pull[role], LD);
        }
        assert_near(p, "slope", got->slope, want->slope, ROWS * LD);
        for (size_t k = 1; k < isas; k++) {
            run(contexts[k], p, other);
            assert_memory_equal(other, got, sizeof *got);
        }
        free(p);
    }
    for (size_t k = 0; k < isas; k++) nf_context_free(contexts[k]);
    free(got);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(tiles_give_what_the_pairs_give)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
