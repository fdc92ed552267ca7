/* zpy_ciphers.c: the ciphers of keys in slots, all libsodium's: AES-256-GCM (NIST SP 800-38D), whose key schedule lies behind the
 * key in the same slot, XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha), AEGIS-256 (draft-irtf-cfrg-aegis-aead) and NaCl's
 * XSalsa20-Poly1305 (Bernstein, "Cryptography in NaCl", section 10). */
#include "zpy_cipher.h"

_Static_assert(ZPY_KEY_BYTES % ZPY_ALIGN == 0, "the schedule behind the key is aligned as libsodium wants it");
_Static_assert(ZPY_KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "all algorithms have keys of one length");

/* RFC 8439, section 2.8: what a counter of 32 bits reaches. libsodium would go on. */
#define CHACHA20_BYTES_MAX ((uint64_t) 64 * UINT32_MAX)

/* ---- AES-256-GCM ---- */

static crypto_aead_aes256gcm_state const *
schedule_of(uint8_t const *cell_bytes)
{
    return (crypto_aead_aes256gcm_state const *) (void const *) (cell_bytes + ZPY_KEY_BYTES);
}

static void
expand_gcm(uint8_t *cell_bytes)
{
    crypto_aead_aes256gcm_state *const schedule = (crypto_aead_aes256gcm_state *) (void *) (cell_bytes + ZPY_KEY_BYTES);
    (void) crypto_aead_aes256gcm_beforenm(schedule, cell_bytes); /* Cannot fail on a CPU that has AES: see zpy_cipher_of(). */
}

static int
seal_gcm(uint8_t const *cell_bytes, struct zpy_message const *message)
{
    return crypto_aead_aes256gcm_encrypt_afternm(message->out, NULL, message->in, message->length, message->ad,
                                                 message->ad_length, NULL, message->nonce, schedule_of(cell_bytes));
}

static int
open_gcm(uint8_t const *cell_bytes, struct zpy_message const *message)
{
    return crypto_aead_aes256gcm_decrypt_afternm(message->out, NULL, NULL, message->in,
                                                 message->length + crypto_aead_aes256gcm_ABYTES, message->ad,
                                                 message->ad_length, message->nonce, schedule_of(cell_bytes));
}

static struct zpy_cipher const gcm = {
    .cell_bytes = ZPY_KEY_BYTES + sizeof(crypto_aead_aes256gcm_state),
    .nonce_bytes = crypto_aead_aes256gcm_NPUBBYTES,
    .tag_bytes = crypto_aead_aes256gcm_ABYTES,
    .most_bytes = crypto_aead_aes256gcm_MESSAGEBYTES_MAX,
    .most_messages = ZPY_GCM_MESSAGES,
    .expand = expand_gcm,
    .seal = seal_gcm,
    .open = open_gcm,
};

/* ---- XChaCha20-Poly1305 ---- */

static int
seal_xchacha20(uint8_t const *cell_bytes, struct zpy_message const *message)
{
    return crypto_aead_xchacha20poly1305_ietf_encrypt(message->out, NULL, message->in, message->length, message->ad,
                                                      message->ad_length, NULL, message->nonce, cell_bytes);
}

static int
open_xchacha20(uint8_t const *cell_bytes, struct zpy_message const *message)
{
    return crypto_aead_xchacha20poly1305_ietf_decrypt(message->out, NULL, NULL, message->in,
                                                      message->length + crypto_aead_xchacha20poly1305_ietf_ABYTES,
                                                      message->ad, message->ad_length, message->nonce, cell_bytes);
}

static struct zpy_cipher const xchacha20 = {
    .cell_bytes = ZPY_KEY_BYTES,
    .nonce_bytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    .tag_bytes = crypto_aead_xchacha20poly1305_ietf_ABYTES,
    .most_bytes = CHACHA20_BYTES_MAX,
    .most_messages = UINT64_MAX,
    .seal = seal_xchacha20,
    .open = open_xchacha20,
};

/* ---- AEGIS-256, which libsodium has from 1.0.19 on ---- */

#if defined(crypto_aead_aegis256_KEYBYTES)
_Static_assert(ZPY_KEY_BYTES == crypto_aead_aegis256_KEYBYTES, "all algorithms have keys of one length");

static int
seal_aegis(uint8_t const *cell_bytes, struct zpy_message const *message)
{
    return crypto_aead_aegis256_encrypt(message->out, NULL, message->in, message->length, message->ad, message->ad_length,
                                        NULL, message->nonce, cell_bytes);
}

static int
open_aegis(uint8_t const *cell_bytes, struct zpy_message const *message)
{
    return crypto_aead_aegis256_decrypt(message->out, NULL, NULL, message->in,
                                        message->length + crypto_aead_aegis256_ABYTES, message->ad, message->ad_length,
                                        message->nonce, cell_bytes);
}

static struct zpy_cipher const aegis = {
    .cell_bytes = ZPY_KEY_BYTES,
    .nonce_bytes = crypto_aead_aegis256_NPUBBYTES,
    .tag_bytes = crypto_aead_aegis256_ABYTES,
    .most_bytes = crypto_aead_aegis256_MESSAGEBYTES_MAX,
    .most_messages = UINT64_MAX,
    .seal = seal_aegis,
    .open = open_aegis,
};
#endif

/* ---- XSalsa20-Poly1305: the tag comes before the ciphertext, and there is no associated data ---- */

static int
seal_xsalsa20(uint8_t const *cell_bytes, struct zpy_message const *message)
{
    return message->ad_length == 0
               ? crypto_secretbox_easy(message->out, message->in, message->length, message->nonce, cell_bytes)
               : -1;
}

static int
open_xsalsa20(uint8_t const *cell_bytes, struct zpy_message const *message)
{
    return message->ad_length == 0 ? crypto_secretbox_open_easy(message->out, message->in,
                                                                message->length + crypto_secretbox_MACBYTES,
                                                                message->nonce, cell_bytes)
                                   : -1;
}

static struct zpy_cipher const xsalsa20 = {
    .cell_bytes = ZPY_KEY_BYTES,
    .nonce_bytes = crypto_secretbox_NONCEBYTES,
    .tag_bytes = crypto_secretbox_MACBYTES,
    .most_bytes = crypto_secretbox_MESSAGEBYTES_MAX,
    .most_messages = UINT64_MAX,
    .seal = seal_xsalsa20,
    .open = open_xsalsa20,
};
_Static_assert(ZPY_KEY_BYTES == crypto_secretbox_KEYBYTES && ZPY_KEY_BYTES == crypto_box_BEFORENMBYTES,
               "all algorithms have keys of one length");

struct zpy_cipher const *
zpy_cipher_of(int algorithm)
{
    switch (algorithm) {
    case ZPY_AES_256_GCM:
        return zpy_has_aes() ? &gcm : NULL;
    case ZPY_XCHACHA20_POLY1305:
        return &xchacha20;
    case ZPY_XSALSA20_POLY1305:
        return &xsalsa20;
#if defined(crypto_aead_aegis256_KEYBYTES)
    case ZPY_AEGIS_256:
        return &aegis;
#endif
    default:
        return NULL;
    }
}
