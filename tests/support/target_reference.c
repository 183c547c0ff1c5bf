#include "target_reference.h"

#include <math.h>
#include <stdlib.h>

#include "softmax_reference.h"
#include "support.h"

typedef long double real;

/* Distances at a point, and where circle loss holds its factors. Sums over pairs have no peak taken
 * out: a long double holds every exponential of these problems. */
typedef struct view {
    const target_problem *p;
    const real *t, *held;
    real *term; /* (n) of each row as anchor */
} view;

/* What reductions divide. */
typedef struct sums {
    real value, terms, weights, active;
} sums;

static size_t at(const view *v, size_t i, size_t j) { return i * v->p->n + j; }
static int is_pair(const view *v, size_t i, size_t j) {
    return i != j && v->p->y[at(v, i, j)] >= 0;
}

/* w y of a positive, w (1 - y) of a negative. */
static real share(const view *v, int positive, size_t i, size_t j) {
    if (!is_pair(v, i, j)) return 0;
    const real y = v->p->y[at(v, i, j)];
    return v->p->u[at(v, i, j)] * (positive ? y : 1 - y);
}

static int is_anchor(const view *v, size_t i) { return v->p->anchor == NULL || v->p->anchor[i]; }

static real positive_part(real z) { return z > 0 ? z : 0; }

/* ---- exponents -------------------------------------------------------------------------------- */

static real exponent(const view *v, int positive, size_t i, size_t j) {
    const nf_loss *loss = &v->p->loss;
    const real t = v->t[at(v, i, j)], m = loss->neg_margin, gamma = loss->gamma;
    const real held = 1 - v->held[at(v, i, j)], s = 1 - t;
    /* How far the pair is from `base`, which is a similarity for cosine and dot. */
    const real beyond = loss->pos_metric == NF_COSINE ? loss->base - s
                        : loss->pos_metric == NF_DOT  ? loss->base + t
                                                      : t - loss->base;
    switch (loss->kind) {
    case NF_KIND_MULTI_SIMILARITY: return positive ? loss->alpha * beyond : -loss->beta * beyond;
    case NF_KIND_CIRCLE:
        return positive ? -gamma * positive_part(1 + m - held) * (s - (1 - m))
                        : gamma * positive_part(held + m) * (s - m);
    case NF_KIND_LIFTED:
    case NF_KIND_GENERALIZED_LIFTED: return positive ? t - loss->pos_margin : m - t;
    case NF_KIND_N_PAIRS: return -t;
    default: return -t / loss->temperature;
    }
}

/* The sum of w y exp(z) over the positives of row i, or of w (1 - y) exp(z) over its negatives. */
static real sum_exp(const view *v, int positive, size_t i) {
    real sum = 0;
    for (size_t j = 0; j < v->p->n; j++) {
        const real own = share(v, positive, i, j);
        if (own > 0) sum += own * expl(exponent(v, positive, i, j));
    }
    return sum;
}

static real sum_share(const view *v, int positive, size_t i) {
    real sum = 0;
    for (size_t j = 0; j < v->p->n; j++) sum += share(v, positive, i, j);
    return sum;
}

static real log_or_zero(real sum) { return sum > 0 ? logl(sum) : 0; }

/* ---- a term per row --------------------------------------------------------------------------- */

static real row_term(const view *v, size_t i) {
    const nf_loss *loss = &v->p->loss;
    const real positives = sum_exp(v, 1, i), negatives = sum_exp(v, 0, i);
    switch (loss->kind) {
    case NF_KIND_SUPCON: {
        real cross = 0, mass = sum_share(v, 1, i);
        if (!(mass > 0)) return 0;
        for (size_t j = 0; j < v->p->n; j++) {
            if (share(v, 1, i, j) > 0) cross += share(v, 1, i, j) / mass * exponent(v, 1, i, j);
        }
        return logl(positives + negatives) - cross;
    }
    case NF_KIND_NCA: return positives > 0 ? logl(positives + negatives) - logl(positives) : 0;
    case NF_KIND_MULTI_SIMILARITY:
        return log1pl(positives) / loss->alpha + log1pl(negatives) / loss->beta;
    case NF_KIND_CIRCLE: return log1pl(positives * negatives);
    case NF_KIND_GENERALIZED_LIFTED:
        return positive_part(log_or_zero(positives) + log_or_zero(negatives));
    default: abort();
    }
}

