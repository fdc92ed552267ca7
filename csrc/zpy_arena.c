/* zpy_arena.c: slots of a few sizes inside locked page runs. What describes a slot lives on the ordinary heap, never
 * beside the secret; the only bytes around a slot are its canary. */
#include "zpy_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* 544 holds an AES-256-GCM key and its schedule. */
static size_t const class_bytes[] = {16,  32,  48,  64,  96,   128,  192,  256,
                                     384, 544, 768, 1024, 1536, 2048, 3072, ZPY_SLOT_MAX};
#define CLASS_COUNT (sizeof class_bytes / sizeof class_bytes[0])
#define RUN_BYTES_MAX ((size_t) 65536)

struct zpy_run {
    struct zpy_pages pages;
    struct zpy_run *next;
    struct zpy_slot *slots;
    size_t slot_count;
    size_t taken;
    size_t size_class;
    unsigned shelf;
    bool is_kept; /* Never given back to the system. */
};

/* Free slots of one class, oldest first, so that a slot just freed is used again last. For scratch it is used again first: a
 * sealed cell that is opened again finds itself where it was, and so does the next one. */
struct shelf {
    struct zpy_slot *first_free;
    struct zpy_slot *last_free;
    size_t next_run_bytes;
};

/* By ZPY_SHELF_* bits: what a child inherits and what it does not differ by page, so never share one. */
static struct shelf shelves[4][CLASS_COUNT];
static struct zpy_run *all_runs = NULL;
static uint8_t canary[ZPY_CANARY_BYTES];
static bool canary_drawn = false;
static uint64_t run_count = 0;
static uint64_t corruptions = 0;

static size_t
class_of(size_t length)
{
    size_t index = 0;
    while (class_bytes[index] < length) {
        index++;
    }
    return index;
}

/* For finding stray writes, not for secrets: these bytes are zero unless something is broken. */
static bool
all_zero(uint8_t const *bytes, size_t length)
{
    return length == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0);
}

void
zpy_arena_setup(void)
{
    if (!canary_drawn) {
        randombytes_buf(canary, sizeof canary);
        canary_drawn = true;
    }
}

static void
shelve(struct shelf *shelf, struct zpy_slot *slot)
{
    slot->next_free = NULL;
    if (shelf->last_free != NULL) {
        shelf->last_free->next_free = slot;
    } else {
        shelf->first_free = slot;
    }
    shelf->last_free = slot;
}

static void
shelve_first(struct shelf *shelf, struct zpy_slot *slot)
{
    slot->next_free = shelf->first_free;
    shelf->first_free = slot;
    if (shelf->last_free == NULL) {
        shelf->last_free = slot;
    }
}

static struct zpy_slot *
unshelve(struct shelf *shelf)
{
    struct zpy_slot *const slot = shelf->first_free;
    if (slot != NULL) {
        shelf->first_free = slot->next_free;
        if (shelf->first_free == NULL) {
            shelf->last_free = NULL;
        }
        slot->next_free = NULL;
    }
    return slot;
}

static void
free_run(struct zpy_run *run)
{
    zpy_budget_refund(run->pages.bytes, (run->shelf & ZPY_SHELF_SCRATCH) != 0);
    zpy_pages_unmap(&run->pages);
    free(run->slots);
    free(run);
    run_count--;
}

/* Take the free slots of one run off their shelf, keeping the order of the others. */
static void
clear_shelf_of(struct zpy_run const *run)
{
    struct shelf *const shelf = &shelves[run->shelf][run->size_class];
    struct zpy_slot *slot = shelf->first_free;
    shelf->first_free = NULL;
    shelf->last_free = NULL;
    while (slot != NULL) {
        struct zpy_slot *const next = slot->next_free;
        if (slot->run != run) {
            shelve(shelf, slot);
        }
        slot = next;
    }
}

/* When the budget is spent: unmap runs in which no slot is taken, so that their pages serve another size. */
static bool
release_empty_runs(bool for_scratch)
{
    bool released = false;
    struct zpy_run **link = &all_runs;
    while (*link != NULL) {
        struct zpy_run *const run = *link;
        /* Scratch for scratch alone: where the kernel's limit was lowered it could not be mapped again, and then no sealed
         * cell could be opened. */
        if (run->taken == 0 && !run->is_kept && (for_scratch || (run->shelf & ZPY_SHELF_SCRATCH) == 0)) {
            clear_shelf_of(run);
            *link = run->next;
            free_run(run);
            released = true;
        } else {
            link = &run->next;
        }
    }
    return released;
}

