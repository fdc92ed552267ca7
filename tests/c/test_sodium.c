/* test_sodium.c: what the core promises where it hands libsodium's functions on by their shape. */
#include "cells.h"
#include "left.h"

static uint8_t const secret[64] = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,
                                    25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48,
                                    49, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, 63, 64 };
static uint8_t const nonce[32] = { 9 };
static uint8_t const message[200] = { 7 };
static uint8_t other_public[32];
static uint8_t box_public[32];
static uint8_t sealed[300];
static uint8_t box_sealed[300];
static uint8_t out[300];
static uint8_t more_out[64];

/* ---- what is left on the stack ---- */

/* libsodium's function, and the core's for the same; both return 0. */
struct pair {
    char const *name;
    int (*plain)(void);
    int (*core)(void);
};

#define PAIR(what, plain_call, core_call)                                                                              \
    static int plain_##what(void) { return plain_call; }                                                               \
    static int core_##what(void) { return core_call; }

PAIR(scalarmult, crypto_scalarmult(out, secret, other_public),
     zpy_sodium_transform(ZPY_SCALARMULT, secret, other_public, out))
PAIR(base, crypto_scalarmult_base(out, secret), zpy_sodium_transform(ZPY_SCALARMULT_BASE, secret, NULL, out))
PAIR(beforenm, crypto_box_beforenm(out, other_public, secret),
     zpy_sodium_transform(ZPY_BOX_BEFORENM, other_public, secret, out))
PAIR(to_curve, crypto_sign_ed25519_sk_to_curve25519(out, secret),
     zpy_sodium_transform(ZPY_SIGN_SK_TO_CURVE25519, secret, NULL, out))
PAIR(invert, crypto_core_ed25519_scalar_invert(out, secret),
     zpy_sodium_transform(ZPY_ED25519_SCALAR_INVERT, secret, NULL, out))
PAIR(ed_base, crypto_scalarmult_ed25519_base(out, secret),
     zpy_sodium_transform(ZPY_ED25519_SCALARMULT_BASE, secret, NULL, out))
PAIR(box_pair, crypto_box_seed_keypair(more_out, out, secret), zpy_sodium_key_pair(ZPY_PAIR_BOX, secret, more_out, out))
PAIR(kx_pair, crypto_kx_seed_keypair(more_out, out, secret), zpy_sodium_key_pair(ZPY_PAIR_KX, secret, more_out, out))
PAIR(session, crypto_kx_client_session_keys(out, more_out, box_public, secret, other_public),
     zpy_sodium_session_keys(0, box_public, secret, other_public, out, more_out))
PAIR(sign, crypto_sign(out, NULL, message, sizeof message, secret),
     zpy_sodium_sign(message, sizeof message, secret, out))
PAIR(seal_gcm, crypto_aead_aes256gcm_encrypt(out, NULL, message, sizeof message, NULL, 0, NULL, nonce, secret),
     zpy_sodium_seal(ZPY_SODIUM_AES256GCM, secret, nonce, NULL, 0, message, sizeof message, out))
PAIR(open_gcm, crypto_aead_aes256gcm_decrypt(out, NULL, NULL, sealed, sizeof message + 16, NULL, 0, nonce, secret),
     zpy_sodium_open(ZPY_SODIUM_AES256GCM, secret, nonce, NULL, 0, sealed, sizeof message + 16, out))
PAIR(seal_chacha,
     crypto_aead_xchacha20poly1305_ietf_encrypt(out, NULL, message, sizeof message, NULL, 0, NULL, nonce, secret),
     zpy_sodium_seal(ZPY_SODIUM_XCHACHA20_IETF, secret, nonce, NULL, 0, message, sizeof message, out))
PAIR(secretbox, crypto_secretbox_easy(out, message, sizeof message, nonce, secret),
     zpy_sodium_seal(ZPY_SODIUM_SECRETBOX, secret, nonce, NULL, 0, message, sizeof message, out))
PAIR(box, crypto_box_easy(out, message, sizeof message, nonce, other_public, secret),
     zpy_sodium_box(other_public, secret, nonce, message, sizeof message, out))
PAIR(open_box, crypto_box_open_easy(out, box_sealed, sizeof message + 16, nonce, other_public, secret),
     zpy_sodium_box_open(other_public, secret, nonce, box_sealed, sizeof message + 16, out))

