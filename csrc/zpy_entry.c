/* zpy_entry.c: the table of cells: who lives, and who may be used.
 *
 * Entries live in blocks that are never freed, so that any handle, however old, can be looked up safely. One lock
 * guards entries and arena; it is held for a few lines and never across a call that can block. */
#include "zpy_entry.h"
#include "zpy_os.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_SHIFT 12
/* A thread that is woken takes some microseconds to come; one that does not come is not waited for much longer. */
#define YIELDS 200
#define NAPS 8
#define BLOCK_ENTRIES ((uint64_t) 1 << BLOCK_SHIFT)
#define INDEX_BITS 28
#define INDEX_MASK (((uint64_t) 1 << INDEX_BITS) - 1)
#define BLOCK_COUNT ((size_t) 1 << (INDEX_BITS - BLOCK_SHIFT))
#define SERIAL_MAX (((uint64_t) 1 << (63 - INDEX_BITS)) - 1)

static pthread_mutex_t the_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic uint32_t waiting = 0; /* Threads that found the lock taken and do not have it yet. */
static atomic_bool in_series = false; /* See zpy_lock_series. */
static struct zpy_entry *blocks[BLOCK_COUNT];
static uint64_t entry_count = 1; /* Index 0 stays unused: handle 0 names nothing. */
static uint64_t first_free = 0;
static uint32_t generation = 1;
static uint32_t wipes_seen = 0; /* Of zpy_registry_wipes. */

/* A fatal signal's handler zeroed everything, and the process lives on: what was alive then is dead. */
static void
catch_up(void)
{
    wipes_seen = zpy_registry_wipes();
    if (!zpy_pages_same_process()) {
        return; /* A child of a raw clone() has holes where the cells were, and all of them count as foreign. */
    }
    zpy_registry_wait(); /* The handler takes no lock, so this ends. */
    zpy_arena_after_wipe();
    zpy_cells_after_wipe();
}

/* The lock is held for much less time than it takes to wake a thread, and to move what it guards to another core. Who naps
 * instead of queueing lets the others go on at full speed: two threads that do nothing else reach 0.95 of one thread's rate,
 * and 0.2 with a queue. After some naps comes the queue, so that nobody waits for ever. It comes at once where whoever has the
 * lock waits for the others in between: a nap would keep both waiting. */
static void
wait_for_lock(void)
{
    for (int naps = 0; naps < NAPS && !atomic_load_explicit(&in_series, memory_order_relaxed); naps++) {
        zpy_os_nap();
        if (pthread_mutex_trylock(&the_lock) == 0) {
            return;
        }
    }
    /* A default mutex that is initialised and not held by this thread cannot fail to lock. */
    (void) pthread_mutex_lock(&the_lock);
}

void
zpy_lock(void)
{
    if (atomic_load_explicit(&zpy_fatal_is_watching, memory_order_acquire)) {
        zpy_fatal_give_stack();
    }
    if (pthread_mutex_trylock(&the_lock) != 0) {
        (void) atomic_fetch_add_explicit(&waiting, 1, memory_order_relaxed);
        wait_for_lock();
        (void) atomic_fetch_sub_explicit(&waiting, 1, memory_order_relaxed);
    }
    if (zpy_registry_wipes() != wipes_seen) {
        catch_up();
    }
}

bool
zpy_lock_missed_wipe(void)
{
    return zpy_registry_wipes() != wipes_seen;
}

void
zpy_unlock(void)
{
    struct zpy_own_pages *const gone = zpy_hold_take_gone();
    (void) pthread_mutex_unlock(&the_lock);
    zpy_hold_unmap(gone);
}

void
zpy_lock_series(bool goes_on)
{
    atomic_store_explicit(&in_series, goes_on, memory_order_relaxed);
}

void
zpy_lock_let_others(void)
{
    for (int tries = 0; tries < YIELDS && atomic_load_explicit(&waiting, memory_order_relaxed) > 0; tries++) {
        (void) sched_yield(); /* Cannot fail on Linux; elsewhere the loop ends all the same. */
    }
}

uint64_t
zpy_entry_now_ns(void)
{
    return zpy_os_now_ns();
}

/* ---- the table ---- */

struct zpy_entry *
zpy_entry_at(uint64_t index)
{
    return &blocks[index >> BLOCK_SHIFT][index & (BLOCK_ENTRIES - 1)];
}

