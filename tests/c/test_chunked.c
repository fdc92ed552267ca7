/* test_chunked.c: what the core promises of chunked encryption. Buffers are as long as they must be, for AddressSanitizer. */
#include "cells.h"
#include "left.h"

#include <stdlib.h>

#define CHUNK ((size_t) 16384)
#define TAG ((size_t) 16)

static uint8_t const context[] = { 'c', 'o', 'n', 't', 'e', 'x', 't' };
static uint8_t const salt[24];

/* Of the key 0, 1, 2... with a salt of zeros, by cryptography 50.0.2's HKDFExpand with SHA-512. */
static uint8_t const commitment_128[32] = {
    0xa8, 0x32, 0x22, 0x8d, 0x93, 0xd9, 0x3e, 0x64, 0x58, 0x2c, 0xf5, 0x64, 0x1e, 0xf9, 0x3f, 0x4a,
    0x82, 0x87, 0xa7, 0xb9, 0x46, 0x04, 0x85, 0xa4, 0xb8, 0xdd, 0x7a, 0x23, 0xcf, 0x03, 0x1c, 0xc3,
};
static uint8_t const commitment_256[32] = {
    0x26, 0x65, 0x42, 0x24, 0xd7, 0x5f, 0x8d, 0x2c, 0x78, 0xc6, 0x5c, 0x21, 0x41, 0x41, 0x90, 0x8d,
    0x8f, 0x2d, 0xe8, 0x7c, 0x91, 0xeb, 0x18, 0xe8, 0x1d, 0xd7, 0x8b, 0x02, 0x39, 0x00, 0x07, 0xcf,
};

static uint64_t
key_of(size_t length)
{
    uint8_t raw[32];
    for (size_t at = 0; at < sizeof raw; at++) {
        raw[at] = (uint8_t) at;
    }
    return made(zpy_cell_create(raw, length, 0, 0, 0));
}

static uint64_t
stream_of(uint64_t key, size_t key_bytes, uint32_t options)
{
    uint8_t commitment[32];
    uint64_t const stream =
        made(zpy_chunked_create(key, key_bytes, salt, context, sizeof context, options, commitment));
    CHECK_EQUAL(memcmp(commitment, key_bytes == 32 ? commitment_256 : commitment_128, sizeof commitment), 0);
    return stream;
}

static uint8_t *
room(size_t length)
{
    uint8_t *const bytes = malloc(length > 0 ? length : 1);
    CHECK(bytes != NULL);
    memset(bytes, 0x5a, length > 0 ? length : 1);
    return bytes;
}

static bool
is_zero(uint8_t const *bytes, size_t length)
{
    return sodium_is_zero(bytes, length) == 1;
}

static void
test_round_trip(uint64_t stream, size_t length)
{
    size_t const sealed_bytes = length + (length / CHUNK + 1) * TAG;
    uint8_t *const plain = room(length);
    uint8_t *const sealed = room(sealed_bytes);
    uint8_t *const out = room(length);
    uint64_t good = 0;
    CHECK_EQUAL(zpy_chunked_encrypt(stream, 7, plain, length, 1, sealed), ZPY_OK);
    CHECK_EQUAL(zpy_chunked_decrypt(stream, 7, sealed, sealed_bytes, out, &good), ZPY_OK);
    CHECK_EQUAL(good, length / CHUNK + 1);
    CHECK_EQUAL(memcmp(plain, out, length), 0);
    CHECK_EQUAL(zpy_chunked_decrypt(stream, 8, sealed, sealed_bytes, out, &good), ZPY_FORGED);
    CHECK_EQUAL(good, 0);
    sealed[sealed_bytes - 1] ^= 1;
    memset(out, 0x5a, length);
    CHECK_EQUAL(zpy_chunked_decrypt(stream, 7, sealed, sealed_bytes, out, &good), ZPY_FORGED);
    CHECK_EQUAL(good, length / CHUNK);
    CHECK(is_zero(out, length));
    free(plain);
    free(sealed);
    free(out);
}

