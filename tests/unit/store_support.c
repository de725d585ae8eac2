/* store_support.c: see the header. */
#include "store_support.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "cache/vary.h"

enum { WORD = 8 };

static uint64_t mix(uint64_t value)
{
    value ^= value >> 30;
    value *= UINT64_C(0xBF58476D1CE4E5B9);
    value ^= value >> 27;
    value *= UINT64_C(0x94D049BB133111EB);
    return value ^ (value >> 31);
}

uint64_t support_random(uint64_t *state)
{
    *state += UINT64_C(0x9E3779B97F4A7C15);
    return mix(*state);
}

void support_dir_make(char out_dir[SUPPORT_PATH_BYTES])
{
    const char *base = getenv("TMPDIR");
    int len = snprintf(out_dir, SUPPORT_PATH_BYTES, "%s/larder-store-XXXXXX", base == NULL ? "/tmp" : base);

    REQUIRE(len < SUPPORT_PATH_BYTES);
    REQUIRE(mkdtemp(out_dir) != NULL);
}

void support_dir_remove(const char *dir)
{
    DIR *listing = opendir(dir);

    if (listing == NULL) {
        return;
    }
    for (const struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) {
            (void)unlinkat(dirfd(listing), entry->d_name, 0); /* rmdir will tell */
        }
    }
    closedir(listing);
    (void)rmdir(dir); /* a test has failed already if something is left */
}

uint64_t support_disk_bytes(const char *dir)
{
    enum { STAT_BLOCK_BYTES = 512 };
    uint64_t bytes = 0;
    DIR *listing = opendir(dir);

    REQUIRE(listing != NULL);
    for (const struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        struct stat status;
        if (fstatat(dirfd(listing), entry->d_name, &status, 0) == 0 && S_ISREG(status.st_mode)) {
            bytes += (uint64_t)status.st_blocks * STAT_BLOCK_BYTES;
        }
    }
    closedir(listing);
    return bytes;
}

enum err support_try_open(const char *dir, uint64_t size_bytes, struct store **out_store, struct buf *note)
{
    struct store_options options = {.dir = dir, .size_bytes = size_bytes, .max_variants = 4};

    return store_open(&options, out_store, note);
}

struct store *support_open(const char *dir, uint64_t size_bytes)
{
    struct store *store = NULL;
    struct buf note;

    buf_init(&note, 1024);
    enum err error = support_try_open(dir, size_bytes, &store, &note);
    if (error != ERR_OK) {
        fprintf(stderr, "%s: %.*s\n", err_name(error), SPAN_ARG(buf_span(&note)));
    }
    REQUIRE(error == ERR_OK);
    buf_finish(&note);
    return store;
}

struct key support_key(struct store *store, unsigned number, struct arena *arena)
{
    struct key key = {0};

    REQUIRE(arena_format(arena, &key.text, "GET http://test.example/objects/%u", number));
    key.hash = key_hash_of(key.text, store_secret(store));
    return key;
}

/* The eight bytes at `word * 8` of a body. */
static uint64_t body_word(unsigned number, unsigned version, uint64_t word)
{
    return mix(((uint64_t)number << 32 | version) + word * UINT64_C(0x9E3779B97F4A7C15));
}

static char body_byte(unsigned number, unsigned version, uint64_t at)
{
    return (char)(body_word(number, version, at / WORD) >> (at % WORD * WORD) & 0xff);
}

static void body_write(char *out, unsigned number, unsigned version, size_t len)
{
    size_t at = 0;

    for (; at + WORD <= len; at += WORD) {
        uint64_t word = body_word(number, version, at / WORD);
        memcpy(out + at, &word, WORD); /* little-endian machines only, as body_byte reads it */
    }
    for (; at < len; at++) {
        out[at] = body_byte(number, version, at);
    }
}

static void digest_write(uint8_t out_digest[DIGEST_BYTES], const struct support_object *object)
{
    char *body = malloc(object->body_len + 1);
    XXH128_canonical_t digest;

    REQUIRE(body != NULL);
    body_write(body, object->number, object->version, object->body_len);
    XXH128_canonicalFromHash(&digest, XXH3_128bits(body, object->body_len));
    memcpy(out_digest, digest.digest, DIGEST_BYTES);
    free(body);
}

