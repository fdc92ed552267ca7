/* zpy_hash.c: hashes of what may be secret, and under keys, through libsodium.
 *
 * A BLAKE2b state rests in a slot, and each call works on a copy on the stack, which is cleared: libsodium takes an index
 * from the state, and one that another thread wipes in the middle of it would lead out of the slot. */
#include "zpy_internal.h"

#define STATE_BYTES sizeof(crypto_generichash_blake2b_state)

static int
finished(int answer, uint8_t *out, size_t length)
{
    zpy_registers_clear_after_cipher(); /* Hashes go 1.6 KiB deep, less than ciphers do. */
    if (answer != 0) {
        sodium_memzero(out, length);
        return ZPY_INVALID;
    }
    return ZPY_OK;
}

int
zpy_hash_sha2(uint8_t const *data, size_t length, uint8_t *out, size_t digest_bytes)
{
    if (digest_bytes == crypto_hash_sha256_BYTES) {
        return finished(crypto_hash_sha256(out, data, length), out, digest_bytes);
    }
    if (digest_bytes == crypto_hash_sha512_BYTES) {
        return finished(crypto_hash_sha512(out, data, length), out, digest_bytes);
    }
    return ZPY_INVALID;
}

int
zpy_hash_siphash(uint8_t const *key, uint8_t const *data, size_t length, uint8_t *out, size_t digest_bytes)
{
    if (digest_bytes == crypto_shorthash_siphash24_BYTES) {
        return finished(crypto_shorthash_siphash24(out, data, length, key), out, digest_bytes);
    }
#if defined(crypto_shorthash_siphashx24_BYTES)
    if (digest_bytes == crypto_shorthash_siphashx24_BYTES) {
        return finished(crypto_shorthash_siphashx24(out, data, length, key), out, digest_bytes);
    }
    return ZPY_INVALID;
#else
    return ZPY_UNSUPPORTED;
#endif
}

int
zpy_hash_blake2b(uint8_t const *data, size_t length, uint8_t const *key, size_t key_length, uint8_t const *salt,
                 uint8_t const *person, uint8_t *out, size_t digest_bytes)
{
    int const answer =
        crypto_generichash_blake2b_salt_personal(out, digest_bytes, data, length, key, key_length, salt, person);
    return finished(answer, out, digest_bytes);
}

static void
forget(crypto_generichash_blake2b_state *state)
{
    sodium_memzero(state, sizeof *state);
    zpy_registers_clear_after_cipher();
}

/* Give a state that was worked on back to its slot, unless libsodium refused. */
static int
put_back(uint64_t cell, int answer, crypto_generichash_blake2b_state *state)
{
    int const status = answer == 0 ? zpy_cell_write(cell, 0, (uint8_t const *) state, STATE_BYTES) : ZPY_INVALID;
    forget(state);
    return status;
}

int
zpy_hash_blake2b_begin(uint64_t cell, uint8_t const *key, size_t key_length, uint8_t const *salt, uint8_t const *person,
                       size_t digest_bytes)
{
    crypto_generichash_blake2b_state state;
    int const answer = crypto_generichash_blake2b_init_salt_personal(&state, key, key_length, digest_bytes, salt, person);
    return put_back(cell, answer, &state);
}

int
zpy_hash_blake2b_update(uint64_t cell, uint8_t const *data, size_t length)
{
    crypto_generichash_blake2b_state state;
    int const status = zpy_cell_read(cell, 0, (uint8_t *) &state, STATE_BYTES);
    if (status != ZPY_OK) {
        return status;
    }
    return put_back(cell, crypto_generichash_blake2b_update(&state, data, length), &state);
}

int
zpy_hash_blake2b_finish(uint64_t cell, uint8_t *out, size_t digest_bytes, bool keep)
{
    crypto_generichash_blake2b_state state;
    int status = zpy_cell_read(cell, 0, (uint8_t *) &state, STATE_BYTES);
    if (status != ZPY_OK) {
        return status;
    }
    if (digest_bytes == 0 || digest_bytes > crypto_generichash_blake2b_BYTES_MAX) {
        forget(&state);
        return ZPY_INVALID; /* libsodium would end the process. */
    }
    int const answer = crypto_generichash_blake2b_final(&state, out, digest_bytes);
    if (keep && answer == 0) {
        forget(&state);
    } else {
        status = put_back(cell, answer, &state);
    }
    if (status != ZPY_OK) {
        sodium_memzero(out, digest_bytes);
    }
    return status;
}
