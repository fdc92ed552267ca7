/* test_windows.c: what the Windows branch asks of the system, and what it makes of the answers.
 *
 * Calls into kernel32 go through pointers named __imp_<function>. Those defined here take the import library's place, so that
 * a call can be refused, and so that newer versions of Windows can be played where they are not there (wine). This shows
 * which calls are made, and not what Windows does with them. */
#include "zpy_os.h"

#include "cells.h"

#include <errno.h>
#include <fcntl.h>
#include <io.h>
#include <stdatomic.h>
#include <string.h>
#include <windows.h>

#define HOUR_NS ((uint64_t) 3600 * 1000000000U)
#define PAGE_BYTES ((size_t) 4096)

/* ---- a system that can be told what to do ---- */

static DWORD lock_refusal = 0;
static SIZE_T least_bytes = 50 * PAGE_BYTES; /* A new process's minimum working set. */
static SIZE_T locked_now = 0;
static int excluded_now = 0;
static _Atomic uint64_t slept_ns = 0;

/* As on Windows, no more than the minimum working set less a few pages can be locked. */
static BOOL WINAPI
play_lock(void *base, SIZE_T bytes)
{
    (void) base;
    if (lock_refusal != 0 || locked_now + bytes > least_bytes - 8 * PAGE_BYTES) {
        SetLastError(lock_refusal != 0 ? lock_refusal : ERROR_WORKING_SET_QUOTA);
        return FALSE;
    }
    locked_now += bytes;
    return TRUE;
}

static BOOL WINAPI
play_unlock(void *base, SIZE_T bytes)
{
    (void) base;
    locked_now -= bytes;
    return TRUE;
}

static BOOL WINAPI
play_get_room(HANDLE process, SIZE_T *least, SIZE_T *most)
{
    (void) process;
    *least = least_bytes;
    *most = least_bytes + 300 * PAGE_BYTES;
    return TRUE;
}

static BOOL WINAPI
play_set_room(HANDLE process, SIZE_T least, SIZE_T most)
{
    (void) process;
    CHECK(most > least);
    least_bytes = least;
    return TRUE;
}

static HRESULT WINAPI
play_exclude(void const *base, DWORD bytes)
{
    CHECK(base != NULL && bytes % PAGE_BYTES == 0);
    excluded_now++;
    return S_OK;
}

static HRESULT WINAPI
play_include(void const *base)
{
    CHECK(base != NULL);
    excluded_now--;
    return S_OK;
}

static VOID WINAPI
play_interrupt_time(PULONGLONG hundreds_ns)
{
    *hundreds_ns = GetTickCount64() * 10000 + slept_ns / 100;
}

static FARPROC WINAPI
play_address(HMODULE module, char const *name)
{
    (void) module;
    return strcmp(name, "QueryInterruptTimePrecise") == 0         ? (FARPROC) (void (*)(void)) play_interrupt_time
           : strcmp(name, "WerRegisterExcludedMemoryBlock") == 0   ? (FARPROC) (void (*)(void)) play_exclude
           : strcmp(name, "WerUnregisterExcludedMemoryBlock") == 0 ? (FARPROC) (void (*)(void)) play_include
                                                                   : NULL;
}

BOOL(WINAPI *__imp_VirtualLock)(void *, SIZE_T) = play_lock;
BOOL(WINAPI *__imp_VirtualUnlock)(void *, SIZE_T) = play_unlock;
BOOL(WINAPI *__imp_GetProcessWorkingSetSize)(HANDLE, SIZE_T *, SIZE_T *) = play_get_room;
BOOL(WINAPI *__imp_SetProcessWorkingSetSize)(HANDLE, SIZE_T, SIZE_T) = play_set_room;
FARPROC(WINAPI *__imp_GetProcAddress)(HMODULE, char const *) = play_address;

/* ---- tests ---- */

static struct zpy_protection
protection_of(uint64_t cell)
{
    struct zpy_protection protection;
    CHECK_EQUAL(zpy_cell_protection(cell, &protection), ZPY_OK);
    return protection;
}

static MEMORY_BASIC_INFORMATION
pages_at(uint8_t const *address)
{
    MEMORY_BASIC_INFORMATION about;
    CHECK(VirtualQuery(address, &about, sizeof about) == sizeof about);
    return about;
}

