/* test_reaper.c: the thread that keeps deadlines, started and stopped by several threads at once. The linker puts the two
 * functions below in the place of pthread_create and pthread_join (--wrap), so that the moments meet each time. Argument
 * "mlock" keeps to the mlock backing. */
#include "cells.h"

#include <pthread.h>
#include <stdatomic.h>

#define BUDGET_BYTES ((uint64_t) 256 * 1024)
#define HOUR_NS (3600U * (uint64_t) 1000000000U)

int __real_pthread_create(pthread_t *thread, pthread_attr_t const *attributes, void *(*run)(void *), void *argument);
int __real_pthread_join(pthread_t thread, void **result);
int __wrap_pthread_create(pthread_t *thread, pthread_attr_t const *attributes, void *(*run)(void *), void *argument);
int __wrap_pthread_join(pthread_t thread, void **result);

/* Calls that the core has begun so far, and how many of them have ended. */
static atomic_int starts_begun = 0;
static atomic_int starts_ended = 0;
static atomic_int joins_begun = 0;
static atomic_int joins_ended = 0;

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

static void
wait_until(atomic_int *count, int value)
{
    for (int tries = 0; tries < 5000 && atomic_load(count) < value; tries++) {
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
static void
test_start_during_stop(void)
{
    size_t length = 0;
    pthread_t const stopper = beside(stop);
    wait_until(&joins_begun, 2);
    uint64_t const cell = made(zpy_cell_create((uint8_t const *) "secret", 6, 0, 500U * 1000000U, 0));
    uint8_t const volatile *const bytes = pinned(cell, &length);
    CHECK_EQUAL(__real_pthread_join(stopper, NULL), 0);
    CHECK(goes_to_zero(bytes));
    CHECK_EQUAL(atomic_load(&starts_ended), 3);
    CHECK_EQUAL(zpy_cell_unpin(cell), ZPY_EXPIRED);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
}

/* Two threads that stop it join it once. */
static void
test_stop_during_stop(void)
{
    pthread_t const stopper = beside(stop);
    wait_until(&joins_begun, 3);
    zpy_reaper_stop();
    CHECK_EQUAL(atomic_load(&joins_ended), 3);
    CHECK_EQUAL(__real_pthread_join(stopper, NULL), 0);
    CHECK_EQUAL(atomic_load(&joins_begun), 3);
}

int
main(int argc, char **argv)
{
    CHECK_EQUAL(zpy_init(argc < 2 || strcmp(argv[1], "mlock") != 0, BUDGET_BYTES), ZPY_OK);
    test_stop_during_start();
    test_start_during_start();
    test_start_during_stop();
    test_stop_during_stop();
    puts("ok");
    return 0;
}
