/* A program of somebody else, built against the installed package. */
#include <nearfar/nearfar.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    nf_context *context;
    nf_error error;
    if (nf_context_create(&context, NULL, &error) != NF_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    const float x[4] = {0.0f, 0.5f, 0.25f, 2.0f};
    const int64_t label[4] = {7, 7, 9, 9};
    nf_loss loss = nf_loss_weston();
    nf_loss_result result = {0};
    nf_matrix_out none = {0};
    nf_status status = nf_loss_batch(context, &loss, nf_matrix_f32(x, 4, 1),
                                     (nf_labels){label, 4, 0}, &result, none);
    if (status != NF_OK) fprintf(stderr, "%s\n", nf_context_error(context)->message);
    nf_context_free(context);

    /* Positives 0.5^2 and 1.75^2; negatives 0.25 and 0.25 away (twice 0.75^2), 2 and 1.5 away. */
    const double expected = (0.25 + 3.0625 + 2 * 0.5625) / 6;
    if (status != NF_OK || fabs(result.value - expected) > 1e-15 * expected) {
        fprintf(stderr, "loss is %.17g, expected %.17g\n", result.value, expected);
        return 1;
    }
    return strcmp(nf_version(), NF_VERSION_STRING) == 0 ? 0 : 1;
}
