/* zpy_entry.h: the table entry of a cell, shared by the files that work on cells. All functions want the lock held. */
#ifndef ZPY_ENTRY_H
#define ZPY_ENTRY_H

#include "zpy_internal.h"

#define ZPY_UNLIMITED UINT32_MAX

enum zpy_state { CELL_FREE = 0, CELL_LIVE, CELL_EXPIRED, CELL_DEAD };

/* Pages of one isolated cell, linked so that a fork handler finds them all. */
struct zpy_own_pages {
    struct zpy_pages pages;
    struct zpy_own_pages *next;
    struct zpy_own_pages **link;
    uint32_t open_count; /* Users at this moment; no access at 0. */
};

struct zpy_entry {
    uint8_t *data;
    size_t length;
    struct zpy_slot *slot; /* Exactly one of slot and own is set while the cell holds memory. */
    struct zpy_own_pages *own;
    uint64_t deadline_ns; /* CLOCK_BOOTTIME, 0 for none. */
    uint64_t serial;
    uint64_t next_free;
    uint32_t generation;
    uint32_t reads_left;
    uint32_t accesses; /* Open counted accesses. */
    uint32_t blocks;   /* Open with-blocks; each is also an access. */
    uint32_t pins;     /* Addresses given out. */
    uint8_t state;
    bool inherit;
};

/* Make the bytes accessible, and no longer. Calls nest; only isolated cells have work here. */
int zpy_entry_unveil(struct zpy_entry *entry);
int zpy_entry_veil(struct zpy_entry *entry);
/* Zero the bytes at once. Pages that cannot be made writable keep their content, which is then not claimed as wiped. */
int zpy_entry_zero(struct zpy_entry *entry);
int zpy_entry_release(struct zpy_entry *entry);
void zpy_entry_own(struct zpy_own_pages *own);
/* The entry that a handle names, whatever its state; null when it was given up. */
struct zpy_entry *zpy_entry_find(uint64_t cell);
void zpy_entry_free(struct zpy_entry *entry, uint64_t index);
bool zpy_entry_is_foreign(struct zpy_entry const *entry);
/* ZPY_OK for a live cell, after its deadline was looked at; takes null for a handle that names nothing. */
int zpy_entry_status(struct zpy_entry *entry);
/* Are all its accesses used up? */
bool zpy_entry_is_spent(struct zpy_entry const *entry);
/* As zpy_entry_status, and ZPY_WIPED once the last access has ended. */
int zpy_entry_usable(struct zpy_entry *entry);
/* Find a live cell and unveil it. Ends with zpy_entry_veil. */
int zpy_entry_begin(uint64_t cell, struct zpy_entry **entry_out);
/* A handle is given up: its bytes are zeroed, and the entry goes back when nothing is pinned. */
int zpy_entry_give_up(struct zpy_entry *entry, uint64_t index);
/* Put a cell whose memory is ready into the table. Returns its handle or minus a zpy_status. */
int64_t zpy_entry_publish(struct zpy_entry *made, uint64_t ttl_ns, uint32_t max_reads);
/* Wipe a cell whose deadline has come. False when it ended before. */
bool zpy_entry_expire(uint64_t cell);
/* Does a live cell of this process still wait for its deadline? */
bool zpy_entry_awaits(uint64_t cell);
/* Count one access. */
void zpy_entry_spend(struct zpy_entry *entry);
/* The last pin of a dead cell lets its slot go. */
void zpy_entry_drop_pin(struct zpy_entry *entry, uint64_t index);
/* CLOCK_BOOTTIME, which counts through suspend. */
uint64_t zpy_entry_now_ns(void);
uint64_t zpy_entry_index(uint64_t cell);

#endif
