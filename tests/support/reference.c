#include "reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void *must(void *block) {
    if (block == NULL) abort();
    return block;
}

double *ref_widen(nf_matrix x) {
    double *wide = must(malloc((x.rows * x.cols + 1) * sizeof *wide));
    for (size_t r = 0; r < x.rows; r++) {
        for (size_t c = 0; c < x.cols; c++) {
            wide[r * x.cols + c] = x.type == NF_FLOAT32
                                       ? (double)((const float *)x.data)[r * x.ld + c]
                                       : ((const double *)x.data)[r * x.ld + c];
        }
    }
    return wide;
}

/* ---- quadruple precision: distances and values ---------------------------------------------- */

static ref_quad quad_abs(ref_quad v) { return v < 0 ? -v : v; }

static ref_quad quad_sqrt(ref_quad v) {
    if (!(v > 0)) return 0;
    ref_quad root = (ref_quad)sqrtl((long double)v); /* same exponent range; 64 bits */
    return (root + v / root) / 2;                    /* one Newton step: 113 */
}

/* base^p for p a multiple of 1/2, base >= 0. */
static ref_quad quad_power(ref_quad base, double p) {
    ref_quad result = 1;
    for (int k = 0; k < (int)p; k++) result *= base;
    return p != floor(p) ? result * quad_sqrt(base) : result;
}

static ref_quad quad_norm(const ref_quad *a, size_t d) {
    ref_quad sum = 0;
    for (size_t k = 0; k < d; k++) sum += a[k] * a[k];
    return quad_sqrt(sum);
}

/* The distance of rows already in quadruple precision, where differences are taken. */
static ref_quad quad_distance(nf_metric metric, int normalize, const ref_quad *a, const ref_quad *b,
                              size_t d) {
    ref_quad na = 1, nb = 1;
    if (normalize || metric == NF_COSINE) na = quad_norm(a, d), nb = quad_norm(b, d);
    if (metric == NF_COSINE && d > 0 && (na == 0 || nb == 0)) return 1;
    if (na == 0) na = 1;
    if (nb == 0) nb = 1;
    ref_quad squares = 0, absolutes = 0, products = 0;
    for (size_t k = 0; k < d; k++) {
        ref_quad u = a[k] / na, v = b[k] / nb;
        squares += (u - v) * (u - v);
        absolutes += quad_abs(u - v);
        products += u * v;
    }
    switch (metric) {
    case NF_EUCLIDEAN: return quad_sqrt(squares);
    case NF_SQEUCLIDEAN: return squares;
    case NF_COSINE: return squares / 2;
    case NF_DOT: return -products;
    case NF_CITYBLOCK: return absolutes;
    }
    abort();
}

static ref_quad *quad_copy(const double *values, size_t count) {
    ref_quad *copy = must(malloc((count + 1) * sizeof *copy));
    for (size_t k = 0; k < count; k++) copy[k] = (ref_quad)values[k];
    return copy;
}

ref_quad ref_distance(nf_metric metric, int normalize, const double *a, const double *b, size_t d) {
    ref_quad *qa = quad_copy(a, d), *qb = quad_copy(b, d);
    ref_quad distance = quad_distance(metric, normalize, qa, qb, d);
    free(qa);
    free(qb);
    return distance;
}

double ref_ulps(nf_type type, double got, ref_quad want) {
    int exponent, lowest = type == NF_FLOAT32 ? -126 : -1022;
    int digits = type == NF_FLOAT32 ? 23 : 52;
    if (!isfinite(got)) return INFINITY;
    frexpl((long double)want, &exponent);
    exponent = want == 0 || exponent - 1 < lowest ? lowest : exponent - 1;
    return (double)ldexpl((long double)quad_abs((ref_quad)got - want), digits - exponent);
}

static ref_quad quad_phi(const nf_loss *loss, int same, ref_quad t) {
    ref_quad excess = same ? t - (ref_quad)loss->pos_margin : (ref_quad)loss->neg_margin - t;
    if (!(excess > 0)) return 0;
    ref_quad weight =
        (ref_quad)loss->scale * (ref_quad)(same ? loss->pos_weight : loss->neg_weight);
    return weight * quad_power(excess, same ? loss->pos_exponent : loss->neg_exponent);
}

