/* Triplet and margin losses against plain loops over all triplets, written from the formulas. */
#include "support.h"

#include <math.h>
#include <stdbool.h>

#include "base/cpu.h"

/* ---- problems --------------------------------------------------------------------------------- */

/* Anchors are rows of x, the others rows of y; one set when y is NULL. */
typedef struct problem {
    nf_loss loss;
    nf_type type;
    size_t n, m, d;
    void *x, *y;
    int64_t *label_x, *label_y, *id_x, *id_y;
    double *wide_x, *wide_y, *t; /* rows in double; (n, m) the engine's distances */
    nf_loss_result result;
    void *gradient_x, *gradient_y;
} problem;

typedef struct answer {
    long double value;
    uint64_t triplets, active, pairs[2];
    long double *gradient_x, *gradient_y;
} answer;

static void *typed(nf_type type, const double *wide, size_t count) {
    void *out = malloc(count * nf_type_size(type) + 1);
    for (size_t e = 0; e < count; e++) {
        if (type == NF_FLOAT32) {
            ((float *)out)[e] = (float)wide[e];
        } else {
            ((double *)out)[e] = wide[e];
        }
    }
    return out;
}

static double *random_rows(uint64_t seed, nf_type type, size_t n, size_t d, double scale) {
    double *wide = malloc((n * d + 1) * sizeof *wide);
    test_random_f64(seed, wide, n * d, -1, 1);
    for (size_t k = 0; n > 8 && k < d; k++) {
        wide[3 * d + k] = wide[5 * d + k]; /* duplicates */
        wide[7 * d + k] = 0;               /* a zero row */
    }
    for (size_t e = 0; e < n * d; e++) {
        wide[e] *= scale;
        if (type == NF_FLOAT32) wide[e] = (double)(float)wide[e];
    }
    return wide;
}

static problem make(uint64_t seed, nf_loss loss, nf_type type, size_t n, size_t m, size_t d,
                    int64_t classes) {
    problem p = {.loss = loss, .type = type, .n = n, .m = m > 0 ? m : n, .d = d};
    p.wide_x = random_rows(seed, type, n, d, 1);
    p.x = typed(type, p.wide_x, n * d);
    p.label_x = malloc((n + 1) * sizeof(int64_t));
    test_random_labels(seed + 1, p.label_x, n, seed % 3 == 0 ? -1 : 0, classes - 1);
    p.gradient_x = calloc(n * d + 1, nf_type_size(type));
    if (m > 0) {
        p.wide_y = random_rows(seed + 2, type, m, d, 1);
        p.y = typed(type, p.wide_y, m * d);
        p.label_y = malloc((m + 1) * sizeof(int64_t));
        test_random_labels(seed + 3, p.label_y, m, 0, classes);
        p.gradient_y = calloc(m * d + 1, nf_type_size(type));
        if (seed % 2) {
            p.id_x = malloc((n + 1) * sizeof(int64_t)), p.id_y = malloc((m + 1) * sizeof(int64_t));
            test_random_labels(seed + 4, p.id_x, n, 0, 20);
            test_random_labels(seed + 5, p.id_y, m, 0, 20);
        }
    }
    return p;
}

static void release(problem *p) {
    free(p->x), free(p->y), free(p->label_x), free(p->label_y), free(p->id_x), free(p->id_y);
    free(p->wide_x), free(p->wide_y), free(p->t), free(p->gradient_x), free(p->gradient_y);
}

static nf_status run(nf_context *context, problem *p) {
    nf_matrix x = {p->x, p->type, p->n, p->d, p->d}, y = {p->y, p->type, p->m, p->d, p->d};
    nf_matrix_out gx = {p->gradient_x, p->type, p->n, p->d, p->d};
    nf_matrix_out gy = {p->gradient_y, p->type, p->m, p->d, p->d};
    nf_labels lx = {p->label_x, p->n, 1}, ly = {p->label_y, p->m, 1};
    if (p->y == NULL) return nf_loss_batch(context, &p->loss, x, lx, &p->result, gx);
    nf_loss_sets sets = {x, y, lx, ly, p->id_x, p->id_y};
    return nf_loss_reference(context, &p->loss, &sets, &p->result, gx, gy);
}

