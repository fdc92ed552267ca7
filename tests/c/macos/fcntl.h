#ifndef STUB_FCNTL_H
#define STUB_FCNTL_H
#define F_GETFL 3
#define F_SETFL 4
#define O_CLOEXEC 0x01000000
int fcntl(int fd, int command, ...);
#endif
