#ifndef STUB_POLL_H
#define STUB_POLL_H
#define POLLIN 0x0001
struct pollfd {
    int fd;
    short events;
    short revents;
};
int poll(struct pollfd *waited, unsigned int count, int timeout);
#endif
