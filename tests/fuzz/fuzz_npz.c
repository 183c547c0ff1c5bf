/* Contract: nf_npz_names and nf_npz_parse refuse the bytes or give names that can all be asked
 * for; memory stays below 2 x (length + inflated length) + 256 KiB, where the inflated length is
 * at most 1032 x length. libzip's own bookkeeping is not counted. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    nf_context *context = fuzz_begin();
    char **names = NULL;
    size_t count = 0;
    nf_array *array = NULL;
    nf_status status = nf_npz_names(context, data, size, &names, &count);
    fuzz_status(context, status);
    for (size_t k = 0; status == NF_OK && k < count && k < 8; k++) {
        array = NULL;
        fuzz_status(context, nf_npz_parse(context, data, size, names[k], &array));
        nf_array_free(context, array);
    }
    nf_bytes_free(context, names);
    array = NULL;
    fuzz_status(context, nf_npz_parse(context, data, size, NULL, &array));
    nf_array_free(context, array);
    fuzz_end(2 * 1033 * size + (1 << 18));
    return 0;
}
