/* Training: batch, forward, loss over all pairs of the batch, backward, update.
 *
 * The same (model options, data, training options) gives the same bytes of the model for any
 * number of threads. Randomness is counter-based: (seed, epoch, step).
 */
#ifndef NEARFAR_TRAIN_H
#define NEARFAR_TRAIN_H

#include "nearfar/loss.h"
#include "nearfar/mine.h"
#include "nearfar/model.h"
#include "nearfar/targets.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum nf_optimizer { NF_ADAM = 0, NF_SGD = 1 } nf_optimizer;
typedef enum nf_schedule { NF_SCHEDULE_COSINE = 0, NF_SCHEDULE_CONSTANT = 1 } nf_schedule;

/* Where the pairs of a step come from. */
typedef enum nf_sampling {
    NF_SAMPLE_M_PER_CLASS = 0, /* all pairs inside a batch with per_class rows of each class */
    NF_SAMPLE_RANDOM = 1,      /* all pairs inside a random batch */
    NF_SAMPLE_ALL = 2,         /* full batch: every pair of the training rows */
    NF_SAMPLE_PAIRS = 3 /* batch_size pairs a step, drawn anew each epoch (nf_pairs_sample) */
} nf_sampling;

/* Whether the boundary beta of a loss of kind margin is learnt with the weights. */
typedef enum nf_learn_beta {
    NF_LEARN_BETA_NONE = 0,   /* it is loss.beta throughout */
    NF_LEARN_BETA_GLOBAL = 1, /* one for all classes */
    NF_LEARN_BETA_CLASS = 2   /* one for the anchors of each class */
} nf_learn_beta;

typedef struct nf_train_options {
    nf_loss loss;             /* default weston with reduction mean-sides and pos_weight 0.1: a pull
                                 as strong as the push collapses directions that tell classes apart
                                 (a linear map of the digits: held-out MAP@R 0.69 with 1, 0.74 with
                                 0.1). stats is always taken as 1 */
    nf_sampling sampling;     /* default m-per-class */
    size_t batch_size;        /* rows (or pairs) per step; default 128 */
    size_t per_class;         /* m-per-class only; default 4 */
    double positive_fraction; /* sampled pairs only; default 0.5 */
    size_t memory_bank;       /* rows of earlier batches that a batch meets too (bank.h), with the
                                 embeddings of when they were last seen; not with sampled pairs, nor
                                 with NF_SAMPLE_ALL, whose batch is every row; default 0: none */
    const nf_mine_options
        *mine;                /* a miner between embedding and loss: each step's loss is that of the
                                 pairs or triplets it finds in the batch (nf_loss_pairs,
                                 nf_loss_triplets); below. NULL (default): none, all pairs */
    nf_learn_beta learn_beta; /* kind margin; starts from what an earlier run left in the model's
                                 metadata (train.beta), where there is none from loss.beta. Default
                                 none */
    double beta_lr;           /* learning rate of beta, which follows the schedule too; it takes the
                                 optimiser's steps without weight decay. 0 (default): lr */
    double nu;              /* learnt beta: weight of its regularizer (nf_margin_beta); default 0 */
    size_t epochs;          /* default 60 */
    nf_optimizer optimizer; /* default Adam (beta 0.9, 0.999, eps 1e-8) */
    double lr;              /* default 3e-3 */
    double momentum;        /* SGD; default 0.9 */
    double weight_decay;    /* decoupled, weights only, per step: W -= lr weight_decay W;
                                 default 3 */
    nf_schedule schedule;   /* default cosine, from lr to 0 over the run */
    double valid_fraction;  /* 0 .. < 1: stratified share of rows held out; default 0.1. Ignored
                                 when a validation set is given, or when the share has no positive
                                 pair */
    size_t patience;        /* With validation the weights of the best epoch are kept: of the last
                                 one whose validation MAP@R was the highest yet, or less than 1 /
                                 queries below it (differences that small are noise, and late weights
                                 are the better annealed ones). Training stops after this many epochs
                                 without new best weights; 0 = never early; default 20 */
    uint64_t seed;
} nf_train_options;

NF_API nf_train_options nf_train_defaults(void);

/* A miner takes batches of labelled rows (sampling other than pairs, no targets), and losses that have
 * terms of what it finds:
 *
 *   pair-margin, multi-similarity          kinds contrastive and user
 *   batch-hard, easy-positive, semi-hard,  kinds triplet (`triplets` all) and margin, of each
 *   triplet-margin, distance-weighted      triplet; contrastive and user, of its two pairs
 *
 * Everything else is NF_ERR_ARG. The miner measures the embedding with its own metric, that of
 * nf_mine_defaults unless changed. With a memory bank anchors are rows of the batch, positives and
 * negatives rows of the bank (nf_mine_reference), which are constants. Draws (distance-weighted) follow
 * `seed` and the step; the miner's own seed stays 0. A step whose batch has nothing to mine has loss 0
 * and gradient 0; the weights move by what the optimiser does on its own. Mining takes memory for what
 * it finds at every step. */

