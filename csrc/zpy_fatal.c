/* zpy_fatal.c: signals that end the process wipe all secrets first.
 *
 * The handler takes no lock, allocates nothing and calls no Python. It wipes, and then what stood before it happens as if it
 * were not there: a handler is called with the same arguments and mask; without one, the default action is restored and the
 * same signal, with the same siginfo, is queued again, so that exit status, core file and registers in it are as before. */
#include "zpy_internal.h"

atomic_bool zpy_fatal_is_watching = false;

#if defined(_WIN32)

int
zpy_fatal_watch(int signal_number, int handled)
{
    (void) signal_number;
    (void) handled;
    return ZPY_UNSUPPORTED;
}

int
zpy_fatal_disposition(int signal_number)
{
    (void) signal_number;
    return -ZPY_UNSUPPORTED;
}

int
zpy_fatal_has_stack(void)
{
    return 0;
}

void
zpy_fatal_give_stack(void)
{
}

void
zpy_fatal_unblock_faults(void)
{
}

void
zpy_fatal_after_fork(void)
{
}

#else

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* For our handler and those that it calls, behind what the kernel itself puts there, which grows with the CPU's registers. */
#define STACK_BYTES ((size_t) 64 * 1024)
/* A handler may be reading what was saved the last time, so it is not overwritten the next. */
#define HISTORY 8

/* The first five mean that the program is broken. The others are requests, which a program may have a handler for. */
static int const numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTERM, SIGHUP, SIGQUIT};
#define NUMBER_COUNT (sizeof numbers / sizeof numbers[0])
#define FIRST_REQUEST 5

struct watched {
    struct sigaction history[HISTORY];
    unsigned int installs;
    _Atomic(struct sigaction *) previous; /* What stood before our handler. */
    /* The thread that is in the previous handler now, and how deep its stack was. */
    _Atomic uintptr_t thread;
    _Atomic uintptr_t depth;
};

static struct watched watched[NUMBER_COUNT];
static _Atomic long owner = 0; /* The process whose secrets these are. */

/* ---- a stack for each thread ---- */

static pthread_key_t stack_key;
static uint8_t has_other_stack; /* Its address marks threads that came with a stack of somebody else. */

static size_t
stack_bytes(void)
{
#if defined(_SC_MINSIGSTKSZ)
    long const least = sysconf(_SC_MINSIGSTKSZ);
    return zpy_pages_round(STACK_BYTES + (least > 0 ? (size_t) least : 0));
#else
    return zpy_pages_round(STACK_BYTES);
#endif
}

/* At the end of a thread. */
static void
drop_stack(void *base)
{
    stack_t now;
    if (base == &has_other_stack) {
        return;
    }
    if (sigaltstack(NULL, &now) == 0 && now.ss_sp == base) {
        stack_t const none = {.ss_flags = SS_DISABLE};
        (void) sigaltstack(&none, NULL); /* We are not on it, so it cannot be refused. */
    }
    size_t const guard = zpy_pages_round(1);
    (void) munmap((uint8_t *) base - guard, guard + stack_bytes()); /* A whole mapping of ours: cannot fail. */
}

