/* thread_cache.c: workers look up, lead, follow, fill, break off, confirm and invalidate against one cache, whose disk
 * thread writes, and fails now and then. Every byte read must be one of the version its head names, to its end; nobody
 * gets a version from before an invalidation that had returned; in the end everything was given back. A plain program:
 * ThreadSanitizer does not run under Criterion. Usage: thread_cache [seconds] */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cache/cache.h"
#include "store_files.h"
#include "store_support.h"

enum {
    STORE_SIZE = 24 * 1024 * 1024, /* so small that it overflows */
    QUEUE = 1024 * 1024,
    WINDOW = 128 * 1024,
    WORKERS = 4,
    TASKS = 12, /* of a worker at one time */
    KEYS = 20,
    PERIOD = 65521, /* of a body's bytes: no multiple of anything the store knows */
    PIECE_MAX = 50000,
    ARENA_BYTES = 256 * 1024,
    DEFAULT_SECONDS = 4,
    PATIENCE = 2000, /* steps that a fetch waits for room */
};

struct counts {
    _Atomic uint64_t found, found_in_flight, copied, followed, from_store, stored, broken_off, confirmed, invalidated,
        not_stored, look_again, alone, refused, failed_writes, wrong;
};

static struct cache *cache;
static atomic_bool stop;
static struct counts counts;
static _Atomic unsigned versions[KEYS]; /* the origin's */
static _Atomic unsigned oldest[KEYS];   /* that may be served: set when an invalidation has returned */
static char bytes_of_all[2 * PERIOD];

enum task_kind { TASK_NONE, TASK_FETCH, TASK_FOLLOW, TASK_HELD };
enum plan { PLAN_STORE, PLAN_NOT_STORED, PLAN_BREAK_OFF, PLAN_TOO_LARGE, PLAN_REFUSE, PLAN_CONFIRM };

/* Something a worker does besides other things, a step at a time. */
struct task {
    enum task_kind kind;
    struct arena arena;
    unsigned number; /* of the key */
    unsigned version;
    unsigned minimum; /* versions before this one are gone for it */
    uint64_t at;      /* of the body */
    uint64_t len;
    struct party party;
    atomic_uint wakes;
    struct flight *flight;
    struct fill *fill;
    enum plan plan;
    bool leads; /* TASK_FOLLOW: gets whatever comes */
    bool begun; /* TASK_FETCH: the head was given */
    bool counted;
    unsigned waited;
    struct cached cached;
};

struct worker {
    pthread_t thread;
    uint64_t seed;
    struct cache_reader *reader;
    struct task tasks[TASKS];
};

static void wrong(const struct task *task, const char *what)
{
    if (atomic_fetch_add(&counts.wrong, 1) < 20) {
        fprintf(stderr, "key %u version %u (oldest %u) at %llu of %llu: %s\n", task->number, task->version,
                task->minimum, (unsigned long long)task->at, (unsigned long long)task->len, what);
    }
}

static unsigned random_below(struct worker *worker, unsigned limit)
{
    return (unsigned)(support_random(&worker->seed) % limit);
}

/* ---- bodies ---- */

static uint64_t length_of(unsigned number, unsigned version)
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
            wrong(task, "wrong bytes");
            return false;
        }
        task->at += want.len;
        run = span_skip(run, want.len);
    }
    if (task->at > task->len) {
        wrong(task, "too many bytes");
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
        wrong(task, err_name(error));
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

/* The version that a head names: "V: 12\r\n…". */
static bool take_head(struct task *task, struct span head)
{
    uint64_t version = 0;
    size_t end = span_find(head, '\r');

    if (end == SIZE_MAX || !span_to_u64(span_skip(span_take(head, end), 3), &version)) {
        wrong(task, "a head that was never given");
        return false;
    }
    task->version = (unsigned)version;
    task->len = length_of(task->number, task->version);
    if (version < task->minimum) {
        wrong(task, "a version from before the invalidation");
        return false;
    }
    return true;
}

/* ---- tasks ---- */

static void on_wake(struct party *party)
{
    atomic_fetch_add(&CONTAINER_OF(party, struct task, party)->wakes, 1);
}

static void end_task(struct task *task)
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
    *task = (struct task){.arena = task->arena, .party.wake = on_wake};
}

