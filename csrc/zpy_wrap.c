/* zpy_wrap.c: keys encrypted under keys, from slot to ciphertext and back.
 *
 * HKDF-SHA256 of the wrapping key, with a random salt and the header as info, gives a key for one use and a commitment. The
 * commitment says which wrapping key, salt and header these are: no other wrapping key opens the same ciphertext. The key
 * for one use encrypts with ChaCha20-Poly1305 (RFC 8439) under a nonce of zeros. */
#include "zpy_internal.h"

#include <string.h>

#define SALT_BYTES ((size_t) 32)
#define TAG_BYTES ((size_t) crypto_aead_chacha20poly1305_ietf_ABYTES)
#define COMMITMENT_BYTES ((size_t) 32)
#define USE_BYTES ((size_t) crypto_aead_chacha20poly1305_ietf_KEYBYTES)
_Static_assert(sizeof(((struct zpy_scratch *) 0)->made) == USE_BYTES + COMMITMENT_BYTES, "both are made at once");

static uint8_t const nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];

/* Open a scratch whose made[] begins with the key for one use and ends with the commitment. */
static int
prepare(struct zpy_wrap const *wrap, uint64_t *cell_out, struct zpy_scratch **scratch_out)
{
    uint8_t *bytes;
    int status = zpy_scratch_open(cell_out, scratch_out);
    if (status != ZPY_OK) {
        return status;
    }
    status = zpy_derive_use(wrap->key, wrap->key_bytes, &bytes);
    if (status == ZPY_OK) {
        zpy_hkdf_extract(*scratch_out, bytes, wrap->key_bytes, wrap->salt, SALT_BYTES);
        status = zpy_cell_unpin(wrap->key); /* Before anything is encrypted: a key of zeros must not be used. */
    }
    if (status != ZPY_OK) {
        (void) zpy_scratch_close(*cell_out); /* Why it is not needed is in status. */
        return status;
    }
    zpy_hkdf_expand(*scratch_out, wrap->info, wrap->info_bytes, (*scratch_out)->made, sizeof (*scratch_out)->made);
    return ZPY_OK;
}

int
zpy_wrap_seal(struct zpy_wrap const *wrap, uint64_t key, size_t length, uint8_t *commitment_out, uint8_t *sealed_out)
{
    uint64_t cell;
    struct zpy_scratch *scratch;
    uint8_t *bytes;
    int status = prepare(wrap, &cell, &scratch);
    if (status != ZPY_OK) {
        return status;
    }
    status = zpy_derive_use(key, length, &bytes);
    if (status == ZPY_OK) {
        memcpy(commitment_out, scratch->made + USE_BYTES, COMMITMENT_BYTES);
        (void) crypto_aead_chacha20poly1305_ietf_encrypt(sealed_out, NULL, bytes, length, NULL, 0, NULL, nonce,
                                                         scratch->made); /* It cannot fail. */
        status = zpy_cell_unpin(key);
    }
    int const closed = zpy_scratch_close(cell);
    status = status != ZPY_OK ? status : closed;
    if (status != ZPY_OK) {
        sodium_memzero(sealed_out, length + TAG_BYTES); /* Perhaps made of zeros, or under a key of zeros. */
        sodium_memzero(commitment_out, COMMITMENT_BYTES);
    }
    return status;
}

int
zpy_wrap_open(struct zpy_wrap const *wrap, uint8_t const *commitment, uint8_t const *sealed, size_t length, uint64_t target)
{
    uint64_t cell;
    struct zpy_scratch *scratch;
    uint8_t *out;
    size_t room;
    int status = zpy_cell_pin(target, true, &out, &room);
    if (status != ZPY_OK) {
        return status;
    }
    status = length >= TAG_BYTES && length - TAG_BYTES == room ? prepare(wrap, &cell, &scratch) : ZPY_RANGE;
    if (status == ZPY_OK) {
        if (sodium_memcmp(scratch->made + USE_BYTES, commitment, COMMITMENT_BYTES) != 0) {
            status = ZPY_OTHER_KEY;
        } else if (crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, sealed, length, NULL, 0, nonce,
                                                             scratch->made) != 0) {
            status = ZPY_FORGED;
        }
        int const closed = zpy_scratch_close(cell);
        /* A scratch that was wiped meanwhile is the reason for whatever did not fit. */
        status = closed != ZPY_OK ? closed : status;
        if (status != ZPY_OK) {
            sodium_memzero(out, room);
        }
    }
    int const state = zpy_cell_unpin(target);
    return status != ZPY_OK ? status : state;
}
