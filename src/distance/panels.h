/* Panels: the distances of a block of anchors to every row of a set, for what needs an anchor's
 * distances all at once (their order, their largest). Memory is one panel, never the matrix. */
#ifndef NF_DISTANCE_PANELS_H
#define NF_DISTANCE_PANELS_H

#include "distance/tiles.h"

#define NF_PANEL_ROWS \
    96 /* anchors of a panel; fewer, a multiple of NF_STRIP_HEIGHT, when there are
                            very many columns */
#define NF_PANEL_COLUMNS 96 /* columns of a task */

typedef struct nf_panel_set {
    nf_rows rows;       /* in the order of the columns; unit rows if the metric needs them */
    const int64_t *ids; /* (rows.count) or NULL: a pair with equal ids is none */
} nf_panel_set;

typedef struct nf_panels {
    const nf_panel_set *a, *b; /* anchors, columns; the same: an anchor is no column of itself */
    nf_metric metric;
    nf_family family;
    nf_type type;
    const nf_kernels *kernels;
    size_t d, stride; /* columns of a row; elements from row to row */
    const unsigned char *a_rows, *b_rows;
    double low, high;
    size_t block, ld;      /* anchors of a panel; elements from anchor to anchor */
    unsigned char *panel;  /* (block, ld) distances in the type, NaN where there is no pair */
    unsigned char *packed; /* scratch of all workers */
    size_t packed_bytes;   /* per worker */
    size_t first, rows;    /* anchors of the panel last computed */
    atomic_bool exact;     /* that panel holds a distance the kernels cannot: see exact.h */
} nf_panels;

/* Take scratch for panels of a against b. With `padded`, rows are kept as copies padded to whole
 * lines, as the update kernels want them. */
nf_status nf_panels_begin(nf_context *context, nf_panels *panels, nf_metric metric,
                          const nf_panel_set *a, const nf_panel_set *b, bool padded) NF_MUST_USE;

/* Fill the panel with anchors [first, first + rows), rows <= block. The bits of a distance are those
 * of nf_distances_full. */
nf_status nf_panels_compute(nf_context *context, nf_panels *panels, size_t first,
                            size_t rows) NF_MUST_USE;

/* Distances of anchor first + r in double, (b's rows). */
void nf_panels_row(const nf_panels *panels, size_t r, double *t);

static inline size_t nf_panels_count(const nf_panels *panels) {
    return (panels->a->rows.count + panels->block - 1) / panels->block;
}

static inline const unsigned char *nf_panels_a(const nf_panels *panels, size_t row) {
    return panels->a_rows + row * panels->stride * nf_type_size(panels->type);
}

static inline const unsigned char *nf_panels_b(const nf_panels *panels, size_t row) {
    return panels->b_rows + row * panels->stride * nf_type_size(panels->type);
}

/* Whether the pair is one of a zero row under cosine: at distance 1, with no gradient. */
static inline bool nf_panels_zero(const nf_panels *panels, size_t a, size_t b) {
    return panels->metric == NF_COSINE && panels->d > 0 &&
           (nf_rows_is_zero(&panels->a->rows, a) || nf_rows_is_zero(&panels->b->rows, b));
}

#endif
