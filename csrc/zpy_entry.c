/* zpy_entry.c: the table of cells: who lives, what memory it holds, and how it ends.
 *
 * Entries live in blocks that are never freed, so that any handle, however old, can be looked up safely. One lock
 * guards entries and arena; it is held for a few lines and never across a call that can block. Bytes are zeroed the
 * moment a cell dies, whoever reads them; a slot is used again only when no pin is left on it. */
#include "zpy_entry.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BLOCK_SHIFT 12
#define BLOCK_ENTRIES ((uint64_t) 1 << BLOCK_SHIFT)
#define INDEX_BITS 28
#define INDEX_MASK (((uint64_t) 1 << INDEX_BITS) - 1)
#define BLOCK_COUNT ((size_t) 1 << (INDEX_BITS - BLOCK_SHIFT))
#define SERIAL_MAX (((uint64_t) 1 << (63 - INDEX_BITS)) - 1)

static pthread_mutex_t the_lock = PTHREAD_MUTEX_INITIALIZER;
static struct zpy_entry *blocks[BLOCK_COUNT];
static uint64_t entry_count = 1; /* Index 0 stays unused: handle 0 names nothing. */
static uint64_t first_free = 0;
static struct zpy_own_pages *all_own = NULL;
static uint32_t generation = 1;
static struct zpy_stats counters;
static uint64_t inherited_cells = 0; /* Live ones that a child keeps, */
static uint64_t inherited_pins = 0;  /* and wiped ones whose slot a view of it holds. */

void
zpy_lock(void)
{
    /* A default mutex that is initialised and not held by this thread cannot fail to lock. */
    (void) pthread_mutex_lock(&the_lock);
}

void
zpy_unlock(void)
{
    (void) pthread_mutex_unlock(&the_lock);
}

uint64_t
zpy_entry_now_ns(void)
{
    struct timespec now;
#if defined(CLOCK_BOOTTIME)
    clockid_t const clock_id = CLOCK_BOOTTIME;
#else
    clockid_t const clock_id = CLOCK_MONOTONIC;
#endif
    if (clock_gettime(clock_id, &now) != 0) {
        return UINT64_MAX; /* Without a clock every deadline counts as past. */
    }
    return (uint64_t) now.tv_sec * 1000000000U + (uint64_t) now.tv_nsec;
}

/* ---- memory of a cell ---- */

int
zpy_entry_unveil(struct zpy_entry *entry)
{
    if (entry->own != NULL && entry->own->open_count++ == 0) {
        int const status = zpy_pages_protect(&entry->own->pages, true);
        if (status != ZPY_OK) {
            entry->own->open_count--;
        }
        return status;
    }
    return ZPY_OK;
}

int
zpy_entry_veil(struct zpy_entry *entry)
{
    if (entry->own != NULL && --entry->own->open_count == 0) {
        return zpy_pages_protect(&entry->own->pages, false);
    }
    return ZPY_OK;
}

/* Zero the bytes at once. Pages that cannot be made writable keep their content, which is then not claimed as wiped. */
int
zpy_entry_zero(struct zpy_entry *entry)
{
    int const status = zpy_entry_unveil(entry);
    if (status == ZPY_OK) {
        sodium_memzero(entry->data, entry->length);
        (void) zpy_entry_veil(entry); /* Readable zeros do no harm. */
    }
    return status;
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
        zpy_arena_refund(entry->own->pages.bytes);
        zpy_pages_unmap(&entry->own->pages);
        free(entry->own);
        entry->own = NULL;
        counters.isolated--;
    }
    entry->data = NULL;
    return status;
}

/* ---- entries ---- */

static struct zpy_entry *
entry_at(uint64_t index)
{
    return &blocks[index >> BLOCK_SHIFT][index & (BLOCK_ENTRIES - 1)];
}

static uint64_t
handle_of(struct zpy_entry const *entry, uint64_t index)
{
    return entry->serial << INDEX_BITS | index;
}

static uint64_t
new_index(void)
{
    uint64_t index = first_free;
    if (index != 0) {
        first_free = entry_at(index)->next_free;
        return index;
    }
    if (entry_count > INDEX_MASK) {
        return 0;
    }
    size_t const block = (size_t) (entry_count >> BLOCK_SHIFT);
    if (blocks[block] == NULL) {
        blocks[block] = calloc(BLOCK_ENTRIES, sizeof(struct zpy_entry));
        if (blocks[block] == NULL) {
            return 0;
        }
    }
    return entry_count++;
}

