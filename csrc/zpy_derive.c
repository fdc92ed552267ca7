/* zpy_derive.c: what is computed from a key: its commitment. Built on the parts of libsodium's HMAC-SHA256, whose one-shot
 * calls and HKDF leave keyed states on the stack in some releases; here each state has a slot. */
#include "zpy_internal.h"

#define HASH_BYTES ((size_t) crypto_auth_hmacsha256_BYTES)

/* Deeper than libsodium's SHA-256 goes, which clears its message schedule and not what was spilled on the way. */
#define HASH_STACK_BYTES ((size_t) 4096)

/* Where keyed states and what comes out between two steps lie. */
struct scratch {
    crypto_auth_hmacsha256_state state;
    uint8_t block[crypto_auth_hmacsha256_BYTES];
};

static void
clear_after_hash(void)
{
    sodium_stackzero(HASH_STACK_BYTES);
    zpy_registers_clear();
}

/* Make a cell for a scratch and pin it. Where no more can be locked it is a sealed one, which is open, and so in a locked slot,
 * for as long as it is pinned. */
static int
open_scratch(uint64_t *cell_out, struct scratch **scratch_out)
{
    uint8_t *bytes;
    size_t length;
    int64_t cell = zpy_cell_create(NULL, sizeof(struct scratch), 0, 0, 0);
    if (cell == -ZPY_LOCK_LIMIT) {
        cell = zpy_cell_create(NULL, sizeof(struct scratch), ZPY_SEALED, 0, 0);
    }
    if (cell < 0) {
        return (int) -cell;
    }
    int const status = zpy_cell_pin((uint64_t) cell, true, &bytes, &length);
    if (status != ZPY_OK) {
        (void) zpy_cell_wipe((uint64_t) cell); /* Nothing was in it; why it cannot be used is in status. */
        return status;
    }
    *cell_out = (uint64_t) cell;
    *scratch_out = (struct scratch *) (void *) bytes;
    return ZPY_OK;
}

/* Returns ZPY_OK only if the scratch was whole all the time. */
static int
close_scratch(uint64_t cell)
{
    clear_after_hash();
    int const state = zpy_cell_unpin(cell);
    int const wiped = zpy_cell_wipe(cell);
    return state != ZPY_OK ? state : wiped;
}

/* Pin a key whose first key_length bytes are wanted. */
static int
use_key(uint64_t key, size_t key_length, uint8_t **bytes_out)
{
    size_t length;
    int const status = zpy_cell_pin(key, false, bytes_out, &length);
    if (status == ZPY_OK && key_length > length) {
        (void) zpy_cell_unpin(key); /* The answer is that this is no such key, whatever its state. */
        return ZPY_RANGE;
    }
    return status;
}

int
zpy_derive_key_id(uint64_t key, size_t key_length, uint8_t const *label, size_t label_length, uint8_t *out)
{
    uint64_t cell;
    struct scratch *scratch;
    uint8_t *bytes;
    int status = open_scratch(&cell, &scratch);
    if (status != ZPY_OK) {
        return status;
    }
    status = use_key(key, key_length, &bytes);
    if (status == ZPY_OK) {
        (void) crypto_auth_hmacsha256_init(&scratch->state, bytes, key_length); /* These three cannot fail. */
        (void) crypto_auth_hmacsha256_update(&scratch->state, label, label_length);
        (void) crypto_auth_hmacsha256_final(&scratch->state, out);
        clear_after_hash();
        status = zpy_cell_unpin(key);
    }
    int const closed = close_scratch(cell);
    status = status != ZPY_OK ? status : closed;
    if (status != ZPY_OK) {
        sodium_memzero(out, HASH_BYTES); /* Perhaps made of zeros. */
    }
    return status;
}
