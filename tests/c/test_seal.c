/* test_seal.c [mlock] [no-aes]: sealed cells. One function tests one property; exit status 0 when all hold. */
#include "zpy_entry.h"

#include "cells.h"
#include "zpy_os.h"

#include <unistd.h>

#if !defined(_WIN32)
#include <sys/wait.h>
#endif

#define BUDGET_BYTES ((uint64_t) 48 * 1024) /* What a limit of 64 KiB leaves. */

static uint64_t
sealed_of(void const *data, size_t length, uint32_t options)
{
    return made(zpy_cell_create(data, length, ZPY_SEALED | options, 0, 0));
}

static uint8_t *
ciphertext(uint64_t cell)
{
    return zpy_entry_find(cell)->sealed;
}

static void
check_content(uint64_t cell, void const *expected, size_t length)
{
    uint8_t out[4096];
    CHECK_EQUAL(zpy_cell_read(cell, 0, out, length), ZPY_OK);
    CHECK(memcmp(out, expected, length) == 0);
}

/* What goes in comes out, in every size, and no plain byte row lies in the ciphertext. */
static void
test_round_trip(void)
{
    uint8_t in[4096];
    randombytes_buf(in, sizeof in);
    for (size_t length = 0; length <= sizeof in; length += length < 600 ? 1 : 257) {
        uint64_t const cell = sealed_of(in, length, 0);
        CHECK_EQUAL(zpy_cell_length(cell), length);
        CHECK_EQUAL(zpy_cell_verify(cell, in, length), 1);
        check_content(cell, in, length);
        CHECK(length < 8 || zpy_os_find(ciphertext(cell), zpy_seal_bytes(length), in, 8) == NULL);
        CHECK(zpy_entry_find(cell)->slot == NULL); /* Closed again. */
        CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
        CHECK_EQUAL(zpy_cell_verify(cell, in, length), -ZPY_WIPED);
    }
    struct zpy_protection protection;
    uint64_t const cell = sealed_of(in, 32, 0);
    CHECK_EQUAL(zpy_cell_protection(cell, &protection), ZPY_OK);
    CHECK_EQUAL(protection.tier, ZPY_TIER_SEALED);
    CHECK_EQUAL(protection.locked, 1);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
    uint64_t const large = sealed_of(NULL, 4097, 0);
    CHECK_EQUAL(zpy_cell_protection(large, &protection), ZPY_OK);
    CHECK_EQUAL(protection.tier, ZPY_TIER_ISOLATED);
    CHECK_EQUAL(zpy_cell_wipe(large), ZPY_OK);
}

