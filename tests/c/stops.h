/* stops.h: threads that stop at one place while the process forks. The places are seen through the linker's --wrap of
 * zpy_pages_map, zpy_pages_protect and sodium_memzero. What a child finds wrong ends it by abort(). */
#ifndef ZPY_TEST_STOPS_H
#define ZPY_TEST_STOPS_H

#include "zpy_entry.h"

#include "cells.h"

#include <pthread.h>
#include <semaphore.h>
#include <sys/wait.h>

#define LARGE_BYTES ((size_t) 64 * 1024)
#define TIMEOUT_S 60
#define SECRET 0x53

enum place { NOWHERE, MAPPED, FILLED, CLOSED, ENDING };

static _Thread_local enum place stops_at = NOWHERE;
static atomic_int anyone_stops_at = NOWHERE; /* For threads of the core's own. */
static sem_t arrived;
static sem_t goes_on;
static struct zpy_pages last_mapped; /* By the thread that stops. */

static void
pass(enum place place)
{
    int expected = (int) place;
    bool const is_mine = stops_at == place;
    if (is_mine || atomic_compare_exchange_strong(&anyone_stops_at, &expected, NOWHERE)) {
        stops_at = is_mine ? NOWHERE : stops_at;
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

#endif
