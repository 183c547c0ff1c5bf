/* Every kernel of every instruction set of this machine: the same bits as the scalar one, which has
 * the bits of a naive chain; nothing read or written outside the arrays. */
#include "probe.h"
#include "support.h"

#include <math.h>

#include "base/random.h"
#include "kernel/kernel.h"

typedef struct tables {
    nf_context *context[4];
    size_t count;
} tables;

static int make_tables(void **state) {
    static tables t; /* cmocka's state; one per program */
    nf_isa isa[4];
    t.count = probe_isas(isa);
    for (size_t k = 0; k < t.count; k++) t.context[k] = test_context_isa(1, isa[k]);
    *state = &t;
    return 0;
}

static int free_tables(void **state) {
    tables *t = *state;
    for (size_t k = 0; k < t->count; k++) nf_context_free(t->context[k]);
    return 0;
}

/* ---- data ------------------------------------------------------------------------------------- */

static void put(nf_type type, void *out, size_t k, double value) {
    if (type == NF_FLOAT32)
        ((float *)out)[k] = (float)value;
    else
        ((double *)out)[k] = value;
}

static double get(nf_type type, const void *in, size_t k) {
    return type == NF_FLOAT32 ? (double)((const float *)in)[k] : ((const double *)in)[k];
}

/* Ordinary values, or (wild) also denormals, huge ones, zeros of both signs, Inf and NaN. */
static void fill(nf_type type, void *out, size_t count, uint64_t seed, int wild) {
    static const double specials[] = {0,         -0.0,      INFINITY, -INFINITY, NAN, 0x1p-149,
                                      -0x1p-140, 0x1p-1074, 0x1p127,  -0x1p1000, 1,   -1};
    for (size_t k = 0; k < count; k++) {
        double value = 2 * nf_random_unit(seed, 1, k) - 1;
        if (wild && nf_random_below(seed, 2, k, 4) == 0) {
            value = specials[nf_random_below(seed, 3, k, sizeof specials / sizeof *specials)];
        }
        put(type, out, k, value);
    }
}

static probe_guard filled(nf_type type, size_t count, uint64_t seed, int wild, int at_end) {
    probe_guard guard = probe_guard_make(count * nf_type_size(type), at_end);
    fill(type, guard.data, count, seed, wild);
    probe_guard_read_only(&guard);
    return guard;
}

/* Same bits, or both NaN: which NaN comes out of two is not promised. */
static int same_values(nf_type type, const void *a, const void *b, size_t count) {
    size_t size = nf_type_size(type);
    for (size_t k = 0; k < count; k++) {
        if (memcmp((const char *)a + k * size, (const char *)b + k * size, size) == 0) continue;
        if (!isnan(get(type, a, k)) || !isnan(get(type, b, k))) return 0;
    }
    return 1;
}

typedef struct shape {
    nf_type type;
    size_t rows, cols, d, gap;
    int wild, at_end;
    uint64_t seed;
} shape;

/* The grid: every inner size to 67 and some larger, row and column counts around register tiles. */
static shape grid_shape(size_t t) {
    static const size_t larger[] = {95, 96, 97, 128, 200, 511};
    static const size_t counts[] = {1,  2,  3,  5,  6,  7,  8,  11, 12,
                                    13, 15, 16, 17, 31, 32, 33, 48, 96};
    shape s = {.type = t % 2 == 0 ? NF_FLOAT32 : NF_FLOAT64, .seed = t};
    size_t step = t / 2 % 74;
    s.d = step < 68 ? step : larger[step - 68];
    s.rows = counts[(t * 7 + t / 148) % 18];
    s.cols = counts[(t * 5 + 3) % 18];
    s.gap = t / 3 % 3;
    s.wild = t / 4 % 2;
    s.at_end = t / 5 % 2;
    return s;
}
#define GRID (2 * 74 * 6)