static struct pair const pairs[] = {
#define NAMED(what) { #what, plain_##what, core_##what }
    NAMED(scalarmult), NAMED(base),    NAMED(beforenm), NAMED(to_curve), NAMED(invert), NAMED(ed_base),
    NAMED(box_pair),   NAMED(kx_pair), NAMED(session),  NAMED(sign),     NAMED(box),    NAMED(open_box),
    NAMED(seal_chacha), NAMED(secretbox), NAMED(seal_gcm), NAMED(open_gcm),
};

/* Not as deep as libsodium goes. */
#define LOOK_TO ((size_t) 2048)

/* libsodium alone leaves something there; the core does not. */
static void
test_stack(void)
{
    for (size_t at = 0; at < sizeof pairs / sizeof pairs[0]; at++) {
        if (strstr(pairs[at].name, "gcm") != NULL && !zpy_has_aes()) {
            continue;
        }
        int failed = pairs[at].plain();
        int left = left_on_stack(LOOK_TO);
        CHECK_EQUAL(failed, 0);
        CHECK(left > 40);
        failed = pairs[at].core();
        left = left_on_stack(LOOK_TO);
        CHECK_EQUAL(failed, ZPY_OK);
        CHECK_EQUAL(left, 0);
    }
}

/* ---- streams ---- */

#define MORE ((size_t) crypto_secretstream_xchacha20poly1305_ABYTES)

static void
test_stream(uint32_t options)
{
    size_t const size = sizeof(crypto_secretstream_xchacha20poly1305_state);
    uint64_t const sender = made(zpy_cell_create(NULL, size, options, 0, 0));
    uint64_t const receiver = made(zpy_cell_create(NULL, size, options, 0, 0));
    uint8_t header[crypto_secretstream_xchacha20poly1305_HEADERBYTES];
    uint8_t tag = 0;
    CHECK_EQUAL(zpy_sodium_stream_begin(sender, 0, secret, header), ZPY_OK);
    int status = zpy_sodium_stream_begin(receiver, 1, secret, header);
    CHECK_EQUAL(left_on_stack(LOOK_TO), 0);
    CHECK_EQUAL(status, ZPY_OK);
    for (int turn = 0; turn < 3; turn++) {
        status = zpy_sodium_stream_push(sender, message, sizeof message, nonce, 3, 0, sealed);
        CHECK_EQUAL(left_on_stack(LOOK_TO), 0);
        CHECK_EQUAL(status, ZPY_OK);
        sealed[0] ^= 1;
        CHECK_EQUAL(zpy_sodium_stream_pull(receiver, sealed, sizeof message + MORE, nonce, 3, &tag, out), ZPY_FORGED);
        CHECK(sodium_is_zero(out, sizeof message) == 1);
        sealed[0] ^= 1;
        status = zpy_sodium_stream_pull(receiver, sealed, sizeof message + MORE, nonce, 3, &tag, out);
        CHECK_EQUAL(left_on_stack(LOOK_TO), 0);
        CHECK_EQUAL(status, ZPY_OK);
        CHECK_EQUAL(memcmp(out, message, sizeof message), 0);
        CHECK_EQUAL(zpy_sodium_stream_rekey(sender), ZPY_OK);
        CHECK_EQUAL(zpy_sodium_stream_rekey(receiver), ZPY_OK);
    }
    CHECK_EQUAL(zpy_sodium_stream_pull(receiver, sealed, MORE - 1, NULL, 0, &tag, out), ZPY_RANGE);
    CHECK_EQUAL(zpy_cell_wipe(sender), ZPY_OK);
    CHECK_EQUAL(zpy_sodium_stream_push(sender, message, sizeof message, NULL, 0, 0, out), ZPY_WIPED);
    CHECK(sodium_is_zero(out, sizeof message + MORE) == 1);
    CHECK_EQUAL(zpy_sodium_stream_rekey(sender), ZPY_WIPED);
    CHECK_EQUAL(zpy_cell_wipe(receiver), ZPY_OK);
    uint64_t const other = cell_of("no state");
    CHECK_EQUAL(zpy_sodium_stream_begin(other, 0, secret, header), ZPY_INVALID);
    CHECK_EQUAL(zpy_sodium_stream_rekey(other), ZPY_INVALID);
    CHECK_EQUAL(zpy_cell_wipe(other), ZPY_OK);
}

/* ---- what is refused ---- */

