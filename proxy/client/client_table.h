/* client_table.h: how many connections each client has, over all workers.
 *
 * A client is in the table while it has a connection, so the table is no larger than max_connections. Threads: any; one
 * mutex, held for a look-up. */
#ifndef PROXY_CLIENT_TABLE_H
#define PROXY_CLIENT_TABLE_H

#include <stdint.h>

#include "proxy/client/client_id.h"

struct client_table;

struct client_table *client_table_create(uint64_t secret); /* NULL: no memory. `secret` seeds the hash. */
void client_table_destroy(struct client_table *table);     /* empty, or NULL */

/* One connection more of this client. False, and nothing is counted, where it has `limit` already or no memory is left
 * to count it. */
MUST_CHECK bool client_table_enter(struct client_table *table, const struct client_id *id, uint64_t limit);

/* One less, of a client that entered. */
void client_table_leave(struct client_table *table, const struct client_id *id);

#endif
