/* From options to a loss. */
#include <math.h>
#include <string.h>

#include "data.h"

const char *cli_loss_name(const cli *app) {
    return cli_given(app, OPT_LOSS) ? cli_get(app, OPT_LOSS)->text : "weston";
}

nf_distance_options cli_distance_options(const cli *app) {
    nf_distance_options options = nf_distance_defaults();
    if (cli_given(app, OPT_DISTANCE_METRIC)) {
        options.metric = (nf_metric)cli_get(app, OPT_DISTANCE_METRIC)->choice;
    }
    options.normalize = cli_given(app, OPT_DISTANCE_NORMALIZE);
    options.precise = cli_given(app, OPT_PRECISE);
    options.fast = cli_given(app, OPT_DISTANCE_FAST);
    options.allow_nonfinite = cli_given(app, OPT_ALLOW_NONFINITE);
    return options;
}

int cli_check_distance(cli *app) {
    const nf_metric metric = cli_distance_options(app).metric;
    if (!cli_given(app, OPT_DISTANCE_FAST) || (metric != NF_DOT && metric != NF_CITYBLOCK)) {
        return CLI_OK;
    }
    return cli_fail(app, CLI_USAGE,
                    "--fast is for metric euclidean, sqeuclidean and cosine: leave it out with %s",
                    nf_metric_name(metric));
}

/* The side's own option wins over the one for both sides. */
static const cli_value *pick(const cli *app, cli_option_id side, cli_option_id both) {
    if (cli_given(app, side)) return cli_get(app, side);
    return cli_given(app, both) ? cli_get(app, both) : NULL;
}

static int set_exponent(cli *app, cli_option_id side, double *exponent) {
    const cli_value *value = pick(app, side, OPT_EXPONENT);
    if (value == NULL) return CLI_OK;
    const char *name = cli_given(app, side) ? cli_options[side].name : "exponent";
    if (value->number * 2 != floor(value->number * 2)) {
        return cli_fail(app, CLI_USAGE,
                        "--%s is '%s': it must be a multiple of 1/2 from 1 to 8, such as 1, 1.5 "
                        "or 2",
                        name, cli_quote(value->text).text);
    }
    *exponent = value->number;
    return CLI_OK;
}

static void set_number(const cli *app, cli_option_id id, double *number) {
    if (cli_given(app, id)) *number = cli_get(app, id)->number;
}

/* A preset's exponent goes with its metric; with another the loss is still well defined, but it is
 * not the paper's. */
static void tell_metric(cli *app, const nf_loss *preset, const nf_loss *loss) {
    if (loss->kind != NF_KIND_CONTRASTIVE) return;
    if (preset->pos_metric == loss->pos_metric && preset->neg_metric == loss->neg_metric) return;
    if (loss->pos_metric == loss->neg_metric && loss->pos_exponent == loss->neg_exponent) {
        cli_note(app, "%s with metric %s has exponent %g (made for %s); --exponent sets another",
                 cli_loss_name(app), nf_metric_name(loss->pos_metric), loss->pos_exponent,
                 nf_metric_name(preset->pos_metric));
        return;
    }
    cli_note(app,
             "%s: positives use %s with exponent %g, negatives %s with exponent %g; --pos-exponent "
             "and --neg-exponent set others",
             cli_loss_name(app), nf_metric_name(loss->pos_metric), loss->pos_exponent,
             nf_metric_name(loss->neg_metric), loss->neg_exponent);
}

static int check_dot(cli *app, const nf_loss *loss) {
    if (loss->kind != NF_KIND_CONTRASTIVE) return CLI_OK;
    bool margin = cli_given(app, OPT_MARGIN) || cli_given(app, OPT_NEG_MARGIN);
    if (loss->neg_metric == NF_DOT && !margin) {
        return cli_fail(app, CLI_USAGE,
                        "metric dot (the negated product) needs an explicit --margin: negatives "
                        "with t = -a.b below it are pushed away, e.g. --margin 0");
    }
    if (loss->pos_metric == NF_DOT && !cli_given(app, OPT_POS_MARGIN) && !margin) {
        return cli_fail(app, CLI_USAGE,
                        "metric dot (the negated product) of positives needs an explicit "
                        "--pos-margin: positives with t = -a.b above it are pulled together");
    }
    return CLI_OK;
}

static int check_conflicts(cli *app) {
    if (cli_given(app, OPT_NORMALIZE) && cli_given(app, OPT_NO_NORMALIZE)) {
        return cli_fail(app, CLI_USAGE, "--normalize and --no-normalize exclude each other");
    }
    if (cli_given(app, OPT_MARGIN) && cli_given(app, OPT_NEG_MARGIN)) {
        return cli_fail(app, CLI_USAGE, "--margin and --neg-margin are the same: keep one");
    }
    return CLI_OK;
}

