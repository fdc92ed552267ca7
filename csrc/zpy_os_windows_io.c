/* zpy_os_windows_io.c: the part of zpy_os.h for Windows that works on descriptors and bytes.
 *
 * Descriptors are the C library's, and their handles are used, so that no text mode changes a byte. A number that is no
 * descriptor ends as the C library's invalid parameter handler wants it. */
#include "zpy_os.h"

#if defined(_WIN32)

#include <errno.h>
#include <io.h>
#include <string.h>
#include <windows.h>

/* The most that one call moves; more is asked for in the next. */
#define IO_BYTES_MAX ((size_t) 1 << 30)

void
zpy_os_set_errno(void)
{
    switch (GetLastError()) {
    case ERROR_NOT_ENOUGH_MEMORY:
    case ERROR_OUTOFMEMORY:
    case ERROR_COMMITMENT_LIMIT:
    case ERROR_WORKING_SET_QUOTA:
    case ERROR_NOT_ENOUGH_QUOTA:
    case ERROR_NO_SYSTEM_RESOURCES:
        errno = ENOMEM;
        break;
    case ERROR_ACCESS_DENIED:
    case ERROR_LOCK_VIOLATION:
    case ERROR_WRITE_PROTECT:
        errno = EACCES;
        break;
    case ERROR_PRIVILEGE_NOT_HELD:
        errno = EPERM;
        break;
    case ERROR_CALL_NOT_IMPLEMENTED:
        errno = ENOSYS;
        break;
    case ERROR_INVALID_HANDLE:
        errno = EBADF;
        break;
    case ERROR_INVALID_PARAMETER:
        errno = EINVAL;
        break;
    case ERROR_DISK_FULL:
    case ERROR_HANDLE_DISK_FULL:
        errno = ENOSPC;
        break;
    case ERROR_BROKEN_PIPE:
    case ERROR_NO_DATA:
        errno = EPIPE;
        break;
    default:
        errno = EIO;
    }
}

static HANDLE
handle_of(int fd)
{
    return (HANDLE) _get_osfhandle(fd); /* INVALID_HANDLE_VALUE and EBADF when there is none. */
}

static DWORD
at_most(size_t length)
{
    return (DWORD) (length < IO_BYTES_MAX ? length : IO_BYTES_MAX);
}

static OVERLAPPED
place_of(uint64_t offset)
{
    return (OVERLAPPED){.Offset = (DWORD) offset, .OffsetHigh = (DWORD) (offset >> 32)};
}

/* How a transfer ended that began with this answer; null when it was not at an offset. */
static int64_t
end_of(HANDLE handle, BOOL done, DWORD moved, OVERLAPPED *place)
{
    if (!done && place != NULL && GetLastError() == ERROR_IO_PENDING) {
        done = GetOverlappedResult(handle, place, &moved, TRUE); /* The buffer must not be left to the system. */
    }
    if (done) {
        return moved;
    }
    DWORD const error = GetLastError();
    zpy_os_set_errno();
    return error == ERROR_HANDLE_EOF ? 0 : -1;
}

int64_t
zpy_os_read(int fd, uint8_t *out, size_t length)
{
    DWORD got = 0;
    HANDLE const handle = handle_of(fd);
    if (handle == INVALID_HANDLE_VALUE) {
        return -1;
    }
    BOOL const done = ReadFile(handle, out, at_most(length), &got, NULL);
    if (!done && GetLastError() == ERROR_BROKEN_PIPE) {
        return 0; /* The last writer is gone: the end, as read(2) tells it. */
    }
    return end_of(handle, done, got, NULL);
}

int64_t
zpy_os_write(int fd, uint8_t const *bytes, size_t length)
{
    DWORD wrote = 0;
    HANDLE const handle = handle_of(fd);
    if (handle == INVALID_HANDLE_VALUE) {
        return -1;
    }
    BOOL const done = WriteFile(handle, bytes, at_most(length), &wrote, NULL);
    return end_of(handle, done, wrote, NULL);
}

int64_t
zpy_os_read_at(int fd, uint8_t *out, size_t length, uint64_t offset)
{
    DWORD got = 0;
    OVERLAPPED place = place_of(offset);
    HANDLE const handle = handle_of(fd);
    if (handle == INVALID_HANDLE_VALUE) {
        return -1;
    }
    BOOL const done = ReadFile(handle, out, at_most(length), &got, &place);
    return end_of(handle, done, got, &place);
}

int64_t
zpy_os_write_at(int fd, uint8_t const *bytes, size_t length, uint64_t offset)
{
    DWORD wrote = 0;
    OVERLAPPED place = place_of(offset);
    HANDLE const handle = handle_of(fd);
    if (handle == INVALID_HANDLE_VALUE) {
        return -1;
    }
    BOOL const done = WriteFile(handle, bytes, at_most(length), &wrote, &place);
    return end_of(handle, done, wrote, &place);
}

bool
zpy_os_direct(int fd, bool on)
{
    (void) fd;
    (void) on;
    return false; /* Whether writes go around the cache is settled when a file is opened. */
}

uint8_t const *
zpy_os_find(uint8_t const *hay, size_t hay_bytes, uint8_t const *needle, size_t needle_bytes)
{
    while (hay_bytes >= needle_bytes) {
        uint8_t const *const head = memchr(hay, needle[0], hay_bytes - needle_bytes + 1);
        if (head == NULL) {
            return NULL;
        }
        if (memcmp(head, needle, needle_bytes) == 0) {
            return head;
        }
        hay_bytes -= (size_t) (head + 1 - hay);
        hay = head + 1;
    }
    return NULL;
}

#endif
