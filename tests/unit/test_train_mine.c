/* Mining inside training, against an oracle that mines each batch with nf_mine and takes the loss of the
 * list by nf_loss_pairs or nf_loss_triplets. */
#include "support.h"

#include <math.h>
#include <stdbool.h>

#include "base/random.h"
#include "train_data.h"

enum { ROWS = 90, CLASSES = 5, OUT = 4, EPOCHS = 2 };

static bool gives_triplets(nf_miner miner) {
    return miner != NF_MINE_PAIR_MARGIN && miner != NF_MINE_MULTI_SIMILARITY;
}

static nf_train_options options_of(nf_context *context, const char *loss, nf_sampling sampling,
                                   const nf_mine_options *mine) {
    nf_train_options o = nf_train_defaults();
    assert_ok(context, nf_loss_preset(context, loss, &o.loss));
    o.mine = mine;
    o.sampling = sampling;
    o.batch_size = 30;
    o.optimizer = NF_SGD;
    o.momentum = 0;
    o.weight_decay = 0;
    o.lr = 0.05;
    o.schedule = NF_SCHEDULE_CONSTANT;
    o.valid_fraction = 0;
    o.epochs = EPOCHS;
    o.seed = 11;
    return o;
}

/* ---- the oracle ------------------------------------------------------------------------------- */

typedef struct oracle {
    nf_context *context;
    nf_bank *bank;   /* or NULL */
    nf_model *model; /* linear, without bias */
    const dataset *data;
    const nf_train_options *o;
    uint64_t step;
    size_t mined, empty;
    double loss;
} oracle;

/* Batch and bank mined and put together as one matrix, whose first n rows have the gradient. */
static nf_loss_result loss_of_bank(oracle *self, nf_mine_options *mine, nf_matrix y,
                                   nf_labels labels, const int64_t *ids, float *gradient,
                                   size_t *found) {
    assert_ok(self->context, nf_bank_push(self->context, self->bank, y, labels, ids));
    const nf_bank_rows held = nf_bank_get_rows(self->bank);
    const nf_mine_sets sets = {y, held.x, labels, held.labels, ids, held.ids};
    const size_t n = y.rows, all = n + held.x.rows;
    float *both = malloc(all * OUT * sizeof *both), *g = malloc(all * OUT * sizeof *g);
    memcpy(both, y.data, n * OUT * sizeof *both);
    memcpy(both + n * OUT, held.x.data, held.x.rows * OUT * sizeof *both);
    nf_mined *mined;
    nf_loss_result result;
    assert_ok(self->context, nf_mine_reference(self->context, mine, &sets, &mined));
    const bool triplets = gives_triplets(mine->miner);
    *found = triplets ? mined->triplets : mined->pairs.count;
    int64_t *second = malloc(*found * sizeof *second + 1);
    int64_t *third = malloc(*found * sizeof *third + 1);
    for (size_t k = 0; k < *found; k++) {
        second[k] = (int64_t)n + (triplets ? mined->positive[k] : mined->pairs.j[k]);
        if (triplets) third[k] = (int64_t)n + mined->negative[k];
    }
    const nf_matrix x = nf_matrix_f32(both, all, OUT);
    const nf_matrix_out out = nf_matrix_out_f32(g, all, OUT);
    const nf_triplet_list list = {*found, mined->anchor, second, third};
    const nf_pairs pairs = {*found, mined->pairs.i, second, mined->pairs.same, NULL};
    assert_ok(self->context,
              triplets
                  ? nf_loss_triplets(self->context, &self->o->loss, x, list, &result, out)
                  : nf_loss_pairs(self->context, &self->o->loss, x, pairs, NULL, &result, out));
    memcpy(gradient, g, n * OUT * sizeof *g);
    nf_mined_free(self->context, mined);
    free(both), free(g), free(second), free(third);
    return result;
}

