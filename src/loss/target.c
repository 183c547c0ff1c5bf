#include "loss/target.h"

#include <math.h>
#include <stdio.h>

#include "loss/arguments.h"
#include "pairs/pairs.h"

/* ---- the rule --------------------------------------------------------------------------------- */

/* Both ascending. */
static bool intersect(const nf_label_sets *of, size_t i, const nf_label_sets *other, size_t j) {
    size_t a = of->offset[i], b = other->offset[j];
    const size_t end_a = of->offset[i + 1], end_b = other->offset[j + 1];
    while (a < end_a && b < end_b) {
        if (of->label[a] == other->label[b]) return true;
        if (of->label[a] < other->label[b]) {
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

/* y or weight of a pair, from where the matrix has it. */
static double entry(const nf_target_rule *rule, nf_matrix of, size_t i, size_t j) {
    const bool turned = rule->within ? i > j : rule->turned;
    return turned ? nf_matrix_get(of, j, i) : nf_matrix_get(of, i, j);
}

/* Rows of one group, and rows of one item, make no pair. */
static bool is_excluded(const nf_target_rule *rule, size_t i, size_t j) {
    const nf_target_rows *a = &rule->side[0], *b = &rule->side[1];
    if (rule->within && i == j) return true;
    if (a->id != NULL && a->id[i] == b->id[j]) return true;
    return a->group != NULL && a->group[i] == b->group[j];
}

bool nf_target_of(const nf_target_rule *rule, size_t i, size_t j, double *y, double *weight) {
    const nf_target_rows *a = &rule->side[0], *b = &rule->side[1];
    if (a->row != NULL) i = a->row[i];
    if (b->row != NULL) j = b->row[j];
    if (is_excluded(rule, i, j)) return false;
    if (a->label != NULL) {
        const int64_t own = a->label[i], other = b->label[j];
        if (rule->has_unlabelled && (own == -1 || other == -1)) return false;
        *y = own == other;
    } else if (a->sets.offset != NULL) {
        if (is_empty(&a->sets, i) || is_empty(&b->sets, j)) return false;
        *y = intersect(&a->sets, i, &b->sets, j);
    } else {
        *y = entry(rule, rule->soft, i, j);
    }
    *weight = rule->pair_weight.data != NULL ? entry(rule, rule->pair_weight, i, j) : 1;
    return true;
}

nf_target_rule nf_target_turned(const nf_target_rule *rule) {
    nf_target_rule turned = *rule;
    turned.side[0] = rule->side[1];
    turned.side[1] = rule->side[0];
    turned.turned = !rule->turned;
    return turned;
}

bool nf_target_is_labelled(const nf_target_rule *rule, int s, size_t i) {
    const nf_target_rows *rows = &rule->side[s];
    if (rows->row != NULL) i = rows->row[i];
    if (rows->label != NULL) return !(rule->has_unlabelled && rows->label[i] == -1);
    return rows->sets.offset == NULL || !is_empty(&rows->sets, i);
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

static nf_status check_one_source(nf_context *context, const char *names, bool labels, bool sets,
                                  bool soft) {
    const int given = labels + sets + soft;
    if (given == 1) return NF_OK;
    return nf_fail(context, NF_ERR_ARG, "%d of %s are given: give exactly one", given, names);
}

/* An (n, m) matrix whose entries, within one set those above the diagonal, are in [0, most]. */
static nf_status check_entries(nf_context *context, nf_matrix of, const char *name, size_t n,
                               size_t m, bool within, double most) {
    nf_status status = nf_check_matrix(context, of, name);
    if (status != NF_OK) return status;
    if (of.rows != n || of.cols != m) {
        return nf_fail(context, NF_ERR_ARG,
                       "%s is (%zu, %zu): for these rows it must be (%zu, %zu)", name, of.rows,
                       of.cols, n, m);
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = within ? i + 1 : 0; j < m; j++) {
            const double value = nf_matrix_get(of, i, j);
            if (value >= 0 && value <= most) continue;
            return nf_fail(context, NF_ERR_DATA, "%s of pair (%zu, %zu) is %g: it must be %s", name,
                           i, j, value, most == 1 ? "from 0 to 1" : "finite and at least 0");
        }
    }
    return NF_OK;
}

nf_status nf_target_check_kind(nf_context *context, const nf_loss *loss, const nf_target_rule *rule,
                               size_t n, size_t m) {
    const bool hard = loss->kind == NF_KIND_TRIPLET || loss->kind == NF_KIND_MARGIN ||
                      loss->kind == NF_KIND_N_PAIRS;
    if (!hard || rule->soft.data == NULL) return NF_OK;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = rule->within ? i + 1 : 0; j < m; j++) {
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

static nf_status check_weight(nf_context *context, double weight, const char *of, const char *name,
                              size_t i) {
    if (isfinite(weight) && weight >= 0) return NF_OK;
    return nf_fail(context, NF_ERR_DATA, "%s.%s[%zu] is %g: it must be finite and at least 0", of,
                   name, i, weight);
}

/* ---- rows --------------------------------------------------------------------------------------- */

static nf_status take_sets(nf_context *context, const nf_given_rows *rows, nf_target_rows *out) {
    char name[64];
    snprintf(name, sizeof name, "%s.sets", rows->of);
    out->sets.offset = rows->targets->sets->offset;
    return nf_label_sets_sort(context, rows->targets->sets, rows->n, name, &out->sets.label);
}

static double class_weight_of(const nf_row_targets *targets, int64_t label) {
    for (size_t c = 0; c < targets->class_weights; c++) {
        if (targets->class_weight[c].label == label) return targets->class_weight[c].weight;
    }
    return 1;
}

static nf_status check_class_weights(nf_context *context, const nf_given_rows *rows) {
    const nf_row_targets *targets = rows->targets;
    if (targets->class_weights == 0) return NF_OK;
    if (rows->labels.data == NULL || targets->class_weight == NULL) {
        return nf_fail(context, NF_ERR_ARG, "%s.class_weights is %zu: class weights need %s",
                       rows->of, targets->class_weights,
                       targets->class_weight == NULL ? "class_weight" : "labels, one per row");
    }
    nf_status status = NF_OK;
    for (size_t c = 0; status == NF_OK && c < targets->class_weights; c++) {
        status =
            check_weight(context, targets->class_weight[c].weight, rows->of, "class_weight", c);
        for (size_t before = 0; status == NF_OK && before < c; before++) {
            if (targets->class_weight[before].label != targets->class_weight[c].label) continue;
            status = nf_fail(context, NF_ERR_DATA,
                             "%s.class_weight lists the label %lld twice: once is enough", rows->of,
                             (long long)targets->class_weight[c].label);
        }
    }
    return status;
}

/* Row weights times those of the rows' classes. */
static nf_status take_weights(nf_context *context, const nf_given_rows *rows, nf_target_rows *out) {
    const nf_row_targets *targets = rows->targets;
    nf_status status = check_class_weights(context, rows);
    for (size_t i = 0; status == NF_OK && targets->row_weight != NULL && i < rows->n; i++) {
        status = check_weight(context, targets->row_weight[i], rows->of, "row_weight", i);
    }
    out->weight = targets->row_weight;
    if (status != NF_OK || targets->class_weights == 0) return status;
    double *weight;
    status = nf_scratch(context, &weight, rows->n, sizeof *weight, "row weights");
    if (status != NF_OK) return status;
    for (size_t i = 0; i < rows->n; i++) {
        weight[i] = class_weight_of(targets, rows->labels.data[i]);
        if (targets->row_weight != NULL) weight[i] *= targets->row_weight[i];
    }
    out->weight = weight;
    return NF_OK;
}

nf_status nf_target_rows_make(nf_context *context, const nf_given_rows *rows, nf_target_rows *out) {
    nf_status status = NF_OK;
    *out = (nf_target_rows){.label = rows->labels.data, .group = rows->targets->group};
    if (rows->targets->sets != NULL) status = take_sets(context, rows, out);
    return status == NF_OK ? take_weights(context, rows, out) : status;
}

/* ---- rules -------------------------------------------------------------------------------------- */

static nf_status check_matrices(nf_context *context, const nf_target_rule *rule, size_t n,
                                size_t m) {
    nf_status status = NF_OK;
    if (rule->soft.data != NULL) {
        status = check_entries(context, rule->soft, "targets.soft", n, m, rule->within, 1);
    }
    if (status == NF_OK && rule->pair_weight.data != NULL) {
        status = check_entries(context, rule->pair_weight, "targets.pair_weight", n, m,
                               rule->within, nextafter(INFINITY, 0));
    }
    return status;
}

nf_status nf_target_rule_make(nf_context *context, const nf_targets *targets, size_t n,
                              nf_target_rule *rule) {
    const nf_row_targets of_rows = {.sets = targets->sets,
                                    .row_weight = targets->row_weight,
                                    .class_weight = targets->class_weight,
                                    .class_weights = targets->class_weights,
                                    .group = targets->group};
    const nf_given_rows rows = {
        .of = "targets", .n = n, .labels = targets->labels, .targets = &of_rows};
    *rule = (nf_target_rule){.within = true,
                             .has_unlabelled = targets->labels.has_unlabelled != 0,
                             .soft = targets->soft,
                             .pair_weight = targets->pair_weight};
    nf_status status =
        check_one_source(context, "targets.labels, sets and soft", targets->labels.data != NULL,
                         targets->sets != NULL, targets->soft.data != NULL);
    if (status == NF_OK && targets->labels.data != NULL) {
        status = nf_check_labels(context, targets->labels, "targets.labels", n, "x");
    }
    if (status == NF_OK) status = check_matrices(context, rule, n, n);
    if (status == NF_OK) status = nf_target_rows_make(context, &rows, &rule->side[0]);
    rule->side[1] = rule->side[0];
    return status;
}

/* What only one of two sets has says nothing of any pair. */
static nf_status check_both(nf_context *context, const char *name, bool query, bool reference) {
    if (query == reference) return NF_OK;
    return nf_fail(context, NF_ERR_ARG,
                   "only the %s has %s: give them for both sets or for neither",
                   query ? "query" : "reference", name);
}

static nf_status check_sides(nf_context *context, const nf_loss_sets *sets,
                             const nf_reference_targets *targets) {
    const nf_row_targets *query = &targets->query, *reference = &targets->reference;
    const bool labels = sets->query_labels.data != NULL;
    if (sets->query.rows == 0 || sets->reference.rows == 0) return NF_OK; /* no pair */
    nf_status status = check_both(context, "labels", labels, sets->reference_labels.data != NULL);
    if (status == NF_OK) {
        status = check_both(context, "label sets", query->sets != NULL, reference->sets != NULL);
    }
    if (status == NF_OK) {
        status = check_both(context, "groups", query->group != NULL, reference->group != NULL);
    }
    if (status != NF_OK) return status;
    return check_one_source(context, "labels, targets.query.sets and targets.soft", labels,
                            query->sets != NULL, targets->soft.data != NULL);
}

nf_status nf_target_rule_make_sets(nf_context *context, const nf_loss_sets *sets,
                                   const nf_reference_targets *targets, nf_target_rule *rule) {
    const size_t n = sets->query.rows, m = sets->reference.rows;
    const nf_given_rows rows[2] = {
        {"targets.query", n, sets->query_labels, &targets->query},
        {"targets.reference", m, sets->reference_labels, &targets->reference}};
    *rule = (nf_target_rule){.has_unlabelled = sets->query_labels.has_unlabelled != 0,
                             .soft = targets->soft,
                             .pair_weight = targets->pair_weight};
    nf_status status = check_sides(context, sets, targets);
    if (status == NF_OK) status = check_matrices(context, rule, n, m);
    for (int s = 0; s < 2 && status == NF_OK; s++) {
        status = nf_target_rows_make(context, &rows[s], &rule->side[s]);
    }
    rule->side[0].id = sets->query_ids;
    rule->side[1].id = sets->reference_ids;
    return status;
}
