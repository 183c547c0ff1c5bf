/* Names, presets and the check of a loss. */
#include <math.h>
#include <string.h>

#include "base/names.h"
#include "distance/gram.h"
#include "loss/kinds.h"

NF_NAMES(reductions, "reduction", NF_REDUCTION_MAP);
NF_NAMES(kinds, "kind", NF_LOSS_KIND_MAP);
NF_NAMES(triplet_choices, "triplets", NF_TRIPLETS_MAP);

const char *nf_reduction_name(nf_reduction reduction) {
    return nf_name_of(&reductions, (int)reduction);
}

nf_status nf_reduction_parse(nf_context *context, const char *name, nf_reduction *reduction) {
    int value;
    nf_status status = nf_name_parse(context, &reductions, name, &value);
    if (status == NF_OK) *reduction = (nf_reduction)value;
    return status;
}

const char *nf_loss_kind_name(nf_loss_kind kind) { return nf_name_of(&kinds, (int)kind); }

const char *nf_triplets_name(nf_triplets triplets) {
    return nf_name_of(&triplet_choices, (int)triplets);
}

/* ---- presets ---------------------------------------------------------------------------------- */

typedef struct nf_preset {
    const char *name, *formula;
    nf_loss loss;
} nf_preset;

/* Fields of every preset; the others follow by name. */
#define ALL(metric, how)                                                              \
    .pos_metric = (metric), .neg_metric = (metric), .pos_weight = 1, .neg_weight = 1, \
    .reduction = NF_REDUCE_##how
#define CONTRASTIVE(metric, exponent, margin, factor, how)                    \
    ALL(metric, how), .pos_exponent = (exponent), .neg_exponent = (exponent), \
                      .neg_margin = (margin), .scale = (factor)

#define OTHER(name, metric, how) \
    ALL(metric, how), .kind = NF_KIND_##name, .pos_exponent = 1, .neg_exponent = 1, .scale = 1

