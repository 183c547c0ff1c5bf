/* What the operations of losses share. */
#ifndef NEARFAR_TF_LOSS_H
#define NEARFAR_TF_LOSS_H

#include "call.h"
#include "numbers.h"

/* Attribute `loss`: the numbers of a loss as the bits of doubles, so that a float64 margin stays exact;
 * of a margin loss with its boundary also nu and whether there is a boundary for each label. */
enum { NU = LOSS_NUMBERS, BY_LABEL, MARGIN_NUMBERS };

typedef struct loss_kernel {
    nf_loss loss;
    int has_unlabelled, by_label;
    double nu;
} loss_kernel;

/* Functions of a tf_operation. */
void *loss_kernel_create(TF_OpKernelConstruction *construction);
void *loss_kernel_create_margin(TF_OpKernelConstruction *construction);
void loss_kernel_release(void *kernel);

/* Inputs of the operations over two sets, from the first on. */
int loss_sets_of(tf_call *call, const loss_kernel *kernel, nf_loss_sets *sets);

#define LIST(...) ((const char *const[]){__VA_ARGS__, NULL})
#define ATTRIBUTES LIST("T: {float, double}", "loss: list(int)")

#endif
