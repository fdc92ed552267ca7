/* test_core.c: the core's promises, called as Python calls them. One function tests one property; exit status 0 when all
 * hold. Argument "mlock" keeps to the mlock backing; "nofork" behind it leaves out what forks, which ThreadSanitizer does
 * not support beside threads. */
#include "zpy_internal.h"

#include "cells.h"
#include "zpy_os.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#if !defined(_WIN32)
#include <sys/wait.h>
#endif

#define BUDGET_BYTES ((uint64_t) 256 * 1024)

/* What goes in comes out, in each size around each class. */
static void
test_round_trip(void)
{
    uint8_t in[6000];
    uint8_t out[6000];
    randombytes_buf(in, sizeof in);
    for (size_t length = 0; length <= sizeof in; length += length < 1100 ? 1 : 97) {
        uint64_t const cell = made(zpy_cell_create(in, length, 0, 0, 0));
        CHECK_EQUAL(zpy_cell_length(cell), length);
        CHECK_EQUAL(zpy_cell_read(cell, 0, out, length), ZPY_OK);
        CHECK(memcmp(in, out, length) == 0);
        CHECK_EQUAL(zpy_large_verify(cell, in, length), 1);
        CHECK_EQUAL(zpy_cell_verify(cell, in, length), length <= 4096);
        CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
    }
}

/* A handle that was given up is refused for ever, also when its entry lives again. */
static void
test_stale_handle(void)
{
    uint64_t const old = cell_of("old");
    CHECK_EQUAL(zpy_cell_wipe(old), ZPY_OK);
    uint64_t const fresh = cell_of("new");
    CHECK(fresh != old);
    uint8_t out[3];
    CHECK_EQUAL(zpy_cell_read(old, 0, out, 3), ZPY_WIPED);
    CHECK_EQUAL(zpy_cell_wipe(old), ZPY_OK);
    CHECK_EQUAL(zpy_cell_state(fresh), ZPY_OK);
    CHECK_EQUAL(zpy_cell_state(0), ZPY_WIPED);
    CHECK_EQUAL(zpy_cell_state(UINT64_MAX), ZPY_WIPED);
    CHECK_EQUAL(zpy_cell_wipe(fresh), ZPY_OK);
}

/* Offsets and lengths that leave the cell are refused, also when their sum overflows. */
static void
test_ranges(void)
{
    uint64_t const cell = cell_of("12345678");
    uint8_t out[16];
    CHECK_EQUAL(zpy_cell_read(cell, 0, out, 9), ZPY_RANGE);
    CHECK_EQUAL(zpy_cell_read(cell, 9, out, 0), ZPY_RANGE);
    CHECK_EQUAL(zpy_cell_read(cell, 4, out, SIZE_MAX), ZPY_RANGE);
    CHECK_EQUAL(zpy_cell_write(cell, SIZE_MAX, out, 1), ZPY_RANGE);
    CHECK_EQUAL(zpy_cell_take(cell, out, 9), ZPY_RANGE);
    CHECK_EQUAL(zpy_cell_state(cell), ZPY_OK);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
}

/* A wipe zeroes the bytes under a pin, and the slot is not used again before the pin is dropped. */
static void
test_pins(void)
{
    uint64_t const cell = cell_of("0123456789abcdef");
    size_t length = 0;
    uint8_t *const address = pinned(cell, &length);
    CHECK(address != NULL && length == 16);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
    CHECK(sodium_is_zero(address, 16));
    for (int round = 0; round < 1000; round++) {
        uint64_t const other = cell_of("fedcba9876543210");
        uint8_t *const elsewhere = pinned(other, &length);
        CHECK(elsewhere != address);
        CHECK_EQUAL(zpy_cell_unpin(other), ZPY_OK);
        CHECK_EQUAL(zpy_cell_wipe(other), ZPY_OK);
    }
    CHECK_EQUAL(stats().pinned, 1);
    CHECK_EQUAL(zpy_cell_unpin(cell), ZPY_WIPED);
    CHECK_EQUAL(stats().pinned, 0);
}

