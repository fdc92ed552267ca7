/* test_aead.c: what the core promises of messages under keys in slots, and of their nonces. */
#include "cells.h"
#include "left.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>

#define MESSAGE_BYTES ((size_t) 40)
#define TAG_BYTES_MAX ((size_t) 32)
#define NONCE_BYTES_MAX ((size_t) 32)
#define GCM_MESSAGES ((uint64_t) 1 << 32)

struct form {
    int algorithm;
    size_t nonce_bytes;
    size_t tag_bytes;
};

static struct form const forms[] = {
    {ZPY_AES_256_GCM, 12, 16},
    {ZPY_XCHACHA20_POLY1305, 24, 16},
    {ZPY_AEGIS_256, 32, 32},
};
#define FORMS (sizeof forms / sizeof forms[0])

/* A message and what became of it. */
struct sample {
    uint8_t plain[MESSAGE_BYTES];
    uint8_t ad[5];
    uint8_t nonce[NONCE_BYTES_MAX];
    uint8_t sealed[MESSAGE_BYTES + TAG_BYTES_MAX];
    size_t sealed_bytes;
};

static struct zpy_key
key_of(struct form const *form, uint8_t const *bytes, uint32_t options)
{
    struct zpy_key key = {.messages = 7, .decrypted = 7, .refused = 7};
    uint64_t const cell = made(zpy_key_create(&key, form->algorithm, bytes, options, 0));
    CHECK(key.cell == cell && key.algorithm == form->algorithm);
    CHECK(key.messages == 0 && key.decrypted == 0 && key.refused == 0);
    return key;
}

static struct sample
sealed_by(struct zpy_key *key, struct form const *form)
{
    struct sample sample = {.sealed_bytes = MESSAGE_BYTES + form->tag_bytes};
    randombytes_buf(sample.plain, sizeof sample.plain);
    randombytes_buf(sample.ad, sizeof sample.ad);
    CHECK_EQUAL(zpy_key_encrypt(key, sample.plain, MESSAGE_BYTES, sample.ad, sizeof sample.ad, sample.nonce, sample.sealed),
                ZPY_OK);
    return sample;
}

static int
open_sample(struct zpy_key *key, struct sample const *sample, uint8_t opened[MESSAGE_BYTES])
{
    memset(opened, 0xA5, MESSAGE_BYTES);
    return zpy_key_decrypt(key, sample->sealed, sample->sealed_bytes, sample->ad, sizeof sample->ad, sample->nonce, opened);
}

/* Each bit of one part of a sample counts, and a refusal leaves nothing in the output. */
static void
test_flips(struct zpy_key *key, struct sample *sample, uint8_t *part, size_t part_bytes)
{
    uint8_t opened[MESSAGE_BYTES];
    for (size_t bit = 0; bit < 8 * part_bytes; bit++) {
        part[bit / 8] ^= (uint8_t) (1 << bit % 8);
        CHECK_EQUAL(open_sample(key, sample, opened), ZPY_FORGED);
        CHECK(sodium_is_zero(opened, sizeof opened));
        part[bit / 8] ^= (uint8_t) (1 << bit % 8);
    }
}

