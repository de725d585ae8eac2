/* store_page.c: see store_page.h. */
#include "cache/store_page.h"

#include <string.h>

uint64_t page_u64(const char *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

unsigned page_u16(const char *at)
{
    uint16_t value;

    memcpy(&value, at, sizeof(value));
    return value;
}

bool page_node_read(const char *page, uint64_t page_bytes, size_t index, unsigned kind, struct page_node *out_node)
{
    size_t at = page_u16(page + PAGE_HEADER_BYTES + 2 * index);

    if (at + NODE_HEADER_BYTES > page_bytes) {
        return false;
    }
    const char *start = page + at;
    uint64_t low = page_u16(start) | (uint64_t)page_u16(start + 2) << 16;
    struct page_node node = {.flags = page_u16(start + 4),
                             .key = {start + NODE_HEADER_BYTES, page_u16(start + NODE_AT_KEY_BYTES)}};
    node.data = node.key.data + node.key.len;
    node.bytes = NODE_HEADER_BYTES + node.key.len;
    if (kind == PAGE_BRANCH) {
        node.child = low | (uint64_t)node.flags << 32;
    } else {
        node.big = (node.flags & NODE_BIG) != 0;
        node.small = NODE_HEADER_BYTES + node.key.len + low <= value_inline_max(page_bytes);
        if ((node.flags & ~(unsigned)(NODE_BIG | NODE_TREE)) != 0 || (!node.big && !node.small)) {
            return false;
        }
        node.data_bytes = (size_t)low;
        node.bytes += node.big ? sizeof(uint64_t) : node.data_bytes;
    }
    node.bytes += node.bytes % 2;
    *out_node = node;
    return at + node.bytes <= page_bytes;
}

/* ---- values in pages of their own ---- */

size_t value_inline_max(uint64_t page_bytes)
{
    return (size_t)(((page_bytes - PAGE_HEADER_BYTES) / 2 & ~UINT64_C(1)) - sizeof(uint16_t));
}

uint64_t value_pages(size_t data_bytes, uint64_t page_bytes)
{
    return (PAGE_HEADER_BYTES - 1 + data_bytes) / page_bytes + 1;
}

bool value_page_good(const char *page, uint64_t number, uint64_t pages)
{
    uint32_t stored;

    memcpy(&stored, page + 12, sizeof(stored));
    return page_u64(page) == number && page_u16(page + 10) == PAGE_OVERFLOW && stored == pages;
}
