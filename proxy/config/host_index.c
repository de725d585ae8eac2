/* host_index.c: lists sorted by the length of the name, then by its lower case, then by the sites' order.
 *
 * Happy path: the exact host; then every end of it that begins with a dot, the longest first, among the wildcards; then
 * the sites without hosts. The first of these that has a site for the path ends it. */
#include "proxy/config/host_index.h"

#include <stdlib.h>

#include "http/token.h"
#include "proxy/config/config.h"

static int compare_hosts(struct span a, struct span b)
{
    if (a.len != b.len) {
        return a.len < b.len ? -1 : 1;
    }
    for (size_t i = 0; i < a.len; i++) {
        unsigned char left = (unsigned char)ascii_lower(a.data[i]);
        unsigned char right = (unsigned char)ascii_lower(b.data[i]);
        if (left != right) {
            return left < right ? -1 : 1;
        }
    }
    return 0;
}

static int by_host_and_site(const void *a, const void *b) /* qsort */
{
    const struct host_entry *left = a;
    const struct host_entry *right = b;
    int order = compare_hosts(left->host, right->host);

    return order != 0 ? order : (left->site > right->site) - (left->site < right->site); /* of one array */
}

static void add(struct host_list *list, struct span host, const struct site *site)
{
    list->entries[list->count] = (struct host_entry){host, site};
    list->count++;
}

static void add_site(struct host_index *index, const struct site *site)
{
    for (size_t i = 0; i < site->host_count; i++) {
        bool wildcard = span_starts_with(site->hosts[i], SPAN("*."));
        if (wildcard) {
            add(&index->wildcards, span_skip(site->hosts[i], 1), site);
        } else {
            add(&index->exact, site->hosts[i], site);
        }
    }
    if (site->host_count == 0) {
        add(&index->every, SPAN(""), site);
    }
}

bool host_index_make(struct host_index *index, const struct site *sites, size_t count, struct arena *arena)
{
    struct host_list *lists[] = {&index->exact, &index->wildcards, &index->every};
    size_t most = count;

    for (size_t i = 0; i < count; i++) {
        most += sites[i].host_count;
    }
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        *lists[i] = (struct host_list){.entries = arena_alloc(arena, most * sizeof(struct host_entry))};
        if (lists[i]->entries == NULL) {
            return false;
        }
    }
    for (size_t i = 0; i < count; i++) {
        add_site(index, &sites[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        qsort(lists[i]->entries, lists[i]->count, sizeof(struct host_entry), by_host_and_site);
    }
    return true;
}

/* Whole segments: "/a" is a prefix of "/a" and "/a/b", not of "/ab". "/" is one of everything, `*` included. */
static bool path_fits(struct span prefix, struct span path)
{
    if (prefix.len <= 1) {
        return true;
    }
    return span_starts_with(path, prefix) && (path.len == prefix.len || path.data[prefix.len] == '/');
}

/* Of the entries of that host the site with the longest path that fits; of equals the first in the file. */
static const struct site *find_in(const struct host_list *list, struct span host, struct span path)
{
    const struct site *best = NULL;
    size_t low = 0;
    size_t high = list->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_hosts(list->entries[middle].host, host) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    for (size_t i = low; i < list->count && compare_hosts(list->entries[i].host, host) == 0; i++) {
        const struct site *site = list->entries[i].site;
        if (path_fits(site->path_prefix, path) && (best == NULL || site->path_prefix.len > best->path_prefix.len)) {
            best = site;
        }
    }
    return best;
}

const struct site *host_index_find(const struct host_index *index, struct span host, struct span path)
{
    const struct site *site = find_in(&index->exact, host, path);

    for (size_t i = 1; i < host.len && site == NULL && index->wildcards.count > 0; i++) {
        if (host.data[i] == '.') {
            site = find_in(&index->wildcards, span_skip(host, i), path);
        }
    }
    return site != NULL ? site : find_in(&index->every, SPAN(""), path);
}
