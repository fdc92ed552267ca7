#ifndef STUB_ERRNO_H
#define STUB_ERRNO_H
int *__error(void);
#define errno (*__error())
#define EPERM 1
#define EINTR 4
#define EIO 5
#define EBADF 9
#define ENOMEM 12
#define EACCES 13
#define EINVAL 22
#define EFBIG 27
#define EAGAIN 35
#define ENOSYS 78
#define ENODATA 96
#endif
