/* test_store_refusal.c: of batches that are refused, which ones the disk refuses: only these say that of whatever comes
 * next. */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "store_fixture.h"

enum { LARGE = 300 * 1000 };
#define SIZE ((uint64_t)128 << 20) /* with a body file */

static void setup(void)
{
    fixture_begin(SIZE);
}

TestSuite(store_refusal, .init = setup, .fini = fixture_end);

static int sync_fails_with; /* errno; 0: it does not */

/* In place of libc's. */
int fdatasync(int fd)
{
    if (sync_fails_with != 0) {
        errno = sync_fails_with;
        return -1;
    }
    return (int)syscall(SYS_fdatasync, fd);
}

static enum err put(unsigned number)
{
    struct support_object object = {.number = number, .version = 1, .body_len = LARGE};

    return support_put(store, &object, NULL, NULL);
}

static void expect_taken_again(unsigned number)
{
    cr_expect_eq(put(number), ERR_OK);
    cr_expect_null(store_refusal(store));
    cr_expect_not(store_disk_refuses(store));
}

Test(store_refusal, an_error_of_the_disk_but_not_want_of_memory)
{
    static const struct {
        int code;
        bool disk;
    } cases[] = {{EIO, true}, {ENOSPC, true}, {EDQUOT, true}, {EROFS, true}, {ENOMEM, false}};

    for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
        const char *name = strerror(cases[i].code);

        sync_fails_with = cases[i].code;
        cr_expect_neq(put(i), ERR_OK, "%s", name);
        cr_expect_eq(store_disk_refuses(store), cases[i].disk, "%s", name);
        cr_assert_not_null(store_refusal(store));
        cr_expect_str_eq(store_refusal(store), name);
        sync_fails_with = 0;
        expect_taken_again(i);
    }
}

/* Pieces that do not follow what is there: the disk has nothing to do with that, nor has any other body. */
Test(store_refusal, one_body_that_cannot_be_continued)
{
    struct support_object object = {.number = 0, .version = 1, .body_len = LARGE};
    uint64_t body_id = store_new_body_id(store);

    cr_assert_eq(support_put_pieces(store, &object, body_id), ERR_OK);
    cr_expect_neq(support_put_pieces(store, &object, body_id), ERR_OK);
    cr_expect_not(store_failed(store));
    cr_expect_not(store_disk_refuses(store));
    cr_assert_not_null(store_refusal(store));
    cr_expect_str_eq(store_refusal(store), "a body cannot be continued");
    expect_taken_again(1);
}
