/* Options of nearfar train to settings, and settings to the model's metadata. */
#include <stdlib.h>

#include "loss_targets.h"
#include "train.h"

static size_t size_option(const cli *app, cli_option_id id, size_t fallback) {
    return cli_given(app, id) ? (size_t)cli_get(app, id)->integer : fallback;
}

static double number_option(const cli *app, cli_option_id id, double fallback) {
    return cli_given(app, id) ? cli_get(app, id)->number : fallback;
}

static void read_model(const cli *app, nf_model_options *model) {
    const cli_value *hidden = cli_get(app, OPT_HIDDEN);
    *model = nf_model_defaults();
    model->hidden_layers = hidden->list_count;
    for (size_t i = 0; i < hidden->list_count; i++) model->hidden[i] = hidden->list[i];
    model->outputs = size_option(app, OPT_DIM, model->outputs);
    if (cli_given(app, OPT_ACTIVATION)) {
        model->activation = (nf_activation)cli_get(app, OPT_ACTIVATION)->choice;
    }
    if (cli_given(app, OPT_NO_BIAS)) model->bias = 0;
    if (cli_given(app, OPT_NO_STANDARDIZE)) model->standardize = 0;
    if (cli_given(app, OPT_NORMALIZE_OUTPUT)) model->normalize = 1;
    if (cli_given(app, OPT_SEED)) model->seed = cli_get(app, OPT_SEED)->integer;
}

static void read_training(const cli *app, cli_training *training) {
    nf_train_options *options = &training->options;
    if (cli_given(app, OPT_SAMPLING)) {
        options->sampling = (nf_sampling)cli_get(app, OPT_SAMPLING)->choice;
    }
    if (!cli_targets_need_labels(app) && !cli_given(app, OPT_SAMPLING)) {
        options->sampling = NF_SAMPLE_RANDOM; /* there are no classes to take rows of */
    }
    const cli_value *batch = cli_get(app, OPT_BATCH_SIZE);
    if (batch->set && batch->word) {
        training->all_rows = true;
        if (!training->from_pairs) options->sampling = NF_SAMPLE_ALL;
    } else if (batch->set) {
        options->batch_size = (size_t)batch->integer;
    }
    options->per_class = size_option(app, OPT_PER_CLASS, options->per_class);
    options->positive_fraction = number_option(app, OPT_STEP_FRACTION, options->positive_fraction);
    options->memory_bank = size_option(app, OPT_MEMORY_BANK, options->memory_bank);
    if (cli_given(app, OPT_LEARN_BETA)) {
        options->learn_beta = (nf_learn_beta)(cli_get(app, OPT_LEARN_BETA)->choice + 1);
    }
    if (cli_trains_mined(app)) {
        training->mine = cli_miner_options(app);
        options->mine = &training->mine;
    }
    options->beta_lr = number_option(app, OPT_BETA_LR, options->beta_lr);
    options->nu = number_option(app, OPT_NU, options->nu);
    options->epochs = size_option(app, OPT_EPOCHS, options->epochs);
    if (cli_given(app, OPT_OPTIMIZER)) {
        options->optimizer = (nf_optimizer)cli_get(app, OPT_OPTIMIZER)->choice;
    }
    options->lr = number_option(app, OPT_LR, options->lr);
    options->momentum = number_option(app, OPT_MOMENTUM, options->momentum);
    options->weight_decay = number_option(app, OPT_WEIGHT_DECAY, options->weight_decay);
    if (cli_given(app, OPT_SCHEDULE)) {
        options->schedule = (nf_schedule)cli_get(app, OPT_SCHEDULE)->choice;
    }
    options->valid_fraction = number_option(app, OPT_VALID_FRACTION, options->valid_fraction);
    options->patience = size_option(app, OPT_PATIENCE, options->patience);
    if (cli_given(app, OPT_SEED)) options->seed = cli_get(app, OPT_SEED)->integer;
}

/* ---- combinations ---- */

static int refuse(cli *app, const cli_option_id *ids, size_t count, const char *why) {
    for (size_t i = 0; i < count; i++) {
        if (!cli_given(app, ids[i])) continue;
        return cli_fail(app, CLI_USAGE, "--%s %s", cli_options[ids[i]].name, why);
    }
    return CLI_OK;
}