static sums by_rows(const view *v) {
    sums out = {0, 0, 0, 0};
    for (size_t i = 0; i < v->p->n; i++) {
        if (!v->p->in[i] || !is_anchor(v, i)) continue;
        if (v->p->loss.kind == NF_KIND_NCA && !(sum_share(v, 1, i) > 0)) continue;
        const real term = v->p->v[i] * row_term(v, i);
        v->term[i] = term;
        /* Below 0 is supcon with weights below 1. */
        out.value += v->p->loss.reduction == NF_REDUCE_MEAN_NONZERO && term < 0 ? 0 : term;
        out.terms += 1;
        out.weights += v->p->v[i];
        out.active += term > 0;
    }
    return out;
}

/* ---- a term per positive pair ------------------------------------------------------------------ */

static real pair_term(const view *v, size_t i, size_t j) {
    if (v->p->loss.kind == NF_KIND_NT_XENT) {
        return log1pl(expl(-exponent(v, 1, i, j)) * sum_exp(v, 0, i));
    }
    const real both = log_or_zero(sum_exp(v, 0, i) + sum_exp(v, 0, j));
    const real z = positive_part(both + exponent(v, 1, i, j));
    return z * z / 2;
}

static sums by_pairs(const view *v) {
    const int of_anchors = v->p->loss.reduction == NF_REDUCE_MEAN_ANCHORS;
    sums out = {0, 0, 0, 0};
    size_t rows = 0;
    for (size_t i = 0; i < v->p->n; i++) {
        real own = 0, targets = 0;
        if (!is_anchor(v, i)) continue;
        rows += v->p->in[i] != 0;
        for (size_t j = 0; j < v->p->n; j++) {
            const real y = v->p->y[at(v, i, j)];
            if (!is_pair(v, i, j) || !(y > 0)) continue;
            const real term = v->p->v[i] * share(v, 1, i, j) * pair_term(v, i, j);
            own += term;
            targets += y;
            out.weights += v->p->v[i] * share(v, 1, i, j);
            out.active += term > 0 ? y : 0;
        }
        v->term[i] = own;
        out.terms += targets;
        out.value += !of_anchors ? own : targets > 0 ? own / targets : 0;
    }
    if (of_anchors) out.value /= rows > 0 ? (real)rows : 1;
    return out;
}

/* ---- triplets ---------------------------------------------------------------------------------- */

/* The nearest or farthest pair of row a with that target, beyond a distance; n: none. */
static size_t extreme(const view *v, size_t a, real y, int far, real beyond) {
    size_t best = v->p->n;
    for (size_t j = 0; j < v->p->n; j++) {
        const real t = v->t[at(v, a, j)];
        if (!is_pair(v, a, j) || (real)v->p->y[at(v, a, j)] != y || !(t > beyond)) continue;
        if (best == v->p->n || (far ? t > v->t[at(v, a, best)] : t < v->t[at(v, a, best)])) {
            best = j;
        }
    }
    return best;
}

static int chosen(const view *v, size_t a, size_t p, size_t n) {
    if (v->p->loss.triplets == NF_TRIPLETS_ALL) return 1;
    if (v->p->loss.triplets == NF_TRIPLETS_HARD) {
        return p == extreme(v, a, 1, 1, -INFINITY) && n == extreme(v, a, 0, 0, -INFINITY);
    }
    const size_t beyond = extreme(v, a, 0, 0, v->t[at(v, a, p)]);
    return n == (beyond < v->p->n ? beyond : extreme(v, a, 0, 1, -INFINITY));
}

static void add_triplet(const view *v, size_t a, size_t p, size_t n, sums *out) {
    const nf_loss *loss = &v->p->loss;
    const real tp = v->t[at(v, a, p)], tn = v->t[at(v, a, n)], m = loss->neg_margin;
    const real weight = v->p->v[a] * (real)v->p->u[at(v, a, p)] * (real)v->p->u[at(v, a, n)];
    out->terms += 1;
    out->weights += weight;
    if (loss->kind == NF_KIND_MARGIN) {
        const real pull = positive_part(tp - loss->beta + m),
                   push = positive_part(loss->beta - tn + m);
        v->term[a] += weight * (pull + push);
        out->value += weight * (pull + push);
        out->active += (weight * pull > 0) + (weight * push > 0);
        return;
    }
    const real z = tp - tn + m, term = loss->smooth ? log1pl(expl(z)) : positive_part(z);
    v->term[a] += weight * term;
    out->value += weight * term;
    out->active += weight * term > 0;
}

