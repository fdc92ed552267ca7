/* test_fork.c: a child of fork() has no secret that nobody there owns, and its parent's other threads leave nothing half done
 * in it. Argument: "mlock" keeps to that backing.
 *
 * A thread is stopped at one place, through the linker's --wrap of three functions, and the process forks while it stands
 * there. What a child finds wrong ends it by abort(). */
#include "zpy_entry.h"

#include "cells.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define BUDGET_BYTES ((uint64_t) 4096 * 1024)
#define LARGE_BYTES ((size_t) 64 * 1024)
#define TIMEOUT_S 60
#define SECRET 0x53
#define FOREIGN 0xAA

/* ---- a thread that stops ---- */

enum place { NOWHERE, MAPPED, FILLED, CLOSED, ENDING };

static _Thread_local enum place stops_at = NOWHERE;
static sem_t arrived;
static sem_t goes_on;
static struct zpy_pages last_mapped; /* By the thread that stops. */

static void
pass(enum place place)
{
    if (stops_at == place) {
        stops_at = NOWHERE;
        CHECK_EQUAL(sem_post(&arrived), 0);
        CHECK_EQUAL(sem_wait(&goes_on), 0);
    }
}

int __real_zpy_pages_map(size_t bytes, bool inherit, struct zpy_pages *pages_out);
int __wrap_zpy_pages_map(size_t bytes, bool inherit, struct zpy_pages *pages_out);
int __real_zpy_pages_protect(struct zpy_pages const *pages, bool accessible);
int __wrap_zpy_pages_protect(struct zpy_pages const *pages, bool accessible);
void __real_sodium_memzero(void *const bytes, size_t const length);
void __wrap_sodium_memzero(void *const bytes, size_t const length);

int
__wrap_zpy_pages_map(size_t bytes, bool inherit, struct zpy_pages *pages_out)
{
    int const status = __real_zpy_pages_map(bytes, inherit, pages_out);
    if (stops_at != NOWHERE) {
        last_mapped = *pages_out;
    }
    pass(MAPPED);
    return status;
}

int
__wrap_zpy_pages_protect(struct zpy_pages const *pages, bool accessible)
{
    if (!accessible) {
        pass(FILLED);
    }
    int const status = __real_zpy_pages_protect(pages, accessible);
    if (!accessible) {
        pass(CLOSED);
    }
    return status;
}

/* Stops in the middle. */
void
__wrap_sodium_memzero(void *const bytes, size_t const length)
{
    __real_sodium_memzero(bytes, length / 2);
    if (length == LARGE_BYTES) {
        pass(ENDING);
    }
    __real_sodium_memzero((uint8_t *) bytes + length / 2, length - length / 2);
}

struct work {
    enum place place;
    uint32_t options;
    size_t length;
    uint64_t cell; /* To be wiped; 0: make one, and then it is this. */
    bool expires;  /* Wipe it as the thread does that keeps deadlines. */
};

static void *
work(void *argument)
{
    struct work *const what = argument;
    static uint8_t secret[LARGE_BYTES];
    memset(secret, SECRET, sizeof secret);
    stops_at = what->place;
    if (what->expires) {
        zpy_lock();
        CHECK(zpy_entry_expire(what->cell));
        zpy_unlock();
    } else if (what->cell != 0) {
        CHECK_EQUAL(zpy_cell_wipe(what->cell), ZPY_OK);
    } else {
        what->cell = made(zpy_cell_create(secret, what->length, what->options, 0, 0));
    }
    CHECK_EQUAL(stops_at, NOWHERE);
    return NULL;
}

static void
in_child(void (*check)(void))
{
    pid_t const child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        (void) alarm(TIMEOUT_S);
        check();
        _exit(0);
    }
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
}

/* Have another thread do this work, and while it stands at its place, check in the parent, fork, and check in the child. */
static void
fork_during(struct work *what, void (*in_parent)(void), void (*check)(void))
{
    pthread_t thread;
    CHECK_EQUAL(pthread_create(&thread, NULL, work, what), 0);
    CHECK_EQUAL(sem_wait(&arrived), 0);
    if (in_parent != NULL) {
        in_parent();
    }
    in_child(check);
    CHECK_EQUAL(sem_post(&goes_on), 0);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
}

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
