/* Orthogonal iteration: B <- orthonormal rows of (S B')' S, a few times, from random signs. How near
 * it comes to the principal directions is a matter of speed only; that no vector gets longer is
 * checked at the end. */
#include "distance/basis.h"

#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "base/random.h"

#define NF_BASIS_ROUNDS 4
#define NF_BASIS_LINES 4     /* of columns in a task */
#define NF_BASIS_ROWS 64     /* of the sample in a task */
#define NF_BASIS_PIVOT 1e-13 /* of the largest square, above what rounding leaves */

typedef struct basis_run {
    const nf_kernels *kernels;
    const float *sample;
    size_t rows, d, ld, count, weight_ld;
    float *basis;
    float *packed;  /* basis as a panel */
    uint32_t *all;  /* (rows) their numbers */
    float *weight;  /* (rows, weight_ld) products of sample and basis */
    double *gram;   /* (count, count) lower half: products of the basis, then its Cholesky factor */
    double *column; /* (tasks of columns, count, columns of a task) */
} basis_run;

static size_t columns_of_task(void) { return NF_BASIS_LINES * nf_lanes(NF_FLOAT32); }

static void weight_task(void *argument, size_t task, int worker) {
    const basis_run *run = argument;
    const size_t first = task * NF_BASIS_ROWS;
    (void)worker;
    run->kernels->dot(run->weight + first * run->weight_ld, run->weight_ld,
                      run->sample + first * run->ld, run->ld, run->packed,
                      nf_min_size(NF_BASIS_ROWS, run->rows - first), run->count, run->d);
}

static void combine_task(void *argument, size_t task, int worker) {
    const basis_run *run = argument;
    const size_t first = task * columns_of_task();
    const size_t width = nf_min_size(columns_of_task(), run->ld - first);
    (void)worker;
    for (size_t i = 0; i < run->count; i++) {
        memset(run->basis + i * run->ld + first, 0, width * sizeof *run->basis);
    }
    run->kernels->add_product(run->basis + first, run->ld, run->weight, 1, run->weight_ld, NULL, 0,
                              run->sample + first, run->ld, run->all, run->count, run->rows, width);
}

/* In lanes, which a compiler may keep in registers. */
static double product(const float *a, const float *b, size_t count) {
    double lane[8] = {0}, sum = 0;
    for (size_t k = 0; k < count; k += 8) { /* count is whole lines */
        for (size_t l = 0; l < 8; l++) lane[l] += (double)a[k + l] * (double)b[k + l];
    }
    for (size_t l = 0; l < 8; l++) sum += lane[l];
    return sum;
}

static void gram_task(void *argument, size_t i, int worker) {
    const basis_run *run = argument;
    (void)worker;
    for (size_t j = 0; j <= i; j++) {
        run->gram[i * run->count + j] =
            product(run->basis + i * run->ld, run->basis + j * run->ld, run->ld);
    }
}

/* In place; a row that depends on those before it gets a diagonal of 0. */
static void factor(double *gram, size_t count) {
    double largest = 0;
    for (size_t i = 0; i < count; i++) largest = fmax(largest, gram[i * count + i]);
    for (size_t i = 0; i < count; i++) {
        double *row = gram + i * count;
        for (size_t j = 0; j <= i; j++) {
            const double *other = gram + j * count;
            double sum = row[j];
            for (size_t k = 0; k < j; k++) sum -= row[k] * other[k];
            if (j < i) {
                row[j] = other[j] > 0 ? sum / other[j] : 0;
            } else {
                row[j] = sum > NF_BASIS_PIVOT * largest ? sqrt(sum) : 0;
            }
        }
    }
}

/* Rows of the basis to the inverse of the factor times them, for some columns. */
static void solve_task(void *argument, size_t task, int worker) {
    const basis_run *run = argument;
    const size_t first = task * columns_of_task();
    const size_t width = nf_min_size(columns_of_task(), run->ld - first);
    double *solved = run->column + task * run->count * columns_of_task();
    (void)worker;
    for (size_t i = 0; i < run->count; i++) {
        const double *row = run->gram + i * run->count;
        float *line = run->basis + i * run->ld + first;
        double *own = solved + i * columns_of_task();
        for (size_t c = 0; c < width; c++) own[c] = (double)line[c];
        for (size_t j = 0; j < i; j++) {
            const double factor_ij = row[j], *other = solved + j * columns_of_task();
            for (size_t c = 0; c < width; c++) own[c] -= factor_ij * other[c];
        }
        const double scale = row[i] > 0 ? 1 / row[i] : 0;
        for (size_t c = 0; c < width; c++) {
            own[c] *= scale;
            line[c] = (float)own[c];
        }
    }
}

