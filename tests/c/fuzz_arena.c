/* fuzz_arena.c OPERATIONS SEED [mlock]: random operations on the arena, next to a plain model of it.
 *
 * Slots are taken, filled, damaged and given back; runs are mapped, refused and unmapped; the budget changes. Each slot
 * that comes must be the one that the model expects, and each damage must be found where the arena promises it. The work
 * is split into rounds, each in a process of its own with the seed SEED + its number, so that a failure can be repeated
 * alone. Exit status 0 when arena and model always agreed. */
#include "zpy_internal.h"

#include "arena_model.h"
#include "check.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUND_OPERATIONS ((uint64_t) 100000)
#define AUDIT_EVERY 5000
/* What a round may damage: slots that are retired take from its budget for good. */
#define DAMAGES_MAX 60

/* What was done in all rounds, in memory that the processes share. */
struct totals {
    uint64_t taken;
    uint64_t larger;
    uint64_t mapped;
    uint64_t unmapped;
    uint64_t refused;
    uint64_t failed;
    uint64_t found;
};

static struct totals *totals;
static uint64_t damages;
static uint64_t random_state;
static bool is_tight; /* A round in which the budget is spent most of the time: slow, as runs come and go. */

static uint32_t
draw(uint32_t below)
{
    random_state = random_state * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t) (random_state >> 33) % below;
}

/* ---- operations ---- */

static size_t
random_length(void)
{
    uint32_t const kind = draw(8);
    if (kind == 0) {
        return draw((uint32_t) ZPY_SLOT_MAX + 1);
    }
    if (kind == 1) { /* At the edges of a class. */
        size_t const size = class_bytes[draw(CLASSES)];
        return size - draw(2) + (size < ZPY_SLOT_MAX ? draw(2) : 0);
    }
    return draw(kind < 5 ? 100 : 600);
}

static void
use(struct zpy_slot *real, struct model_slot *slot, size_t length, unsigned shelf)
{
    if (slot == NULL) {
        CHECK(real == NULL);
        return;
    }
    CHECK(real != NULL && real->data == slot->data && (uintptr_t) real->data % ZPY_ALIGN == 0);
    struct zpy_pages const *const pages = zpy_arena_pages(real);
    CHECK(pages->base == slot->run->base && pages->bytes == slot->run->bytes && slot->run->shelf == shelf);
    CHECK(is_filled(real->data, class_bytes[slot->run->size_class], 0));
    slot->state = LIVE;
    slot->real = real;
    slot->length = length;
    slot->tag = (uint8_t) (1 + draw(255));
    memset(slot->data, slot->tag, length);
    slot->live_at = live_count;
    live[live_count++] = slot;
    totals->taken++;
}

static void
grow(size_t length, unsigned shelf)
{
    size_t const smallest = zpy_pages_round(class_bytes[class_of(length)] + ZPY_CANARY_BYTES);
    static int const failures[] = {ZPY_LOCK_LIMIT, ZPY_SYSTEM, ZPY_NO_MEMORY};
    growing_class = class_of(length);
    growing_shelf = shelf;
    map_answer = draw(10) == 0 ? failures[draw(3)] : ZPY_OK;
    maps_seen = 0;
    bool const scratch = (shelf & ZPY_SHELF_SCRATCH) != 0;
    may_unmap = true;
    may_unmap_scratch = scratch;
    int const status = zpy_arena_grow(length, shelf);
    may_unmap = false;
    if (maps_seen > 0) {
        CHECK_EQUAL(status, map_answer);
        *(status == ZPY_OK ? &totals->mapped : &totals->failed) += 1;
    } else { /* Refused without asking the kernel, and only after everything unused was given back. */
        CHECK_EQUAL(status, ZPY_LOCK_LIMIT);
        CHECK(!has_empty_run(scratch));
        CHECK(!has_room(smallest, scratch) || charged + smallest >= refused_at);
        totals->refused++;
    }
    if (status == ZPY_OK && !canary_known) {
        memcpy(canary, queues[shelf][growing_class].first->data + class_bytes[growing_class], sizeof canary);
        CHECK(!sodium_is_zero(canary, sizeof canary));
        canary_known = true;
    }
}

static void
take(void)
{
    size_t const length = random_length();
    unsigned const shelf = draw(3) == 0 ? draw(SHELVES) : 0;
    if (live_count == LIVE_MAX) {
        return;
    }
    if (draw(16) == 0) {
        struct zpy_slot *const real = zpy_arena_take_larger(length, shelf);
        struct model_slot *slot = NULL;
        for (size_t size_class = class_of(length) + 1; slot == NULL && size_class < CLASSES; size_class++) {
            slot = dequeue(size_class, shelf);
        }
        totals->larger += slot != NULL;
        use(real, slot, length, shelf);
        return;
    }
    struct zpy_slot *const real = zpy_arena_take(length, shelf);
    use(real, dequeue(class_of(length), shelf), length, shelf);
    if (real == NULL && draw(8) == 0) { /* Mapping is a thousand times slower than all the rest. */
        zpy_unlock();
        grow(length, shelf);
        zpy_lock();
    }
}

static void
give(void)
{
    struct model_slot *const slot = live[draw((uint32_t) live_count)];
    check_slot(slot);
    bool const whole = !slot->bytes_damaged && !slot->canary_damaged;
    CHECK_EQUAL(zpy_arena_give(slot->real, slot->length), whole ? ZPY_OK : ZPY_CORRUPT);
    CHECK(is_filled(slot->data, class_bytes[slot->run->size_class], 0));
    live[slot->live_at] = live[--live_count];
    live[slot->live_at]->live_at = slot->live_at;
    slot->bytes_damaged = false;
    if (whole) {
        slot->run->taken--;
        put_back(slot);
    } else {
        slot->state = RETIRED;
        corruptions++;
    }
}

