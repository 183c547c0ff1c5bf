/* Classify the second half of the bundled digits by the 5 nearest rows of the first half.
 *
 *     cc knn.c $(pkg-config --cflags --libs nearfar)
 */
#include <nearfar/nearfar.h>

#include <stdio.h>
#include <stdlib.h>

enum { K = 5, CLASSES = 10 };

/* The most frequent label; of equal ones the label of the nearest row. */
static int64_t vote(const int64_t *index, const int64_t *labels) {
    int count[CLASSES] = {0};
    for (size_t k = 0; k < K; k++) count[labels[index[k]]]++;
    int64_t best = labels[index[0]];
    for (size_t k = 1; k < K; k++) {
        if (count[labels[index[k]]] > count[best]) best = labels[index[k]];
    }
    return best;
}

static nf_status classify(nf_context *context, const nf_table *known, const nf_table *query,
                          size_t *right) {
    size_t n = query->x->shape[0];
    int64_t *index = malloc(n * K * sizeof *index);
    if (index == NULL) return NF_ERR_NOMEM;
    nf_status status =
        nf_knn(context, NULL, nf_array_view(query->x), nf_array_view(known->x), K, 0, index, NULL);
    const int64_t *label = known->labels->data, *truth = query->labels->data;
    *right = 0;
    for (size_t q = 0; status == NF_OK && q < n; q++) {
        *right += vote(index + q * K, label) == truth[q];
    }
    free(index);
    return status;
}

int main(void) {
    nf_context *context;
    nf_error error;
    if (nf_context_create(&context, NULL, &error) != NF_OK) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    nf_table *known = NULL, *query = NULL;
    size_t right = 0;
    nf_status status = nf_table_load(context, "digits-train", NULL, &known);
    if (status == NF_OK) status = nf_table_load(context, "digits-test", NULL, &query);
    if (status == NF_OK) status = classify(context, known, query, &right);
    if (status == NF_OK) {
        printf("%zu of %zu digits right\n", right, query->x->shape[0]);
    } else {
        fprintf(stderr, "%s\n", nf_context_error(context)->message);
    }
    nf_table_free(context, query);
    nf_table_free(context, known);
    nf_context_free(context);
    return status == NF_OK && right > 0 ? 0 : 1;
}
