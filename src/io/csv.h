/* What is known of a delimited text before its cells are read. */
#ifndef NF_IO_CSV_H
#define NF_IO_CSV_H

#include "io/internal.h"

#define NF_CSV_NONE SIZE_MAX
#define NF_CSV_NAME 64

typedef struct nf_csv_layout {
    nf_context *context;
    const nf_csv_options *options;
    nf_csv_cursor first; /* line 1 */
    nf_csv_cursor body;  /* first row of data */
    bool header;
    size_t columns;
    size_t label; /* number of the label column, or NF_CSV_NONE */
} nf_csv_layout;

/* Separator, number of columns, header and label column. */
nf_status nf_csv_layout_find(nf_context *context, const void *bytes, size_t size,
                             const nf_csv_options *options, nf_csv_layout *layout) NF_MUST_USE;

/* " ('petal')" if the file has a header, else "". */
const char *nf_csv_column_text(const nf_csv_layout *layout, size_t column,
                               char buffer[NF_CSV_NAME]);

/* Names of all columns but `skip` as one block: pointers, then strings. */
nf_status nf_csv_column_names(const nf_csv_layout *layout, size_t skip, char ***names) NF_MUST_USE;

/* Name of one column as a block of its own. */
nf_status nf_csv_column_name(const nf_csv_layout *layout, size_t column, char **name) NF_MUST_USE;

/* A cell that should have been a number: line, column, what is wrong and the remedy. */
nf_status nf_csv_bad_cell(const nf_csv_layout *layout, const nf_csv_cell *cell, size_t column);

/* Read one row of exactly layout->columns cells, giving each to `visit` until it fails. */
typedef nf_status (*nf_csv_visit)(void *user, const nf_csv_cell *cell, size_t column);
nf_status nf_csv_row(const nf_csv_layout *layout, nf_csv_cursor *cursor, nf_csv_visit visit,
                     void *user) NF_MUST_USE;

/* True when another row follows (blank lines at the end of a table are no rows). */
bool nf_csv_more(const nf_csv_layout *layout, const nf_csv_cursor *cursor);

#endif
