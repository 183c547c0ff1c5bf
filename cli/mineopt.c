/* Options of nearfar pairs --mine and train --mine, and the call that the first asks for. */
#include "data.h"

/* An option of mining where it has another name in train, whose loss has margins and a metric too. */
static cli_option_id here(const cli *app, cli_option_id id) {
    if (app->command->bit != ON_TRAIN) return id;
    switch (id) {
    case OPT_MINE: return OPT_MINER;
    case OPT_MINE_METRIC: return OPT_MINER_METRIC;
    case OPT_MINE_NORMALIZE: return OPT_MINER_NORMALIZE;
    case OPT_MINE_NO_NORMALIZE: return OPT_MINER_NO_NORMALIZE;
    case OPT_MINE_POS_MARGIN: return OPT_MINER_POS_MARGIN;
    case OPT_MINE_NEG_MARGIN: return OPT_MINER_NEG_MARGIN;
    case OPT_MINE_MARGIN: return OPT_MINER_MARGIN;
    default: return id;
    }
}

static bool given(const cli *app, cli_option_id id) { return cli_given(app, here(app, id)); }
static const cli_value *get(const cli *app, cli_option_id id) {
    return cli_get(app, here(app, id));
}

/* What --mine names: hard, which train does not know, then the miners of the library. */
enum { HARD = 0 };
static size_t choice(const cli *app) {
    return get(app, OPT_MINE)->choice + (app->command->bit == ON_TRAIN);
}
static nf_miner miner_of(const cli *app) { return (nf_miner)(choice(app) - 1); }

#define OF_HARD (1u << HARD)
#define OF(miner) (1u << (NF_MINE_##miner + 1))
#define OF_ALL (~0u)
#define OF_TRIPLETS                                                            \
    (OF(BATCH_HARD) | OF(EASY_POSITIVE) | OF(TRIPLET_MARGIN) | OF(SEMI_HARD) | \
     OF(DISTANCE_WEIGHTED))

static const struct {
    cli_option_id option;
    unsigned takes;
} mining[] = {{OPT_MINE_METRIC, OF_ALL & ~OF(DISTANCE_WEIGHTED)},
              {OPT_MINE_NORMALIZE, OF_ALL},
              {OPT_MINE_NO_NORMALIZE, OF_ALL & ~OF(DISTANCE_WEIGHTED)},
              {OPT_REFERENCE, OF_ALL},
              {OPT_MINE_AS, OF_TRIPLETS},
              {OPT_MINE_K, OF_HARD},
              {OPT_MINE_POSITIVES, OF_HARD},
              {OPT_MINE_RANDOM, OF_HARD},
              {OPT_RANGE_MIN, OF_HARD},
              {OPT_RANGE_MAX, OF_HARD},
              {OPT_ABSOLUTE_MARGIN, OF_HARD},
              {OPT_RELATIVE_MARGIN, OF_HARD},
              {OPT_MIN_DISTANCE, OF_HARD},
              {OPT_MAX_DISTANCE, OF_HARD},
              {OPT_MINE_POS_MARGIN, OF(PAIR_MARGIN)},
              {OPT_MINE_NEG_MARGIN, OF(PAIR_MARGIN)},
              {OPT_MINE_EPSILON, OF(MULTI_SIMILARITY)},
              {OPT_MINE_MARGIN, OF(TRIPLET_MARGIN) | OF(SEMI_HARD)},
              {OPT_VIOLATION, OF(TRIPLET_MARGIN)},
              {OPT_CUTOFF, OF(DISTANCE_WEIGHTED)},
              {OPT_NONZERO_LOSS_CUTOFF, OF(DISTANCE_WEIGHTED)},
              {OPT_PER_ANCHOR, OF(DISTANCE_WEIGHTED)}};

static void read_number(const cli *app, cli_option_id id, double *number) {
    if (given(app, id)) *number = get(app, id)->number;
}

static void read_size(const cli *app, cli_option_id id, size_t *size) {
    if (cli_given(app, id)) *size = (size_t)cli_get(app, id)->integer;
}

