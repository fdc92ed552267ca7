/* test_box.c: what the core promises of X25519 keys and boxes. */
#include "cells.h"
#include "left.h"

/* RFC 7748, section 6.1: two secrets with their public keys. */
static uint8_t const secrets[2][32] = {
    {
        0x77, 0x07, 0x6d, 0x0a, 0x73, 0x18, 0xa5, 0x7d, 0x3c, 0x16, 0xc1, 0x72, 0x51, 0xb2, 0x66, 0x45,
        0xdf, 0x4c, 0x2f, 0x87, 0xeb, 0xc0, 0x99, 0x2a, 0xb1, 0x77, 0xfb, 0xa5, 0x1d, 0xb9, 0x2c, 0x2a,
    },
    {
        0x5d, 0xab, 0x08, 0x7e, 0x62, 0x4a, 0x8a, 0x4b, 0x79, 0xe1, 0x7f, 0x8b, 0x83, 0x80, 0x0e, 0xe6,
        0x6f, 0x3b, 0xb1, 0x29, 0x26, 0x18, 0xb6, 0xfd, 0x1c, 0x2f, 0x8b, 0x27, 0xff, 0x88, 0xe0, 0xeb,
    },
};
static uint8_t const public_keys[2][32] = {
    {
        0x85, 0x20, 0xf0, 0x09, 0x89, 0x30, 0xa7, 0x54, 0x74, 0x8b, 0x7d, 0xdc, 0xb4, 0x3e, 0xf7, 0x5a,
        0x0d, 0xbf, 0x3a, 0x0d, 0x26, 0x38, 0x1a, 0xf4, 0xeb, 0xa4, 0xa9, 0x8e, 0xaa, 0x9b, 0x4e, 0x6a,
    },
    {
        0xde, 0x9e, 0xdb, 0x7d, 0x7b, 0x7d, 0xc1, 0xb4, 0xd3, 0x5b, 0x61, 0xc2, 0xec, 0xe4, 0x35, 0x37,
        0x3f, 0x83, 0x43, 0xc8, 0x5b, 0x78, 0x67, 0x4d, 0xad, 0xfc, 0x7e, 0x14, 0x6f, 0x88, 0x2b, 0x4f,
    },
};
static uint8_t const weak[32] = { 0 };
static uint8_t const message[] = "a message";
#define SEALED_BYTES (sizeof message + 48)

/* ---- a key that ends in the middle of a call ---- */

static uint64_t to_wipe = 0;

static void
wipe_now(void)
{
    if (to_wipe != 0) {
        CHECK_EQUAL(zpy_cell_wipe(to_wipe), ZPY_OK);
        to_wipe = 0;
    }
}

int __real_crypto_box_beforenm(unsigned char *k, unsigned char const *pk, unsigned char const *sk);
int __wrap_crypto_box_beforenm(unsigned char *k, unsigned char const *pk, unsigned char const *sk);
int
__wrap_crypto_box_beforenm(unsigned char *k, unsigned char const *pk, unsigned char const *sk)
{
    wipe_now();
    return __real_crypto_box_beforenm(k, pk, sk);
}

int __real_crypto_sign_ed25519_sk_to_curve25519(unsigned char *to, unsigned char const *from);
int __wrap_crypto_sign_ed25519_sk_to_curve25519(unsigned char *to, unsigned char const *from);
int
__wrap_crypto_sign_ed25519_sk_to_curve25519(unsigned char *to, unsigned char const *from)
{
    wipe_now();
    return __real_crypto_sign_ed25519_sk_to_curve25519(to, from);
}

static uint64_t
key_of(size_t which, uint32_t options)
{
    uint8_t out[32];
    uint64_t const key = made(zpy_box_create(ZPY_BOX_SECRET, secrets[which], options, 0, out));
    CHECK_EQUAL(memcmp(out, public_keys[which], sizeof out), 0);
    return key;
}

static void
test_shared(uint32_t options)
{
    uint8_t wanted[32];
    CHECK_EQUAL(crypto_box_beforenm(wanted, public_keys[1], secrets[0]), 0);
    for (size_t which = 0; which < 2; which++) {
        struct zpy_key shared;
        uint64_t const key = key_of(which, options);
        uint64_t const cell = made(zpy_box_share(&shared, key, public_keys[1 - which], options, 0));
        CHECK_EQUAL(zpy_cell_verify(cell, wanted, sizeof wanted), 1);
        CHECK_EQUAL(shared.cell, cell);
        CHECK_EQUAL(shared.algorithm, ZPY_XSALSA20_POLY1305);
        CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
        CHECK_EQUAL(zpy_box_share(&shared, key, weak, options, 0), -ZPY_INVALID);
        CHECK_EQUAL(stats().cells, 1); /* What could not be made is gone. */
        CHECK_EQUAL(zpy_cell_wipe(key), ZPY_OK);
        CHECK_EQUAL(zpy_box_share(&shared, key, public_keys[1 - which], options, 0), -ZPY_WIPED);
        CHECK_EQUAL(stats().cells, 0);
    }
}

