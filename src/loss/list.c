#include "loss/list.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "distance/pair_list.h"
#include "loss/gradient.h"
#include "loss/online.h"
#include "loss/term.h"
#include "loss/triplet_list.h"
#include "loss/user.h"

#define NF_LIST_CHUNK 1024 /* pairs of a task and of a partial sum */
#define NF_ROW_CHUNK 256   /* rows of a gradient task */

typedef struct nf_list_sums {
    double phi[2], distance[2], weight;
    uint64_t pairs[2], active[2], coincident;
    uint64_t terms, active_terms; /* of triplets */
} nf_list_sums;

/* Rows of x and y as one side sees them. */
typedef struct nf_list_rows {
    nf_pair_distances pairs;
    nf_rows x, y;
    bool unit;
} nf_list_rows;

typedef struct nf_list_state {
    const nf_list_job *job;
    nf_contrast_side side[2];
    nf_list_rows rows[2];
    bool one_distance;                /* both sides share metric and rows */
    nf_online online;                 /* kind online-contrastive: which pairs are hard */
    const nf_pair_function *function; /* of the terms; NULL: those of the contrastive family */
    double *phi, *slope, *t;
    nf_list_sums *chunk, total;
    double scale[2];
    size_t *offset, *entry; /* row r of x takes part in pairs entry[offset[r] .. offset[r + 1]) */
    size_t worker_bytes;
    unsigned char *scratch;
    atomic_size_t misfit[2]; /* 1 + a row whose gradient does not fit its type; 0: none */
    atomic_int failure;      /* what a user's function returned */
    bool store;              /* gradient tasks write; else they only check */
} nf_list_state;

static size_t left_of(const nf_list_job *job, size_t p) {
    return job->i != NULL ? (size_t)job->i[p] : p;
}

static size_t right_of(const nf_list_job *job, size_t p) {
    return job->j != NULL ? (size_t)job->j[p] : p;
}

/* ---- terms ------------------------------------------------------------------------------------ */

static double term_of(nf_list_state *state, int which, double t, double *slope) {
    const nf_contrast_side *side = &state->side[which];
    if (state->function == NULL) return nf_term(side, which, t, slope);
    double value;
    int failure = nf_user_term(state->function, which, t, &value, slope);
    if (failure != 0) {
        atomic_store(&state->failure, failure);
        return 0;
    }
    *slope *= side->coefficient;
    return side->coefficient * value;
}

static void one_term(nf_list_state *state, size_t p, double t, nf_list_sums *sums) {
    const nf_list_job *job = state->job;
    int which = job->same[p] != 0 ? NF_POSITIVE : NF_NEGATIVE;
    const nf_metric metric = nf_term_metric(job->loss, which);
    double weight = job->weight != NULL ? job->weight[p] : 1, slope = 0;
    double phi = weight > 0 ? weight * term_of(state, which, t, &slope) : 0;
    state->phi[p] = phi;
    state->slope[p] = weight > 0 ? weight * slope : 0;
    state->t[p] = t;
    sums->phi[which] += phi;
    sums->distance[which] += t;
    sums->weight += weight;
    sums->pairs[which]++;
    sums->active[which] += phi > 0;
    sums->coincident += which == NF_NEGATIVE && t == 0 && metric != NF_DOT;
}

/* The triplets of `width` pairs from p on; the term of each is kept with its first pair. */
static void triplet_terms(nf_list_state *state, size_t p, size_t width, const double *t,
                          nf_list_sums *sums) {
    const nf_loss *loss = state->job->loss;
    for (size_t q = 0; q < width; q += 2) {
        const double *own = state->job->beta;
        const double beta = own != NULL ? own[left_of(state->job, p + q)] : loss->beta;
        const nf_listed_triplet term = nf_triplet_listed(loss, beta, t[q], t[q + 1]);
        state->phi[p + q] = term.value;
        state->phi[p + q + 1] = 0;
        sums->phi[NF_POSITIVE] += term.value;
        sums->terms++;
        sums->active_terms += term.active;
        for (int which = NF_NEGATIVE; which <= NF_POSITIVE; which++) {
            const size_t end = which == NF_POSITIVE ? q : q + 1;
            state->slope[p + end] = term.slope[which];
            state->t[p + end] = t[end];
            sums->distance[which] += t[end];
            sums->pairs[which]++;
            sums->active[which] += term.slope[which] != 0;
        }
        sums->coincident += t[q + 1] == 0 && loss->neg_metric != NF_DOT;
    }
}

