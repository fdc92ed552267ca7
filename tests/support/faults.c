/* faults.c: a library for LD_PRELOAD that makes chosen system calls fail.
 *
 * ZPY_FAULT="mlock:2:12" lets the second mlock and all that follow fail with errno 12; several faults are separated by
 * commas. "once" behind a fault ("write:3:4:once") lets only that one occurrence fail. A negative errno -N is not a
 * failure: write and pwrite then move at most N bytes, read at most N. Nothing is counted until zpy_fault_arm(1).
 *
 * Which call is the second is up to the scheduler where several threads make such calls. ZPY_BAD_BYTES="4096:4608:28" tells
 * calls apart by place instead: each pread and pwrite that touches these bytes of a file fails with errno 28, or with EIO
 * when none is given. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_memfd_secret
#define SYS_memfd_secret 447
#endif

static volatile int armed = 0;
static volatile int counts[32];
static char const *const names[] = {"mlock", "mprotect", "mmap",  "memfd_secret", "madvise", "ftruncate", "write",
                                    "pwrite", "fsync",   "fdatasync", "read",      "pread",   "unlink",    "munmap",
                                    "prctl",  "setrlimit", "timer_create", "timer_settime", "pthread_create",
                                    "clock_gettime", "poll", "sigtimedwait", "syncfs"};

/* Begin (1) or end (0) to count and to fail; counts start again at 0. Returns how often a call of ours failed so far. */
static volatile int failures = 0;

int
zpy_fault_arm(int on)
{
    for (size_t index = 0; index < sizeof counts / sizeof counts[0]; index++) {
        counts[index] = 0;
    }
    armed = on;
    return failures;
}

/* The errno for this call, a negative byte limit, or 0. */
static int
fault(char const *name)
{
    if (!armed) {
        return 0;
    }
    size_t which = 0;
    while (which < sizeof names / sizeof names[0] && strcmp(names[which], name) != 0) {
        which++;
    }
    int const occurrence = __sync_add_and_fetch(&counts[which], 1);
    char const *rule = getenv("ZPY_FAULT");
    size_t const length = strlen(name);
    while (rule != NULL && *rule != '\0') {
        if (strncmp(rule, name, length) == 0 && rule[length] == ':') {
            char *rest;
            long const first = strtol(rule + length + 1, &rest, 10);
            long const number = *rest == ':' ? strtol(rest + 1, &rest, 10) : EIO;
            int const once = strncmp(rest, ":once", 5) == 0;
            if (once ? occurrence == first : occurrence >= first) {
                (void) __sync_add_and_fetch(&failures, 1);
                return (int) number;
            }
        }
        rule = strchr(rule, ',');
        rule = rule != NULL ? rule + 1 : NULL;
    }
    return 0;
}

/* The errno for a call that touches the bytes that cannot be read or written, or 0. */
static int
fault_at(off_t offset, size_t length)
{
    char const *const area = armed ? getenv("ZPY_BAD_BYTES") : NULL;
    if (area == NULL) {
        return 0;
    }
    char *rest;
    long const start = strtol(area, &rest, 10);
    long const stop = strtol(rest + 1, &rest, 10);
    long const number = *rest == ':' ? strtol(rest + 1, NULL, 10) : EIO;
    return offset < stop && start < offset + (off_t) length ? (int) number : 0;
}

#define REAL(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

