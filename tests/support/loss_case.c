#include "loss_case.h"

#include <math.h>

#include "base/random.h"
#include "probe.h"

const char *const loss_form_names[4] = {"batch", "pairs", "rows", "reference"};

static uint64_t pick(uint64_t seed, uint64_t what, uint64_t bound) {
    return nf_random_below(seed, 500, what, bound);
}

nf_loss loss_random(uint64_t seed) {
    static const double exponents[] = {1, 1.5, 2, 2, 3, 2.5, 1, 4};
    nf_loss loss = {.scale = pick(seed, 1, 2) ? 1 : 0.5,
                    .pos_weight = pick(seed, 2, 3) ? 1 : 1.75,
                    .neg_weight = pick(seed, 3, 3) ? 1 : 0.625,
                    .pos_metric = (nf_metric)pick(seed, 4, 5),
                    .neg_metric = (nf_metric)pick(seed, 5, 5),
                    .pos_exponent = exponents[pick(seed, 6, 8)],
                    .neg_exponent = exponents[pick(seed, 7, 8)],
                    .normalize = pick(seed, 8, 4) == 0,
                    .reduction = (nf_reduction)pick(seed, 9, 5),
                    .stats = (int)pick(seed, 10, 2)};
    if (pick(seed, 14, 6) == 0) {
        loss.reduction = NF_REDUCE_DIVISOR;
        loss.divisor = 0.75 + 100 * (double)pick(seed, 15, 3);
    }
    if (pick(seed, 11, 2)) loss.neg_metric = loss.pos_metric;
    if (pick(seed, 12, 12) == 0) loss.pos_weight = 0;
    if (pick(seed, 13, 12) == 0) loss.neg_weight = 0;
    return loss;
}

/* ---- data ------------------------------------------------------------------------------------ */

static void make_rows(uint64_t seed, nf_type type, size_t n, size_t d, size_t ld, void **x,
                      double **wide) {
    *x = malloc((n * ld + 1) * nf_type_size(type));
    *wide = malloc((n * d + 1) * sizeof **wide);
    for (size_t k = 0; k < n * ld; k++) {
        double value = 2 * nf_random_unit(seed, 501, k) - 1;
        if (type == NF_FLOAT32)
            ((float *)*x)[k] = (float)value;
        else
            ((double *)*x)[k] = value;
    }
    nf_matrix view = {*x, type, n, d, ld};
    double *copy = ref_widen(view);
    memcpy(*wide, copy, n * d * sizeof *copy);
    free(copy);
}

static int64_t *make_labels(uint64_t seed, size_t n, uint64_t classes) {
    int64_t *labels = malloc((n + 1) * sizeof *labels);
    for (size_t k = 0; k < n; k++) {
        uint64_t c = nf_random_below(seed, 502, k, classes + 1);
        labels[k] = c == 0 ? -1 : (int64_t)c * 1000003 - 2000000;
    }
    return labels;
}

static void make_list(uint64_t seed, loss_case *c) {
    for (size_t k = 0; k < c->count; k++) {
        c->i[k] = (int64_t)nf_random_below(seed, 503, k, c->n);
        c->j[k] = (int64_t)nf_random_below(seed, 504, k, c->n - 1);
        if (c->j[k] >= c->i[k]) c->j[k]++; /* never (i, i) */
        c->same[k] = (uint8_t)nf_random_below(seed, 505, k, 2);
        if (c->weight != NULL) c->weight[k] = nf_random_unit(seed, 506, k) * 3;
        if (c->upstream != NULL) c->upstream[k] = nf_random_unit(seed, 507, k) * 4 - 2;
    }
}

/* ---- margins --------------------------------------------------------------------------------- */

/* The mean distance of a side under its metric, over the problem's pairs. */
static double typical(const ref_problem *p, int same) {
    long double sum = 0;
    size_t count = 0;
    const double *y = p->y != NULL ? p->y : p->x;
    for (size_t k = 0; k < p->count && count < 40; k++) {
        if (p->pairs[k].same != same) continue;
        sum += (long double)ref_distance(same ? p->loss.pos_metric : p->loss.neg_metric,
                                         p->loss.normalize, p->x + p->pairs[k].i * p->d,
                                         y + p->pairs[k].j * p->d, p->d);
        count++;
    }
    return count > 0 ? (double)(sum / count) : 1;
}

