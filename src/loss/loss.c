/* Names, presets and the check of a loss. */
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "nearfar/loss.h"

const char *nf_reduction_name(nf_reduction reduction) {
    switch (reduction) {
#define XX(name, value, text) \
    case NF_REDUCE_##name: return text;
        NF_REDUCTION_MAP(XX)
#undef XX
    }
    return NULL;
}

nf_status nf_reduction_parse(nf_context *context, const char *name, nf_reduction *reduction) {
    for (int value = 0; nf_reduction_name((nf_reduction)value) != NULL; value++) {
        if (name != NULL && strcmp(name, nf_reduction_name((nf_reduction)value)) == 0) {
            *reduction = (nf_reduction)value;
            return NF_OK;
        }
    }
    return nf_fail(context, NF_ERR_ARG,
                   "reduction is '%.60s': it must be mean, sum, weighted-mean, mean-sides, "
                   "mean-nonzero or none",
                   name != NULL ? name : "NULL");
}

/* ---- presets ---------------------------------------------------------------------------------- */

typedef struct nf_preset {
    const char *name, *formula;
    nf_metric metric;
    double exponent, neg_margin, scale;
    int normalize;
    nf_reduction reduction;
} nf_preset;

static const nf_preset presets[] = {
    {"weston", "same: d^2, different: max(0, 1 - d)^2, d = |a - b|; mean over pairs", NF_EUCLIDEAN,
     2, 1, 1, 0, NF_REDUCE_MEAN},
    {"tfa", "weston under its TensorFlow Addons name", NF_EUCLIDEAN, 2, 1, 1, 0, NF_REDUCE_MEAN},
    {"drlim", "same: d^2 / 2, different: max(0, 1 - d)^2 / 2, d = |a - b|; mean over pairs",
     NF_EUCLIDEAN, 2, 1, 0.5, 0, NF_REDUCE_MEAN},
    {"hinge", "same: d^2, different: max(0, 1 - d^2), d = |a - b|; mean over pairs", NF_SQEUCLIDEAN,
     1, 1, 1, 0, NF_REDUCE_MEAN},
    {"pml",
     "same: d, different: max(0, 1 - d), d = |a/|a| - b/|b||; mean of the non-zero terms of "
     "each side",
     NF_EUCLIDEAN, 1, 1, 1, 1, NF_REDUCE_MEAN_NONZERO},
    {"sbert", "same: t^2 / 2, different: max(0, 0.5 - t)^2 / 2, t = 1 - cos(a, b); mean over pairs",
     NF_COSINE, 2, 0.5, 0.5, 0, NF_REDUCE_MEAN},
};

#define NF_PRESETS (sizeof presets / sizeof presets[0])

size_t nf_loss_presets(void) { return NF_PRESETS; }

const char *nf_loss_preset_name(size_t i) { return i < NF_PRESETS ? presets[i].name : NULL; }

const char *nf_loss_preset_formula(size_t i) { return i < NF_PRESETS ? presets[i].formula : NULL; }

static nf_loss from_preset(const nf_preset *preset) {
    return (nf_loss){.pos_metric = preset->metric,
                     .neg_metric = preset->metric,
                     .pos_exponent = preset->exponent,
                     .neg_exponent = preset->exponent,
                     .pos_margin = 0,
                     .neg_margin = preset->neg_margin,
                     .pos_weight = 1,
                     .neg_weight = 1,
                     .scale = preset->scale,
                     .normalize = preset->normalize,
                     .reduction = preset->reduction};
}

nf_status nf_loss_preset(nf_context *context, const char *name, nf_loss *loss) {
    for (size_t i = 0; i < NF_PRESETS; i++) {
        if (name != NULL && strcmp(name, presets[i].name) == 0) {
            *loss = from_preset(&presets[i]);
            return NF_OK;
        }
    }
    return nf_fail(context, NF_ERR_ARG,
                   "loss is '%.60s': it must be weston, tfa, drlim, hinge, pml or sbert",
                   name != NULL ? name : "NULL");
}

nf_loss nf_loss_weston(void) { return from_preset(&presets[0]); }

/* ---- check ------------------------------------------------------------------------------------ */

static nf_status check_metric(nf_context *context, nf_metric metric, const char *name) {
    if (nf_metric_name(metric) != NULL) return NF_OK;
    return nf_fail(context, NF_ERR_ARG, "%s is %d: it must be an nf_metric value", name,
                   (int)metric);
}

static nf_status check_exponent(nf_context *context, double exponent, const char *name) {
    double twice = 2 * exponent;
    if (twice >= 2 && twice <= 16 && twice == floor(twice)) return NF_OK;
    return nf_fail(context, NF_ERR_ARG,
                   "%s is %g: it must be a multiple of 1/2 from 1 to 8, e.g. 1, 1.5 or 2", name,
                   exponent);
}

static nf_status check_number(nf_context *context, double value, double low, const char *name) {
    if (isfinite(value) && value >= low) return NF_OK;
    return nf_fail(context, NF_ERR_ARG, "%s is %g: it must be finite%s", name, value,
                   low == 0 ? " and at least 0" : "");
}

nf_status nf_loss_check(nf_context *context, const nf_loss *loss) {
    if (loss == NULL) return nf_fail(context, NF_ERR_ARG, "loss is NULL: pass an nf_loss");
    nf_status status = check_metric(context, loss->pos_metric, "pos_metric");
    if (status == NF_OK) status = check_metric(context, loss->neg_metric, "neg_metric");
    if (status == NF_OK) status = check_exponent(context, loss->pos_exponent, "pos_exponent");
    if (status == NF_OK) status = check_exponent(context, loss->neg_exponent, "neg_exponent");
    if (status == NF_OK) status = check_number(context, loss->pos_margin, -INFINITY, "pos_margin");
    if (status == NF_OK) status = check_number(context, loss->neg_margin, -INFINITY, "neg_margin");
    if (status == NF_OK) status = check_number(context, loss->pos_weight, 0, "pos_weight");
    if (status == NF_OK) status = check_number(context, loss->neg_weight, 0, "neg_weight");
    if (status == NF_OK && !(isfinite(loss->scale) && loss->scale > 0)) {
        status =
            nf_fail(context, NF_ERR_ARG, "scale is %g: it must be finite and above 0", loss->scale);
    }
    if (status == NF_OK && nf_reduction_name(loss->reduction) == NULL) {
        status = nf_fail(context, NF_ERR_ARG, "reduction is %d: it must be an nf_reduction value",
                         (int)loss->reduction);
    }
    return status;
}
