/* zpy_cell.c: cells as Python uses them: create, read, write, compare, wipe. */
#include "zpy_entry.h"

#include <errno.h>
#include <string.h>

int64_t
zpy_cell_create_from(struct zpy_content const *content, size_t length, uint32_t options, uint64_t ttl_ns, uint32_t max_reads)
{
    if (!zpy_pages_same_process()) {
        return -ZPY_FORKED; /* A child of a raw clone(): its heap and lock are in an unknown state. */
    }
    struct zpy_entry made = {.length = length, .inherit = (options & ZPY_INHERIT) != 0};
    zpy_lock();
    int const status = zpy_entry_hold(&made, content, options);
    int64_t const answer = status == ZPY_OK ? zpy_entry_publish(&made, ttl_ns, max_reads) : -(int64_t) status;
    if (answer > 0 && made.tier == ZPY_TIER_SEALED) {
        (void) zpy_entry_veil(zpy_entry_find((uint64_t) answer)); /* Encrypts, which cannot fail. */
    }
    zpy_unlock();
    zpy_registers_clear();
    if (ttl_ns != 0 && answer > 0 && zpy_reaper_ensure() != ZPY_OK) {
        /* A deadline that nobody would keep must not be promised. */
        int const saved = errno;
        (void) zpy_cell_wipe((uint64_t) answer);
        errno = saved;
        return -ZPY_SYSTEM;
    }
    return answer;
}

int64_t
zpy_cell_create(uint8_t const *data, size_t length, uint32_t options, uint64_t ttl_ns, uint32_t max_reads)
{
    return zpy_cell_create_from(&(struct zpy_content){.data = data, .length = length}, length, options, ttl_ns, max_reads);
}

/* ---- end ---- */

int
zpy_cell_wipe(uint64_t cell)
{
    int status = ZPY_OK;
    zpy_lock();
    struct zpy_entry *const entry = zpy_entry_find(cell);
    if (entry != NULL && entry->state != CELL_DEAD) {
        status = zpy_entry_give_up(entry, zpy_entry_index(cell));
    }
    zpy_unlock();
    return status;
}

/* ---- use ---- */

/* Is what was read just now whole? A fatal signal's handler takes no lock, and leaves zeros. */
static int
check_whole(void)
{
    atomic_thread_fence(memory_order_acquire);
    return zpy_lock_missed_wipe() ? ZPY_WIPED : ZPY_OK;
}

static int
copy_out(uint8_t *out, uint8_t const *bytes, size_t length)
{
    memcpy(out, bytes, length);
    int const status = check_whole();
    if (status != ZPY_OK) {
        sodium_memzero(out, length); /* A part of it may be the secret. */
    }
    return status;
}

int
zpy_cell_state(uint64_t cell)
{
    zpy_lock();
    int const status = zpy_entry_usable(zpy_entry_find(cell));
    zpy_unlock();
    return status;
}

int64_t
zpy_cell_length(uint64_t cell)
{
    zpy_lock();
    struct zpy_entry *const entry = zpy_entry_find(cell);
    int const status = zpy_entry_usable(entry);
    int64_t const answer = status == ZPY_OK ? (int64_t) entry->length : -(int64_t) status;
    zpy_unlock();
    return answer;
}

int64_t
zpy_cell_ttl(uint64_t cell)
{
    int64_t answer = -1;
    zpy_lock();
    struct zpy_entry *const entry = zpy_entry_find(cell);
    int const status = zpy_entry_usable(entry);
    if (status != ZPY_OK) {
        answer = -1 - (int64_t) status;
    } else if (entry->deadline_ns != 0) {
        uint64_t const now = zpy_entry_now_ns();
        answer = now < entry->deadline_ns ? (int64_t) (entry->deadline_ns - now) : 0;
    }
    zpy_unlock();
    return answer;
}

int
zpy_cell_read(uint64_t cell, size_t offset, uint8_t *out, size_t length)
{
    struct zpy_entry *entry;
    zpy_lock();
    int status = zpy_entry_begin(cell, ZPY_TO_READ, &entry);
    if (status == ZPY_OK) {
        if (zpy_is_inside(entry->length, offset, length)) {
            status = copy_out(out, entry->data + offset, length);
        } else {
            status = ZPY_RANGE;
        }
        (void) zpy_entry_veil(entry); /* Left accessible is weaker, never wrong; the copy itself succeeded. */
    }
    zpy_unlock();
    zpy_registers_clear();
    return status;
}

int
zpy_cell_take(uint64_t cell, uint8_t *out, size_t length)
{
    struct zpy_entry *entry;
    zpy_lock();
    int status = zpy_entry_ready(cell, ZPY_TO_ACCESS, &entry);
    if (status == ZPY_OK) {
        status = entry->length != length ? ZPY_RANGE : zpy_entry_unveil(entry);
    }
    if (status == ZPY_OK) {
        status = copy_out(out, entry->data, length);
        (void) zpy_entry_veil(entry); /* As in zpy_cell_read. */
        zpy_entry_spend(entry);
        if (status == ZPY_OK && zpy_entry_is_spent(entry) && entry->accesses == 0) {
            status = zpy_entry_give_up(entry, zpy_entry_index(cell));
        }
    }
    zpy_unlock();
    zpy_registers_clear();
    return status;
}