static void head_write_to(struct buf *out, const struct support_object *object)
{
    buf_format(out, "X-Number: %u\r\nX-Version: %u\r\nX-Length: %zu\r\nX-Padding: ", object->number, object->version,
               object->body_len);
    for (size_t i = 0; i < object->head_padding; i++) {
        buf_add_byte(out, (char)('a' + i % 26));
    }
    buf_add_text(out, "\r\n");
}

static void request_of(struct headers *out_headers, const char *variant, struct arena *arena)
{
    headers_init(out_headers, arena);
    if (variant != NULL) {
        REQUIRE(headers_add(out_headers, SPAN("X-Variant"), span_of(variant)));
    }
}

/* [key][head][body], with room enough for any of them. */
static struct buf stream_of(const struct support_object *object, struct store *store, struct arena *arena)
{
    struct buf stream;
    struct key key = support_key(store, object->number, arena);

    buf_init(&stream, SIZE_MAX / 2);
    buf_add(&stream, key.text);
    head_write_to(&stream, object);
    char *body = buf_reserve(&stream, object->body_len + 1);
    REQUIRE(body != NULL);
    body_write(body, object->number, object->version, object->body_len);
    stream.len += object->body_len;
    REQUIRE(!stream.failed);
    return stream;
}

struct record support_record(const struct support_object *object)
{
    struct buf head;
    struct record record = {
        .status = 200,
        .inputs = {.request_ms = 1000, .response_ms = 2000, .date_s = 2, .status = 200},
        .body_len = object->body_len,
    };

    buf_init(&head, 1024 * 1024);
    head_write_to(&head, object);
    record.head_len = (uint32_t)head.len;
    record.key_len = (uint32_t)snprintf(NULL, 0, "GET http://test.example/objects/%u", object->number);
    buf_finish(&head);
    digest_write(record.digest, object);
    return record;
}

static struct span selection_of(const struct support_object *object, struct arena *arena)
{
    struct headers response;
    struct headers request;
    struct buf encoded;
    struct span selection = {NULL, 0};

    if (object->variant == NULL) {
        return selection;
    }
    headers_init(&response, arena);
    REQUIRE(headers_add(&response, SPAN("Vary"), SPAN("X-Variant")));
    request_of(&request, object->variant, arena);
    buf_init(&encoded, VARY_MAX_BYTES);
    REQUIRE(vary_select(&response, NULL, &request, arena, &encoded) == VARY_SOME);
    REQUIRE(arena_copy(arena, buf_span(&encoded), &selection));
    buf_finish(&encoded);
    return selection;
}

/* Whole pieces that make at most one batch. */
static size_t step_bytes(const struct store *store)
{
    return (size_t)(store_batch_bytes(store) / STORE_PIECE_BYTES * STORE_PIECE_BYTES);
}

/* Applies all of the stream but what fits into the last batch; that is left in `*rest`. */
static enum err put_front(struct store *store, uint64_t body_id, size_t prefix_len, struct span *rest,
                          uint32_t *out_piece)
{
    size_t step = step_bytes(store);
    enum err error = ERR_OK;

    *out_piece = 0;
    while (rest->len > step && error == ERR_OK) {
        struct store_op op = {.kind = STORE_OP_PIECES,
                              .body_id = body_id,
                              .first_piece = *out_piece,
                              .bytes = span_take(*rest, step),
                              .prefix_len = prefix_len};
        error = store_apply(store, &op, 1);
        *out_piece += (uint32_t)(step / STORE_PIECE_BYTES);
        *rest = span_skip(*rest, step);
    }
    return error;
}

enum err support_put_pieces(struct store *store, const struct support_object *object, uint64_t body_id)
{
    struct arena arena;
    uint32_t piece;

    arena_init(&arena, SUPPORT_ARENA_BYTES);
    struct buf stream = stream_of(object, store, &arena);
    struct span rest = buf_span(&stream);
    enum err error = put_front(store, body_id, stream.len - object->body_len, &rest, &piece);
    if (error == ERR_OK) {
        struct store_op op = {.kind = STORE_OP_PIECES,
                              .body_id = body_id,
                              .first_piece = piece,
                              .bytes = rest,
                              .prefix_len = stream.len - object->body_len};
        error = store_apply(store, &op, 1);
    }
    buf_finish(&stream);
    arena_finish(&arena);
    return error;
}

