/* store_get.c: `larder store get KEY`: a response as it is stored, with the Age and Content-Length that it would have
 * now. It is not what a client gets: on the way out larder adds fields of its own, and takes others away. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cache/freshness.h"
#include "cache/head.h"
#include "cache/search.h"
#include "http/message.h"
#include "http/token.h"
#include "proxy/commands/store_command.h"
#include "proxy/io/log.h"
#include "proxy/server/worker.h"

enum { ARENA_BYTES = 256 * 1024 * 1024 /* heads of all variants of a key */ };

struct selected {
    struct purge_journal *purges;
    struct span key;
    uint64_t wanted; /* 1 is the newest; 0: the newest that no purge made dead */
    uint64_t count;
    uint64_t object_id; /* wanted where not 0: what store_find selected */
    bool found;
    bool dead; /* it would have been, but was purged */
    enum purge_effect purged;
    struct record record;
    struct span head;
};

static bool on_variant(void *arg, const struct stored *stored) /* store_variant_fn */
{
    struct selected *selected = arg;
    enum purge_effect purged =
        purge_journal_judge(selected->purges, selected->key, stored->head, stored->record.purge_sequence).effect;

    selected->count++;
    bool fits = selected->object_id != 0 ? stored->record.object_id == selected->object_id
                                         : selected->wanted == 0 || selected->count == selected->wanted;
    if (fits && purged == PURGED_HARD) {
        selected->dead = true;
    } else if (fits) {
        selected->found = true;
        selected->purged = purged;
        selected->record = stored->record;
        selected->head = stored->head;
        selected->wanted = selected->count;
    }
    return true;
}

static bool read_fields(struct store_context *context, struct arena *arena, struct headers *out_headers)
{
    headers_init(out_headers, arena);
    for (size_t i = 0; i < context->arguments->field_count; i++) {
        const char *text = context->arguments->fields[i];
        const char *colon = strchr(text, ':');
        struct span name = {text, colon != NULL ? (size_t)(colon - text) : 0};
        if (colon == NULL || !is_token(name) || !headers_add(out_headers, name, span_trim(span_of(colon + 1)))) {
            buf_format(context->error, "store get: -H: expected a field such as 'Accept-Encoding: gzip', found %s",
                       log_quoted(span_of(text)).text);
            return false;
        }
    }
    return true;
}

/* A URL, with or without the method in front; "REC " of a recording. */
static enum err read_key(const char *word, uint64_t secret, struct arena *arena, struct key *out_key)
{
    struct span text = span_of(word);
    bool recording = key_is_recording(text);
    struct uri uri;

    enum err error = uri_parse_absolute(key_is_response(text) ? key_url(text) : text, arena, &uri);
    if (error != ERR_OK) {
        return error;
    }
    bool made = recording ? key_of_recording(&uri, secret, arena, out_key) : key_of_uri(&uri, secret, arena, out_key);
    return made ? ERR_OK : ERR_ARENA_FULL;
}

static bool make_key(struct store_context *context, struct store *store, struct arena *arena, struct key *out_key)
{
    const char *word = context->arguments->word;
    enum err error = read_key(word, store_secret(store), arena, out_key);

    if (error == ERR_BAD_TARGET || error == ERR_BAD_HOST) {
        buf_format(context->error, "store get: expected a URL such as http://127.0.0.1:8080/page, found %s",
                   log_quoted(span_of(word)).text);
    } else if (error != ERR_OK) {
        (void)store_context_fail(context, error); /* the status is the caller's, and the same */
    }
    return error == ERR_OK;
}

struct serving {
    const struct uri *uri;
    struct span key;
    struct arena *arena;
    bool serves;
};

static bool on_shared(void *arg, const struct stored *stored) /* store_variant_fn */
{
    struct serving *serving = arg;
    struct headers headers;

    serving->serves = head_read(stored->head, serving->arena, &headers) == ERR_OK &&
                      search_serves(serving->key, &headers, serving->uri, serving->arena);
    return !serving->serves;
}

/* As a request finds it where a rule listens to No-Vary-Search: the key that the path's responses ask for, if what lies
 * under it serves the URL. Else `key` stays. */
static void choose_shared(struct store *store, struct store_reader *reader, struct arena *arena, struct key *key)
{
    struct headers nothing;
    struct stored hint;
    struct search search;
    struct key hint_key, shared;
    struct uri uri;

    headers_init(&nothing, arena);
    if (!key_is_of_uri(key->text) || uri_parse_absolute(key_url(key->text), arena, &uri) != ERR_OK ||
        !search_hint_key(&uri, store_secret(store), arena, &hint_key) ||
        store_find(reader, &hint_key, &nothing, arena, &hint) != STORE_FOUND) {
        return;
    }
    if (hint.pinned) {
        store_unpin_stored(store, &hint.record);
    }
    if (search_of_hint(&hint, arena, &search) && search_key(&search, &uri, store_secret(store), arena, &shared)) {
        struct serving serving = {.uri = &uri, .key = shared.text, .arena = arena};
        (void)store_each_variant(reader, &shared, arena, on_shared, &serving); /* `serves` says it */
        *key = serving.serves ? shared : *key;
    }
}