/* The last access wipes; a pin or a comparison is not an access. */
static void
test_read_limit(void)
{
    uint8_t out[6];
    uint64_t const cell = made(zpy_cell_create((uint8_t const *) "secret", 6, 0, 0, 2));
    CHECK_EQUAL(zpy_cell_verify(cell, (uint8_t const *) "secret", 6), 1);
    CHECK_EQUAL(zpy_cell_take(cell, out, 6), ZPY_OK);
    uint8_t const *const address = zpy_cell_address(cell);
    struct zpy_lease lease = {.cell = 0};
    struct zpy_lease other = {.cell = 0};
    CHECK_EQUAL(zpy_cell_lease(&lease, cell, address + 16, ZPY_LEASE_COUNTED), ZPY_MOVED); /* Another cell's address. */
    CHECK_EQUAL(zpy_cell_lease(&lease, cell, address, ZPY_LEASE_COUNTED), ZPY_OK);
    CHECK_EQUAL(zpy_cell_lease(&other, cell, address, ZPY_LEASE_COUNTED), ZPY_WIPED); /* Used up, while the last access is open. */
    CHECK_EQUAL(zpy_cell_lease(&other, cell, address, 0), ZPY_OK);
    CHECK_EQUAL(zpy_cell_state(cell), ZPY_OK);
    CHECK_EQUAL(zpy_cell_lease_close(&lease), ZPY_OK);
    CHECK_EQUAL(zpy_cell_state(cell), ZPY_WIPED);
    CHECK_EQUAL(zpy_cell_lease_close(&other), ZPY_WIPED);
    CHECK_EQUAL(stats().pinned, 1);
    zpy_cell_lease_drop(&other, address);
    zpy_cell_lease_drop(&lease, address);
    zpy_cell_lease_drop(&lease, address);
    CHECK_EQUAL(stats().pinned, 0);
}

/* A lease that is dropped without being closed ends its access all the same: an interrupted borrower keeps nothing alive. */
static void
test_dropped_lease(void)
{
    uint64_t const cell = made(zpy_cell_create((uint8_t const *) "secret", 6, 0, 0, 1));
    uint8_t const *const address = zpy_cell_address(cell);
    struct zpy_lease lease = {.cell = 0};
    CHECK_EQUAL(zpy_cell_lease(&lease, cell, address, ZPY_LEASE_COUNTED), ZPY_OK);
    zpy_cell_lease_drop(&lease, address);
    CHECK_EQUAL(zpy_cell_state(cell), ZPY_WIPED);
    CHECK_EQUAL(stats().pinned, 0);
}

/* A lease that was ended is taken again, by one borrower after the other, and ended by the one whose turn it is alone. */
static void
test_lease_again(void)
{
    uint64_t const cell = made(zpy_cell_create((uint8_t const *) "secret", 6, ZPY_ISOLATED, 0, 3));
    uint64_t const other = made(zpy_cell_create((uint8_t const *) "secret", 6, ZPY_ISOLATED, 0, 0));
    uint8_t const *const address = zpy_cell_address(cell);
    struct zpy_lease lease = {.cell = 0};
    CHECK_EQUAL(zpy_cell_lease_again(&lease, cell, ZPY_LEASE_COUNTED), -ZPY_MOVED); /* Not taken before. */
    CHECK_EQUAL(zpy_cell_lease(&lease, cell, address, ZPY_LEASE_COUNTED), ZPY_OK);
    CHECK_EQUAL(zpy_cell_lease_again(&lease, cell, ZPY_LEASE_COUNTED), -ZPY_MOVED); /* Not free. */
    CHECK_EQUAL(zpy_cell_lease_end(&lease, 1), ZPY_OK);
    CHECK_EQUAL(zpy_cell_lease_end(&lease, 1), -1);
    CHECK_EQUAL(zpy_cell_lease_again(&lease, other, ZPY_LEASE_COUNTED), -ZPY_MOVED); /* Elsewhere. */
    CHECK_EQUAL(zpy_cell_lease_again(&lease, cell, ZPY_LEASE_COUNTED), 2);
    CHECK_EQUAL(zpy_cell_lease_end(&lease, 1), -1); /* It is not this one's any more. */
    CHECK(memcmp(address, "secret", 6) == 0);
    CHECK_EQUAL(zpy_cell_lease_end(&lease, 2), ZPY_OK);
    CHECK_EQUAL(zpy_cell_lease_again(&lease, cell, ZPY_LEASE_COUNTED), 3);
    CHECK_EQUAL(zpy_cell_lease_end(&lease, 3), ZPY_OK); /* The last access. */
    CHECK_EQUAL(zpy_cell_state(cell), ZPY_WIPED);
    CHECK_EQUAL(stats().pinned, 0);
    CHECK_EQUAL(zpy_cell_lease_again(&lease, cell, ZPY_LEASE_COUNTED), -ZPY_MOVED);
    zpy_cell_lease_drop(&lease, address);
    CHECK_EQUAL(zpy_cell_wipe(other), ZPY_OK);
}

