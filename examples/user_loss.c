/* Another distance function for negatives: a loss of one's own in a few lines.
 *
 * Positives are pulled together by their squared euclidean distance; negatives are pushed apart by
 * exp(-l), with l their city-block distance: a push that fades instead of ending at a margin. The
 * function is given distances and answers with values and derivatives; the library does the rest.
 *
 *     cc user_loss.c $(pkg-config --cflags --libs nearfar) -lm
 */
#include <nearfar/nearfar.h>

#include <math.h>
#include <stdio.h>

enum { N = 16, D = 4 };

static const float x[N * D] = {
    -0.01f, 0.59f, 0.34f, 0.48f, 0.48f,  0.79f,  0.37f, 0.43f, 0.19f, 0.20f, 0.65f, 0.39f, 0.71f,
    0.27f,  0.27f, 0.31f, 0.16f, 0.51f,  0.23f,  0.76f, 0.60f, 0.30f, 0.71f, 0.02f, 0.41f, 0.02f,
    0.70f,  0.30f, 0.17f, 0.00f, 0.61f,  0.22f,  0.41f, 0.55f, 0.12f, 0.43f, 0.09f, 0.81f, 0.42f,
    0.77f,  0.75f, 0.20f, 0.39f, -0.05f, 0.21f,  0.74f, 0.54f, 0.81f, 0.51f, 0.10f, 0.55f, 0.22f,
    0.36f,  0.41f, 0.23f, 0.50f, 0.30f,  -0.06f, 0.57f, 0.46f, 0.64f, 0.15f, 0.59f, 0.06f};
static const int64_t labels[N] = {2, 1, 0, 1, 2, 3, 0, 0, 1, 2, 3, 2, 3, 1, 0, 3};

/* `user` points at the strength of the push. */
static int terms(void *user, int same, size_t n, const double *t, double *value, double *slope) {
    const double push = *(const double *)user;
    for (size_t k = 0; k < n; k++) {
        if (same) {
            value[k] = t[k];
            slope[k] = 1;
        } else {
            value[k] = push * exp(-t[k]);
            slope[k] = -value[k];
        }
    }
    return 0;
}

int main(void) {
    nf_context *context;
    nf_error error;
    if (nf_context_create(&context, NULL, &error) != NF_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    double push = 0.5;
    const nf_pair_function function = {.f64 = terms, .user = &push};
    nf_loss loss = nf_loss_user(&function);
    loss.pos_metric = NF_SQEUCLIDEAN;
    loss.neg_metric = NF_CITYBLOCK;

    /* Gradient descent on the rows themselves: the loss falls. */
    float row[N * D], gradient[N * D];
    for (size_t k = 0; k < N * D; k++) row[k] = x[k];
    double first = 0, last = 0;
    nf_status status = NF_OK;
    for (int step = 0; step <= 50 && status == NF_OK; step++) {
        nf_loss_result result;
        status = nf_loss_batch(context, &loss, nf_matrix_f32(row, N, D), (nf_labels){labels, N, 0},
                               &result, nf_matrix_out_f32(gradient, N, D));
        if (status != NF_OK) break;
        if (step == 0) first = result.value;
        last = result.value;
        if (step % 10 == 0) printf("step %2d  loss %.6f\n", step, result.value);
        for (size_t k = 0; k < N * D; k++) row[k] -= 2 * gradient[k];
    }
    if (status != NF_OK) fprintf(stderr, "%s\n", nf_context_error(context)->message);
    nf_context_free(context);
    return status == NF_OK && last < first ? 0 : 1;
}