static nf_loss_result loss_of_batch(oracle *self, nf_mine_options *mine, nf_matrix y,
                                    nf_labels labels, float *gradient, size_t *found) {
    const nf_matrix_out out = nf_matrix_out_f32(gradient, y.rows, OUT);
    nf_mined *mined;
    nf_loss_result result;
    assert_ok(self->context, nf_mine(self->context, mine, y, labels, &mined));
    const nf_triplet_list list = {mined->triplets, mined->anchor, mined->positive, mined->negative};
    const bool triplets = gives_triplets(mine->miner);
    *found = triplets ? mined->triplets : mined->pairs.count;
    assert_ok(self->context,
              triplets ? nf_loss_triplets(self->context, &self->o->loss, y, list, &result, out)
                       : nf_loss_pairs(self->context, &self->o->loss, y, mined->pairs, NULL,
                                       &result, out));
    nf_mined_free(self->context, mined);
    return result;
}

static void take_step(oracle *self, const size_t *row, size_t n) {
    double x[ROWS * D];
    float y[ROWS * OUT], g[ROWS * OUT], w[OUT * D];
    int64_t labels[ROWS], ids[ROWS];
    size_t found;
    for (size_t r = 0; r < n; r++) {
        memcpy(x + r * D, self->data->x + row[r] * D, D * sizeof *x);
        labels[r] = self->data->labels[row[r]];
        ids[r] = (int64_t)row[r];
    }
    const nf_matrix embedding = nf_matrix_f32(y, n, OUT);
    assert_ok(self->context, nf_model_embed(self->context, self->model, nf_matrix_f64(x, n, D),
                                            nf_matrix_out_f32(y, n, OUT)));
    nf_mine_options mine = *self->o->mine;
    mine.seed = nf_random(self->o->seed, NF_STREAM_MINING, self->step++);
    const nf_labels own = {labels, n, 0};
    const nf_loss_result result = self->bank != NULL
                                      ? loss_of_bank(self, &mine, embedding, own, ids, g, &found)
                                      : loss_of_batch(self, &mine, embedding, own, g, &found);
    self->mined += found;
    self->empty += found == 0;
    self->loss += result.value;
    memcpy(w, nf_model_weight(self->model, 0, NULL, NULL), sizeof w);
    for (size_t k = 0; k < OUT; k++) {
        for (size_t c = 0; c < D; c++) {
            double slope = 0;
            for (size_t r = 0; r < n; r++) slope += (double)g[r * OUT + k] * x[r * D + c];
            w[k * D + c] = (float)((double)w[k * D + c] - self->o->lr * slope);
        }
    }
    assert_ok(self->context, nf_model_set_layer(self->context, self->model, 0, w, NULL));
}

static void run_oracle(oracle *self) {
    static const nf_batch_kind kinds[] = {NF_BATCH_M_PER_CLASS, NF_BATCH_RANDOM, NF_BATCH_ALL};
    nf_batch_options b = {.kind = kinds[self->o->sampling],
                          .batch_size = self->o->batch_size,
                          .per_class = self->o->per_class,
                          .seed = self->o->seed};
    nf_partition *partition;
    assert_ok(self->context,
              nf_partition_create(self->context, (nf_labels){self->data->labels, self->data->n, 0},
                                  &partition));
    for (b.epoch = 1; b.epoch <= EPOCHS; b.epoch++) {
        nf_batches *batches;
        assert_ok(self->context, nf_batches_create(self->context, partition, &b, &batches));
        for (size_t s = 0; s < batches->batches; s++) {
            take_step(self, batches->row + batches->offset[s],
                      batches->offset[s + 1] - batches->offset[s]);
        }
        nf_batches_free(self->context, batches);
    }
    nf_partition_free(self->context, partition);
}

static nf_model *linear_model(nf_context *context) {
    nf_model_options o = nf_model_defaults();
    o.inputs = D;
    o.outputs = OUT;
    o.bias = 0;
    o.standardize = 0;
    nf_model *model;
    assert_ok(context, nf_model_create(context, &o, &model));
    return model;
}

