#include "distance/nearest.h"

#include <math.h>

#include "base/key.h"

__extension__ typedef unsigned __int128 wide_key;
typedef uint64_t narrow_key;

#define DEFINE_HEAP(K)                                                       \
    static void K##_sift_down(K *heap, size_t count, size_t at) {            \
        const K moved = heap[at];                                            \
        size_t child;                                                        \
        while ((child = 2 * at + 1) < count) {                               \
            if (child + 1 < count && heap[child + 1] > heap[child]) child++; \
            if (heap[child] <= moved) break;                                 \
            heap[at] = heap[child];                                          \
            at = child;                                                      \
        }                                                                    \
        heap[at] = moved;                                                    \
    }                                                                        \
    static void K##_offer(K *heap, size_t *filled, size_t k, K added) {      \
        if (*filled == k) {                                                  \
            if (added >= heap[0]) return;                                    \
            heap[0] = added;                                                 \
            K##_sift_down(heap, k, 0);                                       \
            return;                                                          \
        }                                                                    \
        size_t at = (*filled)++;                                             \
        for (; at > 0 && heap[(at - 1) / 2] < added; at = (at - 1) / 2) {    \
            heap[at] = heap[(at - 1) / 2];                                   \
        }                                                                    \
        heap[at] = added;                                                    \
    }                                                                        \
    static void K##_sort(K *heap, size_t k) {                                \
        for (size_t count = k; count > 1; count--) {                         \
            const K farthest = heap[0];                                      \
            heap[0] = heap[count - 1];                                       \
            K##_sift_down(heap, count - 1, 0);                               \
            heap[count - 1] = farthest;                                      \
        }                                                                    \
    }

DEFINE_HEAP(narrow_key)
DEFINE_HEAP(wide_key)

static narrow_key *narrow_row(const nf_nearest *nearest, size_t row) {
    return (narrow_key *)nearest->heap + row * nearest->k;
}

static wide_key *wide_row(const nf_nearest *nearest, size_t row) {
    return (wide_key *)nearest->heap + row * nearest->k;
}

static narrow_key to_narrow(double distance, size_t index) {
    return (narrow_key)nf_key_f32((float)distance) << 32 | index;
}

static wide_key to_wide(double distance, size_t index) {
    return (wide_key)nf_key_f64(distance) << 64 | index;
}

static double narrow_distance(narrow_key key) {
    return (double)nf_key_f32_value((uint32_t)(key >> 32));
}

static double wide_distance(wide_key key) { return nf_key_f64_value((uint64_t)(key >> 64)); }

nf_status nf_nearest_begin(nf_context *context, nf_nearest *nearest, nf_type type, size_t rows,
                           size_t k, size_t references) {
    *nearest = (nf_nearest){
        .type = type, .wide = type == NF_FLOAT64 || references > UINT32_MAX, .rows = rows, .k = k};
    size_t bytes, size = nearest->wide ? sizeof(wide_key) : sizeof(narrow_key);
    if (nf_mul_overflows(k, size, &bytes)) bytes = SIZE_MAX;
    nf_status status = nf_scratch(context, &nearest->heap, rows, bytes, "neighbours");
    if (status == NF_OK) {
        status =
            nf_scratch(context, &nearest->filled, rows, sizeof(size_t), "counts of neighbours");
    }
    if (status == NF_OK) memset(nearest->filled, 0, rows * sizeof(size_t));
    return status;
}

double nf_nearest_bar(const nf_nearest *nearest, size_t row) {
    if (nearest->filled[row] < nearest->k) return (double)INFINITY;
    return nearest->wide ? wide_distance(*wide_row(nearest, row))
                         : narrow_distance(*narrow_row(nearest, row));
}

void nf_nearest_offer(nf_nearest *nearest, size_t row, double distance, size_t index) {
    if (nearest->wide) {
        wide_key_offer(wide_row(nearest, row), &nearest->filled[row], nearest->k,
                       to_wide(distance, index));
    } else {
        narrow_key_offer(narrow_row(nearest, row), &nearest->filled[row], nearest->k,
                         to_narrow(distance, index));
    }
}

void nf_nearest_sort(nf_nearest *nearest, size_t row) {
    if (nearest->wide) {
        wide_key_sort(wide_row(nearest, row), nearest->k);
    } else {
        narrow_key_sort(narrow_row(nearest, row), nearest->k);
    }
}

void nf_nearest_write(const nf_nearest *nearest, int64_t *index, void *distance) {
    const size_t count = nearest->rows * nearest->k;
    const narrow_key *narrow = nearest->heap;
    const wide_key *wide = nearest->heap;
    for (size_t p = 0; p < count; p++) {
        index[p] = nearest->wide ? (int64_t)(uint64_t)wide[p] : (int64_t)(uint32_t)narrow[p];
    }
    if (distance == NULL) return;
    for (size_t p = 0; p < count; p++) {
        double value = nearest->wide ? wide_distance(wide[p]) : narrow_distance(narrow[p]);
        if (nearest->type == NF_FLOAT32) {
            ((float *)distance)[p] = (float)value;
        } else {
            ((double *)distance)[p] = value;
        }
    }
}
