/* A task packs a block of columns once and runs all row blocks of its chunk against it. Block sizes
 * shrink as d grows so that scratch stays a few megabytes per thread; they never change a bit. */
#include "distance/tiles.h"

#include <float.h>
#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "distance/gram.h"

#define NF_ROW_BLOCK 96
#define NF_COLUMN_BLOCK 256
#define NF_BLOCK_BYTES ((size_t)4 << 20)
#define NF_TASK_WORK ((double)(1 << 26)) /* multiply-adds of a task, at most */

nf_tile_fn nf_family_tile(const nf_kernels *kernels, nf_family family) {
    return family == NF_SQUARED   ? kernels->sqdist
           : family == NF_PRODUCT ? kernels->dot
                                  : kernels->cityblock;
}

nf_row_fn nf_family_rows(const nf_kernels *kernels, nf_family family) {
    return family == NF_SQUARED   ? kernels->row_sqdist
           : family == NF_PRODUCT ? kernels->row_dot
                                  : kernels->row_cityblock;
}

nf_status nf_distance_prepare(nf_context *context, const nf_distance_options *options, nf_matrix x,
                              nf_matrix y, nf_distance_job *job) {
    *job = (nf_distance_job){.options = options != NULL ? *options : nf_distance_defaults()};
    nf_metric metric = job->options.metric;
    if (nf_metric_name(metric) == NULL) {
        return nf_fail(context, NF_ERR_ARG, "metric is %d: it must be an nf_metric value",
                       (int)metric);
    }
    nf_status status = NF_OK;
    if (job->options.fast) status = nf_gram_check(context, metric, "metric");
    if (status == NF_OK) status = nf_check_matrix(context, x, "x");
    if (status == NF_OK) status = nf_check_matrix(context, y, "y");
    if (status != NF_OK) return status;
    if (x.type != y.type) {
        return nf_fail(
            context, NF_ERR_ARG,
            "x and y have different types: convert one, both must be float32 or float64");
    }
    if (x.cols != y.cols) {
        return nf_fail(context, NF_ERR_ARG, "x has %zu columns and y has %zu: they must agree",
                       x.cols, y.cols);
    }
    job->self = x.data == y.data && x.ld == y.ld && x.rows == y.rows;
    if (!job->options.allow_nonfinite) {
        status = nf_check_finite(context, x, "x");
        if (status == NF_OK && !job->self) status = nf_check_finite(context, y, "y");
    }
    job->x = nf_rows_plain(x);
    job->y = nf_rows_plain(y);
    if (status == NF_OK && (metric == NF_COSINE || job->options.normalize)) {
        status = nf_rows_make_unit(context, &job->x);
        if (status == NF_OK && job->self) job->y = job->x;
        if (status == NF_OK && !job->self) status = nf_rows_make_unit(context, &job->y);
    }
    return status;
}

nf_status nf_distance_prepare_tiles(nf_context *context, nf_distance_job *job) {
    if (!job->options.fast) return NF_OK;
    const nf_type work = job->options.precise ? NF_FLOAT64 : job->x.x.type;
    nf_status status = nf_gram_make_norms(context, &job->x, work);
    if (status != NF_OK || !job->self)
        return status == NF_OK ? nf_gram_make_norms(context, &job->y, work) : status;
    job->y = job->x;
    return NF_OK;
}

/* Magnitudes as integers are in the order of the numbers, and their largest is a loop a compiler
 * can do many of at once. */
double nf_largest_value(nf_matrix x) {
    int32_t narrow = 0;
    int64_t wide = 0;
    for (size_t r = 0; r < x.rows; r++) {
        const char *row = nf_matrix_row(x, r);
        for (size_t c = 0; c < x.cols && x.type == NF_FLOAT32; c++) {
            int32_t bits;
            memcpy(&bits, row + c * sizeof bits, sizeof bits);
            bits &= INT32_MAX;
            narrow = bits > narrow ? bits : narrow;
        }
        for (size_t c = 0; c < x.cols && x.type == NF_FLOAT64; c++) {
            int64_t bits;
            memcpy(&bits, row + c * sizeof bits, sizeof bits);
            bits &= INT64_MAX;
            wide = bits > wide ? bits : wide;
        }
    }
    float small;
    double large;
    memcpy(&small, &narrow, sizeof small);
    memcpy(&large, &wide, sizeof large);
    return x.type == NF_FLOAT32 ? (double)small : large;
}

bool nf_distance_may_overflow(nf_metric metric, nf_matrix x, nf_matrix y) {
    double largest = nf_largest_value(x), d = (double)x.cols;
    if (y.data != x.data || y.rows != x.rows || y.ld != x.ld) {
        largest = fmax(largest, nf_largest_value(y));
    }
    double limit = x.type == NF_FLOAT32 ? FLT_MAX : DBL_MAX, bound = 0;
    switch (metric) {
    case NF_EUCLIDEAN: bound = 2 * largest * sqrt(d); break;
    case NF_SQEUCLIDEAN: bound = 4 * largest * largest * d; break;
    case NF_COSINE: bound = 2; break;
    case NF_DOT: bound = largest * largest * d; break;
    case NF_CITYBLOCK: bound = 2 * largest * d; break;
    }
    return !(bound < limit / 4);
}