/* Reserved pages without memory lie around a cell; its own can be written only while somebody uses them. */
static void
test_guards(void)
{
    uint64_t const cell = made(zpy_cell_create((uint8_t const *) "secret", 6, ZPY_ISOLATED, 0, 0));
    uint8_t *const address = zpy_cell_address(cell);
    uint8_t *const page = address - (uintptr_t) address % PAGE_BYTES;
    size_t length = 0;
    CHECK_EQUAL(pages_at(page - 1).State, MEM_RESERVE);
    CHECK_EQUAL(pages_at(page + PAGE_BYTES).State, MEM_RESERVE);
    CHECK_EQUAL(pages_at(page).State, MEM_COMMIT);
    CHECK_EQUAL(pages_at(page).Protect, PAGE_READONLY);
    CHECK(pinned(cell, &length) == address);
    CHECK_EQUAL(pages_at(page).Protect, PAGE_READWRITE);
    CHECK_EQUAL(zpy_cell_unpin(cell), ZPY_OK);
    CHECK_EQUAL(pages_at(page).Protect, PAGE_READONLY);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
    CHECK_EQUAL(pages_at(page).State, MEM_FREE);
}

/* Four MiB are locked, which a working set that nobody raised does not allow, and locks that end make room again. */
static void
test_locks(void)
{
    SIZE_T const before = locked_now;
    for (int round = 0; round < 3; round++) {
        uint64_t const cell = made(zpy_large_create(NULL, 4U << 20, 0, 0, 0));
        struct zpy_protection const protection = protection_of(cell);
        CHECK(protection.locked && protection.backing == ZPY_BACKING_MLOCK && protection.fork == ZPY_FORK_ABSENT);
        CHECK_EQUAL(locked_now - before, 4U << 20);
        CHECK_EQUAL(zpy_large_wipe(cell), ZPY_OK);
        locked_now = before; /* Locks end with the pages. */
    }
    CHECK(least_bytes < (6U << 20)); /* Raised once and not in each round. */
}

/* A refused lock refuses the cell, says why, and leaves nothing behind. */
static void
test_refused_lock(void)
{
    uint64_t const before = stats().locked_bytes;
    lock_refusal = ERROR_WORKING_SET_QUOTA;
    CHECK_EQUAL(zpy_cell_create(NULL, 32, ZPY_ISOLATED, 0, 0), -ZPY_LOCK_LIMIT);
    CHECK_EQUAL(errno, ENOMEM);
    lock_refusal = ERROR_INVALID_PARAMETER;
    CHECK_EQUAL(zpy_cell_create(NULL, 32, ZPY_ISOLATED, 0, 0), -ZPY_SYSTEM);
    CHECK_EQUAL(errno, EINVAL);
    lock_refusal = 0;
    CHECK_EQUAL(stats().locked_bytes, before);
    CHECK_EQUAL(stats().isolated, 0);
}

/* On a system without locks there are cells, and they say that they are not locked. */
static void
test_no_locks(void)
{
    lock_refusal = ERROR_CALL_NOT_IMPLEMENTED;
    uint64_t const cell = made(zpy_cell_create((uint8_t const *) "secret", 6, ZPY_ISOLATED, 0, 0));
    lock_refusal = 0;
    struct zpy_protection const protection = protection_of(cell);
    CHECK(!protection.locked && protection.backing == ZPY_BACKING_NONE && protection.guarded);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
}

/* Pages are taken out of error reports while they hold a secret, and no longer. */
static void
test_reports(void)
{
    int const before = excluded_now;
    uint64_t const cell = made(zpy_cell_create((uint8_t const *) "secret", 6, ZPY_ISOLATED, 0, 0));
    CHECK(protection_of(cell).dump_excluded);
    CHECK_EQUAL(excluded_now, before + 1);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
    CHECK_EQUAL(excluded_now, before);
}

