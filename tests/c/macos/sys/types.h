/* Headers of macOS, cut down to what the core uses, so that its macOS branch can be checked for syntax on another system:
 * written by hand after the names and types that macOS documents. A name that only Linux has must not be added. */
#ifndef STUB_SYS_TYPES_H
#define STUB_SYS_TYPES_H
#include <stddef.h>
typedef long ssize_t;
typedef long long off_t;
typedef int pid_t;
#endif
