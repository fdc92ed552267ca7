/* zpy_chunked.c: C2SP chunked encryption (Cobblestone), with all that is derived for one file in one slot.
 *
 * As with zpy_aead.c, a slot wiped under a running call makes that call discard what it made.
 *
 * Source: c2sp.org/chunked-encryption; HKDF-Expand is RFC 5869, section 2.3. */
#include "zpy_internal.h"

#include <string.h>

#define NONCE_BYTES ((size_t) crypto_aead_aes256gcm_NPUBBYTES)
#define TAG_BYTES ((size_t) crypto_aead_aes256gcm_ABYTES)
#define COMMITMENT_BYTES ((size_t) 32)
#define SALT_BYTES ((size_t) 24)
#define CHUNK_BYTES ((size_t) 16384)
#define MOST_CHUNKS ((uint64_t) 1 << 38)
#define HASH_BYTES ((size_t) crypto_auth_hmacsha512_BYTES)

/* What one file is encrypted with. The key comes first, for who has to lend it to another implementation. */
struct stream {
    uint8_t derived[2 * crypto_auth_hmacsha512_BYTES]; /* Key, base nonce, commitment. */
    crypto_aead_aes256gcm_state schedule;
    crypto_auth_hmacsha512_state hash;
    size_t key_bytes;
    bool has_schedule;
};
_Static_assert(offsetof(struct stream, schedule) % ZPY_ALIGN == 0, "the schedule is aligned as libsodium wants it");
_Static_assert(sizeof(struct stream) <= ZPY_SLOT_MAX, "it has a slot");
_Static_assert(crypto_aead_aes256gcm_KEYBYTES + NONCE_BYTES + COMMITMENT_BYTES <= 2 * HASH_BYTES, "two blocks are enough");

/* HMAC-SHA-512 of libsodium 1.0.18 and 1.0.20 goes 1.5 KiB deep on x86-64, and the dynamic linker 4.4 KiB when it binds a
 * function on the way. */
#define HASH_STACK_BYTES ((size_t) 8192)

static char const *
aead_name(size_t key_bytes)
{
    return key_bytes == 32 ? "AEAD_AES_256_GCM" : "AEAD_AES_128_GCM";
}

struct input {
    uint8_t const *key;
    uint8_t const *salt;
    uint8_t const *context;
    size_t context_bytes;
};

static void
expand(struct stream *stream, struct input const *input)
{
    static char const label[] = "c2sp.org/chunked-encryption@v1+";
    char const *const aead = aead_name(stream->key_bytes);
    size_t const blocks = (stream->key_bytes + NONCE_BYTES + COMMITMENT_BYTES + HASH_BYTES - 1) / HASH_BYTES;
    for (size_t block = 0; block < blocks; block++) {
        uint8_t const number = (uint8_t) (block + 1);
        /* These always answer 0. */
        (void) crypto_auth_hmacsha512_init(&stream->hash, input->key, stream->key_bytes);
        if (block > 0) {
            (void) crypto_auth_hmacsha512_update(&stream->hash, stream->derived + (block - 1) * HASH_BYTES, HASH_BYTES);
        }
        (void) crypto_auth_hmacsha512_update(&stream->hash, (uint8_t const *) label, sizeof label - 1);
        (void) crypto_auth_hmacsha512_update(&stream->hash, (uint8_t const *) aead, strlen(aead) + 1);
        (void) crypto_auth_hmacsha512_update(&stream->hash, input->salt, SALT_BYTES);
        (void) crypto_auth_hmacsha512_update(&stream->hash, input->context, input->context_bytes);
        (void) crypto_auth_hmacsha512_update(&stream->hash, &number, sizeof number);
        (void) crypto_auth_hmacsha512_final(&stream->hash, stream->derived + block * HASH_BYTES);
    }
    sodium_memzero(&stream->hash, sizeof stream->hash);
    sodium_stackzero(HASH_STACK_BYTES);
}

static int
derive(uint64_t cell, struct input const *input, size_t key_bytes, uint8_t *commitment_out)
{
    uint8_t *bytes;
    size_t length;
    int const status = zpy_cell_pin(cell, true, &bytes, &length);
    if (status != ZPY_OK) {
        return status;
    }
    struct stream *const stream = (struct stream *) (void *) bytes;
    stream->key_bytes = key_bytes;
    expand(stream, input);
    memcpy(commitment_out, stream->derived + key_bytes + NONCE_BYTES, COMMITMENT_BYTES);
    if (key_bytes == crypto_aead_aes256gcm_KEYBYTES && zpy_has_aes()) {
        stream->has_schedule = crypto_aead_aes256gcm_beforenm(&stream->schedule, stream->derived) == 0;
    }
    zpy_registers_clear_after_cipher();
    return zpy_cell_unpin(cell);
}

