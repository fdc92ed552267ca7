/* zpy_process.c: set-up of the process as a whole, and what happens at fork. */
#include "zpy_os.h"

#include <errno.h>

#if defined(__linux__)
#include <sys/prctl.h>
#endif

static bool started = false;
/* What zpy_init was given; 0: from the lock limit. */
static uint64_t asked_budget = 0;

static void
before_fork(void)
{
    zpy_lock();
    zpy_pages_lock();
}

static void
after_fork_in_parent(void)
{
    zpy_pages_unlock();
    zpy_unlock();
}

/* Runs with the locks that the forking thread took, so nothing that they guard is half done. */
static void
after_fork_in_child(void)
{
    zpy_pages_unlock(); /* First, for pages are unmapped below; no other thread is here. */
    zpy_pages_mark_process();
    zpy_registry_after_fork();
    zpy_fatal_after_fork();
    zpy_cells_after_fork();
    zpy_registry_drop_strays();
    zpy_unlock();
}

int
zpy_init(int allow_secretmem, uint64_t budget_bytes)
{
    if (started) {
        return ZPY_OK;
    }
    if (sodium_init() < 0) {
        return ZPY_UNSUPPORTED;
    }
    int const error = zpy_os_at_fork(before_fork, after_fork_in_parent, after_fork_in_child);
    if (error != 0) {
        errno = error;
        return ZPY_SYSTEM;
    }
    zpy_registers_setup();
    zpy_pages_setup(allow_secretmem != 0);
    int const status = zpy_seal_setup();
    if (status != ZPY_OK) {
        return status;
    }
    zpy_lock();
    asked_budget = budget_bytes;
    zpy_arena_setup();
    zpy_budget_set(budget_bytes);
    zpy_unlock();
    started = true;
    return ZPY_OK;
}

uint64_t
zpy_process_refresh_budget(void)
{
    struct zpy_stats stats = {0};
    zpy_lock();
    zpy_budget_set(asked_budget);
    zpy_budget_stats(&stats);
    zpy_unlock();
    return stats.budget_bytes;
}

int
zpy_process_dumpable(void)
{
#if defined(__linux__)
    int const value = prctl(PR_GET_DUMPABLE, 0UL, 0UL, 0UL, 0UL);
    return value >= 0 ? value : -ZPY_SYSTEM;
#else
    return -ZPY_UNSUPPORTED;
#endif
}

int
zpy_process_set_dumpable(int dumpable)
{
#if defined(__linux__)
    return prctl(PR_SET_DUMPABLE, dumpable != 0 ? 1UL : 0UL, 0UL, 0UL, 0UL) == 0 ? ZPY_OK : ZPY_SYSTEM;
#else
    (void) dumpable; /* There is nothing to set. */
    return ZPY_UNSUPPORTED;
#endif
}

int
zpy_process_set_no_new_privileges(void)
{
#if defined(__linux__)
    return prctl(PR_SET_NO_NEW_PRIVS, 1UL, 0UL, 0UL, 0UL) == 0 ? ZPY_OK : ZPY_SYSTEM;
#else
    return ZPY_UNSUPPORTED;
#endif
}

int
zpy_has_aes(void)
{
    return crypto_aead_aes256gcm_is_available() == 1;
}

char const *
zpy_sodium_version(void)
{
    return sodium_version_string();
}

void
zpy_cell_memzero(uint8_t *bytes, size_t length)
{
    sodium_memzero(bytes, length);
}

void
zpy_random_bytes(uint8_t *out, size_t length)
{
    randombytes_buf(out, length);
}

int
zpy_cell_memequal(uint8_t const *left, uint8_t const *right, size_t length)
{
    return sodium_memcmp(left, right, length) == 0;
}
