/* zpy_os_windows.c: zpy_os.h for Windows 10 and later, compiled with mingw-w64. Tested under wine only (LIMITATIONS.md).
 *
 * Nothing forks on Windows, and a new process gets none of these pages. */
#include "zpy_os.h"

#if defined(_WIN32)

#include <errno.h>
#include <windows.h>

#ifndef CREATE_WAITABLE_TIMER_HIGH_RESOLUTION
#define CREATE_WAITABLE_TIMER_HIGH_RESOLUTION 0x2 /* Since Windows 10, version 1803. */
#endif

/* The minimum working set grows by at least this much, so that few locks need a call of their own for it. */
#define ROOM_STEP_BYTES ((size_t) 1024 * 1024)
/* The timer does not count sleep, and the clock does: so it goes off at least this often while a time is set. */
#define LOOK_NS ((uint64_t) 1000000000)
#define IDLE_MS 60000
/* How long zpy_os_alarm_wait sleeps without a timer. */
#define RETRY_MS 2

typedef VOID(WINAPI *clock_function)(PULONGLONG);
typedef HRESULT(WINAPI *exclude_function)(void const *, DWORD);
typedef HRESULT(WINAPI *include_function)(void const *);

static size_t page_bytes = 4096;
/* What newer versions of Windows have; null elsewhere. */
static clock_function interrupt_time = NULL;
static exclude_function exclude_from_reports = NULL;
static include_function include_in_reports = NULL;

static void (*function_of(wchar_t const *library, char const *name))(void)
{
    HMODULE const module = GetModuleHandleW(library); /* Both libraries are in every process. */
    return module != NULL ? (void (*)(void)) GetProcAddress(module, name) : NULL;
}

void
zpy_os_setup(void)
{
    SYSTEM_INFO system;
    GetSystemInfo(&system);
    page_bytes = system.dwPageSize;
    interrupt_time = (clock_function) function_of(L"kernelbase.dll", "QueryInterruptTimePrecise");
    exclude_from_reports = (exclude_function) function_of(L"kernel32.dll", "WerRegisterExcludedMemoryBlock");
    include_in_reports = (include_function) function_of(L"kernel32.dll", "WerUnregisterExcludedMemoryBlock");
}

static int
status_of_refusal(void)
{
    zpy_os_set_errno();
    return (errno == ENOMEM || errno == EPERM) ? ZPY_LOCK_LIMIT : ZPY_SYSTEM;
}

/* ---- pages ---- */

size_t
zpy_os_page_bytes(void)
{
    return page_bytes;
}

static uint8_t *
allocate(uint8_t *at, size_t bytes, DWORD kind, DWORD access)
{
    uint8_t *const base = VirtualAlloc(at, bytes, kind, access);
    if (base == NULL) {
        zpy_os_set_errno();
    }
    return base;
}

uint8_t *
zpy_os_reserve(size_t bytes)
{
    return allocate(NULL, bytes, MEM_RESERVE, PAGE_NOACCESS);
}

