/* zpy_truncate.c: cuts many open files to nothing, some at a time: a file system may tell the device of each, and wait for that. */
#include "zpy_internal.h"
#include "zpy_os.h"

#include <errno.h>
#include <pthread.h>

#if defined(_WIN32)

int
zpy_files_truncate(int const *fds, int *errors_out, size_t count, size_t threads)
{
    (void) fds;
    (void) errors_out;
    (void) count;
    (void) threads;
    return ZPY_UNSUPPORTED;
}

#else

#include <unistd.h>

#define MOST_HELPERS ((size_t) 15)

struct cut {
    int const *fds;
    int *errors;
    size_t count;
    atomic_size_t taken;
};

static int
truncate_one(int fd)
{
    while (ftruncate(fd, 0) != 0) {
        if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

static void
work(struct cut *cut)
{
    size_t index = atomic_fetch_add(&cut->taken, 1);
    while (index < cut->count) {
        cut->errors[index] = truncate_one(cut->fds[index]);
        index = atomic_fetch_add(&cut->taken, 1);
    }
}

static void *
help(void *argument)
{
    zpy_fatal_unblock_faults();
    work(argument);
    return NULL;
}

int
zpy_files_truncate(int const *fds, int *errors_out, size_t count, size_t threads)
{
    struct cut cut = {.fds = fds, .errors = errors_out, .count = count};
    atomic_init(&cut.taken, 0);
    pthread_t helpers[MOST_HELPERS];
    size_t started = 0;
    while (started < MOST_HELPERS && started + 1 < threads && started + 1 < count &&
           zpy_os_thread_start(&helpers[started], 0, help, &cut) == 0) {
        started++; /* Without a thread to be had, the others do it all. */
    }
    work(&cut);
    while (started > 0) {
        (void) pthread_join(helpers[--started], NULL); /* Our own joinable thread, which ends with the files. */
    }
    return ZPY_OK;
}

#endif
