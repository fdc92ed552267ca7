/* test_reaper.c: the thread that keeps deadlines, started and stopped by several threads at once, and what it does first. The
 * linker puts the functions below in the place of pthread_create, pthread_join and free (--wrap), so that the moments meet
 * each time. Argument "mlock" keeps to the mlock backing. */
#include "cells.h"
#include "zpy_entry.h"

#include <pthread.h>
#include <stdatomic.h>

#define BUDGET_BYTES ((uint64_t) 256 * 1024)
#define HOUR_NS (3600U * (uint64_t) 1000000000U)

int __real_pthread_create(pthread_t *thread, pthread_attr_t const *attributes, void *(*run)(void *), void *argument);
int __real_pthread_join(pthread_t thread, void **result);
int __wrap_pthread_create(pthread_t *thread, pthread_attr_t const *attributes, void *(*run)(void *), void *argument);
int __wrap_pthread_join(pthread_t thread, void **result);
void __real_free(void *memory);
void __wrap_free(void *memory);

/* Calls that the core has begun so far, and how many of them have ended. */
static atomic_int starts_begun = 0;
static atomic_int starts_ended = 0;
static atomic_int joins_begun = 0;
static atomic_int joins_ended = 0;

/* While it is not null, what the core frees is counted, and how much of it before this byte was zero. */
static uint8_t const volatile *_Atomic last_byte = NULL;
static atomic_int frees = 0;
static atomic_int early_frees = 0;

static void
linger(void)
{
    CHECK_EQUAL(usleep(100000), 0); /* For the other thread to come, and to do it wrong if it can. */
}

int
__wrap_pthread_create(pthread_t *thread, pthread_attr_t const *attributes, void *(*run)(void *), void *argument)
{
    (void) atomic_fetch_add(&starts_begun, 1);
    linger();
    int const error = __real_pthread_create(thread, attributes, run, argument);
    (void) atomic_fetch_add(&starts_ended, 1);
    return error;
}

int
__wrap_pthread_join(pthread_t thread, void **result)
{
    (void) atomic_fetch_add(&joins_begun, 1);
    linger();
    int const error = __real_pthread_join(thread, result);
    CHECK_EQUAL(error, 0);
    (void) atomic_fetch_add(&joins_ended, 1);
    return error;
}

void
__wrap_free(void *memory)
{
    uint8_t const volatile *const byte = atomic_load(&last_byte);
    if (byte != NULL && memory != NULL) {
        (void) atomic_fetch_add(&early_frees, *byte != 0);
        (void) atomic_fetch_add(&frees, 1);
    }
    __real_free(memory);
}

static void
wait_until(atomic_int *count, int value)
{
    for (int tries = 0; tries < 60000 && atomic_load(count) < value; tries++) {
        CHECK_EQUAL(usleep(1000), 0);
    }
    CHECK_EQUAL(atomic_load(count), value);
}

static void *
make_deadline(void *argument)
{
    uint64_t const cell = made(zpy_cell_create((uint8_t const *) "secret", 6, 0, HOUR_NS, 0));
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
    return argument;
}

static void *
stop(void *argument)
{
    zpy_reaper_stop();
    return argument;
}

/* Run one function of the core beside another thread of ours, which the counts above do not know. */
static pthread_t
beside(void *(*work)(void *))
{
    pthread_t thread;
    CHECK_EQUAL(__real_pthread_create(&thread, NULL, work, NULL), 0);
    return thread;
}

/* Who stops the thread while another is about to start it waits, and stops it then. */
static void
test_stop_during_start(void)
{
    pthread_t const maker = beside(make_deadline);
    wait_until(&starts_begun, 1);
    zpy_reaper_stop();
    CHECK_EQUAL(atomic_load(&starts_ended), 1);
    CHECK_EQUAL(atomic_load(&joins_ended), 1);
    CHECK_EQUAL(__real_pthread_join(maker, NULL), 0);
}

/* Two threads that need it start it once. */
static void
test_start_during_start(void)
{
    pthread_t const maker = beside(make_deadline);
    wait_until(&starts_begun, 2);
    (void) make_deadline(NULL);
    CHECK_EQUAL(atomic_load(&starts_ended), 2);
    CHECK_EQUAL(__real_pthread_join(maker, NULL), 0);
    CHECK_EQUAL(atomic_load(&starts_begun), 2);
}

