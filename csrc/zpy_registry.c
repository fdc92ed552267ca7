/* zpy_registry.c: where all page runs are, in a form that a signal handler can read at any moment.
 *
 * Records lie in pages of their own, away from the heap, whose corruption may be what ends the process. Blocks are never
 * freed. Changes are made under zpy_pages_lock; the walk takes no lock. It announces itself first, and a run that is taken
 * out while a walk is announced stays mapped, so that the walk never meets a hole, nor memory that became somebody else's.
 * All of it rests on sequential consistency: either the walk sees the change, or the change sees the walk. */
#include "zpy_internal.h"

#include <stdlib.h>

#if !defined(_WIN32)
#include <poll.h>
#include <sys/mman.h>
#endif

#define BLOCK_BYTES ((size_t) 4096)
#define BLOCK_RECORDS ((BLOCK_BYTES - sizeof(void *)) / sizeof(struct zpy_record))
/* How long a walk waits for threads that are closing a page run at that instant. */
#define CLOSING_PAUSES 50
#define PAUSE_MS 1

struct zpy_record {
    _Atomic(uint8_t *) base; /* Null: holds no run. */
    _Atomic size_t bytes;
    atomic_bool inherited; /* Would a child get a copy of it? */
    bool is_kept;          /* For the fork handler of a child: the run lives on there. */
    struct zpy_record *next_free;
};

struct block {
    _Atomic(struct block *) next;
    struct zpy_record records[BLOCK_RECORDS];
};

_Static_assert(ATOMIC_POINTER_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2, "a handler must not meet the lock of an atomic");
_Static_assert(sizeof(struct block) <= BLOCK_BYTES, "a block is one page");

static _Atomic(struct block *) first_block = NULL;
static struct zpy_record *first_free = NULL;
static atomic_int walks = 0;
static atomic_int closings = 0;
_Atomic uint32_t zpy_registry_wipe_count = 0;

static struct block *
new_block(void)
{
#if defined(_WIN32)
    return calloc(1, BLOCK_BYTES); /* No signal handler walks there. */
#else
    void *const page = mmap(NULL, BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return page != MAP_FAILED ? page : NULL;
#endif
}

/* A record that no walk can be reading the old content of. */
static struct zpy_record *
take_record(void)
{
    if (first_free == NULL || atomic_load(&walks) != 0) {
        struct block *const block = new_block();
        if (block == NULL) {
            return NULL;
        }
        for (size_t index = 0; index < BLOCK_RECORDS; index++) {
            block->records[index].next_free = first_free;
            first_free = &block->records[index];
        }
        atomic_store(&block->next, atomic_load(&first_block));
        atomic_store(&first_block, block);
    }
    struct zpy_record *const record = first_free;
    first_free = record->next_free;
    return record;
}

int
zpy_registry_add(struct zpy_pages *pages)
{
    zpy_pages_lock();
    struct zpy_record *const record = take_record();
    if (record != NULL) {
        atomic_store(&record->bytes, pages->bytes);
        atomic_store(&record->inherited, pages->fork == ZPY_FORK_INHERITED);
        atomic_store(&record->base, pages->base); /* Last: from here on a walk wipes it. */
    }
    zpy_pages_unlock();
    pages->record = record;
    return record != NULL ? ZPY_OK : ZPY_NO_MEMORY;
}

void
zpy_registry_forget(struct zpy_pages *pages)
{
    if (pages->record != NULL) {
        atomic_store(&pages->record->base, NULL);
        pages->record->next_free = first_free;
        first_free = pages->record;
        pages->record = NULL;
    }
}

bool
zpy_registry_remove(struct zpy_pages *pages)
{
    zpy_pages_lock();
    zpy_registry_forget(pages);
    zpy_pages_unlock();
    return atomic_load(&walks) == 0;
}

bool
zpy_registry_begin_closing(void)
{
    (void) atomic_fetch_add(&closings, 1);
    return atomic_load(&walks) == 0;
}

void
zpy_registry_end_closing(void)
{
    (void) atomic_fetch_sub(&closings, 1);
}

void
zpy_registry_after_fork(void)
{
    atomic_store(&walks, 0);
    atomic_store(&closings, 0);
}

void
zpy_registry_keep(struct zpy_pages const *pages)
{
    pages->record->is_kept = true;
}

/* Runs that another thread had mapped, but not yet handed over, when this one forked: that thread is not in the child. */
void
zpy_registry_drop_strays(void)
{
    for (struct block *block = atomic_load(&first_block); block != NULL; block = atomic_load(&block->next)) {
        for (size_t index = 0; index < BLOCK_RECORDS; index++) {
            struct zpy_record *const record = &block->records[index];
            struct zpy_pages pages = {.base = atomic_load(&record->base), .bytes = atomic_load(&record->bytes)};
            bool const is_stray = pages.base != NULL && !record->is_kept;
            pages.record = record;
            record->is_kept = false;
            if (is_stray && atomic_load(&record->inherited)) {
                if (zpy_pages_protect(&pages, true) == ZPY_OK) {
                    sodium_memzero(pages.base, pages.bytes);
                }
                zpy_pages_unmap(&pages);
            } else if (is_stray) {
                zpy_registry_forget(&pages); /* Zeros; or a hole, and what comes to be there is somebody else's. */
            }
        }
    }
}

static void
pause_briefly(void)
{
#if !defined(_WIN32)
    (void) poll(NULL, 0, PAUSE_MS); /* POSIX allows it in a handler; ending early does no harm. */
#endif
}

void
zpy_registry_wait(void)
{
    while (atomic_load(&walks) != 0) {
        pause_briefly();
    }
}

void
zpy_registry_begin_walk(void)
{
    (void) atomic_fetch_add(&walks, 1);
    (void) atomic_fetch_add(&zpy_registry_wipe_count, 1); /* Second: who sees it can wait for the walk. */
    /* Let threads end what would take the access away from under the walk; those that come later see it and keep off. The
     * interrupted thread itself can be one, and will not go on: hence the bound. */
    for (int turn = 0; turn < CLOSING_PAUSES && atomic_load(&closings) != 0; turn++) {
        pause_briefly();
    }
}

void
zpy_registry_end_walk(void)
{
    (void) atomic_fetch_sub(&walks, 1);
}

void
zpy_registry_wipe(bool inherited_only)
{
    zpy_registry_begin_walk();
    for (struct block *block = atomic_load(&first_block); block != NULL; block = atomic_load(&block->next)) {
        for (size_t index = 0; index < BLOCK_RECORDS; index++) {
            struct zpy_record *const record = &block->records[index];
            struct zpy_pages const pages = {.base = atomic_load(&record->base), .bytes = atomic_load(&record->bytes)};
            if (pages.base == NULL || (inherited_only && !atomic_load(&record->inherited))) {
                continue;
            }
            /* Opens isolated cells; what cannot be opened would kill us here, with all other runs still to be wiped. */
            if (zpy_pages_protect(&pages, true) == ZPY_OK) {
                sodium_memzero(pages.base, pages.bytes);
            }
        }
    }
    zpy_registry_end_walk();
}