/* A deadline that passes while the machine sleeps is kept soon after, by the thread, too, whose timer did not run. */
static void
test_sleep(void)
{
    uint64_t const cell = made(zpy_cell_create((uint8_t const *) "secret", 6, 0, HOUR_NS, 0));
    uint64_t const other = made(zpy_cell_create((uint8_t const *) "secret", 6, 0, 2 * HOUR_NS, 0));
    size_t length = 0;
    uint8_t const volatile *const bytes = pinned(cell, &length);
    CHECK(zpy_cell_ttl(cell) > (int64_t) (HOUR_NS / 2));
    atomic_fetch_add(&slept_ns, HOUR_NS);
    CHECK(goes_to_zero(bytes));
    CHECK_EQUAL(zpy_cell_unpin(cell), ZPY_EXPIRED);
    CHECK_EQUAL(zpy_cell_state(other), ZPY_OK);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
    CHECK_EQUAL(zpy_cell_wipe(other), ZPY_OK);
    zpy_reaper_stop();
}

/* Bytes that text mode would change come and go as they are; the end of a pipe is its end. */
static void
test_descriptors(void)
{
    static uint8_t const text[] = "one\r\ntwo\n\x1A three";
    uint8_t out[sizeof text];
    int ends[2];
    CHECK_EQUAL(_pipe(ends, 4096, _O_TEXT), 0);
    uint64_t const from = made(zpy_cell_create(text, sizeof text, 0, 0, 0));
    uint64_t const to = made(zpy_cell_create(NULL, sizeof text, 0, 0, 0));
    CHECK_EQUAL(zpy_sink_write(from, sizeof text, ends[1]), ZPY_OK);
    CHECK_EQUAL(_close(ends[1]), 0);
    CHECK_EQUAL(zpy_source_read(to, 0, ends[0]), sizeof text);
    CHECK_EQUAL(zpy_cell_read(to, 0, out, sizeof out), ZPY_OK);
    CHECK(memcmp(out, text, sizeof text) == 0);
    CHECK_EQUAL(zpy_source_read(to, 0, ends[0]), 0);
    CHECK_EQUAL(zpy_scan_find(to, text, sizeof text, 0), 0);
    CHECK_EQUAL(_close(ends[0]), 0);
    CHECK_EQUAL(zpy_cell_wipe(from), ZPY_OK);
    CHECK_EQUAL(zpy_cell_wipe(to), ZPY_OK);
}

/* A variable can be read and not scrubbed; that is said before anything changes. */
static void
test_environment(void)
{
    CHECK_EQUAL(_putenv("ZPY_TEST=hunter2"), 0);
    uint64_t const cell = made(zpy_cell_from_env("ZPY_TEST", 0, 0, 0));
    CHECK_EQUAL(zpy_cell_verify(cell, (uint8_t const *) "hunter2", 7), 1);
    CHECK_EQUAL(zpy_cell_scrub_env("ZPY_TEST"), ZPY_UNSUPPORTED);
    CHECK(strcmp(getenv("ZPY_TEST"), "hunter2") == 0);
    CHECK_EQUAL(zpy_cell_wipe(cell), ZPY_OK);
}

/* The search finds what comparing at each place finds, in bytes that repeat. */
static void
test_find(void)
{
    uint8_t hay[40];
    for (int round = 0; round < 20000; round++) {
        randombytes_buf(hay, sizeof hay);
        for (size_t index = 0; index < sizeof hay; index++) {
            hay[index] &= 1;
        }
        size_t const length = 1 + randombytes_uniform(12);
        size_t const held = randombytes_uniform(sizeof hay - 11);
        uint8_t const *const needle = hay + sizeof hay - length;
        uint8_t const *expected = NULL;
        for (size_t at = 0; expected == NULL && at + length <= held; at++) {
            expected = memcmp(hay + at, needle, length) == 0 ? hay + at : NULL;
        }
        CHECK(zpy_os_find(hay, held, needle, length) == expected);
    }
}

int
main(void)
{
    CHECK_EQUAL(zpy_init(1, 16U << 20), ZPY_OK);
    CHECK_EQUAL(zpy_backing_kind(), ZPY_BACKING_MLOCK);
    test_guards();
    test_locks();
    test_refused_lock();
    test_no_locks();
    test_reports();
    test_sleep();
    test_descriptors();
    test_environment();
    test_find();
    puts("ok");
    return 0;
}
