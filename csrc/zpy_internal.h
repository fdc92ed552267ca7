/* zpy_internal.h: what the C files share among themselves. Python sees zpy_api.h only. Every C file includes this first,
 * so that the system's headers see _GNU_SOURCE. */
#ifndef ZPY_INTERNAL_H
#define ZPY_INTERNAL_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sodium.h>

#include "zpy_api.h"

static inline bool
zpy_is_inside(size_t held, size_t offset, size_t length)
{
    return offset <= held && length <= held - offset;
}

/* A slot and own pages begin on this boundary, which libsodium's AES-GCM state needs. */
#define ZPY_ALIGN ((size_t) 16)
/* Behind every slot; a slot's stride is its class size plus this. */
#define ZPY_CANARY_BYTES ((size_t) 16)
/* Larger cells get their own pages. */
#define ZPY_SLOT_MAX ((size_t) 4096)

/* ---- zpy_pages.c ---- */

struct zpy_record;
/* A run of data pages between two inaccessible pages. */
struct zpy_pages {
    uint8_t *base;
    size_t bytes;
    struct zpy_record *record; /* Its place in the registry. */
    int backing;
    int fork;
    bool locked;
    bool dump_excluded;
    bool inherit;
};

void zpy_pages_setup(bool allow_secretmem);
/* fork() holds this, so that no child is made while pages are half set up. */
void zpy_pages_lock(void);
void zpy_pages_unlock(void);
size_t zpy_pages_round(size_t bytes);
/* Reserve, guard, map, lock and mark bytes (a multiple of the page size), all zero. */
int zpy_pages_map(size_t bytes, bool inherit, struct zpy_pages *pages_out);
/* Unmap, guards included; unlocks just these pages. The caller has zeroed them. */
void zpy_pages_unmap(struct zpy_pages *pages);
int zpy_pages_protect(struct zpy_pages const *pages, bool accessible);
/* In a forked child: leave zeros, never the parent's bytes, or lock the inherited copy again. */
void zpy_pages_after_fork(struct zpy_pages *pages);
/* Is this the process that zpy_init or the last fork handler ran in? */
bool zpy_pages_same_process(void);
void zpy_pages_mark_process(void);
/* So many bytes, for what is no secret, which the kernel gives to every child as zeros; aligned for any type. Null where it
 * cannot. */
#define ZPY_UNSHARED_BYTES ((size_t) 1024)
uint8_t *zpy_pages_unshared(void);

/* ---- zpy_budget.c: call these with the lock held ---- */

/* 0: from the lock limit. Also forgets what the kernel refused. */
void zpy_budget_set(uint64_t budget_bytes);
/* Count bytes of pages against the budget; scratch may use the reserve. */
bool zpy_budget_charge(size_t bytes, bool scratch);
/* Would so many more bytes of scratch stay within the reserve? */
bool zpy_budget_has_reserve(size_t bytes);
/* Count them without asking whether they fit: a child has them already. */
void zpy_budget_hold(size_t bytes, bool scratch);
void zpy_budget_refund(size_t bytes, bool scratch);
/* Pages that were charged could not be mapped: refund them, and remember where the kernel's limit is. */
void zpy_budget_refused(size_t bytes, bool scratch, int status);
void zpy_budget_after_fork(void);
void zpy_budget_stats(struct zpy_stats *stats_out);

/* ---- zpy_registry.c ---- */

