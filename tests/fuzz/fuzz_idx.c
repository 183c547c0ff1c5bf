/* Contract: nf_idx_parse refuses the bytes or gives an array that accounts for the file exactly;
 * at most length + 4 KiB of memory. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    nf_context *context = fuzz_begin();
    nf_array *array = NULL;
    nf_status status = nf_idx_parse(context, data, size, &array);
    fuzz_status(context, status);
    if (status == NF_OK) {
        FUZZ_ASSERT(4 + 4 * (size_t)array->ndim + array->count * nf_dtype_size(array->dtype) ==
                    size);
    }
    nf_array_free(context, array);
    fuzz_end(size + 4096);
    return 0;
}
