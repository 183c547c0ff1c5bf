/* Targets of losses. Results are the value (with reduction `none` the terms) and
 * then, if asked for, a gradient per matrix; with an upstream operand the gradients alone. */
#include <string.h>

#include "jax/xla.h"
#include "numbers.h"

/* The attribute: the numbers of the loss, then how `same` is said. */
enum { ENCODING = LOSS_NUMBERS, OPTIONS };

static int has_unlabelled(const xla_call *call) {
    return call->options[LOSS_NUMBER_unlabelled] != 0;
}

static nf_same_encoding encoding_of(const xla_call *call) {
    return (nf_same_encoding)(int)call->options[ENCODING];
}

/* ---- batch ---------------------------------------------------------------------------------- */

/* x (n, d), labels (n) */
xla_error *xla_loss_batch(xla_frame *frame) {
    xla_call call;
    if (xla_enter(&call, frame, 2, OPTIONS)) return call.error;
    nf_loss loss = loss_from_numbers(call.options);
    nf_matrix x;
    nf_matrix_out out;
    nf_labels labels = {.has_unlabelled = has_unlabelled(&call)};
    nf_loss_result result;
    nf_status status = xla_matrix(&call, 0, "x", &x);
    if (status == NF_OK) status = xla_labels(&call, 1, "labels", &labels);
    if (status == NF_OK) status = xla_gradient(&call, 1, x, &out);
    if (status == NF_OK) status = nf_loss_batch(call.context, &loss, x, labels, &result, out);
    if (status == NF_OK) status = xla_write_doubles(&call, 0, &result.value, 1);
    return xla_leave(&call, status);
}

/* x (n, d), labels (n) -> terms (n); with upstream (n) their gradient */
xla_error *xla_loss_anchors(xla_frame *frame) {
    xla_call call;
    if (xla_enter(&call, frame, 2, OPTIONS)) return call.error;
    nf_loss loss = loss_from_numbers(call.options);
    nf_matrix x;
    nf_matrix_out out = {0};
    nf_labels labels = {.has_unlabelled = has_unlabelled(&call)};
    nf_row_terms extras = {0};
    nf_loss_result result;
    void *terms = NULL;
    const int backward = call.frame->args.size > 2;
    nf_status status = xla_matrix(&call, 0, "x", &x);
    if (status == NF_OK) status = xla_labels(&call, 1, "labels", &labels);
    if (status == NF_OK && backward) {
        status = xla_doubles(&call, 2, "upstream", x.rows, &extras.upstream);
        if (status == NF_OK) status = xla_gradient(&call, 0, x, &out);
    } else if (status == NF_OK) {
        status = xla_allocate(&call, x.rows, sizeof(double), &terms);
        extras.terms = terms;
    }
    if (status == NF_OK) {
        status = nf_loss_anchors(call.context, &loss, x, labels, &extras, &result, out);
    }
    if (status == NF_OK && !backward) status = xla_write_doubles(&call, 0, terms, x.rows);
    return xla_leave(&call, status);
}

/* ---- terms ---------------------------------------------------------------------------------- */

/* Where the gradients are among the results, and the terms if the first result is those. */
typedef struct extras {
    nf_pair_terms pair;
    double *terms;
    int64_t first_gradient;
} extras;

static nf_status extras_get(xla_call *call, const nf_loss *loss, int64_t upstream, size_t count,
                            extras *e) {
    void *data;
    memset(e, 0, sizeof *e);
    if (call->frame->args.size > upstream) {
        return xla_doubles(call, upstream, "upstream", count, &e->pair.upstream);
    }
    e->first_gradient = 1;
    if (loss->reduction != NF_REDUCE_NONE) return NF_OK;
    nf_status status = xla_allocate(call, count, sizeof *e->terms, &data);
    e->pair.terms = e->terms = data;
    return status;
}

/* ---- pair lists ----------------------------------------------------------------------------- */

typedef struct list {
    nf_pairs pairs;
    size_t given;   /* entries with padding */
    int64_t *place; /* of each pair among the entries; NULL: no padding */
} list;

static int is_padding(const nf_pairs *pairs, size_t p) {
    return pairs->i[p] == -1 && pairs->j[p] == -1;
}

