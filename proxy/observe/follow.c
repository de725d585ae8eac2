/* follow.c: see follow.h.
 *
 * A line in a shard's buffer begins with a byte that has a bit for each follower it is for: a follower's place. Before
 * a place is given back the buffers are emptied, so that nobody gets a line that was meant for another. */
#include "proxy/observe/follow.h"

#include <pthread.h>
#include <stdlib.h>

#include "http/check.h"
#include "http/uri.h"

enum {
    SHARD_BYTES = 512 * 1024, /* lines that wait for the main thread */
    URL_BYTES = ACCESS_TEXT_MAX_BYTES * 2,
    ADDRESS_BYTES = 64, /* a longer text is none */
};

struct follow_shard {
    struct follow *follow;
    struct follow_shard *next;
    struct message message; /* there are lines */
    atomic_bool active;     /* somebody follows */
    pthread_mutex_t mutex;  /* guards what follows */
    struct follow_filter filters[FOLLOWERS_MAX];
    unsigned places; /* a bit for each follower */
    struct buf lines;
    uint64_t lost[FOLLOWERS_MAX];
};

struct follow {
    struct mailbox *mailbox;
    struct follow_shard *shards;
    struct follower *followers[FOLLOWERS_MAX]; /* NULL: the place is free */
    struct buf spare;                          /* exchanged for a shard's lines */
};

static void on_lines(struct message *message);

struct follow *follow_create(struct mailbox *mailbox)
{
    struct follow *follow = calloc(1, sizeof(*follow));

    if (follow != NULL) {
        follow->mailbox = mailbox;
        buf_init(&follow->spare, SHARD_BYTES);
    }
    return follow;
}

void follow_destroy(struct follow *follow)
{
    if (follow != NULL) {
        REQUIRE(follow->shards == NULL);
        buf_finish(&follow->spare);
        free(follow);
    }
}

static unsigned places_of(const struct follow *follow)
{
    unsigned places = 0;

    for (unsigned i = 0; i < FOLLOWERS_MAX; i++) {
        places |= follow->followers[i] != NULL ? 1U << i : 0;
    }
    return places;
}

struct follow_shard *follow_shard_create(struct follow *follow)
{
    struct follow_shard *shard = calloc(1, sizeof(*shard));

    if (shard == NULL) {
        return NULL;
    }
    REQUIRE(pthread_mutex_init(&shard->mutex, NULL) == 0);
    buf_init(&shard->lines, SHARD_BYTES);
    shard->follow = follow;
    shard->message.run = on_lines;
    shard->places = places_of(follow);
    for (unsigned i = 0; i < FOLLOWERS_MAX; i++) {
        if (follow->followers[i] != NULL) {
            shard->filters[i] = follow->followers[i]->filter;
        }
    }
    atomic_init(&shard->active, shard->places != 0);
    shard->next = follow->shards;
    follow->shards = shard;
    return shard;
}

/* ---- the worker ---- */

bool follow_is_active(const struct follow_shard *shard)
{
    return shard != NULL && atomic_load_explicit(&shard->active, memory_order_relaxed);
}

static bool url_fits(const struct follow_filter *filter, const struct access_entry *entry)
{
    struct span glob = span_of(filter->url_glob);
    char memory[URL_BYTES];
    struct buf url;

    if (glob.len == 0) {
        return true;
    }
    buf_init_in(&url, memory, sizeof memory);
    buf_add(&url, entry->scheme);
    buf_add_text(&url, "://");
    buf_add(&url, entry->host);
    buf_add(&url, span_take(entry->target, ACCESS_TEXT_MAX_BYTES));
    return !url.failed && uri_matches_pattern(buf_span(&url), glob);
}

/* The other side of the connection, or for whom it asks. */
static bool client_fits(const struct network *network, const struct access_entry *entry)
{
    char named[ADDRESS_BYTES];

    if (network_has(network, entry->client)) {
        return true;
    }
    if (entry->forwarded_for.len == 0 || entry->forwarded_for.len >= sizeof named) {
        return false;
    }
    memcpy(named, entry->forwarded_for.data, entry->forwarded_for.len);
    named[entry->forwarded_for.len] = '\0';
    return network_has(network, named);
}

