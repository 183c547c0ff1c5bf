/* What training says while it runs. */
#include "train.h"

static void describe(const nf_train_event *event, char *text, size_t size) {
    int used = snprintf(text, size, "  loss %.4g", event->loss);
    if (event->has_validation && used > 0 && (size_t)used < size) {
        snprintf(text + used, size - (size_t)used, "  MAP@R %.4f (best %.4f)", event->map_at_r,
                 event->best_map_at_r);
    }
}

/* What a miner found. */
static void describe_mined(const nf_train_event *event, char *text, size_t size) {
    int used = snprintf(text, size, "  mined %.1f a step", event->mined);
    if (event->empty_steps > 0 && used > 0 && (size_t)used < size) {
        snprintf(text + used, size - (size_t)used, " (nothing in %llu)",
                 (unsigned long long)event->empty_steps);
    }
}

static void print_line(cli *app, const nf_train_event *event, bool mines) {
    char score[64] = "", mined[80] = "";
    if (mines) describe_mined(event, mined, sizeof mined);
    if (event->has_validation) snprintf(score, sizeof score, "  MAP@R %.4f", event->map_at_r);
    cli_note(app, "epoch %4zu/%zu  loss %-9.5g  active +%5.1f %% -%5.1f %%  d+ %7.4g  d- %7.4g%s%s",
             event->epoch, event->epochs, event->loss, 100 * event->active_positive,
             100 * event->active_negative, event->mean_positive_distance,
             event->mean_negative_distance, mined, score);
}

/* About ten lines for a log file; every epoch with -v; on a terminal the bar tells the rest. */
static bool worth_a_line(const cli *app, const nf_train_event *event) {
    if (event->epoch == 0) return false;
    if (app->verbose) return true;
    if (app->terminal) return false;
    size_t step = (event->epochs + 9) / 10;
    return event->epoch == 1 || event->epoch == event->epochs || event->epoch % step == 0;
}

int cli_train_event(void *user, const nf_train_event *event) {
    cli_training *training = user;
    cli *app = training->app;
    char label[64], text[96];
    if (event->warning != NULL) cli_warn(app, "%s", event->warning);
    const bool mines = training->options.mine != NULL;
    if (worth_a_line(app, event)) print_line(app, event, mines);
    training->epoch = event->epoch;
    snprintf(label, sizeof label, "epoch %zu/%zu", event->epoch, event->epochs);
    describe(event, text, sizeof text);
    app->progress.label = label;
    cli_progress_draw(app, event->epochs > 0 ? (double)event->epoch / (double)event->epochs : 1,
                      text);
    app->progress.label = "training";
    return cli_interrupted() != 0;
}
