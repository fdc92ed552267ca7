/* zpy_constants.c: libsodium's numbers by their names, so that no size is typed by hand where PyNaCl's names are given. */
#include "zpy_internal.h"

#include <string.h>

struct zpy_constant {
    char const *name;
    uint64_t value;
};

#define NUMBER(name) {#name, (uint64_t) (name)}

static struct zpy_constant const constants[] = {
    NUMBER(crypto_aead_chacha20poly1305_ietf_KEYBYTES),
    NUMBER(crypto_aead_chacha20poly1305_ietf_NSECBYTES),
    NUMBER(crypto_aead_chacha20poly1305_ietf_NPUBBYTES),
    NUMBER(crypto_aead_chacha20poly1305_ietf_ABYTES),
    NUMBER(crypto_aead_chacha20poly1305_ietf_MESSAGEBYTES_MAX),
    NUMBER(crypto_aead_chacha20poly1305_KEYBYTES),
    NUMBER(crypto_aead_chacha20poly1305_NSECBYTES),
    NUMBER(crypto_aead_chacha20poly1305_NPUBBYTES),
    NUMBER(crypto_aead_chacha20poly1305_ABYTES),
    NUMBER(crypto_aead_chacha20poly1305_MESSAGEBYTES_MAX),
    NUMBER(crypto_aead_xchacha20poly1305_ietf_KEYBYTES),
    NUMBER(crypto_aead_xchacha20poly1305_ietf_NSECBYTES),
    NUMBER(crypto_aead_xchacha20poly1305_ietf_NPUBBYTES),
    NUMBER(crypto_aead_xchacha20poly1305_ietf_ABYTES),
    NUMBER(crypto_aead_xchacha20poly1305_ietf_MESSAGEBYTES_MAX),
    NUMBER(crypto_aead_aes256gcm_KEYBYTES),
    NUMBER(crypto_aead_aes256gcm_NSECBYTES),
    NUMBER(crypto_aead_aes256gcm_NPUBBYTES),
    NUMBER(crypto_aead_aes256gcm_ABYTES),
    NUMBER(crypto_aead_aes256gcm_MESSAGEBYTES_MAX),
#if defined(crypto_aead_aegis256_KEYBYTES) /* libsodium has AEGIS from 1.0.19 on. */
    NUMBER(crypto_aead_aegis256_KEYBYTES),
    NUMBER(crypto_aead_aegis256_NSECBYTES),
    NUMBER(crypto_aead_aegis256_NPUBBYTES),
    NUMBER(crypto_aead_aegis256_ABYTES),
    NUMBER(crypto_aead_aegis256_MESSAGEBYTES_MAX),
    NUMBER(crypto_aead_aegis128l_KEYBYTES),
    NUMBER(crypto_aead_aegis128l_NSECBYTES),
    NUMBER(crypto_aead_aegis128l_NPUBBYTES),
    NUMBER(crypto_aead_aegis128l_ABYTES),
    NUMBER(crypto_aead_aegis128l_MESSAGEBYTES_MAX),
#endif
    NUMBER(crypto_box_SECRETKEYBYTES),
    NUMBER(crypto_box_PUBLICKEYBYTES),
    NUMBER(crypto_box_SEEDBYTES),
    NUMBER(crypto_box_NONCEBYTES),
    NUMBER(crypto_box_ZEROBYTES),
    NUMBER(crypto_box_BOXZEROBYTES),
    NUMBER(crypto_box_BEFORENMBYTES),
    NUMBER(crypto_box_SEALBYTES),
    NUMBER(crypto_box_MACBYTES),
#if !defined(SODIUM_LIBRARY_MINIMAL) /* A reduced build has none of it. */
    NUMBER(crypto_core_ed25519_BYTES),
    NUMBER(crypto_core_ed25519_SCALARBYTES),
    NUMBER(crypto_core_ed25519_NONREDUCEDSCALARBYTES),
    NUMBER(crypto_scalarmult_ed25519_BYTES),
    NUMBER(crypto_scalarmult_ed25519_SCALARBYTES),
#endif
    NUMBER(crypto_generichash_blake2b_BYTES),
    NUMBER(crypto_generichash_blake2b_BYTES_MIN),
    NUMBER(crypto_generichash_blake2b_BYTES_MAX),
    NUMBER(crypto_generichash_blake2b_KEYBYTES),
    NUMBER(crypto_generichash_blake2b_KEYBYTES_MIN),
    NUMBER(crypto_generichash_blake2b_KEYBYTES_MAX),
    NUMBER(crypto_generichash_blake2b_SALTBYTES),
    NUMBER(crypto_generichash_blake2b_PERSONALBYTES),
    {"crypto_generichash_STATEBYTES", sizeof(crypto_generichash_blake2b_state)},
    NUMBER(crypto_hash_sha256_BYTES),
    NUMBER(crypto_hash_sha512_BYTES),
    NUMBER(crypto_kx_PUBLICKEYBYTES),
    NUMBER(crypto_kx_SECRETKEYBYTES),
    NUMBER(crypto_kx_SEEDBYTES),
    NUMBER(crypto_kx_SESSIONKEYBYTES),
    NUMBER(crypto_pwhash_ALG_ARGON2I13),
    NUMBER(crypto_pwhash_ALG_ARGON2ID13),
    NUMBER(crypto_pwhash_ALG_DEFAULT),
    NUMBER(crypto_pwhash_SALTBYTES),
    NUMBER(crypto_pwhash_STRBYTES),
    NUMBER(crypto_pwhash_PASSWD_MIN),
    NUMBER(crypto_pwhash_PASSWD_MAX),
    NUMBER(crypto_pwhash_BYTES_MIN),
    NUMBER(crypto_pwhash_BYTES_MAX),
    NUMBER(crypto_pwhash_argon2i_OPSLIMIT_MIN),
    NUMBER(crypto_pwhash_argon2i_OPSLIMIT_MAX),
    NUMBER(crypto_pwhash_argon2i_OPSLIMIT_INTERACTIVE),
    NUMBER(crypto_pwhash_argon2i_OPSLIMIT_MODERATE),
    NUMBER(crypto_pwhash_argon2i_OPSLIMIT_SENSITIVE),
    NUMBER(crypto_pwhash_argon2i_MEMLIMIT_MIN),
    NUMBER(crypto_pwhash_argon2i_MEMLIMIT_MAX),
    NUMBER(crypto_pwhash_argon2i_MEMLIMIT_INTERACTIVE),
    NUMBER(crypto_pwhash_argon2i_MEMLIMIT_MODERATE),
    NUMBER(crypto_pwhash_argon2i_MEMLIMIT_SENSITIVE),
    NUMBER(crypto_pwhash_argon2id_OPSLIMIT_MIN),
    NUMBER(crypto_pwhash_argon2id_OPSLIMIT_MAX),
    NUMBER(crypto_pwhash_argon2id_OPSLIMIT_INTERACTIVE),
    NUMBER(crypto_pwhash_argon2id_OPSLIMIT_MODERATE),
    NUMBER(crypto_pwhash_argon2id_OPSLIMIT_SENSITIVE),
    NUMBER(crypto_pwhash_argon2id_MEMLIMIT_MIN),
    NUMBER(crypto_pwhash_argon2id_MEMLIMIT_MAX),
    NUMBER(crypto_pwhash_argon2id_MEMLIMIT_INTERACTIVE),
    NUMBER(crypto_pwhash_argon2id_MEMLIMIT_MODERATE),
    NUMBER(crypto_pwhash_argon2id_MEMLIMIT_SENSITIVE),
#if defined(crypto_pwhash_scryptsalsa208sha256_STRBYTES) /* A reduced build has no scrypt, and no SipHash of 16 bytes. */
    NUMBER(crypto_pwhash_scryptsalsa208sha256_SALTBYTES),
    NUMBER(crypto_pwhash_scryptsalsa208sha256_STRBYTES),
    NUMBER(crypto_pwhash_scryptsalsa208sha256_PASSWD_MIN),
    NUMBER(crypto_pwhash_scryptsalsa208sha256_PASSWD_MAX),
    NUMBER(crypto_pwhash_scryptsalsa208sha256_BYTES_MIN),
    NUMBER(crypto_pwhash_scryptsalsa208sha256_BYTES_MAX),
    NUMBER(crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_MIN),
    NUMBER(crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_MAX),
    NUMBER(crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_INTERACTIVE),
    NUMBER(crypto_pwhash_scryptsalsa208sha256_OPSLIMIT_SENSITIVE),
    NUMBER(crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_MIN),
    NUMBER(crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_MAX),
    NUMBER(crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_INTERACTIVE),
    NUMBER(crypto_pwhash_scryptsalsa208sha256_MEMLIMIT_SENSITIVE),
#endif
    NUMBER(crypto_scalarmult_BYTES),
    NUMBER(crypto_scalarmult_SCALARBYTES),
    NUMBER(crypto_secretbox_KEYBYTES),
    NUMBER(crypto_secretbox_NONCEBYTES),
    NUMBER(crypto_secretbox_ZEROBYTES),
    NUMBER(crypto_secretbox_BOXZEROBYTES),
    NUMBER(crypto_secretbox_MACBYTES),
    NUMBER(crypto_secretbox_MESSAGEBYTES_MAX),
    NUMBER(crypto_secretstream_xchacha20poly1305_ABYTES),
    NUMBER(crypto_secretstream_xchacha20poly1305_HEADERBYTES),
    NUMBER(crypto_secretstream_xchacha20poly1305_KEYBYTES),
    NUMBER(crypto_secretstream_xchacha20poly1305_MESSAGEBYTES_MAX),
    NUMBER(crypto_secretstream_xchacha20poly1305_TAG_MESSAGE),
    NUMBER(crypto_secretstream_xchacha20poly1305_TAG_PUSH),
    NUMBER(crypto_secretstream_xchacha20poly1305_TAG_REKEY),
    NUMBER(crypto_secretstream_xchacha20poly1305_TAG_FINAL),
    {"crypto_secretstream_xchacha20poly1305_STATEBYTES", sizeof(crypto_secretstream_xchacha20poly1305_state)},
    NUMBER(crypto_shorthash_siphash24_BYTES),
    NUMBER(crypto_shorthash_siphash24_KEYBYTES),
#if defined(crypto_shorthash_siphashx24_BYTES)
    NUMBER(crypto_shorthash_siphashx24_BYTES),
    NUMBER(crypto_shorthash_siphashx24_KEYBYTES),
#endif
    NUMBER(crypto_sign_BYTES),
    NUMBER(crypto_sign_SEEDBYTES),
    NUMBER(crypto_sign_PUBLICKEYBYTES),
    NUMBER(crypto_sign_SECRETKEYBYTES),
    {"crypto_sign_ed25519ph_STATEBYTES", sizeof(crypto_sign_ed25519ph_state)},
    NUMBER(randombytes_SEEDBYTES),
};

int
zpy_constant_find(char const *name, uint64_t *value_out)
{
    for (size_t at = 0; at < sizeof constants / sizeof constants[0]; at++) {
        if (strcmp(constants[at].name, name) == 0) {
            *value_out = constants[at].value;
            return ZPY_OK;
        }
    }
    return ZPY_UNSUPPORTED;
}
