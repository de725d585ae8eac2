/* store.h: what the parts of the store's benchmark share. README.md beside this says how to read its figures.
 *
 * The real cache/store code, linked as a library, driven as the disk thread drives it: bodies as streams in batches of
 * store_batch_bytes. Everything random follows from a seed: two runs store the same. Ends the process where the set-up
 * fails. */
#ifndef TESTS_BENCH_STORE_H
#define TESTS_BENCH_STORE_H

#include "cache/store.h"

enum { BENCH_PATH_BYTES = 256 };

struct bench_options {
    uint64_t size_bytes;   /* of the store that is churned */
    uint64_t turnovers;    /* how often its size is written */
    uint64_t large_bytes;  /* of the large store that is compared with it */
    uint64_t memory_bytes; /* of the cgroup whose store is six times as large */
    uint64_t max_objects;  /* of the look-ups: 10^4, 10^5 … up to this */
    uint64_t lookups;      /* measured at each size */
    uint64_t requests;     /* of the trace for the hit ratio */
    uint64_t seconds;      /* that filling one store may take; what was left out is said */
    uint64_t keep_bytes;   /* that must stay free on the disk; a part that would take more is left out */
};

void bench_churn(const struct bench_options *options);
void bench_small(const struct bench_options *options);
void bench_large(const struct bench_options *options);
void bench_memory(const struct bench_options *options);
void bench_threshold(const struct bench_options *options);
void bench_lookup(const struct bench_options *options);
void bench_start(const struct bench_options *options);
void bench_hits(const struct bench_options *options);

/* The number of objects measured after `objects` (0: the first): 10^4, 10^5 …, the last one `max`; above it at the end.
 */
uint64_t bench_next_count(uint64_t objects, uint64_t max);

/* ---- support (store_support.c) ---- */

void bench_dir_make(char out_dir[BENCH_PATH_BYTES]);
void bench_dir_remove(const char *dir);

/* `memory_bytes`: what the store is told that the page cache can have; BENCH_MEMORY: what the machine has. */
#define BENCH_MEMORY ((uint64_t)0)
struct store *bench_open(const char *dir, uint64_t size_bytes, uint64_t memory_bytes);

uint64_t bench_random(uint64_t *state);
double bench_uniform(uint64_t *state); /* [0, 1) */
/* Bytes: lognormal around `median`, at most `max`. */
uint64_t bench_lognormal(uint64_t *state, double median, double sigma, uint64_t max);

uint64_t bench_now_ns(void);
uint64_t bench_cpu_ns(void);                    /* of this process */
uint64_t bench_written_bytes(void);             /* that this process has given to write calls */
uint64_t bench_read_bytes(void);                /* that the disk had to read for it */
uint64_t bench_disk_bytes(const char *dir);     /* that the file system gave to the files in it */
uint64_t bench_live_bytes(struct store *store); /* of all bodies */

/* Is there room for so many bytes more where the stores lie, and `keep_bytes` besides? Says where not. */
bool bench_disk_has_room(const struct bench_options *options, uint64_t bytes, const char *part);

enum bench_place {
    BENCH_PLACE_BY_SIZE, /* the store's own choice */
    BENCH_PLACE_LMDB,
    BENCH_PLACE_FILE,
};

/* Writes objects as the disk thread does. */
struct bench_writer {
    struct store *store;
    enum bench_place place;
    struct store_op *ops;
    struct record *records;
    char *slices; /* SLICE_BYTES a record, for those that need one */
    size_t op_count;
    char *bytes;
    size_t len;
    size_t batch_bytes;
    struct arena keys;
    uint64_t payload_bytes; /* of bodies, written so far */
    uint64_t objects;
    uint64_t refused;    /* batches */
    uint64_t *commit_ns; /* how long each took */
    size_t commit_count;
    size_t commit_capacity;
};

void bench_writer_init(struct bench_writer *writer, struct store *store);
void bench_writer_finish(struct bench_writer *writer);
void bench_put(struct bench_writer *writer, uint64_t number, uint64_t body_len);
void bench_flush(struct bench_writer *writer);

struct key bench_key(struct store *store, uint64_t number, struct arena *arena);

/* The `part` (0 to 1) of the commits took no longer than this, in ms. Sorts them. */
double bench_commit_ms(struct bench_writer *writer, double part);

/* ---- a store that is churned (store_churn.c) ---- */

struct bench_churn {
    const struct bench_options *options;
    uint64_t size_bytes;
    bool small_objects;
    struct store *store;
    struct bench_writer writer;
    uint64_t state; /* of chance */
    uint64_t number;
    const char *stopped; /* why it wrote less than it should have, or NULL */
    char dir[BENCH_PATH_BYTES];
};

void bench_churn_begin(struct bench_churn *churn, const struct bench_options *options, uint64_t size_bytes,
                       uint64_t memory_bytes, bool small_objects);
void bench_churn_end(struct bench_churn *churn);

/* Writes bodies of so many bytes in all, or `stopped` says why not. Returns how many MB/s. */
double bench_churn_write(struct bench_churn *churn, uint64_t bytes, uint64_t until_ns);

/* The size, `options->turnovers` times, and rows of what that was like. */
void bench_churn_report(struct bench_churn *churn, const char *title, const char *ingest_aim);

/* "| label | figure | aim |" */
void bench_row(const char *label, const char *aim, const char *format, ...) __attribute__((format(printf, 3, 4)));
void bench_head(const char *title);

#endif
