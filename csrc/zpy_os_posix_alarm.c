/* zpy_os_posix_alarm.c: the clock and the alarm of zpy_os.h for Linux, macOS and other POSIX systems.
 *
 * On Linux the alarm is a timer of the kernel that sends a signal to the one thread that waits for it. It has no descriptor,
 * for programs close all of those when they become daemons, and get the numbers for files of their own. Elsewhere there is no
 * such timer, and the thread looks every RETRY_MS. */
#include "zpy_os.h"

#if !defined(_WIN32)

#include <poll.h>
#include <time.h>

/* How long zpy_os_alarm_wait sleeps without a timer: queued signals are exhausted, or the platform has none like it. */
#define RETRY_MS 2
#define NAP_NS 20000

#if defined(__linux__)

#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid /* As timer_create(2) names it; older C libraries have no name for it. */
#endif

/* Programs that use real-time signals mostly count up from SIGRTMIN, and tools that run programs down from SIGRTMAX. One that
 * has this number, too, loses nothing: see zpy_os_alarm_wait. */
#define ALARM_SIGNAL (SIGRTMAX - 7)
/* A lost signal is noticed after this long, should nothing else wake the sleeper: the kernel drops what is pending when a
 * program has the signal ignored at that moment. */
#define LOOK_S 60

static timer_t timer;
static bool has_timer = false;
static pid_t sleeper = 0; /* The thread that waits; 0 for none. */

#endif

void
zpy_os_nap(void)
{
    struct timespec const nap = {.tv_nsec = NAP_NS};
    (void) nanosleep(&nap, NULL); /* Waking early does no harm. */
}

uint64_t
zpy_os_now_ns(void)
{
    struct timespec now;
#if defined(CLOCK_BOOTTIME)
    clockid_t const clock_id = CLOCK_BOOTTIME;
#else
    clockid_t const clock_id = CLOCK_MONOTONIC; /* On macOS it counts through sleep. */
#endif
    if (clock_gettime(clock_id, &now) != 0) {
        return UINT64_MAX;
    }
    return (uint64_t) now.tv_sec * 1000000000U + (uint64_t) now.tv_nsec;
}

static void
nap(void)
{
    (void) poll(NULL, 0, RETRY_MS); /* Whatever ends it, a signal or an error, the caller looks again. */
}

#if defined(__linux__)

void
zpy_os_alarm_open(void)
{
    sleeper = (pid_t) syscall(SYS_gettid);
}

static bool
set_timer(uint64_t at_ns)
{
    struct itimerspec const when = {
        .it_value = {.tv_sec = (time_t) (at_ns / 1000000000U), .tv_nsec = (long) (at_ns % 1000000000U)}};
    return has_timer && timer_settime(timer, TIMER_ABSTIME, &when, NULL) == 0;
}

intptr_t
zpy_os_alarm_set(uint64_t at_ns)
{
    if (sleeper == 0) {
        return -1;
    }
    if (set_timer(at_ns)) {
        return 0;
    }
    /* The old one is not deleted: if setting it failed, somebody else did that, and may have the number by now. */
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = ALARM_SIGNAL};
    event.sigev_value.sival_ptr = &timer; /* So that the sleeper knows ours. */
    event.sigev_notify_thread_id = sleeper;
    has_timer = timer_create(CLOCK_BOOTTIME, &event, &timer) == 0;
    if (has_timer && !set_timer(at_ns)) {
        (void) timer_delete(timer); /* Ours, made a moment ago. */
        has_timer = false;
    }
    return has_timer ? 0 : -1;
}

/* What a program sends to the process as a whole, any thread that waits for the number may take, so this one takes it at times
 * when the program blocks it. It is queued again as it was. Until the program takes it, that is done once each RETRY_MS. */
static void
give_back(siginfo_t *info)
{
    /* The kernel lets a thread say who sent a signal where it addresses the process by the thread's own number. It refuses only
     * when the queue is full: then another process of the user has got the place that was free a moment ago. */
    (void) syscall(SYS_rt_sigqueueinfo, sleeper, info->si_signo, info);
}

void
zpy_os_alarm_wait(intptr_t alarm)
{
    struct timespec const limit = {.tv_sec = LOOK_S};
    siginfo_t info;
    sigset_t awaited;
    if (alarm >= 0) {
        (void) sigemptyset(&awaited); /* Neither of these two can fail: the arguments are right. */
        (void) sigaddset(&awaited, ALARM_SIGNAL);
        bool const came = sigtimedwait(&awaited, &info, &limit) > 0;
        if (came && info.si_code == SI_TIMER && info.si_value.sival_ptr == &timer) {
            return;
        }
        if (came && info.si_code != SI_TKILL) { /* That one was for this thread, which has no use for it. */
            give_back(&info);
        }
    }
    nap();
}

void
zpy_os_alarm_close(void)
{
    if (has_timer) {
        (void) timer_delete(timer); /* It fails only if the program has deleted it. */
    }
    zpy_os_alarm_drop();
}

/* The kernel gives no timers to a child. */
void
zpy_os_alarm_drop(void)
{
    has_timer = false;
    sleeper = 0;
}

#else

void
zpy_os_alarm_open(void)
{
}

intptr_t
zpy_os_alarm_set(uint64_t at_ns)
{
    (void) at_ns;
    return -1;
}

void
zpy_os_alarm_wait(intptr_t alarm)
{
    (void) alarm;
    nap();
}

void
zpy_os_alarm_close(void)
{
}

void
zpy_os_alarm_drop(void)
{
}

#endif

#endif
