/* zpy_sodium_messages.c: libsodium's ciphers, boxes and streams by their shape, for what has PyNaCl's names for them.
 *
 * Keys are pointers that Python lends for the call; zpy_aead.c has the same ciphers for keys that live in cells. What each call
 * leaves on the stack and in registers is cleared behind it. */
#include "zpy_internal.h"

#include <string.h>

/* ---- ciphers under one key ---- */

/* As libsodium has them, but a zpy_status above 0 for what failed before the cipher began. */
typedef int seal_function(unsigned char *out, unsigned long long *out_length, unsigned char const *message,
                          unsigned long long length, unsigned char const *ad, unsigned long long ad_length,
                          unsigned char const *no_secret, unsigned char const *nonce, unsigned char const *key);
typedef int open_function(unsigned char *out, unsigned long long *out_length, unsigned char *no_secret,
                          unsigned char const *sealed, unsigned long long length, unsigned char const *ad,
                          unsigned long long ad_length, unsigned char const *nonce, unsigned char const *key);

/* libsodium's one-shot calls would have the key schedule on the stack, and some leave it there. */
static int
open_schedule(unsigned char const *key, uint64_t *cell_out, crypto_aead_aes256gcm_state **schedule_out)
{
    uint8_t *bytes;
    int const status = zpy_room_open(sizeof(crypto_aead_aes256gcm_state), cell_out, &bytes);
    if (status != ZPY_OK) {
        return status;
    }
    *schedule_out = (crypto_aead_aes256gcm_state *) (void *) bytes;
    if (crypto_aead_aes256gcm_beforenm(*schedule_out, key) != 0) {
        (void) zpy_room_close(*cell_out); /* The answer is that this CPU cannot do it. */
        return ZPY_UNSUPPORTED;
    }
    return ZPY_OK;
}

static int
seal_gcm(unsigned char *out, unsigned long long *out_length, unsigned char const *message, unsigned long long length,
         unsigned char const *ad, unsigned long long ad_length, unsigned char const *no_secret, unsigned char const *nonce,
         unsigned char const *key)
{
    uint64_t cell;
    crypto_aead_aes256gcm_state *schedule;
    int const status = open_schedule(key, &cell, &schedule);
    if (status != ZPY_OK) {
        return status;
    }
    int const failed = crypto_aead_aes256gcm_encrypt_afternm(out, out_length, message, length, ad, ad_length, no_secret,
                                                             nonce, schedule);
    int const closed = zpy_room_close(cell);
    return closed != ZPY_OK ? closed : failed;
}

static int
open_gcm(unsigned char *out, unsigned long long *out_length, unsigned char *no_secret, unsigned char const *sealed,
         unsigned long long length, unsigned char const *ad, unsigned long long ad_length, unsigned char const *nonce,
         unsigned char const *key)
{
    uint64_t cell;
    crypto_aead_aes256gcm_state *schedule;
    int const status = open_schedule(key, &cell, &schedule);
    if (status != ZPY_OK) {
        return status;
    }
    int const failed = crypto_aead_aes256gcm_decrypt_afternm(out, out_length, no_secret, sealed, length, ad, ad_length, nonce,
                                                             schedule);
    int const closed = zpy_room_close(cell);
    return closed != ZPY_OK ? closed : failed;
}

/* It has no associated data. */
static int
seal_secretbox(unsigned char *out, unsigned long long *out_length, unsigned char const *message, unsigned long long length,
               unsigned char const *ad, unsigned long long ad_length, unsigned char const *no_secret,
               unsigned char const *nonce, unsigned char const *key)
{
    (void) out_length;
    (void) ad;
    (void) no_secret;
    return ad_length == 0 ? crypto_secretbox_easy(out, message, length, nonce, key) : ZPY_INVALID;
}

static int
open_secretbox(unsigned char *out, unsigned long long *out_length, unsigned char *no_secret, unsigned char const *sealed,
               unsigned long long length, unsigned char const *ad, unsigned long long ad_length, unsigned char const *nonce,
               unsigned char const *key)
{
    (void) out_length;
    (void) ad;
    (void) no_secret;
    return ad_length == 0 ? crypto_secretbox_open_easy(out, sealed, length, nonce, key) : ZPY_INVALID;
}

