#include "loss/kinds.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

#include "loss/margin.h"
#include "loss/triplet.h"
#include "loss/npairs.h"
#include "loss/online.h"
#include "loss/softmax.h"
#include "loss/user.h"

/* ---- what a kind takes ------------------------------------------------------------------------ */

enum {
    TAKES_SIDES = 1 << 0, /* metrics, exponents and weights of each side */
    TAKES_METRICS = 1 << 1,
    TAKES_POS_MARGIN = 1 << 2,
    TAKES_NEG_MARGIN = 1 << 3,
    TAKES_TEMPERATURE = 1 << 4,
    TAKES_ALPHA = 1 << 5,
    TAKES_BETA = 1 << 6,
    TAKES_BASE = 1 << 7,
    TAKES_GAMMA = 1 << 8,
    TAKES_TRIPLETS = 1 << 9,
    TAKES_SMOOTH = 1 << 10,
    TAKES_FUNCTION = 1 << 11,
    TAKES_COSINE_ONLY = 1 << 12,
    TAKES_NO_DOT = 1 << 13 /* distances are >= 0 */
};

#define REDUCTION(name) (1u << NF_REDUCE_##name)

enum {
    OF_ROWS = REDUCTION(MEAN) | REDUCTION(SUM) | REDUCTION(MEAN_NONZERO) |
              REDUCTION(WEIGHTED_MEAN) | REDUCTION(DIVISOR) | REDUCTION(NONE),
    OF_POSITIVES = OF_ROWS | REDUCTION(MEAN_ANCHORS),
    OF_PAIRS = OF_ROWS | REDUCTION(MEAN_SIDES),
};

typedef struct nf_kind {
    nf_kind_run_fn run;
    unsigned takes, reductions;
} nf_kind;

static const nf_kind kinds[] = {
    [NF_KIND_CONTRASTIVE] = {nf_tiled_run,
                             TAKES_SIDES | TAKES_METRICS | TAKES_POS_MARGIN | TAKES_NEG_MARGIN,
                             OF_PAIRS},
    [NF_KIND_TRIPLET] = {nf_triplet_run, TAKES_NEG_MARGIN | TAKES_TRIPLETS | TAKES_SMOOTH, OF_ROWS},
    [NF_KIND_MARGIN] = {nf_margin_run, TAKES_NEG_MARGIN | TAKES_BETA, OF_ROWS},
    [NF_KIND_NT_XENT] = {nf_softmax_run, TAKES_TEMPERATURE, OF_POSITIVES},
    [NF_KIND_SUPCON] = {nf_softmax_run, TAKES_TEMPERATURE, OF_ROWS},
    [NF_KIND_NCA] = {nf_softmax_run, TAKES_TEMPERATURE, OF_ROWS},
    [NF_KIND_MULTI_SIMILARITY] = {nf_softmax_run, TAKES_ALPHA | TAKES_BETA | TAKES_BASE, OF_ROWS},
    [NF_KIND_CIRCLE] = {nf_softmax_run, TAKES_NEG_MARGIN | TAKES_GAMMA | TAKES_COSINE_ONLY,
                        OF_ROWS},
    [NF_KIND_LIFTED] = {nf_softmax_run, TAKES_POS_MARGIN | TAKES_NEG_MARGIN, OF_POSITIVES},
    [NF_KIND_GENERALIZED_LIFTED] = {nf_softmax_run, TAKES_POS_MARGIN | TAKES_NEG_MARGIN, OF_ROWS},
    [NF_KIND_N_PAIRS] = {nf_npairs_run, 0, OF_ROWS},
    [NF_KIND_USER] = {nf_user_run, TAKES_METRICS | TAKES_FUNCTION, OF_PAIRS},
    [NF_KIND_ONLINE_CONTRASTIVE] = {nf_online_run, TAKES_NEG_MARGIN | TAKES_NO_DOT, OF_PAIRS},
};

#define NF_KINDS (sizeof kinds / sizeof kinds[0])

/* A number: finite, and above or at least `low`. */
typedef struct nf_field {
    const char *name;
    unsigned taken_by;
    size_t offset;
    double neutral, low;
    bool above; /* > low, not >= low */
} nf_field;

#define AT(name) offsetof(nf_loss, name)

static const nf_field numbers[] = {
    {"pos_exponent", TAKES_SIDES, AT(pos_exponent), 1, 1, false},
    {"neg_exponent", TAKES_SIDES, AT(neg_exponent), 1, 1, false},
    {"pos_margin", TAKES_POS_MARGIN, AT(pos_margin), 0, -INFINITY, false},
    {"neg_margin", TAKES_NEG_MARGIN, AT(neg_margin), 0, -INFINITY, false},
    {"pos_weight", TAKES_SIDES, AT(pos_weight), 1, 0, false},
    {"neg_weight", TAKES_SIDES, AT(neg_weight), 1, 0, false},
    {"temperature", TAKES_TEMPERATURE, AT(temperature), 0, 0, true},
    {"alpha", TAKES_ALPHA, AT(alpha), 0, 0, true},
    {"beta", TAKES_BETA, AT(beta), 0, 0, true},
    {"base", TAKES_BASE, AT(base), 0, -INFINITY, false},
    {"gamma", TAKES_GAMMA, AT(gamma), 0, 0, true},
};

