/* model_parts_write.h: requests for parts and the origin's answers as messages for larder. Everything lives in the
 * arena given. */
#ifndef TESTS_UNIT_MODEL_PARTS_WRITE_H
#define TESTS_UNIT_MODEL_PARTS_WRITE_H

#include "http/message.h"
#include "tests/unit/model_parts_steps.h"

struct http_request parts_write_request(const struct parts_step *step, struct arena *arena);
struct http_response parts_write_reply(const struct parts_reply *reply, struct arena *arena);

#endif