static void compare(nf_context *context, const char *loss, nf_miner miner, nf_sampling sampling,
                    size_t bank) {
    const nf_mine_options mine = nf_mine_defaults(miner);
    dataset data = make_data(3 + (uint64_t)miner, ROWS, CLASSES);
    nf_train_options o = options_of(context, loss, sampling, &mine);
    const nf_train_data d = view(&data);
    o.memory_bank = bank;
    nf_model *model = linear_model(context);
    oracle own = {.context = context, .model = linear_model(context), .data = &data, .o = &o};
    nf_train_report report;
    event_log log = {0};
    const size_t bytes = OUT * D * sizeof(float);
    float before[OUT * D];
    memcpy(before, nf_model_weight(model, 0, NULL, NULL), bytes);
    assert_ok(context, nf_train(context, model, &d, &o, record, &log, &report));
    if (bank > 0) {
        assert_ok(context, nf_bank_create(context, bank, OUT, NF_FLOAT32, &own.bank));
    }
    run_oracle(&own);
    nf_bank_free(context, own.bank);
    const float *got = nf_model_weight(model, 0, NULL, NULL);
    const float *want = nf_model_weight(own.model, 0, NULL, NULL);
    double error = 0, moved = 0;
    for (size_t e = 0; e < OUT * D; e++) {
        error = fmax(error, fabs((double)got[e] - (double)want[e]));
        moved = fmax(moved, fabs((double)want[e] - (double)before[e]));
    }
    assert_true(moved > 1e-3 && error <= 2e-5 * moved);
    assert_int_equal(report.steps, own.step);
    assert_int_equal(report.mined, own.mined);
    assert_int_equal(report.empty_steps, own.empty);
    assert_true(own.mined > 0 && own.empty < own.step);
    assert_true(fabs((report.first_loss + report.last_loss) / 2 - own.loss / (double)own.step) <=
                1e-5 * own.loss);
    assert_true(log.first.mined == 0 && log.last.mined > 0);
    nf_model_free(context, model);
    nf_model_free(context, own.model);
    free_data(&data);
}

static void steps_are_those_of_miner_and_list_loss(void **state) {
    (void)state;
    nf_context *context = test_context(2);
    static const char *const losses[] = {"weston", "pml", "triplet", "margin"};
    for (int miner = 0; nf_miner_name((nf_miner)miner) != NULL; miner++) {
        if ((nf_miner)miner == NF_MINE_TRIPLET_MARGIN) continue;
        for (size_t l = 0; l < 4; l++) {
            if (l >= 2 && !gives_triplets((nf_miner)miner)) continue;
            compare(context, losses[l], (nf_miner)miner,
                    (nf_sampling)((l + (size_t)miner) % NF_SAMPLE_PAIRS), 0);
            compare(context, losses[l], (nf_miner)miner, NF_SAMPLE_RANDOM, 50);
        }
    }
    compare(context, "triplet", NF_MINE_TRIPLET_MARGIN, NF_SAMPLE_RANDOM, 0);
    nf_context_free(context);
}

/* ---- boundary --------------------------------------------------------------------------------- */