static bool write_all(void *arg, struct span bytes) /* store_take_fn */
{
    bool *failed = arg;

    *failed = fwrite(bytes.data, 1, bytes.len, stdout) != bytes.len;
    return !*failed;
}

static void print_head(const struct selected *selected)
{
    const struct record *record = &selected->record;

    printf("HTTP/1.1 %u %s\r\n", record->status, status_phrase(record->status));
    printf("%.*s", SPAN_ARG(selected->head));
    printf("Content-Length: %" PRIu64 "\r\nAge: %" PRId64 "\r\n\r\n", record->body_len,
           freshness_age_ms(&record->inputs, worker_now_ms()) / 1000);
}

static int print_response(struct store_context *context, struct store_reader *reader, const struct selected *selected)
{
    enum store_fault fault = STORE_FAULT_NONE;
    bool failed = false;

    if (!context->arguments->body_only) {
        print_head(selected);
    }
    if (!context->arguments->head_only && record_is_partial(&selected->record)) {
        fprintf(stderr, "larder: store get: only %" PRIu64 " of %" PRIu64 " bytes of the body are stored\n",
                store_body_bytes(&selected->record), selected->record.body_len);
        return STORE_EXIT_DAMAGE;
    }
    if (!context->arguments->head_only) {
        fault = store_read_body(reader, &selected->record, write_all, &failed);
    }
    if (failed) {
        return STORE_EXIT_OK; /* main() looks at standard output */
    }
    if (fault != STORE_FAULT_NONE) {
        fprintf(stderr, "larder: store get: what was printed is not whole: %s\n", store_fault_text(fault));
        return STORE_EXIT_DAMAGE;
    }
    return STORE_EXIT_OK;
}

static int fail_absent(struct store_context *context, const struct selected *selected)
{
    buf_format(context->error, "store get: %s %s%s",
               selected->dead        ? "what is stored under"
               : selected->count > 0 ? "there is no such variant of"
                                     : "nothing is stored under",
               log_quoted(key_url(key_without_mark(selected->key))).text,
               selected->dead ? " was purged, and waits to be deleted" : "");
    return STORE_EXIT_DAMAGE;
}

/* Which variant: by number, or by what a request selects. */
static int get(struct store_context *context, struct store *store, struct store_reader *reader,
               struct purge_journal *purges, struct arena *arena)
{
    const struct store_arguments *arguments = context->arguments;
    struct selected selected = {.purges = purges, .wanted = arguments->variant};
    struct headers request;
    struct stored stored;
    struct key key;

    if (!read_fields(context, arena, &request) || !make_key(context, store, arena, &key)) {
        return STORE_EXIT_FAILED;
    }
    choose_shared(store, reader, arena, &key);
    if (arguments->field_count > 0 && arguments->variant == 0) {
        if (store_find(reader, &key, &request, arena, &stored) == STORE_FOUND) {
            selected.object_id = stored.record.object_id;
            if (stored.pinned) {
                store_unpin_stored(store, &stored.record);
            }
        } else {
            selected.wanted = UINT64_MAX; /* none of them */
        }
    }
    selected.key = key.text;
    (void)store_each_variant(reader, &key, arena, on_variant, &selected); /* `found` says it */
    if (!selected.found) {
        return fail_absent(context, &selected);
    }
    if (selected.purged == PURGED_SOFT) {
        fprintf(stderr, "purged softly: it is stale\n");
    }
    if (selected.count > 1) {
        fprintf(stderr, "variant %" PRIu64 " of %" PRIu64 "\n", selected.wanted, selected.count);
    }
    return print_response(context, reader, &selected);
}

int store_get_run(struct store_context *context)
{
    struct store_reader *reader;
    struct store *store = store_context_look(context, &reader);
    struct arena arena;

    if (store == NULL) {
        return STORE_EXIT_FAILED;
    }
    struct purge_journal *purges;
    int status = STORE_EXIT_FAILED;
    if (store_context_purges(context, reader, &purges)) {
        arena_init(&arena, ARENA_BYTES);
        status = get(context, store, reader, purges, &arena);
        arena_finish(&arena);
        purge_journal_destroy(purges);
    }
    store_context_leave(store, reader);
    return status;
}