/* ---- the oracle ------------------------------------------------------------------------------- */

/* Distances in long double from the rows: nothing shared with the engine. */
static void oracle_distances(problem *p) {
    const double *y = p->y != NULL ? p->wide_y : p->wide_x;
    p->t = malloc((p->n * p->m + 1) * sizeof(double));
    for (size_t i = 0; i < p->n; i++) {
        for (size_t j = 0; j < p->m; j++) {
            long double na = 0, nb = 0, sum = 0;
            const double *a = p->wide_x + i * p->d, *b = y + j * p->d;
            for (size_t k = 0; k < p->d; k++)
                na += (long double)a[k] * a[k], nb += (long double)b[k] * b[k];
            na = sqrtl(na), nb = sqrtl(nb);
            for (size_t k = 0; k < p->d; k++) {
                long double e = (na > 0 ? a[k] / na : 0) - (nb > 0 ? b[k] / nb : 0);
                sum += e * e;
            }
            p->t[i * p->m + j] = (double)sqrtl(sum);
        }
    }
}

/* The engine's own distances, so that choices at ties are the same. */
static void engine_distances(nf_context *context, problem *p) {
    nf_distance_options options = nf_distance_defaults();
    nf_matrix x = {p->x, p->type, p->n, p->d, p->d}, y = {p->y, p->type, p->m, p->d, p->d};
    if (p->y == NULL) y = x;
    options.metric = p->loss.neg_metric;
    options.normalize = p->loss.normalize;
    void *t = malloc(p->n * p->m * nf_type_size(p->type) + 1);
    nf_matrix_out out = {t, p->type, p->n, p->m, p->m};
    assert_ok(context, nf_distances_full(context, &options, x, y, out));
    p->t = malloc((p->n * p->m + 1) * sizeof(double));
    for (size_t e = 0; e < p->n * p->m; e++) {
        p->t[e] = p->type == NF_FLOAT32 ? (double)((float *)t)[e] : ((double *)t)[e];
    }
    free(t);
}

/* 1 positive, 0 negative, -1 no pair. */
static int kind_of(const problem *p, size_t i, size_t j) {
    const int64_t *ly = p->y != NULL ? p->label_y : p->label_x;
    if (p->y == NULL && i == j) return -1;
    if (p->id_x != NULL && p->id_x[i] == p->id_y[j]) return -1;
    if (p->label_x[i] == -1 || ly[j] == -1) return -1;
    return p->label_x[i] == ly[j];
}

static size_t extreme(const problem *p, size_t i, int kind, int far, double beyond) {
    size_t best = p->m;
    for (size_t j = 0; j < p->m; j++) {
        double t = p->t[i * p->m + j];
        if (kind_of(p, i, j) != kind || !(t > beyond)) continue;
        if (best == p->m || (far ? t > p->t[i * p->m + best] : t < p->t[i * p->m + best])) best = j;
    }
    return best;
}

/* Whether (p, n) is one of the anchor's triplets. */
static bool chosen(const problem *q, size_t a, size_t p, size_t n) {
    if (kind_of(q, a, p) != 1 || kind_of(q, a, n) != 0) return false;
    if (q->loss.triplets == NF_TRIPLETS_ALL) return true;
    if (q->loss.triplets == NF_TRIPLETS_HARD) {
        return p == extreme(q, a, 1, 1, -HUGE_VAL) && n == extreme(q, a, 0, 0, -HUGE_VAL);
    }
    size_t beyond = extreme(q, a, 0, 0, q->t[a * q->m + p]);
    return n == (beyond < q->m ? beyond : extreme(q, a, 0, 1, -HUGE_VAL));
}

