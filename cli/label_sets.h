/* Several labels a row: indicators to nf_label_sets. */
#ifndef NF_CLI_LABEL_SETS_H
#define NF_CLI_LABEL_SETS_H

#include "data.h"

typedef struct cli_label_sets {
    cli_rows indicators;
    size_t *offset;
    int64_t *label;
    nf_label_sets sets;
} cli_label_sets;

/* Load the file of option `id` for `n` rows. `sets` starts zeroed. */
int cli_load_label_sets(cli *app, cli_option_id id, size_t n, cli_label_sets *sets);
void cli_free_label_sets(cli *app, cli_label_sets *sets);

#endif