#define NF_NUMBERS (sizeof numbers / sizeof numbers[0])

/* Fields that are no numbers. */
static const struct {
    const char *name;
    unsigned taken_by;
} others[] = {
    {"pos_metric", TAKES_METRICS}, {"neg_metric", TAKES_METRICS}, {"triplets", TAKES_TRIPLETS},
    {"smooth", TAKES_SMOOTH},      {"function", TAKES_FUNCTION},
};

static const nf_kind *kind_of(nf_loss_kind kind) {
    size_t at = (size_t)kind;
    return nf_loss_kind_name(kind) != NULL && at < NF_KINDS ? &kinds[at] : NULL;
}

bool nf_kind_has_pair_terms(nf_loss_kind kind) {
    return kind == NF_KIND_CONTRASTIVE || kind == NF_KIND_USER ||
           kind == NF_KIND_ONLINE_CONTRASTIVE;
}

int nf_loss_takes(nf_loss_kind kind, const char *field) {
    const nf_kind *own = kind_of(kind);
    if (own == NULL || field == NULL) return 0;
    for (size_t i = 0; i < NF_NUMBERS; i++) {
        if (strcmp(numbers[i].name, field) == 0) return (own->takes & numbers[i].taken_by) != 0;
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (strcmp(others[i].name, field) == 0) return (own->takes & others[i].taken_by) != 0;
    }
    if (strcmp(field, "pairs") == 0) return nf_kind_has_pair_terms(kind);
    /* What every kind takes. */
    return strcmp(field, "scale") == 0 || strcmp(field, "normalize") == 0 ||
           strcmp(field, "metric") == 0 || strcmp(field, "reduction") == 0 ||
           strcmp(field, "fast") == 0 || strcmp(field, "divisor") == 0;
}

nf_kind_run_fn nf_kind_run(nf_loss_kind kind) {
    const nf_kind *own = kind_of(kind);
    return own != NULL ? own->run : NULL;
}

/* ---- checks ----------------------------------------------------------------------------------- */

static nf_status not_taken(nf_context *context, const nf_loss *loss, const char *field,
                           double neutral) {
    return nf_fail(context, NF_ERR_ARG, "a loss of kind %s takes no %s: leave it at %g",
                   nf_loss_kind_name(loss->kind), field, neutral);
}

static nf_status check_number(nf_context *context, const nf_loss *loss, const nf_kind *own,
                              const nf_field *field) {
    double value;
    memcpy(&value, (const char *)loss + field->offset, sizeof value);
    if ((own->takes & field->taken_by) == 0) {
        if (value == field->neutral) return NF_OK;
        return not_taken(context, loss, field->name, field->neutral);
    }
    if (isfinite(value) && (field->above ? value > field->low : value >= field->low)) return NF_OK;
    return nf_fail(context, NF_ERR_ARG, "%s is %g: it must be finite%s", field->name, value,
                   isinf(field->low) ? ""
                   : field->above    ? " and above 0"
                   : field->low == 1 ? " and at least 1"
                                     : " and at least 0");
}

static nf_status check_exponent(nf_context *context, double exponent, const char *name) {
    double twice = 2 * exponent;
    if (twice >= 2 && twice <= 16 && twice == floor(twice)) return NF_OK;
    return nf_fail(context, NF_ERR_ARG,
                   "%s is %g: it must be a multiple of 1/2 from 1 to 8, e.g. 1, 1.5 or 2", name,
                   exponent);
}

static nf_status check_metrics(nf_context *context, const nf_loss *loss, const nf_kind *own) {
    if ((own->takes & TAKES_METRICS) == 0 && loss->pos_metric != loss->neg_metric) {
        return nf_fail(context, NF_ERR_ARG,
                       "pos_metric is %s and neg_metric %s: a loss of kind %s has one metric, set "
                       "both to it",
                       nf_metric_name(loss->pos_metric), nf_metric_name(loss->neg_metric),
                       nf_loss_kind_name(loss->kind));
    }
    if ((own->takes & TAKES_COSINE_ONLY) != 0 && loss->pos_metric != NF_COSINE) {
        return nf_fail(context, NF_ERR_ARG,
                       "the metric is %s: a loss of kind %s is defined for cosine only",
                       nf_metric_name(loss->pos_metric), nf_loss_kind_name(loss->kind));
    }
    if ((own->takes & TAKES_NO_DOT) != 0 && loss->pos_metric == NF_DOT) {
        return nf_fail(context, NF_ERR_ARG,
                       "the metric is dot: a loss of kind %s squares distances, which are >= 0 "
                       "for every other metric",
                       nf_loss_kind_name(loss->kind));
    }
    return NF_OK;
}

