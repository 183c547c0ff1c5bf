#include "loss/cluster.h"

#include "kernel/kernel.h"

#define NF_AT_ONCE 128 /* rows */
#define NF_DEPTH 64    /* halvings of any count that a size_t holds */

typedef struct nf_cluster {
    const nf_kernels *kernels;
    nf_matrix x;
    size_t *order;
    int64_t *ids;
    double *key; /* of the row at the same place, from `first` on */
    size_t first;
} nf_cluster;

size_t nf_cluster_block(size_t count, size_t most) {
    const size_t blocks = (count + most - 1) / most;
    const size_t rows = nf_round_up((count + blocks - 1) / nf_max_size(blocks, 1), NF_STRIP_HEIGHT);
    return nf_min_size(rows, most);
}

/* Squared distances of rows from row `origin` of x as keys, or taken from the keys. */
static void measure(const nf_cluster *cluster, size_t at, size_t count, size_t origin, bool minus) {
    const void *a[NF_AT_ONCE], *b[NF_AT_ONCE];
    float narrow[NF_AT_ONCE];
    double wide[NF_AT_ONCE];
    const bool f32 = cluster->x.type == NF_FLOAT32;
    for (size_t start = 0; start < count; start += NF_AT_ONCE) {
        const size_t rows = nf_min_size(NF_AT_ONCE, count - start);
        for (size_t r = 0; r < rows; r++) {
            a[r] = nf_matrix_row(cluster->x, cluster->order[at + start + r]);
            b[r] = nf_matrix_row(cluster->x, origin);
        }
        cluster->kernels->row_sqdist(f32 ? (void *)narrow : (void *)wide, a, b, rows,
                                     cluster->x.cols);
        double *key = cluster->key + (at + start - cluster->first);
        for (size_t r = 0; r < rows; r++) {
            const double apart = f32 ? (double)narrow[r] : wide[r];
            key[r] = minus ? key[r] - apart : apart;
            if (!(key[r] == key[r])) key[r] = 0; /* of rows too far for the type */
        }
    }
}

static size_t farthest(const nf_cluster *cluster, size_t at, size_t count) {
    const double *key = cluster->key + (at - cluster->first);
    size_t best = 0;
    for (size_t r = 1; r < count; r++) best = key[r] > key[best] ? r : best;
    return cluster->order[at + best];
}

static bool comes_before(const nf_cluster *cluster, size_t i, size_t j) {
    const double a = cluster->key[i - cluster->first], b = cluster->key[j - cluster->first];
    return a != b ? a < b : cluster->order[i] < cluster->order[j];
}

static void swap(nf_cluster *cluster, size_t i, size_t j) {
    const size_t row = cluster->order[i];
    cluster->order[i] = cluster->order[j];
    cluster->order[j] = row;
    double *key = cluster->key - cluster->first;
    const double value = key[i];
    key[i] = key[j];
    key[j] = value;
    if (cluster->ids == NULL) return;
    const int64_t id = cluster->ids[i];
    cluster->ids[i] = cluster->ids[j];
    cluster->ids[j] = id;
}

/* The rows that come first to [at, at + kept). Pivots are taken from changing places, lest an order
 * in the data make every one a bad one. */
static void select_first(nf_cluster *cluster, size_t at, size_t count, size_t kept) {
    size_t low = at, high = at + count; /* the border is within */
    uint64_t state = count;
    while (high - low > 1) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        swap(cluster, low, low + (size_t)(state >> 33) % (high - low));
        size_t place = low;
        for (size_t i = low + 1; i < high; i++) {
            if (comes_before(cluster, i, low)) swap(cluster, i, ++place);
        }
        swap(cluster, low, place);
        if (place == at + kept) return;
        if (place < at + kept) {
            low = place + 1;
        } else {
            high = place;
        }
    }
}

/* Along the line from a row far from the first one to a row far from that. */
static void halve(nf_cluster *cluster, size_t at, size_t count, size_t kept) {
    measure(cluster, at, count, cluster->order[at], false);
    const size_t one = farthest(cluster, at, count);
    measure(cluster, at, count, one, false);
    measure(cluster, at, count, farthest(cluster, at, count), true);
    select_first(cluster, at, count, kept);
}

void nf_cluster_class(const nf_context *context, nf_matrix x, size_t *order, int64_t *ids,
                      size_t first, size_t count, size_t block, double *key) {
    nf_cluster cluster = {.kernels = nf_kernels_get(context, x.type),
                          .x = x,
                          .order = order,
                          .ids = ids,
                          .key = key,
                          .first = first};
    size_t at[NF_DEPTH], rows[NF_DEPTH], depth = 1;
    at[0] = first;
    rows[0] = count;
    while (depth > 0) {
        const size_t own = at[--depth], all = rows[depth];
        if (all <= block) continue;
        const size_t blocks = (all + block - 1) / block, kept = (blocks + 1) / 2 * block;
        halve(&cluster, own, all, kept);
        at[depth] = own;
        rows[depth++] = kept;
        at[depth] = own + kept;
        rows[depth++] = all - kept;
    }
}