/* A lease that was taken again and is dropped gives back what it holds: what is pinned and wiped then goes. */
static void
test_dropped_again(void)
{
    uint64_t const cell = made(zpy_cell_create((uint8_t const *) "secret", 6, 0, 0, 2));
    uint8_t const *const address = zpy_cell_address(cell);
    struct zpy_lease lease = {.cell = 0};
    CHECK_EQUAL(zpy_cell_lease(&lease, cell, address, 0), ZPY_OK);
    CHECK_EQUAL(zpy_cell_lease_end(&lease, 1), ZPY_OK);
    CHECK_EQUAL(zpy_cell_lease_again(&lease, cell, ZPY_LEASE_COUNTED), 2);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
    CHECK(sodium_is_zero(address, 6));
    CHECK_EQUAL(stats().pinned, 1);
    zpy_cell_lease_drop(&lease, address);
    CHECK_EQUAL(stats().pinned, 0);
    CHECK_EQUAL(zpy_cell_lease_end(&lease, 2), -1);
}

/* The twins for large cells answer as the short ones do. */
static void
test_large(void)
{
    static uint8_t in[20000];
    static uint8_t out[20000];
    randombytes_buf(in, sizeof in);
    uint64_t const cell = made(zpy_large_create(in, sizeof in, 0, 0, 1));
    uint64_t const other = made(zpy_large_create(NULL, sizeof in, 0, 0, 0));
    CHECK_EQUAL(zpy_large_verify(cell, in, sizeof in), 1);
    CHECK_EQUAL(zpy_large_verify(cell, out, sizeof out), 0);
    CHECK_EQUAL(zpy_large_compare(cell, other), 0);
    CHECK_EQUAL(zpy_large_copy(other, cell, sizeof in), ZPY_OK);
    CHECK_EQUAL(zpy_large_compare(cell, other), 1);
    CHECK_EQUAL(zpy_large_read(cell, 1, out, sizeof out), ZPY_RANGE);
    CHECK_EQUAL(zpy_large_read(cell, 100, out, 5000), ZPY_OK);
    CHECK(memcmp(in + 100, out, 5000) == 0);
    CHECK_EQUAL(zpy_large_write(other, 7, in, 6000), ZPY_OK);
    CHECK_EQUAL(zpy_large_read(other, 7, out, 6000), ZPY_OK);
    CHECK(memcmp(in, out, 6000) == 0);
    CHECK_EQUAL(zpy_large_zero(other), ZPY_OK);
    CHECK_EQUAL(zpy_large_read(other, 0, out, sizeof out), ZPY_OK);
    CHECK(sodium_is_zero(out, sizeof out));
    CHECK_EQUAL(zpy_large_take(cell, out, 5), ZPY_RANGE);
    CHECK_EQUAL(zpy_large_take(cell, out, sizeof out), ZPY_OK);
    CHECK(memcmp(in, out, sizeof out) == 0);
    CHECK_EQUAL(zpy_large_take(cell, out, sizeof out), ZPY_WIPED);
    CHECK_EQUAL(zpy_large_wipe(other), ZPY_OK);
    CHECK_EQUAL(zpy_large_copy(other, cell, 1), ZPY_WIPED);
    CHECK_EQUAL(stats().isolated, 0);
}

