/* arena_model.h: a plain model of the arena, for fuzz_arena.c.
 *
 * An array of runs, each with an array of slots, and a queue of free slots for each size: it knows which slot has to come
 * next. Runs are seen where they are mapped, through the linker's --wrap of zpy_pages_map and zpy_pages_unmap, which also
 * lets a mapping fail. What the arena must never do ends the program, here or in the checks of the operations. */
#ifndef ZPY_ARENA_MODEL_H
#define ZPY_ARENA_MODEL_H

#include "zpy_internal.h"

#include "check.h"

#include <string.h>

#define RUNS_MAX 512
#define LIVE_MAX 3000
#define CHARGES_MAX 8
#define CLASSES 16
#define SHELVES 4

static size_t const class_bytes[CLASSES] = {16,  32,  48,  64,  96,   128,  192,  256,
                                            384, 544, 768, 1024, 1536, 2048, 3072, 4096};

enum slot_state { FREE, LIVE, RETIRED };

struct model_slot {
    uint8_t *data;
    struct zpy_slot *real; /* While it is live. */
    struct model_run *run;
    struct model_slot *next_free;
    size_t length;
    size_t live_at; /* Where it stands in live[]. */
    enum slot_state state;
    uint8_t tag; /* Every byte of its content. */
    bool bytes_damaged; /* Slack of a live slot, or any byte of a free one, is not zero. */
    bool canary_damaged;
};

struct model_run {
    struct model_slot *slots; /* Null: this place in the table is empty. */
    uint8_t *base;
    size_t bytes;
    size_t size_class;
    size_t slot_count;
    size_t taken;
    unsigned shelf;
};

struct queue {
    struct model_slot *first;
    struct model_slot *last;
};

static struct model_run runs[RUNS_MAX];
static struct model_slot *live[LIVE_MAX];
static size_t live_count;
static struct queue queues[SHELVES][CLASSES];
static size_t charges[CHARGES_MAX];
static bool charges_scratch[CHARGES_MAX];
static size_t charge_count;
static uint64_t budget;
static uint64_t charged;
static uint64_t charged_scratch; /* The part of it that may use the reserve. */
static uint64_t refused_at;      /* A sum that a mapping failed at, since when nothing was given back. */
static uint64_t peak;
static uint64_t corruptions;
static uint64_t unmapped;
static uint8_t canary[ZPY_CANARY_BYTES];
static bool canary_known;

/* What the wrapped functions may do now. */
static bool may_unmap;
static bool may_unmap_scratch;
static int map_answer; /* The status to fail with, or ZPY_OK. */
static int maps_seen;  /* Calls since the operation began. */
static size_t growing_class;
static unsigned growing_shelf;

static size_t
class_of(size_t length)
{
    size_t index = 0;
    while (class_bytes[index] < length) {
        index++;
    }
    return index;
}

static bool
is_filled(uint8_t const *bytes, size_t length, uint8_t value)
{
    return length == 0 || (bytes[0] == value && memcmp(bytes, bytes + 1, length - 1) == 0);
}

/* ---- the model ---- */

static void
enqueue(struct model_slot *slot)
{
    struct queue *const queue = &queues[slot->run->shelf][slot->run->size_class];
    slot->state = FREE;
    slot->next_free = NULL;
    if (queue->last != NULL) {
        queue->last->next_free = slot;
    } else {
        queue->first = slot;
    }
    queue->last = slot;
}

/* A slot was given: to scratch it comes first again, elsewhere last. */
static void
put_back(struct model_slot *slot)
{
    struct queue *const queue = &queues[slot->run->shelf][slot->run->size_class];
    if ((slot->run->shelf & ZPY_SHELF_SCRATCH) == 0 || queue->first == NULL) {
        enqueue(slot);
        return;
    }
    slot->state = FREE;
    slot->next_free = queue->first;
    queue->first = slot;
}

static void
drop_from_queue(struct model_run const *run)
{
    struct queue *const queue = &queues[run->shelf][run->size_class];
    struct model_slot *slot = queue->first;
    *queue = (struct queue){NULL, NULL};
    while (slot != NULL) {
        struct model_slot *const next = slot->next_free;
        if (slot->run != run) {
            enqueue(slot);
        }
        slot = next;
    }
}

/* The slot that a request of this class has to get. Damaged ones before it are found and retired. */
static struct model_slot *
dequeue(size_t size_class, unsigned shelf)
{
    struct queue *const queue = &queues[shelf][size_class];
    while (queue->first != NULL) {
        struct model_slot *const slot = queue->first;
        queue->first = slot->next_free;
        if (queue->first == NULL) {
            queue->last = NULL;
        }
        slot->run->taken++;
        if (!slot->bytes_damaged) {
            return slot;
        }
        slot->state = RETIRED;
        corruptions++;
    }
    return NULL;
}

/* What packed slots must leave for scratch: an eighth, three pages at least, half at most; of one page all. */
static uint64_t
reserve(void)
{
    uint64_t const page = zpy_pages_round(1);
    uint64_t const least = budget / 8 > 4 * page ? budget / 8 : 4 * page;
    uint64_t const most = budget / 2 > page ? budget / 2 : page;
    return least < most ? least : most;
}

static bool
has_room(size_t bytes, bool scratch)
{
    uint64_t const packed = charged - charged_scratch;
    uint64_t const limit = budget > reserve() ? budget - reserve() : 0;
    return bytes <= budget && charged <= budget - bytes &&
           (scratch || (bytes <= limit && packed <= limit - bytes));
}

static void
count_charge(size_t bytes, bool scratch)
{
    CHECK(has_room(bytes, scratch));
    charged += bytes;
    charged_scratch += scratch ? bytes : 0;
    peak = charged > peak ? charged : peak;
}