/* Each way to change the content is kept when the cell closes. */
static void
test_changes(void)
{
    uint8_t const zeros[16] = {0};
    uint64_t const cell = sealed_of("0123456789abcdef", 16, 0);
    uint64_t const other = sealed_of("ABCDEFGHIJKLMNOP", 16, 0);
    CHECK_EQUAL(zpy_cell_write(cell, 2, (uint8_t const *) "xy", 2), ZPY_OK);
    check_content(cell, "01xy456789abcdef", 16);
    size_t length = 0;
    uint8_t *const address = pinned(cell, &length);
    address[0] = 'Z';
    CHECK_EQUAL(zpy_cell_unpin(cell), ZPY_OK);
    check_content(cell, "Z1xy456789abcdef", 16);
    CHECK_EQUAL(zpy_cell_copy(cell, other, 16), ZPY_OK);
    CHECK_EQUAL(zpy_cell_compare(cell, other), 1);
    CHECK_EQUAL(zpy_cell_copy(cell, cell, 16), ZPY_OK);
    CHECK_EQUAL(zpy_cell_compare(cell, cell), 1);
    CHECK_EQUAL(zpy_source_strip(cell, 16), 16);
    CHECK_EQUAL(zpy_cell_zero(cell), ZPY_OK);
    check_content(cell, zeros, 16);
    CHECK_EQUAL(zpy_cell_compare(cell, other), 0);
    struct zpy_lease lease = {.cell = 0};
    uint8_t *const lent = zpy_cell_address(cell);
    CHECK_EQUAL(zpy_cell_lease(&lease, cell, lent, ZPY_LEASE_COUNTED | ZPY_LEASE_WRITABLE), ZPY_OK);
    lent[15] = '!';
    CHECK_EQUAL(zpy_cell_lease_close(&lease), ZPY_OK);
    zpy_cell_lease_drop(&lease, lent);
    check_content(cell, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0!", 16);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
    CHECK_EQUAL(zpy_cell_wipe(other), ZPY_OK);
}

/* Each flipped bit, a ciphertext of another cell and an older one of the same are refused, and no plaintext comes out. */
static void
test_tampering(void)
{
    uint8_t out[32];
    uint8_t old[32 + 16];
    uint64_t const cell = sealed_of("a secret of thirty-two bytes....", 32, 0);
    uint64_t const other = sealed_of("another of the very same length.", 32, 0);
    for (size_t bit = 0; bit < 8 * sizeof old; bit++) {
        ciphertext(cell)[bit / 8] ^= (uint8_t) (1U << bit % 8);
        memset(out, 0x55, sizeof out);
        CHECK_EQUAL(zpy_cell_read(cell, 0, out, 32), ZPY_CORRUPT);
        CHECK(out[0] == 0x55 && memcmp(out, out + 1, 31) == 0);
        CHECK_EQUAL(zpy_cell_verify(cell, out, 32), -ZPY_CORRUPT);
        ciphertext(cell)[bit / 8] ^= (uint8_t) (1U << bit % 8);
    }
    check_content(cell, "a secret of thirty-two bytes....", 32);
    memcpy(old, ciphertext(cell), sizeof old);
    memcpy(ciphertext(cell), ciphertext(other), sizeof old);
    CHECK_EQUAL(zpy_cell_read(cell, 0, out, 32), ZPY_CORRUPT);
    memcpy(ciphertext(cell), old, sizeof old);
    CHECK_EQUAL(zpy_cell_write(cell, 0, (uint8_t const *) "A", 1), ZPY_OK);
    CHECK(memcmp(ciphertext(cell), old, sizeof old) != 0);
    memcpy(ciphertext(cell), old, sizeof old);
    CHECK_EQUAL(zpy_cell_read(cell, 0, out, 32), ZPY_CORRUPT);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
    CHECK_EQUAL(zpy_cell_wipe(other), ZPY_OK);
}

/* A wipe zeroes the ciphertext's plaintext under a pin at once; the slot serves again when the pin is gone. */
static void
test_wipe_while_open(void)
{
    uint64_t const cell = sealed_of("0123456789abcdef", 16, 0);
    size_t length = 0;
    uint8_t *const address = pinned(cell, &length);
    CHECK(memcmp(address, "0123456789abcdef", 16) == 0);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
    CHECK(sodium_is_zero(address, 16));
    CHECK(ciphertext(cell) == NULL);
    address[3] = 'x'; /* A stale writer harms nobody. */
    CHECK_EQUAL(stats().pinned, 1);
    CHECK_EQUAL(zpy_cell_unpin(cell), ZPY_WIPED);
    CHECK_EQUAL(stats().pinned, 0);
    CHECK(sodium_is_zero(address, 16));
    CHECK_EQUAL(zpy_cell_state(cell), ZPY_WIPED);
}

/* An address that was asked for before another cell was opened there is not lent, and asking again helps. */
static void
test_moved(void)
{
    uint64_t const cell = sealed_of("0123456789abcdef", 16, 0);
    uint64_t const other = sealed_of("ABCDEFGHIJKLMNOP", 16, 0);
    struct zpy_lease lease = {.cell = 0};
    size_t length = 0;
    uint8_t const *address = zpy_cell_address(cell);
    CHECK(address != NULL && sodium_is_zero(address, 16)); /* Not open yet. */
    check_content(cell, "0123456789abcdef", 16);
    CHECK(pinned(other, &length) == address);
    CHECK_EQUAL(zpy_cell_lease(&lease, cell, address, ZPY_LEASE_COUNTED), ZPY_MOVED);
    CHECK_EQUAL(lease.cell, 0);
    address = zpy_cell_address(cell);
    CHECK_EQUAL(zpy_cell_lease(&lease, cell, address, ZPY_LEASE_COUNTED), ZPY_OK);
    CHECK(memcmp(address, "0123456789abcdef", 16) == 0);
    zpy_cell_lease_drop(&lease, address);
    CHECK(sodium_is_zero(address, 16));
    CHECK_EQUAL(zpy_cell_unpin(other), ZPY_OK);
    CHECK_EQUAL(zpy_cell_wipe(other), ZPY_OK);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
}

/* One lease serves one cell after the other in the same slot, which is zeros whenever nobody has it. */
static void
test_lease_again(void)
{
    uint64_t const cell = sealed_of("0123456789abcdef", 16, 0);
    uint64_t const other = sealed_of("ABCDEFGHIJKLMNOP", 16, 0);
    uint64_t const shorter = sealed_of("ABCDEFGHIJKLMNO", 15, 0);
    struct zpy_lease lease = {.cell = 0};
    size_t length = 0;
    uint8_t const *const address = zpy_cell_address(cell);
    CHECK_EQUAL(zpy_cell_lease(&lease, cell, address, ZPY_LEASE_COUNTED), ZPY_OK);
    CHECK_EQUAL(zpy_cell_lease_again(&lease, other, ZPY_LEASE_COUNTED), -ZPY_MOVED);
    CHECK(memcmp(address, "0123456789abcdef", 16) == 0);
    CHECK_EQUAL(zpy_cell_lease_end(&lease, 1), ZPY_OK);
    CHECK(sodium_is_zero(address, 16));
    CHECK_EQUAL(zpy_cell_lease_again(&lease, shorter, ZPY_LEASE_COUNTED), -ZPY_MOVED);
    CHECK_EQUAL(zpy_cell_lease_again(&lease, other, ZPY_LEASE_COUNTED), -ZPY_MOVED); /* It got another place just now. */
    check_content(other, "ABCDEFGHIJKLMNOP", 16);
    CHECK(pinned(cell, &length) != NULL);
    CHECK_EQUAL(zpy_cell_unpin(cell), ZPY_OK);
    CHECK_EQUAL(zpy_cell_wipe(shorter), ZPY_OK);
    CHECK_EQUAL(zpy_cell_wipe(other), ZPY_OK);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
    zpy_cell_lease_drop(&lease, address);
}

/* When packed cells have taken their part of the budget, sealed ones of every size can still be made and opened, also
 * several at once; what may be locked is never exceeded. */
static void
test_spent_budget(void)
{
    enum { COUNT = 4000 };
    static uint64_t packed[COUNT];
    static uint64_t cells[COUNT];
    uint8_t in[4096];
    size_t packed_count = 0;
    int64_t answer;
    while ((answer = zpy_cell_create(NULL, 100, 0, 0, 0)) > 0) {
        packed[packed_count++] = (uint64_t) answer;
    }
    CHECK_EQUAL(answer, -ZPY_LOCK_LIMIT);
    randombytes_buf(in, sizeof in);
    for (size_t index = 0; index < COUNT; index++) {
        cells[index] = sealed_of(in, index % 100 == 99 ? 4096 : index % 600, 0);
    }
    CHECK_EQUAL(stats().sealed, COUNT);
    for (size_t index = 0; index < COUNT; index++) {
        size_t first = 0;
        size_t second = 0;
        uint64_t const small = cells[index / 100 * 100];
        uint8_t const *const left = pinned(small, &first);
        uint8_t const *const right = pinned(cells[index], &second);
        CHECK(memcmp(left, in, first) == 0 && memcmp(right, in, second) == 0);
        CHECK_EQUAL(zpy_cell_unpin(cells[index]), ZPY_OK);
        CHECK_EQUAL(zpy_cell_unpin(small), ZPY_OK);
        CHECK(stats().locked_bytes <= BUDGET_BYTES);
    }
    for (size_t index = 0; index < COUNT; index++) {
        CHECK_EQUAL(zpy_cell_wipe(cells[index]), ZPY_OK);
    }
    for (size_t index = 0; index < packed_count; index++) {
        CHECK_EQUAL(zpy_cell_wipe(packed[index]), ZPY_OK);
    }
}

/* Too many open at once are refused, and served when the others are closed. */
static void
test_too_many_open(void)
{
    enum { COUNT = 200 };
    static uint64_t cells[COUNT];
    size_t open = 0;
    size_t length = 0;
    uint8_t *data;
    for (size_t index = 0; index < COUNT; index++) {
        cells[index] = sealed_of(NULL, 4000, 0);
    }
    while (open < COUNT && zpy_cell_pin(cells[open], false, &data, &length) == ZPY_OK) {
        open++;
    }
    CHECK(open > 0 && open < COUNT);
    CHECK_EQUAL(zpy_cell_pin(cells[open], false, &data, &length), ZPY_LOCK_LIMIT);
    struct zpy_lease lease = {.cell = 0};
    CHECK(zpy_cell_address(cells[open]) == NULL);
    CHECK_EQUAL(zpy_cell_lease(&lease, cells[open], NULL, ZPY_LEASE_COUNTED), ZPY_LOCK_LIMIT);
    CHECK_EQUAL(zpy_cell_unpin(cells[0]), ZPY_OK);
    CHECK_EQUAL(zpy_cell_lease(&lease, cells[open], NULL, ZPY_LEASE_COUNTED), ZPY_MOVED); /* There is room now. */
    CHECK_EQUAL(zpy_cell_pin(cells[open], false, &data, &length), ZPY_OK);
    CHECK_EQUAL(zpy_cell_unpin(cells[open]), ZPY_OK);
    for (size_t index = 1; index < open; index++) {
        CHECK_EQUAL(zpy_cell_unpin(cells[index]), ZPY_OK);
    }
    for (size_t index = 0; index < COUNT; index++) {
        CHECK_EQUAL(zpy_cell_wipe(cells[index]), ZPY_OK);
    }
}

/* Ciphertexts that do not open keep no place that others need. */
static void
test_tampered_keep_no_room(void)
{
    enum { COUNT = 100 };
    static uint64_t cells[COUNT];
    uint8_t out[4000];
    uint64_t const whole = sealed_of(NULL, 4000, 0);
    for (size_t index = 0; index < COUNT; index++) {
        cells[index] = sealed_of(NULL, 4000, 0);
        ciphertext(cells[index])[0] ^= 1;
        CHECK_EQUAL(zpy_cell_read(cells[index], 0, out, sizeof out), ZPY_CORRUPT);
    }
    CHECK_EQUAL(zpy_cell_read(whole, 0, out, sizeof out), ZPY_OK);
    for (size_t index = 0; index < COUNT; index++) {
        CHECK_EQUAL(zpy_cell_wipe(cells[index]), ZPY_OK);
    }
    CHECK_EQUAL(zpy_cell_wipe(whole), ZPY_OK);
}

/* A write behind an open cell is found when it closes, and told when it is wiped. */
static void
test_corruption(void)
{
    uint64_t const before = stats().corruptions;
    uint64_t const cell = sealed_of("twenty bytes of text", 20, 0);
    size_t length = 0;
    uint8_t *const address = pinned(cell, &length);
    address[20] ^= 1;
    CHECK_EQUAL(zpy_cell_unpin(cell), ZPY_OK);
    CHECK_EQUAL(stats().corruptions, before + 1);
    check_content(cell, "twenty bytes of text", 20);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_CORRUPT);
}

