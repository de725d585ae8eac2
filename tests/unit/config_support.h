/* config_support.h: configurations from text, for the tests of proxy/.
 *
 * Every Criterion test is a process of its own: it moves to a directory of its own, where the file is called
 * larder.toml. */
#ifndef TESTS_CONFIG_SUPPORT_H
#define TESTS_CONFIG_SUPPORT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/config/config.h"

static char test_directory[] = "/tmp/larder-config-XXXXXX";
static struct buf test_error;

static inline void config_test_setup(void)
{
    if (mkdtemp(test_directory) == NULL || chdir(test_directory) != 0) {
        check_failed("a directory for the test", __FILE__, __LINE__, __func__);
    }
    buf_init(&test_error, 8192);
}

static inline void config_test_teardown(void)
{
    (void)unlink("larder.toml"); /* absent where a test needs no file */
    if (chdir("/") != 0 || rmdir(test_directory) != 0) {
        fprintf(stderr, "%s is left behind\n", test_directory);
    }
    buf_finish(&test_error);
}

static inline void write_config_file(const char *text)
{
    FILE *file = fopen("larder.toml", "wb");

    if (file == NULL || fputs(text, file) < 0 || fclose(file) != 0) {
        check_failed("larder.toml can be written", __FILE__, __LINE__, __func__);
    }
}

/* The error line is in test_error. */
static inline struct config *load_config_with(const char *text, struct config_flags flags)
{
    write_config_file(text);
    flags.file = "larder.toml";
    buf_clear(&test_error);
    return config_load(&flags, &test_error);
}

static inline struct config *load_config(const char *text)
{
    return load_config_with(text, (struct config_flags){0});
}

static inline const char *error_text(void)
{
    buf_add_byte(&test_error, '\0');
    test_error.len--;
    return test_error.data;
}

#endif
