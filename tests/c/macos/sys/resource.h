#ifndef STUB_SYS_RESOURCE_H
#define STUB_SYS_RESOURCE_H
#include <stdint.h>
typedef uint64_t rlim_t;
struct rlimit {
    rlim_t rlim_cur;
    rlim_t rlim_max;
};
#define RLIM_INFINITY (((rlim_t) 1 << 63) - 1)
#define RLIMIT_MEMLOCK 6
int getrlimit(int resource, struct rlimit *limit);
int setrlimit(int resource, const struct rlimit *limit);
#endif
