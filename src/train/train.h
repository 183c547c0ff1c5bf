/* Trainer internals.
 *
 * A run works on copies: parameters, standardisation and metadata are put into the model in one go
 * when it ends (commit in loop.c, which cannot fail). A source says where the pairs of a step come
 * from; the loop is the same for all.
 */
#ifndef NF_TRAIN_TRAIN_H
#define NF_TRAIN_TRAIN_H

#include "loss/target.h"
#include "model/model.h"
#include "nearfar/pairs.h"
#include "nearfar/train.h"

#define NF_DIAGNOSE_SIDE 500 /* sampled pairs of each side looked at before training */
#define NF_WARNING_SIZE 1024

typedef struct nf_run nf_run;

/* Where pairs come from. `load` puts the rows of a step into run->a.h[0] and their number into
 * run->rows; `loss` turns the embedding run->a.y into run->a.gradient[0]. */
typedef struct nf_source {
    size_t steps;    /* per epoch */
    size_t capacity; /* most rows of one step */
    nf_status (*begin_epoch)(nf_run *run, size_t epoch);
    nf_status (*load)(nf_run *run, size_t step);
    nf_status (*loss)(nf_run *run, nf_loss_result *result);
    nf_matrix x, right; /* inputs; right: second rows of offline pairs */
    size_t rows;        /* training rows, or offline pairs */

    /* labelled rows (source_labels.c) */
    const size_t *row;       /* training row -> row of x */
    nf_partition *partition; /* of the training rows; owned */
    nf_batches *batches;     /* of this epoch; owned */
    int64_t *i, *j;          /* drawn pairs of this epoch */
    uint8_t *drawn_same;
    int64_t *step_labels;
    const nf_target_rule *targets; /* of rows of x, or NULL */
    bool own_positives;            /* which say what is positive: the partition has one class */
    size_t example[2][2];          /* then a negative and a positive pair of training rows */
    struct nf_bank *bank;          /* rows of earlier batches, or NULL; owned */
    int64_t *step_ids;             /* of the batch in the bank */
    size_t *step_row; /* rows of x; of drawn pairs the left rows, then the right rows */

    /* offline pairs (source_rows.c) */
    size_t *order; /* shuffled */
    const uint8_t *same;
    const double *weight; /* or NULL */

    uint8_t *step_same; /* pairs of both kinds */
    double *step_weight;
} nf_source;

/* The boundary of the margin loss while it is learnt (beta.c). */
typedef struct nf_learnt_beta {
    size_t count; /* 0: it is not */
    double *value, *gradient, *best;
    double *moment[2];    /* SGD uses the first */
    const int64_t *label; /* (count) whose they are; NULL: of all classes */
} nf_learnt_beta;

/* Sums over an epoch. */
typedef struct nf_epoch_sums {
    double loss, positive_distance, negative_distance;
    uint64_t steps, positive, negative, active_positive, active_negative;
    uint64_t mined, empty_steps;
} nf_epoch_sums;

struct nf_run {
    nf_context *context;
    nf_model *model;
    nf_train_options options;
    nf_train_fn on_event;
    void *user;
    nf_train_report report;
    nf_source source;

    double *mean, *std; /* NULL without standardisation */
    float *parameter, *next, *gradient, *best;
    float *moment[2]; /* SGD uses the first */
    double power[2];  /* beta^t of Adam */
    nf_learnt_beta beta;
    size_t mined; /* pairs or triplets of this step, with a miner */
    bool warned_empty;
    const int64_t *class_label; /* label of the class numbers that nf_source_labels is given */
    uint64_t step, total_steps;
    size_t rows; /* of this step */
    nf_activations a;

    nf_matrix valid_x;
    const size_t *valid_row;     /* row of valid_x; NULL: all in order */
    const int64_t *valid_labels; /* class numbers */
    size_t valid_rows;
    float *valid_y;
    double highest; /* MAP@R yet */

    double first_positive, first_negative; /* mean distances before training */
    double started;                        /* seconds */
    bool owns_reserve;
    char warning[NF_WARNING_SIZE];
    nf_entries metadata; /* what the model will hold; owned */
};

/* Pairs looked at before training. */
typedef struct nf_sample {
    size_t count;
    size_t *left, *right; /* rows of source.x, and of right_x */
    uint8_t *same;
    nf_matrix right_x;
} nf_sample;

/* ---- options.c, config.c -------------------------------------------------------------------- */

/* `labels`: for labelled rows; what only those use is not looked at for offline pairs. */
nf_status nf_train_options_check(nf_context *context, const nf_train_options *options,
                                 bool labels) NF_MUST_USE;
