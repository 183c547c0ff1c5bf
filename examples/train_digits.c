/* Train an embedding on one half of the bundled digits, save it, and evaluate the other half.
 *
 *     cc train_digits.c $(pkg-config --cflags --libs nearfar)
 */
#include <nearfar/nearfar.h>

#include <stdio.h>
#include <stdlib.h>

static int show(void *user, const nf_train_event *event) {
    (void)user;
    if (event->epoch % 10 == 0) {
        printf("epoch %3zu: loss %.4f, positives %.2f apart, negatives %.2f, MAP@R %.3f\n",
               event->epoch, event->loss, event->mean_positive_distance,
               event->mean_negative_distance, event->map_at_r);
    }
    if (event->warning != NULL) printf("warning: %s\n", event->warning);
    return 0; /* anything else stops the run */
}

static nf_status train(nf_context *context, const nf_table *digits, nf_model **model) {
    nf_model_options options = nf_model_defaults();
    options.inputs = digits->x->shape[1];
    options.hidden[0] = 64;
    options.hidden_layers = 1;

    nf_train_options training = nf_train_defaults();
    training.epochs = 30;
    nf_train_data data = {.x = nf_array_view(digits->x),
                          .labels = {digits->labels->data, digits->labels->count, 0}};

    nf_status status = nf_model_create(context, &options, model);
    if (status == NF_OK) status = nf_train(context, *model, &data, &training, show, NULL, NULL);
    return status;
}

/* MAP@R of rows against each other. */
static nf_status quality(nf_context *context, nf_matrix x, const nf_table *digits, double *map) {
    nf_eval_result result;
    nf_labels labels = {digits->labels->data, digits->labels->count, 0};
    nf_status status = nf_eval(context, NULL, x, labels, &result);
    if (status == NF_OK) *map = result.map_at_r;
    return status;
}

static nf_status run(nf_context *context, nf_table **seen, nf_table **unseen, nf_model **model,
                     float **embedding, double *before, double *after) {
    nf_status status = nf_table_load(context, "digits-train", NULL, seen);
    if (status == NF_OK) status = nf_table_load(context, "digits-test", NULL, unseen);
    if (status == NF_OK) status = train(context, *seen, model);
    if (status != NF_OK) return status;

    size_t rows = (*unseen)->x->shape[0], outputs = nf_model_get_options(*model)->outputs;
    *embedding = malloc(rows * outputs * sizeof **embedding);
    if (*embedding == NULL) return NF_ERR_NOMEM;
    nf_matrix x = nf_array_view((*unseen)->x);
    status = nf_model_embed(context, *model, x, nf_matrix_out_f32(*embedding, rows, outputs));
    if (status == NF_OK) status = quality(context, x, *unseen, before);
    if (status == NF_OK) {
        status = quality(context, nf_matrix_f32(*embedding, rows, outputs), *unseen, after);
    }
    return status;
}

int main(void) {
    nf_context *context;
    nf_error error;
    if (nf_context_create(&context, NULL, &error) != NF_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    nf_table *seen = NULL, *unseen = NULL;
    nf_model *model = NULL;
    float *embedding = NULL;
    double before = 0.0, after = 0.0;
    nf_status status = run(context, &seen, &unseen, &model, &embedding, &before, &after);
    if (status == NF_OK) {
        printf("MAP@R of the other half: pixels %.3f, embedding %.3f\n", before, after);
    } else {
        fprintf(stderr, "%s\n", nf_context_error(context)->message);
    }
    free(embedding);
    nf_model_free(context, model);
    nf_table_free(context, unseen);
    nf_table_free(context, seen);
    nf_context_free(context);
    return status == NF_OK && after > before ? 0 : 1;
}
