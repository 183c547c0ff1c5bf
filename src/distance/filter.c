#include "distance/filter.h"

#include <float.h>
#include <math.h>
#include <string.h>

#define NF_FILTER_PART 128 /* columns of one chain: short ones round less */
#define NF_FILTER_ROWS 64  /* projected together */

/* ---- projecting ------------------------------------------------------------------------------- */

typedef struct project_scratch {
    float *centered; /* (rows, ld) */
    double *row;     /* (ld) */
    float *part;     /* (rows, fine padded) products over some columns */
    float *sum;      /* (rows, fine padded) */
} project_scratch;

static size_t padded_fine(const nf_filter *filter) { return nf_pad(NF_FLOAT32, filter->fine); }

static size_t layout(const nf_filter *filter, unsigned char *base, project_scratch *scratch) {
    const size_t products = NF_FILTER_ROWS * padded_fine(filter) * sizeof(float);
    const size_t sizes[4] = {NF_FILTER_ROWS * filter->ld * sizeof(float),
                             filter->ld * sizeof(double), products, products};
    unsigned char *slots[4];
    size_t used = 0;
    for (int s = 0; s < 4; s++) {
        slots[s] = base != NULL ? base + used : NULL;
        used += nf_round_up(sizes[s], NF_ALIGNMENT);
    }
    *scratch =
        (project_scratch){(void *)slots[0], (void *)slots[1], (void *)slots[2], (void *)slots[3]};
    return used;
}

/* (a - c) of one row, rounded to float32, and zeros to whole lines. */
static void center_row(const nf_filter *filter, const nf_rows *rows, size_t r, double *wide,
                       float *out) {
    if (rows->x.type == NF_FLOAT32) {
        nf_rows_copy(rows, r, 1, NF_FLOAT32, out, filter->ld);
        for (size_t k = 0; k < filter->d; k++) out[k] -= filter->center[k];
        return;
    }
    nf_rows_copy(rows, r, 1, NF_FLOAT64, wide, filter->ld);
    for (size_t k = 0; k < filter->ld; k++) out[k] = (float)(wide[k] - (double)filter->center[k]);
}

static double square_sum(const float *a, size_t count) {
    double lane[8] = {0}, sum = 0;
    size_t k = 0;
    for (; k + 8 <= count; k += 8) {
        for (size_t l = 0; l < 8; l++) lane[l] += (double)a[k + l] * (double)a[k + l];
    }
    for (; k < count; k++) sum += (double)a[k] * (double)a[k];
    for (size_t l = 0; l < 8; l++) sum += lane[l];
    return sum;
}

/* The last number of an image, and a bound of its error when `error` is that of the product. */
static double remainder_of(double norm2, double product2, double error, double *remainder_error) {
    const double norm = sqrt(norm2), square = fmax(norm2 - product2, 0);
    const double eta = error * (2 * norm + error) + 1e-12 * norm2;
    const double remainder = sqrt(square);
    *remainder_error = sqrt(eta);
    if (remainder > 0) *remainder_error = fmin(*remainder_error, eta / remainder);
    *remainder_error += FLT_EPSILON * remainder;
    return remainder;
}

/* Bound of |computed - B v| over `count` directions of length at most 1, relative to |v|: chains of
 * NF_FILTER_PART products and a sum of the chains, with the rounding of v itself. */
static double product_error(const nf_filter *filter, size_t count) {
    const double chains = ceil((double)filter->d / NF_FILTER_PART);
    const double steps = NF_FILTER_PART + chains + 4, unit = FLT_EPSILON / 2;
    return steps * unit * (1 + 1e-3) * sqrt((double)count) + 2 * unit;
}

static void finish_image(const nf_filter *filter, double norm2, const float *product, float *coarse,
                         float *fine, float slack[2]) {
    const double norm = sqrt(norm2);
    const size_t counts[2] = {filter->coarse, filter->fine};
    float *image[2] = {coarse, fine};
    for (int side = 0; side < 2; side++) {
        const double error = product_error(filter, counts[side]) * norm;
        double remainder_error;
        memcpy(image[side], product, counts[side] * sizeof *product);
        image[side][counts[side]] =
            (float)remainder_of(norm2, square_sum(product, counts[side]), error, &remainder_error);
        slack[side] = (float)((error + remainder_error + filter->least) * (1 + 1e-6));
    }
    for (size_t k = filter->fine + 1; k < filter->fine_ld; k++) fine[k] = 0;
}

static void multiply(const nf_filter *filter, const project_scratch *scratch, size_t rows) {
    const size_t width = padded_fine(filter);
    for (size_t first = 0; first < filter->d; first += NF_FILTER_PART) {
        const size_t columns = nf_min_size(NF_FILTER_PART, filter->d - first);
        float *out = first == 0 ? scratch->sum : scratch->part;
        filter->kernels->dot(out, width, scratch->centered + first, filter->ld,
                             filter->panels + first * width, rows, filter->fine, columns);
        for (size_t p = 0; first > 0 && p < rows * width; p++) scratch->sum[p] += scratch->part[p];
    }
}

void nf_filter_project(const nf_filter *filter, const nf_rows *rows, size_t first, size_t count,
                       nf_images out, int worker) {
    project_scratch scratch;
    layout(filter, filter->scratch + (size_t)worker * filter->worker_bytes, &scratch);
    for (size_t start = 0; start < count; start += NF_FILTER_ROWS) {
        const size_t some = nf_min_size(NF_FILTER_ROWS, count - start);
        for (size_t r = 0; r < some; r++) {
            center_row(filter, rows, first + start + r, scratch.row,
                       scratch.centered + r * filter->ld);
        }
        multiply(filter, &scratch, some);
        for (size_t r = 0; r < some; r++) {
            finish_image(filter, square_sum(scratch.centered + r * filter->ld, filter->d),
                         scratch.sum + r * padded_fine(filter),
                         out.coarse + (start + r) * filter->coarse_ld,
                         out.fine + (start + r) * filter->fine_ld, out.slack + (start + r) * 2);
        }
    }
}

float nf_filter_limit(const nf_filter *filter, const nf_distance_job *job, double bar, double slack,
                      size_t ld) {
    const nf_metric metric = job->options.metric;
    const double unit = job->x.x.type == NF_FLOAT32 ? FLT_EPSILON : DBL_EPSILON;
    if (!(bar < FLT_MAX)) return INFINITY;
    double upper = bar * (1 + ((double)filter->d + 8) * unit); /* of the true distance */
    if (metric == NF_COSINE) upper *= 2;
    if (metric != NF_EUCLIDEAN) upper = sqrt(upper);
    upper = (upper + slack) * (1 + 1e-9);
    const double square = upper * upper * (1 + ((double)ld + 8) * FLT_EPSILON);
    return square < FLT_MAX ? (float)square : INFINITY;
}

nf_status nf_filter_reserve(nf_context *context, nf_filter *filter) {
    const size_t width = padded_fine(filter);
    project_scratch unused;
    filter->worker_bytes = layout(filter, NULL, &unused);
    nf_status status = nf_scratch(context, &filter->scratch, (size_t)context->threads,
                                  filter->worker_bytes, "images of rows");
    if (status == NF_OK) {
        status = nf_scratch(context, &filter->panels, width * filter->d, sizeof(float),
                            "directions of the filter");
    }
    if (status != NF_OK) return status;
    for (size_t first = 0; first < filter->d; first += NF_FILTER_PART) {
        filter->kernels->pack(filter->panels + first * width, filter->basis + first, filter->ld,
                              filter->fine, nf_min_size(NF_FILTER_PART, filter->d - first));
    }
    return NF_OK;
}