/* The resolved options as metadata `train.*` in run->metadata, with blanks for results, which
 * nf_train_config_results fills without allocating. */
nf_status nf_train_config_write(nf_run *run) NF_MUST_USE;
void nf_train_config_results(nf_run *run);

/* ---- split.c -------------------------------------------------------------------------------- */

/* Stratified split of the labelled rows: train and valid (each with room for partition->labelled
 * entries) get row numbers, ascending. A class of n rows gives round(fraction n), at most n - 1. */
nf_status nf_split(nf_context *context, const nf_partition *partition, double fraction,
                   uint64_t seed, size_t *train, size_t *train_rows, size_t *valid,
                   size_t *valid_rows) NF_MUST_USE;

/* ---- source_labels.c, source_rows.c, sample.c ----------------------------------------------- */

/* Fill run->source for training rows `row` of x; classes[k] is the class of the k-th. */
nf_status nf_source_labels(nf_run *run, nf_matrix x, const size_t *row, size_t rows,
                           const int64_t *classes) NF_MUST_USE;
/* source_targets.c: the rule of data->targets in run->source, whose own_positives is set. */
nf_status nf_source_targets_make(nf_run *run, const nf_train_data *data) NF_MUST_USE;
/* Fill run->source for rows whose targets say what is positive. */
nf_status nf_source_targets(nf_run *run, nf_matrix x) NF_MUST_USE;
nf_status nf_source_targets_loss(nf_run *run, nf_loss_result *result) NF_MUST_USE;
nf_status nf_source_targets_sample(nf_run *run, nf_sample *sample) NF_MUST_USE;
nf_status nf_source_rows(nf_run *run, nf_matrix left, nf_matrix right, const uint8_t *same,
                         const double *weight) NF_MUST_USE;
/* Loss of run->rows / 2 pairs: embeddings of left rows, then of right rows. */
nf_status nf_source_loss_pairs(nf_run *run, nf_loss_result *result) NF_MUST_USE;
/* Up to NF_DIAGNOSE_SIDE pairs of each side of the source. */
nf_status nf_source_sample(nf_run *run, nf_sample *sample) NF_MUST_USE;
void nf_source_free(nf_run *run);

/* ---- mine.c --------------------------------------------------------------------------------- */

/* What a miner goes with. */
nf_status nf_mined_check(nf_context *context, const nf_train_options *options,
                         bool labels) NF_MUST_USE;
/* The loss of what the miner finds in the batch of labelled rows; run->mined is how much that is. */
nf_status nf_source_mined_loss(nf_run *run, nf_loss_result *result) NF_MUST_USE;

/* ---- optimizer.c ---------------------------------------------------------------------------- */

double nf_learning_rate(const nf_train_options *options, uint64_t step, uint64_t total_steps);
/* run->next = update of run->parameter along run->gradient; then they change places. If the result
 * is not finite they do not, and *finite is false. */
nf_status nf_optimizer_step(nf_run *run, bool *finite) NF_MUST_USE;
bool nf_all_finite(const float *values, size_t count);
/* The same update for the learnt betas, to be called after it; false if one is not finite. */
bool nf_optimizer_step_beta(nf_run *run);

/* ---- beta.c --------------------------------------------------------------------------------- */

/* Betas for the classes of the source, from the model's metadata or loss.beta. */
nf_status nf_beta_begin(nf_run *run) NF_MUST_USE;
/* The learnt betas by the labels of a step, which are class numbers; count 0 where none is. */
nf_margin_beta nf_beta_view(const nf_run *run);
/* Those of the weights that are kept. */
const double *nf_beta_result(const nf_run *run);
double nf_beta_mean(const nf_learnt_beta *beta, const double *value);
void nf_beta_report(nf_run *run);

/* ---- diagnose.c ----------------------------------------------------------------------------- */

/* Look at sampled pairs under the initial weights: fills the event's loss and distances and the
 * report's median and suggested margin, and warns. */
nf_status nf_diagnose(nf_run *run, nf_train_event *event) NF_MUST_USE;
/* Append a sentence to run->warning. */
void nf_warn(nf_run *run, const char *format, ...) NF_PRINTF(2, 3);

/* ---- loop.c --------------------------------------------------------------------------------- */

/* Diagnosis, epochs, commit. Options, source, standardisation and validation are set. */
nf_status nf_run_train(nf_run *run, nf_train_report *report) NF_MUST_USE;
void nf_run_free(nf_run *run);

#endif