static struct task *free_task(struct worker *worker)
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
        end_task(task);
        return;
    }
    if (task->cached.flight != NULL) {
        if (!read_flight(worker, task, task->cached.flight, &result)) {
            wrong(task, "what was found ends too early");
            end_task(task);
        }
        return;
    }
    if (!read_store(worker, task, stored->record.body_id, (uint64_t)stored->record.key_len + stored->record.head_len)) {
        end_task(task);
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
        if (!serves || !take_head(task, flight_head(task->flight)->fields)) {
            end_task(task);
            return;
        }
        task->counted = true;
        atomic_fetch_add(&counts.followed, task->leads ? 0 : 1);
    }
    if (random_below(worker, 200) == 0) {
        end_task(task); /* the client has gone */
        return;
    }
    if (read_flight(worker, task, task->flight, &result)) {
        flight_consumed(task->flight, &task->party, flight_body_offset(task->flight) + task->at);
    } else if (result != FLIGHT_READ_WAIT) {
        if (result == FLIGHT_READ_END && task->at != task->len) {
            wrong(task, "an end before the end");
        }
        end_task(task);
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
            end_task(task);
            return;
        }
        task->begun = true;
        if (!give_head(worker, task)) {
            wrong(task, "no memory");
        }
    }
    bool unwanted = !flight_wanted(task->flight) && random_below(worker, 2) == 0;
    bool breaks = task->plan == PLAN_BREAK_OFF && (task->at >= task->len / 2 || task->len == 0);
    if (unwanted || breaks) {
        atomic_fetch_add(&counts.broken_off, 1);
        cache_fill_fail(task->fill, ERR_RESET);
        end_task(task);
        return;
    }
    if (task->at == task->len) {
        cache_fill_complete(task->fill, random_below(worker, 5) == 0 ? SPAN("T: 1\r\n") : SPAN(""));
        bool stored = flight_store_reason(task->flight) == REASON_NONE;
        atomic_fetch_add(stored ? &counts.stored : &counts.not_stored, 1);
        end_task(task);
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
        wrong(task, "no memory");
    }
    task->at += count < PERIOD ? count : PERIOD;
}

static void step(struct worker *worker, struct task *task)
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

/* ---- requests ---- */

static struct key key_of(unsigned number, struct arena *arena)
{
    struct key key = {0};

    REQUIRE(arena_format(arena, &key.text, "GET http://test.example/%u", number));
    key.hash = key_hash_of(key.text, cache_secret(cache));
    return key;
}

/* What was found is read, perhaps by a second holder of it. */
static void hold(struct worker *worker, struct task *task)
{
    struct task *other = random_below(worker, 4) == 0 ? free_task(worker) : NULL;

    atomic_fetch_add(&counts.found, 1);
    atomic_fetch_add(&counts.found_in_flight, task->cached.flight != NULL ? 1 : 0);
    if (other != NULL && cached_copy(cache, &task->cached, &other->arena, &other->cached)) {
        atomic_fetch_add(&counts.copied, 1);
        other->kind = TASK_HELD;
        other->number = task->number;
        other->version = task->version;
        other->minimum = task->minimum;
        other->len = task->len;
    }
}

/* The leader's fetch asks the origin now. */
static void begin_fetch(struct worker *worker, struct task *task, bool confirms)
{
    unsigned version = atomic_load(&versions[task->number]);
    unsigned chance = random_below(worker, 20);

    task->kind = TASK_FETCH;
    task->at = 0;
    flight_set_producer(task->flight, &task->party);
    if (confirms && version == task->version && task->cached.stored.record.body_id != 0) {
        task->plan = PLAN_CONFIRM;
    } else {
        cached_finish(cache, &task->cached);
        task->plan = chance < 14 ? PLAN_STORE : (enum plan)(PLAN_STORE + chance % 5);
    }
    task->version = version;
    task->len = length_of(task->number, version);
    struct task *client = random_below(worker, 4) == 0 ? NULL : free_task(worker);
    if (client != NULL) {
        client->kind = TASK_FOLLOW;
        client->leads = true;
        client->number = task->number;
        client->flight = flight_ref(task->flight);
        flight_follow(client->flight, &client->party);
    }
}