static uint64_t
nonce(uint64_t cell)
{
    return zpy_entry_find(cell)->nonce;
}

/* A child opens what it inherits and nothing else. No nonce is used twice by the processes that share a key; a child of its
 * own key may count from anywhere. */
static void
test_fork(void)
{
#if defined(_WIN32)
    fprintf(stderr, "skipped test_fork: nothing forks on Windows\n");
#else
    uint64_t const mine = sealed_of("the parent's own", 16, 0);
    uint64_t const shared = sealed_of("shared with all.", 16, ZPY_INHERIT);
    int ends[2];
    uint64_t in_child[3];
    CHECK_EQUAL(pipe(ends), 0);
    pid_t const child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK_EQUAL(zpy_cell_state(mine), ZPY_FORKED);
        CHECK_EQUAL(zpy_cell_verify(mine, (uint8_t const *) "the parent's own", 16), -ZPY_FORKED);
        check_content(shared, "shared with all.", 16);
        CHECK_EQUAL(stats().sealed, 1);
        CHECK_EQUAL(zpy_cell_write(shared, 0, (uint8_t const *) "S", 1), ZPY_OK);
        in_child[0] = nonce(shared);
        in_child[1] = nonce(sealed_of("made in the child", 17, ZPY_INHERIT));
        CHECK_EQUAL(zpy_cell_write(shared, 0, (uint8_t const *) "T", 1), ZPY_OK);
        in_child[2] = nonce(shared);
        uint64_t const own = sealed_of("the child's", 11, 0);
        check_content(own, "the child's", 11);
        CHECK_EQUAL(zpy_cell_wipe(mine), ZPY_OK);
        CHECK_EQUAL(write(ends[1], in_child, sizeof in_child), sizeof in_child);
        _exit(0);
    }
    CHECK_EQUAL(read(ends[0], in_child, sizeof in_child), sizeof in_child);
    int status = -1;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
    uint64_t const before = nonce(shared);
    CHECK_EQUAL(zpy_cell_write(shared, 1, (uint8_t const *) "H", 1), ZPY_OK);
    for (size_t index = 0; index < 3; index++) {
        CHECK(in_child[index] != before && in_child[index] != nonce(shared));
        CHECK(in_child[index] != in_child[(index + 1) % 3]);
    }
    check_content(shared, "sHared with all.", 16);
    check_content(mine, "the parent's own", 16);
    CHECK_EQUAL(zpy_cell_wipe(shared), ZPY_OK);
    CHECK_EQUAL(zpy_cell_wipe(mine), ZPY_OK);
    CHECK_EQUAL(close(ends[0]), 0);
    CHECK_EQUAL(close(ends[1]), 0);
