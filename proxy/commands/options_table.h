/* options_table.h: what options.c reads the command line by; the words for people are options.h's. Threads: any. */
#ifndef PROXY_OPTIONS_TABLE_H
#define PROXY_OPTIONS_TABLE_H

#include "proxy/commands/options.h"

struct option_flag {
    const char *name;
    enum command command;
    size_t offset;     /* of a const char * in struct options, of a bool where nothing follows; unused for flags that
                          repeat */
    const char *value; /* what follows, for the help; empty: nothing does */
    const char *text;
};

/* "serve" */
const char *option_command_name(enum command command);

/* NULL: the command has no such flag. */
const struct option_flag *option_flag_find(enum command command, struct span name);

#endif
