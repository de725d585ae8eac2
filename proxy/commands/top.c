/* top.c: the screen and the keys of `larder top`; what stands on it is top_view.c's.
 *
 * Happy path: a sample a second from /metrics, the screen drawn from the last two, until q.
 * Failures:   - standard input or output is no terminal, or one that ncurses does not know: an error.
 *             - larder goes: said in the first line; asked again each second. */
#include "proxy/commands/top.h"

#include <ncurses.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "proxy/commands/admin_ask.h"
#include "proxy/commands/top_view.h"

enum { INTERVAL_MS = 1000 };

struct screen {
    const struct config *config;
    struct top_sample samples[2]; /* the last two, in turn */
    unsigned newest;              /* which of them */
    struct top_options options;
    struct top_view view;
    bool ends;
};

static double clock_s(clockid_t clock)
{
    struct timespec now = {0};

    (void)clock_gettime(clock, &now); /* fails only for clocks that there are not */
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* False with the error written. */
static bool take_sample(const struct config *config, struct top_sample *out_sample, struct buf *error)
{
    struct admin_answer answer = {0};

    if (!admin_ask(config, "/metrics", SPAN(""), &answer, error)) {
        return false;
    }
    bool good = answer.status == 200 && top_sample_read(buf_span(&answer.body), clock_s(CLOCK_MONOTONIC), out_sample);
    buf_finish(&answer.body);
    if (!good) {
        buf_format(error, "larder answers with status %u, and not as expected", answer.status);
    }
    return good;
}

static void draw(struct screen *screen)
{
    screen->options.lines = (size_t)(LINES > 0 ? LINES : 1);
    screen->options.now_s = clock_s(CLOCK_REALTIME);
    top_view_make(&screen->samples[screen->newest ^ 1], &screen->samples[screen->newest], &screen->options,
                  &screen->view);
    (void)erase(); /* ncurses' answers say only that there is no screen */
    for (size_t i = 0; i < screen->view.count; i++) {
        const struct top_line *line = &screen->view.lines[i];
        (void)attrset(line->heading ? A_REVERSE : A_NORMAL);
        (void)mvaddnstr((int)i, 0, line->text, COLS);
    }
    (void)refresh();
}

/* The next sample takes the place of the older one. */
static void renew(struct screen *screen)
{
    struct buf error;

    if (screen->options.paused) {
        return;
    }
    buf_init(&error, 1024);
    screen->options.notice = NULL;
    struct top_sample *older = &screen->samples[screen->newest ^ 1];
    struct top_sample *sample = malloc(sizeof(*sample));
    if (sample == NULL || !take_sample(screen->config, sample, &error)) {
        screen->options.notice = ", IT DOES NOT ANSWER";
    } else if (sample->started_s != screen->samples[screen->newest].started_s) {
        screen->samples[0] = *sample; /* another larder: its counters begin anew */
        screen->samples[1] = *sample;
    } else {
        *older = *sample;
        screen->newest ^= 1;
    }
    free(sample);
    buf_finish(&error);
}

static void press(struct screen *screen, int key)
{
    switch (key) {
    case 'q':
        screen->ends = true;
        break;
    case 'p':
    case ' ':
        screen->options.paused = !screen->options.paused;
        break;
    case 's':
        screen->options.sort = (screen->options.sort + 1) % TOP_SORTS;
        break;
    default: /* also KEY_RESIZE: it is drawn anew */
        break;
    }
}

/* Waits for keys until the next sample is due. */
static void run(struct screen *screen)
{
    double due_s = clock_s(CLOCK_MONOTONIC) + INTERVAL_MS / 1e3;

    while (!screen->ends) {
        draw(screen);
        double left_s = due_s - clock_s(CLOCK_MONOTONIC);
        if (left_s <= 0) {
            renew(screen);
            due_s = clock_s(CLOCK_MONOTONIC) + INTERVAL_MS / 1e3;
            continue;
        }
        timeout((int)(left_s * 1000) + 1);
        int key = getch();
        if (key != ERR) {
            press(screen, key);
        }
    }
}

bool top_run(const struct config *config, const struct options *options, struct buf *out, struct buf *error)
{
    (void)options;
    (void)out; /* the screen is its output */
    if (isatty(STDIN_FILENO) != 1 || isatty(STDOUT_FILENO) != 1) {
        buf_add_text(error, "top: expected a terminal; for scripts there are larder report --json and GET /metrics");
        return false;
    }
    struct screen *screen = calloc(1, sizeof(*screen));
    if (screen == NULL) {
        buf_add_text(error, "top: out of memory");
        return false;
    }
    screen->config = config;
    if (!take_sample(config, &screen->samples[0], error)) {
        free(screen);
        return false;
    }
    screen->samples[1] = screen->samples[0];
    SCREEN *terminal = newterm(NULL, stdout, stdin);
    if (terminal == NULL) {
        buf_add_text(error, "top: expected a terminal that is known: see TERM");
        free(screen);
        return false;
    }
    (void)cbreak();
    (void)noecho();
    (void)curs_set(0); /* where it cannot be hidden, it is seen */
    (void)keypad(stdscr, TRUE);
    run(screen);
    (void)endwin();
    delscreen(terminal);
    free(screen);
    return true;
}
