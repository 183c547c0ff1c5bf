/* Whether a filter pays, and with how many directions: seen on a sample of queries and references,
 * whose neighbours stand for those of all. Only time depends on what is chosen here. */
#include <float.h>
#include <math.h>

#include "base/sort.h"
#include "distance/basis.h"
#include "distance/filter.h"

#define NF_PLAN_REFERENCES 1024
#define NF_PLAN_QUERIES 64
#define NF_PLAN_COLUMNS 96       /* fewer do not pay */
#define NF_PLAN_LARGEST 0x1p40   /* of a value: no square overflows */
#define NF_PLAN_SMALLEST 0x1p-20 /* of a typical distance: no square underflows */
#define NF_PLAN_MORE 2    /* pairs a bound leaves while the k-th nearest is not yet final, times */
#define NF_PLAN_SHARE 0.6 /* of the time without, at most */

/* Time of one pair, in that of a product and sum in the tiles. */
#define NF_COST_TILE(d) ((double)(d) + 40)
#define NF_COST_FINE(d) (1.5 * (double)(d) + 200)
#define NF_COST_EXACT(d) (4 * (double)(d) + 400)

static const size_t coarse_choices[] = {15, 31, 63};
#define NF_CHOICES (sizeof coarse_choices / sizeof *coarse_choices)

/* Time of making the filter's images, and of finding directions, per pair. */
static double setup_cost(const nf_filter *filter, double n, double m) {
    const double rows = n + m + 8 * fmin(m, NF_PLAN_REFERENCES);
    return (double)filter->d * (double)filter->fine * rows / (n * m);
}

static bool worth_a_look(const nf_filter *filter, const nf_distance_job *job) {
    const nf_metric metric = job->options.metric;
    if (metric == NF_DOT || metric == NF_CITYBLOCK || job->options.precise) return false;
    if (job->options.allow_nonfinite || job->options.fast) return false;
    if (filter->d < NF_PLAN_COLUMNS || filter->d > UINT16_MAX) return false;
    return setup_cost(filter, (double)job->x.count, (double)job->y.count) <
           NF_PLAN_SHARE * NF_COST_TILE(filter->d) / 2;
}

/* ---- the sample ------------------------------------------------------------------------------- */

typedef struct plan_sample {
    size_t queries, references;
    float *row;  /* (references + queries, ld) centred */
    float *fine; /* (references + queries, fine_ld) images with most directions */
    double *norm2;
    float *distance2; /* (references, padded queries) */
    float *packed;
    double *sorted; /* (references) */
} plan_sample;

static size_t sampled(size_t count, size_t of, size_t s) {
    return (size_t)((double)s * (double)of / (double)count);
}

static nf_status take_sample(nf_context *context, nf_filter *filter, const nf_distance_job *job,
                             plan_sample *sample) {
    const size_t r = sample->references, all = r + sample->queries;
    double *row, *mean;
    nf_status status = nf_scratch(context, &sample->row, all * filter->ld, sizeof(float), "sample");
    if (status == NF_OK) status = nf_scratch(context, &row, 2 * filter->ld, sizeof *row, "sample");
    if (status != NF_OK) return status;
    mean = row + filter->ld;
    for (size_t k = 0; k < filter->ld; k++) mean[k] = 0;
    for (size_t s = 0; s < r; s++) {
        nf_rows_copy(&job->y, sampled(r, job->y.count, s), 1, NF_FLOAT64, row, filter->ld);
        for (size_t k = 0; k < filter->ld; k++) mean[k] += row[k] / (double)r;
    }
    for (size_t k = 0; k < filter->ld; k++) filter->center[k] = (float)mean[k];
    for (size_t s = 0; s < all; s++) {
        const nf_rows *rows = s < r ? &job->y : &job->x;
        size_t own =
            s < r ? sampled(r, rows->count, s) : sampled(sample->queries, rows->count, s - r);
        nf_rows_copy(rows, own, 1, NF_FLOAT64, row, filter->ld);
        float *out = sample->row + s * filter->ld;
        for (size_t k = 0; k < filter->ld; k++)
            out[k] = (float)(row[k] - (double)filter->center[k]);
    }
    return NF_OK;
}

