/* stress.c OPERATIONS THREADS SEED [mlock]: random operations on cells from many threads at once.
 *
 * Each cell's content follows from its handle's tag, so every byte that comes out can be judged: right, or refused. The
 * table of cells is shared, and threads wipe what others are using. Exit status 0 when nothing was wrong. */
#include "zpy_internal.h"

#include "check.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define SHARED_CELLS 256
#define BYTES_MAX 5000
#define TIMED_EVERY 200

struct shared {
    _Atomic uint64_t handle;
    _Atomic uint32_t tag_and_length; /* Written before the handle, and read after it and again. */
};

static struct shared table[SHARED_CELLS];
static _Atomic uint64_t refused;
static uint64_t operations_each;

static uint32_t
next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t) (*state >> 33);
}

static void
content(uint32_t tag, uint8_t *out, size_t length)
{
    for (size_t index = 0; index < length; index++) {
        out[index] = (uint8_t) (tag * 2654435761U + index * 97 + 1);
    }
}

static size_t
random_length(uint64_t *state)
{
    uint32_t const draw = next_random(state);
    return draw % 50 == 0 ? draw % BYTES_MAX : draw % 200;
}

/* Private cells: everything about them must be exactly right. */
static void
private_round(uint64_t *state)
{
    uint8_t in[BYTES_MAX];
    uint8_t out[BYTES_MAX];
    size_t const length = random_length(state);
    uint32_t const draw = next_random(state);
    uint32_t const tier = draw % 64 == 0 ? ZPY_ISOLATED : draw % 4 == 1 ? ZPY_SEALED : 0;
    uint32_t const options = tier | (next_random(state) % 16 == 0 ? ZPY_INHERIT : 0);
    content(next_random(state), in, length);
    int64_t const answer = zpy_cell_create(in, length, options, 0, next_random(state) % 4 == 0 ? 1 : 0);
    if (answer == -ZPY_LOCK_LIMIT) {
        atomic_fetch_add(&refused, 1);
        return;
    }
    CHECK(answer > 0);
    uint64_t const cell = (uint64_t) answer;
    CHECK_EQUAL(zpy_large_verify(cell, in, length), 1);
    size_t held = 0;
    uint8_t *address;
    CHECK_EQUAL(zpy_cell_pin(cell, false, &address, &held), ZPY_OK);
    CHECK(held == length && memcmp(address, in, length) == 0);
    CHECK_EQUAL(zpy_cell_take(cell, out, length), ZPY_OK);
    CHECK(memcmp(in, out, length) == 0);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
    CHECK(sodium_is_zero(address, length));
    CHECK_EQUAL(zpy_cell_unpin(cell), ZPY_WIPED);
}

/* A cell that nobody ends: whoever comes first, this thread or the core's own, finds it expired at its deadline. */
static void
timed_round(uint64_t *state)
{
    uint8_t in[64];
    uint8_t out[64];
    content(next_random(state), in, sizeof in);
    int64_t const answer = zpy_cell_create(in, sizeof in, 0, 1 + next_random(state) % 2000000, 0);
    CHECK(answer > 0);
    uint64_t const cell = (uint64_t) answer;
    int status;
    while ((status = zpy_cell_read(cell, 0, out, sizeof out)) == ZPY_OK) {
        CHECK(memcmp(in, out, sizeof in) == 0);
    }
    CHECK_EQUAL(status, ZPY_EXPIRED);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
}

/* Put a new cell in place of a shared one and wipe that, whoever is using it. */
static void
shared_replace(uint64_t *state)
{
    uint8_t in[BYTES_MAX];
    struct shared *const place = &table[next_random(state) % SHARED_CELLS];
    uint32_t const tag = next_random(state) % 1024;
    uint32_t const length = next_random(state) % 300;
    content(tag, in, length);
    uint64_t const taken = atomic_exchange(&place->handle, 0);
    if (taken == 0) {
        return; /* Empty, or another thread is replacing it. */
    }
    CHECK_EQUAL(zpy_cell_wipe(taken), ZPY_OK);
    int64_t const answer = zpy_cell_create(in, length, tag % 2 == 0 ? ZPY_SEALED : 0, 0, 0);
    CHECK(answer > 0);
    atomic_store(&place->tag_and_length, tag << 16 | length);
    atomic_store(&place->handle, (uint64_t) answer);
}