static size_t column_tasks(const basis_run *run) {
    return (run->ld + columns_of_task() - 1) / columns_of_task();
}

static nf_status make_orthonormal(nf_context *context, basis_run *run) {
    nf_status status = nf_parallel(context, run->count, true, 0, gram_task, run);
    if (status != NF_OK) return status;
    factor(run->gram, run->count);
    return nf_parallel(context, column_tasks(run), true, 0, solve_task, run);
}

static nf_status make_scratch(nf_context *context, basis_run *run) {
    const size_t padded = nf_pad(NF_FLOAT32, run->count);
    nf_status status =
        nf_scratch(context, &run->packed, padded * run->d, sizeof *run->packed, "directions");
    if (status == NF_OK) {
        status = nf_scratch(context, &run->weight, run->rows * run->weight_ld, sizeof *run->weight,
                            "sample of rows");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &run->all, run->rows, sizeof *run->all, "sample of rows");
    }
    for (size_t r = 0; r < run->rows && status == NF_OK; r++) run->all[r] = (uint32_t)r;
    if (status == NF_OK) {
        status = nf_scratch(context, &run->gram, run->count * run->count, sizeof *run->gram,
                            "directions");
    }
    if (status == NF_OK) {
        status =
            nf_scratch(context, &run->column, column_tasks(run) * columns_of_task() * run->count,
                       sizeof *run->column, "directions");
    }
    return status;
}

/* The largest eigenvalue of B B' is at most the largest sum of a row's magnitudes. Orthonormal rows
 * are a little shorter than 1 here; if rounding has spoilt them, there are none. */
static nf_status shorten(nf_context *context, basis_run *run) {
    for (size_t c = 0; c < run->count * run->ld; c++) run->basis[c] *= 1 - 0x1p-12F;
    nf_status status = nf_parallel(context, run->count, true, 0, gram_task, run);
    if (status != NF_OK) return status;
    double largest = 0;
    for (size_t i = 0; i < run->count; i++) {
        double sum = 0;
        for (size_t j = 0; j < run->count; j++) {
            sum += fabs(run->gram[nf_max_size(i, j) * run->count + nf_min_size(i, j)]);
        }
        largest = fmax(largest, sum);
    }
    if (!(largest <= 1 - 0x1p-20)) {
        memset(run->basis, 0, run->count * run->ld * sizeof *run->basis);
    }
    return NF_OK;
}

nf_status nf_basis_make(nf_context *context, const float *sample, size_t rows, size_t d, size_t ld,
                        size_t count, float *basis) {
    basis_run run = {.kernels = nf_kernels_get(context, NF_FLOAT32),
                     .sample = sample,
                     .rows = rows,
                     .d = d,
                     .ld = ld,
                     .count = count,
                     .weight_ld = nf_pad(NF_FLOAT32, count),
                     .basis = basis};
    nf_status status = make_scratch(context, &run);
    const size_t row_tasks = (rows + NF_BASIS_ROWS - 1) / NF_BASIS_ROWS;
    for (int round = 0; round < NF_BASIS_ROUNDS && status == NF_OK; round++) {
        if (round == 0) {
            for (size_t w = 0; w < rows * run.weight_ld; w++) {
                run.weight[w] = nf_random(1, 1, w) & 1 ? 1 : -1;
            }
        } else {
            run.kernels->pack(run.packed, basis, ld, count, d);
            status = nf_parallel(context, row_tasks, true, 0, weight_task, &run);
        }
        if (status == NF_OK) {
            status = nf_parallel(context, column_tasks(&run), true, 0, combine_task, &run);
        }
        if (status == NF_OK) status = make_orthonormal(context, &run);
    }
    if (status == NF_OK) status = make_orthonormal(context, &run); /* twice is enough */
    if (status == NF_OK) status = shorten(context, &run);
    return status;
}
