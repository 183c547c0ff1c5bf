/* The kernel table: what the engine asks of an instruction set.
 *
 * One body (the .inc files) is compiled per element type and instruction set in its own unit; every
 * operation sequence is fixed, so all of them give the same bits. Pointers are to the table's element
 * type T (float or double). L = NF_LINE / sizeof(T) elements make one line.
 */
#ifndef NF_KERNEL_KERNEL_H
#define NF_KERNEL_KERNEL_H

#include "base/base.h"

#define NF_LINE 64 /* bytes */

/* Share of |a|^2 + |b|^2 up to which a squared distance is not taken from it: four bits of it cancel
 * at most. A power of two. */
#define NF_GRAM_NEAR 0x1p-4

/* How a kernel's raw number becomes a distance t. */
typedef enum nf_transform {
    NF_T_RAW,    /* t = raw: sqeuclidean, cityblock */
    NF_T_SQRT,   /* t = sqrt(raw): euclidean */
    NF_T_HALF,   /* t = raw / 2: cosine, of unit rows */
    NF_T_NEGATED /* t = -raw: dot */
} nf_transform;

/* One side (positives or negatives) of the contrastive family on a tile:
 * phi = coefficient * max(0, t - margin)^p for positives, (margin - t) for negatives. */
typedef struct nf_contrast_side {
    bool on;
    nf_transform transform;
    int twice_exponent; /* 2 p, from 2 to 16 */
    double margin, coefficient;
} nf_contrast_side;

enum { NF_NEGATIVE = 0, NF_POSITIVE = 1 };

typedef struct nf_contrast {
    nf_contrast_side side[2]; /* NF_NEGATIVE, NF_POSITIVE */
    bool unmeasured;          /* distance sums are not wanted, and come out too small */
} nf_contrast;

/* Sums over the valid pairs of tiles; fixed order, so bits depend on the pairs only. */
typedef struct nf_contrast_sums {
    double phi[2], distance[2];
    uint64_t active[2], coincident;
    bool any_weight; /* some weight is not zero */
} nf_contrast_sums;

#define NF_STRIP_HEIGHT 12 /* rows or columns of a tile that are updated together */
#define NF_BIT_WORDS 2     /* words of a row's bits: tiles have at most 128 columns */

/* What updates need to know of a tile's weights. A strip is NF_STRIP_HEIGHT rows. */
typedef struct nf_weight_facts {
    void *row_sum;      /* T (rows): sum of weights of a row, and */
    void *col_sum;      /* T (ld): of a column */
    void *row_near;     /* T (strips): smallest raw number with a weight, +inf if there is none; */
    void *col_near;     /* T (ld): of a column */
    uint64_t *weighted; /* (rows, NF_BIT_WORDS): bit c of row r: its weight is not 0 */
} nf_weight_facts;

typedef struct nf_contrast_tile {
    void *tile; /* T (rows, ld): raw numbers in, weights dphi/d(raw) out (0 for pairs not valid) */
    size_t ld, rows, cols;
    const void *row_class, *col_class; /* integers of T's size; columns padded to lines, with -1 */
    const unsigned char *skip;         /* (rows, ld) bytes, non-zero = not a valid pair; or NULL */
    bool upper;                   /* only columns c > r are pairs; what is left of the line that
                                          holds r is not read, and its weights are set to 0 */
    void *work;                   /* 2 ld elements of scratch */
    const nf_weight_facts *facts; /* filled; NULL: not wanted */
} nf_contrast_tile;

/* Slopes of a tile, from a loss that has seen its distances. */
typedef struct nf_slope_tile {
    void *slope;   /* T (rows, ld): dphi/dt in, weights dphi/d(raw) out */
    const void *t; /* T (rows, ld): distances, read to whole lines */
    size_t ld, rows, cols;
    nf_transform transform;
    const nf_weight_facts *facts; /* filled */
} nf_slope_tile;

/* One side of a loss of exponentials: z(t) = scale t + shift, or, with `product`,
 * z(t) = scale max(0, sign t + shift) (sign t + offset) whose derivative is taken as
 * scale sign max(0, sign t + shift): the first factor is a constant, as circle loss wants it. */
typedef struct nf_softmax_side {
    bool on, product;
    double scale, shift, offset, sign;
} nf_softmax_side;

typedef struct nf_softmax {
    nf_softmax_side side[2]; /* NF_NEGATIVE, NF_POSITIVE */
} nf_softmax;

typedef struct nf_softmax_tile {
    const void *t; /* T (rows, ld) distances */
    void *slope;   /* T (rows, ld) out */
    size_t ld, rows, cols;
    size_t i, j; /* first row and column, where anchors' numbers are indexed */
    const void *row_class, *col_class;
    const unsigned char *skip;
    void *work; /* 2 ld elements of scratch */
} nf_softmax_tile;

