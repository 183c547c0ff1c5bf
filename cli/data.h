/* Inputs of the subcommands: rows, labels, `same`, weights, ids; and the loss they ask for. */
#ifndef NF_CLI_DATA_H
#define NF_CLI_DATA_H

#include "cli.h"

typedef struct cli_rows {
    const char *source;            /* as given on the command line */
    nf_table *table, *label_table; /* what owns x and the labels; label_table may be NULL */
    const nf_table *names;         /* the one of the two that holds the labels, or NULL */
    double *widened;               /* x as float64, made by cli_match_types */
    nf_matrix x;
    nf_labels labels; /* data NULL without labels */
} cli_rows;

/* Load rows from `source`. `labels` is the value of a --labels option (a file or :COLUMN) or NULL;
 * `needs` names that option when the rows must have labels, else NULL. Refuses NaN and Inf. */
int cli_load_rows(cli *app, const char *source, const char *labels, const char *needs,
                  cli_rows *rows);

/* Load labels alone; x stays empty. */
int cli_load_labels(cli *app, const char *source, cli_rows *rows);

void cli_free_rows(cli *app, cli_rows *rows);

/* Give two sets one type: the float32 one becomes float64 if the other is. */
int cli_match_types(cli *app, cli_rows *a, cli_rows *b);
/* Two sets must have the same number of columns. */
int cli_match_columns(cli *app, const cli_rows *a, const cli_rows *b);
/* Give equal class names of two sets equal numbers (b's labels change). */
int cli_match_classes(cli *app, cli_rows *a, cli_rows *b);

/* --reference with its labels and ids: the options fit together; load and match them to `query`. */
int cli_check_reference(cli *app);
int cli_load_reference(cli *app, cli_rows *query, cli_rows *reference, nf_array **ids,
                       nf_array **reference_ids);

/* Arrays given by options; each must have `n` entries. *out stays NULL if the option is not set. */
int cli_load_same(cli *app, cli_option_id id, size_t n, nf_array **out);
int cli_load_doubles(cli *app, cli_option_id id, size_t n, nf_array **out);
int cli_load_ids(cli *app, cli_option_id id, size_t n, nf_array **out);

nf_same_encoding cli_same_encoding(const cli *app);

/* Text of --labels under either of its meanings, or NULL. */
const char *cli_labels_text(const cli *app);

/* A preset with the options laid over it; `base` holds the reduction that presets with `mean` get.
 * Says so when another metric meets a preset's exponent; refuses dot without a margin. */
int cli_resolve_loss(cli *app, nf_reduction base, nf_loss *loss);
void cli_json_loss(json_t *object, const nf_loss *loss);
const char *cli_loss_name(const cli *app);

/* Options of train --mine: whether there is one, they fit together, and what they ask for. */
bool cli_trains_mined(const cli *app);
int cli_check_miner(cli *app);
nf_mine_options cli_miner_options(const cli *app);
void cli_json_miner(json_t *object, const nf_mine_options *options);

/* Options of pairs --mine: they fit together. */
int cli_check_mining(cli *app);
/* Whether a seed changes what is mined. */
bool cli_mines_at_random(const cli *app);
/* Whether triplets are to be written. */
bool cli_writes_triplets(const cli *app);
/* Mine data, against the reference set with --reference; ids may be NULL. */
nf_status cli_mine(const cli *app, const cli_rows *data, const cli_rows *reference,
                   const nf_array *ids, const nf_array *reference_ids, nf_mined **mined);

/* Options of distances that several subcommands share. */
nf_distance_options cli_distance_options(const cli *app);
/* Whether its options go together. */
int cli_check_distance(cli *app);

#endif
