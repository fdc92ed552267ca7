/* zpy_seal.c: encryption of sealed cells, their key in a locked slot.
 *
 * AES-256-GCM (NIST SP 800-38D) where the CPU has AES, else ChaCha20-Poly1305 (RFC 8439). The 96-bit nonce is a counter, the
 * deterministic construction of SP 800-38D, section 8.2.1. The key for cells that a forked child inherits is shared with that
 * child, and so is its counter, on a page that both write to: no two processes ever seal with the same nonce. The nonce
 * stands in the cell's entry, so a ciphertext moved to another cell, or an older one put back, does not open. */
#include "zpy_entry.h"
#include "zpy_os.h"

#include <stdatomic.h>
#include <string.h>

#define KEY_BYTES ((size_t) 32)
#define NONCE_BYTES ((size_t) 12)
#define TAG_BYTES ((size_t) 16)

_Static_assert(KEY_BYTES == crypto_aead_aes256gcm_KEYBYTES && KEY_BYTES == crypto_aead_chacha20poly1305_ietf_KEYBYTES,
               "both ciphers take the same key");
_Static_assert(NONCE_BYTES == crypto_aead_aes256gcm_NPUBBYTES &&
                   NONCE_BYTES == crypto_aead_chacha20poly1305_ietf_NPUBBYTES,
               "and nonces of one length");
_Static_assert(TAG_BYTES == crypto_aead_aes256gcm_ABYTES && TAG_BYTES == crypto_aead_chacha20poly1305_ietf_ABYTES,
               "and tags");
_Static_assert(KEY_BYTES % ZPY_ALIGN == 0, "the schedule behind the key is aligned as libsodium wants it");

struct sealer {
    struct zpy_slot *key; /* The key and, behind it, its AES schedule. */
    _Atomic uint64_t *counter;
};

/* [1] for cells that a forked child inherits. */
static struct sealer sealers[2];
static _Atomic uint64_t own_counter = 1;
static bool use_aes = false;

int
zpy_seal_setup(void)
{
    use_aes = crypto_aead_aes256gcm_is_available() == 1;
    sealers[0].counter = &own_counter;
    uint8_t *const page = zpy_os_map_shared(zpy_pages_round(sizeof(uint64_t)));
    if (page == NULL) {
        return ZPY_NO_MEMORY;
    }
    sealers[1].counter = (_Atomic uint64_t *) (void *) page;
    atomic_store(sealers[1].counter, 1);
    return ZPY_OK;
}

void
zpy_seal_without_aes(void)
{
    use_aes = false;
}

static crypto_aead_aes256gcm_state *
schedule_of(struct sealer const *sealer)
{
    return (crypto_aead_aes256gcm_state *) (void *) (sealer->key->data + KEY_BYTES);
}

static void
draw_key(struct sealer const *sealer)
{
    randombytes_buf(sealer->key->data, KEY_BYTES);
    if (use_aes) {
        (void) crypto_aead_aes256gcm_beforenm(schedule_of(sealer), sealer->key->data); /* Fails without AES only. */
    }
    zpy_registers_clear_after_cipher();
}

/* A slot for a secret of any size, locked while that is possible, unless the budget is so small that packed cells need it. */
static void
keep_a_slot(void)
{
    struct zpy_slot *slot = NULL;
    if (!zpy_budget_has_reserve(zpy_pages_round(ZPY_SLOT_MAX + ZPY_CANARY_BYTES))) {
        return;
    }
    if (zpy_arena_obtain(ZPY_SLOT_MAX, zpy_shelf(false, true), &slot) == ZPY_OK) {
        zpy_arena_keep(slot);
        (void) zpy_arena_give(slot, 0); /* Nothing was in it; damage is counted in the stats. */
    }
}

int
zpy_seal_ensure(bool inherit)
{
    struct sealer *const sealer = &sealers[inherit];
    struct zpy_slot *slot = NULL;
    if (sealer->key != NULL) {
        return ZPY_OK;
    }
    int const status =
        zpy_arena_obtain(KEY_BYTES + sizeof(crypto_aead_aes256gcm_state), zpy_shelf(inherit, true), &slot);
    if (status != ZPY_OK) {
        return status;
    }
    if (sealer->key != NULL) {
        (void) zpy_arena_give(slot, 0); /* Another thread was faster; nothing was in this one. */
        return ZPY_OK;
    }
    sealer->key = slot;
    draw_key(sealer);
    if (!inherit) {
        keep_a_slot();
    }
    return ZPY_OK;
}

size_t
zpy_seal_bytes(size_t length)
{
    return length + TAG_BYTES;
}

static void
nonce_of(struct zpy_entry const *entry, uint8_t nonce[NONCE_BYTES])
{
    for (size_t index = 0; index < NONCE_BYTES; index++) {
        nonce[index] = (uint8_t) (index < sizeof entry->nonce ? entry->nonce >> (8 * index) : 0);
    }
}

/* In place, in the slot: should a fatal signal's handler zero the key meanwhile, what was made with it has not left locked
 * memory, and does not. */
void
zpy_seal_close(struct zpy_entry *entry)
{
    struct sealer const *const sealer = &sealers[entry->inherit];
    uint8_t nonce[NONCE_BYTES];
    uint8_t tag[TAG_BYTES];
    entry->nonce = atomic_fetch_add(sealer->counter, 1);
    nonce_of(entry, nonce);
    /* Both always answer 0 for lengths like these. */
    if (use_aes) {
        (void) crypto_aead_aes256gcm_encrypt_detached_afternm(entry->data, tag, NULL, entry->data, entry->length, NULL, 0,
                                                              NULL, nonce, schedule_of(sealer));
    } else {
        (void) crypto_aead_chacha20poly1305_ietf_encrypt_detached(entry->data, tag, NULL, entry->data, entry->length, NULL,
                                                                  0, NULL, nonce, sealer->key->data);
    }
    zpy_registers_clear_after_cipher();
    if (!zpy_lock_missed_wipe()) {
        memcpy(entry->sealed, entry->data, entry->length);
        memcpy(entry->sealed + entry->length, tag, sizeof tag);
    }
}

int
zpy_seal_open(struct zpy_entry *entry)
{
    struct sealer const *const sealer = &sealers[entry->inherit];
    uint8_t nonce[NONCE_BYTES];
    int failed;
    nonce_of(entry, nonce);
    if (use_aes) {
        failed = crypto_aead_aes256gcm_decrypt_afternm(entry->data, NULL, NULL, entry->sealed,
                                                       zpy_seal_bytes(entry->length), NULL, 0, nonce, schedule_of(sealer));
    } else {
        failed = crypto_aead_chacha20poly1305_ietf_decrypt(entry->data, NULL, NULL, entry->sealed,
                                                           zpy_seal_bytes(entry->length), NULL, 0, nonce, sealer->key->data);
    }
    zpy_registers_clear_after_cipher();
    if (failed != 0) {
        return zpy_lock_missed_wipe() ? ZPY_WIPED : ZPY_CORRUPT; /* Under a key that a handler zeroed nothing opens. */
    }
    return ZPY_OK;
}

struct zpy_pages const *
zpy_seal_pages(bool inherit)
{
    return zpy_arena_pages(sealers[inherit].key);
}

void
zpy_seal_forget(bool inherit)
{
    if (sealers[inherit].key != NULL) {
        draw_key(&sealers[inherit]);
    }
}

void
zpy_seal_after_fork(void)
{
    sealers[0].key = NULL; /* It stayed with the parent; the next sealed cell draws another. */
}
