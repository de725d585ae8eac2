/* cache_tasks.c: what a worker of thread_cache.c does at one time: it fetches, follows, or reads what it found.
 */
#include "cache_tasks.h"

#include <string.h>

void task_wrong(const struct task *task, const char *what)
{
    if (atomic_fetch_add(&counts.wrong, 1) < 20) {
        fprintf(stderr, "key %u version %u (oldest %u) at %llu of %llu: %s\n", task->number, task->version,
                task->minimum, (unsigned long long)task->at, (unsigned long long)task->len, what);
    }
}

unsigned random_below(struct worker *worker, unsigned limit)
{
    return (unsigned)(support_random(&worker->seed) % limit);
}

/* ---- bodies ---- */

uint64_t length_of(unsigned number, unsigned version)
{
    uint64_t state = (uint64_t)number << 32 | version;
    uint64_t value = support_random(&state);

    switch (value % 16) {
    case 0:
        return 0;
    case 1:
    case 2:
    case 3:
    case 4:
        return value / 16 % 5000;
    case 5:
        return 1000000 + value / 16 % 2000000;
    case 6:
    case 7:
        return value / 16 % 400000;
    default:
        return value / 16 % 70000;
    }
}

/* A run of the body from `at`, as long as one is at hand. */
static struct span body_run(unsigned number, unsigned version, uint64_t at)
{
    uint64_t offset = (at + number * UINT64_C(7919) + version * UINT64_C(104729)) % PERIOD;

    return (struct span){bytes_of_all + offset, PERIOD};
}

static bool check_run(struct task *task, struct span run)
{
    while (run.len > 0) {
        struct span want = span_take(body_run(task->number, task->version, task->at), run.len);
        if (memcmp(run.data, want.data, want.len) != 0) {
            task_wrong(task, "wrong bytes");
            return false;
        }
        task->at += want.len;
        run = span_skip(run, want.len);
    }
    if (task->at > task->len) {
        task_wrong(task, "too many bytes");
        return false;
    }
    return true;
}

static size_t on_runs(void *arg, const struct span *runs, size_t count) /* store_read_fn */
{
    size_t used = 0;

    for (size_t i = 0; i < count; i++) {
        if (!check_run(arg, runs[i])) {
            return used;
        }
        used += runs[i].len;
    }
    return used;
}

static bool read_store(struct worker *worker, struct task *task, uint64_t body_id, uint64_t base)
{
    size_t used;
    enum err error =
        store_read(cache_reader_store(worker->reader), body_id, base + task->at, 100000, on_runs, task, &used);

    if (error != ERR_OK) {
        task_wrong(task, err_name(error));
        return false;
    }
    atomic_fetch_add(&counts.from_store, 1);
    return true;
}

/* One run of a flight's body; false where there is no more, now or ever. */
static bool read_flight(struct worker *worker, struct task *task, struct flight *flight, enum flight_read *out_result)
{
    uint64_t base = flight_body_offset(flight);
    struct segment *segment;
    struct span run;

    *out_result = flight_read(flight, base + task->at, &segment, &run);
    if (*out_result == FLIGHT_READ_DATA) {
        run = span_take(run, 1 + random_below(worker, PIECE_MAX)); /* the client takes what it takes */
        bool good = check_run(task, run);
        segment_unref(segment);
        return good;
    }
    return *out_result == FLIGHT_READ_IN_STORE && read_store(worker, task, flight_head(flight)->record.body_id, base);
}

bool task_take_head(struct task *task, struct span head)
{
    uint64_t version = 0;
    size_t end = span_find(head, '\r');

    if (end == SIZE_MAX || !span_to_u64(span_skip(span_take(head, end), 3), &version)) {
        task_wrong(task, "a head that was never given");
        return false;
    }
    task->version = (unsigned)version;
    task->len = length_of(task->number, task->version);
    if (version < task->minimum) {
        task_wrong(task, "a version from before the invalidation");
        return false;
    }
    return true;
}

/* ---- tasks ---- */

void task_on_wake(struct party *party)
{
    atomic_fetch_add(&CONTAINER_OF(party, struct task, party)->wakes, 1);
}

void task_end(struct task *task)
{
    if (task->flight != NULL) {
        if (task->kind == TASK_FETCH) {
            flight_set_producer(task->flight, NULL);
        }
        flight_unfollow(task->flight, &task->party);
        flight_unref(task->flight);
    }
    cached_finish(cache, &task->cached);
    arena_reset(&task->arena);
    *task = (struct task){.arena = task->arena, .party.wake = task_on_wake};
}

struct task *task_free(struct worker *worker)
{
    for (unsigned i = 0; i < TASKS; i++) {
        if (worker->tasks[i].kind == TASK_NONE) {
            return &worker->tasks[i];
        }
    }
    return NULL;
}

/* Reads the whole of what was found, as slowly as steps come. */
static void step_held(struct worker *worker, struct task *task)
{
    const struct stored *stored = &task->cached.stored;
    enum flight_read result = FLIGHT_READ_DATA;

    if (task->at < stored->body_start.len) {
        (void)check_run(task, stored->body_start);
        return;
    }
    if (task->at >= task->len) {
        task_end(task);
        return;
    }
    if (task->cached.flight != NULL) {
        if (!read_flight(worker, task, task->cached.flight, &result)) {
            task_wrong(task, "what was found ends too early");
            task_end(task);
        }
        return;
    }
    if (!read_store(worker, task, stored->record.body_id, (uint64_t)stored->record.key_len + stored->record.head_len)) {
        task_end(task);
    }
}

