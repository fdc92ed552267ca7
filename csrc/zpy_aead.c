/* zpy_aead.c: messages under a key in a slot, through libsodium: AES-256-GCM (NIST SP 800-38D), whose key schedule lies behind
 * the key in the same slot, XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha) and AEGIS-256 (draft-irtf-cfrg-aegis-aead).
 *
 * A key destroyed by another thread is zeroed at once, also under a running call. Such a call finds out when it
 * drops its pin, discards what it made and answers ZPY_WIPED: nothing made with half a key is ever given out. */
#include "zpy_internal.h"

#include <string.h>

#define KEY_BYTES ((size_t) crypto_aead_aes256gcm_KEYBYTES)
_Static_assert(KEY_BYTES % ZPY_ALIGN == 0, "the schedule behind the key is aligned as libsodium wants it");
_Static_assert(KEY_BYTES == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "all algorithms have keys of one length");

/* NIST SP 800-38D, section 8.3, for random nonces of 96 bits; those of the others are too long to repeat. */
#define GCM_MESSAGES ((uint64_t) 1 << 32)
/* RFC 8439, section 2.8: what a counter of 32 bits reaches. libsodium would go on. */
#define CHACHA20_BYTES_MAX ((uint64_t) 64 * UINT32_MAX)

/* What a message passes between caller and cipher. */
struct message {
    uint8_t const *in;
    size_t length; /* Of the plaintext. */
    uint8_t const *ad;
    size_t ad_length;
    uint8_t const *nonce;
    uint8_t *out;
};

struct cipher {
    size_t cell_bytes; /* The key, and what it was expanded to. */
    size_t nonce_bytes;
    size_t tag_bytes;
    uint64_t most_bytes;
    uint64_t most_messages;
    void (*expand)(uint8_t *cell_bytes); /* Null where nothing is made of the key. */
    /* 0 or, when the message was forged, something else. */
    int (*seal)(uint8_t const *cell_bytes, struct message const *message);
    int (*open)(uint8_t const *cell_bytes, struct message const *message);
};

/* ---- AES-256-GCM ---- */

static crypto_aead_aes256gcm_state const *
schedule_of(uint8_t const *cell_bytes)
{
    return (crypto_aead_aes256gcm_state const *) (void const *) (cell_bytes + KEY_BYTES);
}

static void
expand_gcm(uint8_t *cell_bytes)
{
    crypto_aead_aes256gcm_state *const schedule = (crypto_aead_aes256gcm_state *) (void *) (cell_bytes + KEY_BYTES);
    (void) crypto_aead_aes256gcm_beforenm(schedule, cell_bytes); /* Cannot fail on a CPU that has AES: see cipher_of(). */
}

static int
seal_gcm(uint8_t const *cell_bytes, struct message const *message)
{
    return crypto_aead_aes256gcm_encrypt_afternm(message->out, NULL, message->in, message->length, message->ad,
                                                 message->ad_length, NULL, message->nonce, schedule_of(cell_bytes));
}

static int
open_gcm(uint8_t const *cell_bytes, struct message const *message)
{
    return crypto_aead_aes256gcm_decrypt_afternm(message->out, NULL, NULL, message->in,
                                                 message->length + crypto_aead_aes256gcm_ABYTES, message->ad,
                                                 message->ad_length, message->nonce, schedule_of(cell_bytes));
}

static struct cipher const gcm = {
    .cell_bytes = KEY_BYTES + sizeof(crypto_aead_aes256gcm_state),
    .nonce_bytes = crypto_aead_aes256gcm_NPUBBYTES,
    .tag_bytes = crypto_aead_aes256gcm_ABYTES,
    .most_bytes = crypto_aead_aes256gcm_MESSAGEBYTES_MAX,
    .most_messages = GCM_MESSAGES,
    .expand = expand_gcm,
    .seal = seal_gcm,
    .open = open_gcm,
};

/* ---- XChaCha20-Poly1305 ---- */

static int
seal_xchacha20(uint8_t const *cell_bytes, struct message const *message)
{
    return crypto_aead_xchacha20poly1305_ietf_encrypt(message->out, NULL, message->in, message->length, message->ad,
                                                      message->ad_length, NULL, message->nonce, cell_bytes);
}

static int
open_xchacha20(uint8_t const *cell_bytes, struct message const *message)
{
    return crypto_aead_xchacha20poly1305_ietf_decrypt(message->out, NULL, NULL, message->in,
                                                      message->length + crypto_aead_xchacha20poly1305_ietf_ABYTES,
                                                      message->ad, message->ad_length, message->nonce, cell_bytes);
}

static struct cipher const xchacha20 = {
    .cell_bytes = KEY_BYTES,
    .nonce_bytes = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES,
    .tag_bytes = crypto_aead_xchacha20poly1305_ietf_ABYTES,
    .most_bytes = CHACHA20_BYTES_MAX,
    .most_messages = UINT64_MAX,
    .seal = seal_xchacha20,
    .open = open_xchacha20,
};

/* ---- AEGIS-256, which libsodium has from 1.0.19 on ---- */