static void read_rows(const cli *app, nf_metric *metric, int *normalize) {
    if (given(app, OPT_MINE_METRIC)) *metric = (nf_metric)get(app, OPT_MINE_METRIC)->choice;
    if (given(app, OPT_MINE_NORMALIZE)) *normalize = 1;
    if (given(app, OPT_MINE_NO_NORMALIZE)) *normalize = 0;
}

static nf_mine_hard_options hard_options(const cli *app) {
    nf_mine_hard_options options = nf_mine_hard_defaults();
    read_rows(app, &options.metric, &options.normalize);
    options.random = cli_given(app, OPT_MINE_RANDOM);
    read_size(app, OPT_MINE_K, &options.negatives);
    read_size(app, OPT_MINE_POSITIVES, &options.positives);
    read_size(app, OPT_RANGE_MIN, &options.range_min);
    read_size(app, OPT_RANGE_MAX, &options.range_max);
    read_number(app, OPT_ABSOLUTE_MARGIN, &options.absolute_margin);
    read_number(app, OPT_RELATIVE_MARGIN, &options.relative_margin);
    read_number(app, OPT_MIN_DISTANCE, &options.min_distance);
    read_number(app, OPT_MAX_DISTANCE, &options.max_distance);
    if (cli_given(app, OPT_SEED)) options.seed = cli_get(app, OPT_SEED)->integer;
    return options;
}

/* Without the seed, which in train is that of everything random. */
nf_mine_options cli_miner_options(const cli *app) {
    nf_mine_options options = nf_mine_defaults(miner_of(app));
    read_rows(app, &options.metric, &options.normalize);
    read_number(app, OPT_MINE_POS_MARGIN, &options.pos_margin);
    read_number(app, OPT_MINE_NEG_MARGIN, &options.neg_margin);
    read_number(app, OPT_MINE_EPSILON, &options.epsilon);
    read_number(app, OPT_MINE_MARGIN, &options.margin);
    read_number(app, OPT_CUTOFF, &options.cutoff);
    read_number(app, OPT_NONZERO_LOSS_CUTOFF, &options.nonzero_loss_cutoff);
    read_size(app, OPT_PER_ANCHOR, &options.per_anchor);
    if (cli_given(app, OPT_VIOLATION)) {
        options.violation = (nf_violation)cli_get(app, OPT_VIOLATION)->choice;
    }
    return options;
}

void cli_json_miner(json_t *object, const nf_mine_options *options) {
    const nf_miner miner = options->miner;
    cli_json_text(object, "miner", nf_miner_name(miner));
    cli_json_text(object, "metric", nf_metric_name(options->metric));
    cli_json_flag(object, "normalize", options->normalize != 0);
    if (miner == NF_MINE_PAIR_MARGIN) {
        cli_json_number(object, "pos_margin", options->pos_margin);
        cli_json_number(object, "neg_margin", options->neg_margin);
    }
    if (miner == NF_MINE_MULTI_SIMILARITY) cli_json_number(object, "epsilon", options->epsilon);
    if (miner == NF_MINE_TRIPLET_MARGIN || miner == NF_MINE_SEMI_HARD) {
        cli_json_number(object, "margin", options->margin);
        cli_json_text(object, "violation", nf_violation_name(options->violation));
    }
    if (miner == NF_MINE_DISTANCE_WEIGHTED) {
        cli_json_number(object, "cutoff", options->cutoff);
        cli_json_number(object, "nonzero_loss_cutoff", options->nonzero_loss_cutoff);
        cli_json_count(object, "per_anchor", options->per_anchor);
    }
}

/* ---- usage ---- */

