/* Distances of a list of pairs: the same chains as the tiles, eight pairs at a time. */
#include "base/pool.h"
#include "distance/pair_list.h"
#include "distance/tiles.h"

#include <math.h>
#include <string.h>

#define NF_PAIR_CHUNK 1024 /* pairs of a task */

nf_status nf_check_indices(nf_context *context, const int64_t *index, size_t count, size_t rows,
                           const char *name, const char *matrix) {
    if (index == NULL && count > 0) {
        return nf_fail(context, NF_ERR_ARG, "%s is NULL: it must hold %zu indices", name, count);
    }
    for (size_t p = 0; p < count; p++) {
        if (index[p] < 0 || (uint64_t)index[p] >= rows) {
            return nf_fail(context, NF_ERR_ARG, "%s[%zu] is %lld: %s has rows 0 to %lld", name, p,
                           (long long)index[p], matrix, (long long)rows - 1);
        }
    }
    return NF_OK;
}

void nf_pair_distances_init(nf_context *context, nf_pair_distances *pairs, nf_metric metric,
                            nf_rows x, nf_rows y, bool precise) {
    *pairs = (nf_pair_distances){.x = x, .y = y, .metric = metric};
    pairs->family = nf_metric_family(metric);
    pairs->transform = nf_metric_transform(metric);
    pairs->type = precise ? NF_FLOAT64 : x.x.type;
    pairs->copy = pairs->type != x.x.type || x.inverse != NULL || y.inverse != NULL;
    pairs->kernels = nf_kernels_get(context, pairs->type);
    nf_trusted_range(pairs->family, pairs->type, x.x.cols, 1, &pairs->low, &pairs->high);
}

size_t nf_pair_distances_scratch(const nf_pair_distances *pairs) {
    if (!pairs->copy) return 0;
    return 2 * NF_PAIRS_AT_ONCE *
           nf_round_up(pairs->x.x.cols * nf_type_size(pairs->type), NF_ALIGNMENT);
}

void nf_pair_distances_of(const nf_pair_distances *pairs, const size_t *i, const size_t *j,
                          size_t count, void *scratch, double *out) {
    const void *a[NF_PAIRS_AT_ONCE], *b[NF_PAIRS_AT_ONCE];
    double raw[NF_PAIRS_AT_ONCE];
    const size_t d = pairs->x.x.cols;
    const size_t row = nf_round_up(d * nf_type_size(pairs->type), NF_ALIGNMENT);
    for (size_t p = 0; p < count; p++) {
        if (pairs->copy) {
            unsigned char *left = (unsigned char *)scratch + 2 * p * row;
            nf_rows_copy(&pairs->x, i[p], 1, pairs->type, left, d);
            nf_rows_copy(&pairs->y, j[p], 1, pairs->type, left + row, d);
            a[p] = left, b[p] = left + row;
        } else {
            a[p] = nf_matrix_row(pairs->x.x, i[p]);
            b[p] = nf_matrix_row(pairs->y.x, j[p]);
        }
    }
    nf_family_rows(pairs->kernels, pairs->family)(raw, a, b, count, d);
    for (size_t p = 0; p < count; p++) {
        bool f32 = pairs->type == NF_FLOAT32;
        float narrow = 0;
        if (f32) memcpy(&narrow, (const char *)raw + p * sizeof(float), sizeof narrow);
        double value = f32 ? (double)narrow : raw[p];
        bool trusted = (value >= pairs->low && value <= pairs->high) ||
                       (value == 0 && nf_rows_equal(pairs->type, a[p], b[p], d));
        if (!trusted) {
            out[p] = nf_exact_distance(pairs->metric, pairs->type, a[p], b[p], d);
        } else if (f32) {
            pairs->kernels->distance(&narrow, 1, pairs->transform);
            out[p] = (double)narrow;
        } else {
            pairs->kernels->distance(&value, 1, pairs->transform);
            out[p] = value;
        }
        if (pairs->metric == NF_COSINE &&
            (nf_rows_is_zero(&pairs->x, i[p]) || nf_rows_is_zero(&pairs->y, j[p]))) {
            bool itself = pairs->x.x.data == pairs->y.x.data && i[p] == j[p];
            out[p] = itself ? 0 : 1;
        }
    }
}

