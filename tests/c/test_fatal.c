/* test_fatal.c: a signal that ends the process wipes all secrets first, and what stood before happens as before. Argument:
 * "mlock" keeps to that backing. */
#include "fatal.h"

#include <sys/syscall.h>

/* A handler that stood before finds zeros everywhere, in isolated cells too, and is called as it was installed. */
static void
dies_with_handler(int number)
{
    make_cells();
    handle(number, note_and_exit, 0);
    watch_all(0);
    strike(number);
}

static void
test_wipes_before_handler(void)
{
    int const faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
    for (size_t index = 0; index < sizeof faults / sizeof faults[0]; index++) {
        int const status = in_child(dies_with_handler, faults[index]);
        CHECK(WIFEXITED(status));
        CHECK_EQUAL(WEXITSTATUS(status), 7);
        CHECK_EQUAL(seen->calls, 1);
        CHECK_EQUAL(seen->zeros, CELLS);
        CHECK(seen->arguments);
    }
}

/* The control: without the library's handler the same handler finds no cell zeroed. */
static void
dies_unwatched(int number)
{
    make_cells();
    pin_cells(); /* Opens isolated cells. */
    handle(number, note_and_exit, 0);
    strike(number);
}

static void
test_control(void)
{
    int const status = in_child(dies_unwatched, SIGSEGV);
    CHECK(WIFEXITED(status));
    CHECK_EQUAL(seen->calls, 1);
    CHECK_EQUAL(seen->zeros, 0);
}

/* Without a handler the process ends by the signal that came, and siginfo stays the kernel's own. */
static void
dies(int number)
{
    make_cells();
    watch_all(0);
    watch_all(0); /* Again is harmless. */
    strike(number);
}

static void
test_exit_status(void)
{
    int const numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTERM, SIGHUP, SIGQUIT};
    for (size_t index = 0; index < sizeof numbers / sizeof numbers[0]; index++) {
        int const status = in_child(dies, numbers[index]);
        CHECK(WIFSIGNALED(status));
        CHECK_EQUAL(WTERMSIG(status), numbers[index]);
    }
}

/* A request that the program handles leaves its secrets alone, unless it asked for that; then they are gone for every use,
 * and new ones can be made. */
static void
lives(int number)
{
    uint8_t out[sizeof secret];
    make_cells();
    handle(number, note, SA_RESTART);
    watch_all(0);
    CHECK_EQUAL(zpy_fatal_disposition(number), ZPY_SIGNAL_HANDLED);
    CHECK_EQUAL(zpy_cell_read(cells[0], 0, out, sizeof out), ZPY_OK);
    CHECK(memcmp(out, secret, sizeof out) == 0);
    watch_all(1);
    CHECK_EQUAL(zpy_fatal_disposition(number), ZPY_SIGNAL_WIPES);
    for (int turn = 1; turn <= 3; turn++) {
        strike(number);
        CHECK_EQUAL(seen->calls, turn);
        CHECK_EQUAL(seen->zeros, CELLS);
        for (int index = 0; index < CELLS; index++) {
            CHECK_EQUAL(zpy_cell_read(cells[index], 0, out, sizeof out), ZPY_WIPED);
            CHECK(zpy_cell_verify(cells[index], (uint8_t[sizeof secret]){0}, sizeof secret) != 1);
            CHECK_EQUAL(zpy_cell_wipe(cells[index]), ZPY_OK);
        }
        make_cells();
    }
    for (int index = 0; index < CELLS; index++) {
        CHECK_EQUAL(zpy_cell_read(cells[index], 0, out, sizeof out), ZPY_OK);
        CHECK(memcmp(out, secret, sizeof out) == 0);
        CHECK_EQUAL(zpy_cell_wipe(cells[index]), ZPY_OK);
    }
    struct zpy_stats figures;
    zpy_stats_read(&figures);
    CHECK_EQUAL(figures.cells, 0);
    CHECK_EQUAL(figures.isolated, 0);
    CHECK_EQUAL(figures.corruptions, 0);
    seen->lived = 1;
}

