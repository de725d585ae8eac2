/* resolver.c: which addresses to try, and when to look again.
 *
 * Happy path: the first request finds no addresses and starts a look-up; its end sets the addresses, families in turn
 *             (RFC 8305 §4). When their time is up the next request starts another one behind.
 * Failures:   - a look-up fails and there are addresses: they serve on; logged once; tried again after a second.
 *             - it fails and there are none: told with ERR_RESOLVE; the next request starts another. */
#include "proxy/origin/resolver.h"

#include <netinet/in.h>
#include <string.h>

#include "http/check.h"
#include "proxy/io/log.h"
#include "proxy/server/worker.h"

enum { RETRY_MS = 1000 }; /* after a failed look-up, or when no address answers */

static bool set_numeric(struct resolver *resolver);
static enum err start(struct resolver *resolver);
static void on_answer(void *arg, int code, const struct addrinfo *list);
static void set_addresses(struct resolver *resolver, const struct addrinfo *list);
static const struct addrinfo *next_of_family(const struct addrinfo *from, int family, bool same);
static void add_address(struct resolver *resolver, const struct addrinfo *info);
static void prefer(struct resolver *resolver, const struct sockaddr_storage *address);

void resolver_init(struct resolver *resolver, struct worker *worker, const struct origin_url *url,
                   void (*answered)(struct resolver *resolver, enum err error))
{
    *resolver = (struct resolver){.worker = worker, .url = url, .answered = answered, .generation = 1};
    resolver->numeric = set_numeric(resolver);
}

static uint64_t now_ms(const struct resolver *resolver)
{
    return uv_now(&resolver->worker->loop);
}

enum err resolver_refresh(struct resolver *resolver)
{
    if (resolver->numeric || resolver->lookup != NULL || (resolver->count > 0 && now_ms(resolver) < resolver->due_ms)) {
        return ERR_OK;
    }
    enum err error = start(resolver);
    return resolver->count > 0 ? ERR_OK : error;
}

const struct sockaddr *resolver_pick(const struct resolver *resolver, struct resolver_tries *tries)
{
    if (tries->generation != resolver->generation) {
        tries->generation = resolver->generation;
        tries->tried = 0;
    }
    for (unsigned i = 0; i < resolver->count && tries->count < RESOLVER_MAX_ADDRESSES; i++) {
        unsigned place = resolver->order[i];

        if ((tries->tried & (1u << place)) == 0) {
            tries->tried |= 1u << place;
            tries->last = place;
            tries->count++;
            return (const struct sockaddr *)&resolver->addresses[place];
        }
    }
    return NULL;
}

unsigned resolver_untried(const struct resolver *resolver, const struct resolver_tries *tries)
{
    unsigned untried = 0;

    for (unsigned place = 0; place < resolver->count; place++) {
        if (tries->generation != resolver->generation || (tries->tried & (1u << place)) == 0) {
            untried++;
        }
    }
    return untried;
}

void resolver_demote(struct resolver *resolver, const struct resolver_tries *tries)
{
    if (tries->generation != resolver->generation) {
        return; /* the addresses are other ones by now */
    }
    for (unsigned i = 0; i + 1 < resolver->count; i++) {
        if (resolver->order[i] == tries->last) {
            memmove(&resolver->order[i], &resolver->order[i + 1],
                    (resolver->count - i - 1) * sizeof resolver->order[0]);
            resolver->order[resolver->count - 1] = tries->last;
            return;
        }
    }
}

void resolver_doubt(struct resolver *resolver)
{
    uint64_t soon_ms = now_ms(resolver) + RETRY_MS;

    if (resolver->due_ms > soon_ms) {
        resolver->due_ms = soon_ms;
    }
}

void resolver_stop(struct resolver *resolver)
{
    resolver->stopped = true;
    lookup_abandon(resolver->lookup);
    resolver->lookup = NULL;
}

static bool set_numeric(struct resolver *resolver)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)&resolver->addresses[0];
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&resolver->addresses[0];

    if (uv_ip4_addr(resolver->url->host, resolver->url->port, v4) < 0 &&
        uv_ip6_addr(resolver->url->host, resolver->url->port, v6) < 0) {
        return false;
    }
    resolver->order[0] = 0;
    resolver->count = 1;
    return true;
}