void
zpy_entry_free(struct zpy_entry *entry, uint64_t index)
{
    uint64_t const serial = entry->serial;
    memset(entry, 0, sizeof *entry);
    entry->serial = serial + 1;
    if (serial < SERIAL_MAX) { /* A used-up entry is never used again, so that no handle ever repeats. */
        entry->next_free = first_free;
        first_free = index;
    }
}

uint64_t
zpy_entry_index(uint64_t cell)
{
    return cell & INDEX_MASK;
}

/* The entry that a handle names, whatever its state; null when it was given up. */
struct zpy_entry *
zpy_entry_find(uint64_t cell)
{
    uint64_t const index = cell & INDEX_MASK;
    if (index == 0 || index >= entry_count) {
        return NULL;
    }
    struct zpy_entry *const entry = entry_at(index);
    return (entry->state != CELL_FREE && entry->serial == cell >> INDEX_BITS) ? entry : NULL;
}

/* Does the memory belong to a parent process? A child made by a raw clone() has no handler behind it and counts all as
 * foreign. */
bool
zpy_entry_is_foreign(struct zpy_entry const *entry)
{
    return (entry->generation != generation && !entry->inherit) || !zpy_pages_same_process();
}

static void
note_end(struct zpy_entry *entry, enum zpy_state state)
{
    bool const early = entry->deadline_ns != 0 && state != CELL_EXPIRED;
    entry->state = (uint8_t) state;
    counters.cells--;
    counters.wipes++;
    inherited_cells -= entry->inherit;
    if (early) {
        zpy_reaper_note_stale();
    }
}

/* The bytes of a live cell go to zero; the memory follows when no pin is left. */
static int
end_life(struct zpy_entry *entry, enum zpy_state state)
{
    int status = zpy_entry_zero(entry);
    if (entry->pins == 0) {
        int const given = zpy_entry_release(entry);
        status = status != ZPY_OK ? status : given;
    } else {
        counters.pinned++;
        inherited_pins += entry->inherit;
    }
    note_end(entry, state);
    return status;
}

/* The same for a large cell that is unveiled: others must not wait for the lock while its bytes are zeroed. Takes the
 * lock away and back; the pin keeps the entry. */
static void
end_large_life(struct zpy_entry *entry, uint64_t index)
{
    entry->pins++;
    counters.pinned++;
    inherited_pins += entry->inherit;
    note_end(entry, CELL_DEAD);
    zpy_unlock();
    sodium_memzero(entry->data, entry->length);
    zpy_lock();
    zpy_entry_drop_pin(entry, index);
}

static void
expire(struct zpy_entry *entry)
{
    counters.expiries++;
    (void) end_life(entry, CELL_EXPIRED); /* A damaged canary is counted in the stats; the cell is gone either way. */
}

/* Status of an entry, after its deadline was looked at. */
int
zpy_entry_status(struct zpy_entry *entry)
{
    if (entry == NULL || entry->state == CELL_DEAD) {
        return ZPY_WIPED;
    }
    if (zpy_entry_is_foreign(entry)) {
        return ZPY_FORKED;
    }
    if (entry->state == CELL_LIVE && entry->deadline_ns != 0 && zpy_entry_now_ns() >= entry->deadline_ns) {
        expire(entry); /* The reaper has not come to it yet. */
        zpy_reaper_note_stale();
    }
    return entry->state == CELL_EXPIRED ? ZPY_EXPIRED : ZPY_OK;
}

bool
zpy_entry_awaits(uint64_t cell)
{
    struct zpy_entry const *const entry = zpy_entry_find(cell);
    return entry != NULL && entry->state == CELL_LIVE && entry->deadline_ns != 0 && !zpy_entry_is_foreign(entry);
}

bool
zpy_entry_expire(uint64_t cell)
{
    bool const waits = zpy_entry_awaits(cell);
    if (waits) {
        expire(zpy_entry_find(cell));
    }
    return waits;
}

bool
zpy_entry_is_spent(struct zpy_entry const *entry)
{
    return entry->reads_left == 0;
}

int
zpy_entry_usable(struct zpy_entry *entry)
{
    int const status = zpy_entry_status(entry);
    return (status == ZPY_OK && zpy_entry_is_spent(entry) && entry->accesses == 0) ? ZPY_WIPED : status;
}

