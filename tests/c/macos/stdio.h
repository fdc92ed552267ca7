#ifndef STUB_STDIO_H
#define STUB_STDIO_H
/* libsodium's headers include it and use nothing of it. */
#endif
