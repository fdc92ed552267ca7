/* zpy_entry.h: the table entry of a cell, shared by the files that work on cells. All functions want the lock held, unless
 * their comment says otherwise. */
#ifndef ZPY_ENTRY_H
#define ZPY_ENTRY_H

#include "zpy_internal.h"

#define ZPY_UNLIMITED UINT32_MAX

enum zpy_state { CELL_FREE = 0, CELL_LIVE, CELL_EXPIRED, CELL_DEAD };

/* What a cell is looked up for. */
enum zpy_intent {
    ZPY_TO_READ,
    ZPY_TO_WRITE,
    ZPY_TO_ACCESS /* To read as a counted access, of which one must be left. */
};

/* Pages of one isolated cell, linked so that a fork handler finds them all. */
struct zpy_own_pages {
    struct zpy_pages pages;
    struct zpy_own_pages *next;
    struct zpy_own_pages **link;
    uint32_t open_count; /* Users at this moment; no access at 0. */
    bool is_ending;      /* A thread zeroes them without the lock, and holds a pin for it. */
};

/* A million of these must fit: no field stands twice. */
struct zpy_entry {
    uint8_t *data; /* Null while a sealed cell is closed. */
    size_t length;
    struct zpy_slot *slot;     /* Of a packed cell, and of a sealed one while it is open. */
    struct zpy_own_pages *own; /* Of an isolated cell. */
    uint8_t *sealed;           /* Of a live sealed cell: ciphertext and tag, on the ordinary heap. */
    uint64_t deadline_ns;      /* CLOCK_BOOTTIME, 0 for none. */
    uint64_t serial;
    union {
        uint64_t nonce;     /* Of a sealed cell: what the ciphertext was made with. */
        uint64_t next_free; /* Of a free entry. */
    };
    uint32_t generation;
    uint32_t reads_left;
    uint32_t accesses; /* Open counted accesses. */
    uint32_t blocks;   /* Open with-blocks; each is also an access. */
    uint32_t pins;     /* Addresses given out. */
    uint32_t opens;    /* Users of an open sealed cell at this moment; pins are among them. */
    uint8_t state;
    uint8_t tier; /* enum zpy_tier */
    bool inherit;
    bool is_changed; /* An open sealed cell was written to: its ciphertext is old. */
    bool is_damaged; /* Something wrote outside it while it was open. */
};

/* ---- zpy_hold.c: the memory of a cell ---- */

/* The memory of a ciphertext that was wiped: at least a tag long. */
struct zpy_spent {
    struct zpy_spent *next;
};

/* Make the bytes accessible, and no longer. Calls nest. Packed cells have no work here. A sealed one must have a slot: see
 * zpy_entry_begin. */
int zpy_entry_unveil(struct zpy_entry *entry);
/* A failure leaves pages accessible, which is weaker, never wrong. Damage around a sealed cell is told when it is wiped. */
int zpy_entry_veil(struct zpy_entry *entry);
/* Zero the bytes of a cell that ends, wherever they are. Pages that cannot be made writable keep their content, which is then
 * not claimed as wiped. */
int zpy_entry_destroy(struct zpy_entry *entry);
/* Before that: zero the ciphertext of a sealed cell, and leave its memory to zpy_hold_take_spent. */
void zpy_entry_shed(struct zpy_entry *entry);
int zpy_entry_release(struct zpy_entry *entry);
/* Give a new entry its memory, filled. May take the lock away and back. */
int zpy_entry_hold(struct zpy_entry *entry, struct zpy_content const *content, uint32_t options);
/* Give a closed sealed cell a slot to be opened into. May take the lock away and back, so look the cell up again. */
int zpy_entry_make_room(uint64_t cell);
/* The pages that a cell's protection is that of. */
struct zpy_pages const *zpy_entry_pages(struct zpy_entry const *entry);
/* What zpy_unlock unmaps: taken with the lock, unmapped without. */
struct zpy_own_pages *zpy_hold_take_gone(void);
void zpy_hold_unmap(struct zpy_own_pages *taken);
/* What was shed, for free(). */
struct zpy_spent *zpy_hold_take_spent(void);
void zpy_hold_after_fork(void);

