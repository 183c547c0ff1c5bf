#include "loss/bounds.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Covers what rounding in double can take from a radius or add to a distance of centres: far more than
 * the (d + 4) 2^-53 it is for any d that fits in memory. */
#define NF_SLACK 1e-9

/* ---- balls ------------------------------------------------------------------------------------ */

static double make_ball(const nf_kernels *kernels, const nf_pass_set *set, size_t b, void *buffer,
                        double *center) {
    const size_t d = set->rows.x.cols, first = set->block[b], stop = set->block[b + 1];
    const double part = 1 / (double)(stop - first);
    memset(center, 0, d * sizeof *center);
    for (size_t r = first; r < stop; r++) {
        kernels->accumulate(center, nf_rows_view(&set->rows, r, buffer), d);
    }
    for (size_t k = 0; k < d; k++) center[k] *= part;
    double radius2 = 0;
    for (size_t r = first; r < stop; r++) {
        radius2 =
            fmax(radius2, kernels->center_sqdist(nf_rows_view(&set->rows, r, buffer), center, d));
    }
    return sqrt(radius2) * (1 + NF_SLACK);
}

nf_status nf_bounds_make(nf_context *context, const nf_pass_set *set, nf_bounds *bounds) {
    const size_t d = set->rows.x.cols;
    const nf_kernels *kernels = nf_kernels_get(context, set->rows.x.type);
    double *center, *radius, *row;
    nf_status status =
        nf_scratch(context, &center, set->blocks, d * sizeof *center, "block centres");
    if (status == NF_OK) {
        status = nf_scratch(context, &radius, set->blocks, sizeof *radius, "block radii");
    }
    if (status == NF_OK) status = nf_scratch(context, &row, d, sizeof *row, "bounds row");
    if (status != NF_OK) return status;
    for (size_t b = 0; b < set->blocks; b++) {
        radius[b] = make_ball(kernels, set, b, row, center + b * d);
    }
    *bounds = (nf_bounds){
        .kernels = nf_kernels_get(context, NF_FLOAT64), .center = center, .radius = radius};
    return NF_OK;
}

/* ---- lines between the centres of classes ------------------------------------------------------ */

#define NF_LINE_CLASSES 256 /* beyond it, lines cost more than they save */
#define NF_SAMPLE 4096      /* pairs of blocks */

typedef struct nf_lines {
    const nf_pass_set *set;
    size_t classes, padded, d;
    size_t *own;      /* (blocks) */
    double *center;   /* (classes, d) */
    double *norm;     /* (classes) |center| */
    double *distance; /* (classes, classes) */
    double *beyond;   /* (blocks, classes) */
    double *panel;    /* of the centres */
    double *row;      /* (block rows, d) */
    double *product;  /* (block rows, padded): rows by centres */
    void *narrow;
    const nf_kernels *own_type, *wide; /* of the rows, in double */
} nf_lines;

/* Which blocks are of one class, and how many such classes there are. Rows are in class order. */
static void count_classes(nf_lines *lines) {
    const nf_pass_set *set = lines->set;
    int64_t last = -1;
    size_t classes = 0;
    for (size_t b = 0; b < set->blocks; b++) {
        const int64_t first = set->class_of[set->block[b]];
        lines->own[b] = SIZE_MAX;
        if (set->class_of[set->block[b + 1] - 1] != first) continue;
        classes += first != last;
        last = first;
        lines->own[b] = classes - 1;
    }
    lines->classes = classes;
    for (size_t b = 0; b < set->blocks; b++) {
        if (lines->own[b] == SIZE_MAX) lines->own[b] = classes;
    }
}