uint64_t
zpy_entry_count(void)
{
    return entry_count;
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
        first_free = zpy_entry_at(index)->next_free;
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

struct zpy_entry *
zpy_entry_find(uint64_t cell)
{
    uint64_t const index = cell & INDEX_MASK;
    if (index == 0 || index >= entry_count) {
        return NULL;
    }
    struct zpy_entry *const entry = zpy_entry_at(index);
    return (entry->state != CELL_FREE && entry->serial == cell >> INDEX_BITS) ? entry : NULL;
}

static bool
enter_heap(struct zpy_entry const *made, uint64_t index)
{
    return made->deadline_ns == 0 || zpy_reaper_add(handle_of(made, index), made->deadline_ns) == ZPY_OK;
}

/* Where the clock cannot be read, now is UINT64_MAX, and the deadline is past at once. */
static uint64_t
deadline_after(uint64_t ttl_ns)
{
    if (ttl_ns == 0) {
        return 0;
    }
    uint64_t const now = zpy_entry_now_ns();
    return now < UINT64_MAX - ttl_ns ? now + ttl_ns : 1;
}

int64_t
zpy_entry_publish(struct zpy_entry *made, uint64_t ttl_ns, uint32_t max_reads)
{
    uint64_t const index = new_index();
    struct zpy_entry *const entry = index != 0 ? zpy_entry_at(index) : NULL;
    made->state = CELL_LIVE;
    made->generation = generation;
    made->reads_left = max_reads != 0 ? max_reads : ZPY_UNLIMITED;
    made->deadline_ns = deadline_after(ttl_ns);
    made->serial = entry != NULL ? entry->serial : 0;
    if (entry == NULL || !enter_heap(made, index)) {
        if (entry != NULL) {
            entry->next_free = first_free;
            first_free = index;
        }
        (void) zpy_entry_destroy(made); /* The caller must hear of the missing memory, whatever these two answer. */
        (void) zpy_entry_release(made);
        return -ZPY_NO_MEMORY;
    }
    *entry = *made;
    zpy_end_note_begin(entry);
    return (int64_t) handle_of(entry, index);
}

/* ---- who may be used ---- */

/* Does the memory belong to a parent process? A child made by a raw clone() has no handler behind it and counts all as
 * foreign. */
bool
zpy_entry_is_foreign(struct zpy_entry const *entry)
{
    return (entry->generation != generation && !entry->inherit) || !zpy_pages_same_process();
}

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
        zpy_entry_end_by_deadline(entry); /* The reaper has not come to it yet. */
        zpy_reaper_note_stale();
    }
    return entry->state == CELL_EXPIRED ? ZPY_EXPIRED : ZPY_OK;
}

bool
zpy_entry_awaits(struct zpy_entry const *entry)
{
    return entry != NULL && entry->state == CELL_LIVE && entry->deadline_ns != 0 && !zpy_entry_is_foreign(entry);
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

void
zpy_entry_spend(struct zpy_entry *entry)
{
    if (entry->reads_left != ZPY_UNLIMITED) {
        entry->reads_left--;
    }
}

static int
status_for(struct zpy_entry *entry, enum zpy_intent intent)
{
    int const status = zpy_entry_usable(entry);
    return (status == ZPY_OK && intent == ZPY_TO_ACCESS && zpy_entry_is_spent(entry)) ? ZPY_WIPED : status;
}

int
zpy_entry_ready(uint64_t cell, enum zpy_intent intent, struct zpy_entry **entry_out)
{
    struct zpy_entry *entry = zpy_entry_find(cell);
    int status = status_for(entry, intent);
    while (status == ZPY_OK && entry->tier == ZPY_TIER_SEALED && entry->slot == NULL) {
        status = zpy_entry_make_room(cell);
        entry = zpy_entry_find(cell); /* The lock was away. */
        status = status == ZPY_OK ? status_for(entry, intent) : status;
    }
    *entry_out = entry;
    return status;
}

int
zpy_entry_begin(uint64_t cell, enum zpy_intent intent, struct zpy_entry **entry_out)
{
    int status = zpy_entry_ready(cell, intent, entry_out);
    if (status == ZPY_OK) {
        status = zpy_entry_unveil(*entry_out);
    }
    if (status == ZPY_OK && intent == ZPY_TO_WRITE) {
        (*entry_out)->is_changed = true;
    }
    return status;
}

void
zpy_entry_prefetch(uint64_t cell, bool memory)
{
    struct zpy_entry const *const entry = zpy_entry_at(cell & INDEX_MASK); /* A handle given out is in the table for good. */
    if (!memory) {
        __builtin_prefetch(entry, 1);
        __builtin_prefetch(&entry->generation, 1);
    } else if (entry->data == NULL) {
        __builtin_prefetch(entry->sealed, 1); /* Null, where it ended before, does no harm. */
    } else {
        __builtin_prefetch(entry->data, 1);
        __builtin_prefetch(entry->slot, 1);
    }
}

void
zpy_entries_after_fork(void)
{
    atomic_store_explicit(&in_series, false, memory_order_relaxed);
    atomic_store_explicit(&waiting, 0, memory_order_relaxed); /* The other threads stayed with the parent. */
    generation++;
}
