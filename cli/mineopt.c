/* Options of nearfar pairs --mine. */
#include "data.h"

static const cli_option_id mining[] = {OPT_MINE_K,       OPT_MINE_POSITIVES,  OPT_MINE_RANDOM,
                                       OPT_MINE_METRIC,  OPT_MINE_NORMALIZE,  OPT_RANGE_MIN,
                                       OPT_RANGE_MAX,    OPT_ABSOLUTE_MARGIN, OPT_RELATIVE_MARGIN,
                                       OPT_MIN_DISTANCE, OPT_MAX_DISTANCE};

int cli_check_mining(cli *app) {
    if (!cli_given(app, OPT_MINE)) {
        for (size_t i = 0; i < sizeof mining / sizeof *mining; i++) {
            if (!cli_given(app, mining[i])) continue;
            return cli_fail(app, CLI_USAGE, "--%s goes with --mine hard, which is missing",
                            cli_options[mining[i]].name);
        }
        return CLI_OK;
    }
    if (cli_given(app, OPT_ALL_PAIRS) || cli_given(app, OPT_COUNT)) {
        return cli_fail(app, CLI_USAGE, "--mine and --%s exclude each other: keep one",
                        cli_given(app, OPT_COUNT) ? "count" : "all");
    }
    if (!cli_given(app, OPT_GATHER)) {
        return cli_fail(app, CLI_USAGE, "--mine looks at the rows of --data, which is missing");
    }
    const nf_mine_hard_options options = cli_mining(app);
    if (options.range_max > 0 && options.range_max < options.range_min + options.negatives) {
        return cli_fail(app, CLI_USAGE,
                        "--range-max is %zu: it must be at least --range-min %zu + --k %zu",
                        options.range_max, options.range_min, options.negatives);
    }
    return CLI_OK;
}

static void read_number(const cli *app, cli_option_id id, double *number) {
    if (cli_given(app, id)) *number = cli_get(app, id)->number;
}

static void read_size(const cli *app, cli_option_id id, size_t *size) {
    if (cli_given(app, id)) *size = (size_t)cli_get(app, id)->integer;
}

nf_mine_hard_options cli_mining(const cli *app) {
    nf_mine_hard_options options = nf_mine_hard_defaults();
    if (cli_given(app, OPT_MINE_METRIC)) {
        options.metric = (nf_metric)cli_get(app, OPT_MINE_METRIC)->choice;
    }
    options.normalize = cli_given(app, OPT_MINE_NORMALIZE);
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
