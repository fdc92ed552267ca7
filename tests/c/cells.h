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

/* A time to live that is long enough to look at a secret before its end, however busy the machine is. */
#define BRIEF_NS ((uint64_t) 900 * 1000000U)

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