uint8_t *
zpy_os_map(size_t bytes)
{
    return allocate(NULL, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
}

uint8_t *
zpy_os_map_shared(size_t bytes)
{
    return zpy_os_map(bytes); /* There are no such children. */
}

void
zpy_os_prefer_large_pages(uint8_t *base, size_t bytes)
{
    (void) base; /* They take a privilege that ordinary users lack. */
    (void) bytes;
}

void
zpy_os_release(uint8_t *base, size_t bytes)
{
    (void) bytes;                             /* Windows knows how much it is. */
    (void) VirtualFree(base, 0, MEM_RELEASE); /* A whole allocation of our own. */
}

int
zpy_os_commit(uint8_t *base, size_t bytes)
{
    return allocate(base, bytes, MEM_COMMIT, PAGE_READWRITE) != NULL ? ZPY_OK : status_of_refusal();
}

int
zpy_os_uncommit(uint8_t *base, size_t bytes)
{
    if (VirtualFree(base, bytes, MEM_DECOMMIT)) {
        return ZPY_OK;
    }
    zpy_os_set_errno();
    return ZPY_SYSTEM;
}

/* A locked page that becomes PAGE_NOACCESS is unlocked (STATUS_WAS_UNLOCKED), and could then be written to the paging file
 * with the secret on it. Pages that must not be used can be read, so that they stay locked; a stray write faults. */
int
zpy_os_protect(uint8_t *base, size_t bytes, bool accessible)
{
    DWORD before;
    if (VirtualProtect(base, bytes, accessible ? PAGE_READWRITE : PAGE_READONLY, &before)) {
        return ZPY_OK;
    }
    zpy_os_set_errno();
    return ZPY_SYSTEM;
}

/* Bytes locked now, and how far the minimum working set was raised for them. */
static pthread_mutex_t room_lock = PTHREAD_MUTEX_INITIALIZER;
static size_t locked_bytes = 0;
static size_t room_bytes = 0;

/* A process can lock its minimum working set less a few pages, so that grows first. Where it may not grow, VirtualLock says
 * what came of it. */
static void
make_room(size_t bytes)
{
    SIZE_T least;
    SIZE_T most;
    HANDLE const self = GetCurrentProcess();
    (void) pthread_mutex_lock(&room_lock); /* An initialised default mutex not held by this thread: cannot fail. */
    locked_bytes += bytes;
    size_t const step = bytes > ROOM_STEP_BYTES ? bytes : ROOM_STEP_BYTES;
    if (locked_bytes > room_bytes && GetProcessWorkingSetSize(self, &least, &most) &&
        SetProcessWorkingSetSize(self, least + step, most + step)) {
        room_bytes += step;
    }
    (void) pthread_mutex_unlock(&room_lock);
}

static void
give_room_back(size_t bytes)
{
    (void) pthread_mutex_lock(&room_lock);
    locked_bytes -= bytes;
    (void) pthread_mutex_unlock(&room_lock);
}

int
zpy_os_lock(uint8_t *base, size_t bytes)
{
    make_room(bytes);
    if (VirtualLock(base, bytes)) {
        return ZPY_OK;
    }
    int const status = status_of_refusal();
    give_room_back(bytes);
    return errno == ENOSYS ? ZPY_UNSUPPORTED : status;
}

void
zpy_os_unlock(uint8_t *base, size_t bytes)
{
    (void) VirtualUnlock(base, bytes); /* A lock left on pages that hold no secret does no harm. */
    give_room_back(bytes);
}

int
zpy_os_keep_from_children(uint8_t *base, size_t bytes)
{
    (void) base;
    (void) bytes;
    return ZPY_FORK_ABSENT;
}

/* This reaches the reports of Windows Error Reporting, and not dumps that a debugger or another program writes. */
bool
zpy_os_keep_from_dumps(uint8_t *base, size_t bytes)
{
    return exclude_from_reports != NULL && include_in_reports != NULL && bytes <= MAXDWORD &&
           exclude_from_reports(base, (DWORD) bytes) == S_OK;
}

void
zpy_os_forget(struct zpy_pages const *pages)
{
    if (pages->locked) {
        give_room_back(pages->bytes);
    }
    if (pages->dump_excluded) {
        (void) include_in_reports(pages->base); /* What comes here next should be in reports; nothing depends on it. */
    }
}

void
zpy_os_fill_hole(uint8_t *base, size_t bytes)
{
    (void) VirtualAlloc(base, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE); /* What is there already stays. */
}

int
zpy_os_secretmem_open(size_t bytes)
{
    (void) bytes;
    errno = ENOSYS;
    return -1;
}

int
zpy_os_secretmem_map(int fd, uint8_t *base, size_t bytes)
{
    (void) fd;
    (void) base;
    (void) bytes;
    errno = ENOSYS;
    return ZPY_UNSUPPORTED;
}

void
zpy_os_secretmem_close(int fd)
{
    (void) fd; /* There never was one. */
}

uint64_t
zpy_os_lock_budget(void)
{
    MEMORYSTATUSEX memory = {.dwLength = sizeof memory};
    return GlobalMemoryStatusEx(&memory) ? memory.ullTotalPhys / 4 : 64 * 1024;
}

/* ---- time and threads ---- */

void
zpy_os_nap(void)
{
    (void) SwitchToThread(); /* Nobody else to run is as good. */
}

/* Interrupt time counts sleep and hibernation, as its "unbiased" twin does not. Before Windows 10 the tick count does so, too,
 * in steps of 10 to 16 ms. */
uint64_t
zpy_os_now_ns(void)
{
    if (interrupt_time != NULL) {
        ULONGLONG hundreds_ns;
        interrupt_time(&hundreds_ns);
        return hundreds_ns * 100;
    }
    return GetTickCount64() * 1000000;
}

static HANDLE timer = NULL;

void
zpy_os_alarm_open(void)
{
    /* Any thread can wait for the timer. */
}

intptr_t
zpy_os_alarm_set(uint64_t at_ns)
{
    DWORD const rights = TIMER_MODIFY_STATE | SYNCHRONIZE;
    if (timer == NULL) {
        timer = CreateWaitableTimerExW(NULL, NULL, CREATE_WAITABLE_TIMER_HIGH_RESOLUTION, rights);
    }
    if (timer == NULL) {
        timer = CreateWaitableTimerExW(NULL, NULL, 0, rights);
    }
    uint64_t const now = zpy_os_now_ns();
    uint64_t wait_ns = at_ns > now ? at_ns - now : 100;
    wait_ns = at_ns == 0 ? (uint64_t) IDLE_MS * 1000000 : wait_ns > LOOK_NS ? LOOK_NS : wait_ns;
    LARGE_INTEGER const due = {.QuadPart = -(LONGLONG) ((wait_ns + 99) / 100)}; /* Negative: from now on. */
    return timer != NULL && SetWaitableTimer(timer, &due, 0, NULL, NULL, FALSE) ? (intptr_t) timer : -1;
}

void
zpy_os_alarm_wait(intptr_t alarm)
{
    if (alarm != -1) {
        (void) WaitForSingleObject((HANDLE) alarm, IDLE_MS); /* Whatever ends it, the caller looks again. */
    } else {
        Sleep(RETRY_MS);
    }
}

void
zpy_os_alarm_close(void)
{
    zpy_os_alarm_drop();
}

void
zpy_os_alarm_drop(void)
{
    if (timer != NULL) {
        (void) CloseHandle(timer); /* A handle without data. */
        timer = NULL;
    }
}

int
zpy_os_thread_start(pthread_t *thread_out, size_t stack_bytes, void *(*run)(void *), void *argument)
{
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error != 0) {
        return error;
    }
    if (stack_bytes != 0) {
        error = pthread_attr_setstacksize(&attributes, stack_bytes);
    }
    if (error == 0) {
        error = pthread_create(thread_out, &attributes, run, argument);
    }
    (void) pthread_attr_destroy(&attributes);
    return error;
}

int
zpy_os_at_fork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void))
{
    (void) before;
    (void) in_parent;
    (void) in_child;
    return 0;
}

#endif
