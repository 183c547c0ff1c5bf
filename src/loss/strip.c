#include "loss/strip.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "loss/gradient.h"

typedef struct nf_strip_state {
    nf_strip_pass *pass;
    const nf_kernels *kernels;
    nf_family family;
    nf_update_fn update;
    nf_transform transform;
    nf_type type;
    size_t d, stride, ld, block_rows, worker_bytes;
    bool within, zero_rows, prune;
    double low, high;
    nf_bounds bounds[2];
    unsigned char *scratch;
    uint64_t *skipped;     /* (own blocks) */
    size_t round, players; /* of the tournament; players is even */
    bool diagonal;
    atomic_int failure, overflow;
} nf_strip_state;

typedef struct nf_strip_tile {
    nf_strip strip;
    unsigned char *t, *slope, *update, *row_class, *col_class, *skip;
    double *wide; /* two rows in double */
    bool diagonal, has_exact;
} nf_strip_tile;

static size_t layout(const nf_strip_state *state, unsigned char *base, nf_strip_tile *tile) {
    size_t element = nf_type_size(state->type), block = state->block_rows, used = 0;
    size_t sizes[8] = {block * state->ld * element,
                       block * state->ld * element,
                       state->pass->sum != NULL ? block * state->stride * element : 0,
                       4 * state->ld * element,
                       state->ld * element,
                       state->ld * element,
                       block * state->ld,
                       2 * state->d * sizeof(double)};
    unsigned char *wide = NULL, *work = NULL;
    unsigned char **slots[8] = {&tile->t,         &tile->slope,     &tile->update, &work,
                                &tile->row_class, &tile->col_class, &tile->skip,   &wide};
    for (int i = 0; i < 8; i++) {
        *slots[i] = base != NULL ? base + used : NULL;
        used += nf_round_up(sizes[i], NF_ALIGNMENT);
    }
    tile->wide = (double *)(void *)wide;
    tile->strip.work = work;
    return used;
}

/* ---- sets ------------------------------------------------------------------------------------- */

static nf_status cut_blocks(nf_context *context, nf_pass_set *set) {
    const size_t rows = nf_pass_block_rows(set->rows.x.cols), n = set->rows.count;
    size_t *block;
    set->blocks = (n + rows - 1) / rows;
    nf_status status = nf_scratch(context, &block, set->blocks + 1, sizeof *block, "blocks");
    if (status != NF_OK) return status;
    for (size_t b = 0; b <= set->blocks; b++) block[b] = nf_min_size(b * rows, n);
    set->block = block;
    return NF_OK;
}

nf_status nf_strip_set_make(nf_context *context, const nf_tiled_side *side, bool unit,
                            nf_strip_set *set) {
    const size_t d = side->x.cols, element = nf_type_size(side->x.type);
    const size_t padded_rows = nf_pad(side->x.type, nf_pass_block_rows(d));
    *set =
        (nf_strip_set){.set = {.rows = {.x = side->x, .order = side->order, .count = side->count},
                               .class_of = side->class_of,
                               .ids = side->ids},
                       .stride = nf_pass_stride(side->x),
                       .panel_bytes = padded_rows * d * element};
    nf_status status = cut_blocks(context, &set->set);
    if (status == NF_OK && unit) status = nf_rows_make_unit(context, &set->set.rows);
    if (status == NF_OK) {
        status = nf_scratch(context, &set->row, side->count, set->stride * element, "rows");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &set->panel, set->set.blocks, set->panel_bytes, "panels");
    }
    if (status != NF_OK) return status;
    nf_rows_copy(&set->set.rows, 0, side->count, side->x.type, set->row, set->stride);
    const nf_kernels *kernels = nf_kernels_get(context, side->x.type);
    for (size_t b = 0; b < set->set.blocks; b++) {
        const size_t first = set->set.block[b];
        kernels->pack(set->panel + b * set->panel_bytes, set->row + first * set->stride * element,
                      set->stride, set->set.block[b + 1] - first, d);
    }
    return NF_OK;
}

static const unsigned char *row_of(const nf_strip_set *set, size_t r) {
    return set->row + r * set->stride * nf_type_size(set->set.rows.x.type);
}

/* ---- which pairs ------------------------------------------------------------------------------ */