/* What is sealed without associated data opens as that with none, and the other way round; both are counted. */
static void
test_without_ad(struct form const *form, uint32_t options)
{
    struct zpy_key key = key_of(form, NULL, options | ZPY_RANDOM);
    struct sample sample = {.sealed_bytes = MESSAGE_BYTES + form->tag_bytes};
    uint8_t opened[MESSAGE_BYTES];
    randombytes_buf(sample.plain, sizeof sample.plain);
    CHECK_EQUAL(zpy_key_encrypt_plain(&key, sample.plain, MESSAGE_BYTES, sample.nonce, sample.sealed), ZPY_OK);
    CHECK_EQUAL(zpy_key_decrypt(&key, sample.sealed, sample.sealed_bytes, NULL, 0, sample.nonce, opened), ZPY_OK);
    CHECK(memcmp(opened, sample.plain, sizeof opened) == 0);
    CHECK_EQUAL(zpy_key_encrypt(&key, sample.plain, MESSAGE_BYTES, NULL, 0, sample.nonce, sample.sealed), ZPY_OK);
    memset(opened, 0xA5, sizeof opened);
    CHECK_EQUAL(zpy_key_decrypt_plain(&key, sample.sealed, sample.sealed_bytes, sample.nonce, opened), ZPY_OK);
    CHECK(memcmp(opened, sample.plain, sizeof opened) == 0);
    CHECK_EQUAL(key.messages, 2);
    sample.sealed[0] ^= 1;
    CHECK_EQUAL(zpy_key_decrypt_plain(&key, sample.sealed, sample.sealed_bytes, sample.nonce, opened), ZPY_FORGED);
    CHECK(sodium_is_zero(opened, sizeof opened));
    CHECK_EQUAL(zpy_cell_wipe(key.cell), ZPY_OK);
}

static void
test_messages(struct form const *form, uint32_t options)
{
    uint8_t opened[MESSAGE_BYTES];
    struct zpy_key key = key_of(form, NULL, options | ZPY_RANDOM);
    struct sample sample = sealed_by(&key, form);
    CHECK_EQUAL(key.messages, 1);
    CHECK_EQUAL(open_sample(&key, &sample, opened), ZPY_OK);
    CHECK(memcmp(opened, sample.plain, sizeof opened) == 0);
    test_flips(&key, &sample, sample.sealed, sample.sealed_bytes);
    test_flips(&key, &sample, sample.nonce, form->nonce_bytes);
    test_flips(&key, &sample, sample.ad, sizeof sample.ad);
    CHECK_EQUAL(open_sample(&key, &sample, opened), ZPY_OK);
    CHECK_EQUAL(zpy_key_decrypt(&key, sample.sealed, form->tag_bytes - 1, NULL, 0, sample.nonce, opened), ZPY_RANGE);
    CHECK_EQUAL(key.decrypted, 2);
    CHECK_EQUAL(key.refused, 8 * (sample.sealed_bytes + form->nonce_bytes + sizeof sample.ad));

    uint64_t const target = made(zpy_cell_create(NULL, MESSAGE_BYTES, options, 0, 0));
    uint64_t const longer = made(zpy_cell_create(NULL, MESSAGE_BYTES + 1, options, 0, 0));
    uint64_t const shorter = made(zpy_cell_create(NULL, MESSAGE_BYTES - 1, options, 0, 0));
    CHECK_EQUAL(zpy_aead_decrypt_into(&key, sample.sealed, sample.sealed_bytes, sample.ad, sizeof sample.ad, sample.nonce, target),
                ZPY_OK);
    CHECK_EQUAL(zpy_cell_verify(target, sample.plain, MESSAGE_BYTES), 1);
    CHECK_EQUAL(zpy_aead_decrypt_into(&key, sample.sealed, sample.sealed_bytes, sample.ad, sizeof sample.ad, sample.nonce, shorter),
                ZPY_RANGE);
    CHECK_EQUAL(zpy_aead_decrypt_into(&key, sample.sealed, sample.sealed_bytes, sample.ad, sizeof sample.ad, sample.nonce, longer),
                ZPY_OK);
    uint8_t padded[MESSAGE_BYTES + 1] = {0};
    memcpy(padded, sample.plain, MESSAGE_BYTES);
    CHECK_EQUAL(zpy_cell_verify(longer, padded, sizeof padded), 1);
    CHECK_EQUAL(zpy_cell_wipe(target), ZPY_OK);
    CHECK_EQUAL(zpy_cell_wipe(longer), ZPY_OK);
    CHECK_EQUAL(zpy_cell_wipe(shorter), ZPY_OK);

    CHECK_EQUAL(zpy_cell_wipe(key.cell), ZPY_OK);
    CHECK_EQUAL(open_sample(&key, &sample, opened), ZPY_WIPED);
    CHECK_EQUAL(zpy_key_encrypt(&key, sample.plain, MESSAGE_BYTES, NULL, 0, sample.nonce, sample.sealed), ZPY_WIPED);
    CHECK(key.messages == 1 && key.decrypted == 4);
}

