/* A progress bar with the time left, drawn on one line of a terminal and nowhere else. */
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>

#include "cli.h"

#define DRAW_INTERVAL 0.1 /* seconds */
#define TIME_ROOM 19      /* "  59 min 59 s left" and some */
#define FIRST_DRAW 0.3    /* shorter work shows no bar */

double cli_clock(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static size_t terminal_columns(void) {
    struct winsize size;
    if (ioctl(2, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
    return 80;
}

void cli_progress_begin(cli *app, const char *label) {
    cli_progress_clear(app);
    app->progress = (cli_progress){.label = label, .start = cli_clock(), .from = 0, .to = 1};
}

void cli_progress_part(cli *app, double from, double to) {
    app->progress.from = from;
    app->progress.to = to;
}

void cli_progress_clear(cli *app) {
    if (!app->progress.visible) return;
    fputs("\r\033[K", stderr);
    app->progress.visible = false;
}

void cli_progress_end(cli *app) {
    cli_progress_clear(app);
    app->progress.label = NULL;
}

/* "3 s", "2 min 05 s", "1 h 40 min" */
static void time_text(double seconds, char *buffer, size_t size) {
    unsigned long whole = seconds > 359999 ? 359999 : (unsigned long)(seconds + 0.5);
    if (whole < 60) {
        snprintf(buffer, size, "%lu s", whole);
    } else if (whole < 3600) {
        snprintf(buffer, size, "%lu min %02lu s", whole / 60, whole % 60);
    } else {
        snprintf(buffer, size, "%lu h %02lu min", whole / 3600, whole / 60 % 60);
    }
}

static void bar_text(const cli *app, double share, size_t width, char *buffer, size_t size) {
    const char *full = app->utf8 ? "\xe2\x94\x81" : "#"; /* heavy line */
    const char *rest = app->utf8 ? "\xe2\x94\x80" : "-"; /* light line */
    size_t filled = (size_t)(share * (double)width + 0.5), used = 0;
    for (size_t i = 0; i < width; i++) {
        const char *piece = i < filled ? full : rest;
        size_t length = strlen(piece);
        if (used + length >= size) break;
        memcpy(buffer + used, piece, length);
        used += length;
    }
    buffer[used] = '\0';
}

void cli_progress_draw(cli *app, double share, const char *text) {
    cli_progress *progress = &app->progress;
    if (!app->terminal || app->quiet || progress->label == NULL) return;
    double now = cli_clock(), elapsed = now - progress->start;
    if (elapsed < FIRST_DRAW || now - progress->drawn < DRAW_INTERVAL) return;
    progress->drawn = now;
    if (share < 0) share = 0;
    if (share > 1) share = 1;
    char left[48] = "", bar[128], line[512];
    if (share > 0.01 && share < 1) {
        char time[32];
        time_text(elapsed * (1 - share) / share, time, sizeof time);
        snprintf(left, sizeof left, "  %s left", time);
    }
    size_t columns = terminal_columns();
    /* Room for the longest usual time, so that the bar does not change its length. */
    size_t time_room = strlen(left) > TIME_ROOM ? strlen(left) : TIME_ROOM;
    size_t taken = strlen(progress->label) + strlen(text) + time_room + 10;
    size_t width = columns > taken + 8 ? columns - taken : 0;
    if (width > 30) width = 30;
    bar_text(app, share, width, bar, sizeof bar);
    int length = snprintf(line, sizeof line, "%s %s %3.0f %%%s%s", progress->label, bar,
                          100 * share, text, left);
    if (length < 0) return;
    /* On a very narrow terminal a wrapped line could not be erased: show nothing. */
    if (columns < taken) return;
    fprintf(stderr, "\r%s\033[K", line);
    fflush(stderr);
    progress->visible = true;
}

int cli_progress_poll(void *user, uint64_t done, uint64_t total) {
    cli *app = user;
    if (cli_interrupted() != 0) return 1;
    if (total > 0 && !app->progress.polling_only) {
        double share = (double)done / (double)total;
        const cli_progress *progress = &app->progress;
        cli_progress_draw(app, progress->from + share * (progress->to - progress->from), "");
    }
    return 0;
}