static struct {
    size_t tag_bytes;
    seal_function *seal;
    open_function *open;
} const ciphers[] = {
    [ZPY_SODIUM_SECRETBOX] = {crypto_secretbox_MACBYTES, seal_secretbox, open_secretbox},
    [ZPY_SODIUM_CHACHA20] = {crypto_aead_chacha20poly1305_ABYTES, crypto_aead_chacha20poly1305_encrypt,
                             crypto_aead_chacha20poly1305_decrypt},
    [ZPY_SODIUM_CHACHA20_IETF] = {crypto_aead_chacha20poly1305_ietf_ABYTES, crypto_aead_chacha20poly1305_ietf_encrypt,
                                  crypto_aead_chacha20poly1305_ietf_decrypt},
    [ZPY_SODIUM_XCHACHA20_IETF] = {crypto_aead_xchacha20poly1305_ietf_ABYTES, crypto_aead_xchacha20poly1305_ietf_encrypt,
                                   crypto_aead_xchacha20poly1305_ietf_decrypt},
    [ZPY_SODIUM_AES256GCM] = {crypto_aead_aes256gcm_ABYTES, seal_gcm, open_gcm},
#if defined(crypto_aead_aegis256_KEYBYTES)
    [ZPY_SODIUM_AEGIS256] = {crypto_aead_aegis256_ABYTES, crypto_aead_aegis256_encrypt, crypto_aead_aegis256_decrypt},
    [ZPY_SODIUM_AEGIS128L] = {crypto_aead_aegis128l_ABYTES, crypto_aead_aegis128l_encrypt, crypto_aead_aegis128l_decrypt},
#endif
};

int
zpy_sodium_has_cipher(int cipher)
{
    if (cipher < 0 || (size_t) cipher >= sizeof ciphers / sizeof ciphers[0] || ciphers[cipher].seal == NULL) {
        return 0;
    }
    return cipher != ZPY_SODIUM_AES256GCM || zpy_has_aes();
}

/* What a function above, or one of libsodium's, means by its answer. */
static int
status_of(int answer)
{
    return answer == 0 ? ZPY_OK : answer > 0 ? answer : ZPY_FORGED;
}

int
zpy_sodium_seal(int cipher, uint8_t const *key, uint8_t const *nonce, uint8_t const *ad, size_t ad_length,
                uint8_t const *message, size_t length, uint8_t *out)
{
    if (!zpy_sodium_has_cipher(cipher)) {
        return ZPY_UNSUPPORTED;
    }
    int const status =
        status_of(ciphers[cipher].seal(out, NULL, message, length, ad, ad_length, NULL, nonce, key));
    zpy_registers_clear_after_cipher();
    if (status != ZPY_OK) {
        sodium_memzero(out, length + ciphers[cipher].tag_bytes);
    }
    return status;
}

int
zpy_sodium_open(int cipher, uint8_t const *key, uint8_t const *nonce, uint8_t const *ad, size_t ad_length,
                uint8_t const *sealed, size_t length, uint8_t *out)
{
    if (!zpy_sodium_has_cipher(cipher)) {
        return ZPY_UNSUPPORTED;
    }
    if (length < ciphers[cipher].tag_bytes) {
        return ZPY_FORGED;
    }
    int const status = status_of(ciphers[cipher].open(out, NULL, NULL, sealed, length, ad, ad_length, nonce, key));
    zpy_registers_clear_after_cipher();
    if (status != ZPY_OK) {
        sodium_memzero(out, length - ciphers[cipher].tag_bytes);
    }
    return status;
}

/* ---- boxes ---- */

int
zpy_sodium_box(uint8_t const *public_key, uint8_t const *secret_key, uint8_t const *nonce, uint8_t const *message,
               size_t length, uint8_t *out)
{
    int const failed = crypto_box_easy(out, message, length, nonce, public_key, secret_key);
    zpy_registers_clear_after_curve();
    if (failed != 0) {
        sodium_memzero(out, length + crypto_box_MACBYTES);
    }
    return failed == 0 ? ZPY_OK : ZPY_INVALID;
}

