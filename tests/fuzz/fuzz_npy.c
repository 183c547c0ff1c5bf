/* Contract: nf_npy_parse either refuses the bytes or gives an array whose shape, type and data
 * account for the file exactly; at most 2 x length + 4 KiB of memory. What it accepts survives
 * every conversion, and written again and read back it is the same array. */
#include "fuzz.h"

#include "io/internal.h"

static void convert(nf_context *context, const nf_array *array) {
    nf_array *out = NULL;
    fuzz_status(context, nf_array_to_matrix(context, array, "x", &out));
    nf_array_free(context, out);
    out = NULL;
    fuzz_status(context, nf_array_to_labels(context, array, "x", &out));
    nf_array_free(context, out);
    out = NULL;
    fuzz_status(context, nf_array_to_same(context, array, "x", NF_SAME_01, &out));
    nf_array_free(context, out);
    out = NULL;
    fuzz_status(context, nf_array_to_same(context, array, "x", NF_SAME_PM1, &out));
    nf_array_free(context, out);
    out = NULL;
    fuzz_status(context, nf_array_to_f64(context, array, "x", &out));
    nf_array_free(context, out);
    out = NULL;
    fuzz_status(context, nf_array_to_index(context, array, "x", &out));
    nf_array_free(context, out);
}

static void round_trip(nf_context *context, const nf_array *array) {
    size_t bytes = array->count * nf_dtype_size(array->dtype);
    char *file = malloc(NF_NPY_HEADER_MAX + bytes);
    FUZZ_ASSERT(file != NULL);
    size_t head = nf_npy_header(file, array->dtype, array->ndim, array->shape);
    nf_decode(file + head, array->data, array->count, nf_dtype_size(array->dtype),
              nf_swap_little());
    nf_array *again = NULL;
    FUZZ_ASSERT(nf_npy_parse(context, file, head + bytes, &again) == NF_OK);
    FUZZ_ASSERT(again->dtype == array->dtype && again->ndim == array->ndim);
    FUZZ_ASSERT(memcmp(again->shape, array->shape, sizeof array->shape) == 0);
    FUZZ_ASSERT(bytes == 0 || memcmp(again->data, array->data, bytes) == 0);
    nf_array_free(context, again);
    free(file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    nf_context *context = fuzz_begin();
    nf_array *array = NULL;
    nf_status status = nf_npy_parse(context, data, size, &array);
    fuzz_status(context, status);
    if (status == NF_OK) {
        FUZZ_ASSERT(array->count * nf_dtype_size(array->dtype) < size);
        FUZZ_ASSERT(fuzz_allocator.peak_bytes - fuzz_live_bytes <= 2 * size + 4096);
        round_trip(context, array);
        convert(context, array);
        nf_array_free(context, array);
    } else {
        FUZZ_ASSERT(array == NULL);
    }
    fuzz_end(64 * size + 8192); /* labels of one-byte integers, numbered: 8 bytes and a table */
    return 0;
}

#ifdef NF_LIBFUZZER
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

/* Byte mutations die at the header length: mostly set it to the end of the dictionary again. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
    size = LLVMFuzzerMutate(data, size, max_size);
    if (size < 12 || seed % 8 == 0) return size;
    const uint8_t *brace = memchr(data + 10, '}', size - 10);
    size_t fixed = data[6] == 1 ? 10 : 12;
    if (brace == NULL) return size;
    size_t length = (size_t)(brace - data) + 1 - fixed;
    for (size_t b = 8; b < fixed; b++) data[b] = (uint8_t)(length >> 8 * (b - 8));
    return size;
}
#endif