/* Only nonces of 96 bits are counted against a limit. */
static void
test_limit(struct form const *form)
{
    struct zpy_key key = key_of(form, NULL, ZPY_RANDOM);
    uint8_t out[MESSAGE_BYTES + TAG_BYTES_MAX];
    uint8_t nonce[NONCE_BYTES_MAX];
    key.messages = GCM_MESSAGES - 1;
    struct sample const sample = sealed_by(&key, form);
    bool const has_limit = form->nonce_bytes == 12;
    memset(out, 0xA5, sizeof out);
    CHECK_EQUAL(zpy_key_encrypt(&key, sample.plain, MESSAGE_BYTES, NULL, 0, nonce, out), has_limit ? ZPY_NONCE_LIMIT : ZPY_OK);
    CHECK_EQUAL(sodium_is_zero(out, MESSAGE_BYTES + form->tag_bytes), has_limit);
    CHECK_EQUAL(key.messages, has_limit ? GCM_MESSAGES : GCM_MESSAGES + 1);
    CHECK_EQUAL(zpy_cell_wipe(key.cell), ZPY_OK);
}

/* A key whose time is over before it is made is an expired one. */
static void
test_short_life(struct form const *form)
{
    uint8_t out[MESSAGE_BYTES + TAG_BYTES_MAX];
    uint8_t nonce[NONCE_BYTES_MAX];
    struct zpy_key key;
    int64_t const cell = zpy_key_create(&key, form->algorithm, NULL, ZPY_RANDOM, 1);
    CHECK(cell > 0 && key.cell == (uint64_t) cell);
    CHECK_EQUAL(zpy_cell_state(key.cell), ZPY_EXPIRED);
    CHECK_EQUAL(zpy_key_encrypt(&key, nonce, 1, NULL, 0, nonce, out), ZPY_EXPIRED);
    CHECK_EQUAL(zpy_cell_wipe(key.cell), ZPY_OK);
}

/* A cell of another length is no key, and there are no other algorithms. */
static void
test_other_cells(struct form const *form)
{
    uint8_t out[MESSAGE_BYTES + TAG_BYTES_MAX] = {0};
    uint8_t nonce[NONCE_BYTES_MAX] = {0};
    struct zpy_key key = {.cell = cell_of("not a key"), .algorithm = form->algorithm};
    CHECK_EQUAL(zpy_key_encrypt(&key, out, MESSAGE_BYTES, NULL, 0, nonce, out), ZPY_INVALID);
    CHECK_EQUAL(zpy_key_decrypt(&key, out, sizeof out, NULL, 0, nonce, out), ZPY_INVALID);
    int const unknown[] = {ZPY_ELSEWHERE, -1, ZPY_XSALSA20_POLY1305 + 1};
    for (size_t at = 0; at < sizeof unknown / sizeof unknown[0]; at++) {
        struct zpy_key none = {.cell = key.cell, .algorithm = unknown[at]};
        CHECK(!zpy_key_is_supported(unknown[at]));
        CHECK_EQUAL(zpy_key_encrypt(&none, out, 1, NULL, 0, nonce, out), ZPY_UNSUPPORTED);
        CHECK_EQUAL(zpy_key_decrypt(&none, out, sizeof out, NULL, 0, nonce, out), ZPY_UNSUPPORTED);
        CHECK_EQUAL(zpy_aead_decrypt_into(&none, out, sizeof out, NULL, 0, nonce, key.cell), ZPY_UNSUPPORTED);
        CHECK_EQUAL(zpy_key_create(&none, unknown[at], out, 0, 0), -ZPY_UNSUPPORTED);
        CHECK(none.cell == key.cell);
    }
    CHECK_EQUAL(zpy_cell_wipe(key.cell), ZPY_OK);
}