/* A step over all rows moves beta along the gradient of the mined triplets. */
static void a_boundary_is_learnt_from_what_is_mined(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    for (int each = 0; each < 2; each++) {
        nf_mine_options mine = nf_mine_defaults(NF_MINE_DISTANCE_WEIGHTED);
        dataset data = make_data(21, ROWS, CLASSES);
        const nf_train_data d = view(&data);
        nf_train_options o = options_of(context, "margin", NF_SAMPLE_ALL, &mine);
        o.learn_beta = each ? NF_LEARN_BETA_CLASS : NF_LEARN_BETA_GLOBAL;
        o.loss.beta = 0.9;
        o.beta_lr = 0.25;
        o.nu = 0.1;
        o.epochs = 1;
        double beta[CLASSES] = {0.9, 0.9, 0.9, 0.9, 0.9}, slope[CLASSES];
        const nf_margin_beta own = {beta, each ? CLASSES : 1, o.nu, slope, 0};
        nf_model *model = linear_model(context);
        float y[ROWS * OUT];
        const nf_matrix rows = nf_matrix_f32(y, ROWS, OUT);
        nf_mined *mined;
        nf_loss_result result;
        nf_train_report report;
        assert_ok(context, nf_model_embed(context, model, d.x, nf_matrix_out_f32(y, ROWS, OUT)));
        nf_mine_options drawn = mine;
        drawn.seed = nf_random(o.seed, NF_STREAM_MINING, 0);
        assert_ok(context, nf_mine(context, &drawn, rows, d.labels, &mined));
        const nf_triplet_list list = {mined->triplets, mined->anchor, mined->positive,
                                      mined->negative};
        assert_ok(context, nf_loss_margin_triplets(context, &o.loss, rows, d.labels, list, &own,
                                                   &result, (nf_matrix_out){0}));
        assert_ok(context, nf_train(context, model, &d, &o, NULL, NULL, &report));
        const char *text = nf_model_metadata(model, "train.beta");
        for (size_t c = 0; c < own.count; c++) {
            char *end;
            assert_true(fabs(slope[c]) > 1e-3);
            assert_true(fabs(strtod(text, &end) - (beta[c] - 0.25 * slope[c])) < 1e-7);
            text = end + 1;
        }
        assert_true(fabs(report.first_loss - result.value) < 1e-9);
        nf_mined_free(context, mined);
        nf_model_free(context, model);
        free_data(&data);
    }
    nf_context_free(context);
}

/* ---- quality ---------------------------------------------------------------------------------- */

static nf_matrix rows_of(const nf_table *t) {
    return nf_matrix_f32(t->x->data, t->x->shape[0], t->x->shape[1]);
}

static nf_labels labels_of(const nf_table *t) {
    return (nf_labels){t->labels->data, t->labels->count, 0};
}

static double digits_map(nf_context *context, nf_matrix x, const nf_table *table) {
    nf_eval_options options = nf_eval_defaults();
    options.verification = 0;
    options.distance.normalize = 1;
    nf_eval_result result;
    assert_ok(context, nf_eval(context, &options, x, labels_of(table), &result));
    return result.map_at_r;
}

/* Held-out digits, every miner: mined training retrieves better than the raw rows. */
static void every_miner_beats_the_raw_digits(void **state) {
    (void)state;
    nf_context *context = test_context(0);
    nf_table *train, *test;
    assert_ok(context, nf_digits_load(context, NF_DIGITS_TRAIN, &train));
    assert_ok(context, nf_digits_load(context, NF_DIGITS_TEST, &test));
    const double raw = digits_map(context, rows_of(test), test);
    float *y = malloc(test->x->shape[0] * 16 * sizeof *y);
    for (int miner = 0; nf_miner_name((nf_miner)miner) != NULL; miner++) {
        const nf_mine_options mine = nf_mine_defaults((nf_miner)miner);
        nf_train_options o = nf_train_defaults();
        assert_ok(
            context,
            nf_loss_preset(context, gives_triplets((nf_miner)miner) ? "triplet" : "pml", &o.loss));
        o.mine = &mine;
        o.epochs = 12;
        nf_model_options mo = nf_model_defaults();
        mo.inputs = train->x->shape[1];
        mo.outputs = 16;
        nf_model *model;
        nf_train_report report;
        const nf_train_data d = {.x = rows_of(train), .labels = labels_of(train)};
        assert_ok(context, nf_model_create(context, &mo, &model));
        assert_ok(context, nf_train(context, model, &d, &o, NULL, NULL, &report));
        const nf_matrix_out out = nf_matrix_out_f32(y, test->x->shape[0], 16);
        assert_ok(context, nf_model_embed(context, model, rows_of(test), out));
        assert_true(digits_map(context, nf_matrix_f32(y, test->x->shape[0], 16), test) >
                    raw + 0.03);
        assert_int_equal(report.empty_steps, 0);
        nf_model_free(context, model);
    }
    free(y);
    nf_table_free(context, train);
    nf_table_free(context, test);
    nf_context_free(context);
}