static void ask(struct worker *worker, struct task *task)
{
    struct http_request request = {.method = METHOD_GET, .minor = 1};
    struct key key = key_of(task->number, &task->arena);
    uint64_t generation;

    headers_init(&request.headers, &task->arena);
    task->minimum = atomic_load(&oldest[task->number]);
    bool found =
        cache_find(worker->reader, &key, &request.headers, &task->arena, &task->cached, &generation) == STORE_FOUND;
    if (found && (!take_head(task, task->cached.stored.head) || task->cached.stored.record.body_len != task->len)) {
        wrong(task, "another length");
        end_task(task);
        return;
    }
    task->kind = TASK_HELD;
    if (found && random_below(worker, 4) != 0) {
        hold(worker, task);
        return;
    }
    struct join_request join = {.key = &key,
                                .request = &request,
                                .wish =
                                    (enum join_wish)(random_below(worker, 10) == 0 ? 1 + random_below(worker, 3) : 0),
                                .generation = generation,
                                .arena = &task->arena,
                                .monotonic_ms = 1};
    switch (cache_join(cache, &join, &task->party, &task->flight, &task->fill)) {
    case JOIN_ALONE:
        atomic_fetch_add(&counts.alone, 1);
        begin_fetch(worker, task, found);
        break;
    case JOIN_LEAD:
        begin_fetch(worker, task, found);
        break;
    case JOIN_FOLLOW:
        if (task->flight == NULL) {
            end_task(task);
            break;
        }
        cached_finish(cache, &task->cached);
        task->kind = TASK_FOLLOW;
        break;
    case JOIN_LOOK_AGAIN:
        atomic_fetch_add(&counts.look_again, 1);
        end_task(task);
        break;
    case JOIN_NOBODY:
        end_task(task);
        break;
    case JOIN_FAILED:
        wrong(task, "no memory");
        break;
    }
}

/* The origin changes and says so. */
static void invalidate(unsigned number)
{
    struct arena arena;

    arena_init(&arena, 4096);
    struct key key = key_of(number, &arena);
    unsigned version = atomic_fetch_add(&versions[number], 1) + 1;
    cache_invalidate(cache, &key, NULL);
    unsigned before = atomic_load(&oldest[number]);
    while (before < version && !atomic_compare_exchange_weak(&oldest[number], &before, version)) {
    }
    atomic_fetch_add(&counts.invalidated, 1);
    arena_finish(&arena);
}

static void *run_worker(void *arg)
{
    struct worker *worker = arg;
    bool busy = true;

    for (unsigned i = 0; i < TASKS; i++) {
        worker->tasks[i] = (struct task){.party.wake = on_wake};
        arena_init(&worker->tasks[i].arena, ARENA_BYTES);
    }
    while (!atomic_load(&stop)) {
        struct task *task = free_task(worker);
        unsigned number = random_below(worker, KEYS);
        if (random_below(worker, 4000) == 0) {
            invalidate(number);
        } else if (random_below(worker, 4000) == 0) {
            atomic_fetch_add(&versions[number], 1); /* it changes and says nothing */
        }
        if (task != NULL && random_below(worker, 3) == 0) {
            task->number = number;
            ask(worker, task);
        }
        step(worker, &worker->tasks[random_below(worker, TASKS)]);
        if (random_below(worker, 20) == 0) {
            (void)nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL); /* the disk is to keep up, mostly */
        }
    }
    while (busy) {
        busy = false;
        for (unsigned i = 0; i < TASKS; i++) {
            step(worker, &worker->tasks[i]);
            busy = busy || worker->tasks[i].kind != TASK_NONE;
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
    }
    for (unsigned i = 0; i < TASKS; i++) {
        arena_finish(&worker->tasks[i].arena);
    }
    return NULL;
}

/* ---- the disk ---- */

static struct timespec time_in(long delay_ms)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    time.tv_nsec += delay_ms * 1000000;
    time.tv_sec += time.tv_nsec / 1000000000;
    time.tv_nsec %= 1000000000;
    return time;
}

/* While it is broken the file's later pages cannot be written. */
static void break_disk(bool broken)
{
    files_limit(broken ? 3 * STORE_PIECE_BYTES : UINT64_MAX);
}

