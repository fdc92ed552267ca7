/* zpy_verify.c: reads a span back and compares it with what was written there. */
#include "zpy_internal.h"
#include "zpy_os.h"

#include <errno.h>
#include <string.h>

#define BLOCK_BYTES ((size_t) 4096)

/* Read up to length bytes at offset. Under O_DIRECT the last request is rounded up to a block and cut by the end of the
 * file. Returns the bytes read, or -1. */
static int64_t
read_chunk(int fd, uint8_t *bytes, size_t length, uint64_t offset, struct zpy_span_result *result)
{
    size_t done = 0;
    while (done < length) {
        size_t ask = length - done;
        if (result->direct) {
            ask = (ask + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
        }
        int64_t const got = zpy_os_read_at(fd, bytes + done, ask, offset + done);
        if (got > 0) {
            done += (size_t) got < length - done ? (size_t) got : length - done;
            result->short_calls += done < length;
        } else if (got == 0) {
            break;
        }
        /* A file system that refuses direct reads, or a read that ended inside a block. */
        bool const unaligned = got > 0 && done < length && done % BLOCK_BYTES != 0;
        bool const refused = got < 0 && errno == EINVAL;
        if (result->direct && (unaligned || refused)) {
            result->direct = !zpy_os_direct(fd, false);
            if (!result->direct) {
                continue;
            }
        }
        if (got < 0 && errno != EINTR) {
            result->system_error = errno;
            return -1;
        }
    }
    return (int64_t) done;
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

int
zpy_verify_span(struct zpy_writer *writer, struct zpy_span_request const *request,
                struct zpy_span_result *result_out)
{
    struct zpy_filler filler;
    *result_out = (struct zpy_span_result){.direct = request->direct != 0};
    if (request->start > request->stop || request->stop > INT64_MAX || request->start % BLOCK_BYTES != 0) {
        return ZPY_INVALID;
    }
    int status = zpy_filler_open(&filler, request);
    if (status != ZPY_OK) {
        return status;
    }
    uint64_t offset = request->start;
    while (status == ZPY_OK && offset < request->stop) {
        uint64_t const left = request->stop - offset;
        size_t const length = left < writer->buffer_bytes ? (size_t) left : writer->buffer_bytes;
        int64_t const got = read_chunk(request->fd, writer->buffers[0], length, offset + (uint64_t) request->shift, result_out);
        if (got < 0) {
            status = ZPY_SYSTEM;
            break;
        }
        zpy_filler_fill(&filler, writer->buffers[1], length, offset);
        size_t const same = equal_bytes(writer->buffers[0], writer->buffers[1], (size_t) got);
        result_out->done_bytes += same;
        offset += same;
        if (same < length) { /* Different, or the file is shorter than what was written. */
            status = ZPY_FORGED;
        }
    }
    int const state = zpy_filler_close(&filler, request);
    return status != ZPY_OK ? status : state;
}
