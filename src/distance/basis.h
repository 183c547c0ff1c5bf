/* A few orthonormal directions in which rows differ most. */
#ifndef NF_DISTANCE_BASIS_H
#define NF_DISTANCE_BASIS_H

#include "kernel/kernel.h"

/* basis (count, ld): the leading directions of sample (rows, ld), most important first, each padded
 * with zeros to ld = d rounded up to whole lines. They come close to principal directions, and keep
 * one promise exactly: |basis v| <= |v| for every v. A direction the sample does not have is zero. */
nf_status nf_basis_make(nf_context *context, const float *sample, size_t rows, size_t d, size_t ld,
                        size_t count, float *basis) NF_MUST_USE;

#endif