/* ---- bits and seeds --------------------------------------------------------------------------- */

static void train_into(int threads, nf_isa isa, uint64_t seed, nf_miner miner, float *weights) {
    nf_context *context = test_context_isa(threads, isa);
    const nf_mine_options mine = nf_mine_defaults(miner);
    dataset data = make_data(6, 400, CLASSES);
    nf_train_options o =
        options_of(context, gives_triplets(miner) ? "triplet" : "weston", NF_SAMPLE_RANDOM, &mine);
    const nf_train_data d = view(&data);
    o.batch_size = 200;
    o.optimizer = NF_ADAM;
    o.seed = seed;
    nf_model *model = linear_model(context);
    assert_ok(context, nf_train(context, model, &d, &o, NULL, NULL, NULL));
    memcpy(weights, nf_model_weight(model, 0, NULL, NULL), OUT * D * sizeof *weights);
    nf_model_free(context, model);
    free_data(&data);
    nf_context_free(context);
}

static void bits_do_not_depend_on_threads_or_instruction_set(void **state) {
    (void)state;
    for (int miner = 0; nf_miner_name((nf_miner)miner) != NULL; miner++) {
        float first[OUT * D], other[OUT * D];
        train_into(1, NF_ISA_SCALAR, 1, (nf_miner)miner, first);
        for (int threads = 1; threads <= 3; threads++) {
            train_into(threads, NF_ISA_AUTO, 1, (nf_miner)miner, other);
            assert_memory_equal(first, other, sizeof first);
        }
    }
}

/* With every row in every step only the draws of the miner are random. */
static void draws_follow_seed_and_step(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    const nf_mine_options mine = nf_mine_defaults(NF_MINE_DISTANCE_WEIGHTED);
    dataset data = make_data(6, ROWS, CLASSES);
    const nf_train_data d = view(&data);
    float kept[3][OUT * D];
    for (int k = 0; k < 3; k++) {
        nf_train_options o = options_of(context, "triplet", NF_SAMPLE_ALL, &mine);
        o.seed = k == 2 ? 5 : 4;
        nf_model *model = linear_model(context);
        assert_ok(context, nf_train(context, model, &d, &o, NULL, NULL, NULL));
        memcpy(kept[k], nf_model_weight(model, 0, NULL, NULL), sizeof kept[k]);
        nf_model_free(context, model);
    }
    assert_memory_equal(kept[0], kept[1], sizeof kept[0]);
    assert_memory_not_equal(kept[0], kept[2], sizeof kept[0]);
    free_data(&data);
    nf_context_free(context);
}

/* ---- nothing to mine -------------------------------------------------------------------------- */

static void empty_steps_have_no_loss_and_are_told_once(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    nf_mine_options mines[] = {nf_mine_defaults(NF_MINE_PAIR_MARGIN),
                               nf_mine_defaults(NF_MINE_TRIPLET_MARGIN)};
    mines[0].pos_margin = 9, mines[0].neg_margin = -1; /* nothing is */
    mines[1].margin = -9;
    for (int k = 0; k < 2; k++) {
        dataset data = make_data(8, ROWS, CLASSES);
        const nf_train_data d = view(&data);
        const nf_train_options o =
            options_of(context, k ? "margin" : "pml", NF_SAMPLE_M_PER_CLASS, &mines[k]);
        nf_model *model = linear_model(context);
        float before[OUT * D];
        event_log log = {0};
        nf_train_report report;
        memcpy(before, nf_model_weight(model, 0, NULL, NULL), sizeof before);
        assert_ok(context, nf_train(context, model, &d, &o, record, &log, &report));
        assert_memory_equal(before, nf_model_weight(model, 0, NULL, NULL), sizeof before);
        assert_int_equal(report.mined, 0);
        assert_int_equal(report.empty_steps, report.steps);
        assert_int_equal(report.collapsed, 0);
        assert_true(report.first_loss == 0 && report.last_loss == 0);
        assert_true(log.last.loss == 0 && log.last.mined == 0);
        assert_int_equal(log.last.empty_steps, report.steps / EPOCHS);
        const char *told = strstr(log.warnings, "found nothing in any step of epoch 1");
        assert_non_null(told);
        assert_null(strstr(told + 1, "found nothing"));
        nf_model_free(context, model);
        free_data(&data);
    }
    nf_context_free(context);
}