/* What a row has seen of one side so far; begins with peak -INFINITY and 0. */
typedef struct nf_softmax_row {
    double peak, sum; /* largest z, sum of exp(z - peak) */
    double distance, pairs;
} nf_softmax_row;

/* Per side, numbers T of every row of a set; columns are read to whole lines. */
typedef struct nf_softmax_anchors {
    void *shift[2], *factor[2], *constant[2];
} nf_softmax_anchors;

/* A loss whose terms are positive pairs (i, j) of anchor i, L the log sum of a row's negatives:
 *   phi = log(1 + exp(L_i - z(t))), z(t) = scale t + shift, or, if lifted,
 *   phi = max(0, J)^2 / 2, J = log(exp(L_i) + exp(L_j)) + t - margin */
typedef struct nf_positive_rule {
    bool lifted;
    double scale, shift, margin;
} nf_positive_rule;

/* T of every row of a set: L, and the weight of its terms, 0 if it is no anchor. Columns are read to
 * whole lines. */
typedef struct nf_positive_ends {
    const void *log_sum, *weight;
} nf_positive_ends;

typedef struct nf_positive_job {
    const nf_positive_rule *rule;
    const nf_softmax_tile *tile;
    nf_positive_ends rows, columns;
    /* Terms only, added to: sums of phi of a row's pairs, and of the weighted dphi/dL of its L in both
     * roles of its pairs. col_term NULL: not wanted. */
    double *row_term, *row_pull, *col_term, *col_pull;
    uint64_t pairs, active[2]; /* number of pairs; of terms > 0 of rows and of columns */
} nf_positive_job;

/* Bins of equal width below `top`: bin 0 from top on, the last one as far down as there is. The bin of
 * a number never falls as the number does, in floating point too. */
typedef struct nf_bin_rule {
    double top, scale, last; /* scale: bins per unit; last < 2^22 */
} nf_bin_rule;

typedef void (*nf_add_fn)(void *out, size_t ldo, const void *weights, size_t row_step, size_t step,
                          const void *x, size_t ldx, const void *b, size_t ldb,
                          const uint32_t *index, size_t rows, size_t n, size_t d);