/* ---- what is left on the stack ---- */

/* Deeper than libsodium goes. */
#define STACK_BYTES ((size_t) 4096)
#define BLOCK_BYTES ((size_t) 16)

/* A message of several of each cipher's steps, and what it is sealed to under the first of two keys and nonces. */
static uint8_t long_message[5000];
static uint8_t long_sealed[sizeof long_message + TAG_BYTES_MAX];
static uint8_t long_out[sizeof long_message + TAG_BYTES_MAX];
static uint8_t keys[2][32];
static uint8_t nonces[2][NONCE_BYTES_MAX];
static bool is_nonce_fixed = false;

/* Instead of the real one, by the linker. */
void __real_zpy_nonce_draw(uint8_t *nonce_out, size_t length);
void __wrap_zpy_nonce_draw(uint8_t *nonce_out, size_t length);

void
__wrap_zpy_nonce_draw(uint8_t *nonce_out, size_t length)
{
    if (is_nonce_fixed) {
        memcpy(nonce_out, nonces[0], length);
    } else {
        __real_zpy_nonce_draw(nonce_out, length);
    }
}

static void
alone(struct form const *form, bool is_sealing, int which)
{
    static crypto_aead_aes256gcm_state schedule;
    static uint8_t key[sizeof keys[0]]; /* At one address for both: addresses are no secrets. */
    static uint8_t nonce[sizeof nonces[0]];
    memcpy(key, keys[which], sizeof key);
    memcpy(nonce, nonces[which], sizeof nonce);
    size_t const size = sizeof long_message;
    if (form->algorithm == ZPY_AES_256_GCM) {
        (void) crypto_aead_aes256gcm_beforenm(&schedule, key);
        (void) (is_sealing ? crypto_aead_aes256gcm_encrypt_afternm(long_out, NULL, long_message, size, NULL, 0, NULL, nonce,
                                                                   &schedule)
                           : crypto_aead_aes256gcm_decrypt_afternm(long_out, NULL, NULL, long_sealed, size + form->tag_bytes,
                                                                   NULL, 0, nonce, &schedule));
    } else if (form->algorithm == ZPY_XCHACHA20_POLY1305) {
        (void) (is_sealing ? crypto_aead_xchacha20poly1305_ietf_encrypt(long_out, NULL, long_message, size, NULL, 0, NULL,
                                                                        nonce, key)
                           : crypto_aead_xchacha20poly1305_ietf_decrypt(long_out, NULL, NULL, long_sealed,
                                                                        size + form->tag_bytes, NULL, 0, nonce, key));
    } else {
#if defined(crypto_aead_aegis256_KEYBYTES)
        (void) (is_sealing
                    ? crypto_aead_aegis256_encrypt(long_out, NULL, long_message, size, NULL, 0, NULL, nonce, key)
                    : crypto_aead_aegis256_decrypt(long_out, NULL, NULL, long_sealed, size + form->tag_bytes, NULL, 0, nonce, key));
#endif
    }
}

static int
by_the_core(struct form const *form, bool is_sealing, struct zpy_key *key)
{
    return is_sealing ? zpy_key_encrypt(key, long_message, sizeof long_message, NULL, 0, nonces[1], long_out)
                      : zpy_key_decrypt(key, long_sealed, sizeof long_message + form->tag_bytes, NULL, 0, nonces[0], long_out);
}

/* Has the block few zeros, as random ones do and small numbers, lengths and addresses do not? */
static bool
looks_random(uint8_t const block[BLOCK_BYTES])
{
    size_t count = 0;
    for (size_t at = 0; at < BLOCK_BYTES; at++) {
        count += block[at] != 0;
    }
    return count >= BLOCK_BYTES - 3;
}

