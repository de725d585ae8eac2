/* The routes of the administration, against openapi.json. */
#include <criterion/criterion.h>

#include "proxy/admin/admin_internal.h"

static json_t *load(void)
{
    json_error_t error;
    json_t *document = json_load_file(LARDER_SOURCE_DIR "/proxy/admin/openapi.json", JSON_REJECT_DUPLICATES, &error);

    cr_assert_not_null(document, "openapi.json:%d: %s", error.line, error.text);
    return document;
}

static const char *name_of(enum method method)
{
    return method == METHOD_POST ? "post" : "get";
}

Test(admin, every_route_is_described)
{
    json_t *document = load();
    const json_t *paths = json_object_get(document, "paths");

    for (size_t i = 0; i < admin_route_count; i++) {
        const json_t *path = json_object_get(paths, admin_routes[i].path);
        cr_expect_not_null(json_object_get(path, name_of(admin_routes[i].method)), "%s", admin_routes[i].path);
    }
    json_decref(document);
}

Test(admin, nothing_else_is_described)
{
    json_t *document = load();
    const char *name;
    json_t *path;
    size_t described = 0;

    json_object_foreach(json_object_get(document, "paths"), name, path)
    {
        described += json_object_size(path);
        cr_expect_gt(json_object_size(path), 0, "%s", name);
    }
    cr_expect_eq(described, admin_route_count);
    json_decref(document);
}
