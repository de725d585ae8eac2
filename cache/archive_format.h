/* archive_format.h: the bytes of an export that its writer and its reader share. See archive.h. */
#ifndef CACHE_ARCHIVE_FORMAT_H
#define CACHE_ARCHIVE_FORMAT_H

#define ARCHIVE_MAGIC "larder export\n"

enum {
    ARCHIVE_MAGIC_BYTES = sizeof(ARCHIVE_MAGIC) - 1,
    ARCHIVE_BEGIN_BYTES = ARCHIVE_MAGIC_BYTES + 2, /* and the version */
    ARCHIVE_FRAME_HEADER_BYTES = 8,
    ARCHIVE_CHECK_BYTES = 8,
    ARCHIVE_RESPONSE_BYTES = 16, /* the four lengths */
};

enum archive_kind {
    ARCHIVE_KIND_HEADER = 'H',
    ARCHIVE_KIND_RESPONSE = 'R',
    ARCHIVE_KIND_DATA = 'D',
    ARCHIVE_KIND_WHOLE = 'W',
    ARCHIVE_KIND_ABANDONED = 'A',
    ARCHIVE_KIND_END = 'Z',
};

#endif
