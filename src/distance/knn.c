/* Exact nearest neighbours: strips of distances, a bounded heap per query. A heap is ordered by
 * (distance, index), a total order, so the result does not depend on how strips are cut. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/pool.h"
#include "distance/strips.h"

#define NF_KNN_COLUMNS 1024
#define NF_KNN_ELEMENTS ((size_t)1 << 19)
#define NF_KNN_ROWS 96 /* at least, so that packing a column block pays */

typedef struct neighbour {
    double distance; /* float32 widened: the same order */
    size_t index;
} neighbour;

typedef struct knn_run {
    const nf_strips *strips;
    nf_strip strip;
    size_t k, exclude; /* exclude: 1 when row i is not a neighbour of query i */
    neighbour *heap;   /* (rows of a strip, k), farthest first */
    size_t *filled;    /* (rows of a strip) */
    int64_t *index;    /* (n, k) */
    char *distance;    /* (n, k) of the type, or NULL */
} knn_run;

/* Nearer first; NaN after every number; ties by index. */
static bool nearer(neighbour a, neighbour b) {
    if (a.distance < b.distance) return true;
    if (a.distance > b.distance) return false;
    bool a_nan = isnan(a.distance), b_nan = isnan(b.distance);
    if (a_nan != b_nan) return b_nan;
    return a.index < b.index;
}