static void step_follow(struct worker *worker, struct task *task)
{
    struct http_request request = {.method = METHOD_GET, .minor = 1};
    enum flight_phase phase = flight_phase(task->flight);
    enum flight_read result;

    headers_init(&request.headers, &task->arena);
    if (phase == FLIGHT_PENDING) {
        return;
    }
    if (!task->counted) {
        bool usable = phase == FLIGHT_STREAMING || phase == FLIGHT_COMPLETE;
        bool serves = usable && (task->leads || cache_flight_serves(task->flight, &request, 0, &task->arena));
        if (!serves || !task_take_head(task, flight_head(task->flight)->fields)) {
            task_end(task);
            return;
        }
        task->counted = true;
        atomic_fetch_add(&counts.followed, task->leads ? 0 : 1);
    }
    if (random_below(worker, 200) == 0) {
        task_end(task); /* the client has gone */
        return;
    }
    if (read_flight(worker, task, task->flight, &result)) {
        flight_consumed(task->flight, &task->party, flight_body_offset(task->flight) + task->at);
    } else if (result != FLIGHT_READ_WAIT) {
        if (result == FLIGHT_READ_END && task->at != task->len) {
            task_wrong(task, "an end before the end");
        }
        task_end(task);
    }
}

static bool give_head(struct worker *worker, struct task *task)
{
    char fields[32];
    struct flight_head head = {
        .status = 200,
        .policy = {.ttl_s = 1000000, .default_ttl_s = -1, .stale_while_revalidate_s = -1, .stale_if_error_s = -1},
        .record = {.status = 200,
                   .inputs = {.status = 200, .directives = {.present = true, .max_age = {DIRECTIVE_VALID, 1000000}}}},
        .length_known = random_below(worker, 2) == 0,
        .body_len = task->len,
    };

    head.fields = (struct span){fields, (size_t)snprintf(fields, sizeof(fields), "V: %u\r\n", task->version)};
    uint64_t limit = task->plan == PLAN_TOO_LARGE ? task->len / 2 : UINT64_MAX;
    return cache_fill_head(task->fill, &head, task->plan != PLAN_NOT_STORED, limit, 0) == ERR_OK;
}

/* An end before a head comes; false: there will be one. */
static bool ended_early(struct task *task)
{
    char head[48];

    if (task->plan == PLAN_REFUSE) {
        atomic_fetch_add(&counts.refused, 1);
        cache_fill_refuse(task->fill);
        return true;
    }
    if (task->plan != PLAN_CONFIRM) {
        return false;
    }
    struct span fields = {head, (size_t)snprintf(head, sizeof(head), "V: %u\r\nF: 1\r\n", task->version)};
    atomic_fetch_add(&counts.confirmed, 1);
    cache_fill_validated(task->fill, &task->cached, &task->cached.stored.record, fields);
    return true;
}

static void step_fetch(struct worker *worker, struct task *task)
{
    if (!task->begun) {
        if (ended_early(task)) {
            task_end(task);
            return;
        }
        task->begun = true;
        if (!give_head(worker, task)) {
            task_wrong(task, "no memory");
        }
    }
    bool unwanted = !flight_wanted(task->flight) && random_below(worker, 2) == 0;
    bool breaks = task->plan == PLAN_BREAK_OFF && (task->at >= task->len / 2 || task->len == 0);
    if (unwanted || breaks) {
        atomic_fetch_add(&counts.broken_off, 1);
        cache_fill_fail(task->fill, ERR_RESET);
        task_end(task);
        return;
    }
    if (task->at == task->len) {
        cache_fill_complete(task->fill, random_below(worker, 5) == 0 ? SPAN("T: 1\r\n") : SPAN(""));
        bool stored = flight_store_reason(task->flight) == REASON_NONE;
        atomic_fetch_add(stored ? &counts.stored : &counts.not_stored, 1);
        task_end(task);
        return;
    }
    size_t room = flight_room(task->flight);
    if (room == 0) {
        task->waited++;
        if (task->waited > PATIENCE) {
            cache_fill_stop_storing(task->fill, REASON_DISK_BEHIND);
        }
        return;
    }
    task->waited = 0;
    uint64_t left = task->len - task->at;
    size_t count = 1 + random_below(worker, PIECE_MAX);
    count = count < left ? count : (size_t)left;
    if (cache_fill_append(task->fill, span_take(body_run(task->number, task->version, task->at), count)) != ERR_OK) {
        task_wrong(task, "no memory");
    }
    task->at += count < PERIOD ? count : PERIOD;
}

void task_step(struct worker *worker, struct task *task)
{
    switch (task->kind) {
    case TASK_NONE:
        break;
    case TASK_FETCH:
        step_fetch(worker, task);
        break;
    case TASK_FOLLOW:
        step_follow(worker, task);
        break;
    case TASK_HELD:
        step_held(worker, task);
        break;
    }
}