static void
refund(size_t at)
{
    zpy_budget_refund(charges[at], charges_scratch[at]);
    count_refund(charges[at], charges_scratch[at]);
    charge_count--;
    charges[at] = charges[charge_count];
    charges_scratch[at] = charges_scratch[charge_count];
}

static void
charge_or_refund(void)
{
    if (charge_count > 0 && draw(2) == 0) {
        refund(draw((uint32_t) charge_count));
        return;
    }
    bool const scratch = draw(4) == 0;
    size_t const bytes = draw(64) == 0 ? SIZE_MAX - draw(2) : zpy_pages_round(1 + draw(40000));
    if (charge_count == CHARGES_MAX) {
        return;
    }
    may_unmap = true;
    may_unmap_scratch = scratch;
    bool const granted = zpy_arena_charge(bytes, scratch);
    may_unmap = false;
    if (granted) {
        count_charge(bytes, scratch);
        charges_scratch[charge_count] = scratch;
        charges[charge_count++] = bytes;
    } else {
        CHECK(!has_empty_run(scratch));
        CHECK(!has_room(bytes, scratch) || charged + bytes >= refused_at);
    }
}

/* A live slot, or any slot of some run; null when there is none. */
static struct model_slot *
any_slot(void)
{
    if (live_count > 0 && draw(2) == 0) {
        return live[draw((uint32_t) live_count)];
    }
    uint32_t const start = draw(RUNS_MAX);
    for (uint32_t step = 0; step < RUNS_MAX; step++) {
        struct model_run const *const run = &runs[(start + step) % RUNS_MAX];
        if (run->slots != NULL) {
            return &run->slots[draw((uint32_t) run->slot_count)];
        }
    }
    return NULL;
}

/* Flip a byte outside the bytes in use: slack, canary, or what lies free. */
static void
damage(void)
{
    struct model_slot *const slot = any_slot();
    if (slot == NULL || damages == DAMAGES_MAX) {
        return;
    }
    size_t const size = class_bytes[slot->run->size_class];
    size_t const first = slot->state == LIVE ? slot->length : 0;
    size_t const at = first + draw((uint32_t) (size + ZPY_CANARY_BYTES - first));
    bool const in_canary = at >= size;
    if (slot->state == RETIRED || (in_canary ? slot->canary_damaged : slot->bytes_damaged)) {
        return;
    }
    slot->data[at] ^= (uint8_t) (1 + draw(255));
    slot->canary_damaged |= in_canary;
    slot->bytes_damaged |= !in_canary;
    damages++;
}

static void
set_budget(void)
{
    budget = zpy_pages_round(1) * (1 + draw(is_tight ? 32 : 1024));
    zpy_budget_set(budget);
    refused_at = UINT64_MAX;
}

/* All goes back; then pages remain only where a slot was retired. */
static void
finish(void)
{
    while (live_count > 0) {
        give();
    }
    while (charge_count > 0) {
        refund(0);
    }
    may_unmap = true;
    may_unmap_scratch = true;
    CHECK(!zpy_arena_charge(SIZE_MAX, true));
    CHECK(!has_empty_run(true));
    audit();
    totals->unmapped += unmapped;
    totals->found += corruptions;
}

static void
play(uint64_t operations, uint64_t seed, bool allow_secretmem)
{
    random_state = seed * 0x9E3779B97F4A7C15U + 1;
    is_tight = seed % 8 == 0;
    CHECK_EQUAL(zpy_init(allow_secretmem, 4096), ZPY_OK);
    zpy_lock();
    set_budget();
    for (uint64_t index = 0; index < operations; index++) {
        uint32_t const choice = draw(1000);
        /* Waves of more and of fewer secrets, so that runs fill up and empty. */
        uint32_t const takes = index / 2000 % 2 == 0 ? 560 : 400;
        if (choice < takes) {
            take();
        } else if (choice < 980 && live_count > 0) {
            give();
        } else if (choice < 995) {
            charge_or_refund();
        } else if (choice == 995) {
            damage();
        } else if (choice == 996 && draw(10) == 0) {
            set_budget();
        }
        if (index % AUDIT_EVERY == 0) {
            audit();
        }
    }
    finish();
    zpy_unlock();
}

int
main(int argc, char **argv)
{
    CHECK(argc >= 3);
    uint64_t const operations = strtoull(argv[1], NULL, 10);
    uint64_t const seed = strtoull(argv[2], NULL, 10);
    uint64_t left = operations;
    totals = mmap(NULL, sizeof *totals, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(totals != MAP_FAILED);
    for (uint64_t number = 0; left > 0; number++) {
        uint64_t const mine = left < ROUND_OPERATIONS ? left : ROUND_OPERATIONS;
        pid_t const child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            play(mine, seed + number, argc < 4 || strcmp(argv[3], "mlock") != 0);
            exit(0); /* Not _exit: leaks are looked for. */
        }
        int status = -1;
        CHECK_EQUAL(waitpid(child, &status, 0), child);
        if (status != 0) {
            fprintf(stderr, "round %llu (%llu operations, seed %llu) failed\n", (unsigned long long) number,
                    (unsigned long long) mine, (unsigned long long) (seed + number));
            return 1;
        }
        left -= mine;
    }
    printf("ok: %llu operations: %llu taken, %llu larger, %llu mapped, %llu unmapped, %llu refused, %llu failed, "
           "%llu found\n",
           (unsigned long long) operations, (unsigned long long) totals->taken, (unsigned long long) totals->larger,
           (unsigned long long) totals->mapped, (unsigned long long) totals->unmapped,
           (unsigned long long) totals->refused, (unsigned long long) totals->failed,
           (unsigned long long) totals->found);
    return 0;
}
