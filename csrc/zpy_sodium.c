/* zpy_sodium.c: libsodium's functions on keys, points and scalars, by their shape, for what has PyNaCl's names for them.
 *
 * Arguments are pointers that Python lends for the call, into slots or into objects of its own. libsodium's arithmetic on curves
 * and its hashes leave secrets behind on the stack and in registers, so each function here clears both. */
#include "zpy_internal.h"

#include <string.h>

#define POINT_BYTES ((size_t) crypto_scalarmult_BYTES)

/* ---- one or two inputs of fixed size, one output ---- */

/* What libsodium has for it is one of the four; those that return nothing cannot fail. */
struct transform {
    size_t out_bytes;
    int (*of_one)(uint8_t *out, uint8_t const *only);
    int (*of_two)(uint8_t *out, uint8_t const *first, uint8_t const *second);
    void (*sure_of_one)(uint8_t *out, uint8_t const *only);
    void (*sure_of_two)(uint8_t *out, uint8_t const *first, uint8_t const *second);
};

#if !defined(SODIUM_LIBRARY_MINIMAL)
/* The answer is in the status alone. */
static int
check_point(uint8_t *out, uint8_t const *point)
{
    (void) out;
    return crypto_core_ed25519_is_valid_point(point) == 1 ? 0 : -1;
}
#endif

static struct transform const transforms[] = {
    [ZPY_SCALARMULT] = {POINT_BYTES, .of_two = crypto_scalarmult},
    [ZPY_SCALARMULT_BASE] = {POINT_BYTES, .of_one = crypto_scalarmult_base},
    [ZPY_BOX_BEFORENM] = {crypto_box_BEFORENMBYTES, .of_two = crypto_box_beforenm},
    [ZPY_SIGN_SK_TO_CURVE25519] = {POINT_BYTES, .of_one = crypto_sign_ed25519_sk_to_curve25519},
    [ZPY_SIGN_SK_TO_PK] = {crypto_sign_PUBLICKEYBYTES, .of_one = crypto_sign_ed25519_sk_to_pk},
    [ZPY_SIGN_SK_TO_SEED] = {crypto_sign_SEEDBYTES, .of_one = crypto_sign_ed25519_sk_to_seed},
#if !defined(SODIUM_LIBRARY_MINIMAL)
    [ZPY_ED25519_IS_VALID_POINT] = {0, .of_one = check_point},
    [ZPY_ED25519_FROM_UNIFORM] = {crypto_core_ed25519_BYTES, .of_one = crypto_core_ed25519_from_uniform},
    [ZPY_ED25519_ADD] = {crypto_core_ed25519_BYTES, .of_two = crypto_core_ed25519_add},
    [ZPY_ED25519_SUB] = {crypto_core_ed25519_BYTES, .of_two = crypto_core_ed25519_sub},
    [ZPY_ED25519_SCALAR_INVERT] = {crypto_core_ed25519_SCALARBYTES, .of_one = crypto_core_ed25519_scalar_invert},
    [ZPY_ED25519_SCALAR_NEGATE] = {crypto_core_ed25519_SCALARBYTES, .sure_of_one = crypto_core_ed25519_scalar_negate},
    [ZPY_ED25519_SCALAR_COMPLEMENT] = {crypto_core_ed25519_SCALARBYTES,
                                       .sure_of_one = crypto_core_ed25519_scalar_complement},
    [ZPY_ED25519_SCALAR_ADD] = {crypto_core_ed25519_SCALARBYTES, .sure_of_two = crypto_core_ed25519_scalar_add},
    [ZPY_ED25519_SCALAR_SUB] = {crypto_core_ed25519_SCALARBYTES, .sure_of_two = crypto_core_ed25519_scalar_sub},
    [ZPY_ED25519_SCALAR_MUL] = {crypto_core_ed25519_SCALARBYTES, .sure_of_two = crypto_core_ed25519_scalar_mul},
    [ZPY_ED25519_SCALAR_REDUCE] = {crypto_core_ed25519_SCALARBYTES, .sure_of_one = crypto_core_ed25519_scalar_reduce},
    [ZPY_ED25519_SCALARMULT] = {crypto_scalarmult_ed25519_BYTES, .of_two = crypto_scalarmult_ed25519},
    [ZPY_ED25519_SCALARMULT_NOCLAMP] = {crypto_scalarmult_ed25519_BYTES, .of_two = crypto_scalarmult_ed25519_noclamp},
    [ZPY_ED25519_SCALARMULT_BASE] = {crypto_scalarmult_ed25519_BYTES, .of_one = crypto_scalarmult_ed25519_base},
    [ZPY_ED25519_SCALARMULT_BASE_NOCLAMP] = {crypto_scalarmult_ed25519_BYTES,
                                             .of_one = crypto_scalarmult_ed25519_base_noclamp},
#endif
};

