/* loops.c: what the benchmarks time in C, where Python's calls would be most of the time, or are the question.
 *
 * Each function does its work `number` times and returns the nanoseconds that took, or minus an errno. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <time.h>

#include <sodium.h>

#define SECRET_BYTES 32
#define THREADS_MAX 64
#define KEY_BYTES 32 /* Of each of these, and their longest nonce. */
#define NONCE_BYTES_MAX 32

/* As the core numbers them. */
enum { AES_256_GCM = 1, XCHACHA20_POLY1305 = 2, AEGIS_256 = 3 };

/* The core's functions, by address: its module exports none. */
struct core {
    int64_t (*create)(uint8_t const *data, size_t length, uint32_t options, uint64_t ttl_ns, uint32_t max_reads);
    int (*verify)(uint64_t cell, uint8_t const *data, size_t length);
    int (*wipe)(uint64_t cell);
};

int64_t loop_sodium_malloc(uint64_t number);
int64_t loop_mprotect(void *pages, size_t bytes, uint64_t number);
int64_t loop_cells(struct core const *core, uint64_t number, unsigned thread_count);
int64_t loop_seal(int algorithm, uint8_t *out, uint8_t const *message, size_t length, uint64_t number);

static int64_t
now_ns(void)
{
    struct timespec now;
    (void) clock_gettime(CLOCK_MONOTONIC, &now); /* A clock that every Linux has. */
    return (int64_t) now.tv_sec * 1000000000 + now.tv_nsec;
}

/* libsodium's way to put a secret away and to get rid of it. */
int64_t
loop_sodium_malloc(uint64_t number)
{
    if (sodium_init() < 0) {
        return -ENOSYS;
    }
    int64_t const begin = now_ns();
    for (uint64_t count = 0; count < number; count++) {
        void *const memory = sodium_malloc(SECRET_BYTES);
        if (memory == NULL) {
            return -ENOMEM;
        }
        sodium_free(memory);
    }
    return now_ns() - begin;
}

/* Open pages and close them: the least that it takes to use a secret on pages without access. */
int64_t
loop_mprotect(void *pages, size_t bytes, uint64_t number)
{
    int64_t const begin = now_ns();
    for (uint64_t count = 0; count < number; count++) {
        if (mprotect(pages, bytes, PROT_READ | PROT_WRITE) != 0 || mprotect(pages, bytes, PROT_NONE) != 0) {
            return -errno;
        }
    }
    return now_ns() - begin;
}

/* Encrypt one message under nonces that are ready, with what libsodium keeps of a key. */
int64_t
loop_seal(int algorithm, uint8_t *out, uint8_t const *message, size_t length, uint64_t number)
{
    uint8_t key[KEY_BYTES];
    uint8_t nonce[NONCE_BYTES_MAX];
    crypto_aead_aes256gcm_state schedule;
    if (sodium_init() < 0) {
        return -ENOSYS;
    }
    randombytes_buf(key, sizeof key);
    randombytes_buf(nonce, sizeof nonce);
    if (algorithm == AES_256_GCM && crypto_aead_aes256gcm_beforenm(&schedule, key) != 0) {
        return -ENOSYS;
    }
    int64_t const begin = now_ns();
    for (uint64_t count = 0; count < number; count++) {
        int failed = -1;
        sodium_increment(nonce, sizeof nonce);
        if (algorithm == AES_256_GCM) {
            failed = crypto_aead_aes256gcm_encrypt_afternm(out, NULL, message, length, NULL, 0, NULL, nonce, &schedule);
        } else if (algorithm == XCHACHA20_POLY1305) {
            failed = crypto_aead_xchacha20poly1305_ietf_encrypt(out, NULL, message, length, NULL, 0, NULL, nonce, key);
#if defined(crypto_aead_aegis256_KEYBYTES)
        } else if (algorithm == AEGIS_256) {
            failed = crypto_aead_aegis256_encrypt(out, NULL, message, length, NULL, 0, NULL, nonce, key);
#endif
        }
        if (failed != 0) {
            return -ENOSYS;
        }
    }
    return now_ns() - begin;
}

struct worker {
    struct core const *core;
    pthread_mutex_t *gate;
    uint64_t number;
    int error;
};

static void *
work(void *argument)
{
    struct worker *const worker = argument;
    uint8_t secret[SECRET_BYTES];
    randombytes_buf(secret, sizeof secret);
    (void) pthread_mutex_lock(worker->gate); /* An initialised default mutex not held by this thread: cannot fail. */
    (void) pthread_mutex_unlock(worker->gate);
    for (uint64_t count = 0; count < worker->number && worker->error == 0; count++) {
        int64_t const cell = worker->core->create(secret, sizeof secret, 0, 0, 0);
        if (cell <= 0) {
            worker->error = ENOMEM;
        } else if (worker->core->verify((uint64_t) cell, secret, sizeof secret) != 1 ||
                   worker->core->wipe((uint64_t) cell) != 0) {
            worker->error = EBADMSG;
        }
    }
    return NULL;
}

/* Create, verify and wipe cells, their number shared among threads that begin together; the last to end counts. */
int64_t
loop_cells(struct core const *core, uint64_t number, unsigned thread_count)
{
    pthread_t threads[THREADS_MAX];
    struct worker workers[THREADS_MAX];
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    if (thread_count < 1 || thread_count > THREADS_MAX || sodium_init() < 0) {
        return -EINVAL;
    }
    uint64_t const share = (number + thread_count - 1) / thread_count;
    unsigned made = 0;
    int error = 0;
    (void) pthread_mutex_lock(&gate); /* As in work(). */
    while (made < thread_count && error == 0) {
        workers[made] = (struct worker){.core = core, .gate = &gate, .number = share, .error = 0};
        error = pthread_create(&threads[made], NULL, work, &workers[made]);
        made += error == 0;
    }
    for (unsigned index = 0; index < made && error != 0; index++) {
        workers[index].number = 0; /* Not all of them are there: those that are have nothing to do. */
    }
    int64_t const begin = now_ns();
    (void) pthread_mutex_unlock(&gate);
    for (unsigned index = 0; index < made; index++) {
        (void) pthread_join(threads[index], NULL); /* Our own joinable threads. */
        error = error != 0 ? error : workers[index].error;
    }
    int64_t const taken = now_ns() - begin;
    return error != 0 ? -error : taken;
}
