/* zpy_reaper.c: one thread that wipes cells at their deadline, without Python.
 *
 * It sleeps in poll() on a timer that counts through suspend. The timer's descriptor is never read: should a program close
 * all descriptors and get the number for one of its own, that one loses nothing, and the timer is made anew. */
#include "zpy_entry.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#if defined(__linux__)
#include <sys/timerfd.h>
#endif

/* Deadlines taken in one hold of the lock: others wait for no more than this many wipes. */
#define BATCH 256
/* How many wipes before its own a cell's memory is asked for. */
#define AHEAD ((size_t) 8)
#define HEAP_FIRST ((size_t) 64)
#define SWEEP_FROM ((size_t) 64)
#define STACK_BYTES ((size_t) 128 * 1024)
/* A lost timer is noticed after this long, should nothing else wake the thread. */
#define POLL_MS 60000
/* Deadlines are kept in steps of this, rounded up: among equal ones the heap has nothing to sort, so that many cells with one
 * deadline cost no more each than one. Whoever uses a cell checks its exact deadline. */
#define STEP_NS ((uint64_t) 1000000)
/* How often the thread looks where it has no timer: descriptors are exhausted, or the platform has none like it. */
#define RETRY_MS 2

struct deadline {
    uint64_t at_ns;
    uint64_t cell;
};

/* A binary heap, soonest first. A cell that ends earlier stays in it until its turn, or until half of the heap is stale. */
static struct deadline *heap = NULL;
static size_t heap_count = 0;
static size_t heap_room = 0;
static size_t stale_count = 0;
static pthread_t reaper;
static bool is_running = false;
static bool is_stopping = false;
static int timer = -1;

/* ---- the heap ---- */

static void
sift_up(size_t index)
{
    struct deadline const moved = heap[index];
    while (index > 0 && heap[(index - 1) / 2].at_ns > moved.at_ns) {
        heap[index] = heap[(index - 1) / 2];
        index = (index - 1) / 2;
    }
    heap[index] = moved;
}

static void
sift_down(size_t index)
{
    struct deadline const moved = heap[index];
    for (;;) {
        size_t child = 2 * index + 1;
        if (child >= heap_count) {
            break;
        }
        if (child + 1 < heap_count && heap[child + 1].at_ns < heap[child].at_ns) {
            child++;
        }
        if (heap[child].at_ns >= moved.at_ns) {
            break;
        }
        heap[index] = heap[child];
        index = child;
    }
    heap[index] = moved;
}

static struct deadline
pop(void)
{
    struct deadline const first = heap[0];
    heap_count--;
    if (heap_count > 0) {
        heap[0] = heap[heap_count];
        sift_down(0);
    }
    return first;
}

static void
sweep(void)
{
    size_t kept = 0;
    for (size_t index = 0; index < heap_count; index++) {
        if (zpy_entry_awaits(zpy_entry_find(heap[index].cell))) {
            heap[kept++] = heap[index];
        }
    }
    heap_count = kept;
    stale_count = 0;
    for (size_t index = heap_count / 2; index-- > 0;) {
        sift_down(index);
    }
}

/* ---- the timer ---- */

/* Set the timer to the first deadline, or to none; clears that it has fired. */
static int
arm(void)
{
#if defined(__linux__)
    uint64_t const at_ns = is_stopping ? 1 : heap_count > 0 ? heap[0].at_ns : 0;
    struct itimerspec const when = {
        .it_value = {.tv_sec = (time_t) (at_ns / 1000000000U), .tv_nsec = (long) (at_ns % 1000000000U)}};
    if (timer >= 0 && timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL) == 0) {
        return ZPY_OK;
    }
    /* The old descriptor is not closed: if setting it failed, it may be the program's by now. */
    timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (timer >= 0 && timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL) == 0) {
        return ZPY_OK;
    }
    if (timer >= 0) {
        (void) close(timer); /* Ours, made a moment ago; it holds no data. */
        timer = -1;
    }
    return ZPY_SYSTEM;
#else
    return ZPY_SYSTEM;
#endif
}

/* ---- the thread ---- */

