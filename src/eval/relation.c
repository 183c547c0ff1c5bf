#include "eval/relation.h"

#include <string.h>

#include "pairs/pairs.h"

/* ---- labels of rows --------------------------------------------------------------------------- */

static nf_status check_count(nf_context *context, size_t first, size_t second) {
    if (first <= NF_MAX_ROWS && second <= NF_MAX_ROWS - first) return NF_OK;
    return nf_fail(context, NF_ERR_RANGE,
                   "the label sets hold %zu and %zu labels: at most 2^32 - 1 in all are supported",
                   first, second);
}

/* Rows of sorted sets behind those there are, each label once. */
static void append(const nf_label_sets *sets, const int64_t *sorted, size_t rows, size_t *offset,
                   int64_t *label) {
    size_t count = offset[0];
    for (size_t r = 0; r < rows; r++) {
        const size_t first = sets->offset[r], end = sets->offset[r + 1];
        for (size_t l = first; l < end; l++) {
            if (l == first || sorted[l] != sorted[l - 1]) label[count++] = sorted[l];
        }
        offset[r + 1] = count;
    }
}

static nf_status number_labels(nf_context *context, const int64_t *label, size_t count,
                               uint32_t *number, size_t *labels) {
    nf_partition *partition;
    nf_status status = nf_partition_create(context, (nf_labels){label, count, 0}, &partition);
    if (status != NF_OK) return status;
    for (size_t l = 0; l < count; l++) number[l] = (uint32_t)partition->class_of[l];
    *labels = partition->classes;
    nf_partition_free(context, partition);
    return NF_OK;
}

nf_status nf_row_labels_make(nf_context *context, const nf_label_sets *query, size_t rows,
                             const char *query_name, const nf_label_sets *reference,
                             size_t reference_rows, const char *reference_name,
                             nf_row_labels *all) {
    const int64_t *sorted[2] = {NULL, NULL};
    size_t *offset = NULL, more = 0;
    int64_t *label = NULL;
    uint32_t *number = NULL;
    nf_status status = nf_label_sets_sort(context, query, rows, query_name, &sorted[0]);
    if (status == NF_OK && reference != NULL) {
        status = nf_label_sets_sort(context, reference, reference_rows, reference_name, &sorted[1]);
        if (status == NF_OK) more = reference->offset[reference_rows];
    }
    if (status == NF_OK) status = check_count(context, query->offset[rows], more);
    if (status != NF_OK) return status;
    const size_t count = query->offset[rows] + more;
    status = nf_scratch(context, &label, count, sizeof *label, "label sets");
    if (status == NF_OK) status = nf_scratch(context, &number, count, sizeof *number, "label sets");
    if (status == NF_OK) {
        status =
            nf_scratch(context, &offset, rows + reference_rows + 1, sizeof *offset, "label sets");
    }
    if (status != NF_OK) return status;
    offset[0] = 0;
    append(query, sorted[0], rows, offset, label);
    if (reference != NULL) append(reference, sorted[1], reference_rows, offset + rows, label);
    *all = (nf_row_labels){.rows = rows + reference_rows, .offset = offset, .label = number};
    return number_labels(context, label, offset[all->rows], number, &all->labels);
}

/* ---- sets to numbers -------------------------------------------------------------------------- */

/* Rows whose first labels are equal have one node. `open` rows have a label at `depth` still. */
typedef struct numbering {
    const nf_row_labels *all;
    size_t open, depth;
    size_t *row;   /* (open) */
    int64_t *node; /* (open) */
    int64_t *key;  /* (open) node and next label */
    int64_t numbers;
} numbering;

/* Close rows that end at this depth: those of one node are one set. */
static void close_rows(numbering *n, size_t nodes, int64_t *number_of_node, int64_t *number) {
    size_t kept = 0;
    for (size_t o = 0; o < nodes; o++) number_of_node[o] = -1;
    for (size_t o = 0; o < n->open; o++) {
        const size_t row = n->row[o];
        if (n->all->offset[row] + n->depth < n->all->offset[row + 1]) {
            n->row[kept] = row;
            n->node[kept++] = n->node[o];
            continue;
        }
        int64_t *known = &number_of_node[n->node[o]];
        if (*known < 0) *known = n->numbers++;
        number[row] = *known;
    }
    n->open = kept;
}

static nf_status descend(nf_context *context, numbering *n, size_t *nodes) {
    for (size_t o = 0; o < n->open; o++) {
        const uint64_t label = n->all->label[n->all->offset[n->row[o]] + n->depth];
        n->key[o] = (int64_t)((uint64_t)n->node[o] << 32 | label);
    }
    nf_partition *partition;
    nf_status status = nf_partition_create(context, (nf_labels){n->key, n->open, 0}, &partition);
    if (status != NF_OK) return status;
    if (n->open > 0) memcpy(n->node, partition->class_of, n->open * sizeof *n->node);
    *nodes = partition->classes;
    nf_partition_free(context, partition);
    n->depth++;
    return NF_OK;
}