static void fail_shape(const char *kernel, nf_context *context, const shape *s) {
    fail_msg("%s on %s: %s, rows %zu, cols %zu, d %zu, gap %zu, wild %d", kernel,
             nf_context_isa(context), s->type == NF_FLOAT32 ? "float32" : "float64", s->rows,
             s->cols, s->d, s->gap, s->wild);
}

/* ---- naive chains ------------------------------------------------------------------------------ */

enum { SQDIST, DOT, CITYBLOCK };

static double naive_distance(int kind, nf_type type, const void *a, const void *b, size_t d) {
    float f = 0;
    double g = 0;
    for (size_t k = 0; k < d; k++) {
        if (type == NF_FLOAT32) {
            float x = ((const float *)a)[k], y = ((const float *)b)[k], v = x - y;
            f = kind == SQDIST ? fmaf(v, v, f) : kind == DOT ? fmaf(x, y, f) : f + fabsf(v);
        } else {
            double x = ((const double *)a)[k], y = ((const double *)b)[k], v = x - y;
            g = kind == SQDIST ? fma(v, v, g) : kind == DOT ? fma(x, y, g) : g + fabs(v);
        }
    }
    return type == NF_FLOAT32 ? (double)f : g;
}

static int agrees(double got, double want) { return got == want || (isnan(got) && isnan(want)); }

/* ---- distances --------------------------------------------------------------------------------- */

typedef void (*tile_fn)(void *, size_t, const void *, size_t, const void *, size_t, size_t, size_t);
typedef void (*row_fn)(void *, const void *const *, const void *const *, size_t, size_t);

static void check_distances(tables *t, const shape *s) {
    size_t size = nf_type_size(s->type), ld = s->d + s->gap, ldo = nf_pad(s->type, s->cols) + 3;
    probe_guard a = filled(s->type, s->rows * ld, s->seed, s->wild, s->at_end);
    probe_guard b = filled(s->type, s->cols * ld, s->seed + 9000, s->wild, s->at_end);
    size_t out_count = (s->rows - 1) * ldo + nf_pad(s->type, s->cols);
    probe_guard panel = probe_guard_make(nf_pad(s->type, s->cols) * s->d * size, s->at_end);
    char *want_panel = malloc(panel.map_bytes);
    for (size_t k = 0; k < t->count; k++) {
        const nf_kernels *table = nf_kernels_get(t->context[k], s->type);
        size_t panel_bytes = nf_pad(s->type, s->cols) * s->d * size;
        if (s->d > 0) memset(panel.data, 0x5A, panel_bytes);
        table->pack(panel.data, b.data, ld, s->cols, s->d);
        if (k == 0) memcpy(want_panel, panel.data, panel_bytes);
        if (memcmp(want_panel, panel.data, panel_bytes) != 0) fail_shape("pack", t->context[k], s);
        const tile_fn tile[] = {table->sqdist, table->dot, table->cityblock};
        for (int kind = 0; kind < 3; kind++) {
            probe_guard out = probe_guard_make(out_count * size, 1);
            tile[kind](out.data, ldo, a.data, ld, panel.data, s->rows, s->cols, s->d);
            for (size_t r = 0; r < s->rows; r++) {
                for (size_t c = 0; c < s->cols; c++) {
                    double naive = naive_distance(kind, s->type, (char *)a.data + r * ld * size,
                                                  (char *)b.data + c * ld * size, s->d);
                    if (!agrees(get(s->type, out.data, r * ldo + c), naive)) {
                        fail_shape("tile", t->context[k], s);
                    }
                }
            }
            probe_guard_free(&out);
        }
    }
    free(want_panel);
    probe_guard_free(&panel);
    probe_guard_free(&a);
    probe_guard_free(&b);
}

