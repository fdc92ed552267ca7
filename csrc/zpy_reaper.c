/* zpy_reaper.c: one thread that wipes cells at their deadline, without Python. It sleeps on an alarm whose clock counts
 * through suspend. */
#include "zpy_entry.h"
#include "zpy_os.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

/* Deadlines taken in one hold of the lock: others wait for no more than this many wipes. */
#define BATCH 256
/* How many wipes before its own a cell's memory is asked for. */
#define AHEAD ((size_t) 8)
#define HEAP_FIRST ((size_t) 64)
#define SWEEP_FROM ((size_t) 64)
#define STACK_BYTES ((size_t) 128 * 1024)
/* Deadlines are kept in steps of this, rounded up: among equal ones the heap has nothing to sort, so that many cells with one
 * deadline cost no more each than one. Whoever uses a cell checks its exact deadline. */
#define STEP_NS ((uint64_t) 1000000)

struct deadline {
    uint64_t at_ns;
    uint64_t cell;
};

/* A binary heap, soonest first. A cell that ends earlier stays in it until its turn, or until half of the heap is stale. */
static struct deadline *heap = NULL;
static size_t heap_count = 0;
static size_t heap_room = 0;
static size_t stale_count = 0;
/* What changes a state that is on its way to another is one thread, outside the lock; the others wait for it. */
static enum reaper_state { STOPPED, STARTING, RUNNING, STOPPING } state = STOPPED;
static pthread_t reaper; /* Set in RUNNING and STOPPING. */
/* Out of the heap and not ended yet: [due_next, due_count). Where a child finds them, for the lock is away now and then. */
static uint64_t due[BATCH];
static size_t due_next = 0;
static size_t due_count = 0;
/* Memory of ciphertexts that the thread wiped, which it frees when nothing is due. */
static struct zpy_spent *leftovers = NULL;

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

/* ---- the thread ---- */

/* Set the alarm to the first deadline, or to none; a thread that is to stop is woken at once. */
static intptr_t
arm(void)
{
    return zpy_os_alarm_set(state == STOPPING ? 1 : heap_count > 0 ? heap[0].at_ns : 0);
}

/* Wipe what is due. Returns whether more is. */
static bool
reap_batch(void)
{
    uint64_t const now = zpy_entry_now_ns();
    size_t count = 0;
    while (count < BATCH && heap_count > 0 && heap[0].at_ns <= now) {
        /* Where the last of the heap is due, too, it goes without any sifting. */
        due[count] = heap[heap_count - 1].at_ns <= now ? heap[--heap_count].cell : pop().cell;
        zpy_entry_prefetch(due[count++], false);
    }
    due_count = count;
    for (size_t index = 0; index < count + AHEAD; index++) {
        if (index < count) {
            zpy_entry_prefetch(due[index], true);
        }
        due_next = index >= AHEAD ? index - AHEAD : 0;
        if (index >= AHEAD && !zpy_entry_expire(due[due_next]) && stale_count > 0) {
            stale_count--;
        }
    }
    due_count = 0;
    return count == BATCH;
}

/* Some of it, without the lock. A child finds nothing in the list that is freed. */
static void
free_some(void)
{
    for (size_t count = 0; leftovers != NULL && count < BATCH; count++) {
        struct zpy_spent *const first = leftovers;
        leftovers = first->next;
        free(first);
    }
}

static void *
run(void *argument)
{
    (void) argument;
#if defined(__linux__)
    (void) pthread_setname_np(pthread_self(), "zpy-reaper"); /* For ps and debuggers only. */
#endif
    zpy_lock();
    zpy_os_alarm_open();
    zpy_unlock();
    for (;;) {
        zpy_fatal_unblock_faults();
        zpy_lock();
        bool const stopping = state == STOPPING;
        bool const more = !stopping && reap_batch();
        zpy_lock_series(more);
        if (!more && leftovers == NULL) {
            leftovers = zpy_hold_take_spent();
        }
        bool const idle = !more && leftovers == NULL;
        intptr_t const alarm = idle && !stopping ? arm() : -1;
        if (stopping) {
            zpy_os_alarm_close();
        }
        zpy_unlock();
        if (stopping) {
            return NULL;
        }
        if (more) {
            zpy_lock_let_others();
        } else if (idle) {
            zpy_os_alarm_wait(alarm);
        } else {
            free_some();
        }
    }
}

/* Take the lock when no other thread is about to start or to join the thread; both take some microseconds. */
static void
lock_settled(void)
{
    zpy_lock();
    while (state == STARTING || state == STOPPING) {
        zpy_unlock();
        zpy_os_alarm_wait(-1);
        zpy_lock();
    }
}

static void
settle(enum reaper_state new_state)
{
    zpy_lock();
    state = new_state;
    zpy_unlock();
}

int
zpy_reaper_ensure(void)
{
    if (!zpy_pages_same_process()) {
        return ZPY_OK; /* In a child of a raw clone() no cell has a deadline to keep. */
    }
    lock_settled();
    bool const wanted = heap_count > 0 && state == STOPPED;
    state = wanted ? STARTING : state;
    zpy_unlock();
    if (!wanted) {
        return ZPY_OK;
    }
    int const error = zpy_os_thread_start(&reaper, STACK_BYTES, run, NULL);
    settle(error == 0 ? RUNNING : STOPPED);
    if (error != 0) {
        errno = error;
        return ZPY_SYSTEM;
    }
    return ZPY_OK;
}

void
zpy_reaper_stop(void)
{
    if (!zpy_pages_same_process()) {
        return; /* In a child of a raw clone() there is no thread, and joining it would never end. */
    }
    lock_settled();
    bool const running = state == RUNNING;
    if (running) {
        state = STOPPING;
        (void) arm(); /* Without an alarm the thread is not asleep for long. */
    }
    zpy_unlock();
    if (running) {
        (void) pthread_join(reaper, NULL); /* Our own joinable thread, told to end. */
        settle(STOPPED);
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
    if (heap[0].cell == cell && state != STOPPED) {
        (void) arm(); /* Should it fail while the thread sleeps, that looks within a minute, and each use of a cell at once. */
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
    state = STOPPED;
    zpy_os_alarm_drop();
    for (; due_next < due_count; due_next++) {
        struct zpy_entry const *const entry = zpy_entry_find(due[due_next]);
        if (zpy_entry_awaits(entry)) {
            (void) zpy_reaper_add(due[due_next], entry->deadline_ns); /* Without memory it holds at each use. */
        }
    }
    due_count = 0;
    sweep();
}
