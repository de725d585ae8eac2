/* admin_page.h: the dashboard's files, part of the binary. proxy/dashboard/embed.py writes the table when larder is
 * built.
 *
 * They tell nothing about this larder: what the page shows it asks for, with the token where one is wanted. */
#ifndef PROXY_ADMIN_PAGE_H
#define PROXY_ADMIN_PAGE_H

#include "http/span.h"

struct admin_page_file {
    const char *path;
    const char *content_type;
    const unsigned char *data;
    size_t len;
};

extern const struct admin_page_file admin_page_files[];
extern const size_t admin_page_file_count;

/* NULL: none of them. */
const struct admin_page_file *admin_page_find(struct span path);

#endif