/* ---- words ------------------------------------------------------------------------------------ */

static void settings_are_in_the_model(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    dataset data = make_data(8, ROWS, CLASSES);
    const nf_train_data d = view(&data);
    nf_mine_options mine = nf_mine_defaults(NF_MINE_TRIPLET_MARGIN);
    mine.margin = 0.125;
    mine.violation = NF_VIOLATION_SEMI_HARD;
    nf_train_options o = options_of(context, "triplet", NF_SAMPLE_RANDOM, &mine);
    nf_model *model = linear_model(context);
    assert_ok(context, nf_train(context, model, &d, &o, NULL, NULL, NULL));
    assert_string_equal(nf_model_metadata(model, "train.mine"), "triplet-margin");
    assert_string_equal(nf_model_metadata(model, "train.mine.metric"), "euclidean");
    assert_string_equal(nf_model_metadata(model, "train.mine.normalize"), "1");
    assert_string_equal(nf_model_metadata(model, "train.mine.margin"), "0.125");
    assert_string_equal(nf_model_metadata(model, "train.mine.violation"), "semi-hard");
    assert_null(nf_model_metadata(model, "train.mine.epsilon"));
    mine = nf_mine_defaults(NF_MINE_DISTANCE_WEIGHTED);
    mine.per_anchor = 3;
    assert_ok(context, nf_train(context, model, &d, &o, NULL, NULL, NULL));
    assert_string_equal(nf_model_metadata(model, "train.mine.cutoff"), "0.5");
    assert_string_equal(nf_model_metadata(model, "train.mine.per_anchor"), "3");
    assert_null(nf_model_metadata(model, "train.mine.margin"));
    o.mine = NULL;
    assert_ok(context, nf_train(context, model, &d, &o, NULL, NULL, NULL));
    assert_null(nf_model_metadata(model, "train.mine"));
    nf_model_free(context, model);
    free_data(&data);
    nf_context_free(context);
}

