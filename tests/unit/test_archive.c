/* test_archive.c: the file between an export and an import in the hands of an enemy: cut off, altered, forged. */
#include <stdlib.h>
#include <xxhash.h>

#include "transfer_fixture.h"

TestSuite(archive, .init = setup, .fini = teardown);

/* An import of what was cut off, or altered, at any place: what is stored is right, and it says that it was not whole.
 */
Test(archive, cut_off_anywhere)
{
    struct import_result result;
    unsigned version;
    struct buf file;

    put(from, 1, 1, NULL, 50);
    put(from, 2, 2, "x", 9000);
    (void)export_with((struct export_options){0}, &file);
    for (size_t len = 0; len < file.len; len += len < 900 || len + 100 > file.len ? 1 : 37) {
        enum err error = import_at(span_take(buf_span(&file), len), 0, NOW_MS, &result);
        cr_expect(error == ERR_TRUNCATED || (error == ERR_FOREIGN && len < ARCHIVE_BEGIN_BYTES), "%zu bytes: %s", len,
                  err_name(error));
        enum support_outcome first = check(1, NULL, &version);
        enum support_outcome second = check(2, "x", &version);
        cr_expect(first == SUPPORT_GOOD || first == SUPPORT_ABSENT, "%zu bytes", len);
        cr_expect(second == SUPPORT_GOOD || second == SUPPORT_ABSENT, "%zu bytes", len);
        cr_assert_eq(support_remove(to, 1), ERR_OK);
        cr_assert_eq(support_remove(to, 2), ERR_OK);
    }
    buf_finish(&file);
}

Test(archive, altered_anywhere)
{
    struct import_result result;
    unsigned version;
    struct buf file;

    put(from, 1, 1, NULL, 50);
    put(from, 2, 2, "x", 300);
    (void)export_with((struct export_options){0}, &file);
    for (size_t at = 0; at < file.len; at++) {
        file.data[at] ^= (char)(1 << at % 8);
        enum err error = import_at(buf_span(&file), 0, NOW_MS, &result);
        cr_expect(error == ERR_DAMAGED || error == ERR_TRUNCATED || error == ERR_FOREIGN, "byte %zu: %s", at,
                  err_name(error));
        enum support_outcome first = check(1, NULL, &version);
        cr_expect(first == SUPPORT_GOOD || first == SUPPORT_ABSENT, "byte %zu", at);
        cr_expect_eq(check(2, "x", &version) == SUPPORT_WRONG, false, "byte %zu", at);
        file.data[at] ^= (char)(1 << at % 8);
        cr_assert_eq(support_remove(to, 1), ERR_OK);
        cr_assert_eq(support_remove(to, 2), ERR_OK);
    }
    cr_expect_eq(import_at(buf_span(&file), 0, NOW_MS, &result), ERR_OK, "it is whole again");
    buf_add_byte(&file, 'x');
    cr_expect_eq(import_at(buf_span(&file), 0, NOW_MS, &result), ERR_DAMAGED, "nothing may follow");
    buf_finish(&file);
}

/* ---- checks that fit, and content that does not ---- */

struct forged {
    struct buf file;
    struct archive_writer writer;
};

static void forge(struct forged *forged)
{
    buf_init(&forged->file, SIZE_MAX / 2);
    cr_assert(archive_begin(&forged->writer, on_put, &forged->file, NOW_MS));
}

static enum err import_forged(struct forged *forged)
{
    struct import_result result;

    enum err error = import_at(buf_span(&forged->file), 0, NOW_MS, &result);
    cr_expect_eq(count_in_to(), 0);
    archive_writer_finish(&forged->writer);
    buf_finish(&forged->file);
    return error;
}

