/* test_pwhash.c: what the core promises of passwords and of hashes. */
#include "cells.h"

#include <pthread.h>

static uint8_t const password[8] = {'p', 'a', 's', 's', 'w', 'o', 'r', 'd'};
static uint8_t const salt[32] = {1, 2, 3};

static void
test_raw(void)
{
    uint8_t made[40];
    uint8_t wanted[40];
    for (int scheme = ZPY_ARGON2I; scheme <= ZPY_ARGON2ID; scheme++) {
        CHECK_EQUAL(crypto_pwhash(wanted, sizeof wanted, (char const *) password, sizeof password, salt, 3, 8192, scheme), 0);
        CHECK_EQUAL(zpy_pwhash_raw(scheme, password, sizeof password, salt, 3, 8192, made, sizeof made), ZPY_OK);
        CHECK(memcmp(made, wanted, sizeof made) == 0);
    }
    CHECK_EQUAL(zpy_pwhash_raw(ZPY_ARGON2I, password, sizeof password, salt, 2, 8192, made, sizeof made), ZPY_INVALID);
    CHECK(sodium_is_zero(made, sizeof made) == 1);
    CHECK_EQUAL(zpy_pwhash_raw(ZPY_SCRYPT, password, sizeof password, salt, 3, 8192, made, sizeof made), ZPY_INVALID);
    CHECK_EQUAL(zpy_pwhash_raw(ZPY_ARGON2ID, password, sizeof password, salt, 1, 8192, made, 15), ZPY_INVALID);
}

/* RFC 7914, section 12. */
static void
test_scrypt(void)
{
    static uint8_t const wanted[16] = {0xfd, 0xba, 0xbe, 0x1c, 0x9d, 0x34, 0x72, 0x00,
                                       0x78, 0x56, 0xe7, 0x19, 0x0d, 0x01, 0xe9, 0xfe};
    static uint8_t const nacl[4] = {'N', 'a', 'C', 'l'};
    uint8_t made[16];
    if (zpy_pwhash_prefix(ZPY_SCRYPT) == NULL) {
        CHECK_EQUAL(zpy_pwhash_scrypt(password, sizeof password, nacl, sizeof nacl, 1024, 8, 16, made, sizeof made),
                    ZPY_UNSUPPORTED);
        return;
    }
    CHECK_EQUAL(zpy_pwhash_scrypt(password, sizeof password, nacl, sizeof nacl, 1024, 8, 16, made, sizeof made), ZPY_OK);
    CHECK(memcmp(made, wanted, sizeof made) == 0);
    CHECK_EQUAL(zpy_pwhash_scrypt(password, sizeof password, nacl, sizeof nacl, 1000, 8, 16, made, sizeof made), ZPY_INVALID);
    CHECK(sodium_is_zero(made, sizeof made) == 1);
    CHECK_EQUAL(zpy_pwhash_scrypt(password, sizeof password, nacl, sizeof nacl, 1024, 8, 16, made, 0), ZPY_OK);
}

static void
test_str(int scheme, uint64_t opslimit, size_t memlimit)
{
    char text[ZPY_PWHASH_ROOM];
    char other[ZPY_PWHASH_ROOM + 1];
    char const *const prefix = zpy_pwhash_prefix(scheme);
    if (prefix == NULL) {
        CHECK_EQUAL(zpy_pwhash_str(scheme, password, sizeof password, opslimit, memlimit, text), ZPY_UNSUPPORTED);
        CHECK_EQUAL(zpy_pwhash_verify(scheme, "", password, sizeof password), ZPY_UNSUPPORTED);
        return;
    }
    CHECK_EQUAL(zpy_pwhash_str(scheme, password, sizeof password, opslimit, memlimit, text), ZPY_OK);
    CHECK(strncmp(text, prefix, strlen(prefix)) == 0);
    CHECK_EQUAL(zpy_pwhash_verify(scheme, text, password, sizeof password), ZPY_OK);
    CHECK_EQUAL(zpy_pwhash_verify(scheme, text, password, sizeof password - 1), ZPY_FORGED);
    CHECK_EQUAL(zpy_pwhash_verify(scheme, "$1$", password, sizeof password), ZPY_FORGED);
    CHECK_EQUAL(zpy_pwhash_verify(scheme, "", password, sizeof password), ZPY_FORGED);
    memset(other, 'x', ZPY_PWHASH_ROOM);
    other[ZPY_PWHASH_ROOM] = 0;
    CHECK_EQUAL(zpy_pwhash_verify(scheme, other, password, sizeof password), ZPY_RANGE);
}

