/* test_derive.c: what the core promises of keys made from keys and passwords, and of keys encrypted under keys. */
#include "cells.h"

#define KEY_BYTES 32
#define SEALED_BYTES (KEY_BYTES + 16)

static uint8_t const salt[32] = { 1, 2, 3 };
static uint8_t const info[4] = { 'i', 'n', 'f', 'o' };

static uint64_t
random_key(uint32_t options)
{
    return made(zpy_cell_create(NULL, KEY_BYTES, options | ZPY_RANDOM, 0, 0));
}

static uint64_t
empty(size_t length, uint32_t options)
{
    return made(zpy_cell_create(NULL, length, options, 0, 0));
}

static bool
is_zero(uint64_t cell)
{
    size_t length;
    uint8_t *const bytes = pinned(cell, &length);
    bool const answer = sodium_is_zero(bytes, length) == 1;
    CHECK_EQUAL(zpy_cell_unpin(cell), ZPY_OK);
    return answer;
}

/* RFC 5869, appendix A.1. */
static void
test_hkdf(uint32_t options)
{
    static uint8_t const ikm[22] = { 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11, 11 };
    static uint8_t const rfc_salt[13] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 };
    static uint8_t const rfc_info[10] = { 0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9 };
    static uint8_t const wanted[42] = {
        0x3c, 0xb2, 0x5f, 0x25, 0xfa, 0xac, 0xd5, 0x7a, 0x90, 0x43, 0x4f, 0x64, 0xd0, 0x36,
        0x2f, 0x2a, 0x2d, 0x2d, 0x0a, 0x90, 0xcf, 0x1a, 0x5a, 0x4c, 0x5d, 0xb0, 0x2d, 0x56,
        0xec, 0xc4, 0xc5, 0xbf, 0x34, 0x00, 0x72, 0x08, 0xd5, 0xb8, 0x87, 0x18, 0x58, 0x65,
    };
    uint64_t const key = made(zpy_cell_create(ikm, sizeof ikm, options, 0, 0));
    uint64_t const target = empty(sizeof wanted, options);
    CHECK_EQUAL(zpy_derive_hkdf(key, sizeof ikm, rfc_salt, sizeof rfc_salt, rfc_info, sizeof rfc_info, target, sizeof wanted),
                ZPY_OK);
    CHECK_EQUAL(zpy_cell_verify(target, wanted, sizeof wanted), 1);
    CHECK_EQUAL(stats().cells, 2); /* The scratch is gone. */
    CHECK_EQUAL(zpy_derive_hkdf(key, sizeof ikm, salt, 0, info, 0, target, sizeof wanted + 1), ZPY_RANGE);
    CHECK_EQUAL(zpy_cell_wipe(key), ZPY_OK);
    CHECK_EQUAL(zpy_derive_hkdf(key, sizeof ikm, salt, 0, info, 0, target, sizeof wanted), ZPY_WIPED);
    CHECK(is_zero(target)); /* Not what an HMAC of zeros is. */
    CHECK_EQUAL(zpy_cell_wipe(target), ZPY_OK);
    CHECK_EQUAL(zpy_derive_hkdf(key, sizeof ikm, salt, 0, info, 0, target, sizeof wanted), ZPY_WIPED);
}

static void
test_key_id(uint32_t options)
{
    uint8_t names[2][32];
    uint64_t const key = random_key(options);
    CHECK_EQUAL(zpy_derive_key_id(key, KEY_BYTES, info, sizeof info, names[0]), ZPY_OK);
    CHECK_EQUAL(zpy_derive_key_id(key, KEY_BYTES - 1, info, sizeof info, names[1]), ZPY_OK);
    CHECK(memcmp(names[0], names[1], sizeof names[0]) != 0);
    CHECK_EQUAL(zpy_derive_key_id(key, KEY_BYTES + 1, info, sizeof info, names[1]), ZPY_RANGE);
    CHECK(sodium_is_zero(names[1], sizeof names[1]));
    CHECK_EQUAL(zpy_cell_wipe(key), ZPY_OK);
    CHECK_EQUAL(zpy_derive_key_id(key, KEY_BYTES, info, sizeof info, names[0]), ZPY_WIPED);
    CHECK(sodium_is_zero(names[0], sizeof names[0]));
}

static void
test_password(uint32_t options)
{
    static uint8_t const password[8] = { 'p', 'a', 's', 's', 'w', 'o', 'r', 'd' };
    uint8_t wanted[KEY_BYTES];
    uint64_t const target = empty(KEY_BYTES, options);
    CHECK_EQUAL(crypto_pwhash_argon2id(wanted, sizeof wanted, (char const *) password, sizeof password, salt, 1, 8192,
                                       crypto_pwhash_argon2id_ALG_ARGON2ID13),
                0);
    CHECK_EQUAL(zpy_derive_password(password, sizeof password, salt, 1, 8192, target), ZPY_OK);
    CHECK_EQUAL(zpy_cell_verify(target, wanted, sizeof wanted), 1);
    CHECK_EQUAL(zpy_derive_password(password, sizeof password, salt, 0, 8192, target), ZPY_INVALID);
    CHECK(is_zero(target));
    CHECK_EQUAL(zpy_cell_wipe(target), ZPY_OK);
    CHECK_EQUAL(zpy_derive_password(password, sizeof password, salt, 1, 8192, target), ZPY_WIPED);
}