nf_status nf_distance_range_error(nf_context *context, nf_metric metric, nf_type type) {
    return nf_fail(context, NF_ERR_RANGE,
                   "a %s distance exceeds %s: %s, or set allow_nonfinite to get Inf",
                   nf_metric_name(metric), type == NF_FLOAT32 ? "float32 (3.4e38)" : "float64",
                   type == NF_FLOAT32 ? "pass float64" : "scale the data down");
}

/* ---- the run ---------------------------------------------------------------------------------- */

typedef struct nf_distance_run_state {
    const nf_distance_job *job;
    const nf_kernels *kernels;
    nf_family family;
    nf_transform transform;
    nf_type type, work; /* of the data and result; of the kernels */
    bool copy;          /* rows must be copied to become unit or wider */
    bool cosine, dry;
    double low, high;
    size_t d, row_block, col_block, row_chunk, row_chunks, col_blocks;
    size_t worker_bytes;
    unsigned char *scratch;
    atomic_bool out_of_range;
} nf_distance_run_state;

typedef struct nf_distance_scratch {
    unsigned char *panel, *y_rows, *x_rows, *tile, *narrow;
} nf_distance_scratch;

/* Lays out one worker's scratch from `base`; returns its size. */
static size_t layout(const nf_distance_run_state *run, unsigned char *base,
                     nf_distance_scratch *scratch) {
    size_t element = nf_type_size(run->work), used = 0;
    size_t copied = run->copy ? run->d * element : 0;
    size_t sizes[5] = {run->col_block * run->d * element, run->col_block * copied,
                       run->row_block * copied, run->row_block * run->col_block * element,
                       run->col_block * sizeof(float)};
    unsigned char **slots[5] = {&scratch->panel, &scratch->y_rows, &scratch->x_rows, &scratch->tile,
                                &scratch->narrow};
    for (int i = 0; i < 5; i++) {
        *slots[i] = base != NULL ? base + used : NULL;
        used += nf_round_up(sizes[i], NF_ALIGNMENT);
    }
    return used;
}

/* Rows [first, first + count) as the kernels take them. */
static const unsigned char *kernel_rows(const nf_distance_run_state *run, const nf_rows *rows,
                                        size_t first, size_t count, unsigned char *copy,
                                        size_t *ld) {
    if (!run->copy) {
        *ld = rows->x.ld;
        return nf_matrix_row(rows->x, first);
    }
    *ld = run->d;
    nf_rows_copy(rows, first, count, run->work, copy, run->d);
    return copy;
}

typedef struct nf_tile_place {
    size_t i, j, count; /* row i of x, rows [j, j + count) of y */
    const unsigned char *a, *b;
    size_t ldb_bytes;
} nf_tile_place;

/* Raw numbers of one row to distances, in place; pairs the tile could not hold are done over. */
static void finish_row(nf_distance_run_state *run, void *values, nf_tile_place place) {
    const nf_metric metric = run->job->options.metric;
    bool suspect = run->kernels->outside(values, place.count, run->low, run->high);
    if (!suspect) {
        run->kernels->distance(values, place.count, run->transform);
    } else {
        for (size_t c = 0; c < place.count; c++) {
            const unsigned char *b = place.b + c * place.ldb_bytes;
            double raw = nf_element_get(run->work, values, c);
            unsigned char *one = (unsigned char *)values + c * nf_type_size(run->work);
            bool trusted = (raw >= run->low && raw <= run->high) ||
                           (raw == 0 && nf_rows_equal(run->work, place.a, b, run->d));
            if (trusted) {
                run->kernels->distance(one, 1, run->transform);
            } else {
                nf_element_set(run->work, one, 0,
                               nf_exact_distance(metric, run->work, place.a, b, run->d));
            }
        }
    }
    if (!run->cosine || (run->job->x.zero_rows == 0 && run->job->y.zero_rows == 0)) return;
    for (size_t c = 0; c < place.count; c++) {
        bool itself = run->job->self && place.i == place.j + c;
        bool zero =
            nf_rows_is_zero(&run->job->x, place.i) || nf_rows_is_zero(&run->job->y, place.j + c);
        if (zero && !itself) nf_element_set(run->work, values, c, 1);
    }
}

static void deliver(nf_distance_run_state *run, void *values, nf_tile_place place, float *narrow) {
    const void *out = values;
    if (run->work != run->type) {
        for (size_t c = 0; c < place.count; c++) narrow[c] = (float)((const double *)values)[c];
        out = narrow;
    }
    if (run->dry) {
        for (size_t c = 0; c < place.count; c++) {
            if (isinf(nf_element_get(run->type, out, c))) atomic_store(&run->out_of_range, true);
        }
    } else {
        run->job->emit(run->job->user, place.i, place.j, place.count, out);
    }
}

