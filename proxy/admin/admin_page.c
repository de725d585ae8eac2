/* admin_page.c: finds a file of the dashboard. See admin_page.h. */
#include "proxy/admin/admin_page.h"

const struct admin_page_file *admin_page_find(struct span path)
{
    for (size_t i = 0; i < admin_page_file_count; i++) {
        if (span_equal(path, span_of(admin_page_files[i].path))) {
            return &admin_page_files[i];
        }
    }
    return NULL;
}
