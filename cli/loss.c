/* nearfar loss: one loss in several forms, which differ in the pairs they see. */
#include <math.h>
#include <stdlib.h>

#include "data.h"
#include "loss_targets.h"

typedef enum form { FORM_BATCH, FORM_TARGETS, FORM_PAIRS, FORM_ROWS, FORM_REFERENCE } form;

/* Everything a form may need; freed in one place. */
typedef struct job {
    nf_loss loss;
    form form;
    cli_rows first, second; /* rows, or query and reference, or left and right */
    nf_pair_file *list;
    nf_array *same, *weight, *upstream, *ids, *reference_ids;
    cli_targets targets, reference_targets;
    void *gradient[2];
    double *terms;
    nf_loss_result result;
} job;

static const char *const npy_only[] = {".npy", NULL};

/* ---- usage ---- */

static bool rows_given(const cli *app) {
    return cli_given(app, OPT_LEFT) || cli_given(app, OPT_RIGHT) || cli_given(app, OPT_SAME);
}

static int refuse_with(cli *app, const cli_option_id *ids, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (!cli_given(app, ids[i])) continue;
        return cli_fail(app, CLI_USAGE,
                        "--%s does not go with %s; 'nearfar loss --help' shows the "
                        "forms",
                        cli_options[ids[i]].name, name);
    }
    return CLI_OK;
}

#define REFUSE(app, form, ...)                               \
    refuse_with((app), (const cli_option_id[]){__VA_ARGS__}, \
                sizeof((const cli_option_id[]){__VA_ARGS__}) / sizeof(cli_option_id), (form))

#define TARGETS                                                              \
    OPT_LABEL_SETS, OPT_SOFT, OPT_ROW_WEIGHTS, OPT_PAIR_WEIGHTS, OPT_GROUPS, \
        OPT_REFERENCE_LABEL_SETS, OPT_REFERENCE_ROW_WEIGHTS, OPT_REFERENCE_GROUPS

static int check_rows(cli *app) {
    if (app->args.operands > 0) {
        return cli_fail(app, CLI_USAGE,
                        "'%s' and --left, --right, --same exclude each other: rows come from one "
                        "or the other",
                        cli_quote(app->args.operand[0]).text);
    }
    if (!cli_given(app, OPT_LEFT) || !cli_given(app, OPT_RIGHT) || !cli_given(app, OPT_SAME)) {
        return cli_fail(app, CLI_USAGE, "--left, --right and --same go together: --%s is missing",
                        !cli_given(app, OPT_LEFT)    ? "left"
                        : !cli_given(app, OPT_RIGHT) ? "right"
                                                     : "same");
    }
    return REFUSE(app, "--left, --right, --same", OPT_LABELS, OPT_PAIR_LIST, OPT_REFERENCE,
                  OPT_REFERENCE_LABELS, OPT_IDS, OPT_REFERENCE_IDS, OPT_GRAD, OPT_GRAD_REFERENCE,
                  OPT_UNLABELLED, TARGETS);
}

static int choose_form(cli *app, form *out) {
    if (rows_given(app)) {
        *out = FORM_ROWS;
        return check_rows(app);
    }
    if (app->args.operands == 0) {
        return cli_fail(app, CLI_USAGE,
                        "loss needs rows: nearfar loss X --labels FILE, or --left "
                        "--right --same; 'nearfar loss --help' shows the forms");
    }
    if (cli_given(app, OPT_PAIR_LIST)) {
        *out = FORM_PAIRS;
        return REFUSE(app, "--pairs", OPT_LABELS, OPT_REFERENCE, OPT_REFERENCE_LABELS, OPT_IDS,
                      OPT_REFERENCE_IDS, OPT_GRAD_LEFT, OPT_GRAD_RIGHT, OPT_GRAD_REFERENCE,
                      OPT_UNLABELLED, TARGETS);
    }
    *out = cli_given(app, OPT_REFERENCE) ? FORM_REFERENCE
           : cli_targets_given(app)      ? FORM_TARGETS
                                         : FORM_BATCH;
    int code = cli_check_reference(app);
    if (code == CLI_OK) code = cli_check_targets(app);
    if (code != CLI_OK) return code;
    if (*out != FORM_REFERENCE && cli_given(app, OPT_GRAD_REFERENCE)) {
        return cli_fail(app, CLI_USAGE, "--grad-reference goes with --reference, which is missing");
    }
    return REFUSE(app, "labelled rows (it needs --pairs, or --left, --right, --same)", OPT_WEIGHTS,
                  OPT_GRAD_LEFT, OPT_GRAD_RIGHT, OPT_SAME_ENCODING);
}