/* After its deadline every path finds a cell expired, and its bytes are zero. */
static bool
expires_for_every_path(uint64_t ttl_ns)
{
    uint8_t out[6];
    uint64_t const end = zpy_os_now_ns() + ttl_ns;
    uint64_t const cell = made(zpy_cell_create((uint8_t const *) "secret", 6, 0, ttl_ns, 0));
    uint8_t const volatile *const bytes = pinned_in_time(cell);
    if (bytes == NULL) {
        return false;
    }
    int const answer = zpy_cell_verify(cell, (uint8_t const *) "secret", 6);
    int64_t const left = zpy_cell_ttl(cell);
    bool const in_time = zpy_os_now_ns() < end;
    CHECK(!in_time || (answer == 1 && left > 0));
    CHECK_EQUAL(usleep((useconds_t) (ttl_ns / 1000)), 0);
    CHECK_EQUAL(zpy_cell_verify(cell, (uint8_t const *) "secret", 6), -ZPY_EXPIRED);
    CHECK(sodium_is_zero((uint8_t const *) bytes, 6));
    CHECK_EQUAL(zpy_cell_take(cell, out, 6), ZPY_EXPIRED);
    CHECK_EQUAL(zpy_cell_compare(cell, cell), -ZPY_EXPIRED);
    CHECK_EQUAL(zpy_cell_ttl(cell), -1 - ZPY_EXPIRED);
    CHECK_EQUAL(zpy_cell_unpin(cell), ZPY_EXPIRED);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
    return in_time;
}

/* The reaper zeroes the bytes at their deadlines, without anybody touching the cells; cells wiped early and a
 * later, sooner deadline do not disturb it. */
static bool
reaps_in_any_order(uint64_t ttl_ns)
{
    enum { COUNT = 300 };
    static uint64_t cells[COUNT];
    static uint8_t const volatile *addresses[COUNT];
    uint64_t const expired = stats().expiries;
    uint64_t const end = zpy_os_now_ns() + ttl_ns;
    for (size_t index = 0; index < COUNT; index++) {
        uint64_t const later_ns = 2 * ttl_ns + (index * 37) % 60 * 1000000U; /* Within 60 ms, not in order. */
        cells[index] = made(zpy_cell_create((uint8_t const *) "secret", 6, 0, later_ns, 0));
        addresses[index] = pinned_in_time(cells[index]);
    }
    for (size_t index = 0; index < COUNT; index += 3) {
        CHECK_EQUAL(zpy_cell_wipe(cells[index]), ZPY_OK);
    }
    uint64_t const soon = made(zpy_cell_create((uint8_t const *) "sooner", 6, 0, ttl_ns, 0));
    uint8_t const volatile *const first = pinned_in_time(soon);
    bool const in_time = zpy_os_now_ns() < end;
    CHECK(first == NULL || goes_to_zero(first));
    for (size_t index = 0; index < COUNT; index++) {
        bool const is_pinned = addresses[index] != NULL;
        CHECK(is_pinned ? goes_to_zero(addresses[index]) : !in_time);
        int const state = is_pinned ? zpy_cell_unpin(cells[index]) : ZPY_EXPIRED;
        CHECK_EQUAL(zpy_cell_wipe(cells[index]), ZPY_OK);
        CHECK(!in_time || state == (index % 3 == 0 ? ZPY_WIPED : ZPY_EXPIRED));
    }
    if (first != NULL) {
        CHECK_EQUAL(zpy_cell_unpin(soon), ZPY_EXPIRED);
        CHECK_EQUAL(zpy_cell_wipe(soon), ZPY_OK);
    }
    CHECK(!in_time || stats().expiries - expired == COUNT - COUNT / 3 + 1);
    CHECK_EQUAL(stats().pinned, 0);
    return in_time;
}

