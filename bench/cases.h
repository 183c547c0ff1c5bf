/* What is measured. */
#ifndef NF_BENCH_CASES_H
#define NF_BENCH_CASES_H

#include "nearfar/nearfar.h"

typedef struct bench_case {
    const char *name;
    size_t n, d, classes;
    double spread; /* of the rows; classes lie a distance of some units apart when > 0 */
    double flops;  /* useful: 2 d a distance, 4 d more a pair with gradient */
    nf_status (*run)(nf_context *context, const struct bench_case *self, void *data);
    int fast; /* distances in Gram form */
} bench_case;

extern const bench_case bench_cases[];
extern const size_t bench_case_count;

/* Rows, labels and outputs of a case; NULL when out of memory. */
void *bench_data_make(const bench_case *self);
void bench_data_free(void *data);

#endif