/* ---- zpy_seal.c ---- */

/* Get a sealing key ready. May take the lock away and back. */
int zpy_seal_ensure(bool inherit);
/* Encrypt the open bytes under a new nonce into entry->sealed. */
void zpy_seal_close(struct zpy_entry *entry);
/* Decrypt entry->sealed into the slot. ZPY_CORRUPT when it was tampered with. */
int zpy_seal_open(struct zpy_entry *entry);
size_t zpy_seal_bytes(size_t length);
/* Where the key is; null before the first sealed cell. */
struct zpy_pages const *zpy_seal_pages(bool inherit);
/* No sealed cell is left: what is left of their ciphertexts, in swap, say, opens never again. */
void zpy_seal_forget(bool inherit);
void zpy_seal_after_fork(void);
/* For tests: as if the CPU had no AES instructions. Before the first sealed cell. */
void zpy_seal_without_aes(void);

/* ---- zpy_entry.c: the table ---- */

/* The entry that a handle names, whatever its state; null when it was given up. */
struct zpy_entry *zpy_entry_find(uint64_t cell);
uint64_t zpy_entry_index(uint64_t cell);
/* One past the last index in use, and the entry at an index, free or not. */
uint64_t zpy_entry_count(void);
struct zpy_entry *zpy_entry_at(uint64_t index);
void zpy_entry_free(struct zpy_entry *entry, uint64_t index);
bool zpy_entry_is_foreign(struct zpy_entry const *entry);
/* ZPY_OK for a live cell, after its deadline was looked at; takes null for a handle that names nothing. */
int zpy_entry_status(struct zpy_entry *entry);
/* Are all its accesses used up? */
bool zpy_entry_is_spent(struct zpy_entry const *entry);
/* As zpy_entry_status, and ZPY_WIPED once the last access has ended. */
int zpy_entry_usable(struct zpy_entry *entry);
/* Find a live cell whose bytes have a place, closed or not. May take the lock away and back before. */
int zpy_entry_ready(uint64_t cell, enum zpy_intent intent, struct zpy_entry **entry_out);
/* The same, and unveil it. Ends with zpy_entry_veil. */
int zpy_entry_begin(uint64_t cell, enum zpy_intent intent, struct zpy_entry **entry_out);
/* Put a cell whose memory is ready into the table. Returns its handle or minus a zpy_status. */
int64_t zpy_entry_publish(struct zpy_entry *made, uint64_t ttl_ns, uint32_t max_reads);
/* Have the caches fetch what zpy_entry_expire will touch: the entry, or, a little later, its memory. */
void zpy_entry_prefetch(uint64_t cell, bool memory);
/* Is it a live cell of this process that still waits for its deadline? Takes null, too. */
bool zpy_entry_awaits(struct zpy_entry const *entry);
/* Count one access. */
void zpy_entry_spend(struct zpy_entry *entry);
/* CLOCK_BOOTTIME, which counts through suspend. */
uint64_t zpy_entry_now_ns(void);
void zpy_entries_after_fork(void);

/* ---- zpy_end.c: how a cell ends ---- */

/* A cell was published, or found in a forked child. */
void zpy_end_note_begin(struct zpy_entry const *entry);
/* A handle is given up: its bytes are zeroed, and the entry goes back when nothing is pinned. */
int zpy_entry_give_up(struct zpy_entry *entry, uint64_t index);
/* The time to live of a live cell is over. */
void zpy_entry_end_by_deadline(struct zpy_entry *entry);
/* Wipe a cell whose deadline has come. False when it ended before. Takes the lock away and back for a large one. */
bool zpy_entry_expire(uint64_t cell);
/* The last pin of a dead cell lets its slot go. */
void zpy_entry_drop_pin(struct zpy_entry *entry, uint64_t index);

#endif