#define WRAP(result, name, parameters, arguments) \
    result name parameters                         \
    {                                              \
        int const number = fault(#name);           \
        if (number > 0) {                          \
            errno = number;                        \
            return (result) -1;                    \
        }                                          \
        return REAL(name) arguments;               \
    }

WRAP(int, mlock, (void const *address, size_t length), (address, length))
WRAP(int, mprotect, (void *address, size_t length, int mode), (address, length, mode))
WRAP(int, madvise, (void *address, size_t length, int advice), (address, length, advice))
WRAP(int, ftruncate, (int fd, off_t length), (fd, length))
WRAP(int, fsync, (int fd), (fd))
WRAP(int, fdatasync, (int fd), (fd))
WRAP(int, syncfs, (int fd), (fd))
WRAP(int, unlink, (char const *path), (path))
/* CPython may be built to call either. */
WRAP(int, setrlimit, (__rlimit_resource_t which, struct rlimit const *limit), (which, limit))

int
setrlimit64(__rlimit_resource_t which, struct rlimit64 const *limit)
{
    int const number = fault("setrlimit");
    if (number > 0) {
        errno = number;
        return -1;
    }
    return REAL(setrlimit64)(which, limit);
}

WRAP(void *, mmap, (void *address, size_t length, int mode, int flags, int fd, off_t offset),
     (address, length, mode, flags, fd, offset))

/* read and write have no offset that the shim would know. */
#define NO_PLACE ((off_t) 1 << 62)

#define WRAP_IO(name, place, parameters, arguments)                        \
    ssize_t name parameters                                                \
    {                                                                      \
        int const bad = fd > 2 ? fault_at(place, length) : 0;              \
        int const number = bad == 0 && fd > 2 ? fault(#name) : bad;        \
        if (number > 0) {                                                  \
            errno = number;                                                \
            return -1;                                                     \
        }                                                                  \
        if (number < 0 && length > (size_t) -number) {                     \
            length = (size_t) -number;                                     \
        }                                                                  \
        return REAL(name) arguments;                                       \
    }

WRAP_IO(write, NO_PLACE, (int fd, void const *bytes, size_t length), (fd, bytes, length))
WRAP_IO(read, NO_PLACE, (int fd, void *bytes, size_t length), (fd, bytes, length))
WRAP_IO(pwrite, offset, (int fd, void const *bytes, size_t length, off_t offset), (fd, bytes, length, offset))
WRAP_IO(pread, offset, (int fd, void *bytes, size_t length, off_t offset), (fd, bytes, length, offset))

WRAP(int, timer_create, (clockid_t clock, struct sigevent *event, timer_t *timer), (clock, event, timer))
WRAP(int, timer_settime, (timer_t timer, int flags, struct itimerspec const *new, struct itimerspec *old),
     (timer, flags, new, old))
WRAP(int, sigtimedwait, (sigset_t const *awaited, siginfo_t *info, struct timespec const *limit), (awaited, info, limit))
WRAP(int, poll, (struct pollfd *fds, nfds_t count, int timeout), (fds, count, timeout))

/* This one returns its error. */
int
pthread_create(pthread_t *thread, pthread_attr_t const *attributes, void *(*run)(void *), void *argument)
{
    int const number = fault("pthread_create");
    return number > 0 ? number : REAL(pthread_create)(thread, attributes, run, argument);
}

/* Python reads other clocks all the time; the core's deadlines count on this one alone. */
int
clock_gettime(clockid_t clock, struct timespec *now)
{
    int const number = clock == CLOCK_BOOTTIME ? fault("clock_gettime") : 0;
    if (number > 0) {
        errno = number;
        return -1;
    }
    return REAL(clock_gettime)(clock, now);
}

int
prctl(int option, ...)
{
    va_list list;
    unsigned long argument[4];
    va_start(list, option);
    for (int index = 0; index < 4; index++) {
        argument[index] = va_arg(list, unsigned long);
    }
    va_end(list);
    int const number = fault("prctl");
    if (number > 0) {
        errno = number;
        return -1;
    }
    return REAL(prctl)(option, argument[0], argument[1], argument[2], argument[3]);
}

long
syscall(long number, ...)
{
    va_list list;
    long argument[6];
    va_start(list, number);
    for (int index = 0; index < 6; index++) {
        argument[index] = va_arg(list, long);
    }
    va_end(list);
    if (number == SYS_memfd_secret) {
        int const refused = fault("memfd_secret");
        if (refused > 0) {
            errno = refused;
            return -1;
        }
    }
    return REAL(syscall)(number, argument[0], argument[1], argument[2], argument[3], argument[4], argument[5]);
}