#endif
}

/* After a purge no ciphertext of before opens, should a copy of one turn up: the key is another. */
static void
test_purge(void)
{
    uint8_t old[16 + 16];
    uint8_t out[16];
    uint64_t const cell = sealed_of("0123456789abcdef", 16, 0);
    uint64_t const old_nonce = nonce(cell);
    memcpy(old, ciphertext(cell), sizeof old);
    CHECK_EQUAL(zpy_purge(), 1);
    uint64_t const next = sealed_of("................", 16, 0);
    memcpy(ciphertext(next), old, sizeof old);
    zpy_entry_find(next)->nonce = old_nonce;
    CHECK_EQUAL(zpy_cell_read(next, 0, out, 16), ZPY_CORRUPT);
    CHECK_EQUAL(zpy_cell_wipe(next), ZPY_OK);
}

/* Counted accesses and deadlines are those of any cell. */
static void
test_limits(void)
{
    uint8_t out[6];
    uint64_t const cell = made(zpy_cell_create((uint8_t const *) "secret", 6, ZPY_SEALED, 0, 2));
    CHECK_EQUAL(zpy_cell_take(cell, out, 6), ZPY_OK);
    CHECK_EQUAL(zpy_cell_take(cell, out, 6), ZPY_OK);
    CHECK_EQUAL(zpy_cell_take(cell, out, 6), ZPY_WIPED);
}

