/* zpy_text.c: UTF-8 of a cell to code points in another cell, so that Python can build its str in one piece. */
#include "zpy_internal.h"

#include <errno.h>
#include <string.h>

/* One code point at the head of at most left bytes, as RFC 3629 allows it. Returns its length, 0 when it is not valid. */
static size_t
decode_one(uint8_t const *bytes, size_t left, uint32_t *point_out)
{
    static uint32_t const smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t const head = bytes[0];
    size_t const length = head < 0x80 ? 1 : (head & 0xE0) == 0xC0 ? 2 : (head & 0xF0) == 0xE0 ? 3 : (head & 0xF8) == 0xF0 ? 4 : 0;
    if (length == 0 || length > left) {
        return 0;
    }
    uint32_t point = length == 1 ? head : head & (0x7FU >> length);
    for (size_t index = 1; index < length; index++) {
        if ((bytes[index] & 0xC0) != 0x80) {
            return 0;
        }
        point = point << 6 | (bytes[index] & 0x3F);
    }
    if (point < smallest[length] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) {
        return 0;
    }
    *point_out = point;
    return length;
}

/* points_out, when not null, has room for this many code points. */
static int64_t
decode_all(uint8_t const *bytes, size_t length, uint8_t *points_out, size_t room)
{
    int64_t count = 0;
    for (size_t offset = 0; offset < length; count++) {
        uint32_t point = 0;
        size_t const used = decode_one(bytes + offset, length - offset, &point);
        if (used == 0) {
            return -(int64_t) ZPY_BAD_TEXT;
        }
        if (points_out != NULL) {
            if ((size_t) count >= room) {
                return -(int64_t) ZPY_RANGE;
            }
            memcpy(points_out + (size_t) count * sizeof point, &point, sizeof point);
        }
        offset += used;
    }
    return count;
}

int64_t
zpy_cell_decode(uint64_t cell, uint64_t target)
{
    uint8_t *bytes;
    size_t length;
    uint8_t *points = NULL;
    size_t room = 0;
    int64_t answer = 0;
    int state = zpy_cell_pin(cell, false, &bytes, &length);
    if (state != ZPY_OK) {
        return -(int64_t) state;
    }
    if (target != 0) {
        answer = -(int64_t) zpy_cell_pin(target, true, &points, &room);
    }
    if (answer == 0) {
        answer = decode_all(bytes, length, points, room / sizeof(uint32_t));
    }
    int const target_state = points != NULL ? zpy_cell_unpin(target) : ZPY_OK;
    state = zpy_cell_unpin(cell);
    if (state != ZPY_OK || target_state != ZPY_OK) {
        return -(int64_t) (state != ZPY_OK ? state : target_state);
    }
    return answer;
}
