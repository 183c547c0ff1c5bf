#include <stdlib.h>
#include <string.h>

#include "pairs/pairs.h"

static nf_status check_offsets(nf_context *context, const nf_label_sets *sets, size_t n,
                               const char *name) {
    if (sets->offset == NULL) {
        return nf_fail(context, NF_ERR_ARG, "%s.offset is NULL: it must hold %zu entries", name,
                       n + 1);
    }
    for (size_t i = 0; i <= n; i++) {
        const size_t low = i == 0 ? 0 : sets->offset[i - 1];
        if (i == 0 ? sets->offset[0] == 0 : sets->offset[i] >= low) continue;
        return nf_fail(context, NF_ERR_DATA, "%s.offset[%zu] is %zu: offsets must ascend from 0",
                       name, i, sets->offset[i]);
    }
    if (sets->offset[n] == 0 || sets->label != NULL) return NF_OK;
    return nf_fail(context, NF_ERR_ARG, "%s.label is NULL: it must hold %zu labels", name,
                   sets->offset[n]);
}

static int compare_labels(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

nf_status nf_label_sets_sort(nf_context *context, const nf_label_sets *sets, size_t n,
                             const char *name, const int64_t **sorted) {
    int64_t *label = NULL;
    nf_status status = check_offsets(context, sets, n, name);
    if (status != NF_OK) return status;
    const size_t count = sets->offset[n];
    status = nf_scratch(context, &label, count, sizeof *label, "label sets");
    if (status != NF_OK) return status;
    if (count > 0) memcpy(label, sets->label, count * sizeof *label);
    for (size_t i = 0; i < n; i++) {
        const size_t first = sets->offset[i];
        qsort(label + first, sets->offset[i + 1] - first, sizeof *label, compare_labels);
    }
    *sorted = label;
    return NF_OK;
}
