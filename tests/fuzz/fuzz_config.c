/* fuzz_config.c: any bytes as a configuration file: it loads into something that makes sense, or there is one line that
 * says why not. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proxy/config/config.h"
#include "proxy/why/check_tests.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { ERROR_MAX_BYTES = 16384 };

static void check_config(const struct config *config)
{
    REQUIRE(config->server.listen_count > 0);
    REQUIRE(config->cache.max_object_bytes <= config->cache.size_bytes / 2);
    REQUIRE(config->server.max_target_bytes <= config->server.max_head_bytes);
    REQUIRE(config->server.max_head_bytes <= config->server.max_request_memory_bytes / 2);
    REQUIRE(config->site_count > 0);
    for (size_t i = 0; i < config->site_count; i++) {
        const struct site *site = &config->sites[i];
        REQUIRE(site->name != NULL && site->origin_count > 0 && site->path_prefix.data[0] == '/');
        for (size_t k = 0; k < site->origin_count; k++) {
            REQUIRE(site->origins[k].host[0] != '\0' && site->origins[k].port != 0);
        }
        for (size_t k = 0; k < site->rule_count; k++) {
            REQUIRE(site->rules[k].name[0] != '\0');
        }
    }
}

static void check_error(struct span line)
{
    REQUIRE(line.len > 0);
    for (size_t i = 0; i < line.len; i++) {
        REQUIRE(line.data[i] >= 0x20 && line.data[i] <= 0x7e);
    }
}

/* Its tests are run: they hold, or each difference is a line. */
static void run_tests(const struct config *config)
{
    struct buf error;
    struct span rest;
    struct span line;

    buf_init(&error, ERROR_MAX_BYTES);
    bool held = check_tests(config, &error);
    REQUIRE(!error.failed && held == (error.len == 0));
    rest = buf_span(&error);
    while (!held && span_split(&rest, '\n', &line)) {
        check_error(line);
    }
    buf_finish(&error);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static char path[64];
    struct config_flags flags = {.file = path};
    struct buf error;

    (void)snprintf(path, sizeof path, "/dev/shm/larder-fuzz-%d.toml", (int)getpid());
    FILE *file = fopen(path, "wb");
    REQUIRE(file != NULL);
    REQUIRE(fwrite(bytes, 1, size, file) == size);
    REQUIRE(fclose(file) == 0);

    buf_init(&error, ERROR_MAX_BYTES);
    struct config *config = config_load(&flags, &error);
    REQUIRE(!error.failed);
    if (config != NULL) {
        check_config(config);
        run_tests(config);
    } else {
        check_error(buf_span(&error));
    }
    config_destroy(config);
    buf_finish(&error);
    (void)unlink(path); /* made again for the next input */
    return 0;
}