/* Classes ascend, so the first and the last of a block bound them. */
static void find_sides(const nf_strip_state *state, nf_strip *strip) {
    const int64_t *a = state->pass->own->set.class_of + strip->i;
    const int64_t *b = state->pass->other->set.class_of + strip->j;
    if (state->pass->anywhere) {
        strip->any[NF_POSITIVE] = strip->any[NF_NEGATIVE] = true;
        return;
    }
    const int64_t last_a = a[strip->rows - 1], last_b = b[strip->cols - 1];
    strip->any[NF_POSITIVE] = a[0] <= last_b && b[0] <= last_a;
    strip->any[NF_NEGATIVE] = !(a[0] == last_a && b[0] == last_b && a[0] == b[0]);
}

static int64_t class_at(nf_type type, const void *classes, size_t at) {
    return type == NF_FLOAT32 ? ((const int32_t *)classes)[at] : ((const int64_t *)classes)[at];
}

void nf_strip_positives(const nf_strip *strip, size_t r, size_t *first, size_t *stop) {
    const int64_t own = class_at(strip->type, strip->row_class, r);
    *first = 0;
    while (*first < strip->cols && class_at(strip->type, strip->col_class, *first) < own) ++*first;
    *stop = *first;
    while (*stop < strip->cols && class_at(strip->type, strip->col_class, *stop) == own) ++*stop;
}

static void fill_classes(const nf_strip_state *state, nf_strip_tile *tile) {
    const nf_strip *strip = &tile->strip;
    const int64_t *a = state->pass->own->set.class_of + strip->i;
    const int64_t *b = state->pass->other->set.class_of + strip->j;
    int32_t *narrow_row = (int32_t *)(void *)tile->row_class,
            *narrow_col = (int32_t *)(void *)tile->col_class;
    int64_t *row = (int64_t *)(void *)tile->row_class, *col = (int64_t *)(void *)tile->col_class;
    if (state->type == NF_FLOAT32) {
        for (size_t r = 0; r < strip->rows; r++) narrow_row[r] = (int32_t)a[r];
        for (size_t c = 0; c < state->ld; c++) {
            narrow_col[c] = c < strip->cols ? (int32_t)b[c] : -1;
        }
    } else {
        for (size_t r = 0; r < strip->rows; r++) row[r] = a[r];
        for (size_t c = 0; c < state->ld; c++) col[c] = c < strip->cols ? b[c] : -1;
    }
}

static void mark_not_pairs(const nf_strip_state *state, nf_strip_tile *tile) {
    nf_strip *strip = &tile->strip;
    const int64_t *a = state->pass->own->set.ids, *b = state->pass->other->set.ids;
    const bool ids = a != NULL && b != NULL;
    strip->skip = NULL;
    if (!tile->diagonal && !ids) return;
    memset(tile->skip, 0, strip->rows * state->ld);
    for (size_t r = 0; r < strip->rows; r++) {
        unsigned char *skip = tile->skip + r * state->ld;
        if (tile->diagonal) skip[r] = 1;
        for (size_t c = 0; ids && c < strip->cols; c++) {
            if (a[strip->i + r] == b[strip->j + c]) skip[c] = 1;
        }
    }
    strip->skip = tile->skip;
}

/* ---- distances -------------------------------------------------------------------------------- */

static double get(nf_type type, const void *values, size_t at) {
    return type == NF_FLOAT32 ? (double)((const float *)values)[at] : ((const double *)values)[at];
}

static bool is_zero_row(const nf_strip_state *state, const nf_strip *strip, size_t r, size_t c) {
    return state->zero_rows && (nf_rows_is_zero(&state->pass->own->set.rows, strip->i + r) ||
                                nf_rows_is_zero(&state->pass->other->set.rows, strip->j + c));
}

/* The pair's distance as it is when the raw number of the tile cannot be trusted. */
static void exact_pair(nf_strip_state *state, nf_strip_tile *tile, size_t r, size_t c) {
    const nf_strip *strip = &tile->strip;
    const size_t at = r * state->ld + c;
    const nf_metric metric = state->pass->metric;
    double t = 1;
    if (!is_zero_row(state, strip, r, c)) {
        t = nf_exact_distance(metric, state->type, row_of(state->pass->own, strip->i + r),
                              row_of(state->pass->other, strip->j + c), state->d);
    }
    if (state->type == NF_FLOAT32) {
        ((float *)(void *)tile->t)[at] = (float)t;
        if (!(fabs(t) <= (double)FLT_MAX)) atomic_store(&state->overflow, 1);
    } else {
        ((double *)(void *)tile->t)[at] = t;
        if (!(fabs(t) <= DBL_MAX)) atomic_store(&state->overflow, 1);
    }
    tile->has_exact = true;
}

