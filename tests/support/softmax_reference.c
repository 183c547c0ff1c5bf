#include "softmax_reference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef long double real;

typedef struct view {
    const softmax_problem *p;
    size_t n, m;
    real *t, *held; /* (n, m) distances; those of the point where factors are held */
    int *pair;      /* (n, m): 1 positive, -1 negative, 0 none */
} view;

static void unit(real *row, size_t d) {
    real length = 0;
    for (size_t k = 0; k < d; k++) length += row[k] * row[k];
    length = sqrtl(length);
    for (size_t k = 0; k < d && length > 0; k++) row[k] /= length;
}

real softmax_reference_distance(const nf_loss *loss, const real *a, const real *b, size_t d) {
    real u[64], v[64], square = 0, dot = 0, sum = 0;
    memcpy(u, a, d * sizeof *u);
    memcpy(v, b, d * sizeof *v);
    if (loss->normalize || loss->pos_metric == NF_COSINE) {
        unit(u, d);
        unit(v, d);
    }
    for (size_t k = 0; k < d; k++) {
        square += (u[k] - v[k]) * (u[k] - v[k]);
        dot += u[k] * v[k];
        sum += fabsl(u[k] - v[k]);
    }
    switch (loss->pos_metric) {
    case NF_EUCLIDEAN: return sqrtl(square);
    case NF_SQEUCLIDEAN: return square;
    case NF_COSINE: return 1 - dot;
    case NF_DOT: return -dot;
    case NF_CITYBLOCK: return sum;
    }
    abort();
}

static void fill(const softmax_problem *p, const real *x, const real *y, real *t) {
    size_t m = p->y != NULL ? p->m : p->n;
    for (size_t i = 0; i < p->n; i++) {
        for (size_t j = 0; j < m; j++) {
            t[i * m + j] = softmax_reference_distance(&p->loss, x + i * p->d, y + j * p->d, p->d);
        }
    }
}

static int kind_of_pair(const softmax_problem *p, size_t i, size_t j) {
    const int within = p->y == NULL;
    int64_t a = p->label[i], b = within ? p->label[j] : p->other[j];
    if (within && i == j) return 0;
    if (!within && p->ids != NULL && p->ids[i] == p->other_ids[j]) return 0;
    if (a == -1 || b == -1) return 0;
    return a == b ? 1 : -1;
}

static size_t count(const view *v, size_t i, int which) {
    size_t found = 0;
    for (size_t j = 0; j < v->m; j++) found += v->pair[i * v->m + j] == which;
    return found;
}

static real positive_part(real z) { return z > 0 ? z : 0; }
static real softplus(real z) { return z > 0 ? z + log1pl(expl(-z)) : log1pl(expl(z)); }

/* log of the sum of exp(z_ij) over pairs of row i of that kind (0: both); -inf for none. */
typedef real (*exponent_fn)(const view *v, size_t i, size_t j);
static real log_sum(const view *v, size_t i, int which, exponent_fn z) {
    real top = -INFINITY, sum = 0;
    for (size_t j = 0; j < v->m; j++) {
        int pair = v->pair[i * v->m + j];
        if (pair != 0 && (which == 0 || pair == which)) top = fmaxl(top, z(v, i, j));
    }
    if (isinf(top)) return top;
    for (size_t j = 0; j < v->m; j++) {
        int pair = v->pair[i * v->m + j];
        if (pair != 0 && (which == 0 || pair == which)) sum += expl(z(v, i, j) - top);
    }
    return top + logl(sum);
}

/* ---- exponents -------------------------------------------------------------------------------- */

static real t_of(const view *v, size_t i, size_t j) { return v->t[i * v->m + j]; }

static real cooled(const view *v, size_t i, size_t j) {
    return -t_of(v, i, j) / (v->p->loss.temperature > 0 ? v->p->loss.temperature : 1);
}

/* How far a pair is on the wrong side of `base`, which is a similarity for cosine and dot. */
static real beyond_base(const view *v, size_t i, size_t j) {
    const nf_loss *loss = &v->p->loss;
    if (loss->pos_metric == NF_COSINE) return loss->base - (1 - t_of(v, i, j));
    if (loss->pos_metric == NF_DOT) return loss->base - -t_of(v, i, j);
    return t_of(v, i, j) - loss->base;
}

static real similar_positive(const view *v, size_t i, size_t j) {
    return v->p->loss.alpha * beyond_base(v, i, j);
}

static real similar_negative(const view *v, size_t i, size_t j) {
    return -v->p->loss.beta * beyond_base(v, i, j);
}

static real circle_positive(const view *v, size_t i, size_t j) {
    real m = v->p->loss.neg_margin, s = 1 - t_of(v, i, j), held = 1 - v->held[i * v->m + j];
    return -v->p->loss.gamma * positive_part(1 + m - held) * (s - (1 - m));
}