/* x and y in one array: rows of x, then rows of y. */
static ref_quad quad_value(const ref_problem *p, const ref_quad *rows) {
    const ref_quad *y = p->y != NULL ? rows + p->n * p->d : rows;
    ref_quad sum[2] = {0, 0}, weights = 0, upstreamed = 0;
    size_t count[2] = {0, 0}, nonzero[2] = {0, 0};
    for (size_t k = 0; k < p->count; k++) {
        int same = p->pairs[k].same;
        ref_quad t =
            quad_distance(same ? p->loss.pos_metric : p->loss.neg_metric, p->loss.normalize,
                          rows + p->pairs[k].i * p->d, y + p->pairs[k].j * p->d, p->d);
        ref_quad term = (ref_quad)p->pairs[k].weight * quad_phi(&p->loss, same, t);
        sum[same] += term;
        count[same]++;
        nonzero[same] += term > 0;
        weights += (ref_quad)p->pairs[k].weight;
        upstreamed += term * (ref_quad)(p->upstream != NULL ? p->upstream[k] : 1);
    }
    ref_quad factor = p->upstream != NULL && p->count > 0 ? (ref_quad)p->upstream[0] : 1;
    switch (p->loss.reduction) {
    case NF_REDUCE_SUM: return factor * (sum[0] + sum[1]);
    case NF_REDUCE_MEAN: return p->count > 0 ? factor * (sum[0] + sum[1]) / (ref_quad)p->count : 0;
    case NF_REDUCE_WEIGHTED_MEAN: return weights > 0 ? factor * (sum[0] + sum[1]) / weights : 0;
    case NF_REDUCE_MEAN_SIDES:
    case NF_REDUCE_MEAN_NONZERO: {
        const size_t *over = p->loss.reduction == NF_REDUCE_MEAN_SIDES ? count : nonzero;
        ref_quad value = 0;
        for (int same = 0; same < 2; same++) {
            if (over[same] > 0) value += sum[same] / (ref_quad)over[same];
        }
        return factor * value;
    }
    case NF_REDUCE_NONE: return upstreamed;
    case NF_REDUCE_DIVISOR: return factor * (sum[0] + sum[1]) / (ref_quad)p->loss.divisor;
    case NF_REDUCE_MEAN_ANCHORS: break; /* not of this family */
    }
    abort();
}

static ref_quad *problem_rows(const ref_problem *p, size_t *count) {
    size_t nx = p->n * p->d, ny = p->y != NULL ? p->m * p->d : 0;
    ref_quad *rows = must(malloc((nx + ny + 1) * sizeof *rows));
    for (size_t k = 0; k < nx; k++) rows[k] = (ref_quad)p->x[k];
    for (size_t k = 0; k < ny; k++) rows[nx + k] = (ref_quad)p->y[k];
    *count = nx + ny;
    return rows;
}

ref_quad ref_value(const ref_problem *problem) {
    size_t count;
    ref_quad *rows = problem_rows(problem, &count);
    ref_quad value = quad_value(problem, rows);
    free(rows);
    return value;
}

long double ref_difference(const ref_problem *problem, size_t index) {
    size_t count;
    ref_quad *rows = problem_rows(problem, &count), slope[3], at = rows[index];
    ref_quad h = (1 + quad_abs(at)) * (ref_quad)0x1p-18;
    for (int level = 0; level < 3; level++, h /= 2) {
        rows[index] = at + h;
        ref_quad above = quad_value(problem, rows);
        rows[index] = at - h;
        slope[level] = (above - quad_value(problem, rows)) / (2 * h);
    }
    free(rows);
    ref_quad first = (4 * slope[1] - slope[0]) / 3, second = (4 * slope[2] - slope[1]) / 3;
    return (long double)((16 * second - first) / 15);
}

/* ---- long double: values and analytic gradients --------------------------------------------- */

static long double power(long double base, double p) {
    long double result = 1;
    for (int k = 0; k < (int)p; k++) result *= base;
    return p != floor(p) ? result * sqrtl(base) : result;
}

typedef struct unit_row {
    long double *u;     /* the row the metric sees */
    long double length; /* of the row itself; 0: a zero row */
} unit_row;

static unit_row make_row(const double *a, size_t d, int unit) {
    unit_row row = {must(malloc((d + 1) * sizeof(long double))), 0};
    for (size_t k = 0; k < d; k++) row.length += (long double)a[k] * (long double)a[k];
    row.length = sqrtl(row.length);
    for (size_t k = 0; k < d; k++) {
        row.u[k] = unit && row.length > 0 ? (long double)a[k] / row.length : (long double)a[k];
    }
    return row;
}

/* Adds factor * dt/dx to `gradient`, from g = dt/du: the Jacobian of normalisation is
 * (I - u u') / |x|, and 0 for a zero row. */