static nf_status make_lines_scratch(nf_context *context, nf_lines *lines) {
    const size_t classes = lines->classes, d = lines->d;
    const size_t rows = nf_pass_block_rows(d);
    lines->padded = nf_pad(NF_FLOAT64, classes);
    nf_status status = nf_scratch(context, &lines->beyond, lines->set->blocks,
                                  classes * sizeof(double), "block places");
    if (status == NF_OK) {
        status = nf_scratch(context, &lines->center, classes, d * sizeof(double), "class centres");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &lines->norm, classes, sizeof(double), "class centres");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &lines->distance, classes, classes * sizeof(double),
                            "distances of centres");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &lines->panel, lines->padded, d * sizeof(double), "centres");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &lines->row, rows, d * sizeof(double), "block rows");
    }
    if (status == NF_OK) {
        status =
            nf_scratch(context, &lines->product, rows, lines->padded * sizeof(double), "products");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &lines->narrow, d, sizeof(double), "bounds row");
    }
    return status;
}

static double length(const double *row, size_t d) {
    double sum = 0;
    for (size_t k = 0; k < d; k++) sum += row[k] * row[k];
    return sqrt(sum);
}

/* Means of the rows of each class, as good as they come: any points would do. */
static void make_centers(const nf_bounds *balls, nf_lines *lines) {
    const size_t d = lines->d, classes = lines->classes;
    memset(lines->center, 0, classes * d * sizeof(double));
    memset(lines->norm, 0, classes * sizeof(double)); /* counts, at first */
    for (size_t b = 0; b < lines->set->blocks; b++) {
        if (lines->own[b] == classes) continue;
        const double rows = (double)(lines->set->block[b + 1] - lines->set->block[b]);
        double *own = lines->center + lines->own[b] * d;
        for (size_t k = 0; k < d; k++) own[k] += rows * balls->center[b * d + k];
        lines->norm[lines->own[b]] += rows;
    }
    for (size_t c = 0; c < classes; c++) {
        double *own = lines->center + c * d;
        for (size_t k = 0; k < d; k++) own[k] /= lines->norm[c];
        lines->norm[c] = length(own, d);
    }
    for (size_t a = 0; a < classes; a++) {
        for (size_t b = 0; b < classes; b++) {
            lines->distance[a * classes + b] =
                sqrt(lines->wide->center_sqdist(lines->center + a * d, lines->center + b * d, d));
        }
    }
    lines->wide->pack(lines->panel, lines->center, d, classes, d);
}

/* One block's places: for rows x of class A and the centres a, b of A and B,
 * ((x - (a + b) / 2) . (a - b)) / |a - b|, least over rows, less what rounding may have added. */
static void place_block(const nf_lines *lines, size_t b, size_t rows, double longest) {
    const size_t classes = lines->classes, own = lines->own[b], d = lines->d;
    const double a2 = lines->norm[own] * lines->norm[own];
    for (size_t c = 0; c < classes; c++) {
        const double apart = lines->distance[own * classes + c];
        const double c2 = lines->norm[c] * lines->norm[c];
        const double error = ((double)d + 16) * DBL_EPSILON *
                             (longest * (lines->norm[own] + lines->norm[c]) + a2 + c2);
        double least = INFINITY;
        bool finite = true;
        for (size_t r = 0; r < rows; r++) {
            const double *product = lines->product + r * lines->padded;
            const double place = (product[own] - product[c]) - (a2 - c2) / 2;
            finite &= fabs(place) <= DBL_MAX;
            least = place < least ? place : least;
        }
        const double beyond = (least - error) / apart;
        lines->beyond[b * classes + c] =
            finite && apart > 0 && fabs(beyond) <= DBL_MAX ? beyond : -INFINITY;
    }
}

static void place_blocks(const nf_bounds *balls, nf_lines *lines) {
    const nf_pass_set *set = lines->set;
    const size_t d = lines->d;
    for (size_t b = 0; b < set->blocks; b++) {
        if (lines->own[b] == lines->classes) continue;
        const size_t first = set->block[b], rows = set->block[b + 1] - first;
        memset(lines->row, 0, rows * d * sizeof(double));
        for (size_t r = 0; r < rows; r++) {
            lines->own_type->accumulate(lines->row + r * d,
                                        nf_rows_view(&set->rows, first + r, lines->narrow), d);
        }
        lines->wide->dot(lines->product, lines->padded, lines->row, d, lines->panel, rows,
                         lines->classes, d);
        const double longest =
            (length(balls->center + b * d, d) + balls->radius[b]) * (1 + NF_SLACK);
        place_block(lines, b, rows, longest);
    }
}

