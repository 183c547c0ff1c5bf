/* Pairs made offline and a linear map W trained on them by a loop of one's own:
 *
 *     sample pairs -> arrays left, right, same -> y = x W -> loss(left W, right W, same) -> SGD
 *
 * The library gives the loss and its two gradients; W and the update are ours.
 *
 *     cc pairs_offline.c $(pkg-config --cflags --libs nearfar) -lm
 */
#include <nearfar/nearfar.h>

#include <stdio.h>
#include <stdlib.h>

enum { PIXELS = 64, DIM = 8, PAIRS = 4000, STEP = 100, EPOCHS = 10 };

typedef struct arrays {
    float left[PAIRS * PIXELS], right[PAIRS * PIXELS];
    float left_out[STEP * DIM], right_out[STEP * DIM];   /* of one step */
    float left_grad[STEP * DIM], right_grad[STEP * DIM]; /* d loss / d out */
    int64_t i[PAIRS], j[PAIRS];
    uint8_t same[PAIRS];
    float w[PIXELS * DIM];
} arrays;

/* Draw pairs, half of them positive, and gather their rows, pixels scaled to 0 .. 1. */
static nf_status make_pairs(nf_context *context, arrays *a) {
    nf_table *digits = NULL;
    nf_partition *classes = NULL;
    nf_pair_sample_options options = nf_pair_sample_defaults();
    options.count = PAIRS;

    nf_status status = nf_table_load(context, "digits-train", NULL, &digits);
    if (status == NF_OK) {
        nf_labels labels = {digits->labels->data, digits->labels->count, 0};
        status = nf_partition_create(context, labels, &classes);
    }
    if (status == NF_OK) {
        status = nf_pairs_sample(context, classes, &options, a->i, a->j, a->same, NULL);
    }
    if (status == NF_OK) {
        status = nf_rows_gather(context, nf_array_view(digits->x), a->i, PAIRS,
                                nf_matrix_out_f32(a->left, PAIRS, PIXELS));
    }
    if (status == NF_OK) {
        status = nf_rows_gather(context, nf_array_view(digits->x), a->j, PAIRS,
                                nf_matrix_out_f32(a->right, PAIRS, PIXELS));
    }
    for (size_t k = 0; status == NF_OK && k < PAIRS * PIXELS; k++) {
        a->left[k] /= 16.0f;
        a->right[k] /= 16.0f;
    }
    nf_partition_free(context, classes);
    nf_table_free(context, digits);
    return status;
}

/* out (STEP, DIM) = x (STEP, PIXELS) w (PIXELS, DIM) */
static void forward(const float *x, const float *w, float *out) {
    for (size_t r = 0; r < STEP; r++) {
        for (size_t c = 0; c < DIM; c++) {
            float sum = 0.0f;
            for (size_t k = 0; k < PIXELS; k++) sum += x[r * PIXELS + k] * w[k * DIM + c];
            out[r * DIM + c] = sum;
        }
    }
}

/* w -= rate * x' grad */
static void update(const float *x, const float *grad, float rate, float *w) {
    for (size_t r = 0; r < STEP; r++) {
        for (size_t k = 0; k < PIXELS; k++) {
            float scaled = rate * x[r * PIXELS + k];
            for (size_t c = 0; c < DIM; c++) w[k * DIM + c] -= scaled * grad[r * DIM + c];
        }
    }
}

static nf_status epoch(nf_context *context, const nf_loss *loss, arrays *a, double *mean) {
    *mean = 0.0;
    for (size_t p = 0; p < PAIRS; p += STEP) {
        const float *left = a->left + p * PIXELS, *right = a->right + p * PIXELS;
        forward(left, a->w, a->left_out);
        forward(right, a->w, a->right_out);
        nf_loss_result result;
        nf_status status = nf_loss_rows(context, loss, nf_matrix_f32(a->left_out, STEP, DIM),
                                        nf_matrix_f32(a->right_out, STEP, DIM), a->same + p, NULL,
                                        NULL, &result, nf_matrix_out_f32(a->left_grad, STEP, DIM),
                                        nf_matrix_out_f32(a->right_grad, STEP, DIM));
        if (status != NF_OK) return status;
        update(left, a->left_grad, 0.02f, a->w);
        update(right, a->right_grad, 0.02f, a->w);
        *mean += result.value * STEP / PAIRS;
    }
    return NF_OK;
}

int main(void) {
    nf_context *context;
    nf_error error;
    arrays *a = calloc(1, sizeof *a);
    if (a == NULL || nf_context_create(&context, NULL, &error) != NF_OK) {
        fprintf(stderr, "%s\n", a == NULL ? "out of memory" : error.message);
        free(a);
        return 1;
    }
    for (size_t k = 0; k < PIXELS * DIM; k++) {
        a->w[k] = ((float)rand() / (float)RAND_MAX - 0.5f) * 0.5f;
    }

    nf_loss loss;
    nf_status status = nf_loss_preset(context, "hinge", &loss);
    if (status == NF_OK) status = make_pairs(context, a);
    double first = 0.0, mean = 0.0;
    for (int e = 0; e < EPOCHS && status == NF_OK; e++) {
        status = epoch(context, &loss, a, &mean);
        if (e == 0) first = mean;
        if (status == NF_OK) printf("epoch %2d: mean loss %.4f\n", e + 1, mean);
    }
    if (status != NF_OK) fprintf(stderr, "%s\n", nf_context_error(context)->message);
    nf_context_free(context);
    free(a);
    return status == NF_OK && mean < first ? 0 : 1;
}