/* Enter a run whose pages are ready and hold no secret yet; sets its record. ZPY_NO_MEMORY. */
int zpy_registry_add(struct zpy_pages *pages);
/* Take it out. False when a walk is under way, and then the pages have to stay mapped. */
bool zpy_registry_remove(struct zpy_pages *pages);
/* The same for a fork handler in a child, which has one thread. */
void zpy_registry_forget(struct zpy_pages *pages);
void zpy_registry_after_fork(void);
/* In a child, of a run that lives on there. */
void zpy_registry_keep(struct zpy_pages const *pages);
/* Then: forget all other runs. What the child has a copy of is zeroed and unmapped. */
void zpy_registry_drop_strays(void);
/* Between these two, access may be taken away from a run, unless the first says false. */
bool zpy_registry_begin_closing(void);
void zpy_registry_end_closing(void);
/* Zero all runs, or those that a child gets a copy of. Takes no lock, for signal handlers. */
void zpy_registry_wipe(bool inherited_only);
/* Its beginning and end: no run is unmapped or closed in between. */
void zpy_registry_begin_walk(void);
void zpy_registry_end_walk(void);
/* How often that was begun: cells that are older than the last time are dead. Inline, for each use of a cell asks. */
extern _Atomic uint32_t zpy_registry_wipe_count;
static inline uint32_t
zpy_registry_wipes(void)
{
    return atomic_load_explicit(&zpy_registry_wipe_count, memory_order_acquire);
}
/* Wait until none is under way in another thread. */
void zpy_registry_wait(void);

/* ---- zpy_fatal.c ---- */

/* Does a signal wipe, or did one? */
extern atomic_bool zpy_fatal_is_watching;
/* Give the calling thread a stack for signal handlers, if it has none. */
void zpy_fatal_give_stack(void);
/* For a thread of our own that blocks all signals, if signals are watched: a blocked fault ends the process without any
 * handler. */
void zpy_fatal_unblock_faults(void);
void zpy_fatal_after_fork(void);

/* ---- zpy_arena.c: call these with the lock held, unless their comment says otherwise ---- */

#define ZPY_SHELF_INHERIT 1U /* Slots that a forked child gets a copy of. */
#define ZPY_SHELF_SCRATCH 2U /* Slots that sealed cells are opened into. */

static inline unsigned
zpy_shelf(bool inherit, bool scratch)
{
    return (inherit ? ZPY_SHELF_INHERIT : 0) | (scratch ? ZPY_SHELF_SCRATCH : 0);
}

struct zpy_run;
struct zpy_slot {
    uint8_t *data;
    struct zpy_run *run;
    struct zpy_slot *next_free;
};

void zpy_arena_setup(void);
/* Count bytes against the budget; gives empty runs back to the system when that makes room. */
bool zpy_arena_charge(size_t bytes, bool scratch);
/* Take a zeroed slot for length bytes, mapping pages when there is none, or a spare one. May take the lock away and back. */
int zpy_arena_obtain(size_t length, unsigned shelf, struct zpy_slot **slot_out);
/* Take a zeroed slot for length bytes. Null: call zpy_arena_grow without the lock, then again. */
struct zpy_slot *zpy_arena_take(size_t length, unsigned shelf);
/* Take one of a larger size, for when the budget allows no more pages. */
struct zpy_slot *zpy_arena_take_larger(size_t length, unsigned shelf);
/* Give back a slot whose first length bytes were in use; zeroes it. ZPY_CORRUPT retires it. */
int zpy_arena_give(struct zpy_slot *slot, size_t length);
/* Have the slot's run stay mapped for good, though all its slots be free. */
void zpy_arena_keep(struct zpy_slot const *slot);
struct zpy_pages const *zpy_arena_pages(struct zpy_slot const *slot);
/* Map one more run for this length. Call it without the lock. */
int zpy_arena_grow(size_t length, unsigned shelf);
void zpy_arena_after_fork(void);
/* A signal handler zeroed all runs: write the canaries anew. */
void zpy_arena_after_wipe(void);
void zpy_arena_stats(struct zpy_stats *stats_out);

/* ---- zpy_registers.c ---- */

void zpy_registers_setup(void);
/* Zero the vector registers, after anything that moved a secret. */
void zpy_registers_clear(void);
/* The same, and zero the stack below the caller as deep as libsodium's ciphers go. */
void zpy_registers_clear_after_cipher(void);
/* The same as deep as its signatures and key exchanges go. */
void zpy_registers_clear_after_curve(void);

/* ---- zpy_nonce.c ---- */

/* Fill with random bytes of the kernel that nobody else gets, for what is no secret. */
void zpy_nonce_draw(uint8_t *nonce_out, size_t length);

/* ---- zpy_seal.c ---- */

