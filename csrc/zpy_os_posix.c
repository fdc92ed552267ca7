/* zpy_os_posix.c: zpy_os.h for Linux, macOS and other POSIX systems, but for clock and alarm, which zpy_os_posix_alarm.c has.
 * What a system lacks is reported as missing; only Linux is tested (LIMITATIONS.md). */
#include "zpy_os.h"

#if !defined(_WIN32)

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/syscall.h>
#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447 /* The same number on every architecture since Linux 5.14. */
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif
#endif

#if defined(__APPLE__)
#include <mach/vm_inherit.h>
#endif

#ifndef MAP_NORESERVE
#define MAP_NORESERVE 0 /* Pages without access cost nothing on the systems that lack the flag. */
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0 /* Then the address is a hint, which is taken when nothing is there. */
#endif
#ifndef O_DIRECT
#define O_DIRECT 0
#endif

static size_t page_bytes = 4096;

void
zpy_os_setup(void)
{
    long const reported = sysconf(_SC_PAGESIZE);
    if (reported > 0) {
        page_bytes = (size_t) reported;
    }
}

/* ---- pages ---- */

size_t
zpy_os_page_bytes(void)
{
    return page_bytes;
}

/* Refusals of mmap, mprotect and mlock that mean the limit is reached. */
static int
status_of_refusal(void)
{
    return (errno == ENOMEM || errno == EAGAIN || errno == EPERM) ? ZPY_LOCK_LIMIT : ZPY_SYSTEM;
}

