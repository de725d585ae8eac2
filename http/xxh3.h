/* xxh3.h: XXH3 as libxxhash has it, by the widest vectors that the processor has.
 *
 * The plain functions do with what every x86-64 has. Where the library was built with those that look at the processor
 * (meson.build asks), these take their names. The results are the same: nothing that is stored depends on it. */
#ifndef HTTP_XXH3_H
#define HTTP_XXH3_H

#define XXH_STATIC_LINKING_ONLY /* XXH3_state_t as a variable */
#include <xxhash.h>
#ifdef LARDER_XXH3_DISPATCH
#include <xxh_x86dispatch.h>
#endif

#endif