static bool listed(const job *work) { return work->form == FORM_PAIRS || work->form == FORM_ROWS; }

/* All pairs of a loss whose terms are those of rows. */
static bool anchored(const job *work) {
    return !listed(work) && !nf_loss_takes(work->loss.kind, "pairs");
}

/* The loss must fit the form. Terms are kept of pairs that are listed, or of rows. */
static int check_terms(cli *app, const job *work) {
    const bool none = work->loss.reduction == NF_REDUCE_NONE;
    if (listed(work) && !nf_loss_takes(work->loss.kind, "pairs")) {
        return cli_fail(app, CLI_USAGE,
                        "--loss %s compares the pairs of a row with each other and needs labelled "
                        "rows: it does not go with --pairs, or --left, --right, --same",
                        cli_loss_name(app));
    }
    if (listed(work)) return CLI_OK;
    if (work->form == FORM_REFERENCE && work->loss.kind == NF_KIND_N_PAIRS) {
        return cli_fail(app, CLI_USAGE,
                        "--loss %s takes its pairs from one set of rows: leave --reference out",
                        cli_loss_name(app));
    }
    if (anchored(work)) {
        if (none || !cli_given(app, OPT_UPSTREAM)) return CLI_OK;
        return cli_fail(app, CLI_USAGE,
                        "--upstream of labelled rows has a number per row and goes with "
                        "--reduction none");
    }
    if (!none && !cli_given(app, OPT_TERMS) && !cli_given(app, OPT_UPSTREAM)) return CLI_OK;
    return cli_fail(app, CLI_USAGE,
                    "%s keeps one term per pair and goes with --pairs, or --left, --right, --same; "
                    "or one per row with a loss that compares the pairs of a row, such as "
                    "supcon",
                    none                        ? "--reduction none"
                    : cli_given(app, OPT_TERMS) ? "--terms"
                                                : "--upstream");
}

static int check_usage(cli *app, job *work) {
    static const cli_option_id outputs[] = {OPT_GRAD, OPT_GRAD_REFERENCE, OPT_GRAD_LEFT,
                                            OPT_GRAD_RIGHT, OPT_TERMS};
    int code = choose_form(app, &work->form);
    for (size_t i = 0; code == CLI_OK && i < sizeof outputs / sizeof *outputs; i++) {
        code = cli_check_ending(app, outputs[i], npy_only);
    }
    if (code == CLI_OK) code = cli_resolve_loss(app, NF_REDUCE_MEAN, &work->loss);
    if (code != CLI_OK) return code;
    work->loss.stats = !cli_given(app, OPT_NO_STATS);
    if (work->form == FORM_REFERENCE) code = cli_check_reference_targets(app, &work->loss);
    return code == CLI_OK ? check_terms(app, work) : code;
}

/* ---- inputs ---- */

static int load_pair_list(cli *app, job *work) {
    const char *source = cli_get(app, OPT_PAIR_LIST)->text;
    nf_status status = nf_pair_file_load(app->context, source, cli_same_encoding(app), &work->list);
    int code = cli_data_status(app, status, cli_quote(source).text);
    if (code != CLI_OK) return code;
    if (work->list->weight != NULL && cli_given(app, OPT_WEIGHTS)) {
        return cli_fail(app, CLI_USAGE, "%s holds weights of its own: leave out --weights",
                        cli_quote(source).text);
    }
    nf_pairs pairs = {work->list->count, work->list->i->data, work->list->j->data,
                      work->list->same->data,
                      work->list->weight != NULL ? work->list->weight->data : NULL};
    status = nf_pairs_check(app->context, pairs, work->first.x.rows);
    return cli_data_status(app, status, cli_quote(source).text);
}

