/* Parts of nearfar train: options to settings, settings to JSON, events to words. */
#ifndef NF_CLI_TRAIN_H
#define NF_CLI_TRAIN_H

#include "data.h"

typedef struct cli_training {
    cli *app;
    bool from_pairs; /* --left, --right, --same */
    bool all_rows;   /* --batch-size all */
    nf_model_options model;
    nf_train_options options;
    nf_mine_options mine; /* what options.mine points to, if it does */
    size_t epoch;         /* last finished */
} cli_training;

/* Options that do not go together are refused; the rest fill model and options. */
int cli_train_settings(cli *app, cli_training *training);

/* Write what the trainer does not know into the model: the preset's name and, if `names` has them,
 * class names. */
int cli_train_metadata(cli *app, nf_model *model, const nf_table *names);

/* The settings as JSON. */
json_t *cli_train_json(const cli_training *training);

/* An nf_train_fn: warnings, progress, and whether to go on. */
int cli_train_event(void *user, const nf_train_event *event);

#endif
