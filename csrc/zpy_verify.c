/* zpy_verify.c: reads a span back and compares it with what was written there. */
#include "zpy_internal.h"
#include "zpy_os.h"

#include <string.h>

/* Under O_DIRECT the last request reaches to the end of its block, and the end of the file cuts it. */
static int64_t
read_piece(struct zpy_span_request const *request, struct zpy_chunk const *chunk, size_t length, bool direct)
{
    size_t ask = length;
    if (direct) {
        size_t const stop = (chunk->done + length + ZPY_BLOCK_BYTES - 1) / ZPY_BLOCK_BYTES * ZPY_BLOCK_BYTES;
        /* A part of a block, where the device failed, is asked for alone. */
        ask = length % ZPY_SECTOR_BYTES == 0 ? length : stop - chunk->done;
    }
    uint64_t const place = chunk->offset + chunk->done + (uint64_t) request->shift;
    int64_t const got = zpy_os_read_at(request->fd, chunk->buffer + chunk->done, ask, place);
    return got > (int64_t) length ? (int64_t) length : got;
}

static size_t
equal_bytes(uint8_t const *left, uint8_t const *right, size_t length)
{
    size_t same = 0;
    if (memcmp(left, right, length) == 0) {
        return length;
    }
    while (left[same] == right[same]) {
        same++;
    }
    return same;
}

/* What was read may begin and end anywhere in a block; what it is compared with is made from that block on. */
static size_t
compare_piece(struct zpy_filler const *filler, struct zpy_chunk const *chunk, size_t length)
{
    size_t const stop = chunk->done + length;
    size_t place = chunk->done;
    while (place < stop) {
        size_t const base = place / ZPY_BLOCK_BYTES * ZPY_BLOCK_BYTES;
        size_t const made = stop - base < chunk->scratch_bytes ? stop - base : chunk->scratch_bytes;
        size_t const piece = base + made - place;
        zpy_filler_fill(filler, chunk->scratch, made, chunk->offset + base);
        size_t const same = equal_bytes(chunk->buffer + place, chunk->scratch + (place - base), piece);
        place += same;
        if (same < piece) {
            break;
        }
    }
    return place - chunk->done;
}

static struct zpy_way const reading = {.is_reading = true, .move = read_piece, .check = compare_piece, .at_end = ZPY_FORGED};

int
zpy_verify_span(struct zpy_writer *writer, struct zpy_span_request const *request, struct zpy_span_result *result_out)
{
    return zpy_span_run(writer, request, &reading, false, result_out);
}