/* Images, norms and all distances of the sample, near enough to judge by. */
static nf_status measure_sample(nf_context *context, const nf_filter *filter, plan_sample *sample) {
    const size_t r = sample->references, q = sample->queries, all = r + q;
    const size_t width = nf_pad(NF_FLOAT32, filter->fine), columns = nf_pad(NF_FLOAT32, q);
    nf_status status = nf_scratch(context, &sample->fine, all * width, sizeof(float), "sample");
    if (status == NF_OK)
        status = nf_scratch(context, &sample->norm2, all, sizeof(double), "sample");
    if (status == NF_OK) {
        status = nf_scratch(context, &sample->distance2, r * columns, sizeof(float), "sample");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &sample->packed, nf_max_size(width, columns) * filter->d,
                            sizeof(float), "sample");
    }
    if (status == NF_OK) status = nf_scratch(context, &sample->sorted, r, sizeof(double), "sample");
    if (status != NF_OK) return status;
    filter->kernels->pack(sample->packed, filter->basis, filter->ld, filter->fine, filter->d);
    filter->kernels->dot(sample->fine, width, sample->row, filter->ld, sample->packed, all,
                         filter->fine, filter->d);
    filter->kernels->pack(sample->packed, sample->row + r * filter->ld, filter->ld, q, filter->d);
    filter->kernels->sqdist(sample->distance2, columns, sample->row, filter->ld, sample->packed, r,
                            q, filter->d);
    for (size_t s = 0; s < all; s++) {
        sample->norm2[s] = 0;
        for (size_t k = 0; k < filter->ld; k++) {
            double value = (double)sample->row[s * filter->ld + k];
            sample->norm2[s] += value * value;
        }
    }
    return NF_OK;
}

typedef struct plan_counts {
    double left[NF_CHOICES], fine, all; /* pairs, and those a bound leaves */
} plan_counts;

/* Bounds of one pair, from few directions to all. */
static void count_pair(const nf_filter *filter, const plan_sample *sample, size_t query,
                       size_t reference, double bar, plan_counts *counts) {
    const size_t width = nf_pad(NF_FLOAT32, filter->fine), q = sample->references + query;
    const float *a = sample->fine + q * width, *b = sample->fine + reference * width;
    double sum = 0, rest_a = sample->norm2[q], rest_b = sample->norm2[reference];
    size_t k = 0;
    counts->all++;
    for (size_t choice = 0; choice <= NF_CHOICES; choice++) {
        const size_t stop = choice < NF_CHOICES ? coarse_choices[choice] : filter->fine;
        for (; k < stop && k < filter->fine; k++) {
            const double x = (double)a[k], y = (double)b[k];
            sum += (x - y) * (x - y);
            rest_a -= x * x;
            rest_b -= y * y;
        }
        const double rest = sqrt(fmax(rest_a, 0)) - sqrt(fmax(rest_b, 0));
        if (sum + rest * rest > bar) return; /* and so for more directions */
        *(choice < NF_CHOICES ? &counts->left[choice] : &counts->fine) += 1;
    }
}

static plan_counts count_sample(const nf_filter *filter, const nf_distance_job *job, size_t k,
                                const plan_sample *sample) {
    const size_t r = sample->references, columns = nf_pad(NF_FLOAT32, sample->queries);
    const size_t nearest = (size_t)((double)k * (double)r / (double)job->y.count);
    const size_t rank = nf_min_size(nearest + job->self, r - 1); /* a row itself is no neighbour */
    plan_counts counts = {{0}, 0, 0};
    for (size_t q = 0; q < sample->queries; q++) {
        const float *distance2 = sample->distance2 + q;
        for (size_t s = 0; s < r; s++) sample->sorted[s] = (double)distance2[s * columns];
        nf_sort_doubles(sample->sorted, r);
        for (size_t s = 0; s < r; s++) {
            count_pair(filter, sample, q, s, sample->sorted[rank], &counts);
        }
    }
    return counts;
}