static long double softplus(long double z, long double *slope) {
    *slope = 1 / (1 + expl(-z));
    return z > 0 ? z + log1pl(expl(-z)) : log1pl(expl(z));
}

/* Terms, and slopes d sum / d t (n, m). */
static answer by_loops(const problem *q, const double *beta, long double *slope) {
    answer out = {0};
    for (size_t a = 0; a < q->n; a++) {
        const double *t = q->t + a * q->m;
        for (size_t p = 0; p < q->m; p++) {
            int kind = kind_of(q, a, p);
            if (kind >= 0 && (q->y != NULL || a < p)) out.pairs[kind]++;
            for (size_t n = 0; kind == 1 && n < q->m; n++) {
                if (!chosen(q, a, p, n)) continue;
                const double m = q->loss.neg_margin;
                long double *sp = &slope[a * q->m + p], *sn = &slope[a * q->m + n];
                out.triplets++;
                if (q->loss.kind == NF_KIND_MARGIN) {
                    bool pull = (t[p] - *beta) + m > 0, push = (*beta - t[n]) + m > 0;
                    out.value += (pull ? t[p] - (long double)*beta + m : 0) +
                                 (push ? *beta - (long double)t[n] + m : 0);
                    *sp += pull, *sn -= push;
                    out.active += (uint64_t)pull + push;
                } else if (q->loss.smooth) {
                    long double steep, phi = softplus((long double)t[p] - t[n] + m, &steep);
                    out.value += phi, *sp += steep, *sn -= steep;
                    out.active += phi > 1e-304L; /* below, the term is 0 in double */
                } else if (t[p] + m > t[n]) {
                    out.value += (long double)t[p] - t[n] + m;
                    *sp += 1, *sn -= 1;
                    out.active++;
                }
            }
        }
    }
    return out;
}

static long double factor_of(const problem *p, const answer *a) {
    uint64_t count = p->loss.reduction == NF_REDUCE_MEAN ? a->triplets : a->active;
    if (p->loss.reduction == NF_REDUCE_SUM) return p->loss.scale;
    if (p->loss.reduction == NF_REDUCE_DIVISOR) return p->loss.scale / p->loss.divisor;
    return count > 0 ? p->loss.scale / (long double)count : 0;
}

/* gradient += slope dt/da, through normalisation of the row. */
static void add_gradient(const problem *q, long double slope, long double t, const double *a,
                         const double *b, long double *gradient) {
    const size_t d = q->d;
    const nf_metric metric = q->loss.neg_metric;
    long double na = 0, nb = 0, u[64], v[64], g[64], radial = 0;
    bool unit = q->loss.normalize || metric == NF_COSINE;
    for (size_t k = 0; k < d; k++) na += (long double)a[k] * a[k], nb += (long double)b[k] * b[k];
    na = sqrtl(na), nb = sqrtl(nb);
    if (slope == 0 || (unit && na == 0) || (metric == NF_COSINE && nb == 0)) return;
    for (size_t k = 0; k < d; k++) {
        u[k] = unit ? a[k] / na : a[k];
        v[k] = unit && nb > 0 ? b[k] / nb : b[k];
    }
    for (size_t k = 0; k < d; k++) {
        long double e = u[k] - v[k];
        g[k] = metric == NF_EUCLIDEAN     ? (t > 0 ? slope * e / t : 0)
               : metric == NF_SQEUCLIDEAN ? 2 * slope * e
               : metric == NF_COSINE      ? slope * e
               : metric == NF_DOT         ? -slope * v[k]
                                          : slope * (e > 0   ? 1
                                                     : e < 0 ? -1
                                                             : 0);
        radial += g[k] * u[k];
    }
    for (size_t k = 0; k < d; k++) gradient[k] += unit ? (g[k] - u[k] * radial) / na : g[k];
}

