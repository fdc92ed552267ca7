#ifndef STUB_STRING_H
#define STUB_STRING_H
#include <stddef.h>
void *memcpy(void *target, const void *source, size_t bytes);
void *memmove(void *target, const void *source, size_t bytes);
void *memset(void *target, int byte, size_t bytes);
int memcmp(const void *left, const void *right, size_t bytes);
void *memchr(const void *bytes, int byte, size_t length);
void *memmem(const void *hay, size_t hay_bytes, const void *needle, size_t needle_bytes);
size_t strlen(const char *text);
int strcmp(const char *left, const char *right);
#endif
