#include "loss/tile_exact.h"

#include <string.h>

static double raw_at(const nf_tile *tile, size_t r, size_t c) {
    return nf_element_get(tile->engine->type, tile->scratch->tile, r * tile->engine->ld + c);
}

static bool pair_is_zero_row(const nf_tile *tile, size_t r, size_t c) {
    return tile->engine->zero_rows && (nf_rows_is_zero(&tile->a->rows, tile->i + r) ||
                                       nf_rows_is_zero(&tile->b->rows, tile->j + c));
}

/* The usual case in one look: a whole tile of trusted numbers. */
static bool none_exact(const nf_tile *tile) {
    const nf_tile_engine *engine = tile->engine;
    return !engine->zero_rows && !tile->diagonal && tile->cols == engine->ld &&
           !engine->kernels->outside(tile->scratch->tile, tile->rows * engine->ld, engine->low,
                                     engine->high);
}

void nf_tile_mark_exact(nf_tile *tile) {
    const nf_tile_engine *engine = tile->engine;
    const size_t element = nf_type_size(engine->type);
    if (none_exact(tile)) return;
    for (size_t r = 0; r < tile->rows; r++) {
        const size_t first = tile->diagonal ? r + 1 : 0;
        const unsigned char *raw = tile->scratch->tile + (r * engine->ld + first) * element;
        if (first >= tile->cols) break;
        if (!engine->zero_rows &&
            !engine->kernels->outside(raw, tile->cols - first, engine->low, engine->high)) {
            continue;
        }
        for (size_t c = first; c < tile->cols; c++) {
            double value = raw_at(tile, r, c);
            bool trusted = value >= engine->low && value <= engine->high;
            if (trusted && !engine->zero_rows) continue;
            if (value == 0 && nf_rows_equal(engine->type, nf_tile_row(tile, r),
                                            nf_tile_column(tile, c), engine->d))
                trusted = true;
            if (trusted && !pair_is_zero_row(tile, r, c)) continue;
            if (!tile->has_skip) {
                memset(tile->scratch->skip, NF_PAIR_VALID, tile->rows * engine->ld);
                tile->has_skip = true;
            }
            unsigned char *skip = &tile->scratch->skip[r * engine->ld + c];
            /* Even a pair that is none must be kept out of the kernels' updates: its difference may
             * overflow, and 0 * inf is NaN. */
            tile->has_exact = true;
            if (*skip == NF_PAIR_VALID) *skip = NF_PAIR_EXACT;
        }
    }
}

static void widen(const nf_tile *tile, const unsigned char *row, double *out) {
    for (size_t k = 0; k < tile->engine->d; k++)
        out[k] = nf_element_get(tile->engine->type, row, k);
}

static double *sum_a(const nf_tile *tile, size_t r) {
    return tile->a->sum != NULL ? tile->a->sum + (tile->i + r) * tile->engine->d : NULL;
}

static double *sum_b(const nf_tile *tile, size_t c) {
    return tile->b->sum != NULL ? tile->b->sum + (tile->j + c) * tile->engine->d : NULL;
}

/* Gradient of one pair into both sums, which are in units of dphi/dx over nf_pass_factor. */
static void add_pair(const nf_tile *tile, size_t r, size_t c, nf_metric metric, double slope,
                     double t) {
    const size_t d = tile->engine->d;
    double *x = tile->scratch->wide, *y = x + tile->engine->stride;
    widen(tile, nf_tile_row(tile, r), x);
    widen(tile, nf_tile_column(tile, c), y);
    slope /= nf_pass_factor(metric);
    if (sum_a(tile, r) != NULL) nf_term_gradient(metric, slope, t, x, y, d, sum_a(tile, r));
    if (sum_b(tile, c) != NULL) nf_term_gradient(metric, slope, t, y, x, d, sum_b(tile, c));
}

void nf_tile_exact_pairs(const nf_tile *tile, nf_contrast_sums *sums) {
    const nf_tile_engine *engine = tile->engine;
    for (size_t r = 0; r < tile->rows; r++) {
        for (size_t c = 0; c < tile->cols; c++) {
            if (tile->scratch->skip[r * engine->ld + c] != NF_PAIR_EXACT) continue;
            bool same = tile->a->class_of[tile->i + r] == tile->b->class_of[tile->j + c];
            int which = same ? NF_POSITIVE : NF_NEGATIVE;
            const nf_contrast_side *side = &tile->contrast.side[which];
            if (!side->on) continue;
            nf_metric metric = engine->pass->metric[which];
            bool zero = metric == NF_COSINE && pair_is_zero_row(tile, r, c);
            double t = zero ? 1
                            : nf_exact_distance(metric, engine->type, nf_tile_row(tile, r),
                                                nf_tile_column(tile, c), engine->d);
            double slope;
            double phi = nf_term(side, which, t, &slope);
            sums->phi[which] += phi;
            sums->distance[which] += t;
            sums->active[which] += phi > 0;
            sums->coincident += !same && t == 0 && metric != NF_DOT;
            if (engine->gradient && !zero) add_pair(tile, r, c, metric, slope, t);
        }
    }
}

void nf_tile_exact_update(const nf_tile *tile) {
    const nf_family family = tile->engine->family;
    const nf_metric metric = family == NF_SQUARED   ? NF_SQEUCLIDEAN
                             : family == NF_PRODUCT ? NF_DOT
                                                    : NF_CITYBLOCK;
    for (size_t r = 0; r < tile->rows; r++) {
        for (size_t c = 0; c < tile->cols; c++) {
            double w = raw_at(tile, r, c);
            if (w != 0) add_pair(tile, r, c, metric, family == NF_PRODUCT ? -w : w, 1);
        }
    }
}