static void
test_unknown_schemes(void)
{
    char text[ZPY_PWHASH_ROOM];
    for (int scheme = -1; scheme < 9; scheme++) {
        if (scheme != ZPY_ARGON2I && scheme != ZPY_ARGON2ID && scheme != ZPY_SCRYPT) {
            CHECK(zpy_pwhash_prefix(scheme) == NULL);
            CHECK_EQUAL(zpy_pwhash_str(scheme, password, sizeof password, 3, 8192, text), ZPY_UNSUPPORTED);
            CHECK_EQUAL(zpy_pwhash_verify(scheme, "$argon2id$", password, sizeof password), ZPY_UNSUPPORTED);
        }
    }
}

static void
test_hashes(void)
{
    uint8_t out[64];
    uint8_t wanted[64];
    uint8_t const key[16] = {7};
    for (size_t size = 0; size <= sizeof out; size++) {
        CHECK_EQUAL(zpy_hash_sha2(password, sizeof password, out, size), size == 32 || size == 64 ? ZPY_OK : ZPY_INVALID);
    }
    CHECK_EQUAL(crypto_hash_sha512(wanted, password, sizeof password), 0);
    CHECK_EQUAL(zpy_hash_sha2(password, sizeof password, out, 64), ZPY_OK);
    CHECK(memcmp(out, wanted, 64) == 0);
    CHECK_EQUAL(crypto_shorthash_siphash24(wanted, password, sizeof password, key), 0);
    CHECK_EQUAL(zpy_hash_siphash(key, password, sizeof password, out, 8), ZPY_OK);
    CHECK(memcmp(out, wanted, 8) == 0);
    CHECK(zpy_hash_siphash(key, password, sizeof password, out, 9) != ZPY_OK);
}

/* In steps as in one; a finished state does nothing more, one that is gone says so, and no size ends the process. */
static void
test_blake2b(uint32_t options)
{
    uint8_t out[64];
    uint8_t wanted[64];
    uint8_t const key[64] = {7};
    uint64_t const cell = made(zpy_cell_create(NULL, sizeof(crypto_generichash_blake2b_state), options, 0, 0));
    CHECK_EQUAL(zpy_hash_blake2b(salt, sizeof salt, key, sizeof key, salt, salt, wanted, sizeof wanted), ZPY_OK);
    CHECK_EQUAL(zpy_hash_blake2b_begin(cell, key, sizeof key, salt, salt, sizeof out), ZPY_OK);
    CHECK_EQUAL(zpy_hash_blake2b_update(cell, salt, 10), ZPY_OK);
    CHECK_EQUAL(zpy_hash_blake2b_update(cell, salt + 10, sizeof salt - 10), ZPY_OK);
    CHECK_EQUAL(zpy_hash_blake2b_finish(cell, out, sizeof out, true), ZPY_OK);
    CHECK(memcmp(out, wanted, sizeof out) == 0);
    CHECK_EQUAL(zpy_hash_blake2b_finish(cell, out, sizeof out, false), ZPY_OK);
    CHECK(memcmp(out, wanted, sizeof out) == 0);
    CHECK_EQUAL(zpy_hash_blake2b_finish(cell, out, sizeof out, false), ZPY_INVALID);
    CHECK(sodium_is_zero(out, sizeof out) == 1);
    CHECK_EQUAL(zpy_hash_blake2b_finish(cell, out, 0, true), ZPY_INVALID);
    CHECK_EQUAL(zpy_hash_blake2b_finish(cell, out, 65, true), ZPY_INVALID);
    CHECK_EQUAL(zpy_hash_blake2b_begin(cell, key, 65, salt, salt, 32), ZPY_INVALID);
    CHECK_EQUAL(zpy_hash_blake2b_begin(cell, key, 64, salt, salt, 65), ZPY_INVALID);
    CHECK_EQUAL(zpy_hash_blake2b(salt, sizeof salt, key, sizeof key, salt, salt, out, 0), ZPY_INVALID);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
    CHECK_EQUAL(zpy_hash_blake2b_begin(cell, key, sizeof key, salt, salt, 32), ZPY_WIPED);
    CHECK_EQUAL(zpy_hash_blake2b_update(cell, salt, 10), ZPY_WIPED);
    CHECK_EQUAL(zpy_hash_blake2b_finish(cell, out, 32, false), ZPY_WIPED);
    uint64_t const small = made(zpy_cell_create(NULL, 100, options, 0, 0));
    CHECK_EQUAL(zpy_hash_blake2b_update(small, salt, 10), ZPY_RANGE);
    CHECK_EQUAL(zpy_hash_blake2b_begin(small, key, sizeof key, salt, salt, 32), ZPY_RANGE);
    CHECK_EQUAL(zpy_cell_wipe(small), ZPY_OK);
}

