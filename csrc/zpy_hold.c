/* zpy_hold.c: the memory of one cell: a slot, pages of its own, or ciphertext with a slot for as long as it is open. */
#include "zpy_entry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct zpy_own_pages *all_own = NULL;
/* Of cells that are gone, to be unmapped when the lock is given up: that takes long for large ones. */
static struct zpy_own_pages *gone = NULL;
/* Where ciphertexts were that are zeros now, to be freed. */
static struct zpy_spent *spent = NULL;

/* ---- open and close ---- */

static void
leave_slot(struct zpy_entry *entry)
{
    int const status = zpy_arena_give(entry->slot, entry->length);
    entry->is_damaged = entry->is_damaged || status != ZPY_OK;
    entry->slot = NULL;
    entry->data = NULL;
}

static int
open_sealed(struct zpy_entry *entry)
{
    int const status = entry->opens > 0 ? ZPY_OK : zpy_seal_open(entry);
    if (status == ZPY_OK) {
        entry->opens++;
    } else {
        leave_slot(entry); /* Others can use it. */
    }
    return status;
}

int
zpy_entry_unveil(struct zpy_entry *entry)
{
    int status = ZPY_OK;
    if (entry->tier == ZPY_TIER_SEALED) {
        status = open_sealed(entry);
    } else if (entry->own != NULL && entry->own->open_count++ == 0) {
        status = zpy_pages_protect(&entry->own->pages, true);
        if (status != ZPY_OK) {
            entry->own->open_count--;
        }
    }
    return status;
}

static void
close_sealed(struct zpy_entry *entry)
{
    if (entry->is_changed && entry->sealed != NULL) {
        zpy_seal_close(entry);
    }
    entry->is_changed = false;
    leave_slot(entry);
}

int
zpy_entry_veil(struct zpy_entry *entry)
{
    if (entry->tier == ZPY_TIER_SEALED) {
        entry->opens--;
        if (entry->opens == 0) {
            close_sealed(entry);
        }
        return ZPY_OK;
    }
    if (entry->own != NULL && --entry->own->open_count == 0) {
        return zpy_pages_protect(&entry->own->pages, false);
    }
    return ZPY_OK;
}

/* ---- end ---- */

void
zpy_entry_shed(struct zpy_entry *entry)
{
    if (entry->sealed != NULL) {
        sodium_memzero(entry->sealed, zpy_seal_bytes(entry->length));
        struct zpy_spent *const first = (struct zpy_spent *) (void *) entry->sealed; /* Aligned for anything, by malloc. */
        first->next = spent;
        spent = first;
        entry->sealed = NULL;
    }
}

struct zpy_spent *
zpy_hold_take_spent(void)
{
    struct zpy_spent *const taken = spent;
    spent = NULL;
    return taken;
}

int
zpy_entry_destroy(struct zpy_entry *entry)
{
    if (entry->tier == ZPY_TIER_SEALED) {
        if (entry->sealed != NULL) {
            sodium_memzero(entry->sealed, zpy_seal_bytes(entry->length));
            free(entry->sealed);
            entry->sealed = NULL;
        }
        if (entry->slot != NULL) {
            sodium_memzero(entry->data, entry->length);
        }
        return ZPY_OK;
    }
    int const status = zpy_entry_unveil(entry);
    if (status == ZPY_OK) {
        sodium_memzero(entry->data, entry->length);
        (void) zpy_entry_veil(entry); /* Readable zeros do no harm. */
    }
    return status;
}

static void
link_own(struct zpy_own_pages *own)
{
    own->next = all_own;
    own->link = &all_own;
    if (all_own != NULL) {
        all_own->link = &own->next;
    }
    all_own = own;
}

static void
unlink_own(struct zpy_own_pages *own)
{
    *own->link = own->next;
    if (own->next != NULL) {
        own->next->link = own->link;
    }
}

int
zpy_entry_release(struct zpy_entry *entry)
{
    int status = ZPY_OK;
    if (entry->slot != NULL) {
        status = zpy_arena_give(entry->slot, entry->length);
        entry->slot = NULL;
    } else if (entry->own != NULL) {
        /* The kernel zeroes pages before anybody else gets them; what a stale view wrote goes with them. */
        unlink_own(entry->own);
        zpy_budget_refund(entry->own->pages.bytes, false);
        entry->own->next = gone;
        gone = entry->own;
        entry->own = NULL;
    }
    entry->data = NULL;
    return entry->is_damaged ? ZPY_CORRUPT : status;
}

struct zpy_own_pages *
zpy_hold_take_gone(void)
{
    struct zpy_own_pages *const taken = gone;
    gone = NULL;
    return taken;
}

void
zpy_hold_unmap(struct zpy_own_pages *taken)
{
    while (taken != NULL) {
        struct zpy_own_pages *const next = taken->next;
        zpy_pages_unmap(&taken->pages);
        free(taken);
        taken = next;
    }
}

/* ---- begin ---- */

static void
fill(uint8_t *target, struct zpy_content const *content, uint32_t options)
{
    if ((options & ZPY_RANDOM) != 0) {
        randombytes_buf(target, content->length);
    } else if (content->data != NULL && content->length > 0) {
        memcpy(target, content->data, content->length);
    }
    if (content->expand != NULL) {
        content->expand(target);
    }
}

static int
hold_slot(struct zpy_entry *entry, struct zpy_content const *content, uint32_t options)
{
    int const status = zpy_arena_obtain(entry->length, zpy_shelf(entry->inherit, false), &entry->slot);
    if (status == ZPY_OK) {
        entry->data = entry->slot->data;
        fill(entry->data, content, options);
    }
    return status;
}