static void misuse_is_named(void **state) {
    (void)state;
    nf_context *context = test_context(1);
    dataset data = make_data(8, ROWS, CLASSES);
    nf_train_data d = view(&data);
    nf_model *model = linear_model(context);
    nf_mine_options mine;
    nf_train_options o;
    double weight[ROWS];
    nf_targets targets = {.row_weight = weight};
    for (size_t r = 0; r < ROWS; r++) weight[r] = 1;
#define REFUSED(loss, which, change, text)                                                    \
    do {                                                                                      \
        mine = nf_mine_defaults(which);                                                       \
        o = options_of(context, loss, NF_SAMPLE_RANDOM, &mine);                               \
        change;                                                                               \
        assert_fails(context, nf_train(context, model, &d, &o, NULL, NULL, NULL), NF_ERR_ARG, \
                     text);                                                                   \
    } while (0)
    REFUSED("supcon", NF_MINE_BATCH_HARD, (void)0,
            "mine is batch-hard: a loss of kind supcon compares all pairs of a row");
    REFUSED("multi-similarity", NF_MINE_MULTI_SIMILARITY, (void)0,
            "use a loss of kind contrastive");
    REFUSED("triplet", NF_MINE_MULTI_SIMILARITY, (void)0, "needs triplets");
    REFUSED("margin", NF_MINE_PAIR_MARGIN, (void)0, "use a miner such as batch-hard");
    REFUSED("tfa-hard", NF_MINE_SEMI_HARD, (void)0, "use triplets all");
    REFUSED("weston", NF_MINE_SEMI_HARD, o.sampling = NF_SAMPLE_PAIRS, "batches of labelled rows");
    REFUSED("triplet", NF_MINE_SEMI_HARD, o.learn_beta = NF_LEARN_BETA_GLOBAL, "kind margin");
    REFUSED("weston", NF_MINE_SEMI_HARD, mine.seed = 3, "mine.seed is set");
    REFUSED("weston", NF_MINE_PAIR_MARGIN, mine.pos_margin = NAN, "pos_margin is");
    REFUSED("weston", NF_MINE_PAIR_MARGIN, mine.metric = (nf_metric)77, "metric is 77");
    REFUSED("weston", NF_MINE_DISTANCE_WEIGHTED, mine.normalize = 0, "distance-weighted needs");
    REFUSED("weston", (nf_miner)77, (void)0, "miner is 77");
    REFUSED("weston", NF_MINE_SEMI_HARD, d.targets = &targets, "use none with targets");
    const uint8_t same[4] = {0, 1, 0, 1};
    const nf_matrix rows = nf_matrix_f64(data.x, 4, D);
    mine = nf_mine_defaults(NF_MINE_SEMI_HARD);
    o = options_of(context, "weston", NF_SAMPLE_RANDOM, &mine);
    assert_fails(context,
                 nf_train_rows(context, model, rows, rows, same, NULL, &o, NULL, NULL, NULL),
                 NF_ERR_ARG, "batches of labelled rows");
    nf_model_free(context, model);
    free_data(&data);
    nf_context_free(context);
}

/* ---- memory ----------------------------------------------------------------------------------- */

typedef struct memory_job {
    dataset data;
    nf_miner miner;
    size_t bank;
    float out[OUT * D];
} memory_job;

static nf_status memory_body(nf_context *context, void *user) {
    memory_job *job = user;
    nf_model_options mo = nf_model_defaults();
    mo.inputs = D;
    mo.outputs = OUT;
    mo.bias = 0;
    nf_model *model = NULL;
    const nf_mine_options mine = nf_mine_defaults(job->miner);
    nf_train_options o = nf_train_defaults();
    const nf_train_data d = view(&job->data);
    nf_status status =
        nf_loss_preset(context, gives_triplets(job->miner) ? "triplet" : "weston", &o.loss);
    o.mine = &mine;
    o.memory_bank = job->bank;
    o.epochs = 2;
    o.batch_size = 16;
    if (status == NF_OK) status = nf_model_create(context, &mo, &model);
    if (status == NF_OK) status = nf_train(context, model, &d, &o, NULL, NULL, NULL);
    if (status == NF_OK) memcpy(job->out, nf_model_weight(model, 0, NULL, NULL), sizeof job->out);
    nf_model_free(context, model);
    return status;
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    static const nf_miner miners[] = {NF_MINE_PAIR_MARGIN, NF_MINE_DISTANCE_WEIGHTED};
    for (int k = 0; k < 4; k++) {
        memory_job job = {
            .data = make_data(13, 40, 3), .miner = miners[k % 2], .bank = k < 2 ? 0 : 20};
        assert_true(test_fail_every_allocation(2, memory_body, &job, job.out, sizeof job.out) > 50);
        free_data(&job.data);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_those_of_miner_and_list_loss),
        cmocka_unit_test(a_boundary_is_learnt_from_what_is_mined),
        cmocka_unit_test(every_miner_beats_the_raw_digits),
        cmocka_unit_test(bits_do_not_depend_on_threads_or_instruction_set),
        cmocka_unit_test(draws_follow_seed_and_step),
        cmocka_unit_test(empty_steps_have_no_loss_and_are_told_once),
        cmocka_unit_test(settings_are_in_the_model),
        cmocka_unit_test(misuse_is_named),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