static void add_gradient(long double *gradient, const unit_row *row, const long double *g, size_t d,
                         int unit, long double factor) {
    if (!unit) {
        for (size_t k = 0; k < d; k++) gradient[k] += factor * g[k];
        return;
    }
    if (row->length == 0) return;
    long double along = 0;
    for (size_t k = 0; k < d; k++) along += row->u[k] * g[k];
    for (size_t k = 0; k < d; k++) {
        gradient[k] += factor * (g[k] - along * row->u[k]) / row->length;
    }
}

/* t and, in ga and gb, its gradient with respect to the two rows the metric sees. */
static long double distance_gradient(nf_metric metric, const unit_row *a, const unit_row *b,
                                     size_t d, long double *ga, long double *gb) {
    long double squares = 0, absolutes = 0, products = 0;
    int constant = metric == NF_COSINE && d > 0 && (a->length == 0 || b->length == 0);
    for (size_t k = 0; k < d; k++) {
        long double difference = a->u[k] - b->u[k];
        squares += difference * difference;
        absolutes += fabsl(difference);
        products += a->u[k] * b->u[k];
    }
    long double t = metric == NF_EUCLIDEAN     ? sqrtl(squares)
                    : metric == NF_SQEUCLIDEAN ? squares
                    : metric == NF_COSINE      ? (constant ? 1 : squares / 2)
                    : metric == NF_DOT         ? -products
                                               : absolutes;
    for (size_t k = 0; k < d; k++) {
        long double difference = a->u[k] - b->u[k];
        long double sign = (long double)((difference > 0) - (difference < 0));
        ga[k] = metric == NF_EUCLIDEAN     ? (t > 0 ? difference / t : 0)
                : metric == NF_SQEUCLIDEAN ? 2 * difference
                : metric == NF_COSINE      ? (constant ? 0 : difference)
                : metric == NF_DOT         ? -b->u[k]
                                           : sign;
        gb[k] = metric == NF_DOT ? -a->u[k] : -ga[k];
    }
    return t;
}

/* What each term is multiplied by in the value: d reduction / d phi. */
static void reduction_factors(const ref_problem *p, const ref_result *r, long double *factor) {
    long double weights = 0, count[2] = {0, 0}, nonzero[2] = {0, 0};
    for (size_t k = 0; k < p->count; k++) {
        weights += (long double)p->pairs[k].weight;
        count[p->pairs[k].same] += 1;
        nonzero[p->pairs[k].same] += r->terms[k] > 0;
    }
    for (size_t k = 0; k < p->count; k++) {
        int same = p->pairs[k].same;
        long double over = 1;
        if (p->loss.reduction == NF_REDUCE_MEAN) over = (long double)p->count;
        if (p->loss.reduction == NF_REDUCE_DIVISOR) over = (long double)p->loss.divisor;
        if (p->loss.reduction == NF_REDUCE_WEIGHTED_MEAN) over = weights;
        if (p->loss.reduction == NF_REDUCE_MEAN_SIDES) over = count[same];
        if (p->loss.reduction == NF_REDUCE_MEAN_NONZERO) over = nonzero[same];
        factor[k] = over > 0 ? 1 / over : 0;
    }
}

static void note_kink(ref_result *r, long double t, double margin) {
    double gap = (double)(fabsl(t - (long double)margin) / (1 + fabsl((long double)margin)));
    if (gap < r->kink) r->kink = gap;
}

/* The size of the numbers t - margin is the difference of. */
static long double distance_size(const ref_problem *p, size_t k, long double t) {
    const ref_pair *pair = &p->pairs[k];
    const double *a = p->x + pair->i * p->d, *b = (p->y != NULL ? p->y : p->x) + pair->j * p->d;
    long double size = fabsl(t), products = 0;
    size += fabsl((long double)(pair->same ? p->loss.pos_margin : p->loss.neg_margin));
    /* Unit rows are rounded: an absolute error. */
    if (p->loss.normalize) size += 1;
    if ((pair->same ? p->loss.pos_metric : p->loss.neg_metric) == NF_COSINE) return size + 1;
    if ((pair->same ? p->loss.pos_metric : p->loss.neg_metric) != NF_DOT) return size;
    for (size_t c = 0; c < p->d; c++) products += fabsl((long double)a[c] * (long double)b[c]);
    return size + (p->loss.normalize ? 1 : products);
}

