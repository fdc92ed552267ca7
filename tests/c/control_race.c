/* control_race.c: two threads write to a cell's bytes without a lock between them, as the control for the runs of the other
 * programs under ThreadSanitizer: it has to report a data race. */
#include "zpy_internal.h"

#include "check.h"

#include <pthread.h>

static void *
work(void *argument)
{
    uint8_t *const bytes = argument;
    for (int count = 0; count < 100000; count++) {
        bytes[count % 16]++;
    }
    return NULL;
}

int
main(void)
{
    pthread_t threads[2];
    CHECK_EQUAL(zpy_init(1, 65536), ZPY_OK);
    int64_t const answer = zpy_cell_create(NULL, 16, 0, 0, 0);
    CHECK(answer > 0);
    uint8_t *const bytes = zpy_cell_address((uint64_t) answer);
    CHECK(bytes != NULL);
    for (size_t index = 0; index < 2; index++) {
        CHECK_EQUAL(pthread_create(&threads[index], NULL, work, bytes), 0);
    }
    for (size_t index = 0; index < 2; index++) {
        CHECK_EQUAL(pthread_join(threads[index], NULL), 0);
    }
    CHECK_EQUAL(zpy_cell_wipe((uint64_t) answer), ZPY_OK);
    puts("ok");
    return 0;
}
