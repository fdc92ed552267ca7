/* zpy_files.c: system calls on names and file systems that Python's os module does not have. */
#include "zpy_internal.h"

#include <errno.h>

#if defined(__linux__)
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>
#endif

#if defined(__linux__) && defined(SYS_renameat2)

int
zpy_file_rename(int directory, char const *name, char const *new_name)
{
    unsigned int const no_replace = 1; /* RENAME_NOREPLACE, which older headers lack. */
    return syscall(SYS_renameat2, directory, name, directory, new_name, no_replace) == 0 ? ZPY_OK : ZPY_SYSTEM;
}

#else

int
zpy_file_rename(int directory, char const *name, char const *new_name)
{
    (void) directory;
    (void) name;
    (void) new_name;
    return ZPY_UNSUPPORTED;
}

#endif

#if defined(__linux__) && defined(SYS_openat2)

/* The struct open_how of openat2(2), and the RESOLVE_ bits used here; kernel headers before 5.6 lack them. */
struct how_to_open {
    uint64_t flags;
    uint64_t mode;
    uint64_t resolve;
};

#define NO_CROSSING ((uint64_t) 0x01)  /* RESOLVE_NO_XDEV */
#define NO_SYMLINKS ((uint64_t) 0x04)  /* RESOLVE_NO_SYMLINKS, which includes RESOLVE_NO_MAGICLINKS */
#define STAY_BENEATH ((uint64_t) 0x08) /* RESOLVE_BENEATH */

int
zpy_file_open_beneath(int directory, char const *path, int flags, int may_cross, int *fd_out)
{
    struct how_to_open how = {.flags = (uint64_t) (unsigned int) flags,
                           .resolve = NO_SYMLINKS | STAY_BENEATH | (may_cross != 0 ? 0 : NO_CROSSING)};
    long const fd = syscall(SYS_openat2, directory, path, &how, sizeof how);
    if (fd >= 0) {
        *fd_out = (int) fd;
        return ZPY_OK;
    }
    return errno == ENOSYS ? ZPY_UNSUPPORTED : ZPY_SYSTEM;
}

#else

int
zpy_file_open_beneath(int directory, char const *path, int flags, int may_cross, int *fd_out)
{
    (void) directory;
    (void) path;
    (void) flags;
    (void) may_cross;
    (void) fd_out;
    return ZPY_UNSUPPORTED;
}

#endif

#if defined(__linux__)

int64_t
zpy_file_attribute_bytes(int fd, char const *name)
{
    return (int64_t) fgetxattr(fd, name, NULL, 0);
}

int
zpy_file_sync_all(int fd)
{
    return syncfs(fd) == 0 ? ZPY_OK : ZPY_SYSTEM;
}

#else

int64_t
zpy_file_attribute_bytes(int fd, char const *name)
{
    (void) fd;
    (void) name;
    errno = ENOSYS;
    return -1;
}

int
zpy_file_sync_all(int fd)
{
    (void) fd;
    return ZPY_UNSUPPORTED;
}

#endif