static void term_task(void *argument, size_t task, int worker) {
    nf_list_state *state = argument;
    const nf_list_job *job = state->job;
    unsigned char *scratch = state->scratch + (size_t)worker * state->worker_bytes;
    nf_list_sums sums = {0};
    size_t stop = nf_min_size((task + 1) * NF_LIST_CHUNK, job->count);
    for (size_t p = task * NF_LIST_CHUNK; p < stop; p += NF_PAIRS_AT_ONCE) {
        size_t width = nf_min_size(NF_PAIRS_AT_ONCE, stop - p);
        size_t i[NF_PAIRS_AT_ONCE], j[NF_PAIRS_AT_ONCE];
        double t[2][NF_PAIRS_AT_ONCE];
        for (size_t q = 0; q < width; q++) {
            i[q] = left_of(job, p + q);
            j[q] = right_of(job, p + q);
        }
        nf_pair_distances_of(&state->rows[0].pairs, i, j, width, scratch, t[0]);
        if (!state->one_distance) {
            nf_pair_distances_of(&state->rows[1].pairs, i, j, width, scratch, t[1]);
        }
        if (job->triplets) triplet_terms(state, p, width, t[0], &sums);
        for (size_t q = 0; q < width && !job->triplets; q++) {
            int which = state->one_distance || job->same[p + q] == 0 ? NF_NEGATIVE : NF_POSITIVE;
            one_term(state, p + q, t[which][q], &sums);
        }
    }
    state->chunk[task] = sums;
}

static void add_chunks(nf_list_state *state, size_t chunks) {
    for (size_t c = 0; c < chunks; c++) {
        const nf_list_sums *part = &state->chunk[c];
        for (int side = NF_NEGATIVE; side <= NF_POSITIVE; side++) {
            state->total.phi[side] += part->phi[side];
            state->total.distance[side] += part->distance[side];
            state->total.pairs[side] += part->pairs[side];
            state->total.active[side] += part->active[side];
        }
        state->total.weight += part->weight;
        state->total.coincident += part->coincident;
        state->total.terms += part->terms;
        state->total.active_terms += part->active_terms;
    }
}

/* Hard pairs of the list: a first sweep fills in the distances. Pairs of weight 0 have no say. */
static nf_status choose_hard(nf_context *context, nf_list_state *state, size_t chunks, bool wake) {
    const nf_list_job *job = state->job;
    nf_online_range range = nf_online_no_range();
    if (job->loss->kind != NF_KIND_ONLINE_CONTRASTIVE) return NF_OK;
    nf_status status = nf_parallel(context, chunks, wake, 1, term_task, state);
    for (size_t p = 0; status == NF_OK && p < job->count; p++) {
        if (job->weight != NULL && !(job->weight[p] > 0)) continue;
        nf_online_see(&range, job->same[p] != 0 ? NF_POSITIVE : NF_NEGATIVE, state->t[p]);
    }
    nf_online_choose(job->loss, &range, &state->online);
    state->function = &state->online.function;
    return status;
}

/* ---- gradients -------------------------------------------------------------------------------- */

/* Scratch of a gradient task, in doubles of d: two rows, a unit row, one sum per kind of rows. */
typedef struct nf_list_scratch {
    double *own, *other, *unit, *sum[2];
} nf_list_scratch;

static nf_list_scratch gradient_scratch(const nf_list_state *state, int worker) {
    const size_t d = state->job->x.cols;
    double *base = (double *)(void *)(state->scratch + (size_t)worker * state->worker_bytes);
    return (nf_list_scratch){base, base + d, base + 2 * d, {base + 3 * d, base + 4 * d}};
}

/* Add pair p's part in the gradient of one of its ends to the end's sums. */
static void add_end(const nf_list_state *state, size_t p, bool left_end, nf_list_scratch *scratch) {
    const nf_list_job *job = state->job;
    int which = job->same[p] != 0 ? NF_POSITIVE : NF_NEGATIVE;
    const nf_list_rows *rows = &state->rows[which];
    double upstream = 1;
    if (job->extras != NULL && job->extras->upstream != NULL) {
        bool per_pair = job->loss->reduction == NF_REDUCE_NONE;
        upstream = job->extras->upstream[per_pair ? p : 0];
    }
    double slope = upstream * state->scale[which] * state->slope[p];
    const nf_metric metric = nf_term_metric(job->loss, which);
    if (metric == NF_COSINE && (nf_rows_is_zero(&rows->x, left_of(job, p)) ||
                                nf_rows_is_zero(&rows->y, right_of(job, p)))) {
        return;
    }
    const size_t d = job->x.cols;
    double *left = left_end ? scratch->own : scratch->other;
    double *right = left_end ? scratch->other : scratch->own;
    nf_rows_copy(&rows->x, left_of(job, p), 1, NF_FLOAT64, left, d);
    nf_rows_copy(&rows->y, right_of(job, p), 1, NF_FLOAT64, right, d);
    nf_term_gradient(metric, slope, state->t[p], scratch->own, scratch->other, d,
                     scratch->sum[rows->unit]);
}

