/* test_fatal_threads.c: fatal signals beside other threads, in children, and in the middle of everything. Arguments: "mlock"
 * keeps to that backing; how many crashes under load. */
#include "fatal.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>

/* The handler needs no lock: it wipes while another thread holds every one of the core's. */
static void *
hold_locks(void *argument)
{
    pthread_barrier_t *const barrier = argument;
    zpy_lock();
    zpy_pages_lock();
    (void) pthread_barrier_wait(barrier);
    for (;;) {
        (void) pause();
    }
    return NULL;
}

static void
dies_beside_locks(int number)
{
    pthread_t thread;
    pthread_barrier_t barrier;
    make_cells();
    handle(number, note_and_exit, 0);
    watch_all(0);
    CHECK_EQUAL(pthread_barrier_init(&barrier, NULL, 2), 0);
    CHECK_EQUAL(pthread_create(&thread, NULL, hold_locks, &barrier), 0);
    (void) pthread_barrier_wait(&barrier);
    strike(number);
}

static void
test_locks_held(void)
{
    int const status = in_child(dies_beside_locks, SIGSEGV);
    CHECK(WIFEXITED(status));
    CHECK_EQUAL(WEXITSTATUS(status), 7);
    CHECK_EQUAL(seen->zeros, CELLS);
}

/* A thread that closes an isolated cell for ever, as it seems, holds the handler up for a moment and no longer. */
static void
dies_while_closing(int number)
{
    make_cells();
    handle(number, note_and_exit, 0);
    watch_all(0);
    CHECK(zpy_registry_begin_closing());
    strike(number);
}

static void
test_closing(void)
{
    int const status = in_child(dies_while_closing, SIGSEGV);
    CHECK_EQUAL(WEXITSTATUS(status), 7);
    CHECK_EQUAL(seen->zeros, CELLS);
}

/* Threads that use the library have a stack for handlers, on which a stack overflow is survived. */
static int
overflow(int depth)
{
    char volatile room[4096];
    room[0] = (char) depth;
    return depth < 0 ? 0 : overflow(depth + 1) + room[0];
}

static void *
overflow_in_thread(void *argument)
{
    (void) argument;
    CHECK_EQUAL(zpy_cell_state(cells[0]), ZPY_OK);
    return (void *) (uintptr_t) overflow(0);
}

static void
overflows(int in_thread)
{
    pthread_t thread;
    make_cells();
    handle(SIGSEGV, note_and_exit, 0);
    watch_all(0);
    CHECK(zpy_fatal_has_stack());
    if (in_thread == 0) {
        _exit(overflow(0));
    }
    CHECK_EQUAL(pthread_create(&thread, NULL, overflow_in_thread, NULL), 0);
    (void) pthread_join(thread, NULL);
}

static void
test_stack_overflow(void)
{
    for (int in_thread = 0; in_thread < 2; in_thread++) {
        int const status = in_child(overflows, in_thread);
        CHECK(WIFEXITED(status));
        CHECK_EQUAL(WEXITSTATUS(status), 7);
        CHECK_EQUAL(seen->zeros, CELLS);
    }
}

/* A thread's stack for handlers goes with the thread. */
static size_t
mappings(void)
{
    size_t count = 0;
    FILE *const maps = fopen("/proc/self/maps", "r");
    CHECK(maps != NULL);
    for (int letter; (letter = fgetc(maps)) != EOF;) {
        count += letter == '\n';
    }
    CHECK_EQUAL(fclose(maps), 0);
    return count;
}

static void *
use_once(void *argument)
{
    (void) argument;
    CHECK_EQUAL(zpy_cell_state(cells[0]), ZPY_OK);
    CHECK(zpy_fatal_has_stack());
    return NULL;
}

static void
starts_threads(int count)
{
    pthread_t thread;
    make_cells();
    watch_all(0);
    size_t before = 0;
    for (int turn = 0; turn < count; turn++) {
        before = turn == 10 ? mappings() : before;
        CHECK_EQUAL(pthread_create(&thread, NULL, use_once, NULL), 0);
        CHECK_EQUAL(pthread_join(thread, NULL), 0);
    }
    CHECK(mappings() < before + (size_t) count / 2);
    seen->lived = 1;
}

static void
test_stacks_are_freed(void)
{
    CHECK_EQUAL(in_child(starts_threads, 200), 0);
    CHECK(seen->lived);
}

