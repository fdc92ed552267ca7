/* zpy_nonce.c: random nonces, several with one system call while many are wanted.
 *
 * A system call for each nonce is most of what a short message costs. What was drawn ahead must never be used twice, and there
 * are two ways in which it could. A forked child has a copy of its parent's memory: the stock lies on a page that the kernel
 * gives to each child as zeros, however it was made, and that is an empty stock; without such a page there is none. And a virtual
 * machine may be restored twice from one snapshot: what is a millisecond old is not used any more, so that only messages count
 * that are encrypted within a millisecond before and after the snapshot, by its clock. Nonces are no secret. */
#include "zpy_os.h"

#include <string.h>

/* What getrandom gives in one piece whatever signals come: getrandom(2). */
#define STOCK_BYTES ((size_t) 256)
#define FRESH_NS ((uint64_t) 1000000)

/* All zeros is one that was never used. */
struct stock {
    atomic_bool is_taken;
    uint64_t drawn_ns; /* When a nonce was last drawn from the kernel. */
    size_t left;
    uint8_t bytes[STOCK_BYTES];
};
_Static_assert(sizeof(struct stock) <= ZPY_UNSHARED_BYTES, "it has a place");

/* A lone message is not made to pay for others: the stock is filled for those that come in quick succession. */
static bool
take(struct stock *stock, uint8_t *nonce_out, size_t length)
{
    uint64_t const now = zpy_os_now_ns();
    bool const is_fresh = now - stock->drawn_ns < FRESH_NS && now != UINT64_MAX; /* Which says that there is no clock. */
    if (!is_fresh || stock->left < length) {
        stock->left = 0;
        stock->drawn_ns = now;
        if (!is_fresh) {
            return false;
        }
        randombytes_buf(stock->bytes, STOCK_BYTES);
        stock->left = STOCK_BYTES;
    }
    stock->left -= length;
    memcpy(nonce_out, stock->bytes + stock->left, length);
    return true;
}

void
zpy_nonce_draw(uint8_t *nonce_out, size_t length)
{
    struct stock *const stock = (struct stock *) (void *) zpy_pages_unshared();
    bool is_drawn = false;
    /* Who finds it taken does not wait: its owner may have been stopped. */
    if (stock != NULL && !atomic_exchange_explicit(&stock->is_taken, true, memory_order_acquire)) {
        is_drawn = take(stock, nonce_out, length);
        atomic_store_explicit(&stock->is_taken, false, memory_order_release);
    }
    if (!is_drawn) {
        randombytes_buf(nonce_out, length);
    }
}