int
zpy_sodium_box_open(uint8_t const *public_key, uint8_t const *secret_key, uint8_t const *nonce, uint8_t const *sealed,
                    size_t length, uint8_t *out)
{
    size_t const more_bytes = nonce == NULL ? crypto_box_SEALBYTES : crypto_box_MACBYTES;
    if (length < more_bytes) {
        return ZPY_FORGED;
    }
    int const failed = nonce == NULL ? crypto_box_seal_open(out, sealed, length, public_key, secret_key)
                                     : crypto_box_open_easy(out, sealed, length, nonce, public_key, secret_key);
    zpy_registers_clear_after_curve();
    if (failed != 0) {
        sodium_memzero(out, length - more_bytes);
    }
    return failed == 0 ? ZPY_OK : ZPY_FORGED;
}

/* ---- streams, whose state is a cell ---- */

#define STATE_BYTES (sizeof(crypto_secretstream_xchacha20poly1305_state))
_Static_assert(_Alignof(crypto_secretstream_xchacha20poly1305_state) <= ZPY_ALIGN, "a cell is aligned for the state");

static int
pin_state(uint64_t cell, crypto_secretstream_xchacha20poly1305_state **state_out)
{
    uint8_t *bytes;
    size_t length;
    int const status = zpy_cell_pin(cell, true, &bytes, &length);
    if (status == ZPY_OK && length != STATE_BYTES) {
        (void) zpy_cell_unpin(cell); /* The answer is that this is no state, whatever its own. */
        return ZPY_INVALID;
    }
    *state_out = (crypto_secretstream_xchacha20poly1305_state *) (void *) bytes;
    return status;
}

/* Ends what pin_state began. */
static int
unpin_state(uint64_t cell, int status)
{
    zpy_registers_clear_after_cipher();
    int const state = zpy_cell_unpin(cell);
    return state != ZPY_OK ? state : status;
}

int
zpy_sodium_stream_begin(uint64_t cell, int to_pull, uint8_t const *key, uint8_t *header)
{
    crypto_secretstream_xchacha20poly1305_state *state;
    int const status = pin_state(cell, &state);
    if (status != ZPY_OK) {
        return status;
    }
    int const failed = to_pull != 0 ? crypto_secretstream_xchacha20poly1305_init_pull(state, header, key)
                                    : crypto_secretstream_xchacha20poly1305_init_push(state, header, key);
    return unpin_state(cell, failed == 0 ? ZPY_OK : ZPY_INVALID);
}

int
zpy_sodium_stream_push(uint64_t cell, uint8_t const *message, size_t length, uint8_t const *ad, size_t ad_length, uint8_t tag,
                       uint8_t *out)
{
    crypto_secretstream_xchacha20poly1305_state *state;
    int status = pin_state(cell, &state);
    if (status == ZPY_OK) {
        int const failed =
            crypto_secretstream_xchacha20poly1305_push(state, out, NULL, message, length, ad, ad_length, tag);
        status = unpin_state(cell, failed == 0 ? ZPY_OK : ZPY_INVALID);
    }
    if (status != ZPY_OK) {
        sodium_memzero(out, length + crypto_secretstream_xchacha20poly1305_ABYTES);
    }
    return status;
}

int
zpy_sodium_stream_pull(uint64_t cell, uint8_t const *sealed, size_t length, uint8_t const *ad, size_t ad_length,
                       uint8_t *tag_out, uint8_t *out)
{
    if (length < crypto_secretstream_xchacha20poly1305_ABYTES) {
        return ZPY_RANGE;
    }
    crypto_secretstream_xchacha20poly1305_state *state;
    int status = pin_state(cell, &state);
    if (status == ZPY_OK) {
        int const failed =
            crypto_secretstream_xchacha20poly1305_pull(state, out, NULL, tag_out, sealed, length, ad, ad_length);
        status = unpin_state(cell, failed == 0 ? ZPY_OK : ZPY_FORGED);
    }
    if (status != ZPY_OK) {
        sodium_memzero(out, length - crypto_secretstream_xchacha20poly1305_ABYTES);
    }
    return status;
}

int
zpy_sodium_stream_rekey(uint64_t cell)
{
    crypto_secretstream_xchacha20poly1305_state *state;
    int const status = pin_state(cell, &state);
    if (status != ZPY_OK) {
        return status;
    }
    crypto_secretstream_xchacha20poly1305_rekey(state);
    return unpin_state(cell, ZPY_OK);
}
