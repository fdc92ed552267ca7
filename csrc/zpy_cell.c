/* zpy_cell.c: cells as Python uses them: create, read, write, compare, wipe. */
#include "zpy_entry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- create ---- */

static int
give_slot(struct zpy_entry *entry)
{
    while ((entry->slot = zpy_arena_take(entry->length, entry->inherit)) == NULL) {
        zpy_unlock();
        int const status = zpy_arena_grow(entry->length, entry->inherit);
        int const saved = errno;
        zpy_lock();
        if (status == ZPY_LOCK_LIMIT &&
            (entry->slot = zpy_arena_take_larger(entry->length, entry->inherit)) != NULL) {
            break;
        }
        if (status != ZPY_OK) {
            errno = saved;
            return status;
        }
    }
    entry->data = entry->slot->data;
    return ZPY_OK;
}

static void
fill(uint8_t *target, uint8_t const *data, size_t length, uint32_t options)
{
    if ((options & ZPY_RANDOM) != 0) {
        randombytes_buf(target, length);
    } else if (data != NULL && length > 0) {
        memcpy(target, data, length);
    }
}

/* Map, fill and close own pages, which takes a while and is done without the lock. The bytes end where the guard begins,
 * down to the alignment, so that an overrun faults. */
static int
prepare_own(struct zpy_own_pages *own, struct zpy_entry *entry, uint8_t const *data, uint32_t options)
{
    size_t const aligned = (entry->length + ZPY_ALIGN - 1) / ZPY_ALIGN * ZPY_ALIGN;
    int status = zpy_pages_map(own->pages.bytes, entry->inherit, &own->pages);
    if (status != ZPY_OK) {
        return status;
    }
    entry->data = own->pages.base + (own->pages.bytes - aligned);
    fill(entry->data, data, entry->length, options);
    status = zpy_pages_protect(&own->pages, false);
    if (status != ZPY_OK) {
        int const saved = errno;
        sodium_memzero(entry->data, entry->length);
        zpy_pages_unmap(&own->pages);
        errno = saved;
    }
    return status;
}

static int
give_own_pages(struct zpy_entry *entry, uint8_t const *data, uint32_t options)
{
    struct zpy_own_pages *const own = calloc(1, sizeof *own);
    size_t const bytes = zpy_pages_round(entry->length > 0 ? entry->length : 1);
    int status = (own == NULL || bytes < entry->length) ? ZPY_NO_MEMORY : ZPY_OK;
    if (status == ZPY_OK && !zpy_arena_charge(bytes)) {
        status = ZPY_LOCK_LIMIT;
    }
    if (status != ZPY_OK) {
        free(own);
        return status;
    }
    own->pages.bytes = bytes;
    zpy_unlock();
    status = prepare_own(own, entry, data, options);
    int const saved = errno;
    zpy_lock();
    if (status != ZPY_OK) {
        zpy_arena_refund(bytes);
        free(own);
        errno = saved;
        return status;
    }
    zpy_entry_own(own);
    entry->own = own;
    return ZPY_OK;
}

int64_t
zpy_cell_create(uint8_t const *data, size_t length, uint32_t options, uint64_t ttl_ns, uint32_t max_reads)
{
    if (!zpy_pages_same_process()) {
        return -ZPY_FORKED; /* A child of a raw clone(): its heap and lock are in an unknown state. */
    }
    struct zpy_entry made = {.length = length, .inherit = (options & ZPY_INHERIT) != 0};
    int status;
    zpy_lock();
    if ((options & ZPY_ISOLATED) != 0 || length > ZPY_SLOT_MAX) {
        status = give_own_pages(&made, data, options);
    } else {
        status = give_slot(&made);
        if (status == ZPY_OK) {
            fill(made.data, data, length, options);
        }
    }
    int64_t const answer = status == ZPY_OK ? zpy_entry_publish(&made, ttl_ns, max_reads) : -(int64_t) status;
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
    int status = zpy_entry_begin(cell, &entry);
    if (status == ZPY_OK) {
        if (zpy_is_inside(entry->length, offset, length)) {
            memcpy(out, entry->data + offset, length);
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
    zpy_lock();
    struct zpy_entry *const entry = zpy_entry_find(cell);
    int status = zpy_entry_status(entry);
    if (status == ZPY_OK) {
        status = zpy_entry_is_spent(entry) ? ZPY_WIPED : entry->length != length ? ZPY_RANGE : zpy_entry_unveil(entry);
    }
    if (status == ZPY_OK) {
        memcpy(out, entry->data, length);
        (void) zpy_entry_veil(entry); /* As in zpy_cell_read. */
        zpy_entry_spend(entry);
        if (zpy_entry_is_spent(entry) && entry->accesses == 0) {
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
    int status = zpy_entry_begin(cell, &entry);
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
    zpy_lock();
    struct zpy_entry *const entry = zpy_entry_find(cell);
    int status = zpy_entry_usable(entry);
    if (status == ZPY_OK) {
        status = zpy_entry_zero(entry);
    }
    zpy_unlock();
    return status;
}

int
zpy_cell_copy(uint64_t target, uint64_t source, size_t length)
{
    struct zpy_entry *from;
    zpy_lock();
    int status = zpy_entry_begin(source, &from);
    if (status == ZPY_OK) {
        struct zpy_entry *to;
        status = zpy_entry_begin(target, &to);
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

bool
zpy_cell_verify(uint64_t cell, uint8_t const *data, size_t length)
{
    struct zpy_entry *entry;
    bool equal = false;
    if (length > ZPY_SLOT_MAX) {
        return false; /* Too long to be compared under the lock. */
    }
    zpy_lock();
    if (zpy_entry_begin(cell, &entry) == ZPY_OK) {
        equal = entry->length == length && sodium_memcmp(entry->data, data, length) == 0;
        (void) zpy_entry_veil(entry); /* As in zpy_cell_read. */
    }
    zpy_unlock();
    return equal;
}

int
zpy_cell_compare(uint64_t left, uint64_t right)
{
    struct zpy_entry *first;
    int answer = 0;
    zpy_lock();
    int status = zpy_entry_begin(left, &first);
    if (status == ZPY_OK) {
        struct zpy_entry *second;
        status = zpy_entry_begin(right, &second);
        if (status == ZPY_OK) {
            answer = first->length == second->length && sodium_memcmp(first->data, second->data, first->length) == 0;
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
        struct zpy_pages const *const pages = entry->own != NULL ? &entry->own->pages : zpy_arena_pages(entry->slot);
        *protection_out = (struct zpy_protection){.backing = pages->backing,
                                                  .fork = pages->fork,
                                                  .locked = pages->locked,
                                                  .guarded = 1, /* A run without its guards is never handed out. */
                                                  .dump_excluded = pages->dump_excluded,
                                                  .isolated = entry->own != NULL,
                                                  .page_bytes = pages->bytes};
    }
    zpy_unlock();
    return status;
}