/* A mapping with a guard page at its low end, where stacks overflow. Without memory the thread goes without. */
static void
give_stack(void)
{
    stack_t now;
    if (sigaltstack(NULL, &now) != 0) {
        return;
    }
    if ((now.ss_flags & SS_DISABLE) == 0) {
        (void) pthread_setspecific(stack_key, &has_other_stack); /* If it fails, we look again the next time. */
        return;
    }
    size_t const guard = zpy_pages_round(1);
    size_t const bytes = stack_bytes();
    uint8_t *const whole = mmap(NULL, guard + bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (whole == MAP_FAILED) {
        return;
    }
    stack_t const fresh = {.ss_sp = whole + guard, .ss_size = bytes};
    if (mprotect(fresh.ss_sp, bytes, PROT_READ | PROT_WRITE) != 0 || pthread_setspecific(stack_key, fresh.ss_sp) != 0) {
        (void) munmap(whole, guard + bytes); /* As in drop_stack. */
        return;
    }
    if (sigaltstack(&fresh, NULL) != 0) {
        (void) pthread_setspecific(stack_key, NULL); /* Clears what was set just now. */
        (void) munmap(whole, guard + bytes);
    }
}

void
zpy_fatal_give_stack(void)
{
    if (pthread_getspecific(stack_key) == NULL) {
        int const saved = errno;
        give_stack();
        errno = saved;
    }
}

int
zpy_fatal_has_stack(void)
{
    stack_t now;
    if (atomic_load(&zpy_fatal_is_watching)) {
        zpy_fatal_give_stack();
    }
    return sigaltstack(NULL, &now) == 0 && (now.ss_flags & SS_DISABLE) == 0;
}

void
zpy_fatal_unblock_faults(void)
{
    sigset_t faults;
    if (!atomic_load_explicit(&zpy_fatal_is_watching, memory_order_acquire)) {
        return;
    }
    (void) sigemptyset(&faults); /* None of these can fail: the arguments are right. */
    (void) sigaddset(&faults, SIGSEGV);
    (void) sigaddset(&faults, SIGBUS);
    (void) sigaddset(&faults, SIGILL);
    (void) sigaddset(&faults, SIGFPE);
    (void) pthread_sigmask(SIG_UNBLOCK, &faults, NULL);
}

/* ---- the handler ---- */

/* The place of a signal in the tables; NUMBER_COUNT when it has none. */
static size_t
place_of(int number)
{
    size_t place = 0;
    while (place < NUMBER_COUNT && numbers[place] != number) {
        place++;
    }
    return place;
}

/* A child of vfork() runs in its parent's memory and must leave it alone. One that was made without fork handlers has only
 * the inherited runs, and holes where the others were. */
static void
wipe(void)
{
    if ((long) getpid() == atomic_load(&owner)) {
        zpy_registry_wipe(false);
    } else if (!zpy_pages_same_process()) {
        zpy_registry_wipe(true);
    }
}

/* The kernel does not end the first process of a system or container by a request that it has no handler for. */
static bool
is_kept_by_kernel(size_t place)
{
    return place >= FIRST_REQUEST && getpid() == 1;
}

/* All signals are blocked until the handler returns; only then this one strikes, where the first one did. */
static void
end_by_default(int number, siginfo_t *info)
{
    struct sigaction const standard = {.sa_handler = SIG_DFL};
    (void) sigaction(number, &standard, NULL); /* It cannot fail for these numbers. */
#if defined(__linux__)
    if (syscall(SYS_rt_tgsigqueueinfo, getpid(), (pid_t) syscall(SYS_gettid), number, info) == 0) {
        return;
    }
#else
    (void) info;
#endif
    (void) pthread_kill(pthread_self(), number); /* To ourselves: cannot fail. */
}

/* Did the handler that we called for this signal raise it again, and so come back to us? Calling it again would never end.
 * One that has left by siglongjmp() is not below us on the stack. */
static bool
has_come_back(struct watched const *entry, uintptr_t depth)
{
    return atomic_load(&entry->thread) == (uintptr_t) pthread_self() && depth < atomic_load(&entry->depth);
}

static void
call_previous(struct watched *entry, struct sigaction const *previous, uintptr_t depth, int number, siginfo_t *info,
              void *context)
{
    atomic_store(&entry->depth, depth);
    atomic_store(&entry->thread, (uintptr_t) pthread_self());
    if (((unsigned int) previous->sa_flags & (unsigned int) SA_RESETHAND) != 0) {
        struct sigaction const standard = {.sa_handler = SIG_DFL};
        (void) sigaction(number, &standard, NULL); /* As in end_by_default. */
    }
    if ((previous->sa_flags & SA_SIGINFO) != 0) {
        previous->sa_sigaction(number, info, context);
    } else {
        previous->sa_handler(number);
    }
    atomic_store(&entry->thread, 0);
}

static void
on_signal(int number, siginfo_t *info, void *context)
{
    int const saved = errno;
    struct watched *const entry = &watched[place_of(number)];
    struct sigaction const *const previous = atomic_load(&entry->previous);
    uintptr_t const depth = (uintptr_t) &saved;
    bool const is_default = (previous->sa_flags & SA_SIGINFO) == 0 && previous->sa_handler == SIG_DFL;
    sigset_t all;
    sigset_t before;
    (void) sigfillset(&all);                           /* Neither of these two can fail: the arguments are right. */
    (void) pthread_sigmask(SIG_SETMASK, &all, &before); /* What is installed below has the previous handler's own mask. */
    if (is_default && is_kept_by_kernel((size_t) (entry - watched))) {
        errno = saved;
        return;
    }
    wipe();
    if (is_default || has_come_back(entry, depth)) {
        end_by_default(number, info);
        errno = saved;
        return;
    }
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL); /* A mask that the kernel gave us. */
    errno = saved;
    call_previous(entry, previous, depth, number, info, context);
}

