/* test_fork.c: a child of fork() has no secret that nobody there owns, and its parent's other threads leave nothing half done
 * in it. Argument: "mlock" keeps to that backing.
 *
 * A thread is stopped at one place, and the process forks while it stands there (stops.h). */
#include "stops.h"

#include <errno.h>
#include <sys/mman.h>

#define BUDGET_BYTES ((uint64_t) 4096 * 1024)
#define FOREIGN 0xAA

/* ---- memory that is not ours ---- */

/* What another part of the child gets where the parent had its pages stays as it is when a signal wipes all secrets. */
static void
uses_the_place(void)
{
    uint8_t *const at = last_mapped.base;
    void *const got = mmap(at, last_mapped.bytes, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    bool const is_taken = got == MAP_FAILED && errno == EEXIST;
    CHECK(got == at || (is_taken && last_mapped.fork == ZPY_FORK_WIPED)); /* Then zeros are there, which nobody uses. */
    memset(at, FOREIGN, last_mapped.bytes);
    zpy_registry_wipe(false);
    for (size_t index = 0; index < last_mapped.bytes; index++) {
        CHECK_EQUAL(at[index], FOREIGN);
    }
    CHECK_EQUAL(zpy_cell_wipe(cell_of("The child has cells of its own.")), ZPY_OK);
}

static void
test_pages_just_mapped(uint32_t options, size_t length)
{
    struct work what = {.place = MAPPED, .options = options, .length = length};
    fork_during(&what, NULL, uses_the_place);
    CHECK_EQUAL(last_mapped.inherit, (options & ZPY_INHERIT) != 0);
    CHECK(last_mapped.bytes >= length);
    CHECK_EQUAL(zpy_cell_wipe(what.cell), ZPY_OK);
}

/* ---- secrets without an owner ---- */

/* What a child holds of runs that its parent keeps: on a page that children share. */
static uint64_t *locked_before;

static bool
holds_secret(void)
{
    uint8_t const *const end = last_mapped.base + last_mapped.bytes;
    return end[-1] == SECRET && memcmp(end - LARGE_BYTES / 2, end - LARGE_BYTES / 2 + 1, LARGE_BYTES / 2 - 1) == 0;
}

static void
sees_secret(void)
{
    CHECK(holds_secret());
}

/* The whole of it with its guards is free for others. */
static bool
is_unmapped(void)
{
    size_t const guard = zpy_pages_round(1);
    uint8_t *const at = last_mapped.base - guard;
    void *const got =
        mmap(at, last_mapped.bytes + 2 * guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    return got == at;
}

static void
has_nothing_of_it(void)
{
    CHECK(is_unmapped());
    CHECK_EQUAL(stats().pinned, 0);
    CHECK_EQUAL(stats().isolated, 0);
    CHECK_EQUAL(stats().locked_bytes, *locked_before);
}

static void
notes_locked(void)
{
    CHECK_EQUAL(stats().isolated, 0);
    *locked_before = stats().locked_bytes;
}

/* A secret that another thread was just putting into its pages is not in the child. */
static void
test_pages_being_filled(enum place place)
{
    struct work what = {.place = place, .options = ZPY_ISOLATED | ZPY_INHERIT, .length = LARGE_BYTES};
    fork_during(&what, place == FILLED ? sees_secret : NULL, has_nothing_of_it);
    uint8_t out[LARGE_BYTES];
    CHECK_EQUAL(zpy_large_read(what.cell, 0, out, sizeof out), ZPY_OK);
    CHECK_EQUAL(out[LARGE_BYTES - 1], SECRET);
    CHECK_EQUAL(zpy_cell_wipe(what.cell), ZPY_OK);
}

static uint64_t
inherited_cell(uint64_t ttl_ns)
{
    static uint8_t secret[LARGE_BYTES];
    memset(secret, SECRET, sizeof secret);
    uint64_t const cell = made(zpy_cell_create(secret, sizeof secret, ZPY_ISOLATED | ZPY_INHERIT, ttl_ns, 0));
    last_mapped = (struct zpy_pages){.base = zpy_cell_address(cell), .bytes = LARGE_BYTES};
    return cell;
}

/* One that another thread was just wiping is gone from the child, handle and pages. */
static uint64_t ended;

static void
has_ended_it(void)
{
    CHECK_EQUAL(zpy_cell_state(ended), ZPY_WIPED);
    has_nothing_of_it();
}

static void
has_expired_it(void)
{
    CHECK_EQUAL(zpy_cell_state(ended), ZPY_EXPIRED);
    has_nothing_of_it();
    CHECK_EQUAL(zpy_cell_wipe(ended), ZPY_OK);
    CHECK_EQUAL(zpy_cell_state(ended), ZPY_WIPED);
}

static void
test_pages_being_wiped(bool expires)
{
    ended = inherited_cell(expires ? UINT64_C(3600) * 1000000000U : 0);
    struct work what = {.place = ENDING, .cell = ended, .expires = expires};
    fork_during(&what, sees_secret, expires ? has_expired_it : has_ended_it);
    CHECK_EQUAL(stats().pinned, 0);
    CHECK_EQUAL(zpy_cell_wipe(ended), ZPY_OK);
}

/* With a view of it open in the child, its pages stay for that view, and are zeros. */
static void
reads_zeros(void)
{
    CHECK(sodium_is_zero(last_mapped.base, LARGE_BYTES));
    CHECK_EQUAL(stats().pinned, 1);
    CHECK_EQUAL(stats().locked_bytes, *locked_before + LARGE_BYTES);
    CHECK_EQUAL(zpy_cell_unpin(ended), ZPY_WIPED);
    has_nothing_of_it();
}

static void
test_pinned_pages_being_wiped(void)
{
    size_t length;
    ended = inherited_cell(0);
    CHECK(pinned(ended, &length) == last_mapped.base);
    struct work what = {.place = ENDING, .cell = ended};
    fork_during(&what, sees_secret, reads_zeros);
    CHECK_EQUAL(stats().pinned, 1);
    CHECK_EQUAL(zpy_cell_unpin(ended), ZPY_WIPED);
}

/* Nor is there what somebody wrote after the wipe, who would have it zeroed with the last pin. */
static uint8_t *late;
static size_t late_bytes;

static void
finds_nothing_late(void)
{
    CHECK(sodium_is_zero(late, late_bytes));
    CHECK_EQUAL(stats().pinned, 1);
    CHECK_EQUAL(zpy_cell_unpin(ended), ZPY_WIPED);
    CHECK_EQUAL(stats().pinned, 0);
}

static void
test_written_late(uint32_t options)
{
    ended = made(zpy_cell_create(NULL, ZPY_SLOT_MAX, options | ZPY_INHERIT, 0, 0));
    late = pinned(ended, &late_bytes);
    CHECK_EQUAL(zpy_cell_wipe(ended), ZPY_OK);
    memset(late, SECRET, late_bytes);
    in_child(finds_nothing_late);
    CHECK(late[0] == SECRET && late[late_bytes - 1] == SECRET); /* The control: it was there. */
    CHECK_EQUAL(zpy_cell_unpin(ended), ZPY_WIPED);
}

/* ---- deadlines ---- */

#define TTL_NS ((uint64_t) 200 * 1000000U)

static uint64_t waiting[3]; /* The second is large: the thread that keeps deadlines stops at it. */
static uint8_t const *first;
static uint8_t const *last;

static void
keeps_them_all(void)
{
    CHECK_EQUAL(zpy_reaper_ensure(), ZPY_OK);
    CHECK(goes_to_zero(first) && goes_to_zero(last));
}

/* All three in one batch: they are due when that thread gets the lock. False when the machine was too slow for that. */
static bool
fall_due_together(void)
{
    zpy_lock();
    bool const in_time = zpy_entry_awaits(zpy_entry_find(waiting[0]));
    while (in_time && zpy_entry_now_ns() < zpy_entry_find(waiting[2])->deadline_ns + 2000000U) {
        CHECK_EQUAL(usleep(1000), 0);
    }
    atomic_store(&anyone_stops_at, in_time ? ENDING : NOWHERE);
    zpy_unlock();
    return in_time;
}

/* Cells whose turn comes after one that is just expiring meet their deadline in the child, too. */
static void
test_deadlines_in_one_batch(void)
{
    bool in_time = false;
    while (!in_time) {
        uint8_t const byte = SECRET;
        waiting[0] = made(zpy_cell_create(&byte, 1, ZPY_INHERIT, TTL_NS, 0));
        first = zpy_cell_address(waiting[0]);
        waiting[1] = inherited_cell(TTL_NS);
        waiting[2] = made(zpy_cell_create(&byte, 1, ZPY_INHERIT, TTL_NS, 0));
        last = zpy_cell_address(waiting[2]);
        in_time = fall_due_together();
        if (in_time) {
            CHECK_EQUAL(sem_wait(&arrived), 0);
            CHECK(*first == SECRET || *last == SECRET); /* The control: one of them waits for its turn. */
            in_child(keeps_them_all);
            CHECK_EQUAL(sem_post(&goes_on), 0);
            zpy_reaper_stop(); /* Waits until it went on, or the next thread that stops would go on in its place. */
        }
        for (size_t index = 0; index < 3; index++) {
            CHECK_EQUAL(zpy_cell_wipe(waiting[index]), ZPY_OK);
        }
    }
}

/* ---- the budget ---- */

#define KEPT 8

static uint64_t kept[KEPT];

/* A budget lowered under what the child holds: all of it counts, all of it is given back, and then there is room again. */
static void
gives_all_back(void)
{
    CHECK_EQUAL(stats().locked_bytes, *locked_before + KEPT * LARGE_BYTES);
    CHECK_EQUAL(zpy_cell_create(NULL, 1, ZPY_ISOLATED, 0, 0), -ZPY_LOCK_LIMIT);
    for (size_t index = 0; index < KEPT; index++) {
        CHECK_EQUAL(zpy_cell_wipe(kept[index]), ZPY_OK);
    }
    CHECK_EQUAL(stats().locked_bytes, 0); /* Runs without cells went for the cell that was refused. */
    CHECK_EQUAL(zpy_process_refresh_budget(), BUDGET_BYTES);
    CHECK_EQUAL(zpy_cell_wipe(made(zpy_cell_create(NULL, LARGE_BYTES, ZPY_ISOLATED, 0, 0))), ZPY_OK);
}

static void
test_lowered_budget(void)
{
    for (size_t index = 0; index < KEPT; index++) {
        kept[index] = inherited_cell(0);
    }
    zpy_lock();
    zpy_budget_set(zpy_pages_round(1));
    zpy_unlock();
    in_child(gives_all_back);
    CHECK_EQUAL(zpy_process_refresh_budget(), BUDGET_BYTES);
    for (size_t index = 0; index < KEPT; index++) {
        CHECK_EQUAL(zpy_cell_wipe(kept[index]), ZPY_OK);
    }
}

int
main(int argc, char **argv)
{
    CHECK_EQUAL(argc, 2);
    CHECK_EQUAL(zpy_init(strcmp(argv[1], "mlock") != 0, BUDGET_BYTES), ZPY_OK);
    CHECK(sem_init(&arrived, 0, 0) == 0 && sem_init(&goes_on, 0, 0) == 0);
    CHECK_EQUAL(zpy_cell_wipe(cell_of("The first secret has pages mapped for sealed ones.")), ZPY_OK);
    test_pages_just_mapped(ZPY_ISOLATED, LARGE_BYTES);
    test_pages_just_mapped(ZPY_ISOLATED | ZPY_INHERIT, LARGE_BYTES);
    test_pages_just_mapped(0, ZPY_SLOT_MAX);
    test_pages_just_mapped(ZPY_INHERIT, ZPY_SLOT_MAX);
    locked_before = mmap(NULL, sizeof *locked_before, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(locked_before != MAP_FAILED);
    test_deadlines_in_one_batch();
    in_child(notes_locked);
    test_pages_being_filled(FILLED);
    test_pages_being_filled(CLOSED);
    test_pages_being_wiped(false);
    test_pages_being_wiped(true);
    test_pinned_pages_being_wiped();
    test_lowered_budget();
    test_written_late(0);
    test_written_late(ZPY_ISOLATED);
    test_written_late(ZPY_SEALED);
    CHECK_EQUAL(stats().cells, 0);
    zpy_reaper_stop();
    puts("ok");
    return 0;
}