static uint8_t *
map_anonymous(uint8_t *at, size_t bytes, int access, int flags)
{
    void *const base = mmap(at, bytes, access, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
    return base != MAP_FAILED ? base : NULL;
}

uint8_t *
zpy_os_reserve(size_t bytes)
{
    return map_anonymous(NULL, bytes, PROT_NONE, MAP_NORESERVE);
}

uint8_t *
zpy_os_map(size_t bytes)
{
    return map_anonymous(NULL, bytes, PROT_READ | PROT_WRITE, 0);
}

uint8_t *
zpy_os_map_shared(size_t bytes)
{
    void *const base = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return base != MAP_FAILED ? base : NULL;
}

void
zpy_os_prefer_large_pages(uint8_t *base, size_t bytes)
{
#if defined(MADV_HUGEPAGE)
    (void) madvise(base, bytes, MADV_HUGEPAGE); /* A kernel without them refuses. */
#else
    (void) base;
    (void) bytes;
#endif
}

void
zpy_os_release(uint8_t *base, size_t bytes)
{
    /* The one way for this to fail is a map count at its limit when a mapping is split, and whole mappings are not. */
    (void) munmap(base, bytes);
}

int
zpy_os_commit(uint8_t *base, size_t bytes)
{
    return mprotect(base, bytes, PROT_READ | PROT_WRITE) == 0 ? ZPY_OK : status_of_refusal();
}

int
zpy_os_uncommit(uint8_t *base, size_t bytes)
{
    return map_anonymous(base, bytes, PROT_NONE, MAP_NORESERVE | MAP_FIXED) != NULL ? ZPY_OK : ZPY_SYSTEM;
}

int
zpy_os_protect(uint8_t *base, size_t bytes, bool accessible)
{
    return mprotect(base, bytes, accessible ? PROT_READ | PROT_WRITE : PROT_NONE) == 0 ? ZPY_OK : ZPY_SYSTEM;
}

int
zpy_os_lock(uint8_t *base, size_t bytes)
{
    if (mlock(base, bytes) == 0) {
        return ZPY_OK;
    }
    return errno == ENOSYS ? ZPY_UNSUPPORTED : status_of_refusal();
}

void
zpy_os_unlock(uint8_t *base, size_t bytes)
{
    (void) munlock(base, bytes); /* A lock left on pages that hold no secret does no harm. */
}

int
zpy_os_keep_from_children(uint8_t *base, size_t bytes)
{
#if defined(__linux__)
    if (madvise(base, bytes, MADV_WIPEONFORK) == 0) {
        return ZPY_FORK_WIPED;
    }
    return madvise(base, bytes, MADV_DONTFORK) == 0 ? ZPY_FORK_ABSENT : ZPY_FORK_INHERITED;
#elif defined(__APPLE__)
    return minherit(base, bytes, VM_INHERIT_NONE) == 0 ? ZPY_FORK_ABSENT : ZPY_FORK_INHERITED;
#else
    (void) base;
    (void) bytes;
    return ZPY_FORK_INHERITED; /* The fork handler zeroes the child's copy. */
#endif
}

bool
zpy_os_keep_from_dumps(uint8_t *base, size_t bytes)
{
#if defined(MADV_DONTDUMP)
    return madvise(base, bytes, MADV_DONTDUMP) == 0;
#elif defined(MADV_NOCORE)
    return madvise(base, bytes, MADV_NOCORE) == 0;
#else
    (void) base;
    (void) bytes;
    return false;
#endif
}

void
zpy_os_forget(struct zpy_pages const *pages)
{
    (void) pages; /* Locks and advice go with the mapping. */
}

void
zpy_os_fill_hole(uint8_t *base, size_t bytes)
{
    /* NOREPLACE, because another library may have used the hole already; then nothing of ours is there. */
    uint8_t *const zeros = map_anonymous(base, bytes, PROT_READ | PROT_WRITE, MAP_NORESERVE | MAP_FIXED_NOREPLACE);
    if (zeros != NULL && zeros != base) {
        zpy_os_release(zeros, bytes); /* A system that does not know the flag took the address for a hint. */
    }
}

#if defined(__linux__)

int
zpy_os_secretmem_open(size_t bytes)
{
    int const fd = (int) syscall(SYS_memfd_secret, O_CLOEXEC);
    if (fd >= 0 && bytes > 0 && ftruncate(fd, (off_t) bytes) != 0) {
        int const saved = errno;
        zpy_os_secretmem_close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

int
zpy_os_secretmem_map(int fd, uint8_t *base, size_t bytes)
{
    if (mmap(base, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
        return status_of_refusal();
    }
    return madvise(base, bytes, MADV_DONTFORK) == 0 ? ZPY_OK : ZPY_SYSTEM;
}

#else

int
zpy_os_secretmem_open(size_t bytes)
{
    (void) bytes;
    errno = ENOSYS;
    return -1;
}

int
zpy_os_secretmem_map(int fd, uint8_t *base, size_t bytes)
{
    (void) fd;
    (void) base;
    (void) bytes;
    errno = ENOSYS;
    return ZPY_UNSUPPORTED;
}

#endif

void
zpy_os_secretmem_close(int fd)
{
    (void) close(fd); /* A mapping keeps the memory; the descriptor holds no data to flush. */
}

uint64_t
zpy_os_lock_budget(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) {
        return 64 * 1024;
    }
    if (limit.rlim_cur != limit.rlim_max) {
        struct rlimit const raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
        if (setrlimit(RLIMIT_MEMLOCK, &raised) == 0) {
            limit = raised;
        }
    }
    if (limit.rlim_cur != RLIM_INFINITY) {
        uint64_t const part = (uint64_t) limit.rlim_cur / 4 * 3;
        uint64_t const least = page_bytes; /* Under a limit of one page, that page. */
        return part < least && limit.rlim_cur >= least ? least : part;
    }
    long const pages = sysconf(_SC_PHYS_PAGES);
    return pages > 0 ? (uint64_t) pages * page_bytes / 4 : UINT64_MAX;
}

/* ---- threads ---- */

int
zpy_os_thread_start(pthread_t *thread_out, size_t stack_bytes, void *(*run)(void *), void *argument)
{
    pthread_attr_t attributes;
    sigset_t all;
    sigset_t before;
    int error = pthread_attr_init(&attributes);
    if (error != 0) {
        return error;
    }
    (void) sigfillset(&all); /* Fails for null pointers only. */
    if (stack_bytes != 0) {
        error = pthread_attr_setstacksize(&attributes, stack_bytes);
    }
    if (error == 0) {
        error = pthread_sigmask(SIG_SETMASK, &all, &before);
    }
    if (error == 0) {
        error = pthread_create(thread_out, &attributes, run, argument);
        (void) pthread_sigmask(SIG_SETMASK, &before, NULL); /* A mask that the kernel gave us a moment ago. */
    }
    (void) pthread_attr_destroy(&attributes);
    return error;
}

int
zpy_os_at_fork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void))
{
    return pthread_atfork(before, in_parent, in_child);
}

/* ---- descriptors ---- */

int64_t
zpy_os_read(int fd, uint8_t *out, size_t length)
{
    return read(fd, out, length);
}

int64_t
zpy_os_write(int fd, uint8_t const *bytes, size_t length)
{
    return write(fd, bytes, length);
}

int64_t
zpy_os_read_at(int fd, uint8_t *out, size_t length, uint64_t offset)
{
    return pread(fd, out, length, (off_t) offset);
}

int64_t
zpy_os_write_at(int fd, uint8_t const *bytes, size_t length, uint64_t offset)
{
    return pwrite(fd, bytes, length, (off_t) offset);
}

bool
zpy_os_direct(int fd, bool on)
{
    if (on && O_DIRECT == 0) {
        return false; /* This system has none. */
    }
    int const flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, on ? flags | O_DIRECT : flags & ~O_DIRECT) == 0;
}

/* ---- bytes ---- */

uint8_t const *
zpy_os_find(uint8_t const *hay, size_t hay_bytes, uint8_t const *needle, size_t needle_bytes)
{
    return memmem(hay, hay_bytes, needle, needle_bytes);
}

#endif