/* ---- a state that is zeroed again and again while it is worked on ---- */

static uint8_t const block[1000] = {1};
static _Atomic bool is_done = false;

static void *
zero_it(void *cell)
{
    while (!atomic_load(&is_done)) {
        CHECK_EQUAL(zpy_cell_zero(*(uint64_t const *) cell), ZPY_OK);
    }
    return NULL;
}

static void
test_zeroed_meanwhile(void)
{
    pthread_t thread;
    uint64_t cell = made(zpy_cell_create(NULL, sizeof(crypto_generichash_blake2b_state), 0, 0, 0));
    CHECK_EQUAL(pthread_create(&thread, NULL, zero_it, &cell), 0);
    for (int turn = 0; turn < 20000; turn++) {
        CHECK_EQUAL(zpy_hash_blake2b_update(cell, block, sizeof block), ZPY_OK);
    }
    atomic_store(&is_done, true);
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK); /* No canary around it was hit. */
}

static void
test_constants(void)
{
    uint64_t value = 0;
    CHECK_EQUAL(zpy_constant_find("crypto_generichash_STATEBYTES", &value), ZPY_OK);
    CHECK_EQUAL(value, crypto_generichash_blake2b_statebytes());
    CHECK_EQUAL(zpy_constant_find("crypto_pwhash_argon2id_MEMLIMIT_MAX", &value), ZPY_OK);
    CHECK(value == crypto_pwhash_argon2id_memlimit_max());
    CHECK_EQUAL(zpy_constant_find("crypto_pwhash_argon2i_OPSLIMIT_SENSITIVE", &value), ZPY_OK);
    CHECK_EQUAL(value, crypto_pwhash_argon2i_opslimit_sensitive());
}

int
main(int argc, char **argv)
{
    CHECK_EQUAL(zpy_init(argc < 2 || strcmp(argv[1], "mlock") != 0, 1 << 20), ZPY_OK);
    test_raw();
    test_scrypt();
    test_str(ZPY_ARGON2I, 3, 8192);
    test_str(ZPY_ARGON2ID, 1, 8192);
    test_str(ZPY_SCRYPT, 32768, 1 << 20);
    test_unknown_schemes();
    test_hashes();
    test_blake2b(0);
    test_blake2b(ZPY_ISOLATED);
    test_blake2b(ZPY_SEALED);
    test_zeroed_meanwhile();
    test_constants();
    CHECK_EQUAL(stats().cells, 0);
    zpy_reaper_stop();
    puts("ok");
    return 0;
}