/* One pair: its term, counts, and the derivative w dphi/dt. */
static long double evaluate_pair(const ref_problem *p, size_t k, long double t, ref_result *r) {
    const nf_loss *loss = &p->loss;
    int same = p->pairs[k].same;
    double margin = same ? loss->pos_margin : loss->neg_margin;
    double exponent = same ? loss->pos_exponent : loss->neg_exponent;
    long double weight =
        (long double)loss->scale * (long double)(same ? loss->pos_weight : loss->neg_weight);
    long double excess = same ? t - (long double)margin : (long double)margin - t;
    note_kink(r, t, margin);
    if (same) r->positive_pairs++, r->mean_positive_distance += t;
    if (!same) r->negative_pairs++, r->mean_negative_distance += t;
    r->coincident_negatives += !same && t == 0;
    r->terms[k] = r->term_condition[k] = 0;
    if (!(excess > 0) || weight == 0) return 0;
    if (same) r->active_positive++;
    if (!same) r->active_negative++;
    r->terms[k] = (long double)p->pairs[k].weight * weight * power(excess, exponent);
    long double slope = (long double)p->pairs[k].weight * weight * (long double)exponent *
                        power(excess, exponent - 1);
    r->term_condition[k] = slope * distance_size(p, k, t);
    return same ? slope : -slope;
}

static long double pair_norm(const unit_row *row, const long double *g, size_t d, int unit) {
    return ref_norm(g, d) / (unit && row->length > 0 ? row->length : 1);
}

static void add_pair_gradient(const ref_problem *p, size_t k, long double factor, ref_result *r,
                              long double *ga, long double *gb) {
    const ref_pair *pair = &p->pairs[k];
    nf_metric metric = pair->same ? p->loss.pos_metric : p->loss.neg_metric;
    int unit = p->loss.normalize || metric == NF_COSINE;
    const double *y = p->y != NULL ? p->y : p->x;
    unit_row a = make_row(p->x + pair->i * p->d, p->d, unit);
    unit_row b = make_row(y + pair->j * p->d, p->d, unit);
    long double t = distance_gradient(metric, &a, &b, p->d, ga, gb);
    double margin = pair->same ? p->loss.pos_margin : p->loss.neg_margin;
    double exponent = pair->same ? p->loss.pos_exponent : p->loss.neg_exponent;
    long double bend = (long double)(exponent - 1) / fabsl(t - (long double)margin);
    r->gradient_condition += fabsl(factor) * (1 + bend * distance_size(p, k, t)) *
                             (pair_norm(&a, ga, p->d, unit) + pair_norm(&b, gb, p->d, unit));
    long double *gy = p->y != NULL ? r->gradient_y : r->gradient_x;
    add_gradient(r->gradient_x + pair->i * p->d, &a, ga, p->d, unit, factor);
    add_gradient(gy + pair->j * p->d, &b, gb, p->d, unit, factor);
    free(a.u);
    free(b.u);
}

static long double pair_distance(const ref_problem *p, size_t k, long double *ga, long double *gb) {
    const ref_pair *pair = &p->pairs[k];
    nf_metric metric = pair->same ? p->loss.pos_metric : p->loss.neg_metric;
    int unit = p->loss.normalize || metric == NF_COSINE;
    unit_row a = make_row(p->x + pair->i * p->d, p->d, unit);
    unit_row b = make_row((p->y != NULL ? p->y : p->x) + pair->j * p->d, p->d, unit);
    long double t = distance_gradient(metric, &a, &b, p->d, ga, gb);
    free(a.u);
    free(b.u);
    return t;
}

ref_result ref_evaluate(const ref_problem *p) {
    ref_result r = {.kink = INFINITY};
    size_t bytes = (p->count + 1) * sizeof(long double);
    long double *slope = must(malloc(bytes)), *factor = must(malloc(bytes));
    long double *ga = must(malloc((p->d + 1) * sizeof *ga));
    long double *gb = must(malloc((p->d + 1) * sizeof *gb));
    r.terms = must(malloc(bytes));
    r.term_condition = must(malloc(bytes));
    r.gradient_x = must(calloc(p->n * p->d + 1, sizeof(long double)));
    if (p->y != NULL) r.gradient_y = must(calloc(p->m * p->d + 1, sizeof(long double)));
    for (size_t k = 0; k < p->count; k++) {
        slope[k] = evaluate_pair(p, k, pair_distance(p, k, ga, gb), &r);
    }
    reduction_factors(p, &r, factor);
    for (size_t k = 0; k < p->count; k++) {
        r.value += factor[k] * r.terms[k];
        r.value_condition += factor[k] * r.term_condition[k];
        if (p->upstream != NULL) { /* scales the gradient only */
            factor[k] *= (long double)p->upstream[p->loss.reduction == NF_REDUCE_NONE ? k : 0];
        }
        if (slope[k] != 0) add_pair_gradient(p, k, factor[k] * slope[k], &r, ga, gb);
    }
    if (r.positive_pairs > 0) r.mean_positive_distance /= (long double)r.positive_pairs;
    if (r.negative_pairs > 0) r.mean_negative_distance /= (long double)r.negative_pairs;
    free(slope);
    free(factor);
    free(ga);
    free(gb);
    return r;
}