static void adapt_margins(uint64_t seed, loss_case *c) {
    ref_problem p = loss_case_problem(c);
    int dot = c->loss.pos_metric == NF_DOT;
    double positive = typical(&p, 1), negative = typical(&p, 0);
    c->loss.pos_margin = pick(seed, 20, 2) && !dot ? 0 : positive * 0.75;
    c->loss.neg_margin = negative * (0.8 + 0.1 * (double)pick(seed, 21, 6)) + 1e-3;
    for (int attempt = 0; attempt < 50; attempt++) {
        p.loss = c->loss;
        ref_result r = ref_evaluate(&p);
        double kink = r.kink;
        ref_result_free(&r);
        /* A positive pair at distance 0 with margin 0 is no kink for exponents > 1, and a margin of
         * 0 is never moved. */
        if (kink > (c->type == NF_FLOAT32 ? 2e-6 : 1e-13)) break;
        c->loss.neg_margin *= 1.0007;
        c->loss.pos_margin *= 1.0007;
    }
    ref_problem_free(&p);
}

/* ---- a case ---------------------------------------------------------------------------------- */

loss_case loss_case_make(uint64_t seed, loss_form form, nf_type type, nf_loss loss, int adapt) {
    static const size_t rows[] = {2, 3, 7, 16, 33, 60, 97, 130};
    static const size_t dims[] = {1, 2, 3, 5, 8, 16, 17, 33};
    loss_case c = {.loss = loss, .form = form, .type = type};
    c.n = rows[pick(seed, 30, 8)];
    c.m = form == FORM_ROWS ? c.n : rows[pick(seed, 31, 8)];
    c.d = dims[pick(seed, 32, 8)];
    /* Unit rows of one column are all +-1, at kinks of everything. */
    int unit = loss.normalize || loss.pos_metric == NF_COSINE || loss.neg_metric == NF_COSINE;
    if (unit && c.d == 1) c.d = 4;
    c.ldx = c.d + pick(seed, 33, 3);
    c.ldy = c.d + pick(seed, 34, 3);
    c.count = form == FORM_ROWS ? c.n : 3 * c.n;
    make_rows(seed, type, c.n, c.d, c.ldx, &c.x, &c.wide_x);
    make_rows(seed + 1000000, type, c.m, c.d, c.ldy, &c.y, &c.wide_y);
    uint64_t classes = 1 + pick(seed, 35, 6);
    c.labels_x = make_labels(seed, c.n, classes);
    c.labels_y = make_labels(seed + 1, c.m, classes);
    c.has_unlabelled = pick(seed, 36, 3) != 0;
    c.use_ids = (int)pick(seed, 37, 2);
    c.ids_x = malloc(c.n * sizeof *c.ids_x);
    c.ids_y = malloc(c.m * sizeof *c.ids_y);
    for (size_t k = 0; k < c.n; k++) c.ids_x[k] = (int64_t)(k * 3 % 20) - 5;
    for (size_t k = 0; k < c.m; k++) c.ids_y[k] = (int64_t)(k * 7 % 20) - 5;
    size_t bytes = c.count * sizeof(double);
    c.i = malloc(bytes);
    c.j = malloc(bytes);
    c.same = malloc(bytes);
    c.terms = malloc(bytes);
    if (pick(seed, 38, 2)) c.weight = malloc(bytes);
    if (pick(seed, 39, 2)) c.upstream = malloc(bytes);
    make_list(seed, &c);
    c.gradient_x = calloc(c.n * c.d + 1, sizeof(double));
    c.gradient_y = calloc(c.m * c.d + 1, sizeof(double));
    if (adapt) adapt_margins(seed, &c);
    return c;
}

void loss_case_free(loss_case *c) {
    void *blocks[] = {c->x,        c->y,     c->wide_x,     c->wide_y,    c->labels_x, c->labels_y,
                      c->ids_x,    c->ids_y, c->i,          c->j,         c->same,     c->weight,
                      c->upstream, c->terms, c->gradient_x, c->gradient_y};
    for (size_t k = 0; k < sizeof blocks / sizeof *blocks; k++) free(blocks[k]);
}

