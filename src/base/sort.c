#include "base/sort.h"

static void sift_down(double *heap, size_t root, size_t count) {
    double value = heap[root];
    for (;;) {
        size_t child = 2 * root + 1;
        if (child >= count) break;
        if (child + 1 < count && heap[child + 1] > heap[child]) child++;
        if (!(heap[child] > value)) break;
        heap[root] = heap[child];
        root = child;
    }
    heap[root] = value;
}

void nf_sort_doubles(double *values, size_t count) {
    for (size_t i = count / 2; i-- > 0;) sift_down(values, i, count);
    for (size_t end = count; end > 1; end--) {
        double largest = values[0];
        values[0] = values[end - 1];
        values[end - 1] = largest;
        sift_down(values, 0, end - 1);
    }
}
