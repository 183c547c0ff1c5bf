/* Contract: nf_bank_parse refuses the bytes or gives a bank whose rows are finite and which takes
 * another row; memory stays below 32 x length + 16 KiB, so that a capacity in the header never
 * allocates what the file does not hold. */
#include <math.h>

#include "fuzz.h"

static void check(nf_context *context, nf_bank *bank) {
    nf_bank_rows rows = nf_bank_get_rows(bank);
    const int sets = rows.sets.offset != NULL;
    FUZZ_ASSERT(rows.x.rows <= nf_bank_capacity(bank) && rows.x.cols > 0);
    FUZZ_ASSERT(rows.labels.n == (sets ? 0 : rows.x.rows));
    for (size_t r = 0; rows.row_weight != NULL && r < rows.x.rows; r++) {
        FUZZ_ASSERT(isfinite(rows.row_weight[r]) && rows.row_weight[r] >= 0);
    }
    size_t count = rows.x.rows * rows.x.cols, element = nf_type_size(rows.x.type);
    for (size_t i = 0; i < count; i++) {
        FUZZ_ASSERT(isfinite(element == 4 ? (double)((const float *)rows.x.data)[i]
                                          : ((const double *)rows.x.data)[i]));
    }
    if (rows.x.cols > 1000000) return;
    void *x = calloc(rows.x.cols, element);
    const int64_t label = 1;
    const size_t offset[2] = {0, 1};
    const double weight = 2;
    const nf_label_sets own = {offset, &label};
    const nf_row_targets targets = {.sets = sets ? &own : NULL,
                                    .row_weight = rows.row_weight != NULL ? &weight : NULL,
                                    .group = rows.group != NULL ? &label : NULL};
    FUZZ_ASSERT(x != NULL);
    nf_status status = nf_bank_push_targets(
        context, bank, (nf_matrix){x, rows.x.type, 1, rows.x.cols, rows.x.cols},
        (nf_labels){sets ? NULL : &label, sets ? 0 : 1, rows.labels.has_unlabelled}, NULL,
        &targets);
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
