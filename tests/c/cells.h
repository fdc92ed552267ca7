/* cells.h: shorthand of the C tests for cells that must be there. */
#ifndef ZPY_TEST_CELLS_H
#define ZPY_TEST_CELLS_H

#include "zpy_internal.h"

#include "check.h"

#include <string.h>
#include <unistd.h>

static inline uint64_t
made(int64_t answer)
{
    CHECK(answer > 0);
    return (uint64_t) answer;
}

static inline uint64_t
cell_of(char const *text)
{
    return made(zpy_cell_create((uint8_t const *) text, strlen(text), 0, 0, 0));
}

static inline struct zpy_stats
stats(void)
{
    struct zpy_stats figures;
    zpy_stats_read(&figures);
    return figures;
}

/* The bytes of a cell, pinned. */
static inline uint8_t *
pinned(uint64_t cell, size_t *length_out)
{
    uint8_t *data;
    CHECK_EQUAL(zpy_cell_pin(cell, true, &data, length_out), ZPY_OK);
    return data;
}

/* ---- times to live, on a machine that may stand still for seconds ---- */

#define BRIEF_NS ((uint64_t) 300 * 1000000U)
#define LONGEST_NS ((uint64_t) 400 * 1000000000U)

/* Makes an attempt with longer and longer times to live, until one is in time to see the secret before its end. */
static inline void
until_in_time(bool (*attempt)(uint64_t ttl_ns))
{
    uint64_t ttl_ns = BRIEF_NS;
    while (!attempt(ttl_ns)) {
        ttl_ns *= 4;
        CHECK(ttl_ns < LONGEST_NS); /* That is no slow machine. */
    }
}

/* Pins a cell with a time to live. Null when that was over before; then the cell is given up. */
static inline uint8_t const volatile *
pinned_in_time(uint64_t cell)
{
    uint8_t *data;
    size_t length;
    int const status = zpy_cell_pin(cell, true, &data, &length);
    if (status == ZPY_OK) {
        return data;
    }
    CHECK_EQUAL(status, ZPY_EXPIRED);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
    return NULL;
}

/* Whether a byte goes to zero within a minute; how fast is for tests/test_deadline.py. */
static inline bool
goes_to_zero(uint8_t const volatile *byte)
{
    for (int tries = 0; tries < 60000 && *byte != 0; tries++) {
        CHECK_EQUAL(usleep(1000), 0); /* Less is no sleep at all on Windows. */
    }
    return *byte == 0;
}

#endif
