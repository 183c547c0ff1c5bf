/* Contract: nf_safetensors_parse refuses the bytes or gives tensors that cover the data without a
 * hole, with names and metadata in order; memory stays below 16 x length + 4 KiB (a tensor's record
 * is larger than the shortest JSON for it). jansson's own memory is not counted. */
#include "fuzz.h"
#include "fuzz_header_length.h"

static void check(const nf_safetensors *file, size_t size) {
    size_t bytes = 0;
    for (size_t k = 0; k < file->tensors; k++) {
        const nf_tensor *t = &file->tensor[k];
        FUZZ_ASSERT(t->name != NULL && nf_dtype_name(t->dtype) != NULL);
        FUZZ_ASSERT(t->ndim >= 0 && t->ndim <= NF_MAX_DIMS);
        FUZZ_ASSERT((uintptr_t)t->data % 64 == 0);
        bytes += t->count * nf_dtype_size(t->dtype);
    }
    FUZZ_ASSERT(bytes < size);
    for (size_t k = 1; k < file->entries; k++) {
        FUZZ_ASSERT(strcmp(file->metadata[k - 1].key, file->metadata[k].key) < 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    nf_context *context = fuzz_begin();
    nf_safetensors *file = NULL;
    nf_status status = nf_safetensors_parse(context, data, size, &file);
    fuzz_status(context, status);
    if (status == NF_OK) check(file, size);
    nf_safetensors_free(context, file);
    fuzz_end(16 * size + 4096);
    return 0;
}