/* Places cost about four flops in `d` for every row and class, a tile two for every pair of its rows:
 * they may pay when balls leave enough tiles of two classes, of which a sample is looked at. */
static bool balls_leave_much(const nf_lines *lines, const nf_bounds *balls, double reach) {
    const size_t blocks = lines->set->blocks, pairs = blocks * (blocks - 1) / 2;
    const size_t step = pairs / NF_SAMPLE + 1;
    size_t looked_at = 0, left = 0, i = 0, j = 0;
    for (size_t p = 0; p < pairs; p += step) {
        for (j += p == 0 ? 1 : step; j >= blocks; i++) j -= blocks - 2 - i;
        looked_at++;
        left += lines->own[i] != lines->own[j] && lines->own[i] < lines->classes &&
                lines->own[j] < lines->classes &&
                !nf_bounds_apart(balls, i, balls, j, lines->d, lines->set->rows.x.type, reach);
    }
    const double rows = (double)lines->set->rows.count, share = (double)left / (double)looked_at;
    return share * rows * rows / 2 > 4 * rows * (double)lines->classes;
}

nf_status nf_bounds_add_lines(nf_context *context, const nf_pass_set *set, double reach,
                              nf_bounds *bounds) {
    nf_lines lines = {.set = set,
                      .d = set->rows.x.cols,
                      .own_type = nf_kernels_get(context, set->rows.x.type),
                      .wide = bounds->kernels};
    nf_status status = nf_scratch(context, &lines.own, set->blocks, sizeof *lines.own, "classes");
    if (status != NF_OK) return status;
    count_classes(&lines);
    if (lines.classes < 2 || lines.classes > NF_LINE_CLASSES) return NF_OK;
    if (!balls_leave_much(&lines, bounds, reach)) return NF_OK;
    status = make_lines_scratch(context, &lines);
    if (status != NF_OK) return status;
    make_centers(bounds, &lines);
    place_blocks(bounds, &lines);
    bounds->classes = lines.classes;
    bounds->own = lines.own;
    bounds->beyond = lines.beyond;
    return NF_OK;
}

/* ---- tiles ------------------------------------------------------------------------------------ */

double nf_bounds_reach(nf_metric metric, double margin) {
    double positive = fmax(margin, 0);
    switch (metric) {
    case NF_EUCLIDEAN: return positive;
    case NF_SQEUCLIDEAN: return sqrt(positive) * (1 + NF_SLACK);
    case NF_COSINE: return sqrt(2 * positive) * (1 + NF_SLACK);
    case NF_DOT:
    case NF_CITYBLOCK: break;
    }
    return -1;
}

/* Distance that blocks i and j of one set are apart on the line between their classes' centres. */
static double apart_on_line(const nf_bounds *bounds, size_t i, size_t j) {
    const size_t classes = bounds->classes, a = bounds->own[i], b = bounds->own[j];
    if (a == classes || b == classes || a == b) return -INFINITY;
    return (bounds->beyond[i * classes + b] + bounds->beyond[j * classes + a]) * (1 - NF_SLACK);
}

bool nf_bounds_apart(const nf_bounds *a, size_t i, const nf_bounds *b, size_t j, size_t d,
                     nf_type type, double reach) {
    const double unit = type == NF_FLOAT32 ? FLT_EPSILON : DBL_EPSILON;
    const double kept =
        1 - ((double)d + 8) * unit - NF_SLACK; /* of a distance, after a kernel's rounding */
    const double needed = reach * (1 + unit);  /* a margin is rounded before it is compared */
    if (!(kept > 0.5)) return false;
    if (a->classes > 0 && apart_on_line(a, i, j) * kept > needed) return true;
    const double apart2 = a->kernels->center_sqdist(a->center + i * d, b->center + j * d, d);
    double apart = sqrt(apart2) * (1 - NF_SLACK);
    double gap = apart - a->radius[i] - b->radius[j];
    return gap <= DBL_MAX && gap * kept > needed; /* infinities and NaN are not apart */
}