/* Returns ZPY_OK or ZPY_NO_MEMORY. */
int zpy_seal_setup(void);

/* ---- zpy_entry.c, zpy_end.c and zpy_borrow.c ---- */

/* The one lock over cells and arena. */
void zpy_lock(void);
void zpy_unlock(void);
/* For a thread that takes the lock again and again, while it has not: let those have it who wait. A mutex alone would not,
 * since who gave it up is awake and they are not. */
void zpy_lock_let_others(void);
/* With the lock: that it does so from now on, or no more. */
void zpy_lock_series(bool goes_on);
/* Has a fatal signal's handler zeroed everything since this thread took the lock? */
bool zpy_lock_missed_wipe(void);
/* What a new cell begins with; the rest of it is zeros. */
struct zpy_content {
    uint8_t const *data; /* Null: random with ZPY_RANDOM, else zeros. */
    size_t length;
    void (*expand)(uint8_t *cell_bytes); /* Null, or what makes the rest of it, short enough for the lock. */
};

/* As zpy_cell_create, for such content. */
int64_t zpy_cell_create_from(struct zpy_content const *content, size_t length, uint32_t options, uint64_t ttl_ns,
                             uint32_t max_reads);
/* Pin a live cell for work outside the lock; on ZPY_OK that ends with zpy_cell_unpin. Who writes to the bytes says so, or a
 * sealed cell forgets it. */
int zpy_cell_pin(uint64_t cell, bool will_write, uint8_t **data_out, size_t *length_out);
/* The same to read a cell of exactly this length: ZPY_INVALID for any other, which then is no key of the kind that was meant. */
int zpy_cell_pin_key(uint64_t cell, size_t length, uint8_t **data_out);
/* Drop one pin. Returns the cell's state, so that work done meanwhile is known to be whole or not. Keeps errno. */
int zpy_cell_unpin(uint64_t cell);
void zpy_cells_after_fork(void);
/* A signal handler zeroed all runs, and the process lives on: all cells are dead. Call it with the lock held. */
void zpy_cells_after_wipe(void);

/* ---- zpy_reaper.c: call these with the lock held ---- */

int zpy_reaper_add(uint64_t cell, uint64_t at_ns);
/* A cell with a deadline ended before it. */
void zpy_reaper_note_stale(void);
void zpy_reaper_after_fork(void);

/* ---- zpy_derive.c ---- */

/* Where keyed states, and what comes out between two steps, lie. */
struct zpy_scratch {
    crypto_auth_hmacsha256_state state;
    uint8_t prk[crypto_auth_hmacsha256_BYTES];
    uint8_t block[crypto_auth_hmacsha256_BYTES];
    uint8_t made[2 * crypto_auth_hmacsha256_BYTES];
};

/* Make a cell of this size, zeros, for what one call needs, and pin it. Where no more can be locked it is a sealed one, which is
 * open, and so in a locked slot, for as long as it is pinned. */
int zpy_room_open(size_t size, uint64_t *cell_out, uint8_t **bytes_out);
/* Returns ZPY_OK only if it was whole all the time. */
int zpy_room_close(uint64_t cell);
/* The same for a scratch. */
int zpy_scratch_open(uint64_t *cell_out, struct zpy_scratch **scratch_out);
/* Also clears the stack and registers. Returns ZPY_OK only if the scratch was whole all the time. */
int zpy_scratch_close(uint64_t cell);
/* Pin a cell whose first key_length bytes are a key. Ends with zpy_cell_unpin. */
int zpy_derive_use(uint64_t key, size_t key_length, uint8_t **bytes_out);
/* HKDF-Extract (RFC 5869) with SHA-256 into scratch->prk. */
void zpy_hkdf_extract(struct zpy_scratch *scratch, uint8_t const *key, size_t key_length, uint8_t const *salt,
                      size_t salt_length);
/* HKDF-Expand of scratch->prk: at most 255 * 32 bytes. */
void zpy_hkdf_expand(struct zpy_scratch *scratch, uint8_t const *info, size_t info_length, uint8_t *out, size_t length);