static void check_rows(tables *t, const shape *s) {
    size_t size = nf_type_size(s->type), ld = s->d + s->gap;
    probe_guard a = filled(s->type, s->rows * ld, s->seed, s->wild, s->at_end);
    const void *left[96], *right[96];
    for (size_t p = 0; p < s->rows; p++) {
        left[p] = (char *)a.data + p * ld * size;
        right[p] = (char *)a.data + (p * 7 + 3) % s->rows * ld * size;
    }
    for (size_t k = 0; k < t->count; k++) {
        const nf_kernels *table = nf_kernels_get(t->context[k], s->type);
        const row_fn rows[] = {table->row_sqdist, table->row_dot, table->row_cityblock};
        for (int kind = 0; kind < 3; kind++) {
            probe_guard out = probe_guard_make(s->rows * size, 1);
            rows[kind](out.data, left, right, s->rows, s->d);
            for (size_t p = 0; p < s->rows; p++) {
                double naive = naive_distance(kind, s->type, left[p], right[p], s->d);
                if (!agrees(get(s->type, out.data, p), naive)) fail_shape("rows", t->context[k], s);
            }
            probe_guard_free(&out);
        }
    }
    probe_guard_free(&a);
}

static void distances_are_naive_chains(void **state) {
    for (size_t t = 0; t < GRID; t++) {
        shape s = grid_shape(t);
        check_distances(*state, &s);
        check_rows(*state, &s);
    }
}

/* The Gram form from naive chains, and how many of the values it stands for. */
static double naive_gram(nf_type type, const void *a, const void *b, size_t d, size_t *gram) {
    const double direct = naive_distance(SQDIST, type, a, b, d);
    const double dot = naive_distance(DOT, type, a, b, d);
    double own, norm;
    if (type == NF_FLOAT32) {
        float n =
            (float)naive_distance(DOT, type, a, a, d) + (float)naive_distance(DOT, type, b, b, d);
        norm = (double)n;
        own = (double)fmaf(-2, (float)dot, n);
    } else {
        norm = naive_distance(DOT, type, a, a, d) + naive_distance(DOT, type, b, b, d);
        own = fma(-2, dot, norm);
    }
    if (!(own > norm / 16)) return direct;
    ++*gram;
    return own;
}

static void check_gram(tables *t, const shape *s, size_t *gram) {
    size_t size = nf_type_size(s->type), ld = s->d + s->gap, ldo = nf_pad(s->type, s->cols) + 3;
    size_t padded = nf_pad(s->type, s->cols);
    probe_guard a = filled(s->type, s->rows * ld, s->seed, s->wild, s->at_end);
    probe_guard b = filled(s->type, s->cols * ld, s->seed + 9000, s->wild, s->at_end);
    probe_guard panel = probe_guard_make(padded * s->d * size, s->at_end);
    probe_guard a_norm = probe_guard_make(s->rows * size, s->at_end);
    probe_guard b_norm = probe_guard_make(padded * size, s->at_end);
    for (size_t k = 0; k < t->count; k++) {
        const nf_kernels *table = nf_kernels_get(t->context[k], s->type);
        table->pack(panel.data, b.data, ld, s->cols, s->d);
        memset(b_norm.data, 0, padded * size);
        for (size_t r = 0; r < s->rows; r++) {
            const void *row = (char *)a.data + r * ld * size;
            table->row_dot((char *)a_norm.data + r * size, &row, &row, 1, s->d);
        }
        for (size_t c = 0; c < s->cols; c++) {
            const void *row = (char *)b.data + c * ld * size;
            table->row_dot((char *)b_norm.data + c * size, &row, &row, 1, s->d);
        }
        probe_guard out = probe_guard_make(((s->rows - 1) * ldo + padded) * size, 1);
        table->gram(out.data, ldo, a.data, ld, panel.data, s->rows, s->cols, s->d, a_norm.data,
                    b_norm.data);
        for (size_t r = 0; r < s->rows; r++) {
            for (size_t c = 0; c < s->cols; c++) {
                double naive = naive_gram(s->type, (char *)a.data + r * ld * size,
                                          (char *)b.data + c * ld * size, s->d, gram);
                if (!agrees(get(s->type, out.data, r * ldo + c), naive)) {
                    fail_shape("gram", t->context[k], s);
                }
            }
        }
        probe_guard_free(&out);
    }
    probe_guard_free(&panel);
    probe_guard_free(&a);
    probe_guard_free(&b);
    probe_guard_free(&a_norm);
    probe_guard_free(&b_norm);
}

