/* Contract: nf_model_parse refuses the bytes or gives a model whose tensors are finite and have the
 * shapes of its options, and which embeds a row; memory stays below 32 x length + 16 KiB, so that
 * widths in the options never allocate what the file does not hold. */
#include <math.h>

#include "fuzz.h"
#include "fuzz_header_length.h"

static void check(nf_context *context, const nf_model *model, size_t size) {
    const nf_model_options *options = nf_model_get_options(model);
    size_t parameters = nf_model_parameters(model), out, in;
    FUZZ_ASSERT(parameters * sizeof(float) < size);
    for (size_t l = 0; l < nf_model_layers(model); l++) {
        const float *weight = nf_model_weight(model, l, &out, &in);
        const float *bias = nf_model_bias(model, l);
        FUZZ_ASSERT((bias != NULL) == (options->bias != 0));
        for (size_t i = 0; i < out * in; i++) FUZZ_ASSERT(isfinite(weight[i]));
        for (size_t i = 0; bias != NULL && i < out; i++) FUZZ_ASSERT(isfinite(bias[i]));
    }
    FUZZ_ASSERT(out == options->outputs);
    float *x = calloc(options->inputs, sizeof *x), *y = malloc(out * sizeof *y);
    FUZZ_ASSERT(x != NULL && y != NULL);
    nf_status status = nf_model_embed(context, model, nf_matrix_f32(x, 1, options->inputs),
                                      nf_matrix_out_f32(y, 1, out));
    FUZZ_ASSERT(status == NF_OK || status == NF_ERR_RANGE);
    free(x);
    free(y);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    nf_context *context = fuzz_begin();
    nf_model *model = NULL;
    nf_status status = nf_model_parse(context, data, size, &model);
    FUZZ_ASSERT(status == NF_OK || status == NF_ERR_DATA);
    fuzz_status(context, status);
    FUZZ_ASSERT((status == NF_OK) == (model != NULL));
    FUZZ_ASSERT(fuzz_allocator.peak_bytes - fuzz_live_bytes <= 32 * size + 16384);
    if (model != NULL) check(context, model, size);
    nf_model_free(context, model);
    fuzz_end(SIZE_MAX);
    return 0;
}