/* A child keeps the deadline of a cell that it inherited; the parent's thread is not there to do it. */
#if !defined(_WIN32)
static bool
reaps_after_fork(uint64_t ttl_ns)
{
    uint64_t const end = zpy_os_now_ns() + ttl_ns;
    uint64_t const cell = made(zpy_cell_create((uint8_t const *) "secret", 6, ZPY_INHERIT, ttl_ns, 0));
    uint8_t const volatile *const address = pinned_in_time(cell);
    if (address == NULL) {
        return false;
    }
    pid_t const child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK_EQUAL(zpy_reaper_ensure(), ZPY_OK);
        bool const is_seen = address[0] == 's';
        bool const in_time = zpy_os_now_ns() < end;
        CHECK(is_seen || !in_time);
        CHECK(goes_to_zero(address));
        zpy_reaper_stop();
        _exit(in_time ? 0 : 2);
    }
    int status = -1;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK(status == 0 || status == 2 << 8);
    CHECK(goes_to_zero(address));
    CHECK_EQUAL(zpy_cell_unpin(cell), ZPY_EXPIRED);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
    return status == 0;
}
#endif

/* A thread that was stopped is started again by the next deadline. */
static bool
restarts(uint64_t ttl_ns)
{
    zpy_reaper_stop();
    uint64_t const again = made(zpy_cell_create((uint8_t const *) "secret", 6, 0, ttl_ns, 0));
    uint8_t const volatile *const bytes = pinned_in_time(again);
    if (bytes == NULL) {
        return false;
    }
    CHECK(goes_to_zero(bytes));
    CHECK_EQUAL(zpy_cell_unpin(again), ZPY_EXPIRED);
    CHECK_EQUAL(zpy_cell_wipe(again), ZPY_OK);
    return true;
}

static void
test_deadlines(bool may_fork)
{
    until_in_time(expires_for_every_path);
    until_in_time(reaps_in_any_order);
#if defined(_WIN32)
    fprintf(stderr, "skipped reaps_after_fork: nothing forks on Windows\n");
    (void) may_fork;
#else
    if (may_fork) {
        until_in_time(reaps_after_fork);
    }
#endif
    until_in_time(restarts);
}

/* A write behind the cell, into its slack or its canary, is found when it is wiped, and the slot is never used again. */
static void
test_corruption(void)
{
    size_t const strays[] = {20, 31, 32, 47}; /* A cell of 20 bytes in a slot of 32 and a canary of 16. */
    for (size_t index = 0; index < sizeof strays / sizeof strays[0]; index++) {
        uint64_t const before = stats().corruptions;
        uint64_t const cell = cell_of("twenty bytes, no more");
        uint64_t const target = made(zpy_cell_create(NULL, 20, 0, 0, 0));
        size_t length = 0;
        uint8_t *const address = pinned(target, &length);
        address[strays[index]] ^= 1;
        CHECK_EQUAL(zpy_cell_unpin(target), ZPY_OK);
        CHECK_EQUAL(zpy_cell_wipe(target), ZPY_CORRUPT);
        CHECK_EQUAL(stats().corruptions, before + 1);
        CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
    }
}

/* The budget holds; what one size gives back serves another; a larger slot serves when pages are spent. */
static void
test_budget(void)
{
    static uint64_t cells[100000];
    size_t count = 0;
    int64_t answer;
    while ((answer = zpy_cell_create(NULL, 32, 0, 0, 0)) > 0) {
        cells[count++] = (uint64_t) answer;
    }
    CHECK_EQUAL(answer, -ZPY_LOCK_LIMIT);
    CHECK(stats().locked_bytes <= BUDGET_BYTES);
    CHECK_EQUAL(zpy_cell_create(NULL, 100000, 0, 0, 0), -ZPY_LOCK_LIMIT);
    for (size_t index = 0; index < count; index++) {
        CHECK_EQUAL(zpy_cell_wipe(cells[index]), ZPY_OK);
    }
    uint64_t const large = made(zpy_cell_create(NULL, 100000, 0, 0, 0));
    count = 0;
    while ((answer = zpy_cell_create(NULL, 4096, 0, 0, 0)) > 0) {
        cells[count++] = (uint64_t) answer;
    }
    CHECK_EQUAL(zpy_cell_wipe(cells[0]), ZPY_OK);
    uint64_t const guest = made(zpy_cell_create(NULL, 1500, 0, 0, 0)); /* No page left: a slot of 4096 takes it. */
    CHECK_EQUAL(zpy_cell_wipe(guest), ZPY_OK);
    for (size_t index = 1; index < count; index++) {
        CHECK_EQUAL(zpy_cell_wipe(cells[index]), ZPY_OK);
    }
    CHECK_EQUAL(zpy_cell_wipe(large), ZPY_OK);
}

