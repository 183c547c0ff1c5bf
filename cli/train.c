/* nearfar train: an embedding from labelled rows, or from pairs made beforehand. */
#include "loss_targets.h"
#include "train.h"

typedef struct job {
    cli_training settings;
    cli_rows first, second; /* rows and validation rows, or left and right */
    nf_array *same, *weight;
    cli_targets targets;
    nf_model *model;
    nf_train_report report;
} job;

/* ---- inputs ---- */

static int load_labelled(cli *app, job *work) {
    const bool labelled = cli_targets_need_labels(app);
    int code = cli_load_rows(app, app->args.operand[0], labelled ? cli_labels_text(app) : NULL,
                             labelled ? "--labels" : NULL, &work->first);
    if (code == CLI_OK && cli_targets_given(app)) {
        code = cli_load_targets(app, &work->first, &work->targets);
    }
    if (code != CLI_OK || !cli_given(app, OPT_VALID)) return code;
    code = cli_load_rows(app, cli_get(app, OPT_VALID)->text, cli_get(app, OPT_VALID_LABELS)->text,
                         "--valid-labels", &work->second);
    if (code == CLI_OK) code = cli_match_columns(app, &work->first, &work->second);
    if (code == CLI_OK) code = cli_match_types(app, &work->first, &work->second);
    if (code != CLI_OK || !labelled) return code;
    return cli_match_classes(app, &work->first, &work->second);
}

static int load_pairs(cli *app, job *work) {
    int code = cli_load_rows(app, cli_get(app, OPT_LEFT)->text, NULL, NULL, &work->first);
    if (code == CLI_OK) {
        code = cli_load_rows(app, cli_get(app, OPT_RIGHT)->text, NULL, NULL, &work->second);
    }
    if (code == CLI_OK) code = cli_match_columns(app, &work->first, &work->second);
    if (code != CLI_OK) return code;
    size_t count = work->first.x.rows;
    if (count != work->second.x.rows) {
        return cli_fail(app, CLI_DATA,
                        "--left has %zu rows, but --right has %zu: row k of one goes "
                        "with row k of the other",
                        count, work->second.x.rows);
    }
    code = cli_match_types(app, &work->first, &work->second);
    if (code == CLI_OK) code = cli_load_same(app, OPT_SAME, count, &work->same);
    if (code == CLI_OK) code = cli_load_doubles(app, OPT_WEIGHTS, count, &work->weight);
    if (code == CLI_OK && work->settings.all_rows) {
        work->settings.options.batch_size = count < 2 ? 2 : count;
    }
    return code;
}

static nf_status fit(cli *app, job *work) {
    cli_training *settings = &work->settings;
    if (settings->from_pairs) {
        return nf_train_rows(app->context, work->model, work->first.x, work->second.x,
                             work->same->data, work->weight != NULL ? work->weight->data : NULL,
                             &settings->options, cli_train_event, settings, &work->report);
    }
    nf_train_data data = {.x = work->first.x,
                          .labels = work->first.labels,
                          .valid_x = work->second.x,
                          .valid_labels = work->second.labels};
    if (cli_targets_given(app)) {
        work->targets.targets.labels = (nf_labels){0}; /* which are those of the rows */
        data.targets = &work->targets.targets;
    }
    if (!cli_given(app, OPT_VALID)) {
        data.valid_x = (nf_matrix){.type = work->first.x.type};
        data.valid_labels = (nf_labels){0};
    }
    return nf_train(app->context, work->model, &data, &settings->options, cli_train_event, settings,
                    &work->report);
}

/* ---- results ---- */

static double per_step(const nf_train_report *report) {
    return report->steps > 0 ? (double)report->mined / (double)report->steps : 0;
}

static void print_mined(cli *app, const job *work) {
    const nf_train_report *report = &work->report;
    const nf_mine_options *mine = work->settings.options.mine;
    if (mine == NULL) return;
    const bool pairs =
        mine->miner == NF_MINE_PAIR_MARGIN || mine->miner == NF_MINE_MULTI_SIMILARITY;
    cli_row(app, "mined", "%.1f %s per step by %s, nothing in %llu of %llu steps", per_step(report),
            pairs ? "pairs" : "triplets", nf_miner_name(mine->miner),
            (unsigned long long)report->empty_steps, (unsigned long long)report->steps);
}

