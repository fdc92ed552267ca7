/* zpy_aead.c: messages under a key in a slot; zpy_ciphers.c has the ciphers.
 *
 * A key destroyed by another thread is zeroed at once, also under a running call. Such a call finds out when it
 * drops its pin, discards what it made and answers ZPY_WIPED: nothing made with half a key is ever given out. */
#include "zpy_cipher.h"

#include <string.h>

int
zpy_key_is_supported(int algorithm)
{
    return zpy_cipher_of(algorithm) != NULL;
}

/* ---- keys ---- */

int64_t
zpy_key_create(struct zpy_key *key_out, int algorithm, uint8_t const *bytes, uint32_t options, uint64_t ttl_ns)
{
    struct zpy_cipher const *const cipher = zpy_cipher_of(algorithm);
    if (cipher == NULL) {
        return -ZPY_UNSUPPORTED;
    }
    struct zpy_content const content = {.data = bytes, .length = ZPY_KEY_BYTES, .expand = cipher->expand};
    int64_t const cell = zpy_cell_create_from(&content, cipher->cell_bytes, options, ttl_ns, 0);
    if (cipher->expand != NULL) {
        zpy_registers_clear_after_cipher();
    }
    if (cell > 0) {
        *key_out = (struct zpy_key){.cell = (uint64_t) cell, .algorithm = algorithm};
    }
    return cell;
}

static int
count_message(struct zpy_key *key, uint64_t most_messages)
{
    if (__atomic_fetch_add(&key->messages, 1, __ATOMIC_RELAXED) >= most_messages) {
        (void) __atomic_fetch_sub(&key->messages, 1, __ATOMIC_RELAXED); /* So that it never comes round to 0. */
        return ZPY_NONCE_LIMIT;
    }
    return ZPY_OK;
}

static int
draw_nonce(struct zpy_key *key, uint64_t most_messages, uint8_t *nonce_out, size_t nonce_bytes)
{
    int const status = count_message(key, most_messages);
    if (status == ZPY_OK) {
        zpy_nonce_draw(nonce_out, nonce_bytes);
    }
    return status;
}

int
zpy_key_draw_nonce(struct zpy_key *key, uint8_t *nonce_out)
{
    return draw_nonce(key, ZPY_GCM_MESSAGES, nonce_out, crypto_aead_aes256gcm_NPUBBYTES);
}

/* Counted before it is known that the key outlived the call, and taken back where it did not: who ends a key and then reads its
 * counts has all calls that gave something out. */
static int
count_opened(struct zpy_key *key, bool is_authentic, int (*state_of)(uint64_t cell))
{
    uint64_t *const count = is_authentic ? &key->decrypted : &key->refused;
    (void) __atomic_fetch_add(count, 1, __ATOMIC_RELAXED);
    int const state = state_of(key->cell);
    if (state != ZPY_OK) {
        (void) __atomic_fetch_sub(count, 1, __ATOMIC_RELAXED);
    }
    return state;
}

int
zpy_key_count_decrypted(struct zpy_key *key, int is_authentic)
{
    return count_opened(key, is_authentic != 0, zpy_cell_state);
}

/* ---- messages ---- */

/* nonce_out: where a random one goes, which the message points to; null for a nonce of the caller's. */
static int
seal_message(struct zpy_key *key, struct zpy_cipher const *cipher, struct zpy_message const *message, uint8_t *nonce_out)
{
    if (message->length > cipher->most_bytes) {
        return ZPY_RANGE;
    }
    uint64_t const cell = key->cell;
    uint8_t *bytes;
    int status = zpy_cell_pin_key(cell, cipher->cell_bytes, &bytes);
    if (status != ZPY_OK) {
        return status;
    }
    status = nonce_out != NULL ? draw_nonce(key, cipher->most_messages, nonce_out, cipher->nonce_bytes)
                               : count_message(key, cipher->most_messages);
    if (status == ZPY_OK) {
        int const failed = cipher->seal(bytes, message);
        zpy_registers_clear_after_cipher();
        status = failed == 0 ? ZPY_OK : ZPY_INVALID;
    }
    int const state = zpy_cell_unpin(cell);
    status = state != ZPY_OK ? state : status;
    if (status != ZPY_OK) {
        sodium_memzero(message->out, message->length + cipher->tag_bytes);
    }
    return status;
}

int
zpy_key_encrypt(struct zpy_key *key, uint8_t const *message, size_t length, uint8_t const *ad, size_t ad_length,
                uint8_t *nonce_out, uint8_t *out)
{
    struct zpy_cipher const *const cipher = zpy_cipher_of(key->algorithm);
    if (cipher == NULL) {
        return ZPY_UNSUPPORTED;
    }
    return seal_message(key, cipher, &(struct zpy_message){message, length, ad, ad_length, nonce_out, out}, nonce_out);
}

