#include <string.h>

#include "eval/eval.h"
#include "pairs/pairs.h"

typedef struct side {
    nf_matrix x;
    nf_labels labels;
    const int64_t *ids;
    bool several; /* labels a row, in sets */
    const nf_label_sets *sets;
    const char *x_name, *labels_name;
} side;

static nf_status check_side(nf_context *context, const side *s) {
    nf_status status = nf_check_matrix(context, s->x, s->x_name);
    if (status != NF_OK) return status;
    if (s->several && s->sets == NULL) {
        return nf_fail(context, NF_ERR_ARG, "%s is NULL: give the labels of the %zu rows of %s",
                       s->labels_name, s->x.rows, s->x_name);
    }
    if (s->several) return NF_OK;
    if (s->labels.n != s->x.rows) {
        return nf_fail(context, NF_ERR_ARG, "%s has %zu values: %s has %zu rows", s->labels_name,
                       s->labels.n, s->x_name, s->x.rows);
    }
    return nf_labels_check(context, s->labels, s->labels_name);
}

static size_t count_labelled(const side *s) {
    size_t labelled = s->x.rows;
    if (!s->labels.has_unlabelled) return labelled;
    for (size_t r = 0; r < s->x.rows; r++) labelled -= s->labels.data[r] == -1;
    return labelled;
}

/* Keep the labelled rows: their labels in `label`, and copies of rows and ids when some are not. */
static nf_status compact_side(nf_context *context, side *s, size_t labelled, int64_t *label) {
    if (labelled == s->x.rows) {
        if (labelled > 0) memcpy(label, s->labels.data, labelled * sizeof *label);
        return NF_OK;
    }
    int64_t *row = NULL, *id = NULL;
    void *data = NULL;
    nf_status status = nf_scratch(context, &row, labelled, sizeof *row, "labelled rows");
    if (status == NF_OK) status = nf_scratch(context, &id, labelled, sizeof *id, "labelled rows");
    if (status == NF_OK) {
        status = nf_scratch(context, &data, labelled, s->x.cols * nf_type_size(s->x.type),
                            "copy of the labelled rows");
    }
    if (status != NF_OK) return status;
    size_t kept = 0;
    for (size_t r = 0; r < s->x.rows; r++) {
        if (s->labels.data[r] == -1) continue;
        label[kept] = s->labels.data[r];
        if (s->ids != NULL) id[kept] = s->ids[r];
        row[kept++] = (int64_t)r;
    }
    nf_matrix_out out = {data, s->x.type, labelled, s->x.cols, s->x.cols};
    status = nf_rows_gather(context, s->x, row, labelled, out);
    s->x = (nf_matrix){data, s->x.type, labelled, s->x.cols, s->x.cols};
    if (s->ids != NULL) s->ids = id;
    return status;
}

/* Class numbers of `count` labels, the same across both sides. */
static nf_status number_classes(nf_context *context, const int64_t *label, size_t count,
                                uint32_t *class, nf_eval_sets *sets) {
    nf_partition *partition;
    nf_status status = nf_partition_create(context, (nf_labels){label, count, 0}, &partition);
    if (status != NF_OK) return status;
    for (size_t r = 0; r < count; r++) class[r] = (uint32_t)partition->class_of[r];
    sets->classes = partition->classes;
    nf_partition_free(context, partition);
    return NF_OK;
}

/* Numbers of sets in the place of labels; -1 for rows without any. */
static nf_status number_sets(nf_context *context, side *query, side *reference,
                             nf_row_labels *all) {
    const bool both = reference->sets != NULL; /* NULL for a set with itself */
    int64_t *number = NULL;
    nf_status status =
        nf_row_labels_make(context, query->sets, query->x.rows, query->labels_name, reference->sets,
                           both ? reference->x.rows : 0, reference->labels_name, all);
    if (status == NF_OK) {
        status = nf_scratch(context, &number, all->rows, sizeof *number, "label sets");
    }
    if (status == NF_OK) status = nf_row_labels_number(context, all, number);
    if (status != NF_OK) return status;
    query->labels = (nf_labels){number, query->x.rows, 1};
    if (both) reference->labels = (nf_labels){number + query->x.rows, reference->x.rows, 1};
    return NF_OK;
}