static void sift_down(neighbour *heap, size_t count, size_t at) {
    neighbour moved = heap[at];
    size_t child;
    while ((child = 2 * at + 1) < count) {
        if (child + 1 < count && nearer(heap[child], heap[child + 1])) child++;
        if (!nearer(moved, heap[child])) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = moved;
}

static void push(neighbour *heap, size_t count, neighbour added) {
    size_t at = count;
    for (; at > 0 && nearer(heap[(at - 1) / 2], added); at = (at - 1) / 2) {
        heap[at] = heap[(at - 1) / 2];
    }
    heap[at] = added;
}

static void offer(neighbour *heap, size_t *filled, size_t k, neighbour candidate) {
    if (*filled < k) {
        push(heap, (*filled)++, candidate);
    } else if (nearer(candidate, heap[0])) {
        heap[0] = candidate;
        sift_down(heap, k, 0);
    }
}

/* Columns come in ascending order, so an equal distance never displaces: `<` filters, and the rest
 * is left to offer(). A NaN bar lets everything through. Once the heap is full, few columns pass, and
 * whole groups without one are passed over. */
#define NF_SCAN_GROUP 32
#define DEFINE_SCAN(name, T)                                                                       \
    static void name(const T *values, size_t count, size_t first, neighbour *heap, size_t *filled, \
                     size_t k) {                                                                   \
        for (size_t start = 0; start < count; start += NF_SCAN_GROUP) {                            \
            const size_t stop = nf_min_size(start + NF_SCAN_GROUP, count);                         \
            if (*filled == k && stop - start == NF_SCAN_GROUP) {                                   \
                const T bar = (T)heap[0].distance;                                                 \
                int some = 0;                                                                      \
                for (size_t c = 0; c < NF_SCAN_GROUP; c++) some |= !(values[start + c] >= bar);    \
                if (some == 0) continue;                                                           \
            }                                                                                      \
            for (size_t c = start; c < stop; c++) {                                                \
                if (*filled == k && (double)values[c] >= heap[0].distance) continue;               \
                offer(heap, filled, k, (neighbour){(double)values[c], first + c});                 \
            }                                                                                      \
        }                                                                                          \
    }

DEFINE_SCAN(scan_f32, float)
DEFINE_SCAN(scan_f64, double)

static void scan(const knn_run *run, size_t r, size_t begin, size_t end) {
    const void *row = nf_strips_row(run->strips, run->strip, r);
    neighbour *heap = run->heap + r * run->k;
    size_t *filled = &run->filled[r], first = run->strip.column + begin;
    if (begin >= end) return;
    if (run->strips->type == NF_FLOAT32) {
        scan_f32((const float *)row + begin, end - begin, first, heap, filled, run->k);
    } else {
        scan_f64((const double *)row + begin, end - begin, first, heap, filled, run->k);
    }
}

static void scan_task(void *argument, size_t r, int worker) {
    const knn_run *run = argument;
    (void)worker;
    size_t item = run->strip.row + r, columns = run->strip.columns, self = columns;
    if (run->exclude && item >= run->strip.column && item - run->strip.column < columns) {
        self = item - run->strip.column;
    }
    scan(run, r, 0, self);
    scan(run, r, self + 1, columns);
}

/* Heap sort in place, then out to the results. */
static void finish_task(void *argument, size_t r, int worker) {
    const knn_run *run = argument;
    (void)worker;
    neighbour *heap = run->heap + r * run->k;
    for (size_t count = run->k; count > 1; count--) {
        neighbour farthest = heap[0];
        heap[0] = heap[count - 1];
        sift_down(heap, count - 1, 0);
        heap[count - 1] = farthest;
    }
    size_t base = (run->strip.row + r) * run->k;
    for (size_t p = 0; p < run->k; p++) {
        run->index[base + p] = (int64_t)heap[p].index;
        if (run->distance == NULL) continue;
        if (run->strips->type == NF_FLOAT32) {
            ((float *)(void *)run->distance)[base + p] = (float)heap[p].distance;
        } else {
            ((double *)(void *)run->distance)[base + p] = heap[p].distance;
        }
    }
}

static nf_status run_rows(nf_context *context, nf_strips *strips, knn_run *run, size_t row,
                          size_t rows, size_t reference_rows) {
    nf_status status = NF_OK;
    memset(run->filled, 0, rows * sizeof *run->filled);
    for (size_t column = 0; column < reference_rows && status == NF_OK; column += NF_KNN_COLUMNS) {
        size_t columns = nf_min_size(NF_KNN_COLUMNS, reference_rows - column);
        run->strip = (nf_strip){row, rows, column, columns, false};
        bool wake = rows * columns > (1 << 16);
        status = nf_strips_compute(context, strips, run->strip);
        if (status == NF_OK) status = nf_parallel(context, rows, wake, 0, scan_task, run);
        nf_progress_add(context, rows * columns);
        if (status == NF_OK) status = nf_progress_status(context);
    }
    bool wake = rows * run->k > (1 << 14);
    if (status == NF_OK) status = nf_parallel(context, rows, wake, 0, finish_task, run);
    return status;
}

static nf_status check_k(nf_context *context, nf_matrix query, nf_matrix reference, size_t k,
                         bool exclude_self) {
    if (exclude_self && query.rows != reference.rows) {
        return nf_fail(context, NF_ERR_ARG,
                       "exclude_self needs query and reference of the same rows: they have %zu and "
                       "%zu",
                       query.rows, reference.rows);
    }
    size_t most = reference.rows - (exclude_self && reference.rows > 0);
    if (k >= 1 && k <= most) return NF_OK;
    return nf_fail(context, NF_ERR_ARG,
                   "k is %zu: it must be from 1 to %zu, the %sreference rows there are", k, most,
                   exclude_self ? "other " : "");
}

static nf_status check_output(nf_context *context, nf_matrix query, nf_matrix reference, size_t k,
                              const int64_t *index, void *distance) {
    size_t count, bytes;
    if (nf_mul_overflows(query.rows, k, &count) || nf_mul_overflows(count, 8, &bytes) ||
        bytes > PTRDIFF_MAX) {
        return nf_fail(context, NF_ERR_RANGE, "index (%zu x %zu) exceeds the address space",
                       query.rows, k);
    }
    if (index == NULL && query.rows > 0) {
        return nf_fail(context, NF_ERR_ARG, "index is NULL: it must hold %zu x %zu numbers",
                       query.rows, k);
    }
    nf_matrix_out view = {distance, query.type, query.rows, k, k};
    nf_status status = nf_check_overlap(context, view, "distance", query, "query");
    if (status == NF_OK)
        status = nf_check_overlap(context, view, "distance", reference, "reference");
    return status;
}

/* Results wait in scratch, so that the outputs stay untouched on an error or a cancel. */
static nf_status run_all(nf_context *context, nf_strips *strips, size_t n, size_t m, size_t k,
                         bool exclude_self, int64_t *index, void *distance, size_t strip_rows) {
    knn_run run = {.strips = strips, .k = k, .exclude = exclude_self};
    size_t element = nf_type_size(strips->type);
    nf_status status = nf_scratch(context, &run.index, n, k * sizeof *run.index, "neighbours");
    if (status == NF_OK && distance != NULL) {
        status = nf_scratch(context, &run.distance, n, k * element, "neighbour distances");
    }
    if (status == NF_OK) {
        status =
            nf_scratch(context, &run.heap, strip_rows * k, sizeof *run.heap, "neighbour heaps");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &run.filled, strip_rows, sizeof *run.filled, "heap sizes");
    }
    if (status != NF_OK) return status;
    nf_progress_start(context, (uint64_t)n * m);
    for (size_t row = 0; row < n && status == NF_OK; row += strip_rows) {
        status = run_rows(context, strips, &run, row, nf_min_size(strip_rows, n - row), m);
    }
    if (status == NF_OK && n > 0) {
        memcpy(index, run.index, n * k * sizeof *index);
        if (distance != NULL) memcpy(distance, run.distance, n * k * element);
    }
    return status;
}

nf_status nf_knn(nf_context *context, const nf_distance_options *options, nf_matrix query,
                 nf_matrix reference, size_t k, int exclude_self, int64_t *index, void *distance) {
    nf_scope scope = nf_scope_enter(context);
    size_t columns = nf_min_size(NF_KNN_COLUMNS, nf_max_size(reference.rows, 1));
    size_t rows = nf_max_size(NF_KNN_ROWS, NF_KNN_ELEMENTS / columns);
    rows = nf_min_size(nf_min_size(rows, NF_KNN_COLUMNS), nf_max_size(query.rows, 1));
    nf_strips strips;
    nf_status status = check_k(context, query, reference, k, exclude_self != 0);
    if (status == NF_OK) {
        status = nf_strips_begin(context, options, query, "query", reference, "reference",
                                 rows * columns, &strips);
    }
    if (status == NF_OK) status = check_output(context, query, reference, k, index, distance);
    if (status == NF_OK) {
        status = run_all(context, &strips, query.rows, reference.rows, k, exclude_self != 0, index,
                         distance, rows);
    }
    return nf_scope_leave(context, scope, status);
}