typedef struct nf_kernels {
    /* Rows b (cols, d) to a panel: panel[(c / L * d + k) * L + c % L], padded with zeros. */
    void (*pack)(void *panel, const void *b, size_t ldb, size_t cols, size_t d);

    /* out[r * ldo + c] for r < rows, c < cols rounded up to L (padding is written): one chain over
     * k = 0 .. d-1 of
     *   sqdist: fma(a - b, a - b, s)   dot: fma(a, b, s)   cityblock: s + |a - b| */
    void (*sqdist)(void *out, size_t ldo, const void *a, size_t lda, const void *panel, size_t rows,
                   size_t cols, size_t d);
    void (*dot)(void *out, size_t ldo, const void *a, size_t lda, const void *panel, size_t rows,
                size_t cols, size_t d);
    void (*cityblock)(void *out, size_t ldo, const void *a, size_t lda, const void *panel,
                      size_t rows, size_t cols, size_t d);

    /* The Gram form of sqdist, where it keeps its digits: with n = a_norm[r] + b_norm[c] and the
     * chain of dot, v = fma(-2, dot, n) if v > NF_GRAM_NEAR n, else the chain of sqdist. Norms are
     * those of row_dot of a row with itself, b_norm padded to whole lines. See distance/gram.h. */
    void (*gram)(void *out, size_t ldo, const void *a, size_t lda, const void *panel, size_t rows,
                 size_t cols, size_t d, const void *a_norm, const void *b_norm);

    /* out[p] = the chain of row pair (a[p], b[p]), the same bits as in a tile. */
    void (*row_sqdist)(void *out, const void *const *a, const void *const *b, size_t count,
                       size_t d);
    void (*row_dot)(void *out, const void *const *a, const void *const *b, size_t count, size_t d);
    void (*row_cityblock)(void *out, const void *const *a, const void *const *b, size_t count,
                          size_t d);

    /* out (rows, d), one chain over s = 0 .. n-1 of fma(weights[r * row_step + s * step], b[s], s).
     * Rows of b and out are padded to whole lines. */
    void (*product)(void *out, size_t ldo, const void *weights, size_t row_step, size_t step,
                    const void *b, size_t ldb, size_t rows, size_t n, size_t d);

    /* out (rows, d), each element one chain on what it holds, over s = index[0], .. index[n-1], with
     * w = weights[r * row_step + s * step]:
     *   add_centered: fma(w, x[0] - b[s], s)           (x: one row)
     *   add_difference: fma(w, x[r] - b[s], s)
     *   add_product: fma(w, b[s], s)                   (x unused, may be NULL)
     *   add_sign: s + w sign(x[r] - b[s])
     * Rows of x, b and out are padded to whole lines. */
    nf_add_fn add_centered, add_difference, add_product, add_sign;

    /* sum[i] += part[i] + weight (x[i] - center[i]) in double */
    void (*settle)(double *sum, const void *part, double weight, const void *x, const void *center,
                   size_t count);

    /* sum[i] += in[i], double sums */
    void (*accumulate)(double *sum, const void *in, size_t count);

    /* sum[i] += x[i] - origin[i], double sums and differences */
    void (*accumulate_from)(double *sum, const void *x, const void *origin, size_t count);

    /* With v[i] = (x[i] - origin[i]) - mean[i]: the sum of v[i]^2, and out[i] = factor v[i] unless
     * out is NULL. */
    double (*deviations)(double *out, const void *x, const void *origin, const double *mean,
                         double factor, size_t count);

    /* |x - center|^2 in double */
    double (*center_sqdist)(const void *x, const double *center, size_t count);

    /* The largest |x[r] - x[0]|^2 of few rows, in T, in lanes: not a tile's chain. */
    double (*strip_radius2)(const void *const *x, size_t rows, size_t d);

    /* out[i] = factor in[i], rounded; whether all are finite. out may be where `in` is. */
    bool (*narrow)(void *out, const double *in, double factor, size_t count);

    /* Transform raw numbers to distances in place. */
    void (*distance)(void *values, size_t count, nf_transform transform);

    /* Whether some raw[i] is not within [low, high] (NaN counts as outside). */
    bool (*outside)(const void *raw, size_t count, double low, double high);

    /* Which of values[c] (negated: -values[c]) are not in (bar, high], NaN among them: their c,
     * ascending, to index, of which a line beyond those may be overwritten; how many. Whole lines are
     * read. */
    size_t (*not_above)(uint32_t *index, const void *values, size_t count, double bar, double high,
                        bool negate);

    /* out[p] = sum_k (a[k] - b[index[p]][k])^2 in lanes k mod L, for d a multiple of L. */
    void (*gather_sqdist)(void *out, const void *a, const void *b, size_t ldb,
                          const uint32_t *index, size_t count, size_t d);

    /* Terms and weights of the contrastive family on a tile. */
    void (*contrast)(const nf_contrast *contrast, const nf_contrast_tile *tile,
                     nf_contrast_sums *sums);

    /* Weights from slopes; whether some are not 0. The weight of a distance 0 is 0 where the
     * distance is a root. What is left of the last line past the columns is set to 0. */
    bool (*weigh)(const nf_slope_tile *tile);

    /* stats[side][r] of the tile's row r, for the sides that are on; or [c] of its column c. */
    void (*softmax_stats)(const nf_softmax *softmax, const nf_softmax_tile *tile,
                          nf_softmax_row *const stats[2]);
    void (*softmax_column_stats)(const nf_softmax *softmax, const nf_softmax_tile *tile,
                                 nf_softmax_row *const stats[2]);

    /* slope = sum of factor exp(z - shift) dz/dt + constant over the row as an anchor and the column
     * as one (NULL: it is none); 0 for pairs not valid and sides that are off. */
    void (*softmax_weights)(const nf_softmax *softmax, const nf_softmax_tile *tile,
                            const nf_softmax_anchors *rows, const nf_softmax_anchors *columns);

    /* values[i] = exp(values[i]), 0 for those below -87 (-708) and for NaN. */
    void (*exponentials)(void *values, size_t count);

    /* Terms of the tile's positive pairs, or their slopes, of the row as an anchor and the column as
     * one, over what softmax_weights left. */
    void (*positive_terms)(nf_positive_job *job);
    void (*positive_slopes)(const nf_positive_job *job);

    /* How many values are below 0, are 0, and are above it; a NaN is none of them. */
    void (*tally)(const void *values, size_t count, uint64_t sign[3]);

    /* bin[i] of t[i]; 0 for a NaN. */
    void (*bins)(const nf_bin_rule *rule, const void *t, size_t count, uint32_t *bin);

    /* slope[i] = -rank[i], and lane[i mod L] += rank[i] (top - t[i]) where the rank is not 0. */
    void (*rank_sums)(const int32_t *rank, const void *t, double top, size_t count, void *slope,
                      double *lane);
} nf_kernels;

/* The table of the context's instruction set. */
const nf_kernels *nf_kernels_get(const nf_context *context, nf_type type);

/* Elements of one line. */
static inline size_t nf_lanes(nf_type type) { return NF_LINE / nf_type_size(type); }

static inline size_t nf_pad(nf_type type, size_t count) {
    return nf_round_up(count, nf_lanes(type));
}

/* The tables, one per instruction set; only those of this architecture exist. */
extern const nf_kernels nf_k_f32_scalar, nf_k_f64_scalar;
extern const nf_kernels nf_k_f32_avx2, nf_k_f64_avx2;
extern const nf_kernels nf_k_f32_avx512, nf_k_f64_avx512;
extern const nf_kernels nf_k_f32_neon, nf_k_f64_neon;

#endif