int cli_resolve_loss(cli *app, nf_reduction base, nf_loss *loss) {
    nf_loss preset;
    int code = check_conflicts(app);
    if (code != CLI_OK) return code;
    code = cli_status(app, nf_loss_preset(app->context, cli_loss_name(app), &preset), "--loss");
    if (code != CLI_OK) return code;
    *loss = preset;
    if (loss->kind == NF_KIND_CONTRASTIVE && loss->reduction == NF_REDUCE_MEAN) {
        loss->reduction = base;
    }
    const cli_value *metric = pick(app, OPT_POS_METRIC, OPT_METRIC);
    if (metric != NULL) loss->pos_metric = (nf_metric)metric->choice;
    metric = pick(app, OPT_NEG_METRIC, OPT_METRIC);
    if (metric != NULL) loss->neg_metric = (nf_metric)metric->choice;
    code = set_exponent(app, OPT_POS_EXPONENT, &loss->pos_exponent);
    if (code == CLI_OK) code = set_exponent(app, OPT_NEG_EXPONENT, &loss->neg_exponent);
    if (code == CLI_OK) code = check_dot(app, loss);
    if (code != CLI_OK) return code;
    set_number(app, OPT_MARGIN, &loss->neg_margin);
    set_number(app, OPT_NEG_MARGIN, &loss->neg_margin);
    set_number(app, OPT_POS_MARGIN, &loss->pos_margin);
    set_number(app, OPT_POS_WEIGHT, &loss->pos_weight);
    set_number(app, OPT_NEG_WEIGHT, &loss->neg_weight);
    set_number(app, OPT_SCALE, &loss->scale);
    set_number(app, OPT_TEMPERATURE, &loss->temperature);
    set_number(app, OPT_ALPHA, &loss->alpha);
    set_number(app, OPT_BETA, &loss->beta);
    set_number(app, OPT_BASE, &loss->base);
    set_number(app, OPT_GAMMA, &loss->gamma);
    if (cli_given(app, OPT_TRIPLETS)) {
        loss->triplets = (nf_triplets)cli_get(app, OPT_TRIPLETS)->choice;
    }
    if (cli_given(app, OPT_SMOOTH)) loss->smooth = 1;
    if (cli_given(app, OPT_NORMALIZE)) loss->normalize = 1;
    if (cli_given(app, OPT_NO_NORMALIZE)) loss->normalize = 0;
    if (cli_given(app, OPT_FAST)) loss->fast = 1;
    if (cli_given(app, OPT_REDUCTION)) {
        loss->reduction = (nf_reduction)cli_get(app, OPT_REDUCTION)->choice;
    }
    set_number(app, OPT_DIVISOR, &loss->divisor);
    if ((loss->reduction == NF_REDUCE_DIVISOR) != cli_given(app, OPT_DIVISOR)) {
        return cli_fail(app, CLI_USAGE,
                        "--reduction divisor and --divisor X go together: --%s is "
                        "missing",
                        cli_given(app, OPT_DIVISOR) ? "reduction divisor" : "divisor");
    }
    tell_metric(app, &preset, loss);
    return cli_status(app, nf_loss_check(app->context, loss), "loss");
}

void cli_json_loss(json_t *object, const nf_loss *loss) {
    const struct {
        const char *name;
        double value;
    } numbers[] = {{"pos_exponent", loss->pos_exponent},
                   {"neg_exponent", loss->neg_exponent},
                   {"pos_margin", loss->pos_margin},
                   {"neg_margin", loss->neg_margin},
                   {"pos_weight", loss->pos_weight},
                   {"neg_weight", loss->neg_weight},
                   {"temperature", loss->temperature},
                   {"alpha", loss->alpha},
                   {"beta", loss->beta},
                   {"base", loss->base},
                   {"gamma", loss->gamma},
                   {"scale", loss->scale}};
    cli_json_text(object, "kind", nf_loss_kind_name(loss->kind));
    cli_json_text(object, "pos_metric", nf_metric_name(loss->pos_metric));
    cli_json_text(object, "neg_metric", nf_metric_name(loss->neg_metric));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (nf_loss_takes(loss->kind, numbers[i].name)) {
            cli_json_number(object, numbers[i].name, numbers[i].value);
        }
    }
    if (nf_loss_takes(loss->kind, "triplets")) {
        cli_json_text(object, "triplets", nf_triplets_name(loss->triplets));
    }
    if (nf_loss_takes(loss->kind, "smooth")) cli_json_flag(object, "smooth", loss->smooth != 0);
    cli_json_flag(object, "normalize", loss->normalize != 0);
    cli_json_flag(object, "fast", loss->fast != 0);
    cli_json_text(object, "reduction", nf_reduction_name(loss->reduction));
    if (loss->reduction == NF_REDUCE_DIVISOR) cli_json_number(object, "divisor", loss->divisor);
}