static void
count_refund(size_t bytes, bool scratch)
{
    charged -= bytes;
    charged_scratch -= scratch ? bytes : 0;
    refused_at = UINT64_MAX;
}

/* One that a request may have the pages of; scratch serves scratch alone. */
static bool
has_empty_run(bool for_scratch)
{
    for (size_t index = 0; index < RUNS_MAX; index++) {
        bool const is_scratch = (runs[index].shelf & ZPY_SHELF_SCRATCH) != 0;
        if (runs[index].slots != NULL && runs[index].taken == 0 && (for_scratch || !is_scratch)) {
            return true;
        }
    }
    return false;
}

static void
check_slot(struct model_slot const *slot)
{
    size_t const size = class_bytes[slot->run->size_class];
    size_t const used = slot->state == LIVE ? slot->length : 0;
    CHECK(is_filled(slot->data, used, slot->tag));
    if (!slot->bytes_damaged) {
        CHECK(is_filled(slot->data + used, size - used, 0));
    }
    if (!slot->canary_damaged) {
        CHECK(memcmp(slot->data + size, canary, sizeof canary) == 0);
    }
}

/* Everything at once: the bytes of every slot, and the figures. */
static void
audit(void)
{
    uint64_t bytes = 0;
    uint64_t run_count = 0;
    for (size_t at = 0; at < RUNS_MAX; at++) {
        for (size_t index = 0; runs[at].slots != NULL && index < runs[at].slot_count; index++) {
            check_slot(&runs[at].slots[index]);
        }
        bytes += runs[at].slots != NULL ? runs[at].bytes : 0;
        run_count += runs[at].slots != NULL;
    }
    for (size_t index = 0; index < charge_count; index++) {
        bytes += charges[index];
    }
    struct zpy_stats figures = {0};
    zpy_arena_stats(&figures);
    CHECK_EQUAL(figures.locked_bytes, bytes);
    CHECK_EQUAL(figures.locked_bytes, charged);
    CHECK_EQUAL(figures.peak_locked_bytes, peak);
    CHECK_EQUAL(figures.budget_bytes, budget);
    CHECK_EQUAL(figures.arenas, run_count);
    CHECK_EQUAL(figures.corruptions, corruptions);
}

/* ---- runs, where they are mapped and unmapped ---- */

int __real_zpy_pages_map(size_t bytes, bool inherit, struct zpy_pages *pages_out);
void __real_zpy_pages_unmap(struct zpy_pages *pages);
int __wrap_zpy_pages_map(size_t bytes, bool inherit, struct zpy_pages *pages_out);
void __wrap_zpy_pages_unmap(struct zpy_pages *pages);

static void
model_run(struct zpy_pages const *pages)
{
    struct model_run *run = runs;
    size_t const stride = class_bytes[growing_class] + ZPY_CANARY_BYTES;
    for (size_t index = 0; index < RUNS_MAX; index++) {
        struct model_run const *const other = &runs[index];
        CHECK(other->slots == NULL || pages->base + pages->bytes <= other->base ||
              other->base + other->bytes <= pages->base);
    }
    while (run->slots != NULL) {
        CHECK(++run < runs + RUNS_MAX);
    }
    *run = (struct model_run){.base = pages->base,
                              .bytes = pages->bytes,
                              .size_class = growing_class,
                              .slot_count = pages->bytes / stride,
                              .shelf = growing_shelf};
    CHECK(run->slot_count > 0 && pages->inherit == ((growing_shelf & ZPY_SHELF_INHERIT) != 0));
    run->slots = calloc(run->slot_count, sizeof *run->slots);
    CHECK(run->slots != NULL);
    for (size_t index = 0; index < run->slot_count; index++) {
        run->slots[index].run = run;
        run->slots[index].data = run->base + index * stride;
        CHECK(is_filled(run->slots[index].data, stride, 0));
        enqueue(&run->slots[index]);
    }
    count_charge(run->bytes, (run->shelf & ZPY_SHELF_SCRATCH) != 0);
}

int
__wrap_zpy_pages_map(size_t bytes, bool inherit, struct zpy_pages *pages_out)
{
    maps_seen++;
    CHECK(bytes > 0 && bytes == zpy_pages_round(bytes));
    if (map_answer != ZPY_OK) {
        /* It was granted before it failed, and the peak counts what was granted. */
        peak = charged + bytes > peak ? charged + bytes : peak;
        CHECK(has_room(bytes, (growing_shelf & ZPY_SHELF_SCRATCH) != 0));
        refused_at = map_answer == ZPY_LOCK_LIMIT ? charged + bytes : refused_at;
        return map_answer;
    }
    CHECK_EQUAL(__real_zpy_pages_map(bytes, inherit, pages_out), ZPY_OK);
    model_run(pages_out);
    return ZPY_OK;
}

void
__wrap_zpy_pages_unmap(struct zpy_pages *pages)
{
    struct model_run *run = runs;
    CHECK(may_unmap);
    while (run->slots == NULL || run->base != pages->base) {
        CHECK(++run < runs + RUNS_MAX);
    }
    CHECK(run->bytes == pages->bytes && run->taken == 0);
    CHECK(may_unmap_scratch || (run->shelf & ZPY_SHELF_SCRATCH) == 0);
    for (size_t index = 0; index < run->slot_count; index++) {
        CHECK_EQUAL(run->slots[index].state, FREE);
        check_slot(&run->slots[index]);
    }
    drop_from_queue(run);
    count_refund(run->bytes, (run->shelf & ZPY_SHELF_SCRATCH) != 0);
    free(run->slots);
    run->slots = NULL;
    unmapped++;
    __real_zpy_pages_unmap(pages);
}

#endif