static void finish_row(nf_list_state *state, int end, size_t r, nf_list_scratch *scratch) {
    const nf_list_job *job = state->job;
    const size_t d = job->x.cols;
    for (int which = NF_NEGATIVE; which <= NF_POSITIVE; which++) {
        if (!state->rows[which].unit) continue;
        const nf_rows *rows = end == 0 ? &state->rows[which].x : &state->rows[which].y;
        nf_gradient_through_unit(rows, r, scratch->sum[1], scratch->unit);
        break; /* both sides' unit rows are the same rows */
    }
    for (size_t k = 0; k < d; k++) scratch->sum[0][k] += scratch->sum[1][k];
    if (!nf_gradient_fits(job->x.type, scratch->sum[0], d)) {
        atomic_store(&state->misfit[end], r + 1);
    }
    if (state->store) nf_gradient_store(job->gradient[end], r, scratch->sum[0]);
}

static void clear_sums(const nf_list_state *state, nf_list_scratch *scratch) {
    memset(scratch->sum[0], 0, state->job->x.cols * sizeof(double));
    memset(scratch->sum[1], 0, state->job->x.cols * sizeof(double));
}

/* Rows of one matrix: all pairs of a row, in list order. */
static void gathered_task(void *argument, size_t task, int worker) {
    nf_list_state *state = argument;
    nf_list_scratch scratch = gradient_scratch(state, worker);
    size_t stop = nf_min_size((task + 1) * NF_ROW_CHUNK, state->job->x.rows);
    for (size_t r = task * NF_ROW_CHUNK; r < stop; r++) {
        clear_sums(state, &scratch);
        for (size_t e = state->offset[r]; e < state->offset[r + 1]; e++) {
            size_t p = state->entry[e];
            add_end(state, p, left_of(state->job, p) == r, &scratch);
        }
        finish_row(state, 0, r, &scratch);
    }
}

/* Row p of each matrix belongs to pair p only. */
static void paired_task(void *argument, size_t task, int worker) {
    nf_list_state *state = argument;
    nf_list_scratch scratch = gradient_scratch(state, worker);
    size_t stop = nf_min_size((task + 1) * NF_ROW_CHUNK, state->job->count);
    for (size_t p = task * NF_ROW_CHUNK; p < stop; p++) {
        for (int end = 0; end < 2; end++) {
            if (state->job->gradient[end].data == NULL) continue;
            clear_sums(state, &scratch);
            add_end(state, p, end == 0, &scratch);
            finish_row(state, end, p, &scratch);
        }
    }
}

/* Counting sort of pair ends by row, in list order. */
static nf_status index_pairs(nf_context *context, nf_list_state *state) {
    const nf_list_job *job = state->job;
    nf_status status =
        nf_scratch(context, &state->offset, job->x.rows + 2, sizeof(size_t), "pairs of a row");
    if (status == NF_OK) {
        status =
            nf_scratch(context, &state->entry, job->count, 2 * sizeof(size_t), "pairs of a row");
    }
    if (status != NF_OK) return status;
    size_t *offset = state->offset;
    memset(offset, 0, (job->x.rows + 2) * sizeof *offset);
    for (size_t p = 0; p < job->count; p++) {
        offset[left_of(job, p) + 2]++;
        offset[right_of(job, p) + 2]++;
    }
    for (size_t r = 2; r < job->x.rows + 2; r++) offset[r] += offset[r - 1];
    for (size_t p = 0; p < job->count; p++) {
        state->entry[offset[left_of(job, p) + 1]++] = p;
        state->entry[offset[right_of(job, p) + 1]++] = p;
    }
    return NF_OK;
}