static void finish_distances(nf_strip_state *state, nf_strip_tile *tile, size_t r) {
    const nf_strip *strip = &tile->strip;
    unsigned char *row = tile->t + r * state->ld * nf_type_size(state->type);
    if (!state->zero_rows && !state->kernels->outside(row, strip->cols, state->low, state->high)) {
        state->kernels->distance(row, strip->cols, state->transform);
        return;
    }
    const size_t element = nf_type_size(state->type);
    for (size_t c = 0; c < strip->cols; c++) {
        const double raw = get(state->type, row, c);
        const bool trusted =
            (raw >= state->low && raw <= state->high) ||
            (raw == 0 && nf_rows_equal(state->type, row_of(state->pass->own, strip->i + r),
                                       row_of(state->pass->other, strip->j + c), state->d));
        if (trusted && !is_zero_row(state, strip, r, c)) {
            state->kernels->distance(row + c * element, 1, state->transform);
        } else if (!(tile->diagonal && r == c)) { /* which is no pair */
            exact_pair(state, tile, r, c);
        }
    }
}

static void distances(nf_strip_state *state, nf_strip_tile *tile, size_t j) {
    const nf_strip *strip = &tile->strip;
    const nf_strip_set *other = state->pass->other;
    nf_family_tile(state->kernels, state->family)(
        tile->t, state->ld, row_of(state->pass->own, strip->i), state->stride,
        other->panel + j * other->panel_bytes, strip->rows, strip->cols, state->d);
    tile->has_exact = false;
    for (size_t r = 0; r < strip->rows; r++) finish_distances(state, tile, r);
}

/* ---- gradients -------------------------------------------------------------------------------- */

#define DEFINE_WEIGHTS(name, T)                                                           \
    static void name(T *restrict slope, const T *restrict t, size_t count, nf_metric m) { \
        switch (m) {                                                                      \
        case NF_EUCLIDEAN: /* the gradient of a distance at 0 is 0 */                     \
            for (size_t i = 0; i < count; i++) {                                          \
                slope[i] = t[i] > 0 && slope[i] != 0 ? slope[i] / t[i] : 0;               \
            }                                                                             \
            break;                                                                        \
        case NF_SQEUCLIDEAN:                                                              \
            for (size_t i = 0; i < count; i++) slope[i] *= 2;                             \
            break;                                                                        \
        case NF_DOT:                                                                      \
            for (size_t i = 0; i < count; i++) slope[i] = 0 - slope[i];                   \
            break;                                                                        \
        case NF_COSINE:                                                                   \
        case NF_CITYBLOCK: break;                                                         \
        }                                                                                 \
    }

DEFINE_WEIGHTS(weights_f32, float)
DEFINE_WEIGHTS(weights_f64, double)

/* From dphi/dt to the factors of x - y (of y for dot, of the signs of x - y for cityblock). */
static void to_weights(const nf_strip_state *state, nf_strip_tile *tile) {
    for (size_t r = 0; r < tile->strip.rows; r++) {
        const size_t at = r * state->ld, cols = tile->strip.cols;
        if (state->type == NF_FLOAT32) {
            weights_f32((float *)(void *)tile->slope + at, (const float *)(void *)tile->t + at,
                        cols, state->pass->metric);
        } else {
            weights_f64((double *)(void *)tile->slope + at, (const double *)(void *)tile->t + at,
                        cols, state->pass->metric);
        }
    }
}

static void widen(const nf_strip_state *state, const unsigned char *row, double *out) {
    for (size_t k = 0; k < state->d; k++) out[k] = get(state->type, row, k);
}

/* Differences of rows that are far apart may overflow in the type, and 0 * inf would poison the
 * others: the whole strip pair by pair in double. */