static int check_options(cli *app) {
    for (size_t i = 0; i < sizeof mining / sizeof *mining; i++) {
        if (!given(app, mining[i].option)) continue;
        const char *name = cli_options[here(app, mining[i].option)].name;
        if (!given(app, OPT_MINE)) {
            return cli_fail(app, CLI_USAGE, "--%s goes with --mine, which is missing", name);
        }
        if ((mining[i].takes >> choice(app) & 1) != 0) continue;
        return cli_fail(app, CLI_USAGE, "--%s does not go with --mine %s", name,
                        get(app, OPT_MINE)->text);
    }
    if (given(app, OPT_MINE_NORMALIZE) && given(app, OPT_MINE_NO_NORMALIZE)) {
        return cli_fail(app, CLI_USAGE, "--%s and --%s exclude each other",
                        cli_options[here(app, OPT_MINE_NORMALIZE)].name,
                        cli_options[here(app, OPT_MINE_NO_NORMALIZE)].name);
    }
    return CLI_OK;
}

bool cli_trains_mined(const cli *app) { return cli_given(app, OPT_MINER); }

int cli_check_miner(cli *app) { return check_options(app); }

static int check_range(cli *app) {
    const nf_mine_hard_options options = hard_options(app);
    if (options.range_max == 0 || options.range_max >= options.range_min + options.negatives) {
        return CLI_OK;
    }
    return cli_fail(app, CLI_USAGE,
                    "--range-max is %zu: it must be at least --range-min %zu + --k %zu",
                    options.range_max, options.range_min, options.negatives);
}

int cli_check_mining(cli *app) {
    int code = check_options(app);
    if (code == CLI_OK) code = cli_check_reference(app);
    if (code != CLI_OK || !cli_given(app, OPT_MINE)) return code;
    if (cli_given(app, OPT_ALL_PAIRS) || cli_given(app, OPT_COUNT)) {
        return cli_fail(app, CLI_USAGE, "--mine and --%s exclude each other: keep one",
                        cli_given(app, OPT_COUNT) ? "count" : "all");
    }
    if (!cli_given(app, OPT_GATHER)) {
        return cli_fail(app, CLI_USAGE, "--mine looks at the rows of --data, which is missing");
    }
    const bool split = cli_given(app, OPT_LEFT_OUT) || cli_given(app, OPT_RIGHT_OUT) ||
                       cli_given(app, OPT_SAME_OUT);
    if (split && cli_writes_triplets(app)) {
        return cli_fail(app, CLI_USAGE,
                        "--mine %s gives triplets, which have no left and right: --as pairs makes "
                        "two pairs of each",
                        cli_get(app, OPT_MINE)->text);
    }
    return choice(app) == HARD ? check_range(app) : CLI_OK;
}

bool cli_mines_at_random(const cli *app) {
    if (!cli_given(app, OPT_MINE)) return false;
    return choice(app) == HARD ? cli_given(app, OPT_MINE_RANDOM)
                               : miner_of(app) == NF_MINE_DISTANCE_WEIGHTED;
}

bool cli_writes_triplets(const cli *app) {
    if (!cli_given(app, OPT_MINE) || (OF_TRIPLETS >> choice(app) & 1) == 0) return false;
    return !cli_given(app, OPT_MINE_AS) || cli_get(app, OPT_MINE_AS)->choice == 1;
}

/* ---- the call ---- */

nf_status cli_mine(const cli *app, const cli_rows *data, const cli_rows *reference,
                   const nf_array *ids, const nf_array *reference_ids, nf_mined **mined) {
    const nf_mine_hard_options hard = hard_options(app);
    const nf_mine_sets sets = {data->x,
                               reference->x,
                               data->labels,
                               reference->labels,
                               ids != NULL ? ids->data : NULL,
                               reference_ids != NULL ? reference_ids->data : NULL};
    const bool both = cli_given(app, OPT_REFERENCE);
    if (choice(app) == HARD) {
        return both ? nf_mine_hard_reference(app->context, &hard, &sets, mined)
                    : nf_mine_hard(app->context, &hard, data->x, data->labels, mined);
    }
    nf_mine_options options = cli_miner_options(app);
    if (cli_given(app, OPT_SEED)) options.seed = cli_get(app, OPT_SEED)->integer;
    return both ? nf_mine_reference(app->context, &options, &sets, mined)
                : nf_mine(app->context, &options, data->x, data->labels, mined);
}
