#include "loss/closed.h"

#include <string.h>

bool nf_closed_applies(const nf_loss *loss) {
    bool squared = (loss->pos_metric == NF_EUCLIDEAN && loss->pos_exponent == 2) ||
                   (loss->pos_metric == NF_SQEUCLIDEAN && loss->pos_exponent == 1);
    /* mean-nonzero needs to know how many positives are at distance 0, which needs distances */
    return squared && loss->pos_margin == 0 && loss->reduction != NF_REDUCE_MEAN_NONZERO;
}

typedef struct nf_closed {
    const nf_kernels *kernels;
    const nf_pass_set *set;
    double coefficient;
    double *mean;       /* (d) of a class, from its first member */
    void *origin, *row; /* (d) unit rows, in the type */
} nf_closed;

/* Rows [first, stop) are one class. Deviations are taken from the first member, so that a class far
 * from the origin keeps its digits. */
static double one_class(const nf_closed *closed, size_t first, size_t stop) {
    const nf_pass_set *set = closed->set;
    const nf_kernels *kernels = closed->kernels;
    const size_t d = set->rows.x.cols;
    const double n = (double)(stop - first), factor = closed->coefficient * n, part = 1 / n;
    const void *origin = nf_rows_view(&set->rows, first, closed->origin);
    memset(closed->mean, 0, d * sizeof(double));
    for (size_t r = first + 1; r < stop; r++) {
        kernels->accumulate_from(closed->mean, nf_rows_view(&set->rows, r, closed->row), origin, d);
    }
    for (size_t k = 0; k < d; k++) closed->mean[k] *= part;
    double sum = 0;
    for (size_t r = first; r < stop; r++) {
        double *out = set->sum != NULL ? set->sum + r * d : NULL;
        sum += kernels->deviations(out, nf_rows_view(&set->rows, r, closed->row), origin,
                                   closed->mean, factor, d);
    }
    return factor * sum;
}

nf_status nf_closed_positives(nf_context *context, const nf_pass_set *set, double coefficient,
                              double *phi) {
    const size_t d = set->rows.x.cols, count = set->rows.count,
                 size = nf_type_size(set->rows.x.type);
    nf_closed closed = {.kernels = nf_kernels_get(context, set->rows.x.type),
                        .set = set,
                        .coefficient = coefficient};
    unsigned char *rows;
    nf_status status = nf_scratch(context, &closed.mean, d, sizeof(double), "class mean");
    if (status == NF_OK) status = nf_scratch(context, &rows, d, 2 * size, "class rows");
    if (status != NF_OK) return status;
    closed.origin = rows;
    closed.row = rows + d * size;
    *phi = 0;
    for (size_t first = 0, stop; first < count; first = stop) {
        for (stop = first + 1; stop < count && set->class_of[stop] == set->class_of[first];) stop++;
        if (stop - first > 1) {
            *phi += one_class(&closed, first, stop);
        } else if (set->sum != NULL) {
            memset(set->sum + first * d, 0, d * sizeof(double));
        }
    }
    return NF_OK;
}
