/* model_parts_read.h: one byte of a response, from wherever it lies: memory, a flight, the store. */
#ifndef TESTS_UNIT_MODEL_PARTS_READ_H
#define TESTS_UNIT_MODEL_PARTS_READ_H

#include "cache/cache.h"

/* Byte `at` of what was found. False: it is not there. */
MUST_CHECK bool parts_read_stored(struct cache_reader *reader, const struct cached *cached, uint64_t at,
                                  uint8_t *out_byte);

/* The byte at this offset of a flight's stream. */
MUST_CHECK bool parts_read_flight(struct cache_reader *reader, struct flight *flight, uint64_t offset,
                                  uint8_t *out_byte);

#endif
