/* Contract: nf_gunzip refuses the bytes or gives what zlib's own inflate gives, never more than
 * the limit; memory stays below the inflated size + 160 KiB (window and inflate's state), so a
 * bomb is refused before it is allocated. */
#include "fuzz.h"

#define LIMIT ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    nf_context *context = fuzz_begin();
    void *out = NULL;
    size_t out_size = 0;
    nf_status status = nf_gunzip(context, data, size, LIMIT, &out, &out_size);
    fuzz_status(context, status);
    FUZZ_ASSERT(out_size <= LIMIT);
    FUZZ_ASSERT((out != NULL) == (status == NF_OK));
    nf_bytes_free(context, out);
    fuzz_end((status == NF_OK ? out_size : 0) + 160 * 1024);
    return 0;
}