static nf_loss_sets make_sets(const loss_case *c) {
    return (nf_loss_sets){.query = {c->x, c->type, c->n, c->d, c->ldx},
                          .reference = {c->y, c->type, c->m, c->d, c->ldy},
                          .query_labels = {c->labels_x, c->n, c->has_unlabelled},
                          .reference_labels = {c->labels_y, c->m, c->has_unlabelled},
                          .query_ids = c->use_ids ? c->ids_x : NULL,
                          .reference_ids = c->use_ids ? c->ids_y : NULL};
}

ref_problem loss_case_problem(const loss_case *c) {
    nf_loss_sets sets = make_sets(c);
    nf_pairs pairs = {c->count, c->i, c->j, c->same, c->weight};
    switch (c->form) {
    case FORM_BATCH:
        return ref_batch(c->loss, c->wide_x, c->n, c->d,
                         (nf_labels){c->labels_x, c->n, c->has_unlabelled});
    case FORM_PAIRS: return ref_list(c->loss, c->wide_x, c->n, c->d, pairs, c->upstream);
    case FORM_ROWS:
        return ref_rows(c->loss, c->wide_x, c->wide_y, c->n, c->d, c->same, c->weight, c->upstream);
    case FORM_REFERENCE: return ref_sets(c->loss, c->wide_x, c->n, c->wide_y, c->m, c->d, &sets);
    }
    abort();
}

static nf_status run(nf_context *context, loss_case *c, nf_matrix_out gx, nf_matrix_out gy) {
    nf_matrix x = {c->x, c->type, c->n, c->d, c->ldx}, y = {c->y, c->type, c->m, c->d, c->ldy};
    nf_loss_sets sets = make_sets(c);
    nf_pairs pairs = {c->count, c->i, c->j, c->same, c->weight};
    nf_pair_terms extras = {c->terms, c->upstream};
    memset(&c->result, 0, sizeof c->result);
    switch (c->form) {
    case FORM_BATCH:
        return nf_loss_batch(context, &c->loss, x,
                             (nf_labels){c->labels_x, c->n, c->has_unlabelled}, &c->result, gx);
    case FORM_PAIRS: return nf_loss_pairs(context, &c->loss, x, pairs, &extras, &c->result, gx);
    case FORM_ROWS:
        return nf_loss_rows(context, &c->loss, x, y, c->same, c->weight, &extras, &c->result, gx,
                            gy);
    case FORM_REFERENCE: return nf_loss_reference(context, &c->loss, &sets, &c->result, gx, gy);
    }
    abort();
}

nf_status loss_case_run(nf_context *context, loss_case *c) {
    nf_matrix_out gx = {c->gradient_x, c->type, c->n, c->d, c->d};
    nf_matrix_out gy = {c->gradient_y, c->type, c->m, c->d, c->d};
    return run(context, c, gx, gy);
}

nf_status loss_case_value(nf_context *context, loss_case *c) {
    return run(context, c, (nf_matrix_out){0}, (nf_matrix_out){0});
}

uint64_t loss_case_hash(const loss_case *c) {
    const nf_loss_result *r = &c->result;
    uint64_t counts[] = {r->positive_pairs, r->negative_pairs, r->active_negative,
                         r->coincident_negatives, r->zero_rows};
    uint64_t hash = probe_hash(PROBE_HASH, &r->value, sizeof r->value);
    hash = probe_hash(hash, counts, sizeof counts);
    hash = probe_hash(hash, c->gradient_x, c->n * c->d * nf_type_size(c->type));
    if (c->form == FORM_ROWS || c->form == FORM_REFERENCE) {
        hash = probe_hash(hash, c->gradient_y, c->m * c->d * nf_type_size(c->type));
    }
    if (c->form == FORM_ROWS || c->form == FORM_PAIRS) {
        hash = probe_hash(hash, c->terms, c->count * sizeof *c->terms);
    }
    return hash;
}

/* ---- comparing with the oracle ---------------------------------------------------------------- */

static void describe(const loss_case *c, char *text, size_t size) {
    const nf_loss *l = &c->loss;
    snprintf(
        text, size,
        "%s %s n %zu m %zu d %zu: pos %s^%g margin %.9g weight %g, neg %s^%g margin %.9g weight "
        "%g, scale %g, normalize %d, %s, weights %d, upstream %d",
        loss_form_names[c->form], c->type == NF_FLOAT32 ? "float32" : "float64", c->n, c->m, c->d,
        nf_metric_name(l->pos_metric), l->pos_exponent, l->pos_margin, l->pos_weight,
        nf_metric_name(l->neg_metric), l->neg_exponent, l->neg_margin, l->neg_weight, l->scale,
        l->normalize, nf_reduction_name(l->reduction), c->weight != NULL, c->upstream != NULL);
}