/* What libsodium leaves under one key and not, at the same place, under another one was made from the key or the message. Those of
 * these blocks that are found after the core did the same work are what it left. */
static size_t
count_left(uint8_t const first[STACK_BYTES], uint8_t const second[STACK_BYTES], uint8_t const looked_in[STACK_BYTES])
{
    size_t count = 0;
    for (size_t at = 0; at < STACK_BYTES; at += BLOCK_BYTES) {
        bool is_found = false;
        if (memcmp(first + at, second + at, BLOCK_BYTES) == 0 || !looks_random(first + at)) {
            continue;
        }
        for (size_t place = 0; place <= STACK_BYTES - BLOCK_BYTES && !is_found; place++) {
            is_found = memcmp(looked_in + place, first + at, BLOCK_BYTES) == 0;
        }
        count += is_found;
    }
    return count;
}

/* libsodium alone leaves states and round keys there; the core does not. */
static void
test_stack(struct form const *form, bool is_sealing)
{
    static uint8_t left[3][STACK_BYTES];
    randombytes_buf(keys, sizeof keys);
    randombytes_buf(nonces, sizeof nonces);
    randombytes_buf(long_message, sizeof long_message);
    is_nonce_fixed = true;
    struct zpy_key key = key_of(form, keys[0], 0);
    alone(form, true, 0);
    memcpy(long_sealed, long_out, sizeof long_sealed);
    for (int which = 0; which < 2; which++) {
        sodium_stackzero(4 * STACK_BYTES);
        alone(form, is_sealing, which);
        copy_of_stack(left[which], STACK_BYTES);
    }
    sodium_stackzero(4 * STACK_BYTES);
    int const status = by_the_core(form, is_sealing, &key);
    copy_of_stack(left[2], STACK_BYTES);
    CHECK_EQUAL(status, ZPY_OK);
    CHECK(count_left(left[0], left[1], left[0]) >= 4); /* The control. */
    CHECK_EQUAL(count_left(left[0], left[1], left[2]), 0);
    CHECK(memcmp(long_out, is_sealing ? long_sealed : long_message, sizeof long_message) == 0);
    CHECK_EQUAL(zpy_cell_wipe(key.cell), ZPY_OK);
    is_nonce_fixed = false;
}

/* ---- nonces ---- */

#define NONCE_BYTES ((size_t) 12)
#define MANY_BYTES (1000 * NONCE_BYTES)

static void
draw_many(uint8_t *nonces_out)
{
    for (size_t at = 0; at < MANY_BYTES; at += NONCE_BYTES) {
        zpy_nonce_draw(nonces_out + at, NONCE_BYTES);
    }
}

static int
order_of(void const *left, void const *right)
{
    return memcmp(left, right, NONCE_BYTES);
}

static void
check_different(uint8_t *all, size_t bytes)
{
    qsort(all, bytes / NONCE_BYTES, NONCE_BYTES, order_of);
    for (size_t at = NONCE_BYTES; at < bytes; at += NONCE_BYTES) {
        CHECK(memcmp(all + at - NONCE_BYTES, all + at, NONCE_BYTES) != 0);
    }
}

/* Is the nonce among what lies on the page that a child finds empty? */
static bool
is_in(uint8_t const page[ZPY_UNSHARED_BYTES], uint8_t const nonce[NONCE_BYTES])
{
    bool is_found = false;
    for (size_t at = 0; at + NONCE_BYTES <= ZPY_UNSHARED_BYTES; at++) {
        is_found = is_found || memcmp(page + at, nonce, NONCE_BYTES) == 0;
    }
    return is_found;
}

