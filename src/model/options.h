#ifndef NF_MODEL_OPTIONS_H
#define NF_MODEL_OPTIONS_H

#include "model/model.h"
#include "nearfar/io.h"

#define NF_MODEL_FORMAT "nearfar-model"
#define NF_MODEL_VERSION "1"

/* Format, version and options from a file's metadata; NF_ERR_DATA says what is missing or wrong.
 * Ranges (inputs >= 1, ..) are left to nf_model_options_check. */
nf_status nf_model_options_read(nf_context *context, const nf_safetensors *file,
                                nf_model_options *options) NF_MUST_USE;

/* "relu", "tanh"; NULL outside the enum. */
const char *nf_activation_name(nf_activation activation);

#endif
