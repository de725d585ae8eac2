/* site_mode.h: the mode in which each site is run now (cache/policy.h).
 *
 * A site begins with what its configuration says; an order (`larder mode`) changes it. Every configuration that has the
 * site, by its name and path, shares one atomic value: a change is in force at once for requests that begin after it,
 * on every worker, those of former configurations included. What is being fetched goes on; a request that began before
 * and has not reached an origin yet does not reach it once the site is offline (fetch_origin.c).
 *
 * A reload keeps what was ordered, unless the site's `mode` in the file is another than it was: then that holds. So
 * does an upgrade: the process that goes tells its orders to the one that comes. A restart forgets them. Threads:
 * site_mode any; all else the main thread, before the workers that see the configuration are started or while they run,
 * as each says. */
#ifndef PROXY_SITE_MODE_H
#define PROXY_SITE_MODE_H

#include "proxy/config/config.h"

struct site_modes;

struct site_modes *site_modes_create(void);        /* NULL: no memory */
void site_modes_destroy(struct site_modes *modes); /* after all workers and configurations; accepts NULL */

/* Gives the sites of a configuration that nobody uses yet their values. False: no memory. */
MUST_CHECK bool site_modes_bind(struct site_modes *modes, struct config *config);

/* The configuration is in force: where a site's `mode` differs from the one in force before, it holds from now on. */
void site_modes_adopt(struct site_modes *modes, const struct config *config);

/* What was ordered for a site, and what its configuration said then; the spans are borrowed. */
struct mode_order {
    struct span name; /* of the site */
    struct span path; /* its prefix */
    enum mode configured;
    enum mode ordered;
};

/* Every order in force that is not what is configured, until `tell` returns false: then false. */
MUST_CHECK bool site_modes_tell(const struct site_modes *modes, bool (*tell)(void *arg, const struct mode_order *order),
                                void *arg);

/* Takes what site_modes_tell of another process told, for a site that these modes have not seen yet; before
 * site_modes_adopt, which decides whether it holds. False: no memory. */
MUST_CHECK bool site_modes_learn(struct site_modes *modes, const struct mode_order *order);

/* Orders a mode for a site of a bound configuration. Workers may run. */
void site_mode_order(const struct site *site, enum mode mode);

static inline enum mode site_mode(const struct site *site)
{
    return site->mode_now != NULL ? (enum mode)atomic_load(site->mode_now) : site->mode;
}

const char *site_mode_text(enum mode mode); /* "normal" … */

/* False: no mode is called so. */
MUST_CHECK bool site_mode_of_text(struct span text, enum mode *out_mode);

/* Does `text` name the site: its name, one of its hosts, or either with its path behind it, "www.example.com/app"? */
bool site_mode_names(const struct site *site, struct span text);

#endif