static void check_count(const char *what, uint64_t got, uint64_t want, const char *text) {
    if (got != want) {
        fail_msg("%s: %s is %llu, want %llu", text, what, (unsigned long long)got,
                 (unsigned long long)want);
    }
}

static void check_close(const char *what, double got, long double want, double limit,
                        const char *text) {
    if (!((double)fabsl((long double)got - want) <= limit)) {
        fail_msg("%s: %s is %.17g, want %.17g (off by %.3g, limit %.3g)", text, what, got,
                 (double)want, (double)fabsl((long double)got - want), limit);
    }
}

static void check_gradient(const char *what, const loss_case *c, const void *got, size_t rows,
                           const long double *want, double limit, const char *text) {
    nf_matrix_out view = {(void *)(uintptr_t)got, c->type, rows, c->d, c->d};
    double own = (double)ref_norm(want, rows * c->d);
    double error = ref_relative_error(view, want) * (own > 0 ? own : 1);
    if (!(error <= limit)) {
        fail_msg("%s: %s is off by %.3g, limit %.3g", text, what, error, limit);
    }
}

static void check_statistics(const loss_case *c, const ref_result *r, double tolerance,
                             const char *text) {
    const nf_loss_result *got = &c->result;
    check_count("has_stats", (uint64_t)(got->has_stats != 0), 1, text);
    if (r->kink > 1e-5) {
        check_count("active_positive", got->active_positive, r->active_positive, text);
    }
    check_close("mean_positive_distance", got->mean_positive_distance, r->mean_positive_distance,
                tolerance * (1 + (double)fabsl(r->mean_positive_distance)), text);
    check_close("mean_negative_distance", got->mean_negative_distance, r->mean_negative_distance,
                tolerance * (1 + (double)fabsl(r->mean_negative_distance)), text);
}

void loss_case_check(nf_context *context, loss_case *c, double tolerance) {
    char text[400];
    describe(c, text, sizeof text);
    nf_status status = loss_case_run(context, c);
    if (status != NF_OK) {
        fail_msg("%s: %s", text, nf_context_error(context)->message);
    }
    ref_problem p = loss_case_problem(c);
    ref_result r = ref_evaluate(&p);
    /* Distances are right to (d + 2) ulp; near a margin a term cannot be better than that. */
    double error = (double)(c->d + 8) * (c->type == NF_FLOAT32 ? 0x1p-24 : 0x1p-53);
    check_count("positive_pairs", c->result.positive_pairs, r.positive_pairs, text);
    check_count("negative_pairs", c->result.negative_pairs, r.negative_pairs, text);
    if (r.kink > 8 * error) {
        check_count("active_negative", c->result.active_negative, r.active_negative, text);
    }
    if (c->loss.neg_metric != NF_DOT) {
        check_count("coincident_negatives", c->result.coincident_negatives, r.coincident_negatives,
                    text);
    }
    check_close("value", c->result.value, r.value,
                tolerance * (double)fabsl(r.value) + error * (double)r.value_condition, text);
    long double nx = ref_norm(r.gradient_x, c->n * c->d), ny = 0;
    if (r.gradient_y != NULL) ny = ref_norm(r.gradient_y, c->m * c->d);
    double limit =
        tolerance * (double)sqrtl(nx * nx + ny * ny) + error * (double)r.gradient_condition;
    check_gradient("gradient", c, c->gradient_x, c->n, r.gradient_x, limit, text);
    if (r.gradient_y != NULL) {
        check_gradient("second gradient", c, c->gradient_y, c->m, r.gradient_y, limit, text);
    }
    if (c->form == FORM_PAIRS || c->form == FORM_ROWS) {
        for (size_t k = 0; k < c->count; k++) {
            check_close("a term", c->terms[k], r.terms[k],
                        tolerance * (double)r.terms[k] + error * (double)r.term_condition[k], text);
        }
    }
    if (c->loss.stats) check_statistics(c, &r, tolerance, text);
    ref_result_free(&r);
    ref_problem_free(&p);
}