/* Find a live cell and make its bytes accessible; 0 and the entry on success. Ends with zpy_entry_veil(). */
int
zpy_entry_begin(uint64_t cell, struct zpy_entry **entry_out)
{
    struct zpy_entry *const entry = zpy_entry_find(cell);
    int status = zpy_entry_usable(entry);
    if (status == ZPY_OK) {
        status = zpy_entry_unveil(entry);
    }
    *entry_out = entry;
    return status;
}

void
zpy_entry_spend(struct zpy_entry *entry)
{
    if (entry->reads_left != ZPY_UNLIMITED) {
        entry->reads_left--;
    }
}

void
zpy_entry_drop_pin(struct zpy_entry *entry, uint64_t index)
{
    (void) zpy_entry_veil(entry); /* Left accessible is weaker, never wrong. */
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

/* A handle is given up: its bytes are zeroed, and the entry goes back when nothing is pinned. */
int
zpy_entry_give_up(struct zpy_entry *entry, uint64_t index)
{
    int status = ZPY_OK;
    if (zpy_entry_is_foreign(entry)) {
        /* The parent's memory is not in this process; only the entry is. */
        zpy_entry_free(entry, index);
        return ZPY_OK;
    }
    if (entry->state == CELL_LIVE && entry->length > ZPY_SLOT_MAX && zpy_entry_unveil(entry) == ZPY_OK) {
        end_large_life(entry, index);
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

/* Put a cell whose memory is ready into the table. */
int64_t
zpy_entry_publish(struct zpy_entry *made, uint64_t ttl_ns, uint32_t max_reads)
{
    uint64_t const index = new_index();
    if (index == 0) {
        (void) zpy_entry_zero(made); /* The caller must hear of the missing entry, whatever these two answer. */
        (void) zpy_entry_release(made);
        return -ZPY_NO_MEMORY;
    }
    struct zpy_entry *const entry = entry_at(index);
    made->state = CELL_LIVE;
    made->serial = entry->serial;
    made->generation = generation;
    made->reads_left = max_reads != 0 ? max_reads : ZPY_UNLIMITED;
    made->deadline_ns = ttl_ns != 0 ? zpy_entry_now_ns() + ttl_ns : 0;
    if (made->deadline_ns != 0 && zpy_reaper_add(handle_of(made, index), made->deadline_ns) != ZPY_OK) {
        entry->next_free = first_free;
        first_free = index;
        (void) zpy_entry_zero(made); /* The caller must hear of the missing memory, whatever these two answer. */
        (void) zpy_entry_release(made);
        return -ZPY_NO_MEMORY;
    }
    *entry = *made;
    counters.cells++;
    inherited_cells += entry->inherit;
    return (int64_t) handle_of(entry, index);
}

void
zpy_entry_own(struct zpy_own_pages *own)
{
    own->next = all_own;
    own->link = &all_own;
    if (all_own != NULL) {
        all_own->link = &own->next;
    }
    all_own = own;
    counters.isolated++;
}

uint64_t
zpy_purge(void)
{
    uint64_t wiped = 0;
    zpy_lock();
    for (uint64_t index = 1; index < entry_count; index++) {
        struct zpy_entry *const entry = entry_at(index);
        if (entry->state == CELL_LIVE && !zpy_entry_is_foreign(entry)) {
            (void) zpy_entry_give_up(entry, index); /* Clean-up runs to its end; corruption is counted in the stats. */
            wiped++;
        }
    }
    zpy_unlock();
    return wiped;
}

/* ---- fork and figures ---- */

void
zpy_cells_after_fork(void)
{
    generation++;
    zpy_reaper_after_fork();
    memset(&counters, 0, sizeof counters);
    counters.cells = inherited_cells;
    counters.pinned = inherited_pins;
    zpy_arena_after_fork();
    struct zpy_own_pages **link = &all_own;
    while (*link != NULL) {
        struct zpy_own_pages *const own = *link;
        /* Pages without access cannot be locked. */
        bool const closed = own->pages.inherit && own->open_count == 0 && zpy_pages_protect(&own->pages, true) == ZPY_OK;
        zpy_pages_after_fork(&own->pages);
        if (closed) {
            (void) zpy_pages_protect(&own->pages, false); /* Left accessible is weaker, never wrong. */
        }
        if (own->pages.inherit && zpy_arena_charge(own->pages.bytes)) {
            counters.isolated++;
            link = &own->next;
        } else {
            unlink_own(own);
        }
    }
}

void
zpy_stats_read(struct zpy_stats *stats_out)
{
    zpy_lock();
    *stats_out = counters;
    zpy_arena_stats(stats_out);
    zpy_unlock();
}