static void
test_bounds(uint64_t stream)
{
    uint8_t *const plain = room(CHUNK);
    uint8_t *const sealed = room(CHUNK + TAG + TAG);
    uint64_t good;
    uint64_t const most = (uint64_t) 1 << 38;
    CHECK_EQUAL(zpy_chunked_encrypt(stream, 0, plain, CHUNK - 1, 0, sealed), ZPY_RANGE);
    CHECK_EQUAL(zpy_chunked_encrypt(stream, most, plain, 0, 1, sealed), ZPY_RANGE);
    CHECK_EQUAL(zpy_chunked_encrypt(stream, most - 1, plain, CHUNK, 1, sealed), ZPY_RANGE);
    CHECK_EQUAL(zpy_chunked_encrypt(stream, most - 1, plain, CHUNK, 0, sealed), ZPY_OK);
    CHECK_EQUAL(zpy_chunked_encrypt(stream, UINT64_MAX, plain, 0, 1, sealed), ZPY_RANGE);
    CHECK_EQUAL(zpy_chunked_decrypt(stream, 0, sealed, TAG - 1, plain, &good), ZPY_RANGE);
    CHECK_EQUAL(zpy_chunked_decrypt(stream, 0, sealed, CHUNK + TAG + 1, plain, &good), ZPY_RANGE);
    CHECK_EQUAL(zpy_chunked_decrypt(stream, most, sealed, TAG, plain, &good), ZPY_RANGE);
    CHECK_EQUAL(zpy_chunked_decrypt(stream, most - 1, sealed, CHUNK + TAG, plain, &good), ZPY_OK);
    free(plain);
    free(sealed);
}

static void
test_wrong_cells(void)
{
    uint8_t commitment[32];
    uint8_t out[16];
    uint64_t good;
    uint64_t const key = key_of(16);
    uint64_t const stream = stream_of(key, 16, 0);
    CHECK_EQUAL(zpy_chunked_encrypt(stream, 0, out, 0, 1, out), ZPY_UNSUPPORTED);
    CHECK_EQUAL(zpy_chunked_decrypt(stream, 0, out, sizeof out, out, &good), ZPY_UNSUPPORTED);
    CHECK_EQUAL(zpy_chunked_encrypt(key, 0, out, 0, 1, out), ZPY_INVALID);
    CHECK_EQUAL(zpy_chunked_create(key, 32, salt, context, sizeof context, 0, commitment), -ZPY_INVALID);
    CHECK_EQUAL(zpy_chunked_create(key, 24, salt, context, sizeof context, 0, commitment), -ZPY_INVALID);
    CHECK_EQUAL(zpy_cell_wipe(stream), ZPY_OK);
    CHECK_EQUAL(zpy_cell_wipe(key), ZPY_OK);
    memset(commitment, 1, sizeof commitment);
    CHECK_EQUAL(zpy_chunked_create(key, 16, salt, context, sizeof context, 0, commitment), -ZPY_WIPED);
    CHECK(is_zero(commitment, sizeof commitment));
    CHECK_EQUAL(zpy_chunked_encrypt(stream, 0, out, 0, 1, out), ZPY_WIPED);
    CHECK_EQUAL(stats().cells, 0);
}

/* ---- what is left on the stack ---- */

/* Not as deep as libsodium goes. */
#define LOOK_TO ((size_t) 1536)

/* libsodium alone leaves something there; the core does not. */
static void
test_stack(void)
{
    uint8_t commitment[32];
    uint64_t const key = key_of(32);
    crypto_auth_hmacsha512_state state;
    CHECK_EQUAL(crypto_auth_hmacsha512_init(&state, commitment_256, 32), 0);
    CHECK_EQUAL(crypto_auth_hmacsha512_update(&state, salt, sizeof salt), 0);
    CHECK(left_on_stack(LOOK_TO) > 30);
    int64_t const stream = zpy_chunked_create(key, 32, salt, context, sizeof context, 0, commitment);
    CHECK_EQUAL(left_on_stack(LOOK_TO), 0);
    CHECK_EQUAL(zpy_cell_wipe(made(stream)), ZPY_OK);
    CHECK_EQUAL(zpy_cell_wipe(key), ZPY_OK);
}

int
main(int argc, char **argv)
{
    CHECK_EQUAL(zpy_init(argc < 2 || strcmp(argv[1], "mlock") != 0, 1 << 20), ZPY_OK);
    uint32_t const tiers[] = { 0, ZPY_ISOLATED, ZPY_SEALED };
    size_t const lengths[] = { 0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 100 };
    for (size_t at = 0; zpy_has_aes() && at < sizeof tiers / sizeof tiers[0]; at++) {
        uint64_t const key = key_of(32);
        uint64_t const stream = stream_of(key, 32, tiers[at]);
        for (size_t index = 0; index < sizeof lengths / sizeof lengths[0]; index++) {
            test_round_trip(stream, lengths[index]);
        }
        test_bounds(stream);
        CHECK_EQUAL(zpy_cell_wipe(stream), ZPY_OK);
        CHECK_EQUAL(zpy_cell_wipe(key), ZPY_OK);
    }
    test_wrong_cells();
    test_stack();
    CHECK_EQUAL(stats().cells, 0);
    CHECK_EQUAL(zpy_purge(), 0);
    zpy_reaper_stop();
    puts("ok");
    return 0;
}
