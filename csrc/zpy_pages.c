/* zpy_pages.c: page runs that hold secrets: reserved, guarded, locked, kept out of dumps and of forked children. */
#include "zpy_os.h"

#include <errno.h>
#include <pthread.h>

/* Held from the moment secretmem is mapped until a child cannot get it, and by fork(): no child is made in between. */
static pthread_mutex_t map_lock = PTHREAD_MUTEX_INITIALIZER;

static int backing_kind = ZPY_BACKING_MLOCK;

/* One byte on a page that the kernel clears in every child, however it was made (fork, clone, vfork without
 * handlers): a zero here means that this process is a child that has not been set up. */
static uint8_t *process_mark = NULL;
/* Behind it: see zpy_pages_unshared. No page is smaller than 4096 bytes. */
#define UNSHARED_AT ((size_t) 64)
_Static_assert(UNSHARED_AT + ZPY_UNSHARED_BYTES <= 4096, "they share the page");

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
    size_t const page_bytes = zpy_os_page_bytes();
    return (bytes + page_bytes - 1) / page_bytes * page_bytes;
}

/* The kernel may know a call and still refuse it (secretmem.enable=0, seccomp), so each is tried once. */
void
zpy_pages_setup(bool allow_secretmem)
{
    zpy_os_setup();
    size_t const page_bytes = zpy_os_page_bytes();
    uint8_t *const page = zpy_os_map(page_bytes);
    int const lock = page != NULL ? zpy_os_lock(page, page_bytes) : ZPY_SYSTEM;
    backing_kind = lock != ZPY_UNSUPPORTED ? ZPY_BACKING_MLOCK : ZPY_BACKING_NONE;
    int const fd = allow_secretmem ? zpy_os_secretmem_open(0) : -1;
    if (fd >= 0) {
        backing_kind = ZPY_BACKING_SECRETMEM;
        zpy_os_secretmem_close(fd);
    }
    if (lock == ZPY_OK) {
        zpy_os_unlock(page, page_bytes); /* The mark is no secret. */
    }
    /* Without the advice the mark would survive in a child and prove nothing; the fork handlers remain. */
    if (page != NULL && zpy_os_keep_from_children(page, page_bytes) == ZPY_FORK_WIPED) {
        process_mark = page;
    } else if (page != NULL) {
        zpy_os_release(page, page_bytes);
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

uint8_t *
zpy_pages_unshared(void)
{
    return process_mark != NULL ? process_mark + UNSHARED_AT : NULL;
}

int
zpy_backing_kind(void)
{
    return backing_kind;
}

/* A shared mapping that a child kept would show it our writes, so a child must not have it. */
static int
map_without_children(struct zpy_pages const *pages, int fd)
{
    zpy_pages_lock();
    int const status = zpy_os_secretmem_map(fd, pages->base, pages->bytes);
    int const saved = errno;
    zpy_pages_unlock();
    errno = saved;
    return status;
}

static int
map_secretmem(struct zpy_pages *pages)
{
    int const fd = zpy_os_secretmem_open(pages->bytes);
    if (fd < 0) {
        return ZPY_SYSTEM;
    }
    int const status = map_without_children(pages, fd);
    int const saved = errno;
    zpy_os_secretmem_close(fd);
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
    int status = zpy_os_commit(pages->base, pages->bytes);
    if (status != ZPY_OK) {
        return status;
    }
    status = zpy_os_lock(pages->base, pages->bytes);
    if (status != ZPY_OK && status != ZPY_UNSUPPORTED) {
        return status;
    }
    /* A platform without any locks is the one case in which pages may stay unlocked, and they are reported so. */
    pages->locked = status == ZPY_OK;
    pages->backing = pages->locked ? ZPY_BACKING_MLOCK : ZPY_BACKING_NONE;
    pages->fork = pages->inherit ? ZPY_FORK_INHERITED : zpy_os_keep_from_children(pages->base, pages->bytes);
    return ZPY_OK;
}

int
zpy_pages_map(size_t bytes, bool inherit, struct zpy_pages *pages_out)
{
    struct zpy_pages pages = {.bytes = bytes, .inherit = inherit};
    size_t const page_bytes = zpy_os_page_bytes();
    size_t const whole = bytes + 2 * page_bytes;
    if (whole < bytes) {
        return ZPY_NO_MEMORY;
    }
    uint8_t *const reserved = zpy_os_reserve(whole);
    if (reserved == NULL) {
        return errno == ENOMEM ? ZPY_NO_MEMORY : ZPY_SYSTEM;
    }
    pages.base = reserved + page_bytes;
    /* An inherited copy must be private to each process, which secretmem, always shared, cannot be. */
    int status = ZPY_SYSTEM;
    if (backing_kind == ZPY_BACKING_SECRETMEM && !inherit) {
        status = map_secretmem(&pages);
    }
    if (status == ZPY_SYSTEM) {
        /* Not the kernel's limit, which mlock shares, but a lack of descriptors, say, which mlock does not need. Where a part
         * of it succeeded, inaccessible private pages take its place. */
        status = zpy_os_uncommit(pages.base, pages.bytes);
        status = status == ZPY_OK ? map_locked(&pages) : status;
    }
    if (status != ZPY_OK) {
        int const saved = errno;
        zpy_os_release(reserved, whole);
        errno = saved;
        return status;
    }
    pages.dump_excluded = zpy_os_keep_from_dumps(pages.base, pages.bytes);
    status = zpy_registry_add(&pages);
    if (status != ZPY_OK) {
        zpy_os_forget(&pages);
        zpy_os_release(reserved, whole);
        return status;
    }
    *pages_out = pages;
    return ZPY_OK;
}

void
zpy_pages_unmap(struct zpy_pages *pages)
{
    size_t const page_bytes = zpy_os_page_bytes();
    /* Pages that a signal handler may be wiping stay mapped, as zeros. */
    if (zpy_registry_remove(pages)) {
        zpy_os_forget(pages);
        zpy_os_release(pages->base - page_bytes, pages->bytes + 2 * page_bytes);
    }
    pages->base = NULL;
}

int
zpy_pages_protect(struct zpy_pages const *pages, bool accessible)
{
    if (accessible) {
        return zpy_os_protect(pages->base, pages->bytes, true);
    }
    /* Pages that a signal handler is wiping stay open to it. */
    int const status = zpy_registry_begin_closing() ? zpy_os_protect(pages->base, pages->bytes, false) : ZPY_OK;
    int const saved = errno;
    zpy_registry_end_closing();
    errno = saved;
    return status;
}

void
zpy_pages_after_fork(struct zpy_pages *pages)
{
    if (pages->inherit) {
        /* Locks do not pass through fork. */
        pages->locked = zpy_os_lock(pages->base, pages->bytes) == ZPY_OK;
        zpy_registry_keep(pages);
        return;
    }
    pages->locked = false;
    zpy_registry_forget(pages); /* Zeros, or a hole: nothing to wipe, and perhaps not ours for long. */
    if (pages->fork == ZPY_FORK_ABSENT) {
        /* Views made by the parent point here: give them zeros instead of a hole that a later mapping could fill. */
        zpy_os_fill_hole(pages->base, pages->bytes);
        return;
    }
    /* Readable zeros also where an isolated cell was closed, and where the kernel refused to wipe on fork. */
    if (zpy_os_protect(pages->base, pages->bytes, true) == ZPY_OK && pages->fork == ZPY_FORK_INHERITED) {
        sodium_memzero(pages->base, pages->bytes);
    }
}