int
zpy_key_seal(struct zpy_key *key, uint8_t const *message, size_t length, uint8_t const *ad, size_t ad_length,
             uint8_t const *nonce, uint8_t *out)
{
    struct zpy_cipher const *const cipher = zpy_cipher_of(key->algorithm);
    if (cipher == NULL) {
        return ZPY_UNSUPPORTED;
    }
    uint8_t *const sealed = out + cipher->nonce_bytes;
    if (nonce == NULL) {
        return seal_message(key, cipher, &(struct zpy_message){message, length, ad, ad_length, out, sealed}, out);
    }
    memcpy(out, nonce, cipher->nonce_bytes);
    return seal_message(key, cipher, &(struct zpy_message){message, length, ad, ad_length, nonce, sealed}, NULL);
}

int
zpy_key_decrypt(struct zpy_key *key, uint8_t const *sealed, size_t length, uint8_t const *ad, size_t ad_length,
                uint8_t const *nonce, uint8_t *out)
{
    struct zpy_cipher const *const cipher = zpy_cipher_of(key->algorithm);
    if (cipher == NULL) {
        return ZPY_UNSUPPORTED;
    }
    if (length < cipher->tag_bytes || length - cipher->tag_bytes > cipher->most_bytes) {
        return ZPY_RANGE;
    }
    uint64_t const cell = key->cell;
    size_t const plain_bytes = length - cipher->tag_bytes;
    uint8_t *bytes;
    int status = zpy_cell_pin_key(cell, cipher->cell_bytes, &bytes);
    if (status != ZPY_OK) {
        return status;
    }
    int const failed = cipher->open(bytes, &(struct zpy_message){sealed, plain_bytes, ad, ad_length, nonce, out});
    zpy_registers_clear_after_cipher();
    status = count_opened(key, failed == 0, zpy_cell_unpin);
    if (status == ZPY_OK && failed != 0) {
        status = ZPY_FORGED;
    }
    if (status != ZPY_OK) {
        sodium_memzero(out, plain_bytes);
    }
    return status;
}

static uint8_t const no_ad[1];

int
zpy_key_encrypt_plain(struct zpy_key *key, uint8_t const *message, size_t length, uint8_t *nonce_out, uint8_t *out)
{
    return zpy_key_encrypt(key, message, length, no_ad, 0, nonce_out, out);
}

int
zpy_key_decrypt_plain(struct zpy_key *key, uint8_t const *sealed, size_t length, uint8_t const *nonce, uint8_t *out)
{
    return zpy_key_decrypt(key, sealed, length, no_ad, 0, nonce, out);
}

int
zpy_key_open(struct zpy_key *key, uint8_t const *sealed, size_t length, uint8_t const *ad, size_t ad_length,
             uint8_t const *nonce, uint8_t *out)
{
    struct zpy_cipher const *const cipher = zpy_cipher_of(key->algorithm);
    if (cipher == NULL || nonce != NULL) {
        return zpy_key_decrypt(key, sealed, length, ad, ad_length, nonce, out);
    }
    size_t const skipped = cipher->nonce_bytes;
    return length < skipped
               ? ZPY_RANGE
               : zpy_key_decrypt(key, sealed + skipped, length - skipped, ad, ad_length, sealed, out);
}

int
zpy_aead_encrypt(struct zpy_key *key, uint8_t const *message, size_t length, uint8_t const *ad, size_t ad_length,
                 uint8_t *nonce_out, uint8_t *out)
{
    return zpy_key_encrypt(key, message, length, ad, ad_length, nonce_out, out);
}

int
zpy_aead_decrypt(struct zpy_key *key, uint8_t const *sealed, size_t length, uint8_t const *ad, size_t ad_length,
                 uint8_t const *nonce, uint8_t *out)
{
    return zpy_key_decrypt(key, sealed, length, ad, ad_length, nonce, out);
}

int
zpy_aead_seal(struct zpy_key *key, uint8_t const *message, size_t length, uint8_t const *ad, size_t ad_length,
              uint8_t const *nonce, uint8_t *out)
{
    return zpy_key_seal(key, message, length, ad, ad_length, nonce, out);
}

int
zpy_aead_open(struct zpy_key *key, uint8_t const *sealed, size_t length, uint8_t const *ad, size_t ad_length,
              uint8_t const *nonce, uint8_t *out)
{
    return zpy_key_open(key, sealed, length, ad, ad_length, nonce, out);
}

int
zpy_aead_decrypt_into(struct zpy_key *key, uint8_t const *sealed, size_t length, uint8_t const *ad, size_t ad_length,
                      uint8_t const *nonce, uint64_t target)
{
    struct zpy_cipher const *const cipher = zpy_cipher_of(key->algorithm);
    uint8_t *out;
    size_t room;
    if (cipher == NULL || length < cipher->tag_bytes) {
        return cipher == NULL ? ZPY_UNSUPPORTED : ZPY_RANGE;
    }
    int status = zpy_cell_pin(target, true, &out, &room);
    if (status != ZPY_OK) {
        return status;
    }
    bool const fits = room >= length - cipher->tag_bytes;
    status = fits ? zpy_key_decrypt(key, sealed, length, ad, ad_length, nonce, out) : ZPY_RANGE;
    int const state = zpy_cell_unpin(target);
    return status != ZPY_OK ? status : state;
}