static void *run_disk(void *arg)
{
    uint64_t seed = 7;
    struct timespec until = time_in(100);

    (void)arg;
    while (cache_wait(cache, WAIT_FOR_WORK, &until)) {
        until = time_in(3);
        (void)cache_wait(cache, WAIT_FOR_BATCH, &until);
        bool broken = support_random(&seed) % 12 == 0 && !atomic_load(&stop);
        break_disk(broken);
        if (!cache_write(cache)) {
            atomic_fetch_add(&counts.failed_writes, 1);
        }
        break_disk(false);
        until = time_in(100);
    }
    return NULL;
}

static void open_cache(const char *dir)
{
    struct cache_options options = {
        .store = {.dir = dir, .size_bytes = STORE_SIZE, .max_variants = 4, .max_readers = WORKERS},
        .write_queue_bytes = QUEUE,
        .window_bytes = WINDOW,
        .hot_bytes = 256 * 1024,
    };
    struct buf note;

    buf_init(&note, 1024);
    REQUIRE(cache_open(&options, &cache, &note) == ERR_OK);
    buf_finish(&note);
}

/* With every key removed and every pin given back nothing may be left in the store. */
static bool left_empty(const struct store_stats *before)
{
    struct store_stats after;

    if (support_settle(cache_store(cache)) != ERR_OK) {
        return false;
    }
    store_stats_of(cache_store(cache), &after);
    printf("left: objects=%llu unlinked=%llu pages=%lld commits=%llu evictions=%llu\n",
           (unsigned long long)after.objects, (unsigned long long)after.reclaim_bodies,
           ((long long)after.used_bytes - (long long)before->used_bytes) / 4096, (unsigned long long)after.commits,
           (unsigned long long)after.evictions);
    return after.objects == 0 && after.reclaim_bodies == 0 && after.used_bytes < before->used_bytes + 64 * 4096;
}

static bool worked(void)
{
    static const struct {
        const char *name;
        _Atomic uint64_t *count;
    } all[] = {
        {"found", &counts.found},           {"found_in_flight", &counts.found_in_flight},
        {"copied", &counts.copied},         {"followed", &counts.followed},
        {"from_store", &counts.from_store}, {"stored", &counts.stored},
        {"not_stored", &counts.not_stored}, {"broken_off", &counts.broken_off},
        {"confirmed", &counts.confirmed},   {"invalidated", &counts.invalidated},
        {"look_again", &counts.look_again}, {"alone", &counts.alone},
        {"refused", &counts.refused},       {"failed_writes", &counts.failed_writes},
    };

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        uint64_t count = atomic_load(all[i].count);
        printf("%s=%llu ", all[i].name, (unsigned long long)count);
    }
    printf("wrong=%llu\n", (unsigned long long)counts.wrong);
    return counts.wrong == 0 && counts.found > 0 && counts.followed > 0 && counts.stored > 0;
}

int main(int count, char **arguments)
{
    static struct worker workers[WORKERS];
    char dir[SUPPORT_PATH_BYTES];
    struct store_stats before;
    pthread_t disk;
    uint64_t seed = 1;

    for (size_t i = 0; i < PERIOD; i++) {
        bytes_of_all[i] = bytes_of_all[i + PERIOD] = (char)support_random(&seed);
    }
    support_dir_make(dir);
    open_cache(dir);
    store_stats_of(cache_store(cache), &before);
    REQUIRE(pthread_create(&disk, NULL, run_disk, NULL) == 0);
    for (unsigned i = 0; i < WORKERS; i++) {
        workers[i].seed = i;
        workers[i].reader = cache_reader_create(cache);
        REQUIRE(workers[i].reader != NULL);
        REQUIRE(pthread_create(&workers[i].thread, NULL, run_worker, &workers[i]) == 0);
    }
    (void)nanosleep(&(struct timespec){.tv_sec = count > 1 ? atoi(arguments[1]) : DEFAULT_SECONDS}, NULL);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < WORKERS; i++) {
        REQUIRE(pthread_join(workers[i].thread, NULL) == 0);
        cache_reader_destroy(workers[i].reader);
    }
    for (unsigned i = 0; i < KEYS; i++) {
        invalidate(i);
    }
    cache_stop_writes(cache);
    REQUIRE(pthread_join(disk, NULL) == 0);
    bool good = worked();
    good = left_empty(&before) && good;
    cache_close(cache);
    support_dir_remove(dir);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