static int check_source(cli *app, bool from_pairs) {
    static const cli_option_id labelled[] = {
        OPT_LABELS,     OPT_UNLABELLED, OPT_VALID,     OPT_VALID_LABELS,  OPT_VALID_FRACTION,
        OPT_PATIENCE,   OPT_SAMPLING,   OPT_PER_CLASS, OPT_STEP_FRACTION, OPT_MEMORY_BANK,
        OPT_LEARN_BETA, OPT_LABEL_SETS, OPT_SOFT,      OPT_ROW_WEIGHTS,   OPT_PAIR_WEIGHTS,
        OPT_GROUPS,     OPT_MINER};
    static const cli_option_id paired[] = {OPT_WEIGHTS, OPT_SAME_ENCODING};
    if (!from_pairs && app->args.operands == 0) {
        return cli_fail(app, CLI_USAGE,
                        "train needs rows: nearfar train DATA --labels FILE -o "
                        "MODEL, or --left, --right and --same");
    }
    if (!from_pairs) {
        return refuse(app, paired, 2, "goes with --left, --right and --same, which are missing");
    }
    if (app->args.operands > 0) {
        return cli_fail(app, CLI_USAGE,
                        "'%s' and --left, --right, --same exclude each other: train on one or the "
                        "other",
                        cli_quote(app->args.operand[0]).text);
    }
    if (!cli_given(app, OPT_LEFT) || !cli_given(app, OPT_RIGHT) || !cli_given(app, OPT_SAME)) {
        return cli_fail(app, CLI_USAGE, "--left, --right and --same go together: --%s is missing",
                        !cli_given(app, OPT_LEFT)    ? "left"
                        : !cli_given(app, OPT_RIGHT) ? "right"
                                                     : "same");
    }
    return refuse(app, labelled, sizeof labelled / sizeof *labelled,
                  "does not go with --left, --right and --same: it is for labelled rows");
}

static int check_combinations(cli *app, const cli_training *training) {
    static const cli_option_id per_class[] = {OPT_PER_CLASS};
    static const cli_option_id bank[] = {OPT_MEMORY_BANK};
    static const cli_option_id fraction[] = {OPT_STEP_FRACTION};
    static const cli_option_id learning[] = {OPT_BETA_LR, OPT_NU};
    static const cli_option_id momentum[] = {OPT_MOMENTUM};
    static const cli_option_id valid_labels[] = {OPT_VALID_LABELS};
    static const cli_option_id valid_fraction[] = {OPT_VALID_FRACTION};
    const nf_train_options *options = &training->options;
    if (training->all_rows && cli_given(app, OPT_SAMPLING) &&
        cli_get(app, OPT_SAMPLING)->choice != NF_SAMPLE_ALL) {
        return cli_fail(app, CLI_USAGE,
                        "--batch-size all takes every row in every step and "
                        "excludes --sampling %s",
                        cli_get(app, OPT_SAMPLING)->text);
    }
    if (options->sampling == NF_SAMPLE_ALL && cli_given(app, OPT_BATCH_SIZE) &&
        !training->all_rows) {
        return cli_fail(app, CLI_USAGE,
                        "--sampling all takes every row in every step and excludes "
                        "--batch-size %s",
                        cli_quote(cli_get(app, OPT_BATCH_SIZE)->text).text);
    }
    int code = CLI_OK;
    if (options->sampling != NF_SAMPLE_M_PER_CLASS) {
        code = refuse(app, per_class, 1, "goes with --sampling m-per-class");
    }
    if (code == CLI_OK &&
        (options->sampling == NF_SAMPLE_PAIRS || options->sampling == NF_SAMPLE_ALL)) {
        code = refuse(app, bank, 1, "goes with --sampling m-per-class or random");
    }
    if (code == CLI_OK && options->sampling != NF_SAMPLE_PAIRS) {
        code = refuse(app, fraction, 1, "goes with --sampling pairs");
    }
    if (code == CLI_OK && options->learn_beta == NF_LEARN_BETA_NONE) {
        code = refuse(app, learning, 2, "goes with --learn-beta");
    }
    if (code == CLI_OK && options->optimizer != NF_SGD) {
        code = refuse(app, momentum, 1, "goes with --optimizer sgd");
    }
    if (code == CLI_OK && !cli_given(app, OPT_VALID)) {
        code = refuse(app, valid_labels, 1, "goes with --valid, which is missing");
    }
    if (code == CLI_OK && cli_given(app, OPT_VALID)) {
        code = refuse(app, valid_fraction, 1, "and --valid exclude each other: keep one");
    }
    return code;
}

/* A miner looks at batches of labelled rows and leaves lists, which not every loss has terms for. */
static int check_miner(cli *app, const cli_training *training) {
    static const cli_option_id others[] = {OPT_LABEL_SETS, OPT_SOFT, OPT_ROW_WEIGHTS,
                                           OPT_PAIR_WEIGHTS, OPT_GROUPS};
    int code = cli_check_miner(app);
    if (code != CLI_OK || !cli_trains_mined(app)) return code;
    if (training->options.sampling == NF_SAMPLE_PAIRS) {
        return cli_fail(app, CLI_USAGE,
                        "--sampling pairs draws the pairs of a step: --mine looks for them in the "
                        "batches of the other samplings");
    }
    return refuse(app, others, sizeof others / sizeof *others,
                  "does not go with --mine: a miner looks at the labels of the batch alone");
}

