/* access_log.c: collects lines and writes them together.
 *
 * Happy path: a line is formatted behind the others; half full, or a second after the first line, they are written.
 * Failures:   - a line does not fit or there is no memory: it is lost.
 *             - a write fails or stops half-way (full disk): what is left of the buffer is lost.
 *             Either is said once in the process log, and again after a write that worked. */
#include "proxy/observe/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proxy/io/conn.h"
#include "proxy/io/log.h"

enum {
    BUFFER_MAX_BYTES = 256 * 1024, /* beyond the longest line: four texts of 4 KiB, each byte escaped to six */
    FLUSH_BYTES = BUFFER_MAX_BYTES / 2,
    FLUSH_MS = 1000,
    FILE_MODE = 0640,
};

static int open_file(const struct config *config);
static void flush(struct access_log *log);
static void complain(struct access_log *log, const char *what);
static bool write_all(int fd, struct span bytes);
static struct span next_lines(struct span rest);
static void on_timer(uv_timer_t *timer);

enum err access_log_check(const struct config *config, struct buf *out_error)
{
    char text[128];

    if (config->server.access_log == NULL || strcmp(config->server.access_log, "-") == 0) {
        return ERR_OK;
    }
    int fd = open_file(config);
    if (fd < 0) {
        buf_format(out_error, "server.access_log: cannot write \"%s\": %s", config->server.access_log,
                   uv_strerror_r(fd, text, sizeof text));
        return err_from_uv(fd);
    }
    close(fd);
    return ERR_OK;
}

enum err access_log_open(struct access_log *log, uv_loop_t *loop, const struct config *config)
{
    struct stat status = {0};

    *log = (struct access_log){.fd = -1, .format = config->server.access_format};
    buf_init(&log->buf, BUFFER_MAX_BYTES);
    if (config->server.access_log == NULL) {
        return ERR_OK;
    }
    if (strcmp(config->server.access_log, "-") == 0) {
        log->fd = STDOUT_FILENO;
    } else {
        int fd = open_file(config);

        if (fd < 0) {
            return err_from_uv(fd);
        }
        log->fd = fd;
        log->is_owned = true;
    }
    log->is_file = fstat(log->fd, &status) == 0 && S_ISREG(status.st_mode);
    int error = uv_timer_init(loop, &log->timer);
    if (error < 0) {
        access_log_close(log);
        return err_from_uv(error);
    }
    log->timer.data = log;
    log->timer_open = true;
    return ERR_OK;
}

void access_log_reopen(struct access_log *log, const struct config *config)
{
    struct stat status = {0};
    char text[128];

    if (!log->is_owned) {
        return;
    }
    flush(log);
    int fd = open_file(config);
    if (fd < 0) {
        log_error("the access log cannot be opened anew path=%s error=%s",
                  log_quoted(span_of(config->server.access_log)).text,
                  log_quoted(span_of(uv_strerror_r(fd, text, sizeof text))).text);
        return;
    }
    close(log->fd);
    log->fd = fd;
    log->is_file = fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

void access_log_write(struct access_log *log, const struct access_entry *entry)
{
    size_t before = log->buf.len;

    if (log->fd < 0) {
        return;
    }
    access_log_format(log->format, entry, &log->buf);
    if (log->buf.failed) {
        log->buf.len = before; /* whole lines only */
        log->buf.failed = false;
        complain(log, "a line does not fit");
    }
    if (log->buf.len >= FLUSH_BYTES) {
        flush(log);
    } else if (log->buf.len > 0 && log->timer_open && !uv_is_active((uv_handle_t *)&log->timer)) {
        (void)uv_timer_start(&log->timer, on_timer, FLUSH_MS, 0); /* fails only on a handle that is closing */
    }
}

static void flush(struct access_log *log)
{
    struct span rest = buf_span(&log->buf);
    bool written = true;

    if (log->fd < 0 || rest.len == 0) {
        return;
    }
    while (rest.len > 0 && written) {
        struct span piece = log->is_file ? rest : next_lines(rest);

        written = write_all(log->fd, piece);
        rest = span_skip(rest, piece.len);
    }
    if (written) {
        log->complained = false;
    } else {
        char text[128];

        complain(log, uv_strerror_r(uv_translate_sys_error(errno), text, sizeof text));
    }
    buf_clear(&log->buf);
    if (log->timer_open) {
        (void)uv_timer_stop(&log->timer); /* always succeeds */
    }
}

void access_log_close(struct access_log *log)
{
    flush(log);
    if (log->timer_open) {
        log->timer_open = false;
        uv_close((uv_handle_t *)&log->timer, NULL);
    }
    if (log->fd >= 0 && log->is_owned) {
        close(log->fd);
    }
    log->fd = -1;
    buf_finish(&log->buf);
}

/* A descriptor, or a libuv code. */
static int open_file(const struct config *config)
{
    int fd = open(config->server.access_log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, FILE_MODE);

    return fd < 0 ? uv_translate_sys_error(errno) : fd;
}

static void complain(struct access_log *log, const char *what)
{
    if (!log->complained) {
        log->complained = true;
        log_error("access log lines are lost error=%s", log_quoted(span_of(what)).text);
    }
}

/* False with errno set. */
static bool write_all(int fd, struct span bytes)
{
    while (bytes.len > 0) {
        ssize_t count = write(fd, bytes.data, bytes.len);

        if (count > 0) {
            bytes = span_skip(bytes, (size_t)count);
        } else if (count == 0 || errno != EINTR) {
            return false;
        }
    }
    return true;
}

/* As many whole lines as a pipe takes in one piece, at least one. */
static struct span next_lines(struct span rest)
{
    struct span lines = span_take(rest, PIPE_BUF);

    while (lines.len > 0 && lines.data[lines.len - 1] != '\n') {
        lines.len--;
    }
    return lines.len > 0 ? lines : span_take(rest, span_find(rest, '\n') + 1);
}

static void on_timer(uv_timer_t *timer) /* uv_timer_cb */
{
    flush(timer->data);
}