static void update_slowly(const nf_strip_state *state, nf_strip_tile *tile) {
    const nf_strip *strip = &tile->strip;
    double *x = tile->wide, *y = x + state->d;
    for (size_t r = 0; r < strip->rows; r++) {
        widen(state, row_of(state->pass->own, strip->i + r), x);
        for (size_t c = 0; c < strip->cols; c++) {
            double slope = get(state->type, tile->slope, r * state->ld + c);
            if (slope == 0 || is_zero_row(state, strip, r, c)) continue;
            const double t = get(state->type, tile->t, r * state->ld + c);
            widen(state, row_of(state->pass->other, strip->j + c), y);
            nf_term_gradient(state->pass->metric, slope, t, x, y, state->d,
                             state->pass->sum + (strip->i + r) * state->stride);
            if (!strip->mirrored) continue;
            nf_term_gradient(state->pass->metric, slope, t, y, x, state->d,
                             state->pass->sum + (strip->j + c) * state->stride);
        }
    }
}

/* The gradient of the rows: their weights against the columns. */
static void update_rows(const nf_strip_state *state, nf_strip_tile *tile) {
    const nf_strip *strip = &tile->strip;
    state->update(tile->update, state->stride, tile->slope, state->ld, 1,
                  row_of(state->pass->own, strip->i), state->stride,
                  row_of(state->pass->other, strip->j), state->stride, strip->rows, strip->cols,
                  state->d);
    state->kernels->accumulate(state->pass->sum + strip->i * state->stride, tile->update,
                               strip->rows * state->stride);
}

/* That of the columns, which are rows of the same set. */
static void update_columns(const nf_strip_state *state, nf_strip_tile *tile) {
    const nf_strip *strip = &tile->strip;
    state->update(tile->update, state->stride, tile->slope, 1, state->ld,
                  row_of(state->pass->other, strip->j), state->stride,
                  row_of(state->pass->own, strip->i), state->stride, strip->cols, strip->rows,
                  state->d);
    state->kernels->accumulate(state->pass->sum + strip->j * state->stride, tile->update,
                               strip->cols * state->stride);
}

/* Whether any slope is not 0; of most losses the first is not. */
static bool has_slopes(const nf_strip_state *state, const nf_strip_tile *tile) {
    const nf_strip *strip = &tile->strip;
    for (size_t r = 0; r < strip->rows; r++) {
        const float *f = (const float *)(const void *)tile->slope + r * state->ld;
        const double *g = (const double *)(const void *)tile->slope + r * state->ld;
        int any = 0;
        if (state->type == NF_FLOAT32) {
            for (size_t c = 0; c < strip->cols; c++) any |= f[c] != 0;
        } else {
            for (size_t c = 0; c < strip->cols; c++) any |= g[c] != 0;
        }
        if (any != 0) return true;
    }
    return false;
}

static void update(const nf_strip_state *state, nf_strip_tile *tile) {
    if (!has_slopes(state, tile)) return;
    if (tile->has_exact) {
        update_slowly(state, tile);
        return;
    }
    to_weights(state, tile);
    update_rows(state, tile);
    if (tile->strip.mirrored) update_columns(state, tile);
}

/* ---- the run ---------------------------------------------------------------------------------- */

/* Whether the strip has a pair of a side that is wanted. */
static bool wanted(const nf_strip_state *state, const nf_strip *strip, size_t i, size_t j) {
    const nf_strip_pass *pass = state->pass;
    if (pass->side[NF_POSITIVE] && strip->any[NF_POSITIVE]) return true;
    if (!pass->side[NF_NEGATIVE] || !strip->any[NF_NEGATIVE]) return false;
    return !(state->prune && nf_bounds_apart(&state->bounds[0], i, &state->bounds[1], j, state->d,
                                             state->type, pass->reach));
}

/* Block i of the rows against block j of the columns. */
static void run_strip(nf_strip_state *state, nf_strip_tile *tile, size_t i, size_t j) {
    const nf_strip_pass *pass = state->pass;
    const nf_pass_set *own = &pass->own->set, *other = &pass->other->set;
    nf_strip *strip = &tile->strip;
    strip->block = i;
    strip->i = own->block[i];
    strip->rows = own->block[i + 1] - strip->i;
    strip->j = other->block[j];
    strip->cols = other->block[j + 1] - strip->j;
    tile->diagonal = state->within && i == j;
    strip->mirrored = pass->once && i != j;
    find_sides(state, strip);
    if (!wanted(state, strip, i, j)) {
        state->skipped[i]++;
        return;
    }
    distances(state, tile, j);
    fill_classes(state, tile);
    mark_not_pairs(state, tile);
    int failure = pass->run(pass->user, strip);
    if (failure != 0) atomic_store(&state->failure, failure);
    if (failure == 0 && pass->sum != NULL) update(state, tile);
}