enum err support_put_both(struct store *store, const struct support_object *first, const struct support_object *second)
{
    enum { STEP = 16 * STORE_PIECE_BYTES };
    const struct support_object *objects[] = {first, second};
    struct store_op ops[2];
    struct record records[2];
    struct buf streams[2];
    struct arena arena;
    enum err error = ERR_OK;

    arena_init(&arena, SUPPORT_ARENA_BYTES);
    for (size_t i = 0; i < 2; i++) {
        streams[i] = stream_of(objects[i], store, &arena);
        ops[i] = (struct store_op){.kind = STORE_OP_PIECES,
                                   .body_id = store_new_body_id(store),
                                   .prefix_len = streams[i].len - objects[i]->body_len};
    }
    for (size_t at = 0; (at < streams[0].len || at < streams[1].len) && error == ERR_OK; at += STEP) {
        for (size_t i = 0; i < 2; i++) {
            ops[i].first_piece = (uint32_t)(at / STORE_PIECE_BYTES);
            ops[i].bytes = span_take(span_skip(buf_span(&streams[i]), at < streams[i].len ? at : streams[i].len), STEP);
        }
        error = store_apply(store, ops, 2);
    }
    for (size_t i = 0; i < 2; i++) {
        records[i] = support_record(objects[i]);
        ops[i] = (struct store_op){.kind = STORE_OP_PUBLISH,
                                   .body_id = ops[i].body_id,
                                   .key = support_key(store, objects[i]->number, &arena),
                                   .record = &records[i]};
    }
    error = error == ERR_OK ? store_apply(store, ops, 2) : error;
    REQUIRE(error != ERR_OK || (ops[0].done && ops[1].done));
    buf_finish(&streams[0]);
    buf_finish(&streams[1]);
    arena_finish(&arena);
    return error;
}

enum err support_put(struct store *store, const struct support_object *object, uint64_t *out_object_id,
                     uint64_t *out_body_id)
{
    struct arena arena;
    uint64_t body_id = store_new_body_id(store);
    struct record record = support_record(object);
    uint32_t piece;

    arena_init(&arena, SUPPORT_ARENA_BYTES);
    struct buf stream = stream_of(object, store, &arena);
    struct span rest = buf_span(&stream);
    enum err error = put_front(store, body_id, stream.len - object->body_len, &rest, &piece);
    if (error == ERR_OK) {
        struct store_op ops[] = {
            {.kind = STORE_OP_PIECES,
             .body_id = body_id,
             .first_piece = piece,
             .bytes = rest,
             .prefix_len = stream.len - object->body_len},
            {.kind = STORE_OP_PUBLISH,
             .body_id = body_id,
             .key = support_key(store, object->number, &arena),
             .selection = selection_of(object, &arena),
             .record = &record},
        };
        error = store_apply(store, ops, ARRAY_LEN(ops));
        REQUIRE(error != ERR_OK || ops[1].done);
        if (out_object_id != NULL) {
            *out_object_id = ops[1].object_id;
        }
    }
    if (error != ERR_OK) {
        struct store_op drop = {.kind = STORE_OP_DROP_BODY, .body_id = body_id};
        enum err second = store_apply(store, &drop, 1);
        error = error == ERR_OK ? second : error; /* the first error is what counts */
    }
    if (out_body_id != NULL) {
        *out_body_id = body_id;
    }
    buf_finish(&stream);
    arena_finish(&arena);
    return error;
}

enum err support_put_many(struct store *store, const struct support_object *objects, size_t count)
{
    struct arena arena;
    struct store_op ops[SUPPORT_MANY * 2];
    struct record records[SUPPORT_MANY];
    struct buf streams[SUPPORT_MANY];

    REQUIRE(count <= SUPPORT_MANY);
    arena_init(&arena, SUPPORT_ARENA_BYTES);
    for (size_t i = 0; i < count; i++) {
        uint64_t body_id = store_new_body_id(store);
        streams[i] = stream_of(&objects[i], store, &arena);
        records[i] = support_record(&objects[i]);
        ops[2 * i] = (struct store_op){.kind = STORE_OP_PIECES,
                                       .body_id = body_id,
                                       .bytes = buf_span(&streams[i]),
                                       .prefix_len = streams[i].len - objects[i].body_len};
        ops[2 * i + 1] = (struct store_op){.kind = STORE_OP_PUBLISH,
                                           .body_id = body_id,
                                           .key = support_key(store, objects[i].number, &arena),
                                           .selection = selection_of(&objects[i], &arena),
                                           .record = &records[i]};
    }
    enum err error = store_apply(store, ops, 2 * count);
    for (size_t i = 0; i < count; i++) {
        buf_finish(&streams[i]);
    }
    arena_finish(&arena);
    return error;
}

