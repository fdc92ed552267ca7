/* zpy_box.c: X25519 keys (RFC 7748) and NaCl's boxes through libsodium; secret and public key lie in one slot.
 *
 * As with zpy_aead.c, a key destroyed under a running call makes that call discard what it made. */
#include "zpy_internal.h"

#include <string.h>

#define SECRET_BYTES ((size_t) crypto_box_SECRETKEYBYTES)
#define PUBLIC_BYTES ((size_t) crypto_box_PUBLICKEYBYTES)
#define KEY_BYTES (SECRET_BYTES + PUBLIC_BYTES)
#define SHARED_BYTES ((size_t) crypto_box_BEFORENMBYTES)
#define SEAL_BYTES ((size_t) crypto_box_SEALBYTES)
_Static_assert(SECRET_BYTES == crypto_box_SEEDBYTES && SECRET_BYTES == crypto_scalarmult_SCALARBYTES, "one size for all");

/* ---- keys ---- */

/* Makes the secret from what is given, if anything is, and the public key behind it. */
typedef int (*key_maker)(uint8_t *key, uint8_t const *given);

static int
add_public(uint8_t *key, uint8_t const *given)
{
    (void) given; /* The secret is there already. */
    return crypto_scalarmult_base(key + SECRET_BYTES, key);
}

static int
take_secret(uint8_t *key, uint8_t const *given)
{
    memcpy(key, given, SECRET_BYTES);
    return add_public(key, given);
}

static int
expand_seed(uint8_t *key, uint8_t const *given)
{
    return crypto_box_seed_keypair(key + SECRET_BYTES, key, given);
}

static int
convert_signing(uint8_t *key, uint8_t const *given)
{
    return crypto_sign_ed25519_sk_to_curve25519(key, given) == 0 ? add_public(key, given) : -1;
}

static int
fill_key(uint64_t cell, key_maker make, uint8_t const *given, uint8_t *public_out)
{
    uint8_t *key;
    size_t length;
    int status = zpy_cell_pin(cell, true, &key, &length);
    if (status != ZPY_OK) {
        return status;
    }
    int const failed = make(key, given);
    zpy_registers_clear_after_curve();
    memcpy(public_out, key + SECRET_BYTES, PUBLIC_BYTES);
    status = zpy_cell_unpin(cell);
    return status == ZPY_OK && failed != 0 ? ZPY_INVALID : status;
}

/* The new cell or, after its end, minus the status that says why nothing came of it. */
static int64_t
finish(int64_t cell, int status)
{
    if (status == ZPY_OK) {
        return cell;
    }
    (void) zpy_cell_wipe((uint64_t) cell); /* Why it ends is in status. */
    return -(int64_t) status;
}

static int64_t
new_key(key_maker make, uint8_t const *given, uint32_t options, uint64_t ttl_ns, uint8_t *public_out)
{
    int64_t const cell = zpy_cell_create(NULL, KEY_BYTES, options, ttl_ns, 0);
    return cell < 0 ? cell : finish(cell, fill_key((uint64_t) cell, make, given, public_out));
}

int64_t
zpy_box_create(int source, uint8_t const *bytes, uint32_t options, uint64_t ttl_ns, uint8_t *public_out)
{
    if ((options & ZPY_RANDOM) != 0) {
        return new_key(add_public, NULL, options, ttl_ns, public_out);
    }
    return new_key(source == ZPY_BOX_SEED ? expand_seed : take_secret, bytes, options, ttl_ns, public_out);
}

int64_t
zpy_box_from_signing(uint64_t signing_key, uint32_t options, uint64_t ttl_ns, uint8_t *public_out)
{
    uint8_t *secret;
    int status = zpy_cell_pin_key(signing_key, crypto_sign_SECRETKEYBYTES, &secret);
    if (status != ZPY_OK) {
        return -(int64_t) status;
    }
    int64_t const cell = new_key(convert_signing, secret, options & ~(uint32_t) ZPY_RANDOM, ttl_ns, public_out);
    status = zpy_cell_unpin(signing_key);
    return cell < 0 ? cell : finish(cell, status);
}

int
zpy_box_public_from_signing(uint8_t const *signing_public_key, uint8_t *public_out)
{
    return crypto_sign_ed25519_pk_to_curve25519(public_out, signing_public_key) == 0 ? ZPY_OK : ZPY_INVALID;
}

/* ---- what two keys share ---- */

static int
fill_shared(uint64_t cell, uint64_t private_key, uint8_t const *public_key)
{
    uint8_t *shared;
    uint8_t *secret;
    size_t length;
    int status = zpy_cell_pin(cell, true, &shared, &length);
    if (status != ZPY_OK) {
        return status;
    }
    status = zpy_cell_pin_key(private_key, KEY_BYTES, &secret);
    if (status == ZPY_OK) {
        int const failed = crypto_box_beforenm(shared, public_key, secret);
        zpy_registers_clear_after_curve();
        status = zpy_cell_unpin(private_key);
        status = status == ZPY_OK && failed != 0 ? ZPY_INVALID : status;
    }
    int const state = zpy_cell_unpin(cell);
    return status != ZPY_OK ? status : state;
}

int64_t
zpy_box_share(struct zpy_key *key_out, uint64_t private_key, uint8_t const *public_key, uint32_t options, uint64_t ttl_ns)
{
    int64_t const cell = zpy_cell_create(NULL, SHARED_BYTES, options & ~(uint32_t) ZPY_RANDOM, ttl_ns, 0);
    if (cell < 0) {
        return cell;
    }
    int64_t const made = finish(cell, fill_shared((uint64_t) cell, private_key, public_key));
    if (made > 0) {
        *key_out = (struct zpy_key){.cell = (uint64_t) made, .algorithm = ZPY_XSALSA20_POLY1305};
    }
    return made;
}

/* ---- messages for whoever has the private key ---- */

int
zpy_box_seal(uint8_t const *public_key, uint8_t const *message, size_t length, uint8_t *out)
{
    int const failed = crypto_box_seal(out, message, length, public_key);
    zpy_registers_clear_after_curve();
    if (failed != 0) {
        sodium_memzero(out, length + SEAL_BYTES);
        return ZPY_INVALID;
    }
    return ZPY_OK;
}

int
zpy_box_open(uint64_t private_key, uint8_t const *sealed, size_t length, uint8_t *out)
{
    if (length < SEAL_BYTES) {
        return ZPY_RANGE;
    }
    uint8_t *key;
    int status = zpy_cell_pin_key(private_key, KEY_BYTES, &key);
    if (status != ZPY_OK) {
        return status;
    }
    int const failed = crypto_box_seal_open(out, sealed, length, key + SECRET_BYTES, key);
    zpy_registers_clear_after_curve();
    status = zpy_cell_unpin(private_key);
    if (status == ZPY_OK && failed != 0) {
        status = ZPY_FORGED;
    }
    if (status != ZPY_OK) {
        sodium_memzero(out, length - SEAL_BYTES);
    }
    return status;
}
