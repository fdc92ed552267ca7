/* zpy_pages.c: page runs that hold secrets: reserved, guarded, locked, kept out of dumps and of forked children. */
#include "zpy_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__linux__) && !defined(SYS_memfd_secret)
#define SYS_memfd_secret 447 /* The same number on every architecture since Linux 5.14. */
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

/* Held from the moment secretmem is mapped until a child cannot get it, and by fork(): no child is made in between. */
static pthread_mutex_t map_lock = PTHREAD_MUTEX_INITIALIZER;

static size_t page_bytes = 4096;
static int backing_kind = ZPY_BACKING_MLOCK;

/* One byte on a page that the kernel clears in every child, however it was made (fork, clone, vfork without
 * handlers): a zero here means that this process is a child that has not been set up. */
static uint8_t *process_mark = NULL;

void
zpy_pages_lock(void)
{
    (void) pthread_mutex_lock(&map_lock); /* An initialised default mutex not held by this thread: cannot fail. */
}

void
zpy_pages_unlock(void)
{
    (void) pthread_mutex_unlock(&map_lock);
}

size_t
zpy_pages_round(size_t bytes)
{
    return (bytes + page_bytes - 1) / page_bytes * page_bytes;
}

static int
open_secret_file(void)
{
#if defined(__linux__)
    return (int) syscall(SYS_memfd_secret, O_CLOEXEC);
#else
    errno = ENOSYS;
    return -1;
#endif
}