int64_t
zpy_chunked_create(uint64_t key, size_t key_bytes, uint8_t const *salt, uint8_t const *context, size_t context_bytes,
                   uint32_t options, uint8_t *commitment_out)
{
    if (key_bytes != 16 && key_bytes != 32) {
        return -ZPY_INVALID;
    }
    int64_t const cell = zpy_cell_create(NULL, sizeof(struct stream), options, 0, 0);
    if (cell < 0) {
        return cell;
    }
    uint8_t *bytes;
    size_t length;
    int status = zpy_cell_pin(key, false, &bytes, &length);
    if (status == ZPY_OK) {
        /* A key that libsodium works with has its schedule behind it. */
        struct input const input = {bytes, salt, context, context_bytes};
        status = length >= key_bytes ? derive((uint64_t) cell, &input, key_bytes, commitment_out) : ZPY_INVALID;
        int const state = zpy_cell_unpin(key);
        status = status != ZPY_OK ? status : state;
    }
    if (status != ZPY_OK) {
        sodium_memzero(commitment_out, COMMITMENT_BYTES);
        (void) zpy_cell_wipe((uint64_t) cell); /* Nothing could be derived; why is in status. */
        return -(int64_t) status;
    }
    return cell;
}

static void
nonce_of(struct stream const *stream, uint64_t number, uint8_t nonce[NONCE_BYTES])
{
    memcpy(nonce, stream->derived + stream->key_bytes, NONCE_BYTES);
    for (size_t index = 0; index < sizeof number; index++) {
        nonce[NONCE_BYTES - 1 - index] ^= (uint8_t) (number >> (8 * index));
    }
}

static int
pin_stream(uint64_t cell, struct stream const **stream_out)
{
    uint8_t *bytes;
    int const status = zpy_cell_pin_key(cell, sizeof(struct stream), &bytes);
    if (status != ZPY_OK) {
        return status;
    }
    *stream_out = (struct stream const *) (void const *) bytes;
    if (!(*stream_out)->has_schedule) {
        int const state = zpy_cell_unpin(cell);
        return state != ZPY_OK ? state : ZPY_UNSUPPORTED;
    }
    return ZPY_OK;
}

int
zpy_chunked_encrypt(uint64_t stream_cell, uint64_t first, uint8_t const *message, size_t length, int is_last, uint8_t *out)
{
    struct stream const *stream;
    uint8_t nonce[crypto_aead_aes256gcm_NPUBBYTES];
    size_t const count = length / CHUNK_BYTES + (is_last ? 1 : 0);
    if ((!is_last && length % CHUNK_BYTES != 0) || count > MOST_CHUNKS || first > MOST_CHUNKS - count) {
        return ZPY_RANGE;
    }
    int status = pin_stream(stream_cell, &stream);
    if (status != ZPY_OK) {
        return status;
    }
    int failed = 0;
    for (size_t index = 0; index < count; index++) {
        size_t const offset = index * CHUNK_BYTES;
        size_t const part = length - offset < CHUNK_BYTES ? length - offset : CHUNK_BYTES;
        nonce_of(stream, first + index, nonce);
        failed |= crypto_aead_aes256gcm_encrypt_afternm(out + index * (CHUNK_BYTES + TAG_BYTES), NULL, message + offset, part,
                                                        NULL, 0, NULL, nonce, &stream->schedule);
    }
    sodium_memzero(nonce, sizeof nonce);
    zpy_registers_clear_after_cipher();
    status = zpy_cell_unpin(stream_cell);
    if (status == ZPY_OK && failed != 0) {
        status = ZPY_INVALID;
    }
    if (status != ZPY_OK) {
        sodium_memzero(out, length + count * TAG_BYTES);
    }
    return status;
}

int
zpy_chunked_decrypt(uint64_t stream_cell, uint64_t first, uint8_t const *sealed, size_t length, uint8_t *out,
                    uint64_t *good_out)
{
    struct stream const *stream;
    uint8_t nonce[crypto_aead_aes256gcm_NPUBBYTES];
    size_t const sealed_bytes = CHUNK_BYTES + TAG_BYTES;
    size_t const rest = length % sealed_bytes;
    size_t const count = length / sealed_bytes + (rest != 0 ? 1 : 0);
    *good_out = 0;
    if ((rest != 0 && rest < TAG_BYTES) || count > MOST_CHUNKS || first > MOST_CHUNKS - count) {
        return ZPY_RANGE;
    }
    int status = pin_stream(stream_cell, &stream);
    if (status != ZPY_OK) {
        return status;
    }
    size_t good = 0;
    while (good < count) {
        size_t const offset = good * sealed_bytes;
        size_t const part = length - offset < sealed_bytes ? length - offset : sealed_bytes;
        nonce_of(stream, first + good, nonce);
        if (crypto_aead_aes256gcm_decrypt_afternm(out + good * CHUNK_BYTES, NULL, NULL, sealed + offset, part, NULL, 0, nonce,
                                                  &stream->schedule) != 0) {
            break;
        }
        good++;
    }
    sodium_memzero(nonce, sizeof nonce);
    zpy_registers_clear_after_cipher();
    status = zpy_cell_unpin(stream_cell);
    if (status == ZPY_OK && good < count) {
        status = ZPY_FORGED;
    }
    if (status != ZPY_OK) {
        sodium_memzero(out, length - count * TAG_BYTES);
    }
    *good_out = good;
    return status;
}
