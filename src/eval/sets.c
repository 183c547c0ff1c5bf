#include <string.h>

#include "eval/eval.h"
#include "pairs/pairs.h"

typedef struct side {
    nf_matrix x;
    nf_labels labels;
    const int64_t *ids;
    const char *x_name, *labels_name;
} side;

static nf_status check_side(nf_context *context, const side *s, size_t *labelled) {
    nf_status status = nf_check_matrix(context, s->x, s->x_name);
    if (status == NF_OK && s->labels.n != s->x.rows) {
        status = nf_fail(context, NF_ERR_ARG, "%s has %zu values: %s has %zu rows", s->labels_name,
                         s->labels.n, s->x_name, s->x.rows);
    }
    if (status == NF_OK) status = nf_labels_check(context, s->labels, s->labels_name);
    *labelled = s->x.rows;
    if (status != NF_OK || !s->labels.has_unlabelled) return status;
    for (size_t r = 0; r < s->x.rows; r++) *labelled -= s->labels.data[r] == -1;
    return NF_OK;
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
    sets->positive_pairs = partition->positive_pairs;
    sets->negative_pairs = partition->negative_pairs;
    nf_partition_free(context, partition);
    return NF_OK;
}

nf_status nf_eval_sets_make(nf_context *context, const nf_eval_input *input, nf_eval_sets *sets) {
    side query = {input->query, input->query_labels, input->query_ids, input->self ? "x" : "query",
                  input->self ? "labels" : "query_labels"};
    side reference = {input->reference, input->reference_labels, input->reference_ids, "reference",
                      "reference_labels"};
    size_t queries = 0, references = 0;
    int64_t *label = NULL;
    uint32_t *class = NULL;
    nf_status status = check_side(context, &query, &queries);
    if (status == NF_OK && !input->self) status = check_side(context, &reference, &references);
    if (status == NF_OK && !input->self && (query.ids == NULL) != (reference.ids == NULL)) {
        status = nf_fail(context, NF_ERR_ARG, "%s is NULL: give ids for both sides or for neither",
                         query.ids == NULL ? "query_ids" : "reference_ids");
    }
    if (status == NF_OK && queries + references > NF_MAX_ROWS) {
        status = nf_fail(context, NF_ERR_RANGE, "%zu rows in all: at most 2^32 - 1 are supported",
                         queries + references);
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &label, queries + references, sizeof *label, "labels");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &class, queries + references, sizeof *class, "classes");
    }
    if (status == NF_OK) status = compact_side(context, &query, queries, label);
    if (status == NF_OK && !input->self) {
        status = compact_side(context, &reference, references, label + queries);
    }
    if (status == NF_OK) {
        status = number_classes(context, label, queries + references, class, sets);
    }
    if (status != NF_OK) return status;
    sets->self = input->self;
    sets->query = query.x;
    sets->reference = input->self ? query.x : reference.x;
    sets->query_class = class;
    sets->reference_class = input->self ? class : class + queries;
    sets->query_id = input->self ? NULL : query.ids;
    sets->reference_id = input->self ? NULL : reference.ids;
    return NF_OK;
}
