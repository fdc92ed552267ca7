/* test_sign.c: what the core promises of signing keys. */
#include "cells.h"
#include "left.h"

/* RFC 8032, section 7.1, test 3. */
static uint8_t const seed[32] = {
    0xc5, 0xaa, 0x8d, 0xf4, 0x3f, 0x9f, 0x83, 0x7b, 0xed, 0xb7, 0x44, 0x2f, 0x31, 0xdc, 0xb7, 0xb1,
    0x66, 0xd3, 0x85, 0x35, 0x07, 0x6f, 0x09, 0x4b, 0x85, 0xce, 0x3a, 0x2e, 0x0b, 0x44, 0x58, 0xf7,
};
static uint8_t const public_key[32] = {
    0xfc, 0x51, 0xcd, 0x8e, 0x62, 0x18, 0xa1, 0xa3, 0x8d, 0xa4, 0x7e, 0xd0, 0x02, 0x30, 0xf0, 0x58,
    0x08, 0x16, 0xed, 0x13, 0xba, 0x33, 0x03, 0xac, 0x5d, 0xeb, 0x91, 0x15, 0x48, 0x90, 0x80, 0x25,
};
static uint8_t const message[2] = { 0xaf, 0x82 };
static uint8_t const signature[64] = {
    0x62, 0x91, 0xd6, 0x57, 0xde, 0xec, 0x24, 0x02, 0x48, 0x27, 0xe6, 0x9c, 0x3a, 0xbe, 0x01, 0xa3,
    0x0c, 0xe5, 0x48, 0xa2, 0x84, 0x74, 0x3a, 0x44, 0x5e, 0x36, 0x80, 0xd7, 0xdb, 0x5a, 0xc3, 0xac,
    0x18, 0xff, 0x9b, 0x53, 0x8d, 0x16, 0xf2, 0x90, 0xae, 0x67, 0xf7, 0x60, 0x98, 0x4d, 0xc6, 0x59,
    0x4a, 0x7c, 0x15, 0xe9, 0x71, 0x6e, 0xd2, 0x8d, 0xc0, 0x27, 0xbe, 0xce, 0xea, 0x1e, 0xc4, 0x0a,
};

static void
test_vector(uint32_t options)
{
    uint64_t const key = made(zpy_sign_create(seed, options, 0));
    uint8_t out[64];
    CHECK_EQUAL(zpy_sign_public(key, out), ZPY_OK);
    CHECK_EQUAL(memcmp(out, public_key, sizeof public_key), 0);
    CHECK_EQUAL(zpy_sign_detached(key, message, sizeof message, out), ZPY_OK);
    CHECK_EQUAL(memcmp(out, signature, sizeof signature), 0);
    CHECK_EQUAL(zpy_sign_verify(public_key, message, sizeof message, out), ZPY_OK);
    out[0] ^= 1;
    CHECK_EQUAL(zpy_sign_verify(public_key, message, sizeof message, out), ZPY_FORGED);
    uint8_t whole[sizeof signature + sizeof message];
    CHECK_EQUAL(zpy_sign_message(key, message, sizeof message, whole), ZPY_OK);
    CHECK_EQUAL(memcmp(whole, signature, sizeof signature), 0);
    CHECK_EQUAL(memcmp(whole + sizeof signature, message, sizeof message), 0);
    CHECK_EQUAL(zpy_sign_verify_message(public_key, whole, sizeof whole), ZPY_OK);
    CHECK_EQUAL(zpy_sign_verify_message(public_key, whole, sizeof whole - 1), ZPY_FORGED);
    CHECK_EQUAL(zpy_sign_verify_message(public_key, whole, sizeof signature - 1), ZPY_FORGED);
    CHECK_EQUAL(zpy_cell_wipe(key), ZPY_OK);
    CHECK_EQUAL(zpy_sign_message(key, message, sizeof message, whole), ZPY_WIPED);
    CHECK(sodium_is_zero(whole, sizeof whole));
    CHECK_EQUAL(zpy_sign_public(key, out), ZPY_WIPED);
    CHECK_EQUAL(zpy_sign_detached(key, message, sizeof message, out), ZPY_WIPED);
}

