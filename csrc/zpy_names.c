/* zpy_names.c: taking the names of many open files away in one call each step. What is not ordinary is left to the caller, who
 * takes such a name by itself. */
#include "zpy_internal.h"

#include <errno.h>

#if defined(__linux__)

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIES 64
#define TRIES_EACH_LENGTH 16

/* 0: the name is the open file's; ESTALE: it is not, or not there; another errno: the system would not say. */
static int
compare(struct zpy_name const *each, char const *name)
{
    struct stat found;
    struct stat open;
    if (fstatat(each->directory, name, &found, AT_SYMLINK_NOFOLLOW) != 0) {
        return errno == ENOENT ? ESTALE : errno;
    }
    if (fstat(each->fd, &open) != 0) {
        return errno;
    }
    return found.st_dev == open.st_dev && found.st_ino == open.st_ino ? 0 : ESTALE;
}

/* A random byte picks one of 32 letters without favour. */
static void
make_name(char *out, size_t length)
{
    static char const letters[] = "abcdefghijklmnopqrstuvwxyz012345";
    uint8_t random[ZPY_NAME_ROOM];
    randombytes_buf(random, length);
    for (size_t index = 0; index < length; index++) {
        out[index] = letters[random[index] % 32];
    }
    out[length] = '\0';
}

/* A length whose names are all taken makes way for the next. 0, or errno. */
static int
rename_to_free(struct zpy_name *each, size_t length)
{
    for (size_t attempt = 0; attempt < TRIES; attempt++) {
        size_t const more = length + attempt / TRIES_EACH_LENGTH;
        make_name(each->hidden, more < ZPY_NAME_ROOM ? more : ZPY_NAME_ROOM - 1);
        int const status = zpy_file_rename(each->directory, each->name, each->hidden);
        if (status == ZPY_OK) {
            return 0;
        }
        if (status != ZPY_SYSTEM) {
            return ENOSYS;
        }
        if (errno != EEXIST) {
            return errno;
        }
    }
    return EEXIST;
}

static int
hide(struct zpy_name *each, size_t length)
{
    int error = compare(each, each->name);
    if (error == 0) {
        error = rename_to_free(each, length);
    }
    if (error != 0) {
        return error;
    }
    error = compare(each, each->hidden);
    if (error != 0) {
        each->astray = 1;
        return error;
    }
    memcpy(each->name, each->hidden, sizeof each->name);
    each->renamed = 1;
    return 0;
}

size_t
zpy_names_hide(struct zpy_name *names, size_t count, size_t turn)
{
    size_t troubled = 0;
    for (size_t index = 0; index < count; index++) {
        struct zpy_name *const each = &names[index];
        size_t const length = turn < ZPY_NAME_TURNS && each->error == 0 ? each->lengths[turn] : 0;
        if (length != 0) {
            each->error = hide(each, length);
            troubled += each->error != 0;
        }
    }
    return troubled;
}

size_t
zpy_names_unlink(struct zpy_name *names, size_t count)
{
    size_t troubled = 0;
    for (size_t index = 0; index < count; index++) {
        struct zpy_name *const each = &names[index];
        if (each->error != 0) {
            continue;
        }
        each->error = compare(each, each->name);
        if (each->error == 0 && unlinkat(each->directory, each->name, 0) != 0) {
            each->error = errno;
        }
        if (each->error == 0) {
            each->gone = 1;
        } else {
            troubled++;
        }
    }
    return troubled;
}

#else

static size_t
refuse(struct zpy_name *names, size_t count)
{
    size_t troubled = 0;
    for (size_t index = 0; index < count; index++) {
        if (names[index].error == 0) {
            names[index].error = ENOSYS;
            troubled++;
        }
    }
    return troubled;
}

size_t
zpy_names_hide(struct zpy_name *names, size_t count, size_t turn)
{
    (void) turn;
    return refuse(names, count);
}

size_t
zpy_names_unlink(struct zpy_name *names, size_t count)
{
    return refuse(names, count);
}

#endif