static bool
expires_while_open(uint64_t ttl_ns)
{
    uint8_t out[6];
    uint64_t const end = zpy_entry_now_ns() + ttl_ns;
    uint64_t const brief = made(zpy_cell_create((uint8_t const *) "secret", 6, ZPY_SEALED, ttl_ns, 0));
    uint8_t const volatile *const address = pinned_in_time(brief);
    if (address == NULL) {
        return false;
    }
    bool const is_seen = address[0] == 's';
    bool const in_time = zpy_entry_now_ns() < end;
    CHECK(is_seen || !in_time);
    CHECK(goes_to_zero(address) && ciphertext(brief) == NULL);
    CHECK_EQUAL(zpy_cell_unpin(brief), ZPY_EXPIRED);
    CHECK_EQUAL(zpy_cell_take(brief, out, 6), ZPY_EXPIRED);
    CHECK_EQUAL(zpy_cell_wipe(brief), ZPY_OK);
    return in_time;
}

int
main(int argc, char **argv)
{
    bool allow_secretmem = true;
    for (int index = 1; index < argc; index++) {
        allow_secretmem = allow_secretmem && strcmp(argv[index], "mlock") != 0;
    }
    CHECK_EQUAL(zpy_init(allow_secretmem, BUDGET_BYTES), ZPY_OK);
    if (argc > 2 && strcmp(argv[2], "no-aes") == 0) {
        zpy_seal_without_aes();
    }
    test_round_trip();
    test_changes();
    test_tampering();
    test_tampered_keep_no_room();
    test_wipe_while_open();
    test_moved();
    test_lease_again();
    test_spent_budget();
    test_too_many_open();
    test_corruption();
    test_fork();
    test_limits();
    until_in_time(expires_while_open);
    test_purge();
    CHECK_EQUAL(stats().cells, 0);
    CHECK_EQUAL(stats().pinned, 0);
    printf("ok\n");
    return 0;
}