static real circle_negative(const view *v, size_t i, size_t j) {
    real m = v->p->loss.neg_margin, s = 1 - t_of(v, i, j), held = 1 - v->held[i * v->m + j];
    return v->p->loss.gamma * positive_part(held + m) * (s - m);
}

static real lifted_positive(const view *v, size_t i, size_t j) {
    return t_of(v, i, j) - v->p->loss.pos_margin;
}

static real lifted_negative(const view *v, size_t i, size_t j) {
    return v->p->loss.neg_margin - t_of(v, i, j);
}

/* ---- terms ------------------------------------------------------------------------------------ */

static real or_zero(real z) { return isinf(z) ? 0 : z; }

/* The term of row i; *counts: whether a mean is over it. */
static real row_term(const view *v, size_t i, int *counts) {
    const nf_loss *loss = &v->p->loss;
    size_t positives = count(v, i, 1), negatives = count(v, i, -1);
    *counts = v->p->label[i] != -1;
    switch (loss->kind) {
    case NF_KIND_SUPCON: {
        real mean = 0;
        if (positives == 0) return 0;
        for (size_t j = 0; j < v->m; j++) {
            if (v->pair[i * v->m + j] == 1) mean += cooled(v, i, j);
        }
        return log_sum(v, i, 0, cooled) - mean / (real)positives;
    }
    case NF_KIND_NCA:
        *counts = positives > 0;
        return positives > 0 ? log_sum(v, i, 0, cooled) - log_sum(v, i, 1, cooled) : 0;
    case NF_KIND_MULTI_SIMILARITY:
        return softplus(log_sum(v, i, 1, similar_positive)) / loss->alpha +
               softplus(log_sum(v, i, -1, similar_negative)) / loss->beta;
    case NF_KIND_CIRCLE:
        if (positives == 0 || negatives == 0) return 0;
        return softplus(log_sum(v, i, 1, circle_positive) + log_sum(v, i, -1, circle_negative));
    case NF_KIND_GENERALIZED_LIFTED:
        return positive_part(or_zero(log_sum(v, i, 1, lifted_positive)) +
                             or_zero(log_sum(v, i, -1, lifted_negative)));
    default: abort();
    }
}

/* log of the sum over the negatives of column j, seen from the rows. */
static real column_log_sum(const view *v, size_t j) {
    real top = -INFINITY, sum = 0;
    for (size_t i = 0; i < v->n; i++) {
        if (v->pair[i * v->m + j] == -1) top = fmaxl(top, lifted_negative(v, i, j));
    }
    for (size_t i = 0; i < v->n; i++) {
        if (v->pair[i * v->m + j] == -1) sum += expl(lifted_negative(v, i, j) - top);
    }
    return isinf(top) ? top : top + logl(sum);
}

static real pair_term(const view *v, size_t i, size_t j) {
    if (v->p->loss.kind == NF_KIND_LIFTED) {
        real a = log_sum(v, i, -1, lifted_negative);
        real b = v->p->y == NULL ? log_sum(v, j, -1, lifted_negative) : column_log_sum(v, j);
        real top = fmaxl(a, b);
        real both = isinf(top) ? top : top + logl(expl(a - top) + expl(b - top));
        real z = positive_part(or_zero(both) + lifted_positive(v, i, j));
        return z * z / 2;
    }
    return softplus(log_sum(v, i, -1, cooled) - cooled(v, i, j));
}

static real reduce(const nf_loss *loss, real sum, size_t terms, size_t active) {
    switch (loss->reduction) {
    case NF_REDUCE_SUM: return sum;
    case NF_REDUCE_DIVISOR: return sum / (real)loss->divisor;
    case NF_REDUCE_MEAN: return terms > 0 ? sum / (real)terms : 0;
    case NF_REDUCE_MEAN_NONZERO: return active > 0 ? sum / (real)active : 0;
    default: abort();
    }
}

static real value_of_rows(const view *v) {
    real sum = 0;
    size_t terms = 0, active = 0;
    for (size_t i = 0; i < v->n; i++) {
        int counts;
        real term = row_term(v, i, &counts);
        sum += term;
        terms += (size_t)counts;
        active += term > 0;
    }
    return reduce(&v->p->loss, sum, terms, active);
}

static real value_of_pairs(const view *v) {
    real sum = 0, of_anchors = 0;
    size_t terms = 0, active = 0, anchors = 0;
    for (size_t i = 0; i < v->n; i++) {
        real own = 0;
        for (size_t j = 0; j < v->m; j++) {
            if (v->pair[i * v->m + j] != 1) continue;
            real term = pair_term(v, i, j);
            own += term;
            terms++;
            active += term > 0;
        }
        sum += own;
        anchors += v->p->label[i] != -1;
        if (count(v, i, 1) > 0) of_anchors += own / (real)count(v, i, 1);
    }
    if (v->p->loss.reduction == NF_REDUCE_MEAN_ANCHORS) {
        return anchors > 0 ? of_anchors / (real)anchors : 0;
    }
    return reduce(&v->p->loss, sum, terms, active);
}

