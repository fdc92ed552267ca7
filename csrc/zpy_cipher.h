/* zpy_cipher.h: the authenticated ciphers that keys in slots are for, by one shape. */
#ifndef ZPY_CIPHER_H
#define ZPY_CIPHER_H

#include "zpy_internal.h"

/* Of each of them. */
#define ZPY_KEY_BYTES ((size_t) crypto_aead_aes256gcm_KEYBYTES)
/* NIST SP 800-38D, section 8.3, for random nonces of 96 bits; those of the others are too long to repeat. */
#define ZPY_GCM_MESSAGES ((uint64_t) 1 << 32)

/* What a message passes between caller and cipher. */
struct zpy_message {
    uint8_t const *in;
    size_t length; /* Of the plaintext. */
    uint8_t const *ad;
    size_t ad_length;
    uint8_t const *nonce;
    uint8_t *out;
};

struct zpy_cipher {
    size_t cell_bytes; /* The key, and what it was expanded to. */
    size_t nonce_bytes;
    size_t tag_bytes;
    uint64_t most_bytes;
    uint64_t most_messages;
    void (*expand)(uint8_t *cell_bytes); /* Null where nothing is made of the key. */
    /* 0 or, when the message was forged, something else. */
    int (*seal)(uint8_t const *cell_bytes, struct zpy_message const *message);
    int (*open)(uint8_t const *cell_bytes, struct zpy_message const *message);
};

/* Null for what this libsodium or this CPU does not have. */
struct zpy_cipher const *zpy_cipher_of(int algorithm);

#endif