static void gram_is_naive_chains_with_near_pairs_direct(void **state) {
    size_t gram = 0;
    for (size_t t = 0; t < GRID; t++) {
        shape s = grid_shape(t);
        check_gram(*state, &s, &gram);
    }
    assert_true(gram > 100000);
}

/* ---- updates ----------------------------------------------------------------------------------- */

enum { DIFFERENCE, PRODUCT, SIGN };

typedef struct update_data {
    const void *w, *x, *b;
    size_t row_step, step, ld;
} update_data;

static double naive_product(nf_type type, const update_data *u, size_t r, size_t c, size_t n) {
    float f = 0;
    double g = 0;
    for (size_t s = 0; s < n; s++) {
        double w = get(type, u->w, r * u->row_step + s * u->step),
               b = get(type, u->b, s * u->ld + c);
        f = fmaf((float)w, (float)b, f);
        g = fma(w, b, g);
    }
    return type == NF_FLOAT32 ? (double)f : g;
}

static void check_products(tables *t, const shape *s, int transposed) {
    size_t size = nf_type_size(s->type),
           ld = nf_pad(s->type, s->d) + nf_lanes(s->type) * (s->gap % 2);
    update_data u = {.ld = ld};
    size_t ldw = (transposed ? s->rows : s->cols) + s->gap;
    u.row_step = transposed ? 1 : ldw;
    u.step = transposed ? ldw : 1;
    probe_guard w = filled(s->type, (transposed ? s->cols : s->rows) * ldw, s->seed, 0, s->at_end);
    probe_guard b = filled(s->type, s->cols * ld, s->seed + 2, 0, s->at_end);
    u.w = w.data, u.b = b.data;
    for (size_t k = 0; k < t->count; k++) {
        probe_guard out = probe_guard_make(s->rows * ld * size, s->at_end);
        nf_kernels_get(t->context[k], s->type)
            ->product(out.data, ld, w.data, u.row_step, u.step, b.data, ld, s->rows, s->cols, s->d);
        for (size_t r = 0; r < s->rows; r++) {
            for (size_t c = 0; c < s->d; c++) {
                double naive = naive_product(s->type, &u, r, c, s->cols);
                if (!agrees(get(s->type, out.data, r * ld + c), naive)) {
                    fail_shape("product", t->context[k], s);
                }
            }
        }
        probe_guard_free(&out);
    }
    probe_guard_free(&w);
    probe_guard_free(&b);
}

/* Onto what is there, over some of the lines, and about one row. */
static double naive_add(int kind, bool centered, nf_type type, const update_data *u, size_t r,
                        size_t c, const uint32_t *index, size_t n, double held) {
    float f = (float)held;
    double g = held;
    for (size_t i = 0; i < n; i++) {
        double w = get(type, u->w, r * u->row_step + index[i] * u->step);
        double x = get(type, u->x, (centered ? 0 : r) * u->ld + c);
        double b = get(type, u->b, index[i] * u->ld + c);
        float wf = (float)w, v = (float)x - (float)b;
        f = kind == DIFFERENCE ? fmaf(wf, v, f)
            : kind == PRODUCT  ? fmaf(wf, (float)b, f)
                               : f + (v > 0   ? wf
                                      : v < 0 ? -wf
                                              : 0);
        g = kind == DIFFERENCE ? fma(w, x - b, g)
            : kind == PRODUCT  ? fma(w, b, g)
                               : g + (x > b   ? w
                                      : x < b ? -w
                                              : 0);
    }
    return type == NF_FLOAT32 ? (double)f : g;
}