static void begin_tile(const nf_strip_state *state, int worker, nf_strip_tile *tile) {
    layout(state, state->scratch + (size_t)worker * state->worker_bytes, tile);
    tile->strip.ld = state->ld;
    tile->strip.type = state->type;
    tile->strip.t = tile->t;
    tile->strip.slope = tile->slope;
    tile->strip.row_class = tile->row_class;
    tile->strip.col_class = tile->col_class;
}

static void block_task(void *argument, size_t i, int worker) {
    nf_strip_state *state = argument;
    nf_strip_tile tile;
    begin_tile(state, worker, &tile);
    for (size_t j = 0; j < state->pass->other->set.blocks; j++) {
        if (atomic_load_explicit(&state->failure, memory_order_relaxed) != 0) return;
        run_strip(state, &tile, i, j);
    }
}

/* The circle method: one block stays, the others rotate; one of an odd number has a bye. */
static void round_task(void *argument, size_t task, int worker) {
    nf_strip_state *state = argument;
    size_t ring = state->players - 1, i = task, j = task;
    if (!state->diagonal) {
        size_t one = task == 0 ? ring : (state->round + task) % ring;
        size_t another = (state->round + ring - task) % ring;
        i = nf_min_size(one, another);
        j = nf_max_size(one, another);
        if (j >= state->pass->own->set.blocks) return;
    }
    if (atomic_load_explicit(&state->failure, memory_order_relaxed) != 0) return;
    nf_strip_tile tile;
    begin_tile(state, worker, &tile);
    run_strip(state, &tile, i, j);
}

static nf_status run_rounds(nf_context *context, nf_strip_state *state, bool wake) {
    const size_t blocks = state->pass->own->set.blocks;
    state->players = blocks + blocks % 2;
    state->diagonal = true;
    nf_status status = nf_parallel(context, blocks, wake, 1, round_task, state);
    state->diagonal = false;
    for (state->round = 0; status == NF_OK && state->round + 1 < state->players; state->round++) {
        status = nf_parallel(context, state->players / 2, wake, 1, round_task, state);
    }
    return status;
}

static nf_status make_bounds(nf_context *context, nf_strip_state *state) {
    const nf_strip_pass *pass = state->pass;
    state->prune = pass->reach >= 0 && !state->zero_rows &&
                   pass->own->set.blocks + pass->other->set.blocks > 2;
    if (!state->prune) return NF_OK;
    nf_status status = nf_bounds_make(context, &pass->own->set, &state->bounds[0]);
    state->bounds[1] = state->bounds[0];
    if (status == NF_OK && !state->within) {
        status = nf_bounds_make(context, &pass->other->set, &state->bounds[1]);
    }
    return status;
}

static nf_status prepare(nf_context *context, nf_strip_state *state) {
    const nf_strip_pass *pass = state->pass;
    const nf_rows *own = &pass->own->set.rows, *other = &pass->other->set.rows;
    state->within = pass->own == pass->other;
    state->type = own->x.type;
    state->d = own->x.cols;
    state->stride = pass->own->stride;
    state->block_rows = nf_pass_block_rows(state->d);
    state->ld = nf_pad(state->type, state->block_rows);
    state->kernels = nf_kernels_get(context, state->type);
    state->family = nf_metric_family(pass->metric);
    state->transform = nf_metric_transform(pass->metric);
    state->update = state->family == NF_SQUARED   ? state->kernels->update_difference
                    : state->family == NF_PRODUCT ? state->kernels->update_product
                                                  : state->kernels->update_sign;
    state->zero_rows =
        pass->metric == NF_COSINE && state->d > 0 && (own->zero_rows > 0 || other->zero_rows > 0);
    nf_trusted_range(state->family, state->type, state->d, 1, &state->low, &state->high);
    atomic_init(&state->failure, 0);
    atomic_init(&state->overflow, 0);
    nf_strip_tile unused;
    state->worker_bytes = layout(state, NULL, &unused);
    nf_status status = make_bounds(context, state);
    if (status == NF_OK) {
        status = nf_scratch(context, &state->scratch, (size_t)context->threads, state->worker_bytes,
                            "strips");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &state->skipped, pass->own->set.blocks, sizeof(uint64_t),
                            "strip counts");
    }
    if (status != NF_OK) return status;
    memset(state->skipped, 0, pass->own->set.blocks * sizeof(uint64_t));
    return NF_OK;
}

