/* The resolved configuration of a run as the model's metadata. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "train/train.h"

#define NF_NUMBER_SIZE 32

/* Room for any number. */
static const char blank[NF_NUMBER_SIZE] = "                               ";

/* Fewest digits that read back as the same double, with '.' in every locale. */
static void format_double(char text[NF_NUMBER_SIZE], double value) {
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, NF_NUMBER_SIZE, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    /* A byte no number is written with belongs to the locale's decimal separator. */
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        if (strchr("0123456789+-einfa", *from) != NULL) {
            *to++ = *from;
        } else if (to == text || to[-1] != '.') {
            *to++ = '.';
        }
    }
    *to = '\0';
}

/* Sets `train.<key>` as long as status is NF_OK. */
typedef struct writer {
    nf_context *context;
    nf_entries *entries;
    nf_status status;
} writer;

static void put(writer *w, const char *key, const char *value) {
    char name[64];
    snprintf(name, sizeof name, "train.%s", key);
    if (w->status == NF_OK) w->status = nf_entries_set(w->context, w->entries, name, value);
}

static void put_count(writer *w, const char *key, uint64_t value) {
    char text[NF_NUMBER_SIZE];
    snprintf(text, sizeof text, "%" PRIu64, value);
    put(w, key, text);
}

static void put_double(writer *w, const char *key, double value) {
    char text[NF_NUMBER_SIZE];
    format_double(text, value);
    put(w, key, text);
}

static void put_number(writer *w, const nf_loss *loss, const char *field, double value) {
    char key[40];
    snprintf(key, sizeof key, "loss.%.32s", field);
    if (nf_loss_takes(loss->kind, field)) put_double(w, key, value);
}

static void put_loss(writer *w, const nf_loss *loss) {
    put(w, "loss.kind", nf_loss_kind_name(loss->kind));
    put(w, "loss.pos_metric", nf_metric_name(loss->pos_metric));
    put(w, "loss.neg_metric", nf_metric_name(loss->neg_metric));
    put_number(w, loss, "pos_exponent", loss->pos_exponent);
    put_number(w, loss, "neg_exponent", loss->neg_exponent);
    put_number(w, loss, "pos_margin", loss->pos_margin);
    put_number(w, loss, "neg_margin", loss->neg_margin);
    put_number(w, loss, "pos_weight", loss->pos_weight);
    put_number(w, loss, "neg_weight", loss->neg_weight);
    put_number(w, loss, "temperature", loss->temperature);
    put_number(w, loss, "alpha", loss->alpha);
    put_number(w, loss, "beta", loss->beta);
    put_number(w, loss, "base", loss->base);
    put_number(w, loss, "gamma", loss->gamma);
    if (nf_loss_takes(loss->kind, "triplets")) {
        put(w, "loss.triplets", nf_triplets_name(loss->triplets));
    }
    if (nf_loss_takes(loss->kind, "smooth")) put_count(w, "loss.smooth", loss->smooth != 0);
    put_double(w, "loss.scale", loss->scale);
    put_count(w, "loss.normalize", loss->normalize != 0);
    if (loss->fast) put_count(w, "loss.fast", 1);
    put(w, "loss.reduction", nf_reduction_name(loss->reduction));
    if (loss->reduction == NF_REDUCE_DIVISOR) put_double(w, "loss.divisor", loss->divisor);
}

/* The learnt betas, with blanks for what they become. */
static void put_beta(writer *w, const nf_run *run) {
    const nf_learnt_beta *beta = &run->beta;
    char *text;
    if (beta->count == 0) return;
    put(w, "learn_beta", beta->label != NULL ? "class" : "global");
    put_double(w, "beta_lr", run->options.beta_lr > 0 ? run->options.beta_lr : run->options.lr);
    put_double(w, "nu", run->options.nu);
    if (w->status == NF_OK) {
        w->status = nf_scratch(w->context, &text, beta->count, NF_NUMBER_SIZE, "betas as text");
    }
    if (w->status != NF_OK) return;
    memset(text, ' ', beta->count * NF_NUMBER_SIZE - 1);
    text[beta->count * NF_NUMBER_SIZE - 1] = '\0';
    put(w, "beta", text);
    if (beta->label == NULL) return;
    for (size_t k = 0, used = 0; k < beta->count; k++) {
        used += (size_t)snprintf(text + used, NF_NUMBER_SIZE, "%s%" PRId64, k > 0 ? "," : "",
                                 beta->label[k]);
    }
    put(w, "beta_labels", text);
}

/* The miner with what it takes. */
static void put_miner(writer *w, const nf_mine_options *mine) {
    if (mine == NULL) return;
    const nf_miner miner = mine->miner;
    put(w, "mine", nf_miner_name(miner));
    put(w, "mine.metric", nf_metric_name(mine->metric));
    put_count(w, "mine.normalize", mine->normalize != 0);
    if (miner == NF_MINE_PAIR_MARGIN) {
        put_double(w, "mine.pos_margin", mine->pos_margin);
        put_double(w, "mine.neg_margin", mine->neg_margin);
    }
    if (miner == NF_MINE_MULTI_SIMILARITY) put_double(w, "mine.epsilon", mine->epsilon);
    if (miner == NF_MINE_TRIPLET_MARGIN || miner == NF_MINE_SEMI_HARD) {
        put_double(w, "mine.margin", mine->margin);
    }
    if (miner == NF_MINE_TRIPLET_MARGIN) {
        put(w, "mine.violation", nf_violation_name(mine->violation));
    }
    if (miner == NF_MINE_DISTANCE_WEIGHTED) {
        put_double(w, "mine.cutoff", mine->cutoff);
        put_double(w, "mine.nonzero_loss_cutoff", mine->nonzero_loss_cutoff);
        put_count(w, "mine.per_anchor", mine->per_anchor);
    }
}