/* Sent once before training (epoch 0) and after each epoch. Loss, distances and active shares are
 * those of the epoch's batches; for epoch 0 of up to 1000 sampled pairs, half positive. */
typedef struct nf_train_event {
    size_t epoch, epochs;
    uint64_t step;
    double seconds; /* since the start; for display only */
    double loss, lr;
    double active_positive, active_negative; /* share of pairs with a non-zero term, 0 .. 1 */
    double mean_positive_distance, mean_negative_distance;
    int has_validation;
    double map_at_r, best_map_at_r; /* on the validation rows: now, and of the best weights */
    double beta;                    /* learnt boundary, of classes their mean; else 0 */
    double mined;         /* with a miner: pairs or triplets found per step of the epoch; else 0 */
    uint64_t empty_steps; /* of these steps those that found nothing */
    const char *warning;  /* NULL, or sentences: margin more than 3 times above or below the typical
                            distance, labels that look reversed (AUC of sampled pairs before training
                            below 0.5 by 3 standard errors), classes with one row, collapse,
                            a miner that found nothing in an epoch; valid
                            during the call */
} nf_train_event;

/* Return non-zero to stop with NF_ERR_CANCELLED; the model then holds the best weights so far. The
 * callback must not use the context. */
typedef int (*nf_train_fn)(void *user, const nf_train_event *event);

typedef struct nf_train_report {
    size_t epochs_run, best_epoch; /* best_epoch 0: the initial weights */
    uint64_t steps;
    int stopped_early;
    size_t train_rows, valid_rows;
    double first_loss, last_loss; /* means over the first and the last epoch */
    int has_validation;
    double map_at_r;         /* of the best weights, validation rows against validation rows */
    double median_distance;  /* before training, over sampled negative pairs */
    double suggested_margin; /* 0 when the margin fits typical distances within a factor 3 */
    double beta;             /* learnt boundary of the kept weights, of classes their mean, */
    double smallest_beta;    /* smallest */
    double largest_beta;     /* and largest; the metadata have them all. Else 0 */
    uint64_t mined;          /* with a miner: pairs or triplets found in all steps, */
    uint64_t empty_steps;    /* and steps that found nothing; else 0 */
    int collapsed;           /* mean distances of both sides shrank below 1e-3 of where they
                                   began */
} nf_train_report;

/* Data of a run; valid_x with 0 rows means a split by valid_fraction. */
typedef struct nf_train_data {
    nf_matrix x;      /* (n, inputs), float32 or float64 */
    nf_labels labels; /* (n) */
    nf_matrix valid_x;
    nf_labels valid_labels;
    const nf_targets *targets; /* NULL: rows with equal labels are positive, others negative, of
                                  weight 1 */
} nf_train_data;

/* With targets of x (n rows) the loss of a batch is nf_loss_targets of its rows, with a memory bank that
 * of nf_loss_targets_reference, rows held having the targets of the rows of x that they are; sampling is
 * not pairs (NF_ERR_ARG). Their labels are left zeroed:
 *   weights, groups  with the labels above, which make the batches and the validation as ever
 *   sets, soft       without labels (data NULL): sampling is random or all; no share of the rows is held
 *                    out, so that validation is valid_x with valid_labels, or none */

/* Train `model` on labelled rows. Unlabelled rows are left out. An input standardisation not fitted
 * yet is fitted on the training rows. The resolved options and results go into the model's metadata
 * (keys train.*; learnt betas as train.beta, one per class with the labels in train.beta_labels).
 * `options` NULL means defaults; `on_event` and `report` may be NULL. On an error
 * the model keeps its weights from before the call, except NF_ERR_CANCELLED (see above) and
 * NF_ERR_DIVERGED (best or, without validation, last finite weights); `report` is filled with these
 * two as well. Errors: NF_ERR_ARG, NF_ERR_DATA (NaN, Inf; fewer than two labelled rows, one class
 * only: no negative pair; no positive pair), NF_ERR_RANGE, NF_ERR_NOMEM, NF_ERR_DIVERGED (the message
 * has the step), NF_ERR_CANCELLED. */
NF_API NF_MUST_USE nf_status nf_train(nf_context *context, nf_model *model,
                                      const nf_train_data *data, const nf_train_options *options,
                                      nf_train_fn on_event, void *user, nf_train_report *report);

/* Train on pairs made offline: left (n, inputs), right (n, inputs), same (n), weight (n) or NULL.
 * Steps take batch_size pairs of a fresh shuffle each epoch, a last step shorter than half of that
 * is folded into the one before; NF_SAMPLE_ALL takes all pairs in the order given. There is no
 * validation. Errors as nf_train; pairs of one side only are NF_ERR_DATA. */
NF_API NF_MUST_USE nf_status nf_train_rows(nf_context *context, nf_model *model, nf_matrix left,
                                           nf_matrix right, const uint8_t *same,
                                           const double *weight, const nf_train_options *options,
                                           nf_train_fn on_event, void *user,
                                           nf_train_report *report);

#ifdef __cplusplus
}
#endif
#endif