nf_status nf_row_labels_number(nf_context *context, const nf_row_labels *all, int64_t *number) {
    numbering n = {.all = all};
    int64_t *number_of_node = NULL;
    nf_status status = nf_scratch(context, &n.row, all->rows, sizeof *n.row, "label sets");
    if (status == NF_OK) {
        status = nf_scratch(context, &n.node, all->rows, sizeof *n.node, "label sets");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &n.key, all->rows, sizeof *n.key, "label sets");
    }
    if (status == NF_OK) {
        status =
            nf_scratch(context, &number_of_node, all->rows, sizeof *number_of_node, "label sets");
    }
    if (status != NF_OK) return status;
    for (size_t r = 0; r < all->rows; r++) {
        number[r] = -1;
        if (all->offset[r] == all->offset[r + 1]) continue;
        n.row[n.open] = r;
        n.node[n.open++] = 0;
    }
    while (n.open > 0 && status == NF_OK) {
        size_t nodes = 0;
        status = descend(context, &n, &nodes);
        if (status == NF_OK) close_rows(&n, nodes, number_of_node, number);
    }
    return status;
}

/* ---- the relation ----------------------------------------------------------------------------- */

static nf_status make_scratch(nf_context *context, size_t count, nf_relation *relation) {
    const size_t workers = (size_t)context->threads;
    nf_status status = nf_scratch(context, &relation->class_offset, relation->classes + 1,
                                  sizeof(size_t), "label sets");
    if (status == NF_OK) {
        status = nf_scratch(context, &relation->label_offset, relation->labels + 1, sizeof(size_t),
                            "label sets");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &relation->class_label, count, sizeof(uint32_t), "label sets");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &relation->label_class, count, sizeof(uint32_t), "label sets");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &relation->asked, workers, sizeof(uint32_t), "label sets");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &relation->relevant, workers, sizeof(size_t), "label sets");
    }
    if (status == NF_OK) {
        status = nf_scratch(context, &relation->related, workers, relation->classes, "label sets");
    }
    return status;
}

/* The labels of each class are those of its first row. */
static void fill_classes(const nf_row_labels *all, const uint32_t *class, nf_relation *relation) {
    size_t seen = 0, labelled = 0, count = 0;
    relation->class_offset[0] = 0;
    for (size_t r = 0; r < all->rows; r++) {
        const size_t first = all->offset[r], end = all->offset[r + 1];
        if (first == end || class[labelled++] != seen) continue;
        for (size_t l = first; l < end; l++) relation->class_label[count++] = all->label[l];
        relation->class_offset[++seen] = count;
    }
}

/* Classes of each label, by counting. */
static void fill_labels(nf_relation *relation) {
    size_t *offset = relation->label_offset;
    const size_t count = relation->class_offset[relation->classes];
    memset(offset, 0, (relation->labels + 1) * sizeof *offset);
    for (size_t l = 0; l < count; l++) offset[relation->class_label[l] + 1]++;
    for (size_t l = 0; l < relation->labels; l++) offset[l + 1] += offset[l];
    /* offset[l] serves as the cursor of label l and ends as the start of label l + 1. */
    for (size_t c = 0; c < relation->classes; c++) {
        for (size_t l = relation->class_offset[c]; l < relation->class_offset[c + 1]; l++) {
            relation->label_class[offset[relation->class_label[l]]++] = (uint32_t)c;
        }
    }
    for (size_t l = relation->labels; l > 0; l--) offset[l] = offset[l - 1];
    offset[0] = 0;
}

nf_status nf_relation_make(nf_context *context, const nf_row_labels *all, const uint32_t *class,
                           size_t classes, const size_t *class_rows, nf_relation *relation) {
    *relation = (nf_relation){.classes = classes, .labels = all->labels, .class_rows = class_rows};
    nf_status status = make_scratch(context, all->offset[all->rows], relation);
    if (status != NF_OK) return status;
    const size_t workers = (size_t)context->threads;
    for (size_t w = 0; w < workers; w++) relation->asked[w] = UINT32_MAX;
    memset(relation->related, 0, workers * classes);
    fill_classes(all, class, relation);
    fill_labels(relation);
    return NF_OK;
}

/* Set the mark of the classes that share a label with `class`; how many references changed. */
static size_t mark(const nf_relation *relation, uint32_t class, uint8_t value, uint8_t *related) {
    size_t changed = 0;
    for (size_t l = relation->class_offset[class]; l < relation->class_offset[class + 1]; l++) {
        const uint32_t label = relation->class_label[l];
        for (size_t c = relation->label_offset[label]; c < relation->label_offset[label + 1]; c++) {
            const uint32_t other = relation->label_class[c];
            changed += related[other] != value ? relation->class_rows[other] : 0;
            related[other] = value;
        }
    }
    return changed;
}

const uint8_t *nf_relation_of(nf_relation *relation, int worker, uint32_t class) {
    uint8_t *related = relation->related + (size_t)worker * relation->classes;
    uint32_t *asked = &relation->asked[worker];
    if (*asked == class) return related;
    if (*asked != UINT32_MAX) mark(relation, *asked, 0, related);
    relation->relevant[worker] = mark(relation, class, 1, related);
    *asked = class;
    return related;
}