static answer oracle(const problem *q, const double *beta) {
    long double *slope = calloc(q->n * q->m + 1, sizeof *slope);
    answer out = by_loops(q, beta, slope);
    const long double factor = factor_of(q, &out);
    const double *y = q->y != NULL ? q->wide_y : q->wide_x;
    out.value *= factor;
    out.gradient_x = calloc(q->n * q->d + 1, sizeof(long double));
    out.gradient_y = q->y != NULL ? calloc(q->m * q->d + 1, sizeof(long double)) : out.gradient_x;
    for (size_t i = 0; i < q->n; i++) {
        for (size_t j = 0; j < q->m; j++) {
            long double s = slope[i * q->m + j] * factor, t = q->t[i * q->m + j];
            const double *a = q->wide_x + i * q->d, *b = y + j * q->d;
            add_gradient(q, s, t, a, b, out.gradient_x + i * q->d);
            add_gradient(q, s, t, b, a, out.gradient_y + j * q->d);
        }
    }
    if (q->y == NULL) out.gradient_y = NULL;
    free(slope);
    return out;
}

static double error_of(nf_type type, const void *got, const long double *want, size_t count) {
    long double off = 0, size = 0;
    for (size_t e = 0; e < count; e++) {
        long double g =
            type == NF_FLOAT32 ? (long double)((const float *)got)[e] : ((const double *)got)[e];
        off += (g - want[e]) * (g - want[e]);
        size += want[e] * want[e];
    }
    return (double)sqrtl(size > 0 ? off / size : off);
}

static void compare(const problem *p, const answer *want, double tolerance) {
    const nf_loss_result *r = &p->result;
    assert_int_equal(r->terms, want->triplets);
    assert_int_equal(r->active_terms, want->active);
    assert_int_equal(r->negative_pairs, want->pairs[0]);
    assert_int_equal(r->positive_pairs, want->pairs[1]);
    double value = fabs(r->value - (double)want->value);
    if (!(value <= 1e-12 * (1 + fabs((double)want->value)))) {
        fail_msg("value %.17g, want %.17g", r->value, (double)want->value);
    }
    double x = error_of(p->type, p->gradient_x, want->gradient_x, p->n * p->d), y = 0;
    if (p->y != NULL) y = error_of(p->type, p->gradient_y, want->gradient_y, p->m * p->d);
    if (!(x <= tolerance && y <= tolerance)) fail_msg("gradients are %g and %g off", x, y);
}

static void free_answer(answer *a) { free(a->gradient_x), free(a->gradient_y); }

static nf_loss random_loss(nf_context *context, uint64_t seed) {
    nf_loss loss;
    assert_ok(context, nf_loss_preset(context, seed % 5 == 4 ? "margin" : "triplet", &loss));
    if (loss.kind == NF_KIND_TRIPLET) {
        loss.triplets = (nf_triplets)(seed % 3);
        loss.smooth = seed % 4 == 3;
    }
    loss.neg_metric = loss.pos_metric = (nf_metric)(seed / 3 % 5);
    loss.normalize = seed / 15 % 2;
    loss.neg_margin = seed % 7 == 0 ? -0.1 : 0.02 + 0.1 * (double)(seed % 6);
    loss.scale = seed % 2 ? 1 : 2.5;
    const nf_reduction reductions[] = {NF_REDUCE_MEAN, NF_REDUCE_SUM, NF_REDUCE_MEAN_NONZERO,
                                       NF_REDUCE_DIVISOR};
    loss.reduction = reductions[seed / 2 % 4];
    if (loss.reduction == NF_REDUCE_DIVISOR) loss.divisor = 12.5;
    loss.stats = (int)(seed % 2);
    return loss;
}

/* ---- tests ------------------------------------------------------------------------------------ */