/* The number of the reaper's thread, once it has named itself. Numbers begin anew somewhere, so that it may be any. */
static pid_t
reaper_number(void)
{
    for (;;) {
        DIR *const tasks = opendir("/proc/self/task");
        CHECK(tasks != NULL);
        for (struct dirent const *task; (task = readdir(tasks)) != NULL;) {
            char path[sizeof "/proc/self/task//comm" + sizeof task->d_name];
            char name[32] = "";
            (void) snprintf(path, sizeof path, "/proc/self/task/%s/comm", task->d_name);
            FILE *const file = fopen(path, "r");
            if (file == NULL) {
                continue; /* The folder itself and the one above. */
            }
            bool const is_named = fgets(name, (int) sizeof name, file) != NULL && strcmp(name, "zpy-reaper\n") == 0;
            (void) fclose(file);
            if (is_named) {
                pid_t const number = (pid_t) strtol(task->d_name, NULL, 10);
                CHECK_EQUAL(closedir(tasks), 0);
                return number;
            }
        }
        CHECK_EQUAL(closedir(tasks), 0);
    }
}

/* The reaper's thread blocks signals; a fault in it wipes all the same. */
static void
hits_reaper(int number)
{
    make_cells();
    handle(number, note_and_exit, 0);
    watch_all(0);
    CHECK(zpy_cell_create((uint8_t const *) secret, sizeof secret, 0, UINT64_C(3600000000000), 0) > 0);
    CHECK_EQUAL(syscall(SYS_tgkill, getpid(), reaper_number(), number), 0);
    for (;;) {
        (void) pause();
    }
}

static void
test_reaper(void)
{
    int const status = in_child(hits_reaper, SIGSEGV);
    CHECK(WIFEXITED(status));
    CHECK_EQUAL(WEXITSTATUS(status), 7);
    CHECK_EQUAL(seen->zeros, CELLS);
}

/* A forked child wipes its own secrets, inherited ones included, and not its parent's. */
static void
dies_after_fork(int number)
{
    uint8_t out[sizeof secret];
    make_cells();
    int64_t const shared = zpy_cell_create((uint8_t const *) secret, sizeof secret, ZPY_INHERIT, 0, 0);
    CHECK(shared > 0);
    handle(number, note_and_exit, 0);
    watch_all(0);
    pid_t const pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK_EQUAL(zpy_cell_read((uint64_t) shared, 0, out, sizeof out), ZPY_OK);
        make_cells();
        addresses[1] = zpy_cell_address((uint64_t) shared);
        strike(number);
    }
    int status;
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    CHECK_EQUAL(WEXITSTATUS(status), 7);
    CHECK_EQUAL(seen->zeros, CELLS);
    CHECK_EQUAL(zpy_cell_read((uint64_t) shared, 0, out, sizeof out), ZPY_OK);
    CHECK_EQUAL(zpy_cell_read(cells[1], 0, out, sizeof out), ZPY_OK);
    CHECK(memcmp(out, secret, sizeof out) == 0);
    seen->lived = 1;
}

static void
test_fork(void)
{
    CHECK_EQUAL(in_child(dies_after_fork, SIGSEGV), 0);
    CHECK(seen->lived);
}

/* A child of vfork() runs in its parent's memory: its death is not its parent's. One of a bare fork system call, without
 * handlers, has holes where the runs were and must not fall into them. */
static void
forks_barely(int number)
{
    uint8_t out[sizeof secret];
    make_cells();
    int64_t const shared = zpy_cell_create((uint8_t const *) secret, sizeof secret, ZPY_INHERIT, 0, 0);
    CHECK(shared > 0);
    watch_all(0);
    uint8_t const *const copy = zpy_cell_address((uint64_t) shared);
    pid_t volatile pid = vfork();
    if (pid == 0) {
        (void) syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), number);
        _exit(3);
    }
    int status;
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status));
    CHECK_EQUAL(WTERMSIG(status), number);
    /* The child's last act, SIG_DFL, was its own: handlers are not shared. */
    CHECK_EQUAL(zpy_fatal_disposition(number), ZPY_SIGNAL_WIPES);
    for (int index = 0; index < CELLS; index++) {
        CHECK_EQUAL(zpy_cell_read(cells[index], 0, out, sizeof out), ZPY_OK);
        CHECK(memcmp(out, secret, sizeof out) == 0);
    }
    pid = (pid_t) syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0) {
        handle(number, note_and_exit, 0);
        CHECK_EQUAL(zpy_fatal_watch(number, 1), ZPY_OK);
        for (int index = 0; index < CELLS; index++) {
            addresses[index] = (uint8_t *) (uintptr_t) copy;
        }
        (void) syscall(SYS_tgkill, syscall(SYS_getpid), syscall(SYS_gettid), number);
        _exit(3);
    }
    CHECK_EQUAL(waitpid(pid, &status, 0), pid);
    CHECK(WIFEXITED(status));
    CHECK_EQUAL(WEXITSTATUS(status), 7);
    CHECK_EQUAL(seen->zeros, CELLS);
    CHECK_EQUAL(zpy_cell_read((uint64_t) shared, 0, out, sizeof out), ZPY_OK);
    seen->lived = 1;
}

