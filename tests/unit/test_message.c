/* test_message.c: methods, statuses, and the list of errors. */
#include <criterion/criterion.h>

#include "http/error.h"
#include "tests/unit/support.h"

Test(message, methods_are_case_sensitive_rfc9110_9_1)
{
    cr_expect_eq(method_of(SPAN("GET")), METHOD_GET);
    cr_expect_eq(method_of(SPAN("HEAD")), METHOD_HEAD);
    cr_expect_eq(method_of(SPAN("QUERY")), METHOD_QUERY);
    cr_expect_eq(method_of(SPAN("get")), METHOD_OTHER);
    cr_expect_eq(method_of(SPAN("GETS")), METHOD_OTHER);
    cr_expect_eq(method_of(SPAN("")), METHOD_OTHER);
    cr_expect_eq(method_of(SPAN("OTHER")), METHOD_OTHER);
}

Test(message, safety_and_idempotence_rfc9110_9_2)
{
    cr_expect(method_is_safe(METHOD_GET) && method_is_idempotent(METHOD_GET));
    cr_expect(!method_is_safe(METHOD_PUT) && method_is_idempotent(METHOD_PUT));
    cr_expect(!method_is_safe(METHOD_POST) && !method_is_idempotent(METHOD_POST));
    cr_expect(!method_is_safe(METHOD_OTHER) && !method_is_idempotent(METHOD_OTHER));
}

Test(message, phrases)
{
    cr_expect_str_eq(status_phrase(200), "OK");
    cr_expect_str_eq(status_phrase(504), "Gateway Timeout");
    cr_expect_str_eq(status_phrase(299), "");
    cr_expect_str_eq(status_phrase(0), "");
}

Test(message, bodies_rfc9112_6_3)
{
    cr_expect(response_may_have_body(METHOD_GET, 200));
    cr_expect(response_may_have_body(METHOD_OTHER, 404));
    cr_expect_not(response_may_have_body(METHOD_HEAD, 200));
    cr_expect_not(response_may_have_body(METHOD_GET, 103));
    cr_expect_not(response_may_have_body(METHOD_GET, 204));
    cr_expect_not(response_may_have_body(METHOD_GET, 304));
    cr_expect_not(response_may_have_body(METHOD_CONNECT, 200));
    cr_expect(response_may_have_body(METHOD_CONNECT, 400));
}

Test(error, every_error_has_its_row)
{
    cr_expect_str_eq(err_name(ERR_OK), "OK");
    cr_expect_str_eq(err_name(ERR_HEAD_TOO_LARGE), "HEAD_TOO_LARGE");
    cr_expect_eq(err_status(ERR_TARGET_TOO_LONG), 414);
    cr_expect_eq(err_status(ERR_IO), 0);
    cr_expect_str_eq(err_text(ERR_IO), "input or output failed");
}