/* RFC 3629: shortest forms only, no surrogates, nothing past U+10FFFF. */
static void
test_utf8(void)
{
    struct {
        char const *text;
        int64_t points;
    } const cases[] = {
        {"plain", 5},          {"\xC3\xA9", 1},         {"\xE2\x82\xAC", 1},      {"\xF0\x9D\x84\x9E", 1},
        {"\xF4\x8F\xBF\xBF", 1}, {"\xC0\x80", -ZPY_BAD_TEXT}, {"\xC1\xBF", -ZPY_BAD_TEXT}, {"\xE0\x9F\xBF", -ZPY_BAD_TEXT},
        {"\xED\xA0\x80", -ZPY_BAD_TEXT}, {"\xF0\x8F\xBF\xBF", -ZPY_BAD_TEXT}, {"\xF4\x90\x80\x80", -ZPY_BAD_TEXT},
        {"\xF8\x88\x80\x80\x80", -ZPY_BAD_TEXT}, {"\x80", -ZPY_BAD_TEXT}, {"\xC3", -ZPY_BAD_TEXT},
        {"\xE2\x82", -ZPY_BAD_TEXT}, {"a\xFF", -ZPY_BAD_TEXT}, {"\xC3\x28", -ZPY_BAD_TEXT},
    };
    for (size_t index = 0; index < sizeof cases / sizeof cases[0]; index++) {
        uint64_t const cell = cell_of(cases[index].text);
        CHECK_EQUAL(zpy_cell_decode(cell, 0), cases[index].points);
        CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
    }
    uint64_t const cell = cell_of("a\xE2\x82\xAC");
    uint64_t const points = made(zpy_cell_create(NULL, 8, 0, 0, 0));
    uint32_t out[2];
    CHECK_EQUAL(zpy_cell_decode(cell, points), 2);
    CHECK_EQUAL(zpy_cell_read(points, 0, (uint8_t *) out, 8), ZPY_OK);
    CHECK(out[0] == 'a' && out[1] == 0x20AC);
    CHECK_EQUAL(zpy_cell_wipe(points), ZPY_OK);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
}

/* In a child the parent's cells are refused and read as zeros; inherited ones are the child's own. */
static void
test_fork(void)
{
#if defined(_WIN32)
    fprintf(stderr, "skipped test_fork: nothing forks on Windows\n");
#else
    uint64_t const cell = cell_of("parent's");
    uint64_t const inherited = made(zpy_cell_create((uint8_t const *) "shared", 6, ZPY_INHERIT, 0, 0));
    size_t length = 0;
    uint8_t const *const address = pinned(cell, &length);
    pid_t const child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK_EQUAL(zpy_cell_state(cell), ZPY_FORKED);
        CHECK_EQUAL(zpy_cell_verify(cell, (uint8_t const *) "parent's", 8), -ZPY_FORKED);
        CHECK(sodium_is_zero(address, 8));
        CHECK_EQUAL(zpy_cell_verify(inherited, (uint8_t const *) "shared", 6), 1);
        CHECK_EQUAL(zpy_cell_wipe(inherited), ZPY_OK);
        CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
        CHECK_EQUAL(zpy_cell_wipe(cell_of("child's")), ZPY_OK);
        _exit(0);
    }
    int status = -1;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
    CHECK_EQUAL(zpy_cell_verify(inherited, (uint8_t const *) "shared", 6), 1);
    CHECK_EQUAL(zpy_cell_unpin(cell), ZPY_OK);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
    CHECK_EQUAL(zpy_cell_wipe(inherited), ZPY_OK);
