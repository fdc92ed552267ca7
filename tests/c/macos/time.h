#ifndef STUB_TIME_H
#define STUB_TIME_H
typedef long time_t;
typedef enum { CLOCK_REALTIME = 0, CLOCK_MONOTONIC = 6 } clockid_t;
struct timespec {
    time_t tv_sec;
    long tv_nsec;
};
int nanosleep(struct timespec const *nap, struct timespec *left);
int clock_gettime(clockid_t clock, struct timespec *now);
#endif