static int print_json(cli *app, job *work) {
    const nf_train_report *report = &work->report;
    json_t *document = cli_json_document();
    cli_json_text(document, "model", cli_output_path(app, OPT_OUTPUT));
    cli_json_count(document, "parameters", nf_model_parameters(work->model));
    cli_json_count(document, "train_rows", report->train_rows);
    cli_json_count(document, "valid_rows", report->valid_rows);
    cli_json_count(document, "epochs_run", report->epochs_run);
    if (report->has_validation) {
        cli_json_count(document, "best_epoch", report->best_epoch);
        cli_json_number(document, "map_at_r", report->map_at_r);
    } else {
        cli_json_text(document, "best_epoch", NULL);
        cli_json_text(document, "map_at_r", NULL);
    }
    cli_json_count(document, "steps", report->steps);
    cli_json_flag(document, "stopped_early", report->stopped_early != 0);
    cli_json_number(document, "first_loss", report->first_loss);
    cli_json_number(document, "last_loss", report->last_loss);
    cli_json_number(document, "median_distance", report->median_distance);
    if (report->suggested_margin > 0) {
        cli_json_number(document, "suggested_margin", report->suggested_margin);
    } else {
        cli_json_text(document, "suggested_margin", NULL);
    }
    cli_json_flag(document, "collapsed", report->collapsed != 0);
    if (work->settings.options.mine != NULL) {
        cli_json_count(document, "mined", report->mined);
        cli_json_number(document, "mined_per_step", per_step(report));
        cli_json_count(document, "empty_steps", report->empty_steps);
    }
    if (work->settings.options.learn_beta != NF_LEARN_BETA_NONE) {
        cli_json_number(document, "beta", report->beta);
        cli_json_number(document, "smallest_beta", report->smallest_beta);
        cli_json_number(document, "largest_beta", report->largest_beta);
    }
    json_object_set_new(document, "config", cli_train_json(&work->settings));
    return cli_json_print(app, document);
}

static int print_table(cli *app, job *work) {
    const nf_train_report *report = &work->report;
    const nf_model_options *model = &work->settings.model;
    char hidden[256] = "";
    size_t used = 0;
    for (size_t i = 0; i < model->hidden_layers && used < sizeof hidden; i++) {
        used += (size_t)snprintf(hidden + used, sizeof hidden - used, " -> %zu", model->hidden[i]);
    }
    cli_row(app, "model", "%zu%s -> %zu, %zu parameters", model->inputs, hidden, model->outputs,
            nf_model_parameters(work->model));
    if (work->settings.from_pairs) {
        cli_row(app, "pairs", "%zu", report->train_rows);
    } else {
        cli_row(app, "rows", "%zu to train, %zu to validate", report->train_rows,
                report->valid_rows);
    }
    cli_row(app, "epochs", "%zu%s, %llu steps", report->epochs_run,
            report->stopped_early ? " (stopped early)" : "", (unsigned long long)report->steps);
    cli_row(app, "loss", "%.6g -> %.6g", report->first_loss, report->last_loss);
    if (report->has_validation) {
        cli_row(app, "MAP@R", "%.4f on the validation rows, best at epoch %zu", report->map_at_r,
                report->best_epoch);
    }
    print_mined(app, work);
    if (work->settings.options.learn_beta == NF_LEARN_BETA_GLOBAL) {
        cli_row(app, "beta", "%.6g", report->beta);
    } else if (work->settings.options.learn_beta == NF_LEARN_BETA_CLASS) {
        cli_row(app, "beta", "%.6g to %.6g, mean %.6g", report->smallest_beta, report->largest_beta,
                report->beta);
    }
    cli_row(app, "saved", "%s", cli_quote(cli_output_path(app, OPT_OUTPUT)).text);
    return CLI_OK;
}

static int save(cli *app, job *work) {
    const char *path = cli_output_path(app, OPT_OUTPUT);
    /* A signal that stopped the training must not stop the saving too. */
    nf_context_set_progress(app->context, NULL, NULL);
    int code = cli_train_metadata(app, work->model, work->first.names);
    if (code != CLI_OK) return code;
    return cli_status(app, nf_model_save(app->context, work->model, path), cli_quote(path).text);
}

static int interrupted(cli *app, job *work) {
    int code = CLI_SIGNAL + cli_interrupted();
    size_t epoch = work->settings.epoch;
    if (epoch == 0) {
        return cli_fail(app, code,
                        "interrupted before the first epoch ended; no model was written");
    }
    int saved = save(app, work);
    if (saved != CLI_OK) return saved;
    return cli_fail(app, code, "interrupted after epoch %zu of %zu; the best model so far is in %s",
                    epoch, work->settings.options.epochs,
                    cli_quote(cli_output_path(app, OPT_OUTPUT)).text);
}

static int run(cli *app, job *work) {
    cli_training *settings = &work->settings;
    int code = settings->from_pairs ? load_pairs(app, work) : load_labelled(app, work);
    if (code != CLI_OK) return code;
    settings->model.inputs = work->first.x.cols;
    code = cli_status(app, nf_model_create(app->context, &settings->model, &work->model), "model");
    if (code != CLI_OK) return code;
    cli_progress_begin(app, "training");
    app->progress.polling_only = true;
    nf_status status = fit(app, work);
    cli_progress_end(app);
    if (status == NF_ERR_CANCELLED && cli_interrupted() != 0) return interrupted(app, work);
    code = cli_status(app, status, "train");
    if (code == CLI_OK) code = save(app, work);
    if (code != CLI_OK) return code;
    return app->json ? print_json(app, work) : print_table(app, work);
}

int cli_run_train(cli *app) {
    job work = {0};
    int code = cli_train_settings(app, &work.settings);
    if (code == CLI_OK) code = run(app, &work);
    cli_free_rows(app, &work.first);
    cli_free_rows(app, &work.second);
    nf_array_free(app->context, work.same);
    nf_array_free(app->context, work.weight);
    cli_free_targets(app, &work.targets);
    nf_model_free(app->context, work.model);
    return code;
}