/* In quick succession they come from a stock; after a pause the rest of it is not used any more. */
static void
test_pause(void)
{
    uint8_t page[ZPY_UNSHARED_BYTES];
    uint8_t nonce[NONCE_BYTES];
    bool is_stocked = false;
    for (int tries = 0; tries < 10000 && !is_stocked; tries++) { /* This thread may be stopped in between. */
        zpy_nonce_draw(nonce, sizeof nonce);
        zpy_nonce_draw(nonce, sizeof nonce);
        memcpy(page, zpy_pages_unshared(), sizeof page);
        zpy_nonce_draw(nonce, sizeof nonce);
        is_stocked = is_in(page, nonce);
    }
    CHECK(is_stocked);
    memcpy(page, zpy_pages_unshared(), sizeof page);
    CHECK_EQUAL(usleep(3000), 0);
    zpy_nonce_draw(nonce, sizeof nonce);
    CHECK(!is_in(page, nonce));
}

/* A child begins with an empty stock, however it was made, and no nonce of its parent's. */
static void
test_children(void)
{
    static uint8_t all[3 * MANY_BYTES];
    uint8_t *const theirs = all + MANY_BYTES;
    int ends[2];
    CHECK_EQUAL(pipe(ends), 0);
    draw_many(all);
    CHECK(!sodium_is_zero(zpy_pages_unshared(), ZPY_UNSHARED_BYTES)); /* The control. */
    pid_t const child = fork();
    if (child == 0) {
        bool const is_empty = sodium_is_zero(zpy_pages_unshared(), ZPY_UNSHARED_BYTES) == 1;
        draw_many(theirs);
        bool const is_sent = write(ends[1], theirs, MANY_BYTES) == (ssize_t) MANY_BYTES; /* A pipe has room for so much. */
        _exit(is_empty && is_sent ? 0 : 1);
    }
    int status;
    CHECK(child > 0);
    draw_many(theirs + MANY_BYTES);
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
    CHECK_EQUAL(read(ends[0], theirs, MANY_BYTES), MANY_BYTES);
    check_different(all, sizeof all);
    CHECK_EQUAL(close(ends[0]), 0);
    CHECK_EQUAL(close(ends[1]), 0);
}

#define THREADS 4

static void *
draw_in_thread(void *nonces_out)
{
    draw_many(nonces_out);
    return NULL;
}

static void
test_threads(void)
{
    static uint8_t all[THREADS * MANY_BYTES];
    pthread_t threads[THREADS];
    for (int number = 0; number < THREADS; number++) {
        CHECK_EQUAL(pthread_create(&threads[number], NULL, draw_in_thread, all + (size_t) number * MANY_BYTES), 0);
    }
    for (int number = 0; number < THREADS; number++) {
        CHECK_EQUAL(pthread_join(threads[number], NULL), 0);
    }
    check_different(all, sizeof all);
}

int
main(int argc, char **argv)
{
    CHECK_EQUAL(zpy_init(argc < 2 || strcmp(argv[1], "mlock") != 0, 1 << 20), ZPY_OK);
    uint32_t const tiers[] = {0, ZPY_ISOLATED, ZPY_SEALED};
    for (size_t number = 0; number < FORMS; number++) {
        struct form const *const form = &forms[number];
        if (!zpy_key_is_supported(form->algorithm)) {
            printf("skipped: this CPU or libsodium does not have algorithm %d\n", form->algorithm);
            continue;
        }
        for (size_t at = 0; at < sizeof tiers / sizeof tiers[0]; at++) {
            test_messages(form, tiers[at]);
            test_without_ad(form, tiers[at]);
        }
        test_limit(form);
        test_short_life(form);
        test_other_cells(form);
        test_stack(form, true);
        test_stack(form, false);
    }
    test_pause();
    test_children();
    test_threads();
    CHECK_EQUAL(stats().cells, 0);
    CHECK_EQUAL(zpy_purge(), 0);
    zpy_reaper_stop();
    puts("ok");
    return 0;
}
