/* left.h: what a call left on the stack, for tests of what clears it. */
#ifndef LEFT_H
#define LEFT_H

#include <stddef.h>
#include <stdint.h>

/* Deeper than the calls that follow the clearing. */
#define LOOK_FROM ((size_t) 704)

/* How many bytes are not zero below the caller's frame, from LOOK_FROM to this depth, which libsodium must reach. */
__attribute__((noinline, unused, no_sanitize("address"))) static int
left_on_stack(size_t to)
{
    uint8_t const volatile *frame = __builtin_frame_address(0);
    int count = 0;
    for (size_t depth = LOOK_FROM; depth < to; depth++) {
        count += *(frame - depth) != 0;
    }
    return count;
}

/* The bytes below the caller's callee, from the deepest on. */
__attribute__((noinline, unused, no_sanitize("address"))) static void
copy_of_stack(uint8_t *out, size_t bytes)
{
    uint8_t const volatile *const below = (uint8_t const volatile *) __builtin_frame_address(0) - bytes;
    for (size_t at = 0; at < bytes; at++) {
        out[at] = below[at];
    }
}

#endif