/* ---- installing ---- */

static int
kind_of(struct sigaction const *action)
{
    if ((action->sa_flags & SA_SIGINFO) != 0) {
        return action->sa_sigaction == on_signal ? ZPY_SIGNAL_WIPES : ZPY_SIGNAL_HANDLED;
    }
    return action->sa_handler == SIG_DFL   ? ZPY_SIGNAL_DEFAULT
           : action->sa_handler == SIG_IGN ? ZPY_SIGNAL_IGNORED
                                           : ZPY_SIGNAL_HANDLED;
}

int
zpy_fatal_disposition(int signal_number)
{
    struct sigaction now;
    if (place_of(signal_number) == NUMBER_COUNT) {
        return -ZPY_INVALID;
    }
    return sigaction(signal_number, NULL, &now) == 0 ? kind_of(&now) : -ZPY_SYSTEM;
}

/* What the kernel does on the way into the previous handler, it does on the way into ours. */
static int
install(int number, struct watched *entry, struct sigaction const *now)
{
    struct sigaction ours = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    ours.sa_flags |= now->sa_flags & (SA_NODEFER | SA_RESTART);
    if (place_of(number) >= FIRST_REQUEST && kind_of(now) == ZPY_SIGNAL_HANDLED && (now->sa_flags & SA_ONSTACK) == 0) {
        ours.sa_flags &= ~SA_ONSTACK; /* The program's handler may need more of a stack than ours is. */
    }
    ours.sa_mask = now->sa_mask;
    struct sigaction *const kept = &entry->history[entry->installs++ % HISTORY];
    *kept = *now;
    struct sigaction *const last = atomic_exchange(&entry->previous, kept);
    if (sigaction(number, &ours, NULL) != 0) {
        atomic_store(&entry->previous, last);
        return ZPY_SYSTEM;
    }
    return ZPY_OK;
}

static int
start_watching(void)
{
    if (atomic_load(&zpy_fatal_is_watching)) {
        return ZPY_OK;
    }
    int const error = pthread_key_create(&stack_key, drop_stack);
    if (error != 0) {
        errno = error;
        return ZPY_SYSTEM;
    }
    atomic_store(&owner, (long) getpid());
    atomic_store(&zpy_fatal_is_watching, true);
    return ZPY_OK;
}

int
zpy_fatal_watch(int signal_number, int handled)
{
    struct sigaction now;
    size_t const place = place_of(signal_number);
    if (place == NUMBER_COUNT) {
        return ZPY_INVALID;
    }
    zpy_pages_lock(); /* Any lock would do that fork() holds, and that the handler does not want. */
    int status = sigaction(signal_number, NULL, &now) == 0 ? start_watching() : ZPY_SYSTEM;
    if (status == ZPY_OK) {
        int const kind = kind_of(&now);
        bool const wanted = kind == ZPY_SIGNAL_DEFAULT
                                ? !is_kept_by_kernel(place)
                                : kind == ZPY_SIGNAL_HANDLED && (place < FIRST_REQUEST || handled != 0);
        status = wanted ? install(signal_number, &watched[place], &now) : ZPY_OK;
    }
    int const saved = errno;
    zpy_pages_unlock();
    errno = saved;
    if (status == ZPY_OK) {
        zpy_fatal_give_stack();
    }
    return status;
}

/* The child inherits the handlers, and this thread's stack. */
void
zpy_fatal_after_fork(void)
{
    atomic_store(&owner, (long) getpid());
}

#endif