static sums by_triplets(const view *v) {
    const size_t n = v->p->n;
    sums out = {0, 0, 0, 0};
    for (size_t a = 0; a < n; a++) {
        for (size_t p = 0; p < n && is_anchor(v, a); p++) {
            if (!is_pair(v, a, p) || v->p->y[at(v, a, p)] < 1) continue;
            for (size_t q = 0; q < n; q++) {
                if (!is_pair(v, a, q) || v->p->y[at(v, a, q)] > 0) continue;
                if (chosen(v, a, p, q)) add_triplet(v, a, p, q, &out);
            }
        }
    }
    return out;
}

/* ---- n-pairs ----------------------------------------------------------------------------------- */

/* Whether row i makes a positive pair with one of the chosen, or is one. */
static int taken(const view *v, size_t i, const size_t *chosen_rows, size_t count) {
    for (size_t k = 0; k < count; k++) {
        const size_t j = chosen_rows[k];
        if (i == j || (is_pair(v, i, j) && v->p->y[at(v, i, j)] == 1)) return 1;
    }
    return 0;
}

static sums by_n_pairs(const view *v) {
    const size_t n = v->p->n;
    size_t *rows = malloc((n + 2) * sizeof *rows), count = 0;
    sums out = {0, 0, 0, 0};
    for (size_t a = 0; a < n; a++) {
        for (size_t p = a + 1; p < n; p++) {
            if (taken(v, a, rows, count) || taken(v, p, rows, count)) continue;
            if (!is_pair(v, a, p) || v->p->y[at(v, a, p)] < 1) continue;
            rows[count++] = a;
            rows[count++] = p;
        }
    }
    size_t negatives = 0;
    for (size_t k = 0; k < count; k += 2) {
        const size_t a = rows[k], p = rows[k + 1];
        real sum = 0;
        for (size_t l = 1; l < count; l += 2) {
            if (l == k + 1 || !is_pair(v, a, rows[l])) continue;
            sum += v->p->u[at(v, a, rows[l])] * expl(exponent(v, 0, a, rows[l]));
            negatives++;
        }
        const real weight = v->p->v[a] * (real)v->p->u[at(v, a, p)];
        const real term = weight * log1pl(expl(-exponent(v, 1, a, p)) * sum);
        v->term[a] = term;
        out.value += term;
        out.terms += 1;
        out.weights += weight;
        out.active += term > 0;
    }
    free(rows);
    return negatives > 0 ? out : (sums){0, 0, 0, 0};
}

/* ---- the value --------------------------------------------------------------------------------- */

static sums all_terms(const view *v) {
    const nf_loss_kind kind = v->p->loss.kind;
    size_t of[2] = {0, 0};
    for (size_t i = 0; i < v->p->n; i++) {
        for (size_t j = 0; j < v->p->n; j++) {
            of[0] += is_pair(v, i, j) && v->p->y[at(v, i, j)] < 1;
            of[1] += is_pair(v, i, j) && v->p->y[at(v, i, j)] > 0;
        }
    }
    if (kind == NF_KIND_TRIPLET || kind == NF_KIND_MARGIN) return by_triplets(v);
    if (kind == NF_KIND_N_PAIRS) return by_n_pairs(v);
    const int needs_both =
        kind == NF_KIND_SUPCON || kind == NF_KIND_NT_XENT || kind == NF_KIND_LIFTED;
    if (of[0] + of[1] == 0 || (needs_both && (of[0] == 0 || of[1] == 0))) return (sums){0, 0, 0, 0};
    return kind == NF_KIND_NT_XENT || kind == NF_KIND_LIFTED ? by_pairs(v) : by_rows(v);
}

/* ---- terms of single pairs ---------------------------------------------------------------------- */

static real phi(const nf_loss *loss, int positive, const real *a, const real *b, size_t d) {
    nf_loss metric = *loss;
    metric.pos_metric = positive ? loss->pos_metric : loss->neg_metric;
    const real t = softmax_reference_distance(&metric, a, b, d);
    const real z = positive ? t - loss->pos_margin : loss->neg_margin - t;
    const real own = positive ? loss->pos_weight : loss->neg_weight;
    return own * powl(positive_part(z), positive ? loss->pos_exponent : loss->neg_exponent);
}