static int check_mined_loss(cli *app, const nf_train_options *options) {
    const nf_loss *loss = &options->loss;
    const bool of_triplets = loss->kind == NF_KIND_TRIPLET || loss->kind == NF_KIND_MARGIN;
    if (options->mine == NULL || nf_loss_takes(loss->kind, "pairs")) return CLI_OK;
    const nf_miner miner = options->mine->miner;
    const char *name = nf_miner_name(miner);
    const bool pairs = miner == NF_MINE_PAIR_MARGIN || miner == NF_MINE_MULTI_SIMILARITY;
    if (!of_triplets) {
        return cli_fail(app, CLI_USAGE,
                        "--loss %s compares all pairs of a row with each other and has no terms "
                        "for those of --mine %s: leave --mine out, or use a loss such as pml%s",
                        cli_loss_name(app), name, pairs ? "" : ", triplet or margin");
    }
    if (pairs) {
        return cli_fail(app, CLI_USAGE,
                        "--mine %s finds pairs and --loss %s needs triplets: use a miner such as "
                        "batch-hard or semi-hard, or a loss such as pml",
                        name, cli_loss_name(app));
    }
    if (loss->triplets == NF_TRIPLETS_ALL) return CLI_OK;
    return cli_fail(app, CLI_USAGE,
                    "--mine %s and the loss's --triplets %s both choose triplets: keep one; "
                    "--triplets all takes those of the miner",
                    name, nf_triplets_name(loss->triplets));
}

/* Targets are of the rows of a batch; without labels nothing can be held out by class. */
static int check_targets(cli *app, const cli_training *training) {
    static const cli_option_id share[] = {OPT_VALID_FRACTION, OPT_UNLABELLED};
    static const cli_option_id beta[] = {OPT_LEARN_BETA};
    const bool own = !cli_targets_need_labels(app);
    const char *source = cli_given(app, OPT_SOFT) ? "--soft" : "--label-sets";
    if (!cli_targets_given(app)) return CLI_OK;
    int code = cli_check_targets(app);
    if (code == CLI_OK && training->options.sampling == NF_SAMPLE_PAIRS) {
        code = cli_fail(app, CLI_USAGE,
                        "--sampling pairs draws pairs by label: label sets, soft targets, weights "
                        "and groups go with the pairs of a batch");
    }
    if (code == CLI_OK && training->options.memory_bank > 0) {
        code = cli_fail(app, CLI_USAGE,
                        "--memory-bank keeps labels only: it does not go with label sets, soft "
                        "targets, weights and groups");
    }
    if (code == CLI_OK) {
        code = refuse(app, beta, 1,
                      "learns from labels alone: it does not go with label sets, soft "
                      "targets, weights and groups");
    }
    if (code != CLI_OK || !own) return code;
    if (training->options.sampling == NF_SAMPLE_M_PER_CLASS) {
        return cli_fail(
            app, CLI_USAGE,
            "--sampling m-per-class takes rows of each class, and rows of %s have none: "
            "use random or all",
            source);
    }
    return refuse(app, share, 2,
                  "is about labels, one per row: it does not go with --label-sets "
                  "and --soft; validate on --valid and --valid-labels");
}

int cli_train_settings(cli *app, cli_training *training) {
    *training = (cli_training){.app = app, .options = nf_train_defaults()};
    training->from_pairs =
        cli_given(app, OPT_LEFT) || cli_given(app, OPT_RIGHT) || cli_given(app, OPT_SAME);
    if (!cli_given(app, OPT_OUTPUT)) {
        return cli_fail(app, CLI_USAGE, "train needs -o MODEL.safetensors for the result");
    }
    int code = check_source(app, training->from_pairs);
    if (code != CLI_OK) return code;
    read_model(app, &training->model);
    read_training(app, training);
    code = check_combinations(app, training);
    if (code == CLI_OK) code = check_miner(app, training);
    if (code == CLI_OK) code = check_targets(app, training);
    if (code == CLI_OK) {
        const nf_loss base = training->options.loss;
        code = cli_resolve_loss(app, base.reduction, &training->options.loss);
        /* The trainer's weight of positives belongs to its reduction; a formula asked for with
         * --reduction is taken as it is written. */
        nf_loss *loss = &training->options.loss;
        if (!cli_given(app, OPT_POS_WEIGHT) && loss->reduction == base.reduction &&
            nf_loss_takes(loss->kind, "pos_weight")) {
            loss->pos_weight = base.pos_weight;
        }
    }
    if (code == CLI_OK && training->from_pairs &&
        !nf_loss_takes(training->options.loss.kind, "pairs")) {
        code = cli_fail(app, CLI_USAGE,
                        "--loss %s compares the pairs of a row with each other and needs labelled "
                        "rows: it does not go with --left, --right and --same",
                        cli_loss_name(app));
    }
    if (code == CLI_OK && training->options.learn_beta != NF_LEARN_BETA_NONE &&
        training->options.loss.kind != NF_KIND_MARGIN) {
        code = cli_fail(app, CLI_USAGE, "--learn-beta goes with --loss margin, not with %s",
                        cli_loss_name(app));
    }
    if (code == CLI_OK) code = check_mined_loss(app, &training->options);
    if (code == CLI_OK && training->options.loss.reduction == NF_REDUCE_NONE) {
        code = cli_fail(app, CLI_USAGE,
                        "--reduction none keeps one term per pair: training needs "
                        "one number, e.g. mean-sides");
    }
    return code;
}

