/* Figures about an array: range, NaN count, and for labels the classes. */
#ifndef NF_CLI_SUMMARY_H
#define NF_CLI_SUMMARY_H

#include "cli.h"

typedef struct cli_summary {
    bool integral; /* an integer or bool type */
    size_t finite, nan, infinite;
    long double low, high; /* of the finite values; long double holds every int64 and uint64 */
    double mean;
} cli_summary;

int cli_summarise(cli *app, const nf_array *array, cli_summary *summary);
void cli_summary_print(cli *app, const nf_array *array, const cli_summary *summary);
void cli_summary_json(json_t *document, const nf_array *array, const cli_summary *summary);

/* "(1797, 64)" */
void cli_shape_text(const nf_array *array, char *buffer, size_t size);

/* Whole numbers of shape (n) or (n, 1): perhaps labels. */
bool cli_is_labels(const nf_array *array);

/* Classes with their counts, to the table of results or into the document. `names` is the table
 * that knows class names, or NULL. */
int cli_show_classes(cli *app, json_t *document, const nf_array *labels, const nf_table *names);

#endif