static void
test_sources(uint32_t options)
{
    uint8_t secret[32];
    uint8_t wanted[32];
    uint8_t out[32];
    CHECK_EQUAL(crypto_box_seed_keypair(wanted, secret, secrets[0]), 0);
    uint64_t const seeded = made(zpy_box_create(ZPY_BOX_SEED, secrets[0], options, 0, out));
    CHECK_EQUAL(memcmp(out, wanted, sizeof out), 0);
    uint8_t both[64];
    memcpy(both, secret, 32);
    memcpy(both + 32, wanted, 32);
    CHECK_EQUAL(zpy_cell_verify(seeded, both, sizeof both), 1);

    uint8_t other[32];
    uint64_t const random = made(zpy_box_create(ZPY_BOX_SECRET, NULL, options | ZPY_RANDOM, 0, other));
    CHECK(memcmp(out, other, sizeof out) != 0);
    CHECK_EQUAL(zpy_cell_read(random, 0, both, sizeof both), ZPY_OK);
    CHECK_EQUAL(crypto_scalarmult_base(wanted, both), 0);
    CHECK_EQUAL(memcmp(other, wanted, sizeof wanted), 0);
    CHECK_EQUAL(memcmp(both + 32, wanted, sizeof wanted), 0);
    CHECK_EQUAL(zpy_cell_wipe(seeded), ZPY_OK);
    CHECK_EQUAL(zpy_cell_wipe(random), ZPY_OK);
}

static void
test_from_signing(uint32_t options)
{
    uint8_t signing_public[32];
    uint8_t from_public[32];
    uint8_t out[32];
    uint64_t const signing = made(zpy_sign_create(secrets[0], options, 0));
    uint64_t const key = made(zpy_box_from_signing(signing, options, 0, out));
    CHECK_EQUAL(zpy_sign_public(signing, signing_public), ZPY_OK);
    CHECK_EQUAL(zpy_box_public_from_signing(signing_public, from_public), ZPY_OK);
    CHECK_EQUAL(memcmp(out, from_public, sizeof out), 0);
    CHECK_EQUAL(zpy_box_public_from_signing(weak, from_public), ZPY_INVALID);
    CHECK_EQUAL(zpy_cell_wipe(key), ZPY_OK);
    CHECK_EQUAL(zpy_cell_wipe(signing), ZPY_OK);
    CHECK_EQUAL(zpy_box_from_signing(signing, options, 0, out), -ZPY_WIPED);
    CHECK_EQUAL(stats().cells, 0);
}

static void
test_sealed(uint32_t options)
{
    uint8_t sealed[SEALED_BYTES];
    uint8_t out[sizeof message];
    uint64_t const key = key_of(0, options);
    CHECK_EQUAL(zpy_box_seal(public_keys[0], message, sizeof message, sealed), ZPY_OK);
    CHECK_EQUAL(zpy_box_open(key, sealed, sizeof sealed, out), ZPY_OK);
    CHECK_EQUAL(memcmp(out, message, sizeof out), 0);
    CHECK_EQUAL(zpy_box_open(key, sealed, 47, out), ZPY_RANGE);
    sealed[sizeof sealed - 1] ^= 1;
    CHECK_EQUAL(zpy_box_open(key, sealed, sizeof sealed, out), ZPY_FORGED);
    CHECK(sodium_is_zero(out, sizeof out));
    CHECK_EQUAL(zpy_cell_wipe(key), ZPY_OK);
    CHECK_EQUAL(zpy_box_open(key, sealed, sizeof sealed, out), ZPY_WIPED);
    memset(sealed, 1, sizeof sealed);
    CHECK_EQUAL(zpy_box_seal(weak, message, sizeof message, sealed), ZPY_INVALID);
    CHECK(sodium_is_zero(sealed, sizeof sealed));
}