enum store_found support_find(struct store_reader *reader, struct store *store, unsigned number, const char *variant,
                              struct arena *arena, struct stored *out_stored)
{
    struct key key = support_key(store, number, arena);
    struct headers request;

    request_of(&request, variant, arena);
    return store_find(reader, &key, &request, arena, out_stored);
}

struct verifier {
    unsigned number;
    unsigned version;
    uint64_t at; /* of the body */
    bool wrong;
};

static void verify_bytes(struct verifier *verifier, struct span bytes)
{
    size_t i = 0;

    while (i < bytes.len) {
        uint64_t word = body_word(verifier->number, verifier->version, verifier->at / WORD);
        if (verifier->at % WORD == 0 && bytes.len - i >= WORD) {
            verifier->wrong = verifier->wrong || memcmp(bytes.data + i, &word, WORD) != 0;
            i += WORD;
            verifier->at += WORD;
        } else {
            char byte = (char)(word >> (verifier->at % WORD * WORD) & 0xff);
            verifier->wrong = verifier->wrong || bytes.data[i] != byte;
            i++;
            verifier->at++;
        }
    }
}

static size_t on_read(void *arg, const struct span *runs, size_t count) /* store_read_fn */
{
    size_t used = 0;

    for (size_t i = 0; i < count; i++) {
        verify_bytes(arg, runs[i]);
        used += runs[i].len;
    }
    return used;
}

/* The number behind `name` in a head, or 0. */
static uint64_t number_in(struct span head, struct span name)
{
    struct span line;
    uint64_t value = 0;

    while (span_split(&head, '\n', &line)) {
        if (span_starts_with(line, name)) {
            REQUIRE(span_to_u64(span_trim(span_take(span_skip(line, name.len), line.len - name.len - 1)), &value));
        }
    }
    return value;
}

bool support_verify(struct store_reader *reader, const struct stored *stored, unsigned number, unsigned *out_version,
                    enum err *out_error)
{
    const struct record *record = &stored->record;
    unsigned version = (unsigned)number_in(stored->head, SPAN("X-Version:"));
    struct verifier verifier = {.number = number, .version = version};
    uint64_t prefix_len = (uint64_t)record->key_len + record->head_len;

    *out_version = version;
    *out_error = ERR_OK;
    if (number_in(stored->head, SPAN("X-Number:")) != number ||
        number_in(stored->head, SPAN("X-Length:")) != record->body_len) {
        return false;
    }
    verify_bytes(&verifier, stored->body_start);
    while (verifier.at < record->body_len && !verifier.wrong && *out_error == ERR_OK) {
        size_t used;
        *out_error = store_read(reader, record->body_id, prefix_len + verifier.at, 200000, on_read, &verifier, &used);
    }
    return !verifier.wrong && verifier.at <= record->body_len;
}

enum support_outcome support_check(struct store_reader *reader, struct store *store, unsigned number,
                                   const char *variant, struct arena *arena, unsigned *out_version)
{
    struct stored stored;
    enum err error;

    if (support_find(reader, store, number, variant, arena, &stored) != STORE_FOUND) {
        return SUPPORT_ABSENT;
    }
    bool good = support_verify(reader, &stored, number, out_version, &error);
    if (stored.pinned) {
        store_unpin(store, stored.record.body_id);
    }
    return !good ? SUPPORT_WRONG : error != ERR_OK ? SUPPORT_CUT : SUPPORT_GOOD;
}

enum err support_remove(struct store *store, unsigned number)
{
    struct arena arena;

    arena_init(&arena, SUPPORT_ARENA_BYTES);
    struct store_op op = {.kind = STORE_OP_REMOVE_KEY, .key = support_key(store, number, &arena)};
    enum err error = store_apply(store, &op, 1);
    arena_finish(&arena);
    return error;
}

enum err support_settle(struct store *store)
{
    enum err error = ERR_OK;

    while (store_wants_apply(store) && error == ERR_OK) {
        error = store_apply(store, NULL, 0);
    }
    return error;
}