static void put_labels(writer *w, const nf_run *run) {
    const nf_train_options *o = &run->options;
    static const char *const sampling[] = {"m-per-class", "random", "all", "pairs"};
    put(w, "sampling", sampling[o->sampling]);
    if (o->sampling == NF_SAMPLE_M_PER_CLASS) put_count(w, "per_class", o->per_class);
    if (o->sampling == NF_SAMPLE_PAIRS) put_double(w, "positive_fraction", o->positive_fraction);
    if (o->memory_bank > 0) put_count(w, "memory_bank", o->memory_bank);
    put_miner(w, o->mine);
    put_beta(w, run);
    put_double(w, "valid_fraction", o->valid_fraction);
    put_count(w, "patience", o->patience);
    put_count(w, "rows", run->source.rows);
    put_count(w, "valid_rows", run->valid_rows);
}

static const char *data_of(const nf_source *source) {
    if (!source->own_positives) return source->partition != NULL ? "labels" : "pairs";
    return source->targets->side[0].sets.offset != NULL ? "label-sets" : "soft-targets";
}

static void put_targets(writer *w, const nf_target_rule *targets) {
    if (targets == NULL) return;
    put_count(w, "row_weights", targets->side[0].weight != NULL);
    put_count(w, "pair_weights", targets->pair_weight.data != NULL);
    put_count(w, "groups", targets->side[0].group != NULL);
}

static void put_optimizer(writer *w, const nf_train_options *o) {
    put_count(w, "epochs", o->epochs);
    put(w, "optimizer", o->optimizer == NF_ADAM ? "adam" : "sgd");
    put_double(w, "lr", o->lr);
    if (o->optimizer == NF_SGD) put_double(w, "momentum", o->momentum);
    put_double(w, "weight_decay", o->weight_decay);
    put(w, "schedule", o->schedule == NF_SCHEDULE_COSINE ? "cosine" : "constant");
    put_count(w, "seed", o->seed);
}

/* Everything but an earlier run's configuration, whose keys need not be those of this one. */
static nf_status copy_others(nf_context *context, const nf_entries *from, nf_entries *to) {
    nf_status status = NF_OK;
    for (size_t i = 0; status == NF_OK && i < from->count; i++) {
        if (strncmp(from->entry[i].key, "train.", 6) == 0) continue;
        status = nf_entries_set(context, to, from->entry[i].key, from->entry[i].value);
    }
    return status;
}

nf_status nf_train_config_write(nf_run *run) {
    writer w = {run->context, &run->metadata, NF_OK};
    bool labels = run->source.partition != NULL;
    w.status = copy_others(run->context, &run->model->metadata, &run->metadata);
    put(&w, "data", data_of(&run->source));
    put_targets(&w, run->source.targets);
    put_loss(&w, &run->options.loss);
    if (labels) {
        put_labels(&w, run);
    } else {
        put_count(&w, "pairs", run->source.rows);
    }
    if (run->options.sampling == NF_SAMPLE_ALL) {
        put(&w, "batch_size", "all");
    } else {
        put_count(&w, "batch_size", run->options.batch_size);
    }
    put_optimizer(&w, &run->options);
    put(&w, "epochs_run", blank);
    if (run->valid_rows > 0) {
        put(&w, "best_epoch", blank);
        put(&w, "map_at_r", blank);
    }
    return w.status;
}

static void fill_beta(nf_run *run) {
    const double *value = nf_beta_result(run);
    for (size_t i = 0; i < run->metadata.count && run->beta.count > 0; i++) {
        char *to = run->metadata.entry[i].value;
        if (strcmp(run->metadata.entry[i].key, "train.beta") != 0) continue;
        for (size_t k = 0; k < run->beta.count; k++) {
            if (k > 0) *to++ = ',';
            format_double(to, value[k]);
            to += strlen(to);
        }
    }
}

static void fill(nf_entries *entries, const char *key, const char *text) {
    for (size_t i = 0; i < entries->count; i++) {
        if (strcmp(entries->entry[i].key, key) == 0) strcpy(entries->entry[i].value, text);
    }
}

void nf_train_config_results(nf_run *run) {
    char text[NF_NUMBER_SIZE];
    snprintf(text, sizeof text, "%zu", run->report.epochs_run);
    fill(&run->metadata, "train.epochs_run", text);
    snprintf(text, sizeof text, "%zu", run->report.best_epoch);
    fill(&run->metadata, "train.best_epoch", text);
    format_double(text, run->report.map_at_r);
    fill(&run->metadata, "train.map_at_r", text);
    fill_beta(run);
}