static void check_adds(tables *t, const shape *s, int transposed) {
    size_t size = nf_type_size(s->type), ld = nf_pad(s->type, s->d) + nf_lanes(s->type), n = 0;
    update_data u = {.ld = ld};
    size_t ldw = (transposed ? s->rows : s->cols) + s->gap;
    u.row_step = transposed ? 1 : ldw;
    u.step = transposed ? ldw : 1;
    probe_guard w = filled(s->type, (transposed ? s->cols : s->rows) * ldw, s->seed, 0, s->at_end);
    probe_guard x = filled(s->type, s->rows * ld, s->seed + 1, 0, s->at_end);
    probe_guard b = filled(s->type, s->cols * ld, s->seed + 2, 0, s->at_end);
    u.w = w.data, u.x = x.data, u.b = b.data;
    uint32_t *index = calloc(s->cols + 1, sizeof *index);
    for (size_t i = 0; i < s->cols; i++) {
        if (nf_random_below(s->seed, 5, i, 3) != 0) index[n++] = (uint32_t)i;
    }
    for (size_t k = 0; k < t->count; k++) {
        const nf_kernels *table = nf_kernels_get(t->context[k], s->type);
        const nf_add_fn add[] = {table->add_difference, table->add_product, table->add_sign,
                                 table->add_centered};
        for (int a = 0; a < 4; a++) {
            const int kind = a == 3 ? DIFFERENCE : a;
            probe_guard out = probe_guard_make(s->rows * ld * size, s->at_end);
            fill(s->type, out.data, s->rows * ld, s->seed + 3, 0);
            char *held = malloc(s->rows * ld * size + 1);
            memcpy(held, out.data, s->rows * ld * size);
            add[a](out.data, ld, w.data, u.row_step, u.step, x.data, ld, b.data, ld, index, s->rows,
                   n, s->d);
            for (size_t r = 0; r < s->rows; r++) {
                for (size_t c = 0; c < s->d; c++) {
                    double naive = naive_add(kind, a == 3, s->type, &u, r, c, index, n,
                                             get(s->type, held, r * ld + c));
                    if (!agrees(get(s->type, out.data, r * ld + c), naive)) {
                        fail_shape(a == 3 ? "add_centered" : "add", t->context[k], s);
                    }
                }
            }
            free(held);
            probe_guard_free(&out);
        }
    }
    free(index);
    probe_guard_free(&w);
    probe_guard_free(&x);
    probe_guard_free(&b);
}

static void additions_are_naive_chains_over_the_listed(void **state) {
    for (size_t t = 0; t < GRID; t++) {
        shape s = grid_shape(t);
        check_adds(*state, &s, (int)(t / 7 % 2));
    }
}

static void products_are_naive_chains(void **state) {
    for (size_t t = 0; t < GRID; t++) {
        shape s = grid_shape(t);
        check_products(*state, &s, (int)(t / 7 % 2));
    }
}

/* A sign of equal numbers is 0, whatever the weight. */
static void the_sign_of_a_zero_difference_is_zero(void **state) {
    tables *t = *state;
    float x[16] = {1, 2, 0, -0.0f}, b[16] = {1, 3, -0.0f, 0}, w = 5;
    const uint32_t index = 0;
    for (size_t k = 0; k < t->count; k++) {
        const nf_kernels *table = nf_kernels_get(t->context[k], NF_FLOAT32);
        float out[16] = {0};
        table->add_sign(out, 16, &w, 1, 1, x, 16, b, 16, &index, 1, 1, 4);
        assert_true(out[0] == 0 && out[1] == -5 && out[2] == 0 && out[3] == 0);
    }
}

/* ---- element by element ------------------------------------------------------------------------ */

