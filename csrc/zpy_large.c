/* zpy_large.c: the twins for large cells. They release the GIL, and they do their work on pinned bytes without the lock, so
 * that nobody waits for a long copy; whether the cell lived through it is asked afterwards. */
#include "zpy_internal.h"

#include <string.h>

int64_t
zpy_large_create(uint8_t const *data, size_t length, uint32_t options, uint64_t ttl_ns, uint32_t max_reads)
{
    return zpy_cell_create(data, length, options, ttl_ns, max_reads); /* Fills own pages without the lock. */
}

int
zpy_large_wipe(uint64_t cell)
{
    return zpy_cell_wipe(cell); /* Zeroes large cells without the lock. */
}

void
zpy_large_memzero(uint8_t *bytes, size_t length)
{
    sodium_memzero(bytes, length);
}

int
zpy_large_memequal(uint8_t const *left, uint8_t const *right, size_t length)
{
    return sodium_memcmp(left, right, length) == 0;
}

int
zpy_large_read(uint64_t cell, size_t offset, uint8_t *out, size_t length)
{
    uint8_t *data;
    size_t held;
    int status = zpy_cell_pin(cell, false, &data, &held);
    if (status != ZPY_OK) {
        return status;
    }
    if (zpy_is_inside(held, offset, length)) {
        memcpy(out, data + offset, length);
    } else {
        status = ZPY_RANGE;
    }
    int const state = zpy_cell_unpin(cell);
    if (state != ZPY_OK && status == ZPY_OK) {
        sodium_memzero(out, length); /* Wiped meanwhile: a part of it may be the secret. */
    }
    return state != ZPY_OK ? state : status;
}

int
zpy_large_take(uint64_t cell, uint8_t *out, size_t length)
{
    struct zpy_lease lease = {.cell = 0};
    int64_t const held = zpy_cell_length(cell);
    if (held >= 0 && (uint64_t) held != length) {
        return ZPY_RANGE;
    }
    uint8_t const *const address = zpy_cell_address(cell);
    int status = zpy_cell_lease(&lease, cell, address, 1);
    if (status != ZPY_OK) {
        return status;
    }
    memcpy(out, address, length);
    status = zpy_cell_lease_close(&lease);
    zpy_cell_lease_drop(&lease, address);
    if (status != ZPY_OK) {
        sodium_memzero(out, length);
    }
    return status;
}

int
zpy_large_write(uint64_t cell, size_t offset, uint8_t const *data, size_t length)
{
    uint8_t *target;
    size_t held;
    int status = zpy_cell_pin(cell, true, &target, &held);
    if (status != ZPY_OK) {
        return status;
    }
    if (zpy_is_inside(held, offset, length)) {
        memmove(target + offset, data, length);
    } else {
        status = ZPY_RANGE;
    }
    int const state = zpy_cell_unpin(cell); /* Of a cell wiped meanwhile the slot is zeroed again with its last pin. */
    return state != ZPY_OK ? state : status;
}

int
zpy_large_zero(uint64_t cell)
{
    uint8_t *data;
    size_t held;
    int const status = zpy_cell_pin(cell, true, &data, &held);
    if (status != ZPY_OK) {
        return status;
    }
    sodium_memzero(data, held);
    return zpy_cell_unpin(cell);
}

/* Do one of two things with two pinned cells: copy source to target, or compare them. */
static int
with_both(uint64_t target, uint64_t source, size_t length, bool compare, bool *equal_out)
{
    uint8_t *to;
    uint8_t *from;
    size_t to_held;
    size_t from_held;
    int status = zpy_cell_pin(source, false, &from, &from_held);
    if (status != ZPY_OK) {
        return status;
    }
    status = zpy_cell_pin(target, !compare, &to, &to_held);
    if (status == ZPY_OK) {
        if (compare) {
            *equal_out = to_held == from_held && sodium_memcmp(to, from, to_held) == 0;
        } else if (zpy_is_inside(from_held, 0, length) && zpy_is_inside(to_held, 0, length)) {
            memmove(to, from, length);
        } else {
            status = ZPY_RANGE;
        }
        int const state = zpy_cell_unpin(target);
        status = state != ZPY_OK ? state : status;
    }
    int const state = zpy_cell_unpin(source);
    return state != ZPY_OK ? state : status;
}

int
zpy_large_copy(uint64_t target, uint64_t source, size_t length)
{
    return with_both(target, source, length, false, NULL);
}

int
zpy_large_compare(uint64_t left, uint64_t right)
{
    bool equal = false;
    int const status = with_both(right, left, 0, true, &equal);
    return status == ZPY_OK ? equal : -status;
}

int
zpy_large_verify(uint64_t cell, uint8_t const *data, size_t length)
{
    uint8_t *held_data;
    size_t held;
    int status = zpy_cell_pin(cell, false, &held_data, &held);
    if (status != ZPY_OK) {
        return -status;
    }
    bool const equal = held == length && sodium_memcmp(held_data, data, length) == 0;
    status = zpy_cell_unpin(cell);
    return status == ZPY_OK ? equal : -status;
}