/* The cheapest number of coarse directions; whether that is cheap enough. */
static bool choose(nf_filter *filter, const nf_distance_job *job, const plan_counts *counts) {
    const double wide = job->x.x.type == NF_FLOAT64 ? 2 : 1;
    const double dense = wide * NF_COST_TILE(filter->d);
    double best = INFINITY;
    const double fixed = setup_cost(filter, (double)job->x.count, (double)job->y.count) +
                         NF_PLAN_MORE * counts->fine / counts->all * NF_COST_EXACT(filter->d);
    for (size_t choice = 0; choice < NF_CHOICES; choice++) {
        if (coarse_choices[choice] >= filter->fine) break;
        double cost =
            fixed + NF_COST_TILE(coarse_choices[choice] + 1) +
            NF_PLAN_MORE * counts->left[choice] / counts->all * NF_COST_FINE(filter->fine);
        if (cost >= best) continue;
        best = cost;
        filter->coarse = coarse_choices[choice];
    }
    return best < NF_PLAN_SHARE * dense;
}

static bool sane(const plan_sample *sample, nf_filter *filter) {
    double sum = 0;
    for (size_t s = 0; s < sample->references; s++) sum += sample->norm2[s];
    const double typical = sqrt(sum / (double)sample->references);
    filter->least = typical * 0x1p-30;
    return typical >= NF_PLAN_SMALLEST && typical <= NF_PLAN_LARGEST;
}

/* ---- the filter ------------------------------------------------------------------------------- */

static nf_status look(nf_context *context, nf_filter *filter, const nf_distance_job *job, size_t k,
                      bool *pays) {
    plan_sample sample = {.queries = nf_min_size(NF_PLAN_QUERIES, job->x.count),
                          .references = nf_min_size(NF_PLAN_REFERENCES, job->y.count)};
    nf_status status = take_sample(context, filter, job, &sample);
    if (status == NF_OK) {
        status = nf_basis_make(context, sample.row, sample.references, filter->d, filter->ld,
                               filter->fine, filter->basis);
    }
    if (status == NF_OK) status = measure_sample(context, filter, &sample);
    if (status != NF_OK) return status;
    plan_counts counts = count_sample(filter, job, k, &sample);
    *pays = sane(&sample, filter) && choose(filter, job, &counts);
    return NF_OK;
}

nf_status nf_filter_begin(nf_context *context, nf_filter *filter, const nf_distance_job *job,
                          size_t k, bool *pays) {
    const size_t d = job->x.x.cols, quarter = nf_round_up(d / 4, nf_lanes(NF_FLOAT32));
    *filter = (nf_filter){.kernels = nf_kernels_get(context, NF_FLOAT32),
                          .d = d,
                          .ld = nf_pad(NF_FLOAT32, d),
                          .fine_ld = nf_min_size(nf_max_size(quarter, 32), 192)};
    filter->fine = filter->fine_ld - 1;
    *pays = false;
    if (!worth_a_look(filter, job)) return NF_OK;
    if (job->x.inverse == NULL && (nf_largest_value(job->x.x) > NF_PLAN_LARGEST ||
                                   nf_largest_value(job->y.x) > NF_PLAN_LARGEST)) {
        return NF_OK;
    }
    nf_status status =
        nf_scratch(context, &filter->center, filter->ld, sizeof(float), "center of the filter");
    if (status == NF_OK) {
        status = nf_scratch(context, &filter->basis, filter->fine * filter->ld, sizeof(float),
                            "directions of the filter");
    }
    if (status != NF_OK) return status;
    nf_scope scope = nf_scope_enter(context); /* the sample goes when all is decided */
    status = nf_scope_leave(context, scope, look(context, filter, job, k, pays));
    if (status != NF_OK || !*pays) return status;
    filter->coarse_ld = filter->coarse + 1;
    return nf_filter_reserve(context, filter);
}