/* ---- the public form -------------------------------------------------------------------------- */

typedef struct nf_pair_list_job {
    nf_pair_distances pairs;
    const int64_t *i, *j;
    size_t count;
    nf_type type; /* of out */
    void *out;    /* NULL: only look for results beyond the type */
    size_t worker_bytes;
    unsigned char *scratch;
    atomic_bool out_of_range;
} nf_pair_list_job;

static void pair_task(void *argument, size_t task, int worker) {
    nf_pair_list_job *job = argument;
    size_t stop = nf_min_size((task + 1) * NF_PAIR_CHUNK, job->count);
    for (size_t p = task * NF_PAIR_CHUNK; p < stop; p += NF_PAIRS_AT_ONCE) {
        size_t width = nf_min_size(NF_PAIRS_AT_ONCE, stop - p);
        size_t i[NF_PAIRS_AT_ONCE], j[NF_PAIRS_AT_ONCE];
        double t[NF_PAIRS_AT_ONCE];
        for (size_t q = 0; q < width; q++)
            i[q] = (size_t)job->i[p + q], j[q] = (size_t)job->j[p + q];
        nf_pair_distances_of(&job->pairs, i, j, width,
                             job->scratch + (size_t)worker * job->worker_bytes, t);
        for (size_t q = 0; q < width; q++) {
            double value = job->type == NF_FLOAT32 ? (double)(float)t[q] : t[q];
            if (job->out == NULL) {
                if (isinf(value)) atomic_store(&job->out_of_range, true);
            } else if (job->type == NF_FLOAT32) {
                ((float *)job->out)[p + q] = (float)value;
            } else {
                ((double *)job->out)[p + q] = value;
            }
        }
    }
}

nf_status nf_distances_pairs(nf_context *context, const nf_distance_options *options, nf_matrix x,
                             nf_matrix y, const int64_t *i, const int64_t *j, size_t count,
                             void *out) {
    nf_scope scope = nf_scope_enter(context);
    nf_distance_job rows;
    nf_pair_list_job job = {.i = i, .j = j, .count = count, .type = x.type};
    nf_status status = nf_distance_prepare(context, options, x, y, &rows);
    if (status == NF_OK) status = nf_check_indices(context, i, count, x.rows, "i", "x");
    if (status == NF_OK) status = nf_check_indices(context, j, count, y.rows, "j", "y");
    if (status == NF_OK && out == NULL && count > 0) {
        status = nf_fail(context, NF_ERR_ARG, "out is NULL: it must hold %zu values", count);
    }
    if (status == NF_OK) {
        nf_matrix_out view = {out, x.type, 1, count, count};
        status = nf_check_overlap(context, view, "out", x, "x");
        if (status == NF_OK) status = nf_check_overlap(context, view, "out", y, "y");
    }
    if (status == NF_OK && count > 0) {
        nf_pair_distances_init(context, &job.pairs, rows.options.metric, rows.x, rows.y,
                               rows.options.precise);
        job.worker_bytes = nf_pair_distances_scratch(&job.pairs);
        atomic_init(&job.out_of_range, false);
        status = nf_scratch(context, &job.scratch, (size_t)context->threads, job.worker_bytes,
                            "pair rows");
    }
    if (status == NF_OK && count > 0) {
        size_t tasks = (count + NF_PAIR_CHUNK - 1) / NF_PAIR_CHUNK;
        bool wake = 2.0 * (double)count * (double)x.cols > NF_WAKE_FLOPS;
        bool check = !rows.options.allow_nonfinite && rows.x.inverse == NULL &&
                     nf_distance_may_overflow(rows.options.metric, x, y);
        nf_progress_start(context, check ? 2 * tasks : tasks);
        if (check) {
            status = nf_parallel(context, tasks, wake, 1, pair_task, &job);
            if (status == NF_OK && atomic_load(&job.out_of_range)) {
                status = nf_distance_range_error(context, rows.options.metric, x.type);
            }
        }
        job.out = out;
        if (status == NF_OK) status = nf_parallel(context, tasks, wake, 1, pair_task, &job);
    }
    return nf_scope_leave(context, scope, status);
}
