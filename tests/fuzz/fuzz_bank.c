/* Contract: nf_bank_parse refuses the bytes or gives a bank whose rows are finite and which takes
 * another row; memory stays below 32 x length + 16 KiB, so that a capacity in the header never
 * allocates what the file does not hold. */
#include <math.h>

#include "fuzz.h"

static void check(nf_context *context, nf_bank *bank) {
    nf_bank_rows rows = nf_bank_get_rows(bank);
    FUZZ_ASSERT(rows.x.rows <= nf_bank_capacity(bank) && rows.labels.n == rows.x.rows);
    size_t count = rows.x.rows * rows.x.cols, element = nf_type_size(rows.x.type);
    for (size_t i = 0; i < count; i++) {
        FUZZ_ASSERT(isfinite(element == 4 ? (double)((const float *)rows.x.data)[i]
                                          : ((const double *)rows.x.data)[i]));
    }
    if (rows.x.cols > 1000000) return;
    void *x = calloc(rows.x.cols, element);
    int64_t label = 1;
    FUZZ_ASSERT(x != NULL);
    nf_status status =
        nf_bank_push(context, bank, (nf_matrix){x, rows.x.type, 1, rows.x.cols, rows.x.cols},
                     (nf_labels){&label, 1, rows.labels.has_unlabelled}, NULL);
    FUZZ_ASSERT(status == NF_OK);
    free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    nf_context *context = fuzz_begin();
    nf_bank *bank = NULL;
    nf_status status = nf_bank_parse(context, data, size, &bank);
    FUZZ_ASSERT(status == NF_OK || status == NF_ERR_DATA);
    fuzz_status(context, status);
    FUZZ_ASSERT((status == NF_OK) == (bank != NULL));
    FUZZ_ASSERT(fuzz_allocator.peak_bytes - fuzz_live_bytes <= 32 * size + 16384);
    if (bank != NULL) check(context, bank);
    nf_bank_free(context, bank);
    fuzz_end(SIZE_MAX);
    return 0;
}