static void
test_requests_with_handler(void)
{
    int const numbers[] = {SIGTERM, SIGHUP, SIGQUIT};
    for (size_t index = 0; index < sizeof numbers / sizeof numbers[0]; index++) {
        CHECK_EQUAL(in_child(lives, numbers[index]), 0);
        CHECK(seen->lived);
    }
}

/* An ignored signal stays ignored, and others are refused. */
static void
ignores(int number)
{
    CHECK(signal(number, SIG_IGN) != SIG_ERR);
    watch_all(1);
    CHECK_EQUAL(zpy_fatal_disposition(number), ZPY_SIGNAL_IGNORED);
    strike(number);
    CHECK_EQUAL(zpy_fatal_watch(SIGINT, 0), ZPY_INVALID);
    CHECK_EQUAL(zpy_fatal_watch(0, 0), ZPY_INVALID);
    CHECK_EQUAL(zpy_fatal_watch(-1, 0), ZPY_INVALID);
    CHECK_EQUAL(zpy_fatal_disposition(SIGINT), -ZPY_INVALID);
    seen->lived = 1;
}

static void
test_ignored(void)
{
    CHECK_EQUAL(in_child(ignores, SIGHUP), 0);
    CHECK(seen->lived);
}

/* A handler that was put on top later and hands on to ours, which was put on top of it once more: it ends. */
static struct sigaction below;

static void
note_and_hand_on(int number, siginfo_t *info, void *context)
{
    note(number, info, context);
    CHECK_EQUAL(sigaction(number, &below, NULL), 0);
    CHECK_EQUAL(raise(number), 0);
}

static void
goes_in_circles(int number)
{
    make_cells();
    watch_all(0);
    struct sigaction const action = {.sa_sigaction = note_and_hand_on, .sa_flags = SA_SIGINFO | SA_NODEFER};
    CHECK_EQUAL(sigaction(number, &action, &below), 0);
    watch_all(0);
    strike(number);
}

static void
test_circle(void)
{
    int const status = in_child(goes_in_circles, SIGSEGV);
    CHECK(WIFSIGNALED(status));
    CHECK_EQUAL(WTERMSIG(status), SIGSEGV);
    CHECK_EQUAL(seen->calls, 1);
    CHECK_EQUAL(seen->zeros, CELLS);
}

static void
do_nothing(int number, siginfo_t *info, void *context)
{
    (void) number;
    (void) info;
    (void) context;
}

static void
lives_without_fork_handlers(int number)
{
    handle(number, do_nothing, 0);
    make_cells();
    watch_all(1);
    pid_t const pid = (pid_t) syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK_EQUAL(zpy_cell_state(cells[0]), ZPY_FORKED);
        strike(number);
        CHECK_EQUAL(zpy_cell_state(cells[0]), ZPY_FORKED);
        CHECK_EQUAL(zpy_cell_wipe(cells[0]), ZPY_OK);
        _exit(5);
    }
    int status;
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    CHECK_EQUAL(status, 5 << 8);
    CHECK_EQUAL(zpy_cell_state(cells[0]), ZPY_OK);
    CHECK_EQUAL(zpy_cell_verify(cells[0], (uint8_t const *) secret, sizeof secret), 1);
}

/* A child made behind the C library's back has holes where the cells were: a signal that it survives is not caught up with. */
static void
test_raw_clone(void)
{
    CHECK_EQUAL(in_child(lives_without_fork_handlers, SIGTERM), 0);
}

int
main(int argc, char **argv)
{
    CHECK_EQUAL(argc, 2);
    start(argv[1]);
    test_control();
    test_wipes_before_handler();
    test_exit_status();
    test_requests_with_handler();
    test_ignored();
    test_circle();
    test_raw_clone();
    puts("ok");
    return 0;
}