/* A deadline that is made while the thread is being stopped is kept, by a new one. */
static bool
starts_during_stop(uint64_t ttl_ns)
{
    int const joins = atomic_load(&joins_begun);
    int const starts = atomic_load(&starts_ended);
    pthread_t const stopper = beside(stop);
    wait_until(&joins_begun, joins + 1);
    uint64_t const cell = made(zpy_cell_create((uint8_t const *) "secret", 6, 0, ttl_ns, 0));
    uint8_t const volatile *const bytes = pinned_in_time(cell);
    CHECK_EQUAL(__real_pthread_join(stopper, NULL), 0);
    CHECK_EQUAL(atomic_load(&starts_ended), starts + 1);
    if (bytes == NULL) {
        return false;
    }
    CHECK(goes_to_zero(bytes));
    CHECK_EQUAL(zpy_cell_unpin(cell), ZPY_EXPIRED);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
    return true;
}

/* Two threads that stop it join it once. */
static void
test_stop_during_stop(void)
{
    int const joins = atomic_load(&joins_begun);
    pthread_t const stopper = beside(stop);
    wait_until(&joins_begun, joins + 1);
    zpy_reaper_stop();
    CHECK_EQUAL(atomic_load(&joins_ended), joins + 1);
    CHECK_EQUAL(__real_pthread_join(stopper, NULL), 0);
    CHECK_EQUAL(atomic_load(&joins_begun), joins + 1);
}

#define DUE 2000

static uint64_t due[DUE];

/* Makes as many of them as there is time for. */
static size_t
make_due(uint64_t deadline)
{
    size_t count = 0;
    for (uint64_t now = zpy_entry_now_ns(); count < DUE && now < deadline; now = zpy_entry_now_ns()) {
        due[count++] = made(zpy_cell_create((uint8_t const *) "secret", 6, ZPY_SEALED, deadline - now, 0));
    }
    return count;
}

/* Of many sealed cells that are due at once all are wiped before memory of any is freed, and then all of it is. False: the
 * deadline was past before all was made that is due then. */
static bool
fall_due_together(uint64_t ttl_ns)
{
    uint64_t const expired = stats().expiries;
    uint64_t const deadline = zpy_entry_now_ns() + ttl_ns;
    /* Among equal deadlines the first one made is the last one kept. */
    uint64_t const last = made(zpy_cell_create((uint8_t const *) "secret", 6, 0, ttl_ns, 0));
    uint8_t const volatile *const byte = pinned_in_time(last);
    if (byte == NULL) {
        return false;
    }
    size_t const count = make_due(deadline);
    atomic_store(&last_byte, byte);
    bool const in_time = count == DUE && zpy_entry_now_ns() < deadline;
    CHECK(goes_to_zero(byte));
    if (in_time) {
        wait_until(&frees, DUE);
    }
    atomic_store(&last_byte, NULL);
    if (in_time) {
        CHECK_EQUAL(atomic_load(&frees), DUE);
        CHECK_EQUAL(atomic_load(&early_frees), 0);
        CHECK_EQUAL(stats().expiries - expired, (uint64_t) DUE + 1);
    }
    CHECK_EQUAL(zpy_cell_unpin(last), ZPY_EXPIRED);
    CHECK_EQUAL(zpy_cell_wipe(last), ZPY_OK);
    for (size_t index = 0; index < count; index++) {
        CHECK_EQUAL(zpy_cell_wipe(due[index]), ZPY_OK);
    }
    zpy_reaper_stop(); /* Then none of these is still freed by it, and counted the next time. */
    atomic_store(&frees, 0);
    atomic_store(&early_frees, 0);
    return in_time;
}

int
main(int argc, char **argv)
{
    CHECK_EQUAL(zpy_init(argc < 2 || strcmp(argv[1], "mlock") != 0, BUDGET_BYTES), ZPY_OK);
    test_stop_during_start();
    test_start_during_start();
    until_in_time(starts_during_stop);
    test_stop_during_stop();
    until_in_time(fall_due_together);
    puts("ok");
    return 0;
}