/* Wipe what is due. Returns whether more is. */
static bool
reap_batch(void)
{
    uint64_t const now = zpy_entry_now_ns();
    uint64_t due[BATCH];
    size_t count = 0;
    while (count < BATCH && heap_count > 0 && heap[0].at_ns <= now) {
        /* Where the last of the heap is due, too, it goes without any sifting. */
        due[count] = heap[heap_count - 1].at_ns <= now ? heap[--heap_count].cell : pop().cell;
        zpy_entry_prefetch(due[count++], false);
    }
    for (size_t index = 0; index < count + AHEAD; index++) {
        if (index < count) {
            zpy_entry_prefetch(due[index], true);
        }
        if (index >= AHEAD && !zpy_entry_expire(due[index - AHEAD]) && stale_count > 0) {
            stale_count--;
        }
    }
    return count == BATCH;
}

static void *
run(void *argument)
{
    (void) argument;
#if defined(__linux__)
    (void) pthread_setname_np(pthread_self(), "zpy-reaper"); /* For ps and debuggers only. */
#endif
    for (;;) {
        zpy_fatal_unblock_faults();
        zpy_lock();
        bool const stopping = is_stopping;
        bool const more = !stopping && reap_batch();
        int const armed = more ? ZPY_OK : arm();
        struct pollfd waited = {.fd = timer, .events = POLLIN};
        zpy_unlock();
        if (stopping) {
            return NULL;
        }
        if (more) {
            zpy_lock_let_others();
        } else {
            /* Whatever ends it, a signal or an error, the loop looks again. */
            (void) poll(&waited, armed == ZPY_OK ? 1 : 0, armed == ZPY_OK ? POLL_MS : RETRY_MS);
        }
    }
}

static int
start(void)
{
    pthread_attr_t attributes;
    sigset_t all;
    sigset_t before;
    int error = pthread_attr_init(&attributes);
    if (error != 0) {
        return error;
    }
    (void) sigfillset(&all); /* Fails for null pointers only. */
    error = pthread_attr_setstacksize(&attributes, STACK_BYTES);
    if (error == 0) {
        error = pthread_sigmask(SIG_SETMASK, &all, &before); /* Signals belong to the threads that Python knows. */
    }
    if (error == 0) {
        error = pthread_create(&reaper, &attributes, run, NULL);
        (void) pthread_sigmask(SIG_SETMASK, &before, NULL); /* A mask that the kernel gave us a moment ago. */
    }
    (void) pthread_attr_destroy(&attributes);
    return error;
}

int
zpy_reaper_ensure(void)
{
    zpy_lock();
    bool const wanted = heap_count > 0 && !is_running;
    is_running = is_running || wanted;
    zpy_unlock();
    int const error = wanted ? start() : 0;
    if (error != 0) {
        zpy_lock();
        is_running = false;
        zpy_unlock();
        errno = error;
        return ZPY_SYSTEM;
    }
    return ZPY_OK;
}

void
zpy_reaper_stop(void)
{
    zpy_lock();
    bool const running = is_running && !is_stopping;
    if (running) {
        is_stopping = true;
        (void) arm(); /* Without a timer the thread is not asleep for long. */
    }
    zpy_unlock();
    if (running) {
        (void) pthread_join(reaper, NULL); /* Our own joinable thread, told to end. */
        zpy_lock();
        is_stopping = false;
        is_running = false;
        zpy_unlock();
    }
}

/* ---- for zpy_entry.c, which holds the lock ---- */

int
zpy_reaper_add(uint64_t cell, uint64_t at_ns)
{
    if (heap_count == heap_room) {
        size_t const room = heap_room > 0 ? heap_room * 2 : HEAP_FIRST;
        struct deadline *const grown = realloc(heap, room * sizeof *heap);
        if (grown == NULL) {
            return ZPY_NO_MEMORY;
        }
        heap = grown;
        heap_room = room;
    }
    uint64_t const rest = at_ns % STEP_NS;
    uint64_t const step = rest > 0 && at_ns <= UINT64_MAX - STEP_NS ? at_ns - rest + STEP_NS : at_ns;
    heap[heap_count] = (struct deadline){.at_ns = step, .cell = cell};
    sift_up(heap_count++);
    if (heap[0].cell == cell && is_running) {
        (void) arm(); /* Should that fail, the thread looks every RETRY_MS. */
    }
    return ZPY_OK;
}

void
zpy_reaper_note_stale(void)
{
    stale_count++;
    if (stale_count >= SWEEP_FROM && stale_count > heap_count / 2) {
        sweep();
    }
}

/* The thread is not in the child; zpy_reaper_ensure starts one there when inherited cells have deadlines. */
void
zpy_reaper_after_fork(void)
{
    is_running = false;
    is_stopping = false;
    if (timer >= 0) {
        (void) close(timer); /* The child's copy of a descriptor without data. */
        timer = -1;
    }
    sweep();
}
