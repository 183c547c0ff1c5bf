/* Sorting without allocation (the C library's qsort may call malloc). */
#ifndef NF_BASE_SORT_H
#define NF_BASE_SORT_H

#include <stddef.h>

/* Ascending heapsort; no NaN. */
void nf_sort_doubles(double *values, size_t count);

#endif
