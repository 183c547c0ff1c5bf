/* What is measured. */
#ifndef NF_BENCH_CASES_H
#define NF_BENCH_CASES_H

#include "nearfar/nearfar.h"

typedef enum bench_group {
    BENCH_USUAL,
    BENCH_LARGE, /* with --large only: seconds a call, and memory counts */
    BENCH_GIVEN  /* of the rows of --rows, whose n and d are theirs */
} bench_group;

/* Rows from files. */
typedef struct bench_rows {
    nf_table *table, *labels;
} bench_rows;

typedef struct bench_data {
    size_t n, d;
    float *x, *gradient, *distance;
    int64_t *labels, *index;
    nf_loss_result result; /* of the last loss */
} bench_data;

typedef struct bench_case {
    const char *name;
    size_t n, d, classes;
    double spread; /* of the rows; classes lie a distance of some units apart when > 0 */
    double flops;  /* useful ones a pair and column: 2 for a distance, 4 more with gradient; 0: some
                      work is skipped */
    nf_status (*run)(nf_context *context, const struct bench_case *self, bench_data *data);
    int fast;      /* distances in Gram form */
    double margin; /* 0: the preset's */
    bench_group group;
} bench_case;

extern const bench_case bench_cases[];
extern const size_t bench_case_count;

/* Useful flops of one run. */
double bench_flops(const bench_case *self, const bench_data *data);

/* Rows, labels and outputs of a case; NULL when out of memory. */
bench_data *bench_data_make(const bench_case *self, const bench_rows *rows);
void bench_data_free(bench_data *data);

/* Float32 rows and their labels; the message goes to standard error. */
int bench_rows_load(nf_context *context, const char *path, const char *labels, bench_rows *rows);
void bench_rows_free(nf_context *context, bench_rows *rows);

#endif