static void distance_task(void *argument, size_t task, int worker) {
    nf_distance_run_state *run = argument;
    const nf_distance_job *job = run->job;
    size_t j = task / run->row_chunks * run->col_block;
    size_t start = task % run->row_chunks * run->row_chunk;
    size_t stop = nf_min_size(start + run->row_chunk, job->x.count);
    size_t cols = nf_min_size(run->col_block, job->y.count - j);
    if (job->upper && start + 1 >= j + cols) return;
    nf_distance_scratch scratch;
    layout(run, run->scratch + (size_t)worker * run->worker_bytes, &scratch);
    size_t element = nf_type_size(run->work), lda, ldb;
    const unsigned char *b = kernel_rows(run, &job->y, j, cols, scratch.y_rows, &ldb);
    run->kernels->pack(scratch.panel, b, ldb, cols, run->d);
    for (size_t i = start; i < stop; i += run->row_block) {
        size_t rows = nf_min_size(run->row_block, stop - i);
        const unsigned char *a = kernel_rows(run, &job->x, i, rows, scratch.x_rows, &lda);
        nf_raw_tile_run(&(nf_raw_tile){.kernels = run->kernels,
                                       .family = run->family,
                                       .d = run->d,
                                       .x = &job->x,
                                       .y = &job->y,
                                       .i = i,
                                       .j = j,
                                       .rows = rows,
                                       .cols = cols,
                                       .out = scratch.tile,
                                       .ldo = run->col_block,
                                       .a = a,
                                       .lda = lda,
                                       .panel = scratch.panel});
        for (size_t r = 0; r < rows; r++) {
            nf_tile_place place = {i + r, j, cols, a + r * lda * element, b, ldb * element};
            unsigned char *values = scratch.tile + r * run->col_block * element;
            finish_row(run, values, place);
            deliver(run, values, place, (float *)(void *)scratch.narrow);
        }
    }
}

static void choose_blocks(nf_distance_run_state *run) {
    size_t row_bytes = nf_max_size(run->d * nf_type_size(run->work), 1);
    size_t fit = nf_max_size(NF_BLOCK_BYTES / row_bytes, 1);
    run->row_block = nf_min_size(NF_ROW_BLOCK, fit);
    run->col_block = nf_pad(run->work, nf_min_size(NF_COLUMN_BLOCK, fit));
    double per_row = (double)run->col_block * (double)nf_max_size(run->d, 1);
    size_t chunk = (size_t)fmin(NF_TASK_WORK / per_row, 16.0 * NF_ROW_BLOCK);
    run->row_chunk = nf_max_size(chunk / run->row_block, 1) * run->row_block;
    run->row_chunks = (run->job->x.count + run->row_chunk - 1) / run->row_chunk;
    run->col_blocks = (run->job->y.count + run->col_block - 1) / run->col_block;
}

nf_status nf_distance_run(nf_context *context, nf_distance_job *job) {
    if (job->x.count == 0 || job->y.count == 0) return NF_OK;
    nf_metric metric = job->options.metric;
    nf_distance_run_state run = {.job = job,
                                 .family = nf_metric_family(metric),
                                 .transform = nf_metric_transform(metric),
                                 .type = job->x.x.type,
                                 .work = job->options.precise ? NF_FLOAT64 : job->x.x.type,
                                 .cosine = metric == NF_COSINE,
                                 .d = job->x.x.cols};
    run.kernels = nf_kernels_get(context, run.work);
    run.copy = run.work != run.type || job->x.inverse != NULL;
    nf_trusted_range(run.family, run.work, run.d, 1, &run.low, &run.high);
    atomic_init(&run.out_of_range, false);
    choose_blocks(&run);
    nf_distance_scratch unused;
    run.worker_bytes = layout(&run, NULL, &unused);
    nf_status status = nf_scratch(context, &run.scratch, (size_t)context->threads, run.worker_bytes,
                                  "distance tiles");
    if (status != NF_OK) return status;

    size_t tasks = run.row_chunks * run.col_blocks;
    double work = 2.0 * (double)job->x.count * (double)job->y.count * (double)run.d;
    bool check = !job->options.allow_nonfinite && job->x.inverse == NULL &&
                 nf_distance_may_overflow(metric, job->x.x, job->y.x);
    nf_progress_start(context, check ? 2 * tasks : tasks);
    if (check) {
        run.dry = true;
        status = nf_parallel(context, tasks, work > NF_WAKE_FLOPS, 1, distance_task, &run);
        if (status == NF_OK && atomic_load(&run.out_of_range)) {
            status = nf_distance_range_error(context, metric, run.type);
        }
        run.dry = false;
    }
    if (status == NF_OK) {
        status = nf_parallel(context, tasks, work > NF_WAKE_FLOPS, 1, distance_task, &run);
    }
    return status;
}
