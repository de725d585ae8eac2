/* store_dir_fixture.c: see store_dir_fixture.h. */
#include "store_dir_fixture.h"

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
