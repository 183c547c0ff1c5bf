/* Rows with several labels: rows of one set of labels are a class, and two classes are related when
 * they share a label. */
#ifndef NF_EVAL_RELATION_H
#define NF_EVAL_RELATION_H

#include "base/base.h"
#include "nearfar/pairs.h"

/* Labels numbered across both sides, those of a row ascending and each once. */
typedef struct nf_row_labels {
    size_t rows;
    const size_t *offset; /* (rows + 1) */
    const uint32_t *label;
    size_t labels; /* how many there are */
} nf_row_labels;

/* Check the sets of `rows` query rows and, unless `reference` is NULL, of `reference_rows` more, which
 * follow in `all`. The names are for messages. */
nf_status nf_row_labels_make(nf_context *context, const nf_label_sets *query, size_t rows,
                             const char *query_name, const nf_label_sets *reference,
                             size_t reference_rows, const char *reference_name,
                             nf_row_labels *all) NF_MUST_USE;

/* A number for every row, equal for equal sets; -1 for empty ones. */
nf_status nf_row_labels_number(nf_context *context, const nf_row_labels *all,
                               int64_t *number) NF_MUST_USE;

typedef struct nf_relation {
    size_t classes, labels;
    size_t *class_offset;  /* (classes + 1) */
    uint32_t *class_label; /* ascending within a class */
    size_t *label_offset;  /* (labels + 1) */
    uint32_t *label_class;
    const size_t *class_rows; /* (classes) references of each */

    /* Of each worker: the class that was asked about last, whether each class is related to it, and
     * how many references are. */
    uint32_t *asked;
    uint8_t *related; /* (workers, classes) */
    size_t *relevant;
} nf_relation;

/* From the rows with labels in order, row r of them being of class[r]; classes are numbered by first
 * appearance. `class_rows` is kept. */
nf_status nf_relation_make(nf_context *context, const nf_row_labels *all, const uint32_t *class,
                           size_t classes, const size_t *class_rows,
                           nf_relation *relation) NF_MUST_USE;

/* Whether classes (classes) are related to `class`, itself too. Valid until the worker asks again. */
const uint8_t *nf_relation_of(nf_relation *relation, int worker, uint32_t class);

#endif
