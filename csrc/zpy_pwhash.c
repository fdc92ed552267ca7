/* zpy_pwhash.c: Argon2 and scrypt through libsodium, which leaves parts of what it makes of a password on the stack. */
#include "zpy_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(ZPY_ARGON2I == crypto_pwhash_ALG_ARGON2I13, "zpy_api.h has libsodium's numbers");
_Static_assert(ZPY_ARGON2ID == crypto_pwhash_ALG_ARGON2ID13, "zpy_api.h has libsodium's numbers");

/* Deeper than libsodium goes: 7.1 KiB on x86-64 for Argon2, with several blocks of 1 KiB and a BLAKE2b of the password, and
 * 3.6 for scrypt, with HMAC states under the password and the last block of what PBKDF2 made. */
#define PWHASH_STACK_BYTES ((size_t) 16384)
/* How many heap blocks of the encoded hash's length libsodium's Argon2 takes to check it, */
#define VERIFY_BLOCKS 4
/* and the longest such hash here. */
#define VERIFY_MAX_BYTES ((size_t) crypto_pwhash_STRBYTES)

#if defined(crypto_pwhash_scryptsalsa208sha256_STRBYTES)
_Static_assert(crypto_pwhash_scryptsalsa208sha256_STRBYTES <= crypto_pwhash_STRBYTES, "ZPY_PWHASH_ROOM is for both");
#endif
_Static_assert(ZPY_PWHASH_ROOM == crypto_pwhash_STRBYTES, "the length in zpy_api.h is libsodium's");

static void
clear_after_password(void)
{
    sodium_stackzero(PWHASH_STACK_BYTES);
    zpy_registers_clear();
}

/* What an answer of libsodium's means. It tells bad arguments by errno, which was 0 before; else only memory can have been
 * missing. */
static int
status_of(int answer)
{
    int const reason = errno;
    clear_after_password();
    if (answer == 0) {
        return ZPY_OK;
    }
    return reason == EINVAL || reason == EFBIG ? ZPY_INVALID : ZPY_NO_MEMORY;
}

int
zpy_pwhash_raw(int scheme, uint8_t const *password, size_t password_length, uint8_t const *salt, uint64_t opslimit,
               size_t memlimit, uint8_t *out, size_t length)
{
    errno = 0;
    int const answer = crypto_pwhash(out, length, (char const *) password, password_length, salt, opslimit, memlimit, scheme);
    int const status = status_of(answer);
    if (status != ZPY_OK) {
        sodium_memzero(out, length);
    }
    return status;
}

#if defined(crypto_pwhash_scryptsalsa208sha256_STRBYTES)

int
zpy_pwhash_scrypt(uint8_t const *password, size_t password_length, uint8_t const *salt, size_t salt_length, uint64_t n,
                  uint32_t r, uint32_t p, uint8_t *out, size_t length)
{
    errno = 0;
    int const answer =
        crypto_pwhash_scryptsalsa208sha256_ll(password, password_length, salt, salt_length, n, r, p, out, length);
    int const status = status_of(answer);
    if (status != ZPY_OK) {
        sodium_memzero(out, length);
    }
    return status;
}

static int
scrypt_str(char *out, char const *password, size_t length, uint64_t opslimit, size_t memlimit)
{
    return crypto_pwhash_scryptsalsa208sha256_str(out, password, length, opslimit, memlimit);
}

static int
scrypt_verify(char const *hash, char const *password, size_t length)
{
    return crypto_pwhash_scryptsalsa208sha256_str_verify(hash, password, length);
}

#define SCRYPT_PREFIX crypto_pwhash_scryptsalsa208sha256_STRPREFIX

#else

/* A reduced libsodium, which has no scrypt. */

int
zpy_pwhash_scrypt(uint8_t const *password, size_t password_length, uint8_t const *salt, size_t salt_length, uint64_t n,
                  uint32_t r, uint32_t p, uint8_t *out, size_t length)
{
    (void) password, (void) password_length, (void) salt, (void) salt_length, (void) n, (void) r, (void) p;
    sodium_memzero(out, length);
    return ZPY_UNSUPPORTED;
}

static int
scrypt_str(char *out, char const *password, size_t length, uint64_t opslimit, size_t memlimit)
{
    (void) out, (void) password, (void) length, (void) opslimit, (void) memlimit;
    return -1;
}

static int
scrypt_verify(char const *hash, char const *password, size_t length)
{
    (void) hash, (void) password, (void) length;
    return -1;
}

#define SCRYPT_PREFIX NULL

#endif

char const *
zpy_pwhash_prefix(int scheme)
{
    switch (scheme) {
    case ZPY_ARGON2I:
        return crypto_pwhash_argon2i_STRPREFIX;
    case ZPY_ARGON2ID:
        return crypto_pwhash_argon2id_STRPREFIX;
    case ZPY_SCRYPT:
        return SCRYPT_PREFIX;
    default:
        return NULL;
    }
}

int
zpy_pwhash_str(int scheme, uint8_t const *password, size_t password_length, uint64_t opslimit, size_t memlimit, char *out)
{
    bool const is_scrypt = scheme == ZPY_SCRYPT;
    if (zpy_pwhash_prefix(scheme) == NULL) {
        return ZPY_UNSUPPORTED; /* libsodium would end the process for a scheme that it does not know. */
    }
    errno = 0;
    char const *const text = (char const *) password;
    int const answer = is_scrypt ? scrypt_str(out, text, password_length, opslimit, memlimit)
                                 : crypto_pwhash_str_alg(out, text, password_length, opslimit, memlimit, scheme);
    int const status = status_of(answer);
    if (status != ZPY_OK) {
        sodium_memzero(out, ZPY_PWHASH_ROOM);
    }
    return status;
}

/* To check a hash, libsodium takes heap blocks of the hash's length, and frees the one with what Argon2 made of the password
 * as it is. A C library that keeps what a thread frees for that thread, as glibc does, gives the same blocks out again now. */
static void
clear_freed(size_t length)
{
    void *blocks[VERIFY_BLOCKS];
    for (size_t at = 0; at < VERIFY_BLOCKS; at++) {
        blocks[at] = malloc(length);
        if (blocks[at] != NULL) {
            sodium_memzero(blocks[at], length);
        }
    }
    for (size_t at = 0; at < VERIFY_BLOCKS; at++) {
        free(blocks[at]);
    }
}

int
zpy_pwhash_verify(int scheme, char const *hash, uint8_t const *password, size_t password_length)
{
    bool const is_scrypt = scheme == ZPY_SCRYPT;
    size_t const length = strlen(hash);
    if (zpy_pwhash_prefix(scheme) == NULL) {
        return ZPY_UNSUPPORTED;
    }
    if (length >= VERIFY_MAX_BYTES) {
        return ZPY_RANGE;
    }
    errno = 0;
    char const *const text = (char const *) password;
    int const answer = is_scrypt ? scrypt_verify(hash, text, password_length)
                                 : crypto_pwhash_str_verify(hash, text, password_length);
    int const reason = errno;
    clear_after_password();
    if (!is_scrypt) {
        clear_freed(length);
    }
    if (answer == 0) {
        return ZPY_OK;
    }
    return reason == ENOMEM ? ZPY_NO_MEMORY : ZPY_FORGED;
}
