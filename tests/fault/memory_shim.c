/* memory_shim.c: LD_PRELOAD library that makes memory run out: at the n-th allocation since it was told, and so many
 * behind it. For glibc, whose own names of these functions it calls.
 *
 * The file named by $MEMORY_CONTROL is mapped as struct control; a test changes it while the process runs. Without the
 * variable it does nothing. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "control.h"

struct control {
    _Atomic uint64_t calls; /* since the test set it to 0 */
    _Atomic uint64_t at;    /* the first that fails; 0: none */
    _Atomic uint64_t count; /* of those that do */
    _Atomic uint64_t failed;
};

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);
void *__libc_memalign(size_t alignment, size_t bytes);

static struct control *control;

__attribute__((constructor)) static void start(void)
{
    control = control_map("MEMORY_CONTROL", sizeof(*control));
}

static bool fails(void)
{
    if (control == NULL) {
        return false;
    }
    uint64_t number = ++control->calls;
    uint64_t at = control->at;
    if (at == 0 || number < at || number >= at + control->count) {
        return false;
    }
    control->failed++;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t bytes)
{
    return fails() ? NULL : __libc_malloc(bytes);
}

void *calloc(size_t count, size_t bytes)
{
    return fails() ? NULL : __libc_calloc(count, bytes);
}

void *realloc(void *old, size_t bytes)
{
    return fails() ? NULL : __libc_realloc(old, bytes);
}

void *memalign(size_t alignment, size_t bytes)
{
    return fails() ? NULL : __libc_memalign(alignment, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes)
{
    return memalign(alignment, bytes);
}

int posix_memalign(void **out, size_t alignment, size_t bytes)
{
    void *memory = memalign(alignment, bytes);

    if (memory == NULL) {
        return ENOMEM;
    }
    *out = memory;
    return 0;
}