static void
test_refusals(void)
{
    static uint8_t const zeros[64];
    int const numbers[] = { -1, 99 };
    for (size_t at = 0; at < 2; at++) {
        CHECK_EQUAL(zpy_sodium_transform(numbers[at], secret, secret, out), ZPY_UNSUPPORTED);
        CHECK_EQUAL(zpy_sodium_key_pair(numbers[at], secret, more_out, out), ZPY_UNSUPPORTED);
        CHECK_EQUAL(zpy_sodium_has_cipher(numbers[at]), 0);
        CHECK_EQUAL(zpy_sodium_seal(numbers[at], secret, nonce, NULL, 0, message, 1, out), ZPY_UNSUPPORTED);
        CHECK_EQUAL(zpy_sodium_open(numbers[at], secret, nonce, NULL, 0, message, 1, out), ZPY_UNSUPPORTED);
    }
    /* A public key with which all share the same. */
    memset(out, 1, sizeof out);
    CHECK_EQUAL(zpy_sodium_transform(ZPY_SCALARMULT, secret, zeros, out), ZPY_INVALID);
    CHECK(sodium_is_zero(out, 32) == 1);
    memset(out, 1, sizeof out);
    memset(more_out, 1, sizeof more_out);
    CHECK_EQUAL(zpy_sodium_session_keys(1, box_public, secret, zeros, out, more_out), ZPY_INVALID);
    CHECK(sodium_is_zero(out, 32) == 1 && sodium_is_zero(more_out, 32) == 1);
    CHECK_EQUAL(zpy_sodium_box(zeros, secret, nonce, message, 10, out), ZPY_INVALID);
    memset(out, 1, sizeof out);
    CHECK_EQUAL(zpy_sodium_open(ZPY_SODIUM_SECRETBOX, secret, nonce, NULL, 0, sealed, 40, out), ZPY_FORGED);
    CHECK(sodium_is_zero(out, 24) == 1);
    CHECK_EQUAL(zpy_sodium_open(ZPY_SODIUM_SECRETBOX, secret, nonce, NULL, 0, sealed, 15, out), ZPY_FORGED);
    CHECK_EQUAL(zpy_sodium_box_open(other_public, secret, nonce, sealed, 15, out), ZPY_FORGED);
    CHECK_EQUAL(zpy_sodium_box_open(other_public, secret, NULL, sealed, 47, out), ZPY_FORGED);
    uint64_t value = 5;
    CHECK_EQUAL(zpy_constant_find("crypto_box_NOTHING", &value), ZPY_UNSUPPORTED);
    CHECK_EQUAL(value, 5);
    CHECK_EQUAL(zpy_sodium_pad(message, 10, 16, 9, out), ZPY_RANGE);
    CHECK_EQUAL(zpy_sodium_pad(message, 10, 16, 15, out), ZPY_INVALID);
    CHECK_EQUAL(zpy_sodium_pad(message, 10, 0, 10, out), ZPY_INVALID);
}

/* Each random pair is another, and the seed's cell is gone. */
static void
test_random(void)
{
    uint8_t keys[2][64];
    for (int which = ZPY_PAIR_BOX; which <= ZPY_PAIR_SIGN; which++) {
        for (int turn = 0; turn < 2; turn++) {
            int const status = zpy_sodium_key_pair(which, NULL, more_out, keys[turn]);
            CHECK_EQUAL(left_on_stack(LOOK_TO), 0);
            CHECK_EQUAL(status, ZPY_OK);
            CHECK_EQUAL(stats().cells, 0);
        }
        CHECK(memcmp(keys[0], keys[1], 32) != 0);
    }
}

int
main(int argc, char **argv)
{
    CHECK_EQUAL(zpy_init(argc < 2 || strcmp(argv[1], "mlock") != 0, 1 << 20), ZPY_OK);
    CHECK_EQUAL(crypto_scalarmult_base(other_public, secret + 32), 0);
    CHECK_EQUAL(crypto_scalarmult_base(box_public, secret), 0);
    CHECK_EQUAL(crypto_box_easy(box_sealed, message, sizeof message, nonce, other_public, secret), 0);
    if (zpy_has_aes()) {
        CHECK_EQUAL(crypto_aead_aes256gcm_encrypt(sealed, NULL, message, sizeof message, NULL, 0, NULL, nonce, secret), 0);
    }
    test_stack();
    uint32_t const tiers[] = { 0, ZPY_ISOLATED, ZPY_SEALED };
    for (size_t at = 0; at < sizeof tiers / sizeof tiers[0]; at++) {
        test_stream(tiers[at]);
    }
    test_refusals();
    test_random();
    CHECK_EQUAL(stats().cells, 0);
    CHECK_EQUAL(zpy_purge(), 0);
    zpy_reaper_stop();
    puts("ok");
    return 0;
}
