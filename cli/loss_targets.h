/* Targets of nearfar loss: options to nf_targets. */
#ifndef NF_CLI_LOSS_TARGETS_H
#define NF_CLI_LOSS_TARGETS_H

#include "label_sets.h"

typedef struct cli_targets {
    nf_targets targets;
    cli_label_sets sets;
    cli_rows soft, pair_weight;
    nf_array *row_weight, *group;
} cli_targets;

/* Whether any option of targets is given, and whether they are used together rightly. */
bool cli_targets_given(const cli *app);
int cli_check_targets(cli *app);
int cli_check_reference_targets(cli *app, const nf_loss *loss);

/* Whether labels say what is positive, since neither --label-sets nor --soft does. */
bool cli_targets_need_labels(const cli *app);

/* Load them for `rows`, which they borrow from. `targets` starts zeroed. */
int cli_load_targets(cli *app, const cli_rows *rows, cli_targets *targets);

/* What rows of a reference bring; the same. */
int cli_load_reference_targets(cli *app, const cli_rows *rows, cli_targets *targets);

/* Targets of two sets as the library takes them. */
nf_reference_targets cli_reference_targets(const cli_targets *query, const cli_targets *reference);
void cli_free_targets(cli *app, cli_targets *targets);

#endif