/* A new sealed cell begins open, so that its first veil encrypts it. */
static int
hold_sealed(struct zpy_entry *entry, struct zpy_content const *content, uint32_t options)
{
    int status = zpy_seal_ensure(entry->inherit);
    if (status != ZPY_OK) {
        return status;
    }
    entry->sealed = malloc(zpy_seal_bytes(entry->length));
    if (entry->sealed == NULL) {
        return ZPY_NO_MEMORY;
    }
    /* From the slots that it will be opened into: one that can never be opened is not taken in. */
    status = zpy_arena_obtain(entry->length, zpy_shelf(entry->inherit, true), &entry->slot);
    if (status != ZPY_OK) {
        int const saved = errno;
        free(entry->sealed);
        entry->sealed = NULL;
        errno = saved;
        return status;
    }
    entry->data = entry->slot->data;
    fill(entry->data, content, options);
    entry->opens = 1;
    entry->is_changed = true;
    return ZPY_OK;
}

/* Map, fill and close own pages, which takes a while and is done without the lock. The bytes end where the guard begins,
 * down to the alignment, so that an overrun faults. */
static int
prepare_own(struct zpy_own_pages *own, struct zpy_entry *entry, struct zpy_content const *content, uint32_t options)
{
    size_t const aligned = (entry->length + ZPY_ALIGN - 1) / ZPY_ALIGN * ZPY_ALIGN;
    int status = zpy_pages_map(own->pages.bytes, entry->inherit, &own->pages);
    if (status != ZPY_OK) {
        return status;
    }
    entry->data = own->pages.base + (own->pages.bytes - aligned);
    fill(entry->data, content, options);
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
hold_own(struct zpy_entry *entry, struct zpy_content const *content, uint32_t options)
{
    struct zpy_own_pages *const own = calloc(1, sizeof *own);
    size_t const bytes = zpy_pages_round(entry->length > 0 ? entry->length : 1);
    int status = (own == NULL || bytes < entry->length) ? ZPY_NO_MEMORY : ZPY_OK;
    if (status == ZPY_OK && !zpy_arena_charge(bytes, false)) {
        status = ZPY_LOCK_LIMIT;
    }
    if (status != ZPY_OK) {
        free(own);
        return status;
    }
    own->pages.bytes = bytes;
    uint32_t const wipes = zpy_registry_wipes();
    zpy_unlock();
    status = prepare_own(own, entry, content, options);
    int const saved = errno;
    zpy_lock();
    if (status == ZPY_OK && zpy_registry_wipes() != wipes) {
        zpy_pages_unmap(&own->pages); /* A signal's handler may have zeroed what was filled in. */
        status = ZPY_WIPED;
    }
    if (status != ZPY_OK) {
        zpy_budget_refused(bytes, false, status);
        free(own);
        errno = saved;
        return status;
    }
    link_own(own);
    entry->own = own;
    return ZPY_OK;
}

int
zpy_entry_hold(struct zpy_entry *entry, struct zpy_content const *content, uint32_t options)
{
    /* With the first secret, while pages can still be locked. The cell at hand may well do without, whatever this answers. */
    (void) zpy_seal_ensure(false);
    if ((options & ZPY_ISOLATED) != 0 || entry->length > ZPY_SLOT_MAX) {
        entry->tier = ZPY_TIER_ISOLATED;
        return hold_own(entry, content, options);
    }
    if ((options & ZPY_SEALED) != 0) {
        entry->tier = ZPY_TIER_SEALED;
        return hold_sealed(entry, content, options);
    }
    entry->tier = ZPY_TIER_PACKED;
    return hold_slot(entry, content, options);
}

int
zpy_entry_make_room(uint64_t cell)
{
    struct zpy_entry *entry = zpy_entry_find(cell);
    struct zpy_slot *slot = NULL;
    int status = zpy_arena_obtain(entry->length, zpy_shelf(entry->inherit, true), &slot);
    if (status != ZPY_OK) {
        return status;
    }
    entry = zpy_entry_find(cell);
    status = zpy_entry_status(entry);
    if (status == ZPY_OK && entry->slot == NULL) {
        entry->slot = slot;
        entry->data = slot->data;
    } else {
        (void) zpy_arena_give(slot, 0); /* Nothing was in it; damage is counted in the stats. */
    }
    return status;
}

struct zpy_pages const *
zpy_entry_pages(struct zpy_entry const *entry)
{
    if (entry->tier == ZPY_TIER_SEALED) {
        return zpy_seal_pages(entry->inherit);
    }
    return entry->own != NULL ? &entry->own->pages : zpy_arena_pages(entry->slot);
}

/* ---- fork ---- */

void
zpy_hold_after_fork(void)
{
    struct zpy_own_pages **link = &all_own;
    while (*link != NULL) {
        struct zpy_own_pages *const own = *link;
        /* Pages without access cannot be locked. */
        bool const closed = own->pages.inherit && own->open_count == 0 && zpy_pages_protect(&own->pages, true) == ZPY_OK;
        zpy_pages_after_fork(&own->pages);
        if (closed) {
            (void) zpy_pages_protect(&own->pages, false); /* Left accessible is weaker, never wrong. */
        }
        if (own->pages.inherit) {
            zpy_budget_hold(own->pages.bytes, false);
            link = &own->next;
        } else {
            unlink_own(own);
        }
    }
}
