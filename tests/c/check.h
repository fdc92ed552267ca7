/* check.h: the few lines of test harness that the C tests share. */
#ifndef ZPY_CHECK_H
#define ZPY_CHECK_H

#include <stdio.h>
#include <stdlib.h>

/* Like assert(), but never compiled out, and it says what the values were. */
#define CHECK_EQUAL(left, right)                                                                                       \
    do {                                                                                                               \
        long long const check_left = (long long) (left);                                                               \
        long long const check_right = (long long) (right);                                                             \
        if (check_left != check_right) {                                                                               \
            fprintf(stderr, "%s:%d: %s is %lld, not %s (%lld)\n", __FILE__, __LINE__, #left, check_left, #right,      \
                    check_right);                                                                                      \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)
#define CHECK(condition) CHECK_EQUAL((condition) ? 1 : 0, 1)

#endif