/* Pairs or rows. */
static size_t term_count(const job *work) {
    return work->form == FORM_PAIRS ? work->list->count : work->first.x.rows;
}

static int load_extras(cli *app, job *work) {
    size_t count = term_count(work);
    bool none = work->loss.reduction == NF_REDUCE_NONE;
    int code = cli_load_doubles(app, OPT_WEIGHTS, count, &work->weight);
    if (code == CLI_OK) {
        code = cli_load_doubles(app, OPT_UPSTREAM, none ? count : 1, &work->upstream);
    }
    if (code != CLI_OK || !cli_given(app, OPT_TERMS)) return code;
    work->terms = malloc((count > 0 ? count : 1) * sizeof *work->terms);
    return work->terms != NULL ? CLI_OK : cli_no_memory(app, "the terms");
}

static int load_left_right(cli *app, job *work) {
    int code = cli_load_rows(app, cli_get(app, OPT_LEFT)->text, NULL, NULL, &work->first);
    if (code == CLI_OK) {
        code = cli_load_rows(app, cli_get(app, OPT_RIGHT)->text, NULL, NULL, &work->second);
    }
    if (code == CLI_OK) code = cli_match_columns(app, &work->first, &work->second);
    if (code != CLI_OK) return code;
    if (work->first.x.rows != work->second.x.rows) {
        return cli_fail(app, CLI_DATA,
                        "--left has %zu rows, but --right has %zu: row k of one goes "
                        "with row k of the other",
                        work->first.x.rows, work->second.x.rows);
    }
    code = cli_match_types(app, &work->first, &work->second);
    return code == CLI_OK ? cli_load_same(app, OPT_SAME, work->first.x.rows, &work->same) : code;
}

static int load_targets(cli *app, job *work) {
    int code = cli_load_targets(app, &work->first, &work->targets);
    if (code != CLI_OK || work->form != FORM_REFERENCE) return code;
    return cli_load_reference_targets(app, &work->second, &work->reference_targets);
}

static int load_inputs(cli *app, job *work) {
    if (work->form == FORM_ROWS) {
        int code = load_left_right(app, work);
        return code == CLI_OK ? load_extras(app, work) : code;
    }
    const bool labelled = work->form != FORM_PAIRS && cli_targets_need_labels(app);
    int code = cli_load_rows(app, app->args.operand[0], labelled ? cli_labels_text(app) : NULL,
                             labelled ? "--labels" : NULL, &work->first);
    if (code == CLI_OK && work->form == FORM_REFERENCE) {
        code =
            cli_load_reference(app, &work->first, &work->second, &work->ids, &work->reference_ids);
    }
    if (code == CLI_OK && cli_targets_given(app)) code = load_targets(app, work);
    if (code == CLI_OK && work->form == FORM_PAIRS) code = load_pair_list(app, work);
    return code == CLI_OK ? load_extras(app, work) : code;
}

/* ---- work ---- */

static cli_option_id gradient_option(const job *work, int side) {
    if (work->form == FORM_ROWS) return side == 0 ? OPT_GRAD_LEFT : OPT_GRAD_RIGHT;
    return side == 0 ? OPT_GRAD : OPT_GRAD_REFERENCE;
}

/* A buffer for the gradient of one side if its option is given; a zeroed view otherwise. */
static int make_gradient(cli *app, job *work, int side, nf_matrix_out *out) {
    nf_matrix x = side == 0 ? work->first.x : work->second.x;
    *out = (nf_matrix_out){0};
    if (!cli_given(app, gradient_option(work, side))) return CLI_OK;
    size_t count = x.rows * x.cols;
    work->gradient[side] = malloc(count > 0 ? count * nf_type_size(x.type) : 1);
    if (work->gradient[side] == NULL) return cli_no_memory(app, "the gradient");
    *out = (nf_matrix_out){work->gradient[side], x.type, x.rows, x.cols, x.cols};
    return CLI_OK;
}

