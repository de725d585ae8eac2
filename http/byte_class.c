/* byte_class.c: see byte_class.h. */
#include "http/byte_class.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define N   (BYTE_VALUE | BYTE_NAME | BYTE_TARGET)
#define T   (BYTE_VALUE | BYTE_TARGET)
#define V   BYTE_VALUE
#define V16 V, V, V, V, V, V, V, V, V, V, V, V, V, V, V, V
const unsigned char byte_classes[256] = {
    /* clang-format off */
    0, 0, 0, 0, 0, 0, 0, 0, 0, V, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    V, N, T, BYTE_VALUE | BYTE_NAME, N, N, N, N, T, T, N, N, T, N, N, T, /*   ! " # $ % & ' ( ) * + , - . / */
    N, N, N, N, N, N, N, N, N, N, T, T, T, T, T, T, /* 0 … 9 : ; < = > ? */
    T, N, N, N, N, N, N, N, N, N, N, N, N, N, N, N, /* @ A … O */
    N, N, N, N, N, N, N, N, N, N, N, T, V, T, N, N, /* P … Z [ \ ] ^ _ */
    N, N, N, N, N, N, N, N, N, N, N, N, N, N, N, N, /* ` a … o */
    N, N, N, N, N, N, N, N, N, N, N, T, N, T, N, 0, /* p … z { | } ~ DEL */
    V16, V16, V16, V16, V16, V16, V16, V16,
    /* clang-format on */
};
#undef V16
#undef V
#undef T
#undef N

/* The first place from `at` on that is not visible ASCII, a space or obs-text: a tab, which a value may hold, or what
 * ends it. May stop short of it with fewer than sixteen bytes left. */
static size_t plain_end(const char *bytes, size_t at, size_t end)
{
#ifdef __SSE2__
    const __m128i lowest = _mm_set1_epi8(0x20);
    const __m128i del = _mm_set1_epi8(0x7f);

    for (; end - at >= 16; at += 16) {
        __m128i all = _mm_loadu_si128((const void *)(bytes + at));
        __m128i plain = _mm_andnot_si128(_mm_cmpeq_epi8(all, del), _mm_cmpeq_epi8(_mm_max_epu8(all, lowest), all));
        unsigned odd = ~(unsigned)_mm_movemask_epi8(plain) & 0xffffU;

        if (odd != 0) {
            return at + (size_t)__builtin_ctz(odd);
        }
    }
#else
    (void)bytes;
    (void)end;
#endif
    return at;
}

size_t bytes_value_end(const char *bytes, size_t at, size_t end)
{
    return bytes_run_end(bytes, plain_end(bytes, at, end), end, BYTE_VALUE);
}
