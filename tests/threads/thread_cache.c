/* thread_cache.c: workers look up, lead, follow, fill, break off, confirm and invalidate against one cache, whose disk
 * thread writes, and fails now and then. Every byte read must be one of the version its head names, to its end; nobody
 * gets a version from before an invalidation that had returned; in the end everything was given back. A plain program:
 * ThreadSanitizer does not run under Criterion. Usage: thread_cache [seconds] */
#include <stdlib.h>
#include <time.h>

#include "cache_tasks.h"
#include "store_files.h"

struct cache *cache;
struct counts counts;
_Atomic unsigned versions[KEYS];
_Atomic unsigned oldest[KEYS];
char bytes_of_all[2 * PERIOD];

static atomic_bool stop;

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
    struct task *other = random_below(worker, 4) == 0 ? task_free(worker) : NULL;

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
    struct task *client = random_below(worker, 4) == 0 ? NULL : task_free(worker);
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
    if (found &&
        (!task_take_head(task, task->cached.stored.head) || task->cached.stored.record.body_len != task->len)) {
        task_wrong(task, "another length");
        task_end(task);
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
            task_end(task);
            break;
        }
        cached_finish(cache, &task->cached);
        task->kind = TASK_FOLLOW;
        break;
    case JOIN_LOOK_AGAIN:
        atomic_fetch_add(&counts.look_again, 1);
        task_end(task);
        break;
    case JOIN_NOBODY:
        task_end(task);
        break;
    case JOIN_FAILED:
        task_wrong(task, "no memory");
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
        worker->tasks[i] = (struct task){.party.wake = task_on_wake};
        arena_init(&worker->tasks[i].arena, ARENA_BYTES);
    }
    while (!atomic_load(&stop)) {
        struct task *task = task_free(worker);
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
        task_step(worker, &worker->tasks[random_below(worker, TASKS)]);
        if (random_below(worker, 20) == 0) {
            (void)nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL); /* the disk is to keep up, mostly */
        }
    }
    while (busy) {
        busy = false;
        for (unsigned i = 0; i < TASKS; i++) {
            task_step(worker, &worker->tasks[i]);
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
        .store = {.dir = dir, .size_bytes = STORE_SIZE, .max_variants = 4},
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
