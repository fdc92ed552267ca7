/* zpy_os.h: what differs between operating systems: pages, clock, alarm, threads, descriptors. zpy_os_posix.c and
 * zpy_os_posix_alarm.c serve Linux, macOS and other POSIX systems; zpy_os_windows.c and zpy_os_windows_io.c serve Windows
 * (mingw-w64, whose winpthreads brings the mutexes).
 *
 * Functions that can fail return a zpy_status unless their comment says otherwise: ZPY_LOCK_LIMIT where memory or a limit is
 * spent, ZPY_UNSUPPORTED where the platform lacks the thing, ZPY_SYSTEM for the rest, and errno holds the reason; on Windows
 * that is the nearest errno to GetLastError(). */
#ifndef ZPY_OS_H
#define ZPY_OS_H

#include "zpy_internal.h"

#include <pthread.h>

/* Once, before anything else here. */
void zpy_os_setup(void);

/* ---- pages: addresses and sizes are multiples of the page size ---- */

size_t zpy_os_page_bytes(void);
/* Address space without access or memory. Null and errno set when there is none. */
uint8_t *zpy_os_reserve(size_t bytes);
/* Ordinary zeroed pages that can be read and written. Null and errno set when there are none. */
uint8_t *zpy_os_map(size_t bytes);
/* The same, one and the same for this process and the children that fork() makes of it. */
uint8_t *zpy_os_map_shared(size_t bytes);
/* Have a part of what zpy_os_map gave in large pages, where the system has them; nothing rests on it. */
void zpy_os_prefer_large_pages(uint8_t *base, size_t bytes);
/* Give back, as a whole, what zpy_os_reserve or zpy_os_map gave; locks on it end. Freeing a whole mapping cannot fail. */
void zpy_os_release(uint8_t *base, size_t bytes);
/* Make a part of a reservation private zeroed pages that can be read and written. */
int zpy_os_commit(uint8_t *base, size_t bytes);
/* The other way round, whatever is there. */
int zpy_os_uncommit(uint8_t *base, size_t bytes);
/* Allow all access, or as much less as leaves the pages locked: none on POSIX, reading on Windows. */
int zpy_os_protect(uint8_t *base, size_t bytes, bool accessible);
/* ZPY_UNSUPPORTED only where the platform has no locks at all. */
int zpy_os_lock(uint8_t *base, size_t bytes);
void zpy_os_unlock(uint8_t *base, size_t bytes);
/* Private pages in a child of fork(): what became of them, an enum zpy_fork. */
int zpy_os_keep_from_children(uint8_t *base, size_t bytes);
/* Is it so that the system's crash dumps leave the pages out? */
bool zpy_os_keep_from_dumps(uint8_t *base, size_t bytes);
/* Before zpy_os_release: undo what zpy_os_lock and zpy_os_keep_from_dumps noted elsewhere about these pages. */
void zpy_os_forget(struct zpy_pages const *pages);
/* Readable zeros where nothing is mapped. What is there already stays. */
void zpy_os_fill_hole(uint8_t *base, size_t bytes);

/* A descriptor of new secret memory (Linux memfd_secret) of so many bytes, 0 to see whether there is any; or -1. */
int zpy_os_secretmem_open(size_t bytes);
/* Put it in the place of a part of a reservation, out of children's reach. */
int zpy_os_secretmem_map(int fd, uint8_t *base, size_t bytes);
void zpy_os_secretmem_close(int fd);

/* How many bytes may be locked by default: three quarters of the lock limit, after the soft limit was raised to the hard one;
 * without a limit, a quarter of the machine's memory. */
uint64_t zpy_os_lock_budget(void);

/* ---- time and threads ---- */

/* A clock that counts through suspend. UINT64_MAX without one, so that every deadline counts as past. */
uint64_t zpy_os_now_ns(void);
/* Sleep for some 20 microseconds, or as little more as the system can. */
void zpy_os_nap(void);
/* There is one alarm, which wakes one thread. These five are not for two threads at once, save zpy_os_alarm_wait.
 *
 * In that thread, which blocks all signals, before anything else: the alarm is to wake it. */
void zpy_os_alarm_open(void);
/* Set it to this time of zpy_os_now_ns, or to none with 0; that it went off is forgotten. Returns what zpy_os_alarm_wait
 * takes, -1 when there is no alarm to be had. */
intptr_t zpy_os_alarm_set(uint64_t at_ns);
/* In the thread of zpy_os_alarm_open, sleep until the alarm goes off, and perhaps not so long. In any thread with -1: some
 * milliseconds. */
void zpy_os_alarm_wait(intptr_t alarm);
/* In the thread of zpy_os_alarm_open, before it ends. */
void zpy_os_alarm_close(void);
/* In a forked child: give up the parent's. */
void zpy_os_alarm_drop(void);

/* Start a joinable thread with this stack, 0 for the default, that gets no signals: they belong to the threads that Python
 * knows. Returns an errno value. */
int zpy_os_thread_start(pthread_t *thread_out, size_t stack_bytes, void *(*run)(void *), void *argument);
/* As pthread_atfork; where nothing forks there is nothing to do. Returns an errno value. */
int zpy_os_at_fork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void));

/* ---- descriptors: bytes as they are, in binary, one system call each; -1 and errno set on errors ---- */

int64_t zpy_os_read(int fd, uint8_t *out, size_t length);
int64_t zpy_os_write(int fd, uint8_t const *bytes, size_t length);
/* The same at an offset of the file; its own offset is unspecified after. */
int64_t zpy_os_read_at(int fd, uint8_t *out, size_t length, uint64_t offset);
int64_t zpy_os_write_at(int fd, uint8_t const *bytes, size_t length, uint64_t offset);
/* Turn O_DIRECT on or off. False where the descriptor stays as it is. */
bool zpy_os_direct(int fd, bool on);

/* ---- bytes ---- */

/* The first place of needle (at least one byte) in hay, or null. */
uint8_t const *zpy_os_find(uint8_t const *hay, size_t hay_bytes, uint8_t const *needle, size_t needle_bytes);

#if defined(_WIN32)
/* Translate GetLastError() into errno, as far as callers tell values apart. */
void zpy_os_set_errno(void);
#endif

#endif
