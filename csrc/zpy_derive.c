/* zpy_derive.c: what is computed from a key (its commitment, other keys), and keys from passwords.
 *
 * Built on the parts of libsodium's HMAC-SHA256, whose one-shot calls and HKDF leave keyed states on the stack in some
 * releases; here each state has a slot. */
#include "zpy_internal.h"

#include <string.h>

#define HASH_BYTES ((size_t) crypto_auth_hmacsha256_BYTES)

/* Deeper than libsodium's SHA-256 goes, which clears its message schedule and not what was spilled on the way. */
#define HASH_STACK_BYTES ((size_t) 4096)

static void
clear_after_hash(void)
{
    sodium_stackzero(HASH_STACK_BYTES);
    zpy_registers_clear();
}

int
zpy_room_open(size_t size, uint64_t *cell_out, uint8_t **bytes_out)
{
    size_t length;
    int64_t cell = zpy_cell_create(NULL, size, 0, 0, 0);
    if (cell == -ZPY_LOCK_LIMIT) {
        cell = zpy_cell_create(NULL, size, ZPY_SEALED, 0, 0);
    }
    if (cell < 0) {
        return (int) -cell;
    }
    int const status = zpy_cell_pin((uint64_t) cell, true, bytes_out, &length);
    if (status != ZPY_OK) {
        (void) zpy_cell_wipe((uint64_t) cell); /* Nothing was in it; why it cannot be used is in status. */
        return status;
    }
    *cell_out = (uint64_t) cell;
    return ZPY_OK;
}

int
zpy_room_close(uint64_t cell)
{
    int const state = zpy_cell_unpin(cell);
    int const wiped = zpy_cell_wipe(cell);
    return state != ZPY_OK ? state : wiped;
}

int
zpy_scratch_open(uint64_t *cell_out, struct zpy_scratch **scratch_out)
{
    uint8_t *bytes;
    int const status = zpy_room_open(sizeof(struct zpy_scratch), cell_out, &bytes);
    if (status == ZPY_OK) {
        *scratch_out = (struct zpy_scratch *) (void *) bytes;
    }
    return status;
}

int
zpy_scratch_close(uint64_t cell)
{
    clear_after_hash();
    return zpy_room_close(cell);
}

int
zpy_derive_use(uint64_t key, size_t key_length, uint8_t **bytes_out)
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
    struct zpy_scratch *scratch;
    uint8_t *bytes;
    int status = zpy_scratch_open(&cell, &scratch);
    if (status != ZPY_OK) {
        return status;
    }
    status = zpy_derive_use(key, key_length, &bytes);
    if (status == ZPY_OK) {
        (void) crypto_auth_hmacsha256_init(&scratch->state, bytes, key_length); /* These three cannot fail. */
        (void) crypto_auth_hmacsha256_update(&scratch->state, label, label_length);
        (void) crypto_auth_hmacsha256_final(&scratch->state, out);
        clear_after_hash();
        status = zpy_cell_unpin(key);
    }
    int const closed = zpy_scratch_close(cell);
    status = status != ZPY_OK ? status : closed;
    if (status != ZPY_OK) {
        sodium_memzero(out, HASH_BYTES); /* Perhaps made of zeros. */
    }
    return status;
}

/* ---- HKDF-SHA256 ---- */

void
zpy_hkdf_extract(struct zpy_scratch *scratch, uint8_t const *key, size_t key_length, uint8_t const *salt, size_t salt_length)
{
    /* HMAC fills keys up with zeros: no salt is the 32 zeros that RFC 5869 wants. */
    (void) crypto_auth_hmacsha256_init(&scratch->state, salt, salt_length); /* Neither this nor the other two can fail. */
    (void) crypto_auth_hmacsha256_update(&scratch->state, key, key_length);
    (void) crypto_auth_hmacsha256_final(&scratch->state, scratch->prk);
}

void
zpy_hkdf_expand(struct zpy_scratch *scratch, uint8_t const *info, size_t info_length, uint8_t *out, size_t length)
{
    uint8_t number = 0;
    for (size_t done = 0; done < length; done += HASH_BYTES) {
        size_t const part = length - done < HASH_BYTES ? length - done : HASH_BYTES;
        (void) crypto_auth_hmacsha256_init(&scratch->state, scratch->prk, HASH_BYTES); /* As above. */
        if (number > 0) {
            (void) crypto_auth_hmacsha256_update(&scratch->state, scratch->block, HASH_BYTES);
        }
        number++;
        (void) crypto_auth_hmacsha256_update(&scratch->state, info, info_length);
        (void) crypto_auth_hmacsha256_update(&scratch->state, &number, 1);
        (void) crypto_auth_hmacsha256_final(&scratch->state, scratch->block);
        memcpy(out + done, scratch->block, part);
    }
}

int
zpy_derive_hkdf(uint64_t key, size_t key_length, uint8_t const *salt, size_t salt_length, uint8_t const *info,
                size_t info_length, uint64_t target, size_t length)
{
    uint64_t cell;
    struct zpy_scratch *scratch;
    uint8_t *bytes;
    uint8_t *out;
    size_t room;
    int status = zpy_cell_pin(target, true, &out, &room);
    if (status != ZPY_OK) {
        return status;
    }
    status = length <= room && length <= 255 * HASH_BYTES ? zpy_scratch_open(&cell, &scratch) : ZPY_RANGE;
    if (status == ZPY_OK) {
        status = zpy_derive_use(key, key_length, &bytes);
        if (status == ZPY_OK) {
            zpy_hkdf_extract(scratch, bytes, key_length, salt, salt_length);
            zpy_hkdf_expand(scratch, info, info_length, out, length);
            status = zpy_cell_unpin(key);
        }
        int const closed = zpy_scratch_close(cell);
        status = status != ZPY_OK ? status : closed;
        if (status != ZPY_OK) {
            sodium_memzero(out, length); /* Perhaps made of zeros. */
        }
    }
    int const state = zpy_cell_unpin(target);
    return status != ZPY_OK ? status : state;
}

/* ---- Argon2id ---- */

int
zpy_derive_password(uint8_t const *password, size_t password_length, uint8_t const *salt, uint64_t opslimit, size_t memlimit,
                    uint64_t target)
{
    uint8_t *out;
    size_t length;
    int status = zpy_cell_pin(target, true, &out, &length);
    if (status != ZPY_OK) {
        return status;
    }
    status = zpy_pwhash_raw(ZPY_ARGON2ID, password, password_length, salt, opslimit, memlimit, out, length);
    int const state = zpy_cell_unpin(target);
    return status != ZPY_OK ? status : state;
}
