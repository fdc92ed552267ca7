/* zpy_end.c: how a cell ends: wiped, expired, purged; and the figures about it.
 *
 * Bytes are zeroed the moment a cell dies, whoever reads them; a slot is used again only when no pin is left on it. */
#include "zpy_entry.h"

#include <stdlib.h>
#include <string.h>

static struct zpy_stats counters;
/* Live cells by tier; [1] those of them that a child keeps. */
static uint64_t live[2][ZPY_TIER_SEALED + 1];
static uint64_t inherited_pins = 0; /* Wiped cells that a child keeps, whose slot a view of it holds. */

void
zpy_end_note_begin(struct zpy_entry const *entry)
{
    live[entry->inherit][entry->tier]++;
}

static void
note_end(struct zpy_entry *entry, enum zpy_state state)
{
    bool const early = entry->deadline_ns != 0 && state != CELL_EXPIRED;
    entry->state = (uint8_t) state;
    live[entry->inherit][entry->tier]--;
    counters.wipes++;
    if (early) {
        zpy_reaper_note_stale();
    }
}

static void
note_pinned(struct zpy_entry const *entry)
{
    counters.pinned++;
    inherited_pins += entry->inherit;
}

/* The bytes of a live cell go to zero; the memory follows when no pin is left. */
static int
end_life(struct zpy_entry *entry, enum zpy_state state)
{
    /* A slot that nobody looks at is zeroed as it is given back. */
    bool const is_kept = entry->tier != ZPY_TIER_PACKED || entry->pins > 0;
    int status = is_kept ? zpy_entry_destroy(entry) : ZPY_OK;
    if (entry->pins == 0) {
        int const given = zpy_entry_release(entry);
        status = status != ZPY_OK ? status : given;
    } else {
        note_pinned(entry);
    }
    note_end(entry, state);
    return status;
}

/* The same for a large cell that is unveiled: others must not wait for the lock while its bytes are zeroed. Takes the
 * lock away and back; the pin keeps the entry. */
static void
end_large_life(struct zpy_entry *entry, uint64_t index, enum zpy_state state)
{
    entry->pins++;
    note_pinned(entry);
    note_end(entry, state);
    entry->own->is_ending = true; /* Should another thread fork now, see end_for_others. */
    zpy_unlock();
    sodium_memzero(entry->data, entry->length);
    zpy_lock();
    entry->own->is_ending = false;
    zpy_entry_drop_pin(entry, index);
}

void
zpy_entry_end_by_deadline(struct zpy_entry *entry)
{
    counters.expiries++;
    (void) end_life(entry, CELL_EXPIRED); /* A damaged canary is counted in the stats; the cell is gone either way. */
}

bool
zpy_entry_expire(uint64_t cell)
{
    struct zpy_entry *const entry = zpy_entry_find(cell);
    bool const waits = zpy_entry_awaits(entry);
    if (waits && entry->length > ZPY_SLOT_MAX && zpy_entry_unveil(entry) == ZPY_OK) {
        counters.expiries++;
        end_large_life(entry, zpy_entry_index(cell), CELL_EXPIRED);
    } else if (waits) {
        zpy_entry_shed(entry); /* To free memory takes as long as to wipe it, and others are due. */
        zpy_entry_end_by_deadline(entry);
    }
    return waits;
}

void
zpy_entry_drop_pin(struct zpy_entry *entry, uint64_t index)
{
    (void) zpy_entry_veil(entry); /* Left accessible is weaker, never wrong; damage is told when the cell is wiped. */
    entry->pins--;
    if (entry->pins == 0 && entry->state != CELL_LIVE) {
        (void) zpy_entry_release(entry); /* A damaged canary retires the slot and is counted in the stats. */
        counters.pinned--;
        inherited_pins -= entry->inherit;
        if (entry->state == CELL_DEAD) {
            zpy_entry_free(entry, index);
        }
    }
}