static nf_status compare_sets(cli *app, job *work, const nf_row_terms *rows, nf_matrix_out first,
                              nf_matrix_out second) {
    const nf_loss *loss = &work->loss;
    const nf_loss_sets sets = {work->first.x,
                               work->second.x,
                               work->first.labels,
                               work->second.labels,
                               work->ids != NULL ? work->ids->data : NULL,
                               work->reference_ids != NULL ? work->reference_ids->data : NULL};
    if (cli_targets_given(app)) {
        const nf_reference_targets targets =
            cli_reference_targets(&work->targets, &work->reference_targets);
        return nf_loss_targets_reference(app->context, loss, &sets, &targets,
                                         anchored(work) ? rows : NULL, &work->result, first,
                                         second);
    }
    if (anchored(work)) {
        return nf_loss_anchors_reference(app->context, loss, &sets, rows, &work->result, first,
                                         second);
    }
    return nf_loss_reference(app->context, loss, &sets, &work->result, first, second);
}

static nf_status compute(cli *app, job *work, nf_matrix_out first, nf_matrix_out second) {
    const double *upstream = work->upstream != NULL ? work->upstream->data : NULL;
    nf_pair_terms extras = {work->terms, upstream};
    nf_row_terms rows = {work->terms, upstream};
    const double *weight = work->weight != NULL ? work->weight->data : NULL;
    switch (work->form) {
    case FORM_BATCH:
        if (anchored(work)) {
            return nf_loss_anchors(app->context, &work->loss, work->first.x, work->first.labels,
                                   &rows, &work->result, first);
        }
        return nf_loss_batch(app->context, &work->loss, work->first.x, work->first.labels,
                             &work->result, first);
    case FORM_TARGETS:
        if (anchored(work)) {
            return nf_loss_targets_anchors(app->context, &work->loss, work->first.x,
                                           &work->targets.targets, &rows, &work->result, first);
        }
        return nf_loss_targets(app->context, &work->loss, work->first.x, &work->targets.targets,
                               &work->result, first);
    case FORM_PAIRS: {
        const nf_array *own = work->list->weight;
        nf_pairs pairs = {work->list->count, work->list->i->data, work->list->j->data,
                          work->list->same->data, own != NULL ? own->data : weight};
        return nf_loss_pairs(app->context, &work->loss, work->first.x, pairs, &extras,
                             &work->result, first);
    }
    case FORM_ROWS:
        return nf_loss_rows(app->context, &work->loss, work->first.x, work->second.x,
                            work->same->data, weight, &extras, &work->result, first, second);
    case FORM_REFERENCE: break;
    }
    return compare_sets(app, work, &rows, first, second);
}

static int write_outputs(cli *app, job *work) {
    for (int side = 0; side < 2; side++) {
        if (work->gradient[side] == NULL) continue;
        nf_matrix x = side == 0 ? work->first.x : work->second.x;
        const char *path = cli_output_path(app, gradient_option(work, side));
        const size_t shape[2] = {x.rows, x.cols};
        nf_dtype type = x.type == NF_FLOAT64 ? NF_DTYPE_F64 : NF_DTYPE_F32;
        nf_status status = nf_npy_write(app->context, path, type, 2, shape, work->gradient[side]);
        int code = cli_status(app, status, cli_quote(path).text);
        if (code != CLI_OK) return code;
    }
    if (work->terms == NULL) return CLI_OK;
    const char *path = cli_output_path(app, OPT_TERMS);
    const size_t count = term_count(work);
    nf_status status = nf_npy_write(app->context, path, NF_DTYPE_F64, 1, &count, work->terms);
    return cli_status(app, status, cli_quote(path).text);
}

/* ---- words ---- */