static void
test_random(uint32_t options)
{
    uint8_t keys[2][32];
    for (int turn = 0; turn < 2; turn++) {
        uint64_t const key = made(zpy_sign_create(NULL, options | ZPY_RANDOM, 0));
        uint8_t out[64];
        CHECK_EQUAL(stats().cells, 1); /* The seed's own cell is gone. */
        CHECK_EQUAL(zpy_sign_public(key, keys[turn]), ZPY_OK);
        CHECK_EQUAL(zpy_sign_detached(key, message, sizeof message, out), ZPY_OK);
        CHECK_EQUAL(zpy_sign_verify(keys[turn], message, sizeof message, out), ZPY_OK);
        CHECK_EQUAL(zpy_cell_wipe(key), ZPY_OK);
    }
    CHECK(memcmp(keys[0], keys[1], sizeof keys[0]) != 0);
}

static void
test_other_cells(void)
{
    uint8_t out[64];
    uint64_t const cell = cell_of("not a key");
    CHECK_EQUAL(zpy_sign_public(cell, out), ZPY_INVALID);
    CHECK_EQUAL(zpy_sign_detached(cell, message, sizeof message, out), ZPY_INVALID);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
}

static void
test_deadline(void)
{
    uint8_t out[64];
    uint64_t const key = made(zpy_sign_create(seed, 0, 500000000));
    int status = ZPY_OK;
    for (int tries = 0; tries < 10000 && status == ZPY_OK; tries++) {
        CHECK_EQUAL(usleep(1000), 0);
        status = zpy_sign_detached(key, message, sizeof message, out);
    }
    CHECK_EQUAL(status, ZPY_EXPIRED);
    CHECK_EQUAL(zpy_cell_wipe(key), ZPY_OK);
}

/* ---- what is left on the stack ---- */

/* Not as deep as libsodium goes. */
#define LOOK_TO ((size_t) 2048)

/* libsodium alone leaves something there; the core does not. */
static void
test_stack(void)
{
    uint8_t secret[64];
    uint8_t out[64];
    CHECK_EQUAL(crypto_sign_seed_keypair(out, secret, seed), 0);
    CHECK(left_on_stack(LOOK_TO) > 100);
    int64_t const key = zpy_sign_create(seed, 0, 0);
    CHECK_EQUAL(left_on_stack(LOOK_TO), 0);
    CHECK_EQUAL(crypto_sign_detached(out, NULL, message, sizeof message, secret), 0);
    CHECK(left_on_stack(LOOK_TO) > 100);
    int const status = zpy_sign_detached(made(key), message, sizeof message, out);
    CHECK_EQUAL(left_on_stack(LOOK_TO), 0);
    CHECK_EQUAL(status, ZPY_OK);
    uint8_t whole[sizeof signature + sizeof message];
    int const whole_status = zpy_sign_message(made(key), message, sizeof message, whole);
    CHECK_EQUAL(left_on_stack(LOOK_TO), 0);
    CHECK_EQUAL(whole_status, ZPY_OK);
    CHECK_EQUAL(zpy_cell_wipe((uint64_t) key), ZPY_OK);
}

int
main(int argc, char **argv)
{
    CHECK_EQUAL(zpy_init(argc < 2 || strcmp(argv[1], "mlock") != 0, 1 << 20), ZPY_OK);
    uint32_t const tiers[] = { 0, ZPY_ISOLATED, ZPY_SEALED };
    for (size_t at = 0; at < sizeof tiers / sizeof tiers[0]; at++) {
        test_vector(tiers[at]);
        test_random(tiers[at]);
    }
    test_other_cells();
    test_deadline();
    test_stack();
    CHECK_EQUAL(stats().cells, 0);
    CHECK_EQUAL(zpy_purge(), 0);
    zpy_reaper_stop();
    puts("ok");
    return 0;
}