static void
test_bare_forks(void)
{
    CHECK_EQUAL(in_child(forks_barely, SIGTERM), 0);
    CHECK(seen->lived);
}

static void *
churn(void *argument)
{
    uint8_t out[sizeof secret];
    uint32_t turn = (uint32_t) (uintptr_t) argument;
    for (;;) {
        uint32_t const options = turn++ % 3 == 0 ? ZPY_ISOLATED : 0;
        int64_t const made = zpy_cell_create((uint8_t const *) secret, sizeof secret, options, 0, 0);
        if (made > 0) {
            (void) zpy_cell_read((uint64_t) made, 0, out, sizeof out);
            (void) zpy_cell_wipe((uint64_t) made);
        }
    }
    return NULL;
}

/* While a handler walks over the runs, none is unmapped or closed under it, and no record of one names another. */
static void
changes_under_walk(int number)
{
    struct zpy_pages runs[2];
    size_t const bytes = zpy_pages_round(1);
    unsigned char resident;
    (void) number;
    CHECK_EQUAL(zpy_pages_map(bytes, false, &runs[0]), ZPY_OK);
    CHECK_EQUAL(zpy_pages_map(bytes, false, &runs[1]), ZPY_OK);
    uint8_t *const base = runs[0].base;
    struct zpy_record const *const record = runs[0].record;
    zpy_registry_begin_walk();
    zpy_pages_unmap(&runs[0]);
    CHECK_EQUAL(mincore(base, bytes, &resident), 0);
    CHECK_EQUAL(zpy_pages_protect(&runs[1], false), ZPY_OK);
    *runs[1].base = 1;
    CHECK_EQUAL(zpy_pages_map(bytes, false, &runs[0]), ZPY_OK);
    CHECK(runs[0].record != record);
    zpy_registry_end_walk();
    uint8_t *const last = runs[0].base;
    zpy_pages_unmap(&runs[0]);
    CHECK_EQUAL(mincore(last, bytes, &resident), -1); /* The control. */
    seen->lived = 1;
}

static void
test_changes_under_walk(void)
{
    CHECK_EQUAL(in_child(changes_under_walk, 0), 0);
    CHECK(seen->lived);
}

/* Crashes at any moment while threads create, open, close and wipe cells: each ends by the signal, nothing hangs, and what
 * the handler finds behind it is zero. */
static void
crashes_under_load(int turn)
{
    pthread_t thread;
    make_cells();
    pin_cells(); /* Or the threads, which find all cells dead, give up their pages before the handler has looked. */
    handle(SIGSEGV, note_and_exit, 0);
    watch_all(0);
    for (int index = 0; index < 4; index++) {
        CHECK_EQUAL(pthread_create(&thread, NULL, churn, (void *) (uintptr_t) (turn + index)), 0);
    }
    struct timespec const delay = {.tv_nsec = (turn * 7919 % 1500) * 1000};
    (void) nanosleep(&delay, NULL);
    if (turn % 2 == 0) {
        strike(SIGSEGV);
    }
    /* Or in a thread that is in the middle of things. */
    CHECK_EQUAL(pthread_kill(thread, SIGSEGV), 0);
    for (;;) {
        (void) pause();
    }
}

static void
test_crash_points(int count)
{
    for (int turn = 0; turn < count; turn++) {
        int const status = in_child(crashes_under_load, turn);
        CHECK_EQUAL(status, 7 << 8); /* Exit status 7. */
        CHECK_EQUAL(seen->zeros, CELLS);
    }
}

int
main(int argc, char **argv)
{
    CHECK_EQUAL(argc, 3);
    start(argv[1]);
    test_locks_held();
    test_closing();
    test_stack_overflow();
    test_stacks_are_freed();
    test_reaper();
    test_fork();
    test_bare_forks();
    test_changes_under_walk();
    test_crash_points(atoi(argv[2]));
    puts("ok");
    return 0;
}
