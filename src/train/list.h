/* Lists of numbers in a model's metadata: items with commas between. */
#ifndef NF_TRAIN_LIST_H
#define NF_TRAIN_LIST_H

#include "base/base.h"

/* Items of the list; 1 for an empty text. */
size_t nf_list_count(const char *text);

/* Its nf_list_count(text) numbers; *good is false if one is none. Fails only without memory. */
nf_status nf_list_numbers(nf_context *context, const char *text, double *out,
                          bool *good) NF_MUST_USE;
/* Whole numbers; false if one is none. */
bool nf_list_integers(const char *text, int64_t *out);

#endif