int
zpy_entry_give_up(struct zpy_entry *entry, uint64_t index)
{
    int status = ZPY_OK;
    if (zpy_entry_is_foreign(entry)) {
        /* The parent's memory is not in this process, save what is sealed: that is here, without its key. */
        free(entry->sealed);
        zpy_entry_free(entry, index);
        return ZPY_OK;
    }
    if (entry->state == CELL_LIVE && entry->length > ZPY_SLOT_MAX && zpy_entry_unveil(entry) == ZPY_OK) {
        end_large_life(entry, index, CELL_DEAD);
        return ZPY_OK;
    }
    if (entry->state == CELL_LIVE) {
        status = end_life(entry, CELL_DEAD);
    } else {
        entry->state = CELL_DEAD;
    }
    if (entry->pins == 0) {
        zpy_entry_free(entry, index);
    }
    return status;
}

uint64_t
zpy_purge(void)
{
    uint64_t wiped = 0;
    if (!zpy_pages_same_process()) {
        return 0; /* A child of a raw clone() holds nothing of its own, and the parent's pages are not there. */
    }
    zpy_lock();
    for (uint64_t index = 1; index < zpy_entry_count(); index++) {
        struct zpy_entry *const entry = zpy_entry_at(index);
        if (entry->state == CELL_LIVE && !zpy_entry_is_foreign(entry)) {
            (void) zpy_entry_give_up(entry, index); /* Clean-up runs to its end; corruption is counted in the stats. */
            wiped++;
        }
    }
    for (int inherit = 0; inherit < 2; inherit++) {
        if (live[inherit][ZPY_TIER_SEALED] == 0) {
            zpy_seal_forget(inherit != 0);
        }
    }
    zpy_unlock();
    return wiped;
}

/* Their bytes are zeros already, so that large cells do not hold the lock for long. */
void
zpy_cells_after_wipe(void)
{
    if (!zpy_pages_same_process()) {
        return; /* As in zpy_purge. */
    }
    for (uint64_t index = 1; index < zpy_entry_count(); index++) {
        struct zpy_entry *const entry = zpy_entry_at(index);
        if (entry->state == CELL_LIVE && !zpy_entry_is_foreign(entry)) {
            (void) end_life(entry, CELL_DEAD); /* As in zpy_purge. */
            if (entry->pins == 0) {
                zpy_entry_free(entry, index);
            }
        }
    }
    zpy_seal_forget(false); /* The keys are zeros: draw others. */
    zpy_seal_forget(true);
}

/* In a child, which has its own copy of wiped cells that are pinned: threads that were still zeroing one, or writing to it
 * and would have zeroed it with their pin, stayed with the parent. */
static void
end_for_others(void)
{
    for (uint64_t index = 1; inherited_pins > 0 && index < zpy_entry_count(); index++) {
        struct zpy_entry *const entry = zpy_entry_at(index);
        bool const is_over = entry->state == CELL_EXPIRED || entry->state == CELL_DEAD;
        if (!is_over || !entry->inherit || entry->pins == 0) {
            continue;
        }
        sodium_memzero(entry->data, entry->length);
        if (entry->own != NULL && entry->own->is_ending) {
            entry->own->is_ending = false;
            zpy_entry_drop_pin(entry, index);
        }
    }
}

void
zpy_cells_after_fork(void)
{
    memset(&counters, 0, sizeof counters);
    memset(live[0], 0, sizeof live[0]);
    counters.pinned = inherited_pins;
    zpy_entries_after_fork();
    zpy_reaper_after_fork();
    zpy_arena_after_fork();
    zpy_seal_after_fork();
    zpy_hold_after_fork();
    end_for_others();
}

void
zpy_stats_read(struct zpy_stats *stats_out)
{
    zpy_lock();
    *stats_out = counters;
    stats_out->packed = live[0][ZPY_TIER_PACKED] + live[1][ZPY_TIER_PACKED];
    stats_out->isolated = live[0][ZPY_TIER_ISOLATED] + live[1][ZPY_TIER_ISOLATED];
    stats_out->sealed = live[0][ZPY_TIER_SEALED] + live[1][ZPY_TIER_SEALED];
    stats_out->cells = stats_out->packed + stats_out->isolated + stats_out->sealed;
    zpy_arena_stats(stats_out);
    zpy_unlock();
}