static void elementwise_kernels_agree(void **state) {
    tables *t = *state;
    for (size_t count = 0; count < 600; count += count < 70 ? 1 : 53) {
        for (int c = 0; c < 4; c++) {
            nf_type type = c % 2 == 0 ? NF_FLOAT32 : NF_FLOAT64;
            size_t size = nf_type_size(type);
            probe_guard in = filled(type, count, count + 1, c / 2, 1);
            char *want = malloc(count * size + 1);
            for (int transform = NF_T_RAW; transform <= NF_T_NEGATED; transform++) {
                for (size_t k = 0; k < t->count; k++) {
                    probe_guard out = probe_guard_make(count * size, 1);
                    memcpy(out.data, in.data, count * size);
                    nf_kernels_get(t->context[k], type)
                        ->distance(out.data, count, (nf_transform)transform);
                    if (k == 0) memcpy(want, out.data, count * size);
                    assert_true(same_values(type, out.data, want, count));
                    probe_guard_free(&out);
                }
                for (size_t e = 0; e < count; e++) {
                    double v = get(type, in.data, e), got = get(type, want, e);
                    double root = type == NF_FLOAT32 ? (double)sqrtf((float)v) : sqrt(v);
                    assert_true(
                        agrees(got, transform == NF_T_RAW    ? v
                                    : transform == NF_T_SQRT ? root
                                    : transform == NF_T_HALF
                                        ? (type == NF_FLOAT32 ? (double)((float)v / 2) : v / 2)
                                        : -v));
                }
            }
            double *sum = calloc(count + 1, sizeof *sum);
            for (size_t k = 0; k < t->count; k++) {
                for (size_t e = 0; e < count; e++) sum[e] = 0.1 * (double)e;
                nf_kernels_get(t->context[k], type)
                    ->settle(sum, in.data, 0.3, want, in.data, count);
                for (size_t e = 0; e < count; e++) {
                    double part = get(type, in.data, e), own = (get(type, want, e) - part) * 0.3;
                    assert_true(agrees(sum[e], 0.1 * (double)e + (part + own)));
                }
            }
            free(sum);
            free(want);
            probe_guard_free(&in);
        }
    }
}

static void outside_finds_the_one(void **state) {
    tables *t = *state;
    const double bad[] = {-0.5, 2.5, NAN, INFINITY, -INFINITY};
    for (size_t k = 0; k < t->count; k++) {
        for (int c = 0; c < 2; c++) {
            nf_type type = c == 0 ? NF_FLOAT32 : NF_FLOAT64;
            const nf_kernels *table = nf_kernels_get(t->context[k], type);
            for (size_t count = 0; count < 70; count++) {
                probe_guard in = probe_guard_make(count * nf_type_size(type), 1);
                for (size_t e = 0; e < count; e++) put(type, in.data, e, (double)(e % 5) / 2);
                assert_false(table->outside(in.data, count, 0, 2));
                for (size_t e = 0; e < count; e++) {
                    double kept = get(type, in.data, e);
                    put(type, in.data, e, bad[e % 5]);
                    assert_true(table->outside(in.data, count, 0, 2));
                    put(type, in.data, e, kept);
                }
                probe_guard_free(&in);
            }
        }
    }
}

static size_t naive_not_above(uint32_t *index, nf_type type, const void *values, size_t count,
                              double bar, double high, bool negate) {
    size_t found = 0;
    for (size_t c = 0; c < count; c++) {
        double value = negate ? -get(type, values, c) : get(type, values, c);
        if (!(value > bar && value <= high)) index[found++] = (uint32_t)c;
    }
    return found;
}

