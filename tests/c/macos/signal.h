#ifndef STUB_SIGNAL_H
#define STUB_SIGNAL_H
#include <pthread.h>
#include <sys/types.h>
typedef unsigned int sigset_t;
typedef struct {
    int si_signo;
    int si_code;
    void *si_addr;
} siginfo_t;
typedef struct {
    void *ss_sp;
    size_t ss_size;
    int ss_flags;
} stack_t;
struct sigaction {
    union {
        void (*one)(int);
        void (*three)(int, siginfo_t *, void *);
    } handlers;
    sigset_t sa_mask;
    int sa_flags;
};
#define sa_handler handlers.one
#define sa_sigaction handlers.three
#define SIGHUP 1
#define SIGQUIT 3
#define SIGILL 4
#define SIGABRT 6
#define SIGFPE 8
#define SIGBUS 10
#define SIGSEGV 11
#define SIGTERM 15
#define SIG_BLOCK 1
#define SIG_UNBLOCK 2
#define SIG_SETMASK 3
#define SIG_DFL ((void (*)(int)) 0)
#define SIG_IGN ((void (*)(int)) 1)
#define SA_ONSTACK 0x0001
#define SA_RESTART 0x0002
#define SA_RESETHAND 0x0004
#define SA_NODEFER 0x0010
#define SA_SIGINFO 0x0040
#define SS_DISABLE 0x0004
int sigemptyset(sigset_t *set);
int sigfillset(sigset_t *set);
int sigaddset(sigset_t *set, int number);
int sigaction(int number, const struct sigaction *action, struct sigaction *before);
int sigaltstack(const stack_t *stack, stack_t *before);
int pthread_sigmask(int how, const sigset_t *set, sigset_t *before);
int pthread_kill(pthread_t thread, int number);
#endif
