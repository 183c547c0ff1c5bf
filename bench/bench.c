/* nearfar_bench [--threads T] [--repeats R] [--case TEXT]: time the engine against the machine.
 *
 * Repeats are interleaved: every round runs each case once, and the ceiling before and after it, so
 * that a slow moment of the machine falls on all alike. One JSON line a case: median, smallest and
 * largest seconds, and for dense work the share of the ceiling reached (median of the ratios). The
 * ceiling is a register-only loop of multiply-adds on one core, times the threads. */
#include "cases.h"
#include "ceiling.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_REPEATS = 101 };

typedef struct series {
    double seconds[MAX_REPEATS], share[MAX_REPEATS];
} series;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* GFLOP/s of one core, a hundredth of a second or so. */
static double ceiling(const char *isa) {
    static float sink = 0; /* the program's only state: keeps the loop alive */
    size_t steps = 2000000;
    double start = now(), flops;
#if defined(__x86_64__)
    if (strcmp(isa, "avx512") == 0) {
        flops = ceiling_avx512(steps, &sink);
    } else if (strcmp(isa, "avx2") == 0) {
        flops = ceiling_avx2(steps, &sink);
    } else
#elif defined(__aarch64__)
    if (strcmp(isa, "neon") == 0) {
        flops = ceiling_neon(steps, &sink);
    } else
#endif
        flops = ceiling_scalar(steps / 20, &sink);
    return flops / (now() - start) * 1e-9;
}

/* One timing: short cases are run often enough to fill a hundredth of a second. */
static int measure(nf_context *context, const bench_case *self, void *data, double *seconds) {
    size_t times = 1;
    for (;;) {
        double start = now();
        for (size_t i = 0; i < times; i++) {
            if (self->run(context, self, data) != NF_OK) {
                fprintf(stderr, "%s: %s\n", self->name, nf_context_error(context)->message);
                return 1;
            }
        }
        double elapsed = now() - start;
        *seconds = elapsed / (double)times;
        if (elapsed > 0.01) return 0;
        times *= elapsed > 0.001 ? 12 : 100;
    }
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void report(nf_context *context, const bench_case *self, series *s, size_t repeats) {
    qsort(s->seconds, repeats, sizeof(double), compare);
    qsort(s->share, repeats, sizeof(double), compare);
    double median = s->seconds[repeats / 2];
    printf("{\"case\": \"%s\", \"n\": %zu, \"d\": %zu, \"threads\": %d, \"isa\": \"%s\", "
           "\"repeats\": %zu, \"median_s\": %.4g, \"min_s\": %.4g, \"max_s\": %.4g",
           self->name, self->n, self->d, nf_context_threads(context), nf_context_isa(context),
           repeats, median, s->seconds[0], s->seconds[repeats - 1]);
    if (self->flops > 0) {
        printf(", \"gflops\": %.4g, \"ceiling_share\": %.3f", self->flops / median * 1e-9,
               s->share[repeats / 2]);
    }
    printf("}\n");
}

static int run_all(nf_context *context, size_t repeats, const char *only) {
    series *all = calloc(bench_case_count, sizeof *all);
    void **data = calloc(bench_case_count, sizeof *data);
    int failed = all == NULL || data == NULL;
    for (size_t c = 0; c < bench_case_count && !failed; c++) {
        if (only != NULL && strstr(bench_cases[c].name, only) == NULL) continue;
        double warm_up;
        data[c] = bench_data_make(&bench_cases[c]);
        failed = data[c] == NULL || measure(context, &bench_cases[c], data[c], &warm_up);
    }
    for (size_t r = 0; r < repeats && !failed; r++) {
        fprintf(stderr, "round %zu of %zu\n", r + 1, repeats);
        for (size_t c = 0; c < bench_case_count && !failed; c++) {
            const bench_case *self = &bench_cases[c];
            if (data[c] == NULL) continue;
            double before = ceiling(nf_context_isa(context));
            failed = measure(context, self, data[c], &all[c].seconds[r]);
            double core = (before + ceiling(nf_context_isa(context))) / 2;
            double top = core * nf_context_threads(context);
            all[c].share[r] = self->flops / all[c].seconds[r] * 1e-9 / top;
        }
    }
    for (size_t c = 0; c < bench_case_count; c++) {
        if (data != NULL && data[c] != NULL && !failed) {
            report(context, &bench_cases[c], &all[c], repeats);
        }
        if (data != NULL) bench_data_free(data[c]);
    }
    free(data);
    free(all);
    return failed;
}

int main(int count, char **arguments) {
    nf_context_options options = {0};
    size_t repeats = 7;
    const char *only = NULL;
    for (int i = 1; i < count; i++) {
        const char *value = i + 1 < count ? arguments[i + 1] : NULL;
        if (value != NULL && strcmp(arguments[i], "--threads") == 0) {
            options.threads = atoi(value);
        } else if (value != NULL && strcmp(arguments[i], "--repeats") == 0) {
            repeats = (size_t)strtoul(value, NULL, 10);
        } else if (value != NULL && strcmp(arguments[i], "--case") == 0) {
            only = value;
        } else {
            fprintf(stderr, "usage: nearfar_bench [--threads T] [--repeats R] [--case TEXT]\n");
            return 2;
        }
        i++;
    }
    if (repeats < 1 || repeats > MAX_REPEATS) {
        fprintf(stderr, "--repeats must be from 1 to %d\n", MAX_REPEATS);
        return 2;
    }
    nf_context *context;
    nf_error error;
    if (nf_context_create(&context, &options, &error) != NF_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    if (nf_context_reserve(context, (size_t)8 << 20) != NF_OK) return 1;
    int failed = run_all(context, repeats, only);
    nf_context_free(context);
    return failed;
}