static void not_above_lists_what_is_left(void **state) {
    tables *t = *state;
    const double bars[] = {-INFINITY, -0.3, 0, 0.25, INFINITY, NAN};
    for (size_t round = 0; round < 600; round++) {
        nf_type type = round % 2 == 0 ? NF_FLOAT32 : NF_FLOAT64;
        const size_t lanes = nf_lanes(type), count = round / 2 % 67;
        const double bar = (double)(float)bars[round % 6],
                     high = round % 5 < 3 ? INFINITY : 0x1p120;
        probe_guard in = filled(type, nf_round_up(count, lanes), round, round % 3 == 0, 1);
        uint32_t want[67 + 16];
        const bool negate = round % 7 < 3;
        size_t expected = naive_not_above(want, type, in.data, count, bar, high, negate);
        for (size_t k = 0; k < t->count; k++) {
            probe_guard index =
                probe_guard_make((nf_round_up(count, lanes) + lanes) * sizeof(uint32_t), 1);
            size_t found = nf_kernels_get(t->context[k], type)
                               ->not_above(index.data, in.data, count, bar, high, negate);
            assert_int_equal(found, expected);
            assert_memory_equal(index.data, want, found * sizeof *want);
            probe_guard_free(&index);
        }
        probe_guard_free(&in);
    }
}

/* Lanes k mod L first, then halves onto halves. */
static double naive_gather(nf_type type, const void *a, const void *b, size_t d) {
    const size_t lanes = nf_lanes(type);
    double lane[16] = {0};
    for (size_t k = 0; k < d; k++) {
        double *sum = &lane[k % lanes];
        if (type == NF_FLOAT32) {
            float difference = (float)get(type, a, k) - (float)get(type, b, k);
            *sum = (double)fmaf(difference, difference, (float)*sum);
        } else {
            double difference = get(type, a, k) - get(type, b, k);
            *sum = fma(difference, difference, *sum);
        }
    }
    for (size_t width = lanes / 2; width > 0; width /= 2) {
        for (size_t l = 0; l < width; l++) {
            lane[l] += lane[l + width];
            if (type == NF_FLOAT32) lane[l] = (double)(float)lane[l];
        }
    }
    return lane[0];
}

static void gathered_distances_are_sums_of_lanes(void **state) {
    tables *t = *state;
    for (size_t round = 0; round < 60; round++) {
        nf_type type = round % 2 == 0 ? NF_FLOAT32 : NF_FLOAT64;
        const size_t size = nf_type_size(type), d = round / 2 % 6 * nf_lanes(type),
                     ld = d + round % 4;
        const size_t rows = 9;
        probe_guard b = filled(type, (rows - 1) * ld + d, round, round % 3 == 0, 1);
        uint32_t index[20];
        for (size_t p = 0; p < 20; p++) index[p] = (uint32_t)nf_random_below(round, 9, p, rows);
        for (size_t count = 0; count <= 20; count += 5) {
            for (size_t k = 0; k < t->count; k++) {
                probe_guard out = probe_guard_make(count * size, 1);
                nf_kernels_get(t->context[k], type)
                    ->gather_sqdist(out.data, b.data, b.data, ld, index, count, d);
                for (size_t p = 0; p < count; p++) {
                    const void *other = (const char *)b.data + index[p] * ld * size;
                    double naive = naive_gather(type, b.data, other, d);
                    assert_true(agrees(get(type, out.data, p), naive));
                }
                probe_guard_free(&out);
            }
        }
        probe_guard_free(&b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(not_above_lists_what_is_left),
        cmocka_unit_test(gathered_distances_are_sums_of_lanes),
        cmocka_unit_test(distances_are_naive_chains),
        cmocka_unit_test(gram_is_naive_chains_with_near_pairs_direct),
        cmocka_unit_test(products_are_naive_chains),
        cmocka_unit_test(additions_are_naive_chains_over_the_listed),
        cmocka_unit_test(the_sign_of_a_zero_difference_is_zero),
        cmocka_unit_test(elementwise_kernels_agree),
        cmocka_unit_test(outside_finds_the_one),
    };
    return cmocka_run_group_tests(tests, make_tables, free_tables);
}
