#include "cases.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEIGHBOURS 10

/* Any generator will do: nothing but speed is looked at. */
static float next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(*state >> 40) * 0x1p-24f;
}

static void make_rows(const bench_case *self, bench_data *data) {
    uint64_t state = 1;
    float centers[128][8];
    for (size_t c = 0; c < 128; c++) {
        for (size_t k = 0; k < 8; k++) centers[c][k] = 8 * next_random(&state);
    }
    for (size_t r = 0; r < data->n; r++) {
        size_t label = (size_t)(next_random(&state) * (float)self->classes) % self->classes;
        data->labels[r] = (int64_t)label;
        for (size_t k = 0; k < data->d; k++) {
            float own = self->spread > 0 && k < 8 ? centers[label % 128][k] : 0;
            float width = self->spread > 0 ? (float)self->spread : 0.2f;
            data->x[r * data->d + k] = own + width * next_random(&state);
        }
    }
}

bench_data *bench_data_make(const bench_case *self, const bench_rows *rows) {
    bench_data *data = calloc(1, sizeof *data);
    if (data == NULL) return NULL;
    const bool given = self->group == BENCH_GIVEN, usual = self->group == BENCH_USUAL;
    nf_matrix x = {0};
    if (given) x = nf_array_view(rows->table->x);
    data->n = given ? x.rows : self->n;
    data->d = given ? x.cols : self->d;
    const size_t count = data->n * data->d;
    data->x = malloc(count * sizeof(float));
    data->labels = malloc(data->n * sizeof(int64_t));
    if (usual) {
        data->gradient = malloc(count * sizeof(float));
        data->index = malloc(data->n * NEIGHBOURS * sizeof(int64_t));
        data->distance = data->n <= 8192 ? malloc(data->n * data->n * sizeof(float)) : NULL;
    }
    if (data->x == NULL || data->labels == NULL ||
        (usual && (data->gradient == NULL || data->index == NULL))) {
        bench_data_free(data);
        return NULL;
    }
    if (given) {
        memcpy(data->x, x.data, count * sizeof(float));
        memcpy(data->labels, rows->labels->labels->data, data->n * sizeof(int64_t));
    } else {
        make_rows(self, data);
    }
    return data;
}

void bench_data_free(bench_data *data) {
    if (data == NULL) return;
    free(data->x);
    free(data->gradient);
    free(data->labels);
    free(data->index);
    free(data->distance);
    free(data);
}

int bench_rows_load(nf_context *context, const char *path, const char *labels, bench_rows *rows) {
    nf_status status = nf_table_load(context, path, NULL, &rows->table);
    if (status == NF_OK) status = nf_labels_load(context, labels, NULL, &rows->labels);
    if (status != NF_OK) {
        fprintf(stderr, "%s\n", nf_context_error(context)->message);
        return 1;
    }
    const nf_matrix x = nf_array_view(rows->table->x);
    if (x.type == NF_FLOAT32 && x.rows == rows->labels->labels->count) return 0;
    fprintf(stderr, "%s: float32 rows and as many labels are wanted\n", path);
    return 1;
}

void bench_rows_free(nf_context *context, bench_rows *rows) {
    nf_table_free(context, rows->table);
    nf_table_free(context, rows->labels);
}

/* ---- runs ------------------------------------------------------------------------------------- */

static nf_status loss(nf_context *context, const bench_case *self, bench_data *data,
                      bool gradient) {
    nf_loss weston = nf_loss_weston();
    weston.fast = self->fast;
    if (self->margin > 0) weston.neg_margin = self->margin;
    nf_matrix_out out = {0};
    float *own = NULL;
    if (gradient) {
        /* A large gradient is new each time, as most callers have it: memory counts there. */
        if (data->gradient == NULL) own = malloc(data->n * data->d * sizeof(float));
        out = nf_matrix_out_f32(own != NULL ? own : data->gradient, data->n, data->d);
    }
    nf_status status = nf_loss_batch(context, &weston, nf_matrix_f32(data->x, data->n, data->d),
                                     (nf_labels){data->labels, data->n, 0}, &data->result, out);
    free(own);
    return status;
}

static nf_status run_value(nf_context *context, const bench_case *self, bench_data *data) {
    return loss(context, self, data, false);
}

static nf_status run_gradient(nf_context *context, const bench_case *self, bench_data *data) {
    return loss(context, self, data, true);
}

static nf_status run_distances(nf_context *context, const bench_case *self, bench_data *data) {
    nf_matrix x = nf_matrix_f32(data->x, data->n, data->d);
    nf_distance_options options = nf_distance_defaults();
    options.fast = self->fast;
    return nf_distances_full(context, &options, x, x,
                             nf_matrix_out_f32(data->distance, data->n, data->n));
}

static nf_status run_knn(nf_context *context, const bench_case *self, bench_data *data) {
    (void)self;
    nf_matrix x = nf_matrix_f32(data->x, data->n, data->d);
    return nf_knn(context, NULL, x, x, NEIGHBOURS, 1, data->index, NULL);
}

double bench_flops(const bench_case *self, const bench_data *data) {
    const double n = (double)data->n;
    const bool square = self->run == run_distances || self->run == run_knn;
    return self->flops * (double)data->d * (square ? n * n : n * (n - 1) / 2);
}

/* ---- cases ------------------------------------------------------------------------------------ */

#define VALUE .flops = 2, .run = run_value
#define GRADIENT .flops = 6, .run = run_gradient
#define SKIPPING .flops = 0, .run = run_gradient
#define BEYOND_ALL \
    .margin = 1000 /* every pair of different labels has a weight: nothing is skipped */

const bench_case bench_cases[] = {
    {"loss+gradient", 16, 64, 4, 0, GRADIENT},
    {"loss+gradient", 64, 64, 8, 0, GRADIENT},
    {"loss+gradient", 64, 128, 8, 0, GRADIENT},
    {"loss+gradient", 256, 64, 8, 0, GRADIENT},
    {"loss+gradient", 4096, 128, 32, 0, GRADIENT},
    {"loss", 8192, 128, 64, 0, VALUE},
    {"loss+gradient", 8192, 128, 64, 0, GRADIENT},
    {"loss+gradient, separated classes", 20000, 64, 100, 0.05, SKIPPING},
    {"loss, fast", 8192, 128, 64, 0, VALUE, .fast = 1},
    {"loss+gradient, fast", 8192, 128, 64, 0, GRADIENT, .fast = 1},
    {"distances", 8192, 128, 1, 0, .flops = 2, .run = run_distances},
    {"distances, fast", 8192, 128, 1, 0, .flops = 2, .run = run_distances, .fast = 1},
    {"knn k=10", 20000, 64, 1, 0, .flops = 2, .run = run_knn},
    {"given rows", 0, 0, 0, 0, SKIPPING, .group = BENCH_GIVEN},
    {"given rows, dense", 0, 0, 0, 0, GRADIENT, BEYOND_ALL, .group = BENCH_GIVEN},
    {"separated, 100000 rows", 100000, 64, 100, 0.05, SKIPPING, .group = BENCH_LARGE},
    {"separated, 100000 rows, dense", 100000, 64, 100, 0.05, GRADIENT, BEYOND_ALL,
     .group = BENCH_LARGE},
    {"separated, 1000000 rows", 1000000, 64, 100, 0.05, SKIPPING, .group = BENCH_LARGE},
};

const size_t bench_case_count = sizeof bench_cases / sizeof bench_cases[0];