bool
zpy_arena_charge(size_t bytes, bool scratch)
{
    return zpy_budget_charge(bytes, scratch) || (release_empty_runs(scratch) && zpy_budget_charge(bytes, scratch));
}

static struct zpy_run *
new_run(size_t size_class, size_t bytes, unsigned shelf)
{
    struct zpy_run *const run = calloc(1, sizeof *run);
    if (run == NULL) {
        return NULL;
    }
    run->size_class = size_class;
    run->shelf = shelf;
    run->slot_count = bytes / (class_bytes[size_class] + ZPY_CANARY_BYTES);
    run->slots = calloc(run->slot_count, sizeof *run->slots);
    if (run->slots == NULL) {
        free(run);
        return NULL;
    }
    return run;
}

/* Lay out the slots of a mapped run and put them on the shelf. */
static void
open_run(struct zpy_run *run)
{
    size_t const size = class_bytes[run->size_class];
    struct shelf *const shelf = &shelves[run->shelf][run->size_class];
    for (size_t index = 0; index < run->slot_count; index++) {
        struct zpy_slot *const slot = &run->slots[index];
        slot->run = run;
        slot->data = run->pages.base + index * (size + ZPY_CANARY_BYTES);
        memcpy(slot->data + size, canary, ZPY_CANARY_BYTES);
        shelve(shelf, slot);
    }
    run->next = all_runs;
    all_runs = run;
    run_count++;
    shelf->next_run_bytes = run->pages.bytes >= RUN_BYTES_MAX ? RUN_BYTES_MAX : run->pages.bytes * 2;
}

static int
grow_by(size_t size_class, size_t bytes, unsigned shelf)
{
    zpy_lock();
    bool const scratch = (shelf & ZPY_SHELF_SCRATCH) != 0;
    bool const granted = zpy_arena_charge(bytes, scratch);
    zpy_unlock();
    if (!granted) {
        return ZPY_LOCK_LIMIT;
    }
    struct zpy_run *const run = new_run(size_class, bytes, shelf);
    int status = run == NULL ? ZPY_NO_MEMORY : zpy_pages_map(bytes, (shelf & ZPY_SHELF_INHERIT) != 0, &run->pages);
    int const saved = errno;
    zpy_lock();
    if (status == ZPY_OK) {
        open_run(run);
    } else {
        zpy_budget_refused(bytes, scratch, status);
    }
    zpy_unlock();
    if (status != ZPY_OK && run != NULL) {
        free(run->slots);
        free(run);
    }
    errno = saved;
    return status;
}

int
zpy_arena_grow(size_t length, unsigned shelf)
{
    size_t const size_class = class_of(length);
    size_t const smallest = zpy_pages_round(class_bytes[size_class] + ZPY_CANARY_BYTES);
    zpy_lock();
    /* Runs of one class double in size: a program with five secrets locks a page, one with thousands few large runs. */
    size_t const doubled = shelves[shelf][size_class].next_run_bytes;
    zpy_unlock();
    size_t const wanted = doubled > smallest ? doubled : smallest;
    int status = grow_by(size_class, wanted, shelf);
    if (status == ZPY_LOCK_LIMIT && wanted > smallest) {
        status = grow_by(size_class, smallest, shelf);
    }
    return status;
}

static struct zpy_slot *
take_from(size_t size_class, unsigned shelf)
{
    struct zpy_slot *slot;
    while ((slot = unshelve(&shelves[shelf][size_class])) != NULL) {
        slot->run->taken++;
        if (all_zero(slot->data, class_bytes[size_class])) {
            return slot;
        }
        /* Somebody wrote to it after it was freed. It stays taken for ever, so that nothing lands on it. */
        corruptions++;
    }
    return NULL;
}

struct zpy_slot *
zpy_arena_take(size_t length, unsigned shelf)
{
    return take_from(class_of(length), shelf);
}