static nf_status run_gradients(nf_context *context, nf_list_state *state, bool wake) {
    const nf_list_job *job = state->job;
    if (job->gradient[0].data == NULL && job->gradient[1].data == NULL) return NF_OK;
    nf_status status = job->within ? index_pairs(context, state) : NF_OK;
    nf_task_fn task = job->within ? gathered_task : paired_task;
    size_t rows = job->within ? job->x.rows : job->count;
    size_t tasks = (rows + NF_ROW_CHUNK - 1) / NF_ROW_CHUNK;
    /* A first sweep checks that every gradient fits its type, so that a failure writes nothing. */
    for (int sweep = 0; sweep < 2 && status == NF_OK; sweep++) {
        state->store = sweep == 1;
        status = nf_parallel(context, tasks, wake, 1, task, state);
        for (int end = 0; end < 2 && status == NF_OK && sweep == 0; end++) {
            size_t misfit = atomic_load(&state->misfit[end]);
            if (misfit == 0) continue;
            status = nf_gradient_range_error(
                context, end == 0 ? "the gradient" : "the right gradient", job->x.type, misfit - 1);
        }
    }
    return status;
}

/* Where beta grows, the pull shrinks and the push grows, each by the slope of its distance. */
static void put_beta_slopes(const nf_list_state *state) {
    const nf_list_job *job = state->job;
    if (job->beta_slope == NULL) return;
    memset(job->beta_slope, 0, job->x.rows * sizeof *job->beta_slope);
    for (size_t p = 0; p < job->count; p++) {
        const int which = job->same[p] != 0 ? NF_POSITIVE : NF_NEGATIVE;
        job->beta_slope[left_of(job, p)] -= state->scale[which] * state->slope[p];
    }
}

/* ---- the run ---------------------------------------------------------------------------------- */

static nf_status make_rows(nf_context *context, nf_list_state *state) {
    const nf_list_job *job = state->job;
    nf_rows unit_x = nf_rows_plain(job->x), unit_y = nf_rows_plain(job->y);
    nf_status status = NF_OK;
    if (nf_term_unit(job->loss, NF_NEGATIVE) || nf_term_unit(job->loss, NF_POSITIVE)) {
        status = nf_rows_make_unit(context, &unit_x);
        if (status == NF_OK && !job->within) status = nf_rows_make_unit(context, &unit_y);
        if (job->within) unit_y = unit_x;
    }
    for (int side = NF_NEGATIVE; side <= NF_POSITIVE && status == NF_OK; side++) {
        nf_list_rows *rows = &state->rows[side];
        rows->unit = nf_term_unit(job->loss, side);
        rows->x = rows->unit ? unit_x : nf_rows_plain(job->x);
        rows->y = rows->unit ? unit_y : nf_rows_plain(job->y);
        nf_pair_distances_init(context, &rows->pairs, nf_term_metric(job->loss, side), rows->x,
                               rows->y, false);
        state->side[side] = nf_term_side(job->loss, side, 1);
    }
    state->one_distance = job->loss->pos_metric == job->loss->neg_metric;
    return status;
}

static nf_status allocate(nf_context *context, nf_list_state *state, size_t chunks) {
    const nf_list_job *job = state->job;
    size_t distances = nf_max_size(nf_pair_distances_scratch(&state->rows[0].pairs),
                                   nf_pair_distances_scratch(&state->rows[1].pairs));
    state->worker_bytes =
        nf_round_up(nf_max_size(distances, 5 * job->x.cols * sizeof(double)), NF_ALIGNMENT);
    nf_status status = nf_scratch(context, &state->scratch, (size_t)context->threads,
                                  state->worker_bytes, "pair rows");
    if (status == NF_OK) {
        status = nf_scratch(context, &state->phi, job->count, 3 * sizeof(double), "pair terms");
    }
    if (status == NF_OK) {
        state->slope = state->phi + job->count;
        state->t = state->slope + job->count;
        status = nf_scratch(context, &state->chunk, chunks, sizeof *state->chunk, "partial sums");
    }
    return status;
}

