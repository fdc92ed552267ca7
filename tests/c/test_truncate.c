/* test_truncate.c: many files are cut to nothing, each with its own answer, however many threads there are. */
#include "zpy_internal.h"
#include "zpy_os.h"

#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define COUNT 200

static int threads_left;

int __real_zpy_os_thread_start(pthread_t *thread_out, size_t stack_bytes, void *(*run)(void *), void *argument);
int __wrap_zpy_os_thread_start(pthread_t *thread_out, size_t stack_bytes, void *(*run)(void *), void *argument);

int
__wrap_zpy_os_thread_start(pthread_t *thread_out, size_t stack_bytes, void *(*run)(void *), void *argument)
{
    return threads_left-- > 0 ? __real_zpy_os_thread_start(thread_out, stack_bytes, run, argument) : EAGAIN;
}

static int
make(size_t number)
{
    char name[16];
    (void) snprintf(name, sizeof name, "cut-%zu", number);
    int const fd = open(name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK_EQUAL(write(fd, name, sizeof name), (ssize_t) sizeof name);
    CHECK_EQUAL(unlink(name), 0);
    return fd;
}

/* Every third descriptor is not open: it has its error, and the others are cut. */
static void
test(size_t threads, int startable)
{
    int fds[COUNT];
    int errors[COUNT];
    for (size_t index = 0; index < COUNT; index++) {
        fds[index] = index % 3 == 2 ? -1 : make(index);
        errors[index] = -1;
    }
    threads_left = startable;
    CHECK_EQUAL(zpy_files_truncate(fds, errors, COUNT, threads), ZPY_OK);
    for (size_t index = 0; index < COUNT; index++) {
        CHECK_EQUAL(errors[index], index % 3 == 2 ? EBADF : 0);
        struct stat status;
        if (errors[index] == 0) {
            CHECK_EQUAL(fstat(fds[index], &status), 0);
            CHECK_EQUAL(status.st_size, 0);
            CHECK_EQUAL(close(fds[index]), 0);
        }
    }
}

int
main(void)
{
    test(8, 100);
    test(8, 3); /* No more threads to be had, */
    test(8, 0); /* or none at all. */
    test(1, 100);
    test(1000, 1000);
    CHECK_EQUAL(zpy_files_truncate(NULL, NULL, 0, 8), ZPY_OK);
    puts("ok");
    return 0;
}