static nf_status check_function(nf_context *context, const nf_loss *loss) {
    const nf_pair_function *function = loss->function;
    if (function == NULL || (function->f32 == NULL && function->f64 == NULL)) {
        return nf_fail(context, NF_ERR_ARG,
                       "function is %s: a loss of kind user needs one that calculates its terms",
                       function == NULL ? "NULL" : "without f32 and f64");
    }
    if (isfinite(function->radius) && function->radius >= 0) return NF_OK;
    return nf_fail(context, NF_ERR_ARG, "the function's radius is %g: it must be finite and >= 0",
                   function->radius);
}

static nf_status check_words(nf_context *context, const nf_loss *loss, const nf_kind *own) {
    if (nf_triplets_name(loss->triplets) == NULL) {
        return nf_fail(context, NF_ERR_ARG, "triplets is %d: it must be an nf_triplets value",
                       (int)loss->triplets);
    }
    if ((own->takes & TAKES_TRIPLETS) == 0 && loss->triplets != NF_TRIPLETS_ALL) {
        return not_taken(context, loss, "triplets", 0);
    }
    if ((own->takes & TAKES_SMOOTH) == 0 && loss->smooth != 0) {
        return not_taken(context, loss, "smooth", 0);
    }
    if ((own->takes & TAKES_FUNCTION) != 0) return check_function(context, loss);
    return loss->function == NULL ? NF_OK : not_taken(context, loss, "function", 0);
}

static nf_status check_divisor(nf_context *context, const nf_loss *loss) {
    const bool own = loss->reduction == NF_REDUCE_DIVISOR;
    if (own ? isfinite(loss->divisor) && loss->divisor > 0 : loss->divisor == 0) return NF_OK;
    return nf_fail(context, NF_ERR_ARG, "divisor is %g: it must be %s", loss->divisor,
                   own ? "finite and above 0, what reduction divisor divides the sum by"
                       : "0 unless the reduction is divisor");
}

static nf_status check_reduction(nf_context *context, const nf_loss *loss, const nf_kind *own) {
    if ((own->reductions >> loss->reduction & 1) != 0) return check_divisor(context, loss);
    char list[128] = "";
    for (int r = 0; nf_reduction_name((nf_reduction)r) != NULL; r++) {
        if ((own->reductions >> r & 1) == 0) continue;
        strcat(list, list[0] != '\0' ? ", " : "");
        strcat(list, nf_reduction_name((nf_reduction)r));
    }
    return nf_fail(context, NF_ERR_ARG, "reduction is %s: a loss of kind %s has %s",
                   nf_reduction_name(loss->reduction), nf_loss_kind_name(loss->kind), list);
}

nf_status nf_kind_check(nf_context *context, const nf_loss *loss) {
    const nf_kind *own = kind_of(loss->kind);
    if (own == NULL || own->run == NULL) {
        return nf_fail(context, NF_ERR_ARG, "kind is %d: it must be an nf_loss_kind value",
                       (int)loss->kind);
    }
    nf_status status = NF_OK;
    if ((own->takes & TAKES_SIDES) != 0) {
        status = check_exponent(context, loss->pos_exponent, "pos_exponent");
        if (status == NF_OK) status = check_exponent(context, loss->neg_exponent, "neg_exponent");
    }
    for (size_t i = 0; i < NF_NUMBERS && status == NF_OK; i++) {
        status = check_number(context, loss, own, &numbers[i]);
    }
    if (status == NF_OK) status = check_metrics(context, loss, own);
    if (status == NF_OK) status = check_words(context, loss, own);
    return status == NF_OK ? check_reduction(context, loss, own) : status;
}

nf_status nf_kind_check_separable(nf_context *context, const nf_loss *loss) {
    if (nf_kind_has_pair_terms(loss->kind)) return NF_OK;
    return nf_fail(context, NF_ERR_ARG,
                   "a loss of kind %s compares all pairs of a row with each other and has no terms "
                   "for listed pairs: use nf_loss_batch or nf_loss_reference",
                   nf_loss_kind_name(loss->kind));
}

nf_status nf_kind_check_reduced(nf_context *context, const nf_loss *loss) {
    if (loss->reduction != NF_REDUCE_NONE) return NF_OK;
    const bool of_pairs = nf_kind_has_pair_terms(loss->kind);
    return nf_fail(context, NF_ERR_ARG,
                   "reduction none keeps the terms of %s, or choose another reduction",
                   of_pairs ? "listed pairs: use nf_loss_pairs or nf_loss_rows"
                            : "rows as anchors: use nf_loss_anchors or nf_loss_anchors_reference");
}
