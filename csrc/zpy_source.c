/* zpy_source.c: environment and descriptors: bytes that go straight into a slot, and out of one. */
#include "zpy_internal.h"
#include "zpy_os.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int64_t
zpy_cell_from_env(char const *name, uint32_t options, uint64_t ttl_ns, uint32_t max_reads)
{
    char const *const value = getenv(name);
    if (value == NULL) {
        return -ZPY_RANGE;
    }
    return zpy_cell_create((uint8_t const *) value, strlen(value), options, ttl_ns, max_reads);
}

int
zpy_cell_scrub_env(char const *name)
{
#if defined(_WIN32)
    (void) name; /* The process and the C library keep several copies, and getenv shows one of them. */
    return ZPY_UNSUPPORTED;
#else
    char *const value = getenv(name);
    if (value == NULL) {
        return ZPY_RANGE;
    }
    sodium_memzero(value, strlen(value));
    return unsetenv(name) == 0 ? ZPY_OK : ZPY_SYSTEM;
#endif
}

int64_t
zpy_source_read(uint64_t cell, size_t offset, int fd)
{
    uint8_t *data;
    size_t length;
    int state = zpy_cell_pin(cell, true, &data, &length);
    if (state != ZPY_OK) {
        return -1 - (int64_t) state;
    }
    int64_t answer = -1 - (int64_t) ZPY_RANGE;
    if (offset <= length) {
        int64_t const got = zpy_os_read(fd, data + offset, length - offset);
        answer = got >= 0 ? got : -1 - (int64_t) ZPY_SYSTEM;
    }
    state = zpy_cell_unpin(cell);
    return state == ZPY_OK ? answer : -1 - (int64_t) state;
}

int
zpy_source_read_line(uint64_t cell, size_t *used_inout, int fd)
{
    uint8_t *data;
    size_t length;
    int state = zpy_cell_pin(cell, true, &data, &length);
    if (state != ZPY_OK) {
        return -1 - state;
    }
    int answer = ZPY_LINE_FULL;
    size_t used = *used_inout;
    while (answer == ZPY_LINE_FULL && used < length) {
        int64_t const got = zpy_os_read(fd, data + used, 1);
        if (got < 0) {
            answer = -1 - ZPY_SYSTEM;
        } else if (got == 0) {
            answer = ZPY_LINE_EOF;
        } else if (data[used] == '\n') {
            answer = ZPY_LINE_WHOLE;
        } else {
            used++;
        }
    }
    if (answer == ZPY_LINE_WHOLE) {
        size_t const newline = used;
        if (used > 0 && data[used - 1] == '\r') {
            used--;
        }
        sodium_memzero(data + used, newline + 1 - used);
    }
    *used_inout = used;
    state = zpy_cell_unpin(cell);
    return state == ZPY_OK ? answer : -1 - state;
}

static bool
is_space(uint8_t byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

int64_t
zpy_source_strip(uint64_t cell, size_t length)
{
    uint8_t *data;
    size_t held;
    int state = zpy_cell_pin(cell, true, &data, &held);
    if (state != ZPY_OK) {
        return -(int64_t) state;
    }
    int64_t answer = -(int64_t) ZPY_RANGE;
    if (length <= held) {
        size_t start = 0;
        size_t stop = length;
        while (start < stop && is_space(data[start])) {
            start++;
        }
        while (stop > start && is_space(data[stop - 1])) {
            stop--;
        }
        memmove(data, data + start, stop - start);
        sodium_memzero(data + (stop - start), length - (stop - start));
        answer = (int64_t) (stop - start);
    }
    state = zpy_cell_unpin(cell);
    return state == ZPY_OK ? answer : -(int64_t) state;
}

int
zpy_sink_write(uint64_t cell, size_t length, int fd)
{
    uint8_t *data;
    size_t held;
    int state = zpy_cell_pin(cell, false, &data, &held);
    if (state != ZPY_OK) {
        return state;
    }
    int status = length <= held ? ZPY_OK : ZPY_RANGE;
    size_t done = 0;
    while (status == ZPY_OK && done < length) {
        int64_t const wrote = zpy_os_write(fd, data + done, length - done);
        if (wrote > 0) {
            done += (size_t) wrote;
        } else if (wrote == 0 || errno != EINTR) {
            errno = wrote == 0 ? EIO : errno;
            status = ZPY_SYSTEM;
        }
    }
    state = zpy_cell_unpin(cell);
    return state == ZPY_OK ? status : state;
}

int64_t
zpy_scan_find(uint64_t cell, uint8_t const *hay, size_t length, size_t start)
{
    uint8_t *needle;
    size_t held;
    int64_t answer = -1;
    int state = zpy_cell_pin(cell, false, &needle, &held);
    if (state != ZPY_OK) {
        return -2 - (int64_t) state;
    }
    if (held > 0 && start <= length) {
        uint8_t const *const hit = zpy_os_find(hay + start, length - start, needle, held);
        answer = hit != NULL ? (int64_t) (hit - hay) : -1;
    }
    state = zpy_cell_unpin(cell);
    return state == ZPY_OK ? answer : -2 - (int64_t) state;
}