static void losses_are_those_of_the_loops(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    const size_t sizes[] = {24, 40, 2, 100, 9, 1, 0, 130};
    uint64_t active = 0;
    for (uint64_t seed = 0; seed < 240; seed++) {
        nf_loss loss = random_loss(context, seed);
        size_t n = sizes[seed % 8], m = seed % 4 == 1 ? 30 + seed % 50 : 0;
        int64_t classes = seed % 13 == 0 ? 1 : seed % 11 == 0 ? 1000 : 2 + (int64_t)seed % 6;
        problem p =
            make(seed, loss, seed % 2 ? NF_FLOAT32 : NF_FLOAT64, n, m, 1 + seed % 21, classes);
        engine_distances(context, &p);
        answer want = oracle(&p, &loss.beta);
        assert_ok(context, run(context, &p));
        compare(&p, &want, p.type == NF_FLOAT32 ? 3e-5 : 1e-12);
        active += want.active;
        free_answer(&want);
        release(&p);
    }
    assert_true(active > 100000);
    nf_context_free(context);
}

/* Distances, choices and values with nothing of the engine's. */
static void presets_agree_with_an_oracle_of_their_own(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    for (uint64_t seed = 1; seed < 25; seed += 3) {
        nf_loss loss;
        const char *preset = seed % 2 ? "triplet" : "margin";
        assert_ok(context, nf_loss_preset(context, preset, &loss));
        if (seed % 2) loss.triplets = (nf_triplets)(seed / 2 % 3);
        problem p = make(seed, loss, NF_FLOAT64, 60, 0, 12, 5);
        for (size_t k = 0; k < p.d; k++) { /* without ties, which rounding may break otherwise */
            p.wide_x[3 * p.d + k] += 0.01 * (double)(k + 1);
            ((double *)p.x)[3 * p.d + k] = p.wide_x[3 * p.d + k];
            p.wide_x[7 * p.d + k] = ((double *)p.x)[7 * p.d + k] = 0.3 - 0.1 * (double)k;
        }
        oracle_distances(&p);
        answer want = oracle(&p, &loss.beta);
        assert_ok(context, run(context, &p));
        compare(&p, &want, 1e-12);
        free_answer(&want);
        release(&p);
    }
    nf_context_free(context);
}

static void gradients_are_those_of_differences(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    for (uint64_t seed = 0; seed < 30; seed++) {
        nf_loss loss = random_loss(context, seed);
        if (loss.neg_metric == NF_CITYBLOCK) continue;
        loss.reduction = seed % 2 ? NF_REDUCE_MEAN : NF_REDUCE_SUM;
        loss.divisor = 0;
        problem p = make(3 * seed + 1, loss, NF_FLOAT64, 20, 0, 4, 4);
        double *x = p.x;
        for (size_t e = 0; e < 20 * 4; e++) x[e] += 0.05 * sin((double)(e * e)); /* no duplicates */
        assert_ok(context, run(context, &p));
        double *gradient = malloc(20 * 4 * sizeof *gradient), h = 1e-7, scale = 0;
        memcpy(gradient, p.gradient_x, 20 * 4 * sizeof *gradient);
        for (size_t e = 0; e < 80; e++) scale = fmax(scale, fabs(gradient[e]));
        size_t wrong = 0;
        for (size_t e = 0; e < 80; e++) {
            double kept = x[e], up;
            x[e] = kept + h;
            assert_ok(context, run(context, &p));
            up = p.result.value;
            x[e] = kept - h;
            assert_ok(context, run(context, &p));
            x[e] = kept;
            wrong += fabs((up - p.result.value) / (2 * h) - gradient[e]) > 1e-5 * (1 + scale);
        }
        assert_true(wrong <= 4); /* a kink may fall between the two points */
        free(gradient);
        release(&p);
    }
    nf_context_free(context);
}

static uint64_t hash_of(const problem *p) {
    uint64_t hash = 1469598103934665603u;
    const unsigned char *parts[] = {(const unsigned char *)&p->result, p->gradient_x,
                                    p->gradient_y};
    const size_t element = p->d * nf_type_size(p->type);
    const size_t sizes[] = {sizeof p->result, p->n * element, p->y != NULL ? p->m * element : 0};
    for (int k = 0; k < 3; k++) {
        for (size_t b = 0; b < sizes[k]; b++) hash = (hash ^ parts[k][b]) * 1099511628211u;
    }
    return hash;
}

