/* test_fatal_uses.c [mlock] [ROUNDS]: uses of secrets while a handled signal wipes them in another thread. Exit status 0 when no
 * answer was made of the handler's zeros. */
#include "cells.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#define BYTES ((size_t) 4096)
#define FRAME_BYTES ((size_t) 300 * 1024) /* More than the stack for signals holds. */

static atomic_int struck;
static atomic_bool strike_now;
static uint8_t first[BYTES];
static uint8_t second[BYTES];

/* A handler of the program, which needs room and lets the process live. */
static void
on_request(int number)
{
    uint8_t volatile frame[FRAME_BYTES];
    (void) number;
    for (size_t at = 0; at < sizeof frame; at += 512) {
        frame[at] = 1;
    }
    (void) atomic_fetch_add(&struck, frame[0]);
}

static void *
strike(void *argument)
{
    for (int const rounds = *(int const *) argument; atomic_load(&struck) < rounds;) {
        if (atomic_load(&strike_now)) {
            for (int volatile pause = 0; pause < 3000; pause++) {
            }
            CHECK_EQUAL(pthread_kill(pthread_self(), SIGTERM), 0);
            atomic_store(&strike_now, false);
        }
    }
    return NULL;
}

/* Every answer is right, or says that the cell is wiped. */
static void
use_until_struck(uint64_t left, uint64_t right)
{
    static uint8_t out[BYTES];
    static uint8_t const zeros[BYTES];
    int status = ZPY_OK;
    while (atomic_load(&strike_now) && status == ZPY_OK) {
        int const same = zpy_cell_compare(left, right);
        CHECK(same == 0 || same == -ZPY_WIPED);
        int const right_answer = zpy_cell_verify(left, first, BYTES);
        CHECK(right_answer == 1 || right_answer == -ZPY_WIPED);
        int const wrong_answer = zpy_cell_verify(right, zeros, BYTES);
        CHECK(wrong_answer == 0 || wrong_answer == -ZPY_WIPED);
        memset(out, 0, BYTES);
        status = zpy_cell_read(left, 0, out, BYTES);
        CHECK(status == ZPY_OK || status == ZPY_WIPED);
        CHECK(status != ZPY_OK || memcmp(out, first, BYTES) == 0);
        CHECK(status == ZPY_OK || sodium_is_zero(out, BYTES)); /* Not a part of it either. */
    }
}

int
main(int argc, char **argv)
{
    pthread_t thread;
    int rounds = argc > 2 ? (int) strtol(argv[2], NULL, 10) : 300;
    memset(first, 'A', BYTES);
    memset(second, 'A', BYTES);
    second[BYTES - 1] = 'B';
    CHECK_EQUAL(zpy_init(argc < 2 || strcmp(argv[1], "mlock") != 0, 0), ZPY_OK);
    struct sigaction const action = {.sa_handler = on_request};
    CHECK_EQUAL(sigaction(SIGTERM, &action, NULL), 0);
    CHECK_EQUAL(zpy_fatal_watch(SIGTERM, 1), ZPY_OK);
    CHECK_EQUAL(pthread_create(&thread, NULL, strike, &rounds), 0);
    while (atomic_load(&struck) < rounds) {
        int const turn = atomic_load(&struck) % 3;
        uint32_t const options = turn == 0 ? ZPY_SEALED : turn == 1 ? ZPY_ISOLATED : 0;
        uint64_t const left = made(zpy_cell_create(first, BYTES, options, 0, 0));
        uint64_t const right = made(zpy_cell_create(second, BYTES, options, 0, 0));
        atomic_store(&strike_now, true);
        use_until_struck(left, right);
        while (atomic_load(&strike_now)) {
        }
        CHECK_EQUAL(zpy_cell_wipe(left), ZPY_OK);
        CHECK_EQUAL(zpy_cell_wipe(right), ZPY_OK);
    }
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    CHECK_EQUAL(stats().corruptions, 0);
    printf("ok\n");
    return 0;
}