int
zpy_sodium_transform(int which, uint8_t const *first, uint8_t const *second, uint8_t *out)
{
    if (which < 0 || (size_t) which >= sizeof transforms / sizeof transforms[0]) {
        return ZPY_UNSUPPORTED;
    }
    struct transform const *const transform = &transforms[which];
    int failed = 0;
    if (transform->of_one != NULL) {
        failed = transform->of_one(out, first);
    } else if (transform->of_two != NULL) {
        failed = transform->of_two(out, first, second);
    } else if (transform->sure_of_one != NULL) {
        transform->sure_of_one(out, first);
    } else if (transform->sure_of_two != NULL) {
        transform->sure_of_two(out, first, second);
    } else {
        return ZPY_UNSUPPORTED;
    }
    zpy_registers_clear_after_curve();
    if (failed != 0 && transform->out_bytes > 0) {
        sodium_memzero(out, transform->out_bytes);
    }
    return failed == 0 ? ZPY_OK : ZPY_INVALID;
}

/* ---- pairs of keys ---- */

struct key_kind {
    size_t public_bytes;
    size_t secret_bytes;
    size_t seed_bytes;
    int (*from_seed)(uint8_t *public_out, uint8_t *secret_out, uint8_t const *seed);
};

static struct key_kind const key_kinds[] = {
    [ZPY_PAIR_BOX] = {crypto_box_PUBLICKEYBYTES, crypto_box_SECRETKEYBYTES, crypto_box_SEEDBYTES, crypto_box_seed_keypair},
    [ZPY_PAIR_KX] = {crypto_kx_PUBLICKEYBYTES, crypto_kx_SECRETKEYBYTES, crypto_kx_SEEDBYTES, crypto_kx_seed_keypair},
    [ZPY_PAIR_SIGN] = {crypto_sign_PUBLICKEYBYTES, crypto_sign_SECRETKEYBYTES, crypto_sign_SEEDBYTES,
                       crypto_sign_seed_keypair},
};

/* Where libsodium would draw a seed on the stack, which can be swapped, it has a slot. */
static int
make_random_pair(struct key_kind const *kind, uint8_t *public_out, uint8_t *secret_out)
{
    uint64_t cell;
    uint8_t *seed;
    int const status = zpy_room_open(kind->seed_bytes, &cell, &seed);
    if (status != ZPY_OK) {
        return status;
    }
    randombytes_buf(seed, kind->seed_bytes);
    int const failed = kind->from_seed(public_out, secret_out, seed);
    int const closed = zpy_room_close(cell);
    return failed != 0 ? ZPY_INVALID : closed;
}

int
zpy_sodium_key_pair(int which, uint8_t const *seed, uint8_t *public_out, uint8_t *secret_out)
{
    if (which < 0 || (size_t) which >= sizeof key_kinds / sizeof key_kinds[0]) {
        return ZPY_UNSUPPORTED;
    }
    struct key_kind const *const kind = &key_kinds[which];
    int const status = seed == NULL                                      ? make_random_pair(kind, public_out, secret_out)
                       : kind->from_seed(public_out, secret_out, seed) == 0 ? ZPY_OK
                                                                         : ZPY_INVALID;
    zpy_registers_clear_after_curve();
    if (status != ZPY_OK) {
        sodium_memzero(public_out, kind->public_bytes);
        sodium_memzero(secret_out, kind->secret_bytes);
    }
    return status;
}

int
zpy_sodium_session_keys(int is_server, uint8_t const *own_public, uint8_t const *own_secret, uint8_t const *other_public,
                        uint8_t *receive_out, uint8_t *send_out)
{
    int const failed =
        is_server != 0
            ? crypto_kx_server_session_keys(receive_out, send_out, own_public, own_secret, other_public)
            : crypto_kx_client_session_keys(receive_out, send_out, own_public, own_secret, other_public);
    zpy_registers_clear_after_curve();
    if (failed != 0) {
        sodium_memzero(receive_out, crypto_kx_SESSIONKEYBYTES);
        sodium_memzero(send_out, crypto_kx_SESSIONKEYBYTES);
    }
    return failed == 0 ? ZPY_OK : ZPY_INVALID;
}

