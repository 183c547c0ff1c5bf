/* Checks the loss forms share. */
#ifndef NF_LOSS_ARGUMENTS_H
#define NF_LOSS_ARGUMENTS_H

#include "base/base.h"
#include "nearfar/loss.h"

/* x is a valid, finite matrix. */
nf_status nf_check_features(nf_context *context, nf_matrix x, const char *name) NF_MUST_USE;

/* A gradient of x, or data NULL. */
nf_status nf_check_gradient(nf_context *context, nf_matrix_out gradient, const char *name,
                            nf_matrix x, const char *x_name) NF_MUST_USE;

/* The gradients of x and of y, each against both inputs and the other. */
nf_status nf_check_gradients(nf_context *context, const nf_matrix_out gradient[2],
                             const char *const name[2], const nf_matrix x[2],
                             const char *const x_name[2]) NF_MUST_USE;

/* `count` terms (NULL allowed) overlap neither inputs nor gradients. */
nf_status nf_check_terms(nf_context *context, double *terms, size_t count,
                         const nf_matrix_out gradient[2], const char *const name[2],
                         const nf_matrix x[2], const char *const x_name[2]) NF_MUST_USE;

nf_status nf_check_labels(nf_context *context, nf_labels labels, const char *name, size_t rows,
                          const char *x_name) NF_MUST_USE;

nf_status nf_check_result(nf_context *context, const nf_loss_result *result) NF_MUST_USE;

#endif