/* Leave out the entries (-1, -1). */
static nf_status drop_padding(xla_call *call, list *l) {
    nf_pairs given = l->pairs;
    size_t kept = 0;
    for (size_t p = 0; p < given.count; p++) kept += !is_padding(&given, p);
    if (kept == given.count) return NF_OK;
    void *place, *i, *j, *same, *weight = NULL;
    nf_status status = xla_allocate(call, given.count, sizeof(int64_t), &place);
    if (status == NF_OK) status = xla_allocate(call, given.count, sizeof(int64_t), &i);
    if (status == NF_OK) status = xla_allocate(call, given.count, sizeof(int64_t), &j);
    if (status == NF_OK) status = xla_allocate(call, given.count, 1, &same);
    if (status == NF_OK && given.weight != NULL) {
        status = xla_allocate(call, given.count, sizeof(double), &weight);
    }
    if (status != NF_OK) return status;
    kept = 0;
    for (size_t p = 0; p < given.count; p++) {
        if (is_padding(&given, p)) continue;
        ((int64_t *)place)[kept] = (int64_t)p;
        ((int64_t *)i)[kept] = given.i[p];
        ((int64_t *)j)[kept] = given.j[p];
        ((uint8_t *)same)[kept] = given.same[p];
        if (weight != NULL) ((double *)weight)[kept] = given.weight[p];
        kept++;
    }
    l->place = place;
    l->pairs = (nf_pairs){kept, i, j, same, weight};
    return NF_OK;
}

static nf_status list_get(xla_call *call, list *l) {
    size_t j_count = 0, same_count = 0;
    memset(l, 0, sizeof *l);
    nf_status status = xla_index(call, 1, "i", &l->pairs.i, &l->given);
    if (status == NF_OK) status = xla_index(call, 2, "j", &l->pairs.j, &j_count);
    if (status == NF_OK) {
        status = xla_same(call, 3, encoding_of(call), &l->pairs.same, &same_count);
    }
    if (status == NF_OK && (j_count != l->given || same_count != l->given)) {
        status = xla_fail(call, "i, j and same must have one entry per pair");
    }
    if (status == NF_OK) status = xla_doubles(call, 4, "weight", l->given, &l->pairs.weight);
    l->pairs.count = l->given;
    return status == NF_OK ? drop_padding(call, l) : status;
}

/* The upstream gradient of the pairs that are left. */
static nf_status gather_upstream(xla_call *call, const list *l, extras *e) {
    void *kept;
    if (l->place == NULL || e->pair.upstream == NULL) return NF_OK;
    nf_status status = xla_allocate(call, l->given, sizeof(double), &kept);
    if (status != NF_OK) return status;
    for (size_t p = 0; p < l->pairs.count; p++) {
        ((double *)kept)[p] = e->pair.upstream[l->place[p]];
    }
    e->pair.upstream = kept;
    return NF_OK;
}

/* Terms back to their entries, in place from the last on; padding has none. */
static void scatter_terms(const list *l, double *terms) {
    size_t next = l->given;
    for (size_t p = l->pairs.count; p-- > 0;) {
        size_t place = (size_t)l->place[p];
        double term = terms[p];
        while (--next > place) terms[next] = 0;
        terms[place] = term;
    }
    while (next > 0) terms[--next] = 0;
}

static nf_status write_result(xla_call *call, const nf_loss_result *result, const list *l,
                              const extras *e, size_t count) {
    if (e->first_gradient == 0) return NF_OK;
    if (e->terms == NULL && count > 0) return xla_write_doubles(call, 0, &result->value, 1);
    if (l != NULL && l->place != NULL) scatter_terms(l, e->terms);
    return xla_write_doubles(call, 0, e->terms, count);
}

/* x (n, d), i (p), j (p), same (p), weight (p or 0)[, upstream (p)] */
xla_error *xla_loss_pairs(xla_frame *frame) {
    xla_call call;
    if (xla_enter(&call, frame, 5, OPTIONS)) return call.error;
    nf_loss loss = loss_from_numbers(call.options);
    nf_matrix x;
    nf_matrix_out out;
    list l;
    extras e;
    nf_loss_result result;
    nf_status status = xla_matrix(&call, 0, "x", &x);
    if (status == NF_OK) status = list_get(&call, &l);
    if (status == NF_OK) status = extras_get(&call, &loss, 5, l.given, &e);
    if (status == NF_OK) status = gather_upstream(&call, &l, &e);
    if (status == NF_OK) status = xla_gradient(&call, e.first_gradient, x, &out);
    if (status == NF_OK) {
        status = nf_loss_pairs(call.context, &loss, x, l.pairs, &e.pair, &result, out);
        if (status != NF_OK && l.place != NULL) xla_note_padding(&call);
    }
    if (status == NF_OK) {
        int none = loss.reduction == NF_REDUCE_NONE;
        status = write_result(&call, &result, &l, &e, none ? l.given : 1);
    }
    return xla_leave(&call, status);
}