/* Nothing that was made with half a key is given out. */
static void
test_ends_meanwhile(uint32_t options)
{
    struct zpy_key shared = { .cell = 0 };
    uint8_t out[sizeof message];
    uint8_t sealed[SEALED_BYTES];
    to_wipe = key_of(0, options);
    CHECK_EQUAL(zpy_box_share(&shared, to_wipe, public_keys[1], options, 0), -ZPY_WIPED);
    CHECK_EQUAL(shared.cell, 0);
    CHECK_EQUAL(zpy_box_seal(public_keys[0], message, sizeof message, sealed), ZPY_OK);
    to_wipe = key_of(0, options);
    memset(out, 1, sizeof out);
    CHECK_EQUAL(zpy_box_open(to_wipe, sealed, sizeof sealed, out), ZPY_WIPED);
    CHECK(sodium_is_zero(out, sizeof out));
    to_wipe = made(zpy_sign_create(secrets[0], options, 0));
    CHECK_EQUAL(zpy_box_from_signing(to_wipe, options, 0, sealed), -ZPY_WIPED);
    CHECK_EQUAL(to_wipe, 0); /* Each call came to its middle. */
    CHECK_EQUAL(stats().cells, 0);
}

static void
test_other_cells(void)
{
    struct zpy_key shared;
    uint8_t out[SEALED_BYTES];
    uint64_t const cell = cell_of("not a key");
    CHECK_EQUAL(zpy_box_share(&shared, cell, public_keys[0], 0, 0), -ZPY_INVALID);
    CHECK_EQUAL(zpy_box_from_signing(cell, 0, 0, out), -ZPY_INVALID);
    CHECK_EQUAL(zpy_box_open(cell, out, sizeof out, out), ZPY_INVALID);
    CHECK_EQUAL(stats().cells, 1);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
}

/* ---- what is left on the stack ---- */

/* Not as deep as libsodium goes. */
#define LOOK_TO ((size_t) 2048)

/* libsodium alone leaves something there; the core does not. */
static void
test_stack(void)
{
    uint8_t secret[64];
    uint8_t sealed[SEALED_BYTES];
    uint8_t out[64];
    struct zpy_key shared;
    CHECK_EQUAL(crypto_box_seed_keypair(out, secret, secrets[0]), 0);
    CHECK(left_on_stack(LOOK_TO) > 100);
    uint64_t const seeded = made(zpy_box_create(ZPY_BOX_SEED, secrets[0], 0, 0, out));
    CHECK_EQUAL(left_on_stack(LOOK_TO), 0);
    CHECK_EQUAL(crypto_box_beforenm(out, public_keys[1], secrets[0]), 0);
    CHECK(left_on_stack(LOOK_TO) > 100);
    int64_t const cell = zpy_box_share(&shared, seeded, public_keys[1], 0, 0);
    CHECK_EQUAL(left_on_stack(LOOK_TO), 0);
    CHECK_EQUAL(crypto_box_seal(sealed, message, sizeof message, public_keys[0]), 0);
    CHECK(left_on_stack(LOOK_TO) > 100);
    int status = zpy_box_seal(public_keys[0], message, sizeof message, sealed);
    CHECK_EQUAL(left_on_stack(LOOK_TO), 0);
    CHECK_EQUAL(status, ZPY_OK);
    uint64_t const key = key_of(0, 0);
    CHECK_EQUAL(crypto_box_seal_open(out, sealed, sizeof sealed, public_keys[0], secrets[0]), 0);
    CHECK(left_on_stack(LOOK_TO) > 100);
    status = zpy_box_open(key, sealed, sizeof sealed, out);
    CHECK_EQUAL(left_on_stack(LOOK_TO), 0);
    CHECK_EQUAL(status, ZPY_OK);
    uint64_t const signing = made(zpy_sign_create(secrets[0], 0, 0));
    CHECK_EQUAL(crypto_box_seed_keypair(out, secret, secrets[0]), 0); /* The same steps. */
    CHECK(left_on_stack(LOOK_TO) > 100);
    int64_t const converted = zpy_box_from_signing(signing, 0, 0, out);
    CHECK_EQUAL(left_on_stack(LOOK_TO), 0);
    uint64_t const cells[] = { seeded, made(cell), key, signing, made(converted) };
    for (size_t at = 0; at < sizeof cells / sizeof cells[0]; at++) {
        CHECK_EQUAL(zpy_cell_wipe(cells[at]), ZPY_OK);
    }
}

int
main(int argc, char **argv)
{
    CHECK_EQUAL(zpy_init(argc < 2 || strcmp(argv[1], "mlock") != 0, 1 << 20), ZPY_OK);
    uint32_t const tiers[] = { 0, ZPY_ISOLATED, ZPY_SEALED };
    for (size_t at = 0; at < sizeof tiers / sizeof tiers[0]; at++) {
        test_shared(tiers[at]);
        test_sources(tiers[at]);
        test_from_signing(tiers[at]);
        test_sealed(tiers[at]);
        test_ends_meanwhile(tiers[at]);
    }
    test_other_cells();
    test_stack();
    CHECK_EQUAL(stats().cells, 0);
    CHECK_EQUAL(zpy_purge(), 0);
    zpy_reaper_stop();
    puts("ok");
    return 0;
}