static nf_loss_result summarize(const nf_list_state *state) {
    const nf_list_sums *total = &state->total;
    nf_loss_result result = {.value = state->scale[NF_NEGATIVE] * total->phi[NF_NEGATIVE] +
                                      state->scale[NF_POSITIVE] * total->phi[NF_POSITIVE],
                             .positive_pairs = total->pairs[NF_POSITIVE],
                             .negative_pairs = total->pairs[NF_NEGATIVE],
                             .active_negative = total->active[NF_NEGATIVE],
                             .coincident_negatives = total->coincident,
                             .terms = total->terms,
                             .active_terms = total->active_terms};
    const nf_list_rows *rows = &state->rows[state->rows[0].unit ? 0 : 1];
    if (rows->unit) {
        result.zero_rows = rows->x.zero_rows + (state->job->within ? 0 : rows->y.zero_rows);
    }
    if (state->job->loss->stats) {
        result.has_stats = 1;
        result.active_positive = total->active[NF_POSITIVE];
        if (total->pairs[NF_POSITIVE] > 0) {
            result.mean_positive_distance =
                total->distance[NF_POSITIVE] / (double)total->pairs[NF_POSITIVE];
        }
        if (total->pairs[NF_NEGATIVE] > 0) {
            result.mean_negative_distance =
                total->distance[NF_NEGATIVE] / (double)total->pairs[NF_NEGATIVE];
        }
    }
    return result;
}

static nf_status check_finite_terms(nf_context *context, const nf_list_state *state,
                                    const nf_loss_result *result) {
    if (isfinite(result->value)) return NF_OK;
    size_t p = 0;
    while (p + 1 < state->job->count && isfinite(state->phi[p])) p++;
    const bool triplets = state->job->triplets;
    return nf_fail(context, NF_ERR_RANGE,
                   "the loss is not finite (%s %zu): distances or margins reach a power the type "
                   "cannot hold; scale the data down",
                   triplets ? "triplet" : "pair", triplets ? p / 2 : p);
}

nf_status nf_list_run(nf_context *context, const nf_list_job *job, nf_loss_result *result) {
    nf_list_state state = {.job = job, .function = job->loss->function};
    atomic_init(&state.failure, 0);
    atomic_init(&state.misfit[0], 0);
    atomic_init(&state.misfit[1], 0);
    const size_t chunks = (job->count + NF_LIST_CHUNK - 1) / NF_LIST_CHUNK;
    bool wake = 2.0 * (double)job->count * (double)job->x.cols > NF_WAKE_FLOPS;
    nf_status status = make_rows(context, &state);
    if (status == NF_OK) status = allocate(context, &state, chunks);
    if (status != NF_OK) return status;
    const size_t sweeps = job->loss->kind == NF_KIND_ONLINE_CONTRASTIVE ? 2 : 1;
    nf_progress_start(context, sweeps * chunks + 2 * (job->count / NF_ROW_CHUNK));
    status = choose_hard(context, &state, chunks, wake);
    if (status == NF_OK) status = nf_parallel(context, chunks, wake, 1, term_task, &state);
    if (status == NF_OK && atomic_load(&state.failure) != 0) {
        status = nf_fail(context, NF_ERR_CALLBACK, "the pair function returned %d",
                         atomic_load(&state.failure));
    }
    if (status != NF_OK) return status;
    add_chunks(&state, chunks);
    if (job->triplets) {
        state.scale[NF_NEGATIVE] = state.scale[NF_POSITIVE] =
            nf_triplet_list_scale(job->loss, state.total.terms, state.total.active_terms);
    } else {
        nf_reduction_scales(job->loss, state.total.pairs, state.total.active, state.total.weight,
                            state.scale);
    }
    nf_loss_result made = summarize(&state);
    status = check_finite_terms(context, &state, &made);
    if (status == NF_OK) status = run_gradients(context, &state, wake);
    if (status != NF_OK) return status;
    if (job->extras != NULL && job->extras->terms != NULL && job->count > 0) {
        memcpy(job->extras->terms, state.phi, job->count * sizeof(double));
    }
    put_beta_slopes(&state);
    *result = made;
    return NF_OK;
}

nf_status nf_list_check_extras(nf_context *context, const double *weight,
                               const nf_pair_terms *extras, size_t count, nf_reduction reduction) {
    for (size_t p = 0; weight != NULL && p < count; p++) {
        if (isfinite(weight[p]) && weight[p] >= 0) continue;
        return nf_fail(context, NF_ERR_ARG, "weight[%zu] is %g: it must be finite and at least 0",
                       p, weight[p]);
    }
    if (extras == NULL || extras->upstream == NULL || count == 0) return NF_OK;
    size_t factors = reduction == NF_REDUCE_NONE ? count : 1;
    for (size_t p = 0; p < factors; p++) {
        if (isfinite(extras->upstream[p])) continue;
        return nf_fail(context, NF_ERR_ARG, "upstream[%zu] is %g: it must be finite", p,
                       extras->upstream[p]);
    }
    return NF_OK;
}
