/* model_write.h: the model's messages as header text, and its rules as a policy, for larder.
 *
 * Nothing of larder reads or formats here, so that no mistake can be made twice. Everything lives in the arena given.
 */
#ifndef TESTS_UNIT_MODEL_WRITE_H
#define TESTS_UNIT_MODEL_WRITE_H

#include "cache/policy.h"
#include "tests/unit/model.h"

extern const struct span selector_names[SELECTOR_COUNT];
extern const struct span field_names[FIELD_COUNT];

struct http_request write_request(const struct m_request *request, struct arena *arena);
struct http_response write_response(const struct m_response *response, unsigned status, struct arena *arena);
struct policy write_policy(const struct m_rules *rules);

#endif