#endif
}

/* A pattern keeps its phase, whatever its period and wherever the span begins; the stream is seekable. */
static void
test_filler(void)
{
    static uint8_t whole[3 * 8192];
    static uint8_t part[8192];
    uint8_t pattern[5000];
    uint8_t key[32];
    size_t const periods[] = {1, 2, 3, 7, 512, 4096, 4999};
    randombytes_buf(pattern, sizeof pattern);
    randombytes_buf(key, sizeof key);
    for (size_t index = 0; index < sizeof periods / sizeof periods[0]; index++) {
        struct zpy_filler const filler = {.pattern = pattern, .pattern_bytes = periods[index]};
        for (uint64_t offset = 0; offset < 3 * 4096; offset += 4096) {
            zpy_filler_fill(&filler, part, sizeof part, offset);
            for (size_t at = 0; at < sizeof part; at++) {
                CHECK_EQUAL(part[at], pattern[(offset + at) % periods[index]]);
            }
        }
    }
    struct zpy_filler const stream = {.stream_key = key, .stream_number = 3, .generator = zpy_generator_best()};
    zpy_filler_fill(&stream, whole, sizeof whole, 0);
    zpy_filler_fill(&stream, part, sizeof part, 8192);
    CHECK(memcmp(whole + 8192, part, sizeof part) == 0);
}

/* A span is written whole, verified, and a changed byte is found at its place. */
static void
test_overwrite(void)
{
    char name[] = "zpy-overwrite-XXXXXX";
    int const fd = mkstemp(name);
    CHECK(fd >= 0);
    struct zpy_writer *const writer = zpy_writer_new(8192);
    uint64_t const key = made(zpy_cell_create(NULL, 32, ZPY_RANDOM, 0, 0));
    int const generator = zpy_generator_best();
    struct zpy_span_request const request = {
        .fd = fd, .generator = generator, .start = 4096, .stop = 100001, .stream_key = key};
    struct zpy_span_result result;
    CHECK_EQUAL(zpy_overwrite_span(writer, &request, &result), ZPY_OK);
    CHECK_EQUAL(result.done_bytes, 100001 - 4096);
    CHECK_EQUAL(lseek(fd, 0, SEEK_END), 100001);
    CHECK_EQUAL(zpy_verify_span(writer, &request, &result), ZPY_OK);
    uint8_t byte;
    CHECK_EQUAL(zpy_os_read_at(fd, &byte, 1, 70000), 1);
    byte ^= 1;
    CHECK_EQUAL(zpy_os_write_at(fd, &byte, 1, 70000), 1);
    CHECK_EQUAL(zpy_verify_span(writer, &request, &result), ZPY_FORGED);
    CHECK_EQUAL(result.done_bytes, 70000 - 4096);
    CHECK_EQUAL(zpy_cell_wipe(key), ZPY_OK);
    CHECK_EQUAL(zpy_overwrite_span(writer, &request, &result), ZPY_WIPED);
    zpy_writer_free(writer);
    CHECK(zpy_writer_new(100) == NULL);
    CHECK_EQUAL(close(fd), 0);
    CHECK_EQUAL(unlink(name), 0);
}

int
main(int argc, char **argv)
{
    bool const may_fork = argc < 3 || strcmp(argv[2], "nofork") != 0;
    CHECK_EQUAL(zpy_init(argc < 2 || strcmp(argv[1], "mlock") != 0, BUDGET_BYTES), ZPY_OK);
    test_round_trip();
    test_stale_handle();
    test_ranges();
    test_pins();
    test_read_limit();
    test_dropped_lease();
    test_lease_again();
    test_dropped_again();
    test_large();
    test_deadlines(may_fork);
    test_corruption();
    test_budget();
    test_utf8();
    if (may_fork) {
        test_fork();
    }
    test_filler();
    test_overwrite();
    CHECK_EQUAL(stats().cells, 0);
    CHECK_EQUAL(zpy_purge(), 0);
    zpy_reaper_stop();
    puts("ok");
    return 0;
}
