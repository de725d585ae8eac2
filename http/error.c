/* error.c: names, texts and statuses of enum err, all from the one list in the header. */
#include "http/error.h"

#include "http/check.h"

static const struct {
    const char *name;
    const char *text;
    unsigned status;
    const char *proxy_error;
} errors[] = {
#define ERR_ROW(name, text, status, proxy_error) [ERR_##name] = {#name, text, status, proxy_error},
    ERRORS(ERR_ROW)
#undef ERR_ROW
};

const char *err_name(enum err error)
{
    REQUIRE((size_t)error < ARRAY_LEN(errors));
    return errors[error].name;
}

const char *err_text(enum err error)
{
    REQUIRE((size_t)error < ARRAY_LEN(errors));
    return errors[error].text;
}

unsigned err_status(enum err error)
{
    REQUIRE((size_t)error < ARRAY_LEN(errors));
    return errors[error].status;
}

const char *err_proxy_error(enum err error)
{
    REQUIRE((size_t)error < ARRAY_LEN(errors));
    return errors[error].proxy_error;
}
