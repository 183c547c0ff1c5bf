/* nearfar eval: retrieval and verification, as a table or as JSON. */
#include <math.h>

#include "label_sets.h"

static int read_options(cli *app, nf_eval_options *options) {
    *options = nf_eval_defaults();
    options->distance = cli_distance_options(app);
    if (cli_given(app, OPT_KNN_K)) options->knn_k = (size_t)cli_get(app, OPT_KNN_K)->integer;
    if (!cli_given(app, OPT_RECALL_AT)) return CLI_OK;
    const cli_value *list = cli_get(app, OPT_RECALL_AT);
    options->k_count = list->list_count;
    for (size_t i = 0; i < list->list_count; i++) {
        options->k[i] = list->list[i];
        for (size_t j = 0; j < i; j++) {
            if (list->list[j] != list->list[i]) continue;
            return cli_fail(app, CLI_USAGE, "-k lists %zu twice: keep one", list->list[i]);
        }
    }
    return CLI_OK;
}

static int print_json(cli *app, const nf_eval_options *options, const nf_eval_result *result) {
    json_t *document = cli_json_document();
    char key[32];
    cli_json_count(document, "n", result->n);
    cli_json_count(document, "queries", result->queries);
    cli_json_count(document, "dropped", result->dropped);
    for (size_t i = 0; i < options->k_count; i++) {
        snprintf(key, sizeof key, "recall_at_%zu", options->k[i]);
        cli_json_number(document, key, result->recall[i]);
    }
    cli_json_number(document, "r_precision", result->r_precision);
    cli_json_number(document, "map_at_r", result->map_at_r);
    cli_json_number(document, "knn_accuracy", result->knn_accuracy);
    cli_json_count(document, "knn_k", options->knn_k);
    cli_json_count(document, "positive_pairs", result->positive_pairs);
    cli_json_count(document, "negative_pairs", result->negative_pairs);
    cli_json_number(document, "roc_auc", result->roc_auc);
    cli_json_number(document, "eer", result->eer);
    cli_json_number(document, "eer_threshold", result->eer_threshold);
    cli_json_number(document, "tar_at_far_1e-2", result->tar_at_far_1e2);
    cli_json_number(document, "tar_at_far_1e-3", result->tar_at_far_1e3);
    cli_json_number(document, "best_accuracy", result->best_accuracy);
    cli_json_number(document, "best_threshold", result->best_threshold);
    cli_json_text(document, "metric", nf_metric_name(options->distance.metric));
    cli_json_flag(document, "normalize", options->distance.normalize != 0);
    cli_json_flag(document, "fast", options->distance.fast != 0);
    return cli_json_print(app, document);
}

static void print_share(cli *app, const char *name, double value) {
    if (isfinite(value)) {
        cli_row(app, name, "%.4f", value);
    } else {
        cli_row(app, name, "-");
    }
}

static int print_table(cli *app, const nf_eval_options *options, const nf_eval_result *result) {
    char name[48];
    cli_row(app, "metric", "%s%s", nf_metric_name(options->distance.metric),
            options->distance.normalize ? ", rows normalised" : "");
    cli_row_count(app, "rows", result->n);
    cli_row(app, "queries", "%zu (%zu dropped: %s)", result->queries, result->dropped,
            cli_given(app, OPT_LABEL_SETS) ? "no row shares a label" : "alone in their class");
    printf("\n");
    for (size_t i = 0; i < options->k_count; i++) {
        snprintf(name, sizeof name, "recall@%zu", options->k[i]);
        print_share(app, name, result->recall[i]);
    }
    print_share(app, "R-precision", result->r_precision);
    print_share(app, "MAP@R", result->map_at_r);
    snprintf(name, sizeof name, "kNN accuracy (k = %zu)", options->knn_k);
    print_share(app, name, result->knn_accuracy);
    printf("\n");
    cli_row_count(app, "positive pairs", result->positive_pairs);
    cli_row_count(app, "negative pairs", result->negative_pairs);
    print_share(app, "ROC AUC", result->roc_auc);
    print_share(app, "EER", result->eer);
    cli_row_number(app, "  at distance", result->eer_threshold);
    print_share(app, "TAR@FAR=1e-2", result->tar_at_far_1e2);
    print_share(app, "TAR@FAR=1e-3", result->tar_at_far_1e3);
    print_share(app, "best accuracy", result->best_accuracy);
    cli_row_number(app, "  at distance", result->best_threshold);
    return CLI_OK;
}

static void tell(cli *app, const nf_eval_result *result) {
    if (result->queries == 0) {
        cli_warn(app, "no row has another row %s, so retrieval is undefined",
                 cli_given(app, OPT_LABEL_SETS) ? "that shares a label" : "of its class");
    }
    if (result->positive_pairs == 0 || result->negative_pairs == 0) {
        cli_warn(app, "there is no %s pair, so verification is undefined",
                 result->positive_pairs == 0 ? "positive" : "negative");
    }
    if (result->roc_auc < 0.5) {
        cli_warn(app,
                 "labels look reversed: pairs with one label are farther apart than pairs with "
                 "different ones (ROC AUC %.3f; 0.5 is guessing)",
                 result->roc_auc);
    }
}