struct zpy_slot *
zpy_arena_take_larger(size_t length, unsigned shelf)
{
    for (size_t size_class = class_of(length) + 1; size_class < CLASS_COUNT; size_class++) {
        struct zpy_slot *const slot = take_from(size_class, shelf);
        if (slot != NULL) {
            return slot;
        }
    }
    return NULL;
}

/* Sealed cells are open for moments, so they rather share slots than have pages locked for each size. */
static struct zpy_slot *
take_for(size_t length, unsigned shelf)
{
    struct zpy_slot *const slot = zpy_arena_take(length, shelf);
    return slot != NULL || (shelf & ZPY_SHELF_SCRATCH) == 0 ? slot : zpy_arena_take_larger(length, shelf);
}

/* When no more pages can be had: a larger slot; for scratch also one that packed cells left free. */
static struct zpy_slot *
take_spare(size_t length, unsigned shelf)
{
    unsigned const packed = shelf & ~ZPY_SHELF_SCRATCH;
    struct zpy_slot *const slot = zpy_arena_take(length, packed);
    return slot != NULL ? slot : zpy_arena_take_larger(length, packed);
}

int
zpy_arena_obtain(size_t length, unsigned shelf, struct zpy_slot **slot_out)
{
    int status = ZPY_OK;
    while (status == ZPY_OK && (*slot_out = take_for(length, shelf)) == NULL) {
        zpy_unlock();
        status = zpy_arena_grow(length, shelf);
        int const saved = errno;
        zpy_lock();
        errno = saved;
    }
    if (status == ZPY_LOCK_LIMIT && (*slot_out = take_spare(length, shelf)) != NULL) {
        status = ZPY_OK;
    }
    return status;
}

int
zpy_arena_give(struct zpy_slot *slot, size_t length)
{
    size_t const size = class_bytes[slot->run->size_class];
    bool const whole = memcmp(slot->data + size, canary, ZPY_CANARY_BYTES) == 0 && /* No secret: any time it takes. */
                       all_zero(slot->data + length, size - length);
    sodium_memzero(slot->data, size);
    if (!whole && !zpy_lock_missed_wipe()) {
        corruptions++;
        return ZPY_CORRUPT;
    }
    slot->run->taken--;
    struct shelf *const shelf = &shelves[slot->run->shelf][slot->run->size_class];
    if ((slot->run->shelf & ZPY_SHELF_SCRATCH) != 0) {
        shelve_first(shelf, slot);
    } else {
        shelve(shelf, slot);
    }
    return ZPY_OK;
}

void
zpy_arena_keep(struct zpy_slot const *slot)
{
    slot->run->is_kept = true;
}

struct zpy_pages const *
zpy_arena_pages(struct zpy_slot const *slot)
{
    return &slot->run->pages;
}

/* The child starts with an empty arena. The parent's runs stay mapped, as zeros, for views that were open; only inherited
 * runs go on being used. */
void
zpy_arena_after_fork(void)
{
    for (unsigned shelf = 0; shelf < 4; shelf++) {
        if ((shelf & ZPY_SHELF_INHERIT) == 0) {
            memset(shelves[shelf], 0, sizeof shelves[shelf]);
        }
    }
    zpy_budget_after_fork();
    run_count = 0;
    struct zpy_run **link = &all_runs;
    while (*link != NULL) {
        struct zpy_run *const run = *link;
        zpy_pages_after_fork(&run->pages);
        if (run->pages.inherit) {
            zpy_budget_hold(run->pages.bytes, (run->shelf & ZPY_SHELF_SCRATCH) != 0);
            run_count++;
            link = &run->next;
        } else {
            *link = run->next;
        }
    }
}

void
zpy_arena_after_wipe(void)
{
    for (struct zpy_run *run = all_runs; run != NULL; run = run->next) {
        for (size_t index = 0; index < run->slot_count; index++) {
            memcpy(run->slots[index].data + class_bytes[run->size_class], canary, ZPY_CANARY_BYTES);
        }
    }
}

void
zpy_arena_stats(struct zpy_stats *stats_out)
{
    zpy_budget_stats(stats_out);
    stats_out->arenas = run_count;
    stats_out->corruptions = corruptions;
}