int
zpy_cell_write(uint64_t cell, size_t offset, uint8_t const *data, size_t length)
{
    struct zpy_entry *entry;
    zpy_lock();
    int status = zpy_entry_begin(cell, ZPY_TO_WRITE, &entry);
    if (status == ZPY_OK) {
        if (zpy_is_inside(entry->length, offset, length)) {
            memmove(entry->data + offset, data, length);
        } else {
            status = ZPY_RANGE;
        }
        (void) zpy_entry_veil(entry); /* As in zpy_cell_read. */
    }
    zpy_unlock();
    zpy_registers_clear();
    return status;
}

int
zpy_cell_zero(uint64_t cell)
{
    struct zpy_entry *entry;
    zpy_lock();
    int const status = zpy_entry_begin(cell, ZPY_TO_WRITE, &entry);
    if (status == ZPY_OK) {
        sodium_memzero(entry->data, entry->length);
        (void) zpy_entry_veil(entry); /* Readable zeros do no harm. */
    }
    zpy_unlock();
    return status;
}

/* Opening the second of two cells may take the lock away, and the first could end meanwhile: sealed cells are pinned. */
static bool
needs_pins(uint64_t left, uint64_t right)
{
    struct zpy_entry const *const first = zpy_entry_find(left);
    struct zpy_entry const *const second = zpy_entry_find(right);
    return (first != NULL && first->tier == ZPY_TIER_SEALED) || (second != NULL && second->tier == ZPY_TIER_SEALED);
}

int
zpy_cell_copy(uint64_t target, uint64_t source, size_t length)
{
    struct zpy_entry *from;
    zpy_lock();
    if (needs_pins(target, source)) {
        zpy_unlock();
        return zpy_large_copy(target, source, length);
    }
    int status = zpy_entry_begin(source, ZPY_TO_READ, &from);
    if (status == ZPY_OK) {
        struct zpy_entry *to;
        status = zpy_entry_begin(target, ZPY_TO_WRITE, &to);
        if (status == ZPY_OK) {
            if (zpy_is_inside(from->length, 0, length) && zpy_is_inside(to->length, 0, length)) {
                memmove(to->data, from->data, length);
            } else {
                status = ZPY_RANGE;
            }
            (void) zpy_entry_veil(to); /* As in zpy_cell_read. */
        }
        (void) zpy_entry_veil(from);
    }
    zpy_unlock();
    zpy_registers_clear();
    return status;
}

int
zpy_cell_verify(uint64_t cell, uint8_t const *data, size_t length)
{
    struct zpy_entry *entry;
    if (length > ZPY_SLOT_MAX) {
        return 0; /* Too long to be compared under the lock. */
    }
    zpy_lock();
    int const status = zpy_entry_begin(cell, ZPY_TO_READ, &entry);
    int answer = -status;
    if (status == ZPY_OK) {
        answer = entry->length == length && sodium_memcmp(entry->data, data, length) == 0;
        answer = check_whole() == ZPY_OK ? answer : -ZPY_WIPED;
        (void) zpy_entry_veil(entry); /* As in zpy_cell_read. */
    }
    zpy_unlock();
    return answer;
}

bool
zpy_cell_equals(uint64_t cell, uint8_t const *data, size_t length)
{
    return zpy_cell_verify(cell, data, length) == 1;
}

int
zpy_cell_compare(uint64_t left, uint64_t right)
{
    struct zpy_entry *first;
    int answer = 0;
    zpy_lock();
    if (needs_pins(left, right)) {
        zpy_unlock();
        return zpy_large_compare(left, right);
    }
    int status = zpy_entry_begin(left, ZPY_TO_READ, &first);
    if (status == ZPY_OK) {
        struct zpy_entry *second;
        status = zpy_entry_begin(right, ZPY_TO_READ, &second);
        if (status == ZPY_OK) {
            answer = first->length == second->length && sodium_memcmp(first->data, second->data, first->length) == 0;
            status = check_whole();
            (void) zpy_entry_veil(second); /* As in zpy_cell_read. */
        }
        (void) zpy_entry_veil(first);
    }
    zpy_unlock();
    return status == ZPY_OK ? answer : -status;
}

int
zpy_cell_protection(uint64_t cell, struct zpy_protection *protection_out)
{
    zpy_lock();
    struct zpy_entry *const entry = zpy_entry_find(cell);
    int const status = zpy_entry_usable(entry);
    if (status == ZPY_OK) {
        struct zpy_pages const *const pages = zpy_entry_pages(entry);
        *protection_out = (struct zpy_protection){.backing = pages->backing,
                                                  .fork = pages->fork,
                                                  .locked = pages->locked,
                                                  .guarded = 1, /* A run without its guards is never handed out. */
                                                  .dump_excluded = pages->dump_excluded,
                                                  .tier = entry->tier,
                                                  .page_bytes = pages->bytes};
    }
    zpy_unlock();
    return status;
}

