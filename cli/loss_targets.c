/* nearfar loss with targets: several labels a row, soft targets, weights and groups. */
#include "loss_targets.h"

static const cli_option_id options[] = {OPT_LABEL_SETS,
                                        OPT_SOFT,
                                        OPT_ROW_WEIGHTS,
                                        OPT_PAIR_WEIGHTS,
                                        OPT_GROUPS,
                                        OPT_REFERENCE_LABEL_SETS,
                                        OPT_REFERENCE_ROW_WEIGHTS,
                                        OPT_REFERENCE_GROUPS};

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

/* What both sets must have. */
static int check_both(cli *app, cli_option_id query, cli_option_id reference) {
    if (!cli_given(app, OPT_REFERENCE) || cli_given(app, query) == cli_given(app, reference)) {
        return CLI_OK;
    }
    return cli_fail(app, CLI_USAGE, "--%s and --%s go together: give both or none",
                    cli_options[query].name, cli_options[reference].name);
}

int cli_check_reference_targets(cli *app, const nf_loss *loss) {
    const bool labels = cli_targets_need_labels(app);
    int code = check_both(app, OPT_LABEL_SETS, OPT_REFERENCE_LABEL_SETS);
    if (code == CLI_OK) code = check_both(app, OPT_GROUPS, OPT_REFERENCE_GROUPS);
    if (code != CLI_OK) return code;
    if (!labels && cli_given(app, OPT_REFERENCE_LABELS)) {
        return cli_fail(app, CLI_USAGE,
                        "--reference-labels and --%s exclude each other: keep the one that says "
                        "what is positive",
                        cli_given(app, OPT_SOFT) ? "soft" : "label-sets");
    }
    if (!cli_given(app, OPT_REFERENCE_ROW_WEIGHTS) || nf_loss_takes(loss->kind, "pairs")) {
        return CLI_OK;
    }
    return cli_fail(
        app, CLI_USAGE,
        "--reference-row-weights: the terms of this loss start from the rows, none from "
        "the reference; use --row-weights or --pair-weights");
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

int cli_load_reference_targets(cli *app, const cli_rows *rows, cli_targets *targets) {
    const size_t m = rows->x.rows;
    int code = CLI_OK;
    if (cli_given(app, OPT_REFERENCE_LABEL_SETS)) {
        code = cli_load_label_sets(app, OPT_REFERENCE_LABEL_SETS, m, &targets->sets);
        targets->targets.sets = &targets->sets.sets;
    }
    if (code == CLI_OK) {
        code = cli_load_doubles(app, OPT_REFERENCE_ROW_WEIGHTS, m, &targets->row_weight);
    }
    if (code == CLI_OK) code = cli_load_ids(app, OPT_REFERENCE_GROUPS, m, &targets->group);
    if (code != CLI_OK) return code;
    nf_targets *t = &targets->targets;
    t->row_weight = targets->row_weight != NULL ? targets->row_weight->data : NULL;
    t->group = targets->group != NULL ? targets->group->data : NULL;
    return CLI_OK;
}

static nf_row_targets rows_of(const nf_targets *t) {
    return (nf_row_targets){.sets = t->sets, .row_weight = t->row_weight, .group = t->group};
}

nf_reference_targets cli_reference_targets(const cli_targets *query, const cli_targets *reference) {
    return (nf_reference_targets){.query = rows_of(&query->targets),
                                  .reference = rows_of(&reference->targets),
                                  .soft = query->targets.soft,
                                  .pair_weight = query->targets.pair_weight};
}

void cli_free_targets(cli *app, cli_targets *targets) {
    cli_free_label_sets(app, &targets->sets);
    cli_free_rows(app, &targets->soft);
    cli_free_rows(app, &targets->pair_weight);
    nf_array_free(app->context, targets->row_weight);
    nf_array_free(app->context, targets->group);
}