/* The kernel may know a call and still refuse it (secretmem.enable=0, seccomp), so each is tried once. */
void
zpy_pages_setup(bool allow_secretmem)
{
    long const reported = sysconf(_SC_PAGESIZE);
    if (reported > 0) {
        page_bytes = (size_t) reported;
    }
    void *const page = mmap(NULL, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool const has_locks = page == MAP_FAILED || mlock(page, page_bytes) == 0 || errno != ENOSYS;
    backing_kind = has_locks ? ZPY_BACKING_MLOCK : ZPY_BACKING_NONE;
    int const fd = allow_secretmem ? open_secret_file() : -1;
    if (fd >= 0) {
        backing_kind = ZPY_BACKING_SECRETMEM;
        (void) close(fd); /* Nothing was written to it, so nothing can be lost. */
    }
    /* Without the advice the mark would survive in a child and prove nothing; the fork handlers remain. */
    if (page != MAP_FAILED && madvise(page, page_bytes, MADV_WIPEONFORK) == 0) {
        (void) munlock(page, page_bytes); /* The mark is no secret; a lock left on it does no harm. */
        process_mark = page;
    }
    zpy_pages_mark_process();
}

void
zpy_pages_mark_process(void)
{
    if (process_mark != NULL) {
        *process_mark = 1;
    }
}

bool
zpy_pages_same_process(void)
{
    return process_mark == NULL || *process_mark == 1;
}

int
zpy_backing_kind(void)
{
    return backing_kind;
}

/* Refusals of mmap and mlock that mean the limit is reached. */
static int
status_of_refusal(int error)
{
    return (error == ENOMEM || error == EAGAIN || error == EPERM) ? ZPY_LOCK_LIMIT : ZPY_SYSTEM;
}

/* A shared mapping that a child kept would show it our writes, so a child must not have it. */
static int
map_without_children(struct zpy_pages const *pages, int fd)
{
    int status = ZPY_OK;
    int saved = 0;
    zpy_pages_lock();
    if (mmap(pages->base, pages->bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
        saved = errno;
        status = status_of_refusal(saved);
    } else if (madvise(pages->base, pages->bytes, MADV_DONTFORK) != 0) {
        saved = errno;
        status = ZPY_SYSTEM;
    }
    zpy_pages_unlock();
    errno = saved;
    return status;
}

static int
map_secretmem(struct zpy_pages *pages)
{
    int const fd = open_secret_file();
    if (fd < 0) {
        return ZPY_SYSTEM;
    }
    int const status = ftruncate(fd, (off_t) pages->bytes) == 0 ? map_without_children(pages, fd) : ZPY_SYSTEM;
    int const saved = errno;
    (void) close(fd); /* The mapping keeps the memory; the descriptor holds no data to flush. */
    errno = saved;
    if (status == ZPY_OK) {
        pages->fork = ZPY_FORK_ABSENT;
        pages->backing = ZPY_BACKING_SECRETMEM;
        pages->locked = true;
    }
    return status;
}

static int
map_locked(struct zpy_pages *pages)
{
    if (mprotect(pages->base, pages->bytes, PROT_READ | PROT_WRITE) != 0) {
        return status_of_refusal(errno);
    }
    pages->backing = ZPY_BACKING_MLOCK;
    if (mlock(pages->base, pages->bytes) == 0) {
        pages->locked = true;
    } else if (errno == ENOSYS) {
        /* The platform has no locks at all: the one case in which pages may stay unlocked, and are reported so. */
        pages->backing = ZPY_BACKING_NONE;
    } else {
        return status_of_refusal(errno);
    }
    pages->fork = ZPY_FORK_INHERITED;
    if (!pages->inherit) {
        if (madvise(pages->base, pages->bytes, MADV_WIPEONFORK) == 0) {
            pages->fork = ZPY_FORK_WIPED;
        } else if (madvise(pages->base, pages->bytes, MADV_DONTFORK) == 0) {
            pages->fork = ZPY_FORK_ABSENT;
        }
    }
    return ZPY_OK;
}

/* Where a part of map_secretmem succeeded, put inaccessible private pages back in its place. */
static int
reserve_again(struct zpy_pages const *pages)
{
    int const flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    return mmap(pages->base, pages->bytes, PROT_NONE, flags, -1, 0) != MAP_FAILED ? ZPY_OK : ZPY_SYSTEM;
}

int
zpy_pages_map(size_t bytes, bool inherit, struct zpy_pages *pages_out)
{
    struct zpy_pages pages = {.bytes = bytes, .inherit = inherit};
    size_t const whole = bytes + 2 * page_bytes;
    if (whole < bytes) {
        return ZPY_NO_MEMORY;
    }
    uint8_t *const reserved = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (reserved == MAP_FAILED) {
        return errno == ENOMEM ? ZPY_NO_MEMORY : ZPY_SYSTEM;
    }
    pages.base = reserved + page_bytes;
    /* An inherited copy must be private to each process, which secretmem, always shared, cannot be. */
    int status = ZPY_SYSTEM;
    if (backing_kind == ZPY_BACKING_SECRETMEM && !inherit) {
        status = map_secretmem(&pages);
    }
    if (status == ZPY_SYSTEM) {
        /* Not the kernel's limit, which mlock shares, but a lack of descriptors, say, which mlock does not need. */
        status = reserve_again(&pages);
        status = status == ZPY_OK ? map_locked(&pages) : status;
    }
    if (status != ZPY_OK) {
        int const saved = errno;
        (void) munmap(reserved, whole); /* Our own reservation of a moment ago: it cannot fail. */
        errno = saved;
        return status;
    }
    pages.dump_excluded = madvise(pages.base, pages.bytes, MADV_DONTDUMP) == 0;
    status = zpy_registry_add(&pages);
    if (status != ZPY_OK) {
        (void) munmap(reserved, whole); /* As above. */
        return status;
    }
    *pages_out = pages;
    return ZPY_OK;
}

void
zpy_pages_unmap(struct zpy_pages *pages)
{
    /* The one way for this to fail is a map count at its limit when a mapping is split, and whole mappings are not. Pages that
     * a signal handler may be wiping stay mapped, as zeros. */
    if (zpy_registry_remove(pages)) {
        (void) munmap(pages->base - page_bytes, pages->bytes + 2 * page_bytes);
    }
    pages->base = NULL;
}

int
zpy_pages_protect(struct zpy_pages const *pages, bool accessible)
{
    if (accessible) {
        return mprotect(pages->base, pages->bytes, PROT_READ | PROT_WRITE) == 0 ? ZPY_OK : ZPY_SYSTEM;
    }
    /* Pages that a signal handler is wiping stay open to it. */
    bool const failed = zpy_registry_begin_closing() && mprotect(pages->base, pages->bytes, PROT_NONE) != 0;
    zpy_registry_end_closing();
    return failed ? ZPY_SYSTEM : ZPY_OK;
}

void
zpy_pages_after_fork(struct zpy_pages *pages)
{
    if (pages->inherit) {
        /* Locks do not pass through fork. */
        pages->locked = mlock(pages->base, pages->bytes) == 0;
        return;
    }
    pages->locked = false;
    zpy_registry_forget(pages); /* Zeros, or a hole: nothing to wipe, and perhaps not ours for long. */
    if (pages->fork == ZPY_FORK_ABSENT) {
        /* Views made by the parent point here: give them zeros instead of a hole that a later mapping could fill. NOREPLACE,
         * because another library's handler may have used the hole already; then nothing of ours is there. */
        void *const zeros = mmap(pages->base, pages->bytes, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
        (void) zeros;
        return;
    }
    /* Readable zeros also where an isolated cell was closed, and where the kernel refused to wipe on fork. */
    if (mprotect(pages->base, pages->bytes, PROT_READ | PROT_WRITE) == 0 && pages->fork == ZPY_FORK_INHERITED) {
        sodium_memzero(pages->base, pages->bytes);
    }
}
