/* zpy_borrow.c: addresses into a cell: counted accesses, pins, with-blocks. */
#include "zpy_entry.h"

#include <errno.h>

/* ---- borrowing ---- */

uint8_t *
zpy_cell_address(uint64_t cell)
{
    struct zpy_entry *entry;
    zpy_lock();
    uint8_t *const address = zpy_entry_ready(cell, ZPY_TO_READ, &entry) == ZPY_OK ? entry->data : NULL;
    zpy_unlock();
    return address;
}

/* May this address be lent? A closed sealed cell gets a place here, so that a caller who was given none hears why. */
static int
check_address(uint64_t cell, uint8_t const *address, enum zpy_intent intent, struct zpy_entry **entry_out)
{
    int const status = zpy_entry_ready(cell, intent, entry_out);
    return status == ZPY_OK && (*entry_out)->data != address ? ZPY_MOVED : status;
}

static void
fill_lease(struct zpy_lease *lease, struct zpy_entry const *entry, uint64_t cell, bool counted)
{
    lease->cell = cell;
    lease->address = entry->data;
    lease->length = entry->length;
    lease->turn++;
    lease->tier = entry->tier;
    lease->has_pin = 1;
    lease->has_access = counted;
    lease->may_last = entry->tier == ZPY_TIER_PACKED && entry->reads_left == ZPY_UNLIMITED && entry->deadline_ns == 0;
}

static int
lend(struct zpy_lease *lease, uint64_t cell, uint8_t const *address, int kind)
{
    struct zpy_entry *entry;
    bool const counted = (kind & ZPY_LEASE_COUNTED) != 0;
    int status = check_address(cell, address, counted ? ZPY_TO_ACCESS : ZPY_TO_READ, &entry);
    if (status == ZPY_OK) {
        /* Not earlier: the lock may have been away. */
        status = lease->has_pin ? ZPY_MOVED : zpy_entry_unveil(entry);
    }
    if (status == ZPY_OK) {
        fill_lease(lease, entry, cell, counted);
        entry->pins++;
        entry->is_changed = entry->is_changed || (kind & ZPY_LEASE_WRITABLE) != 0;
        if (counted) {
            zpy_entry_spend(entry);
            entry->accesses++;
        }
    }
    return status;
}

int
zpy_cell_lease(struct zpy_lease *lease, uint64_t cell, uint8_t const *address, int kind)
{
    zpy_lock();
    int const status = lend(lease, cell, address, kind);
    zpy_unlock();
    return status;
}

int64_t
zpy_cell_lease_again(struct zpy_lease *lease, uint64_t cell, int kind)
{
    zpy_lock();
    struct zpy_entry const *const entry = zpy_entry_find(cell);
    bool const fits = entry != NULL && entry->length == lease->length;
    int const status = fits ? lend(lease, cell, lease->address, kind) : ZPY_MOVED;
    int64_t const answer = status == ZPY_OK ? lease->turn : -(int64_t) status;
    zpy_unlock();
    return answer;
}

static int
end_access(struct zpy_entry *entry, uint64_t index, bool end_cell)
{
    int status = zpy_entry_status(entry);
    if (entry == NULL || zpy_entry_is_foreign(entry) || entry->state == CELL_DEAD) {
        return status;
    }
    if (entry->accesses > 0) {
        entry->accesses--;
    }
    if (end_cell || (zpy_entry_is_spent(entry) && entry->accesses == 0)) {
        int const wiped = zpy_entry_give_up(entry, index);
        status = status != ZPY_OK ? status : wiped;
    }
    return status;
}

static void
unpin(struct zpy_entry *entry, uint64_t cell)
{
    if (entry != NULL && !zpy_entry_is_foreign(entry) && entry->pins > 0) {
        zpy_entry_drop_pin(entry, zpy_entry_index(cell));
    }
}

static int
close_access(struct zpy_lease *lease)
{
    struct zpy_entry *const entry = zpy_entry_find(lease->cell);
    int status = zpy_entry_status(entry);
    if (lease->has_access) {
        lease->has_access = 0;
        status = end_access(entry, zpy_entry_index(lease->cell), false);
    }
    return status;
}

/* All that a lease holds. Returns the state before. */
static int
take_back(struct zpy_lease *lease)
{
    int const status = close_access(lease);
    if (lease->has_pin) {
        lease->has_pin = 0;
        unpin(zpy_entry_find(lease->cell), lease->cell);
    }
    return status;
}

int
zpy_cell_lease_close(struct zpy_lease *lease)
{
    zpy_lock();
    int const status = close_access(lease);
    zpy_unlock();
    zpy_registers_clear();
    return status;
}

int
zpy_cell_lease_end(struct zpy_lease *lease, int64_t turn)
{
    int status = -1;
    zpy_lock();
    if (lease->has_pin && lease->turn == turn) {
        status = take_back(lease);
    }
    zpy_unlock();
    zpy_registers_clear();
    return status;
}

void
zpy_cell_lease_drop(struct zpy_lease *lease, uint8_t const *address)
{
    (void) address; /* What cffi's destructors pass. */
    zpy_lock();
    /* Where the borrower was interrupted before it could close, the access counts all the same. */
    (void) take_back(lease);
    *lease = (struct zpy_lease){.cell = 0};
    zpy_unlock();
    zpy_registers_clear();
}

int
zpy_cell_pin(uint64_t cell, bool will_write, uint8_t **data_out, size_t *length_out)
{
    struct zpy_entry *entry;
    zpy_lock();
    int const status = zpy_entry_begin(cell, will_write ? ZPY_TO_WRITE : ZPY_TO_READ, &entry);
    if (status == ZPY_OK) {
        entry->pins++;
        *data_out = entry->data;
        *length_out = entry->length;
    }
    zpy_unlock();
    return status;
}

int
zpy_cell_pin_key(uint64_t cell, size_t length, uint8_t **data_out)
{
    size_t held;
    int const status = zpy_cell_pin(cell, false, data_out, &held);
    if (status == ZPY_OK && held != length) {
        (void) zpy_cell_unpin(cell); /* The answer is that this is no such key, whatever its state. */
        return ZPY_INVALID;
    }
    return status;
}

int
zpy_cell_unpin(uint64_t cell)
{
    int const saved = errno;
    zpy_lock();
    struct zpy_entry *const entry = zpy_entry_find(cell);
    int const status = zpy_entry_status(entry);
    unpin(entry, cell);
    zpy_unlock();
    zpy_registers_clear();
    errno = saved;
    return status;
}

int
zpy_cell_enter(uint64_t cell)
{
    zpy_lock();
    struct zpy_entry *const entry = zpy_entry_find(cell);
    int status = zpy_entry_status(entry);
    if (status == ZPY_OK && zpy_entry_is_spent(entry)) {
        status = ZPY_WIPED;
    }
    if (status == ZPY_OK) {
        zpy_entry_spend(entry);
        entry->accesses++;
        entry->blocks++;
    }
    zpy_unlock();
    return status;
}

int
zpy_cell_exit(uint64_t cell)
{
    zpy_lock();
    struct zpy_entry *const entry = zpy_entry_find(cell);
    if (entry != NULL && entry->blocks > 0) {
        entry->blocks--;
    }
    int const status = end_access(entry, zpy_entry_index(cell), entry != NULL && entry->blocks == 0);
    zpy_unlock();
    return status;
}