#if defined(crypto_aead_aegis256_KEYBYTES)
_Static_assert(KEY_BYTES == crypto_aead_aegis256_KEYBYTES, "all algorithms have keys of one length");

static int
seal_aegis(uint8_t const *cell_bytes, struct message const *message)
{
    return crypto_aead_aegis256_encrypt(message->out, NULL, message->in, message->length, message->ad, message->ad_length,
                                        NULL, message->nonce, cell_bytes);
}

static int
open_aegis(uint8_t const *cell_bytes, struct message const *message)
{
    return crypto_aead_aegis256_decrypt(message->out, NULL, NULL, message->in,
                                        message->length + crypto_aead_aegis256_ABYTES, message->ad, message->ad_length,
                                        message->nonce, cell_bytes);
}

static struct cipher const aegis = {
    .cell_bytes = KEY_BYTES,
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
seal_xsalsa20(uint8_t const *cell_bytes, struct message const *message)
{
    return message->ad_length == 0
               ? crypto_secretbox_easy(message->out, message->in, message->length, message->nonce, cell_bytes)
               : -1;
}

static int
open_xsalsa20(uint8_t const *cell_bytes, struct message const *message)
{
    return message->ad_length == 0 ? crypto_secretbox_open_easy(message->out, message->in,
                                                                message->length + crypto_secretbox_MACBYTES,
                                                                message->nonce, cell_bytes)
                                   : -1;
}

static struct cipher const xsalsa20 = {
    .cell_bytes = KEY_BYTES,
    .nonce_bytes = crypto_secretbox_NONCEBYTES,
    .tag_bytes = crypto_secretbox_MACBYTES,
    .most_bytes = crypto_secretbox_MESSAGEBYTES_MAX,
    .most_messages = UINT64_MAX,
    .seal = seal_xsalsa20,
    .open = open_xsalsa20,
};
_Static_assert(KEY_BYTES == crypto_secretbox_KEYBYTES && KEY_BYTES == crypto_box_BEFORENMBYTES,
               "all algorithms have keys of one length");

/* Null for what this libsodium or this CPU does not have. */
static struct cipher const *
cipher_of(int algorithm)
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

int
zpy_key_is_supported(int algorithm)
{
    return cipher_of(algorithm) != NULL;
}

/* ---- keys ---- */

int64_t
zpy_key_create(struct zpy_key *key_out, int algorithm, uint8_t const *bytes, uint32_t options, uint64_t ttl_ns)
{
    struct cipher const *const cipher = cipher_of(algorithm);
    if (cipher == NULL) {
        return -ZPY_UNSUPPORTED;
    }
    struct zpy_content const content = {.data = bytes, .length = KEY_BYTES, .expand = cipher->expand};
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
    return draw_nonce(key, GCM_MESSAGES, nonce_out, crypto_aead_aes256gcm_NPUBBYTES);
}

void
zpy_key_count_decrypted(struct zpy_key *key, int is_authentic)
{
    (void) __atomic_fetch_add(is_authentic ? &key->decrypted : &key->refused, 1, __ATOMIC_RELAXED);
}

/* ---- messages ---- */

/* nonce_out: where a random one goes, which the message points to; null for a nonce of the caller's. */
static int
seal_message(struct zpy_key *key, struct cipher const *cipher, struct message const *message, uint8_t *nonce_out)
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
    struct cipher const *const cipher = cipher_of(key->algorithm);
    if (cipher == NULL) {
        return ZPY_UNSUPPORTED;
    }
    return seal_message(key, cipher, &(struct message){message, length, ad, ad_length, nonce_out, out}, nonce_out);
}

int
zpy_key_seal(struct zpy_key *key, uint8_t const *message, size_t length, uint8_t const *ad, size_t ad_length,
             uint8_t const *nonce, uint8_t *out)
{
    struct cipher const *const cipher = cipher_of(key->algorithm);
    if (cipher == NULL) {
        return ZPY_UNSUPPORTED;
    }
    uint8_t *const sealed = out + cipher->nonce_bytes;
    if (nonce == NULL) {
        return seal_message(key, cipher, &(struct message){message, length, ad, ad_length, out, sealed}, out);
    }
    memcpy(out, nonce, cipher->nonce_bytes);
    return seal_message(key, cipher, &(struct message){message, length, ad, ad_length, nonce, sealed}, NULL);
}

int
zpy_key_decrypt(struct zpy_key *key, uint8_t const *sealed, size_t length, uint8_t const *ad, size_t ad_length,
                uint8_t const *nonce, uint8_t *out)
{
    struct cipher const *const cipher = cipher_of(key->algorithm);
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
    int const failed = cipher->open(bytes, &(struct message){sealed, plain_bytes, ad, ad_length, nonce, out});
    zpy_registers_clear_after_cipher();
    status = zpy_cell_unpin(cell);
    if (status == ZPY_OK) {
        zpy_key_count_decrypted(key, failed == 0);
        status = failed == 0 ? ZPY_OK : ZPY_FORGED;
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
    struct cipher const *const cipher = cipher_of(key->algorithm);
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
    struct cipher const *const cipher = cipher_of(key->algorithm);
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
