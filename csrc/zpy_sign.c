/* zpy_sign.c: Ed25519 (RFC 8032) through libsodium; seed and public key lie in one slot, as libsodium's secret key.
 *
 * As with zpy_aead.c, a key destroyed under a running call makes that call discard what it made. */
#include "zpy_internal.h"

#include <string.h>

#define SEED_BYTES ((size_t) crypto_sign_SEEDBYTES)
#define KEY_BYTES ((size_t) crypto_sign_SECRETKEYBYTES)
#define PUBLIC_BYTES ((size_t) crypto_sign_PUBLICKEYBYTES)
#define SIGNATURE_BYTES ((size_t) crypto_sign_BYTES)
_Static_assert(KEY_BYTES == SEED_BYTES + PUBLIC_BYTES, "the public key follows the seed");

static int
expand(uint64_t key, uint8_t const *seed)
{
    uint8_t public_key[crypto_sign_PUBLICKEYBYTES];
    uint8_t *bytes;
    size_t length;
    int status = zpy_cell_pin(key, true, &bytes, &length);
    if (status != ZPY_OK) {
        return status;
    }
    int const failed = crypto_sign_seed_keypair(public_key, bytes, seed);
    zpy_registers_clear_after_curve();
    status = zpy_cell_unpin(key);
    return status == ZPY_OK && failed != 0 ? ZPY_INVALID : status;
}

/* libsodium draws a seed on the stack, which can be swapped; here it has a slot, too. */
static int
expand_random(uint64_t key, uint32_t options)
{
    int64_t const drawn = zpy_cell_create(NULL, SEED_BYTES, options, 0, 0);
    if (drawn < 0) {
        return (int) -drawn;
    }
    uint8_t *seed;
    size_t length;
    int status = zpy_cell_pin((uint64_t) drawn, false, &seed, &length);
    if (status == ZPY_OK) {
        status = expand(key, seed);
        int const state = zpy_cell_unpin((uint64_t) drawn);
        status = status != ZPY_OK ? status : state;
    }
    int const wiped = zpy_cell_wipe((uint64_t) drawn);
    return status != ZPY_OK ? status : wiped;
}

int64_t
zpy_sign_create(uint8_t const *seed, uint32_t options, uint64_t ttl_ns)
{
    int64_t const cell = zpy_cell_create(NULL, KEY_BYTES, options & ~(uint32_t) ZPY_RANDOM, ttl_ns, 0);
    if (cell < 0) {
        return cell;
    }
    int const status = (options & ZPY_RANDOM) != 0 ? expand_random((uint64_t) cell, options) : expand((uint64_t) cell, seed);
    if (status != ZPY_OK) {
        (void) zpy_cell_wipe((uint64_t) cell); /* The key could not be made; why is in status. */
        return -(int64_t) status;
    }
    return cell;
}

int
zpy_sign_public(uint64_t key, uint8_t *out)
{
    uint8_t *bytes;
    int status = zpy_cell_pin_key(key, KEY_BYTES, &bytes);
    if (status != ZPY_OK) {
        return status;
    }
    for (size_t at = 0; at < PUBLIC_BYTES; at++) {
        out[at] = bytes[SEED_BYTES + at];
    }
    status = zpy_cell_unpin(key);
    if (status != ZPY_OK) {
        sodium_memzero(out, PUBLIC_BYTES);
    }
    return status;
}

int
zpy_sign_detached(uint64_t key, uint8_t const *message, size_t length, uint8_t *signature_out)
{
    uint8_t *bytes;
    int status = zpy_cell_pin_key(key, KEY_BYTES, &bytes);
    if (status != ZPY_OK) {
        return status;
    }
    int const failed = crypto_sign_detached(signature_out, NULL, message, length, bytes);
    zpy_registers_clear_after_curve();
    status = zpy_cell_unpin(key);
    if (status == ZPY_OK && failed != 0) {
        status = ZPY_INVALID;
    }
    if (status != ZPY_OK) {
        sodium_memzero(signature_out, SIGNATURE_BYTES);
    }
    return status;
}

int
zpy_sign_message(uint64_t key, uint8_t const *message, size_t length, uint8_t *out)
{
    /* First copied, then signed, so that both belong together, whoever changes the message meanwhile. */
    memcpy(out + SIGNATURE_BYTES, message, length);
    int const status = zpy_sign_detached(key, out + SIGNATURE_BYTES, length, out);
    if (status != ZPY_OK) {
        sodium_memzero(out, SIGNATURE_BYTES + length);
        zpy_registers_clear();
    }
    return status;
}

int
zpy_sign_verify(uint8_t const *public_key, uint8_t const *message, size_t length, uint8_t const *signature)
{
    return crypto_sign_verify_detached(signature, message, length, public_key) == 0 ? ZPY_OK : ZPY_FORGED;
}

int
zpy_sign_verify_message(uint8_t const *public_key, uint8_t const *signed_message, size_t length)
{
    return length < SIGNATURE_BYTES ? ZPY_FORGED
                                    : zpy_sign_verify(public_key, signed_message + SIGNATURE_BYTES,
                                                      length - SIGNATURE_BYTES, signed_message);
}