/* ---- zpy_filler.c ---- */

/* Spans begin at multiples of this, and so does each part of the random stream that is made on its own. It is also what every
 * block device and file system in use takes as alignment for O_DIRECT. */
#define ZPY_BLOCK_BYTES ((size_t) 4096)
/* The smallest part that a device can fail in. */
#define ZPY_SECTOR_BYTES ((size_t) 512)

/* What the bytes of a span are made from, taken out of its request once. */
struct zpy_filler {
    uint8_t const *stream_key; /* Null: pattern. */
    uint64_t stream_number;
    int generator;
    uint8_t const *pattern;
    size_t pattern_bytes;
};

#define ZPY_STREAM_KEY_BYTES ((size_t) crypto_stream_chacha20_KEYBYTES)

/* own_key: for a request with neither key nor pattern; null: there is none. */
int zpy_filler_open(struct zpy_filler *filler, struct zpy_span_request const *request, uint8_t const *own_key);
/* Drops the pin on a cell's key; ZPY_OK only if the key was whole all the time. */
int zpy_filler_close(struct zpy_filler const *filler, struct zpy_span_request const *request);
/* offset: a multiple of ZPY_BLOCK_BYTES. */
void zpy_filler_fill(struct zpy_filler const *filler, uint8_t *out, size_t length, uint64_t offset);

/* ---- zpy_writer.c ---- */

/* Whole transparent huge pages on x86-64, and on ARM with 4 KiB pages. */
#define ZPY_LARGE_PAGE_BYTES ((size_t) 2 << 20)

/* Workers on one span. A reader waits for the device and then for a processor: with many of them the device has no pause while
 * bytes are compared. */
#define ZPY_WRITERS ((size_t) 2)
#define ZPY_READERS ((size_t) 16)

struct zpy_writer {
    uint8_t *mapped;
    size_t mapped_bytes;
    uint8_t *buffers;   /* For WRITERS, or for readers. */
    uint8_t *scratches; /* For readers. */
    size_t buffer_bytes;
    size_t scratch_bytes;
    size_t readers;
    size_t read_bytes;   /* What each of them takes at a time. */
    size_t used_bytes;   /* How much of the buffers, */
    size_t used_readers; /* and how many scratches, have been written to. */
    bool has_key;
    uint8_t key[ZPY_STREAM_KEY_BYTES];
};

/* Call before a span of that length is gone over. */
void zpy_writer_note_use(struct zpy_writer *writer, bool is_reading, uint64_t length);

/* ---- zpy_span.c ---- */

/* A part of a span that one worker moves between its buffer and the file. */
struct zpy_chunk {
    uint8_t *buffer;
    uint8_t *scratch; /* Smaller than the buffer, so that what is made there is compared while it is in the cache. */
    size_t scratch_bytes;
    uint64_t number;
    uint64_t offset; /* A multiple of ZPY_BLOCK_BYTES. */
    size_t length;   /* Only the last chunk of a file ends inside a block. */
    size_t done;     /* How much of it was written, found equal, or skipped. */
    int system_error;
    uint64_t short_calls;
};

/* How bytes get from a chunk's buffer into the file, or the other way. */
struct zpy_way {
    bool is_reading;
    /* Before anything else; null: nothing to do. */
    void (*prepare)(struct zpy_filler const *filler, struct zpy_chunk const *chunk);
    /* One system call for the next length bytes of the chunk. */
    int64_t (*move)(struct zpy_span_request const *request, struct zpy_chunk const *chunk, size_t length, bool direct);
    /* How many of the bytes that were moved are right; null: all. */
    size_t (*check)(struct zpy_filler const *filler, struct zpy_chunk const *chunk, size_t length);
    int at_end; /* The status when a call moves nothing. */
};

/* Go over the whole span. tail_apart: under O_DIRECT the bytes behind the last whole block come last, without it. */
int zpy_span_run(struct zpy_writer *writer, struct zpy_span_request const *request, struct zpy_way const *way,
                 bool tail_apart, struct zpy_span_result *result_out);

#endif