Test(archive, what_larder_would_not_have_stored)
{
    static const struct {
        const char *name;
        const char *key;
        const char *head;
        const char *selection;
        unsigned status;
        size_t body; /* bytes that come; the record says 3 */
        bool wrong_digest;
        bool wrong_key_len;
        enum err want;
    } cases[] = {
        {"good, but never ended", "GET http://a/", "A: b\r\n", "", 200, 3, false, false, ERR_TRUNCATED},
        {"framing in the head", "GET http://a/", "Transfer-Encoding: chunked\r\n", "", 200, 3, false, false,
         ERR_DAMAGED},
        {"a length in the head", "GET http://a/", "Content-Length: 99\r\n", "", 200, 3, false, false, ERR_DAMAGED},
        {"a head with a bare line feed", "GET http://a/", "A: b\nC: d\r\n", "", 200, 3, false, false, ERR_DAMAGED},
        {"a head that does not end", "GET http://a/", "A: b", "", 200, 3, false, false, ERR_DAMAGED},
        {"another method", "PUT http://a/", "A: b\r\n", "", 200, 3, false, false, ERR_DAMAGED},
        {"a space in the key", "GET http://a/ b", "A: b\r\n", "", 200, 3, false, false, ERR_DAMAGED},
        {"no key", "", "A: b\r\n", "", 200, 3, false, false, ERR_DAMAGED},
        {"a selection of rubbish", "GET http://a/", "A: b\r\n", "rubbish", 200, 3, false, false, ERR_DAMAGED},
        {"a part", "GET http://a/", "A: b\r\n", "", 206, 3, false, false, ERR_DAMAGED},
        {"a status of no response", "GET http://a/", "A: b\r\n", "", 199, 3, false, false, ERR_DAMAGED},
        {"too short a body", "GET http://a/", "A: b\r\n", "", 200, 2, false, false, ERR_DAMAGED},
        {"too long a body", "GET http://a/", "A: b\r\n", "", 200, 4, false, false, ERR_DAMAGED},
        {"another body", "GET http://a/", "A: b\r\n", "", 200, 3, true, false, ERR_DAMAGED},
        {"another length of the key", "GET http://a/", "A: b\r\n", "", 200, 3, false, true, ERR_DAMAGED},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct archive_response response = {
            .key = span_of(cases[i].key), .head = span_of(cases[i].head), .selection = span_of(cases[i].selection)};
        XXH128_canonical_t digest;
        struct forged forged;

        XXH128_canonicalFromHash(&digest, XXH3_128bits(cases[i].wrong_digest ? "abd" : "abc", 3));
        response.record = (struct record){.status = cases[i].status,
                                          .inputs = {.status = cases[i].status},
                                          .key_len = (uint32_t)response.key.len + cases[i].wrong_key_len,
                                          .head_len = (uint32_t)response.head.len,
                                          .body_len = 3};
        memcpy(response.record.digest, digest.digest, DIGEST_BYTES);
        forge(&forged);
        cr_expect(archive_write_response(&forged.writer, &response), "%s", cases[i].name);
        cr_expect(archive_write_data(&forged.writer, (struct span){"abcd", cases[i].body}), "%s", cases[i].name);
        if (cases[i].want != ERR_TRUNCATED) {
            cr_expect(archive_write_whole(&forged.writer) && archive_end(&forged.writer), "%s", cases[i].name);
        }
        cr_expect_eq(import_forged(&forged), cases[i].want, "%s", cases[i].name);
    }
}

Test(archive, frames_out_of_place)
{
    struct forged forged;

    forge(&forged);
    cr_assert(archive_write_data(&forged.writer, SPAN("bytes of nothing")));
    cr_expect_eq(import_forged(&forged), ERR_DAMAGED, "a body without a response");
    forge(&forged);
    cr_assert(archive_write_whole(&forged.writer));
    cr_expect_eq(import_forged(&forged), ERR_DAMAGED, "an end without a beginning");
    forge(&forged);
    cr_assert(archive_write_abandoned(&forged.writer));
    cr_expect_eq(import_forged(&forged), ERR_DAMAGED);
    forge(&forged);
    forged.writer.responses = 1;
    cr_assert(archive_end(&forged.writer));
    cr_expect_eq(import_forged(&forged), ERR_DAMAGED, "one response fewer than it says");
}

Test(archive, of_an_abandoned_one_nothing_stays)
{
    struct archive_response response = {.key = SPAN("GET http://a/"), .head = SPAN("A: b\r\n")};
    struct import_result result;
    struct forged forged;

    response.record = (struct record){.status = 200,
                                      .inputs = {.status = 200},
                                      .key_len = (uint32_t)response.key.len,
                                      .head_len = (uint32_t)response.head.len,
                                      .body_len = 10000000};
    forge(&forged);
    cr_assert(archive_write_response(&forged.writer, &response));
    char *bytes = calloc(1, 3000000); /* more than a batch: pieces of it are on the disk when it is given up */
    cr_assert_not_null(bytes);
    cr_assert(archive_write_data(&forged.writer, (struct span){bytes, 3000000}));
    free(bytes);
    cr_assert(archive_write_abandoned(&forged.writer) && archive_end(&forged.writer));
    cr_expect_eq(import_at(buf_span(&forged.file), 0, NOW_MS, &result), ERR_OK);
    cr_expect_eq(result.abandoned, 1);
    cr_expect_eq(result.responses, 0);
    cr_expect_eq(count_in_to(), 0);
    cr_expect_eq(support_settle(to), ERR_OK);
    struct store_survey survey;
    cr_assert_eq(store_survey_of(to, &survey), ERR_OK);
    cr_expect_eq(survey.pieces, 0, "nothing of it stays");
    cr_expect_eq(survey.pending_bodies, 0);
    archive_writer_finish(&forged.writer);
    buf_finish(&forged.file);
}