void ref_result_free(ref_result *result) {
    free(result->terms);
    free(result->term_condition);
    free(result->gradient_x);
    free(result->gradient_y);
    memset(result, 0, sizeof *result);
}

/* ---- the forms ------------------------------------------------------------------------------ */

static void append(ref_problem *p, ref_pair pair) {
    if ((p->count & (p->count + 1)) == 0 || p->pairs == NULL) { /* grow at 0, 1, 3, 7, .. */
        p->pairs = must(realloc(p->pairs, (2 * p->count + 2) * sizeof *p->pairs));
    }
    p->pairs[p->count++] = pair;
}

static int labelled(nf_labels labels, size_t i) {
    return !labels.has_unlabelled || labels.data[i] != -1;
}

ref_problem ref_batch(nf_loss loss, const double *x, size_t n, size_t d, nf_labels labels) {
    ref_problem p = {.loss = loss, .n = n, .d = d, .x = x};
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++) {
            if (!labelled(labels, i) || !labelled(labels, j)) continue;
            append(&p, (ref_pair){i, j, labels.data[i] == labels.data[j], 1});
        }
    }
    return p;
}

ref_problem ref_list(nf_loss loss, const double *x, size_t n, size_t d, nf_pairs pairs,
                     const double *upstream) {
    ref_problem p = {.loss = loss, .n = n, .d = d, .x = x, .upstream = upstream};
    for (size_t k = 0; k < pairs.count; k++) {
        append(&p, (ref_pair){(size_t)pairs.i[k], (size_t)pairs.j[k], pairs.same[k],
                              pairs.weight != NULL ? pairs.weight[k] : 1});
    }
    return p;
}

ref_problem ref_rows(nf_loss loss, const double *left, const double *right, size_t n, size_t d,
                     const uint8_t *same, const double *weight, const double *upstream) {
    ref_problem p = {
        .loss = loss, .n = n, .m = n, .d = d, .x = left, .y = right, .upstream = upstream};
    for (size_t k = 0; k < n; k++) {
        append(&p, (ref_pair){k, k, same[k], weight != NULL ? weight[k] : 1});
    }
    return p;
}

ref_problem ref_sets(nf_loss loss, const double *query, size_t n, const double *reference, size_t m,
                     size_t d, const nf_loss_sets *sets) {
    ref_problem p = {.loss = loss, .n = n, .m = m, .d = d, .x = query, .y = reference};
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < m; j++) {
            if (!labelled(sets->query_labels, i) || !labelled(sets->reference_labels, j)) continue;
            if (sets->query_ids != NULL && sets->query_ids[i] == sets->reference_ids[j]) continue;
            int same = sets->query_labels.data[i] == sets->reference_labels.data[j];
            append(&p, (ref_pair){i, j, same, 1});
        }
    }
    return p;
}

void ref_problem_free(ref_problem *problem) {
    free(problem->pairs);
    problem->pairs = NULL;
    problem->count = 0;
}

/* ---- comparing ------------------------------------------------------------------------------ */

long double ref_norm(const long double *values, size_t count) {
    long double sum = 0;
    for (size_t k = 0; k < count; k++) sum += values[k] * values[k];
    return sqrtl(sum);
}

double ref_relative_error(nf_matrix_out got, const long double *want) {
    long double error = 0, norm = ref_norm(want, got.rows * got.cols);
    for (size_t r = 0; r < got.rows; r++) {
        for (size_t c = 0; c < got.cols; c++) {
            long double value = got.type == NF_FLOAT32
                                    ? (long double)((const float *)got.data)[r * got.ld + c]
                                    : (long double)((const double *)got.data)[r * got.ld + c];
            long double difference = value - want[r * got.cols + c];
            error += difference * difference;
        }
    }
    if (!isfinite(error)) return INFINITY;
    return (double)(norm > 0 ? sqrtl(error) / norm : sqrtl(error));
}
