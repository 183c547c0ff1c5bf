/* Lower bounds of distances from a few coordinates, which tell most rows to be too far away.
 *
 * With B of orthonormal rows, or any B that makes no vector longer, and c any point, let
 *
 *     f(a) = (B (a - c), sqrt(|a - c|^2 - |B (a - c)|^2)).
 *
 * Then |f(a) - f(b)| <= |a - b|: the first part of the difference is B (a - b), and the last number
 * is a seminorm s of a - c, with s(v)^2 = |v|^2 - |B v|^2 and |s(a - c) - s(b - c)| <= s(a - b). So a
 * pair whose images are farther apart than the k-th nearest row so far cannot be among the k
 * nearest. What rounding does to an image is bounded row by row (the slack), and added to what a
 * pair may differ by; nothing is ever dropped that might be wanted.
 *
 * Two such images are used: the coarse one of every pair, and the fine one, which begins with the
 * same directions, of those that are left. */
#ifndef NF_DISTANCE_FILTER_H
#define NF_DISTANCE_FILTER_H

#include "distance/tiles.h"

typedef struct nf_filter {
    const nf_kernels *kernels; /* of float32: images are, whatever the rows */
    size_t coarse, fine;       /* directions */
    size_t coarse_ld, fine_ld; /* numbers of an image: its directions and one, and padding */
    size_t d, ld;              /* columns, padded to whole lines */
    float *center;             /* (ld) */
    float *basis;              /* (fine, ld), and the same as panels of NF_FILTER_PART columns */
    float *panels;
    double least; /* slack of every row, at least: far above any underflow */
    unsigned char *scratch;
    size_t worker_bytes;
} nf_filter;

/* What projecting gives for `count` rows. */
typedef struct nf_images {
    float *coarse; /* (count, coarse_ld) */
    float *fine;   /* (count, fine_ld) */
    float *slack;  /* (count, 2): bounds of |image - f(a)|, coarse and fine */
} nf_images;

/* Find directions and see on a sample whether a filter pays for the k nearest references of each
 * query; *pays is false where it does not, and then the filter is not to be used. */
nf_status nf_filter_begin(nf_context *context, nf_filter *filter, const nf_distance_job *job,
                          size_t k, bool *pays) NF_MUST_USE;

/* Scratch of projecting, for the directions there are. */
nf_status nf_filter_reserve(nf_context *context, nf_filter *filter) NF_MUST_USE;

/* Images of rows [first, first + count); from workers. */
void nf_filter_project(const nf_filter *filter, const nf_rows *rows, size_t first, size_t count,
                       nf_images out, int worker);

/* The largest squared distance of coarse or fine images (`ld` numbers) at which a pair may have a
 * distance of `bar` or less, with the slacks of both rows. */
float nf_filter_limit(const nf_filter *filter, const nf_distance_job *job, double bar, double slack,
                      size_t ld);

#endif