/* ---- signatures ---- */

int
zpy_sodium_sign(uint8_t const *message, size_t length, uint8_t const *secret_key, uint8_t *out)
{
    int const failed = crypto_sign(out, NULL, message, length, secret_key);
    zpy_registers_clear_after_curve();
    if (failed != 0) {
        sodium_memzero(out, length + crypto_sign_BYTES);
    }
    return failed == 0 ? ZPY_OK : ZPY_INVALID;
}

/* Python holds the state as bytes, whose place need not suit a structure with numbers of 64 bits. */
int
zpy_sodium_prehash(uint8_t *state_bytes, uint8_t const *message, size_t length)
{
    crypto_sign_ed25519ph_state state;
    int failed;
    if (message == NULL) {
        failed = crypto_sign_ed25519ph_init(&state);
    } else {
        memcpy(&state, state_bytes, sizeof state);
        failed = crypto_sign_ed25519ph_update(&state, message, length);
    }
    memcpy(state_bytes, &state, sizeof state);
    sodium_memzero(&state, sizeof state);
    zpy_registers_clear_after_curve();
    return failed == 0 ? ZPY_OK : ZPY_INVALID;
}

int
zpy_sodium_prehash_sign(uint8_t *state_bytes, uint8_t const *secret_key, uint8_t *signature_out)
{
    crypto_sign_ed25519ph_state state;
    memcpy(&state, state_bytes, sizeof state);
    int const failed = crypto_sign_ed25519ph_final_create(&state, signature_out, NULL, secret_key);
    memcpy(state_bytes, &state, sizeof state);
    sodium_memzero(&state, sizeof state);
    zpy_registers_clear_after_curve();
    if (failed != 0) {
        sodium_memzero(signature_out, crypto_sign_BYTES);
    }
    return failed == 0 ? ZPY_OK : ZPY_INVALID;
}

int
zpy_sodium_prehash_verify(uint8_t *state_bytes, uint8_t const *signature, uint8_t const *public_key)
{
    crypto_sign_ed25519ph_state state;
    memcpy(&state, state_bytes, sizeof state);
    int const failed = crypto_sign_ed25519ph_final_verify(&state, signature, public_key);
    memcpy(state_bytes, &state, sizeof state);
    sodium_memzero(&state, sizeof state);
    return failed == 0 ? ZPY_OK : ZPY_FORGED;
}

/* ---- bytes ---- */

int
zpy_sodium_random(uint8_t const *seed, uint8_t *out, size_t length)
{
    if (seed == NULL) {
        randombytes_buf(out, length);
        return ZPY_OK;
    }
    if ((uint64_t) length > (uint64_t) 1 << 38) {
        return ZPY_RANGE; /* libsodium would end the process. */
    }
    randombytes_buf_deterministic(out, length, seed);
    zpy_registers_clear_after_cipher();
    return ZPY_OK;
}

int
zpy_sodium_pad(uint8_t const *data, size_t length, size_t block_bytes, size_t room, uint8_t *out)
{
    size_t padded;
    if (length > room) {
        return ZPY_RANGE;
    }
    memcpy(out, data, length);
    int const failed = sodium_pad(&padded, out, length, block_bytes, room);
    zpy_registers_clear();
    return failed == 0 && padded == room ? ZPY_OK : ZPY_INVALID;
}

int64_t
zpy_sodium_unpadded(uint8_t const *data, size_t length, size_t block_bytes)
{
    size_t unpadded;
    int const failed = block_bytes == 0 ? -1 : sodium_unpad(&unpadded, data, length, block_bytes);
    return failed == 0 ? (int64_t) unpadded : -1;
}

void
zpy_sodium_copy(uint8_t const *data, size_t length, uint8_t *out)
{
    memcpy(out, data, length);
    zpy_registers_clear();
}

void
zpy_sodium_add(uint8_t const *first, uint8_t const *second, size_t length, uint8_t *out)
{
    memcpy(out, first, length);
    if (second == NULL) {
        sodium_increment(out, length);
    } else {
        sodium_add(out, second, length);
    }
    zpy_registers_clear();
}