static real by_single_pairs(const target_problem *p, const real *x) {
    const nf_reduction reduction = p->loss.reduction;
    real sum[2] = {0, 0}, mass[2] = {0, 0}, active[2] = {0, 0}, pairs = 0, weights = 0, value = 0;
    const view v = {p, NULL, NULL, NULL};
    for (size_t i = 0; i < p->n; i++) {
        for (size_t j = p->anchor != NULL ? 0 : i + 1; j < p->n && is_anchor(&v, i); j++) {
            const real y = p->y[at(&v, i, j)];
            const real weight = p->u[at(&v, i, j)] * (real)p->v[i] * (real)p->v[j];
            if (!is_pair(&v, i, j)) continue;
            pairs += 1;
            weights += weight;
            for (int s = 0; s < 2; s++) {
                const real share = s == 1 ? y : 1 - y;
                const real term =
                    weight * share * phi(&p->loss, s, x + i * p->d, x + j * p->d, p->d);
                sum[s] += term;
                mass[s] += share;
                active[s] += term > 0 ? share : 0;
            }
        }
    }
    for (int s = 0; s < 2; s++) {
        const real by = reduction == NF_REDUCE_SUM             ? 1
                        : reduction == NF_REDUCE_DIVISOR       ? (real)p->loss.divisor
                        : reduction == NF_REDUCE_MEAN          ? pairs
                        : reduction == NF_REDUCE_WEIGHTED_MEAN ? weights
                        : reduction == NF_REDUCE_MEAN_SIDES    ? mass[s]
                                                               : active[s];
        value += by > 0 ? sum[s] / by : 0;
    }
    return p->loss.scale * value;
}

/* ---- reductions ---------------------------------------------------------------------------------- */

static real reduce(const view *v, const sums *total) {
    const target_problem *p = v->p;
    real by = 1, value = total->value;
    switch (p->loss.reduction) {
    case NF_REDUCE_SUM:
    case NF_REDUCE_MEAN_ANCHORS: break;
    case NF_REDUCE_NONE:
        value = 0;
        for (size_t i = 0; i < p->n; i++) {
            value += (p->upstream != NULL ? (real)p->upstream[i] : 1) * v->term[i];
        }
        break;
    case NF_REDUCE_MEAN_NONZERO: by = total->active; break;
    case NF_REDUCE_DIVISOR: by = p->loss.divisor; break;
    case NF_REDUCE_WEIGHTED_MEAN: by = total->weights; break;
    default: by = total->terms;
    }
    return by > 0 ? p->loss.scale * value / by : 0;
}

static real value_at(const target_problem *p, const real *x, const real *held, real *t) {
    if (p->loss.kind == NF_KIND_CONTRASTIVE) return by_single_pairs(p, x);
    for (size_t i = 0; i < p->n; i++) {
        for (size_t j = 0; j < p->n; j++) {
            t[i * p->n + j] =
                softmax_reference_distance(&p->loss, x + i * p->d, x + j * p->d, p->d);
        }
    }
    const view v = {p, t, held != NULL ? held : t, calloc(p->n + 1, sizeof(real))};
    const sums total = all_terms(&v);
    const real value = reduce(&v, &total);
    for (size_t i = 0; p->terms != NULL && i < p->n; i++) {
        p->terms[i] = (double)(p->loss.scale * v.term[i]);
    }
    free(v.term);
    return value;
}

static real *widen(const target_problem *p) {
    real *x = malloc((p->n * p->d + 1) * sizeof *x);
    for (size_t k = 0; k < p->n * p->d; k++) x[k] = p->x[k];
    return x;
}

long double target_reference(const target_problem *p) {
    real *x = widen(p), *t = malloc((p->n * p->n + 1) * sizeof *t);
    const real value = value_at(p, x, NULL, t);
    free(x);
    free(t);
    return value;
}

/* Five points: the error is of fourth order. */
void target_reference_gradient(const target_problem *p, double *gradient) {
    static const real step[] = {-2, -1, 1, 2}, factor[] = {1, -8, 8, -1}, h = 1e-5L;
    real *x = widen(p), *t = malloc((p->n * p->n + 1) * sizeof *t);
    real *held = malloc((p->n * p->n + 1) * sizeof *held);
    value_at(p, x, NULL, held);
    for (size_t k = 0; k < p->n * p->d; k++) {
        const real kept = x[k];
        real sum = 0;
        for (int s = 0; s < 4; s++) {
            x[k] = kept + step[s] * h;
            sum += factor[s] * value_at(p, x, held, t);
        }
        x[k] = kept;
        gradient[k] = (double)(sum / (12 * h));
    }
    free(x);
    free(t);
    free(held);
}

void target_assert_near(const nf_loss *loss, const char *what, double got, double want,
                        double tolerance) {
    if (fabs(got - want) <= tolerance) return;
    fail_msg("kind %s, triplets %d, reduction %s: %s is %.17g, not %.17g",
             nf_loss_kind_name(loss->kind), (int)loss->triplets, nf_reduction_name(loss->reduction),
             what, got, want);
}

double target_largest(const double *values, size_t count) {
    double most = 0;
    for (size_t k = 0; k < count; k++) most = fmax(most, fabs(values[k]));
    return most;
}
