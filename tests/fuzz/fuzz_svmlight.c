/* Contract: nf_svmlight_parse refuses the text or gives a dense table of finite numbers with one
 * label a row and at most the allowed number of elements; beside those elements memory stays below
 * 16 x length + 4 KiB. */
#include "fuzz.h"

#include <math.h>

#define MAX_ELEMENTS 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    nf_context *context = fuzz_begin();
    nf_table *table = NULL;
    nf_status status = nf_svmlight_parse(context, data, size, MAX_ELEMENTS, &table);
    fuzz_status(context, status);
    if (status == NF_OK) {
        const double *x = table->x->data;
        FUZZ_ASSERT(table->x->count <= MAX_ELEMENTS);
        FUZZ_ASSERT(table->x->shape[0] == table->labels->count);
        for (size_t i = 0; i < table->x->count; i++) FUZZ_ASSERT(isfinite(x[i]));
    }
    nf_table_free(context, table);
    fuzz_end(16 * size + 4096 + MAX_ELEMENTS * sizeof(double));
    return 0;
}