/* The first two rows of every class that has them. */
static real value_of_n_pairs(const view *v) {
    size_t anchor[64], positive[64], chosen = 0;
    for (size_t i = 0; i < v->n; i++) {
        size_t seen = 0, next = 0;
        for (size_t j = 0; j < v->n; j++) {
            if (v->p->label[j] != v->p->label[i] || v->p->label[i] == -1 || j == i) continue;
            if (j < i) seen++;
            if (j > i && next == 0) next = j;
        }
        if (seen > 0 || next == 0) continue;
        anchor[chosen] = i;
        positive[chosen++] = next;
    }
    real sum = 0;
    for (size_t c = 0; c < chosen && chosen > 1; c++) {
        real top = -INFINITY, all = 0, own = cooled(v, anchor[c], positive[c]);
        for (size_t k = 0; k < chosen; k++) top = fmaxl(top, cooled(v, anchor[c], positive[k]));
        for (size_t k = 0; k < chosen; k++) all += expl(cooled(v, anchor[c], positive[k]) - top);
        sum += top + logl(all) - own;
    }
    return chosen > 1 ? reduce(&v->p->loss, sum, chosen, chosen) : 0;
}

static real value_at(const softmax_problem *p, const real *x, const real *y, real *held) {
    view v = {p, p->n, p->y != NULL ? p->m : p->n, NULL, held, NULL};
    v.t = malloc((v.n * v.m + 1) * sizeof *v.t);
    v.pair = malloc((v.n * v.m + 1) * sizeof *v.pair);
    fill(p, x, y, v.t);
    size_t of[2] = {0, 0};
    for (size_t i = 0; i < v.n; i++) {
        for (size_t j = 0; j < v.m; j++) {
            int pair = v.pair[i * v.m + j] = kind_of_pair(p, i, j);
            of[0] += pair == -1;
            of[1] += pair == 1;
        }
    }
    const nf_loss_kind kind = p->loss.kind;
    real value = 0;
    if (kind == NF_KIND_N_PAIRS) {
        value = value_of_n_pairs(&v);
    } else if (kind == NF_KIND_NT_XENT || kind == NF_KIND_LIFTED) {
        if (of[0] > 0 && of[1] > 0) value = value_of_pairs(&v);
    } else if (kind != NF_KIND_SUPCON || (of[0] > 0 && of[1] > 0)) {
        if (of[0] + of[1] > 0) value = value_of_rows(&v);
    }
    free(v.t);
    free(v.pair);
    return p->loss.scale * value;
}

typedef struct point {
    real *x, *y, *held;
    size_t nx, ny;
} point;

static point point_of(const softmax_problem *p) {
    point at = {.nx = p->n * p->d, .ny = p->y != NULL ? p->m * p->d : 0};
    at.x = malloc((at.nx + 1) * sizeof *at.x);
    at.y = malloc((at.ny + 1) * sizeof *at.y);
    at.held = malloc((p->n * (p->y != NULL ? p->m : p->n) + 1) * sizeof *at.held);
    for (size_t k = 0; k < at.nx; k++) at.x[k] = (real)p->x[k];
    for (size_t k = 0; k < at.ny; k++) at.y[k] = (real)p->y[k];
    fill(p, at.x, p->y != NULL ? at.y : at.x, at.held);
    return at;
}

static void point_free(point *at) {
    free(at->x);
    free(at->y);
    free(at->held);
}

long double softmax_reference(const softmax_problem *p) {
    point at = point_of(p);
    real value = value_at(p, at.x, p->y != NULL ? at.y : at.x, at.held);
    point_free(&at);
    return value;
}

/* Five points: the error is of fourth order. */
static double derivative(const softmax_problem *p, const point *at, real *variable) {
    const real h = 1e-5L, kept = *variable;
    const real *y = p->y != NULL ? at->y : at->x;
    real f[4];
    for (int k = 0; k < 4; k++) {
        static const real step[] = {-2, -1, 1, 2};
        *variable = kept + step[k] * h;
        f[k] = value_at(p, at->x, y, at->held);
    }
    *variable = kept;
    return (double)((f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h));
}

void softmax_reference_gradient(const softmax_problem *p, double *x, double *y) {
    point at = point_of(p);
    for (size_t k = 0; k < at.nx; k++) x[k] = derivative(p, &at, &at.x[k]);
    for (size_t k = 0; y != NULL && k < at.ny; k++) y[k] = derivative(p, &at, &at.y[k]);
    point_free(&at);
}
