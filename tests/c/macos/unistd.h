#ifndef STUB_UNISTD_H
#define STUB_UNISTD_H
#include <sys/types.h>
#define _SC_PAGESIZE 29
#define _SC_PHYS_PAGES 200
long sysconf(int name);
ssize_t read(int fd, void *out, size_t bytes);
ssize_t write(int fd, const void *bytes, size_t length);
ssize_t pread(int fd, void *out, size_t bytes, off_t offset);
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset);
int close(int fd);
int ftruncate(int fd, off_t length);
pid_t getpid(void);
#endif
