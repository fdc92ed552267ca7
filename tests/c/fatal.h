/* fatal.h: what the tests of fatal signals share. Each test runs in a child, which is left to die; what is seen there goes to
 * the parent through a shared page. */
#ifndef ZPY_FATAL_TEST_H
#define ZPY_FATAL_TEST_H

#include "zpy_internal.h"

#include "check.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define BUDGET_BYTES ((uint64_t) 2048 * 1024)
#define TIMEOUT_S 60
#define CELLS 8

static char const secret[] = "0123456789abcdef";

/* What a child leaves for its parent. */
static struct {
    int calls;     /* Of the program's own handler, */
    int zeros;     /* and how many cells it found zeroed in the last of them. */
    int arguments; /* Whether that had the siginfo and the context of the signal. */
    int lived;
} volatile *seen;

static uint64_t cells[CELLS];
static uint8_t *addresses[CELLS];

static void
make_cells(void)
{
    for (int index = 0; index < CELLS; index++) {
        uint32_t const options = index % 2 == 0 ? 0 : ZPY_ISOLATED;
        int64_t const made = zpy_cell_create((uint8_t const *) secret, sizeof secret, options, 0, 0);
        CHECK(made > 0);
        cells[index] = (uint64_t) made;
        addresses[index] = zpy_cell_address(cells[index]);
    }
}

static void
pin_cells(void)
{
    for (int index = 0; index < CELLS; index++) {
        struct zpy_lease lease = {.cell = 0};
        CHECK_EQUAL(zpy_cell_lease(&lease, cells[index], addresses[index], 0), ZPY_OK);
    }
}

static void
watch_all(int handled)
{
    int const numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTERM, SIGHUP, SIGQUIT};
    for (size_t index = 0; index < sizeof numbers / sizeof numbers[0]; index++) {
        CHECK_EQUAL(zpy_fatal_watch(numbers[index], handled), ZPY_OK);
    }
}

/* Run one test in a child; returns its wait status. */
static int
in_child(void (*test)(int), int number)
{
    memset((void *) (uintptr_t) seen, 0, sizeof *seen);
    pid_t const pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(signal(SIGHUP, SIG_DFL) != SIG_ERR); /* nohup, which may have started all this, ignores it. */
        (void) alarm(TIMEOUT_S); /* A handler that hangs ends by SIGALRM, which no test expects. */
        test(number);
        _exit(0);
    }
    int status;
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    return status;
}

static void
note(int number, siginfo_t *info, void *context)
{
    int zeros = 0;
    for (int index = 0; index < CELLS; index++) {
        uint8_t const *const bytes = addresses[index];
        zeros += bytes[0] == 0 && bytes[sizeof secret - 2] == 0;
    }
    seen->calls++;
    seen->zeros = zeros;
    seen->arguments = info->si_signo == number && context != NULL;
}

static void
note_and_exit(int number, siginfo_t *info, void *context)
{
    note(number, info, context);
    _exit(7);
}

static void
handle(int number, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    CHECK_EQUAL(sigaction(number, &action, NULL), 0);
}

static void
strike(int number)
{
    if (number == SIGSEGV) {
        *(int volatile *) (uintptr_t) 16 = 1;
    }
    CHECK_EQUAL(raise(number), 0);
}

/* Set up the core and the page that children leave their marks on. */
static void
start(char const *backing)
{
    CHECK_EQUAL(prctl(PR_SET_DUMPABLE, 0), 0); /* The deaths are wanted, core files are not. */
    void *const page = mmap(NULL, sizeof *seen, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    seen = page;
    CHECK_EQUAL(zpy_init(strcmp(backing, "mlock") != 0, BUDGET_BYTES), ZPY_OK);
}

#endif
