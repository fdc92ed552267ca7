#ifndef STUB_SYS_SYSCALL_H
#define STUB_SYS_SYSCALL_H
#endif