static nf_status check_sides(nf_context *context, const side *query, const side *reference,
                             bool self) {
    nf_status status = check_side(context, query);
    if (status == NF_OK && !self) status = check_side(context, reference);
    if (status == NF_OK && !self && (query->ids == NULL) != (reference->ids == NULL)) {
        status = nf_fail(context, NF_ERR_ARG, "%s is NULL: give ids for both sides or for neither",
                         query->ids == NULL ? "query_ids" : "reference_ids");
    }
    return status;
}

/* How many references each class has, and with sets which classes share a label. */
static nf_status relate(nf_context *context, const nf_row_labels *all, const uint32_t *class,
                        nf_eval_sets *sets) {
    size_t *rows = NULL;
    nf_status status = nf_scratch(context, &rows, sets->classes, sizeof *rows, "counts of classes");
    if (status != NF_OK) return status;
    memset(rows, 0, sets->classes * sizeof *rows);
    for (size_t j = 0; j < sets->reference.rows; j++) rows[sets->reference_class[j]]++;
    sets->class_rows = rows;
    if (all == NULL) return NF_OK;
    status = nf_scratch(context, &sets->relation, 1, sizeof *sets->relation, "label sets");
    if (status != NF_OK) return status;
    return nf_relation_make(context, all, class, sets->classes, rows, sets->relation);
}

static nf_status compact_sides(nf_context *context, side *query, side *reference, bool self,
                               nf_eval_sets *sets, uint32_t **classes) {
    const size_t queries = count_labelled(query);
    const size_t references = self ? 0 : count_labelled(reference);
    int64_t *label = NULL;
    uint32_t *class = NULL;
    if (queries + references > NF_MAX_ROWS) {
        return nf_fail(context, NF_ERR_RANGE, "%zu rows in all: at most 2^32 - 1 are supported",
                       queries + references);
    }
    nf_status status = nf_scratch(context, &label, queries + references, sizeof *label, "labels");
    if (status == NF_OK) {
        status = nf_scratch(context, &class, queries + references, sizeof *class, "classes");
    }
    if (status == NF_OK) status = compact_side(context, query, queries, label);
    if (status == NF_OK && !self) {
        status = compact_side(context, reference, references, label + queries);
    }
    if (status == NF_OK) {
        status = number_classes(context, label, queries + references, class, sets);
    }
    *classes = class;
    return status;
}

nf_status nf_eval_sets_make(nf_context *context, const nf_eval_input *input, nf_eval_sets *sets) {
    const bool self = input->self, several = input->several;
    const char *names[2] = {several ? "query_sets" : "query_labels",
                            several ? "reference_sets" : "reference_labels"};
    if (self) names[0] = several ? "sets" : "labels";
    side query = {input->query,      input->query_labels,  input->query_ids, several,
                  input->query_sets, self ? "x" : "query", names[0]};
    side reference = {input->reference, input->reference_labels, input->reference_ids,
                      several,          input->reference_sets,   "reference",
                      names[1]};
    nf_row_labels all;
    uint32_t *class = NULL;
    *sets = (nf_eval_sets){.self = self};
    nf_status status = check_sides(context, &query, &reference, self);
    if (status == NF_OK && several) status = number_sets(context, &query, &reference, &all);
    if (status == NF_OK) status = compact_sides(context, &query, &reference, self, sets, &class);
    if (status != NF_OK) return status;
    sets->query = query.x;
    sets->reference = self ? query.x : reference.x;
    sets->query_class = class;
    sets->reference_class = self ? class : class + query.x.rows;
    sets->query_id = self ? NULL : query.ids;
    sets->reference_id = self ? NULL : reference.ids;
    return relate(context, several ? &all : NULL, class, sets);
}