static void tell_negatives(cli *app, const job *work) {
    const nf_loss_result *result = &work->result;
    const char *metric = nf_metric_name(work->loss.neg_metric);
    if (!result->has_stats) {
        cli_warn(
            app,
            "no negative pair is active: every pair of different labels is at least the margin "
            "%g apart (%s), so negatives add neither loss nor gradient; leave out --no-stats "
            "to see typical distances",
            work->loss.neg_margin, metric);
        return;
    }
    cli_warn(app,
             "no negative pair is active: every pair of different labels is at least the margin %g "
             "apart, so negatives add neither loss nor gradient. Their mean distance (%s) is %.3g: "
             "try --margin %.2g",
             work->loss.neg_margin, metric, result->mean_negative_distance,
             result->mean_negative_distance);
}

/* A loss of pairs, whose results have no other terms. */
static bool is_of_pairs(const job *work) { return nf_loss_takes(work->loss.kind, "pairs"); }

static void tell(cli *app, const job *work) {
    const nf_loss_result *result = &work->result;
    const bool of_pairs = is_of_pairs(work);
    if (result->positive_pairs == 0 && result->negative_pairs == 0) {
        cli_warn(app, "there is no valid pair: the loss is 0 and so is the gradient");
        return;
    }
    if (result->positive_pairs == 0) {
        cli_warn(app, "there is no positive pair: %s",
                 work->form == FORM_BATCH ? "every class has one row"
                                          : "no two rows to compare have one label");
    }
    if (result->negative_pairs == 0) {
        cli_warn(app, "there is no negative pair: all rows to compare have one label");
    } else if (result->active_negative == 0 && work->loss.neg_weight > 0 &&
               work->loss.kind == NF_KIND_CONTRASTIVE) {
        tell_negatives(app, work);
    }
    if (!of_pairs && result->active_terms == 0) {
        cli_warn(app, "no term is above 0: the loss is 0 and so is the gradient");
    }
    bool no_positive =
        result->positive_pairs == 0 || (result->has_stats && result->active_positive == 0);
    if (of_pairs && result->active_negative == 0 && no_positive) {
        cli_warn(app, "no pair is active: the loss is 0 and so is the gradient");
    }
    if (result->coincident_negatives > 0) {
        cli_warn(app,
                 "%llu pair%s of different labels coincide%s (distance 0): they add loss, but no "
                 "gradient can part them; a sign of collapse, or of duplicate rows",
                 (unsigned long long)result->coincident_negatives,
                 result->coincident_negatives == 1 ? "" : "s",
                 result->coincident_negatives == 1 ? "s" : "");
    }
    if (result->zero_rows > 0) {
        cli_warn(app, "%llu row%s all zero and cannot be normalised: gradient 0 there",
                 (unsigned long long)result->zero_rows, result->zero_rows == 1 ? " is" : "s are");
    }
}

static int print_json(cli *app, const job *work) {
    const nf_loss_result *result = &work->result;
    bool stats = result->has_stats != 0;
    json_t *document = cli_json_document();
    cli_json_number(document, "loss", result->value);
    cli_json_count(document, "positive_pairs", result->positive_pairs);
    cli_json_count(document, "negative_pairs", result->negative_pairs);
    if (stats) {
        cli_json_count(document, "active_positive", result->active_positive);
    } else {
        cli_json_text(document, "active_positive", NULL);
    }
    cli_json_count(document, "active_negative", result->active_negative);
    cli_json_number(document, "mean_positive_distance",
                    stats && result->positive_pairs > 0 ? result->mean_positive_distance : NAN);
    cli_json_number(document, "mean_negative_distance",
                    stats && result->negative_pairs > 0 ? result->mean_negative_distance : NAN);
    cli_json_count(document, "coincident_negatives", result->coincident_negatives);
    cli_json_count(document, "zero_rows", result->zero_rows);
    cli_json_count(document, "tiles_total", result->tiles_total);
    cli_json_count(document, "tiles_skipped", result->tiles_skipped);
    cli_json_count(document, "updates_total", result->updates_total);
    cli_json_count(document, "updates_skipped", result->updates_skipped);
    if (!is_of_pairs(work)) {
        cli_json_count(document, "terms", result->terms);
        cli_json_count(document, "active_terms", result->active_terms);
    }
    cli_json_text(document, "preset", cli_loss_name(app));
    cli_json_loss(document, &work->loss);
    return cli_json_print(app, document);
}

