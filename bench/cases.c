#include "cases.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct bench_data {
    float *x, *gradient, *distance;
    int64_t *labels, *index;
} bench_data;

#define NEIGHBOURS 10

/* Any generator will do: nothing but speed is looked at. */
static float next_random(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (float)(*state >> 40) * 0x1p-24f;
}

void *bench_data_make(const bench_case *self) {
    bench_data *data = calloc(1, sizeof *data);
    const size_t count = self->n * self->d;
    if (data == NULL) return NULL;
    data->x = malloc(count * sizeof(float));
    data->gradient = malloc(count * sizeof(float));
    data->labels = malloc(self->n * sizeof(int64_t));
    data->index = malloc(self->n * NEIGHBOURS * sizeof(int64_t));
    data->distance = self->n <= 8192 ? malloc(self->n * self->n * sizeof(float)) : NULL;
    if (data->x == NULL || data->gradient == NULL || data->labels == NULL || data->index == NULL) {
        bench_data_free(data);
        return NULL;
    }
    uint64_t state = 1;
    float centers[128][8];
    for (size_t c = 0; c < 128; c++) {
        for (size_t k = 0; k < 8; k++) centers[c][k] = 8 * next_random(&state);
    }
    for (size_t r = 0; r < self->n; r++) {
        size_t label = (size_t)(next_random(&state) * (float)self->classes) % self->classes;
        data->labels[r] = (int64_t)label;
        for (size_t k = 0; k < self->d; k++) {
            float own = self->spread > 0 && k < 8 ? centers[label % 128][k] : 0;
            float width = self->spread > 0 ? (float)self->spread : 0.2f;
            data->x[r * self->d + k] = own + width * next_random(&state);
        }
    }
    return data;
}

void bench_data_free(void *memory) {
    bench_data *data = memory;
    if (data == NULL) return;
    free(data->x);
    free(data->gradient);
    free(data->labels);
    free(data->index);
    free(data->distance);
    free(data);
}

static nf_status loss(nf_context *context, const bench_case *self, bench_data *data,
                      bool gradient) {
    nf_loss weston = nf_loss_weston();
    weston.fast = self->fast;
    nf_loss_result result;
    nf_matrix_out out = {0};
    if (gradient) out = nf_matrix_out_f32(data->gradient, self->n, self->d);
    return nf_loss_batch(context, &weston, nf_matrix_f32(data->x, self->n, self->d),
                         (nf_labels){data->labels, self->n, 0}, &result, out);
}

static nf_status run_value(nf_context *context, const bench_case *self, void *data) {
    return loss(context, self, data, false);
}

static nf_status run_gradient(nf_context *context, const bench_case *self, void *data) {
    return loss(context, self, data, true);
}

static nf_status run_distances(nf_context *context, const bench_case *self, void *memory) {
    bench_data *data = memory;
    nf_matrix x = nf_matrix_f32(data->x, self->n, self->d);
    nf_distance_options options = nf_distance_defaults();
    options.fast = self->fast;
    return nf_distances_full(context, &options, x, x,
                             nf_matrix_out_f32(data->distance, self->n, self->n));
}

static nf_status run_knn(nf_context *context, const bench_case *self, void *memory) {
    bench_data *data = memory;
    nf_matrix x = nf_matrix_f32(data->x, self->n, self->d);
    return nf_knn(context, NULL, x, x, NEIGHBOURS, 1, data->index, NULL);
}

#define PAIRS(n) ((double)(n) * ((n)-1) / 2)
#define VALUE(n, d) (2.0 * (d)*PAIRS(n))
#define GRADIENT(n, d) (6.0 * (d)*PAIRS(n))
#define SQUARE(n, d) (2.0 * (d) * (n) * (n))

const bench_case bench_cases[] = {
    {"loss+gradient", 16, 64, 4, 0, GRADIENT(16, 64), run_gradient, 0},
    {"loss+gradient", 64, 64, 8, 0, GRADIENT(64, 64), run_gradient, 0},
    {"loss+gradient", 64, 128, 8, 0, GRADIENT(64, 128), run_gradient, 0},
    {"loss+gradient", 256, 64, 8, 0, GRADIENT(256, 64), run_gradient, 0},
    {"loss+gradient", 4096, 128, 32, 0, GRADIENT(4096, 128), run_gradient, 0},
    {"loss", 8192, 128, 64, 0, VALUE(8192, 128), run_value, 0},
    {"loss+gradient", 8192, 128, 64, 0, GRADIENT(8192, 128), run_gradient, 0},
    {"loss+gradient, separated classes", 20000, 64, 100, 0.05, 0, run_gradient, 0},
    {"loss, fast", 8192, 128, 64, 0, VALUE(8192, 128), run_value, 1},
    {"loss+gradient, fast", 8192, 128, 64, 0, GRADIENT(8192, 128), run_gradient, 1},
    {"distances", 8192, 128, 1, 0, SQUARE(8192, 128), run_distances, 0},
    {"distances, fast", 8192, 128, 1, 0, SQUARE(8192, 128), run_distances, 1},
    {"knn k=10", 20000, 64, 1, 0, SQUARE(20000, 64), run_knn, 0},
};

const size_t bench_case_count = sizeof bench_cases / sizeof bench_cases[0];
