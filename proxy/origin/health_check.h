/* health_check.h: requests of larder's own that find out whether origins are well ([site.health_check]).
 *
 * One check for each origin, on a connection of its own, from one moment to the next interval; what came is told to the
 * origin set, which counts, and logs changes. They run once a process, on the first worker's loop: an origin is asked
 * as often with sixteen workers as with one, and all workers know the result. While a site is offline its origins are
 * not asked, and what was known of them stays. Threads: that worker's. */
#ifndef PROXY_HEALTH_CHECK_H
#define PROXY_HEALTH_CHECK_H

#include "proxy/origin/origin_set.h"

struct health_checks;
struct worker;

/* Checks for all sites that want any, beginning at once; `sets` as in worker_shared. NULL: no memory; then nothing is
 * left but what closes with the loop's next turn. */
struct health_checks *health_checks_start(struct worker *worker, struct origin_set *const *sets);

/* Closes all they hold in the loop. A second call changes nothing; accepts NULL. */
void health_checks_stop(struct health_checks *checks);

void health_checks_destroy(struct health_checks *checks); /* after the loop ended; accepts NULL */

#endif