/* Read a shared cell: the right bytes, or a refusal. */
static void
shared_use(uint64_t *state)
{
    uint8_t in[BYTES_MAX];
    uint8_t out[BYTES_MAX];
    struct shared const *const place = &table[next_random(state) % SHARED_CELLS];
    uint64_t const cell = atomic_load(&place->handle);
    uint32_t const about = atomic_load(&place->tag_and_length);
    if (cell == 0 || atomic_load(&place->handle) != cell) {
        return;
    }
    size_t const length = about & 0xFFFF;
    content(about >> 16, in, length);
    int const status = zpy_cell_read(cell, 0, out, length);
    CHECK(status == ZPY_OK || status == ZPY_WIPED);
    if (status == ZPY_OK) {
        CHECK(memcmp(in, out, length) == 0);
    }
    CHECK(zpy_cell_compare(cell, cell) != 0);
    size_t held = 0;
    uint8_t *address;
    if (zpy_cell_pin(cell, false, &address, &held) == ZPY_OK) {
        int const state_after = zpy_cell_unpin(cell);
        CHECK(state_after == ZPY_OK || state_after == ZPY_WIPED);
    }
}

static void *
work(void *argument)
{
    uint64_t state = *(uint64_t const *) argument;
    for (uint64_t index = 0; index < operations_each; index++) {
        switch (next_random(&state) % 4) {
        case 0:
            shared_replace(&state);
            break;
        case 1:
        case 2:
            shared_use(&state);
            break;
        default:
            if (next_random(&state) % TIMED_EVERY == 0) {
                timed_round(&state);
            } else {
                private_round(&state);
            }
        }
    }
    return NULL;
}

int
main(int argc, char **argv)
{
    CHECK(argc >= 4);
    uint64_t const operations = strtoull(argv[1], NULL, 10);
    uint64_t const thread_count = strtoull(argv[2], NULL, 10);
    uint64_t const seed = strtoull(argv[3], NULL, 10);
    pthread_t threads[64];
    uint64_t seeds[64];
    CHECK(thread_count >= 1 && thread_count <= 64);
    operations_each = operations / thread_count;
    CHECK_EQUAL(zpy_init(argc < 5 || strcmp(argv[4], "mlock") != 0, 4U << 20), ZPY_OK);
    for (size_t index = 0; index < SHARED_CELLS; index++) {
        int64_t const answer = zpy_cell_create(NULL, 0, 0, 0, 0);
        CHECK(answer > 0);
        atomic_store(&table[index].handle, (uint64_t) answer);
    }
    for (uint64_t index = 0; index < thread_count; index++) {
        seeds[index] = seed + index;
        CHECK_EQUAL(pthread_create(&threads[index], NULL, work, &seeds[index]), 0);
    }
    for (uint64_t index = 0; index < thread_count; index++) {
        CHECK_EQUAL(pthread_join(threads[index], NULL), 0);
    }
    struct zpy_stats figures;
    zpy_reaper_stop();
    (void) zpy_purge();
    zpy_stats_read(&figures);
    CHECK_EQUAL(figures.cells, 0);
    CHECK_EQUAL(figures.pinned, 0);
    CHECK_EQUAL(figures.isolated, 0);
    CHECK_EQUAL(figures.corruptions, 0);
    CHECK_EQUAL(atomic_load(&refused), 0);
    printf("ok: %llu operations, %llu threads, %llu wipes\n", (unsigned long long) operations,
           (unsigned long long) thread_count, (unsigned long long) figures.wipes);
    return 0;
}