static void bits_depend_on_nothing_else(void **state) {
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        uint64_t first = 0;
        const struct {
            int threads;
            nf_isa isa;
        } runs[] = {{1, NF_ISA_AUTO}, {2, NF_ISA_AUTO}, {5, NF_ISA_AUTO}, {2, NF_ISA_SCALAR}};
        for (int k = 0; k < 4; k++) {
            nf_context *context = test_context_isa(runs[k].threads, runs[k].isa);
            problem p = make(seed, random_loss(context, seed), seed % 2 ? NF_FLOAT32 : NF_FLOAT64,
                             230, seed % 4 == 1 ? 300 : 0, 17, 6);
            assert_ok(context, run(context, &p));
            if (k == 0) first = hash_of(&p);
            assert_true(hash_of(&p) == first);
            /* Statistics and the absence of a gradient change no bit of the value. */
            double value = p.result.value;
            free(p.gradient_x);
            p.gradient_x = NULL;
            p.loss.stats = !p.loss.stats;
            assert_ok(context, run(context, &p));
            assert_true(p.result.value == value);
            release(&p);
            nf_context_free(context);
        }
    }
}

/* Rows times a power of two, distances out of the range that the kernels trust: the value scales, the
 * gradient stays. */
static void tiny_and_huge_rows_lose_nothing(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    for (int k = 0; k < 6; k++) {
        nf_loss loss;
        assert_ok(context, nf_loss_preset(context, k % 3 == 2 ? "margin" : "triplet", &loss));
        if (k % 3 != 2) loss.triplets = (nf_triplets)(k % 3);
        loss.normalize = 0;
        problem p = make(4, loss, NF_FLOAT32, 50, 0, 5, 4);
        assert_ok(context, run(context, &p));
        double value = p.result.value;
        float before[50 * 5], *x = p.x, *gradient = p.gradient_x;
        memcpy(before, gradient, sizeof before);
        const double scale = k < 3 ? 0x1p-80 : 0x1p80;
        for (size_t e = 0; e < 250; e++) x[e] = (float)((double)x[e] * scale);
        p.loss.neg_margin *= scale;
        p.loss.beta *= scale;
        assert_ok(context, run(context, &p));
        assert_true(fabs(p.result.value / scale - value) <= 1e-6 * value);
        for (size_t e = 0; e < 250; e++) assert_true(fabsf(gradient[e] - before[e]) <= 1e-5f);
        release(&p);
    }
    nf_context_free(context);
}

/* Smooth terms of distances so far apart that exp overflows. */
static void smooth_terms_of_far_rows_are_right(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    for (int k = 0; k < 6; k++) {
        nf_loss loss;
        assert_ok(context, nf_loss_preset(context, "triplet", &loss));
        loss.triplets = (nf_triplets)(k % 3);
        loss.smooth = 1;
        loss.normalize = 0;
        loss.reduction = NF_REDUCE_MEAN;
        problem p = make(7, loss, NF_FLOAT64, 30, 0, 5, 4);
        for (size_t e = 0; e < 150; e++) {
            p.wide_x[e] *= k < 3 ? 4000 : 4; /* beyond exp, and beyond products of exp */
            ((double *)p.x)[e] = p.wide_x[e];
        }
        engine_distances(context, &p);
        answer want = oracle(&p, &loss.beta);
        assert_ok(context, run(context, &p));
        compare(&p, &want, 1e-12);
        free_answer(&want);
        release(&p);
    }
    nf_context_free(context);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_are_those_of_the_loops),
        cmocka_unit_test(presets_agree_with_an_oracle_of_their_own),
        cmocka_unit_test(gradients_are_those_of_differences),
        cmocka_unit_test(bits_depend_on_nothing_else),
        cmocka_unit_test(tiny_and_huge_rows_lose_nothing),
        cmocka_unit_test(smooth_terms_of_far_rows_are_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
