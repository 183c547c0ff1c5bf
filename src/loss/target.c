#include "loss/target.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "loss/arguments.h"

/* ---- the rule --------------------------------------------------------------------------------- */

/* Both ascending. */
static bool intersect(const nf_label_sets *sets, size_t i, size_t j) {
    size_t a = sets->offset[i], b = sets->offset[j];
    const size_t end_a = sets->offset[i + 1], end_b = sets->offset[j + 1];
    while (a < end_a && b < end_b) {
        if (sets->label[a] == sets->label[b]) return true;
        if (sets->label[a] < sets->label[b]) {
            a++;
        } else {
            b++;
        }
    }
    return false;
}

static bool is_empty(const nf_label_sets *sets, size_t i) {
    return sets->offset[i] == sets->offset[i + 1];
}

bool nf_target_of(const nf_target_rule *rule, size_t i, size_t j, double *y, double *weight) {
    if (rule->row != NULL) {
        i = rule->row[i];
        j = rule->row[j];
    }
    if (i == j || (rule->group != NULL && rule->group[i] == rule->group[j])) return false;
    const size_t first = nf_min_size(i, j), second = nf_max_size(i, j);
    if (rule->label != NULL) {
        const int64_t a = rule->label[i], b = rule->label[j];
        if (rule->has_unlabelled && (a == -1 || b == -1)) return false;
        *y = a == b;
    } else if (rule->sets.offset != NULL) {
        if (is_empty(&rule->sets, i) || is_empty(&rule->sets, j)) return false;
        *y = intersect(&rule->sets, i, j);
    } else {
        *y = nf_matrix_get(rule->soft, first, second);
    }
    *weight = rule->pair_weight.data != NULL ? nf_matrix_get(rule->pair_weight, first, second) : 1;
    return true;
}

bool nf_target_is_labelled(const nf_target_rule *rule, size_t i) {
    if (rule->row != NULL) i = rule->row[i];
    if (rule->label != NULL) return !(rule->has_unlabelled && rule->label[i] == -1);
    return rule->sets.offset == NULL || !is_empty(&rule->sets, i);
}

void nf_target_split(const void *rule, nf_anchor *anchor) {
    size_t positives = 0, negatives = 0;
    for (size_t c = 0; c < anchor->m; c++) {
        double y = 0, weight = 0;
        const bool pair =
            !isnan(anchor->t[c]) && nf_target_of(rule, anchor->row, anchor->item[c], &y, &weight);
        if (!pair) anchor->t[c] = (double)NAN;
        anchor->negative[c] = pair && y < 1 ? anchor->t[c] : (double)NAN;
        anchor->positive[positives] = c;
        positives += pair && y > 0;
        negatives += pair && y < 1;
        anchor->target[c] = y;
        if (anchor->weight != NULL) anchor->weight[c] = weight;
    }
    anchor->positives = positives;
    anchor->negatives = negatives;
}

/* ---- checks ----------------------------------------------------------------------------------- */

static nf_status check_one_source(nf_context *context, const nf_targets *targets) {
    int given =
        (targets->labels.data != NULL) + (targets->sets != NULL) + (targets->soft.data != NULL);
    if (given == 1) return NF_OK;
    return nf_fail(context, NF_ERR_ARG,
                   "%d of targets.labels, sets and soft are given: give exactly one", given);
}

/* An (n, n) matrix whose entries above the diagonal are in [0, most]. */
static nf_status check_square(nf_context *context, nf_matrix square, const char *name, size_t n,
                              double most, const char *limit) {
    nf_status status = nf_check_matrix(context, square, name);
    if (status != NF_OK) return status;
    if (square.rows != n || square.cols != n) {
        return nf_fail(context, NF_ERR_ARG, "%s is (%zu, %zu): for %zu rows it must be (%zu, %zu)",
                       name, square.rows, square.cols, n, n, n);
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++) {
            const double value = nf_matrix_get(square, i, j);
            if (value >= 0 && value <= most) continue;
            return nf_fail(context, NF_ERR_DATA, "%s of pair (%zu, %zu) is %g: it must be %s", name,
                           i, j, value, limit);
        }
    }
    return NF_OK;
}

nf_status nf_target_check_kind(nf_context *context, const nf_loss *loss, const nf_target_rule *rule,
                               size_t n) {
    const bool hard = loss->kind == NF_KIND_TRIPLET || loss->kind == NF_KIND_MARGIN ||
                      loss->kind == NF_KIND_N_PAIRS;
    if (!hard || rule->soft.data == NULL) return NF_OK;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = i + 1; j < n; j++) {
            const double y = nf_matrix_get(rule->soft, i, j);
            if (y == 0 || y == 1) continue;
            return nf_fail(context, NF_ERR_ARG,
                           "targets.soft of pair (%zu, %zu) is %g: a loss of kind %s compares "
                           "positives with negatives one by one and takes 0 and 1 only; round the "
                           "targets, or take a loss of another kind, such as supcon",
                           i, j, y, nf_loss_kind_name(loss->kind));
        }
    }
    return NF_OK;
}

