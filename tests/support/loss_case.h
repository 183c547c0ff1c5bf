/* Random problems for the loss: parameters, data of either type and pairs, in all four forms, with
 * the oracle's answer beside the engine's. */
#ifndef NF_TEST_LOSS_CASE_H
#define NF_TEST_LOSS_CASE_H

#include "reference.h"
#include "support.h"

typedef enum loss_form { FORM_BATCH, FORM_PAIRS, FORM_ROWS, FORM_REFERENCE } loss_form;
extern const char *const loss_form_names[4];

/* Everything a form may need; x is also left and query, y right and reference. */
typedef struct loss_case {
    nf_loss loss;
    loss_form form;
    nf_type type;
    size_t n, m, d, ldx, ldy, count;
    void *x, *y;             /* of `type` */
    double *wide_x, *wide_y; /* the same values, contiguous */
    int64_t *labels_x, *labels_y, *ids_x, *ids_y;
    int has_unlabelled, use_ids;
    int64_t *i, *j;
    uint8_t *same;
    double *weight, *upstream; /* NULL: none */
    double *terms;             /* filled by loss_case_run in the pair and row forms */
    nf_loss_result result;
    void *gradient_x, *gradient_y; /* contiguous */
} loss_case;

/* A loss with random metrics, exponents, weights, reduction and normalisation; its margins are set by
 * loss_case_make from the data. */
nf_loss loss_random(uint64_t seed);

/* A random case of the form around `loss`. With `adapt`, margins are moved into the middle of the
 * distances and off every kink. */
loss_case loss_case_make(uint64_t seed, loss_form form, nf_type type, nf_loss loss, int adapt);
void loss_case_free(loss_case *c);

/* Call the engine; outputs go to the case. */
nf_status loss_case_run(nf_context *context, loss_case *c);
/* The same without gradients. */
nf_status loss_case_value(nf_context *context, loss_case *c);

ref_problem loss_case_problem(const loss_case *c);

/* Hash of value, counts, terms and gradients. */
uint64_t loss_case_hash(const loss_case *c);

/* Compare value, counts and gradients with the oracle; fails the test with a description. */
void loss_case_check(nf_context *context, loss_case *c, double tolerance);

#endif
