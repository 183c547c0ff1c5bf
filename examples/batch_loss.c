/* A mini-batch of 16 features with labels: the pairs of equal and of different labels, their
 * distances, and eq. (3) of Weston, Ratle & Collobert (2008) over all of them with its gradient.
 *
 *     cc batch_loss.c $(pkg-config --cflags --libs nearfar) -lm
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

/* 1. Which pairs are there, and where are they? */
static nf_status show_pairs(nf_context *context) {
    nf_partition *classes = NULL;
    int64_t i[N * (N - 1) / 2], j[N * (N - 1) / 2];
    nf_status status = nf_partition_create(context, (nf_labels){labels, N, 0}, &classes);
    if (status != NF_OK) return status;

    for (size_t c = 0; c < classes->classes; c++) {
        printf("class %lld: rows", (long long)classes->label[c]);
        for (size_t k = classes->offset[c]; k < classes->offset[c + 1]; k++) {
            printf(" %zu", classes->row[k]);
        }
        printf("\n");
    }
    printf("%llu positive and %llu negative pairs\n", (unsigned long long)classes->positive_pairs,
           (unsigned long long)classes->negative_pairs);

    /* 2. Distances of some pairs only: here the positives. */
    status = nf_pairs_list(context, classes, NF_PAIRS_POSITIVE, sizeof i / sizeof *i, i, j, NULL);
    if (status == NF_OK) {
        float d[N * (N - 1) / 2];
        nf_matrix rows = nf_matrix_f32(x, N, D);
        size_t count = (size_t)classes->positive_pairs;
        status = nf_distances_pairs(context, NULL, rows, rows, i, j, count, d);
        for (size_t p = 0; status == NF_OK && p < 3; p++) {
            printf("  distance of rows %lld and %lld: %.4f\n", (long long)i[p], (long long)j[p],
                   (double)d[p]);
        }
    }
    nf_partition_free(context, classes);
    return status;
}

static nf_status show_loss(nf_context *context, const char *name, const nf_loss *loss) {
    float gradient[N * D];
    nf_loss_result result;
    nf_status status =
        nf_loss_batch(context, loss, nf_matrix_f32(x, N, D), (nf_labels){labels, N, 0}, &result,
                      nf_matrix_out_f32(gradient, N, D));
    if (status != NF_OK) return status;
    double square = 0.0;
    for (size_t k = 0; k < N * D; k++) square += (double)gradient[k] * (double)gradient[k];
    printf("%-34s %.6f   |gradient| %.6f   %llu of %llu negatives active\n", name, result.value,
           sqrt(square), (unsigned long long)result.active_negative,
           (unsigned long long)result.negative_pairs);
    return NF_OK;
}

int main(void) {
    nf_context *context;
    nf_error error;
    if (nf_context_create(&context, NULL, &error) != NF_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    nf_loss weston = nf_loss_weston();

    /* 3. Another distance for negatives: a field of its own. */
    nf_loss mixed = weston;
    mixed.pos_metric = NF_SQEUCLIDEAN;
    mixed.pos_exponent = 1;
    mixed.neg_metric = NF_COSINE;
    mixed.neg_margin = 0.5;

    nf_status status = show_pairs(context);
    if (status == NF_OK) status = show_loss(context, "eq. (3), margin 1", &weston);
    if (status == NF_OK) status = show_loss(context, "negatives by cosine, margin 0.5", &mixed);
    if (status != NF_OK) fprintf(stderr, "%s\n", nf_context_error(context)->message);
    nf_context_free(context);
    return status == NF_OK ? 0 : 1;
}