uint64_t nf_strip_work(const nf_strip_set *own, const nf_strip_set *other) {
    return (uint64_t)own->set.blocks * other->set.blocks;
}

uint64_t nf_strip_work_once(const nf_strip_set *set) {
    const uint64_t blocks = set->set.blocks, players = blocks + blocks % 2;
    return blocks > 0 ? blocks + (players - 1) * (players / 2) : 0;
}

nf_status nf_strip_run(nf_context *context, nf_strip_pass *pass) {
    if (pass->own->set.blocks == 0 || pass->other->set.blocks == 0) return NF_OK;
    nf_strip_state state = {.pass = pass};
    nf_status status = prepare(context, &state);
    if (status == NF_OK) {
        double work = 2.0 * (double)pass->own->set.rows.count *
                      (double)pass->other->set.rows.count * (double)state.d;
        const bool wake = work > NF_WAKE_FLOPS;
        status = pass->once ? run_rounds(context, &state, wake)
                            : nf_parallel(context, pass->own->set.blocks, wake,
                                          pass->other->set.blocks, block_task, &state);
    }
    if (status == NF_OK && atomic_load(&state.failure) != 0) {
        status = nf_fail(context, NF_ERR_CALLBACK, "the pair function returned %d",
                         atomic_load(&state.failure));
    }
    if (status == NF_OK && atomic_load(&state.overflow) != 0) {
        status = nf_fail(context, NF_ERR_RANGE, "a %s distance exceeds %s: %s",
                         nf_metric_name(pass->metric),
                         state.type == NF_FLOAT32 ? "float32 (3.4e38)" : "float64",
                         state.type == NF_FLOAT32 ? "pass float64" : "scale the data down");
    }
    for (size_t b = 0; status == NF_OK && b < pass->own->set.blocks; b++) {
        pass->tiles_skipped += state.skipped[b];
    }
    const uint64_t blocks = pass->own->set.blocks;
    pass->tiles += pass->once ? blocks * (blocks + 1) / 2 : nf_strip_work(pass->own, pass->other);
    return status;
}

/* ---- results ---------------------------------------------------------------------------------- */

nf_status nf_strip_sums(nf_context *context, const nf_strip_set *set, nf_matrix_out gradient,
                        double **sum) {
    *sum = NULL;
    if (gradient.data == NULL) return NF_OK;
    const size_t bytes = set->stride * sizeof(double);
    nf_status status = nf_scratch(context, sum, set->set.rows.count, bytes, "gradient sums");
    if (status == NF_OK) memset(*sum, 0, set->set.rows.count * bytes);
    return status;
}

nf_status nf_strip_finish(nf_context *context, const nf_strip_set *set, double factor,
                          double *sum) {
    const size_t d = set->set.rows.x.cols;
    if (sum == NULL) return NF_OK;
    double *u;
    nf_status status = nf_scratch(context, &u, d, sizeof *u, "unit row");
    for (size_t r = 0; status == NF_OK && r < set->set.rows.count; r++) {
        double *row = sum + r * set->stride;
        for (size_t k = 0; k < d; k++) row[k] *= factor;
        if (set->set.rows.inverse != NULL) nf_gradient_through_unit(&set->set.rows, r, row, u);
    }
    return status;
}

nf_status nf_strip_check_gradient(nf_context *context, const nf_tiled_side *side,
                                  const double *sum) {
    const size_t stride = nf_pass_stride(side->x);
    for (size_t r = 0; sum != NULL && r < side->count; r++) {
        if (nf_gradient_fits(side->x.type, sum + r * stride, side->x.cols)) continue;
        return nf_gradient_range_error(context, "the gradient", side->x.type, side->order[r]);
    }
    return NF_OK;
}

void nf_strip_write_gradient(const nf_tiled_side *side, const double *sum) {
    if (side->gradient.data == NULL) return;
    const size_t row = side->x.cols * nf_type_size(side->x.type);
    for (size_t r = 0; r < side->x.rows; r++) memset(nf_matrix_out_row(side->gradient, r), 0, row);
    for (size_t r = 0; sum != NULL && r < side->count; r++) {
        nf_gradient_store(side->gradient, side->order[r], sum + r * nf_pass_stride(side->x));
    }
}