static const nf_preset presets[] = {
    {"weston",
     "same: d^2, different: max(0, 1 - d)^2, d = |a - b|; mean over pairs",
     {CONTRASTIVE(NF_EUCLIDEAN, 2, 1, 1, MEAN)}},
    {"tfa", "weston under its TensorFlow Addons name", {CONTRASTIVE(NF_EUCLIDEAN, 2, 1, 1, MEAN)}},
    {"drlim",
     "same: d^2 / 2, different: max(0, 1 - d)^2 / 2, d = |a - b|; mean over pairs",
     {CONTRASTIVE(NF_EUCLIDEAN, 2, 1, 0.5, MEAN)}},
    {"hinge",
     "same: d^2, different: max(0, 1 - d^2), d = |a - b|; mean over pairs",
     {CONTRASTIVE(NF_SQEUCLIDEAN, 1, 1, 1, MEAN)}},
    {"pml",
     "same: d, different: max(0, 1 - d), d = |a/|a| - b/|b||; mean of the non-zero terms of "
     "each side",
     {CONTRASTIVE(NF_EUCLIDEAN, 1, 1, 1, MEAN_NONZERO), .normalize = 1}},
    {"sbert",
     "same: t^2 / 2, different: max(0, 0.5 - t)^2 / 2, t = 1 - cos(a, b); mean over pairs",
     {CONTRASTIVE(NF_COSINE, 2, 0.5, 0.5, MEAN)}},
    {"online-contrastive",
     "same: t^2 if t is above that of the nearest negative pair, different: max(0, 0.5 - t)^2 if t "
     "is "
     "below that of the farthest positive pair, t = 1 - cos(a, b); sum over these hard pairs",
     {CONTRASTIVE(NF_COSINE, 1, 0.5, 1, SUM), .kind = NF_KIND_ONLINE_CONTRASTIVE}},
    {"triplet",
     "max(0, d(a, p) - d(a, n) + 0.05) over all triplets, d = |a/|a| - b/|b||; mean of the "
     "non-zero ones",
     {CONTRASTIVE(NF_EUCLIDEAN, 1, 0.05, 1, MEAN_NONZERO), .normalize = 1,
      .kind = NF_KIND_TRIPLET}},
    {"tfa-semihard",
     "max(0, d(a, p)^2 - d(a, n)^2 + 1), n the nearest negative farther than p, else the farthest; "
     "mean over (a, p)",
     {CONTRASTIVE(NF_SQEUCLIDEAN, 1, 1, 1, MEAN), .kind = NF_KIND_TRIPLET,
      .triplets = NF_TRIPLETS_SEMI_HARD}},
    {"tfa-hard",
     "max(0, d(a, p)^2 - d(a, n)^2 + 1), p the farthest positive, n the nearest negative of a; "
     "mean over a",
     {CONTRASTIVE(NF_SQEUCLIDEAN, 1, 1, 1, MEAN), .kind = NF_KIND_TRIPLET,
      .triplets = NF_TRIPLETS_HARD}},
    {"sbert-batch-all",
     "max(0, d(a, p) - d(a, n) + 5) over all triplets; mean of the non-zero ones",
     {CONTRASTIVE(NF_EUCLIDEAN, 1, 5, 1, MEAN_NONZERO), .kind = NF_KIND_TRIPLET}},
    {"sbert-batch-hard",
     "max(0, d(a, p) - d(a, n) + 5), p the farthest positive, n the nearest negative of a; mean "
     "over a",
     {CONTRASTIVE(NF_EUCLIDEAN, 1, 5, 1, MEAN), .kind = NF_KIND_TRIPLET,
      .triplets = NF_TRIPLETS_HARD}},
    {"sbert-batch-hard-soft",
     "log(1 + exp(d(a, p) - d(a, n))), p the farthest positive, n the nearest negative of a; mean "
     "over a",
     {CONTRASTIVE(NF_EUCLIDEAN, 1, 0, 1, MEAN), .kind = NF_KIND_TRIPLET,
      .triplets = NF_TRIPLETS_HARD, .smooth = 1}},
    {"sbert-batch-semihard",
     "max(0, d(a, p) - d(a, n) + 5), n the nearest negative farther than p, else the farthest; "
     "mean "
     "over (a, p)",
     {CONTRASTIVE(NF_EUCLIDEAN, 1, 5, 1, MEAN), .kind = NF_KIND_TRIPLET,
      .triplets = NF_TRIPLETS_SEMI_HARD}},
    {"margin",
     "max(0, d(a, p) - 1) + max(0, 1.4 - d(a, n)) over all triplets, d = |a/|a| - b/|b||: beta "
     "1.2, margin 0.2; sum over the number of non-zero parts",
     {CONTRASTIVE(NF_EUCLIDEAN, 1, 0.2, 1, MEAN_NONZERO), .normalize = 1, .kind = NF_KIND_MARGIN,
      .beta = 1.2}},
    {"nt-xent",
     "each positive pair (i, j): -log(exp(s_ij / T) / (exp(s_ij / T) + sum of exp(s_in / T) over "
     "negatives n)), s = cos(a, b), T = 0.07; mean over positive pairs. Also called InfoNCE",
     {OTHER(NT_XENT, NF_COSINE, MEAN), .temperature = 0.07}},
    {"sbert-mnrl",
     "nt-xent with T = 1/20: with --reference anchors and their positives of the same label, "
     "multiple negatives ranking",
     {OTHER(NT_XENT, NF_COSINE, MEAN), .temperature = 0.05}},
    {"supcon",
     "each row i: log(sum of exp(s_ij / T) over all j) - mean of s_ip / T over positives p, "
     "s = cos(a, b), T = 0.1; mean of the non-zero terms",
     {OTHER(SUPCON, NF_COSINE, MEAN_NONZERO), .temperature = 0.1}},
    {"nca",
     "each row i: -log(sum of exp(-t_ip / T) over positives p / sum of exp(-t_ij / T) over all j), "
     "t = |a/|a| - b/|b||^2, T = 1; mean over rows with a positive",
     {OTHER(NCA, NF_SQEUCLIDEAN, MEAN), .temperature = 1, .normalize = 1}},
    {"multi-similarity",
     "each row i: log(1 + sum of exp(-alpha (s_ip - base)) over positives p) / alpha + "
     "log(1 + sum of exp(beta (s_in - base)) over negatives n) / beta, s = cos(a, b), alpha = 2, "
     "beta = 50, base = 0.5; mean over rows",
     {OTHER(MULTI_SIMILARITY, NF_COSINE, MEAN), .alpha = 2, .beta = 50, .base = 0.5}},
    {"circle",
     "each row i: log(1 + (sum of exp(-gamma max(0, 1 + m - s_ip) (s_ip - 1 + m)) over positives "
     "p) * (sum of exp(gamma max(0, s_in + m) (s_in - m)) over negatives n)), s = cos(a, b), "
     "m = 0.4 (--margin), gamma = 80; the max factors are constants; mean of the non-zero terms",
     {OTHER(CIRCLE, NF_COSINE, MEAN_NONZERO), .neg_margin = 0.4, .gamma = 80}},
    {"lifted",
     "each positive pair (i, j): max(0, log(sum of exp(1 - t_in) over negatives n of i + of "
     "exp(1 - t_jn) over those of j) + t_ij)^2 / 2, t = |a/|a| - b/|b||; mean over positive pairs",
     {OTHER(LIFTED, NF_EUCLIDEAN, MEAN), .neg_margin = 1, .normalize = 1}},
    {"tfa-lifted",
     "lifted of rows as they are, t = |a - b|",
     {OTHER(LIFTED, NF_EUCLIDEAN, MEAN), .neg_margin = 1}},
    {"generalized-lifted",
     "each row i: max(0, log(sum of exp(t_ip) over positives p) + log(sum of exp(1 - t_in) over "
     "negatives n)), t = |a/|a| - b/|b||; mean over rows",
     {OTHER(GENERALIZED_LIFTED, NF_EUCLIDEAN, MEAN), .neg_margin = 1, .normalize = 1}},
    {"n-pairs",
     "each class c with its first two rows a_c, p_c: -log(exp(a_c.p_c) / sum of exp(a_c.p_k) over "
     "classes k), rows divided by their length; mean over classes",
     {OTHER(N_PAIRS, NF_DOT, MEAN), .normalize = 1}},
};