/* ---- metadata ---- */

static const char *word(cli_option_id id, size_t i) { return cli_options[id].choices(i); }

json_t *cli_train_json(const cli_training *training) {
    const nf_train_options *options = &training->options;
    const nf_model_options *model = &training->model;
    json_t *config = json_object(), *loss = json_object();
    cli_json_count(config, "inputs", model->inputs);
    cli_json_shape(config, "hidden", model->hidden_layers, model->hidden);
    cli_json_count(config, "dim", model->outputs);
    cli_json_text(config, "activation", word(OPT_ACTIVATION, model->activation));
    cli_json_flag(config, "bias", model->bias != 0);
    cli_json_flag(config, "standardize", model->standardize != 0);
    cli_json_flag(config, "normalize_output", model->normalize != 0);
    cli_json_text(loss, "preset", cli_loss_name(training->app));
    cli_json_loss(loss, &options->loss);
    json_object_set_new(config, "loss", loss);
    if (training->from_pairs) {
        cli_json_text(config, "sampling", "left-right-same");
    } else {
        cli_json_text(config, "sampling", word(OPT_SAMPLING, options->sampling));
    }
    if (training->all_rows || options->sampling == NF_SAMPLE_ALL) {
        cli_json_text(config, "batch_size", "all");
    } else {
        cli_json_count(config, "batch_size", options->batch_size);
    }
    cli_json_count(config, "per_class", options->per_class);
    cli_json_number(config, "positive_fraction", options->positive_fraction);
    cli_json_count(config, "memory_bank", options->memory_bank);
    if (options->mine != NULL) {
        json_t *mine = json_object();
        cli_json_miner(mine, options->mine);
        json_object_set_new(config, "mine", mine);
    } else {
        cli_json_text(config, "mine", NULL);
    }
    if (options->learn_beta != NF_LEARN_BETA_NONE) {
        cli_json_text(config, "learn_beta", word(OPT_LEARN_BETA, options->learn_beta - 1));
        cli_json_number(config, "beta_lr", options->beta_lr > 0 ? options->beta_lr : options->lr);
        cli_json_number(config, "nu", options->nu);
    }
    cli_json_count(config, "epochs", options->epochs);
    cli_json_text(config, "optimizer", word(OPT_OPTIMIZER, options->optimizer));
    cli_json_number(config, "lr", options->lr);
    cli_json_number(config, "momentum", options->momentum);
    cli_json_number(config, "weight_decay", options->weight_decay);
    cli_json_text(config, "schedule", word(OPT_SCHEDULE, options->schedule));
    cli_json_number(config, "valid_fraction", options->valid_fraction);
    cli_json_count(config, "patience", options->patience);
    char seed[24]; /* as text: a JSON integer of 64 bits is not safe everywhere */
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)options->seed);
    cli_json_text(config, "seed", seed);
    return config;
}

int cli_train_metadata(cli *app, nf_model *model, const nf_table *names) {
    nf_status status =
        nf_model_set_metadata(app->context, model, "train.loss.preset", cli_loss_name(app));
    if (status != NF_OK || names == NULL || names->class_names == NULL) {
        return cli_status(app, status, "metadata");
    }
    json_t *list = cli_json_list();
    for (size_t c = 0; c < names->classes; c++) {
        json_array_append_new(list, json_string(names->class_names[c]));
    }
    char *text = json_dumps(list, JSON_COMPACT);
    json_decref(list);
    if (text == NULL || cli_json_lost()) {
        free(text);
        return cli_no_memory(app, "the model's metadata");
    }
    status = nf_model_set_metadata(app->context, model, "class_names", text);
    free(text);
    return cli_status(app, status, "metadata");
}