/* ---- rows ----------------------------------------------------------------------------------- */

/* left (p, d), right (p, d), same (p), weight (p or 0)[, upstream (p)] */
xla_error *xla_loss_rows(xla_frame *frame) {
    xla_call call;
    if (xla_enter(&call, frame, 4, OPTIONS)) return call.error;
    nf_loss loss = loss_from_numbers(call.options);
    nf_matrix left, right;
    nf_matrix_out left_out, right_out;
    const uint8_t *same = NULL;
    const double *weight = NULL;
    size_t count = 0;
    extras e;
    nf_loss_result result;
    nf_status status = xla_matrix(&call, 0, "left", &left);
    if (status == NF_OK) status = xla_matrix(&call, 1, "right", &right);
    if (status == NF_OK) status = xla_same(&call, 2, encoding_of(&call), &same, &count);
    if (status == NF_OK && count != left.rows) {
        status = xla_fail(&call, "same must have one entry per row of left");
    }
    if (status == NF_OK) status = xla_doubles(&call, 3, "weight", count, &weight);
    if (status == NF_OK) status = extras_get(&call, &loss, 4, count, &e);
    if (status == NF_OK) status = xla_gradient(&call, e.first_gradient, left, &left_out);
    if (status == NF_OK) status = xla_gradient(&call, e.first_gradient + 1, right, &right_out);
    if (status == NF_OK) {
        status = nf_loss_rows(call.context, &loss, left, right, same, weight, &e.pair, &result,
                              left_out, right_out);
    }
    if (status == NF_OK) {
        int none = loss.reduction == NF_REDUCE_NONE;
        status = write_result(&call, &result, NULL, &e, none ? count : 1);
    }
    return xla_leave(&call, status);
}

/* ---- query x reference ---------------------------------------------------------------------- */

static nf_status ids_get(xla_call *call, nf_loss_sets *sets) {
    size_t query = 0, reference = 0;
    nf_status status = xla_index(call, 4, "query_ids", &sets->query_ids, &query);
    if (status == NF_OK) {
        status = xla_index(call, 5, "reference_ids", &sets->reference_ids, &reference);
    }
    if (status != NF_OK) return status;
    if (query == 0 || reference == 0) sets->query_ids = sets->reference_ids = NULL;
    return NF_OK;
}

/* The first six operands of the targets over two sets. */
static nf_status sets_get(xla_call *call, nf_loss_sets *sets) {
    *sets = (nf_loss_sets){.query_labels = {.has_unlabelled = has_unlabelled(call)},
                           .reference_labels = {.has_unlabelled = has_unlabelled(call)}};
    nf_status status = xla_matrix(call, 0, "query", &sets->query);
    if (status == NF_OK) status = xla_labels(call, 1, "query_labels", &sets->query_labels);
    if (status == NF_OK) status = xla_matrix(call, 2, "reference", &sets->reference);
    if (status == NF_OK) status = xla_labels(call, 3, "reference_labels", &sets->reference_labels);
    return status == NF_OK ? ids_get(call, sets) : status;
}

/* query (n, d), labels (n), reference (m, d), labels (m), ids (n or 0), ids (m or 0) */
xla_error *xla_loss_reference(xla_frame *frame) {
    xla_call call;
    if (xla_enter(&call, frame, 6, OPTIONS)) return call.error;
    nf_loss loss = loss_from_numbers(call.options);
    nf_loss_sets sets;
    nf_matrix_out query_out, reference_out;
    nf_loss_result result;
    nf_status status = sets_get(&call, &sets);
    if (status == NF_OK) status = xla_gradient(&call, 1, sets.query, &query_out);
    if (status == NF_OK) status = xla_gradient(&call, 2, sets.reference, &reference_out);
    if (status == NF_OK) {
        status = nf_loss_reference(call.context, &loss, &sets, &result, query_out, reference_out);
    }
    if (status == NF_OK) status = xla_write_doubles(&call, 0, &result.value, 1);
    return xla_leave(&call, status);
}

