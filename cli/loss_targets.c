/* nearfar loss with targets: several labels a row, soft targets, weights and groups. */
#include <stdlib.h>

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

/* Indicators (n, c) of 0 and 1 as offsets and labels. */
static int read_sets(cli *app, nf_matrix x, cli_targets *targets) {
    const char *source = cli_quote(cli_get(app, OPT_LABEL_SETS)->text).text;
    size_t count = 0, capacity = 0;
    targets->offset = malloc((x.rows + 1) * sizeof *targets->offset);
    if (targets->offset == NULL) return cli_no_memory(app, "the label sets");
    targets->offset[0] = 0;
    for (size_t r = 0; r < x.rows; r++) {
        for (size_t c = 0; c < x.cols; c++) {
            const size_t at = r * x.ld + c;
            const double value = x.type == NF_FLOAT32 ? (double)((const float *)x.data)[at]
                                                      : ((const double *)x.data)[at];
            if (value != 0 && value != 1) {
                return cli_fail(
                    app, CLI_DATA,
                    "%s holds %g in row %zu, column %zu: it must be 1 where the row has "
                    "the label and 0 where not; for targets between them use --soft",
                    source, value, r, c);
            }
            if (value == 0) continue;
            if (count == capacity) {
                capacity = capacity > 0 ? 2 * capacity : 1024;
                int64_t *grown = realloc(targets->label, capacity * sizeof *grown);
                if (grown == NULL) return cli_no_memory(app, "the label sets");
                targets->label = grown;
            }
            targets->label[count++] = (int64_t)c;
        }
        targets->offset[r + 1] = count;
    }
    targets->sets = (nf_label_sets){targets->offset, targets->label};
    targets->targets.sets = &targets->sets;
    return CLI_OK;
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
    int code = load_matrix(app, OPT_LABEL_SETS, n, &targets->indicators);
    if (code == CLI_OK && cli_given(app, OPT_LABEL_SETS)) {
        code = read_sets(app, targets->indicators.x, targets);
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
    cli_free_rows(app, &targets->indicators);
    cli_free_rows(app, &targets->soft);
    cli_free_rows(app, &targets->pair_weight);
    nf_array_free(app->context, targets->row_weight);
    nf_array_free(app->context, targets->group);
    free(targets->offset);
    free(targets->label);
}