static nf_status check_weight(nf_context *context, double weight, const char *name, size_t i) {
    if (isfinite(weight) && weight >= 0) return NF_OK;
    return nf_fail(context, NF_ERR_DATA, "%s[%zu] is %g: it must be finite and at least 0", name, i,
                   weight);
}

static int compare_labels(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* ---- making ----------------------------------------------------------------------------------- */

static nf_status take_sets(nf_context *context, const nf_label_sets *sets, size_t n,
                           nf_target_rule *rule) {
    if (sets->offset == NULL) {
        return nf_fail(context, NF_ERR_ARG, "targets.sets.offset is NULL: it must hold %zu entries",
                       n + 1);
    }
    for (size_t i = 0; i <= n; i++) {
        const size_t low = i == 0 ? 0 : sets->offset[i - 1];
        if (i == 0 ? sets->offset[0] == 0 : sets->offset[i] >= low) continue;
        return nf_fail(context, NF_ERR_DATA,
                       "targets.sets.offset[%zu] is %zu: offsets must ascend from 0", i,
                       sets->offset[i]);
    }
    const size_t count = sets->offset[n];
    if (count > 0 && sets->label == NULL) {
        return nf_fail(context, NF_ERR_ARG, "targets.sets.label is NULL: it must hold %zu labels",
                       count);
    }
    int64_t *sorted;
    nf_status status = nf_scratch(context, &sorted, count, sizeof *sorted, "label sets");
    if (status != NF_OK) return status;
    if (count > 0) memcpy(sorted, sets->label, count * sizeof *sorted);
    for (size_t i = 0; i < n; i++) {
        const size_t first = sets->offset[i];
        qsort(sorted + first, sets->offset[i + 1] - first, sizeof *sorted, compare_labels);
    }
    rule->sets = (nf_label_sets){sets->offset, sorted};
    return NF_OK;
}

static double class_weight_of(const nf_targets *targets, int64_t label) {
    for (size_t c = 0; c < targets->class_weights; c++) {
        if (targets->class_weight[c].label == label) return targets->class_weight[c].weight;
    }
    return 1;
}

static nf_status check_class_weights(nf_context *context, const nf_targets *targets) {
    if (targets->class_weights == 0) return NF_OK;
    if (targets->labels.data == NULL || targets->class_weight == NULL) {
        return nf_fail(context, NF_ERR_ARG, "targets.class_weights is %zu: class weights need %s",
                       targets->class_weights,
                       targets->class_weight == NULL ? "class_weight" : "labels, one per row");
    }
    nf_status status = NF_OK;
    for (size_t c = 0; status == NF_OK && c < targets->class_weights; c++) {
        status = check_weight(context, targets->class_weight[c].weight, "targets.class_weight", c);
        for (size_t before = 0; status == NF_OK && before < c; before++) {
            if (targets->class_weight[before].label != targets->class_weight[c].label) continue;
            status = nf_fail(context, NF_ERR_DATA,
                             "targets.class_weight lists the label %lld twice: once is enough",
                             (long long)targets->class_weight[c].label);
        }
    }
    return status;
}

/* Row weights times those of the rows' classes. */
static nf_status take_weights(nf_context *context, const nf_targets *targets, size_t n,
                              nf_target_rule *rule) {
    nf_status status = check_class_weights(context, targets);
    for (size_t i = 0; status == NF_OK && targets->row_weight != NULL && i < n; i++) {
        status = check_weight(context, targets->row_weight[i], "targets.row_weight", i);
    }
    rule->row_weight = targets->row_weight;
    if (status != NF_OK || targets->class_weights == 0) return status;
    double *weight;
    status = nf_scratch(context, &weight, n, sizeof *weight, "row weights");
    if (status != NF_OK) return status;
    for (size_t i = 0; i < n; i++) {
        weight[i] = class_weight_of(targets, targets->labels.data[i]);
        if (targets->row_weight != NULL) weight[i] *= targets->row_weight[i];
    }
    rule->row_weight = weight;
    return NF_OK;
}

nf_status nf_target_rule_make(nf_context *context, const nf_targets *targets, size_t n,
                              nf_target_rule *rule) {
    *rule = (nf_target_rule){
        .soft = targets->soft, .pair_weight = targets->pair_weight, .group = targets->group};
    nf_status status = check_one_source(context, targets);
    if (status == NF_OK && targets->labels.data != NULL) {
        status = nf_check_labels(context, targets->labels, "targets.labels", n, "x");
        rule->label = targets->labels.data;
        rule->has_unlabelled = targets->labels.has_unlabelled != 0;
    }
    if (status == NF_OK && targets->sets != NULL) {
        status = take_sets(context, targets->sets, n, rule);
    }
    if (status == NF_OK && targets->soft.data != NULL) {
        status = check_square(context, targets->soft, "targets.soft", n, 1, "from 0 to 1");
    }
    if (status == NF_OK && targets->pair_weight.data != NULL) {
        status = check_square(context, targets->pair_weight, "targets.pair_weight", n,
                              nextafter(INFINITY, 0), "finite and at least 0");
    }
    return status == NF_OK ? take_weights(context, targets, n, rule) : status;
}