/* The same six -> terms (n); with upstream (n) their gradients */
xla_error *xla_loss_anchors_reference(xla_frame *frame) {
    xla_call call;
    if (xla_enter(&call, frame, 6, OPTIONS)) return call.error;
    nf_loss loss = loss_from_numbers(call.options);
    nf_loss_sets sets;
    nf_matrix_out out[2] = {{0}, {0}};
    nf_row_terms of_rows = {0};
    nf_loss_result result;
    void *terms = NULL;
    const int backward = call.frame->args.size > 6;
    nf_status status = sets_get(&call, &sets);
    if (status == NF_OK && backward) {
        status = xla_doubles(&call, 6, "upstream", sets.query.rows, &of_rows.upstream);
        if (status == NF_OK) status = xla_gradient(&call, 0, sets.query, &out[0]);
        if (status == NF_OK) status = xla_gradient(&call, 1, sets.reference, &out[1]);
    } else if (status == NF_OK) {
        status = xla_allocate(&call, sets.query.rows, sizeof(double), &terms);
        of_rows.terms = terms;
    }
    if (status == NF_OK) {
        status = nf_loss_anchors_reference(call.context, &loss, &sets, &of_rows, &result, out[0],
                                           out[1]);
    }
    if (status == NF_OK && !backward) {
        status = xla_write_doubles(&call, 0, terms, sets.query.rows);
    }
    return xla_leave(&call, status);
}

/* ---- the margin loss with its boundary as an operand ---------------------------------------- */

/* More of the attribute: nu, and whether there is a boundary for each label. */
enum { NU = LOSS_NUMBERS, BY_LABEL, MARGIN_OPTIONS };

/* Operand k as beta; its gradient goes to memory of the call. */
static nf_status beta_get(xla_call *call, int64_t k, nf_margin_beta *beta) {
    void *gradient;
    *beta = (nf_margin_beta){.count = xla_count(xla_arg(call, k)),
                             .nu = call->options[NU],
                             .by_label = call->options[BY_LABEL] != 0};
    nf_status status = xla_doubles(call, k, "beta", beta->count, &beta->beta);
    if (status == NF_OK) status = xla_allocate(call, beta->count, sizeof(double), &gradient);
    if (status == NF_OK) beta->gradient = gradient;
    return status;
}

/* The value, and as result k, if it is asked for, the gradient of beta. */
static nf_status write_margin(xla_call *call, const nf_loss_result *result, int64_t k,
                              const nf_margin_beta *beta) {
    nf_status status = xla_write_doubles(call, 0, &result->value, 1);
    if (status != NF_OK || k >= call->frame->rets.size) return status;
    return xla_write_doubles(call, k, beta->gradient, beta->count);
}

/* x (n, d), labels (n), beta (1, or c) */
xla_error *xla_loss_margin(xla_frame *frame) {
    xla_call call;
    if (xla_enter(&call, frame, 3, MARGIN_OPTIONS)) return call.error;
    nf_loss loss = loss_from_numbers(call.options);
    nf_matrix x;
    nf_matrix_out out;
    nf_labels labels = {.has_unlabelled = has_unlabelled(&call)};
    nf_margin_beta beta;
    nf_loss_result result;
    nf_status status = xla_matrix(&call, 0, "x", &x);
    if (status == NF_OK) status = xla_labels(&call, 1, "labels", &labels);
    if (status == NF_OK) status = beta_get(&call, 2, &beta);
    if (status == NF_OK) status = xla_gradient(&call, 1, x, &out);
    if (status == NF_OK) {
        status = nf_loss_margin(call.context, &loss, x, labels, &beta, &result, out);
    }
    if (status == NF_OK) status = write_margin(&call, &result, 2, &beta);
    return xla_leave(&call, status);
}

/* As xla_loss_reference, beta (1, or c) */
xla_error *xla_loss_margin_reference(xla_frame *frame) {
    xla_call call;
    if (xla_enter(&call, frame, 7, MARGIN_OPTIONS)) return call.error;
    nf_loss loss = loss_from_numbers(call.options);
    nf_loss_sets sets;
    nf_matrix_out query_out, reference_out;
    nf_margin_beta beta;
    nf_loss_result result;
    nf_status status = sets_get(&call, &sets);
    if (status == NF_OK) status = beta_get(&call, 6, &beta);
    if (status == NF_OK) status = xla_gradient(&call, 1, sets.query, &query_out);
    if (status == NF_OK) status = xla_gradient(&call, 2, sets.reference, &reference_out);
    if (status == NF_OK) {
        status = nf_loss_margin_reference(call.context, &loss, &sets, &beta, &result, query_out,
                                          reference_out);
    }
    if (status == NF_OK) status = write_margin(&call, &result, 3, &beta);
    return xla_leave(&call, status);
}