/* Round trip, every flipped bit refused, destroyed keys refused, nothing left in the output. */
static void
test_wrap(uint32_t options)
{
    uint8_t commitment[32];
    uint8_t sealed[SEALED_BYTES];
    uint64_t const outer = random_key(options);
    uint64_t const inner = random_key(options);
    uint64_t const target = empty(KEY_BYTES, options);
    uint64_t const shorter = empty(KEY_BYTES - 1, options);
    struct zpy_wrap wrap = { .key = outer, .key_bytes = KEY_BYTES, .salt = salt, .info = info, .info_bytes = sizeof info };
    CHECK_EQUAL(zpy_wrap_seal(&wrap, inner, KEY_BYTES, commitment, sealed), ZPY_OK);
    CHECK_EQUAL(zpy_wrap_open(&wrap, commitment, sealed, sizeof sealed, target), ZPY_OK);
    CHECK_EQUAL(zpy_cell_compare(inner, target), 1);
    CHECK_EQUAL(zpy_wrap_open(&wrap, commitment, sealed, sizeof sealed, shorter), ZPY_RANGE);
    CHECK_EQUAL(zpy_wrap_open(&wrap, commitment, sealed, 15, target), ZPY_RANGE);
    for (size_t bit = 0; bit < 8 * sizeof sealed; bit++) {
        sealed[bit / 8] ^= (uint8_t) (1 << bit % 8);
        CHECK_EQUAL(zpy_wrap_open(&wrap, commitment, sealed, sizeof sealed, target), ZPY_FORGED);
        CHECK(is_zero(target));
        sealed[bit / 8] ^= (uint8_t) (1 << bit % 8);
    }
    for (size_t bit = 0; bit < 8 * sizeof commitment; bit++) {
        commitment[bit / 8] ^= (uint8_t) (1 << bit % 8);
        CHECK_EQUAL(zpy_wrap_open(&wrap, commitment, sealed, sizeof sealed, target), ZPY_OTHER_KEY);
        commitment[bit / 8] ^= (uint8_t) (1 << bit % 8);
    }
    wrap.key = inner;
    CHECK_EQUAL(zpy_wrap_open(&wrap, commitment, sealed, sizeof sealed, target), ZPY_OTHER_KEY);
    wrap.key = outer;
    wrap.info_bytes--;
    CHECK_EQUAL(zpy_wrap_open(&wrap, commitment, sealed, sizeof sealed, target), ZPY_OTHER_KEY);
    CHECK_EQUAL(stats().cells, 4);
    CHECK_EQUAL(zpy_cell_wipe(inner), ZPY_OK);
    CHECK_EQUAL(zpy_wrap_seal(&wrap, inner, KEY_BYTES, commitment, sealed), ZPY_WIPED);
    CHECK(sodium_is_zero(sealed, sizeof sealed) && sodium_is_zero(commitment, sizeof commitment));
    CHECK_EQUAL(zpy_cell_wipe(outer), ZPY_OK);
    CHECK_EQUAL(zpy_wrap_open(&wrap, commitment, sealed, sizeof sealed, target), ZPY_WIPED);
    CHECK_EQUAL(zpy_cell_wipe(target), ZPY_OK);
    CHECK_EQUAL(zpy_wrap_open(&wrap, commitment, sealed, sizeof sealed, target), ZPY_WIPED);
    CHECK_EQUAL(zpy_cell_wipe(shorter), ZPY_OK);
}

/* Where nothing more can be locked, the states lie in slots of the reserve. */
static void
test_spent_budget(void)
{
    uint8_t names[2][32];
    uint64_t filled[4096];
    size_t count = 0;
    uint64_t const key = random_key(0);
    CHECK_EQUAL(zpy_derive_key_id(key, KEY_BYTES, info, sizeof info, names[0]), ZPY_OK);
    for (int64_t cell = 1; cell > 0 && count < sizeof filled / sizeof filled[0];) {
        cell = zpy_cell_create(NULL, sizeof(struct zpy_scratch), 0, 0, 0);
        if (cell > 0) {
            filled[count++] = (uint64_t) cell;
        }
    }
    CHECK(count < sizeof filled / sizeof filled[0]);
    CHECK_EQUAL(zpy_derive_key_id(key, KEY_BYTES, info, sizeof info, names[1]), ZPY_OK);
    CHECK(memcmp(names[0], names[1], sizeof names[0]) == 0);
    CHECK_EQUAL(zpy_purge(), count + 1);
}

int
main(int argc, char **argv)
{
    CHECK_EQUAL(zpy_init(argc < 2 || strcmp(argv[1], "mlock") != 0, 1 << 20), ZPY_OK);
    uint32_t const tiers[] = { 0, ZPY_ISOLATED, ZPY_SEALED };
    for (size_t at = 0; at < sizeof tiers / sizeof tiers[0]; at++) {
        test_hkdf(tiers[at]);
        test_key_id(tiers[at]);
        test_password(tiers[at]);
        test_wrap(tiers[at]);
    }
    test_spent_budget();
    CHECK_EQUAL(stats().cells, 0);
    zpy_reaper_stop();
    puts("ok");
    return 0;
}