static enum err start(struct resolver *resolver)
{
    if (resolver->stopped) {
        return ERR_RESOLVE;
    }
    resolver->lookup = lookup_start(resolver->url->host, &resolver->worker->mailbox, on_answer, resolver);
    return resolver->lookup != NULL ? ERR_OK : ERR_RESOLVE;
}

static void on_answer(void *arg, int code, const struct addrinfo *list) /* lookup_start's done */
{
    struct resolver *resolver = arg;
    enum err error = ERR_RESOLVE;

    resolver->lookup = NULL;
    if (code == 0) {
        set_addresses(resolver, list);
        error = resolver->count > 0 ? ERR_OK : ERR_RESOLVE;
    } else {
        resolver->due_ms = now_ms(resolver) + RETRY_MS;
    }
    if (error != ERR_OK && resolver->count > 0 && !resolver->failing) {
        log_warn("origin name does not resolve, its old addresses go on origin=%s error=%s",
                 log_quoted(span_of(resolver->url->text)).text, log_quoted(span_of(gai_strerror(code))).text);
    }
    resolver->failing = error != ERR_OK;
    resolver->answered(resolver, error);
}

/* The families in turn, starting with the one the system put first; the address that is in use stays in front. */
static void set_addresses(struct resolver *resolver, const struct addrinfo *list)
{
    struct sockaddr_storage current = {0};
    int family = list == NULL ? AF_UNSPEC : list->ai_family;
    const struct addrinfo *first = next_of_family(list, family, true);
    const struct addrinfo *second = next_of_family(list, family, false);

    if (resolver->count > 0) {
        current = resolver->addresses[resolver->order[0]];
    }
    resolver->count = 0;
    resolver->generation++;
    resolver->due_ms = now_ms(resolver) + resolver->worker->config->server.resolve_ttl_ms;
    while (first != NULL || second != NULL) {
        if (first != NULL) {
            add_address(resolver, first);
            first = next_of_family(first->ai_next, family, true);
        }
        if (second != NULL) {
            add_address(resolver, second);
            second = next_of_family(second->ai_next, family, false);
        }
    }
    prefer(resolver, &current);
}

/* From `from` on: an IP address that is (or with `same` false: is not) of this family. */
static const struct addrinfo *next_of_family(const struct addrinfo *from, int family, bool same)
{
    for (; from != NULL; from = from->ai_next) {
        bool is_ip = from->ai_family == AF_INET || from->ai_family == AF_INET6;

        if (is_ip && (from->ai_family == family) == same) {
            return from;
        }
    }
    return NULL;
}

static void add_address(struct resolver *resolver, const struct addrinfo *info)
{
    struct sockaddr_storage address = {0};

    if (resolver->count == RESOLVER_MAX_ADDRESSES || info->ai_addrlen > sizeof address) {
        return;
    }
    memcpy(&address, info->ai_addr, info->ai_addrlen);
    if (info->ai_family == AF_INET) {
        ((struct sockaddr_in *)&address)->sin_port = htons(resolver->url->port);
    } else {
        ((struct sockaddr_in6 *)&address)->sin6_port = htons(resolver->url->port);
    }
    for (unsigned i = 0; i < resolver->count; i++) {
        if (memcmp(&resolver->addresses[i], &address, sizeof address) == 0) {
            return; /* /etc/hosts may say it twice */
        }
    }
    resolver->order[resolver->count] = resolver->count;
    resolver->addresses[resolver->count++] = address;
}

static void prefer(struct resolver *resolver, const struct sockaddr_storage *address)
{
    for (unsigned i = 0; i < resolver->count; i++) {
        if (memcmp(&resolver->addresses[resolver->order[i]], address, sizeof *address) == 0) {
            unsigned place = resolver->order[i];

            memmove(&resolver->order[1], &resolver->order[0], i * sizeof resolver->order[0]);
            resolver->order[0] = place;
            return;
        }
    }
}