#define NF_PRESETS (sizeof presets / sizeof presets[0])

size_t nf_loss_presets(void) { return NF_PRESETS; }

const char *nf_loss_preset_name(size_t i) { return i < NF_PRESETS ? presets[i].name : NULL; }

const char *nf_loss_preset_formula(size_t i) { return i < NF_PRESETS ? presets[i].formula : NULL; }

nf_status nf_loss_preset(nf_context *context, const char *name, nf_loss *loss) {
    char names[440] = "";
    for (size_t i = 0; i < NF_PRESETS; i++) {
        if (name != NULL && strcmp(name, presets[i].name) == 0) {
            *loss = presets[i].loss;
            return NF_OK;
        }
        strcat(names, i == 0 ? "" : i + 1 < NF_PRESETS ? ", " : " or ");
        strcat(names, presets[i].name);
    }
    return nf_fail(context, NF_ERR_ARG, "loss is '%.60s': it must be %s",
                   name != NULL ? name : "NULL", names);
}

nf_loss nf_loss_weston(void) { return presets[0].loss; }

nf_loss nf_loss_user(const nf_pair_function *function) {
    return (nf_loss){ALL(NF_EUCLIDEAN, MEAN), .pos_exponent = 1,   .neg_exponent = 1, .scale = 1,
                     .kind = NF_KIND_USER,    .function = function};
}

/* ---- check ------------------------------------------------------------------------------------ */

static nf_status check_metric(nf_context *context, nf_metric metric, const char *name) {
    if (nf_metric_name(metric) != NULL) return NF_OK;
    return nf_fail(context, NF_ERR_ARG, "%s is %d: it must be an nf_metric value", name,
                   (int)metric);
}

nf_status nf_loss_check(nf_context *context, const nf_loss *loss) {
    if (loss == NULL) return nf_fail(context, NF_ERR_ARG, "loss is NULL: pass an nf_loss");
    nf_status status = check_metric(context, loss->pos_metric, "pos_metric");
    if (status == NF_OK) status = check_metric(context, loss->neg_metric, "neg_metric");
    if (status == NF_OK && !(isfinite(loss->scale) && loss->scale > 0)) {
        status =
            nf_fail(context, NF_ERR_ARG, "scale is %g: it must be finite and above 0", loss->scale);
    }
    if (status == NF_OK && nf_reduction_name(loss->reduction) == NULL) {
        status = nf_fail(context, NF_ERR_ARG, "reduction is %d: it must be an nf_reduction value",
                         (int)loss->reduction);
    }
    if (status == NF_OK && loss->fast) {
        status = nf_gram_check(context, loss->pos_metric, "pos_metric");
        if (status == NF_OK) status = nf_gram_check(context, loss->neg_metric, "neg_metric");
    }
    return status == NF_OK ? nf_kind_check(context, loss) : status;
}
