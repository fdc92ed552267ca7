/* zpy_files.c: system calls on names and file systems that Python's os module does not have. */
#include "zpy_internal.h"

#include <errno.h>

#if defined(__linux__)
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
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

int
zpy_file_extents(int fd, uint64_t start, struct zpy_extents *out)
{
    union {
        struct fiemap head;
        uint8_t room[sizeof(struct fiemap) + ZPY_EXTENTS * sizeof(struct fiemap_extent)];
    } map;
    memset(&map.head, 0, sizeof map.head);
    map.head.fm_start = start;
    map.head.fm_length = FIEMAP_MAX_OFFSET - start;
    map.head.fm_extent_count = ZPY_EXTENTS;
    if (ioctl(fd, FS_IOC_FIEMAP, &map) != 0 || map.head.fm_mapped_extents > ZPY_EXTENTS) {
        out->count = -1;
        return ZPY_OK;
    }
    out->count = (int) map.head.fm_mapped_extents;
    out->is_last = out->count == 0;
    for (int index = 0; index < out->count; index++) {
        struct fiemap_extent const *const found = &map.head.fm_extents[index];
        out->extent[index] = (struct zpy_extent){.offset = found->fe_logical,
                                                 .place = found->fe_physical,
                                                 .length = found->fe_length,
                                                 .flags = found->fe_flags};
        out->is_last |= (found->fe_flags & FIEMAP_EXTENT_LAST) != 0;
    }
    return ZPY_OK;
}

/* With another descriptor or a mapping of the file no write lease is granted. It is given back at once. */
static int
is_open_elsewhere(int fd, int notice)
{
    if (fcntl(fd, F_SETSIG, notice) != 0) {
        return -1;
    }
    if (fcntl(fd, F_SETLEASE, F_WRLCK) != 0) {
        return errno == EAGAIN ? 1 : -1;
    }
    return fcntl(fd, F_SETLEASE, F_UNLCK) == 0 ? 0 : -1;
}

int
zpy_file_look(int fd, int notice, struct zpy_file_view *out)
{
    int flags = 0; /* The kernel writes an int, whatever the request's number says. */
    out->flags = ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 ? (int64_t) (uint32_t) flags : -1;
    out->attribute_bytes = (int64_t) flistxattr(fd, NULL, 0);
    out->open_elsewhere = is_open_elsewhere(fd, notice);
    return zpy_file_extents(fd, 0, &out->extents);
}

#else

int
zpy_file_extents(int fd, uint64_t start, struct zpy_extents *out)
{
    (void) fd;
    (void) start;
    (void) out;
    return ZPY_UNSUPPORTED;
}

int
zpy_file_look(int fd, int notice, struct zpy_file_view *out)
{
    (void) fd;
    (void) notice;
    (void) out;
    return ZPY_UNSUPPORTED;
}

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
