/* The engine of losses that are more than a sum of separable terms: every block of rows against every
 * block of columns, distances first, then a strip function that either gathers statistics of the
 * rows or leaves the derivative of the loss with respect to each distance, then the gradient of the
 * rows.
 *
 * Spans of blocks meet as loss/schedule.h has it, so the bits do not depend on the number of threads.
 * A loss whose pairs count from both ends takes every pair twice, once from each row; or, with `once`,
 * a block takes part in one meeting and both ends are done there. Memory is O(n d), nothing is
 * n x n. */
#ifndef NF_LOSS_STRIP_H
#define NF_LOSS_STRIP_H

#include "loss/bounds.h"
#include "loss/strip_set.h"

/* Rows [i, i + rows) against columns [j, j + cols). */
typedef struct nf_strip {
    size_t block; /* of the rows */
    size_t i, j, rows, cols;
    size_t ld; /* elements between rows of t and slope; columns past cols are padding */
    nf_type type;
    const void *t; /* (rows, ld) distances */
    void *slope;   /* (rows, ld) out: d loss / dt, 0 where the pair does not count */
    /* Which pairs are positive: classes are integers of the type's size, -1 in padding. */
    const void *row_class, *col_class;
    const unsigned char *skip; /* (rows, ld), non-zero: not a pair at all; NULL: all are */
    bool mirrored; /* the columns are rows of the same set that meet these rows here only */
    bool any[2];   /* whether a negative, a positive can be among them */
    void *work;    /* 4 ld elements of scratch */
} nf_strip;

/* The positives of row r: columns are in class order, so they are one range. */
void nf_strip_positives(const nf_strip *strip, size_t r, size_t *first, size_t *stop);

/* 0, or a number that ends the pass with NF_ERR_CALLBACK. */
typedef int (*nf_strip_fn)(void *user, const nf_strip *strip);

typedef struct nf_strip_pass {
    nf_strip_set *own, *other; /* the same: all pairs within it but those of a row with itself */
    nf_metric metric;
    bool side[2];  /* strips without any of these pairs are left out */
    bool anywhere; /* classes do not tell which pairs are positive */
    bool once; /* within a set: every pair of blocks meets once, see nf_strip.mirrored; the slopes
                      are then those of the pair from both ends */
    double reach; /* >= 0: raw distance beyond which negatives count nothing; -1: none */
    nf_strip_fn run;
    void *user;
    bool gradient; /* slopes go to the sums of own, up to nf_pass_factor; else statistics only */
    uint64_t tiles, tiles_skipped, updates, updates_skipped; /* out, added */
} nf_strip_pass;

/* Units of progress of one pass. */
uint64_t nf_strip_work(const nf_strip_set *own, const nf_strip_set *other, bool once);

nf_status nf_strip_run(nf_context *context, nf_strip_pass *pass) NF_MUST_USE;

#endif
