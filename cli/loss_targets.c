/* nearfar loss with targets: several labels a row, soft targets, weights and groups. */
#include "loss_targets.h"

static const cli_option_id options[] = {OPT_LABEL_SETS, OPT_SOFT, OPT_ROW_WEIGHTS, OPT_PAIR_WEIGHTS,
                                        OPT_GROUPS};

bool cli_targets_given(const cli *app) {
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        if (cli_given(app, options[i])) return true;
    }
    return false;
}

int cli_check_targets(cli *app) {
    const bool sets = cli_given(app, OPT_LABEL_SETS), soft = cli_given(app, OPT_SOFT);
    if (sets && soft) {
        return cli_fail(app, CLI_USAGE,
                        "--label-sets and --soft exclude each other: keep the one that says what "
                        "is positive");
    }
    if ((sets || soft) && cli_given(app, OPT_LABELS)) {
        return cli_fail(app, CLI_USAGE,
                        "--labels and --%s exclude each other: keep the one that says what is "
                        "positive",
                        sets ? "label-sets" : "soft");
    }
    return CLI_OK;
}

bool cli_targets_need_labels(const cli *app) {
    return !cli_given(app, OPT_LABEL_SETS) && !cli_given(app, OPT_SOFT);
}

static int load_matrix(cli *app, cli_option_id id, size_t n, cli_rows *rows) {
    if (!cli_given(app, id)) return CLI_OK;
    const char *source = cli_get(app, id)->text;
    int code = cli_load_rows(app, source, NULL, NULL, rows);
    if (code != CLI_OK || rows->x.rows == n) return code;
    return cli_fail(app, CLI_DATA, "%s has %zu rows for %zu rows of data", cli_quote(source).text,
                    rows->x.rows, n);
}

int cli_load_targets(cli *app, const cli_rows *rows, cli_targets *targets) {
    const size_t n = rows->x.rows;
    int code = CLI_OK;
    if (cli_given(app, OPT_LABEL_SETS)) {
        code = cli_load_label_sets(app, OPT_LABEL_SETS, n, &targets->sets);
        targets->targets.sets = &targets->sets.sets;
    }
    if (code == CLI_OK) code = load_matrix(app, OPT_SOFT, n, &targets->soft);
    if (code == CLI_OK) code = load_matrix(app, OPT_PAIR_WEIGHTS, n, &targets->pair_weight);
    if (code == CLI_OK) code = cli_load_doubles(app, OPT_ROW_WEIGHTS, n, &targets->row_weight);
    if (code == CLI_OK) code = cli_load_ids(app, OPT_GROUPS, n, &targets->group);
    if (code != CLI_OK) return code;
    nf_targets *t = &targets->targets;
    if (cli_targets_need_labels(app)) t->labels = rows->labels;
    t->soft = targets->soft.x;
    t->pair_weight = targets->pair_weight.x;
    t->row_weight = targets->row_weight != NULL ? targets->row_weight->data : NULL;
    t->group = targets->group != NULL ? targets->group->data : NULL;
    return CLI_OK;
}

void cli_free_targets(cli *app, cli_targets *targets) {
    cli_free_label_sets(app, &targets->sets);
    cli_free_rows(app, &targets->soft);
    cli_free_rows(app, &targets->pair_weight);
    nf_array_free(app->context, targets->row_weight);
    nf_array_free(app->context, targets->group);
}
