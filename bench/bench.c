/* nearfar_bench [--threads T] [--repeats R] [--case TEXT] [--large] [--rows FILE --labels FILE]: time the
 * engine against the machine.
 *
 * Repeats are interleaved: every round runs each case once, and the ceiling before and after it, so
 * that a slow moment of the machine falls on all alike. One JSON line a case: median, smallest and
 * largest seconds, and for dense work the share of the ceiling reached (median of the ratios). The
 * ceiling is a register-only loop of multiply-adds on one core, times the threads. Losses also give the
 * shares of tiles and updates that were skipped, large cases the peak of the process' resident memory. */
#include "cases.h"
#include "ceiling.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
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
static int measure(nf_context *context, const bench_case *self, bench_data *data, double *seconds) {
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

static double share(uint64_t part, uint64_t whole) {
    return whole > 0 ? (double)part / (double)whole : 0;
}

static void report(nf_context *context, const bench_case *self, const bench_data *data, series *s,
                   size_t repeats) {
    qsort(s->seconds, repeats, sizeof(double), compare);
    qsort(s->share, repeats, sizeof(double), compare);
    const double median = s->seconds[repeats / 2], flops = bench_flops(self, data);
    const nf_loss_result *result = &data->result;
    printf("{\"case\": \"%s\", \"n\": %zu, \"d\": %zu, \"threads\": %d, \"isa\": \"%s\", "
           "\"repeats\": %zu, \"median_s\": %.4g, \"min_s\": %.4g, \"max_s\": %.4g",
           self->name, data->n, data->d, nf_context_threads(context), nf_context_isa(context),
           repeats, median, s->seconds[0], s->seconds[repeats - 1]);
    if (flops > 0) {
        printf(", \"gflops\": %.4g, \"ceiling_share\": %.3f", flops / median * 1e-9,
               s->share[repeats / 2]);
    }
    if (result->tiles_total > 0) {
        printf(", \"tiles_skipped\": %.4f, \"updates_skipped\": %.4f",
               share(result->tiles_skipped, result->tiles_total),
               share(result->updates_skipped, result->updates_total));
    }
    struct rusage usage;
    if (self->group != BENCH_USUAL && getrusage(RUSAGE_SELF, &usage) == 0) {
        printf(", \"peak_mb\": %.0f", (double)usage.ru_maxrss * 1024e-6);
    }
    printf("}\n");
}

typedef struct bench_plan {
    size_t repeats;
    const char *only, *rows, *labels;
    int large;
} bench_plan;

static int is_wanted(const bench_plan *plan, const bench_case *self) {
    if (self->group == BENCH_LARGE && !plan->large) return 0;
    if ((self->group == BENCH_GIVEN) != (plan->rows != NULL)) return 0;
    return plan->only == NULL || strstr(self->name, plan->only) != NULL;
}

static int run_all(nf_context *context, const bench_plan *plan, const bench_rows *rows) {
    series *all = calloc(bench_case_count, sizeof *all);
    bench_data **data = calloc(bench_case_count, sizeof *data);
    int failed = all == NULL || data == NULL;
    for (size_t c = 0; c < bench_case_count && !failed; c++) {
        if (!is_wanted(plan, &bench_cases[c])) continue;
        double warm_up;
        data[c] = bench_data_make(&bench_cases[c], rows);
        failed = data[c] == NULL || measure(context, &bench_cases[c], data[c], &warm_up);
    }
    for (size_t r = 0; r < plan->repeats && !failed; r++) {
        fprintf(stderr, "round %zu of %zu\n", r + 1, plan->repeats);
        for (size_t c = 0; c < bench_case_count && !failed; c++) {
            const bench_case *self = &bench_cases[c];
            if (data[c] == NULL) continue;
            double before = ceiling(nf_context_isa(context));
            failed = measure(context, self, data[c], &all[c].seconds[r]);
            double core = (before + ceiling(nf_context_isa(context))) / 2;
            double top = core * nf_context_threads(context);
            all[c].share[r] = bench_flops(self, data[c]) / all[c].seconds[r] * 1e-9 / top;
        }
    }
    for (size_t c = 0; c < bench_case_count; c++) {
        if (data != NULL && data[c] != NULL && !failed) {
            report(context, &bench_cases[c], data[c], &all[c], plan->repeats);
        }
        if (data != NULL) bench_data_free(data[c]);
    }
    free(data);
    free(all);
    return failed;
}

static int usage(void) {
    fprintf(stderr, "usage: nearfar_bench [--threads T] [--repeats R] [--case TEXT] [--large] "
                    "[--rows FILE --labels FILE]\n");
    return 2;
}

static int read_plan(int count, char **arguments, nf_context_options *options, bench_plan *plan) {
    for (int i = 1; i < count; i++) {
        if (strcmp(arguments[i], "--large") == 0) {
            plan->large = 1;
            continue;
        }
        const char *value = i + 1 < count ? arguments[i + 1] : NULL;
        if (value != NULL && strcmp(arguments[i], "--threads") == 0) {
            options->threads = atoi(value);
        } else if (value != NULL && strcmp(arguments[i], "--repeats") == 0) {
            plan->repeats = (size_t)strtoul(value, NULL, 10);
        } else if (value != NULL && strcmp(arguments[i], "--case") == 0) {
            plan->only = value;
        } else if (value != NULL && strcmp(arguments[i], "--rows") == 0) {
            plan->rows = value;
        } else if (value != NULL && strcmp(arguments[i], "--labels") == 0) {
            plan->labels = value;
        } else {
            return usage();
        }
        i++;
    }
    if ((plan->rows == NULL) != (plan->labels == NULL)) return usage();
    if (plan->repeats >= 1 && plan->repeats <= MAX_REPEATS) return 0;
    fprintf(stderr, "--repeats must be from 1 to %d\n", MAX_REPEATS);
    return 2;
}

int main(int count, char **arguments) {
    nf_context_options options = {0};
    bench_plan plan = {.repeats = 7};
    int code = read_plan(count, arguments, &options, &plan);
    if (code != 0) return code;
    nf_context *context;
    nf_error error;
    if (nf_context_create(&context, &options, &error) != NF_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    bench_rows rows = {0};
    int failed = nf_context_reserve(context, (size_t)8 << 20) != NF_OK;
    if (!failed && plan.rows != NULL) {
        failed = bench_rows_load(context, plan.rows, plan.labels, &rows);
    }
    if (!failed) failed = run_all(context, &plan, &rows);
    bench_rows_free(context, &rows);
    nf_context_free(context);
    return failed;
}
