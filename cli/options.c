/* The table, its choices and defaults. */
#include "options.h"

#include <stdio.h>
#include <string.h>

#include "nearfar/nearfar.h"

/* Words of a choice; their order is that of the enum they stand for. */
#define WORDS(name, ...)                                           \
    static const char *name(size_t i) {                            \
        static const char *const words[] = {__VA_ARGS__};          \
        return i < sizeof words / sizeof *words ? words[i] : NULL; \
    }
WORDS(choice_unlabelled, "-1", "none")
WORDS(choice_same_encoding, "01", "pm1")
WORDS(choice_mined, "pairs", "triplets")
WORDS(choice_pair_kind, "positive", "negative", "both")
WORDS(choice_activation, "relu", "tanh")
WORDS(choice_all, "all")
WORDS(choice_sampling, "m-per-class", "random", "all", "pairs")
WORDS(choice_learn_beta, "global", "class")
WORDS(choice_optimizer, "adam", "sgd")
WORDS(choice_schedule, "cosine", "constant")

static const char *choice_metric(size_t i) {
    return i <= NF_CITYBLOCK ? nf_metric_name((nf_metric)i) : NULL;
}

/* hard, then the miners. */
static const char *choice_mine(size_t i) {
    return i == 0 ? "hard" : nf_miner_name((nf_miner)(i - 1));
}

static const char *choice_miner(size_t i) { return nf_miner_name((nf_miner)i); }

static const char *choice_violation(size_t i) { return nf_violation_name((nf_violation)i); }

static const char *choice_reduction(size_t i) { return nf_reduction_name((nf_reduction)i); }

static const char *choice_triplets(size_t i) { return nf_triplets_name((nf_triplets)i); }

const cli_option cli_options[OPT_COUNT_ALL] = {
#define OPTION(id, letter, name, argument, kind, low, high, choices, commands, section, help) \
    {OPT_##id, letter,  name,     argument,          KIND_##kind, low,                        \
     high,     choices, commands, SECTION_##section, help},
#include "options.def"
#undef OPTION
};

const char *cli_section_title(cli_section section) {
    static const char *const titles[SECTION_COUNT] = {"Data",     "Pairs",    "Model",
                                                      "Loss",     "Training", "Evaluation",
                                                      "Distance", "Output",   "General"};
    return titles[section];
}

/* The defaults are the library's own, so that help cannot drift from behaviour. */
void cli_option_default(cli_option_id id, char *buffer, size_t size) {
    const nf_train_options train = nf_train_defaults();
    const nf_model_options model = nf_model_defaults();
    const nf_eval_options eval = nf_eval_defaults();
    const nf_mine_hard_options mine = nf_mine_hard_defaults();
    const nf_mine_options miner = nf_mine_defaults(NF_MINE_TRIPLET_MARGIN);
    buffer[0] = '\0';
    switch (id) {
    case OPT_UNLABELLED: snprintf(buffer, size, "-1"); break;
    case OPT_SAME_ENCODING: snprintf(buffer, size, "01"); break;
    case OPT_POSITIVE_FRACTION:
        snprintf(buffer, size, "%g", nf_pair_sample_defaults().positive_fraction);
        break;
    case OPT_MINE_K: snprintf(buffer, size, "%zu", mine.negatives); break;
    case OPT_MINE_POSITIVES: snprintf(buffer, size, "%zu", mine.positives); break;
    case OPT_MINER_POS_MARGIN:
    case OPT_MINE_POS_MARGIN: snprintf(buffer, size, "%g", miner.pos_margin); break;
    case OPT_MINER_NEG_MARGIN:
    case OPT_MINE_NEG_MARGIN: snprintf(buffer, size, "%g", miner.neg_margin); break;
    case OPT_MINE_EPSILON: snprintf(buffer, size, "%g", miner.epsilon); break;
    case OPT_MINER_MARGIN:
    case OPT_MINE_MARGIN: snprintf(buffer, size, "%g", miner.margin); break;
    case OPT_VIOLATION: snprintf(buffer, size, "%s", nf_violation_name(miner.violation)); break;
    case OPT_CUTOFF: snprintf(buffer, size, "%g", miner.cutoff); break;
    case OPT_NONZERO_LOSS_CUTOFF: snprintf(buffer, size, "%g", miner.nonzero_loss_cutoff); break;
    case OPT_STEP_FRACTION: snprintf(buffer, size, "%g", train.positive_fraction); break;
    case OPT_DISTANCE_METRIC:
        snprintf(buffer, size, "%s", nf_metric_name(eval.distance.metric));
        break;
    case OPT_DIM: snprintf(buffer, size, "%zu", model.outputs); break;
    case OPT_ACTIVATION: snprintf(buffer, size, "%s", choice_activation(model.activation)); break;
    case OPT_LOSS: snprintf(buffer, size, "weston"); break;
    case OPT_BATCH_SIZE: snprintf(buffer, size, "%zu", train.batch_size); break;
    case OPT_SAMPLING: snprintf(buffer, size, "%s", choice_sampling(train.sampling)); break;
    case OPT_MEMORY_BANK: snprintf(buffer, size, "%zu", train.memory_bank); break;
    case OPT_PER_CLASS: snprintf(buffer, size, "%zu", train.per_class); break;
    case OPT_NU: snprintf(buffer, size, "%g", train.nu); break;
    case OPT_EPOCHS: snprintf(buffer, size, "%zu", train.epochs); break;
    case OPT_OPTIMIZER: snprintf(buffer, size, "%s", choice_optimizer(train.optimizer)); break;
    case OPT_LR: snprintf(buffer, size, "%g", train.lr); break;
    case OPT_MOMENTUM: snprintf(buffer, size, "%g", train.momentum); break;
    case OPT_WEIGHT_DECAY: snprintf(buffer, size, "%g", train.weight_decay); break;
    case OPT_SCHEDULE: snprintf(buffer, size, "%s", choice_schedule(train.schedule)); break;
    case OPT_VALID_FRACTION: snprintf(buffer, size, "%g", train.valid_fraction); break;
    case OPT_PATIENCE: snprintf(buffer, size, "%zu", train.patience); break;
    case OPT_RECALL_AT:
        snprintf(buffer, size, "%zu,%zu,%zu", eval.k[0], eval.k[1], eval.k[2]);
        break;
    case OPT_KNN_K: snprintf(buffer, size, "%zu", eval.knn_k); break;
    case OPT_NEIGHBOURS: snprintf(buffer, size, "10"); break;
    case OPT_SEED: snprintf(buffer, size, "%llu", (unsigned long long)train.seed); break;
    default: break;
    }
}

const cli_option *cli_option_find(const char *name, size_t length, unsigned command) {
    for (size_t i = 0; i < OPT_COUNT_ALL; i++) {
        const cli_option *option = &cli_options[i];
        if ((option->commands & command) == 0) continue;
        if (strlen(option->name) == length && memcmp(option->name, name, length) == 0)
            return option;
    }
    return NULL;
}

const cli_option *cli_option_find_letter(char letter, unsigned command) {
    for (size_t i = 0; i < OPT_COUNT_ALL; i++) {
        const cli_option *option = &cli_options[i];
        if ((option->commands & command) != 0 && option->letter == letter && letter != 0) {
            return option;
        }
    }
    return NULL;
}
