/* zpy_aead.c: AES-256-GCM (NIST SP 800-38D) through libsodium; key and key schedule share one slot.
 *
 * A key destroyed by another thread is zeroed at once, also under a running call. Such a call finds out when it
 * drops its pin, discards what it made and answers ZPY_WIPED: nothing made with half a key is ever given out. */
#include "zpy_internal.h"

#include <errno.h>
#include <string.h>

#define KEY_BYTES ((size_t) crypto_aead_aes256gcm_KEYBYTES)
#define NONCE_BYTES ((size_t) crypto_aead_aes256gcm_NPUBBYTES)
#define TAG_BYTES ((size_t) crypto_aead_aes256gcm_ABYTES)
_Static_assert(KEY_BYTES % ZPY_ALIGN == 0, "the schedule behind the key is aligned as libsodium wants it");

static crypto_aead_aes256gcm_state *
schedule_of(uint8_t *cell_bytes)
{
    return (crypto_aead_aes256gcm_state *) (void *) (cell_bytes + KEY_BYTES);
}

int64_t
zpy_key_create(uint8_t const *key, uint32_t options, uint64_t ttl_ns)
{
    if (!zpy_has_aes()) {
        return -ZPY_UNSUPPORTED;
    }
    int64_t const cell =
        zpy_cell_create(NULL, KEY_BYTES + sizeof(crypto_aead_aes256gcm_state), options & ~(uint32_t) ZPY_RANDOM, ttl_ns, 0);
    if (cell < 0) {
        return cell;
    }
    uint8_t *bytes;
    size_t length;
    int status = zpy_cell_pin((uint64_t) cell, true, &bytes, &length);
    if (status == ZPY_OK) {
        if ((options & ZPY_RANDOM) != 0) {
            randombytes_buf(bytes, KEY_BYTES);
        } else {
            memcpy(bytes, key, KEY_BYTES);
        }
        status = crypto_aead_aes256gcm_beforenm(schedule_of(bytes), bytes) == 0 ? ZPY_OK : ZPY_UNSUPPORTED;
        zpy_registers_clear_after_cipher();
        int const state = zpy_cell_unpin((uint64_t) cell);
        status = status != ZPY_OK ? status : state;
    }
    if (status != ZPY_OK) {
        (void) zpy_cell_wipe((uint64_t) cell); /* The key could not be made; why is in status. */
        return -(int64_t) status;
    }
    return cell;
}

/* NIST SP 800-38D, section 8.3. */
#define NONCE_LIMIT ((uint64_t) 1 << 32)

int
zpy_key_draw_nonce(uint64_t *drawn, uint8_t *nonce_out)
{
    if (__atomic_fetch_add(drawn, 1, __ATOMIC_RELAXED) >= NONCE_LIMIT) {
        (void) __atomic_fetch_sub(drawn, 1, __ATOMIC_RELAXED); /* So that it never comes round to 0. */
        return ZPY_NONCE_LIMIT;
    }
    randombytes_buf(nonce_out, NONCE_BYTES);
    return ZPY_OK;
}

int
zpy_key_encrypt(uint64_t key, uint8_t const *message, size_t length, uint8_t const *ad, size_t ad_length,
                uint64_t *drawn, uint8_t *nonce_out, uint8_t *out)
{
    uint8_t *bytes;
    if (length > crypto_aead_aes256gcm_MESSAGEBYTES_MAX) {
        return ZPY_RANGE;
    }
    int status = zpy_cell_pin_key(key, KEY_BYTES + sizeof(crypto_aead_aes256gcm_state), &bytes);
    if (status != ZPY_OK) {
        return status;
    }
    status = zpy_key_draw_nonce(drawn, nonce_out);
    if (status == ZPY_OK) {
        int const failed = crypto_aead_aes256gcm_encrypt_afternm(out, NULL, message, length, ad, ad_length, NULL, nonce_out,
                                                                 schedule_of(bytes));
        zpy_registers_clear_after_cipher();
        status = failed == 0 ? ZPY_OK : ZPY_INVALID;
    }
    int const state = zpy_cell_unpin(key);
    status = state != ZPY_OK ? state : status;
    if (status != ZPY_OK) {
        sodium_memzero(out, length + TAG_BYTES);
    }
    return status;
}

int
zpy_key_decrypt(uint64_t key, uint8_t const *sealed, size_t length, uint8_t const *ad, size_t ad_length,
                uint8_t const *nonce, uint8_t *out)
{
    uint8_t *bytes;
    if (length < TAG_BYTES || length - TAG_BYTES > crypto_aead_aes256gcm_MESSAGEBYTES_MAX) {
        return ZPY_RANGE;
    }
    int status = zpy_cell_pin_key(key, KEY_BYTES + sizeof(crypto_aead_aes256gcm_state), &bytes);
    if (status != ZPY_OK) {
        return status;
    }
    int const failed = crypto_aead_aes256gcm_decrypt_afternm(out, NULL, NULL, sealed, length, ad, ad_length, nonce,
                                                             schedule_of(bytes));
    zpy_registers_clear_after_cipher();
    status = zpy_cell_unpin(key);
    if (status == ZPY_OK && failed != 0) {
        status = ZPY_FORGED;
    }
    if (status != ZPY_OK) {
        sodium_memzero(out, length - TAG_BYTES);
    }
    return status;
}

int
zpy_aead_encrypt(uint64_t key, uint8_t const *message, size_t length, uint8_t const *ad, size_t ad_length,
                 uint64_t *drawn, uint8_t *nonce_out, uint8_t *out)
{
    return zpy_key_encrypt(key, message, length, ad, ad_length, drawn, nonce_out, out);
}

int
zpy_aead_decrypt(uint64_t key, uint8_t const *sealed, size_t length, uint8_t const *ad, size_t ad_length,
                 uint8_t const *nonce, uint8_t *out)
{
    return zpy_key_decrypt(key, sealed, length, ad, ad_length, nonce, out);
}

int
zpy_aead_decrypt_into(uint64_t key, uint8_t const *sealed, size_t length, uint8_t const *ad, size_t ad_length,
                      uint8_t const *nonce, uint64_t target)
{
    uint8_t *out;
    size_t room;
    if (length < TAG_BYTES) {
        return ZPY_RANGE;
    }
    int status = zpy_cell_pin(target, true, &out, &room);
    if (status != ZPY_OK) {
        return status;
    }
    status = room == length - TAG_BYTES ? zpy_key_decrypt(key, sealed, length, ad, ad_length, nonce, out) : ZPY_RANGE;
    int const state = zpy_cell_unpin(target);
    return status != ZPY_OK ? status : state;
}