bool follow_filter_passes(const struct follow_filter *filter, const struct access_entry *entry)
{
    bool any_status = filter->status_first == 0;

    return (any_status || (entry->status >= filter->status_first && entry->status <= filter->status_last)) &&
           (!filter->by_outcome || entry->outcome == filter->outcome) &&
           (!filter->by_reason || entry->reason == filter->reason || entry->store_reason == filter->reason) &&
           (!filter->by_client || client_fits(&filter->client, entry)) && url_fits(filter, entry);
}

void follow_offer(struct follow_shard *shard, const struct access_entry *entry)
{
    unsigned places = 0;

    (void)pthread_mutex_lock(&shard->mutex);
    for (unsigned i = 0; i < FOLLOWERS_MAX; i++) {
        if ((shard->places & 1U << i) != 0 && follow_filter_passes(&shard->filters[i], entry)) {
            places |= 1U << i;
        }
    }
    size_t before = shard->lines.len;
    if (places != 0) {
        buf_add_byte(&shard->lines, (char)places);
        access_log_format(ACCESS_JSON, entry, &shard->lines);
    }
    if (shard->lines.failed) {
        shard->lines.len = before; /* whole lines only */
        shard->lines.failed = false;
        for (unsigned i = 0; i < FOLLOWERS_MAX; i++) {
            shard->lost[i] += (places & 1U << i) != 0;
        }
    }
    bool wakes = before == 0 && shard->lines.len > 0;
    (void)pthread_mutex_unlock(&shard->mutex);
    if (wakes) {
        mailbox_post(shard->follow->mailbox, &shard->message);
    }
}

/* ---- the main thread ---- */

static void hand_out(struct follow *follow, struct span lines)
{
    while (lines.len > 0) {
        unsigned places = (unsigned char)lines.data[0];
        struct span line = span_skip(lines, 1);
        line = span_take(line, span_find(line, '\n') + 1);
        for (unsigned i = 0; i < FOLLOWERS_MAX; i++) {
            if ((places & 1U << i) != 0 && follow->followers[i] != NULL) {
                follow->followers[i]->take(follow->followers[i], line);
            }
        }
        lines = span_skip(lines, 1 + line.len);
    }
}

static void drain(struct follow_shard *shard)
{
    struct follow *follow = shard->follow;
    struct buf taken;

    (void)pthread_mutex_lock(&shard->mutex);
    taken = shard->lines;
    shard->lines = follow->spare;
    for (unsigned i = 0; i < FOLLOWERS_MAX; i++) {
        if (follow->followers[i] != NULL) {
            follow->followers[i]->lost += shard->lost[i];
        }
        shard->lost[i] = 0;
    }
    (void)pthread_mutex_unlock(&shard->mutex);
    hand_out(follow, buf_span(&taken));
    buf_clear(&taken);
    follow->spare = taken;
}

static void on_lines(struct message *message) /* message.run */
{
    drain(CONTAINER_OF(message, struct follow_shard, message));
}

void follow_retire(struct follow_shard *shard)
{
    if (shard == NULL) {
        return;
    }
    struct follow_shard **at = &shard->follow->shards;

    drain(shard);
    mailbox_cancel(shard->follow->mailbox, &shard->message);
    while (*at != shard) {
        at = &(*at)->next;
    }
    *at = shard->next;
    buf_finish(&shard->lines);
    (void)pthread_mutex_destroy(&shard->mutex);
    free(shard);
}

/* The shards learn who follows. */
static void tell(struct follow *follow, unsigned place)
{
    unsigned places = places_of(follow);

    for (struct follow_shard *shard = follow->shards; shard != NULL; shard = shard->next) {
        (void)pthread_mutex_lock(&shard->mutex);
        shard->places = places;
        if (follow->followers[place] != NULL) {
            shard->filters[place] = follow->followers[place]->filter;
        }
        atomic_store_explicit(&shard->active, places != 0, memory_order_relaxed);
        (void)pthread_mutex_unlock(&shard->mutex);
    }
}

bool follow_add(struct follow *follow, struct follower *follower)
{
    for (unsigned i = 0; i < FOLLOWERS_MAX; i++) {
        if (follow->followers[i] == NULL) {
            follow->followers[i] = follower;
            tell(follow, i);
            return true;
        }
    }
    return false;
}

void follow_remove(struct follow *follow, struct follower *follower)
{
    for (unsigned i = 0; i < FOLLOWERS_MAX; i++) {
        if (follow->followers[i] == follower) {
            follow->followers[i] = NULL;
            tell(follow, i);
        }
    }
    for (struct follow_shard *shard = follow->shards; shard != NULL; shard = shard->next) {
        drain(shard);
    }
}