/* What is evaluated: options borrow from it. */
typedef struct work {
    nf_eval_options options;
    cli_rows query, reference;
    cli_label_sets query_sets, reference_sets;
    nf_array *ids, *reference_ids;
} work;

static nf_status run(cli *app, const work *w, nf_eval_result *result) {
    const nf_eval_options *options = &w->options;
    const int64_t *ids = w->ids != NULL ? w->ids->data : NULL;
    const int64_t *reference_ids = w->reference_ids != NULL ? w->reference_ids->data : NULL;
    const bool reference = cli_given(app, OPT_REFERENCE), sets = cli_given(app, OPT_LABEL_SETS);
    if (sets && reference) {
        return nf_eval_label_sets_reference(app->context, options, w->query.x, &w->query_sets.sets,
                                            ids, w->reference.x, &w->reference_sets.sets,
                                            reference_ids, result);
    }
    if (sets) {
        return nf_eval_label_sets(app->context, options, w->query.x, &w->query_sets.sets, result);
    }
    if (reference) {
        return nf_eval_reference(app->context, options, w->query.x, w->query.labels, ids,
                                 w->reference.x, w->reference.labels, reference_ids, result);
    }
    return nf_eval(app->context, options, w->query.x, w->query.labels, result);
}

static int evaluate(cli *app, const work *w) {
    nf_eval_result result;
    cli_progress_begin(app, "evaluating");
    nf_status status = run(app, w, &result);
    cli_progress_end(app);
    int code = cli_data_status(app, status, "eval");
    if (code != CLI_OK) return code;
    tell(app, &result);
    return app->json ? print_json(app, &w->options, &result)
                     : print_table(app, &w->options, &result);
}

static int check_sets(cli *app) {
    if (!cli_given(app, OPT_LABEL_SETS)) {
        if (!cli_given(app, OPT_REFERENCE_LABEL_SETS)) return CLI_OK;
        return cli_fail(app, CLI_USAGE,
                        "--reference-label-sets goes with --label-sets, which is missing");
    }
    static const cli_option_id others[] = {OPT_LABELS, OPT_REFERENCE_LABELS, OPT_UNLABELLED};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (!cli_given(app, others[i])) continue;
        return cli_fail(app, CLI_USAGE,
                        "--%s is about labels, one per row: it does not go with --label-sets",
                        cli_options[others[i]].name);
    }
    if (cli_given(app, OPT_REFERENCE) && !cli_given(app, OPT_REFERENCE_LABEL_SETS)) {
        return cli_fail(app, CLI_USAGE,
                        "--label-sets with --reference needs --reference-label-sets FILE");
    }
    return CLI_OK;
}

/* A label is a column of the file. */
static int match_sets(cli *app, const work *w) {
    const nf_matrix a = w->query_sets.indicators.x, b = w->reference_sets.indicators.x;
    if (!cli_given(app, OPT_REFERENCE) || a.cols == b.cols) return CLI_OK;
    return cli_fail(app, CLI_DATA,
                    "--label-sets has %zu columns, but --reference-label-sets has %zu: a column is "
                    "a label, so they must match",
                    a.cols, b.cols);
}

static int load(cli *app, work *w) {
    const bool sets = cli_given(app, OPT_LABEL_SETS);
    int code = cli_load_rows(app, app->args.operand[0], cli_labels_text(app),
                             sets ? NULL : "--labels", &w->query);
    if (code == CLI_OK && cli_given(app, OPT_REFERENCE)) {
        code = cli_load_reference(app, &w->query, &w->reference, &w->ids, &w->reference_ids);
    }
    if (code != CLI_OK || !sets) return code;
    code = cli_load_label_sets(app, OPT_LABEL_SETS, w->query.x.rows, &w->query_sets);
    if (code == CLI_OK && cli_given(app, OPT_REFERENCE)) {
        code = cli_load_label_sets(app, OPT_REFERENCE_LABEL_SETS, w->reference.x.rows,
                                   &w->reference_sets);
    }
    return code == CLI_OK ? match_sets(app, w) : code;
}

int cli_run_eval(cli *app) {
    work w = {0};
    if (app->args.operands < 1) {
        return cli_fail(app, CLI_USAGE, "eval needs an embedding: nearfar eval EMB --labels FILE");
    }
    int code = cli_check_distance(app);
    if (code == CLI_OK) code = cli_check_reference(app);
    if (code == CLI_OK) code = check_sets(app);
    if (code == CLI_OK) code = read_options(app, &w.options);
    if (code == CLI_OK) code = load(app, &w);
    if (code == CLI_OK) code = evaluate(app, &w);
    nf_array_free(app->context, w.ids);
    nf_array_free(app->context, w.reference_ids);
    cli_free_label_sets(app, &w.query_sets);
    cli_free_label_sets(app, &w.reference_sets);
    cli_free_rows(app, &w.query);
    cli_free_rows(app, &w.reference);
    return code;
}
