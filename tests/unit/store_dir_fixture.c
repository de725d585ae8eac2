/* store_dir_fixture.c: see store_dir_fixture.h. */
#include "store_dir_fixture.h"

#include <dirent.h>
#include <string.h>

char dir[SUPPORT_PATH_BYTES];
char data_path[SUPPORT_PATH_BYTES + 16];
struct arena arena;
struct buf note;

void dir_begin(void)
{
    support_dir_make(dir);
    (void)snprintf(data_path, sizeof(data_path), "%s/data.mdb", dir);
    arena_init(&arena, SUPPORT_ARENA_BYTES);
    buf_init(&note, 4096);
}

void dir_end(void)
{
    arena_finish(&arena);
    buf_finish(&note);
    support_dir_remove(dir);
}

unsigned set_aside_count(char out_name[SUPPORT_NAME_BYTES])
{
    unsigned count = 0;
    DIR *listing = opendir(dir);

    cr_assert_not_null(listing);
    for (const struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        if (strncmp(entry->d_name, "data.mdb.damaged-", 17) == 0) {
            count++;
            strcpy(out_name, entry->d_name);
        }
    }
    closedir(listing);
    return count;
}