static void print_side(cli *app, const char *name, uint64_t pairs, bool known, uint64_t active,
                       bool stats, double mean) {
    char text[160];
    int used = snprintf(text, sizeof text, "%llu", (unsigned long long)pairs);
    if (pairs > 0 && known && used > 0) {
        used += snprintf(text + used, sizeof text - (size_t)used, ", %llu active (%.1f %%)",
                         (unsigned long long)active, 100.0 * (double)active / (double)pairs);
    }
    if (pairs > 0 && stats && used > 0) {
        snprintf(text + used, sizeof text - (size_t)used, ", mean distance %.6g", mean);
    }
    cli_row(app, name, "%s", text);
}

/* The numbers a kind takes, as its JSON has them. */
static void tell_loss(cli *app, const nf_loss *loss) {
    json_t *object = json_object();
    cli_json_loss(object, loss);
    char *text = json_dumps(object, JSON_PRESERVE_ORDER);
    json_decref(object);
    cli_detail(app, "preset %s: %s", cli_loss_name(app), text != NULL ? text : "");
    free(text);
}

static int print_table(cli *app, const job *work) {
    const nf_loss_result *result = &work->result;
    bool stats = result->has_stats != 0;
    cli_row(app, "loss", "%.17g", result->value);
    /* Of triplets active pairs are counted from each end, so they are no share of the pairs. */
    bool pairwise =
        !nf_loss_takes(work->loss.kind, "triplets") && work->loss.kind != NF_KIND_MARGIN;
    print_side(app, "positive pairs", result->positive_pairs, stats && pairwise,
               result->active_positive, stats, result->mean_positive_distance);
    print_side(app, "negative pairs", result->negative_pairs, pairwise, result->active_negative,
               stats, result->mean_negative_distance);
    if (!is_of_pairs(work)) {
        cli_row(app, "terms", "%llu, %llu above 0", (unsigned long long)result->terms,
                (unsigned long long)result->active_terms);
    }
    tell_loss(app, &work->loss);
    cli_detail(app, "%llu tiles, %llu skipped; %llu updates, %llu skipped",
               (unsigned long long)result->tiles_total, (unsigned long long)result->tiles_skipped,
               (unsigned long long)result->updates_total,
               (unsigned long long)result->updates_skipped);
    return CLI_OK;
}

static int run(cli *app, job *work) {
    nf_matrix_out first, second;
    int code = load_inputs(app, work);
    if (code == CLI_OK) code = make_gradient(app, work, 0, &first);
    if (code == CLI_OK) code = make_gradient(app, work, 1, &second);
    if (code != CLI_OK) return code;
    cli_progress_begin(app, "loss");
    nf_status status = compute(app, work, first, second);
    cli_progress_end(app);
    code = cli_data_status(app, status, "loss");
    if (code == CLI_OK) code = write_outputs(app, work);
    if (code != CLI_OK) return code;
    tell(app, work);
    return app->json ? print_json(app, work) : print_table(app, work);
}

int cli_run_loss(cli *app) {
    job work = {0};
    int code = check_usage(app, &work);
    if (code == CLI_OK) code = run(app, &work);
    cli_free_rows(app, &work.first);
    cli_free_rows(app, &work.second);
    nf_pair_file_free(app->context, work.list);
    nf_array_free(app->context, work.same);
    nf_array_free(app->context, work.weight);
    nf_array_free(app->context, work.upstream);
    nf_array_free(app->context, work.ids);
    nf_array_free(app->context, work.reference_ids);
    cli_free_targets(app, &work.targets);
    cli_free_targets(app, &work.reference_targets);
    free(work.gradient[0]);
    free(work.gradient[1]);
    free(work.terms);
    return code;
}
